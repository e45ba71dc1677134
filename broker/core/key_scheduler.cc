#include "broker/core/key_scheduler.h"

#include <algorithm>
#include <functional>

#include "protocol/base/checksum.h"
#include "protocol/base/mutant.h"

namespace waybill {
namespace {

/// As many keys as are taken while memory answers.
constexpr std::size_t kFetchAhead = 8;

}  // namespace

KeyHash key_hash(std::optional<Bytes> key) {
  if (!key) return 0;
  KeyHash hash = xxh3_64(*key);
  return hash == 0 ? 1 : hash;
}

void KeyScheduler::restart(Offset from) {
  *this = KeyScheduler(limit_);
  scanned_ = from;
}

template <class Change>
void KeyScheduler::change(std::uint32_t index, Change change) {
  Slot& slot = slots_[index];
  held_ -= held_in(slot);
  change(slot);
  held_ += held_in(slot);
}

std::uint64_t KeyScheduler::held_in(const Slot& slot) const {
  if (slot.held_from == kNever) return 0;
  // Before a dead letter of its key there is only what came back from the dead letters.
  std::uint64_t held = slot.count - slot.timed;
  for (std::uint32_t node = slot.head; node != kNone; node = nodes_[node].next) {
    if (nodes_[node].offset > slot.held_from) break;
    if (nodes_[node].timed == 0) --held;
  }
  return held;
}

bool KeyScheduler::may_go(const Slot& slot) const {
  if ((slot.taken > 0 && !mutant("busy_keys_go")) || slot.head == kNone) return false;
  // Mostly nothing of a key has a time or is held: then its first message need not be looked up.
  if (slot.timed == 0 && slot.held_from == kNever) return true;
  const Node& head = nodes_[slot.head];
  return head.timed == 0 && head.offset < slot.held_from;
}

std::uint32_t KeyScheduler::slot_of(KeyHash key) {
  auto [index, inserted] = by_key_.try_emplace(key, 0);
  if (!inserted) return *index;
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  *index = free_slots_.back();
  free_slots_.pop_back();
  slots_[*index] = Slot{.key = key};
  return *index;
}

std::uint32_t KeyScheduler::new_node(Offset offset, std::uint32_t slot) {
  if (free_nodes_.empty()) {
    free_nodes_.push_back(static_cast<std::uint32_t>(nodes_.size()));
    nodes_.emplace_back();
  }
  std::uint32_t index = free_nodes_.back();
  free_nodes_.pop_back();
  nodes_[index] = Node{.offset = offset, .next = kNone, .slot = slot & kNoSlot};
  return index;
}

void KeyScheduler::schedule(std::uint32_t node, WallTime at) {
  nodes_[node].timed = 1;
  timed_.push_back({at, node});
  std::ranges::push_heap(timed_, std::greater<>());
}

void KeyScheduler::settle_slot(std::uint32_t index) {
  Slot& slot = slots_[index];
  if (slot.listed) return;
  if (may_go(slot)) {
    slot.listed = true;
    ready_.push_back(index);
  } else if (slot.count == 0 && slot.taken == 0 && slot.held_from == kNever) {
    by_key_.erase(slot.key);
    free_slots_.push_back(index);
  }
}

void KeyScheduler::add(Offset offset, KeyHash key, WallTime not_before, bool redriven) {
  bool timed = not_before.milliseconds != 0;
  if (key == 0) {
    if (!timed) return open({offset, offset});
    return schedule(new_node(offset, kNoSlot), not_before);
  }
  std::uint32_t index = slot_of(key);
  std::uint32_t node = new_node(offset, index);
  nodes_[node].redriven = redriven ? 1 : 0;
  nodes_[node].timed = timed ? 1 : 0;
  change(index, [&](Slot& slot) {
    if (slot.tail == kNone) {
      slot.head = node;
    } else {
      nodes_[slot.tail].next = node;
    }
    slot.tail = node;
    ++slot.count;
    if (timed) ++slot.timed;
  });
  if (timed) schedule(node, not_before);
  ++queued_;
  settle_slot(index);
}

void KeyScheduler::add_taken(Offset offset, KeyHash key) {
  std::uint32_t index = slot_of(key);
  ++slots_[index].taken;
  taken_.try_emplace(number(offset), index);
}

Offset KeyScheduler::take_head(std::uint32_t index) {
  std::uint32_t node = slots_[index].head;
  Offset offset = nodes_[node].offset;
  change(index, [&](Slot& slot) {
    slot.head = nodes_[node].next;
    if (slot.head == kNone) slot.tail = kNone;
    --slot.count;
    ++slot.taken;
  });
  free_nodes_.push_back(node);
  --queued_;
  taken_.try_emplace(number(offset), index);
  return offset;
}

std::optional<Offset> KeyScheduler::take(bool only_redriven) {
  for (std::size_t tries = ready_.size(); tries > 0; --tries) {
    // Where a key's first message stands is a cache miss each: those soon to go are fetched ahead.
    if (ready_.size() > kFetchAhead) {
      std::uint32_t soon = slots_[ready_[kFetchAhead]].head;
      if (soon != kNone) __builtin_prefetch(&nodes_[soon]);
    }
    std::uint32_t index = ready_.front();
    ready_.pop_front();
    Slot& slot = slots_[index];
    slot.listed = false;
    if (!may_go(slot)) {
      settle_slot(index);
      continue;
    }
    if (only_redriven && nodes_[slot.head].redriven == 0) {
      slot.listed = true;
      ready_.push_back(index);
      continue;
    }
    return take_head(index);
  }
  return std::nullopt;
}

void KeyScheduler::settled(Offset offset) {
  const std::uint32_t* found = taken_.find(number(offset));
  if (found == nullptr) return;
  std::uint32_t index = *found;
  taken_.erase(number(offset));
  --slots_[index].taken;
  settle_slot(index);
}

void KeyScheduler::insert_front(Offset offset, std::uint32_t index, bool redriven) {
  std::uint32_t node = new_node(offset, index);
  nodes_[node].redriven = redriven ? 1 : 0;
  change(index, [&](Slot& slot) {
    // Nearly always the first; several may have come back, then their order
    // counts.
    std::uint32_t before = kNone;
    std::uint32_t after = slot.head;
    while (after != kNone && nodes_[after].offset < offset) {
      before = after;
      after = nodes_[after].next;
    }
    nodes_[node].next = after;
    if (before == kNone) {
      slot.head = node;
    } else {
      nodes_[before].next = node;
    }
    if (after == kNone) slot.tail = node;
    ++slot.count;
  });
  ++queued_;
  settle_slot(index);
}

void KeyScheduler::put_back(Offset offset, bool redriven) {
  std::uint32_t index = *taken_.find(number(offset));
  taken_.erase(number(offset));
  --slots_[index].taken;
  insert_front(offset, index, redriven);
}

void KeyScheduler::add_front(Offset offset, KeyHash key) {
  insert_front(offset, slot_of(key), true);
}

std::optional<WallTime> KeyScheduler::next_due() const {
  if (timed_.empty()) return std::nullopt;
  return timed_.front().at;
}

void KeyScheduler::run_due(WallTime now) {
  while (!timed_.empty() && timed_.front().at <= now) {
    std::uint32_t index = timed_.front().node;
    std::ranges::pop_heap(timed_, std::greater<>());
    timed_.pop_back();
    Node& node = nodes_[index];
    if (node.slot == kNoSlot) {
      open({node.offset, node.offset});
      free_nodes_.push_back(index);
      continue;
    }
    std::uint32_t slot = node.slot;
    change(slot, [&](Slot& s) {
      --s.timed;
      node.timed = 0;
    });
    settle_slot(slot);
  }
}

void KeyScheduler::hold(KeyHash key, Offset offset) {
  if (key == 0 || mutant("pass_the_held")) return;
  holds_.emplace(key, offset);
  change(slot_of(key), [&](Slot& slot) { slot.held_from = std::min(slot.held_from, offset); });
}

void KeyScheduler::release(KeyHash key, Offset offset) {
  if (holds_.erase({key, offset}) == 0) return;
  auto next = holds_.lower_bound({key, Offset{INT64_MIN}});
  Offset from = next != holds_.end() && next->first == key ? next->second : kNever;
  std::uint32_t index = slot_of(key);
  change(index, [&](Slot& slot) { slot.held_from = from; });
  settle_slot(index);
}

std::uint64_t KeyScheduler::count_held() const {
  std::uint64_t count = 0;
  by_key_.for_each([&](KeyHash key, std::uint32_t index) {
    auto hold = holds_.lower_bound({key, Offset{INT64_MIN}});
    if (hold == holds_.end() || hold->first != key) return;
    for (std::uint32_t n = slots_[index].head; n != kNone; n = nodes_[n].next) {
      if (nodes_[n].timed == 0 && nodes_[n].offset > hold->second) ++count;
    }
  });
  return count;
}

}  // namespace waybill

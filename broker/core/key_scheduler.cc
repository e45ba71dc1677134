#include "broker/core/key_scheduler.h"

#include <algorithm>
#include <functional>

#include "protocol/base/checksum.h"
#include "protocol/base/mutant.h"

namespace waybill {
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
void KeyScheduler::change(KeyHash key, KeyQueue& queue, Change change) {
  held_ -= held_in(key, queue);
  change(queue);
  held_ += held_in(key, queue);
}

Offset KeyScheduler::held_from(KeyHash key) const {
  auto first = holds_.lower_bound({key, Offset{INT64_MIN}});
  return first != holds_.end() && first->first == key ? first->second : kNever;
}

std::uint64_t KeyScheduler::held_in(KeyHash key, const KeyQueue& queue) const {
  if (!queue.held) return 0;
  // Before a dead letter of its key there is only what came back from the dead letters.
  std::uint64_t held = queue.count - queue.timed;
  const Offset from = held_from(key);
  for (std::uint32_t node = queue.head; node != kNone; node = nodes_[node].next) {
    if (nodes_[node].offset > from) break;
    if (!nodes_[node].timed) --held;
  }
  return held;
}

bool KeyScheduler::may_go(KeyHash key, const KeyQueue& queue) const {
  if ((queue.taken > 0 && !mutant("busy_keys_go")) || queue.head == kNone) return false;
  // Mostly nothing of a key has a time or is held: then its first message need not be looked up.
  if (queue.timed == 0 && !queue.held) return true;
  const Node& head = nodes_[queue.head];
  return !head.timed && (!queue.held || head.offset < held_from(key));
}

std::uint32_t KeyScheduler::new_node(Offset offset, bool redriven) {
  if (free_nodes_.empty()) {
    free_nodes_.push_back(static_cast<std::uint32_t>(nodes_.size()));
    nodes_.emplace_back();
  }
  std::uint32_t index = free_nodes_.back();
  free_nodes_.pop_back();
  nodes_[index] = Node{.offset = offset, .next = kNone, .redriven = redriven};
  return index;
}

void KeyScheduler::schedule(std::uint32_t node, KeyHash key, WallTime at) {
  nodes_[node].timed = true;
  timed_.push_back({at, key, node});
  std::ranges::push_heap(timed_, std::greater<>());
}

void KeyScheduler::settle_queue(KeyHash key, KeyQueue& queue) {
  if (queue.listed) return;
  if (may_go(key, queue)) {
    queue.listed = true;
    ready_.push_back(key);
  } else if (queue.count == 0 && queue.taken == 0 && !queue.held) {
    by_key_.erase(key);
  }
}

void KeyScheduler::add(Offset offset, KeyHash key, WallTime not_before, bool redriven) {
  bool timed = not_before.milliseconds != 0;
  if (key == 0 && !timed) return open({offset, offset});
  std::uint32_t node = new_node(offset, redriven);
  if (timed) schedule(node, key, not_before);
  if (key == 0) return;
  KeyQueue& queue = queue_of(key);
  change(key, queue, [&](KeyQueue& q) {
    if (q.tail == kNone) {
      q.head = node;
    } else {
      nodes_[q.tail].next = node;
    }
    q.tail = node;
    ++q.count;
    if (timed) ++q.timed;
  });
  ++queued_;
  settle_queue(key, queue);
}

void KeyScheduler::add_taken(Offset offset, KeyHash key) {
  ++queue_of(key).taken;
  taken_.try_emplace(number(offset), key);
}

Offset KeyScheduler::take_head(KeyHash key, KeyQueue& queue) {
  std::uint32_t node = queue.head;
  Offset offset = nodes_[node].offset;
  change(key, queue, [&](KeyQueue& q) {
    q.head = nodes_[node].next;
    if (q.head == kNone) q.tail = kNone;
    --q.count;
    ++q.taken;
  });
  free_nodes_.push_back(node);
  --queued_;
  taken_.try_emplace(number(offset), key);
  return offset;
}

std::optional<Offset> KeyScheduler::take(bool only_redriven) {
  for (std::size_t tries = ready_.size(); tries > 0; --tries) {
    KeyHash key = ready_.front();
    ready_.pop_front();
    KeyQueue& queue = *by_key_.find(key);
    queue.listed = false;
    if (!may_go(key, queue)) {
      settle_queue(key, queue);
      continue;
    }
    if (only_redriven && !nodes_[queue.head].redriven) {
      queue.listed = true;
      ready_.push_back(key);
      continue;
    }
    return take_head(key, queue);
  }
  return std::nullopt;
}

void KeyScheduler::settled(Offset offset) {
  const KeyHash* found = taken_.find(number(offset));
  if (found == nullptr) return;
  KeyHash key = *found;
  taken_.erase(number(offset));
  KeyQueue& queue = *by_key_.find(key);
  --queue.taken;
  settle_queue(key, queue);
}

void KeyScheduler::insert_front(Offset offset, KeyHash key, KeyQueue& queue, bool redriven) {
  std::uint32_t node = new_node(offset, redriven);
  change(key, queue, [&](KeyQueue& q) {
    // Nearly always the first; several may have come back, then their order counts.
    std::uint32_t before = kNone;
    std::uint32_t after = q.head;
    while (after != kNone && nodes_[after].offset < offset) {
      before = after;
      after = nodes_[after].next;
    }
    nodes_[node].next = after;
    if (before == kNone) {
      q.head = node;
    } else {
      nodes_[before].next = node;
    }
    if (after == kNone) q.tail = node;
    ++q.count;
  });
  ++queued_;
  settle_queue(key, queue);
}

void KeyScheduler::put_back(Offset offset, bool redriven) {
  KeyHash key = *taken_.find(number(offset));
  taken_.erase(number(offset));
  KeyQueue& queue = *by_key_.find(key);
  --queue.taken;
  insert_front(offset, key, queue, redriven);
}

void KeyScheduler::add_front(Offset offset, KeyHash key) {
  insert_front(offset, key, queue_of(key), true);
}

std::optional<WallTime> KeyScheduler::next_due() const {
  if (timed_.empty()) return std::nullopt;
  return timed_.front().at;
}

void KeyScheduler::run_due(WallTime now) {
  while (!timed_.empty() && timed_.front().at <= now) {
    const Due due = timed_.front();
    std::ranges::pop_heap(timed_, std::greater<>());
    timed_.pop_back();
    Node& node = nodes_[due.node];
    if (due.key == 0) {
      open({node.offset, node.offset});
      free_nodes_.push_back(due.node);
      continue;
    }
    KeyQueue& queue = *by_key_.find(due.key);
    change(due.key, queue, [&](KeyQueue& q) {
      --q.timed;
      node.timed = false;
    });
    settle_queue(due.key, queue);
  }
}

void KeyScheduler::hold(KeyHash key, Offset offset) {
  if (key == 0 || mutant("pass_the_held")) return;
  change(key, queue_of(key), [&](KeyQueue& queue) {
    holds_.emplace(key, offset);
    queue.held = true;
  });
}

void KeyScheduler::release(KeyHash key, Offset offset) {
  if (!holds_.contains({key, offset})) return;
  KeyQueue& queue = *by_key_.find(key);
  change(key, queue, [&](KeyQueue& q) {
    holds_.erase({key, offset});
    q.held = held_from(key) != kNever;
  });
  settle_queue(key, queue);
}

std::uint64_t KeyScheduler::count_held() const {
  std::uint64_t count = 0;
  by_key_.for_each([&](KeyHash key, const KeyQueue& queue) {
    const Offset from = held_from(key);
    for (std::uint32_t n = queue.head; n != kNone; n = nodes_[n].next) {
      if (!nodes_[n].timed && nodes_[n].offset > from) ++count;
    }
  });
  return count;
}

}  // namespace waybill

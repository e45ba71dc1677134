// GroupModel, continued: the order of deliveries, who holds what, times of messages, and groups
// that stand still (D8, D12, D13). What a group was told before the broker had last nothing to do,
// it must obey in whatever leaves it now: that was decided later.
#include <algorithm>

#include "tests/sim/group_model.h"

namespace waybill {

bool GroupModel::may_have_expired(Place place) const {
  const SimMessage* message = log_.find(place);
  if (message == nullptr) return true;  // nobody knows yet what lies there
  return message->expiry != 0 &&
         (!steady_clock_ || message->expiry <= world_.clock().wall().milliseconds);
}

/// What clients and people did may have ended it for good.
bool GroupModel::may_be_over(Place place) const {
  auto epoch = epochs_.find(place.partition);
  if (epoch != epochs_.end() && place.offset < epoch->second.to) return true;
  if (may_have_expired(place)) return true;
  if (log_.may_be_compacted(place) && (resets_ > 0 || resetting_)) return true;
  auto found = messages_.find(place);
  if (found == messages_.end()) return false;
  const Message& known = found->second;
  if (known.ack_sent || known.died || known.discard_sent() || known.skipped || known.vague) {
    return true;
  }
  // So many unexplained ends make a dead letter (D10).
  if (known.leases.size() >= 20) return true;
  return may_be_worn_out(known.leases) || may_have_died(known.leases);
}

/// After a restart, what a relaxed group handed out and had not recorded never happened.
void GroupModel::forget_unrecorded(const HandedOut& message, Message& known) {
  auto from = known.leases.lower_bound(message.number);
  std::erase_if(known.leases, [&](const auto& entry) {
    return from != known.leases.end() && entry.first >= message.number &&
           entry.second.life != life_;
  });
}

// --- who holds what ---

void GroupModel::check_exclusive(const HandedOut& message, const Message& known) {
  if (known.leases.empty()) return;
  const auto& [number, lease] = *known.leases.rbegin();
  if (number.redrive != message.number.redrive) return;
  if (lease.go_after && steady_clock_ && now() < *lease.go_after) {
    report("what failed waits", "delivered again before its time", message.place);
  }
  if (lease.may_end()) return;
  if (now() >= lease.until) {
    coverage_.count(lease.started ? "lease ran out started" : "lease ran out unstarted");
    return;
  }
  if (taken_back(message.place, lease)) return coverage_.count("taken back in order");
  report("a lease is exclusive",
         "delivery " + std::to_string(message.number.delivery) + " while delivery " +
             std::to_string(number.delivery) + " is still held",
         message.place);
}

/// It is its message's last attempt, and one before ran out of time: who was charged without having
/// said that it failed, and without having vanished (D10).
bool GroupModel::goes_alone(const HandedOut& message, const Message& known) const {
  bool last =
      policy_.always([&](const GroupPolicy& p) { return message.failures + 1 >= p.max_failures; },
                     world_.last_rest().at);
  if (!last) return false;
  auto ran_out = [](const Lease& lease, std::uint32_t failures_then) {
    return lease.started && !lease.failure && !lease.crashed && failures_then > lease.failures;
  };
  const Lease* before = nullptr;
  for (const auto& [number, lease] : known.leases) {
    if (number.redrive != message.number.redrive || number >= message.number) continue;
    if (before != nullptr && ran_out(*before, lease.failures)) return true;
    before = &lease;
  }
  return before != nullptr && ran_out(*before, message.failures);
}

/// Nothing happened that may have ended it.
bool GroupModel::holds_surely(Place place, const Lease& lease) const {
  return !lease.settled && !lease.may_end() && lease.life == life_ && now() < lease.until &&
         !messages_.at(place).vague && !taken_back(place, lease);
}

/// What an instance has at one time is each other's company for as long as the leases last (D10).
void GroupModel::note_company(InstanceId holder, const std::vector<HandedOut>& messages) {
  if (resetting_) return;
  auto& held = held_by_[holder];
  for (const HandedOut& message : messages) held.erase({message.place, message.number});
  std::vector<std::pair<Place, Lease*>> together;
  for (const auto& [place, number] : held) {
    auto lease = messages_.at(place).leases.find(number);
    bool there = lease != messages_.at(place).leases.end() && lease->second.holder == holder;
    if (there && holds_surely(place, lease->second)) together.emplace_back(place, &lease->second);
  }
  for (const HandedOut& message : messages) {
    held.insert({message.place, message.number});
    together.emplace_back(message.place, find(message));
  }
  if (together.size() == 1 && together.front().second->goes_alone) {
    coverage_.count("last attempt alone after a timeout");
  }
  if (together.size() < 2) return;
  for (auto [place, lease] : together) {
    lease->in_company = true;
    if (!lease->goes_alone) continue;
    report("a last attempt after a timeout is alone",
           "its instance holds " + std::to_string(together.size()), place);
  }
}

/// In a partition's order, the end of a message before it may have ended the lease (D8).
bool GroupModel::taken_back(Place place, const Lease& lease) const {
  bool possible = policy_.ever(
      [](const GroupPolicy& p) { return p.ordering == Ordering::kPartition; }, lease.pushed);
  if (!possible) return false;
  if (unreadable_) return true;
  // Whoever did it was still out, or something happened to it since.
  auto open = open_.find(place.partition);
  if (open != open_.end()) {
    for (std::int64_t before : open->second) {
      if (before >= place.offset) break;
      if (may_have_taken_back({place.partition, before}, lease)) return true;
    }
  }
  auto events = events_.find(place.partition);
  if (events == events_.end()) return false;
  for (auto at = events->second.lower_bound({lease.pushed, 0}); at != events->second.end(); ++at) {
    if (at->second >= place.offset) continue;
    if (may_have_taken_back({place.partition, at->second}, lease)) return true;
  }
  return false;
}

/// Whether a lease of the message `before` may have ended, other than by an ack, after that lease
/// began.
bool GroupModel::may_have_taken_back(Place before, const Lease& lease) const {
  const Message& known = messages_.at(before);
  if (known.vague) return true;
  // The newest first: one before which another began was over then, and all before it.
  bool over = false;
  for (auto entry = known.leases.rbegin(); entry != known.leases.rend() && !over; ++entry) {
    const Lease& earlier = entry->second;
    bool ended = earlier.ended && *earlier.ended < lease.pushed;
    bool may_end = earlier.may_end() || now() >= earlier.until;
    if (may_end && !ended) return true;
    over = earlier.pushed < lease.pushed;
  }
  return false;
}

/// What was handed out behind a message that failed since is not its consumer's any more (D8).
void GroupModel::check_behind_failure(const HandedOut& message, const Lease& lease,
                                      const SentSettlement& settlement) {
  bool in_partition = policy_.always(
      [](const GroupPolicy& p) { return p.ordering == Ordering::kPartition; }, lease.pushed);
  if (!in_partition || !lease.in_partition || resetting_) return;
  for (auto at = failures_told_.lower_bound({message.place.partition, lease.pushed});
       at != failures_told_.end() && at->first.first == message.place.partition &&
       at->first.second < settlement.at;
       ++at) {
    const FailureTold& failure = at->second;
    if (failure.offset >= message.place.offset || failure.sent < lease.pushed) continue;
    report("what is behind a failure is taken back",
           "settled, and offset " + std::to_string(failure.offset) + " before it was not done",
           message.place);
  }
}

void GroupModel::revoked(InstanceId /*holder*/, const RevokePush& /*push*/) {
  coverage_.count("revoked");
}

// --- order ---

/// Whatever leaves the broker now left in this order.
bool GroupModel::ordered(Ordering ordering) const {
  return policy_.always([&](const GroupPolicy& p) { return p.ordering == ordering; },
                        world_.last_rest().at);
}

bool GroupModel::holds() const {
  return policy_.always(
      [](const GroupPolicy& p) { return p.on_dead_letter == OnDeadLetter::kHold; },
      world_.last_rest().at);
}

void GroupModel::check_order(InstanceId holder, const HandedOut& message) {
  if (ordered(Ordering::kKey)) check_key_order(message);
  if (ordered(Ordering::kPartition)) check_partition_order(holder, message);
}

void GroupModel::check_key_order(const HandedOut& message) {
  const SimMessage* original = log_.find(message.place);
  if (original == nullptr || !original->key) return;
  Lane lane{message.place.partition, original->key};
  std::int64_t& highest = highest_.try_emplace(lane, -1).first->second;
  // What expired holds nobody, and comes back when others have gone on (D12).
  bool in_order = message.number.redrive == 0 || (holds() && !may_have_expired(message.place));
  if (highest > message.place.offset && in_order) {
    report("order of a key", "delivered after offset " + std::to_string(highest) + " of its key",
           message.place);
  }
  highest = std::max(highest, message.place.offset);
  coverage_.count("delivered in order of its key");

  const std::set<std::int64_t>& offsets = log_.offsets(lane.first, lane.second);
  std::int64_t& open = open_from_.try_emplace(lane, 0).first->second;
  auto at = offsets.lower_bound(open);
  while (at != offsets.end() && may_be_over({lane.first, *at})) ++at;
  open = at == offsets.end() ? open : *at;
  if (at != offsets.end() && *at < message.place.offset) {
    report("order of a key", "offset " + std::to_string(*at) + " of its key is not over",
           message.place);
  }
  check_hold(lane, message);
}

void GroupModel::check_hold(const Lane& lane, const HandedOut& message) {
  if (!holds()) return;
  for (std::int64_t head : dead_[lane]) {
    if (head >= message.place.offset) return;
    const Message& dead = messages_[{lane.first, head}];
    bool resolved =
        dead.discard_sent() || dead.vague || !dead.died || dead.redrives_sent > dead.died->redrive;
    if (resolved) continue;
    report("a dead letter holds what is behind it",
           "offset " + std::to_string(head) + " is dead and waits for a person", message.place);
  }
}

void GroupModel::check_partition_order(InstanceId holder, const HandedOut& message) {
  coverage_.count("delivered in order of its partition");
  Lane lane{message.place.partition, std::nullopt};
  check_hold(lane, message);
  if (message.number.redrive > 0) return;
  const std::set<std::int64_t>& offsets = log_.offsets(lane.first, lane.second);
  std::int64_t& open = open_from_.try_emplace(lane, 0).first->second;
  auto at = offsets.lower_bound(open);
  while (at != offsets.end() && may_be_over({lane.first, *at})) ++at;
  open = at == offsets.end() ? open : *at;
  for (; at != offsets.end() && *at < message.place.offset; ++at) {
    Place before{lane.first, *at};
    if (may_be_over(before)) continue;
    auto known = messages_.find(before);
    bool ahead = known != messages_.end() && !known->second.leases.empty() &&
                 known->second.leases.rbegin()->second.holder == holder;
    if (ahead) continue;
    return report("order of a partition",
                  "offset " + std::to_string(*at) + " is not over, and not with this consumer",
                  message.place);
  }
}

// --- times, standing still ---

void GroupModel::check_times(const HandedOut& message, const Message& known) {
  const SimMessage* original = log_.find(message.place);
  if (original == nullptr || !steady_clock_) return;
  std::int64_t wall = world_.clock().wall().milliseconds;
  if (original->not_before > wall) {
    report("not before its time",
           "delivered " + std::to_string(original->not_before - wall) + " ms early", message.place);
  }
  if (original->not_before != 0) coverage_.count("delivered at its time");
  // A person sends back what expired.
  bool expires = original->expiry != 0 && message.number.redrive == 0 && !known.vague;
  if (expires && original->expiry <= world_.last_rest().wall.milliseconds) {
    report("not after its expiry",
           "delivered " + std::to_string(wall - original->expiry) + " ms after it", message.place);
  }
}

/// Paused, braked by force, or full of what is held: then nothing is handed out.
void GroupModel::check_stopped(const HandedOut& message) {
  MonotonicTime rest = world_.last_rest().at;
  if (paused_.always([](bool paused) { return paused; }, rest)) {
    report("a paused group stands still", "delivered after the pause", message.place);
  }
  if (mode_.always([](BrakeMode mode) { return mode == BrakeMode::kForcedOpen; }, rest)) {
    report("a group whose brake is forced open stands still", "delivered", message.place);
  }
  auto full = full_since_.find(message.place.partition);
  bool is_full = full != full_since_.end() && full->second < rest && !resetting_;
  if (is_full && message.number.redrive == 0) {
    report("what is held is bounded", "delivered while too many are held", message.place);
  }
}

}  // namespace waybill

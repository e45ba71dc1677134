// GroupModel, continued: the order of deliveries, times of messages, pauses (D8, D12).
#include <algorithm>

#include "tests/sim/group_model.h"

namespace waybill {
namespace {

/// From the lease to the moment the message leaves: a slow disk, a broker that stood still.
constexpr std::chrono::seconds kOnTheWay{60};

}  // namespace

bool GroupModel::may_have_expired(Place place) const {
  const SimMessage* message = log_.find(place);
  return message != nullptr && message->expiry != 0 &&
         (!steady_clock_ || message->expiry <= clock_.wall().milliseconds);
}

bool GroupModel::may_be_over(Place place) const {
  if (may_have_expired(place)) return true;
  auto found = messages_.find(place);
  if (found == messages_.end()) return false;
  const Message& known = found->second;
  if (known.ack_sent || known.died || known.discard_sent) return true;
  return std::ranges::any_of(known.leases, [&](const auto& entry) {
    const auto& [number, lease] = entry;
    return lease.asked_dead || lease.asked_invalid || number.delivery >= max_deliveries_ ||
           (lease.may_charge && lease.failures + 1 >= least_max_failures_);
  });
}

/// After a restart, what a relaxed group handed out and had not recorded never happened.
void GroupModel::forget_unrecorded(const HandedOut& message, Message& known) {
  auto from = known.leases.lower_bound(message.number);
  std::erase_if(known.leases, [&](const auto& entry) {
    return from != known.leases.end() && entry.first >= message.number &&
           entry.second.life != life_;
  });
}

void GroupModel::check_order(std::uint64_t holder, const HandedOut& message) {
  if (policy_.ordering == Ordering::kNone) return;
  if (policy_.ordering == Ordering::kPartition) return check_partition_order(holder, message);
  const SimMessage* original = log_.find(message.place);
  if (original == nullptr || !original->key) return;
  Lane lane{message.place.partition, original->key};
  bool hold = policy_.on_dead_letter == OnDeadLetter::kHold;
  std::int64_t& highest = highest_.try_emplace(lane, -1).first->second;
  // What expired holds nobody, and comes back when others have gone on (D12).
  bool in_order = message.number.redrive == 0 || (hold && !may_have_expired(message.place));
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
  if (!hold) return;
  for (std::int64_t head : dead_[lane]) {
    const Message& dead = messages_[{lane.first, head}];
    bool resolved = dead.discard_sent || dead.redrives_sent > dead.died->redrive;
    if (head >= message.place.offset || resolved) continue;
    report("a dead letter holds its key",
           "offset " + std::to_string(head) + " of its key is dead and waits for a person",
           message.place);
  }
}

void GroupModel::check_partition_order(std::uint64_t holder, const HandedOut& message) {
  coverage_.count("delivered in order of its partition");
  if (message.number.redrive > 0) return;
  Lane lane{message.place.partition, std::nullopt};
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

void GroupModel::check_times(const HandedOut& message) {
  const SimMessage* original = log_.find(message.place);
  if (paused_since_ && clock_.monotonic() > *paused_since_ + kOnTheWay) {
    report("a paused group stands still", "delivered long after the pause", message.place);
  }
  if (original == nullptr || !steady_clock_) return;
  std::int64_t now = clock_.wall().milliseconds;
  if (original->not_before > now) {
    report("not before its time",
           "delivered " + std::to_string(original->not_before - now) + " ms early", message.place);
  }
  if (original->not_before != 0) coverage_.count("delivered at its time");
  // A person sends back what expired.
  bool expires = original->expiry != 0 && message.number.redrive == 0;
  if (expires && original->expiry + kOnTheWay / std::chrono::milliseconds(1) < now) {
    report("not after its expiry",
           "delivered " + std::to_string(now - original->expiry) + " ms after it", message.place);
  }
}

void GroupModel::revoked(std::uint64_t holder, const RevokePush& push) {
  coverage_.count("revoked");
  for (auto at = messages_.lower_bound({push.partition.value, push.first.value});
       at != messages_.end() && at->first.partition == push.partition.value; ++at) {
    for (auto& [number, lease] : at->second.leases) {
      if (lease.holder == holder) lease.may_end = true;
    }
  }
}

void GroupModel::pause_told(bool paused) {
  coverage_.count("group paused");
  if (paused && !paused_since_) paused_since_ = clock_.monotonic();
}

}  // namespace waybill

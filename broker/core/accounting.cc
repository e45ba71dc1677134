// DeliveryEngine, continued: where every message of a group is (D19), why it does not advance (D9),
// and beginning again elsewhere (D15).
#include <algorithm>
#include <utility>

#include "broker/core/delivery_engine.h"
#include "broker/core/shard.h"
#include "protocol/base/mutant.h"

namespace waybill {
namespace {

/// Journal room without which no lease is granted (D14).
constexpr std::size_t kLeaseRoom = 64 * 1024;

}  // namespace

/// One after the last message that is the group's; an archive's are those it had seen.
Offset DeliveryEngine::end_of(const GroupPartition& partition) const {
  auto group = groups_.find(partition.group);
  const bool archived = group != groups_.end() && group->second->info.archived;
  return archived ? partition.delivery.fresh()
                  : std::max(partition.log.end(), partition.delivery.fresh());
}

Accounting DeliveryEngine::accounting(const GroupPartition& partition) const {
  const DeliveryState& delivery = partition.delivery;
  Accounting a;
  a.start = delivery.start();
  a.end = end_of(partition);
  a.leased = delivery.leased_count();
  a.delayed = partition.delayed.size();
  a.scheduled = partition.scheduler.scheduled_count() + (partition.barrier ? 1 : 0);
  a.held = partition.held_count();
  std::uint64_t undelivered =
      delivery.gaps().count() + static_cast<std::uint64_t>(a.end - delivery.fresh());
  a.ready = undelivered + delivery.waiting_count() - a.delayed - a.scheduled - a.held;
  a.done = delivery.done_count();
  a.expired = delivery.expired_count();
  a.skipped = delivery.skipped_count();
  a.removed = delivery.removed_count();
  a.compacted = delivery.compacted_count();
  a.dead = mutant("uncounted_dead") ? 0 : partition.dead_letters.dead_count();
  a.discarded = partition.dead_letters.discarded_count();
  return a;
}

/// From the records themselves; what appears nowhere is done. Two records of one message, or one
/// outside, make that number differ from the kept one.
Accounting DeliveryEngine::count(const GroupPartition& partition) const {
  const DeliveryState& delivery = partition.delivery;
  Accounting a;
  a.start = delivery.start();
  a.end = end_of(partition);
  for (const auto& [token, lease] : delivery.leases()) {
    for (OffsetRange range : lease.open) a.leased += static_cast<std::uint64_t>(range.count());
  }
  std::uint64_t waiting = static_cast<std::uint64_t>(a.end - delivery.fresh());
  for (OffsetRange gap = delivery.gaps().run_from({0}); gap.count() > 0;
       gap = delivery.gaps().run_from(gap.last + 1)) {
    waiting += static_cast<std::uint64_t>(gap.count());
  }
  for (const auto& [offset, message] : delivery.tracked()) {
    if (!message.leased) ++waiting;
  }
  a.delayed = partition.delayed.size();
  a.scheduled = partition.scheduler.scheduled_count() + (partition.barrier ? 1 : 0);
  a.held = partition.ordering == Ordering::kKey ? partition.scheduler.count_held()
                                                : partition.held_count();
  a.ready = waiting - a.delayed - a.scheduled - a.held;
  for (const auto& [number, letter] : partition.dead_letters.all()) {
    if (letter.state == DeadLetterState::kDead) ++a.dead;
    if (letter.state == DeadLetterState::kDiscarded && !letter.past) ++a.discarded;
  }
  a.expired = delivery.expired_count();
  a.skipped = delivery.skipped_count();
  a.removed = delivery.removed_count();
  a.compacted = delivery.compacted_count();
  a.done = static_cast<std::uint64_t>(a.end - a.start) - a.sum();
  return a;
}

Waiting DeliveryEngine::why_waiting(const ConsumerGroup& group,
                                    const GroupPartition& partition) const {
  bool scanning = partition.scheduler.scanned() < partition.log.end();
  bool may_go = partition.ordering == Ordering::kPartition
                    ? next_in_order(partition).has_value()
                    : !partition.ready.empty() || !partition.scheduler.open().empty() ||
                          partition.scheduler.has_ready();
  if (held_full(group, partition)) return Waiting::kHeldFull;
  if (accounting(partition).ready == 0) return Waiting::kNothingReady;
  if (group.info.paused) return Waiting::kPaused;
  if (group.info.brake.state != BrakeState::kClosed) return Waiting::kBraked;
  if (!may_go && scanning && partition.index_full()) return Waiting::kIndexFull;
  // Whose key it holds back, nobody can say before the batch is read.
  if (!may_go && scanning && partition.unreadable) return Waiting::kDisk;
  if (!may_go && !scanning) return Waiting::kAllKeysBusy;
  if (!std::ranges::any_of(group.consumers, &ShardConsumer::has_credit)) return Waiting::kNoCredit;
  if (partition.delivery.leased_count() >= group.info.policy.window) return Waiting::kWindowFull;
  if (log_.admit(kLeaseRoom, false) != Admission::kAdmitted) return Waiting::kDisk;
  return Waiting::kNothing;
}

std::vector<GroupPartitionStatus> DeliveryEngine::status(GroupId id) {
  std::vector<GroupPartitionStatus> statuses;
  ConsumerGroup* group = find(id);
  if (group == nullptr) return statuses;
  for (const auto& partition : group->partitions) {
    GroupPartitionStatus status;
    status.partition = partition->index;
    status.failures = partition->delivery.failure_count();
    status.redelivered = partition->delivery.redelivery_count();
    status.accounting = accounting(*partition);
    status.waiting = why_waiting(*group, *partition);
    statuses.push_back(std::move(status));
  }
  return statuses;
}

std::vector<PartitionCheck> DeliveryEngine::check(GroupId id) {
  std::vector<PartitionCheck> checks;
  ConsumerGroup* group = find(id);
  if (group == nullptr) return checks;
  for (const auto& partition : group->partitions) {
    checks.push_back({partition->index, accounting(*partition), count(*partition)});
  }
  return checks;
}

// --- reset ---

ResetPartition DeliveryEngine::plan(const GroupPartition& partition, Offset to,
                                    bool include_dead) const {
  const DeliveryState& delivery = partition.delivery;
  ResetPartition plan;
  plan.partition = partition.index;
  plan.from = delivery.floor();
  plan.to = to;
  plan.leases_voided = delivery.leased_count();
  std::uint64_t dead_behind = 0;  // settled as dead letters, from `to` on, and not delivered again
  std::uint64_t redriving_before = 0;  // under way, and dead again instead of skipped
  for (const auto& [number, letter] : partition.dead_letters.all()) {
    bool redriving = letter.state == DeadLetterState::kRedriving;
    if (letter.state != DeadLetterState::kDead && !redriving) continue;
    if (letter.offset < to && redriving) ++redriving_before;
    if (letter.offset >= to && include_dead) continue;
    ++plan.dead_kept;
    if (letter.offset >= to && !redriving) ++dead_behind;
  }
  if (to < delivery.fresh()) {
    plan.redelivered = static_cast<std::uint64_t>(delivery.fresh() - to) -
                       delivery.unsettled_in({to, delivery.fresh() - 1}) - dead_behind;
  }
  plan.skipped = delivery.unsettled_in({delivery.start(), to - 1}) - redriving_before;
  if (to > delivery.fresh()) plan.skipped += static_cast<std::uint64_t>(to - delivery.fresh());
  return plan;
}

std::vector<ResetPartition> DeliveryEngine::plan_reset(GroupId id, const GroupStart& start,
                                                       bool include_dead) {
  std::vector<ResetPartition> plans;
  ConsumerGroup* group = find(id);
  if (group == nullptr) return plans;
  for (const auto& partition : group->partitions) {
    plans.push_back(plan(*partition, resolve(start, partition->log), include_dead));
  }
  return plans;
}

bool DeliveryEngine::has_room_for_reset(const ConsumerGroup& group) const {
  return log_.admit(group.partitions.size() * 256 + 4096, true) == Admission::kAdmitted;
}

void DeliveryEngine::run_late_resets() {
  std::vector<LateReset> late;
  std::erase_if(late_resets_, [&](const LateReset& reset) {
    ConsumerGroup* group = find(reset.group);
    bool now = group == nullptr || has_room_for_reset(*group);
    if (now) late.push_back(reset);
    return now;
  });
  for (const LateReset& one : late) {
    reset(one.group, one.epoch, one.start, one.include_dead, [](const auto&) {});
  }
}

void DeliveryEngine::reset(GroupId id, std::uint32_t epoch, const GroupStart& start,
                           bool include_dead, Done<std::vector<ResetPartition>> done) {
  ConsumerGroup* group = find(id);
  Reply<std::vector<ResetPartition>> reply = std::vector<ResetPartition>();
  if (group == nullptr) {
    reply = RequestError(Errc::kUnknownGroup, "the group was deleted");
  } else if (!has_room_for_reset(*group)) {
    // Its epoch is in the catalog: it will happen.
    late_resets_.push_back({id, epoch, start, include_dead});
    reply = RequestError(Errc::kOutcomeUnknown,
                         "the reset is recorded, but a shard has no room to carry it out yet and "
                         "does so once it has; describe the group to see");
  } else {
    for (const auto& partition : group->partitions) {
      GroupPartition& p = *partition;
      if (p.delivery.epoch() >= epoch) continue;
      Offset to = resolve(start, p.log);
      reply->push_back(plan(p, to, include_dead));
      std::set<ConsumerId> holders;
      for (const auto& [token, watch] : p.watches) {
        if (watch.sent && !watch.orphaned) holders.insert(watch.consumer);
      }
      record(p, ResetOp{epoch, to, include_dead, log_.clock().wall()});
      stage_ops(p);
      p.watches.clear();
      p.delayed.clear();
      p.dying.clear();
      rebuild(p);
      tell_revoked(p, holders, Offset{0});
    }
  }
  log_.when_durable([done = std::move(done), reply = std::move(reply)](bool durable) mutable {
    if (!durable) reply = RequestError(Errc::kOutcomeUnknown, "the shard stopped");
    done(std::move(reply));
  });
}

}  // namespace waybill

// DeliveryEngine, continued: messages that go alone, since they may have killed clients, or since
// this is their last attempt and others may have spoilt those before (D10). Such a suspect waits
// apart, until one instance holds nothing else; IsolationDesk sees to that. If the instance
// vanishes then, nothing else can have killed it, and the message is charged.
#include <algorithm>

#include "broker/core/delivery_engine.h"
#include "broker/core/shard.h"
#include "protocol/base/mutant.h"

namespace waybill {
namespace {

/// After so many crashes a message is delivered alone: one may have been any message's fault.
constexpr std::uint32_t kSuspectCrashes = 2;

}  // namespace

bool DeliveryEngine::goes_alone(const ConsumerGroup& group, const GroupPartition& partition,
                                Offset offset) {
  const TrackedMessage* message = partition.delivery.find_tracked(offset);
  if (message == nullptr) return false;
  if (message->crashes >= kSuspectCrashes) return true;
  // A message that only waited behind a slow one ends in the same way as the slow one.
  bool unclear =
      message->unexplained > 0 || message->first_failure(FailureClass::kTimeout).milliseconds != 0;
  return unclear && message->failures + 1 >= group.info.policy.max_failures &&
         !mutant("last_attempt_in_company");
}

/// Whether a suspect of the partition may go, if an instance is there for it alone.
bool DeliveryEngine::may_isolate(ConsumerGroup& group, const GroupPartition& partition) {
  if (partition.suspects.empty() || !may_grant(group) || drains(group, partition)) return false;
  // Too many wait behind dead letters: only what resolves one may go (D12).
  bool redriven = partition.is_redriven(*partition.suspects.begin());
  if (!redriven && held_full(group, partition)) return false;
  bool in_order = partition.ordering == Ordering::kPartition;
  std::uint64_t leased = partition.delivery.leased_count();
  return leased < group.info.policy.window && !(in_order && leased > 0);
}

/// Asks for an instance for each suspect of the group, as far as consumers have credit.
void DeliveryEngine::ask_for_isolation(ConsumerGroup& group) {
  MonotonicTime now = log_.clock().monotonic();
  for (const auto& partition : group.partitions) {
    if (partition->isolate_after > now || !may_isolate(group, *partition)) continue;
    StreamId stream = partition->log.id();
    auto asked =
        static_cast<std::size_t>(std::ranges::count_if(isolations_, [&](const auto& entry) {
          return entry.second.group == group.info.id && entry.second.stream == stream;
        }));
    for (const ShardConsumer& consumer : group.consumers) {
      if (asked >= partition->suspects.size()) break;
      if (!consumer.has_credit() || isolations_.contains(consumer.instance)) continue;
      IsolationAsk ask{log_.options().shard, next_ask_++};
      MonotonicTime until = now + group.info.policy.lease;
      isolations_[consumer.instance] = {group.info.id, stream, ask, until, {}};
      timers_.emplace(until, Timer{partition.get(), {}, {}});
      ++asked;
      log_.mailbox().post(
          ShardIndex{0},
          [instance = consumer.instance, ask](Shard& home) {
            home.delivery().desk_.ask(home.mailbox(), instance, ask);
          },
          Mailbox::Kind::kAnswer);
    }
    if (asked == 0) ask_for_credit(group);
  }
}

void DeliveryEngine::set_quiet(InstanceId instance, bool quiet) {
  for (auto& [id, group] : groups_) {
    for (ShardConsumer& consumer : group->consumers) {
      if (consumer.instance != instance) continue;
      consumer.quiet = quiet;
      mark_dirty(*group);
    }
  }
}

void DeliveryEngine::hush(InstanceId instance, std::uint64_t round) {
  hushed_[instance] = {.round = round};
  set_quiet(instance, true);
}

void DeliveryEngine::unhush(InstanceId instance) {
  hushed_.erase(instance);
  set_quiet(instance, false);
}

void DeliveryEngine::isolate(InstanceId instance, std::uint64_t number) {
  auto found = isolations_.find(instance);
  if (found == isolations_.end() || found->second.ask.number != number) return;  // withdrawn
  Isolation& isolation = found->second;
  if (ConsumerGroup* group = find(isolation.group)) grant_alone(*group, isolation, instance);
  if (isolation.token == LeaseToken{}) end_isolation(instance);
}

/// Leases the partition's first suspect to the instance, if it still may.
void DeliveryEngine::grant_alone(ConsumerGroup& group, Isolation& isolation, InstanceId instance) {
  GroupPartition* partition = group.find(isolation.stream);
  auto consumer = std::ranges::find_if(group.consumers, [&](const ShardConsumer& c) {
    return c.instance == instance && c.credit.messages > 0 && c.credit.bytes > 0;
  });
  if (partition == nullptr || consumer == group.consumers.end()) return;
  if (!may_isolate(group, *partition)) return;
  Offset offset = *partition->suspects.begin();
  partition->suspects.erase(offset);
  OffsetRange range{offset, offset};
  if (drop_next(group, *partition, range)) return;
  if (partition->ordering == Ordering::kPartition) partition->owner = consumer->id;
  isolation.token = grant_single(group, *partition, *consumer, offset);
  if (isolation.token != LeaseToken{}) partition->watches[isolation.token].alone = true;
}

void DeliveryEngine::end_isolation(InstanceId instance) {
  Isolation ended = isolations_.extract(instance).mapped();
  ConsumerGroup* group = find(ended.group);
  GroupPartition* partition = group == nullptr ? nullptr : group->find(ended.stream);
  if (group != nullptr) mark_dirty(*group);
  // It came to nothing, mostly since handlers are busy: for as long as it may wait, the instance
  // gets other work.
  if (partition != nullptr && ended.token == LeaseToken{}) {
    partition->isolate_after = log_.clock().monotonic() + group->info.policy.lease;
    timers_.emplace(partition->isolate_after, Timer{partition, {}, {}});
  }
  log_.mailbox().post(
      ShardIndex{0},
      [instance, ask = ended.ask](Shard& home) {
        home.delivery().desk_.over(home.mailbox(), instance, ask);
      },
      Mailbox::Kind::kAnswer);
}

bool DeliveryEngine::is_attached(InstanceId instance) const {
  return std::ranges::any_of(groups_, [&](const auto& entry) {
    const std::vector<ShardConsumer>& consumers = entry.second->consumers;
    return std::ranges::find(consumers, instance, &ShardConsumer::instance) != consumers.end();
  });
}

bool DeliveryEngine::holds_lease(InstanceId instance) const {
  for (const auto& [id, group] : groups_) {
    for (const auto& partition : group->partitions) {
      for (const auto& [token, lease] : partition->delivery.leases()) {
        if (lease.instance == instance) return true;
      }
    }
  }
  return false;
}

/// At the end of a turn: tells of instances that hold nothing any more, and of suspects that are
/// done or have waited too long.
void DeliveryEngine::run_isolation() {
  for (auto& [instance, hush] : hushed_) {
    if (hush.told || holds_lease(instance)) continue;
    hush.told = true;
    log_.mailbox().post(
        ShardIndex{0},
        [instance = instance, round = hush.round](Shard& home) {
          home.delivery().desk_.hushed(home.mailbox(), instance, round);
        },
        Mailbox::Kind::kAnswer);
  }
  MonotonicTime now = log_.clock().monotonic();
  std::vector<InstanceId> over;
  for (const auto& [instance, isolation] : isolations_) {
    ConsumerGroup* group = find(isolation.group);
    GroupPartition* partition = group == nullptr ? nullptr : group->find(isolation.stream);
    bool waits = isolation.token == LeaseToken{} && isolation.until > now;
    bool runs = partition != nullptr && partition->delivery.find_lease(isolation.token) != nullptr;
    if (partition == nullptr || (!waits && !runs)) over.push_back(instance);
  }
  for (InstanceId instance : over) end_isolation(instance);
}

}  // namespace waybill

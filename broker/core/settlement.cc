// DeliveryEngine, continued: how a lease ends - settled by its consumer, run out, or lost with it.
#include <algorithm>
#include <set>
#include <utility>

#include "broker/core/delivery_engine.h"
#include "broker/core/shard.h"
#include "protocol/base/limits.h"
#include "protocol/base/mutant.h"

namespace waybill {
namespace {

FailureAction action_of(const FailureRules& rules, FailureClass failure_class) {
  switch (failure_class) {
    case FailureClass::kTransient:
      return rules.transient;
    case FailureClass::kFailed:
      return rules.failed;
    case FailureClass::kInvalid:
      return rules.invalid;
    case FailureClass::kTimeout:
      return rules.timeout;
    case FailureClass::kUnexplained:
      break;
  }
  return FailureAction::kCharge;
}

std::uint32_t saturated_ms(std::int64_t milliseconds) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(milliseconds, 0, UINT32_MAX));
}

/// The parts of `range` that this instance may settle under the token: leased, and not on the way
/// to the dead letters already.
void find_held(const GroupPartition& partition, LeaseToken token, InstanceId instance,
               OffsetRange range, std::vector<OffsetRange>& parts) {
  parts.clear();
  const OpenLease* lease = partition.delivery.find_lease(token);
  if (lease == nullptr || (lease->instance != instance && !mutant("ignore_instance"))) return;
  auto open = lease->open.find(range.first);
  for (; open != lease->open.end() && open->first <= range.last; ++open) {
    OffsetRange part{std::max(open->first, range.first), std::min(open->last, range.last)};
    for (auto dying = partition.dying.lower_bound(part.first);
         dying != partition.dying.end() && *dying <= part.last; ++dying) {
      if (part.first < *dying) parts.push_back({part.first, *dying - 1});
      part.first = *dying + 1;
    }
    if (part.first <= part.last) parts.push_back(part);
  }
}

/// Whether what of `range` is in none of the parts was settled before. A settlement may be repeated
/// in other ranges than it was first made: the consumer joins what it has not heard of (D5).
bool rest_is_settled(const GroupPartition& partition, const std::vector<OffsetRange>& parts,
                     OffsetRange range) {
  auto settled = [&](Offset first, Offset last) {
    for (; first <= last; ++first) {
      if (partition.dying.contains(first)) continue;
      auto dying = partition.dying.upper_bound(first);
      Offset until = dying == partition.dying.end() ? last : std::min(last, *dying - 1);
      if (!partition.delivery.is_settled({first, until})) return false;
      first = until;
    }
    return true;
  };
  if (range.count() < 1) return false;
  Offset next = range.first;
  for (OffsetRange part : parts) {
    if (!settled(next, part.first - 1)) return false;
    next = part.last + 1;
  }
  return settled(next, range.last);
}

}  // namespace

/// One settle request while some of its messages are still being buried.
struct DeliveryEngine::SettleCall {
  ShardLog& log;
  SettleReply reply;
  std::size_t missing = 1;  ///< outcomes that come later, and the call itself
  Done<SettleReply> done;
};

// --- settling ---

void DeliveryEngine::settle(GroupId id, InstanceId instance, std::vector<Settlement> settlements,
                            Done<SettleReply> done) {
  auto call = std::make_shared<SettleCall>(SettleCall{log_, {}, 1, std::move(done)});
  call->reply.outcomes.assign(settlements.size(), SettleOutcome::kDone);
  ConsumerGroup* group = find(id);
  std::vector<OffsetRange> parts;
  for (std::size_t i = 0; i < settlements.size(); ++i) {
    std::optional<Reply<SettleOutcome>> outcome =
        RequestError(Errc::kUnknownGroup, "the group was deleted");
    if (group != nullptr) outcome = settle_one(*group, instance, settlements[i], parts, call, i);
    if (outcome) call->reply.outcomes[i] = std::move(*outcome);
  }
  finish(call);
}

/// One outcome less is missing. With the last the request is answered, when it is durable.
void DeliveryEngine::finish(const std::shared_ptr<SettleCall>& call) {
  if (--call->missing > 0) return;
  call->log.when_durable([call](bool durable) {
    if (!durable) return call->done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    call->done(std::move(call->reply));
  });
}

/// The outcome; nothing if it comes later, as outcome `index` of the call. `parts` is memory to
/// use.
std::optional<Reply<SettleOutcome>> DeliveryEngine::settle_one(
    ConsumerGroup& group, InstanceId instance, const Settlement& settlement,
    std::vector<OffsetRange>& parts, const std::shared_ptr<SettleCall>& call, std::size_t index) {
  GroupPartition* partition = group.find(settlement.partition);
  if (partition == nullptr) {
    return RequestError(Errc::kUnknownPartition, "the group has no such partition here");
  }
  LeaseToken token = settlement.token;
  if (mutant("ignore_token")) {
    for (const auto& [open, lease] : partition->delivery.leases()) {
      if (!lease.holds(settlement.range)) continue;
      token = open;
      instance = lease.instance;
    }
  }
  find_held(*partition, token, instance, settlement.range, parts);
  if (parts.empty() && settlement.range.last < partition->delivery.removed_to()) {
    return RequestError(Errc::kLeaseLost,
                        "the topic's limit removed the message before this settlement");
  }
  if (!rest_is_settled(*partition, parts, settlement.range)) {
    return RequestError(Errc::kLeaseLost,
                        "the lease ended before this settlement; the message is or will be "
                        "delivered again");
  }
  if (parts.empty()) return RequestError(Errc::kAlreadySettled, "it was settled before");
  std::int64_t count = 0;
  for (OffsetRange part : parts) count += part.count();
  if (log_.admit(static_cast<std::size_t>(count) * 128 + 4096, true) != Admission::kAdmitted) {
    return RequestError(Errc::kDiskFull, "no room to record a settlement; try again later");
  }
  std::optional<Reply<SettleOutcome>> outcome = SettleOutcome::kDone;
  switch (settlement.verb) {
    case SettleVerb::kAck:
      for (OffsetRange part : parts) {
        note(group, *partition, part, false);
        record(*partition, AckOp{token, part});
      }
      metrics_.acked_messages += static_cast<std::uint64_t>(count);
      break;
    case SettleVerb::kRelease:
      for (OffsetRange part : parts) release(*partition, token, part);
      revoke_after(*partition, parts.front().first);
      outcome = SettleOutcome::kReleased;
      break;
    case SettleVerb::kRetry:
    case SettleVerb::kDeadLetter:
      fail_parts(group, *partition, token, settlement, parts, call, index);
      outcome.reset();
      break;
  }
  if (partition->delivery.find_lease(token) == nullptr) partition->watches.erase(token);
  touch(*partition);
  return outcome;
}

void DeliveryEngine::extend(GroupId id, InstanceId instance, std::vector<LeaseExtension> leases,
                            Done<ExtendReply> done) {
  ExtendReply reply;
  ConsumerGroup* group = find(id);
  for (const LeaseExtension& extension : leases) {
    GroupPartition* partition = group == nullptr ? nullptr : group->find(extension.partition);
    const OpenLease* lease =
        partition == nullptr ? nullptr : partition->delivery.find_lease(extension.token);
    if (lease == nullptr || lease->instance != instance) {
      reply.outcomes.emplace_back(RequestError(Errc::kLeaseLost, "the lease ended"));
      continue;
    }
    // Deadlines are of this run only: a lease of before a restart or of a lost connection has its
    // full time again once its instance claims it (D5).
    LeaseWatch& watch = partition->watches[extension.token];
    watch.deadline = log_.clock().monotonic() + group->info.policy.lease;
    // An orphan's timer may be later than a short lease ends; any other lease has one that is not.
    if (std::exchange(watch.orphaned, false)) {
      watch_until(*partition, extension.token, watch.deadline);
    }
    if (extension.started) {
      for (OffsetRange open : lease->open) {
        OffsetRange part{std::max(open.first, extension.range.first),
                         std::min(open.last, extension.range.last)};
        for (Offset o = part.first; o <= part.last; ++o) {
          if (!watch.started.contains(o)) watch.started.add({o, o});
        }
      }
    }
    reply.outcomes.emplace_back();
  }
  log_.when_durable([done = std::move(done), reply = std::move(reply)](bool durable) mutable {
    if (!durable) return done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    done(std::move(reply));
  });
}

// --- failing ---

/// One change per message (S3); the outcome of the settlement is that of the last.
void DeliveryEngine::fail_parts(ConsumerGroup& group, GroupPartition& partition, LeaseToken token,
                                const Settlement& settlement, const std::vector<OffsetRange>& parts,
                                const std::shared_ptr<SettleCall>& call, std::size_t index) {
  std::vector<Offset> offsets;
  for (OffsetRange part : parts) {
    for (Offset offset = part.first; offset <= part.last; ++offset) offsets.push_back(offset);
  }
  // In order, only the first can fail: what comes behind it is taken back (D8).
  if (partition.ordering == Ordering::kPartition) offsets.resize(1);
  ++call->missing;
  auto rest = std::make_shared<std::size_t>(offsets.size());
  for (Offset offset : offsets) {
    fail(group, partition, token, offset, settlement,
         [call, index, rest](Reply<SettleOutcome> outcome) {
           if (--*rest > 0) return;
           call->reply.outcomes[index] = std::move(outcome);
           finish(call);
         });
  }
}

void DeliveryEngine::fail(ConsumerGroup& group, GroupPartition& partition, LeaseToken token,
                          Offset offset, const Settlement& settlement,
                          std::move_only_function<void(Reply<SettleOutcome>)> done) {
  const OpenLease* lease = partition.delivery.find_lease(token);
  const TrackedMessage* tracked = partition.delivery.find_tracked(offset);
  WallTime now = log_.clock().wall();
  Attempt attempt;
  attempt.at = now;
  attempt.delivery = tracked != nullptr ? tracked->deliveries : 1;
  attempt.duration_ms = saturated_ms(now.milliseconds - lease->at.milliseconds);
  attempt.consumer = lease->instance;
  attempt.failure = bounded(settlement.failure);

  FailureClass failure_class = attempt.failure.failure_class;
  const FailureRules& rules = group.info.policy.failures;
  FailureAction action = action_of(rules, failure_class);
  bool charged = true;
  if (action == FailureAction::kFree && !mutant("charge_transient")) {
    WallTime first = tracked != nullptr ? tracked->first_failure(failure_class) : WallTime{};
    charged =
        first.milliseconds != 0 && now.milliseconds - first.milliseconds > rules.free_for.count();
  }
  // While the brake is not closed nothing is charged, except where the head cannot rotate (D13).
  bool braked = group.info.brake.state != BrakeState::kClosed;
  if (braked && partition.ordering != Ordering::kPartition) charged = false;
  std::uint32_t failures = (tracked != nullptr ? tracked->failures : 0) + (charged ? 1 : 0);
  if (mutant("one_attempt_more") && failures > 0) --failures;
  ++metrics_.failed_attempts;
  bool brakes =
      failure_class != FailureClass::kInvalid && failure_class != FailureClass::kUnexplained;
  if (brakes) note(group, partition, {offset, offset}, true);

  std::optional<DeadLetterReason> reason;
  if (settlement.verb == SettleVerb::kDeadLetter) {
    reason = DeadLetterReason::kRequested;
  } else if (action == FailureAction::kDeadLetter) {
    reason = failure_class == FailureClass::kInvalid ? DeadLetterReason::kInvalid
                                                     : DeadLetterReason::kMaxFailures;
  } else if (charged && failures >= group.info.policy.max_failures) {
    reason = DeadLetterReason::kMaxFailures;
  }
  if (reason) {
    kill(partition, {.token = token,
                     .offset = offset,
                     .reason = *reason,
                     .attempt = std::move(attempt),
                     .charged = charged,
                     .done = std::move(done)});
    return revoke_after(partition, offset);
  }
  // What is not charged must wait longer each time too, or a day of outage would be a hundred
  // deliveries (D3) within minutes.
  std::uint32_t step = charged ? failures : attempt.delivery;
  std::chrono::milliseconds wait =
      settlement.retry_after
          ? std::clamp<std::chrono::milliseconds>(*settlement.retry_after, {},
                                                  limits::kMaxRetryAfter)
          : backoff_delay(group.info.policy.backoff, std::max<std::uint32_t>(step, 1),
                          log_.random().next());
  WaitOp op{token, offset, charged, {now.milliseconds + wait.count()}, std::move(attempt)};
  record(partition, std::move(op));
  revoke_after(partition, offset);
  done(SettleOutcome::kDelayed);
}

/// In a group of order `partition`, what was leased behind the offset is taken back, uncharged:
/// what is before it must be done first (D8).
void DeliveryEngine::revoke_after(GroupPartition& partition, Offset offset) {
  if (partition.ordering != Ordering::kPartition || mutant("nothing_is_revoked")) return;
  std::vector<std::pair<LeaseToken, OffsetRange>> behind;
  for (const auto& [token, lease] : partition.delivery.leases()) {
    for (OffsetRange range : lease.open) {
      range.first = std::max(range.first, offset + 1);
      if (range.count() > 0) behind.emplace_back(token, range);
    }
  }
  std::set<ConsumerId> holders;
  for (auto [token, range] : behind) {
    release(partition, token, range, ReleaseKind::kRevoked);
    auto watch = partition.watches.find(token);
    if (watch == partition.watches.end()) continue;
    ConsumerId consumer = watch->second.consumer;
    if (watch->second.sent && !watch->second.orphaned) holders.insert(consumer);
    if (partition.delivery.find_lease(token) == nullptr) partition.watches.erase(watch);
  }
  tell_revoked(partition, holders, offset + 1);
}

/// Tells consumers that what they hold of the partition from `first` on is not theirs any more.
void DeliveryEngine::tell_revoked(GroupPartition& partition, const std::set<ConsumerId>& holders,
                                  Offset first) {
  ConsumerGroup* group = find(partition.group);
  touch(partition);
  for (ConsumerId id : holders) {
    const ShardConsumer* consumer = group->find_consumer(id);
    if (consumer == nullptr) continue;
    RevokePush push{.subscription = 0, .partition = partition.index, .first = first};
    log_.when_durable([this, gateway = consumer->gateway, id, push](bool durable) {
      if (!durable) return;
      log_.mailbox().post(
          id.home, [gateway, id, push](Shard&) { gateway->on_revoked(id, push); },
          Mailbox::Kind::kAnswer);
    });
  }
}

// --- the brake ---

/// Keeps for the brake how attempts ended. So many successes that it knows enough are kept, no
/// more.
void DeliveryEngine::note(ConsumerGroup& group, const GroupPartition& partition, OffsetRange range,
                          bool failed) {
  const BrakePolicy& brake = group.info.policy.brake;
  if (!outcomes_ || !brake.enabled) return;
  if (group.outcomes.empty()) noted_.push_back(group.info.id);
  bool redriven = range.count() == 1 && partition.is_redriven(range.first);
  if (failed || redriven) {
    group.successes = 0;
    group.outcomes.push_back({partition.index, range.first, failed, redriven});
    return;
  }
  for (Offset o = range.first; o <= range.last && group.successes < brake.outcomes; ++o) {
    ++group.successes;
    group.outcomes.push_back({partition.index, o, false, false});
  }
}

void DeliveryEngine::tell_outcomes() {
  for (GroupId id : std::exchange(noted_, {})) {
    ConsumerGroup* group = find(id);
    if (group == nullptr) continue;
    group->successes = 0;
    log_.when_durable(
        [this, id, outcomes = std::exchange(group->outcomes, {})](bool durable) mutable {
          if (durable) outcomes_(id, std::move(outcomes));
        });
  }
}

// --- running out ---

void DeliveryEngine::run_timer(const Timer& timer) {
  GroupPartition& partition = *timer.partition;
  if (timer.lease != LeaseToken{}) return expire(partition, timer.lease);
  touch(partition);
  if (!timer.offset) {
    partition.alarm.reset();
    partition.reading = false;
    return;
  }
  auto waits = partition.delayed.find(*timer.offset);
  if (waits == partition.delayed.end() || waits->second > log_.clock().monotonic()) return;
  partition.delayed.erase(waits);
  available(partition, *timer.offset);
}

void DeliveryEngine::expire(GroupPartition& partition, LeaseToken token) {
  auto found = partition.watches.find(token);
  const OpenLease* lease = partition.delivery.find_lease(token);
  if (found == partition.watches.end() || lease == nullptr) return;
  LeaseWatch watch = found->second;
  if (watch.deadline > log_.clock().monotonic()) {  // it was extended
    return watch_until(partition, token, watch.deadline);
  }
  ++metrics_.expired_leases;
  if (watch.orphaned) return end_unexplained(partition, token);
  ConsumerGroup* group = find(partition.group);
  Settlement timeout;
  timeout.verb = SettleVerb::kRetry;
  timeout.failure = {FailureClass::kTimeout, "lease_expired",
                     "the consumer neither settled nor extended the lease in time"};
  std::vector<OffsetRange> open = lease->open.copy();
  for (OffsetRange range : open) {
    for (Offset next = range.first; next <= range.last;) {
      OffsetRange run = watch.started.run_from(next);
      bool started = run.count() > 0 && run.first == next;
      OffsetRange part{next, next};
      if (!started) part.last = run.count() > 0 ? std::min(range.last, run.first - 1) : range.last;
      if (mutant("charge_unstarted")) part.last = part.first;
      next = part.last + 1;
      lease = partition.delivery.find_lease(token);
      if (lease == nullptr || partition.dying.contains(part.first)) continue;
      if (!lease->holds({part.first, part.first})) continue;  // revoked since
      if (started || mutant("charge_unstarted")) {
        fail(*group, partition, token, part.first, timeout, [](auto) {});
      } else {  // nobody had begun: no failure (D6)
        release(partition, token, part);
        revoke_after(partition, part.first);
      }
    }
  }
  if (partition.delivery.find_lease(token) == nullptr) partition.watches.erase(token);
  touch(partition);
}

void DeliveryEngine::end_unexplained(GroupPartition& partition, LeaseToken token) {
  const OpenLease* lease = partition.delivery.find_lease(token);
  std::vector<OffsetRange> open = lease->open.copy();
  ConsumerGroup* group = find(partition.group);
  const LeaseWatch& watch = partition.watches.at(token);
  // After a restart of the broker nobody can tell; what a client that is there does not claim never
  // reached it. But one that stays away has vanished while it held these.
  bool crashed = watch.consumer != ConsumerId{} && !is_attached(lease->instance);
  bool guilty = crashed && (watch.alone || mutant("charge_the_crowd"));
  ReleaseKind kind = crashed ? ReleaseKind::kCrashed : ReleaseKind::kUnexplained;
  Settlement crash;
  crash.verb = SettleVerb::kRetry;
  crash.failure = {FailureClass::kUnexplained, "consumer_crashed",
                   "the consumer vanished while it held only this message"};
  for (OffsetRange range : open) {
    for (Offset o = range.first; o <= range.last; ++o) {
      if (partition.dying.contains(o)) continue;
      if (guilty) {
        fail(*group, partition, token, o, crash, [](auto) {});
        continue;
      }
      const TrackedMessage* tracked = partition.delivery.find_tracked(o);
      if (tracked != nullptr && tracked->unexplained + 1 >= limits::kMaxUnexplained) {
        kill(partition, {.token = token,
                         .offset = o,
                         .reason = DeadLetterReason::kCrashLoop,
                         .attempt = {},
                         .done = {}});
        continue;
      }
      record(partition, ReleaseOp{token, {o, o}, kind});
    }
  }
  if (!open.empty()) revoke_after(partition, open.front().first);
  if (partition.delivery.find_lease(token) == nullptr) partition.watches.erase(token);
  touch(partition);
}

}  // namespace waybill

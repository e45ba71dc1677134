// DeliveryEngine, continued: how a lease ends - settled by its consumer, run out, or lost with it -
// and how a message becomes a dead letter.
#include <algorithm>
#include <string>
#include <utility>

#include "broker/core/delivery_engine.h"
#include "broker/core/shard.h"
#include "protocol/base/limits.h"
#include "protocol/base/mutant.h"
#include "protocol/record/batch_builder.h"
#include "protocol/record/batch_view.h"
#include "protocol/record/record_batch.h"
#include "protocol/record/reserved_headers.h"

namespace waybill {
namespace {

/// How long a message waits that should become a dead letter while its payload cannot be read.
constexpr std::chrono::seconds kUnreadableWait{60};

std::uint32_t saturated_ms(std::int64_t milliseconds) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(milliseconds, 0, UINT32_MAX));
}

/// The record of a one-record batch as it may be written again: without what the broker added.
Result<RecordDraft> draft_of(const RecordView& record) {
  RecordDraft draft{record.key, record.value, {}, record.timestamp};
  for (const HeaderView& header : record.headers) {
    if (header.key == kDeathHeader || header.key == kFixHeader ||
        header.key == reserved_headers::kRedrive) {
      continue;
    }
    draft.headers.emplace_back(header.key, header.value);
  }
  return draft;
}

/// Calls use(const RecordView&) with the only record of the batch.
template <class Use>
Result<ByteVector> with_record(Bytes batch, Use use) {
  Result<BatchReader> reader = BatchReader::open(batch);
  if (!reader) return reader.error();
  Result<std::optional<RecordView>> record = reader->next();
  if (!record) return record.error();
  if (!record->has_value()) return {Errc::kInvalidBatch, "a batch without its record"};
  return use(**record);
}

Result<ByteVector> build_one(const RecordDraft& draft, Offset offset) {
  BatchBuilder builder;
  if (Result<void> added = builder.add(draft); !added) return added.error();
  ByteVector batch = builder.build();
  stamp_base_offset(batch, offset);
  stamp_leader_epoch(batch, 0);
  return batch;
}

/// One of the ranges holds all of `range`.
bool covers(const std::vector<OffsetRange>& ranges, OffsetRange range) {
  return std::ranges::any_of(
      ranges, [&](OffsetRange r) { return r.first <= range.first && range.last <= r.last; });
}

/// The parts of `range` that this instance may settle under the token: leased, and not on the way
/// to the dead letters already.
std::vector<OffsetRange> still_held(const GroupPartition& partition, LeaseToken token,
                                    InstanceId instance, OffsetRange range) {
  std::vector<OffsetRange> parts;
  const OpenLease* lease = partition.delivery.find_lease(token);
  if (lease == nullptr || (lease->instance != instance && !mutant("ignore_instance"))) return parts;
  for (OffsetRange open : lease->open) {
    OffsetRange part{std::max(open.first, range.first), std::min(open.last, range.last)};
    for (auto dying = partition.dying.lower_bound(part.first);
         dying != partition.dying.end() && *dying <= part.last; ++dying) {
      if (part.first < *dying) parts.push_back({part.first, *dying - 1});
      part.first = *dying + 1;
    }
    if (part.first <= part.last) parts.push_back(part);
  }
  return parts;
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
  SettleReply reply;
  std::size_t missing = 0;
  Done<SettleReply> done;
};

// --- settling ---

void DeliveryEngine::settle(GroupId id, InstanceId instance, std::vector<Settlement> settlements,
                            Done<SettleReply> done) {
  auto call = std::make_shared<SettleCall>();
  call->done = std::move(done);
  call->missing = settlements.size() + 1;
  call->reply.outcomes.assign(settlements.size(), SettleOutcome::kDone);
  auto finished = [this, call] {
    if (--call->missing > 0) return;
    log_.when_durable([call](bool durable) {
      if (!durable) return call->done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
      call->done(std::move(call->reply));
    });
  };
  ConsumerGroup* group = find(id);
  for (std::size_t i = 0; i < settlements.size(); ++i) {
    auto answer = [call, finished, i](Reply<SettleOutcome> outcome) {
      call->reply.outcomes[i] = std::move(outcome);
      finished();
    };
    if (group == nullptr) {
      answer(RequestError(Errc::kUnknownGroup, "the group was deleted"));
    } else {
      settle_one(*group, instance, settlements[i], std::move(answer));
    }
  }
  finished();
}

void DeliveryEngine::settle_one(ConsumerGroup& group, InstanceId instance,
                                const Settlement& settlement,
                                std::move_only_function<void(Reply<SettleOutcome>)> done) {
  GroupPartition* partition = group.find(settlement.partition);
  if (partition == nullptr) {
    return done(RequestError(Errc::kUnknownPartition, "the group has no such partition here"));
  }
  LeaseToken token = settlement.token;
  if (mutant("ignore_token")) {
    for (const auto& [open, lease] : partition->delivery.leases()) {
      if (!lease.holds(settlement.range)) continue;
      token = open;
      instance = lease.instance;
    }
  }
  std::vector<OffsetRange> parts = still_held(*partition, token, instance, settlement.range);
  if (!rest_is_settled(*partition, parts, settlement.range)) {
    return done(RequestError(Errc::kLeaseLost,
                             "the lease ended before this settlement; the message is or will be "
                             "delivered again"));
  }
  if (parts.empty()) return done(RequestError(Errc::kAlreadySettled, "it was settled before"));
  std::int64_t count = 0;
  for (OffsetRange part : parts) count += part.count();
  if (log_.admit(static_cast<std::size_t>(count) * 128 + 4096, true) != Admission::kAdmitted) {
    return done(RequestError(Errc::kDiskFull, "no room to record a settlement; try again later"));
  }
  switch (settlement.verb) {
    case SettleVerb::kAck:
      for (OffsetRange part : parts) record(*partition, AckOp{token, part});
      metrics_.acked_messages += static_cast<std::uint64_t>(count);
      done(SettleOutcome::kDone);
      break;
    case SettleVerb::kRelease:
      for (OffsetRange part : parts) release(*partition, token, part);
      done(SettleOutcome::kReleased);
      break;
    case SettleVerb::kRetry:
    case SettleVerb::kDeadLetter: {
      // One change per message (S3); the range is answered when its last one is.
      auto rest = std::make_shared<std::int64_t>(count);
      auto all_done = std::make_shared<decltype(done)>(std::move(done));
      for (OffsetRange part : parts) {
        for (Offset offset = part.first; offset <= part.last; ++offset) {
          fail(group, *partition, token, offset, settlement,
               [rest, all_done](Reply<SettleOutcome> outcome) {
                 if (--*rest == 0) (*all_done)(std::move(outcome));
               });
        }
      }
      break;
    }
  }
  if (partition->delivery.find_lease(token) == nullptr) partition->watches.erase(token);
  touch(*partition);
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
    if (extension.started && !covers(watch.started, extension.range)) {
      watch.started.push_back(extension.range);
    }
    reply.outcomes.emplace_back();
  }
  log_.when_durable([done = std::move(done), reply = std::move(reply)](bool durable) mutable {
    if (!durable) return done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    done(std::move(reply));
  });
}

// --- failing ---

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
  bool charged = true;
  if (failure_class == FailureClass::kTransient && !mutant("charge_transient")) {
    std::int64_t first = tracked != nullptr ? tracked->first_transient.milliseconds : 0;
    charged = first != 0 &&
              now.milliseconds - first > limits::kTransientFree / std::chrono::milliseconds(1);
  }
  std::uint32_t failures = (tracked != nullptr ? tracked->failures : 0) + (charged ? 1 : 0);
  if (mutant("one_attempt_more") && failures > 0) --failures;
  ++metrics_.failed_attempts;

  std::optional<DeadLetterReason> reason;
  if (settlement.verb == SettleVerb::kDeadLetter) {
    reason = DeadLetterReason::kRequested;
  } else if (failure_class == FailureClass::kInvalid) {
    reason = DeadLetterReason::kInvalid;
  } else if (charged && failures >= group.info.policy.max_failures) {
    reason = DeadLetterReason::kMaxFailures;
  }
  if (reason) {
    return kill(partition, {.token = token,
                            .offset = offset,
                            .reason = *reason,
                            .attempt = std::move(attempt),
                            .charged = charged,
                            .done = std::move(done)});
  }
  // What is not charged must wait longer each time too, or a day of outage would be a hundred
  // deliveries (D3) within minutes.
  std::uint32_t step = failure_class == FailureClass::kTransient ? attempt.delivery : failures;
  std::chrono::milliseconds wait =
      settlement.retry_after
          ? std::clamp<std::chrono::milliseconds>(*settlement.retry_after, {},
                                                  limits::kMaxRetryAfter)
          : backoff_delay(group.info.policy.backoff, std::max<std::uint32_t>(step, 1),
                          log_.random().next());
  WaitOp op{token, offset, charged, {now.milliseconds + wait.count()}, std::move(attempt)};
  record(partition, std::move(op));
  timers_.emplace(log_.clock().monotonic() + wait, Timer{&partition, {}, offset});
  done(SettleOutcome::kDelayed);
}

void DeliveryEngine::run_timer(const Timer& timer) {
  GroupPartition& partition = *timer.partition;
  if (timer.lease != LeaseToken{}) return expire(partition, timer.lease);
  const TrackedMessage* tracked = partition.delivery.find_tracked(timer.offset);
  if (tracked == nullptr || tracked->leased || partition.dying.contains(timer.offset)) return;
  partition.ready.insert(timer.offset);
  touch(partition);
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
  std::vector<OffsetRange> open = lease->open;
  for (OffsetRange range : open) {
    if (watch.started.empty() && !mutant("charge_unstarted")) {
      release(partition, token, range);
      continue;
    }
    Settlement timeout;
    timeout.verb = SettleVerb::kRetry;
    timeout.failure = {FailureClass::kTimeout, "lease_expired",
                       "the consumer neither settled nor extended the lease in time"};
    for (Offset o = range.first; o <= range.last; ++o) {
      if (partition.dying.contains(o)) continue;
      // Nobody had begun: no failure (D6).
      if (!covers(watch.started, {o, o}) && !mutant("charge_unstarted")) {
        release(partition, token, {o, o});
      } else {
        fail(*group, partition, token, o, timeout, [](auto) {});
      }
    }
  }
  if (partition.delivery.find_lease(token) == nullptr) partition.watches.erase(token);
  touch(partition);
}

void DeliveryEngine::end_unexplained(GroupPartition& partition, LeaseToken token) {
  const OpenLease* lease = partition.delivery.find_lease(token);
  std::vector<OffsetRange> open = lease->open;
  for (OffsetRange range : open) {
    for (Offset o = range.first; o <= range.last; ++o) {
      if (partition.dying.contains(o)) continue;
      const TrackedMessage* tracked = partition.delivery.find_tracked(o);
      if (tracked != nullptr && tracked->unexplained + 1 >= limits::kMaxUnexplained) {
        kill(partition, {.token = token,
                         .offset = o,
                         .reason = DeadLetterReason::kCrashLoop,
                         .attempt = {},
                         .done = {}});
        continue;
      }
      record(partition, ReleaseOp{token, {o, o}, true});
      partition.ready.insert(o);
    }
  }
  if (partition.delivery.find_lease(token) == nullptr) partition.watches.erase(token);
  touch(partition);
}

// --- dying ---

void DeliveryEngine::read_payload(GroupPartition& partition, Offset offset,
                                  std::move_only_function<void(Result<SharedBytes>)> done) {
  const TrackedMessage* tracked = partition.delivery.find_tracked(offset);
  bool redriven = tracked != nullptr && tracked->dead_letter != 0;
  const Stream& stream = redriven ? partition.dead_stream : partition.log;
  Offset at = offset;
  if (redriven) at = partition.dead_letters.find(tracked->dead_letter)->records.back();
  if (redriven && mutant("redrive_the_original")) {
    at = partition.dead_letters.find(tracked->dead_letter)->records.front();
  }
  std::uint32_t redrive = redriven ? tracked->redrive : 0;
  log_.read(
      stream, stream.index_of(at), 1,
      [offset, redrive, done = std::move(done)](Result<std::vector<SharedBytes>> batches) mutable {
        if (!batches) return done(batches.error());
        Bytes batch = batches->front().view();
        Result<ByteVector> one = extract_record(batch, offset);
        if (redrive != 0) {
          // The dead-letter stream counts its own offsets; the message keeps the one it was born
          // with.
          one = with_record(batch, [&](const RecordView& record) -> Result<ByteVector> {
            Result<RecordDraft> draft = draft_of(record);
            if (!draft) return draft.error();
            std::array<std::byte, sizeof redrive> count;
            store_little(count.data(), redrive);
            draft->headers.emplace_back(reserved_headers::kRedrive, count);
            return build_one(*draft, offset);
          });
        }
        if (!one) return done(one.error());
        done(SharedBytes(std::move(*one)));
      });
}

void DeliveryEngine::kill(GroupPartition& partition, Death death) {
  partition.dying.insert(death.offset);
  Offset offset = death.offset;
  auto buried = [this, group_id = partition.group, stream = partition.log.id(),
                 death = std::move(death)](Result<SharedBytes> batch) mutable {
    ConsumerGroup* group = find(group_id);
    GroupPartition* p = group == nullptr ? nullptr : group->find(stream);
    auto answer = [&death](Reply<SettleOutcome> outcome) {
      if (death.done) death.done(std::move(outcome));
    };
    if (p == nullptr) return answer(RequestError(Errc::kUnknownGroup, "the group was deleted"));
    if (log_.journal().poisoned()) {
      return answer(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    }
    p->dying.erase(death.offset);
    Result<void> done = batch ? bury(*p, death, *batch) : Result<void>(batch.error());
    if (!done) survive(*p, death, done.error());
    if (p->delivery.find_lease(death.token) == nullptr) p->watches.erase(death.token);
    touch(*p);
    answer(done ? SettleOutcome::kDead : SettleOutcome::kDelayed);
  };
  read_payload(partition, offset, std::move(buried));
}

/// Its payload could not be copied, so it cannot die yet: it waits, and dies at its next end.
void DeliveryEngine::survive(GroupPartition& partition, Death& death, const Error& error) {
  MonotonicTime again = log_.clock().monotonic() + kUnreadableWait;
  timers_.emplace(again, Timer{&partition, {}, death.offset});
  if (death.token == LeaseToken{}) return;
  const OpenLease* lease = partition.delivery.find_lease(death.token);
  WallTime now = log_.clock().wall();
  Attempt attempt{
      now, 0, 0, lease->instance, {FailureClass::kUnexplained, "unreadable", to_string(error)}};
  if (death.attempt) attempt = std::move(*death.attempt);
  std::chrono::milliseconds wait(kUnreadableWait);
  record(partition, WaitOp{death.token,
                           death.offset,
                           death.charged,
                           {now.milliseconds + wait.count()},
                           std::move(attempt)});
}

Result<void> DeliveryEngine::bury(GroupPartition& partition, const Death& death,
                                  const SharedBytes& batch) {
  const TrackedMessage* tracked = partition.delivery.find_tracked(death.offset);
  DeathFacts facts;
  facts.at = log_.clock().wall();
  facts.reason = death.reason;
  if (tracked != nullptr) facts.attempts = tracked->attempts;
  if (death.attempt) facts.attempts.push_back(*death.attempt);
  if (facts.attempts.size() > limits::kMaxAttemptHistory) {
    facts.attempts.erase(facts.attempts.begin());
  }

  DiedOp op;
  op.token = death.token;
  op.offset = death.offset;
  op.record = partition.dead_stream.end();
  op.reason = death.reason;
  op.failures = (tracked != nullptr ? tracked->failures : 0) + (death.charged ? 1 : 0);
  op.deliveries = tracked != nullptr ? tracked->deliveries : 1;
  op.at = facts.at;
  if (!facts.attempts.empty()) op.failure = facts.attempts.back().failure;
  if (death.reason == DeadLetterReason::kDeliveryLimit ||
      death.reason == DeadLetterReason::kCrashLoop) {
    op.failure = {FailureClass::kUnexplained, std::string(name(death.reason)), ""};
  }
  op.fingerprint = fingerprint(op.failure);

  Result<ByteVector> payload =
      with_record(batch.view(), [&](const RecordView& record) -> Result<ByteVector> {
        Result<RecordDraft> draft = draft_of(record);
        if (!draft) return draft.error();
        ByteVector encoded = encode(facts);
        draft->headers.emplace_back(kDeathHeader, encoded);
        return build_one(*draft, op.record);
      });
  if (!payload) return payload.error();
  std::uint64_t number = tracked != nullptr && tracked->dead_letter != 0
                             ? tracked->dead_letter
                             : partition.dead_letters.next_number();
  ++metrics_.dead_lettered;
  stage(partition, number, std::move(op), *payload);
  return {};
}

void DeliveryEngine::stage(GroupPartition& partition, std::uint64_t number, DeadLetterOp op,
                           Bytes record_batch) {
  // What happened to this partition earlier in the turn comes first.
  stage_ops(partition);
  DeadLetterEntry entry{partition.group, partition.log.id(), number, std::move(op)};
  ByteVector entry_bytes = encode(entry);
  std::vector<EntryDraft> change;
  AppendHead head;
  ByteVector head_bytes;
  if (!record_batch.empty()) {
    head.stream = partition.dead_stream.id();
    head.base = partition.dead_stream.end();
    head.count = 1;
    head_bytes = encode(head);
    change.push_back({EntryType::kAppend, kEntryVersion, head_bytes, record_batch});
  }
  change.push_back({EntryType::kDeadLetter, kEntryVersion, entry_bytes, {}});
  if (mutant("dead_letter_in_two_frames") && change.size() == 2) {
    log_.stage({&change.back(), 1});
    log_.journal().pump();
    change.pop_back();
  }
  std::vector<StagedEntry> staged = log_.stage(change);
  if (!record_batch.empty()) {
    log_.append(partition.dead_stream, {head.base, 1, {}, head_bytes.size()}, staged.front());
  }
  Result<void> applied = apply(entry);
  WB_ASSERT(applied.ok(), "a change was checked before it is staged");
}

void DeliveryEngine::redrive(GroupPartition& partition, std::uint64_t number,
                             const std::string& by) {
  Offset offset = partition.dead_letters.find(number)->offset;
  stage(partition, number, RedrivenOp{log_.clock().wall(), by});
  partition.ready.insert(offset);
  ++metrics_.redriven;
  touch(partition);
}

}  // namespace waybill

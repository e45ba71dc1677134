// DeliveryEngine, continued: how a message becomes a dead letter and comes back. Its payload is
// read, then one change copies it into the group's dead-letter stream and takes it out of delivery
// (D14).
#include <algorithm>
#include <array>
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

}  // namespace

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
  if (!redriven && offset >= partition.log.start()) {
    // Walking a batch to each of its messages that die would cost more than all the rest of it.
    const Stretch stretch = partition.log.at(offset);
    std::optional<PlacedRecords> placed;
    if (!stretch.batch.empty()) placed = places_.find(partition.log.id(), stretch);
    RecordSelection one;
    const OffsetRange range{offset, offset};
    if (placed && one.add(*placed, {&range, 1})) {
      return done(SharedBytes(std::move(one.take().front().second)));
    }
  }
  log_.read(
      stream, at, at + 1,
      [offset, redrive, done = std::move(done)](Result<std::vector<SharedBytes>> batches) mutable {
        if (!batches) return done(batches.error());
        // Compaction waits for whoever still needs a message: then something is wrong.
        if (batches->empty()) return done(Error{Errc::kDamaged, 0, "a message that is gone"});
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
  read_payload(partition, offset,
               [this, group_id = partition.group, stream = partition.log.id(),
                epoch = partition.delivery.epoch(),
                death = std::move(death)](Result<SharedBytes> batch) mutable {
                 ConsumerGroup* group = find(group_id);
                 GroupPartition* p = group == nullptr ? nullptr : group->find(stream);
                 // Since a reset, the message may be on its way there a second time.
                 bool is_its = p != nullptr && p->delivery.epoch() == epoch;
                 if (is_its) return buried(*p, death, batch);
                 if (!death.done) return;
                 death.done(p == nullptr
                                ? RequestError(Errc::kUnknownGroup, "the group was deleted")
                                : RequestError(Errc::kLeaseLost, "the group was reset meanwhile"));
               });
}

void DeliveryEngine::buried(GroupPartition& partition, Death& death,
                            const Result<SharedBytes>& batch) {
  auto answer = [&death](Reply<SettleOutcome> outcome) {
    if (death.done) death.done(std::move(outcome));
  };
  if (log_.journal().poisoned()) {
    return answer(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
  }
  if (partition.dying.erase(death.offset) == 0) {
    return answer(RequestError(Errc::kLeaseLost, "the message was removed meanwhile"));
  }
  Result<void> done = batch ? bury(partition, death, *batch) : Result<void>(batch.error());
  if (!done) survive(partition, death, done.error());
  if (partition.delivery.find_lease(death.token) == nullptr) partition.watches.erase(death.token);
  touch(partition);
  answer(done ? SettleOutcome::kDead : SettleOutcome::kDelayed);
}

/// Its payload could not be copied, so it cannot die yet: it waits, and dies at its next end.
void DeliveryEngine::survive(GroupPartition& partition, Death& death, const Error& error) {
  if (death.token == LeaseToken{}) {
    MonotonicTime again = log_.clock().monotonic() + kUnreadableWait;
    partition.delayed[death.offset] = again;
    timers_.emplace(again, Timer{&partition, {}, death.offset});
    return;
  }
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
  op.deliveries = tracked != nullptr ? tracked->deliveries : death.token == LeaseToken{} ? 0 : 1;
  op.at = facts.at;
  if (!facts.attempts.empty()) op.failure = facts.attempts.back().failure;
  if (death.reason == DeadLetterReason::kDeliveryLimit ||
      death.reason == DeadLetterReason::kCrashLoop || death.reason == DeadLetterReason::kExpired) {
    op.failure = {FailureClass::kUnexplained, std::string(name(death.reason)), ""};
  }
  op.fingerprint = fingerprint(op.failure);

  Result<ByteVector> payload =
      with_record(batch.view(), [&](const RecordView& record) -> Result<ByteVector> {
        // A fix may have changed the key; what the message holds back has the old one.
        bool again = tracked != nullptr && tracked->dead_letter != 0;
        op.key =
            again ? partition.dead_letters.find(tracked->dead_letter)->key : key_hash(record.key);
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
  const DeadLetter* letter = partition.dead_letters.find(number);
  bool held = letter != nullptr && letter->holds();
  const std::uint64_t held_key = held ? letter->key : 0;
  Result<void> applied = apply(entry);
  WB_ASSERT(applied.ok(), "a change was checked before it is staged");
  letter = partition.dead_letters.find(number);
  if (partition.hold && partition.ordering == Ordering::kKey) {  // D12
    if (!held && letter->holds()) partition.scheduler.hold(letter->key, letter->offset);
    if (held && !letter->holds()) partition.scheduler.release(held_key, letter->offset);
  }
  if (std::holds_alternative<ErasedOp>(entry.op)) {
    erasing_.emplace(partition.group, partition.log.id());
  }
  if (std::holds_alternative<DiedOp>(entry.op)) {
    lease_ended(partition, {letter->offset, letter->offset});
    ended(partition, {letter->offset, letter->offset});
  }
  touch(partition);
}

void DeliveryEngine::redrive(GroupPartition& partition, std::uint64_t number,
                             const std::string& by) {
  stage(partition, number, RedrivenOp{log_.clock().wall(), by});
  ++metrics_.redriven;
  const DeadLetter& letter = *partition.dead_letters.find(number);
  if (partition.ordering == Ordering::kKey && letter.key != 0) {
    // Before all others of its key. What the scan has not reached it will find.
    if (letter.offset < partition.scheduler.scanned()) {
      partition.scheduler.add_front(letter.offset, letter.key);
    }
  } else {
    available(partition, letter.offset);
  }
}

}  // namespace waybill

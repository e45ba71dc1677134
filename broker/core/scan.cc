// DeliveryEngine, continued: what may go. A scan runs over the log, ahead of delivery, and sorts
// what was never delivered into the scheduler: by key, by time, or simply open. Batches without
// times are not even looked into where no keys matter.
#include <algorithm>

#include "broker/core/delivery_engine.h"
#include "broker/core/shard.h"
#include "protocol/base/mutant.h"
#include "protocol/record/batch_view.h"

namespace waybill {
namespace {

/// How long the scan waits before it tries again to read a batch that could not be read.
constexpr std::chrono::seconds kUnreadableWait{60};
/// The wall clock may jump: nobody sleeps longer without looking at it again.
constexpr std::chrono::milliseconds kMaxAlarm{60'000};

bool wants_hold(const GroupPolicy& policy) {
  return policy.on_dead_letter == OnDeadLetter::kHold && policy.ordering != Ordering::kNone;
}

}  // namespace

std::uint64_t GroupPartition::held_count() const {
  if (!hold || dead_letters.holding().empty()) return 0;
  if (ordering == Ordering::kKey) return scheduler.held_count();
  // Everything behind it waits, but what waits for its own time is counted there.
  Offset behind = *dead_letters.holding().begin() + 1;
  std::uint64_t held = 0;
  for (Offset from = behind;;) {
    OffsetRange run = delivery.undelivered_from(from, log.end());
    if (run.count() <= 0) break;
    held += static_cast<std::uint64_t>(run.count());
    from = run.last + 1;
  }
  held += static_cast<std::uint64_t>(std::distance(ready.lower_bound(behind), ready.end()));
  held += static_cast<std::uint64_t>(std::distance(suspects.lower_bound(behind), suspects.end()));
  return held - (barrier ? 1 : 0);
}

bool DeliveryEngine::drains(const ConsumerGroup& group, const GroupPartition& partition) {
  return partition.ordering != group.info.policy.ordering ||
         partition.hold != wants_hold(group.info.policy);
}

/// Begins the scan again where the group's first message is that is not done.
void DeliveryEngine::rebuild(GroupPartition& partition) {
  const DeliveryState& delivery = partition.delivery;
  ++partition.scan_number;
  partition.reading = false;
  partition.unreadable = false;
  partition.barrier.reset();
  partition.expiries.clear();
  partition.leased_before.clear();
  partition.ready.clear();
  partition.suspects.clear();
  partition.scheduler.restart(
      std::max({delivery.floor(), delivery.start(), partition.log.start()}));
  for (const auto& [token, lease] : delivery.leases()) {
    for (OffsetRange range : lease.open) partition.leased_before.add(range);
  }
  if (partition.ordering != Ordering::kKey) {
    for (const auto& [offset, message] : delivery.tracked()) {
      if (!message.leased && !partition.delayed.contains(offset) &&
          !partition.dying.contains(offset)) {
        partition.ready.insert(offset);
      }
    }
  } else {
    for (const auto& [number, letter] : partition.dead_letters.all()) {
      if (partition.hold && letter.holds()) partition.scheduler.hold(letter.key, letter.offset);
    }
    add_trimmed(partition);
  }
}

/// Ordering `key`: redriven messages that the log has no more, so that the scan will not find them.
void DeliveryEngine::add_trimmed(GroupPartition& partition) {
  add_redriven(partition, {Offset{0}, partition.log.start() - 1});
}

/// Of these offsets the log has none.
void DeliveryEngine::add_redriven(GroupPartition& partition, OffsetRange range) {
  KeyScheduler& scheduler = partition.scheduler;
  const std::map<Offset, TrackedMessage>& tracked = partition.delivery.tracked();
  for (auto it = tracked.lower_bound(range.first); it != tracked.end(); ++it) {
    const auto& [offset, message] = *it;
    if (offset > range.last) return;
    const KeyHash key = partition.dead_letters.find(message.dead_letter)->key;
    const bool out =
        message.leased || partition.delayed.contains(offset) || partition.dying.contains(offset);
    if (out && key != 0) scheduler.add_taken(offset, key);
    if (!out && key != 0) scheduler.add(offset, key, {}, true);
    if (!out && key == 0) partition.ready.insert(offset);
  }
}

/// At the end of a turn in which something changed: takes over a new policy, looks at the clock and
/// at what was appended.
void DeliveryEngine::look(ConsumerGroup& group, GroupPartition& partition) {
  if (drains(group, partition)) {
    if (partition.delivery.leased_count() > 0 || !partition.dying.empty()) return;
    partition.ordering = group.info.policy.ordering;
    partition.hold = wants_hold(group.info.policy);
    rebuild(partition);
  }
  WallTime now = log_.clock().wall();
  partition.scheduler.run_due(now);
  if (partition.barrier && *partition.barrier <= now) partition.barrier.reset();
  scan(partition);
  set_alarm(partition);
}

void DeliveryEngine::set_alarm(GroupPartition& partition) {
  std::optional<WallTime> due = partition.scheduler.next_due();
  if (partition.barrier) due = partition.barrier;
  if (!due) return;
  std::chrono::milliseconds left(due->milliseconds - log_.clock().wall().milliseconds);
  MonotonicTime at = log_.clock().monotonic() + std::clamp<std::chrono::milliseconds>(
                                                    left, std::chrono::milliseconds(1), kMaxAlarm);
  if (partition.alarm && *partition.alarm <= at) return;
  partition.alarm = at;
  timers_.emplace(at, Timer{&partition, {}, {}});
}

void DeliveryEngine::scan(GroupPartition& partition) {
  KeyScheduler& scheduler = partition.scheduler;
  const Stream& log = partition.log;
  if (partition.reading || scheduler.scanned() >= log.end()) return;
  while (scheduler.scanned() < log.end()) {
    if (partition.reading || partition.barrier || partition.index_full()) return;
    Stretch stretch = log.at(scheduler.scanned());
    const bool gaps =
        stretch.gaps &&
        partition.delivery.undelivered_from(scheduler.scanned(), stretch.end).count() > 0;
    if (partition.ordering != Ordering::kKey && !stretch.timed && !gaps) {
      Offset from = scheduler.scanned();
      for (;;) {
        OffsetRange run = partition.delivery.undelivered_from(from, stretch.end);
        if (run.count() <= 0 || run.first > stretch.last()) break;
        scheduler.open(run);
        from = run.last + 1;
      }
      scheduler.scanned_to(stretch.end);
      continue;
    }
    if (stretch.batch.empty()) return read_for_scan(partition, stretch);
    if (!scan_batch(partition, stretch.batch)) return;
  }
}

void DeliveryEngine::read_for_scan(GroupPartition& partition, const Stretch& stretch) {
  partition.reading = true;
  log_.read(partition.log, stretch.base, stretch.end,
            [this, group_id = partition.group, stream = partition.log.id(), end = stretch.end,
             number = partition.scan_number](Result<std::vector<SharedBytes>> batches) {
              ConsumerGroup* group = find(group_id);
              GroupPartition* p = group == nullptr ? nullptr : group->find(stream);
              if (p == nullptr || p->scan_number != number) return;
              bool whole = batches.ok();
              for (std::size_t i = 0; whole && i < batches->size(); ++i) {
                whole = scan_batch(*p, (*batches)[i].view());
              }
              if (whole) pass_gap(*p, {p->scheduler.scanned(), end - 1});
              if (whole || p->barrier) {
                p->reading = false;
                return mark_dirty(*group);
              }
              // Nobody can say what is in it: everything behind it waits, and it is tried again.
              p->unreadable = true;
              timers_.emplace(log_.clock().monotonic() + kUnreadableWait, Timer{p, {}, {}});
            });
}

/// The log has no record there any more (S23): what was never delivered never will be.
void DeliveryEngine::pass_gap(GroupPartition& partition, OffsetRange gap) {
  if (gap.count() <= 0) return;
  for (Offset from = gap.first;;) {
    const OffsetRange run = partition.delivery.undelivered_from(from, gap.last + 1);
    if (run.count() <= 0) break;
    record(partition, CompactedOp{run});
    from = run.last + 1;
  }
  if (partition.ordering == Ordering::kKey) add_redriven(partition, gap);
  partition.scheduler.scanned_to(gap.last + 1);
}

/// Sorts the records of the batch into the scheduler. False if the scan has to stop
/// before its end.
bool DeliveryEngine::scan_batch(GroupPartition& partition, Bytes batch) {
  KeyScheduler& scheduler = partition.scheduler;
  const DeliveryState& delivery = partition.delivery;
  WallTime now = log_.clock().wall();
  Result<BatchReader> reader = BatchReader::open(batch);
  if (!reader) return false;
  bool by_key = partition.ordering == Ordering::kKey;
  Offset next = scheduler.scanned();
  Result<void> read = reader->for_each([&](const RecordView& record) {
    Offset offset = record.offset;
    if (offset < next) return true;
    if (offset > next) pass_gap(partition, {next, offset - 1});
    next = offset + 1;
    const TrackedMessage* tracked = delivery.find_tracked(offset);
    bool undelivered = tracked == nullptr && delivery.is_undelivered({offset, offset});
    bool redriven = tracked != nullptr && tracked->dead_letter != 0;
    bool out = partition.leased_before.contains(offset) || partition.delayed.contains(offset) ||
               partition.dying.contains(offset) || (tracked != nullptr && tracked->leased);
    if (tracked == nullptr && !undelivered && !out) return true;  // settled
    WallTime not_before = undelivered ? record.not_before().value_or(WallTime{}) : WallTime{};
    if (not_before <= now || mutant("before_its_time")) not_before = {};
    if (not_before.milliseconds != 0 && partition.ordering == Ordering::kPartition) {
      partition.barrier = not_before;
      scheduler.scanned_to(offset);
      return false;
    }
    std::optional<WallTime> expiry = record.expiry();
    if (expiry && !redriven && !mutant("expiry_is_ignored")) {
      partition.expiries.add(offset, *expiry);
    }
    KeyHash key = by_key ? key_hash(record.key) : 0;
    if (out) {
      if (key != 0) scheduler.add_taken(offset, key);
    } else if (key != 0) {
      scheduler.add(offset, key, not_before, redriven);
    } else if (undelivered) {
      scheduler.add(offset, 0, not_before);
    } else {
      partition.ready.insert(offset);
    }
    return true;
  });
  if (!read || partition.barrier) return false;
  partition.unreadable = false;
  pass_gap(partition, {next, reader->header().last_offset()});
  scheduler.scanned_to(std::max(next, reader->header().last_offset() + 1));
  return true;
}

/// A message that is neither leased nor waiting may go again, or for the first time.
void DeliveryEngine::available(GroupPartition& partition, Offset offset) {
  bool tracked = partition.delivery.find_tracked(offset) != nullptr;
  if (partition.ordering == Ordering::kKey && offset >= partition.scheduler.scanned()) {
    return;  // the scan will find it
  }
  if (partition.scheduler.is_taken(offset)) {
    partition.scheduler.put_back(offset, partition.is_redriven(offset));
  } else if (tracked) {
    partition.ready.insert(offset);
  } else if (offset < partition.scheduler.scanned()) {
    partition.scheduler.open({offset, offset});
  }
}

/// The messages are settled for good.
void DeliveryEngine::ended(GroupPartition& partition, OffsetRange range) {
  if (partition.ordering == Ordering::kKey) {
    for (Offset o = range.first; o <= range.last; ++o) partition.scheduler.settled(o);
  }
  if (partition.expiries.size() > 0) partition.expiries.forget(range);
}

/// They are in no lease any more.
void DeliveryEngine::lease_ended(GroupPartition& partition, OffsetRange range) {
  RangeSet& before = partition.leased_before;
  while (!before.empty()) {
    OffsetRange run = before.run_from(range.first);
    if (run.count() <= 0 || run.first > range.last) return;
    run.last = std::min(run.last, range.last);
    before.remove(run);
  }
}

/// Ordering `partition`: what goes next, if it may go now.
std::optional<Offset> DeliveryEngine::next_in_order(const GroupPartition& partition) {
  if (!partition.dying.empty()) return std::nullopt;
  std::optional<Offset> next;
  if (!partition.ready.empty()) next = *partition.ready.begin();
  const RangeSet& open = partition.scheduler.open();
  if (!open.empty() && (!next || open.front().first < *next)) next = open.front().first;
  if (!next) return next;
  // What the scan has not come to may be before it: it begins anew when the order changes.
  if (*next >= partition.scheduler.scanned()) return std::nullopt;
  const std::set<Offset>& holding = partition.dead_letters.holding();
  bool held = partition.hold && !holding.empty() && *holding.begin() < *next;
  bool waits = !partition.delayed.empty() && partition.delayed.begin()->first < *next;
  waits = waits || (!partition.suspects.empty() && *partition.suspects.begin() < *next);
  return held || waits ? std::nullopt : next;
}

bool DeliveryEngine::held_full(const ConsumerGroup& group, const GroupPartition& partition) {
  return partition.hold && partition.held_count() >= group.info.policy.max_held &&
         !mutant("hold_without_bound");
}

/// A message could be leased, if there were a consumer.
bool DeliveryEngine::has_work(const ConsumerGroup& group, const GroupPartition& partition) const {
  if (partition.exhausted || drains(group, partition)) return false;
  if (partition.delivery.leased_count() >= group.info.policy.window) return false;
  if (partition.ordering == Ordering::kPartition) return next_in_order(partition).has_value();
  return !partition.chosen.empty() || !partition.ready.empty() ||
         !partition.scheduler.open().empty() || partition.scheduler.has_ready();
}

}  // namespace waybill

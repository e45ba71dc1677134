#include "broker/core/delivery_engine.h"

#include <algorithm>
#include <string>

#include "broker/core/shard.h"
#include "protocol/base/limits.h"
#include "protocol/base/mutant.h"

namespace waybill {
namespace {

/// Operations of one entry at most, about: a turn may bring more than a frame holds.
constexpr std::size_t kMaxEntryBytes = 32 * 1024;

Error misfit(const char* where) {
  return {Errc::kBadFormat, 0, where};
}

/// Not less than the operation takes in an entry.
std::size_t size_bound(const DeliveryOp& op) {
  const auto* wait = std::get_if<WaitOp>(&op);
  if (wait != nullptr) {
    return 96 + wait->attempt.failure.code.size() + wait->attempt.failure.detail.size();
  }
  const auto* lease = std::get_if<LeaseOp>(&op);
  return 96 + (lease == nullptr ? 0 : lease->ranges.size() * 18);
}

}  // namespace

GroupPartition* ConsumerGroup::find(PartitionIndex index) const {
  for (const auto& partition : partitions) {
    if (partition->index == index) return partition.get();
  }
  return nullptr;
}

GroupPartition* ConsumerGroup::find(StreamId stream) const {
  for (const auto& partition : partitions) {
    if (partition->log.id() == stream) return partition.get();
  }
  return nullptr;
}

ShardConsumer* ConsumerGroup::find_consumer(ConsumerId id) {
  auto found = std::ranges::find(consumers, id, &ShardConsumer::id);
  return found == consumers.end() ? nullptr : &*found;
}

ConsumerGroup* DeliveryEngine::find(GroupId group) {
  auto found = groups_.find(group);
  return found == groups_.end() ? nullptr : found->second.get();
}

// --- the fold ---

Result<void> DeliveryEngine::apply(const DeliveryEntry& entry) {
  ConsumerGroup* group = find(entry.group);
  GroupPartition* partition = group == nullptr ? nullptr : group->find(entry.stream);
  if (partition == nullptr) return misfit("delivery entry of an unknown group");
  for (const DeliveryOp& op : entry.ops) {
    if (Result<void> applied = apply(*partition, op); !applied) return applied;
  }
  return {};
}

Result<void> DeliveryEngine::apply(GroupPartition& partition, const DeliveryOp& op) {
  DeliveryState& delivery = partition.delivery;
  if (const auto* lease = std::get_if<LeaseOp>(&op)) return delivery.apply(*lease);
  if (const auto* wait = std::get_if<WaitOp>(&op)) return delivery.apply(*wait);
  if (const auto* release = std::get_if<ReleaseOp>(&op)) return delivery.apply(*release);
  if (const auto* expired = std::get_if<ExpiredOp>(&op)) return delivery.apply(*expired);
  if (const auto* reset = std::get_if<ResetOp>(&op)) return apply(partition, *reset);
  if (const auto* removed = std::get_if<RemovedOp>(&op)) return delivery.apply(*removed);
  if (const auto* compacted = std::get_if<CompactedOp>(&op)) return delivery.apply(*compacted);
  Result<std::vector<std::uint64_t>> redriven = delivery.apply(std::get<AckOp>(op));
  if (!redriven) return redriven.error();
  for (std::uint64_t number : *redriven) {
    if (Result<void> done = partition.dead_letters.acknowledged(number); !done) return done;
  }
  return {};
}

Result<void> DeliveryEngine::apply(GroupPartition& partition, const ResetOp& op) {
  if (op.epoch <= partition.delivery.epoch()) return misfit("reset");
  DeadLetters& letters = partition.dead_letters;
  letters.reset(op.to, op.include_dead);
  Result<void> applied =
      partition.delivery.apply(op, letters.open_offsets(), letters.discarded_offsets());
  letters.begin_at(partition.delivery.start());
  return applied;
}

Result<void> DeliveryEngine::apply(const DeadLetterEntry& entry) {
  ConsumerGroup* group = find(entry.group);
  GroupPartition* partition = group == nullptr ? nullptr : group->find(entry.stream);
  if (partition == nullptr) return misfit("dead-letter entry of an unknown group");
  DeadLetters& letters = partition->dead_letters;
  if (const auto* died = std::get_if<DiedOp>(&entry.op)) {
    if (Result<void> gone = partition->delivery.apply(*died); !gone) return gone;
    return letters.apply(entry.number, *died);
  }
  if (const auto* redriven = std::get_if<RedrivenOp>(&entry.op)) {
    if (Result<void> applied = letters.apply(entry.number, *redriven); !applied) return applied;
    const DeadLetter* letter = letters.find(entry.number);
    return partition->delivery.restore(letter->offset, entry.number, letter->redrives);
  }
  if (const auto* fixed = std::get_if<FixedOp>(&entry.op))
    return letters.apply(entry.number, *fixed);
  if (const auto* erased = std::get_if<ErasedOp>(&entry.op))
    return letters.apply(entry.number, *erased);
  return letters.apply(entry.number, std::get<DiscardedOp>(entry.op));
}

Result<void> DeliveryEngine::adopt(const GroupInfo& info, const std::vector<GroupPlace>& places) {
  if (ConsumerGroup* known = find(info.id)) {
    known->info = info;
    if (info.archived) detach_from_log(*known);
    mark_dirty(*known);
    return {};
  }
  auto group = std::make_unique<ConsumerGroup>();
  group->info = info;
  for (const GroupPlace& place : places) {
    Partition* partition = partitions_.find(place.stream);
    if (partition == nullptr || log_.find_stream(place.dead_stream) != nullptr) {
      return misfit("adopted group");
    }
    Stream& dead_stream = log_.create_stream(place.dead_stream);
    group->partitions.push_back(
        std::make_unique<GroupPartition>(info.id, partition->index, *partition->log, dead_stream,
                                         place.start, log_.options().index_limit));
    by_stream_[place.stream].push_back(group->partitions.back().get());
    group->partitions.back()->scheduler.restart(place.start);
  }
  groups_.emplace(info.id, std::move(group));
  return {};
}

/// An archive needs nothing of its topic's log (D15). The reset that comes with it ends what it had
/// taken from there.
void DeliveryEngine::detach_from_log(ConsumerGroup& group) {
  for (const auto& partition : group.partitions) {
    std::erase(by_stream_[partition->log.id()], partition.get());
  }
}

void DeliveryEngine::drop(GroupId id) {
  ConsumerGroup* group = find(id);
  if (group == nullptr) return;
  for (const auto& partition : group->partitions) {
    std::erase(by_stream_[partition->log.id()], partition.get());
    std::erase_if(timers_, [&](const auto& t) { return t.second.partition == partition.get(); });
    std::erase(unstaged_, std::pair(id, partition->log.id()));
    leaving_.erase({id, partition->log.id()});
    log_.drop_stream(partition->dead_stream.id());
  }
  std::erase(dirty_, id);
  std::erase(starved_, id);
  groups_.erase(id);
}

Offset DeliveryEngine::resolve(const GroupStart& start, const Stream& log) {
  Offset offset = log.start();
  if (start.kind == StartKind::kLatest) offset = log.end();
  if (start.kind == StartKind::kOffset) offset = start.offset;
  if (start.kind == StartKind::kTime) offset = log.find_time(start.time);
  return std::clamp(offset, log.start(), log.end());
}

std::vector<GroupPlace> DeliveryEngine::places(const GroupInfo& group, const TopicInfo& topic,
                                               StreamId next_stream) const {
  std::vector<GroupPlace> places;
  for (const PartitionPlace& place : topic.partitions) {
    const Partition* partition = partitions_.find(place.stream);
    if (partition == nullptr) continue;
    Offset start = resolve(group.start, *partition->log);
    places.push_back({place.stream, next_stream, start});
    ++next_stream.value;
  }
  return places;
}

void DeliveryEngine::record(GroupPartition& partition, DeliveryOp op) {
  if (partition.unstaged.empty()) unstaged_.emplace_back(partition.group, partition.log.id());
  Result<void> applied = apply(partition, op);
  WB_ASSERT(applied.ok(), "an operation was checked before it is recorded");
  follow(partition, op);
  // Acknowledgements come one by one; those of neighbours are one operation.
  auto* ack = std::get_if<AckOp>(&op);
  auto* before =
      partition.unstaged.empty() ? nullptr : std::get_if<AckOp>(&partition.unstaged.back());
  if (ack != nullptr && before != nullptr && before->token == ack->token &&
      before->range.last + 1 == ack->range.first) {
    before->range.last = ack->range.last;
    return;
  }
  partition.unstaged_size += size_bound(op);
  if (auto* wait = std::get_if<WaitOp>(&op); mutant("forget_failures_on_restart") && wait) {
    wait->charged = false;
  }
  partition.unstaged.push_back(std::move(op));
  if (partition.unstaged_size >= kMaxEntryBytes && !log_.journal().poisoned()) {
    stage_ops(partition);
  }
}

/// What is only of this run goes with what is recorded.
void DeliveryEngine::follow(GroupPartition& partition, const DeliveryOp& op) {
  if (const auto* ack = std::get_if<AckOp>(&op)) {
    lease_ended(partition, ack->range);
    ended(partition, ack->range);
  } else if (const auto* wait = std::get_if<WaitOp>(&op)) {
    lease_ended(partition, {wait->offset, wait->offset});
    std::chrono::milliseconds left(wait->ready_at.milliseconds - log_.clock().wall().milliseconds);
    if (mutant("go_at_once")) left = {};
    MonotonicTime due = log_.clock().monotonic() + left;
    partition.delayed[wait->offset] = due;
    timers_.emplace(due, Timer{&partition, {}, wait->offset});
  } else if (const auto* release = std::get_if<ReleaseOp>(&op)) {
    lease_ended(partition, release->range);
    for (Offset o = release->range.first; o <= release->range.last; ++o) available(partition, o);
  } else if (const auto* expired = std::get_if<ExpiredOp>(&op)) {
    ended(partition, expired->range);
  }
}

void DeliveryEngine::stage_ops(GroupPartition& partition) {
  if (partition.unstaged.empty()) return;
  DeliveryEntry entry{partition.group, partition.log.id(), std::move(partition.unstaged)};
  partition.unstaged.clear();
  partition.unstaged_size = 0;
  if (mutant("forget_acks_on_restart")) {
    std::erase_if(entry.ops,
                  [](const DeliveryOp& op) { return std::holds_alternative<AckOp>(op); });
  }
  log_.stage(EntryType::kDelivery, encode(entry));
  entry.ops.clear();
  partition.unstaged = std::move(entry.ops);  // its memory serves the next turn
}

// --- consumers ---

void DeliveryEngine::attach(GroupId id, ShardConsumer consumer) {
  ConsumerGroup* group = find(id);
  if (group == nullptr || group->info.archived) return;
  // What it holds from before is its own again when it claims it by extend() or settles it. The
  // rest never reached it: that waits out its time as an orphan, and goes to somebody else.
  for (const auto& partition : group->partitions) {
    for (auto& [token, watch] : partition->watches) {
      const OpenLease* lease = partition->delivery.find_lease(token);
      if (watch.orphaned && lease != nullptr && lease->instance == consumer.instance) {
        watch.consumer = consumer.id;
      }
    }
  }
  consumer.quiet = hushed_.contains(consumer.instance);
  group->consumers.push_back(consumer);
  mark_dirty(*group);
}

void DeliveryEngine::detach(GroupId id, ConsumerId consumer, bool clean) {
  ConsumerGroup* group = find(id);
  if (group == nullptr) return;
  std::erase_if(group->consumers, [&](const ShardConsumer& c) { return c.id == consumer; });
  mark_dirty(*group);
  MonotonicTime reclaim = log_.clock().monotonic() + limits::kReclaimAfterRestart;
  for (const auto& partition : group->partitions) {
    std::vector<std::pair<LeaseToken, ReleaseKind>> released;
    for (auto& [token, watch] : partition->watches) {
      if (watch.consumer != consumer) continue;
      // A clean goodbye also gives back what its instance had before and did not claim. Otherwise
      // that was not with the client when it vanished.
      if (watch.orphaned && !clean) {
        watch.consumer = {};
        continue;
      }
      if (clean || !watch.sent) {
        // What never left is as if it had not been handed out: it counts against no limit (D3).
        released.emplace_back(token, watch.sent ? ReleaseKind::kGivenBack : ReleaseKind::kRevoked);
        continue;
      }
      watch.orphaned = true;
      watch.deadline = std::min(watch.deadline, reclaim);
      watch_until(*partition, token, watch.deadline);
    }
    for (auto [token, kind] : released) {
      const OpenLease* lease = partition->delivery.find_lease(token);
      std::vector<OffsetRange> open =
          lease == nullptr ? std::vector<OffsetRange>{} : lease->open.copy();
      for (OffsetRange range : open) release(*partition, token, range, kind);
      if (partition->delivery.find_lease(token) == nullptr) partition->watches.erase(token);
      // Whatever its order, what came behind goes again too.
      if (!open.empty()) revoke_after(*partition, open.front().first);
    }
  }
}

void DeliveryEngine::release(GroupPartition& partition, LeaseToken token, OffsetRange range,
                             ReleaseKind kind) {
  auto give = [&](Offset first, Offset last) {
    if (first <= last) record(partition, ReleaseOp{token, {first, last}, kind});
  };
  Offset first = range.first;
  std::vector<Offset> dying(partition.dying.lower_bound(range.first),
                            partition.dying.upper_bound(range.last));
  for (Offset offset : dying) {
    give(first, offset - 1);
    first = offset + 1;
  }
  give(first, range.last);
}

void DeliveryEngine::lend(GroupId id, ConsumerId consumer, Credit credit) {
  ConsumerGroup* group = find(id);
  ShardConsumer* found = group == nullptr ? nullptr : group->find_consumer(consumer);
  if (found == nullptr) return;
  found->credit.messages += credit.messages;
  found->credit.bytes += credit.bytes;
  // Even if it is too little: then it asks again.
  found->wanting = false;
  mark_dirty(*group);
}

void DeliveryEngine::recall(GroupId id, ConsumerId consumer) {
  ConsumerGroup* group = find(id);
  ShardConsumer* found = group == nullptr ? nullptr : group->find_consumer(consumer);
  if (found == nullptr) return;
  Credit unused{std::max<std::int64_t>(found->credit.messages, 0),
                std::max<std::int64_t>(found->credit.bytes, 0)};
  found->credit.messages -= unused.messages;
  found->credit.bytes -= unused.bytes;
  log_.mailbox().post(
      consumer.home,
      [gateway = found->gateway, consumer, from = log_.options().shard, unused](Shard&) {
        gateway->on_returned(consumer, from, unused);
      },
      Mailbox::Kind::kAnswer);
}

std::size_t DeliveryEngine::consumer_count(GroupId id) const {
  auto found = groups_.find(id);
  return found == groups_.end() ? 0 : found->second->consumers.size();
}

void DeliveryEngine::touch(GroupPartition& partition) {
  if (ConsumerGroup* group = find(partition.group)) mark_dirty(*group);
}

void DeliveryEngine::mark_dirty(ConsumerGroup& group) {
  if (group.dirty || group.info.archived) return;
  group.dirty = true;
  dirty_.push_back(group.info.id);
}

void DeliveryEngine::appended(const Stream& stream) {
  auto found = by_stream_.find(stream.id());
  if (found == by_stream_.end()) return;
  for (GroupPartition* partition : found->second) touch(*partition);
}

// --- the loop ---

void DeliveryEngine::watch_until(GroupPartition& partition, LeaseToken token, MonotonicTime when) {
  timers_.emplace(when, Timer{&partition, token, {}});
}

/// What ended before its time leaves its timer behind. They are dropped when they may be half of
/// all: leases are many and settled quickly, and may run for hours.
void DeliveryEngine::drop_idle_timers() {
  if (timers_.size() < idle_timers_at_) return;
  std::erase_if(timers_, [](const auto& item) {
    const auto& [when, timer] = item;
    if (timer.lease != LeaseToken{}) return !timer.partition->watches.contains(timer.lease);
    if (!timer.offset) return false;
    auto delayed = timer.partition->delayed.find(*timer.offset);
    return delayed == timer.partition->delayed.end() || delayed->second != when;
  });
  idle_timers_at_ = std::max(kFewTimers, 2 * timers_.size());
}

void DeliveryEngine::resume() {
  MonotonicTime now = log_.clock().monotonic();
  WallTime wall = log_.clock().wall();
  for (auto& [id, group] : groups_) {
    if (mutant("brake_is_forgotten")) group->info.brake = {};
    for (const auto& partition : group->partitions) {
      const bool erases = !partition->dead_letters.erased_records().empty();
      if (erases && !mutant("forget_to_erase")) erasing_.emplace(id, partition->log.id());
      for (const auto& [offset, message] : partition->delivery.tracked()) {
        if (message.leased) continue;
        // A clock that jumped while we were down must not park a message for days (D11).
        std::chrono::milliseconds wait(message.ready_at.milliseconds - wall.milliseconds);
        std::chrono::milliseconds whole(message.ready_at.milliseconds -
                                        message.last_end.milliseconds);
        wait = std::min(wait, whole);
        if (wait.count() <= 0) continue;
        partition->delayed[offset] = now + wait;
        timers_.emplace(now + wait, Timer{partition.get(), {}, offset});
      }
      for (const auto& [token, lease] : partition->delivery.leases()) {
        if (mutant("orphans_wait_for_ever")) continue;
        MonotonicTime until = now + limits::kReclaimAfterRestart;
        partition->watches[token] = {
            .consumer = {}, .deadline = until, .sent = true, .orphaned = true};
        watch_until(*partition, token, until);
      }
      partition->ordering = group->info.policy.ordering;
      partition->hold = group->info.policy.on_dead_letter == OnDeadLetter::kHold;
      rebuild(*partition);
    }
    mark_dirty(*group);
  }
}

void DeliveryEngine::turn() {
  MonotonicTime now = log_.clock().monotonic();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    Timer timer = timers_.begin()->second;
    timers_.erase(timers_.begin());
    run_timer(timer);
  }
  drop_idle_timers();
  run_late_resets();
  for (GroupId id : std::exchange(starved_, {})) {
    if (ConsumerGroup* group = find(id)) mark_dirty(*group);
  }
  std::vector<GroupId> dirty = std::exchange(dirty_, {});
  for (GroupId id : dirty) {
    ConsumerGroup* group = find(id);
    if (group == nullptr) continue;
    group->dirty = false;
    if (group->info.archived) continue;
    for (const auto& partition : group->partitions) look(*group, *partition);
    grant(*group);
    ask_for_isolation(*group);
    // What left made room for what the scan did not get to.
    for (const auto& partition : group->partitions) {
      const KeyScheduler& scheduler = partition->scheduler;
      bool scans = !drains(*group, *partition) && !partition->reading && !partition->barrier &&
                   !partition->index_full();
      if (scans && scheduler.scanned() < partition->log.end()) mark_dirty(*group);
    }
  }
  run_isolation();
  for (auto [group_id, stream] : std::exchange(unstaged_, {})) {
    ConsumerGroup* group = find(group_id);
    GroupPartition* partition = group == nullptr ? nullptr : group->find(stream);
    if (partition != nullptr) stage_ops(*partition);
  }
  tell_outcomes();
}

std::optional<MonotonicTime> DeliveryEngine::deadline() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first;
}

// --- seeing ---

std::uint64_t DeliveryEngine::open_dead_letters() const {
  std::uint64_t count = 0;
  for (const auto& [id, group] : groups_) {
    for (const auto& partition : group->partitions) count += partition->dead_letters.dead_count();
  }
  return count;
}

std::uint64_t DeliveryEngine::unresolved_dead_letters(GroupId id) const {
  auto group = groups_.find(id);
  std::uint64_t count = 0;
  if (group == groups_.end()) return count;
  for (const auto& partition : group->second->partitions) {
    for (const auto& [number, letter] : partition->dead_letters.all()) {
      const bool open =
          letter.state == DeadLetterState::kDead || letter.state == DeadLetterState::kRedriving;
      count += open ? 1 : 0;
    }
  }
  return count;
}

std::uint64_t DeliveryEngine::leased() const {
  std::uint64_t count = 0;
  for (const auto& [id, group] : groups_) {
    for (const auto& partition : group->partitions) count += partition->delivery.leased_count();
  }
  return count;
}

}  // namespace waybill

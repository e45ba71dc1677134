#include "broker/core/delivery_engine.h"

#include <algorithm>
#include <string>

#include "broker/core/shard.h"
#include "protocol/base/limits.h"
#include "protocol/base/mutant.h"

namespace waybill {
namespace {

/// Messages and bytes of one lease at most: small enough that consumers share fairly, large enough
/// that ranges pay.
constexpr std::int64_t kMaxLeaseMessages = 1024;
constexpr std::int64_t kMaxLeaseBytes = 1024 * 1024;
/// Journal room that a lease's possible dead letters need (D14), beside their payloads.
constexpr std::size_t kRoomPerLease = 64 * 1024;
/// Operations of one entry at most, about: a turn may bring more than a frame holds.
constexpr std::size_t kMaxEntryBytes = 32 * 1024;
/// How long messages wait whose payload could not be read: devices recover, or somebody looks.
constexpr std::chrono::seconds kUnreadableWait{60};

Error misfit(const char* where) {
  return {Errc::kBadFormat, 0, where};
}

/// Not less than the operation takes in an entry.
std::size_t size_bound(const DeliveryOp& op) {
  const auto* wait = std::get_if<WaitOp>(&op);
  const Failure* failure = wait == nullptr ? nullptr : &wait->attempt.failure;
  return 96 + (failure == nullptr ? 0 : failure->code.size() + failure->detail.size());
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
    Result<void> applied;
    if (const auto* lease = std::get_if<LeaseOp>(&op)) {
      applied = partition->delivery.apply(*lease);
    } else if (const auto* wait = std::get_if<WaitOp>(&op)) {
      applied = partition->delivery.apply(*wait);
    } else if (const auto* release = std::get_if<ReleaseOp>(&op)) {
      applied = partition->delivery.apply(*release);
    } else {
      Result<std::vector<std::uint64_t>> redriven = partition->delivery.apply(std::get<AckOp>(op));
      if (!redriven) return redriven.error();
      for (std::uint64_t number : *redriven) {
        if (Result<void> done = partition->dead_letters.acknowledged(number); !done) return done;
      }
    }
    if (!applied) return applied;
  }
  return {};
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
  return letters.apply(entry.number, std::get<DiscardedOp>(entry.op));
}

Result<void> DeliveryEngine::adopt(const GroupInfo& info, const std::vector<GroupPlace>& places) {
  if (ConsumerGroup* known = find(info.id)) {
    known->info = info;
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
    group->partitions.push_back(std::make_unique<GroupPartition>(
        info.id, partition->index, *partition->log, dead_stream, place.start));
    by_stream_[place.stream].push_back(group->partitions.back().get());
  }
  groups_.emplace(info.id, std::move(group));
  return {};
}

void DeliveryEngine::drop(GroupId id) {
  ConsumerGroup* group = find(id);
  if (group == nullptr) return;
  for (const auto& partition : group->partitions) {
    std::erase(by_stream_[partition->log.id()], partition.get());
    std::erase_if(timers_, [&](const auto& t) { return t.second.partition == partition.get(); });
    std::erase(unstaged_, std::pair(id, partition->log.id()));
    log_.drop_stream(partition->dead_stream.id());
  }
  std::erase(dirty_, id);
  std::erase(starved_, id);
  groups_.erase(id);
}

std::vector<GroupPlace> DeliveryEngine::places(const GroupInfo& group, const TopicInfo& topic,
                                               StreamId next_stream) const {
  std::vector<GroupPlace> places;
  for (const PartitionPlace& place : topic.partitions) {
    const Partition* partition = partitions_.find(place.stream);
    if (partition == nullptr) continue;
    const Stream& log = *partition->log;
    Offset start = log.start();
    if (group.start.kind == StartKind::kLatest) start = log.end();
    if (group.start.kind == StartKind::kOffset) start = group.start.offset;
    if (group.start.kind == StartKind::kTime) {
      std::size_t index = log.index_of_time(group.start.time);
      start = index < log.batch_count() ? log.batch(index).base : log.end();
    }
    start = std::clamp(start, log.start(), log.end());
    places.push_back({place.stream, next_stream, start});
    ++next_stream.value;
  }
  return places;
}

void DeliveryEngine::record(GroupPartition& partition, DeliveryOp op) {
  if (partition.unstaged.empty()) unstaged_.emplace_back(partition.group, partition.log.id());
  DeliveryEntry entry{partition.group, partition.log.id(), {op}};
  Result<void> applied = apply(entry);
  WB_ASSERT(applied.ok(), "an operation was checked before it is recorded");
  partition.unstaged_size += size_bound(op);
  if (auto* wait = std::get_if<WaitOp>(&op); mutant("forget_failures_on_restart") && wait) {
    wait->charged = false;
  }
  partition.unstaged.push_back(std::move(op));
  if (partition.unstaged_size >= kMaxEntryBytes && !log_.journal().poisoned()) {
    stage_ops(partition);
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
}

// --- consumers ---

void DeliveryEngine::attach(GroupId id, ShardConsumer consumer) {
  ConsumerGroup* group = find(id);
  if (group == nullptr) return;
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
  group->consumers.push_back(consumer);
  mark_dirty(*group);
}

void DeliveryEngine::detach(GroupId id, ConsumerId consumer, bool clean) {
  ConsumerGroup* group = find(id);
  if (group == nullptr) return;
  std::erase_if(group->consumers, [&](const ShardConsumer& c) { return c.id == consumer; });
  MonotonicTime reclaim = log_.clock().monotonic() + limits::kReclaimAfterRestart;
  for (const auto& partition : group->partitions) {
    std::vector<LeaseToken> released;
    for (auto& [token, watch] : partition->watches) {
      // A clean goodbye also gives back what its instance had before and did not claim.
      if (watch.consumer != consumer || (watch.orphaned && !clean)) continue;
      if (clean || !watch.sent) {
        released.push_back(token);
        continue;
      }
      watch.orphaned = true;
      watch.deadline = std::min(watch.deadline, reclaim);
      watch_until(*partition, token, watch.deadline);
    }
    for (LeaseToken token : released) {
      std::vector<OffsetRange> open = partition->delivery.find_lease(token)->open;
      for (OffsetRange range : open) release(*partition, token, range);
      if (partition->delivery.find_lease(token) == nullptr) partition->watches.erase(token);
    }
    touch(*partition);
  }
}

void DeliveryEngine::release(GroupPartition& partition, LeaseToken token, OffsetRange range) {
  auto give = [&](Offset first, Offset last) {
    if (last < first) return;
    record(partition, ReleaseOp{token, {first, last}, false});
    for (Offset o = first; o <= last; ++o) partition.ready.insert(o);
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

// --- leasing ---

void DeliveryEngine::touch(GroupPartition& partition) {
  if (ConsumerGroup* group = find(partition.group)) mark_dirty(*group);
}

void DeliveryEngine::mark_dirty(ConsumerGroup& group) {
  if (group.dirty) return;
  group.dirty = true;
  dirty_.push_back(group.info.id);
}

void DeliveryEngine::appended(const Stream& stream) {
  auto found = by_stream_.find(stream.id());
  if (found == by_stream_.end()) return;
  for (GroupPartition* partition : found->second) touch(*partition);
}

void DeliveryEngine::grant(ConsumerGroup& group) {
  auto next_partition = [&]() -> GroupPartition* {
    for (std::size_t i = 0; i < group.partitions.size(); ++i) {
      std::size_t index = (group.next_partition + i) % group.partitions.size();
      GroupPartition& partition = *group.partitions[index];
      if (!partition.has_work()) continue;
      if (partition.delivery.leased_count() >= group.info.policy.window) continue;
      group.next_partition = index + 1;
      return &partition;
    }
    return nullptr;
  };
  auto next_consumer = [&]() -> ShardConsumer* {
    for (std::size_t i = 0; i < group.consumers.size(); ++i) {
      std::size_t index = (group.next_consumer + i) % group.consumers.size();
      if (!group.consumers[index].has_credit()) continue;
      group.next_consumer = index + 1;
      return &group.consumers[index];
    }
    return nullptr;
  };
  for (;;) {
    GroupPartition* partition = next_partition();
    if (partition == nullptr) return;
    ShardConsumer* consumer = next_consumer();
    if (consumer == nullptr) return ask_for_credit(group);
    // The journal's next file, or free space, comes with a later turn.
    if (!grant_one(group, *partition, *consumer)) return starved_.push_back(group.info.id);
  }
}

OffsetRange DeliveryEngine::next_range(const GroupPartition& partition,
                                       const ShardConsumer& consumer, std::uint64_t room,
                                       std::int64_t& bytes) const {
  if (!partition.ready.empty()) {
    Offset offset = *partition.ready.begin();
    bytes = partition.log.batch(partition.log.index_of(offset)).size;
    return {offset, offset};
  }
  Offset first = partition.delivery.fresh();
  std::int64_t count = std::min({consumer.credit.messages, kMaxLeaseMessages,
                                 static_cast<std::int64_t>(room), partition.log.end() - first});
  std::int64_t limit = std::min(consumer.credit.bytes, kMaxLeaseBytes);
  std::size_t index = partition.log.index_of(first);
  const StoredBatch* batch = &partition.log.batch(index);
  bytes = batch->size;
  Offset last = std::min(batch->last(), first + (count - 1));
  // Whole batches more, as long as they fit.
  while (last - first + 1 < count && ++index < partition.log.batch_count()) {
    batch = &partition.log.batch(index);
    if (bytes + batch->size > limit) break;
    bytes += batch->size;
    last = std::min(batch->last(), first + (count - 1));
  }
  return {first, last};
}

bool DeliveryEngine::grant_one(ConsumerGroup& group, GroupPartition& partition,
                               ShardConsumer& consumer) {
  std::int64_t bytes = 0;
  std::uint64_t room = group.info.policy.window - partition.delivery.leased_count();
  OffsetRange range = next_range(partition, consumer, room, bytes);
  // A lease may end as a dead letter: it is granted only while that has room (D14). What is too
  // much at once may go one by one.
  auto has_room = [&] {
    return log_.admit(kRoomPerLease + static_cast<std::size_t>(bytes), false) ==
           Admission::kAdmitted;
  };
  if (!has_room()) {
    range.last = range.first;
    bytes = partition.log.batch(partition.log.index_of(range.first)).size;
    if (!has_room()) return false;
  }
  bool again = partition.ready.erase(range.first) > 0;
  const TrackedMessage* tracked = again ? partition.delivery.find_tracked(range.first) : nullptr;
  if (tracked != nullptr && tracked->deliveries >= log_.options().max_deliveries) {
    kill(partition, {.token = {},
                     .offset = range.first,
                     .reason = DeadLetterReason::kDeliveryLimit,
                     .attempt = {},
                     .done = {}});
    return true;
  }
  LeaseToken token{log_.journal().start_number(), next_lease_++};
  if (mutant("tokens_begin_anew")) token.start = 1;
  record(partition, LeaseOp{token, range, log_.clock().wall(), consumer.instance});
  partition.watches[token] = {.consumer = consumer.id, .deadline = {}};
  Credit used{range.count(), bytes};
  consumer.credit.messages -= used.messages;
  consumer.credit.bytes -= used.bytes;
  metrics_.delivered_messages += static_cast<std::uint64_t>(range.count());
  if (again) ++metrics_.redelivered_messages;
  if (mutant("deliver_before_durable")) {
    send(group.info.id, partition.log.id(), token, used);
    return true;
  }
  log_.when_durable(
      [this, group_id = group.info.id, stream = partition.log.id(), token, used](bool durable) {
        if (durable) send(group_id, stream, token, used);
      });
  return true;
}

void DeliveryEngine::ask_for_credit(ConsumerGroup& group) {
  for (ShardConsumer& consumer : group.consumers) {
    if (consumer.has_credit() || consumer.wanting) continue;
    consumer.wanting = true;
    log_.mailbox().post(
        consumer.id.home,
        [gateway = consumer.gateway, id = consumer.id, from = log_.options().shard](Shard&) {
          gateway->on_wanting(id, from);
        },
        Mailbox::Kind::kAnswer);
  }
}

void DeliveryEngine::send(GroupId group_id, StreamId stream, LeaseToken token, Credit used) {
  ConsumerGroup* group = find(group_id);
  GroupPartition* partition = group == nullptr ? nullptr : group->find(stream);
  const OpenLease* lease = partition == nullptr ? nullptr : partition->delivery.find_lease(token);
  if (lease == nullptr) return;  // its consumer went meanwhile
  OffsetRange range = lease->open.front();
  auto done = [this, group_id, stream, token, used](Result<std::vector<SharedBytes>> batches) {
    ConsumerGroup* g = find(group_id);
    GroupPartition* p = g == nullptr ? nullptr : g->find(stream);
    if (p == nullptr || p->delivery.find_lease(token) == nullptr) return;
    if (!batches) {
      give_back(*g, *p, token, used);
      return end_unreadable(*p, token);
    }
    push(*g, *p, token, used, std::move(*batches));
  };
  if (partition->delivery.find_tracked(range.first) != nullptr) {
    read_payload(*partition, range.first,
                 [done = std::move(done)](Result<SharedBytes> batch) mutable {
                   if (!batch) return done(batch.error());
                   done(std::vector<SharedBytes>{std::move(*batch)});
                 });
    return;
  }
  std::size_t first = partition->log.index_of(range.first);
  std::size_t last = partition->log.index_of(range.last);
  log_.read(partition->log, first, last - first + 1, std::move(done));
}

void DeliveryEngine::give_back(ConsumerGroup& group, GroupPartition& partition, LeaseToken token,
                               Credit credit) {
  auto watch = partition.watches.find(token);
  ShardConsumer* consumer =
      watch == partition.watches.end() ? nullptr : group.find_consumer(watch->second.consumer);
  if (consumer == nullptr || (credit.messages == 0 && credit.bytes == 0)) return;
  consumer->credit.messages += credit.messages;
  consumer->credit.bytes += credit.bytes;
  mark_dirty(group);
}

/// The payload could not be read: the messages wait, each by itself from now on, so that one bad
/// batch does not hold up its neighbours. Nobody is charged.
void DeliveryEngine::end_unreadable(GroupPartition& partition, LeaseToken token) {
  const OpenLease* lease = partition.delivery.find_lease(token);
  WallTime now = log_.clock().wall();
  std::vector<OffsetRange> open = lease->open;
  InstanceId instance = lease->instance;
  for (OffsetRange range : open) {
    for (Offset offset = range.first; offset <= range.last; ++offset) {
      if (partition.dying.contains(offset)) continue;
      const TrackedMessage* tracked = partition.delivery.find_tracked(offset);
      Attempt attempt{now,
                      tracked != nullptr ? tracked->deliveries : 1,
                      0,
                      instance,
                      {FailureClass::kUnexplained, "unreadable",
                       "the broker could not read the message back from its journal"}};
      bool alone = open.size() == 1 && range.count() == 1;
      std::chrono::milliseconds wait = alone ? kUnreadableWait : std::chrono::milliseconds(0);
      record(partition,
             WaitOp{token, offset, false, {now.milliseconds + wait.count()}, std::move(attempt)});
      timers_.emplace(log_.clock().monotonic() + wait, Timer{&partition, {}, offset});
    }
  }
  if (partition.delivery.find_lease(token) == nullptr) partition.watches.erase(token);
}

void DeliveryEngine::push(ConsumerGroup& group, GroupPartition& partition, LeaseToken token,
                          Credit used, std::vector<SharedBytes> batches) {
  auto watch = partition.watches.find(token);
  if (watch == partition.watches.end()) return;
  ShardConsumer* consumer = group.find_consumer(watch->second.consumer);
  if (consumer == nullptr) return;
  const OpenLease* lease = partition.delivery.find_lease(token);
  GrantedRange granted;
  granted.range = lease->open.front();
  granted.token = token;
  if (const TrackedMessage* message = partition.delivery.find_tracked(granted.range.first)) {
    granted.delivery = message->deliveries;
    granted.failures = message->failures;
    granted.redrive = message->redrive;
  }
  DeliverPush deliver;
  deliver.partition = partition.index;
  deliver.lease = group.info.policy.lease;
  deliver.ranges.push_back(granted);
  deliver.batches = std::move(batches);
  // A single record is smaller than the batch that was reckoned with; a fixed one may be larger.
  std::int64_t sent = 0;
  for (const SharedBytes& batch : deliver.batches) sent += static_cast<std::int64_t>(batch.size());
  give_back(group, partition, token, {0, used.bytes - sent});
  used.bytes = sent;
  watch->second.sent = true;
  watch->second.deadline = log_.clock().monotonic() + group.info.policy.lease;
  if (mutant("half_a_lease")) {
    watch->second.deadline = log_.clock().monotonic() + group.info.policy.lease / 2;
  }
  watch_until(partition, token, watch->second.deadline);
  log_.mailbox().post(
      consumer->id.home,
      [gateway = consumer->gateway, id = consumer->id, from = log_.options().shard, used,
       deliver = std::move(deliver)](Shard&) mutable {
        gateway->on_delivery(id, from, std::move(deliver), used);
      },
      Mailbox::Kind::kAnswer);
}

// --- the loop ---

void DeliveryEngine::watch_until(GroupPartition& partition, LeaseToken token, MonotonicTime when) {
  timers_.emplace(when, Timer{&partition, token, {}});
}

void DeliveryEngine::resume() {
  MonotonicTime now = log_.clock().monotonic();
  WallTime wall = log_.clock().wall();
  for (auto& [id, group] : groups_) {
    for (const auto& partition : group->partitions) {
      for (const auto& [offset, message] : partition->delivery.tracked()) {
        if (message.leased) continue;
        // A clock that jumped while we were down must not park a message for days (D11).
        std::chrono::milliseconds wait(message.ready_at.milliseconds - wall.milliseconds);
        std::chrono::milliseconds whole(message.ready_at.milliseconds -
                                        message.last_end.milliseconds);
        wait = std::min(wait, whole);
        if (wait.count() <= 0) {
          partition->ready.insert(offset);
        } else {
          timers_.emplace(now + wait, Timer{partition.get(), {}, offset});
        }
      }
      for (const auto& [token, lease] : partition->delivery.leases()) {
        MonotonicTime until = now + limits::kReclaimAfterRestart;
        if (mutant("orphans_wait_for_ever")) continue;
        partition->watches[token] = {
            .consumer = {}, .deadline = until, .sent = true, .orphaned = true};
        watch_until(*partition, token, until);
      }
    }
  }
}

void DeliveryEngine::turn() {
  MonotonicTime now = log_.clock().monotonic();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    Timer timer = timers_.begin()->second;
    timers_.erase(timers_.begin());
    run_timer(timer);
  }
  for (GroupId id : std::exchange(starved_, {})) {
    if (ConsumerGroup* group = find(id)) mark_dirty(*group);
  }
  std::vector<GroupId> dirty = std::exchange(dirty_, {});
  for (GroupId id : dirty) {
    ConsumerGroup* group = find(id);
    if (group == nullptr) continue;
    group->dirty = false;
    grant(*group);
  }
  for (auto [group_id, stream] : std::exchange(unstaged_, {})) {
    ConsumerGroup* group = find(group_id);
    GroupPartition* partition = group == nullptr ? nullptr : group->find(stream);
    if (partition != nullptr) stage_ops(*partition);
  }
}

std::optional<MonotonicTime> DeliveryEngine::deadline() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first;
}

// --- seeing ---

std::vector<GroupPartitionStatus> DeliveryEngine::status(GroupId id) {
  std::vector<GroupPartitionStatus> statuses;
  ConsumerGroup* group = find(id);
  if (group == nullptr) return statuses;
  bool credit = std::ranges::any_of(group->consumers, &ShardConsumer::has_credit);
  for (const auto& partition : group->partitions) {
    const DeliveryState& delivery = partition->delivery;
    GroupPartitionStatus status;
    status.partition = partition->index;
    status.failures = delivery.failure_count();
    status.redelivered = delivery.redelivery_count();
    Accounting& a = status.accounting;
    a.start = delivery.start();
    a.end = std::max(partition->log.visible_end(), delivery.fresh());
    a.leased = delivery.leased_count();
    std::uint64_t ready_again = partition->ready.size();
    a.delayed = delivery.waiting_count() - ready_again;
    a.ready = static_cast<std::uint64_t>(a.end - delivery.fresh()) + ready_again;
    a.dead = mutant("uncounted_dead") ? 0 : partition->dead_letters.dead_count();
    a.discarded = partition->dead_letters.discarded_count();
    std::uint64_t total = static_cast<std::uint64_t>(a.end - a.start);
    a.done = total - a.leased - a.delayed - a.ready - a.dead - a.discarded;
    if (a.ready == 0) {
      status.waiting = Waiting::kNothingReady;
    } else if (!credit) {
      status.waiting = Waiting::kNoCredit;
    } else if (delivery.leased_count() >= group->info.policy.window) {
      status.waiting = Waiting::kWindowFull;
    } else if (log_.admit(kRoomPerLease, false) != Admission::kAdmitted) {
      status.waiting = Waiting::kDisk;
    }
    statuses.push_back(std::move(status));
  }
  return statuses;
}

std::uint64_t DeliveryEngine::open_dead_letters() const {
  std::uint64_t count = 0;
  for (const auto& [id, group] : groups_) {
    for (const auto& partition : group->partitions) count += partition->dead_letters.dead_count();
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

// DeliveryEngine, continued: what goes next and to whom. One lease is what one consumer gets of one
// partition in one turn: a run of messages, or single ones - of different keys, or delivered
// before.
#include <algorithm>
#include <functional>
#include <utility>

#include "broker/core/delivery_engine.h"
#include "broker/core/shard.h"
#include "protocol/base/limits.h"
#include "protocol/base/mutant.h"

namespace waybill {
namespace {

/// Messages and bytes of one lease at most: small enough that consumers share fairly, large enough
/// that ranges pay.
constexpr std::int64_t kMaxLeaseMessages = 1024;
constexpr std::int64_t kMaxLeaseBytes = 1024 * 1024;
/// Single messages of one lease at most: each costs about 20 bytes in its entry, and time whenever
/// one of them is settled.
constexpr std::int64_t kMaxLeaseSingles = 256;
/// Single messages are chosen first come first served, so many at once, and then leave in the order
/// of their offsets: messages of one batch leave together, and it is read once. What turns out to
/// be too much goes back; so the first are as many as went in the last turn, and each time they did
/// go there are twice as many.
constexpr std::size_t kFewestChosen = 64;
constexpr std::size_t kMostChosen = 8192;
/// Journal room that a lease's possible dead letters need (D14), beside their payloads.
constexpr std::size_t kRoomPerLease = 64 * 1024;
/// Messages dropped in one turn at most because they expired: the rest of the loop goes on.
constexpr int kMaxDrops = 10'000;

/// Bytes of the payload that a redriven message has now: a fix may be larger than the original.
std::int64_t redriven_size(const GroupPartition& partition, Offset offset) {
  std::uint64_t number = partition.delivery.find_tracked(offset)->dead_letter;
  const Stream& stream = partition.dead_stream;
  Offset record = partition.dead_letters.find(number)->records.back();
  return stream.at(record).cost(1, std::nullopt);
}

/// Where the message stands in the log; by itself if the log has it no more, as what was redriven.
Stretch stretch_of(const GroupPartition& partition, Offset offset) {
  if (offset >= partition.log.start()) return partition.log.at(offset);
  Stretch alone;
  alone.base = offset;
  alone.end = offset + 1;
  return alone;
}

}  // namespace

/// What a lease will hold; taken out of `ready` and the scheduler already.
struct DeliveryEngine::Pick {
  std::int64_t max_messages = 0;
  std::int64_t max_bytes = 0;
  bool runs = false;  ///< not single messages
  std::vector<OffsetRange> ranges;
  std::int64_t messages = 0;
  std::int64_t bytes = 0;         ///< of the batches they are in
  std::optional<Offset> stretch;  ///< of the log, that the last one is in: where it begins
  int drops = 0;

  [[nodiscard]] bool full() const {
    return messages >= max_messages || (messages > 0 && bytes >= max_bytes);
  }
  void add(OffsetRange range, std::int64_t more_bytes, Offset in_stretch) {
    ranges.push_back(range);
    messages += range.count();
    bytes += more_bytes;
    stretch = in_stretch;
  }
};

// --- to whom ---

/// Whether the group delivers at all (D13).
bool DeliveryEngine::may_grant(ConsumerGroup& group) {
  if ((group.info.paused && !mutant("deliver_while_paused")) ||
      group.info.brake.state == BrakeState::kOpen)
    return false;
  if (group.info.brake.state != BrakeState::kProbing || !group.probe) return true;
  auto [stream, token] = *group.probe;
  const GroupPartition* partition = group.find(stream);
  return partition == nullptr || partition->delivery.find_lease(token) == nullptr;
}

void DeliveryEngine::grant(ConsumerGroup& group) {
  // Single messages are shared among those who want some.
  auto wanting =
      std::max<std::int64_t>(1, std::ranges::count_if(group.consumers, &ShardConsumer::has_credit));
  for (const auto& partition : group.partitions) {
    partition->exhausted = false;
    partition->singles_gone = 0;
    auto singles =
        static_cast<std::int64_t>(partition->ready.size() + partition->scheduler.ready_count());
    partition->share =
        std::clamp<std::int64_t>((singles + wanting - 1) / wanting, 1, kMaxLeaseSingles);
  }
  grant_leases(group);
  for (const auto& partition : group.partitions) {
    if (partition->singles_gone > 0 || !partition->chosen.empty()) {
      partition->choose_next = std::clamp(partition->singles_gone, kFewestChosen, kMostChosen);
    }
    for (Offset offset : partition->chosen) available(*partition, offset);
    partition->chosen.clear();
  }
}

void DeliveryEngine::grant_leases(ConsumerGroup& group) {
  auto next_partition = [&]() -> GroupPartition* {
    for (std::size_t i = 0; i < group.partitions.size(); ++i) {
      std::size_t index = (group.next_partition + i) % group.partitions.size();
      if (!has_work(group, *group.partitions[index])) continue;
      group.next_partition = index + 1;
      return group.partitions[index].get();
    }
    return nullptr;
  };
  bool wanting_credit = false;
  while (may_grant(group)) {
    GroupPartition* partition = next_partition();
    if (partition == nullptr) break;
    ShardConsumer* consumer = choose_consumer(group, *partition);
    if (consumer == nullptr) {
      wanting_credit = true;
      partition->exhausted = true;
      continue;
    }
    // The journal's next file, or free space, comes with a later turn.
    if (!grant_one(group, *partition, *consumer)) return starved_.push_back(group.info.id);
  }
  if (!wanting_credit) return;
  // Shards without room for a lease would hand the same credit to and fro for ever.
  if (log_.admit(group.room_for_lease, false) != Admission::kAdmitted) {
    return starved_.push_back(group.info.id);
  }
  ask_for_credit(group);
}

ShardConsumer* DeliveryEngine::choose_consumer(ConsumerGroup& group, GroupPartition& partition) {
  if (partition.ordering == Ordering::kPartition) return choose_owner(group, partition);
  for (std::size_t i = 0; i < group.consumers.size(); ++i) {
    std::size_t index = (group.next_consumer + i) % group.consumers.size();
    if (!group.consumers[index].has_credit()) continue;
    group.next_consumer = index + 1;
    return &group.consumers[index];
  }
  return nullptr;
}

/// One consumer gets the messages of the partition, until it goes, or until others have far fewer
/// partitions; then what it holds is settled first.
ShardConsumer* DeliveryEngine::choose_owner(ConsumerGroup& group, GroupPartition& partition) {
  auto owned = [&](ConsumerId id) {
    return std::ranges::count_if(group.partitions, [&](const auto& other) {
      return other.get() != &partition && other->owner == id;
    });
  };
  ShardConsumer* owner = group.find_consumer(partition.owner);
  ShardConsumer* fewest = nullptr;
  for (ShardConsumer& consumer : group.consumers) {
    if (!consumer.has_credit()) continue;
    if (fewest == nullptr || owned(consumer.id) < owned(fewest->id)) fewest = &consumer;
  }
  bool keeps = owner != nullptr && owner->has_credit() &&
               (fewest == nullptr || owned(owner->id) <= owned(fewest->id));
  if (partition.delivery.leased_count() > 0) {
    bool all_its = std::ranges::all_of(partition.watches, [&](const auto& entry) {
      return entry.second.consumer == partition.owner && !entry.second.orphaned;
    });
    return keeps && all_its ? owner : nullptr;
  }
  if (keeps) return owner;
  if (fewest != nullptr) partition.owner = fewest->id;
  return fewest;
}

void DeliveryEngine::ask_for_credit(ConsumerGroup& group) {
  for (ShardConsumer& consumer : group.consumers) {
    if (!consumer.has_credit() && !consumer.wanting && !consumer.quiet) want_credit(consumer);
  }
}

/// Says that there is work, and gives back the rest: messages without bytes, bytes without
/// messages, or what was used beyond what there was.
void DeliveryEngine::want_credit(ShardConsumer& consumer) {
  consumer.wanting = true;
  log_.mailbox().post(
      consumer.id.home,
      [gateway = consumer.gateway, id = consumer.id, from = log_.options().shard,
       rest = std::exchange(consumer.credit, {})](Shard&) { gateway->on_wanting(id, from, rest); },
      Mailbox::Kind::kAnswer);
}

/// Credit that a lease did not use after all.
void DeliveryEngine::refund(ConsumerGroup& group, ConsumerId id, Credit credit) {
  ShardConsumer* consumer = group.find_consumer(id);
  if (consumer == nullptr || (credit.messages == 0 && credit.bytes == 0)) return;
  consumer->credit.messages += credit.messages;
  consumer->credit.bytes += credit.bytes;
  mark_dirty(group);
  if (consumer->wanting) want_credit(*consumer);  // who wants some holds none
}

// --- what ---

/// Takes out of the range what must not be delivered any more. If that is its first message, it is
/// dropped or dies, and the answer is true; else the range ends before the first such.
bool DeliveryEngine::drop_next(ConsumerGroup& group, GroupPartition& partition,
                               OffsetRange& range) {
  const TrackedMessage* tracked = partition.delivery.find_tracked(range.first);
  if (tracked != nullptr &&
      tracked->deliveries - tracked->revoked >= log_.options().max_deliveries) {
    kill(partition, {.token = {},
                     .offset = range.first,
                     .reason = DeadLetterReason::kDeliveryLimit,
                     .attempt = {},
                     .done = {}});
    return true;
  }
  if (partition.expiries.size() == 0) return false;
  WallTime now = log_.clock().wall();
  std::optional<Offset> expired = partition.expiries.first_expired(range, now);
  if (!expired) return false;
  if (*expired != range.first) {
    range.last = *expired - 1;
    return false;
  }
  if (tracked != nullptr && tracked->dead_letter != 0) return false;  // a person sent it again
  if (group.info.policy.on_expiry == OnExpiry::kDeadLetter) {
    kill(partition, {.token = {},
                     .offset = range.first,
                     .reason = DeadLetterReason::kExpired,
                     .attempt = {},
                     .done = {}});
  } else {
    record(partition, ExpiredOp{{range.first, range.first}});
  }
  return true;
}

/// Takes single messages that may go out of `ready`, or one each of as many keys.
void DeliveryEngine::choose_singles(ConsumerGroup& group, GroupPartition& partition) {
  // Too many wait behind dead letters: only what resolves one may go (D12).
  bool full = held_full(group, partition);
  KeyScheduler& scheduler = partition.scheduler;
  std::set<Offset>& ready = partition.ready;
  std::vector<Offset>& chosen = partition.chosen;
  std::vector<Offset> suspects;
  std::size_t count = std::max(partition.choose_next, kFewestChosen);
  for (auto it = ready.begin(); it != ready.end() && chosen.size() < count;) {
    bool may = !full || partition.is_redriven(*it);
    if (may) (goes_alone(group, partition, *it) ? suspects : chosen).push_back(*it);
    it = may ? ready.erase(it) : std::next(it);
  }
  // The brake probes with what has failed least (D13).
  if (!chosen.empty() && group.info.brake.state == BrakeState::kProbing) {
    ready.insert(chosen.begin(), chosen.end());
    Offset least = *std::ranges::min_element(ready, {}, [&](Offset offset) {
      return partition.delivery.find_tracked(offset)->failures;
    });
    ready.erase(least);
    chosen.clear();
    (goes_alone(group, partition, least) ? suspects : chosen).push_back(least);
  }
  bool open_turn = partition.open_next && !scheduler.open().empty() && !full;
  if (chosen.empty() && !open_turn) {
    while (chosen.size() < count) {
      std::optional<Offset> next = scheduler.take(full);
      if (!next) break;
      (goes_alone(group, partition, *next) ? suspects : chosen).push_back(*next);
    }
    if (!chosen.empty()) partition.open_next = true;
  }
  if (!chosen.empty()) partition.choose_next = std::min(count * 2, kMostChosen);
  std::ranges::sort(chosen, std::greater());
  partition.suspects.insert(suspects.begin(), suspects.end());
}

/// Adds as many single messages as may go to one consumer in this turn.
void DeliveryEngine::pick_singles(ConsumerGroup& group, GroupPartition& partition, Pick& pick) {
  std::vector<Offset>& chosen = partition.chosen;
  while (pick.messages < partition.share && !pick.full() && pick.drops < kMaxDrops) {
    if (chosen.empty()) choose_singles(group, partition);
    if (chosen.empty()) return;
    Offset offset = chosen.back();
    Stretch stretch = stretch_of(partition, offset);
    std::int64_t more = stretch.cost(1, pick.stretch);
    if (partition.is_redriven(offset)) more = redriven_size(partition, offset);
    if (pick.messages > 0 && pick.bytes + more > pick.max_bytes) return;
    chosen.pop_back();
    OffsetRange range{offset, offset};
    if (drop_next(group, partition, range)) {
      ++pick.drops;
    } else {
      pick.add(range, more, stretch.base);
      ++partition.singles_gone;
    }
  }
}

/// Adds the next message in order, or the next of a run as far as their batch goes. False: no more.
bool DeliveryEngine::pick_run(ConsumerGroup& group, GroupPartition& partition, Pick& pick) {
  const RangeSet& open = partition.scheduler.open();
  bool in_order = partition.ordering == Ordering::kPartition;
  std::optional<Offset> first;
  if (in_order) {
    first = next_in_order(partition);
  } else if (!open.empty() && !held_full(group, partition)) {
    first = open.front().first;
    partition.open_next = false;
  }
  if (!first) return false;
  bool again = partition.ready.contains(*first);
  if (again && goes_alone(group, partition, *first)) {
    partition.ready.erase(*first);
    partition.suspects.insert(*first);
    return false;
  }

  Stretch stretch = stretch_of(partition, *first);
  std::int64_t more = stretch.cost(1, pick.stretch);
  if (partition.is_redriven(*first)) more = redriven_size(partition, *first);
  if (pick.messages > 0 && pick.bytes + more > pick.max_bytes) return false;
  OffsetRange range{*first, *first};
  if (!again) {
    range.last = std::min(
        {open.front().last, stretch.last(), *first + (pick.max_messages - pick.messages - 1)});
  }
  bool dropped = drop_next(group, partition, range);
  if (dropped) {
    range.last = range.first;
    ++pick.drops;
  } else {
    more = std::max(more, stretch.cost(range.count(), pick.stretch));
    pick.add(range, more, stretch.base);
  }
  if (again) {
    partition.ready.erase(range.first);
  } else {
    partition.scheduler.take_open(range);
  }
  return pick.drops < kMaxDrops;
}

DeliveryEngine::Pick DeliveryEngine::pick(ConsumerGroup& group, GroupPartition& partition,
                                          const ShardConsumer& consumer) {
  Pick pick;
  std::uint64_t room = group.info.policy.window - partition.delivery.leased_count();
  pick.max_messages =
      std::min({consumer.credit.messages, kMaxLeaseMessages, static_cast<std::int64_t>(room)});
  pick.max_bytes = std::min(consumer.credit.bytes, kMaxLeaseBytes);
  if (group.info.brake.state == BrakeState::kProbing) pick.max_messages = 1;
  if (partition.ordering != Ordering::kPartition) pick_singles(group, partition, pick);
  pick.runs = pick.messages == 0;
  while (pick.runs && !pick.full() && pick_run(group, partition, pick)) continue;
  std::ranges::sort(pick.ranges, {}, &OffsetRange::first);
  return pick;
}

/// What was taken out goes back, from the given range on.
void DeliveryEngine::unpick(GroupPartition& partition, const std::vector<OffsetRange>& ranges,
                            std::size_t from) {
  for (std::size_t i = from; i < ranges.size(); ++i) {
    bool one = ranges[i].count() == 1;
    if (one) {
      available(partition, ranges[i].first);
    } else {
      partition.scheduler.open(ranges[i]);
    }
  }
}

/// A lease of one message that was taken out; without room in the journal it goes back, and the
/// answer is no token.
LeaseToken DeliveryEngine::grant_single(ConsumerGroup& group, GroupPartition& partition,
                                        ShardConsumer& consumer, Offset offset) {
  Pick pick;
  Stretch stretch = stretch_of(partition, offset);
  std::int64_t bytes = stretch.cost(1, std::nullopt);
  if (partition.is_redriven(offset)) bytes = redriven_size(partition, offset);
  pick.add({offset, offset}, bytes, stretch.base);
  LeaseToken token = lease(group, partition, consumer, pick);
  if (token == LeaseToken{}) starved_.push_back(group.info.id);
  return token;
}

/// False: the journal has no room for a lease. Without anything to lease the partition is
/// exhausted.
bool DeliveryEngine::grant_one(ConsumerGroup& group, GroupPartition& partition,
                               ShardConsumer& consumer) {
  Pick picked = pick(group, partition, consumer);
  if (picked.ranges.empty()) {
    if (picked.drops >= kMaxDrops) {
      starved_.push_back(group.info.id);
    }
    partition.exhausted = true;
    return true;
  }
  return lease(group, partition, consumer, picked) != LeaseToken{};
}

/// Leases what was picked; no token if the journal has no room.
LeaseToken DeliveryEngine::lease(ConsumerGroup& group, GroupPartition& partition,
                                 ShardConsumer& consumer, Pick& picked) {
  // A lease may end as a dead letter: it is granted only while that has room (D14). What is too
  // much at once may go one by one.
  auto has_room = [&] {
    group.room_for_lease = kRoomPerLease + static_cast<std::size_t>(picked.bytes);
    return log_.admit(group.room_for_lease, false) == Admission::kAdmitted;
  };
  if (!has_room()) {
    OffsetRange all = picked.ranges.front();
    OffsetRange first{all.first, all.first};
    unpick(partition, picked.ranges, 1);
    if (all.count() > 1) partition.scheduler.open({all.first + 1, all.last});
    picked.ranges.assign(1, first);
    picked.messages = 1;
    picked.bytes = stretch_of(partition, first.first).cost(1, std::nullopt);
    if (!has_room()) {
      unpick(partition, picked.ranges, 0);
      return {};
    }
  }
  // Neighbours that were never delivered are one range.
  std::vector<OffsetRange> ranges;
  for (OffsetRange range : picked.ranges) {
    bool again = partition.delivery.find_tracked(range.first) != nullptr;
    if (again) ++metrics_.redelivered_messages;
    bool joins = !ranges.empty() && !again && ranges.back().last + 1 == range.first &&
                 partition.delivery.find_tracked(ranges.back().first) == nullptr;
    if (joins) {
      ranges.back().last = range.last;
    } else {
      ranges.push_back(range);
    }
  }
  LeaseToken token{log_.journal().start_number(), next_lease_++};
  if (mutant("tokens_begin_anew")) token.start = 1;
  // Ordered groups wait for the settlement before, which is in the same journal; the others may
  // choose to be told before the lease is durable, but never of a message that is not (S12).
  bool relaxed = group.info.policy.attempts == Attempts::kRelaxed &&
                 partition.ordering == Ordering::kNone && picked.runs &&
                 ranges.back().last < partition.log.visible_end();
  record(partition, LeaseOp{token, std::move(ranges), log_.clock().wall(), consumer.instance});
  partition.watches[token] = {.consumer = consumer.id, .deadline = {}};
  if (group.info.brake.state == BrakeState::kProbing) {
    group.probe = std::pair(partition.log.id(), token);
  }
  Credit used{picked.messages, picked.bytes};
  consumer.credit.messages -= used.messages;
  consumer.credit.bytes -= used.bytes;
  metrics_.delivered_messages += static_cast<std::uint64_t>(used.messages);
  if (relaxed || mutant("deliver_before_durable")) {
    send(group.info.id, partition.log.id(), token, consumer.id, used);
    return token;
  }
  log_.when_durable([this, group_id = group.info.id, stream = partition.log.id(), token,
                     to = consumer.id, used](bool durable) {
    if (durable) send(group_id, stream, token, to, used);
  });
  return token;
}

}  // namespace waybill

// DeliveryEngine, continued: how a lease leaves. The batches it touches are read, from memory or
// from the journal, and pushed: whole where most of a batch is leased, else the records that are,
// together in a batch of their own, so that nobody is sent what is not for him (S28).
#include <algorithm>
#include <span>
#include <utility>

#include "broker/core/delivery_engine.h"
#include "broker/core/shard.h"
#include "protocol/base/mutant.h"
#include "protocol/record/batch_builder.h"
#include "protocol/record/record_batch.h"

namespace waybill {
namespace {

/// How long messages wait whose payload could not be read: devices recover, or somebody looks.
constexpr std::chrono::seconds kUnreadableWait{60};
/// Of a batch of which less than this part is leased, only those records are sent.
constexpr std::int64_t kWholeFraction = 4;

/// What is sent of a lease, by offset.
class Outgoing {
 public:
  /// `alone`: nothing is joined to what stands before or behind it.
  explicit Outgoing(bool alone) : alone_(alone) {}

  /// What is leased of the batch: all of it, or the records that are. `apart`: all of it only if
  /// all is leased.
  void add(SharedBytes batch, std::span<const OffsetRange> leased, bool apart,
           std::vector<OffsetRange>& unreadable) {
    Result<BatchHeader> header = parse_batch_header(batch.view());
    if (!header) return;  // it was read, so it was checked
    std::int64_t count = 0;
    here_.clear();
    for (OffsetRange range : leased) {
      OffsetRange both{std::max(range.first, header->base_offset),
                       std::min(range.last, header->last_offset())};
      if (both.count() <= 0) continue;
      count += both.count();
      here_.push_back(both);
    }
    if (here_.empty()) return;
    std::int64_t all = header->last_offset() - header->base_offset + 1;
    if (count == all || (!apart && count * kWholeFraction >= all)) {
      finish_selection();
      batches_.emplace_back(here_.front().first, std::move(batch));
    } else {
      add_records(batch.view(), here_, unreadable);
    }
  }
  std::vector<std::pair<Offset, SharedBytes>> take() {
    finish_selection();
    return std::move(batches_);
  }

 private:
  void add_records(Bytes batch, std::span<const OffsetRange> ranges,
                   std::vector<OffsetRange>& unreadable) {
    std::size_t count = alone_ ? 1 : ranges.size();
    for (std::size_t i = 0; i < ranges.size(); i += count) {
      std::span<const OffsetRange> part = ranges.subspan(i, count);
      if (!selection_.add(batch, part)) {
        unreadable.insert(unreadable.end(), part.begin(), part.end());
      }
      if (alone_) finish_selection();
    }
  }
  void finish_selection() {
    if (selection_.empty()) return;
    for (auto& [first, batch] : selection_.take()) {
      batches_.emplace_back(first, SharedBytes(std::move(batch)));
    }
  }

  bool alone_;
  std::vector<OffsetRange> here_;
  RecordSelection selection_;
  std::vector<std::pair<Offset, SharedBytes>> batches_;
};

}  // namespace

/// A lease on its way out.
struct DeliveryEngine::Sending {
  /// One stretch of the log, and what of it is leased.
  struct Item {
    Offset base;
    Offset end;
    std::size_t first_range = 0;
    std::size_t range_count = 0;
    bool apart = false;          ///< some were delivered before: only the leased records are sent
    SharedBytes in_memory = {};  ///< its batch; empty: it is read
    Result<std::vector<SharedBytes>> read = Error{Errc::kDamaged, 0, "not read"};
  };
  struct Redriven {
    Offset offset;
    Result<SharedBytes> batch = Error{Errc::kDamaged, 0, "not read"};
  };

  GroupId group;
  StreamId stream;
  LeaseToken token;
  ConsumerId consumer;
  Credit used;
  std::vector<Item> items;
  std::vector<OffsetRange> ranges;  ///< of the items, one's after the other's
  std::vector<Redriven> redriven;
  std::size_t missing = 1;  ///< reads under way, and this call itself

  [[nodiscard]] std::span<const OffsetRange> ranges_of(const Item& item) const {
    return std::span(ranges).subspan(item.first_range, item.range_count);
  }
  /// The batches of these items, in order.
  void take(std::size_t first, std::size_t count, std::vector<SharedBytes> batches) {
    std::size_t next = 0;
    for (std::size_t i = first; i < first + count; ++i) {
      std::vector<SharedBytes> own;
      for (; next < batches.size(); ++next) {
        Result<BatchHeader> header = parse_batch_header(batches[next].view());
        if (!header || header->base_offset >= items[i].end) break;
        own.push_back(std::move(batches[next]));
      }
      items[i].read = std::move(own);
    }
  }
};

void DeliveryEngine::send(GroupId group_id, StreamId stream, LeaseToken token, ConsumerId consumer,
                          Credit used) {
  ConsumerGroup* group = find(group_id);
  GroupPartition* partition = group == nullptr ? nullptr : group->find(stream);
  const OpenLease* lease = partition == nullptr ? nullptr : partition->delivery.find_lease(token);
  if (lease == nullptr) {  // its consumer went meanwhile, or it was taken back
    if (group != nullptr) refund(*group, consumer, used);
    return;
  }
  auto sending = std::make_shared<Sending>();
  sending->group = group_id;
  sending->stream = stream;
  sending->token = token;
  sending->consumer = consumer;
  sending->used = used;
  bool in_order = partition->ordering == Ordering::kPartition && !mutant("leave_in_any_order");
  if (in_order) leaving_[{group_id, stream}].push_back(sending);
  const Stream& log = partition->log;
  for (OffsetRange range : lease->open) {
    const TrackedMessage* tracked = partition->delivery.find_tracked(range.first);
    if (tracked != nullptr && tracked->dead_letter != 0) {
      sending->redriven.push_back({range.first});
      continue;
    }
    for (Offset next = range.first; next <= range.last;) {
      if (sending->items.empty() || sending->items.back().end <= next) {
        Stretch stretch = log.at(next);
        sending->items.push_back(
            {.base = stretch.base, .end = stretch.end, .first_range = sending->ranges.size()});
        // At once: a request for each would cost more than all the rest.
        if (!stretch.batch.empty()) {
          sending->items.back().in_memory = stretch.in_memory();
        }
      }
      Offset last = std::min(range.last, sending->items.back().end - 1);
      ++sending->items.back().range_count;
      sending->ranges.push_back({next, last});
      if (tracked != nullptr) sending->items.back().apart = true;
      next = last + 1;
    }
  }
  for (std::size_t i = 0; i < sending->redriven.size(); ++i) {
    ++sending->missing;
    read_payload(*partition, sending->redriven[i].offset,
                 [this, sending, i](Result<SharedBytes> batch) {
                   sending->redriven[i].batch = std::move(batch);
                   read_done(sending);
                 });
  }
  for (std::size_t first = 0; first < sending->items.size();) {
    std::size_t count = 1;
    if (!sending->items[first].in_memory.empty()) {
      ++first;
      continue;
    }
    while (first + count < sending->items.size() &&
           sending->items[first + count].in_memory.empty() &&
           sending->items[first + count].base == sending->items[first + count - 1].end) {
      ++count;
    }
    read_run(sending, first, count);
    first += count;
  }
  read_done(sending);
}

/// Reads the stretches of `count` items that stand side by side; one that cannot be read does not
/// take its neighbours with it.
void DeliveryEngine::read_run(const std::shared_ptr<Sending>& sending, std::size_t first,
                              std::size_t count) {
  ConsumerGroup* group = find(sending->group);
  GroupPartition* partition = group == nullptr ? nullptr : group->find(sending->stream);
  if (partition == nullptr) return;
  ++sending->missing;
  log_.read(partition->log, sending->items[first].base, sending->items[first + count - 1].end,
            [this, sending, first, count](Result<std::vector<SharedBytes>> batches) {
              if (batches) {
                sending->take(first, count, std::move(*batches));
              } else if (count > 1) {
                for (std::size_t i = 0; i < count; ++i) read_run(sending, first + i, 1);
              } else {
                sending->items[first].read = batches.error();
              }
              read_done(sending);
            });
}

void DeliveryEngine::read_done(const std::shared_ptr<Sending>& sending) {
  if (--sending->missing > 0) return;
  auto leaving = leaving_.find({sending->group, sending->stream});
  if (leaving == leaving_.end()) return leave(*sending);
  // However long each had to be read, one leaves after the other. The queue may go with its group.
  while (leaving != leaving_.end() && leaving->second.front()->missing == 0) {
    std::shared_ptr<Sending> next = leaving->second.front();
    leaving->second.pop_front();
    if (leaving->second.empty()) leaving_.erase(leaving);
    leave(*next);
    leaving = leaving_.find({sending->group, sending->stream});
  }
}

void DeliveryEngine::leave(Sending& sending) {
  ConsumerGroup* group = find(sending.group);
  GroupPartition* partition = group == nullptr ? nullptr : group->find(sending.stream);
  if (partition != nullptr && partition->delivery.find_lease(sending.token) != nullptr) {
    push(*group, *partition, sending);
  } else if (group != nullptr) {
    refund(*group, sending.consumer, sending.used);
  }
}

/// What was read, ready to be sent, by offset; what could not be read is left out and told apart.
std::vector<std::pair<Offset, SharedBytes>> DeliveryEngine::gather(
    Sending& sending, std::vector<OffsetRange>& unreadable) {
  // Redriven messages are batches of their own, which belong between the others by their offset.
  Outgoing outgoing(!sending.redriven.empty());
  for (Sending::Item& item : sending.items) {
    std::span<const OffsetRange> ranges = sending.ranges_of(item);
    bool redriven = std::ranges::any_of(sending.redriven, [&](const Sending::Redriven& other) {
      return item.base <= other.offset && other.offset < item.end;
    });
    bool apart = item.apart || redriven;
    if (!item.in_memory.empty()) {
      outgoing.add(std::move(item.in_memory), ranges, apart, unreadable);
    } else if (item.read) {
      for (SharedBytes& batch : *item.read) {
        outgoing.add(std::move(batch), ranges, apart, unreadable);
      }
    } else {
      unreadable.insert(unreadable.end(), ranges.begin(), ranges.end());
    }
  }
  std::vector<std::pair<Offset, SharedBytes>> batches = outgoing.take();
  for (Sending::Redriven& redriven : sending.redriven) {
    if (redriven.batch) {
      batches.emplace_back(redriven.offset, std::move(*redriven.batch));
    } else {
      unreadable.push_back({redriven.offset, redriven.offset});
    }
  }
  std::ranges::sort(batches, {}, &std::pair<Offset, SharedBytes>::first);
  return batches;
}

void DeliveryEngine::push(ConsumerGroup& group, GroupPartition& partition, Sending& sending) {
  if (!partition.watches.contains(sending.token)) {
    return refund(group, sending.consumer, sending.used);
  }
  std::vector<OffsetRange> unreadable;
  std::vector<std::pair<Offset, SharedBytes>> batches = gather(sending, unreadable);
  for (OffsetRange range : unreadable) end_unreadable(partition, sending.token, range);

  DeliverPush deliver;
  deliver.partition = partition.index;
  deliver.lease = group.info.policy.lease;
  Credit sent;
  for (auto& [offset, batch] : batches) {
    sent.bytes += static_cast<std::int64_t>(batch.size());
    deliver.batches.push_back(std::move(batch));
  }
  const OpenLease* lease = partition.delivery.find_lease(sending.token);
  for (OffsetRange range : lease == nullptr ? OpenRanges() : lease->open) {
    GrantedRange granted;
    granted.range = range;
    granted.token = sending.token;
    if (const TrackedMessage* message = partition.delivery.find_tracked(range.first)) {
      granted.delivery = message->deliveries;
      granted.failures = message->failures;
      granted.redrive = message->redrive;
    }
    sent.messages += range.count();
    deliver.ranges.push_back(granted);
  }
  // A single record is smaller than the batch that was reckoned with; a fixed one may be larger.
  refund(group, sending.consumer,
         {sending.used.messages - sent.messages,
          sending.used.bytes - (lease == nullptr ? 0 : sent.bytes)});
  auto watch = partition.watches.find(sending.token);
  ShardConsumer* consumer =
      watch == partition.watches.end() ? nullptr : group.find_consumer(watch->second.consumer);
  if (lease == nullptr) partition.watches.erase(sending.token);
  if (lease == nullptr || consumer == nullptr) return;
  LeaseWatch& sent_watch = watch->second;
  sent_watch.sent = true;
  sent_watch.deadline = log_.clock().monotonic() + group.info.policy.lease;
  if (mutant("half_a_lease")) {
    sent_watch.deadline = log_.clock().monotonic() + group.info.policy.lease / 2;
  }
  watch_until(partition, sending.token, sent_watch.deadline);
  log_.mailbox().post(
      consumer->id.home,
      [gateway = consumer->gateway, id = consumer->id, from = log_.options().shard, sent,
       deliver = std::move(deliver)](Shard&) mutable {
        gateway->on_delivery(id, from, std::move(deliver), sent);
      },
      Mailbox::Kind::kAnswer);
}

/// The payload could not be read: the messages wait. Nobody is charged.
void DeliveryEngine::end_unreadable(GroupPartition& partition, LeaseToken token,
                                    OffsetRange range) {
  WallTime now = log_.clock().wall();
  for (Offset offset = range.first; offset <= range.last; ++offset) {
    const OpenLease* lease = partition.delivery.find_lease(token);
    if (lease == nullptr || !lease->holds({offset, offset})) continue;
    if (partition.dying.contains(offset)) continue;
    const TrackedMessage* tracked = partition.delivery.find_tracked(offset);
    Attempt attempt{now,
                    tracked != nullptr ? tracked->deliveries : 1,
                    0,
                    lease->instance,
                    {FailureClass::kUnexplained, "unreadable",
                     "the broker could not read the message back from its journal"}};
    std::chrono::milliseconds wait(kUnreadableWait);
    record(partition,
           WaitOp{token, offset, false, {now.milliseconds + wait.count()}, std::move(attempt)});
    revoke_after(partition, offset);
  }
}

}  // namespace waybill

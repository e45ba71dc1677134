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
  Outgoing(bool alone, RecordPlaces& places) : alone_(alone), places_(places) {}

  /// What is leased of a batch that was read: all of it, or the records that are. `apart`: all of
  /// it only if all is leased.
  void add(SharedBytes batch, std::span<const OffsetRange> leased, bool apart,
           std::vector<OffsetRange>& unreadable) {
    Result<BatchHeader> header = parse_batch_header(batch.view());
    if (!header) return;  // it was read, so it was checked
    const Take take = choose({header->base_offset, header->last_offset()}, leased, apart);
    if (take == Take::kRecords) {
      add_records([&](auto part) { return selection_.add(batch.view(), part); }, unreadable);
    } else if (take == Take::kAll) {
      add_whole(std::move(batch));
    }
  }
  /// The same of the stream's batch in memory.
  void add(StreamId stream, const Stretch& stretch, std::span<const OffsetRange> leased, bool apart,
           std::vector<OffsetRange>& unreadable) {
    const Take take = choose({stretch.base, stretch.last()}, leased, apart);
    if (take == Take::kRecords) {
      const std::optional<PlacedRecords> placed = places_.find(stream, stretch);
      auto select = [&](std::span<const OffsetRange> part) {
        return placed ? selection_.add(*placed, part) : selection_.add(stretch.batch, part);
      };
      add_records(select, unreadable);
    } else if (take == Take::kAll) {
      add_whole(stretch.in_memory());
    }
  }
  std::vector<std::pair<Offset, SharedBytes>> take() {
    finish_selection();
    return std::move(batches_);
  }

 private:
  enum class Take : std::uint8_t { kNothing, kRecords, kAll };

  /// How a batch of these offsets leaves; here_ is what of it is leased.
  Take choose(OffsetRange batch, std::span<const OffsetRange> leased, bool apart) {
    std::int64_t count = 0;
    here_.clear();
    for (OffsetRange range : leased) {
      OffsetRange both{std::max(range.first, batch.first), std::min(range.last, batch.last)};
      if (both.count() <= 0) continue;
      count += both.count();
      here_.push_back(both);
    }
    if (here_.empty()) return Take::kNothing;
    bool whole = count == batch.count() || (!apart && count * kWholeFraction >= batch.count());
    return whole ? Take::kAll : Take::kRecords;
  }
  void add_whole(SharedBytes batch) {
    finish_selection();
    batches_.emplace_back(here_.front().first, std::move(batch));
  }
  template <class Select>
  void add_records(Select select, std::vector<OffsetRange>& unreadable) {
    std::size_t count = alone_ ? 1 : here_.size();
    for (std::size_t i = 0; i < here_.size(); i += count) {
      std::span<const OffsetRange> part = std::span(here_).subspan(i, count);
      if (!select(part)) unreadable.insert(unreadable.end(), part.begin(), part.end());
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
  RecordPlaces& places_;
  std::vector<OffsetRange> here_;
  RecordSelection selection_;
  std::vector<std::pair<Offset, SharedBytes>> batches_;
};

}  // namespace

/// A lease on its way out.
struct DeliveryEngine::Sending {
  /// One stretch of the log, and what of it is leased.
  struct Item {
    Stretch stretch;
    std::size_t first_range = 0;
    std::size_t range_count = 0;
    bool apart = false;  ///< some were delivered before: only the leased records are sent
    Result<std::vector<SharedBytes>> read = Error{Errc::kDamaged, 0, "not read"};

    [[nodiscard]] bool in_memory() const { return !stretch.batch.empty(); }
    /// What lies in memory is kept as if it had been read: the stretch is of this moment only.
    void keep() {
      if (in_memory()) read = std::vector<SharedBytes>{stretch.in_memory()};
      stretch.batch = {};
    }
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
  bool in_order = false;    ///< it leaves after those before it (D8)

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
        if (!header || header->base_offset >= items[i].stretch.end) break;
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
  sending->in_order = partition->ordering == Ordering::kPartition && !mutant("leave_in_any_order");
  if (sending->in_order) leaving_[{group_id, stream}].push_back(sending);
  const Stream& log = partition->log;
  for (OffsetRange range : lease->open) {
    const TrackedMessage* tracked = partition->delivery.find_tracked(range.first);
    if (tracked != nullptr && tracked->dead_letter != 0) {
      sending->redriven.push_back({range.first});
      continue;
    }
    for (Offset next = range.first; next <= range.last;) {
      if (sending->items.empty() || sending->items.back().stretch.end <= next) {
        Stretch stretch = log.at(next);
        // Records are scattered: their memory answers while the rest of them are looked for.
        if (!stretch.batch.empty()) places_.fetch_ahead(stream, stretch, next);
        sending->items.push_back({.stretch = stretch, .first_range = sending->ranges.size()});
      }
      Sending::Item& item = sending->items.back();
      Offset last = std::min(range.last, item.stretch.last());
      ++item.range_count;
      sending->ranges.push_back({next, last});
      if (tracked != nullptr) item.apart = true;
      next = last + 1;
    }
  }
  fetch(*partition, sending);
}

/// Reads what is not in memory; with the last of it, or at once, the lease leaves.
void DeliveryEngine::fetch(GroupPartition& partition, const std::shared_ptr<Sending>& sending) {
  auto in_memory = [&](const Sending::Item& item) { return item.in_memory(); };
  std::vector<Sending::Item>& items = sending->items;
  // A request for each batch in memory would cost more than all the rest.
  if (!sending->in_order && sending->redriven.empty() && std::ranges::all_of(items, in_memory)) {
    return read_done(sending);
  }
  std::vector<std::pair<std::size_t, std::size_t>> runs;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i].in_memory()) {
      items[i].keep();
    } else if (!runs.empty() && runs.back().first + runs.back().second == i &&
               items[i].stretch.base == items[i - 1].stretch.end) {
      ++runs.back().second;
    } else {
      runs.emplace_back(i, 1);
    }
  }
  for (std::size_t i = 0; i < sending->redriven.size(); ++i) {
    ++sending->missing;
    read_payload(partition, sending->redriven[i].offset,
                 [this, sending, i](Result<SharedBytes> batch) {
                   sending->redriven[i].batch = std::move(batch);
                   read_done(sending);
                 });
  }
  for (auto [first, count] : runs) read_run(sending, first, count);
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
  log_.read(partition->log, sending->items[first].stretch.base,
            sending->items[first + count - 1].stretch.end,
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
  if (!sending->in_order) return leave(*sending);
  auto leaving = leaving_.find({sending->group, sending->stream});
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
  Outgoing outgoing(!sending.redriven.empty(), places_);
  for (Sending::Item& item : sending.items) {
    std::span<const OffsetRange> ranges = sending.ranges_of(item);
    bool redriven = std::ranges::any_of(sending.redriven, [&](const Sending::Redriven& other) {
      return item.stretch.base <= other.offset && other.offset < item.stretch.end;
    });
    bool apart = item.apart || redriven;
    if (item.in_memory()) {
      outgoing.add(sending.stream, item.stretch, ranges, apart, unreadable);
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

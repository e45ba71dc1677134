// ConsumerGroup: one group as one shard sees it - its policy, its partitions here, its consumers.
// GroupPartition holds the durable state of the group on one partition (a fold) and, beside it,
// what is only of this run: who waits for what until when. Plain data; DeliveryEngine does the
// work.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "broker/core/dead_letters.h"
#include "broker/core/delivery_state.h"
#include "broker/core/expiry_index.h"
#include "broker/core/gateway.h"
#include "broker/core/key_scheduler.h"
#include "storage/stream.h"

namespace waybill {

/// How one attempt ended, for the brake (D13). Told by the shard, counted on the group's home
/// shard.
struct DeliveryOutcome {
  PartitionIndex partition;
  Offset offset;
  bool failed = false;    ///< as failed, transient or timeout; else it was acked
  bool redriven = false;  ///< it came back from the dead letters: never the brake's business
};

/// What this run knows of an open lease.
struct LeaseWatch {
  ConsumerId consumer;
  MonotonicTime deadline;  ///< meaningless until sent
  bool sent = false;
  RangeSet started = {};  ///< handlers work on these (D6)
  bool orphaned = false;  ///< its connection is gone; it waits for its instance (D5, D10)
  bool alone = false;     ///< its instance has no other lease (D10)
};

struct GroupPartition {
  GroupPartition(GroupId group_id, PartitionIndex partition, Stream& partition_log,
                 Stream& dead_letter_stream, Offset start, std::size_t index_limit)
      : group(group_id),
        index(partition),
        log(partition_log),
        dead_stream(dead_letter_stream),
        delivery(start),
        scheduler(index_limit) {}

  GroupId group;
  PartitionIndex index;
  Stream& log;
  Stream& dead_stream;

  // The fold.
  DeliveryState delivery;
  DeadLetters dead_letters;

  // Of this run. What may go is in `ready` (delivered before; no key) or in the scheduler (the
  // rest).
  Ordering ordering = Ordering::kUnset;  ///< in force: a change waits until leases drained (D12)
  bool hold = false;                     ///< in force, as ordering
  std::vector<DeliveryOp> unstaged;      ///< applied in this turn; one entry at its end
  std::size_t unstaged_size = 0;         ///< about as many bytes
  KeyScheduler scheduler;
  RangeSet leased_before;                   ///< leased when the scan began and not looked at yet
  ExpiryIndex expiries;                     ///< of scanned messages
  std::optional<WallTime> barrier;          ///< ordering `partition`: the next one's time (D8)
  std::uint32_t scan_number = 0;            ///< of the scan under way; another one makes it stale
  bool reading = false;                     ///< the scan waits for the disk
  bool unreadable = false;                  ///< it cannot read on and tries again now and then
  std::set<Offset> ready;                   ///< delivered before, without a key, and may go again
  std::map<Offset, MonotonicTime> delayed;  ///< failed, and wait until then
  std::map<LeaseToken, LeaseWatch> watches;
  std::set<Offset> suspects = {};    ///< may go, but only alone to an instance (D10)
  MonotonicTime isolate_after = {};  ///< when an instance may be asked for again
  std::set<Offset> dying;            ///< on the way to the dead letters: the payload is being read
  ConsumerId owner;                  ///< ordering `partition`: who gets its messages
  std::optional<MonotonicTime> alarm;  ///< when a timer looks at the scheduler again
  bool exhausted = false;              ///< nothing more to lease in this turn
  std::int64_t share = 1;              ///< single messages of one consumer in this turn
  std::vector<Offset> chosen = {};     ///< taken out to be leased in this turn, the first last
  std::size_t choose_next = 1;         ///< how many the next time
  std::size_t singles_gone = 0;        ///< single messages leased in this turn
  bool open_next = false;              ///< ordering `key`: messages without a key have their turn

  /// Whether a redriven message is what is waiting here.
  [[nodiscard]] bool is_redriven(Offset offset) const {
    const TrackedMessage* message = delivery.find_tracked(offset);
    return message != nullptr && message->dead_letter != 0;
  }
  /// The scan goes on when messages have ended (D9).
  [[nodiscard]] bool index_full() const {
    return scheduler.full() || expiries.size() >= scheduler.limit() ||
           scheduler.open().run_count() >= scheduler.limit();
  }
  /// Waiting behind a dead letter (D12).
  [[nodiscard]] std::uint64_t held_count() const;
};

struct ShardConsumer {
  ConsumerId id;
  Gateway* gateway = nullptr;
  InstanceId instance;
  Credit credit;
  bool wanting = false;  ///< its session was told that there is work but no credit
  bool quiet = false;    ///< its instance is to hold nothing but a suspect (D10)

  [[nodiscard]] bool has_credit() const {
    return credit.messages > 0 && credit.bytes > 0 && !quiet;
  }
};

struct ConsumerGroup {
  GroupInfo info;
  std::vector<std::unique_ptr<GroupPartition>> partitions;
  std::vector<ShardConsumer> consumers;
  std::size_t next_consumer = 0;  ///< round robin, so that all get their share
  std::size_t next_partition = 0;
  std::size_t room_for_lease = 0;  ///< what the last one needed in the journal, or lacked there
  bool dirty = false;              ///< something changed that may allow a lease
  std::optional<std::pair<StreamId, LeaseToken>> probe;  ///< the brake's last (D13)
  std::vector<DeliveryOutcome> outcomes;                 ///< of this turn
  std::uint32_t successes = 0;  ///< at the end of outcomes: more tell the brake nothing

  [[nodiscard]] GroupPartition* find(PartitionIndex index) const;
  [[nodiscard]] GroupPartition* find(StreamId stream) const;
  [[nodiscard]] ShardConsumer* find_consumer(ConsumerId id);
};

}  // namespace waybill

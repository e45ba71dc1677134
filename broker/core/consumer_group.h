// ConsumerGroup: one group as one shard sees it - its policy, its partitions here, its consumers.
// GroupPartition holds the durable state of the group on one partition (a fold) and, beside it,
// what is only of this run: who waits for what until when. Plain data; DeliveryEngine does the
// work.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "broker/core/dead_letters.h"
#include "broker/core/delivery_state.h"
#include "broker/core/gateway.h"
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
  std::vector<OffsetRange> started = {};  ///< handlers work on these (D6)
  bool orphaned = false;  ///< its connection is gone; it waits for its instance (D5, D10)
};

struct GroupPartition {
  GroupPartition(GroupId group_id, PartitionIndex partition, Stream& partition_log,
                 Stream& dead_letter_stream, Offset start)
      : group(group_id),
        index(partition),
        log(partition_log),
        dead_stream(dead_letter_stream),
        delivery(start) {}

  GroupId group;
  PartitionIndex index;
  Stream& log;
  Stream& dead_stream;

  // The fold.
  DeliveryState delivery;
  DeadLetters dead_letters;

  // Of this run.
  std::vector<DeliveryOp> unstaged;  ///< applied in this turn; one entry at its end
  std::size_t unstaged_size = 0;     ///< about as many bytes
  std::set<Offset> ready;            ///< tracked messages that may go now
  std::map<LeaseToken, LeaseWatch> watches;
  std::set<Offset> dying;  ///< on the way to the dead letters: the payload is being read

  /// A message could be leased, if there were a consumer.
  [[nodiscard]] bool has_work() const { return !ready.empty() || delivery.fresh() < log.end(); }
};

struct ShardConsumer {
  ConsumerId id;
  Gateway* gateway = nullptr;
  InstanceId instance;
  Credit credit;
  bool wanting = false;  ///< its session was told that there is work but no credit

  [[nodiscard]] bool has_credit() const { return credit.messages > 0 && credit.bytes > 0; }
};

struct ConsumerGroup {
  GroupInfo info;
  std::vector<std::unique_ptr<GroupPartition>> partitions;
  std::vector<ShardConsumer> consumers;
  std::size_t next_consumer = 0;  ///< round robin, so that all get their share
  std::size_t next_partition = 0;
  bool dirty = false;  ///< something changed that may allow a lease

  [[nodiscard]] GroupPartition* find(PartitionIndex index) const;
  [[nodiscard]] GroupPartition* find(StreamId stream) const;
  [[nodiscard]] ShardConsumer* find_consumer(ConsumerId id);
};

}  // namespace waybill

// Retention: what of a shard's partitions is kept no longer (S22). Every few seconds it looks at
// each partition: segments that are older than the topic's retention and that every group is done
// with go; so do those beyond a limit that the topic states explicitly (`drop_after`,
// `drop_above`), done with or not, and what was not is counted as removed.
//
// Age counts from when the segment was written, by the broker's clock: a producer's clock plays no
// part. Only whole segments go, so a segment ends when it spans an eighth of the shortest limit:
// then what is in it is of about one age, also where hardly anything is published.
//
// It also shows the partitions to the Compactor (S23). Of topics that are only compacted, nothing
// goes for its age.
//
// What it decides becomes an entry with the offset in it (DeliveryEngine::trim), so the fold looks
// at no clock. Of this run only; belongs to the shard's thread.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "broker/core/compactor.h"
#include "broker/core/delivery_engine.h"
#include "broker/core/partitions.h"

namespace waybill {

class Retention {
 public:
  /// Called with what was removed before a group was done with it: an alarm.
  using Removed = std::move_only_function<void(const Partition& partition, std::uint64_t messages)>;

  Retention(ShardLog& log, Partitions& partitions, DeliveryEngine& delivery, Compactor& compactor)
      : log_(log), partitions_(partitions), delivery_(delivery), compactor_(compactor) {}

  void on_removed(Removed callback) { removed_ = std::move(callback); }
  /// Looks at some partitions, if it is time; `catalog` has the policies of their topics.
  void turn(const Catalog& catalog);
  /// When turn() wants to be called, if at all.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const { return due_; }

 private:
  void look(Partition& partition, const TopicPolicy& policy);
  void roll(Partition& partition, const TopicPolicy& policy);

  ShardLog& log_;
  Partitions& partitions_;
  DeliveryEngine& delivery_;
  Compactor& compactor_;
  Removed removed_;
  std::optional<MonotonicTime> due_;
  /// The partition that was looked at last in this round.
  std::pair<TopicId, PartitionIndex> last_;
};

}  // namespace waybill

// Compactor: key compaction of a shard's partitions (S23). Of topics that ask for it, the latest
// record of each key stays, and what it replaces goes; a record without a value (a tombstone) goes
// too, some time after it was stored.
//
//   | clean ........ | dirty ........ | not settled by every group, or still growing |
//   |   rewritten, oldest first       |
//                     └ indexed: key -> latest offset
//
// A pass over a partition begins when more than half of what could be compacted never was. First it
// reads the dirty segments and remembers of each key the latest offset, as many keys as fit into
// memory; then it rewrites all segments up to there (SegmentRewrite), small ones together, oldest
// first: so when a tombstone counts as clean, nothing older of its key is left, and it may go
// later. A rewritten segment takes its place in the Stream at once, and for good with the next
// checkpoint. A crash in between costs the work, no more.
//
// Only what every group is done with is touched, looked at again when a segment takes its place:
// then no group has seen a record that is gone. Groups that begin there later count what is gone
// as compacted (scan.cc). One stretch of one pass at a time, at the end of a turn. What stops a
// pass (a full disk, damage) undoes what is under way; another try follows. Of this run only;
// belongs to the shard's thread.
//
// It also takes the records of erased dead letters (D18) out of the segments of their stream, in
// the same way: a pass without an index, over the segments that have any, once all of them are in
// segments that do not grow. Which ones have any needs no memory: in a dead-letter stream every
// offset has its record unless it was erased, so a segment is done with when it has no more than
// those that were not.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "broker/core/delivery_engine.h"
#include "broker/core/range_set.h"
#include "protocol/model/catalog.h"
#include "storage/key_index.h"
#include "storage/segment_rewrite.h"

namespace waybill {

class Compactor {
 public:
  Compactor(ShardLog& log, DeliveryEngine& delivery, ShardMetrics& metrics)
      : log_(log), delivery_(delivery), metrics_(metrics) {}
  Compactor(const Compactor&) = delete;
  Compactor& operator=(const Compactor&) = delete;
  /// Waits for its own operations in flight.
  ~Compactor();

  /// Begins a pass over the partition's log, if one is due and none is under way.
  void consider(const Stream& log, const TopicPolicy& policy);
  /// Goes on if it can. Once per turn.
  void turn();
  /// When turn() wants to be called without progress, if at all.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const;

 private:
  /// A pass under way.
  struct Pass {
    StreamId stream;
    std::vector<StreamSegment> segments;                 ///< up to the last dirty one
    WallTime tombstones_before = {};                     ///< those of segments stored before may go
    std::optional<KeyIndex> index = {};                  ///< nothing: it erases
    RangeSet erased = {};                                ///< the records that go then
    std::unique_ptr<SegmentCursor> cursor = nullptr;     ///< while the index is made
    Offset indexed_to = {};                              ///< it has the latest record below
    std::deque<std::vector<StreamSegment>> groups = {};  ///< still to be rewritten, each into one
    std::unique_ptr<SegmentRewrite> rewrite = nullptr;
  };

  void look_for_erased();
  bool erase(const GroupPartition& partition);
  void index();
  bool index_batch(Bytes batch);
  void plan();
  void rewrite();
  void begin_rewrite();
  [[nodiscard]] bool keeps(const RecordView& record, const StreamSegment& segment) const;
  bool failed_lately(StreamId stream);
  void take_place();
  void stop(bool failed);
  void sweep();

  ShardLog& log_;
  DeliveryEngine& delivery_;
  ShardMetrics& metrics_;
  std::optional<Pass> pass_;
  std::vector<std::unique_ptr<SegmentRewrite>> leaving_;  ///< until nothing of them is in flight
  std::map<StreamId, MonotonicTime> failed_;              ///< not looked at again before
  std::pair<GroupId, StreamId> last_;                     ///< where erasing was looked at last
  MonotonicTime look_at_;                                 ///< when to look again
};

}  // namespace waybill

// StreamObject: what a checkpoint says about the segments of a stream, for tools. The whole of a
// checkpoint is known to broker/core/snapshot.h; here only the part of one object that names files:
// what must be there, and how far.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "storage/checkpoint_writer.h"
#include "storage/segment_format.h"

namespace waybill {

/// ObjectKind::kStream of the broker.
inline constexpr std::uint16_t kStreamObjectKind = 6;

/// A segment that counts.
struct ClaimedSegment {
  SegmentId id;
  Offset end;              ///< one after the last record
  std::uint64_t size = 0;  ///< bytes of its blocks
  bool sealed = false;
  std::vector<SegmentIndexEntry> index;  ///< of one that is not sealed
};

struct StreamObject {
  StreamId stream;
  bool is_partition = false;  ///< else dead letters of a group
  Offset start;
  std::vector<ClaimedSegment> segments;
  TopicId topic;  ///< with `partition`: of a partition
  std::uint32_t partition = 0;
  bool archived = false;  ///< with `partition`: its topic is deleted
};

/// Nothing if it is no stream's, or not of a version that is known here.
std::optional<StreamObject> read_stream_object(const CheckpointObject& object);

}  // namespace waybill

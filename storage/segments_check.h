// check_segments: are a shard's checkpoint and the segments that it names intact, and if not, which
// offsets of which stream cannot be read? What a segment must hold is what the newest whole
// checkpoint says, less what the journal behind it trims or drops (S10). Changes nothing. Blocking;
// reads everything once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "storage/journal_check.h"
#include "storage/stream_object.h"

namespace waybill {

/// Acknowledged records that cannot be read: they belong at the position, or behind it.
struct LostInSegment {
  std::string path;
  std::uint64_t position = 0;
  StreamId stream;
  OffsetRange offsets;
  std::string what;
};

/// A segment without which, as it is, the broker does not start, or of which it serves nothing.
struct UnusableSegment {
  std::string path;
  ClaimedSegment claim;
  std::string what;
};

/// A sealed segment whose footer is not intact. Nothing is lost: all of it stands in the blocks
/// too.
struct DamagedFooter {
  std::string path;
  std::uint64_t position = 0;  ///< where the footer begins
};

struct SegmentsCheck {
  bool clean = true;
  bool unsupported = false;      ///< not damaged, but a newer broker's
  std::uint64_t checkpoint = 0;  ///< number of the newest whole one; 0: there is none
  std::vector<std::string> damaged_checkpoints;  ///< paths
  std::vector<std::string> explanations;         ///< of those, each with file and position
  std::uint64_t segments = 0;
  std::uint64_t sealed = 0;
  std::uint64_t blocks = 0;
  std::uint64_t batches = 0;
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
  std::uint64_t streams = 0;  ///< that have segments
  std::vector<LostInSegment> lost;
  std::vector<UnusableSegment> unusable;
  std::vector<DamagedFooter> damaged_footers;  ///< of segments whose blocks are all intact
  /// Files where a stream's directory belongs: the broker does not start.
  std::vector<std::string> misplaced;
  std::vector<std::string> unknown;  ///< segments that the checkpoint does not name: after a crash
};

/// Errors are the disk's; `explanation` (not null) then says which file. `before`: what the journal
/// takes away with this entry or a later one is still there.
Result<SegmentsCheck> check_segments(Disk& disk, ShardIndex shard, const CheckProgress& progress,
                                     std::string* explanation, std::optional<EntrySeq> before = {});

/// The streams in a checkpoint. kDamaged or kUnsupportedFormat as CheckpointReader.
Result<std::vector<StreamObject>> streams_of(Disk& disk, ShardIndex shard, std::uint64_t number);

}  // namespace waybill

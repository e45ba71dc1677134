// SegmentRewrite: writes what is wanted of some segments of a stream into a new file (S23): key
// compaction, and erasing. The segments stand side by side; the new one holds the same offsets, of
// which some have no record any more. It has their first one's base and a higher generation. Where
// a part is not to be marked as compacted, it becomes a segment of its own.
//
//   | 0-1 | 128-1 | 256-1 |   ->   | 0-2 |            or, split at 300:   | 0-2 ....... | 300-1 |
//
// One step at a time: a stretch is read, its batches are filtered and copied; a write follows when
// there is enough for one, and waits until it is done. So memory is bounded by a stretch and a
// write. Batches keep their base offset and offset range; those of which no record is left are not
// written, and blocks reach over their offsets.
//
// done(): the new files are sealed, and durable by name. Nobody knows them yet: the owner puts
// results() into the Stream, and removes the old files once a checkpoint names the new ones.
// error(): nothing came of it, mostly for want of space; discard() takes the new files away.
//
// Belongs to the shard's thread. The owner keeps it alive until pending() is 0.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "protocol/record/batch_view.h"
#include "storage/segment_cursor.h"
#include "storage/segment_writer.h"

namespace waybill {

class SegmentRewrite {
 public:
  /// Whether the record of that segment stays.
  using Keep = std::function<bool(const RecordView& record, const StreamSegment& segment)>;

  struct Plan {
    std::vector<StreamSegment> segments;  ///< none may be written to any more
    /// What is below is marked as compacted; from there on a segment of its own is not. At the
    /// beginning of a batch or the end of the last segment; nothing: marks stay as they are.
    std::optional<Offset> compacted_to;
  };

  SegmentRewrite(Disk& disk, SegmentFiles& files, Plan plan, Keep keep);

  /// Called when step() can do something again.
  void on_progress(std::function<void()> callback);
  /// Does what can be done now, at most a stretch. Blocks only to make a file.
  void step();
  /// Whether step() can do something, without waiting for the disk.
  [[nodiscard]] bool wants_step() const;
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  [[nodiscard]] const std::vector<StreamSegment>& segments() const { return cursor_.segments(); }
  /// What takes their place. Requires done().
  [[nodiscard]] std::vector<StreamSegment> results() const;
  /// Takes away what was written. Requires pending() == 0. Blocks.
  void discard();
  /// Writes whose completion has not run.
  [[nodiscard]] std::size_t pending() const;

 private:
  struct Output {
    std::unique_ptr<SegmentWriter> writer;
    StreamSegment segment;
    bool ended = false;
  };

  void filter(const StreamSegment& segment, const std::vector<SharedBytes>& batches);
  Result<void> filter(const StreamSegment& segment, Bytes batch);
  Result<void> open(Offset base, std::uint64_t generation);
  void end_output(Offset end);
  void finish();

  Disk& disk_;
  SegmentFiles& files_;
  std::optional<Offset> compacted_to_;
  Keep keep_;
  SegmentCursor cursor_;
  std::function<void()> progress_;
  std::vector<Output> outputs_;
  bool done_ = false;
  std::optional<Error> error_;
};

}  // namespace waybill

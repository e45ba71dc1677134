// SegmentCursor: a walk over segments of a stream from front to back, a stretch at a time, for
// whoever has to look at every record of them: one read is under way, or what it brought waits to
// be taken. So memory is bounded by a stretch. Nothing of it stays in the cache of SegmentFiles.
// Belongs to the shard's thread; may go at any time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "storage/segment_files.h"
#include "storage/stream.h"

namespace waybill {

class SegmentCursor {
 public:
  /// Requires at least one segment; they stand side by side.
  SegmentCursor(SegmentFiles& files, std::vector<StreamSegment> segments);
  SegmentCursor(const SegmentCursor&) = delete;
  SegmentCursor& operator=(const SegmentCursor&) = delete;
  ~SegmentCursor();

  /// Called when something has arrived.
  void on_progress(std::function<void()> callback) { coming_->progress = std::move(callback); }

  [[nodiscard]] const std::vector<StreamSegment>& segments() const { return segments_; }
  /// Everything was taken.
  [[nodiscard]] bool at_end() const { return segment_ == segments_.size(); }
  /// The segment that the next stretch is in. Requires !at_end().
  [[nodiscard]] const StreamSegment& segment() const { return segments_[segment_]; }
  /// A read is under way.
  [[nodiscard]] bool reading() const { return coming_->reading; }
  [[nodiscard]] bool arrived() const { return coming_->batches.has_value(); }
  /// Begins to read the next stretch. Requires !at_end(), !reading() and !arrived().
  void fetch();
  /// Its batches, and goes on behind it. Requires arrived(). Errors as SegmentFiles::read().
  Result<std::vector<SharedBytes>> take();

 private:
  /// What a read brings; outlives a cursor that went meanwhile.
  struct Coming {
    bool reading = false;
    std::optional<Result<std::vector<SharedBytes>>> batches;
    std::function<void()> progress;
  };

  SegmentFiles& files_;
  std::vector<StreamSegment> segments_;
  std::size_t segment_ = 0;
  std::size_t entry_ = 0;  ///< of that segment's index
  std::shared_ptr<Coming> coming_ = std::make_shared<Coming>();
};

}  // namespace waybill

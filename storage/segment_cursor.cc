#include "storage/segment_cursor.h"

#include <utility>

namespace waybill {

SegmentCursor::SegmentCursor(SegmentFiles& files, std::vector<StreamSegment> segments)
    : files_(files), segments_(std::move(segments)) {
  WB_ASSERT(!segments_.empty(), "a walk goes over something");
}

SegmentCursor::~SegmentCursor() {
  coming_->progress = nullptr;
}

void SegmentCursor::fetch() {
  WB_ASSERT(!at_end() && !reading() && !arrived(), "one stretch at a time");
  StreamSegment& segment = segments_[segment_];
  std::vector<SegmentIndexEntry>& index = segment.contents.index;
  if (index.empty()) index = files_.read_index(segment.id, segment.size, segment.contents.end);
  const bool last = entry_ + 1 == index.size();
  const std::uint64_t position = index[entry_].position;
  const std::uint64_t size = (last ? segment.size : index[entry_ + 1].position) - position;
  const Offset end = last ? segment.contents.end : index[entry_ + 1].base;
  coming_->reading = true;
  files_.read(
      segment.id, {.position = position, .size = size, .offsets = {index[entry_].base, end - 1}},
      [coming = coming_](const Result<std::vector<SharedBytes>>& batches) {
        coming->reading = false;
        coming->batches = batches;
        if (coming->progress) coming->progress();
      },
      true);
}

Result<std::vector<SharedBytes>> SegmentCursor::take() {
  WB_ASSERT(arrived(), "only what arrived is taken");
  Result<std::vector<SharedBytes>> batches = std::move(*coming_->batches);
  coming_->batches.reset();
  if (++entry_ == segments_[segment_].contents.index.size()) {
    entry_ = 0;
    ++segment_;
  }
  return batches;
}

}  // namespace waybill

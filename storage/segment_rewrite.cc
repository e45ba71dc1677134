#include "storage/segment_rewrite.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "protocol/record/batch_builder.h"

namespace waybill {
namespace {

/// Gathered before it is written: large enough for the device.
constexpr std::size_t kWriteSize = 512 * 1024;
/// Names that may be taken by what a crash left, before something is wrong.
constexpr std::uint64_t kMaxGenerations = 1000;

SegmentFacts without(SegmentFacts facts, SegmentFacts fact) {
  return static_cast<SegmentFacts>(static_cast<unsigned>(facts) & ~static_cast<unsigned>(fact));
}

}  // namespace

SegmentRewrite::SegmentRewrite(Disk& disk, SegmentFiles& files, Plan plan, Keep keep)
    : disk_(disk),
      files_(files),
      compacted_to_(plan.compacted_to),
      keep_(std::move(keep)),
      cursor_(files, std::move(plan.segments)) {}

void SegmentRewrite::on_progress(std::function<void()> callback) {
  progress_ = std::move(callback);
  cursor_.on_progress(progress_);
}

std::size_t SegmentRewrite::pending() const {
  std::size_t all = 0;
  for (const Output& output : outputs_) all += output.writer->pending();
  return all;
}

bool SegmentRewrite::wants_step() const {
  if (done_ || error_) return false;
  return cursor_.arrived() || (outputs_.empty() && !cursor_.reading());
}

void SegmentRewrite::step() {
  if (done_ || error_) return;
  for (const Output& output : outputs_) {
    error_ = output.writer->broken() ? output.writer->broken() : output.writer->stalled();
    if (error_) return;
  }
  if (outputs_.empty()) {
    const SegmentId& first = cursor_.segments().front().id;
    Result<void> opened = open(first.base, first.generation + 1);
    if (!opened) {
      error_ = opened.error();
      return;
    }
  }
  if (cursor_.arrived()) {
    const StreamSegment& segment = cursor_.segment();
    Result<std::vector<SharedBytes>> batches = cursor_.take();
    if (!batches) {
      error_ = batches.error();
      return;
    }
    filter(segment, *batches);
    if (error_) return;
    SegmentWriter& writer = *outputs_.back().writer;
    if (writer.buffered() >= kWriteSize) writer.flush();
  }
  if (cursor_.at_end()) return finish();
  if (pending() == 0 && !cursor_.reading()) cursor_.fetch();
}

void SegmentRewrite::filter(const StreamSegment& segment, const std::vector<SharedBytes>& batches) {
  for (const SharedBytes& batch : batches) {
    Result<void> filtered = filter(segment, batch.view());
    if (filtered) continue;
    error_ = filtered.error();
    return;
  }
}

Result<void> SegmentRewrite::filter(const StreamSegment& segment, Bytes batch) {
  Result<BatchHeader> header = parse_batch_header(batch);
  if (!header) return header.error();
  const bool behind = compacted_to_ && header->base_offset >= *compacted_to_;
  if (behind && outputs_.size() == 1) {
    end_output(*compacted_to_);
    if (Result<void> opened = open(*compacted_to_, 1); !opened) return opened;
  }
  Result<FilteredBatch> left =
      filter_batch(batch, [&](const RecordView& record) { return keep_(record, segment); });
  if (!left) return left.error();
  if (left->records == 0) return {};
  const Bytes bytes = left->bytes.empty() ? batch : Bytes(left->bytes);
  Output& output = outputs_.back();
  SegmentFacts facts = segment.contents.facts;
  if (compacted_to_) facts = without(facts, SegmentFacts::kCompacted);
  if (compacted_to_ && !behind) facts = facts | SegmentFacts::kCompacted;
  output.writer->append({.base = header->base_offset,
                         .end = header->last_offset() + 1,
                         .record_count = left->records,
                         .max_timestamp = left->max_timestamp,
                         .facts = facts,
                         .bytes = bytes});
  output.segment.payload += bytes.size();
  return {};
}

Result<void> SegmentRewrite::open(Offset base, std::uint64_t generation) {
  SegmentId id{cursor_.segments().front().id.stream, base, generation};
  for (;; ++id.generation) {
    Result<std::unique_ptr<SegmentWriter>> writer =
        SegmentWriter::create(disk_, files_.directory_of(id.stream), id);
    const bool taken = !writer && writer.error().os_errno == EEXIST;
    if (taken && id.generation < generation + kMaxGenerations) continue;
    if (!writer) return writer.error();
    (*writer)->on_progress([this] {
      if (progress_) progress_();
    });
    Output output;
    output.writer = std::move(*writer);
    output.segment.id = id;
    for (const StreamSegment& segment : cursor_.segments()) {
      output.segment.stored = std::max(output.segment.stored, segment.stored);
    }
    outputs_.push_back(std::move(output));
    return {};
  }
}

/// The last of it is written, up to that offset.
void SegmentRewrite::end_output(Offset end) {
  Output& output = outputs_.back();
  const bool compacted = compacted_to_ && end <= *compacted_to_;
  output.ended = true;
  output.writer->pass(end, compacted ? SegmentFacts::kCompacted : SegmentFacts::kNone);
  output.writer->flush();
  output.segment.size = output.writer->position();
  output.writer->seal();
}

void SegmentRewrite::finish() {
  if (!outputs_.back().ended) end_output(cursor_.segments().back().contents.end);
  done_ =
      std::ranges::all_of(outputs_, [](const Output& output) { return output.writer->sealed(); });
}

std::vector<StreamSegment> SegmentRewrite::results() const {
  WB_ASSERT(done_, "only what is done has results");
  std::vector<StreamSegment> results;
  for (const Output& output : outputs_) {
    StreamSegment& segment = results.emplace_back(output.segment);
    segment.contents = output.writer->contents();
    segment.sealed = true;
  }
  return results;
}

void SegmentRewrite::discard() {
  WB_ASSERT(pending() == 0, "nothing is on its way");
  for (const Output& output : outputs_) {
    ignore_error(disk_.remove(output.writer->path()), "the next start removes it");
  }
}

}  // namespace waybill

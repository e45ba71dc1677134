#include "broker/core/compactor.h"

#include <algorithm>
#include <utility>

#include "protocol/base/mutant.h"
#include "protocol/record/batch_view.h"

namespace waybill {
namespace {

/// A pass writes all that there is anew, so it waits until more than this part of it is news.
constexpr std::uint64_t kDirtyPercent = 50;
/// After a failure: devices recover, disks are emptied.
constexpr Duration kRetry = std::chrono::seconds(60);
/// How soon what cannot be erased yet is looked at again, and at how many groups on partitions.
constexpr Duration kLookAgain = std::chrono::seconds(1);
constexpr int kLooks = 8;

bool is_clean(const StreamSegment& segment) {
  return segment.contents.has(SegmentFacts::kCompacted);
}

/// Whether a segment of a dead-letter stream still has one of the erased records.
bool has_erased(const StreamSegment& segment, const RangeSet& erased) {
  const Offset end = segment.contents.end;
  std::int64_t left = end - segment.id.base;
  for (OffsetRange run = erased.run_from(segment.id.base); run.count() > 0 && run.first < end;
       run = erased.run_from(run.last + 1)) {
    left -= std::min(run.last, end - 1) - run.first + 1;
  }
  return segment.contents.record_count > static_cast<std::uint64_t>(left);
}

}  // namespace

Compactor::~Compactor() {
  if (pass_) stop(false);
  const auto flying = [](const auto& rewrite) { return rewrite->pending() > 0; };
  while (std::ranges::any_of(leaving_, flying) && log_.disk().pending() > 0) {
    log_.disk().submit();
    log_.disk().wait();
  }
}

void Compactor::consider(const Stream& log, const TopicPolicy& policy) {
  if (pass_ || !leaving_.empty() || !policy.compacts()) return;
  if (failed_lately(log.id())) return;
  const Offset floor = mutant("compact_above_floor") ? log.end() : delivery_.floor(log);
  std::vector<StreamSegment> segments;
  std::size_t dirty_from = 0;
  std::uint64_t all = 0;
  std::uint64_t dirty = 0;
  std::uint64_t records = 0;
  for (const StreamSegment& segment : log.segments()) {
    if (segment.contents.end > floor || log_.flusher().grows(segment.id)) break;
    all += segment.payload;
    if (is_clean(segment) && dirty == 0) {
      ++dirty_from;
    } else {
      dirty += segment.payload;
      records += segment.contents.record_count;
    }
    segments.push_back(segment);
  }
  if (dirty * 100 <= all * kDirtyPercent) return;
  if (log_.admit(0, false) != Admission::kAdmitted) return;  // no room for twice the files
  const std::chrono::milliseconds delay = policy.tombstone_delay;
  pass_.emplace(Pass{
      .stream = log.id(),
      .segments = segments,
      .tombstones_before = {log_.clock().wall().milliseconds - delay.count()},
      .index = KeyIndex(records, log_.options().compaction_memory, log_.random().next()),
      .cursor = std::make_unique<SegmentCursor>(
          log_.segments(),
          std::vector(segments.begin() + static_cast<std::ptrdiff_t>(dirty_from), segments.end())),
      .indexed_to = segments.back().contents.end});
  pass_->cursor->on_progress([this] { log_.touch(); });
  pass_->cursor->fetch();
}

bool Compactor::failed_lately(StreamId stream) {
  auto failed = failed_.find(stream);
  if (failed == failed_.end()) return false;
  if (log_.clock().monotonic() < failed->second) return true;
  failed_.erase(failed);
  return false;
}

void Compactor::turn() {
  sweep();
  if (!pass_) look_for_erased();
  if (!pass_) return;
  if (log_.find_stream(pass_->stream) == nullptr) return stop(false);
  if (log_.space().given()) return stop(true);  // the room that is left is not for new files (S21)
  pass_->cursor ? index() : rewrite();
  if (pass_) return;
  look_at_ = {};
  look_for_erased();  // before another partition is compacted
}

std::optional<MonotonicTime> Compactor::deadline() const {
  if (!pass_) {
    // What is on its way out is progress by itself.
    const bool looks = leaving_.empty() && !delivery_.erasing().empty();
    return looks ? std::optional(std::max(look_at_, log_.clock().monotonic())) : std::nullopt;
  }
  const bool wants =
      pass_->cursor ? pass_->cursor->arrived() : !pass_->rewrite || pass_->rewrite->wants_step();
  return wants ? std::optional(log_.clock().monotonic()) : std::nullopt;
}

// --- erasing ---

/// Begins a pass over a dead-letter stream, if one wants it.
void Compactor::look_for_erased() {
  auto& erasing = delivery_.erasing();
  if (erasing.empty() || !leaving_.empty()) return;
  const MonotonicTime now = log_.clock().monotonic();
  if (now < look_at_) return;
  look_at_ = now + kLookAgain;
  for (int i = 0; i < kLooks && !erasing.empty() && !pass_; ++i) {
    auto next = erasing.upper_bound(last_);
    if (next == erasing.end()) next = erasing.begin();
    last_ = *next;
    ConsumerGroup* group = delivery_.find(last_.first);
    GroupPartition* partition = group == nullptr ? nullptr : group->find(last_.second);
    if (partition == nullptr || !erase(*partition)) erasing.erase(next);
  }
}

/// Begins the pass, or sees to it that it can begin later. False: nothing is left to be erased.
bool Compactor::erase(const GroupPartition& partition) {
  Stream& stream = partition.dead_stream;
  const RangeSet& erased = partition.dead_letters.erased_records();
  if (failed_lately(stream.id())) return true;
  if (erased.run_from(stream.flushed_end()).count() > 0) {
    log_.flusher().enqueue(stream);
    return true;
  }
  std::vector<StreamSegment> segments;
  bool any = false;
  for (const StreamSegment& segment : stream.segments()) {
    const bool wanted = has_erased(segment, erased);
    if (log_.flusher().grows(segment.id)) {
      if (!wanted) break;
      log_.flusher().roll(stream);
      return true;
    }
    any = any || wanted;
    segments.push_back(segment);
  }
  if (!any) return false;
  if (log_.admit(0, false) != Admission::kAdmitted) return true;  // no room for twice the files
  pass_.emplace(Pass{.stream = stream.id(), .segments = std::move(segments), .erased = erased});
  pass_->indexed_to = pass_->segments.back().contents.end;
  plan();
  std::erase_if(pass_->groups, [&](const std::vector<StreamSegment>& group) {
    return std::ranges::none_of(
        group, [&](const StreamSegment& segment) { return has_erased(segment, erased); });
  });
  return true;
}

// --- the index ---

void Compactor::index() {
  SegmentCursor& cursor = *pass_->cursor;
  if (!cursor.arrived()) return;
  Result<std::vector<SharedBytes>> batches = cursor.take();
  if (!batches) return stop(true);
  for (const SharedBytes& batch : *batches) {
    Result<BatchHeader> header = parse_batch_header(batch.view());
    if (!header) return stop(true);
    if (!pass_->index->fits(header->record_count)) {
      pass_->indexed_to = header->base_offset;
      return plan();
    }
    if (!index_batch(batch.view())) return stop(true);
  }
  if (cursor.at_end()) return plan();
  cursor.fetch();
}

bool Compactor::index_batch(Bytes batch) {
  Result<BatchReader> reader = BatchReader::open(batch);
  if (!reader) return false;
  return reader
      ->for_each([this](const RecordView& record) {
        if (record.key) pass_->index->put(*record.key, record.offset);
        return true;
      })
      .ok();
}

/// Small segments that stand together become one.
void Compactor::plan() {
  pass_->cursor.reset();
  std::uint64_t bytes = 0;
  for (const StreamSegment& segment : pass_->segments) {
    if (segment.id.base >= pass_->indexed_to) break;
    // What is split is rewritten alone.
    const bool alone = segment.contents.end > pass_->indexed_to;
    bytes += segment.payload;
    if (pass_->groups.empty() || alone || bytes > log_.options().flush.segment_size) {
      pass_->groups.emplace_back();
      bytes = segment.payload;
    }
    pass_->groups.back().push_back(segment);
  }
}

// --- rewriting ---

void Compactor::rewrite() {
  if (!pass_->rewrite) {
    if (pass_->groups.empty()) {
      if (pass_->index) ++metrics_.compactions;
      return pass_.reset();
    }
    begin_rewrite();
  }
  if (!pass_->rewrite) return;
  SegmentRewrite& rewrite = *pass_->rewrite;
  rewrite.step();
  if (rewrite.error()) return stop(true);
  if (rewrite.done()) take_place();
}

void Compactor::begin_rewrite() {
  std::vector<StreamSegment> group = std::move(pass_->groups.front());
  pass_->groups.pop_front();
  // What was trimmed meanwhile is gone, with everything older.
  const Stream& stream = *log_.find_stream(pass_->stream);
  std::erase_if(
      group, [&](const StreamSegment& segment) { return segment.contents.end <= stream.start(); });
  if (group.empty()) return;
  std::optional<Offset> compacted_to;
  if (pass_->index) compacted_to = pass_->indexed_to;
  pass_->rewrite = std::make_unique<SegmentRewrite>(
      log_.disk(), log_.segments(),
      SegmentRewrite::Plan{.segments = std::move(group), .compacted_to = compacted_to},
      [this](const RecordView& record, const StreamSegment& segment) {
        return keeps(record, segment);
      });
  pass_->rewrite->on_progress([this] { log_.touch(); });
}

bool Compactor::keeps(const RecordView& record, const StreamSegment& segment) const {
  if (!pass_->index) return !pass_->erased.contains(record.offset);
  if (!record.key || record.offset >= pass_->indexed_to) return true;
  const std::optional<Offset> latest = pass_->index->find(*record.key);
  if (latest && record.offset < *latest && !mutant("compact_the_latest")) return false;
  if (latest && record.offset == *latest && mutant("compact_the_latest")) return false;
  return record.value.has_value() || segment.stored > pass_->tombstones_before;
}

/// The new segments are durable: they are the stream's from now on, unless a group was given back
/// what is in them.
void Compactor::take_place() {
  Stream& stream = *log_.find_stream(pass_->stream);
  std::vector<StreamSegment> results = pass_->rewrite->results();
  const Offset end = results.back().contents.end;
  const bool erases = !pass_->index;
  if (!erases && delivery_.floor(stream) < end && !mutant("compact_above_floor")) {
    return stop(false);
  }
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  for (const StreamSegment& old : pass_->rewrite->segments()) before += old.contents.record_count;
  for (const StreamSegment& result : results) after += result.contents.record_count;
  if (!log_.replace(stream, std::move(results))) return stop(false);
  if (!erases) metrics_.compacted_messages += before - after;
  pass_->rewrite.reset();
}

/// What is under way comes to nothing. After a failure it is tried again later.
void Compactor::stop(bool failed) {
  if (failed) failed_[pass_->stream] = log_.clock().monotonic() + kRetry;
  if (pass_->rewrite) {
    pass_->rewrite->on_progress([this] { log_.touch(); });
    leaving_.push_back(std::move(pass_->rewrite));
  }
  pass_.reset();
}

void Compactor::sweep() {
  std::erase_if(leaving_, [](const std::unique_ptr<SegmentRewrite>& rewrite) {
    if (rewrite->pending() > 0) return false;
    rewrite->discard();
    return true;
  });
}

}  // namespace waybill

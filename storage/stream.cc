#include "storage/stream.h"

#include <algorithm>

#include "protocol/record/record_batch.h"
#include "storage/segment_files.h"

namespace waybill {

void Stream::append(StoredBatch batch) {
  WB_ASSERT(batch.base == end_ && batch.count > 0, "batches are appended without gaps");
  end_ = batch.base + batch.count;
  bytes_ += batch.size;
  unflushed_bytes_ += batch.size;
  batches_.push_back(std::move(batch));
}

void Stream::reveal(EntrySeq durable) {
  if (visible_end_ == end_) return;
  // The newest batches are the ones that may still be in flight: walk back from the end.
  auto it = batches_.rbegin();
  while (it != batches_.rend() && it->seq > durable) ++it;
  if (it != batches_.rend()) visible_end_ = std::max(visible_end_, it->last() + 1);
}

/// Requires that the batch is in batches_.
std::size_t Stream::batch_index(Offset offset) const {
  auto begins_before = [&](std::size_t index) { return batches_[index].base <= offset; };
  // Most look for one offset after the other: it is in the batch found last, or in the next. Else
  // batches are mostly alike, and where it should be is near.
  std::size_t low = hint_ >= dropped_ ? hint_ - dropped_ : batches_.size();
  if (low >= batches_.size() || !begins_before(low) ||
      (low + 2 < batches_.size() && begins_before(low + 2))) {
    const auto count = static_cast<std::int64_t>(batches_.size());
    const Offset front = batches_.front().base;
    low = static_cast<std::size_t>((offset - front) * count / (end_ - front));
  }
  // [low, high) widens until the batch is in it.
  std::size_t high = low + 1;
  for (std::size_t step = 1; !begins_before(low); step *= 2) {
    high = low;
    low -= std::min(step, low);
  }
  for (std::size_t step = 1; high < batches_.size() && begins_before(high); step *= 2) {
    low = high;
    high += step;
  }
  auto at = [&](std::size_t index) {
    return batches_.begin() + static_cast<std::ptrdiff_t>(std::min(index, batches_.size()));
  };
  auto after = std::ranges::upper_bound(at(low), at(high), offset, {}, &StoredBatch::base);
  const auto index = static_cast<std::size_t>(after - batches_.begin()) - 1;
  hint_ = dropped_ + index;
  return index;
}

StreamSegment& Stream::segment_of(Offset offset) const {
  auto after = std::ranges::upper_bound(segments_, offset, {},
                                        [](const StreamSegment& s) { return s.id.base; });
  return *std::prev(after);
}

const std::vector<SegmentIndexEntry>& Stream::index_of(StreamSegment& segment) const {
  std::vector<SegmentIndexEntry>& index = segment.contents.index;
  if (index.empty()) {
    WB_ASSERT(files_ != nullptr, "a stream knows where its indexes are");
    index = files_->read_index(segment.id, segment.size, segment.contents.end);
  }
  return index;
}

Stretch Stream::at(Offset offset) const {
  WB_ASSERT(start() <= offset && offset < end_, "the offset is in the stream");
  if (!batches_.empty() && batches_.front().base <= offset) {
    const StoredBatch& batch = batches_[batch_index(offset)];
    Stretch stretch{.base = batch.base,
                    .end = batch.base + batch.count,
                    .size = batch.size,
                    .max_timestamp = batch.max_timestamp,
                    .timed = batch.timed,
                    .records = batch.count};
    if (batch.frame) {
      stretch.batch = batch.frame->bytes().subspan(batch.frame_offset, batch.size);
      stretch.frame = &batch.frame;
    }
    return stretch;
  }
  StreamSegment& segment = segment_of(offset);
  const std::vector<SegmentIndexEntry>& index = index_of(segment);
  auto next = std::ranges::upper_bound(index, offset, {}, &SegmentIndexEntry::base);
  const SegmentIndexEntry& entry = *std::prev(next);
  const bool last = next == index.end();
  const Offset end = last ? segment.contents.end : next->base;
  // As many as if the records that are left stood at even distances.
  const double part = static_cast<double>(end - entry.base) /
                      static_cast<double>(segment.contents.end - segment.id.base);
  const double records = part * static_cast<double>(segment.contents.record_count);
  return {.base = entry.base,
          .end = end,
          .size = (last ? segment.size : next->position) - entry.position,
          .max_timestamp = last ? segment.contents.max_timestamp : next->max_before,
          .timed = segment.contents.has(SegmentFacts::kNotBefore | SegmentFacts::kExpiry),
          .together = true,
          .gaps = segment.contents.has_gaps(),
          .records = std::max(std::int64_t{1}, static_cast<std::int64_t>(records))};
}

Offset Stream::find_time(WallTime time) const {
  // Producers' clocks differ, so timestamps are not sorted: the first match is found by walking,
  // over segments by their totals.
  for (StreamSegment& segment : segments_) {
    if (segment.contents.max_timestamp < time) continue;
    const std::vector<SegmentIndexEntry>& index = index_of(segment);
    // An entry says how late everything before it is.
    auto after = std::ranges::lower_bound(index, time, {}, &SegmentIndexEntry::max_before);
    return std::max(start_, std::prev(after)->base);
  }
  for (const StoredBatch& batch : batches_) {
    if (batch.base >= flushed_end() && batch.max_timestamp >= time) return batch.base;
  }
  return end_;
}

// --- segments ---

Offset Stream::flushed_end() const {
  return segments_.empty() ? start_ : std::max(start_, segments_.back().contents.end);
}

/// Of the first batch that is in no segment.
std::size_t Stream::unflushed_index() const {
  auto first = std::ranges::lower_bound(batches_, flushed_end(), {}, &StoredBatch::base);
  return static_cast<std::size_t>(first - batches_.begin());
}

std::vector<const StoredBatch*> Stream::unflushed(EntrySeq durable, std::uint64_t max_bytes) const {
  std::vector<const StoredBatch*> found;
  std::uint64_t bytes = 0;
  for (std::size_t i = unflushed_index(); i < batches_.size(); ++i) {
    const StoredBatch& batch = batches_[i];
    if (batch.seq > durable || (bytes > 0 && bytes + batch.size > max_bytes)) break;
    bytes += batch.size;
    found.push_back(&batch);
  }
  return found;
}

const StoredBatch* Stream::first_unflushed() const {
  const std::size_t index = unflushed_index();
  return index < batches_.size() ? &batches_[index] : nullptr;
}

bool Stream::may_carry(EntrySeq durable, std::uint64_t below) const {
  if (unflushed_bytes_ == 0 || unflushed_bytes_ >= below) return false;
  if (carries_ >= kMaxCarries || visible_end_ != end_ || batches_.back().seq > durable)
    return false;
  // The cache lets go of the oldest first: if that one is in memory, all are.
  return first_unflushed()->frame != nullptr;
}

void Stream::carry(StageAgain stage) {
  ++carries_;
  for (std::size_t i = unflushed_index(); i < batches_.size(); ++i) {
    StoredBatch& batch = batches_[i];
    std::uint32_t offset = 0;
    StagedEntry entry = stage(batch, &offset);
    batch.seq = entry.seq;
    batch.frame = std::move(entry.frame);
    batch.frame_offset = entry.body_offset + offset;
  }
}

void Stream::flushed(StreamSegment segment) {
  const std::uint64_t before =
      !segments_.empty() && segments_.back().id == segment.id ? segments_.back().payload : 0;
  WB_ASSERT(segment.contents.end >= flushed_end() && segment.payload >= before,
            "a segment continues the stream");
  unflushed_bytes_ -= segment.payload - before;
  carries_ = 0;
  if (!segments_.empty() && segments_.back().id == segment.id) {
    segments_.back() = std::move(segment);
  } else {
    segments_.push_back(std::move(segment));
  }
  drop_flushed();
}

/// What is in a segment needs no place in the journal.
void Stream::drop_flushed() {
  const Offset flushed = flushed_end();
  while (!batches_.empty() && !batches_.front().frame && batches_.front().base < flushed) {
    batches_.pop_front();
    ++dropped_;
  }
}

void Stream::sealed(const SegmentId& id) {
  auto found = std::ranges::find(segments_, id, &StreamSegment::id);
  if (found != segments_.end()) found->sealed = true;
}

void Stream::trim(Offset start) {
  WB_ASSERT(start_ <= start && start <= end_, "a stream is trimmed to a later start within it");
  // Only while a journal is replayed: what is trimmed was in segments that nobody knows any more.
  for (std::size_t i = unflushed_index(); i < batches_.size() && batches_[i].base < start; ++i) {
    bytes_ -= batches_[i].size;
    unflushed_bytes_ -= batches_[i].size;
  }
  start_ = start;
  visible_end_ = std::max(visible_end_, start);
  while (!segments_.empty() && segments_.front().contents.end <= start) {
    bytes_ -= segments_.front().payload;
    segments_.pop_front();
  }
  drop_flushed();
}

bool Stream::holds_other(const SegmentId& id) const {
  return std::ranges::any_of(segments_, [&](const StreamSegment& segment) {
    return segment.id != id && segment.id.base <= id.base && id.base < segment.contents.end;
  });
}

std::vector<StreamSegment> Stream::replace(std::vector<StreamSegment> with) {
  auto first = std::ranges::find(segments_, with.front().id.base,
                                 [](const StreamSegment& segment) { return segment.id.base; });
  auto last = std::ranges::find(segments_, with.back().contents.end,
                                [](const StreamSegment& segment) { return segment.contents.end; });
  if (first == segments_.end() || last == segments_.end() || last < first) return {};
  WB_ASSERT(batches_.empty() || batches_.front().base >= with.back().contents.end,
            "what is rewritten is not in memory");
  std::vector<StreamSegment> replaced(first, last + 1);
  for (const StreamSegment& segment : replaced) bytes_ -= segment.payload;
  const auto at = segments_.erase(first, last + 1);
  for (const StreamSegment& segment : with) bytes_ += segment.payload;
  segments_.insert(at, std::make_move_iterator(with.begin()), std::make_move_iterator(with.end()));
  return replaced;
}

void Stream::restore(Offset start, std::deque<StreamSegment> segments) {
  WB_ASSERT(batches_.empty() && segments_.empty(), "only a new stream is restored");
  start_ = start;
  segments_ = std::move(segments);
  for (const StreamSegment& segment : segments_) bytes_ += segment.payload;
  end_ = visible_end_ = flushed_end();
}

// --- the cache ---

void TailCache::added(Stream& stream) {
  bytes_ += stream.batches_.back().size;
  oldest_first_.push_back({&stream, stream.dropped_ + stream.batches_.size() - 1});
}

void TailCache::trim(EntrySeq durable) {
  while (bytes_ > budget_ && !oldest_first_.empty()) {
    Cached oldest = oldest_first_.front();
    StoredBatch& batch = oldest.stream->batches_[oldest.number - oldest.stream->dropped_];
    if (batch.seq > durable) return;
    JournalPlace place = batch.frame->place();
    batch.file_number = place.file_number;
    batch.position = place.position + batch.frame_offset;
    batch.frame.reset();
    bytes_ -= batch.size;
    oldest_first_.pop_front();
    oldest.stream->drop_flushed();
  }
}

void TailCache::forget(const Stream& stream) {
  std::erase_if(oldest_first_, [&](const Cached& cached) {
    if (cached.stream != &stream) return false;
    bytes_ -= stream.batches_[cached.number - stream.dropped_].size;
    return true;
  });
}

void TailCache::forget(Stream& stream, Offset before) {
  std::erase_if(oldest_first_, [&](const Cached& cached) {
    if (cached.stream != &stream) return false;
    const StoredBatch& batch = stream.batches_[cached.number - stream.dropped_];
    if (batch.base >= before) return false;
    bytes_ -= batch.size;
    return true;
  });
  while (!stream.batches_.empty() && stream.batches_.front().base < before) {
    stream.batches_.pop_front();
    ++stream.dropped_;
  }
}

// --- reading ---

namespace {

Result<void> check_read_back(const SharedBytes& bytes, Offset base) {
  Result<BatchHeader> header = parse_batch_header(bytes.view());
  if (!header || header->base_offset != base || header->size != bytes.size()) {
    return {Errc::kDamaged, "batch read back from the journal"};
  }
  if (!check_batch_crc(bytes.view())) return {Errc::kDamaged, "batch read back from the journal"};
  return {};
}

}  // namespace

/// One read_batches() call while parts of it are still on the device.
class StreamRead : public std::enable_shared_from_this<StreamRead> {
 public:
  StreamRead(Offset from, Offset end, BatchesRead done)
      : from_(from), end_(end), done_(std::move(done)) {}

  void start(Journal& journal, SegmentFiles& files, const Stream& stream) {
    ++missing_;  // this call itself, so that a quick answer cannot finish it early
    const std::deque<StoredBatch>& batches = stream.batches_;
    Offset next = from_;
    while (next < end_ && (batches.empty() || next < batches.front().base)) {
      const Stretch stretch = stream.at(next);
      read_segment(files, stream.segment_of(next), stretch);
      next = stretch.end;
    }
    if (next < end_) {
      for (std::size_t i = stream.batch_index(next); i < batches.size(); ++i) {
        if (batches[i].base >= end_) break;
        read_batch(journal, files, batches[i]);
      }
    }
    finish_part();
  }

 private:
  void read_batch(Journal& journal, SegmentFiles& files, const StoredBatch& batch) {
    parts_.emplace_back();
    if (batch.frame) {
      parts_.back().emplace_back(batch.frame,
                                 batch.frame->bytes().subspan(batch.frame_offset, batch.size));
      return;
    }
    ++missing_;
    journal.read({batch.file_number, batch.position, batch.size},
                 [self = shared_from_this(), part = parts_.size() - 1,
                  path = journal.path_of(batch.file_number), position = batch.position, &files,
                  offsets = OffsetRange{batch.base, batch.last()}](Result<SharedBytes> bytes) {
                   Result<void> checked =
                       bytes ? check_read_back(*bytes, offsets.first) : Result<void>(bytes.error());
                   if (checked) {
                     self->parts_[part].push_back(std::move(*bytes));
                   } else {
                     self->error_ = checked.error();
                     if (checked.error() == Errc::kDamaged)
                       files.found_damage(path, position, offsets);
                   }
                   self->finish_part();
                 });
  }

  void read_segment(SegmentFiles& files, const StreamSegment& segment, const Stretch& stretch) {
    parts_.emplace_back();
    ++missing_;
    auto at = std::ranges::lower_bound(segment.contents.index, stretch.base, {},
                                       &SegmentIndexEntry::base);
    files.read(segment.id,
               {.position = at->position,
                .size = stretch.size,
                .offsets = {stretch.base, stretch.end - 1}},
               [self = shared_from_this(),
                part = parts_.size() - 1](const Result<std::vector<SharedBytes>>& batches) {
                 if (batches) {
                   self->take(part, *batches);
                 } else {
                   self->error_ = batches.error();
                 }
                 self->finish_part();
               });
  }

  /// Those that were asked for.
  void take(std::size_t part, const std::vector<SharedBytes>& batches) {
    for (const SharedBytes& batch : batches) {
      Result<BatchHeader> header = parse_batch_header(batch.view());
      if (!header) {
        error_ = header.error();
      } else if (header->base_offset < end_ && header->last_offset() >= from_) {
        parts_[part].push_back(batch);
      }
    }
  }

  void finish_part() {
    if (--missing_ > 0) return;
    if (error_) return done_(*error_);
    std::vector<SharedBytes> all;
    for (std::vector<SharedBytes>& part : parts_) {
      for (SharedBytes& batch : part) all.push_back(std::move(batch));
    }
    done_(std::move(all));
  }

  Offset from_;
  Offset end_;
  BatchesRead done_;
  std::vector<std::vector<SharedBytes>> parts_;
  std::size_t missing_ = 0;
  std::optional<Error> error_;
};

void read_batches(Journal& journal, SegmentFiles& segments, const Stream& stream, Offset from,
                  Offset end, BatchesRead done) {
  if (from < stream.start()) return done(Error{Errc::kOffsetOutOfRange, 0, "trimmed"});
  std::make_shared<StreamRead>(from, end, std::move(done))->start(journal, segments, stream);
}

}  // namespace waybill

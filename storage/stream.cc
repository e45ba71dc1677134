#include "storage/stream.h"

#include <algorithm>

#include "protocol/record/record_batch.h"

namespace waybill {

void Stream::append(StoredBatch batch) {
  WB_ASSERT(batch.base == end_ && batch.count > 0, "batches are appended without gaps");
  end_ = batch.base + batch.count;
  bytes_ += batch.size;
  batches_.push_back(std::move(batch));
}

void Stream::reveal(EntrySeq durable) {
  if (visible_end_ == end_) return;
  // The newest batches are the ones that may still be in flight: walk back from the end.
  auto it = batches_.rbegin();
  while (it != batches_.rend() && it->seq > durable) ++it;
  if (it != batches_.rend()) visible_end_ = std::max(visible_end_, it->last() + 1);
}

std::size_t Stream::index_of(Offset offset) const {
  WB_ASSERT(start() <= offset && offset < end_, "the offset is in the stream");
  // Most look for one offset after the other: the next batch is near the last one found.
  std::size_t first = hint_ < batches_.size() && batches_[hint_].base <= offset ? hint_ : 0;
  std::size_t end = first + 1;
  for (std::size_t step = 1; end < batches_.size() && batches_[end].base <= offset; step *= 2) {
    first = end;
    end += step;
  }
  end = std::min(end, batches_.size());
  auto at = [&](std::size_t index) {
    return batches_.begin() + static_cast<std::ptrdiff_t>(index);
  };
  auto after = std::ranges::upper_bound(at(first), at(end), offset, {}, &StoredBatch::base);
  hint_ = static_cast<std::size_t>(after - batches_.begin()) - 1;
  return hint_;
}

std::size_t Stream::index_of_time(WallTime time) const {
  // Producers' clocks differ, so timestamps are not sorted: the first match is found by walking.
  auto found = std::ranges::find_if(
      batches_, [&](const StoredBatch& batch) { return batch.max_timestamp >= time; });
  return static_cast<std::size_t>(found - batches_.begin());
}

void TailCache::added(Stream& stream) {
  bytes_ += stream.batches_.back().size;
  oldest_first_.push_back({&stream, stream.batches_.size() - 1});
}

void TailCache::trim(EntrySeq durable) {
  while (bytes_ > budget_ && !oldest_first_.empty()) {
    Cached oldest = oldest_first_.front();
    StoredBatch& batch = oldest.stream->batches_[oldest.index];
    if (batch.seq > durable) return;
    JournalPlace place = batch.frame->place();
    batch.file_number = place.file_number;
    batch.position = place.position + batch.frame_offset;
    batch.frame.reset();
    bytes_ -= batch.size;
    oldest_first_.pop_front();
  }
}

void TailCache::forget(const Stream& stream) {
  std::erase_if(oldest_first_, [&](const Cached& cached) {
    if (cached.stream != &stream) return false;
    bytes_ -= stream.batches_[cached.index].size;
    return true;
  });
}

namespace {

/// One read_batches() call while parts of it are still on the device.
struct PendingRead {
  std::vector<SharedBytes> batches;
  std::size_t missing = 0;
  std::optional<Error> error;
  BatchesRead done;

  void finish() {
    if (error) {
      done(*error);
    } else {
      done(std::move(batches));
    }
  }
};

Result<void> check_read_back(const SharedBytes& bytes, Offset base) {
  Result<BatchHeader> header = parse_batch_header(bytes.view());
  if (!header || header->base_offset != base || header->size != bytes.size()) {
    return {Errc::kDamaged, "batch read back from the journal"};
  }
  if (!check_batch_crc(bytes.view())) return {Errc::kDamaged, "batch read back from the journal"};
  return {};
}

}  // namespace

void read_batches(Journal& journal, const Stream& stream, std::size_t first, std::size_t count,
                  BatchesRead done) {
  auto pending = std::make_shared<PendingRead>();
  pending->batches.resize(count);
  pending->missing = 1;  // this call itself, so that a quick answer cannot finish it early
  pending->done = std::move(done);
  for (std::size_t i = 0; i < count; ++i) {
    const StoredBatch& batch = stream.batch(first + i);
    if (batch.frame) {
      pending->batches[i] =
          SharedBytes(batch.frame, batch.frame->bytes().subspan(batch.frame_offset, batch.size));
      continue;
    }
    ++pending->missing;
    JournalPlace place{batch.file_number, batch.position, batch.size};
    journal.read(place, [pending, i, base = batch.base](Result<SharedBytes> bytes) {
      if (!bytes) {
        pending->error = bytes.error();
      } else if (Result<void> checked = check_read_back(*bytes, base); !checked) {
        pending->error = checked.error();
      } else {
        pending->batches[i] = std::move(*bytes);
      }
      if (--pending->missing == 0) pending->finish();
    });
  }
  if (--pending->missing == 0) pending->finish();
}

}  // namespace waybill

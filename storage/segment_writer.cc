#include "storage/segment_writer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "protocol/base/mutant.h"

namespace waybill {
namespace {

constexpr std::size_t kSmallestBuffer = 16 * 1024;
constexpr WallTime kNever{std::numeric_limits<std::int64_t>::min()};

std::size_t round_up(std::size_t size) {
  return (size + limits::kBlock - 1) / limits::kBlock * limits::kBlock;
}

/// Every directory on the way.
Result<void> make_directories(Disk& disk, const std::string& directory) {
  for (std::size_t end = 0; end != std::string::npos;) {
    end = directory.find('/', end + 1);
    if (Result<void> made = disk.make_directory(directory.substr(0, end)); !made) return made;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<SegmentWriter>> SegmentWriter::create(Disk& disk,
                                                             const std::string& directory,
                                                             const SegmentId& id,
                                                             DirectoryState state) {
  std::vector<std::string> unsynced;
  Result<void> made;
  if (state == DirectoryState::kUnknown) made = make_directories(disk, directory);
  if (state == DirectoryState::kParentDurable) {
    made = disk.create_directory(directory);
    if (!mutant("new_directory_is_not_synced"))
      unsynced.push_back(directory.substr(0, directory.rfind('/')));
  }
  if (!made) return made.error();
  unsynced.push_back(directory);
  std::string path = directory + "/" + segment_name(id);
  Result<FileHandle> file = disk.open(path, OpenMode::kCreate);
  if (!file) return file.error();
  return std::unique_ptr<SegmentWriter>(new SegmentWriter(
      disk, std::move(path), id, std::make_shared<OpenFile>(disk, *file), std::move(unsynced)));
}

SegmentWriter::SegmentWriter(Disk& disk, std::string path, const SegmentId& id,
                             OpenFilePointer file, std::vector<std::string> unsynced)
    : disk_(disk),
      id_(id),
      path_(std::move(path)),
      file_(std::move(file)),
      end_(id.base),
      unsynced_(std::move(unsynced)) {
  footer_.stream = id.stream;
  footer_.base = id.base;
  footer_.end = id.base;
  footer_.max_timestamp = kNever;
  queued_.end = added_.end = durable_.end = id.base;
}

void SegmentWriter::expect(std::size_t bytes) {
  // A block each 64 KiB at least, if it holds more than one batch.
  const std::size_t blocks = bytes / kIndexInterval + 1;
  const std::size_t size = buffer_used_ + bytes + blocks * (kBlockHeaderSize + limits::kBlock);
  if (size > buffer_.size()) grow(round_up(size));
}

void SegmentWriter::append(const SegmentBatch& batch) {
  WB_ASSERT(!sealing_, "a sealed segment does not grow");
  WB_ASSERT(batch.base >= end_ && batch.end > batch.base, "batches follow each other");
  WB_ASSERT(batch.bytes.size() <= limits::kMaxBatch, "a batch fits a block");
  if (block_ && buffer_used_ - block_at_ + batch.bytes.size() > kSegmentBlock) close_block();
  if (!block_) open_block(batch.max_timestamp);
  reserve(buffer_used_ + batch.bytes.size());
  std::memcpy(buffer_.data() + buffer_used_, batch.bytes.data(), batch.bytes.size());
  buffer_used_ += batch.bytes.size();
  block_->payload_size += static_cast<std::uint32_t>(batch.bytes.size());
  block_->batch_count += 1;
  block_->record_count += batch.record_count;
  block_->max_timestamp = std::max(block_->max_timestamp, batch.max_timestamp);
  block_->facts = block_->facts | batch.facts;
  end_ = batch.end;
}

void SegmentWriter::pass(Offset end, SegmentFacts facts) {
  WB_ASSERT(!sealing_ && end >= end_, "offsets rise");
  if (end == end_) return;
  if (!block_) open_block(kNever);
  block_->facts = block_->facts | facts;
  end_ = end;
}

/// A block begins where the one before ended, so that no offset lies between two blocks.
void SegmentWriter::open_block(WallTime max_timestamp) {
  block_at_ = buffer_used_;
  block_ = SegmentBlock{};
  block_->stream = id_.stream;
  block_->base = end_;
  block_->max_timestamp = max_timestamp;
  reserve(buffer_used_ + kBlockHeaderSize);
  buffer_used_ += kBlockHeaderSize;
}

void SegmentWriter::close_block() {
  const std::size_t size = round_up(buffer_used_ - block_at_);
  reserve(block_at_ + size);
  std::fill(buffer_.data() + buffer_used_, buffer_.data() + block_at_ + size, std::byte{0});
  buffer_used_ = block_at_ + size;
  block_->end = end_;
  block_->block_size = static_cast<std::uint32_t>(size);
  const std::uint64_t position = added_.position + block_at_;
  seal_block(*block_, id_, position, buffer_.bytes().subspan(block_at_, size));
  if (footer_.index.empty() || position - footer_.index.back().position >= kIndexInterval) {
    footer_.index.push_back(
        {.base = block_->base, .max_before = footer_.max_timestamp, .position = position});
  }
  footer_.facts = footer_.facts | block_->facts;
  footer_.end = block_->end;
  footer_.max_timestamp = std::max(footer_.max_timestamp, block_->max_timestamp);
  footer_.record_count += block_->record_count;
  block_.reset();
}

void SegmentWriter::reserve(std::size_t size) {
  if (size > buffer_.size()) grow(std::bit_ceil(std::max(size, kSmallestBuffer)));
}

void SegmentWriter::grow(std::size_t size) {
  AlignedMemory larger(size);
  if (buffer_used_ > 0) std::memcpy(larger.data(), buffer_.data(), buffer_used_);
  buffer_ = std::move(larger);
}

void SegmentWriter::flush() {
  if (block_) close_block();
  if (buffer_used_ == 0) return;
  const std::size_t size = std::exchange(buffer_used_, 0);
  add_write(std::exchange(buffer_, AlignedMemory()), size, false);
  go_on();
}

void SegmentWriter::sync() {
  if (durable_.position == added_.position) return;
  sync_wanted_ = true;
  sync_target_ = added_.position;
  go_on();
}

void SegmentWriter::seal() {
  WB_ASSERT(!sealing_ && end_ > id_.base, "a segment with records is sealed once");
  flush();
  sealing_ = true;
  sync();
  add_footer();
}

/// Only behind blocks that are durable: whoever finds a footer need not ask for the blocks.
void SegmentWriter::add_footer() {
  if (!sealing_ || footer_added_ || durable_.position != added_.position) return;
  footer_added_ = true;
  const std::size_t size = footer_size(footer_.index.size());
  AlignedMemory memory(size);
  encode_footer(footer_, id_, added_.position, memory.bytes().first(size));
  add_write(std::move(memory), size, true);
  sync();
}

void SegmentWriter::retry() {
  WB_ASSERT(stalled_.has_value(), "only what stalled is tried again");
  stalled_.reset();
  go_on();
}

void SegmentWriter::add_write(AlignedMemory memory, std::size_t size, bool sealing) {
  Write& write = writes_.emplace_back();
  write.memory = std::move(memory);
  write.size = size;
  write.position = added_.position;
  write.after = {.end = end_, .position = added_.position + size, .sealed = sealing};
  added_ = write.after;
}

/// A wanted sync comes once all that was flushed before is written, since it covers nothing else;
/// what was flushed after it is held back meanwhile, so that it cannot postpone it for ever.
void SegmentWriter::go_on() {
  if (stalled_ || broken_) return;
  const bool written = in_flight_ == 0 && (writes_.empty() || !belongs_to_sync(writes_.front()));
  if (sync_wanted_ && !syncing_ && written) start_sync();
  for (auto write = writes_.begin(); write != writes_.end(); ++write) {
    if (!write->queued && (!sync_wanted_ || belongs_to_sync(*write))) queue_write(write);
  }
}

void SegmentWriter::start_sync() {
  sync_wanted_ = false;
  syncing_ = true;
  disk_.sync(file_->handle(), [this, covered = queued_](const Result<std::size_t>& done) {
    on_synced(covered, done);
  });
}

void SegmentWriter::queue_write(WritePointer write) {
  write->queued = true;
  ++in_flight_;
  queued_ = std::max(queued_, write->after,
                     [](const Mark& a, const Mark& b) { return a.position < b.position; });
  disk_.write(file_->handle(), write->position, write->memory.bytes().first(write->size),
              Durability::kBuffered,
              [this, write](const Result<std::size_t>& done) { on_written(write, done); });
}

void SegmentWriter::on_written(WritePointer write, const Result<std::size_t>& done) {
  --in_flight_;
  if (done && *done == write->size) {
    writes_.erase(write);
  } else {
    // A short write is usually the last of the space: written again, it says so.
    write->queued = false;
    if (!done) {
      stalled_ = done.error();
    } else if (std::exchange(write->repeated, true)) {
      stalled_ = Error{Errc::kIo, 0, "segment write: short"};
    }
  }
  go_on();
  if (progress_) progress_();
}

void SegmentWriter::on_synced(const Mark& covered, const Result<std::size_t>& done) {
  if (done && !unsynced_.empty()) {
    // Behind the file's own sync: most file systems have made the name durable with it.
    auto named = [this, covered](const Result<std::size_t>& synced) {
      if (synced) unsynced_.pop_back();
      on_synced(covered, synced);
    };
    return disk_.sync_directory(unsynced_.back(), named);
  }
  syncing_ = false;
  if (!done) {
    broken_ = done.error();
  } else {
    durable_ = covered;
    add_footer();
    go_on();
  }
  if (progress_) progress_();
}

}  // namespace waybill

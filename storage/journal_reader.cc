#include "storage/journal_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace waybill {
namespace {

constexpr std::size_t kReadSize = 4 * 1024 * 1024;

}  // namespace

Result<JournalFileReader> JournalFileReader::open(Disk& disk, const std::string& path, bool sync) {
  Result<FileHandle> handle = disk.open(path, OpenMode::kRead);
  if (!handle) return handle.error();
  JournalFileReader reader(disk, std::make_shared<OpenFile>(disk, *handle));
  if (sync) {
    if (Result<void> done = disk.sync_now(*handle); !done) return done.error();
  }
  Result<std::uint64_t> size = disk.size(*handle);
  if (!size) return size.error();
  reader.size_ = *size;
  AlignedMemory block(kFileHeaderSize);
  Result<std::size_t> read = disk.read_now(*handle, 0, block.bytes());
  if (!read) return read.error();
  Result<FileHeader> header = decode_file_header(block.bytes().first(*read));
  if (!header) return header.error();
  reader.header_ = *header;
  return reader;
}

/// Bytes from `position` on: at least `size` of them, unless the file ends before.
Result<Bytes> JournalFileReader::load(std::uint64_t position, std::size_t size) {
  const std::uint64_t buffer_end = buffer_position_ + buffer_filled_;
  const bool inside = position >= buffer_position_ && position <= buffer_end;
  if (inside && buffer_end - position >= size)
    return Bytes(buffer_.bytes().subspan(position - buffer_position_, buffer_end - position));

  const std::uint64_t left = position < size_ ? size_ - position : 0;
  const std::size_t wanted = std::min<std::uint64_t>(std::max(kReadSize, size), left);
  const std::size_t kept = inside ? buffer_end - position : 0;
  AlignedMemory larger;
  if (buffer_.size() < wanted) larger = AlignedMemory(wanted);
  std::byte* target = larger.size() != 0 ? larger.data() : buffer_.data();
  if (kept != 0) std::memmove(target, buffer_.data() + (position - buffer_position_), kept);
  if (larger.size() != 0) buffer_ = std::move(larger);
  buffer_position_ = position;
  buffer_filled_ = kept;
  if (wanted > kept) {
    Result<std::size_t> read = disk_->read_now(file_->handle(), position + kept,
                                               buffer_.bytes().subspan(kept, wanted - kept));
    if (!read) return read.error();
    buffer_filled_ += *read;
  }
  return Bytes(buffer_.bytes().first(buffer_filled_));
}

Result<std::optional<FoundFrame>> JournalFileReader::frame_at(std::uint64_t position) {
  std::optional<FoundFrame> none;
  if (position % limits::kBlock != 0 || position >= size_) return none;
  const FrameSpot spot{header_.shard, header_.file_epoch, position};
  Result<Bytes> start = load(position, limits::kBlock);
  if (!start) return start.error();
  std::optional<JournalFrameHeader> header = peek_frame(*start, spot, size_ - position);
  if (!header) return none;
  Result<Bytes> bytes = load(position, header->frame_size);
  if (!bytes) return bytes.error();
  if (bytes->size() < header->frame_size) return none;
  const Bytes frame = bytes->first(header->frame_size);
  if (!frame_intact(frame, spot)) return none;
  return std::optional(FoundFrame{.header = *header, .position = position, .bytes = frame});
}

Result<bool> JournalFileReader::looks_like_frame(std::uint64_t position) {
  if (position >= size_) return false;
  Result<Bytes> start = load(position, limits::kBlock);
  if (!start) return start.error();
  const FrameSpot spot{header_.shard, header_.file_epoch, position};
  return begins_like_frame(*start, spot);
}

EntryReader::EntryReader(Bytes frame, const JournalFrameHeader& header)
    : frame_(frame), header_(header), next_seq_(header.first_entry_seq) {
  end_ = kJournalFrameHeaderSize + std::size_t{header.payload_size};
}

std::optional<EntryView> EntryReader::fail(Errc code, std::string what) {
  problem_ = EntryProblem{.code = code, .what = std::move(what)};
  return std::nullopt;
}

std::optional<EntryView> EntryReader::next() {
  if (problem_) return std::nullopt;
  if (end_ > frame_.size()) return fail(Errc::kDamaged, "its payload is longer than the frame");
  if (read_ == header_.entry_count) {
    if (position_ != end_) return fail(Errc::kDamaged, "bytes follow its last entry");
    return std::nullopt;
  }
  if (end_ - position_ < kEntryHeaderSize)
    return fail(Errc::kDamaged, "it has fewer entries than it says");
  const EntryHeader header = decode_entry_header(frame_.data() + position_);
  const std::size_t stride = entry_stride(header.body_size);
  if (stride > end_ - position_) return fail(Errc::kDamaged, "an entry is longer than the frame");
  if (!is_known(header.type)) {
    return fail(Errc::kUnsupportedFormat, "it has an entry of the unknown type " +
                                              std::to_string(static_cast<unsigned>(header.type)));
  }
  if (header.flags != 0) return fail(Errc::kUnsupportedFormat, "an entry has unknown flags");
  const bool local = is_local(header.type);
  if (header.seq != (local ? EntrySeq{} : next_seq_))
    return fail(Errc::kDamaged, "its entries are not numbered without gaps");
  if (!local) ++next_seq_.value;
  body_offset_ = static_cast<std::uint32_t>(position_ + kEntryHeaderSize);
  position_ += stride;
  ++read_;
  return EntryView{.type = header.type,
                   .version = header.version,
                   .term = header.term,
                   .seq = header.seq,
                   .body = frame_.subspan(body_offset_, header.body_size)};
}

}  // namespace waybill

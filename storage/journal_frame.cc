#include "storage/journal_frame.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace waybill {
namespace {

void copy(std::byte* to, Bytes from) {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

}  // namespace

FrameBuffer::FrameBuffer(std::size_t capacity_hint)
    : memory_(std::bit_ceil(
          std::clamp(capacity_hint, kSmallest, std::size_t{limits::kMaxJournalFrame}))) {}

FrameBuffer::FrameBuffer(Bytes frame, JournalPlace place)
    : memory_(frame.size()), size_(frame.size()), place_(place) {
  WB_ASSERT(place.size == frame.size(), "a frame as read is whole");
  copy(memory_.data(), frame);
}

JournalPlace FrameBuffer::place() const {
  WB_ASSERT(sealed(), "a frame has a place when it is sealed");
  return place_;
}

std::uint32_t FrameBuffer::append(const EntryDraft& draft, EntrySeq seq, std::uint64_t term) {
  WB_ASSERT(!sealed(), "a sealed frame does not change");
  const std::size_t body_size = draft.head.size() + draft.tail.size();
  const std::size_t end = size_ + entry_stride(body_size);
  WB_ASSERT(end <= limits::kMaxJournalFrame, "a change fits one frame (S3)");
  reserve(end);
  EntryHeader header{.body_size = static_cast<std::uint32_t>(body_size),
                     .type = draft.type,
                     .version = draft.version,
                     .flags = 0,
                     .seq = seq,
                     .term = term};
  std::byte* out = memory_.data() + size_;
  encode_entry_header(header, out);
  copy(out + kEntryHeaderSize, draft.head);
  copy(out + kEntryHeaderSize + draft.head.size(), draft.tail);
  std::fill(out + kEntryHeaderSize + body_size, memory_.data() + end, std::byte{0});
  const auto body_offset = static_cast<std::uint32_t>(size_ + kEntryHeaderSize);
  size_ = end;
  ++entry_count_;
  return body_offset;
}

void FrameBuffer::seal(JournalFrameHeader header, const FrameSpot& spot,
                       std::uint64_t file_number) {
  WB_ASSERT(!sealed(), "a frame is sealed once");
  const std::size_t frame_size = padded_size();
  reserve(frame_size);
  std::fill(memory_.data() + size_, memory_.data() + frame_size, std::byte{0});
  header.payload_size = static_cast<std::uint32_t>(size_ - kJournalFrameHeaderSize);
  header.frame_size = static_cast<std::uint32_t>(frame_size);
  header.entry_count = entry_count_;
  size_ = frame_size;
  seal_frame(header, spot, memory_.bytes().first(frame_size));
  place_ = {.file_number = file_number, .position = spot.position, .size = header.frame_size};
}

void FrameBuffer::reserve(std::size_t size) {
  if (size <= memory_.size()) return;
  AlignedMemory larger(std::bit_ceil(size));
  copy(larger.data(), memory_.bytes().first(size_));
  memory_ = std::move(larger);
}

}  // namespace waybill

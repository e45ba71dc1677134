// FrameBuffer: the memory of one frame. It is built entry by entry, sealed, written from where it
// stands, and then shared by reference with tail reads and flushes until nobody needs it (S15); a
// batch is copied into it once. Recovery gives out the same type, so that whoever keeps an entry
// does not ask where it came from.
//
//   | header, 64 bytes | entry | entry | … | zeros up to a multiple of 4096 |
//
// It starts small and doubles, so that an idle broker and a frame of one ack stay small; a journal
// with traffic starts it at the last frame's size and never copies twice.
#pragma once

#include <cstdint>

#include "storage/aligned_memory.h"
#include "storage/format.h"
#include "storage/journal.h"

namespace waybill {

class FrameBuffer final : public JournalFrame {
 public:
  static constexpr std::size_t kSmallest = 4 * 1024;

  /// To be built.
  explicit FrameBuffer(std::size_t capacity_hint = kSmallest);
  /// As read: a copy of a whole, valid frame.
  FrameBuffer(Bytes frame, JournalPlace place);

  /// Before it is sealed: header space and entries so far, which may move with the next append.
  [[nodiscard]] Bytes bytes() const override { return memory_.bytes().first(size_); }
  [[nodiscard]] JournalPlace place() const override;

  /// Adds an entry and says where its body begins. Requires !sealed().
  std::uint32_t append(const EntryDraft& draft, EntrySeq seq, std::uint64_t term = 0);
  /// Adds padding, header and checksum; from here on the bytes stay where they are. Fills in the
  /// sizes and the entry count; the caller gives the rest of the header.
  void seal(JournalFrameHeader header, const FrameSpot& spot, std::uint64_t file_number);
  [[nodiscard]] bool sealed() const { return place_.size != 0; }

  [[nodiscard]] std::uint32_t entry_count() const { return entry_count_; }
  /// What it will take in the file if it is sealed now.
  [[nodiscard]] std::size_t padded_size() const { return round_up_to_block(size_); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t capacity() const { return memory_.size(); }

 private:
  void reserve(std::size_t size);

  AlignedMemory memory_;
  std::size_t size_ = kJournalFrameHeaderSize;
  std::uint32_t entry_count_ = 0;
  JournalPlace place_;
};

}  // namespace waybill

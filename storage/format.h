// The bytes of a journal: constants, the headers as structs, and the only code that turns them into
// bytes and back. FORMAT.md is the page about them; a test parses its example with what is here.
//
// To change a layout: 1 raise kJournalVersion and keep the old decoder beside the new one, 2 change
// the tables and the example in FORMAT.md, 3 add new golden bytes in tests/golden, keep the old
// ones. What never moves, so that any version can recognise any other: the first 20 bytes of a file
// header (checksum, magic, version), and in a frame header checksum, magic, version and frame_size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "protocol/base/bytes.h"
#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
#include "protocol/base/limits.h"
#include "storage/entry.h"

namespace waybill {

inline constexpr std::uint64_t kFileMagic = 0x4c4e52554f4a4257;  ///< "WBJOURNL"
inline constexpr std::uint32_t kFrameMagic = 0x52464257;         ///< "WBFR"
inline constexpr std::uint16_t kJournalVersion = 1;
inline constexpr std::size_t kFileHeaderSize = limits::kBlock;  ///< the first frame's position
inline constexpr std::size_t kJournalFrameHeaderSize = 64;
inline constexpr std::size_t kEntryHeaderSize = 24;
inline constexpr std::size_t kEntryAlignment = 8;
inline constexpr std::size_t kStartBodySize = 16;
/// Smaller files would hold little more than their headers.
inline constexpr std::size_t kMinJournalFile = 64 * 1024;

static_assert(kJournalFrameHeaderSize % kEntryAlignment == 0 &&
                  kEntryHeaderSize % kEntryAlignment == 0,
              "entries stay aligned within a frame");
static_assert(limits::kMaxBatch + 64 * 1024 + 256 * kEntryHeaderSize + kJournalFrameHeaderSize <=
                  limits::kMaxJournalFrame,
              "the largest change fits one frame (S3)");
static_assert(limits::kMaxJournalFrame + kFileHeaderSize <= limits::kJournalFile,
              "the largest frame fits one file");
static_assert(limits::kMaxJournalFrame % limits::kBlock == 0);

/// The first block of a journal file, written before the file gets its name (S1).
struct FileHeader {
  ShardIndex shard;
  std::uint64_t file_number = 0;
  std::uint64_t file_epoch = 0;       ///< random: frames of another life of the file do not count
  std::uint64_t first_frame_seq = 0;  ///< voids equal and higher ones in earlier files (S7)
  std::uint64_t file_size = 0;        ///< so that a file cut short is noticed
  std::uint32_t start_number = 0;     ///< of the run that took the file into use
  friend bool operator==(const FileHeader&, const FileHeader&) = default;
};

/// `block` has kFileHeaderSize bytes.
void encode_file_header(const FileHeader& header, MutableBytes block);
/// kBadFormat: not a journal file. kChecksum: it was one. kUnsupportedFormat: another version's.
Result<FileHeader> decode_file_header(Bytes block);

enum class FrameFlags : std::uint16_t {
  kNone = 0,
  kStart = 1,     ///< the first frame of a run; alone in its file until durable (S9)
  kIdleMark = 2,  ///< without entries; says that what is before it was durable (S5)
};

/// The first 64 bytes of a frame. The checksum stands before them and covers all that follows, to
/// the end of the padding.
struct JournalFrameHeader {
  std::uint16_t version = kJournalVersion;
  FrameFlags flags = FrameFlags::kNone;
  std::uint64_t frame_seq = 0;  ///< 1, 2, 3, … over all files
  std::uint64_t file_epoch = 0;
  std::uint64_t durable_seq = 0;  ///< highest contiguous durable frame when this one was sealed
  EntrySeq first_entry_seq;       ///< of its first logical entry, or of the next one to come
  std::uint32_t frame_size = 0;   ///< header, payload and padding; a multiple of 4096
  std::uint32_t payload_size = 0;
  std::uint32_t entry_count = 0;
  friend bool operator==(const JournalFrameHeader&, const JournalFrameHeader&) = default;
};

/// Where a frame lies; part of its checksum's seed, so that a stale or misdirected one is not valid
/// where it is found.
struct FrameSpot {
  ShardIndex shard;
  std::uint64_t file_epoch = 0;
  std::uint64_t position = 0;
};

/// Writes header and checksum into the first bytes of `frame`, whose payload and padding are there.
void seal_frame(const JournalFrameHeader& header, const FrameSpot& spot, MutableBytes frame);
/// The header, if these 64 bytes can begin a frame at the spot: conditions F1 to F4 of FORMAT.md.
/// `room` is what is left of the file from the spot on.
std::optional<JournalFrameHeader> peek_frame(Bytes bytes, const FrameSpot& spot,
                                             std::uint64_t room);
/// Whether the bytes are what is left of a frame that was once begun at the spot: it has the file's
/// epoch, or one that differs in two bytes at most. What an earlier life of the file left has not.
bool begins_like_frame(Bytes bytes, const FrameSpot& spot);
/// Condition F5: the checksum. `frame` is the whole frame.
bool frame_intact(Bytes frame, const FrameSpot& spot);

/// Before every entry's body.
struct EntryHeader {
  std::uint32_t body_size = 0;
  EntryType type{};
  std::uint8_t version = 1;
  std::uint16_t flags = 0;  ///< 0; a reader refuses others
  EntrySeq seq;
  std::uint64_t term = 0;
};

/// `out` has kEntryHeaderSize bytes.
void encode_entry_header(const EntryHeader& header, std::byte* out);
EntryHeader decode_entry_header(const std::byte* data);
/// Whether this version can read entries of this type.
bool is_known(EntryType type);

/// From one entry to the next.
constexpr std::size_t entry_stride(std::size_t body_size) {
  return (kEntryHeaderSize + body_size + kEntryAlignment - 1) / kEntryAlignment * kEntryAlignment;
}
constexpr std::uint64_t round_up_to_block(std::uint64_t size) {
  return (size + limits::kBlock - 1) / limits::kBlock * limits::kBlock;
}

/// The body of the one entry in a start frame (EntryType::kStart, version 1).
struct StartBody {
  std::uint32_t start_number = 0;
  WallTime time;
};
ByteVector encode_start_body(const StartBody& body);
Result<StartBody> decode_start_body(Bytes bytes);

}  // namespace waybill

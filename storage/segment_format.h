// The bytes of a segment: a file that holds a contiguous part of a stream (S17). Constants, the
// block and footer headers as structs, and the only code that turns them into bytes and back.
// FORMAT.md, "Segments", is the page about them; a test parses its example with what is here.
//
//   | block | block | … | footer, once sealed |      each a multiple of 4096
//
// There is no file header: the file's name says stream, base offset and generation, and every
// checksum is seeded with these and the position, so that a block of another file, of another life
// of a file, or of another place is not valid where it is found.
//
// To change a layout: 1 raise kSegmentVersion and keep the old decoder, 2 change FORMAT.md, 3 add
// golden bytes, keep the old ones. What never moves: checksum, magic, version and size.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
#include "protocol/base/limits.h"
#include "protocol/base/result.h"

namespace waybill {

inline constexpr std::uint32_t kBlockMagic = 0x42534257;         ///< "WBSB"
inline constexpr std::uint32_t kFooterMagic = 0x46534257;        ///< "WBSF"
inline constexpr std::uint64_t kSealMagic = 0x44454c4145534257;  ///< "WBSEALED", ends a sealed file
inline constexpr std::uint16_t kSegmentVersion = 1;
inline constexpr std::size_t kBlockHeaderSize = 64;
inline constexpr std::size_t kFooterHeaderSize = 64;
inline constexpr std::size_t kFooterEntrySize = 24;
inline constexpr std::size_t kFooterTrailerSize = 16;
/// A block is closed at this size; only a larger batch goes beyond. It is what one read must fetch
/// and check: smaller costs headers and padding, larger makes reading one message expensive.
inline constexpr std::size_t kSegmentBlock = 128 * 1024;
inline constexpr std::size_t kMaxSegmentBlock = limits::kMaxJournalFrame;
/// Between two entries of the index: 24 bytes for each 64 KiB, so the index of a sealed 1 GiB is
/// below 400 KiB, and a search walks over one such stretch at most.
inline constexpr std::uint64_t kIndexInterval = 64 * 1024;

static_assert(limits::kMaxBatch + kBlockHeaderSize + limits::kBlock <= kMaxSegmentBlock,
              "the largest batch fits one block");

/// Which file: part of every checksum's seed.
struct SegmentId {
  StreamId stream;
  Offset base;                   ///< of its first record
  std::uint64_t generation = 0;  ///< from 1; a rewritten segment has the next one (S23)
  friend bool operator==(const SegmentId&, const SegmentId&) = default;
};

/// "00000000000000000042-1.wbs": base and generation.
std::string segment_name(const SegmentId& id);
/// Nothing if it is not exactly what segment_name writes.
std::optional<SegmentId> parse_segment_name(StreamId stream, std::string_view name);
/// "0001000000000011": the stream's directory, sixteen hexadecimal digits.
std::string stream_directory_name(StreamId stream);
/// Nothing if it is not exactly what stream_directory_name writes.
std::optional<StreamId> parse_stream_directory(std::string_view name);

/// What some of the records in a block or segment have, so that whoever needs it looks, and only
/// then; and whether records were taken out that have a later one of their key, in this segment or
/// before (S23).
enum class SegmentFacts : std::uint16_t {
  kNone = 0,
  kKeys = 1,
  kNotBefore = 2,
  kExpiry = 4,
  kAll = 7,
  kCompacted = 8,  ///< of the segment as a whole
};
constexpr SegmentFacts operator|(SegmentFacts a, SegmentFacts b) {
  return static_cast<SegmentFacts>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

/// The first 64 bytes of a block. Whole batches follow, then zeros.
struct SegmentBlock {
  std::uint16_t version = kSegmentVersion;
  SegmentFacts facts = SegmentFacts::kNone;
  StreamId stream;
  Offset base;  ///< of the first record
  Offset end;   ///< one after the last; where the next block begins
  WallTime max_timestamp;
  std::uint32_t block_size = 0;    ///< header, batches, padding; a multiple of 4096
  std::uint32_t payload_size = 0;  ///< batches
  std::uint32_t batch_count = 0;
  std::uint32_t record_count = 0;
  friend bool operator==(const SegmentBlock&, const SegmentBlock&) = default;
};

/// One entry of the index: where a block begins, and the newest record before it.
struct SegmentIndexEntry {
  Offset base;
  WallTime max_before;  ///< newest timestamp of all blocks before; the minimum for the first
  std::uint64_t position = 0;
  friend bool operator==(const SegmentIndexEntry&, const SegmentIndexEntry&) = default;
};

/// The end of a sealed file: what is in it.
struct SegmentFooter {
  std::uint16_t version = kSegmentVersion;
  SegmentFacts facts = SegmentFacts::kNone;
  StreamId stream;
  Offset base;
  Offset end;
  WallTime max_timestamp;
  std::uint64_t record_count = 0;
  std::vector<SegmentIndexEntry> index;  ///< the first is the first block

  [[nodiscard]] bool has(SegmentFacts fact) const {
    return (static_cast<unsigned>(facts) & static_cast<unsigned>(fact)) != 0;
  }
  /// Some of its offsets have no record any more (S23).
  [[nodiscard]] bool has_gaps() const {
    return record_count < static_cast<std::uint64_t>(end - base);
  }
  friend bool operator==(const SegmentFooter&, const SegmentFooter&) = default;
};

/// Writes header and checksum into the first bytes of `block`, whose batches and padding are there.
/// Requires block.size() == header.block_size.
void seal_block(const SegmentBlock& header, const SegmentId& id, std::uint64_t position,
                MutableBytes block);
/// The header, if these bytes can begin a block of this segment here: conditions B1 to B4 of
/// FORMAT.md. `room` is what is left of the file from the position on.
std::optional<SegmentBlock> peek_block(Bytes bytes, const SegmentId& id, std::uint64_t room);
/// Condition B5. `block` is the whole block.
bool block_intact(Bytes block, const SegmentId& id, std::uint64_t position);
/// The batches of an intact block, one after the other. kDamaged: they are not what it says.
Result<std::vector<Bytes>> block_batches(const SegmentBlock& header, Bytes block);

/// Bytes of the footer with that many index entries: a multiple of 4096.
constexpr std::size_t footer_size(std::size_t entries) {
  const std::size_t size = kFooterHeaderSize + entries * kFooterEntrySize + kFooterTrailerSize;
  return (size + limits::kBlock - 1) / limits::kBlock * limits::kBlock;
}
/// `out` has footer_size() bytes.
void encode_footer(const SegmentFooter& footer, const SegmentId& id, std::uint64_t position,
                   MutableBytes out);
/// Where the footer begins according to the last 16 bytes of the file; nothing if it is not sealed.
std::optional<std::uint64_t> footer_position(Bytes last_block, std::uint64_t file_size);
/// `bytes` reach from `position` to the end of the file. kChecksum, kBadFormat (also an index that
/// cannot be followed) or kUnsupportedFormat.
Result<SegmentFooter> decode_footer(Bytes bytes, const SegmentId& id, std::uint64_t position);

}  // namespace waybill

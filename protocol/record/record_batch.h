// Kafka's record batch v2: the unit on the wire, in the journal and in segments, stored exactly as
// the producer sent it. All integers are big-endian; the CRC-32C covers everything after itself, so
// base offset and leader epoch are stamped without touching it.
//
//   0 base offset i64       | 8 batch length i32 (bytes after it) | 12 leader epoch i32 | 16 magic
//   2 17 crc u32              | 21 attributes i16 (bits 0-2: codec) | 23 last offset delta i32 27
//   base timestamp i64   | 35 max timestamp i64                | 43 producer id i64 51 producer
//   epoch i16   | 53 base sequence i32                | 57 record count i32 61 records, compressed
//   together if the codec says so
//
//   record: length, attributes i8 (0), timestamp delta, offset delta, key length (-1: none), key,
//   value length (-1: none), value, header count, then per header: key length, key, value length
//   (-1: none), value. Lengths, deltas and counts are zigzag varints.
//
// validate_batch is the door through which every published batch passes (S25): what it accepts,
// BatchReader (batch_view.h) reads without failing. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "protocol/base/bytes.h"
#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
#include "protocol/base/result.h"
#include "protocol/record/compression.h"

namespace waybill {

namespace batch_layout {
inline constexpr std::size_t kBaseOffset = 0;
inline constexpr std::size_t kLength = 8;
inline constexpr std::size_t kLeaderEpoch = 12;
inline constexpr std::size_t kMagic = 16;
inline constexpr std::size_t kCrc = 17;
inline constexpr std::size_t kAttributes = 21;
inline constexpr std::size_t kLastOffsetDelta = 23;
inline constexpr std::size_t kBaseTimestamp = 27;
inline constexpr std::size_t kMaxTimestamp = 35;
inline constexpr std::size_t kProducerId = 43;
inline constexpr std::size_t kProducerEpoch = 51;
inline constexpr std::size_t kBaseSequence = 53;
inline constexpr std::size_t kRecordCount = 57;
inline constexpr std::size_t kHeaderSize = 61;

/// Base offset and length do not count in the length field.
inline constexpr std::size_t kLengthStart = 12;
inline constexpr std::int8_t kMagicV2 = 2;
inline constexpr std::int16_t kCodecMask = 0x07;
}  // namespace batch_layout

/// The header's fields in memory. Kafka's producer id, epoch and sequence are carried, not used.
struct BatchHeader {
  Offset base_offset{};
  std::size_t size = 0;  ///< of the whole batch, header included
  std::int32_t leader_epoch = 0;
  std::uint32_t crc = 0;
  Codec codec = Codec::kNone;
  std::int32_t last_offset_delta = 0;
  WallTime base_timestamp{};
  WallTime max_timestamp{};  ///< as the producer wrote it; BatchFacts has the computed one
  std::int64_t producer_id = 0;
  std::int16_t producer_epoch = 0;
  std::int32_t base_sequence = 0;
  std::uint32_t record_count = 0;

  [[nodiscard]] Offset last_offset() const { return base_offset + last_offset_delta; }
};

/// Reads the header of the batch that `bytes` begin with; there may be more after it. The CRC is
/// not checked. Errors: kShortData if the bytes end before the batch does; kInvalidBatch for
/// another magic, a control or transactional batch, unknown attributes, an impossible length, count
/// or offset; kMessageTooLarge beyond limits::kMaxBatch; kUnsupportedCompression.
Result<BatchHeader> parse_batch_header(Bytes bytes);

/// Requires one whole batch. Errors: kCorruptBatch.
Result<void> check_batch_crc(Bytes batch);

/// Writes outside the CRC, in place. Requires a whole header.
void stamp_base_offset(MutableBytes batch, Offset base_offset);
void stamp_leader_epoch(MutableBytes batch, std::int32_t leader_epoch);

/// What the broker keeps of a batch, so that delivery need not parse it again.
struct BatchFacts {
  Offset base_offset{};
  std::uint32_t record_count = 0;
  std::int32_t last_offset_delta = 0;  ///< record_count - 1
  WallTime first_timestamp{};          ///< of the first record
  WallTime max_timestamp{};            ///< over the records, not the header's claim
  bool has_keys = false;               ///< any record with a key
  bool all_keys = true;                ///< no record without one
  bool has_not_before = false;
  bool has_expiry = false;
  bool compressed = false;
  std::size_t size = 0;  ///< of the whole batch

  [[nodiscard]] Offset last_offset() const { return base_offset + last_offset_delta; }
};

struct ValidateOptions {
  /// The broker's own publishes (redrive) may carry any "wb-" header; an application's may not.
  bool allow_reserved_headers = false;
};

/// S25. Accepts exactly one batch that fills the bytes, whose CRC is right, whose records are
/// well-formed, numbered 0..n-1 without gaps and within protocol/base/limits.h. An uncompressed
/// batch is walked in place without allocating.
/// Errors: kCorruptBatch (CRC), kInvalidBatch (malformed, empty, refused headers),
/// kMessageTooLarge, kUnsupportedCompression, kDecompressionLimit.
Result<BatchFacts> validate_batch(Bytes batch, ValidateOptions options = {});

}  // namespace waybill

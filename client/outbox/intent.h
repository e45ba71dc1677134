// The intent: which rows are about to be published under which sequences. It is committed in the
// application's database before anything is sent (D22), so that whoever continues after a crash
// sends the same rows under the same numbers, and the broker can tell a repetition from news for
// ever, without clocks or windows.
//
// Sequences are per lane and partition, from 1. Numbers once written into an intent are never given
// to other rows: if the broker refuses a part, its numbers are burnt and the next part's `previous`
// still names the last accepted one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "protocol/base/ids.h"
#include "protocol/base/result.h"
#include "protocol/model/message.h"
#include "protocol/model/requests.h"
#include "protocol/record/batch_builder.h"
#include "protocol/record/compression.h"

namespace waybill {

/// One row of waybill_outbox, as the relay reads it.
struct OutboxRow {
  std::int64_t id = 0;
  Uuid message_id;
  std::string topic;
  std::optional<ByteVector> key;
  std::vector<Header> headers;
  ByteVector payload;
  std::int64_t created_us = 0;
  bool was_held = false;  ///< refused before: goes alone, so that it delays nobody if refused again
  /// Not empty: why this row can never be a message (headers that are no JSON object, a payload
  /// beyond every limit and therefore not read).
  std::string defect;
  Errc defect_code = Errc::kInvalidBatch;

  [[nodiscard]] std::size_t size() const;
};

using TopicPartition = std::pair<TopicId, PartitionIndex>;

/// One batch for one partition.
struct IntentPart {
  TopicId topic;
  PartitionIndex partition;
  std::uint64_t previous = 0;       ///< the last sequence the broker acknowledged here
  std::uint64_t base_sequence = 1;  ///< of the first row
  std::uint64_t checksum = 0;       ///< of the rows' content: a row changed in flight is noticed
  std::vector<std::int64_t> rows;   ///< ids, rising; in the batch in this order

  [[nodiscard]] std::uint64_t last_sequence() const { return base_sequence + rows.size() - 1; }
  [[nodiscard]] TopicPartition place() const { return {topic, partition}; }
  friend bool operator==(const IntentPart&, const IntentPart&) = default;
};

struct Intent {
  Codec codec = Codec::kNone;
  std::vector<IntentPart> parts;

  [[nodiscard]] bool empty() const { return parts.empty(); }
  [[nodiscard]] std::vector<std::int64_t> rows() const;
  friend bool operator==(const Intent&, const Intent&) = default;
};

/// The bytes of the lane's `intent` column: u8 version (1), u8 codec, u32 parts; per part u64
/// topic, u32 partition, u64 previous, u64 base sequence, u64 checksum, u32 rows, i64 ids.
ByteVector encode_intent(const Intent& intent);
/// Errors: kBadFormat, kUnsupportedFormat (a newer relay's).
Result<Intent> decode_intent(Bytes bytes);

/// XXH3 over everything that becomes part of the batch.
std::uint64_t rows_checksum(std::span<const OutboxRow* const> rows);

/// What becomes of a row in the log; points into the row.
RecordDraft record_of(const OutboxRow& row);

/// The batch of these rows: always the same bytes for the same rows. Errors: as BatchBuilder::add.
Result<ByteVector> build_batch(Codec codec, std::span<const OutboxRow* const> rows);

}  // namespace waybill

// Writing batches: BatchBuilder collects records and encodes them together; extract_record makes a
// batch of a single stored record for its redelivery (S28).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
#include "protocol/base/result.h"
#include "protocol/record/compression.h"

namespace waybill {

using HeaderDraft = std::pair<std::string_view, Bytes>;

/// A message about to become a record; points to the caller's memory.
struct RecordDraft {
  std::optional<Bytes> key;
  std::optional<Bytes> value;
  std::vector<HeaderDraft> headers;
  WallTime timestamp;
};

/// Collects records, copying them, and encodes one batch. Use it again after build().
class BatchBuilder {
 public:
  explicit BatchBuilder(Codec codec = Codec::kNone) : codec_(codec) {}

  /// Adds a record at the next offset; the builder is unchanged on error.
  /// Errors: kMessageTooLarge beyond the limits of a message, or where fits() is false;
  /// kInvalidBatch if the timestamp is too far from the first one's to be encoded. Whether the
  /// broker accepts its "wb-" headers is not checked here.
  Result<void> add(const RecordDraft& record);

  /// Whether the batch has room for it; always true for an empty batch and an allowed message.
  [[nodiscard]] bool fits(const RecordDraft& record) const;

  /// Bytes of the batch if built now without compression: never less than build() gives.
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::uint32_t count() const { return count_; }
  [[nodiscard]] bool empty() const { return count_ == 0; }

  /// The batch, with base offset 0, no leader epoch (-1) and no Kafka producer (-1); the builder is
  /// empty again. Stored uncompressed where compression would not make it smaller, or so small that
  /// it would be refused as a decompression bomb. Requires !empty().
  ByteVector build();

 private:
  Codec codec_;
  std::uint32_t count_ = 0;
  WallTime base_timestamp_;
  WallTime max_timestamp_;
  ByteVector records_;
  ByteVector header_scratch_;
};

/// S28: an uncompressed batch that holds only the record at `offset` of `batch`, under that offset,
/// with the batch's leader epoch. `extra_headers` replace those of the same name and are appended
/// (as the redrive count is). Errors: kOffsetOutOfRange if the batch has no such record; otherwise
/// as BatchReader.
Result<ByteVector> extract_record(Bytes batch, Offset offset,
                                  std::span<const HeaderDraft> extra_headers = {});

}  // namespace waybill

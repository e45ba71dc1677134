// Writing batches: BatchBuilder collects records and encodes them together; RecordSelection takes
// single records out of stored batches, for consumers that are not to have the rest, quickly where
// their places are known; extract_record makes a batch of one stored record (S28).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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

struct BatchHeader;
struct RecordView;

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
  ByteVector batch_;  ///< room for its header, then its records
  ByteVector header_scratch_;
};

/// The records of an uncompressed batch without gaps, of which every kStride-th one's place is
/// known: single ones are found without walking to them. Points to the batch and to the places.
struct PlacedRecords {
  static constexpr std::uint32_t kStride = 4;

  Bytes records;  ///< behind the batch's header
  Offset base;
  WallTime base_timestamp;
  std::int32_t leader_epoch = 0;
  std::uint32_t count = 0;
  std::span<const std::uint32_t> places;  ///< in `records`, from the first record's on
};

/// Looks for the places of the batch's records and appends them to `places`; then the answer has
/// all but them. Nothing, and no places, for a batch that is compressed, has gaps, or is malformed.
std::optional<PlacedRecords> place_records(Bytes batch, std::vector<std::uint32_t>& places);

/// Collects records of stored batches, as they are, under their offsets: an uncompressed batch of
/// them has gaps, as one that was compacted. Nothing is allocated per record.
class RecordSelection {
 public:
  /// Adds the records of `batch` in the ranges. Requires ranges that rise, within the batch, behind
  /// everything added before. On an error nothing of this batch is added: kOffsetOutOfRange if it
  /// has no such record, otherwise as BatchReader::open() and next().
  Result<void> add(Bytes batch, std::span<const OffsetRange> ranges);
  Result<void> add(const PlacedRecords& batch, std::span<const OffsetRange> ranges);

  [[nodiscard]] bool empty() const { return count_ == 0 && finished_.empty(); }

  /// What was added, by its first offset, in as few batches as the limits of a batch allow; the
  /// selection is empty again.
  std::vector<std::pair<Offset, ByteVector>> take();

 private:
  /// A record where it lies in its batch.
  struct Found {
    Offset offset;
    WallTime timestamp;
    Bytes rest;  ///< from the key on, as encoded
  };

  Result<void> find(const PlacedRecords& batch, bool gaps, std::span<const OffsetRange> ranges);
  void append(const Found& record, std::int32_t leader_epoch);
  void finish();

  std::vector<Found> found_;  ///< in the batch being added
  std::vector<std::pair<Offset, ByteVector>> finished_;
  ByteVector batch_;  ///< the one being written; room for its header, then its records
  Offset base_;
  Offset last_;
  WallTime base_timestamp_;
  WallTime max_timestamp_;
  std::int32_t leader_epoch_ = 0;
  std::uint32_t count_ = 0;
};

/// What filter_batch() left of a batch.
struct FilteredBatch {
  std::uint32_t records = 0;
  WallTime max_timestamp;  ///< of these records
  ByteVector bytes;        ///< empty: all records are left, or none is
};
/// S23: the batch with only the records that are wanted, each as it is, under its offset: base
/// offset, offset range, codec and producer fields stay. `keep` is asked once for each, in order.
/// Errors: as BatchReader.
Result<FilteredBatch> filter_batch(Bytes batch, const std::function<bool(const RecordView&)>& keep);

/// S28: an uncompressed batch that holds only the record at `offset` of `batch`, under that offset,
/// with the batch's leader epoch. `extra_headers` replace those of the same name and are appended
/// (as the redrive count is). Errors: kOffsetOutOfRange if the batch has no such record; otherwise
/// as BatchReader.
Result<ByteVector> extract_record(Bytes batch, Offset offset,
                                  std::span<const HeaderDraft> extra_headers = {});

}  // namespace waybill

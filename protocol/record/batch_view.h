// Reading batches: RecordView (one record in place), BatchReader (the records of one batch),
// BatchSequence (the batches of a longer run of bytes, as reads and deliveries carry them).
//
// Views point into the batch, or into the reader's memory if the batch is compressed: they live as
// long as both. Nothing is allocated per record. Bytes may come from a disk or a peer: whatever
// they are, reading ends in a record or an Error. The CRC is not checked here (check_batch_crc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "protocol/base/bytes.h"
#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
#include "protocol/base/result.h"
#include "protocol/record/record_batch.h"

namespace waybill {

struct HeaderView {
  std::string_view key;
  Bytes value;           ///< empty if null
  bool is_null = false;  ///< Kafka tells null from empty
};

/// The headers of one record, in order, for a range-for. Only made from bytes already checked.
class HeaderRange {
 public:
  class Iterator {
   public:
    using value_type = HeaderView;
    using difference_type = std::ptrdiff_t;

    Iterator() = default;
    explicit Iterator(Bytes rest) : rest_(rest) { advance(); }
    const HeaderView& operator*() const { return header_; }
    const HeaderView* operator->() const { return &header_; }
    Iterator& operator++() {
      advance();
      return *this;
    }
    void operator++(int) { advance(); }
    /// At the end when everything was read.
    friend bool operator==(const Iterator& it, std::default_sentinel_t) { return it.at_end_; }

   private:
    void advance();

    Bytes rest_;
    HeaderView header_;
    bool at_end_ = false;
  };

  HeaderRange() = default;
  HeaderRange(Bytes encoded, std::uint32_t count) : encoded_(encoded), count_(count) {}

  [[nodiscard]] Iterator begin() const { return Iterator(encoded_); }
  [[nodiscard]] std::default_sentinel_t end() const { return std::default_sentinel; }
  [[nodiscard]] std::uint32_t size() const { return count_; }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  /// The value of the first header of that name.
  [[nodiscard]] std::optional<Bytes> find(std::string_view key) const;
  /// As in the record, without the count.
  [[nodiscard]] Bytes encoded() const { return encoded_; }

 private:
  Bytes encoded_;
  std::uint32_t count_ = 0;
};

struct RecordView {
  Offset offset;
  WallTime timestamp;
  std::optional<Bytes> key;
  std::optional<Bytes> value;
  HeaderRange headers;

  /// Reserved headers (S26); nullopt if missing or not of their size.
  [[nodiscard]] std::optional<Uuid> message_id() const;
  [[nodiscard]] std::optional<WallTime> not_before() const;
  [[nodiscard]] std::optional<WallTime> expiry() const;
  /// 0 if never redriven.
  [[nodiscard]] std::uint32_t redrive_count() const;
};

/// Reads one batch from its first record to its last. A compressed batch is expanded once, bounded.
class BatchReader {
 public:
  /// Requires nothing; `batch` must outlive the reader. Errors as parse_batch_header, and
  /// kInvalidBatch if bytes follow the batch, kDecompressionLimit.
  static Result<BatchReader> open(Bytes batch);

  BatchReader(BatchReader&&) = default;
  BatchReader& operator=(BatchReader&&) = default;
  BatchReader(const BatchReader&) = delete;
  BatchReader& operator=(const BatchReader&) = delete;
  ~BatchReader() = default;

  [[nodiscard]] const BatchHeader& header() const { return header_; }

  /// The next record, nullopt after the last. Offsets rise but may have gaps (compaction, S23).
  /// Errors: kInvalidBatch; do not call again after one.
  Result<std::optional<RecordView>> next();

  /// The records that were not read yet, as encoded.
  [[nodiscard]] Bytes rest() const { return rest_; }

  /// Passes over the records before the offset, by their lengths alone, if nothing was read yet and
  /// the batch has no gaps; else does nothing. Errors: kInvalidBatch.
  Result<void> skip_to(Offset offset);

  /// Calls visit(const RecordView&) -> bool for each remaining record until it returns false.
  template <class Visit>
  Result<void> for_each(Visit&& visit) {
    for (;;) {
      Result<std::optional<RecordView>> record = next();
      if (!record) return record.error();
      if (!record->has_value() || !visit(std::as_const(**record))) return {};
    }
  }

 private:
  BatchReader(const BatchHeader& header, Bytes records, ByteVector scratch)
      : header_(header), rest_(records), scratch_(std::move(scratch)) {}

  BatchHeader header_;
  Bytes rest_;          ///< records not read yet; into the batch or into scratch_
  ByteVector scratch_;  ///< the expanded records of a compressed batch
  std::uint32_t read_count_ = 0;
  std::int32_t last_delta_ = -1;
};

/// Walks batches that stand one after the other:
///
///   BatchSequence batches(run);
///   while (!batches.done()) {
///     Result<Bytes> batch = batches.next();
///     if (!batch) return batch.error();
///     use(*batch);
///   }
class BatchSequence {
 public:
  explicit BatchSequence(Bytes run) : rest_(run) {}

  [[nodiscard]] bool done() const { return rest_.empty(); }
  /// The next whole batch. Requires !done(). Errors as parse_batch_header (kShortData: the run ends
  /// inside a batch); the position stays before the batch that cannot be read.
  Result<Bytes> next();
  /// What was not read yet.
  [[nodiscard]] Bytes rest() const { return rest_; }

 private:
  Bytes rest_;
};

}  // namespace waybill

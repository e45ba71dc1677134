#include "protocol/record/batch_builder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "protocol/base/checksum.h"
#include "protocol/base/limits.h"
#include "protocol/record/batch_view.h"
#include "protocol/record/message_tally.h"
#include "protocol/record/record_batch.h"
#include "protocol/record/varint.h"

namespace waybill {
namespace {

namespace layout = batch_layout;

std::size_t size_or_zero(const std::optional<Bytes>& bytes) {
  return bytes ? bytes->size() : 0;
}

void append_bytes(ByteVector& out, Bytes bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

std::int64_t nullable_length(const std::optional<Bytes>& bytes) {
  return bytes ? static_cast<std::int64_t>(bytes->size()) : -1;
}

void append_nullable(ByteVector& out, const std::optional<Bytes>& bytes) {
  append_varint(out, nullable_length(bytes));
  if (bytes) append_bytes(out, *bytes);
}

std::size_t nullable_size(const std::optional<Bytes>& bytes) {
  return varint_size(nullable_length(bytes)) + size_or_zero(bytes);
}

/// std::ranges::copy into a plain pointer goes byte by byte here (g++ 12).
std::byte* write_bytes(std::byte* at, Bytes bytes) {
  if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}

std::byte* write_nullable(std::byte* at, const std::optional<Bytes>& bytes) {
  at = write_varint(at, nullable_length(bytes));
  return bytes ? write_bytes(at, *bytes) : at;
}

void append_header(ByteVector& out, std::string_view key, const std::optional<Bytes>& value) {
  append_nullable(out, as_bytes(key));
  append_nullable(out, value);
}

struct RecordFields {
  std::int64_t timestamp_delta = 0;
  std::int32_t offset_delta = 0;
  std::optional<Bytes> key;
  std::optional<Bytes> value;
  std::uint32_t header_count = 0;
  Bytes headers;  ///< encoded
};

void append_record(ByteVector& out, const RecordFields& record) {
  std::size_t size = 1 + varint_size(record.timestamp_delta) + varint_size(record.offset_delta) +
                     nullable_size(record.key) + nullable_size(record.value) +
                     varint_size(record.header_count) + record.headers.size();
  auto length = static_cast<std::int64_t>(size);
  std::size_t begin = out.size();
  out.resize(begin + varint_size(length) + size);
  std::byte* at = write_varint(out.data() + begin, length);
  *at++ = std::byte{0};  // attributes
  at = write_varint(at, record.timestamp_delta);
  at = write_varint(at, record.offset_delta);
  at = write_nullable(at, record.key);
  at = write_nullable(at, record.value);
  at = write_varint(at, record.header_count);
  at = write_bytes(at, record.headers);
  WB_ASSERT(at == out.data() + out.size(), "a record is as long as it says");
}

/// No record of this draft is encoded longer: every varint at its longest.
std::size_t encoded_bound(const RecordDraft& record) {
  constexpr std::size_t kLength = 5;
  constexpr std::size_t kTimestamp = 10;
  std::size_t size = kLength + 1 + kTimestamp + 4 * kLength;  // length, attributes, time, 4 numbers
  size += size_or_zero(record.key) + size_or_zero(record.value);
  for (const auto& [key, value] : record.headers) size += 2 * kLength + key.size() + value.size();
  return size;
}

bool within_limits(const RecordDraft& record) {
  MessageTally tally(size_or_zero(record.key) + size_or_zero(record.value));
  for (const auto& [key, value] : record.headers) tally.add_header(key, value.size());
  return tally.within_limits();
}

/// Writes the header, CRC included, before the body of a batch. Kafka's producer fields say "none".
void write_header(ByteVector& batch, const BatchHeader& header) {
  std::byte* data = batch.data();
  store_big(data + layout::kBaseOffset, header.base_offset.value);
  store_big(data + layout::kLength, static_cast<std::int32_t>(batch.size() - layout::kLengthStart));
  store_big(data + layout::kLeaderEpoch, header.leader_epoch);
  store_big(data + layout::kMagic, layout::kMagicV2);
  store_big(data + layout::kAttributes, static_cast<std::int16_t>(header.codec));
  store_big(data + layout::kLastOffsetDelta, header.last_offset_delta);
  store_big(data + layout::kBaseTimestamp, header.base_timestamp.milliseconds);
  store_big(data + layout::kMaxTimestamp, header.max_timestamp.milliseconds);
  store_big(data + layout::kProducerId, std::int64_t{-1});
  store_big(data + layout::kProducerEpoch, std::int16_t{-1});
  store_big(data + layout::kBaseSequence, std::int32_t{-1});
  store_big(data + layout::kRecordCount, header.record_count);
  store_big(data + layout::kCrc, crc32c(Bytes(batch).subspan(layout::kAttributes)));
}

Bytes records_of(Bytes batch, const BatchHeader& header) {
  return batch.first(header.size).subspan(layout::kHeaderSize);
}

bool has_gaps(const BatchHeader& header) {
  return header.record_count != static_cast<std::uint32_t>(header.last_offset_delta) + 1;
}

ByteVector encode_batch(const BatchHeader& header, Bytes body) {
  ByteVector batch(layout::kHeaderSize + body.size());
  write_bytes(batch.data() + layout::kHeaderSize, body);
  write_header(batch, header);
  return batch;
}

/// The batch that holds only `record`, with `extra` headers instead of its own of the same names.
ByteVector encode_single(const RecordView& record, std::int32_t leader_epoch,
                         std::span<const HeaderDraft> extra) {
  ByteVector headers;
  std::uint32_t header_count = 0;
  for (const HeaderView& header : record.headers) {
    if (std::ranges::find(extra, header.key, &HeaderDraft::first) != extra.end()) continue;
    append_header(headers, header.key,
                  header.is_null ? std::nullopt : std::optional<Bytes>(header.value));
    ++header_count;
  }
  for (const auto& [key, value] : extra) {
    append_header(headers, key, value);
    ++header_count;
  }
  ByteVector body;
  append_record(
      body,
      {.key = record.key, .value = record.value, .header_count = header_count, .headers = headers});
  return encode_batch({.base_offset = record.offset,
                       .leader_epoch = leader_epoch,
                       .base_timestamp = record.timestamp,
                       .max_timestamp = record.timestamp,
                       .record_count = 1},
                      body);
}

}  // namespace

std::size_t BatchBuilder::size() const {
  return empty() ? layout::kHeaderSize : batch_.size();
}

bool BatchBuilder::fits(const RecordDraft& record) const {
  return count_ < limits::kMaxBatchRecords && size() + encoded_bound(record) <= limits::kMaxBatch;
}

Result<void> BatchBuilder::add(const RecordDraft& record) {
  if (!within_limits(record)) return {Errc::kMessageTooLarge, "add record"};
  if (!fits(record)) return {Errc::kMessageTooLarge, "batch is full"};
  WallTime base = empty() ? record.timestamp : base_timestamp_;
  std::int64_t delta = 0;
  if (__builtin_sub_overflow(record.timestamp.milliseconds, base.milliseconds, &delta)) {
    return {Errc::kInvalidBatch, "timestamp"};
  }
  max_timestamp_ = empty() ? record.timestamp : std::max(max_timestamp_, record.timestamp);
  base_timestamp_ = base;
  header_scratch_.clear();
  for (const auto& [key, value] : record.headers) append_header(header_scratch_, key, value);
  if (empty()) batch_.resize(layout::kHeaderSize);
  append_record(batch_, {.timestamp_delta = delta,
                         .offset_delta = static_cast<std::int32_t>(count_),
                         .key = record.key,
                         .value = record.value,
                         .header_count = static_cast<std::uint32_t>(record.headers.size()),
                         .headers = header_scratch_});
  ++count_;
  return {};
}

ByteVector BatchBuilder::build() {
  WB_ASSERT(!empty(), "a batch has records");
  BatchHeader header{.leader_epoch = -1,
                     .codec = codec_,
                     .last_offset_delta = static_cast<std::int32_t>(count_) - 1,
                     .base_timestamp = base_timestamp_,
                     .max_timestamp = max_timestamp_,
                     .record_count = count_};
  ByteVector batch = std::exchange(batch_, {});
  count_ = 0;
  if (codec_ != Codec::kNone) {
    Bytes records = Bytes(batch).subspan(layout::kHeaderSize);
    ByteVector compressed = compress(codec_, records);
    bool useful = compressed.size() < records.size() &&
                  records.size() <= decompression_limit(compressed.size());
    if (useful) return encode_batch(header, compressed);
    header.codec = Codec::kNone;
  }
  write_header(batch, header);
  return batch;
}

std::optional<PlacedRecords> place_records(Bytes batch, std::vector<std::uint32_t>& places) {
  Result<BatchHeader> header = parse_batch_header(batch);
  if (!header || header->codec != Codec::kNone || has_gaps(*header)) return std::nullopt;
  PlacedRecords placed{.records = records_of(batch, *header),
                       .base = header->base_offset,
                       .base_timestamp = header->base_timestamp,
                       .leader_epoch = header->leader_epoch,
                       .count = header->record_count,
                       .places = {}};
  const std::size_t before = places.size();
  VarintReader reader(placed.records);
  for (std::uint32_t i = 0; i < placed.count; ++i) {
    if (i % PlacedRecords::kStride == 0) {
      places.push_back(static_cast<std::uint32_t>(placed.records.size() - reader.remaining()));
    }
    reader.read_bytes(reader.read_int());
  }
  if (reader.ok()) return placed;
  places.resize(before);
  return std::nullopt;
}

Result<void> RecordSelection::add(Bytes batch, std::span<const OffsetRange> ranges) {
  Result<BatchHeader> header = parse_batch_header(batch);
  if (!header) return header.error();
  Bytes records = records_of(batch, *header);
  ByteVector expanded;
  if (header->codec != Codec::kNone) {
    Result<ByteVector> bytes =
        decompress(header->codec, records, decompression_limit(records.size()));
    if (!bytes) return bytes.error();
    expanded = std::move(*bytes);
    records = expanded;
  }
  const PlacedRecords unplaced{.records = records,
                               .base = header->base_offset,
                               .base_timestamp = header->base_timestamp,
                               .leader_epoch = header->leader_epoch,
                               .count = header->record_count,
                               .places = {}};
  if (Result<void> found = find(unplaced, has_gaps(*header), ranges); !found) return found;
  for (const Found& record : found_) append(record, header->leader_epoch);
  return {};
}

Result<void> RecordSelection::add(const PlacedRecords& batch, std::span<const OffsetRange> ranges) {
  if (Result<void> found = find(batch, false, ranges); !found) return found;
  for (const Found& record : found_) append(record, batch.leader_epoch);
  return {};
}

Result<void> RecordSelection::find(const PlacedRecords& batch, bool gaps,
                                   std::span<const OffsetRange> ranges) {
  found_.clear();
  VarintReader reader(batch.records);
  auto range = ranges.begin();
  Offset wanted = range == ranges.end() ? Offset{} : range->first;
  for (std::uint32_t i = 0; i < batch.count && range != ranges.end(); ++i) {
    // Where a place is known between here and what is wanted, it goes on there.
    const auto place = static_cast<std::size_t>(wanted - batch.base) / PlacedRecords::kStride;
    if (place < batch.places.size() && place * PlacedRecords::kStride > i) {
      i = static_cast<std::uint32_t>(place * PlacedRecords::kStride);
      reader = VarintReader(batch.records.subspan(batch.places[place]));
    }
    VarintReader body(reader.read_bytes(reader.read_int()));
    // Without gaps a record's place says its offset.
    if (!gaps && batch.base + i < wanted) continue;
    std::uint8_t attributes = body.read_byte();
    std::int64_t timestamp = 0;
    bool overflow =
        __builtin_add_overflow(batch.base_timestamp.milliseconds, body.read_long(), &timestamp);
    Offset offset = batch.base + body.read_int();
    if (attributes != 0 || overflow || !reader.ok() || !body.ok()) {
      return {Errc::kInvalidBatch, "record framing"};
    }
    if (offset < wanted) continue;
    if (offset > wanted) break;
    found_.push_back({offset, {timestamp}, body.rest()});
    ++wanted;
    if (offset == range->last && ++range != ranges.end()) wanted = range->first;
  }
  if (range != ranges.end()) return {Errc::kOffsetOutOfRange, "select records"};
  return {};
}

void RecordSelection::append(const Found& record, std::int32_t leader_epoch) {
  // Two numbers and the length, each at its longest, before what is copied.
  constexpr std::size_t kMaxHead = 5 + 1 + 10 + 5;
  std::int64_t delta = 0;
  bool fits =
      count_ > 0 && count_ < limits::kMaxBatchRecords && leader_epoch == leader_epoch_ &&
      batch_.size() + kMaxHead + record.rest.size() <= limits::kMaxBatch &&
      record.offset - base_ < std::int64_t{limits::kMaxBatchRecords} &&
      !__builtin_sub_overflow(record.timestamp.milliseconds, base_timestamp_.milliseconds, &delta);
  if (!fits) {
    finish();
    batch_.resize(layout::kHeaderSize);
    delta = 0;
    base_ = record.offset;
    base_timestamp_ = max_timestamp_ = record.timestamp;
    leader_epoch_ = leader_epoch;
  }
  std::int64_t offset_delta = record.offset - base_;
  std::size_t size = 1 + varint_size(delta) + varint_size(offset_delta) + record.rest.size();
  append_varint(batch_, static_cast<std::int64_t>(size));
  batch_.push_back(std::byte{0});  // attributes
  append_varint(batch_, delta);
  append_varint(batch_, offset_delta);
  append_bytes(batch_, record.rest);
  max_timestamp_ = std::max(max_timestamp_, record.timestamp);
  last_ = record.offset;
  ++count_;
}

void RecordSelection::finish() {
  if (count_ > 0) {
    write_header(batch_, {.base_offset = base_,
                          .leader_epoch = leader_epoch_,
                          .last_offset_delta = static_cast<std::int32_t>(last_ - base_),
                          .base_timestamp = base_timestamp_,
                          .max_timestamp = max_timestamp_,
                          .record_count = count_});
    finished_.emplace_back(base_, std::exchange(batch_, {}));
  }
  count_ = 0;
}

std::vector<std::pair<Offset, ByteVector>> RecordSelection::take() {
  finish();
  return std::exchange(finished_, {});
}

Result<FilteredBatch> filter_batch(Bytes batch,
                                   const std::function<bool(const RecordView&)>& keep) {
  Result<BatchReader> reader = BatchReader::open(batch);
  if (!reader) return reader.error();
  const BatchHeader& header = reader->header();
  FilteredBatch left;
  ByteVector body;
  for (;;) {
    const Bytes before = reader->rest();
    Result<std::optional<RecordView>> record = reader->next();
    if (!record) return record.error();
    if (!record->has_value()) break;
    if (!keep(**record)) continue;
    const WallTime timestamp = (*record)->timestamp;
    left.max_timestamp = left.records == 0 ? timestamp : std::max(left.max_timestamp, timestamp);
    ++left.records;
    append_bytes(body, before.first(before.size() - reader->rest().size()));
  }
  if (left.records == 0 || left.records == header.record_count) return left;
  Codec codec = header.codec;
  if (codec != Codec::kNone) {
    ByteVector compressed = compress(codec, body);
    const bool useful =
        compressed.size() < body.size() && body.size() <= decompression_limit(compressed.size());
    if (useful) body = std::move(compressed);
    if (!useful) codec = Codec::kNone;
  }
  left.bytes.resize(layout::kHeaderSize + body.size());
  // What is not said anew stays: base offset, leader epoch, offset range, times, producer.
  std::byte* data = left.bytes.data();
  write_bytes(data, batch.first(layout::kHeaderSize));
  write_bytes(data + layout::kHeaderSize, body);
  store_big(data + layout::kLength,
            static_cast<std::int32_t>(left.bytes.size() - layout::kLengthStart));
  store_big(data + layout::kAttributes, static_cast<std::int16_t>(codec));
  store_big(data + layout::kMaxTimestamp, left.max_timestamp.milliseconds);
  store_big(data + layout::kRecordCount, left.records);
  store_big(data + layout::kCrc, crc32c(Bytes(left.bytes).subspan(layout::kAttributes)));
  return left;
}

Result<ByteVector> extract_record(Bytes batch, Offset offset,
                                  std::span<const HeaderDraft> extra_headers) {
  Result<BatchReader> reader = BatchReader::open(batch);
  if (!reader) return reader.error();
  if (Result<void> skipped = reader->skip_to(offset); !skipped) return skipped.error();
  std::optional<ByteVector> single;
  Result<void> read = reader->for_each([&](const RecordView& record) {
    if (record.offset == offset) {
      single = encode_single(record, reader->header().leader_epoch, extra_headers);
    }
    return record.offset < offset;
  });
  if (!read) return read.error();
  if (!single) return {Errc::kOffsetOutOfRange, "extract record"};
  return std::move(*single);
}

}  // namespace waybill

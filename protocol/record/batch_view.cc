#include "protocol/record/batch_view.h"

#include "protocol/record/record_walk.h"
#include "protocol/record/reserved_headers.h"

namespace waybill {
namespace {

namespace reserved = reserved_headers;

std::optional<WallTime> time_header(const HeaderRange& headers, std::string_view name) {
  std::optional<Bytes> value = headers.find(name);
  if (!value || value->size() != reserved::kTimeSize) return std::nullopt;
  return WallTime{load_little<std::int64_t>(value->data())};
}

}  // namespace

void HeaderRange::Iterator::advance() {
  at_end_ = rest_.empty();
  if (at_end_) return;
  VarintReader reader(rest_);
  Bytes key = reader.read_bytes(reader.read_int());
  std::optional<Bytes> value = reader.read_nullable();
  WB_ASSERT(reader.ok(), "headers were checked with their record");
  header_ = {.key = as_text(key), .value = value.value_or(Bytes{}), .is_null = !value};
  rest_ = reader.rest();
}

std::optional<Bytes> HeaderRange::find(std::string_view key) const {
  for (const HeaderView& header : *this) {
    if (header.key == key) return header.value;
  }
  return std::nullopt;
}

std::optional<Uuid> RecordView::message_id() const {
  std::optional<Bytes> bytes = headers.find(reserved::kMessageId);
  if (!bytes || bytes->size() != reserved::kMessageIdSize) return std::nullopt;
  Uuid uuid;
  std::memcpy(uuid.bytes.data(), bytes->data(), uuid.bytes.size());
  return uuid;
}

std::optional<WallTime> RecordView::not_before() const {
  return time_header(headers, reserved::kNotBefore);
}

std::optional<WallTime> RecordView::expiry() const {
  return time_header(headers, reserved::kExpiry);
}

std::uint32_t RecordView::redrive_count() const {
  std::optional<Bytes> bytes = headers.find(reserved::kRedrive);
  if (!bytes || bytes->size() != reserved::kRedriveSize) return 0;
  return load_little<std::uint32_t>(bytes->data());
}

Result<BatchReader> BatchReader::open(Bytes batch) {
  Result<BatchHeader> header = parse_batch_header(batch);
  if (!header) return header.error();
  if (header->size != batch.size()) return {Errc::kInvalidBatch, "bytes after the batch"};
  Bytes records = batch.subspan(batch_layout::kHeaderSize);
  if (header->codec == Codec::kNone) return BatchReader(*header, records, {});
  Result<ByteVector> expanded =
      decompress(header->codec, records, decompression_limit(records.size()));
  if (!expanded) return expanded.error();
  // The vector's memory stays where it is when the reader moves, and so do views into it.
  records = *expanded;
  return BatchReader(*header, records, std::move(*expanded));
}

Result<std::optional<RecordView>> BatchReader::next() {
  if (read_count_ == header_.record_count) {
    if (!rest_.empty()) return {Errc::kInvalidBatch, "bytes after the last record"};
    return std::optional<RecordView>{};
  }
  VarintReader records(rest_);
  WalkedRecord walked;
  if (!walk_record(records, walked, [](std::string_view, const std::optional<Bytes>&) {})) {
    return {Errc::kInvalidBatch, "record framing"};
  }
  if (walked.offset_delta <= last_delta_ || walked.offset_delta > header_.last_offset_delta) {
    return {Errc::kInvalidBatch, "offset delta"};
  }
  std::int64_t timestamp = 0;
  if (__builtin_add_overflow(header_.base_timestamp.milliseconds, walked.timestamp_delta,
                             &timestamp)) {
    return {Errc::kInvalidBatch, "timestamp delta"};
  }
  rest_ = records.rest();
  last_delta_ = walked.offset_delta;
  ++read_count_;
  return std::optional<RecordView>(RecordView{.offset = header_.base_offset + walked.offset_delta,
                                              .timestamp = {timestamp},
                                              .key = walked.key,
                                              .value = walked.value,
                                              .headers = {walked.headers, walked.header_count}});
}

Result<void> BatchReader::skip_to(Offset offset) {
  bool gaps = header_.record_count != static_cast<std::uint32_t>(header_.last_offset_delta) + 1;
  std::int64_t delta = offset - header_.base_offset;
  if (gaps || read_count_ > 0 || delta <= 0 || delta > header_.last_offset_delta) return {};
  VarintReader records(rest_);
  for (std::int64_t i = 0; i < delta; ++i) records.read_bytes(records.read_int());
  if (!records.ok()) return {Errc::kInvalidBatch, "record framing"};
  rest_ = records.rest();
  read_count_ = static_cast<std::uint32_t>(delta);
  last_delta_ = static_cast<std::int32_t>(delta) - 1;
  return {};
}

Result<Bytes> BatchSequence::next() {
  WB_ASSERT(!done(), "a batch is left");
  Result<BatchHeader> header = parse_batch_header(rest_);
  if (!header) return header.error();
  Bytes batch = rest_.first(header->size);
  rest_ = rest_.subspan(header->size);
  return batch;
}

}  // namespace waybill

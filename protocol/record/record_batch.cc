#include "protocol/record/record_batch.h"

#include <algorithm>
#include <limits>

#include "protocol/base/checksum.h"
#include "protocol/base/limits.h"
#include "protocol/record/message_tally.h"
#include "protocol/record/record_walk.h"
#include "protocol/record/reserved_headers.h"

namespace waybill {
namespace {

namespace layout = batch_layout;
namespace reserved = reserved_headers;

constexpr Error invalid(const char* where) {
  return {Errc::kInvalidBatch, 0, where};
}
constexpr Error too_large(const char* where) {
  return {Errc::kMessageTooLarge, 0, where};
}

/// A "wb-" header: what its value must be, and who may write it.
struct ReservedRule {
  std::string_view name;
  std::size_t min_size;
  std::size_t max_size;
  bool for_applications;
};

constexpr ReservedRule kReservedRules[] = {
    {reserved::kMessageId, reserved::kMessageIdSize, reserved::kMessageIdSize, true},
    {reserved::kNotBefore, reserved::kTimeSize, reserved::kTimeSize, true},
    {reserved::kExpiry, reserved::kTimeSize, reserved::kTimeSize, true},
    {reserved::kRedrive, reserved::kRedriveSize, reserved::kRedriveSize, false},
    {reserved::kRepublishedFrom, 0, reserved::kMaxRepublishedFromSize, false},
};

/// Looks at the headers of one record; the first fault stays.
class HeaderCheck {
 public:
  explicit HeaderCheck(ValidateOptions options) : options_(options) {}

  void operator()(std::string_view key, const std::optional<Bytes>& value) {
    std::size_t size = value ? value->size() : 0;
    tally_.add_header(key, size);
    if (key.starts_with(reserved::kPrefix)) check_reserved(key, value.has_value(), size);
  }

  [[nodiscard]] const char* fault() const { return fault_; }
  [[nodiscard]] MessageTally& tally() { return tally_; }
  [[nodiscard]] bool saw(std::string_view name) const { return (seen_ >> index_of(name)) & 1; }

 private:
  static std::size_t index_of(std::string_view name) {
    return static_cast<std::size_t>(std::ranges::find(kReservedRules, name, &ReservedRule::name) -
                                    std::begin(kReservedRules));
  }

  void check_reserved(std::string_view key, bool has_value, std::size_t size) {
    std::size_t index = index_of(key);
    if (index == std::size(kReservedRules)) {
      if (!options_.allow_reserved_headers) fault_ = "unknown wb- header";
      return;
    }
    const ReservedRule& rule = kReservedRules[index];
    if (!rule.for_applications && !options_.allow_reserved_headers) {
      fault_ = "wb- header of the broker";
    }
    if (!has_value || size < rule.min_size || size > rule.max_size) fault_ = "size of a wb- header";
    if ((seen_ >> index) & 1) fault_ = "repeated wb- header";
    seen_ |= 1U << index;
  }

  ValidateOptions options_;
  MessageTally tally_;
  std::uint32_t seen_ = 0;
  const char* fault_ = nullptr;
};

/// Checks one record and adds it to the facts.
Result<void> add_record(const WalkedRecord& record, HeaderCheck& headers, WallTime base_timestamp,
                        BatchFacts& facts) {
  if (record.offset_delta != static_cast<std::int32_t>(facts.record_count)) {
    return invalid("offset delta");
  }
  std::int64_t timestamp = 0;
  if (__builtin_add_overflow(base_timestamp.milliseconds, record.timestamp_delta, &timestamp)) {
    return invalid("timestamp delta");
  }
  if (record.header_count != 0) {
    if (headers.fault() != nullptr) return invalid(headers.fault());
    facts.has_not_before |= headers.saw(reserved::kNotBefore);
    facts.has_expiry |= headers.saw(reserved::kExpiry);
  }
  if (record.key) headers.tally().add_payload(record.key->size());
  if (record.value) headers.tally().add_payload(record.value->size());
  if (!headers.tally().within_limits()) return too_large("message");
  if (facts.record_count == 0) {
    facts.first_timestamp = facts.max_timestamp = WallTime{timestamp};
  }
  facts.max_timestamp = std::max(facts.max_timestamp, WallTime{timestamp});
  facts.has_keys |= record.key.has_value();
  facts.all_keys &= record.key.has_value();
  ++facts.record_count;
  return {};
}

Result<void> walk_records(Bytes bytes, const BatchHeader& header, ValidateOptions options,
                          BatchFacts& facts) {
  VarintReader records(bytes);
  WalkedRecord record;
  while (facts.record_count < header.record_count) {
    HeaderCheck headers(options);
    if (!walk_record(records, record, headers)) return invalid("record framing");
    Result<void> added = add_record(record, headers, header.base_timestamp, facts);
    if (!added) return added;
  }
  if (!records.finished()) return invalid("bytes after the last record");
  return {};
}

Result<std::size_t> batch_size(Bytes bytes) {
  if (bytes.size() < layout::kHeaderSize) return {Errc::kShortData, "batch header"};
  const std::byte* data = bytes.data();
  if (load_big<std::int8_t>(data + layout::kMagic) != layout::kMagicV2) {
    return invalid("batch magic");
  }
  auto length = load_big<std::int32_t>(data + layout::kLength);
  if (length < static_cast<std::int32_t>(layout::kHeaderSize - layout::kLengthStart)) {
    return invalid("batch length");
  }
  std::size_t size = layout::kLengthStart + static_cast<std::size_t>(length);
  if (size > limits::kMaxBatch) return too_large("batch");
  if (size > bytes.size()) return {Errc::kShortData, "batch"};
  return size;
}

Result<void> check_counts(const BatchHeader& header) {
  constexpr auto kMaxOffset = std::numeric_limits<std::int64_t>::max();
  if (header.record_count > limits::kMaxBatchRecords ||
      header.last_offset_delta >= static_cast<std::int32_t>(limits::kMaxBatchRecords)) {
    return header.record_count > INT32_MAX ? invalid("record count") : too_large("record count");
  }
  if (header.record_count == 0) return invalid("empty batch");
  if (header.last_offset_delta < static_cast<std::int32_t>(header.record_count) - 1) {
    return invalid("last offset delta");
  }
  if (header.base_offset.value < 0 ||
      header.base_offset.value > kMaxOffset - header.last_offset_delta) {
    return invalid("base offset");
  }
  return {};
}

}  // namespace

Result<BatchHeader> parse_batch_header(Bytes bytes) {
  Result<std::size_t> size = batch_size(bytes);
  if (!size) return size.error();
  const std::byte* data = bytes.data();
  auto attributes = load_big<std::int16_t>(data + layout::kAttributes);
  // Beyond the codec: log-append time, transactional, control, delete horizon, or not yet defined.
  if ((attributes & ~layout::kCodecMask) != 0) return invalid("batch attributes");
  Result<Codec> codec = codec_of_number(static_cast<unsigned>(attributes));
  if (!codec) return codec.error();
  BatchHeader header{
      .base_offset = {load_big<std::int64_t>(data + layout::kBaseOffset)},
      .size = *size,
      .leader_epoch = load_big<std::int32_t>(data + layout::kLeaderEpoch),
      .crc = load_big<std::uint32_t>(data + layout::kCrc),
      .codec = *codec,
      .last_offset_delta = load_big<std::int32_t>(data + layout::kLastOffsetDelta),
      .base_timestamp = {load_big<std::int64_t>(data + layout::kBaseTimestamp)},
      .max_timestamp = {load_big<std::int64_t>(data + layout::kMaxTimestamp)},
      .producer_id = load_big<std::int64_t>(data + layout::kProducerId),
      .producer_epoch = load_big<std::int16_t>(data + layout::kProducerEpoch),
      .base_sequence = load_big<std::int32_t>(data + layout::kBaseSequence),
      .record_count = load_big<std::uint32_t>(data + layout::kRecordCount),
  };
  Result<void> counts = check_counts(header);
  if (!counts) return counts.error();
  return header;
}

Result<void> check_batch_crc(Bytes batch) {
  WB_ASSERT(batch.size() >= layout::kHeaderSize, "a whole batch has its header");
  auto stored = load_big<std::uint32_t>(batch.data() + layout::kCrc);
  if (crc32c(batch.subspan(layout::kAttributes)) != stored) {
    return {Errc::kCorruptBatch, "batch crc"};
  }
  return {};
}

void stamp_base_offset(MutableBytes batch, Offset base_offset) {
  WB_ASSERT(batch.size() >= layout::kHeaderSize, "a batch has its header");
  store_big(batch.data() + layout::kBaseOffset, base_offset.value);
}

void stamp_leader_epoch(MutableBytes batch, std::int32_t leader_epoch) {
  WB_ASSERT(batch.size() >= layout::kHeaderSize, "a batch has its header");
  store_big(batch.data() + layout::kLeaderEpoch, leader_epoch);
}

Result<BatchFacts> validate_batch(Bytes batch, ValidateOptions options) {
  Result<std::size_t> size = batch_size(batch);
  // To a publisher, a batch that ends too early is malformed like any other.
  if (!size) return size.error() == Errc::kShortData ? invalid("batch is cut short") : size.error();
  if (*size != batch.size()) return invalid("bytes after the batch");
  // Before any field that the CRC covers: a damaged batch is said to be damaged.
  Result<void> crc = check_batch_crc(batch);
  if (!crc) return crc.error();
  Result<BatchHeader> header = parse_batch_header(batch);
  if (!header) return header.error();
  if (header->last_offset_delta != static_cast<std::int32_t>(header->record_count) - 1) {
    return invalid("last offset delta");
  }
  BatchFacts facts{.base_offset = header->base_offset,
                   .last_offset_delta = header->last_offset_delta,
                   .compressed = header->codec != Codec::kNone,
                   .size = batch.size()};
  Bytes records = batch.subspan(layout::kHeaderSize);
  ByteVector scratch;
  if (facts.compressed) {
    Result<ByteVector> expanded =
        decompress(header->codec, records, decompression_limit(records.size()));
    if (!expanded) return expanded.error();
    scratch = std::move(*expanded);
    records = scratch;
  }
  Result<void> walked = walk_records(records, *header, options, facts);
  if (!walked) return walked.error();
  return facts;
}

}  // namespace waybill

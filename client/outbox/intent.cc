#include "client/outbox/intent.h"

#include "protocol/base/checksum.h"
#include "protocol/base/limits.h"
#include "protocol/record/reserved_headers.h"

namespace waybill {
namespace {

constexpr std::uint8_t kIntentVersion = 1;
/// Topic, partition, previous, base, checksum and row count.
constexpr std::size_t kPartSize = 8 + 4 + 8 + 8 + 8 + 4;

Result<IntentPart> decode_part(ByteReader& in) {
  IntentPart part;
  part.topic.value = in.read<std::uint64_t>();
  part.partition.value = in.read<std::uint32_t>();
  part.previous = in.read<std::uint64_t>();
  part.base_sequence = in.read<std::uint64_t>();
  part.checksum = in.read<std::uint64_t>();
  auto rows = in.read<std::uint32_t>();
  bool fits = in.ok() && rows > 0 && rows <= in.remaining() / sizeof(std::int64_t);
  if (!fits || part.base_sequence <= part.previous) return {Errc::kBadFormat, "outbox intent"};
  part.rows.reserve(rows);
  for (std::uint32_t i = 0; i < rows; ++i) part.rows.push_back(in.read<std::int64_t>());
  return part;
}

}  // namespace

std::size_t OutboxRow::size() const {
  std::size_t size = payload.size() + (key ? key->size() : 0);
  for (const Header& header : headers) size += header.key.size() + header.value.size();
  return size;
}

std::vector<std::int64_t> Intent::rows() const {
  std::vector<std::int64_t> all;
  for (const IntentPart& part : parts) all.insert(all.end(), part.rows.begin(), part.rows.end());
  return all;
}

ByteVector encode_intent(const Intent& intent) {
  ByteVector bytes;
  ByteWriter out(bytes);
  out.write(kIntentVersion);
  out.write(intent.codec);
  out.write(static_cast<std::uint32_t>(intent.parts.size()));
  for (const IntentPart& part : intent.parts) {
    out.write(part.topic.value);
    out.write(part.partition.value);
    out.write(part.previous);
    out.write(part.base_sequence);
    out.write(part.checksum);
    out.write(static_cast<std::uint32_t>(part.rows.size()));
    for (std::int64_t row : part.rows) out.write(row);
  }
  return bytes;
}

Result<Intent> decode_intent(Bytes bytes) {
  ByteReader in(bytes);
  Intent intent;
  auto version = in.read<std::uint8_t>();
  Result<Codec> codec = codec_of_number(in.read<std::uint8_t>());
  auto parts = in.read<std::uint32_t>();
  if (!in.ok()) return {Errc::kBadFormat, "outbox intent"};
  if (version != kIntentVersion) return {Errc::kUnsupportedFormat, "outbox intent"};
  if (!codec || parts > in.remaining() / kPartSize) return {Errc::kBadFormat, "outbox intent"};
  intent.codec = *codec;
  for (std::uint32_t i = 0; i < parts; ++i) {
    Result<IntentPart> part = decode_part(in);
    if (!part) return part.error();
    intent.parts.push_back(std::move(*part));
  }
  if (!in.finished()) return {Errc::kBadFormat, "outbox intent"};
  return intent;
}

std::uint64_t rows_checksum(std::span<const OutboxRow* const> rows) {
  std::uint64_t sum = 0;
  ByteVector scratch;
  for (const OutboxRow* row : rows) {
    scratch.clear();
    ByteWriter out(scratch);
    out.write(row->id);
    out.write_bytes(row->message_id.bytes);
    out.write_text(row->topic);
    out.write(static_cast<std::uint8_t>(row->key.has_value()));
    if (row->key) out.write_sized(*row->key);
    for (const Header& header : row->headers) {
      out.write_text(header.key);
      out.write_sized(header.value);
    }
    out.write(row->created_us);
    sum = xxh3_64(scratch, sum);
    sum = xxh3_64(row->payload, sum);
  }
  return sum;
}

RecordDraft record_of(const OutboxRow& row) {
  RecordDraft record;
  if (row.key) record.key = *row.key;
  record.value = row.payload;
  for (const Header& header : row.headers) record.headers.emplace_back(header.key, header.value);
  record.headers.emplace_back(reserved_headers::kMessageId, row.message_id.bytes);
  record.timestamp = {row.created_us / 1000};
  return record;
}

Result<ByteVector> build_batch(Codec codec, std::span<const OutboxRow* const> rows) {
  BatchBuilder builder(codec);
  for (const OutboxRow* row : rows) {
    Result<void> added = builder.add(record_of(*row));
    if (!added) return added.error();
  }
  return builder.build();
}

}  // namespace waybill

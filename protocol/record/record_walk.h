// One record's framing, read in place: the single decoder behind validate_batch and BatchReader, so
// that what the first accepts the second can read. Internal to protocol/record.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "protocol/base/bytes.h"
#include "protocol/record/varint.h"

namespace waybill {

struct WalkedRecord {
  std::int64_t timestamp_delta = 0;
  std::int32_t offset_delta = 0;
  std::optional<Bytes> key;
  std::optional<Bytes> value;
  std::uint32_t header_count = 0;
  Bytes headers;
};

/// Reads the next record of `records` and calls on_header(key, value) for each of its headers
/// (std::string_view, std::optional<Bytes>). False if the record is malformed.
template <class OnHeader>
bool walk_record(VarintReader& records, WalkedRecord& record, OnHeader&& on_header) {
  VarintReader body(records.read_bytes(records.read_int()));
  if (body.read_byte() != 0) return false;  // attributes: none are defined
  record.timestamp_delta = body.read_long();
  record.offset_delta = body.read_int();
  record.key = body.read_nullable();
  record.value = body.read_nullable();
  std::int32_t header_count = body.read_int();
  if (!records.ok() || !body.ok() || header_count < 0) return false;
  record.header_count = static_cast<std::uint32_t>(header_count);
  record.headers = body.rest();
  for (std::int32_t i = 0; i < header_count && body.ok(); ++i) {
    Bytes key = body.read_bytes(body.read_int());
    std::optional<Bytes> value = body.read_nullable();
    if (body.ok()) on_header(as_text(key), value);
  }
  return body.finished();
}

}  // namespace waybill

// The fields that journal entries and checkpoint objects are made of, written and read side by
// side: little-endian, without gaps. FORMAT.md, "Entry bodies", names them. Reading accepts exactly
// what writing writes; anything else fails the reader.
#pragma once

#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "protocol/base/bytes.h"
#include "protocol/model/requests.h"

namespace waybill {

// A sized run in an entry is bounded by the frame that carries it; these bound what decoding
// allocates for text and lists before their bytes are seen.
inline constexpr std::size_t kMaxText = 64 * 1024;
inline constexpr std::size_t kMaxList = 1'000'000;

/// Reads past the end, which a reader does not forgive: what comes next cannot be trusted.
inline void refuse(ByteReader& in) {
  in.read_bytes(in.remaining() + 1);
}

template <class Enum>
Enum get_enum(ByteReader& in, Enum first, Enum last) {
  auto value = in.read<std::underlying_type_t<Enum>>();
  if (value < std::to_underlying(first) || value > std::to_underlying(last)) refuse(in);
  return Enum{value};
}
inline bool get_bool(ByteReader& in) {
  auto value = in.read<std::uint8_t>();
  if (value > 1) refuse(in);
  return value == 1;
}

/// One number has one form: an over-long one was not written here.
inline std::uint64_t get_varint(ByteReader& in) {
  std::size_t before = in.remaining();
  std::uint64_t value = in.read_varint();
  auto size = static_cast<std::size_t>(std::bit_width(value | 1) + 6) / 7;
  if (before - in.remaining() != size) refuse(in);
  return value;
}

/// A list can never have more elements than bytes remain.
inline std::size_t get_count(ByteReader& in) {
  std::uint64_t count = get_varint(in);
  return count > kMaxList || count > in.remaining() ? SIZE_MAX : count;
}

inline void put(ByteWriter& out, const Uuid& uuid) {
  out.write_bytes(uuid.bytes);
}
inline Uuid get_uuid(ByteReader& in) {
  Uuid uuid;
  Bytes bytes = in.read_bytes(uuid.bytes.size());
  if (in.ok()) std::memcpy(uuid.bytes.data(), bytes.data(), bytes.size());
  return uuid;
}

inline void put(ByteWriter& out, LeaseToken token) {
  out.write(token.start);
  out.write_varint(token.counter);
}
inline LeaseToken get_token(ByteReader& in) {
  LeaseToken token;
  token.start = in.read<std::uint32_t>();
  token.counter = get_varint(in);
  return token;
}

inline void put(ByteWriter& out, OffsetRange range) {
  out.write(range.first.value);
  out.write_varint(static_cast<std::uint64_t>(range.last - range.first));
}
inline OffsetRange get_range(ByteReader& in) {
  OffsetRange range;
  range.first.value = in.read<std::int64_t>();
  std::uint64_t more = get_varint(in);
  if (range.first.value < 0 || more > static_cast<std::uint64_t>(INT64_MAX - range.first.value)) {
    refuse(in);
    return {};
  }
  range.last = range.first + static_cast<std::int64_t>(more);
  return range;
}

inline void put(ByteWriter& out, WallTime time) {
  out.write(time.milliseconds);
}
inline WallTime get_time(ByteReader& in) {
  return {in.read<std::int64_t>()};
}
inline std::chrono::milliseconds get_milliseconds(ByteReader& in) {
  return std::chrono::milliseconds(in.read<std::int64_t>());
}

inline void put(ByteWriter& out, const Failure& failure) {
  out.write(failure.failure_class);
  out.write_text(failure.code);
  out.write_text(failure.detail);
}
inline Failure get_failure(ByteReader& in) {
  Failure failure;
  failure.failure_class = get_enum(in, FailureClass::kTransient, FailureClass::kUnexplained);
  failure.code = in.read_text(kMaxText);
  failure.detail = in.read_text(kMaxText);
  return failure;
}

inline void put(ByteWriter& out, const Attempt& attempt) {
  put(out, attempt.at);
  out.write(attempt.delivery);
  out.write(attempt.duration_ms);
  put(out, attempt.consumer.uuid);
  put(out, attempt.failure);
}
inline Attempt get_attempt(ByteReader& in) {
  Attempt attempt;
  attempt.at = get_time(in);
  attempt.delivery = in.read<std::uint32_t>();
  attempt.duration_ms = in.read<std::uint32_t>();
  attempt.consumer.uuid = get_uuid(in);
  attempt.failure = get_failure(in);
  return attempt;
}

}  // namespace waybill

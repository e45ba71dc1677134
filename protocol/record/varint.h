// Zigzag varints as Kafka's records use them (protobuf's sint32 and sint64), read and written.
// Internal to protocol/record.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "protocol/base/bytes.h"

namespace waybill {

inline std::uint64_t zigzag_encode(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}

inline std::size_t varint_size(std::int64_t value) {
  return static_cast<std::size_t>(std::bit_width(zigzag_encode(value) | 1) + 6) / 7;
}

inline void append_varint(ByteVector& out, std::int64_t value) {
  std::uint64_t rest = zigzag_encode(value);
  for (; rest >= 0x80; rest >>= 7) out.push_back(static_cast<std::byte>(rest | 0x80));
  out.push_back(static_cast<std::byte>(rest));
}

/// The same into memory with room for it, ten bytes at most; returns where it ends.
inline std::byte* write_varint(std::byte* at, std::int64_t value) {
  std::uint64_t rest = zigzag_encode(value);
  for (; rest >= 0x80; rest >>= 7) *at++ = static_cast<std::byte>(rest | 0x80);
  *at++ = static_cast<std::byte>(rest);
  return at;
}

/// Reads fields one after the other; stays failed after the first bad one, so ask once at the end.
class VarintReader {
 public:
  explicit VarintReader(Bytes bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool finished() const { return ok_ && at_ == end_; }
  [[nodiscard]] std::size_t remaining() const { return static_cast<std::size_t>(end_ - at_); }
  [[nodiscard]] Bytes rest() const { return {at_, end_}; }

  std::uint8_t read_byte() {
    if (at_ == end_) [[unlikely]]
      return fail(), std::uint8_t{0};
    return static_cast<std::uint8_t>(*at_++);
  }

  /// At most five bytes, as in Kafka: readers of the world disagree about longer ones.
  std::int32_t read_int() { return static_cast<std::int32_t>(read_zigzag<5, UINT32_MAX>()); }
  /// At most ten bytes.
  std::int64_t read_long() { return read_zigzag<10, UINT64_MAX>(); }

  Bytes read_bytes(std::int32_t size) {
    if (size < 0 || static_cast<std::size_t>(size) > remaining()) [[unlikely]]
      return fail(), Bytes{};
    Bytes bytes(at_, static_cast<std::size_t>(size));
    at_ += size;
    return bytes;
  }

  /// A length and that many bytes; length -1 is null.
  std::optional<Bytes> read_nullable() {
    std::int32_t size = read_int();
    if (size == -1) return std::nullopt;
    return read_bytes(size);
  }

 private:
  template <unsigned kMaxBytes, std::uint64_t kMaxValue>
  std::int64_t read_zigzag() {
    if (at_ == end_) [[unlikely]]
      return fail(), 0;
    auto first = static_cast<std::uint64_t>(*at_);
    if (first < 0x80) [[likely]] {
      ++at_;
      return unzigzag(first);
    }
    std::uint64_t value = 0;
    for (unsigned i = 0; i < kMaxBytes; ++i) {
      if (at_ == end_) break;
      auto byte = static_cast<std::uint64_t>(*at_++);
      if (i == 9 && byte > 1) break;  // bits beyond 64
      value |= (byte & 0x7f) << (7 * i);
      if (byte < 0x80) {
        if (value > kMaxValue) break;
        return unzigzag(value);
      }
    }
    return fail(), 0;
  }

  static std::int64_t unzigzag(std::uint64_t value) {
    return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
  }

  void fail() {
    ok_ = false;
    at_ = end_;
  }

  const std::byte* at_;
  const std::byte* end_;
  bool ok_ = true;
};

}  // namespace waybill

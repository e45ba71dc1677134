// Bounds-checked reading and writing of little-endian bytes: the only place where integers become
// bytes by hand. A reader never runs past its span; after a short read it stays failed, so a
// decoder can read all its fields and ask once.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "protocol/base/assert.h"

namespace waybill {

static_assert(std::endian::native == std::endian::little, "only little-endian machines so far");

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;
using ByteVector = std::vector<std::byte>;

inline Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline ByteVector to_vector(Bytes bytes) {
  return {bytes.begin(), bytes.end()};
}
inline bool equal(Bytes a, Bytes b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

template <class T>
concept FixedInteger = std::is_integral_v<T> || std::is_enum_v<T>;

/// Reads an integer at `data`, which holds at least sizeof(T) bytes.
template <FixedInteger T>
T load_little(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

template <FixedInteger T>
void store_little(std::byte* data, T value) {
  std::memcpy(data, &value, sizeof value);
}

/// Kafka's record batch is big-endian; these two serve it.
template <FixedInteger T>
T load_big(const std::byte* data) {
  T value = load_little<T>(data);
  if constexpr (sizeof(T) == 2)
    value = static_cast<T>(__builtin_bswap16(static_cast<std::uint16_t>(value)));
  if constexpr (sizeof(T) == 4)
    value = static_cast<T>(__builtin_bswap32(static_cast<std::uint32_t>(value)));
  if constexpr (sizeof(T) == 8)
    value = static_cast<T>(__builtin_bswap64(static_cast<std::uint64_t>(value)));
  return value;
}

template <FixedInteger T>
void store_big(std::byte* data, T value) {
  if constexpr (sizeof(T) == 2)
    value = static_cast<T>(__builtin_bswap16(static_cast<std::uint16_t>(value)));
  if constexpr (sizeof(T) == 4)
    value = static_cast<T>(__builtin_bswap32(static_cast<std::uint32_t>(value)));
  if constexpr (sizeof(T) == 8)
    value = static_cast<T>(__builtin_bswap64(static_cast<std::uint64_t>(value)));
  store_little(data, value);
}

class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) : rest_(bytes) {}

  /// False once anything was read past the end or a length was refused.
  [[nodiscard]] bool ok() const { return ok_; }
  /// True if every byte was read and nothing failed: the usual last check of a decoder.
  [[nodiscard]] bool finished() const { return ok_ && rest_.empty(); }
  [[nodiscard]] std::size_t remaining() const { return rest_.size(); }

  template <FixedInteger T>
  T read() {
    if (rest_.size() < sizeof(T)) return fail<T>();
    T value = load_little<T>(rest_.data());
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }

  /// The next `size` bytes, without copying; empty (and failed) if there are fewer.
  Bytes read_bytes(std::size_t size) {
    if (rest_.size() < size) return fail<Bytes>();
    Bytes bytes = rest_.first(size);
    rest_ = rest_.subspan(size);
    return bytes;
  }

  /// A length-prefixed (u32) run of bytes of at most `max` bytes.
  Bytes read_sized(std::size_t max) {
    auto size = read<std::uint32_t>();
    if (size > max) return fail<Bytes>();
    return read_bytes(size);
  }
  std::string read_text(std::size_t max) { return std::string(as_text(read_sized(max))); }

  /// Unsigned LEB128, at most ten bytes.
  std::uint64_t read_varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      auto byte = read<std::uint8_t>();
      if (!ok_) return 0;
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return fail<std::uint64_t>();
  }

 private:
  template <class T>
  T fail() {
    ok_ = false;
    rest_ = {};
    return T{};
  }

  Bytes rest_;
  bool ok_ = true;
};

class ByteWriter {
 public:
  explicit ByteWriter(ByteVector& out) : out_(out) {}

  template <FixedInteger T>
  void write(T value) {
    std::size_t at = out_.size();
    out_.resize(at + sizeof(T));
    store_little(out_.data() + at, value);
  }
  void write_bytes(Bytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void write_sized(Bytes bytes) {
    WB_ASSERT(bytes.size() <= UINT32_MAX, "a sized run of bytes fits 32 bits");
    write(static_cast<std::uint32_t>(bytes.size()));
    write_bytes(bytes);
  }
  void write_text(std::string_view text) { write_sized(as_bytes(text)); }
  void write_varint(std::uint64_t value) {
    while (value >= 0x80) {
      write(static_cast<std::uint8_t>(value | 0x80));
      value >>= 7;
    }
    write(static_cast<std::uint8_t>(value));
  }

 private:
  ByteVector& out_;
};

}  // namespace waybill

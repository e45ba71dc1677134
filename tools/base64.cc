#include "tools/base64.h"

#include <algorithm>
#include <cstdint>

namespace waybill::cli {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string to_base64(Bytes bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t group = 0;
    for (std::size_t index = 0; index < 3; ++index) {
      group = group << 8 | (index < count ? std::to_integer<std::uint32_t>(bytes[at + index]) : 0);
    }
    for (std::size_t index = 0; index < 4; ++index) {
      text += index <= count ? kAlphabet[group >> (18 - 6 * index) & 63] : '=';
    }
  }
  return text;
}

std::optional<ByteVector> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  ByteVector bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (std::size_t at = 0; at < text.size(); at += 4) {
    std::uint32_t group = 0;
    for (std::size_t index = 0; index < 4; ++index) {
      std::size_t digit = kAlphabet.find(text[at + index]);
      group =
          group << 6 | (digit == std::string_view::npos ? 0 : static_cast<std::uint32_t>(digit));
    }
    for (unsigned shift : {16U, 8U, 0U}) bytes.push_back(static_cast<std::byte>(group >> shift));
  }
  std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  bytes.resize(bytes.size() - padding);
  // Writing it again catches foreign characters, misplaced padding and stray bits at once.
  if (to_base64(bytes) != text) return std::nullopt;
  return bytes;
}

}  // namespace waybill::cli

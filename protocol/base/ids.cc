#include "protocol/base/ids.h"

namespace waybill {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool dash_before(std::size_t byte_index) {
  return byte_index == 4 || byte_index == 6 || byte_index == 8 || byte_index == 10;
}

}  // namespace

std::string to_string(const Uuid& uuid) {
  std::string text;
  for (std::size_t i = 0; i < uuid.bytes.size(); ++i) {
    if (dash_before(i)) text += '-';
    auto byte = static_cast<unsigned>(uuid.bytes[i]);
    text += kHexDigits[byte >> 4];
    text += kHexDigits[byte & 15];
  }
  return text;
}

Result<Uuid> parse_uuid(std::string_view text) {
  Uuid uuid;
  std::size_t at = 0;
  for (std::size_t i = 0; i < uuid.bytes.size(); ++i) {
    if (dash_before(i) && at < text.size() && text[at] == '-') ++at;
    if (at + 2 > text.size()) return {Errc::kBadFormat, "uuid"};
    int high = hex_value(text[at]);
    int low = hex_value(text[at + 1]);
    if (high < 0 || low < 0) return {Errc::kBadFormat, "uuid"};
    uuid.bytes[i] = static_cast<std::byte>(high * 16 + low);
    at += 2;
  }
  if (at != text.size()) return {Errc::kBadFormat, "uuid"};
  return uuid;
}

}  // namespace waybill

#include "tools/escape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace waybill::cli {
namespace {

/// One character of UTF-8, or one invalid byte.
struct Character {
  char32_t code = 0;
  std::size_t size = 1;
  bool valid = false;
};

Character next_character(std::string_view text) {
  auto byte = [&](std::size_t index) { return static_cast<std::uint8_t>(text[index]); };
  std::uint8_t first = byte(0);
  if (first < 0x80) return {first, 1, true};
  std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return {first, 1, false};
  char32_t code = first & (0xffU >> (size + 1));
  for (std::size_t index = 1; index < size; ++index) {
    if ((byte(index) & 0xc0) != 0x80) return {first, 1, false};
    code = (code << 6) | (byte(index) & 0x3fU);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kSmallest[size] || surrogate || code > 0x10ffff) return {first, 1, false};
  return {code, size, true};
}

bool is_control(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

/// Invisible characters that reorder or break what follows them on a terminal.
bool is_layout(char32_t code) {
  return code == 0x061c || (code >= 0x200b && code <= 0x200f) ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x2069) || code == 0xfeff;
}

std::string escaped(std::string_view text, bool keep_layout) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    Character character = next_character(text);
    char32_t code = character.code;
    if (!character.valid) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(code));
    } else if (keep_layout && (code == '\n' || code == '\t')) {
      out += static_cast<char>(code);
    } else if (code == '\n') {
      out += "\\n";
    } else if (code == '\t') {
      out += "\\t";
    } else if (code == '\r') {
      out += "\\r";
    } else if (is_control(code)) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(code));
    } else if (is_layout(code)) {
      out += fmt::format("\\u{{{:x}}}", static_cast<unsigned>(code));
    } else {
      out += text.substr(0, character.size);
    }
    text.remove_prefix(character.size);
  }
  return out;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    Character character = next_character(text);
    if (!character.valid) return false;
    text.remove_prefix(character.size);
  }
  return true;
}

bool is_text(std::string_view text) {
  while (!text.empty()) {
    Character character = next_character(text);
    char32_t code = character.code;
    bool layout = code == '\n' || code == '\t' || code == '\r';
    if (!character.valid || (is_control(code) && !layout)) return false;
    text.remove_prefix(character.size);
  }
  return true;
}

std::string escaped_line(std::string_view text) {
  return escaped(text, false);
}

std::string escaped_text(std::string_view text) {
  return escaped(text, true);
}

std::string indented(std::string_view text, std::string_view margin) {
  std::string out;
  while (!text.empty()) {
    std::size_t end = std::min(text.find('\n'), text.size());
    out += std::string(margin) + std::string(text.substr(0, end)) + "\n";
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::string escaped_json(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  while (!json.empty()) {
    Character character = next_character(json);
    char32_t code = character.valid ? character.code : 0xfffd;
    // Between tokens JSON may have a newline or a tab; the others can only be inside of strings.
    bool blank = code == '\n' || code == '\t';
    if (!character.valid || (is_control(code) && !blank) || is_layout(code)) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(code));
    } else {
      out += json.substr(0, character.size);
    }
    json.remove_prefix(character.size);
  }
  return out;
}

std::string shortened(std::string_view text, std::size_t columns) {
  // No character becomes shorter by escaping, so the rest need not be looked at.
  std::string line = escaped_line(text.substr(0, std::min(text.size(), columns * 4 + 4)));
  if (columns_of(line) <= columns) return line;
  std::size_t size = 0;
  for (std::size_t column = 0; column + 1 < columns && size < line.size(); ++column) {
    size += next_character(std::string_view(line).substr(size)).size;
  }
  return line.substr(0, size) + "…";
}

std::string shown_bytes(const std::optional<ByteVector>& bytes, std::size_t columns) {
  if (!bytes) return "-";
  std::string_view text = as_text(*bytes);
  if (is_text(text)) return shortened(text, columns);
  std::string hex = "0x";
  for (std::byte byte : *bytes) {
    hex += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    if (hex.size() > columns) break;
  }
  return shortened(hex, columns);
}

std::string hex_dump(Bytes bytes) {
  constexpr std::size_t kPerLine = 16;
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += kPerLine) {
    Bytes line = bytes.subspan(at, std::min(kPerLine, bytes.size() - at));
    out += fmt::format("{:08x} ", at);
    for (std::size_t index = 0; index < kPerLine; ++index) {
      if (index % 8 == 0) out += ' ';
      out += index < line.size() ? fmt::format("{:02x} ", std::to_integer<unsigned>(line[index]))
                                 : std::string("   ");
    }
    out += " |";
    for (std::byte byte : line) {
      char letter = std::to_integer<char>(byte);
      out += letter >= 0x20 && letter < 0x7f ? letter : '.';
    }
    out += "|\n";
  }
  return out;
}

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xc0) != 0x80; }));
}

}  // namespace waybill::cli

#include "client/outbox/row_headers.h"

#include <algorithm>
#include <optional>

#include "client/outbox/sqlite_statement.h"
#include "protocol/record/reserved_headers.h"

namespace waybill {
namespace {

constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string to_base64(Bytes bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < count ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += k <= count ? kBase64Digits[group >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

std::optional<ByteVector> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  while (text.ends_with('=')) text.remove_suffix(1);
  ByteVector bytes;
  std::uint32_t group = 0;
  int bits = 0;
  for (char digit : text) {
    std::size_t value = kBase64Digits.find(digit);
    if (value == std::string_view::npos) return std::nullopt;
    group = group << 6 | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<std::byte>(group >> bits & 0xff));
  }
  return bytes;
}

/// Printable UTF-8: what a JSON string can say without escapes beyond \" and \\.
bool is_plain_text(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    auto lead = static_cast<unsigned char>(text[i]);
    std::size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    bool valid = lead >= 0x20 && lead != 0x7f && !(lead >= 0x80 && lead < 0xc2) && lead < 0xf5;
    if (!valid || i + length > text.size()) return false;
    for (std::size_t k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    }
    i += length;
  }
  return true;
}

std::string quoted(std::string_view text) {
  std::string json = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') json += '\\';
    json += c;
  }
  return json + '"';
}

std::string encode_value(Bytes value) {
  if (is_plain_text(as_text(value))) return quoted(as_text(value));
  return "{\"base64\":\"" + to_base64(value) + "\"}";
}

RequestError refused(std::string_view name) {
  return {Errc::kInvalidBatch,
          "header \"" + std::string(name) +
              "\" is neither a string nor {\"base64\": \"...\"} nor an array of these"};
}

/// Calls visit(key, type, value, json of the element) for each element of an object or array.
template <class Visit>
Reply<void> each_element(sqlite3* db, std::string_view json, Visit&& visit) {
  Reply<SqliteStatement> elements =
      SqliteStatement::prepare(db, "SELECT key, type, value FROM json_each(?1)");
  if (!elements) return elements.error();
  elements->bind(json);
  for (;;) {
    Reply<bool> row = elements->step();
    if (!row) return RequestError(Errc::kInvalidBatch, "the headers are not JSON");
    if (!*row) return {};
    Reply<void> visited = visit(elements->text(0), elements->text(1), elements->text(2));
    if (!visited) return visited.error();
  }
}

Reply<void> decode_value(sqlite3* db, const std::string& name, std::string_view type,
                         const std::string& value, std::vector<Header>& out) {
  if (type == "text") {
    out.push_back({name, to_vector(as_bytes(value))});
    return {};
  }
  if (type != "object") return refused(name);
  return each_element(db, value,
                      [&](const std::string& key, const std::string& inner,
                          const std::string& text) -> Reply<void> {
                        std::optional<ByteVector> bytes =
                            key == "base64" && inner == "text" ? from_base64(text) : std::nullopt;
                        if (!bytes) return refused(name);
                        out.push_back({name, std::move(*bytes)});
                        return {};
                      });
}

}  // namespace

bool is_reserved_header(std::string_view name) {
  return name.starts_with(reserved_headers::kPrefix);
}

std::string encode_row_headers(std::span<const Header> headers) {
  std::string json = "{";
  for (std::size_t i = 0; i < headers.size(); ++i) {
    const std::string& name = headers[i].key;
    auto same_name = [&](const Header& other) { return other.key == name; };
    bool seen =
        std::any_of(headers.begin(), headers.begin() + static_cast<std::ptrdiff_t>(i), same_name);
    if (seen) continue;  // it stands with the first of its name
    std::string values;
    std::size_t count = 0;
    for (const Header& header : headers.subspan(i)) {
      if (!same_name(header)) continue;
      if (count++ > 0) values += ',';
      values += encode_value(header.value);
    }
    if (json.size() > 1) json += ',';
    json += quoted(name) + ':' + (count > 1 ? '[' + values + ']' : values);
  }
  return json + '}';
}

Reply<std::vector<Header>> decode_row_headers(sqlite3* db, std::string_view json) {
  std::vector<Header> headers;
  if (json == "{}") return headers;
  auto decode = [&](const std::string& name, const std::string& type,
                    const std::string& value) -> Reply<void> {
    if (type != "array") return decode_value(db, name, type, value, headers);
    return each_element(db, value,
                        [&](const std::string&, const std::string& inner, const std::string& text) {
                          return decode_value(db, name, inner, text, headers);
                        });
  };
  Reply<void> decoded = each_element(db, json, decode);
  if (!decoded) return decoded.error();
  return headers;
}

}  // namespace waybill

#include "tools/payload_text.h"

#include <fmt/format.h>

#include "protocol/record/reserved_headers.h"
#include "tools/escape.h"
#include "tools/json_tokens.h"

namespace waybill::cli {
namespace {

constexpr std::size_t kShownColumns = 400;

/// Only containers: a lone number or word is better called text.
bool is_json(std::string_view text) {
  std::size_t first = text.find_first_not_of(" \t\r\n");
  bool container = first != std::string_view::npos && (text[first] == '{' || text[first] == '[');
  return container && json_tokens(text).ok();
}

}  // namespace

std::string payload_kind(const std::optional<ByteVector>& value) {
  if (!value) return "none (a tombstone)";
  std::string_view text = as_text(*value);
  std::string_view kind = is_json(text) ? "JSON" : is_text(text) ? "text" : "binary";
  return fmt::format("{}, {} bytes", kind, text.size());
}

std::string payload_text(const std::optional<ByteVector>& value) {
  if (!value || value->empty()) return {};
  std::string_view text = as_text(*value);
  if (is_json(text)) return escaped_text(json_pretty(*json_tokens(text))) + "\n";
  if (!is_text(text)) return hex_dump(*value);
  std::string shown = escaped_text(text);
  return shown.ends_with('\n') ? shown : shown + "\n";
}

std::string message_text(const Message& message) {
  std::string text = fmt::format("key: {}\n", shown_bytes(message.key, kShownColumns));
  for (const Header& header : message.headers) {
    if (header.key.starts_with(reserved_headers::kPrefix)) continue;
    text += fmt::format("header {}: {}\n", escaped_line(header.key),
                        shown_bytes(header.value, kShownColumns));
  }
  return text + (message.value ? "value:\n" : "value: none\n") + payload_text(message.value);
}

}  // namespace waybill::cli

#include "tools/message_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "client/message_times.h"
#include "protocol/model/catalog.h"
#include "protocol/record/reserved_headers.h"
#include "tools/base64.h"
#include "tools/escape.h"
#include "tools/json_tokens.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

using Tokens = std::vector<JsonToken>;

std::vector<std::string> known_fields() {
  return {"key", "key_base64", "value", "value_base64", "headers", "not_before", "expires"};
}
constexpr std::string_view kIgnored[] = {"id",   "message_id", "topic",    "partition", "offset",
                                         "time", "delivery",   "failures", "redrive"};

bool is_null(const Tokens& value) {
  return value.size() == 1 && value[0].text == "null";
}
bool is_string(const Tokens& value) {
  return value[0].kind == JsonTokenKind::kString;
}

/// The bytes a field stands for: a string's text, or the JSON itself.
Checked<ByteVector> bytes_of(const Tokens& value) {
  if (!is_string(value)) return to_vector(as_bytes(json_compact(value)));
  Checked<std::string> text = json_string(value[0]);
  if (!text) return text.error();
  return to_vector(as_bytes(*text));
}

Checked<ByteVector> base64_of(std::string_view field, const Tokens& value) {
  if (is_string(value)) {
    Checked<std::string> text = json_string(value[0]);
    if (!text) return text.error();
    if (std::optional<ByteVector> bytes = from_base64(*text)) return std::move(*bytes);
  }
  return Problem{fmt::format("\"{}\" is not base64", field)};
}

/// A header's value: text, any JSON, or {"base64": "…"}.
Checked<ByteVector> header_value(const Tokens& value) {
  if (value[0].text == "{") {
    Checked<std::vector<JsonMember>> members = json_members(value);
    if (!members) return members.error();
    if (members->size() == 1 && members->front().name == "base64") {
      return base64_of("base64", members->front().value);
    }
  }
  return bytes_of(value);
}

Checked<std::vector<Header>> headers_of(const Tokens& value) {
  if (value[0].text != "{") return Problem{"\"headers\" is not an object of names and values"};
  Checked<std::vector<JsonMember>> members = json_members(value);
  if (!members) return members.error();
  std::vector<Header> headers;
  for (const JsonMember& member : *members) {
    Checked<ByteVector> bytes = header_value(member.value);
    if (!bytes) return bytes.error();
    headers.push_back({member.name, std::move(*bytes)});
  }
  return headers;
}

Checked<std::optional<ByteVector>> optional_bytes(const JsonMember& member) {
  if (is_null(member.value)) return std::optional<ByteVector>();
  bool encoded = member.name.ends_with("_base64");
  Checked<ByteVector> bytes =
      encoded ? base64_of(member.name, member.value) : bytes_of(member.value);
  if (!bytes) return bytes.error();
  return std::optional<ByteVector>(std::move(*bytes));
}

Checked<WallTime> time_of(const JsonMember& member) {
  Checked<std::string> text = Problem{""};
  if (is_string(member.value)) text = json_string(member.value[0]);
  Checked<WallTime> time = text && !text->starts_with("now") ? parse_time(*text, {}) : Problem{""};
  if (time) return time;
  return Problem{fmt::format("\"{}\" is no time as \"2026-03-01T12:30:00Z\"", member.name)};
}

Checked<void> set_field(const JsonMember& member, Message& message) {
  if (member.name == "headers") {
    Checked<std::vector<Header>> headers = headers_of(member.value);
    if (!headers) return headers.error();
    message.headers.insert(message.headers.end(), std::make_move_iterator(headers->begin()),
                           std::make_move_iterator(headers->end()));
    return {};
  }
  std::vector<std::string> fields = known_fields();
  bool known = std::find(fields.begin(), fields.end(), member.name) != fields.end();
  bool ignored =
      std::find(std::begin(kIgnored), std::end(kIgnored), member.name) != std::end(kIgnored);
  if (ignored) return {};
  if (!known) {
    std::optional<std::string> meant = did_you_mean(member.name, fields);
    return Problem{fmt::format("unknown field \"{}\"{}", escaped_line(member.name),
                               meant ? "; did you mean \"" + *meant + "\"?" : "")};
  }
  bool not_before = member.name == "not_before";
  if (not_before || member.name == "expires") {
    Checked<WallTime> time = time_of(member);
    if (!time) return time.error();
    (not_before ? set_not_before : set_expiry)(message, *time);
    return {};
  }
  Checked<std::optional<ByteVector>> bytes = optional_bytes(member);
  if (!bytes) return bytes.error();
  (member.name.starts_with("key") ? message.key : message.value) = std::move(*bytes);
  return {};
}

void add_field(boost::json::object& object, const std::string& name,
               const std::optional<ByteVector>& bytes) {
  if (!bytes) {
    object[name] = nullptr;
  } else if (is_utf8(as_text(*bytes))) {
    object[name] = as_text(*bytes);
  } else {
    object[name + "_base64"] = to_base64(*bytes);
  }
}

/// Written by hand, because an object of Boost.JSON keeps one of several equal names.
std::string headers_json(const std::vector<Header>& headers) {
  std::string out = "{";
  for (const Header& header : headers) {
    if (header.key.starts_with(reserved_headers::kPrefix)) continue;
    if (out.size() > 1) out += ',';
    out += boost::json::serialize(boost::json::string(header.key)) + ":";
    if (is_utf8(as_text(header.value))) {
      out += boost::json::serialize(boost::json::string(as_text(header.value)));
    } else {
      out += boost::json::serialize(boost::json::object{{"base64", to_base64(header.value)}});
    }
  }
  return out + "}";
}

}  // namespace

Checked<Message> parse_message_line(std::string_view line) {
  Checked<std::vector<JsonMember>> members = json_members(line);
  if (!members) return members.error();
  Message message;
  std::vector<std::string> seen;
  for (const JsonMember& member : *members) {
    std::string_view field = member.name;
    if (field.ends_with("_base64")) field.remove_suffix(7);
    if (std::find(seen.begin(), seen.end(), field) != seen.end()) {
      return Problem{fmt::format("\"{}\" is there twice", escaped_line(field))};
    }
    seen.emplace_back(field);
    Checked<void> set = set_field(member, message);
    if (!set) return set.error();
  }
  if (std::find(seen.begin(), seen.end(), "value") == seen.end()) {
    return Problem{"\"value\" is missing (null makes a tombstone)"};
  }
  return message;
}

std::string message_id(const MessagePlace& place) {
  return fmt::format("{}/{}/{}", place.topic, place.partition.value, place.offset.value);
}

std::string message_json(const MessagePlace& place, const Message& message) {
  boost::json::object object;
  object["id"] = message_id(place);
  object["topic"] = place.topic;
  object["partition"] = place.partition.value;
  object["offset"] = place.offset.value;
  object["time"] = time_text(message.timestamp);
  for (const Header& header : message.headers) {
    bool is_id = header.key == reserved_headers::kMessageId &&
                 header.value.size() == reserved_headers::kMessageIdSize;
    if (!is_id) continue;
    Uuid id;
    std::copy(header.value.begin(), header.value.end(), id.bytes.begin());
    object["message_id"] = to_string(id);
  }
  if (auto time = not_before(message)) object["not_before"] = time_text(*time);
  if (auto time = expiry(message)) object["expires"] = time_text(*time);
  add_field(object, "key", message.key);
  add_field(object, "value", message.value);
  if (place.delivery > 0) {
    object["delivery"] = place.delivery;
    object["failures"] = place.failures;
    object["redrive"] = place.redrive;
  }
  std::string line = boost::json::serialize(object);
  line.pop_back();
  return line + ",\"headers\":" + headers_json(message.headers) + "}";
}

}  // namespace waybill::cli

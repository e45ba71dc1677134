// JSON as its tokens, in the order and spelling of the text. Parsers into numbers and maps lose
// what a payload is made of (large integers, repeated keys, the order of keys); a fix must not, and
// what `dlq show` prints must be what is there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/problem.h"

namespace waybill::cli {

enum class JsonTokenKind : std::uint8_t { kPunctuation, kString, kNumber, kWord };

struct JsonToken {
  JsonTokenKind kind;
  std::string_view text;  ///< as spelled, strings with their quotes
};

/// One JSON value and nothing else, checked against the grammar of RFC 8259; nesting of at most
/// 512. The tokens point into `text`. The error says what is wrong and at which byte.
Checked<std::vector<JsonToken>> json_tokens(std::string_view text);

/// The same value on one line without spaces, or with one member per line and two spaces of indent;
/// every token keeps its spelling. Requires tokens of json_tokens().
std::string json_compact(const std::vector<JsonToken>& tokens);
std::string json_pretty(const std::vector<JsonToken>& tokens);

struct JsonMember {
  std::string name;
  std::vector<JsonToken> value;
};
/// The members of a JSON object in order, repeated names too; an error for any other value.
Checked<std::vector<JsonMember>> json_members(std::string_view text);
/// The same for tokens of json_tokens() or of a member's value.
Checked<std::vector<JsonMember>> json_members(const std::vector<JsonToken>& tokens);
/// What a string token says. An error if it names half a surrogate pair, which no text can hold.
Checked<std::string> json_string(const JsonToken& token);

/// True if both texts are JSON and say the same: strings equal after unescaping, numbers equal as
/// decimal numbers of any size, members in the same order and number (D17).
bool same_json(std::string_view left, std::string_view right);

}  // namespace waybill::cli

#include "tools/json_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "tools/escape.h"

namespace waybill::cli {
namespace {

constexpr std::size_t kMaxDepth = 512;

bool is_digit(char letter) {
  return letter >= '0' && letter <= '9';
}

/// Cuts the text into tokens and checks each by itself; the grammar is JsonGrammar's.
class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) : text_(text) {}

  [[nodiscard]] std::size_t position() const { return at_; }

  /// The next token, nothing at the end; an error says what is wrong with it.
  Checked<std::optional<JsonToken>> next() {
    at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size());
    if (at_ == text_.size()) return std::optional<JsonToken>();
    start_ = at_;
    char letter = text_[at_];
    if (std::string_view("{}[],:").contains(letter)) {
      ++at_;
      return take(JsonTokenKind::kPunctuation);
    }
    if (letter == '"') return scan_string();
    if (letter == '-' || is_digit(letter)) return scan_number();
    for (std::string_view word : {"true", "false", "null"}) {
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return take(JsonTokenKind::kWord);
    }
    return fail("a value cannot begin like this");
  }

  Problem fail(std::string_view what) const {
    return {fmt::format("not JSON: {} (byte {})", what, at_)};
  }

 private:
  std::optional<JsonToken> take(JsonTokenKind kind) const {
    return JsonToken{kind, text_.substr(start_, at_ - start_)};
  }

  Checked<std::optional<JsonToken>> scan_string() {
    for (++at_; at_ < text_.size(); ++at_) {
      char letter = text_[at_];
      if (static_cast<unsigned char>(letter) < 0x20) {
        return fail("a control character in a string must be written as \\u00XX");
      }
      if (letter == '"') {
        ++at_;
        if (!is_utf8(text_.substr(start_, at_ - start_))) return fail("a string is not UTF-8");
        return take(JsonTokenKind::kString);
      }
      if (letter == '\\' && !skip_escape()) return fail("an unknown escape in a string");
    }
    return fail("a string does not end");
  }

  /// From the backslash to the last letter of the escape.
  bool skip_escape() {
    if (++at_ >= text_.size()) return false;
    if (text_[at_] != 'u') return std::string_view("\"\\/bfnrt").contains(text_[at_]);
    if (text_.size() - at_ < 5) return false;
    std::string_view digits = text_.substr(at_ + 1, 4);
    at_ += 4;
    return digits.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
  }

  Checked<std::optional<JsonToken>> scan_number() {
    auto skip_digits = [this] {
      std::size_t from = at_;
      while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
      return at_ > from;
    };
    if (text_[at_] == '-') ++at_;
    bool leading_zero = at_ < text_.size() && text_[at_] == '0';
    std::size_t integer = at_;
    if (!skip_digits()) return fail("a number without digits");
    if (leading_zero && at_ - integer > 1) return fail("a number with a leading zero");
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      if (!skip_digits()) return fail("a number that ends in a point");
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      ++at_;
      if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
      if (!skip_digits()) return fail("a number without the digits of its exponent");
    }
    return take(JsonTokenKind::kNumber);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t start_ = 0;
};

/// Which token may come next, as a stack of open containers.
class JsonGrammar {
 public:
  [[nodiscard]] bool finished() const { return open_.empty() && want_ == Want::kNothing; }

  /// What is wrong with this token here; empty if nothing.
  std::string_view accept(const JsonToken& token) {
    char mark = token.kind == JsonTokenKind::kPunctuation ? token.text[0] : 'v';
    if (mark == '}' || mark == ']') return close(mark);
    if (mark == ',') return separate();
    if (mark == ':') {
      if (want_ != Want::kColon) return "a colon that belongs to no key";
      want_ = Want::kValue;
      return {};
    }
    return value(mark, token.kind == JsonTokenKind::kString);
  }

 private:
  enum class Want : std::uint8_t { kValue, kFirstValue, kKey, kFirstKey, kColon, kNothing };

  std::string_view value(char mark, bool is_string) {
    if (want_ == Want::kKey || want_ == Want::kFirstKey) {
      if (!is_string) return "a key that is not a string";
      want_ = Want::kColon;
      return {};
    }
    if (want_ == Want::kColon) return "a key without a colon after it";
    if (want_ == Want::kNothing) {
      return open_.empty() ? "something after the value" : "a comma is missing";
    }
    want_ = Want::kNothing;
    if (mark == 'v') return {};
    if (open_.size() == kMaxDepth) return "nested too deeply";
    open_.push_back(mark);
    want_ = mark == '{' ? Want::kFirstKey : Want::kFirstValue;
    return {};
  }

  std::string_view close(char mark) {
    if (open_.empty() || (open_.back() == '{') != (mark == '}'))
      return "a bracket that closes nothing";
    bool empty = want_ == Want::kFirstKey || want_ == Want::kFirstValue;
    if (want_ != Want::kNothing && !empty) return "a bracket where a value is missing";
    open_.pop_back();
    want_ = Want::kNothing;
    return {};
  }

  std::string_view separate() {
    if (open_.empty() || want_ != Want::kNothing) return "a comma that separates nothing";
    want_ = open_.back() == '{' ? Want::kKey : Want::kValue;
    return {};
  }

  std::vector<char> open_;
  Want want_ = Want::kValue;
};

void append_utf8(std::string& out, unsigned code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

/// The value of a string token. A lone surrogate becomes three bytes that are not UTF-8, so that it
/// equals itself only.
std::string unescaped(std::string_view token) {
  std::string_view rest = token.substr(1, token.size() - 2);
  auto take_hex = [&rest] {
    unsigned code = 0;
    std::from_chars(rest.data() + 2, rest.data() + 6, code, 16);
    rest.remove_prefix(6);
    return code;
  };
  std::string out;
  while (!rest.empty()) {
    if (rest[0] != '\\') {
      out += rest[0];
      rest.remove_prefix(1);
    } else if (rest[1] != 'u') {
      constexpr std::string_view kLetters = "\"\\/bfnrt";
      constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
      out += kMeanings[kLetters.find(rest[1])];
      rest.remove_prefix(2);
    } else {
      unsigned code = take_hex();
      if (code >= 0xd800 && code < 0xdc00 && rest.starts_with("\\u")) {
        std::string_view before = rest;
        unsigned low = take_hex();
        bool pair = low >= 0xdc00 && low < 0xe000;
        if (pair) code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        if (!pair) rest = before;
      }
      append_utf8(out, code);
    }
  }
  return out;
}

/// A number as sign, digits without zeros at either end, and the power of ten of its last digit:
/// equal numbers become equal texts, however many digits they have.
std::string canonical_number(std::string_view text) {
  bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  std::int64_t exponent = 0;
  if (std::size_t mark = text.find_first_of("eE"); mark != std::string_view::npos) {
    std::string_view digits = text.substr(mark + 1);
    if (digits.starts_with('+')) digits.remove_prefix(1);
    auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
    constexpr std::int64_t kSane = 1'000'000'000;
    if (parsed.ec != std::errc() || std::abs(exponent) > kSane) return std::string(text);
    text = text.substr(0, mark);
  }
  std::string digits(text);
  if (std::size_t point = digits.find('.'); point != std::string::npos) {
    exponent -= static_cast<std::int64_t>(digits.size() - point - 1);
    digits.erase(point, 1);
  }
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  while (digits.ends_with('0')) {
    digits.pop_back();
    ++exponent;
  }
  if (digits.empty()) return negative ? "-0" : "0";
  return fmt::format("{}{}e{}", negative ? "-" : "", digits, exponent);
}

bool same_token(const JsonToken& left, const JsonToken& right) {
  if (left.kind != right.kind) return false;
  if (left.text == right.text) return true;
  if (left.kind == JsonTokenKind::kString) return unescaped(left.text) == unescaped(right.text);
  if (left.kind == JsonTokenKind::kNumber) {
    return canonical_number(left.text) == canonical_number(right.text);
  }
  return false;
}

}  // namespace

Checked<std::vector<JsonToken>> json_tokens(std::string_view text) {
  JsonScanner scanner(text);
  JsonGrammar grammar;
  std::vector<JsonToken> tokens;
  while (true) {
    Checked<std::optional<JsonToken>> token = scanner.next();
    if (!token) return token.error();
    if (!*token) break;
    std::string_view wrong = grammar.accept(**token);
    if (!wrong.empty()) return scanner.fail(wrong);
    tokens.push_back(**token);
  }
  if (!grammar.finished()) return scanner.fail("it ends too early");
  return tokens;
}

std::string json_compact(const std::vector<JsonToken>& tokens) {
  std::string out;
  for (const JsonToken& token : tokens) out += token.text;
  return out;
}

std::string json_pretty(const std::vector<JsonToken>& tokens) {
  std::string out;
  std::size_t depth = 0;
  auto new_line = [&] { out += "\n" + std::string(depth * 2, ' '); };
  for (std::size_t index = 0; index < tokens.size(); ++index) {
    std::string_view text = tokens[index].text;
    bool punctuation = tokens[index].kind == JsonTokenKind::kPunctuation;
    bool empty_before =
        index > 0 && (tokens[index - 1].text == "{" || tokens[index - 1].text == "[");
    if (punctuation && (text == "}" || text == "]")) {
      --depth;
      if (!empty_before) new_line();
    } else if (empty_before && tokens[index - 1].kind == JsonTokenKind::kPunctuation) {
      new_line();
    }
    out += text;
    if (!punctuation) continue;
    if (text == "{" || text == "[") ++depth;
    if (text == ",") new_line();
    if (text == ":") out += ' ';
  }
  return out;
}

Checked<std::vector<JsonMember>> json_members(std::string_view text) {
  Checked<std::vector<JsonToken>> tokens = json_tokens(text);
  if (!tokens) return tokens.error();
  return json_members(*tokens);
}

Checked<std::vector<JsonMember>> json_members(const std::vector<JsonToken>& tokens) {
  if (tokens.empty() || tokens.front().text != "{") return Problem{"not a JSON object"};
  std::vector<JsonMember> members;
  std::size_t at = 1;
  while (tokens[at].text != "}") {
    if (tokens[at].text == ",") ++at;
    Checked<std::string> name = json_string(tokens[at]);
    if (!name) return name.error();
    at += 2;  // the key and its colon
    JsonMember member{*name, {}};
    std::size_t depth = 0;
    do {
      const JsonToken& token = tokens[at++];
      bool punctuation = token.kind == JsonTokenKind::kPunctuation;
      if (punctuation && (token.text == "{" || token.text == "[")) ++depth;
      if (punctuation && (token.text == "}" || token.text == "]")) --depth;
      member.value.push_back(token);
    } while (depth > 0);
    members.push_back(std::move(member));
  }
  return members;
}

Checked<std::string> json_string(const JsonToken& token) {
  WB_ASSERT(token.kind == JsonTokenKind::kString, "only strings have letters");
  std::string text = unescaped(token.text);
  if (!is_utf8(text))
    return Problem{"a string names half a surrogate pair: " + std::string(token.text)};
  return text;
}

bool same_json(std::string_view left, std::string_view right) {
  auto left_tokens = json_tokens(left);
  auto right_tokens = json_tokens(right);
  return left_tokens && right_tokens &&
         std::equal(left_tokens->begin(), left_tokens->end(), right_tokens->begin(),
                    right_tokens->end(), same_token);
}

}  // namespace waybill::cli

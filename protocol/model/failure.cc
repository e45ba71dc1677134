#include "protocol/model/failure.h"

#include "protocol/base/checksum.h"
#include "protocol/base/limits.h"

namespace waybill {
namespace {

constexpr std::string_view kEllipsis = "…";
/// What the normalised detail puts in place of numbers and ids, and of quoted text. One placeholder
/// for numbers and ids, because an id may happen to be all digits.
constexpr std::string_view kNumber = "<n>";
constexpr std::string_view kQuoted = "<text>";
/// Shorter runs of hexadecimal digits are more likely words ("add", "face2").
constexpr std::size_t kMinHexId = 8;
/// Long enough to tell errors apart; short enough that a cut detail and a whole one agree.
constexpr std::size_t kMaxNormalised = 256;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_word(char c) {
  return is_digit(c) || is_letter(c);
}

/// The largest size of at most `limit` that does not split a UTF-8 character.
std::size_t character_boundary(std::string_view text, std::size_t limit) {
  std::size_t size = limit;
  for (int back = 0; back < 3 && size > 0; ++back) {
    if ((static_cast<unsigned char>(text[size]) & 0xc0) != 0x80) return size;
    --size;
  }
  return size;
}

std::string_view word_at(std::string_view text, std::size_t at) {
  std::size_t end = at;
  while (end < text.size() && is_word(text[end])) ++end;
  return text.substr(at, end - at);
}

bool is_hex_id(std::string_view word) {
  if (word.starts_with("0x") && word.size() > 2) {
    return word.find_first_not_of("0123456789abcdefABCDEF", 2) == std::string_view::npos;
  }
  bool has_digit = false;
  for (char c : word) {
    if (!is_hex(c)) return false;
    has_digit = has_digit || is_digit(c);
  }
  return has_digit && word.size() >= kMinHexId;
}

/// 36 for a uuid in its usual spelling, otherwise 0.
std::size_t uuid_size_at(std::string_view text, std::size_t at) {
  constexpr std::size_t kSize = 36;
  if (text.size() - at < kSize) return 0;
  if (text.size() - at > kSize && is_word(text[at + kSize])) return 0;
  for (std::size_t i = 0; i < kSize; ++i) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[at + i] != '-' : !is_hex(text[at + i])) return 0;
  }
  return kSize;
}

/// The size of quoted text at `at`, quotes included, or 0. An apostrophe between letters is none.
std::size_t quoted_size_at(std::string_view text, std::size_t at) {
  char quote = text[at];
  if (quote != '"' && quote != '\'' && quote != '`') return 0;
  bool word_before = at > 0 && is_word(text[at - 1]);
  if (quote == '\'' && word_before) return 0;
  for (std::size_t end = text.find(quote, at + 1); end != std::string_view::npos;
       end = text.find(quote, end + 1)) {
    bool word_after = end + 1 < text.size() && is_word(text[end + 1]);
    if (quote != '\'' || !word_after) return end + 1 - at;
  }
  return 0;
}

/// A word with each run of digits replaced.
void append_word(std::string_view word, std::string& out) {
  if (is_hex_id(word)) {
    out += kNumber;
    return;
  }
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (!is_digit(word[i])) {
      out += word[i];
    } else if (i == 0 || !is_digit(word[i - 1])) {
      out += kNumber;
    }
  }
}

}  // namespace

std::string_view name(FailureClass failure_class) {
  switch (failure_class) {
    case FailureClass::kTransient:
      return "transient";
    case FailureClass::kFailed:
      return "failed";
    case FailureClass::kInvalid:
      return "invalid";
    case FailureClass::kTimeout:
      return "timeout";
    case FailureClass::kUnexplained:
      return "unexplained";
  }
  return "unknown";
}

std::string cut_text(std::string text, std::size_t limit) {
  if (text.size() <= limit) return text;
  if (limit < kEllipsis.size()) return {};
  text.resize(character_boundary(text, limit - kEllipsis.size()));
  text += kEllipsis;
  return text;
}

Failure bounded(Failure failure) {
  if (failure.code.size() > limits::kMaxFailureCode) {
    failure.code.resize(character_boundary(failure.code, limits::kMaxFailureCode));
  }
  failure.detail = cut_text(std::move(failure.detail), limits::kMaxFailureDetail);
  return failure;
}

std::string normalised_detail(std::string_view detail) {
  std::string out;
  std::size_t at = 0;
  while (at < detail.size() && out.size() < kMaxNormalised) {
    if (std::size_t quoted = quoted_size_at(detail, at)) {
      out += kQuoted;
      at += quoted;
    } else if (std::size_t uuid = uuid_size_at(detail, at)) {
      out += kNumber;
      at += uuid;
    } else if (std::string_view word = word_at(detail, at); !word.empty()) {
      append_word(word, out);
      at += word.size();
    } else {
      out += detail[at++];
    }
  }
  return cut_text(std::move(out), kMaxNormalised);
}

std::uint64_t fingerprint(const Failure& failure) {
  Failure cut = bounded(failure);
  ByteVector bytes;
  ByteWriter writer(bytes);
  writer.write(cut.failure_class);
  writer.write_text(cut.code);
  writer.write_text(normalised_detail(cut.detail));
  return xxh3_64(bytes);
}

}  // namespace waybill

#include "tools/exec_contract.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocol/base/limits.h"
#include "protocol/record/reserved_headers.h"
#include "tools/escape.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

bool is_letter(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || letter == '_';
}
bool is_word_letter(char letter) {
  return is_letter(letter) || (letter >= '0' && letter <= '9') || letter == '.' || letter == '-';
}

std::string_view trimmed(std::string_view text) {
  std::size_t from = text.find_first_not_of(" \t\r\n");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t\r\n") - from + 1);
}

/// The end of the output as a failure's detail: what a program says last explains most.
std::string detail_of(std::string_view output) {
  output = trimmed(output);
  std::string detail(output);
  // The detail travels as text.
  if (!is_utf8(detail)) detail = escaped_text(output);
  constexpr std::string_view kCut = "…";
  if (detail.size() <= limits::kMaxFailureDetail) return detail;
  std::size_t from = detail.size() - (limits::kMaxFailureDetail - kCut.size());
  while (from < detail.size() && (detail[from] & 0xc0) == 0x80) ++from;
  return std::string(kCut) + detail.substr(from);
}

/// The word that names the failure in its last line, or nothing.
std::string_view code_word(std::string_view output) {
  output = trimmed(output);
  std::string_view line = trimmed(output.substr(output.rfind('\n') + 1));
  auto end = std::find_if_not(line.begin(), line.end(), is_word_letter);
  std::string_view word(line.begin(), end);
  bool named = end == line.end() || *end == ':';
  if (word.empty() || !is_letter(word[0]) || word.size() > limits::kMaxFailureCode || !named)
    return {};
  return word;
}

}  // namespace

std::string process_end_text(const ProcessEnd& end) {
  return end.signal != 0 ? fmt::format("signal {}", end.signal)
                         : fmt::format("exit {}", end.exit_code);
}

SettleOptions settle_for(const ProcessEnd& end, std::string_view error_output) {
  SettleOptions settle;
  if (end == ProcessEnd{}) return settle;
  settle.verb = SettleVerb::kRetry;
  Failure& failure = settle.failure;
  if (end.signal == 0 && end.exit_code == kExitTransient) {
    failure.failure_class = FailureClass::kTransient;
  } else if (end.signal == 0 && end.exit_code == kExitInvalid) {
    failure.failure_class = FailureClass::kInvalid;
  }
  failure.detail = detail_of(error_output);
  if (end.signal != 0) {
    failure.code = fmt::format("signal_{}", end.signal);
  } else {
    // 126 and 127 are the shell's: it could not run the command at all.
    bool from_shell = end.exit_code == 126 || end.exit_code == 127;
    failure.code = from_shell ? std::string_view() : code_word(error_output);
    if (failure.code.empty()) failure.code = fmt::format("exit_{}", end.exit_code);
  }
  if (failure.detail.empty()) failure.detail = process_end_text(end) + " without a word on stderr";
  failure = bounded(std::move(failure));
  return settle;
}

std::vector<std::string> message_environment(const Delivery& delivery) {
  const Message& message = delivery.message();
  std::vector<std::string> environment{
      "WAYBILL_TOPIC=" + delivery.topic(),
      "WAYBILL_GROUP=" + delivery.group(),
      fmt::format("WAYBILL_PARTITION={}", delivery.partition().value),
      fmt::format("WAYBILL_OFFSET={}", delivery.offset().value),
      fmt::format("WAYBILL_DELIVERY={}", delivery.number()),
      fmt::format("WAYBILL_FAILURES={}", delivery.failures()),
      fmt::format("WAYBILL_REDRIVE={}", delivery.redrive()),
      "WAYBILL_TIMESTAMP=" + time_text(message.timestamp),
  };
  if (message.key && is_text(as_text(*message.key))) {
    environment.push_back("WAYBILL_KEY=" + std::string(as_text(*message.key)));
  }
  for (std::string& variable : header_environment(message.headers)) {
    environment.push_back(std::move(variable));
  }
  return environment;
}

std::vector<std::string> header_environment(const std::vector<Header>& headers) {
  std::vector<std::string> environment;
  for (const Header& header : headers) {
    bool reserved = header.key.starts_with(reserved_headers::kPrefix);
    if (reserved || !is_text(as_text(header.value))) continue;
    std::string name = "WAYBILL_HEADER_";
    for (char letter : header.key) {
      bool digit = letter >= '0' && letter <= '9';
      bool small = letter >= 'a' && letter <= 'z';
      name += small                        ? static_cast<char>(letter - 'a' + 'A')
              : is_letter(letter) || digit ? letter
                                           : '_';
    }
    environment.push_back(name + "=" + std::string(as_text(header.value)));
  }
  return environment;
}

}  // namespace waybill::cli

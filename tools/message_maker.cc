#include "tools/message_maker.h"

#include <fmt/format.h>

#include "tools/escape.h"
#include "tools/message_line.h"

namespace waybill::cli {

Checked<MessageMaker> MessageMaker::create(MessageMakerOptions options) {
  if (options.key_jq.empty()) return MessageMaker(std::move(options), std::nullopt);
  Checked<JqRule> rule = JqRule::compile(options.key_jq);
  if (!rule) return Problem{"--key-jq: " + rule.error().text};
  return MessageMaker(std::move(options), std::move(*rule));
}

Checked<std::optional<Message>> MessageMaker::make(std::string line) {
  Message message;
  if (options_.json_lines) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) return std::optional<Message>();
    Checked<Message> parsed = parse_message_line(line);
    if (!parsed) return parsed.error();
    message = std::move(*parsed);
  } else if (!options_.key_separator.empty()) {
    std::size_t at = line.find(options_.key_separator);
    if (at == std::string::npos) {
      return Problem{fmt::format("the separator '{}' of key and value is not there",
                                 escaped_line(options_.key_separator))};
    }
    message.key = to_vector(as_bytes(line.substr(0, at)));
    message.value = to_vector(as_bytes(line.substr(at + options_.key_separator.size())));
  } else {
    message.value = to_vector(as_bytes(line));
  }
  if (key_rule_ && message.value) {
    Checked<std::string> key = key_rule_->apply(as_text(*message.value));
    if (!key) return Problem{"--key-jq: " + key.error().text};
    if (*key != "null") message.key = to_vector(as_bytes(jq_result_text(*key)));
  }
  message.headers.insert(message.headers.end(), options_.headers.begin(), options_.headers.end());
  return std::optional<Message>(std::move(message));
}

Checked<Header> parse_header(std::string_view text) {
  std::size_t at = text.find('=');
  if (at == std::string_view::npos || at == 0) {
    return Problem{fmt::format("'{}' is not a header: write name=value", escaped_line(text))};
  }
  return Header{std::string(text.substr(0, at)), to_vector(as_bytes(text.substr(at + 1)))};
}

}  // namespace waybill::cli

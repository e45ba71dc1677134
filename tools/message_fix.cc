#include "tools/message_fix.h"

#include <algorithm>

#include "tools/json_tokens.h"

namespace waybill::cli {

Checked<MessageFix> MessageFix::create(Options options) {
  if (options.jq.empty()) {
    if (options.set_headers.empty() && options.remove_headers.empty()) {
      return Problem{"nothing to fix: give --jq, --set-header or --remove-header"};
    }
    return MessageFix(std::move(options), std::nullopt);
  }
  Checked<JqRule> rule = JqRule::compile(options.jq);
  if (!rule) return Problem{"--jq: " + rule.error().text};
  return MessageFix(std::move(options), std::move(*rule));
}

Checked<Message> MessageFix::apply(const Message& message) {
  Message fixed = message;
  if (rule_) {
    if (!message.value) return Problem{"the message has no value"};
    std::string_view value = as_text(*message.value);
    Checked<std::string> result = fix_value(value);
    if (!result) return result.error();
    // Other spaces are no fix: what says the same keeps its bytes.
    if (!same_json(value, *result)) fixed.value = to_vector(as_bytes(*result));
  }
  auto remove = [&](const std::string& name) {
    std::erase_if(fixed.headers, [&](const Header& header) { return header.key == name; });
  };
  for (const std::string& name : options_.remove_headers) remove(name);
  for (const Header& header : options_.set_headers) {
    auto same_name = [&](const Header& other) { return other.key == header.key; };
    auto at = std::find_if(fixed.headers.begin(), fixed.headers.end(), same_name);
    if (at == fixed.headers.end()) {
      fixed.headers.push_back(header);
    } else {
      at->value = header.value;
    }
  }
  return fixed;
}

Checked<std::string> MessageFix::fix_value(std::string_view value) {
  Checked<std::vector<JsonToken>> tokens = json_tokens(value);
  if (!tokens) return Problem{"the value is " + tokens.error().text};
  if (!options_.allow_reencode && !jq_keeps(value)) {
    return Problem{
        "jq would change more than the rule says (a large number, a repeated key, half a "
        "surrogate pair); --allow-reencode accepts that"};
  }
  return rule_->apply(value);
}

}  // namespace waybill::cli

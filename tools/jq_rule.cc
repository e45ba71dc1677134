#include "tools/jq_rule.h"

extern "C" {
#include <jq.h>
}

#include <climits>

#include "tools/json_tokens.h"

namespace waybill::cli {
namespace {

std::string text_of(jv value) {
  jv text = jv_get_kind(value) == JV_KIND_STRING ? value : jv_dump_string(value, 0);
  std::string out(jv_string_value(text),
                  static_cast<std::size_t>(jv_string_length_bytes(jv_copy(text))));
  jv_free(text);
  return out;
}

/// jq reports a rule that does not compile through this callback, line by line.
void collect_error(void* collected, jv message) {
  std::string& text = *static_cast<std::string*>(collected);
  if (!text.empty()) text += '\n';
  text += text_of(jq_format_error(message));
}

jv parse(std::string_view json) {
  if (json.size() > INT_MAX) return jv_invalid_with_msg(jv_string("the text is too long"));
  return jv_parse_sized(json.data(), static_cast<int>(json.size()));
}

std::string why_invalid(jv invalid) {
  jv message = jv_invalid_get_msg(invalid);
  if (jv_get_kind(message) == JV_KIND_NULL) {
    jv_free(message);
    return {};
  }
  return text_of(message);
}

}  // namespace

void JqRule::Deleter::operator()(jq_state* state) const {
  jq_teardown(&state);
}

Checked<JqRule> JqRule::compile(const std::string& expression) {
  std::unique_ptr<jq_state, Deleter> state(jq_init());
  WB_ASSERT(state != nullptr, "jq has memory to start with");
  std::string errors;
  jq_set_error_cb(state.get(), collect_error, &errors);
  bool compiled = jq_compile(state.get(), expression.c_str()) != 0;
  jq_set_error_cb(state.get(), nullptr, nullptr);
  if (!compiled) return Problem{"the rule does not compile: " + errors};
  return JqRule(std::move(state));
}

Checked<std::string> JqRule::apply(std::string_view json) {
  jv input = parse(json);
  if (!jv_is_valid(input)) return Problem{"the value is not JSON: " + why_invalid(input)};
  jq_start(state_.get(), input, 0);
  jv first = jq_next(state_.get());
  if (!jv_is_valid(first)) {
    bool failed = jv_invalid_has_msg(jv_copy(first)) != 0;
    std::string why = why_invalid(first);
    if (failed) return Problem{"the rule failed: " + why};
    return Problem{"the rule yields nothing for this value"};
  }
  jv second = jq_next(state_.get());
  bool single = !jv_is_valid(second) && jv_invalid_has_msg(jv_copy(second)) == 0;
  jv_free(second);
  jv dumped = jv_dump_string(first, 0);
  std::string result = text_of(dumped);
  if (!single) return Problem{"the rule yields more than one value (the first is " + result + ")"};
  return result;
}

bool jq_keeps(std::string_view json) {
  // jq reads a raw invalid byte as U+FFFD; json_tokens() refuses it, so same_json() says no.
  jv value = parse(json);
  if (!jv_is_valid(value)) {
    jv_free(value);
    return false;
  }
  return same_json(json, text_of(jv_dump_string(value, 0)));
}

std::string jq_result_text(const std::string& json) {
  jv value = parse(json);
  if (jv_get_kind(value) == JV_KIND_STRING) return text_of(value);
  jv_free(value);
  return json;
}

}  // namespace waybill::cli

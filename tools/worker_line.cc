#include "tools/worker_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "protocol/model/catalog.h"
#include "tools/escape.h"

namespace waybill::cli {
namespace {

std::vector<std::string> known_fields() {
  return {"id", "result", "class", "code", "detail", "after_ms"};
}

Problem unexpected(std::string_view field, std::string_view wanted) {
  return {fmt::format("\"{}\" is not {}", field, wanted)};
}

Checked<std::string> text_field(const boost::json::object& object, std::string_view field) {
  const boost::json::value* value = object.if_contains(field);
  if (value == nullptr || value->is_null()) return std::string();
  if (!value->is_string()) return unexpected(field, "a string");
  return std::string(std::string_view(value->get_string()));
}

Checked<SettleVerb> verb_of(std::string_view result) {
  if (result == "ack") return SettleVerb::kAck;
  if (result == "retry") return SettleVerb::kRetry;
  if (result == "dead_letter") return SettleVerb::kDeadLetter;
  if (result == "release") return SettleVerb::kRelease;
  return unexpected("result", "ack, retry, dead_letter or release");
}

Checked<FailureClass> class_of(std::string_view text) {
  if (text.empty() || text == "failed") return FailureClass::kFailed;
  if (text == "transient") return FailureClass::kTransient;
  if (text == "invalid") return FailureClass::kInvalid;
  return unexpected("class", "transient, failed or invalid");
}

Checked<void> check_fields(const boost::json::object& object) {
  std::vector<std::string> fields = known_fields();
  for (const auto& member : object) {
    std::string field(std::string_view(member.key()));
    if (std::find(fields.begin(), fields.end(), field) != fields.end()) continue;
    std::optional<std::string> meant = did_you_mean(field, fields);
    return Problem{fmt::format("unknown field \"{}\"{}", escaped_line(field),
                               meant ? "; did you mean \"" + *meant + "\"?" : "")};
  }
  return {};
}

Checked<Failure> failure_of(const boost::json::object& object) {
  Checked<std::string> class_text = text_field(object, "class");
  if (!class_text) return class_text.error();
  Checked<FailureClass> failure_class = class_of(*class_text);
  if (!failure_class) return failure_class.error();
  Checked<std::string> code = text_field(object, "code");
  if (!code) return code.error();
  Checked<std::string> detail = text_field(object, "detail");
  if (!detail) return detail.error();
  if (code->empty()) *code = "worker";
  return bounded(Failure{*failure_class, std::move(*code), std::move(*detail)});
}

Checked<std::optional<std::chrono::milliseconds>> after_of(const boost::json::object& object) {
  const boost::json::value* value = object.if_contains("after_ms");
  if (value == nullptr) return std::optional<std::chrono::milliseconds>();
  if (!value->is_int64() || value->get_int64() < 0) {
    return unexpected("after_ms", "a number of milliseconds");
  }
  return std::optional(std::chrono::milliseconds(value->get_int64()));
}

}  // namespace

Checked<WorkerAnswer> parse_worker_answer(std::string_view line) {
  boost::json::error_code failed;
  boost::json::value value = boost::json::parse(line, failed);
  if (failed || !value.is_object()) return Problem{"not a JSON object"};
  const boost::json::object& object = value.get_object();
  Checked<void> known = check_fields(object);
  if (!known) return known.error();
  Checked<std::string> id = text_field(object, "id");
  if (!id) return id.error();
  Checked<std::string> result = text_field(object, "result");
  if (!result) return result.error();
  Checked<SettleVerb> verb = verb_of(*result);
  if (!verb) return verb.error();
  WorkerAnswer answer{std::move(*id), {}};
  answer.settle.verb = *verb;
  bool failing = *verb == SettleVerb::kRetry || *verb == SettleVerb::kDeadLetter;
  if (!failing) return answer;
  Checked<Failure> failure = failure_of(object);
  if (!failure) return failure.error();
  answer.settle.failure = std::move(*failure);
  Checked<std::optional<std::chrono::milliseconds>> after = after_of(object);
  if (!after) return after.error();
  if (answer.settle.verb == SettleVerb::kRetry) answer.settle.retry_after = *after;
  return answer;
}

}  // namespace waybill::cli

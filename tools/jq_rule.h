// A jq expression over a message's value: the rule that fixes many dead letters at once, and the
// path that finds a message's key. libjq is seen by jq_rule.cc only.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tools/problem.h"

struct jq_state;

namespace waybill::cli {

class JqRule {
 public:
  /// The error is jq's own explanation.
  static Checked<JqRule> compile(const std::string& expression);

  /// The one result for this JSON text, as compact JSON. Errors, each as a sentence: the text is
  /// not JSON, the rule fails, it yields nothing, it yields more than one value.
  Checked<std::string> apply(std::string_view json);

 private:
  struct Deleter {
    void operator()(jq_state* state) const;
  };
  explicit JqRule(std::unique_ptr<jq_state, Deleter> state) : state_(std::move(state)) {}

  std::unique_ptr<jq_state, Deleter> state_;
};

/// False if jq would change this text by merely reading and writing it (D17): jq 1.6 rounds large
/// integers, keeps one of several equal keys and replaces invalid UTF-8.
bool jq_keeps(std::string_view json);

/// A result of JqRule as a key: a string without its quotes, any other value as its JSON.
std::string jq_result_text(const std::string& json);

}  // namespace waybill::cli

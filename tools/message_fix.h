// A rule that fixes messages (D17): a jq expression over the value, headers to set and to remove.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/model/message.h"
#include "tools/jq_rule.h"
#include "tools/problem.h"

namespace waybill::cli {

class MessageFix {
 public:
  struct Options {
    std::string jq;  ///< empty: the value is not touched, and not even parsed
    std::vector<Header> set_headers;
    std::vector<std::string> remove_headers;
    /// Accepts values that jq changes by merely reading and writing them.
    bool allow_reencode = false;
  };

  /// Fails if the expression does not compile or nothing is asked for.
  static Checked<MessageFix> create(Options options);

  /// The fixed message; equal to `message` if the rule changes nothing in it. The problem says why
  /// this message cannot be fixed by this rule.
  Checked<Message> apply(const Message& message);

 private:
  MessageFix(Options options, std::optional<JqRule> rule)
      : options_(std::move(options)), rule_(std::move(rule)) {}
  Checked<std::string> fix_value(std::string_view value);

  Options options_;
  std::optional<JqRule> rule_;
};

}  // namespace waybill::cli

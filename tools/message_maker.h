// Turns a line of input into a message, the way `publish` was told to.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/model/message.h"
#include "tools/jq_rule.h"
#include "tools/problem.h"

namespace waybill::cli {

struct MessageMakerOptions {
  bool json_lines = false;      ///< message_line.h; else the line is the value
  std::string key_jq;           ///< a jq path over the value finds the key
  std::string key_separator;    ///< or the line is "key<separator>value"
  std::vector<Header> headers;  ///< added to every message
};

class MessageMaker {
 public:
  static Checked<MessageMaker> create(MessageMakerOptions options);

  /// Nothing for a blank line of JSON lines.
  Checked<std::optional<Message>> make(std::string line);

 private:
  MessageMaker(MessageMakerOptions options, std::optional<JqRule> key_rule)
      : options_(std::move(options)), key_rule_(std::move(key_rule)) {}

  MessageMakerOptions options_;
  std::optional<JqRule> key_rule_;
};

/// "name=value".
Checked<Header> parse_header(std::string_view text);

}  // namespace waybill::cli

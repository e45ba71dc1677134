// What the end of a program says about the message it was given (`consume --exec`): the contract of
// DESIGN 10, apart from processes so that it can be read and tested as a table.
//
//   exit 0    ack
//   exit 75   transient: a dependency is down, try again later (EX_TEMPFAIL)
//   exit 65   invalid: this message can never work, it becomes a dead letter at once (EX_DATAERR)
//   others    failed: charged, tried again after the group's back-off
//   signal    failed, code "signal_<number>"
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/delivery.h"
#include "protocol/model/failure.h"

namespace waybill::cli {

inline constexpr int kExitTransient = 75;
inline constexpr int kExitInvalid = 65;

/// How a child process ended.
struct ProcessEnd {
  int exit_code = 0;  ///< if it was not killed
  int signal = 0;     ///< 0: it ended by itself
  friend bool operator==(const ProcessEnd&, const ProcessEnd&) = default;
};

/// "exit 3", "signal 9"
std::string process_end_text(const ProcessEnd& end);

/// Everything but an ack is a retry with a failure: what an invalid one leads to (a dead letter at
/// once) is for the group's policy to say. `error_output` is the tail of the program's stderr; it
/// becomes the failure's detail. The code is the word before a colon that begins its last line
/// ("ValueError: bad date" → "ValueError"), a line that is one word, or else "exit_<n>".
SettleOptions settle_for(const ProcessEnd& end, std::string_view error_output);

/// The environment a program gets about its message: WAYBILL_TOPIC, _GROUP, _PARTITION, _OFFSET,
/// _DELIVERY, _FAILURES, _REDRIVE, _TIMESTAMP and, if the message has a key that is text without a
/// zero byte, _KEY. Headers: WAYBILL_HEADER_<NAME>, letters in capitals, others as '_'.
std::vector<std::string> message_environment(const Delivery& delivery);
std::vector<std::string> header_environment(const std::vector<Header>& headers);

}  // namespace waybill::cli

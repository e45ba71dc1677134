// What the command's exit code tells a script; `waybill --help` prints the same table.
#pragma once

#include "protocol/base/error.h"

namespace waybill::cli {

enum class ExitCode : int {
  kOk = 0,
  kFailed = 1,         ///< it was tried and did not work
  kUsage = 2,          ///< the command line is wrong; nothing was tried
  kNotFound = 3,       ///< a topic, group, dead letter or file that is named does not exist
  kPartly = 4,         ///< some of several things worked; the output says which
  kUnreachable = 5,    ///< no broker answered
  kDamaged = 6,        ///< what is stored is damaged
  kInterrupted = 130,  ///< Ctrl-C came before a load test had measured what was asked for
};

/// The exit code for an error of the broker or the client library.
inline ExitCode exit_code_of(Errc code) {
  switch (code) {
    case Errc::kUnknownTopic:
    case Errc::kUnknownPartition:
    case Errc::kUnknownGroup:
    case Errc::kUnknownDeadLetter:
    case Errc::kNotFound:
      return ExitCode::kNotFound;
    case Errc::kCannotConnect:
    case Errc::kConnectionLost:
    case Errc::kHelloTimeout:
      return ExitCode::kUnreachable;
    default:
      return ExitCode::kFailed;
  }
}

}  // namespace waybill::cli

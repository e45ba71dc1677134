// Why a run of the broker ended, as the shell sees it: the documented exit codes of waybilld, and
// the exception that carries one from wherever start-up fails to main.
#pragma once

#include <stdexcept>
#include <string>

namespace waybill {

/// Part of the interface of waybilld (its --help lists them): scripts and service managers decide
/// by these numbers. Never change the meaning of one.
enum class ExitCode : int {
  kClean = 0,
  kFailed = 1,         ///< failed while running: a write to the journal failed, for example
  kUsage = 2,          ///< an argument is wrong
  kDataDirectory = 3,  ///< damaged, unreadable, or of another version
  kLocked = 4,         ///< another process uses the data directory
  kCannotBind = 5,     ///< an address is in use or not ours
};

/// The end of a run. what() says what failed, why, and what to do next.
class StartError : public std::runtime_error {
 public:
  StartError(ExitCode code, const std::string& message)
      : std::runtime_error(message), code_(code) {}
  [[nodiscard]] ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

}  // namespace waybill

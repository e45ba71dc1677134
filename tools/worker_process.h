// One worker of `consume --worker`: a program kept running that gets one message per line and
// answers each with one line (worker_line.h).
//
// A worker that ends, or says what is no answer, has failed the message it was given: it held
// exactly one, so it is known which, and it is charged. It is started again for the next message,
// after a pause that doubles with each failure in a row, from 100 ms to 30 s.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "tools/child_process.h"

namespace waybill::cli {

class WorkerProcess {
 public:
  /// `on_error_output` gets what the worker writes to stderr, as it comes.
  WorkerProcess(std::string command, std::function<void(std::string_view)> on_error_output);
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;
  /// Closes the worker's input, which asks it to end, and waits up to two seconds for it.
  ~WorkerProcess();

  /// How long to wait before the next message: 0 unless the worker keeps failing.
  [[nodiscard]] std::chrono::milliseconds pause() const;
  /// Hands over one message and waits for the answer. A second stop signal ends the wait: release.
  SettleOptions handle(const std::string& id, const std::string& line);

 private:
  Result<void> start();
  /// Moves bytes until an answer's line is complete; nothing if the worker ended or overflowed.
  std::optional<std::string> exchange(std::string_view line);
  bool read_answer();
  void read_errors();
  SettleOptions failed(const std::string& code, const std::string& detail);

  std::string command_;
  std::function<void(std::string_view)> on_error_output_;
  std::optional<ChildProcess> child_;
  std::string answer_;  ///< read, up to and beyond the next newline
  OutputTail errors_;
  std::uint32_t failures_in_a_row_ = 0;
};

}  // namespace waybill::cli

// A child process with pipes, for programs that handle messages.
//
// A child runs `sh -c COMMAND` in a process group of its own, so that Ctrl-C reaches us and not the
// programs: they may finish the message they have. Its signal dispositions are the default ones.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/result.h"
#include "tools/exec_contract.h"

namespace waybill::cli {

/// An open file descriptor, closed when it goes.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }

  [[nodiscard]] int get() const { return number_; }
  [[nodiscard]] bool is_open() const { return number_ >= 0; }
  void close();
  int release();

 private:
  int number_ = -1;
};

struct ChildOptions {
  std::string command;
  std::vector<std::string> environment;  ///< added to ours: "NAME=value"
  bool pipe_output = false;              ///< else the child's stdout is ours, or see below
  bool output_to_stderr = false;
};

/// A running child. Its destructor kills what still runs, and waits for it.
class ChildProcess {
 public:
  static Result<ChildProcess> start(const ChildOptions& options);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();

  /// Our ends of its pipes, non-blocking.
  Descriptor input;
  Descriptor output;  ///< if piped
  Descriptor errors;
  /// Readable when the child has ended.
  Descriptor ended;

  /// Waits for it to end.
  ProcessEnd wait();
  /// To the child's whole process group.
  void signal(int number) const;
  [[nodiscard]] bool running() const { return process_ > 0; }

 private:
  explicit ChildProcess(pid_t process) : process_(process) {}
  pid_t process_ = -1;
};

/// Keeps the last 4 KiB of a stream.
class OutputTail {
 public:
  void add(std::string_view data);
  /// Adds what a pipe holds now, and shows it to `also`; false at the stream's end.
  bool read_from(const Descriptor& from, const std::function<void(std::string_view)>& also = {});
  [[nodiscard]] const std::string& text() const { return text_; }
  void clear() { text_.clear(); }

 private:
  std::string text_;
};

struct ProgramResult {
  ProcessEnd end;
  std::string error_output;  ///< the last 4 KiB of its stderr
};

/// Runs a program for one message: `input` is its stdin, its stdout goes on to ours. A program that
/// does not read its input is no error. A second stop signal kills it.
Result<ProgramResult> run_program(const ChildOptions& options, std::string_view input);

}  // namespace waybill::cli

// One of the project's programs as a child process, seen as a user sees it: words and standard
// input go in, an exit code and what it wrote to stdout and stderr come out.
//
//   Finished list = run({"waybill", "topic", "list"}, {.broker = broker.address()});
//   EXPECT_EQ(list.exit_code, 0) << list;
//
// A program that does not end within kPatience is killed and fails the test. It dies with the test
// process, however that ends. One thread.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace waybill {

using Words = std::vector<std::string>;

struct ProgramOptions {
  std::string broker{};        ///< WAYBILL_BROKER; empty: unset
  std::string input{};         ///< its whole standard input; never a terminal
  bool ordinary_user = false;  ///< requires root: runs as nobody
  Words variables{};           ///< more of its environment, as "NAME=value"
};

struct Finished {
  int exit_code = -1;  ///< 128 + n if signal n ended it
  std::string out;
  std::string err;
};
inline std::ostream& operator<<(std::ostream& stream, const Finished& end) {
  return stream << "exit " << end.exit_code << "\n--- stdout\n"
                << end.out.substr(0, 4096) << "--- stderr\n"
                << end.err;
}

class Program {
 public:
  static constexpr std::chrono::seconds kPatience{60};
  static constexpr unsigned kNobody = 65534;

  /// words[0] is the name of a program of this build.
  explicit Program(Words words, ProgramOptions options = {}) {
    std::filesystem::path path =
        std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" /
        words.front();
    program_ = ::open(path.c_str(), O_RDONLY);
    EXPECT_GE(program_, 0) << path << " is not built";
    int input = memory_file();
    EXPECT_EQ(::write(input, options.input.data(), options.input.size()),
              static_cast<ssize_t>(options.input.size()));
    ::lseek(input, 0, SEEK_SET);
    errors_ = memory_file();
    std::array<int, 2> output{-1, -1};
    EXPECT_EQ(::pipe2(output.data(), O_CLOEXEC), 0);
    start(words, options, input, output[1]);
    output_ = output[0];
    ::close(input);
    ::close(output[1]);
  }
  ~Program() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    close_output();
    ::close(errors_);
    ::close(program_);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }

  /// What it has written to stderr so far.
  [[nodiscard]] std::string errors() const { return content(errors_); }
  /// The next line of its stdout, without the end of line; nothing when it writes no more.
  std::optional<std::string> read_line() {
    std::size_t end = 0;
    while ((end = unread_.find('\n')) == std::string::npos) {
      if (!read_more()) return std::nullopt;
    }
    std::string line = unread_.substr(0, end);
    unread_.erase(0, end + 1);
    return line;
  }
  /// Nobody reads its stdout any more.
  void close_output() {
    if (output_ >= 0) ::close(output_);
    output_ = -1;
  }

  /// Waits for its end. `out` has what read_line() did not return.
  Finished finish() {
    while (output_ >= 0 && read_more()) {
    }
    int process = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
    if (!wait_for(process)) ::kill(pid_, SIGKILL);
    ::close(process);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    Finished end;
    end.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    end.out = std::exchange(unread_, "");
    end.err = content(errors_);
    return end;
  }

 private:
  static int memory_file() { return memfd_create("waybill-test", MFD_CLOEXEC); }
  static std::string content(int file) {
    std::string text(static_cast<std::size_t>(::lseek(file, 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(file, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    return text;
  }

  void start(Words& words, const ProgramOptions& options, int input, int output) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    Words variables{"PATH=/usr/bin:/bin", "TMPDIR=/tmp", "HOME=/nonexistent", "LC_ALL=C"};
    if (!options.broker.empty()) variables.push_back("WAYBILL_BROKER=" + options.broker);
    variables.insert(variables.end(), options.variables.begin(), options.variables.end());
    std::vector<char*> environment;
    for (std::string& variable : variables) environment.push_back(variable.data());
    environment.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(errors_, STDERR_FILENO);
    bool as_wanted = !options.ordinary_user ||
                     (setgroups(0, nullptr) == 0 && setgid(kNobody) == 0 && setuid(kNobody) == 0);
    if (!as_wanted) _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // By descriptor: another user need not be able to walk to the build directory.
    fexecve(program_, argv.data(), environment.data());
    _exit(127);
  }

  bool wait_for(int descriptor) const {
    auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(kPatience);
    pollfd ready{descriptor, POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(patience.count())) == 1) return true;
    ADD_FAILURE() << "the program hangs; it said:\n" << unread_ << "\n" << content(errors_);
    return false;
  }
  bool read_more() {
    std::array<char, 64 * 1024> buffer{};
    if (!wait_for(output_)) return false;
    ssize_t count = ::read(output_, buffer.data(), buffer.size());
    if (count > 0) unread_.append(buffer.data(), static_cast<std::size_t>(count));
    return count > 0;
  }

  int program_ = -1;
  int output_ = -1;
  int errors_ = -1;
  pid_t pid_ = -1;
  std::string unread_;
};

inline Finished run(Words words, ProgramOptions options = {}) {
  return Program(std::move(words), std::move(options)).finish();
}

}  // namespace waybill

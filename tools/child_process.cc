#include "tools/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "tools/stop_signal.h"

extern char** environ;

namespace waybill::cli {
namespace {

constexpr std::size_t kTailSize = 4096;
/// Read of a pipe at a time: all that one holds. A program that never stops writing could otherwise
/// keep us from hearing anything else.
constexpr std::size_t kPipeSize = 64 * 1024;

Error system_error(const char* where) {
  return Error{Errc::kIo, errno, where};
}

struct Pipe {
  Descriptor read;
  Descriptor write;
};

Result<Pipe> open_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_error("pipe for a program");
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

void set_nonblocking(const Descriptor& descriptor) {
  ::fcntl(descriptor.get(), F_SETFL, ::fcntl(descriptor.get(), F_GETFL) | O_NONBLOCK);
}

/// Owns the two C structs that posix_spawn wants.
class SpawnPlan {
 public:
  SpawnPlan() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
    sigset_t all_default;
    sigset_t none;
    ::sigfillset(&all_default);
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all_default);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  void connect(int ours, int theirs) {
    ::posix_spawn_file_actions_adddup2(&actions_, ours, theirs);
  }
  Result<pid_t> run(const std::string& command, const std::vector<std::string>& environment) {
    std::vector<char*> variables;
    for (const std::string& variable : environment) {
      variables.push_back(const_cast<char*>(variable.c_str()));
    }
    for (char** variable = environ; *variable != nullptr; ++variable) {
      variables.push_back(*variable);
    }
    variables.push_back(nullptr);
    const char* arguments[] = {"sh", "-c", command.c_str(), nullptr};
    pid_t process = -1;
    errno = ::posix_spawn(&process, "/bin/sh", &actions_, &attributes_,
                          const_cast<char**>(arguments), variables.data());
    if (errno != 0) return system_error("start of a program");
    return process;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    close();
    number_ = other.release();
  }
  return *this;
}

void Descriptor::close() {
  if (number_ >= 0) ::close(number_);
  number_ = -1;
}

int Descriptor::release() {
  return std::exchange(number_, -1);
}

Result<ChildProcess> ChildProcess::start(const ChildOptions& options) {
  Result<Pipe> input = open_pipe();
  if (!input) return input.error();
  Result<Pipe> errors = open_pipe();
  if (!errors) return errors.error();
  Pipe output;
  SpawnPlan plan;
  plan.connect(input->read.get(), STDIN_FILENO);
  if (options.pipe_output) {
    Result<Pipe> opened = open_pipe();
    if (!opened) return opened.error();
    output = std::move(*opened);
    plan.connect(output.write.get(), STDOUT_FILENO);
    set_nonblocking(output.read);
  } else if (options.output_to_stderr) {
    plan.connect(STDERR_FILENO, STDOUT_FILENO);
  }
  plan.connect(errors->write.get(), STDERR_FILENO);
  Result<pid_t> process = plan.run(options.command, options.environment);
  if (!process) return process.error();
  ChildProcess child(*process);
  child.ended = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, *process, 0)));
  if (!child.ended.is_open()) return system_error("pidfd_open");
  ::fcntl(child.ended.get(), F_SETFD, FD_CLOEXEC);
  set_nonblocking(input->write);
  set_nonblocking(errors->read);
  child.input = std::move(input->write);
  child.output = std::move(output.read);
  child.errors = std::move(errors->read);
  return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : input(std::move(other.input)),
      output(std::move(other.output)),
      errors(std::move(other.errors)),
      ended(std::move(other.ended)),
      process_(std::exchange(other.process_, -1)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(input, other.input);
  std::swap(output, other.output);
  std::swap(errors, other.errors);
  std::swap(ended, other.ended);
  std::swap(process_, other.process_);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (!running()) return;
  signal(SIGKILL);
  (void)wait();
}

ProcessEnd ChildProcess::wait() {
  int status = 0;
  while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
  }
  process_ = -1;
  if (WIFSIGNALED(status)) return {0, WTERMSIG(status)};
  return {WEXITSTATUS(status), 0};
}

void ChildProcess::signal(int number) const {
  if (running()) ::kill(-process_, number);
}

bool OutputTail::read_from(const Descriptor& from,
                           const std::function<void(std::string_view)>& also) {
  char buffer[kTailSize];
  for (std::size_t taken = 0; taken < kPipeSize;) {
    ssize_t count = ::read(from.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count < 0 && errno == EAGAIN;
    std::string_view text(buffer, static_cast<std::size_t>(count));
    taken += text.size();
    add(text);
    if (also) also(text);
  }
  return true;
}

void OutputTail::add(std::string_view data) {
  text_ += data;
  if (text_.size() > kTailSize) text_.erase(0, text_.size() - kTailSize);
}

Result<ProgramResult> run_program(const ChildOptions& options, std::string_view input) {
  Result<ChildProcess> child = ChildProcess::start(options);
  if (!child) return child.error();
  OutputTail tail;
  if (input.empty()) child->input.close();
  while (true) {
    pollfd waits[] = {{child->ended.get(), POLLIN, 0},
                      {child->errors.get(), POLLIN, 0},
                      {child->input.get(), POLLOUT, 0},
                      {StopSignal::descriptor(), POLLIN, 0}};
    // After the first stop signal its descriptor stays readable: look every so often instead.
    bool stopping = StopSignal::requested();
    ::poll(waits, stopping ? 3 : 4, stopping ? 100 : -1);
    if (StopSignal::forced()) child->signal(SIGKILL);
    if (waits[1].revents != 0 && !tail.read_from(child->errors)) child->errors.close();
    if (waits[2].revents != 0) {
      ssize_t count = ::write(child->input.get(), input.data(), input.size());
      if (count > 0) input.remove_prefix(static_cast<std::size_t>(count));
      bool refused = count < 0 && errno != EAGAIN && errno != EINTR;
      if (refused || input.empty()) child->input.close();
    }
    if (waits[0].revents != 0) break;
  }
  ProgramResult result;
  result.end = child->wait();
  if (child->errors.is_open()) (void)tail.read_from(child->errors);
  result.error_output = tail.text();
  return result;
}

}  // namespace waybill::cli

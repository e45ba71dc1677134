#include "tools/worker_process.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "tools/escape.h"
#include "tools/stop_signal.h"
#include "tools/worker_line.h"

namespace waybill::cli {
namespace {

/// A longer answer is no answer: without a bound a worker that prints for ever fills the memory.
constexpr std::size_t kMaxAnswer = 1024 * 1024;
constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::uint32_t kMaxDoublings = 8;
constexpr std::chrono::milliseconds kLongestPause{30'000};
constexpr int kEndTimeoutMs = 2000;

}  // namespace

WorkerProcess::WorkerProcess(std::string command,
                             std::function<void(std::string_view)> on_error_output)
    : command_(std::move(command)), on_error_output_(std::move(on_error_output)) {}

WorkerProcess::~WorkerProcess() {
  if (!child_) return;
  child_->input.close();
  pollfd ended{child_->ended.get(), POLLIN, 0};
  if (!StopSignal::forced()) ::poll(&ended, 1, kEndTimeoutMs);
}

std::chrono::milliseconds WorkerProcess::pause() const {
  if (failures_in_a_row_ == 0) return std::chrono::milliseconds(0);
  std::uint32_t doublings = std::min(failures_in_a_row_ - 1, kMaxDoublings);
  return std::min(kFirstPause * (1 << doublings), kLongestPause);
}

Result<void> WorkerProcess::start() {
  ChildOptions options;
  options.command = command_;
  options.pipe_output = true;
  Result<ChildProcess> child = ChildProcess::start(options);
  if (!child) return child.error();
  child_ = std::move(*child);
  answer_.clear();
  errors_.clear();
  return {};
}

SettleOptions WorkerProcess::handle(const std::string& id, const std::string& line) {
  if (!child_) {
    Result<void> started = start();
    if (!started) return failed("worker_start", to_string(started.error()));
  }
  // What it said after its last answer is about a message that is settled.
  read_errors();
  errors_.clear();
  std::optional<std::string> reply = exchange(line + "\n");
  if (!reply) {
    if (StopSignal::forced()) return SettleOptions{SettleVerb::kRelease, {}, {}};
    bool talked_too_much = answer_.size() > kMaxAnswer;
    pollfd ended{child_->ended.get(), POLLIN, 0};
    bool ends_itself = !talked_too_much && ::poll(&ended, 1, kEndTimeoutMs) == 1;
    if (!ends_itself) child_->signal(SIGKILL);
    ProcessEnd end = child_->wait();
    read_errors();
    std::string_view words = errors_.text();
    while (words.ends_with('\n')) words.remove_suffix(1);
    std::string said = words.empty() ? "" : ": " + std::string(words);
    if (talked_too_much) return failed("worker_answer", "the answer has no end");
    return failed("worker_ended", "the worker ended with " + process_end_text(end) + said);
  }
  Checked<WorkerAnswer> answer = parse_worker_answer(*reply);
  if (!answer || answer->id != id) {
    std::string why = answer ? "it answers another message" : answer.error().text;
    return failed("worker_answer", fmt::format("what the worker said is no answer: {}: {}", why,
                                               shortened(*reply, 200)));
  }
  failures_in_a_row_ = 0;
  return answer->settle;
}

SettleOptions WorkerProcess::failed(const std::string& code, const std::string& detail) {
  // Whatever it says later would be taken for the answer to another message.
  child_.reset();
  ++failures_in_a_row_;
  std::string text = is_utf8(detail) ? detail : escaped_text(detail);
  SettleOptions settle;
  settle.verb = SettleVerb::kRetry;
  settle.failure = bounded(Failure{FailureClass::kFailed, code, std::move(text)});
  return settle;
}

std::optional<std::string> WorkerProcess::exchange(std::string_view line) {
  while (true) {
    std::size_t end = answer_.find('\n');
    if (end != std::string::npos) {
      std::string reply = answer_.substr(0, end);
      answer_.erase(0, end + 1);
      return reply;
    }
    if (answer_.size() > kMaxAnswer) return std::nullopt;
    pollfd waits[] = {{child_->output.get(), POLLIN, 0},
                      {child_->errors.get(), POLLIN, 0},
                      {line.empty() ? -1 : child_->input.get(), POLLOUT, 0},
                      {child_->ended.get(), POLLIN, 0},
                      {StopSignal::descriptor(), POLLIN, 0}};
    bool stopping = StopSignal::requested();
    ::poll(waits, stopping ? 4 : 5, stopping ? 100 : -1);
    if (StopSignal::forced()) return std::nullopt;
    if (waits[1].revents != 0) read_errors();
    if (waits[2].revents != 0) {
      ssize_t count = ::write(child_->input.get(), line.data(), line.size());
      if (count > 0) line.remove_prefix(static_cast<std::size_t>(count));
      // It reads no more; whether it still answers shows in its output or its end.
      if (count < 0 && errno != EAGAIN && errno != EINTR) line = {};
    }
    bool more = waits[0].revents == 0 || read_answer();
    bool over = !more || waits[3].revents != 0;
    if (over && answer_.find('\n') == std::string::npos) return std::nullopt;
  }
}

bool WorkerProcess::read_answer() {
  char buffer[16 * 1024];
  ssize_t count = 0;
  while (answer_.size() <= kMaxAnswer &&
         (count = ::read(child_->output.get(), buffer, sizeof buffer)) > 0) {
    answer_.append(buffer, static_cast<std::size_t>(count));
  }
  return count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR));
}

void WorkerProcess::read_errors() {
  if (!errors_.read_from(child_->errors, on_error_output_)) child_->errors.close();
}

}  // namespace waybill::cli

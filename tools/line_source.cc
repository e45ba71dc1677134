#include "tools/line_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "protocol/base/limits.h"
#include "tools/escape.h"
#include "tools/stop_signal.h"

namespace waybill::cli {
namespace {

/// What is gathered before it is handed on: larger chunks gain nothing, they only wait.
constexpr std::size_t kChunk = 1024 * 1024;
/// A message of the largest size as JSON with every byte escaped.
constexpr std::size_t kMaxLine = 6 * limits::kMaxMessage;

Problem system_problem(std::string_view what) {
  return {fmt::format("{}: {}", what, std::strerror(errno))};
}

}  // namespace

Checked<LineSource> LineSource::open(const std::string& file) {
  int number = file == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                           : ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (number < 0) return system_problem("cannot read " + escaped_line(file));
  return LineSource(Descriptor(number));
}

Checked<std::vector<std::string>> LineSource::next() {
  std::vector<std::string> lines;
  std::size_t gathered = 0;
  while (!at_end_ && gathered < kChunk && !StopSignal::requested()) {
    pollfd waits[] = {{descriptor_.get(), POLLIN, 0}, {StopSignal::descriptor(), POLLIN, 0}};
    int ready = ::poll(waits, 2, lines.empty() ? -1 : 0);
    if (ready == 0) break;
    if (waits[0].revents == 0) continue;
    std::size_t before = rest_.size();
    constexpr std::size_t kRead = 64 * 1024;
    rest_.resize(before + kRead);
    ssize_t count = ::read(descriptor_.get(), rest_.data() + before, kRead);
    rest_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0 && errno != EINTR && errno != EAGAIN) return system_problem("reading the input");
    at_end_ = count == 0;
    std::size_t from = 0;
    std::size_t search = before;
    for (std::size_t end; (end = rest_.find('\n', search)) != std::string::npos; search = from) {
      lines.push_back(rest_.substr(from, end - from));
      from = end + 1;
    }
    rest_.erase(0, from);
    gathered += from;
    if (rest_.size() > kMaxLine) return Problem{"a line is longer than any message can be"};
  }
  if (at_end_ && !rest_.empty()) lines.push_back(std::exchange(rest_, {}));
  return lines;
}

}  // namespace waybill::cli

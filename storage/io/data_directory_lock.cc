#include "storage/io/data_directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <thread>

namespace waybill {
namespace {

/// Between two tries: short against the patience, long against the cost of a call.
constexpr std::chrono::milliseconds kRetry{20};

/// The number in the lock file, or 0.
int holder_of(int fd) {
  std::array<char, 24> text{};
  ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  int pid = 0;
  if (size > 0) std::from_chars(text.data(), text.data() + size, pid);
  return pid;
}

std::string explain(const std::string& directory, int pid) {
  const std::string holder = pid > 0 ? "process " + std::to_string(pid) : "another process";
  return "the data directory " + directory + " is in use by " + holder +
         ": stop it first, or choose another directory. If it is gone already, the kernel is still "
         "finishing its writes: try again.";
}

}  // namespace

Result<DataDirectoryLock> DataDirectoryLock::acquire(const std::string& directory,
                                                     std::string* explanation, Duration patience) {
  const std::string path = directory + "/lock";
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.valid()) return os_error(errno, "open lock file");
  const SystemClock clock;
  const MonotonicTime deadline = clock.monotonic() + patience;
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return os_error(errno, "lock data directory");
    const Duration left = deadline - clock.monotonic();
    if (left <= Duration::zero()) {
      if (explanation != nullptr) *explanation = explain(directory, holder_of(file.get()));
      return Error{Errc::kLocked, EWOULDBLOCK, "lock data directory"};
    }
    std::this_thread::sleep_for(std::min<Duration>(left, kRetry));
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(file.get(), 0) != 0 ||
      ::pwrite(file.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    // Only the message of a later kLocked suffers, and a full disk must not prevent a start (S21).
  }
  return DataDirectoryLock(std::move(file));
}

}  // namespace waybill

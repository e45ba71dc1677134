#include "tools/stop_signal.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <thread>

#include "protocol/base/assert.h"

namespace waybill::cli {
namespace {

std::atomic<int> signals_seen{0};
std::atomic<int> event{-1};

// Only what a signal handler may do: an atomic and a write.
void note_signal(int) {
  int saved = errno;
  StopSignal::request();
  if (StopSignal::count() > 2) ::_exit(130);
  errno = saved;
}

}  // namespace

void StopSignal::install() {
  if (event.load() < 0) event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  WB_ASSERT(event.load() >= 0, "the process may open one more descriptor");
  struct sigaction action = {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

void StopSignal::ignore_broken_pipes() {
  ::signal(SIGPIPE, SIG_IGN);
}

int StopSignal::count() {
  return signals_seen.load();
}

void StopSignal::request() {
  signals_seen.fetch_add(1);
  std::uint64_t one = 1;
  // The counter cannot overflow from signals, and there is nobody to tell here.
  if (::write(event.load(), &one, sizeof one) < 0) return;
}

int StopSignal::descriptor() {
  return event.load();
}

bool StopSignal::wait_for(std::chrono::milliseconds time) {
  if (requested()) return true;
  if (event.load() < 0) {
    std::this_thread::sleep_for(time);
    return requested();
  }
  pollfd wait{event.load(), POLLIN, 0};
  ::poll(&wait, 1, static_cast<int>(time.count()));
  return requested();
}

}  // namespace waybill::cli

// What this machine can do without a broker: its disk as the storage layer uses it, a message to
// the own machine and back, and the loops over memory that no broker can do without.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "protocol/base/checksum.h"
#include "protocol/base/clock.h"
#include "storage/sync_probe.h"
#include "tools/bench.h"

namespace waybill::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kPingSize = 100;
constexpr int kPings = 5000;
/// Larger than the caches that a core has for itself, so that it is memory which is measured.
constexpr std::size_t kBlock = std::size_t{32} * 1024 * 1024;
constexpr int kRounds = 5;

/// A socket that closes itself.
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool ok() const { return fd_ >= 0; }
  void without_delay() const {
    int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  [[nodiscard]] bool send(Bytes bytes) const {
    return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  [[nodiscard]] bool receive(MutableBytes bytes) const {
    return ::recv(fd_, bytes.data(), bytes.size(), MSG_WAITALL) ==
           static_cast<ssize_t>(bytes.size());
  }

 private:
  int fd_;
};

/// One thread sends back what the other sends it, with blocking calls: no event loop is quicker.
Result<std::vector<Clock::duration>> ping_loopback() {
  Error failed{Errc::kIo, errno, "loopback"};
  Socket listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Socket caller(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* any = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  bool connected = listener.ok() && caller.ok() && ::bind(listener.fd(), any, size) == 0 &&
                   ::listen(listener.fd(), 1) == 0 &&
                   ::getsockname(listener.fd(), any, &size) == 0 &&
                   ::connect(caller.fd(), any, size) == 0;
  if (!connected) return failed;
  Socket answerer(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!answerer.ok()) return failed;
  caller.without_delay();
  answerer.without_delay();
  std::thread echo([&answerer] {
    std::array<std::byte, kPingSize> bytes{};
    while (answerer.receive(bytes) && answerer.send(bytes)) {
    }
  });
  std::vector<Clock::duration> times;
  std::array<std::byte, kPingSize> bytes{};
  bool ok = true;
  for (int i = 0; ok && i < kPings; ++i) {
    Clock::time_point begin = Clock::now();
    ok = caller.send(bytes) && caller.receive(bytes);
    times.push_back(Clock::now() - begin);
  }
  ::shutdown(caller.fd(), SHUT_RDWR);
  echo.join();
  if (!ok) return failed;
  std::ranges::sort(times);
  return times;
}

/// Bytes per second of the quickest round.
template <class Function>
double speed_of(Function function) {
  double best = 0;
  for (int i = 0; i < kRounds; ++i) {
    Clock::time_point begin = Clock::now();
    function();
    std::chrono::duration<double> took = Clock::now() - begin;
    best = std::max(best, static_cast<double>(kBlock) / std::max(took.count(), 1e-9));
  }
  return best;
}

void measure_memory(DeviceLimits& limits) {
  ByteVector from(kBlock, std::byte{0x5a});
  ByteVector to(kBlock);
  std::uint64_t kept = 0;
  limits.crc32c_bytes_per_second = speed_of([&] { kept += crc32c(from); });
  limits.xxh3_bytes_per_second = speed_of([&] { kept += xxh3_64(from); });
  limits.copy_bytes_per_second = speed_of([&] {
    from[0] = static_cast<std::byte>(kept);  // so that nothing of this may be left out
    std::memcpy(to.data(), from.data(), kBlock);
    kept += static_cast<std::uint64_t>(to[kBlock - 1]);
  });
}

}  // namespace

std::string file_system_of(const std::string& directory) {
  struct statfs about{};
  if (::statfs(directory.c_str(), &about) != 0) return "unknown";
  switch (static_cast<std::uint64_t>(about.f_type)) {
    case 0xEF53:
      return "ext4";
    case 0x58465342:
      return "xfs";
    case 0x9123683E:
      return "btrfs";
    case 0x01021994:
      return "tmpfs";
    case 0x794C7630:
      return "overlayfs";
    default: {
      std::ostringstream text;
      text << "0x" << std::hex << about.f_type;
      return text.str();
    }
  }
}

const DeviceLimits::Write* DeviceLimits::small_write() const {
  auto found = std::ranges::find_if(
      writes, [](const Write& write) { return write.size == 4096 && write.depth == 1; });
  return found == writes.end() ? nullptr : &*found;
}

Result<DeviceLimits> measure_device(const std::string& directory,
                                    const std::function<void(const std::string&)>& progress) {
  DeviceLimits limits;
  limits.directory = directory;
  limits.file_system = file_system_of(directory);
  Result<ProbeReport> probed = probe_directory(directory, SystemClock(), {}, progress);
  if (!probed) return probed.error();
  limits.engine = probed->engine;
  for (const ProbeResult& result : probed->results) {
    if (!result.chosen) continue;
    limits.writes.push_back(
        {result.write_size, result.depth, result.median, result.p99, result.bytes_per_second});
  }
  progress("measuring loopback and memory");
  Result<std::vector<Clock::duration>> pings = ping_loopback();
  if (!pings) return pings.error();
  limits.loopback_p50 = (*pings)[pings->size() / 2];
  limits.loopback_p99 = (*pings)[pings->size() * 99 / 100];
  measure_memory(limits);
  return limits;
}

std::chrono::duration<double> own_cpu_time() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return std::chrono::duration<double>(seconds(usage.ru_utime) + seconds(usage.ru_stime));
}

std::optional<std::chrono::duration<double>> cpu_time_of(std::uint32_t pid) {
  if (pid == 0) return std::nullopt;
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(in, text)) return std::nullopt;
  // The name in brackets may hold anything; behind it the times are the 12th and 13th field.
  std::istringstream rest(text.substr(std::min(text.rfind(')') + 1, text.size())));
  std::string skipped;
  for (int i = 0; i < 11; ++i) rest >> skipped;
  double user = 0;
  double system = 0;
  if (!(rest >> user >> system)) return std::nullopt;
  return std::chrono::duration<double>((user + system) /
                                       static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

CpuTimes cpu_times(std::uint32_t broker_pid) {
  return {own_cpu_time(), cpu_time_of(broker_pid)};
}

void BenchResult::count_cpu_since(const CpuTimes& before, std::uint32_t broker_pid) {
  CpuTimes now = cpu_times(broker_pid);
  client_cpu = now.client - before.client;
  if (now.broker && before.broker) broker_cpu = *now.broker - *before.broker;
}

}  // namespace waybill::cli

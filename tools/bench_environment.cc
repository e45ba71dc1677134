// Where a load test runs: this machine, and what can be learned here about the broker.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio.hpp>
#include <filesystem>
#include <fstream>

#include "tools/bench.h"
#include "tools/build_info.h"

namespace waybill::cli {
namespace {

namespace fs = std::filesystem;

/// Beside a load's connections: event loops, files, what was open before.
constexpr std::uint64_t kOtherFiles = 64;
/// Of each connection to an outbox: the database, its log and their index, and one in reserve.
constexpr std::uint64_t kFilesOfThread = 4;

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    std::size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

/// What a broker of this machine has open tells where its data lie and how it writes them.
void look_at_files(std::uint32_t pid, BenchEnvironment& found) {
  std::error_code failure;
  fs::directory_iterator open("/proc/" + std::to_string(pid) + "/fd", failure);
  if (failure) return;
  bool ring = false;
  for (const fs::directory_entry& file : open) {
    std::string target = fs::read_symlink(file.path(), failure).string();
    if (target == "anon_inode:[io_uring]") ring = true;
    if (!target.ends_with("/lock")) continue;
    found.broker_file_system = file_system_of(fs::path(target).parent_path().string());
  }
  if (found.broker_file_system) found.broker_engine = ring ? "uring" : "pool";
}

}  // namespace

bool is_on_this_machine(const std::string& endpoint) {
  namespace ip = boost::asio::ip;
  std::size_t colon = endpoint.rfind(':');
  if (colon == std::string::npos) return false;
  std::string host = endpoint.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  boost::asio::io_context io;
  boost::system::error_code failure;
  auto addresses = ip::tcp::resolver(io).resolve(host, endpoint.substr(colon + 1), failure);
  if (failure) return false;
  ip::tcp::socket socket(io);
  boost::asio::connect(socket, addresses, failure);
  if (failure) return false;
  ip::tcp::endpoint there = socket.remote_endpoint(failure);
  if (failure) return false;
  ip::tcp::endpoint here = socket.local_endpoint(failure);
  return there.address().is_loopback() || (!failure && there.address() == here.address());
}

BenchEnvironment look_around(const std::string& endpoint, std::uint32_t broker_pid) {
  utsname system{};
  ::uname(&system);
  BenchEnvironment found;
  found.broker = endpoint;
  found.client_version = kVersion;
  found.cores = static_cast<std::uint64_t>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 1L));
  found.cpu = cpu_model();
  found.memory = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                 static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  found.kernel = system.release;
  found.shares_cores = is_on_this_machine(endpoint);
  if (broker_pid != 0) look_at_files(broker_pid, found);
  return found;
}

std::uint64_t open_files_of(const Bench& bench) {
  if (bench.scenario == BenchScenario::kOutbox) {
    return kOtherFiles + bench.publishers * kFilesOfThread;
  }
  return kOtherFiles + bench.publishers + (consumes(bench.scenario) ? bench.consumers : 0);
}

Checked<void> allow_open_files(std::uint64_t count) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= count) return {};
  limit.rlim_cur = std::min<rlim_t>(count, limit.rlim_max);
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= count) return {};
  return Problem{fmt::format("this load needs {} open files, and this process may have {}", count,
                             limit.rlim_max)};
}

}  // namespace waybill::cli

#include "broker/server/config.h"

#include <arpa/inet.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>

#include "storage/format.h"

namespace waybill {
namespace {

constexpr std::uint16_t kMaxDefaultShards = 8;
constexpr std::uint64_t kLargestDefaultMemory = std::uint64_t{1} << 30;
/// Below, a shard could not have the largest batches of two publishers on their way.
constexpr std::uint64_t kSmallestMemory = std::uint64_t{64} << 20;
/// In a smaller one the largest change would find no room, and its publisher no journal that ever
/// takes it.
constexpr std::size_t kSmallestJournalFile = limits::kMaxJournalFrame + kFileHeaderSize;

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool is_ip_address(const std::string& host) {
  in6_addr any{};
  return inet_pton(AF_INET, host.c_str(), &any) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

/// `danger` says what may happen beyond loopback, and `flag` that it may.
Reply<void> check_reach(const std::string& option, const ListenAddress& address,
                        std::string_view danger, std::string_view flag) {
  if (is_loopback(address.host)) return {};
  std::string text =
      option + " " + to_string(address) + " can be reached from other machines, and ";
  text += danger;
  text += ". Listen on 127.0.0.1 or [::1] (and reach it through a tunnel), or say ";
  text += flag;
  return RequestError(Errc::kInvalidRequest, text + " if the network itself is trusted.");
}

Reply<void> check_listen(const Config& config) {
  if (config.users == nullptr) {
    if (config.allow_unauthenticated) return {};
    return check_reach("--listen", config.listen,
                       "there are no users: whoever connects may read and change everything. "
                       "--users names who may what",
                       "--allow-unauthenticated");
  }
  if (config.allow_cleartext) return {};
  return check_reach("--listen", config.listen,
                     "this version has no encryption: whoever sees the network's packets learns "
                     "the users' tokens and every message",
                     "--allow-cleartext");
}

Reply<void> check_http(const Config& config) {
  if (!config.http || config.allow_unauthenticated) return {};
  return check_reach("--http", *config.http,
                     "HTTP knows no users: whoever connects may read the metrics",
                     "--allow-unauthenticated");
}

/// The first line of a small file, empty if there is none.
std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

std::string to_string(const ListenAddress& address) {
  bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

bool is_loopback(const std::string& host) {
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

Reply<ListenAddress> parse_listen_address(std::string_view text) {
  RequestError bad(Errc::kInvalidRequest,
                   "\"" + std::string(text) +
                       "\" is not an address to listen on; write an IP address and a port, like "
                       "127.0.0.1:7450 or [::1]:7450");
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad;
  std::string_view host = text.substr(0, colon);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if ((host.find(':') != std::string_view::npos) != bracketed) return bad;
  std::optional<std::uint16_t> port = parse_number<std::uint16_t>(text.substr(colon + 1));
  ListenAddress address;
  address.host = host;
  if (!port || !is_ip_address(address.host)) return bad;
  address.port = *port;
  return address;
}

Reply<std::size_t> parse_size(std::string_view text) {
  RequestError bad(Errc::kInvalidRequest, "\"" + std::string(text) +
                                              "\" is not a size; write a number and a unit, like "
                                              "64MiB or 256KiB");
  std::size_t unit_at = std::min(text.find_first_not_of("0123456789"), text.size());
  std::optional<std::size_t> number = parse_number<std::size_t>(text.substr(0, unit_at));
  std::string_view unit = text.substr(unit_at);
  unsigned shift = 0;
  if (unit == "KiB") {
    shift = 10;
  } else if (unit == "MiB") {
    shift = 20;
  } else if (unit == "GiB") {
    shift = 30;
  } else if (!unit.empty()) {
    return bad;
  }
  if (!number || *number > (SIZE_MAX >> shift)) return bad;
  return *number << shift;
}

Reply<DiskChoice> parse_disk_choice(std::string_view text) {
  if (text == "auto") return DiskChoice::kAuto;
  if (text == "uring") return DiskChoice::kUring;
  if (text == "pool") return DiskChoice::kPool;
  return RequestError(Errc::kInvalidRequest,
                      "\"" + std::string(text) + "\" is no disk engine; use auto, uring or pool");
}

Reply<LogLevel> parse_log_level(std::string_view text) {
  if (text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warning") return LogLevel::kWarning;
  if (text == "error") return LogLevel::kError;
  if (text == "off") return LogLevel::kOff;
  return RequestError(
      Errc::kInvalidRequest,
      "\"" + std::string(text) + "\" is no log level; use debug, info, warning, error or off");
}

Reply<void> validate(const Config& config) {
  if (config.data_directory.empty()) {
    return RequestError(Errc::kInvalidRequest, "--data is missing: say where the data shall be");
  }
  Reply<void> reach = check_listen(config);
  if (!reach) return reach;
  reach = check_http(config);
  if (!reach) return reach;
  if (config.shards && (*config.shards < 1 || *config.shards > limits::kMaxShards)) {
    return RequestError(Errc::kInvalidRequest,
                        "--shards is 1 to " + std::to_string(limits::kMaxShards));
  }
  std::size_t size = config.journal_file_size;
  if (size < kSmallestJournalFile || size % limits::kBlock != 0) {
    return RequestError(
        Errc::kInvalidRequest,
        "--journal-file-size is " + std::to_string(size) +
            " bytes: it must be a multiple of 4096 and at least " +
            std::to_string(kSmallestJournalFile) +
            ", so that the largest batch fits into a file; 16MiB suits small disks");
  }
  if (config.memory < kSmallestMemory) {
    return RequestError(Errc::kInvalidRequest,
                        "--memory is at least 64MiB: the largest messages must fit in it");
  }
  return {};
}

std::uint64_t default_memory() {
  std::uint64_t bytes = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                        static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  if (auto limit = parse_number<std::uint64_t>(first_line("/sys/fs/cgroup/memory.max"))) {
    bytes = std::min(bytes, *limit);
  }
  return std::clamp(bytes / 4, kSmallestMemory, kLargestDefaultMemory);
}

std::uint64_t default_min_free(const Config& config, std::uint16_t shards) {
  const std::uint64_t files = std::uint64_t{2} * config.journal_file_size * shards;
  std::error_code failure;
  const std::filesystem::space_info space = std::filesystem::space(config.data_directory, failure);
  return failure ? files : std::min<std::uint64_t>(files, space.capacity / 10);
}

std::optional<std::uint16_t> cpu_quota(std::string_view cpu_max) {
  std::size_t space = cpu_max.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  auto quota = parse_number<std::uint64_t>(cpu_max.substr(0, space));
  auto period = parse_number<std::uint64_t>(cpu_max.substr(space + 1));
  if (!quota || !period || *period == 0) return std::nullopt;
  std::uint64_t cpus = std::clamp<std::uint64_t>((*quota + *period - 1) / *period, 1, UINT16_MAX);
  return static_cast<std::uint16_t>(cpus);
}

std::uint16_t default_shard_count() {
  std::uint16_t count = kMaxDefaultShards;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
    count = std::min(count, static_cast<std::uint16_t>(CPU_COUNT(&allowed)));
  }
  // Inside a container this is the container's own group; elsewhere the root has no such file.
  if (auto quota = cpu_quota(first_line("/sys/fs/cgroup/cpu.max"))) count = std::min(count, *quota);
  return std::max<std::uint16_t>(count, 1);
}

}  // namespace waybill

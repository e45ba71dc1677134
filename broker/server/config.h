// Config: everything an operator can decide about one broker, checked before anything is touched.
// main.cc fills it from the command line; tests fill it by hand.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/base/limits.h"
#include "protocol/model/reply.h"

namespace waybill {

class Users;

/// An address to listen on. Port 0 means "any free one"; Server::port() says which it became.
struct ListenAddress {
  std::string host = "127.0.0.1";  ///< an IP address, not a name
  std::uint16_t port = 0;
  friend bool operator==(const ListenAddress&, const ListenAddress&) = default;
};
std::string to_string(const ListenAddress& address);
/// Of an IP address: only this machine reaches it.
bool is_loopback(const std::string& host);

enum class DiskChoice : std::uint8_t { kAuto, kUring, kPool };
enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError, kOff };

/// A quarter of what this process may use, of the machine's or of its cgroup's memory; at most
/// 1 GiB.
std::uint64_t default_memory();

/// Beyond, whoever waits waits for something slow, and a sleep costs nothing.
inline constexpr std::chrono::microseconds kLongestBusyPoll{10'000};

struct Config {
  std::filesystem::path data_directory;
  ListenAddress listen{"127.0.0.1", 7450};
  std::optional<ListenAddress> http = ListenAddress{"127.0.0.1", 7451};  ///< nothing: off
  /// Only for a new data directory, which keeps it for ever (S24). Nothing: default_shard_count().
  std::optional<std::uint16_t> shards;
  DiskChoice disk = DiskChoice::kAuto;
  std::size_t journal_file_size = limits::kJournalFile;
  /// Free space below which publishers are pushed back (S21). Nothing: default_min_free().
  std::optional<std::uint64_t> min_free;
  /// What caches and messages on their way may take, over all shards.
  std::uint64_t memory = default_memory();
  /// How long a thread polls after its last work before it sleeps; at most kLongestBusyPoll.
  std::chrono::microseconds busy_poll{300};
  std::shared_ptr<const Users> users;  ///< null: everybody may do everything
  bool allow_unauthenticated = false;
  bool allow_cleartext = false;
  LogLevel log_level = LogLevel::kInfo;
  std::filesystem::path ready_file;  ///< empty: none

  // Not on the command line: a test shortens them.
  std::chrono::milliseconds hello_timeout = limits::kHelloTimeout;
  /// How long a clean stop waits for answers and for clients to take them.
  std::chrono::milliseconds drain_timeout{10'000};
  /// How long a start waits for the lock of the data directory (S6).
  std::chrono::milliseconds lock_patience{5'000};
  std::size_t max_connections = limits::kMaxConnections;
};

/// "127.0.0.1:7450", "[::1]:7450".
Reply<ListenAddress> parse_listen_address(std::string_view text);
/// "64MiB", "1GiB", "65536". Powers of 1024.
Reply<std::size_t> parse_size(std::string_view text);
Reply<DiskChoice> parse_disk_choice(std::string_view text);
Reply<LogLevel> parse_log_level(std::string_view text);

/// Refuses what would be unsafe or cannot work, unless it is said so: beyond loopback, clients
/// without users (`allow_unauthenticated`), tokens in clear text (`allow_cleartext`), HTTP, which
/// knows no users (`allow_unauthenticated`); and sizes that the journal cannot have.
Reply<void> validate(const Config& config);

/// Two journal files for each shard: what a shard has to flush for a checkpoint, about. At most a
/// tenth of the data directory's file system.
std::uint64_t default_min_free(const Config& config, std::uint16_t shards);

/// min(CPU quota of the cgroup, CPUs this process may run on, 8), at least 1.
std::uint16_t default_shard_count();
/// The quota in whole CPUs, rounded up, of a cgroup v2 "cpu.max" line; nothing if there is none.
std::optional<std::uint16_t> cpu_quota(std::string_view cpu_max);

}  // namespace waybill

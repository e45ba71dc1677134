// waybilld: the broker as a program. Arguments, signals, exit codes; everything else is Server.
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <future>
#include <iostream>
#include <optional>
#include <thread>

#include "broker/server/build_info.h"
#include "broker/server/config.h"
#include "broker/server/log.h"
#include "broker/server/server.h"
#include "broker/server/users.h"

namespace waybill {
namespace {

constexpr const char* kDescription =
    "waybilld, the Waybill message broker.\n\n"
    "It keeps everything in one data directory, which it creates if needed. It listens on "
    "loopback\n"
    "addresses only, unless told otherwise: this version has no encryption.";

constexpr const char* kFooter =
    "Exit codes:\n"
    "  0  stopped cleanly (SIGTERM or SIGINT; a second signal ends it at once)\n"
    "  1  failed while running, for example because the disk refused a write\n"
    "  2  wrong usage\n"
    "  3  the data directory is damaged, unusable, or of another version\n"
    "  4  another process uses the data directory\n"
    "  5  cannot listen on an address\n\n"
    "HTTP: /livez, /readyz, /metrics (Prometheus), open to whoever reaches the address.\n\n"
    "Users file, read at the start: for each user a line NAME SHA256-OF-TOKEN RIGHT...;\n"
    "# begins a comment; 'waybill token new NAME' makes a token and its line. Rights:\n"
    "publish, consume; view, fix, redrive, discard (dead letters); admin (topics, groups,\n"
    "producers). All but admin may be limited to a topic or group, as publish:orders or\n"
    "fix:billing.*. Names and counts are open to every user.";

struct Arguments {
  std::string data;
  std::string listen = "127.0.0.1:7450";
  std::string http = "127.0.0.1:7451";
  std::optional<std::uint16_t> shards;
  std::string disk = "auto";
  std::string journal_file_size = "64MiB";
  std::optional<std::string> memory;
  std::optional<std::string> min_free;
  std::uint32_t busy_poll = 300;
  std::string users;
  bool allow_unauthenticated = false;
  bool allow_cleartext = false;
  std::string log_level = "info";
  std::string ready_file;
};

void describe(CLI::App& app, Arguments& arguments) {
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_option("--data", arguments.data, "The data directory")->required()->type_name("DIR");
  app.add_option("--listen", arguments.listen, "Where clients connect; port 0 takes a free one")
      ->type_name("IP:PORT")
      ->capture_default_str();
  app.add_option("--http", arguments.http, "Where health and metrics are served, or \"off\"")
      ->type_name("IP:PORT")
      ->capture_default_str();
  app.add_option("--shards", arguments.shards,
                 "Shards of a new data directory, fixed for ever (default: one per CPU, at most 8)")
      ->type_name("N");
  app.add_option("--disk", arguments.disk, "Disk engine: auto, uring or pool")
      ->type_name("ENGINE")
      ->capture_default_str();
  app.add_option("--journal-file-size", arguments.journal_file_size,
                 "Size of a new journal file, more than 8MiB: the largest batch fits into one. "
                 "16MiB suits small disks")
      ->type_name("SIZE")
      ->capture_default_str();
  app.add_option("--memory", arguments.memory,
                 "For caches and messages on their way (default: a quarter of what there is, at "
                 "most 1GiB)")
      ->type_name("SIZE");
  app.add_option(
         "--min-free", arguments.min_free,
         "Free space of the data directory's file system below which publishers are pushed "
         "back; 0: none (default: two journal files for each shard, at most a tenth of the file "
         "system)")
      ->type_name("SIZE");
  app.add_option(
         "--busy-poll", arguments.busy_poll,
         "How long a thread that has just worked looks for more before it sleeps, as long "
         "as no other program wants its CPU: small publishes become durable sooner. 0: never")
      ->type_name("MICROSECONDS")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{kLongestBusyPoll.count()}))
      ->capture_default_str();
  app.add_option("--users", arguments.users,
                 "Who may do what; without it everybody who connects may do everything")
      ->type_name("FILE");
  app.add_flag("--allow-unauthenticated", arguments.allow_unauthenticated,
               "Listen on any address although there are no users, and serve HTTP there");
  app.add_flag("--allow-cleartext", arguments.allow_cleartext,
               "With --users: listen on any address although tokens cross the network readable");
  app.add_option("--log-level", arguments.log_level, "debug, info, warning, error or off")
      ->type_name("LEVEL")
      ->capture_default_str();
  app.add_option("--ready-file", arguments.ready_file,
                 "Once clients are served, write the process id and the ports here, as JSON")
      ->type_name("PATH");
  app.set_version_flag("--version", "waybilld " + std::string(kVersion));
  app.footer(kFooter);
}

template <class T>
T usage(Reply<T> value) {
  if (!value) throw StartError(ExitCode::kUsage, value.error().explanation);
  return std::move(*value);
}

Config to_config(const Arguments& arguments) {
  Config config;
  config.data_directory = arguments.data;
  config.listen = usage(parse_listen_address(arguments.listen));
  config.http.reset();
  if (arguments.http != "off") config.http = usage(parse_listen_address(arguments.http));
  config.shards = arguments.shards;
  config.disk = usage(parse_disk_choice(arguments.disk));
  config.journal_file_size = usage(parse_size(arguments.journal_file_size));
  if (arguments.memory) config.memory = usage(parse_size(*arguments.memory));
  if (arguments.min_free) config.min_free = usage(parse_size(*arguments.min_free));
  config.busy_poll = std::chrono::microseconds(arguments.busy_poll);
  config.allow_unauthenticated = arguments.allow_unauthenticated;
  config.allow_cleartext = arguments.allow_cleartext;
  config.log_level = usage(parse_log_level(arguments.log_level));
  config.ready_file = arguments.ready_file;
  return config;
}

std::shared_ptr<const Users> read_users(const std::string& path) {
  UsersFile file = usage(read_users_file(path));
  if (file.readable_by_others) {
    log_warning("access.users_readable",
                {{"file", path},
                 {"meaning", "everybody on this machine may read the users and their rights"},
                 {"change", "chmod 640"}});
  }
  return std::make_shared<const Users>(std::move(file.users));
}

/// As many open files as the system lets this user have: connections and segments need them.
void raise_open_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

/// Appears complete or not at all, by rename.
void write_ready_file(const Config& config, const Server& server) {
  if (config.ready_file.empty()) return;
  std::filesystem::path partial = config.ready_file;
  partial += ".new";
  std::ofstream file(partial);
  file << "{\"pid\": " << getpid() << ", \"port\": " << server.port()
       << ", \"http_port\": " << server.http_port() << "}\n";
  file.close();
  std::error_code failure;
  if (file) std::filesystem::rename(partial, config.ready_file, failure);
  if (!file || failure) {
    throw StartError(ExitCode::kUsage, "cannot write --ready-file " + config.ready_file.string() +
                                           "; its directory must exist and be writable");
  }
}

/// Waits for signals on a thread of its own, so that one also ends a long recovery.
class SignalWaiter {
 public:
  SignalWaiter() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    // Every thread made from now on inherits this: only wait() sees the signals.
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    std::thread([this] { wait(); }).detach();
  }

  /// From now on the first signal asks for a clean stop.
  void serving() { serving_ = true; }
  /// Blocks until a clean stop was asked for.
  void wait_for_stop() { stop_.get_future().wait(); }

 private:
  void wait() {
    int number = 0;
    sigwait(&signals_, &number);
    if (!serving_.exchange(true)) {
      // Still starting: recovery can be cut off anywhere, as by a crash.
      log_info("broker.stopped", {{"signal", number}, {"while", "starting"}});
      std::_Exit(static_cast<int>(ExitCode::kClean));
    }
    stop_.set_value();
    sigwait(&signals_, &number);
    log_warning("broker.stopped", {{"signal", number}, {"clean", false}});
    std::_Exit(static_cast<int>(ExitCode::kFailed));
  }

  sigset_t signals_{};
  std::atomic<bool> serving_ = false;
  std::promise<void> stop_;
};

ExitCode run(const Arguments& arguments) {
  Config config = to_config(arguments);
  set_log_level(config.log_level);
  if (!arguments.users.empty()) config.users = read_users(arguments.users);
  raise_open_files();
  // Lives until the process ends: its thread does.
  auto* signals = new SignalWaiter;
  Server server(config);
  server.start();
  write_ready_file(config, server);
  signals->serving();
  signals->wait_for_stop();
  return server.stop() ? ExitCode::kClean : ExitCode::kFailed;
}

int main_program(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(kDescription, "waybilld");
  describe(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  try {
    return static_cast<int>(run(arguments));
  } catch (const StartError& error) {
    std::fprintf(stderr, "waybilld: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "waybilld: failed: %s\n", error.what());
    return static_cast<int>(ExitCode::kFailed);
  }
}

}  // namespace
}  // namespace waybill

/// Read by jemalloc when it starts: freed memory goes back to the system also while nothing
/// happens.
extern "C" const char* malloc_conf;  // NOLINT(readability-identifier-naming): its name
const char* malloc_conf = "background_thread:true";

int main(int argc, char** argv) {
  return waybill::main_program(argc, argv);
}

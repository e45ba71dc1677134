// BrokerProcess: the real waybilld as a child process, for tests of whole programs: it listens on
// free ports, keeps its data in a directory of the test, can be killed like by the OOM killer and
// started again on the same data.
//
//   TempDirectory directory;
//   BrokerProcess broker({.data_directory = directory.path()});
//   broker.start();
//   connect("127.0.0.1", broker.port());
//   broker.kill();      // SIGKILL
//   broker.start();     // recovers; new ports
//   EXPECT_EQ(broker.stop(), 0);
//
// start() and stop() fail the test (ADD_FAILURE) with the broker's own log when something is wrong.
// The child dies with the test process, however that ends.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace waybill {

/// A directory of its own under the system's temporary directory, removed at the end.
class TempDirectory {
 public:
  TempDirectory();
  ~TempDirectory();
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class BrokerProcess {
 public:
  struct Options {
    std::filesystem::path data_directory;
    std::vector<std::string> arguments;  ///< more of them: {"--shards", "2"}
    std::filesystem::path program;       ///< empty: bin/waybilld of this build
    bool keep_port = false;              ///< later starts listen where the first one did
    std::chrono::seconds patience{60};   ///< for start and stop
  };

  explicit BrokerProcess(Options options);
  /// Kills it if it still runs.
  ~BrokerProcess();
  BrokerProcess(const BrokerProcess&) = delete;
  BrokerProcess& operator=(const BrokerProcess&) = delete;

  /// Returns true when clients are served; port() and http_port() are then known.
  bool start();
  /// Starts it expecting that it refuses: returns its exit code, -1 if it came up or hung.
  int start_and_fail();
  /// SIGTERM, then waits. The exit code; 128 + n if signal n ended it.
  int stop();
  /// SIGKILL and wait: everything not yet durable is gone.
  void kill();
  /// Any other signal, without waiting.
  void signal(int number);
  /// Waits for the end of the process; the code as for stop(), -1 if it does not end.
  int wait();

  [[nodiscard]] bool running() const { return pid_ > 0; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::uint16_t http_port() const { return http_port_; }
  /// "127.0.0.1:<port>", what clients take.
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  /// Everything it wrote to stderr, over all its runs.
  [[nodiscard]] std::string log() const;

 private:
  bool spawn();
  bool wait_until_ready();

  Options options_;
  TempDirectory own_;  ///< ready file and log
  pid_t pid_ = -1;
  std::uint16_t port_ = 0;
  std::uint16_t http_port_ = 0;
};

}  // namespace waybill

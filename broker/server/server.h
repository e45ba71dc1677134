// Server: a whole broker in one object. It opens the data directory, recovers its shards in
// parallel, one thread each, listens, and stops in the order that loses nothing. waybilld is this
// plus a command line; tests run it inside their own process:
//
//   Config config;
//   config.data_directory = directory.path();
//   config.listen.port = 0;
//   config.http.reset();
//   Server server(config);
//   server.start();
//   connect("127.0.0.1", server.port());
//
// Not thread-safe; start() and stop() block and must not be called from the broker's own threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "broker/server/config.h"
#include "broker/server/start_error.h"

namespace waybill {

class Server {
 public:
  /// Runs on a shard's thread when that shard can no longer promise anything (its journal failed);
  /// it must end the process. Nothing more is acknowledged after it was called.
  using FailureHandler = std::function<void(const std::string& message)>;

  /// The default handler ends the process at once with ExitCode::kFailed.
  explicit Server(Config config, FailureHandler on_failure = {});
  /// Stops.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Returns when clients are served. Throws StartError; the object can then only be destroyed.
  void start();

  /// A clean stop: takes no new work, finishes what was begun (at most Config::drain_timeout),
  /// closes the journals, releases the lock. Leases stay with their clients for when the broker is
  /// back (D5). Returns false if a shard could not be closed cleanly; nothing acknowledged is lost
  /// even then. May be called twice.
  bool stop();

  /// The ports listened on; requires a successful start(). http_port() is 0 if HTTP is off.
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::uint16_t http_port() const;

 private:
  class Running;
  std::unique_ptr<Running> running_;
};

}  // namespace waybill

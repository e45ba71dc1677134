// HttpServer: the broker's small HTTP port, on a thread of its own so that it answers while shards
// recover or work hard.
//
//   GET /livez    200 while the process runs; it never asks a shard, so that a slow disk does not
//                 make a supervisor kill a broker that is busy recovering
//   GET /readyz   200 while clients are served, else 503
//   GET /metrics  Prometheus text
//
// Bounded: kMaxHttpConnections at once, requests of 8 KiB without a body, ten seconds for each.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "storage/io/posix_disk.h"

namespace waybill {

class HttpServer {
 public:
  static constexpr std::size_t kMaxHttpConnections = 64;

  struct Sources {
    std::function<bool()> ready;
    /// Gathers the metrics and calls back, on any thread, once or (if a shard hangs) never.
    std::function<void(std::function<void(std::string)>)> metrics;
  };

  /// Takes over a bound socket and starts to serve. Throws StartError.
  HttpServer(Descriptor socket, Sources sources);
  /// Stops; requests under way are dropped.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

 private:
  class Running;
  std::unique_ptr<Running> running_;
};

}  // namespace waybill

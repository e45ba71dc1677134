// BrokerWatch: whether the broker of a load test is still there. A broker that stands still is
// charged for it and waited for; one that is gone for good would be waited for in vain. So, once
// nothing has come of a load for a while, it is asked by a connection of its own.
//
// Owner: the load's run, on whose waiting thread all of it is called.
#pragma once

#include <chrono>
#include <cstdint>
#include <future>
#include <optional>

#include "client/blocking_client.h"

namespace waybill::cli {

class BrokerWatch {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Gone is a broker that was not reached for `patience`.
  BrokerWatch(ClientOptions reach, std::chrono::milliseconds patience);

  /// To be called again and again; `moved` changes whenever something came of the load.
  void look(std::uint64_t moved);
  /// Since when nothing came from it, once it is gone.
  [[nodiscard]] std::optional<Time> gone() const { return gone_; }

 private:
  ClientOptions reach_;
  std::chrono::milliseconds patience_;
  std::optional<BlockingClient> asking_;
  std::future<bool> reached_;  ///< valid while it is asked
  std::uint64_t moved_ = 0;
  Time since_ = std::chrono::steady_clock::now();
  std::optional<Time> gone_;
};

}  // namespace waybill::cli

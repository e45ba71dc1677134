// Tally: what came of a load, counted by whichever threads a client library has, and written as the
// JSON that `waybill bench --result` writes (the fields that bench/peers/run reads).
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "bench/peers/load.h"
#include "tools/latency_histogram.h"

namespace waybill::peers {

class Tally {
 public:
  /// The warm-up begins now. Called once, after connecting, before anything is counted.
  void start(const Load& load);
  [[nodiscard]] const Window& window() const { return window_; }

  void confirmed(Time due, Time now);
  void refused() { ++all_refused_; }
  /// First deliveries only, when their acknowledgement is handed to the client library.
  void consumed(Time due, Time now);
  void redelivered() { ++all_redelivered_; }
  /// The first failure stands; a load ends soon after it.
  void fail(const std::string& what);

  [[nodiscard]] bool failed() const { return failed_; }
  /// No further publish: the time is up, or something failed.
  [[nodiscard]] bool over(Time now) const { return now >= window_.until || failed_; }
  [[nodiscard]] std::uint64_t all_confirmed() const { return all_confirmed_; }
  [[nodiscard]] std::uint64_t all_consumed() const { return all_consumed_; }

  /// To the load's file, or to stdout if it has none. The program's exit status: 0, or 1 if
  /// something failed, was refused or is missing.
  int report(const Load& load);

 private:
  std::string json(std::uint64_t missing);

  Window window_;
  std::mutex mutex_;  ///< of the histograms, the measured counts and the error
  cli::LatencyHistogram publish_;
  cli::LatencyHistogram end_to_end_;
  std::uint64_t measured_confirmed_ = 0;
  std::uint64_t measured_consumed_ = 0;
  std::string error_;
  std::atomic<bool> failed_{false};
  std::atomic<std::uint64_t> all_confirmed_{0};
  std::atomic<std::uint64_t> all_refused_{0};
  std::atomic<std::uint64_t> all_consumed_{0};
  std::atomic<std::uint64_t> all_redelivered_{0};
};

}  // namespace waybill::peers

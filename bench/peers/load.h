// Load: what a driver is asked to do, read from its command line. The names and meanings are those
// of `waybill bench publish` and `waybill bench e2e`, so that one table of scenarios serves all.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace waybill::peers {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

struct Load {
  bool consumes = false;  ///< e2e: one consumer besides the publishers; otherwise they are alone
  std::string host;
  int port = 0;
  bool stream = false;             ///< RabbitMQ only: the queue is a stream, not a quorum queue
  std::uint32_t size = 100;        ///< of a value, in bytes; at least 8, which say when it was due
  std::uint32_t publishers = 1;    ///< each with a connection of its own
  std::uint32_t in_flight = 1000;  ///< of each publisher, while there is no rate
  double rate = 0;  ///< messages per second of all publishers together; 0: as fast as confirms come
  std::chrono::milliseconds duration{10'000};
  std::chrono::milliseconds warm_up{2'000};  ///< before it; not measured
  std::string result_file;
};

/// Requires no more than: SCENARIO HOST:PORT, then `--name value` pairs. Ends the program with
/// status 2 and a line on stderr if something is wrong.
Load parse_load(int argc, char** argv);

/// A name for queue, stream and group alike; a driver removes what it made when it ends.
inline constexpr const char* kQueue = "bench";

/// What is measured.
struct Window {
  Time begin;  ///< of the warm-up
  Time from;
  Time until;
  [[nodiscard]] bool holds(Time time) const { return time >= from && time < until; }
};

/// A value: when it was due, then bytes that no one can compress.
class Value {
 public:
  explicit Value(std::uint32_t size);
  /// Valid until the next call.
  std::string_view due_at(Time due);

 private:
  std::string bytes_;
};
/// When a value was due, as its first bytes say; Time{} if it is too short.
Time due_of(std::string_view value);

}  // namespace waybill::peers

// OutboxRelay takes the rows of one lane to the broker: each into the log exactly once, the rows of
// a key in the order of their ids, across crashes of application, relay and broker, without a time
// window.
//
//   take lane (epoch + 1) -> open producer, compare both sides -> resend what was in flight
//        ^                                                                  |
//        | lost, or a part was refused                                      v
//        +----------------------- publish <- commit intent <- load rows <- acknowledge
//
// Two short database transactions stand around a publish and none is open during it. One intent is
// in flight at a time. Why it is exact: the pairs (sequence, row) are durable before anything is
// sent, only the holder of the lane's epoch can change them, and the broker appends only what
// follows the last sequence it has (D21, D22).
//
// A broker that does not answer is a state of the lane (back-off), never an attempt of a row. A row
// that the broker refuses is found by halving its part until it stands alone; then `on_refused`
// decides. If database or broker were restored from a backup, the relay says which went back and
// halts the lane (kWentBack).
//
// Thread: run, drain and step belong to one thread; kick and status may come from any.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "client/outbox/outbox_store.h"
#include "client/outbox/publisher.h"
#include "client/outbox/status.h"
#include "protocol/base/random.h"

namespace waybill {

enum class OnRefused : std::uint8_t {
  kHoldKey = 1,   ///< later rows of the key wait, other keys flow; tried again with growing pauses
  kHaltLane = 2,  ///< nothing flows until a person resumes the lane
  kToDead = 3,    ///< the row moves to waybill_outbox_dead, later rows flow
};

/// Something a person may want to know; `what` is a sentence.
struct RelayEvent {
  Errc code;
  std::string what;
};

struct RelayOptions {
  std::int64_t lane = 0;
  /// Unique per running relay; default: host, process and a random number.
  std::string owner;
  /// Per lane: batch / (commit + round trip) is its speed, larger batches are the lever.
  std::size_t batch_rows = 500;
  std::size_t batch_bytes = 1 << 20;
  Codec codec = Codec::kNone;
  OnRefused on_refused = OnRefused::kHoldKey;
  /// After a restore: go on as a new producer. What was in flight may be in the log twice, once.
  bool new_incarnation = false;
  std::chrono::milliseconds poll{20};      ///< how often run() asks the database for changes
  std::chrono::milliseconds sweep{1'000};  ///< how often it looks even without one
  std::chrono::milliseconds lease{15'000};
  std::chrono::milliseconds backoff_base{100};  ///< doubles, with full jitter
  std::chrono::milliseconds backoff_cap{30'000};
  std::function<void(const RelayEvent&)> on_event;  ///< on the relay's thread
};

class OutboxRelay {
 public:
  /// `store` and `publisher` outlive the relay.
  OutboxRelay(OutboxStore& store, Publisher& publisher, RelayOptions options = {});
  OutboxRelay(const OutboxRelay&) = delete;
  OutboxRelay& operator=(const OutboxRelay&) = delete;

  /// Relays until asked to stop; then finishes the batch in flight if the broker answers, and
  /// releases the lane. A halted or paused lane is waited for until somebody resumes it.
  void run(const std::stop_token& stop);

  /// Relays until nothing is left that can be published now (true) or the time is up or the lane is
  /// halted, paused or somebody else's (false), then releases the lane.
  bool drain(std::chrono::milliseconds timeout);

  /// Rows were committed: look now. From any thread, as often as you like.
  void kick();

  [[nodiscard]] RelayStatus status() const;

  /// One step of the machine: at most one transaction and one request. Returns how long nothing
  /// need be done unless something changes; 0: go on.
  std::chrono::milliseconds step();

 private:
  enum class Phase : std::uint8_t { kTakeLane, kOpenProducer, kSend, kLoad };
};

}  // namespace waybill

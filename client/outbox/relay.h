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

#include "client/outbox/batch_plan.h"
#include "client/outbox/lane_check.h"
#include "client/outbox/outbox_publisher.h"
#include "client/outbox/outbox_store.h"
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
  OutboxRelay(OutboxStore& store, OutboxPublisher& publisher, RelayOptions options = {});
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
  using Wait = std::chrono::milliseconds;

  // One per phase.
  Wait take_lane();
  Wait open_producer();
  Wait send();
  Wait load();

  // Parts of open_producer.
  Wait settle_intent(const LaneCheck& check);
  void judge_refused(const IntentPart& part, const RequestError& error, LaneAdvance& change,
                     std::optional<RequestError>& halts);
  Wait forget_deleted(const LaneCheck& check);
  Wait went_back(const std::string& explanation);

  // Parts of send.
  Wait accepted(const PublishReply& reply);
  Wait refused(const PublishReply& reply);
  Wait fenced();

  // Parts of load.
  Wait flush_acknowledged();
  Wait refresh_catalog();
  Wait start_batch(BatchPlan plan);
  Wait rest(LaneMode mode);

  Wait database_failed(const RequestError& error);
  Wait back_off(const RequestError& error);
  Wait halt(Errc code, const std::string& note);
  void lose_lane(const RequestError& error);
  void forget_lane();
  void stop();

  void set_refused(const RefusedRow& row, LaneAdvance& change);
  void apply(const LaneAdvance& change);
  void acknowledge(const IntentPart& part, bool duplicate);
  void grow_part(TopicPartition place);
  void set_state(RelayState state, std::string reason = {});
  void tell(Errc code, std::string what);
  void wait_for_news(Wait wait, const std::stop_token& stop);

  OutboxStore& store_;
  OutboxPublisher& publisher_;
  RelayOptions options_;
  SeededRandom random_;

  // What is known of the lane while its claim holds; forgotten with it.
  Phase phase_ = Phase::kTakeLane;
  Lane lane_;  ///< its positions and intent live on in the next three
  LanePositions positions_;
  Intent in_flight_;
  std::vector<SharedBytes> batches_;      ///< of in_flight_, part by part
  std::vector<IntentPart> acknowledged_;  ///< by the broker, not yet written to the database
  Catalog catalog_;
  bool catalog_fresh_ = false;  ///< asked for since rows were loaded last
  std::chrono::steady_clock::time_point renewed_at_;

  // Survives the claim.
  std::vector<std::pair<IntentPart, RequestError>> refused_;  ///< to be judged after fencing
  std::map<TopicPartition, std::size_t> part_limits_;
  std::uint32_t attempt_ = 0;     ///< of the current back-off
  std::uint32_t suspicions_ = 0;  ///< out_of_sequence answers in a row

  mutable std::mutex mutex_;  ///< for the members below
  std::condition_variable_any news_;
  bool kicked_ = false;
  RelayStatus status_;
};

}  // namespace waybill

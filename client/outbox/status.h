// What an outbox looks like from outside: for `waybill outbox status` and for metrics.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/ids.h"

namespace waybill {

/// What people and the relay wrote into the lane row.
enum class LaneMode : std::uint8_t {
  kRun = 1,
  kPaused = 2,  ///< by a person
  kHalted = 3,  ///< by the relay, which says why; a person resumes
};
/// "run", "paused", "halted": as in the database.
std::string_view name(LaneMode mode);
std::optional<LaneMode> lane_mode_of_name(std::string_view text);

struct LaneStatus {
  std::int64_t lane = 0;
  LaneMode mode = LaneMode::kRun;
  std::string note;
  std::string owner;  ///< empty: nobody
  std::chrono::milliseconds lease_left{0};
  std::uint32_t epoch = 0;
  ProducerId producer;
  std::uint64_t pending = 0;  ///< rows not in the log yet
  std::uint64_t in_flight = 0;
  std::chrono::milliseconds oldest{0};  ///< age of the oldest pending row
};

struct HeldStatus {
  std::int64_t row = 0;
  std::string topic;
  std::optional<std::vector<std::byte>> key;
  std::uint32_t attempts = 0;
  std::string code;
  std::string explanation;
};

struct OutboxStatus {
  std::vector<LaneStatus> lanes;
  std::vector<HeldStatus> held;  ///< the first hundred
  std::uint64_t held_rows = 0;
  std::uint64_t dead_rows = 0;
};

/// What a relay is doing with its lane right now.
enum class RelayState : std::uint8_t {
  kWaitingForLane = 1,  ///< another relay has it
  kConnecting = 2,      ///< opening the producer
  kRunning = 3,
  kIdle = 4,        ///< nothing to publish
  kBackingOff = 5,  ///< the broker or the database does not answer; no row is to blame
  kPaused = 6,
  kHalted = 7,
  kStopped = 8,
};
std::string_view name(RelayState state);

struct RelayStatus {
  RelayState state = RelayState::kStopped;
  std::string reason;  ///< of kBackingOff, kHalted, kWaitingForLane
  std::uint32_t epoch = 0;
  std::uint64_t published = 0;   ///< rows acknowledged by the broker
  std::uint64_t duplicates = 0;  ///< of them, rows it had already
  std::uint64_t batches = 0;
  std::uint64_t held = 0;
  std::uint64_t dead = 0;
};

}  // namespace waybill

#include "client/outbox/status.h"

#include "protocol/base/assert.h"

namespace waybill {

std::string_view name(LaneMode mode) {
  switch (mode) {
    case LaneMode::kRun:
      return "run";
    case LaneMode::kPaused:
      return "paused";
    case LaneMode::kHalted:
      return "halted";
  }
  WB_ASSERT(false, "a lane mode without a name");
}

std::optional<LaneMode> lane_mode_of_name(std::string_view text) {
  for (LaneMode mode : {LaneMode::kRun, LaneMode::kPaused, LaneMode::kHalted}) {
    if (text == name(mode)) return mode;
  }
  return std::nullopt;
}

std::string_view name(RelayState state) {
  switch (state) {
    case RelayState::kWaitingForLane:
      return "waiting_for_lane";
    case RelayState::kConnecting:
      return "connecting";
    case RelayState::kRunning:
      return "running";
    case RelayState::kIdle:
      return "idle";
    case RelayState::kBackingOff:
      return "backing_off";
    case RelayState::kPaused:
      return "paused";
    case RelayState::kHalted:
      return "halted";
    case RelayState::kStopped:
      return "stopped";
  }
  WB_ASSERT(false, "a relay state without a name");
}

}  // namespace waybill

#include "protocol/model/requests.h"

namespace waybill {

std::string_view name(Waiting waiting) {
  switch (waiting) {
    case Waiting::kNothing:
      return "nothing";
    case Waiting::kNoCredit:
      return "no credit";
    case Waiting::kNothingReady:
      return "nothing ready";
    case Waiting::kAllKeysBusy:
      return "all keys busy";
    case Waiting::kWindowFull:
      return "window full";
    case Waiting::kIndexFull:
      return "index full";
    case Waiting::kHeldFull:
      return "held full";
    case Waiting::kBraked:
      return "braked";
    case Waiting::kPaused:
      return "paused";
    case Waiting::kDisk:
      return "disk";
  }
  return "unknown";
}

std::string_view name(DeadLetterState state) {
  switch (state) {
    case DeadLetterState::kDead:
      return "dead";
    case DeadLetterState::kHeld:
      return "held";
    case DeadLetterState::kRedriving:
      return "redriving";
    case DeadLetterState::kRedriven:
      return "redriven";
    case DeadLetterState::kDiscarded:
      return "discarded";
  }
  return "unknown";
}

std::string_view name(DeadLetterReason reason) {
  switch (reason) {
    case DeadLetterReason::kMaxFailures:
      return "max_failures";
    case DeadLetterReason::kInvalid:
      return "invalid";
    case DeadLetterReason::kRequested:
      return "requested";
    case DeadLetterReason::kDeliveryLimit:
      return "delivery_limit";
    case DeadLetterReason::kCrashLoop:
      return "crash_loop";
    case DeadLetterReason::kExpired:
      return "expired";
  }
  return "unknown";
}

}  // namespace waybill

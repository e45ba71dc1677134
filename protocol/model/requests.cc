#include "protocol/model/requests.h"

namespace waybill {

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

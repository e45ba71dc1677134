// A consumer group's policy: how its messages are ordered, retried, leased and given up.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
#include "protocol/base/limits.h"
#include "protocol/model/reply.h"

namespace waybill {

// Numbers of these enums are on the wire and on disk; 0 means "not stated".
enum class Ordering : std::uint8_t { kUnset = 0, kNone = 1, kKey = 2, kPartition = 3 };
enum class OnDeadLetter : std::uint8_t { kSkip = 1, kHold = 2 };
enum class Attempts : std::uint8_t { kExact = 1, kRelaxed = 2 };
enum class BackoffKind : std::uint8_t { kFixed = 1, kIncremental = 2, kExponential = 3 };
enum class Jitter : std::uint8_t { kNone = 1, kFull = 2, kEqual = 3 };
enum class StartKind : std::uint8_t {
  kUnset = 0,
  kEarliest = 1,
  kLatest = 2,
  kOffset = 3,
  kTime = 4
};

/// What a failure of one class does to its message.
enum class FailureAction : std::uint8_t {
  kCharge = 1,  ///< it waits and counts towards max_failures
  kFree = 2,    ///< it waits; counts only once `free_for` has passed since the first of its kind
  kDeadLetter = 3,  ///< a dead letter at once
};
/// What becomes of a message whose expiry time passed before it was delivered.
enum class OnExpiry : std::uint8_t { kDrop = 1, kDeadLetter = 2 };

std::string_view name(Ordering);
std::string_view name(FailureAction);
std::string_view name(OnExpiry);
std::string_view name(OnDeadLetter);
std::string_view name(Attempts);
std::string_view name(BackoffKind);
std::string_view name(Jitter);
std::string_view name(StartKind);

/// Wait after the n-th failure: fixed = base; incremental = base × n; exponential = base ×
/// factor^(n-1); never above cap. Full jitter picks in [0, wait], equal jitter in [wait/2, wait].
struct Backoff {
  BackoffKind kind = BackoffKind::kExponential;
  std::chrono::milliseconds base{1000};
  double factor = 3.0;
  std::chrono::milliseconds cap{300'000};
  Jitter jitter = Jitter::kEqual;
  friend bool operator==(const Backoff&, const Backoff&) = default;
};

/// The wait before the next attempt. `failures` counts from 1; `random` is uniform over all 64
/// bits.
std::chrono::milliseconds backoff_delay(const Backoff& backoff, std::uint32_t failures,
                                        std::uint64_t random);

/// What each class of failure does (DESIGN 6).
struct FailureRules {
  FailureAction transient = FailureAction::kFree;
  FailureAction failed = FailureAction::kCharge;
  FailureAction invalid = FailureAction::kDeadLetter;
  FailureAction timeout = FailureAction::kCharge;
  std::chrono::milliseconds free_for{limits::kTransientFree};  ///< 0 … 30 days
  friend bool operator==(const FailureRules&, const FailureRules&) = default;
};

/// When a group stops delivering because nearly everything fails (D13). Counted are failures of the
/// classes failed, transient and timeout.
struct BrakePolicy {
  bool enabled = true;
  std::uint32_t outcomes = 20;                    ///< the last so many are looked at, 2 … 1000
  std::uint32_t percent = 50;                     ///< of them failed: trips, 1 … 100
  std::uint32_t in_a_row = 10;                    ///< failures of as many messages: trips, 2 … 1000
  std::chrono::milliseconds period{600'000};      ///< older outcomes do not count, 1 s … 24 h
  std::chrono::milliseconds probe_after{10'000};  ///< open for so long, then one probe at a time
  std::uint32_t probes = 3;                       ///< successes in a row that close it, 1 … 100
  friend bool operator==(const BrakePolicy&, const BrakePolicy&) = default;
};

/// The defaults give about eight minutes of attempts before a dead letter (D11). Ordering has no
/// default: whoever creates a group says it.
struct GroupPolicy {
  Ordering ordering = Ordering::kUnset;
  std::uint32_t max_failures = 8;           ///< 1 … 100
  std::chrono::milliseconds lease{30'000};  ///< 1 s … 12 h; tests may go down to 10 ms
  Backoff backoff;
  OnDeadLetter on_dead_letter = OnDeadLetter::kSkip;
  std::uint32_t window = 10'000;  ///< leased messages per partition, 1 … 1 000 000
  Attempts attempts = Attempts::kExact;
  FailureRules failures;
  BrakePolicy brake;
  OnExpiry on_expiry = OnExpiry::kDrop;
  /// With `hold`: messages that wait behind dead letters, per partition; then it stands still
  /// (D12). 1 … 1 000 000
  std::uint32_t max_held = 100'000;
  friend bool operator==(const GroupPolicy&, const GroupPolicy&) = default;
};

/// Where a new group starts in each partition.
struct GroupStart {
  StartKind kind = StartKind::kUnset;
  Offset offset;  ///< kOffset
  WallTime time;  ///< kTime: the first message with this timestamp or a later one
  friend bool operator==(const GroupStart&, const GroupStart&) = default;
};

/// The first value out of range, named with its range, or success.
Reply<void> validate(const GroupPolicy& policy);
Reply<void> validate(const GroupStart& start);

}  // namespace waybill

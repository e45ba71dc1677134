// A consumer group's policy: how its messages are ordered, retried, leased and given up.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
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

std::string_view name(Ordering);
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

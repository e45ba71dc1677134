// Goal: waits follow the policy and never overflow; a policy out of range is named with its range
// (D11).
// Method: each kind by hand, every extreme, and each field spoilt alone.
#include "protocol/model/group_policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace waybill {
namespace {

using std::chrono::milliseconds;

GroupPolicy valid_policy() {
  GroupPolicy policy;
  policy.ordering = Ordering::kKey;
  return policy;
}

std::int64_t delay(Backoff backoff, std::uint32_t failures, std::uint64_t random = 0) {
  return backoff_delay(backoff, failures, random).count();
}

Backoff plain(BackoffKind kind) {
  return {kind, milliseconds(1000), 3.0, milliseconds(300'000), Jitter::kNone};
}

TEST(Backoff, GrowsByItsKind) {
  EXPECT_EQ(delay(plain(BackoffKind::kFixed), 1), 1000);
  EXPECT_EQ(delay(plain(BackoffKind::kFixed), 50), 1000);
  EXPECT_EQ(delay(plain(BackoffKind::kIncremental), 1), 1000);
  EXPECT_EQ(delay(plain(BackoffKind::kIncremental), 5), 5000);
  EXPECT_EQ(delay(plain(BackoffKind::kExponential), 1), 1000);
  EXPECT_EQ(delay(plain(BackoffKind::kExponential), 5), 81'000);
}

TEST(Backoff, NeverExceedsItsCapWhateverTheNumbers) {
  for (std::uint32_t failures : {6u, 7u, 100u, UINT32_MAX}) {
    EXPECT_LE(delay(plain(BackoffKind::kExponential), failures), 300'000);
    EXPECT_LE(delay(plain(BackoffKind::kIncremental), failures), 300'000'000);
  }
  EXPECT_EQ(delay(plain(BackoffKind::kExponential), UINT32_MAX), 300'000);
  Backoff extreme{BackoffKind::kExponential, milliseconds::max(), 1e300, milliseconds::max(),
                  Jitter::kEqual};
  EXPECT_GE(delay(extreme, UINT32_MAX, UINT64_MAX), 0);
  extreme.factor = std::numeric_limits<double>::quiet_NaN();
  EXPECT_GE(delay(extreme, 2, UINT64_MAX), 0);
  extreme.base = milliseconds::min();
  extreme.cap = milliseconds::min();
  EXPECT_EQ(delay(extreme, 2, UINT64_MAX), 0);
}

TEST(Backoff, FailureZeroCountsAsTheFirst) {
  EXPECT_EQ(delay(plain(BackoffKind::kExponential), 0), 1000);
}

TEST(Backoff, JitterStaysInItsRangeAndReachesBothEnds) {
  Backoff full = plain(BackoffKind::kFixed);
  full.jitter = Jitter::kFull;
  Backoff equal = plain(BackoffKind::kFixed);
  equal.jitter = Jitter::kEqual;
  std::int64_t full_min = 1000, full_max = 0, equal_min = 1000, equal_max = 0;
  for (std::uint64_t random = 0; random < 5000; ++random) {
    full_min = std::min(full_min, delay(full, 1, random));
    full_max = std::max(full_max, delay(full, 1, random));
    equal_min = std::min(equal_min, delay(equal, 1, random));
    equal_max = std::max(equal_max, delay(equal, 1, random));
  }
  EXPECT_EQ(full_min, 0);
  EXPECT_EQ(full_max, 1000);
  EXPECT_EQ(equal_min, 500);
  EXPECT_EQ(equal_max, 1000);
}

TEST(Backoff, TheDefaultsGiveAboutEightMinutesOfAttempts) {  // D11
  GroupPolicy policy;
  double least = 0, most = 0;
  for (std::uint32_t failures = 1; failures < policy.max_failures; ++failures) {
    std::int64_t wait = delay({policy.backoff.kind, policy.backoff.base, policy.backoff.factor,
                               policy.backoff.cap, Jitter::kNone},
                              failures);
    least += static_cast<double>(wait) / 2;
    most += static_cast<double>(wait);
  }
  EXPECT_NEAR((least + most) / 2 / 60'000, 8.3, 0.5);
}

TEST(Policy, TheDefaultsAreThoseOfTheRules) {  // D6, D9, D11, D12, D13
  GroupPolicy policy;
  EXPECT_EQ(policy.ordering, Ordering::kUnset) << "whoever creates a group says it (D1)";
  EXPECT_EQ(policy.max_failures, 8u);
  EXPECT_EQ(policy.lease, std::chrono::seconds(30));
  EXPECT_EQ(policy.backoff, (Backoff{BackoffKind::kExponential, std::chrono::seconds(1), 3.0,
                                     std::chrono::minutes(5), Jitter::kEqual}));
  EXPECT_EQ(policy.window, 10'000u);
  EXPECT_EQ(policy.max_held, 100'000u);
  EXPECT_EQ(policy.attempts, Attempts::kExact);
  EXPECT_EQ(policy.failures.transient, FailureAction::kFree);
  EXPECT_EQ(policy.failures.free_for, std::chrono::hours(24));
  EXPECT_EQ(policy.failures.invalid, FailureAction::kDeadLetter);
  EXPECT_TRUE(policy.brake.enabled);
  EXPECT_EQ(policy.brake.percent, 50u);
  EXPECT_EQ(policy.brake.outcomes, 20u);
  EXPECT_EQ(policy.brake.in_a_row, 10u);
  EXPECT_EQ(policy.brake.period, std::chrono::minutes(10));
}

TEST(Policy, TheDefaultsWithAnOrderingAreValid) {
  for (Ordering ordering : {Ordering::kNone, Ordering::kKey, Ordering::kPartition}) {
    GroupPolicy policy = valid_policy();
    policy.ordering = ordering;
    EXPECT_TRUE(validate(policy).ok());
  }
}

template <class Spoil>
std::string refusal(Spoil spoil) {
  GroupPolicy policy = valid_policy();
  spoil(policy);
  Reply<void> valid = validate(policy);
  if (valid) return "valid";
  EXPECT_EQ(valid.error().code, Errc::kInvalidPolicy);
  return valid.error().explanation;
}

TEST(Policy, EachFieldIsNamedWithItsValueAndRange) {
  EXPECT_EQ(refusal([](auto& p) { p.ordering = Ordering::kUnset; }),
            "ordering is not stated; it is one of none, key and partition");
  EXPECT_EQ(refusal([](auto& p) { p.max_failures = 101; }),
            "max_failures is 101, must be 1 to 100");
  EXPECT_EQ(refusal([](auto& p) { p.max_failures = 0; }), "max_failures is 0, must be 1 to 100");
  EXPECT_EQ(refusal([](auto& p) { p.lease = milliseconds(9); }),
            "lease is 9 ms, must be 10 ms to 43200000 ms");
  EXPECT_EQ(refusal([](auto& p) { p.lease = std::chrono::hours(13); }),
            "lease is 46800000 ms, must be 10 ms to 43200000 ms");
  EXPECT_EQ(refusal([](auto& p) { p.backoff.base = milliseconds(0); }),
            "backoff.base is 0 ms, must be 1 ms to 86400000 ms");
  EXPECT_EQ(refusal([](auto& p) { p.backoff.factor = 0.5; }),
            "backoff.factor is 0.500000, must be 1 to 100");
  EXPECT_EQ(refusal([](auto& p) { p.backoff.factor = std::nan(""); }),
            "backoff.factor is nan, must be 1 to 100");
  EXPECT_EQ(refusal([](auto& p) { p.backoff.cap = milliseconds(999); }),
            "backoff.cap is 999 ms, must be 1000 ms to 86400000 ms");
  EXPECT_EQ(refusal([](auto& p) { p.window = 1'000'001; }),
            "window is 1000001, must be 1 to 1000000");
  EXPECT_EQ(refusal([](auto& p) { p.attempts = Attempts{0}; }),
            "attempts is not stated; it is one of exact and relaxed");
}

TEST(Policy, TheRulesOfFailuresAreStatedAndFreeForAtMost30Days) {
  EXPECT_EQ(refusal([](auto& p) { p.failures.transient = FailureAction{0}; }),
            "failures.transient is not stated; it is one of charge, free and dead_letter");
  EXPECT_EQ(refusal([](auto& p) { p.failures.timeout = FailureAction{4}; }),
            "failures.timeout is not stated; it is one of charge, free and dead_letter");
  EXPECT_EQ(refusal([](auto& p) { p.failures.free_for = std::chrono::hours(721); }),
            "failures.free_for is 2595600000 ms, must be 0 ms to 2592000000 ms");
  EXPECT_EQ(refusal([](auto& p) { p.failures.free_for = milliseconds(0); }), "valid");
}

TEST(Policy, TheBrakeHasItsRanges) {  // D13
  EXPECT_EQ(refusal([](auto& p) { p.brake.outcomes = 1; }),
            "brake.outcomes is 1, must be 2 to 1000");
  EXPECT_EQ(refusal([](auto& p) { p.brake.percent = 101; }),
            "brake.percent is 101, must be 1 to 100");
  EXPECT_EQ(refusal([](auto& p) { p.brake.in_a_row = 1001; }),
            "brake.in_a_row is 1001, must be 2 to 1000");
  EXPECT_EQ(refusal([](auto& p) { p.brake.period = milliseconds(999); }),
            "brake.period is 999 ms, must be 1000 ms to 86400000 ms");
  EXPECT_EQ(refusal([](auto& p) { p.brake.probe_after = milliseconds(9); }),
            "brake.probe_after is 9 ms, must be 10 ms to 86400000 ms");
  EXPECT_EQ(refusal([](auto& p) { p.brake.probes = 0; }), "brake.probes is 0, must be 1 to 100");
}

TEST(Policy, ExpiryAndHeldHaveTheirRanges) {  // D12
  EXPECT_EQ(refusal([](auto& p) { p.on_expiry = OnExpiry{0}; }),
            "on_expiry is not stated; it is one of drop and dead_letter");
  EXPECT_EQ(refusal([](auto& p) { p.max_held = 0; }), "max_held is 0, must be 1 to 1000000");
  EXPECT_EQ(refusal([](auto& p) { p.max_held = 1'000'001; }),
            "max_held is 1000001, must be 1 to 1000000");
}

TEST(Policy, HoldNeedsAnOrder) {
  EXPECT_EQ(refusal([](auto& p) {
              p.ordering = Ordering::kNone;
              p.on_dead_letter = OnDeadLetter::kHold;
            }),
            "on_dead_letter is hold, which needs ordering key or partition");
  EXPECT_EQ(refusal([](auto& p) { p.on_dead_letter = OnDeadLetter::kHold; }), "valid");
}

TEST(Start, IsStated) {  // D1
  EXPECT_FALSE(validate(GroupStart{}).ok());
  EXPECT_TRUE(validate(GroupStart{StartKind::kLatest, {}, {}}).ok());
  EXPECT_TRUE(validate(GroupStart{StartKind::kTime, {}, {-5}}).ok());
  EXPECT_FALSE(validate(GroupStart{StartKind::kOffset, {-1}, {}}).ok());
}

}  // namespace
}  // namespace waybill

#include "protocol/model/group_policy.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "protocol/base/limits.h"

namespace waybill {
namespace {

using std::chrono::milliseconds;

// Ranges of a policy. PROTOCOL.md repeats them for those who write clients.
constexpr std::uint32_t kMaxMaxFailures = limits::kMaxDeliveries;
constexpr milliseconds kMinLease{10};
constexpr milliseconds kMaxLease = std::chrono::hours(12);
/// Not 0: failures that charge nothing would spin.
constexpr milliseconds kMinBackoff{1};
constexpr milliseconds kMaxBackoff = std::chrono::hours(24);
constexpr double kMinFactor = 1;
constexpr double kMaxFactor = 100;
constexpr std::uint32_t kMaxWindow = 1'000'000;
constexpr std::uint32_t kMaxHeld = 1'000'000;
constexpr milliseconds kMaxFreeFor = std::chrono::hours(30 * 24);
constexpr std::uint32_t kMaxBrakeOutcomes = 1000;
constexpr milliseconds kMaxBrakePeriod = std::chrono::hours(24);
constexpr std::uint32_t kMaxBrakeProbes = 100;

std::string text_of(milliseconds value) {
  return std::to_string(value.count()) + " ms";
}

RequestError invalid(const std::string& field, const std::string& value, const std::string& range) {
  return {Errc::kInvalidPolicy, field + " is " + value + ", must be " + range};
}

Reply<void> check_number(const std::string& field, std::int64_t value, std::int64_t min,
                         std::int64_t max) {
  if (value >= min && value <= max) return {};
  return invalid(field, std::to_string(value), std::to_string(min) + " to " + std::to_string(max));
}

Reply<void> check_duration(const std::string& field, milliseconds value, milliseconds min,
                           milliseconds max) {
  if (value >= min && value <= max) return {};
  return invalid(field, text_of(value), text_of(min) + " to " + text_of(max));
}

template <class Enum>
Reply<void> check_stated(const std::string& field, Enum value, const std::string& choices) {
  if (name(value) != "unknown") return {};
  return RequestError(Errc::kInvalidPolicy, field + " is not stated; it is one of " + choices);
}

Reply<void> validate(const Backoff& backoff) {
  Reply<void> kind =
      check_stated("backoff.kind", backoff.kind, "fixed, incremental and exponential");
  if (!kind) return kind;
  Reply<void> base = check_duration("backoff.base", backoff.base, kMinBackoff, kMaxBackoff);
  if (!base) return base;
  if (!(backoff.factor >= kMinFactor && backoff.factor <= kMaxFactor)) {
    return invalid("backoff.factor", std::to_string(backoff.factor), "1 to 100");
  }
  Reply<void> cap = check_duration("backoff.cap", backoff.cap, backoff.base, kMaxBackoff);
  if (!cap) return cap;
  return check_stated("backoff.jitter", backoff.jitter, "none, full and equal");
}

Reply<void> validate(const FailureRules& rules) {
  for (auto [field, action] :
       {std::pair("failures.transient", rules.transient),
        std::pair("failures.failed", rules.failed), std::pair("failures.invalid", rules.invalid),
        std::pair("failures.timeout", rules.timeout)}) {
    Reply<void> stated = check_stated(field, action, "charge, free and dead_letter");
    if (!stated) return stated;
  }
  return check_duration("failures.free_for", rules.free_for, milliseconds(0), kMaxFreeFor);
}

Reply<void> validate(const BrakePolicy& brake) {
  Reply<void> outcomes = check_number("brake.outcomes", brake.outcomes, 2, kMaxBrakeOutcomes);
  if (!outcomes) return outcomes;
  Reply<void> percent = check_number("brake.percent", brake.percent, 1, 100);
  if (!percent) return percent;
  Reply<void> in_a_row = check_number("brake.in_a_row", brake.in_a_row, 2, kMaxBrakeOutcomes);
  if (!in_a_row) return in_a_row;
  Reply<void> period =
      check_duration("brake.period", brake.period, std::chrono::seconds(1), kMaxBrakePeriod);
  if (!period) return period;
  Reply<void> probe_after =
      check_duration("brake.probe_after", brake.probe_after, milliseconds(10), kMaxBrakePeriod);
  if (!probe_after) return probe_after;
  return check_number("brake.probes", brake.probes, 1, kMaxBrakeProbes);
}

/// The wait before jitter. Doubles lose nothing that matters: a result of 2^53 ms is above any cap.
milliseconds plain_delay(const Backoff& backoff, std::uint32_t failures) {
  double n = std::max<std::uint32_t>(failures, 1);
  double wait = static_cast<double>(backoff.base.count());
  if (backoff.kind == BackoffKind::kIncremental) wait *= n;
  if (backoff.kind == BackoffKind::kExponential) wait *= std::pow(backoff.factor, n - 1);
  // Not "wait > cap", so that infinity and not-a-number end at the cap too.
  if (!(wait < static_cast<double>(backoff.cap.count()))) return backoff.cap;
  return milliseconds(static_cast<std::int64_t>(wait));
}

/// Uniform in [0, max], as far as 64 random bits go.
std::int64_t scale(std::uint64_t random, std::int64_t max) {
  return static_cast<std::int64_t>(random % (static_cast<std::uint64_t>(max) + 1));
}

}  // namespace

std::string_view name(Ordering ordering) {
  switch (ordering) {
    case Ordering::kNone:
      return "none";
    case Ordering::kKey:
      return "key";
    case Ordering::kPartition:
      return "partition";
    case Ordering::kUnset:
      break;
  }
  return "unknown";
}

std::string_view name(FailureAction action) {
  switch (action) {
    case FailureAction::kCharge:
      return "charge";
    case FailureAction::kFree:
      return "free";
    case FailureAction::kDeadLetter:
      return "dead_letter";
  }
  return "unknown";
}

std::string_view name(OnExpiry on_expiry) {
  switch (on_expiry) {
    case OnExpiry::kDrop:
      return "drop";
    case OnExpiry::kDeadLetter:
      return "dead_letter";
  }
  return "unknown";
}

std::string_view name(OnDeadLetter on_dead_letter) {
  switch (on_dead_letter) {
    case OnDeadLetter::kSkip:
      return "skip";
    case OnDeadLetter::kHold:
      return "hold";
  }
  return "unknown";
}

std::string_view name(Attempts attempts) {
  switch (attempts) {
    case Attempts::kExact:
      return "exact";
    case Attempts::kRelaxed:
      return "relaxed";
  }
  return "unknown";
}

std::string_view name(BackoffKind kind) {
  switch (kind) {
    case BackoffKind::kFixed:
      return "fixed";
    case BackoffKind::kIncremental:
      return "incremental";
    case BackoffKind::kExponential:
      return "exponential";
  }
  return "unknown";
}

std::string_view name(Jitter jitter) {
  switch (jitter) {
    case Jitter::kNone:
      return "none";
    case Jitter::kFull:
      return "full";
    case Jitter::kEqual:
      return "equal";
  }
  return "unknown";
}

std::string_view name(StartKind kind) {
  switch (kind) {
    case StartKind::kEarliest:
      return "earliest";
    case StartKind::kLatest:
      return "latest";
    case StartKind::kOffset:
      return "offset";
    case StartKind::kTime:
      return "time";
    case StartKind::kUnset:
      break;
  }
  return "unknown";
}

milliseconds backoff_delay(const Backoff& backoff, std::uint32_t failures, std::uint64_t random) {
  std::int64_t wait = std::max<std::int64_t>(plain_delay(backoff, failures).count(), 0);
  switch (backoff.jitter) {
    case Jitter::kFull:
      return milliseconds(scale(random, wait));
    case Jitter::kEqual:
      return milliseconds(wait / 2 + scale(random, wait - wait / 2));
    case Jitter::kNone:
      break;
  }
  return milliseconds(wait);
}

Reply<void> validate(const GroupPolicy& policy) {
  Reply<void> ordering = check_stated("ordering", policy.ordering, "none, key and partition");
  if (!ordering) return ordering;
  Reply<void> failures = check_number("max_failures", policy.max_failures, 1, kMaxMaxFailures);
  if (!failures) return failures;
  Reply<void> lease = check_duration("lease", policy.lease, kMinLease, kMaxLease);
  if (!lease) return lease;
  Reply<void> backoff = validate(policy.backoff);
  if (!backoff) return backoff;
  Reply<void> on_dead_letter =
      check_stated("on_dead_letter", policy.on_dead_letter, "skip and hold");
  if (!on_dead_letter) return on_dead_letter;
  if (policy.on_dead_letter == OnDeadLetter::kHold && policy.ordering == Ordering::kNone) {
    return RequestError(Errc::kInvalidPolicy,
                        "on_dead_letter is hold, which needs ordering key or partition");
  }
  Reply<void> window = check_number("window", policy.window, 1, kMaxWindow);
  if (!window) return window;
  Reply<void> attempts = check_stated("attempts", policy.attempts, "exact and relaxed");
  if (!attempts) return attempts;
  Reply<void> rules = validate(policy.failures);
  if (!rules) return rules;
  Reply<void> brake = validate(policy.brake);
  if (!brake) return brake;
  Reply<void> on_expiry = check_stated("on_expiry", policy.on_expiry, "drop and dead_letter");
  if (!on_expiry) return on_expiry;
  return check_number("max_held", policy.max_held, 1, kMaxHeld);
}

Reply<void> validate(const GroupStart& start) {
  Reply<void> kind = check_stated("start", start.kind, "earliest, latest, offset and time");
  if (!kind) return kind;
  if (start.kind == StartKind::kOffset && start.offset.value < 0) {
    return invalid("start.offset", std::to_string(start.offset.value), "0 or more");
  }
  return {};
}

}  // namespace waybill

#include "broker/core/brake_judge.h"

#include <algorithm>

#include "protocol/base/mutant.h"

namespace waybill {
namespace {

constexpr std::string_view kProbeFailed = "; then a probe failed";

}  // namespace

void BrakeJudge::outcome(const BrakePolicy& policy, const DeliveryOutcome& outcome,
                         const Clock& clock) {
  // What a redrive brings back has failed before: it says nothing about now (D13).
  if (outcome.redriven || brake_.mode != BrakeMode::kAutomatic || !policy.enabled) return;
  if (brake_.state == BrakeState::kProbing) return probed(policy, outcome.failed, clock);
  // Open: a lease of before. Its failure is no news, its success no proof.
  if (brake_.state == BrakeState::kOpen) return;
  MonotonicTime now = clock.monotonic();
  ended_.push_back({now, outcome.failed});
  if (outcome.failed) {
    ++failed_;
    failing_[{outcome.partition, outcome.offset}] = now;
  } else {
    failing_.clear();
  }
  while (ended_.size() > policy.outcomes) forget_oldest();
  MonotonicTime begin = now + -Duration(policy.period);
  while (ended_.front().at < begin) forget_oldest();
  std::erase_if(failing_, [begin](const auto& message) { return message.second < begin; });
  if (auto cause = trip(policy)) open(policy, std::move(*cause), clock);
}

void BrakeJudge::forget_oldest() {
  if (ended_.front().failed) --failed_;
  ended_.pop_front();
}

std::optional<std::string> BrakeJudge::trip(const BrakePolicy& policy) const {
  if (mutant("brake_never_trips")) return std::nullopt;
  if (failing_.size() >= policy.in_a_row) {
    return std::to_string(failing_.size()) + " messages in a row failed";
  }
  if (ended_.size() < policy.outcomes) return std::nullopt;
  if (failed_ * 100 < policy.percent * ended_.size()) return std::nullopt;
  return std::to_string(failed_) + " of the last " + std::to_string(ended_.size()) +
         " deliveries failed";
}

void BrakeJudge::probed(const BrakePolicy& policy, bool failed, const Clock& clock) {
  if (failed) {
    std::string cause = brake_.cause;
    if (!cause.ends_with(kProbeFailed)) cause += kProbeFailed;
    return open(policy, std::move(cause), clock);
  }
  if (++succeeded_ < policy.probes) return;
  enter(BrakeState::kClosed,
        policy.probes == 1 ? "a probe succeeded"
                           : std::to_string(policy.probes) + " probes in a row succeeded",
        clock);
}

void BrakeJudge::open(const BrakePolicy& policy, std::string cause, const Clock& clock) {
  // Doubled from one failed probe to the next; enter(kClosed) begins anew.
  wait_ = wait_.count() == 0
              ? policy.probe_after
              : std::clamp(wait_ * 2, policy.probe_after, std::max(policy.probe_after, kMaxWait));
  enter(BrakeState::kOpen, std::move(cause), clock);
  probe_at_ = clock.monotonic() + wait_;
}

void BrakeJudge::enter(BrakeState state, std::string cause, const Clock& clock) {
  brake_ = {state, brake_.mode, clock.wall(), std::move(cause)};
  ended_.clear();
  failed_ = 0;
  failing_.clear();
  succeeded_ = 0;
  probe_at_ = {};
  if (state == BrakeState::kClosed) wait_ = {};
}

void BrakeJudge::tick(const BrakePolicy& policy, const Clock& clock) {
  if (brake_.mode != BrakeMode::kAutomatic) return;
  if (!policy.enabled && brake_.state != BrakeState::kClosed) {
    enter(BrakeState::kClosed, "the group's policy has no brake any more", clock);
  }
  if (brake_.state == BrakeState::kOpen && probe_at_ <= clock.monotonic()) {
    enter(BrakeState::kProbing, brake_.cause, clock);
  }
}

std::optional<MonotonicTime> BrakeJudge::deadline() const {
  bool waits = brake_.mode == BrakeMode::kAutomatic && brake_.state == BrakeState::kOpen;
  return waits ? std::optional(probe_at_) : std::nullopt;
}

void BrakeJudge::set_mode(BrakeMode mode, const Clock& clock) {
  if (mode == brake_.mode) return;
  BrakeState before = brake_.state;
  brake_.mode = mode;
  switch (mode) {
    case BrakeMode::kForcedOpen:
      return enter(BrakeState::kOpen, "forced open by an operator", clock);
    case BrakeMode::kForcedClosed:
      return enter(BrakeState::kClosed, "forced closed by an operator", clock);
    case BrakeMode::kAutomatic:
      return enter(before == BrakeState::kClosed ? BrakeState::kClosed : BrakeState::kProbing,
                   "automatic again", clock);
  }
}

}  // namespace waybill

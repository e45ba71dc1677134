#include "broker/core/dead_letters.h"
#include "protocol/base/mutant.h"

#include <algorithm>

namespace waybill {
namespace {

Error misfit(const char* where) {
  return {Errc::kBadFormat, 0, where};
}

}  // namespace

const DeadLetter* DeadLetters::find(std::uint64_t number) const {
  auto found = letters_.find(number);
  return found == letters_.end() ? nullptr : &found->second;
}

const Failure* DeadLetters::example(std::uint64_t fingerprint) const {
  auto found = examples_.find(fingerprint);
  return found == examples_.end() ? nullptr : &found->second;
}

DeadLetter* DeadLetters::find_in(std::uint64_t number, DeadLetterState state) {
  auto found = letters_.find(number);
  return found != letters_.end() && found->second.state == state ? &found->second : nullptr;
}

Result<void> DeadLetters::apply(std::uint64_t number, const DiedOp& op) {
  DeadLetter* letter = nullptr;
  if (number == next_number_) {
    letter = &letters_[number];
    letter->offset = op.offset;
    ++next_number_;
  } else {
    letter = find_in(number, DeadLetterState::kRedriving);
    if (letter == nullptr || letter->offset != op.offset) return misfit("death of a dead letter");
  }
  letter->state = DeadLetterState::kDead;
  letter->reason = op.reason;
  letter->fingerprint = op.fingerprint;
  letter->failures += op.failures;
  letter->deliveries += op.deliveries;
  letter->died_at = op.at;
  letter->records.push_back(op.record);
  examples_.try_emplace(op.fingerprint, op.failure);
  ++dead_count_;
  return {};
}

Result<void> DeadLetters::apply(std::uint64_t number, const FixedOp& op) {
  DeadLetter* letter = find_in(number, DeadLetterState::kDead);
  if (letter == nullptr) return misfit("fix of a dead letter");
  letter->records.push_back(op.record);
  return {};
}

Result<void> DeadLetters::apply(std::uint64_t number, const RedrivenOp&) {
  DeadLetter* letter = find_in(number, DeadLetterState::kDead);
  if (letter == nullptr) return misfit("redrive of a dead letter");
  letter->state = DeadLetterState::kRedriving;
  if (!mutant("redrives_are_not_counted")) ++letter->redrives;
  --dead_count_;
  return {};
}

Result<void> DeadLetters::apply(std::uint64_t number, const DiscardedOp&) {
  DeadLetter* letter = find_in(number, DeadLetterState::kDead);
  if (letter == nullptr) return misfit("discard of a dead letter");
  letter->state = DeadLetterState::kDiscarded;
  --dead_count_;
  ++discarded_count_;
  return {};
}

Result<void> DeadLetters::acknowledged(std::uint64_t number) {
  DeadLetter* letter = find_in(number, DeadLetterState::kRedriving);
  if (letter == nullptr) return misfit("acknowledgement of a redriven dead letter");
  letter->state = DeadLetterState::kRedriven;
  return {};
}

}  // namespace waybill

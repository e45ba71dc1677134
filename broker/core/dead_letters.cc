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

void DeadLetters::set_state(DeadLetter& letter, DeadLetterState state) {
  if (letter.state == DeadLetterState::kDead) --dead_count_;
  if (letter.holds()) holding_.erase(letter.offset);
  if (letter.state == DeadLetterState::kDiscarded && !letter.past) --discarded_count_;
  letter.state = state;
  if (letter.state == DeadLetterState::kDead) ++dead_count_;
  if (letter.holds()) holding_.insert(letter.offset);
  if (letter.state == DeadLetterState::kDiscarded && !letter.past) ++discarded_count_;
}

std::vector<Offset> DeadLetters::open_offsets() const {
  std::vector<Offset> offsets;
  for (const auto& [number, letter] : letters_) {
    if (letter.state == DeadLetterState::kDead) offsets.push_back(letter.offset);
  }
  std::ranges::sort(offsets);
  return offsets;
}

std::vector<Offset> DeadLetters::discarded_offsets() const {
  std::vector<Offset> offsets;
  for (const auto& [number, letter] : letters_) {
    if (letter.state == DeadLetterState::kDiscarded && !letter.past) {
      offsets.push_back(letter.offset);
    }
  }
  std::ranges::sort(offsets);
  return offsets;
}

Result<void> DeadLetters::apply(std::uint64_t number, const DiedOp& op) {
  DeadLetter* letter = nullptr;
  if (number == next_number_) {
    letter = &letters_[number];
    letter->state = DeadLetterState::kRedriving;  // not counted yet
    letter->offset = op.offset;
    ++next_number_;
  } else {
    letter = find_in(number, DeadLetterState::kRedriving);
    if (letter == nullptr || letter->offset != op.offset) return misfit("death of a dead letter");
  }
  letter->reason = op.reason;
  set_state(*letter, DeadLetterState::kDead);
  letter->key = op.key;
  letter->fingerprint = op.fingerprint;
  letter->failures += op.failures;
  letter->deliveries += op.deliveries;
  letter->died_at = op.at;
  letter->records.push_back(op.record);
  Failure& example = examples_.try_emplace(op.fingerprint, op.failure).first->second;
  if (example.detail.empty()) example = op.failure;
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
  set_state(*letter, DeadLetterState::kRedriving);
  if (!mutant("redrives_are_not_counted")) ++letter->redrives;
  return {};
}

Result<void> DeadLetters::apply(std::uint64_t number, const DiscardedOp&) {
  DeadLetter* letter = find_in(number, DeadLetterState::kDead);
  if (letter == nullptr) return misfit("discard of a dead letter");
  set_state(*letter, DeadLetterState::kDiscarded);
  return {};
}

Result<void> DeadLetters::apply(std::uint64_t number, const ErasedOp&) {
  auto found = letters_.find(number);
  if (found == letters_.end() || !found->second.can_be_erased()) {
    return misfit("erasing of a dead letter");
  }
  DeadLetter& letter = found->second;
  if (letter.state == DeadLetterState::kDead) set_state(letter, DeadLetterState::kDiscarded);
  letter.key = 0;
  set_erased(letter);
  // It may be from this one's consumers: nobody knows whose it was.
  auto example = examples_.find(letter.fingerprint);
  if (example != examples_.end()) example->second.detail.clear();
  return {};
}

void DeadLetters::set_erased(DeadLetter& letter) {
  letter.erased = true;
  for (const Offset record : letter.records) {
    if (!erased_records_.contains(record)) erased_records_.add({record, record});
  }
}

Result<void> DeadLetters::acknowledged(std::uint64_t number) {
  DeadLetter* letter = find_in(number, DeadLetterState::kRedriving);
  if (letter == nullptr) return misfit("acknowledgement of a redriven dead letter");
  set_state(*letter, DeadLetterState::kRedriven);
  return {};
}

void DeadLetters::forget(DeadLetter& letter) {
  if (letter.state != DeadLetterState::kDiscarded || letter.past) return;
  --discarded_count_;
  letter.past = true;
}

void DeadLetters::reset(Offset to, bool include_dead) {
  for (auto& [number, letter] : letters_) {
    if (letter.state == DeadLetterState::kRedriving) {
      --letter.redrives;  // it did not come to it
      set_state(letter, DeadLetterState::kDead);
    }
    if (letter.offset < to) continue;
    if (include_dead && letter.state == DeadLetterState::kDead) {
      set_state(letter, DeadLetterState::kDiscarded);
    }
    forget(letter);
  }
}

void DeadLetters::begin_at(Offset start) {
  for (auto& [number, letter] : letters_) {
    if (letter.offset < start) forget(letter);
  }
}

}  // namespace waybill

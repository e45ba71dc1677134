// DeadLetters: the dead letters of one group on one partition, as an index; part of the fold. The
// payloads, every fix and the histories are records of a stream of their own (S20): the index keeps
// where they are.
//
//   dead -> redriving -> redriven        given back to the group and acknowledged
//     ^--------+                         given back and failed again: the same number
//   dead -> discarded
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "broker/core/entries.h"

namespace waybill {

struct DeadLetter {
  Offset offset;  ///< of the message in its partition
  DeadLetterState state = DeadLetterState::kDead;
  DeadLetterReason reason{};
  std::uint64_t fingerprint = 0;
  std::uint32_t failures = 0;
  std::uint32_t deliveries = 0;
  std::uint32_t redrives = 0;
  WallTime died_at;
  /// Its records in the dead-letter stream, oldest first: deaths and fixes. The last is the payload
  /// that a redrive delivers.
  std::vector<Offset> records;
};

class DeadLetters {
 public:
  [[nodiscard]] const std::map<std::uint64_t, DeadLetter>& all() const { return letters_; }
  [[nodiscard]] const DeadLetter* find(std::uint64_t number) const;
  /// The number the next new dead letter gets.
  [[nodiscard]] std::uint64_t next_number() const { return next_number_; }
  /// A failure that stands for all with this fingerprint; null if there is none.
  [[nodiscard]] const Failure* example(std::uint64_t fingerprint) const;

  /// In state `dead`: these wait for a person.
  [[nodiscard]] std::uint64_t dead_count() const { return dead_count_; }
  [[nodiscard]] std::uint64_t discarded_count() const { return discarded_count_; }

  // As DeliveryState: kBadFormat, changing nothing, if the change does not fit.
  Result<void> apply(std::uint64_t number, const DiedOp& op);
  Result<void> apply(std::uint64_t number, const FixedOp& op);
  Result<void> apply(std::uint64_t number, const RedrivenOp& op);
  Result<void> apply(std::uint64_t number, const DiscardedOp& op);
  /// A redriven one was acknowledged by its group.
  Result<void> acknowledged(std::uint64_t number);

 private:
  DeadLetter* find_in(std::uint64_t number, DeadLetterState state);

  std::map<std::uint64_t, DeadLetter> letters_;
  std::unordered_map<std::uint64_t, Failure> examples_;
  std::uint64_t next_number_ = 1;
  std::uint64_t dead_count_ = 0;
  std::uint64_t discarded_count_ = 0;
};

}  // namespace waybill

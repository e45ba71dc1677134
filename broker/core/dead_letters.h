// DeadLetters: the dead letters of one group on one partition, as an index; part of the fold. The
// payloads, every fix and the histories are records of a stream of their own (S20): the index keeps
// where they are.
//
//   dead -> redriving -> redriven        given back to the group and acknowledged
//     ^--------+                         given back and failed again: the same number
//   dead -> discarded
//   redriving -> dead                    a reset takes back what is under way (D15)
//
// One that is dead, redriven or discarded can be erased (D18): dead becomes discarded, and what is
// left is in which state it is, why it died, the code of its failure, counts and times. Its records
// are still in the index, so that the Compactor takes them out of the stream's segments.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "broker/core/entries.h"
#include "broker/core/range_set.h"

namespace waybill {

struct DeadLetter {
  Offset offset;  ///< of the message in its partition
  DeadLetterState state = DeadLetterState::kDead;
  DeadLetterReason reason{};
  std::uint64_t key = 0;  ///< KeyHash of the message's key; 0: none
  std::uint64_t fingerprint = 0;
  std::uint32_t failures = 0;
  std::uint32_t deliveries = 0;
  std::uint32_t redrives = 0;
  bool past = false;    ///< discarded before a reset: its message was counted anew
  bool erased = false;  ///< its records are gone, or about to go (D18)
  WallTime died_at;
  /// Its records in the dead-letter stream, oldest first: deaths and fixes. The last is the payload
  /// that a redrive delivers.
  std::vector<Offset> records;

  [[nodiscard]] bool can_be_erased() const {
    return !erased && state != DeadLetterState::kRedriving;
  }
  /// A group of policy `hold` holds back what comes after it (D12): what expired never does.
  [[nodiscard]] bool holds() const {
    return state == DeadLetterState::kDead && reason != DeadLetterReason::kExpired;
  }
};

class DeadLetters {
 public:
  [[nodiscard]] const std::map<std::uint64_t, DeadLetter>& all() const { return letters_; }
  [[nodiscard]] const DeadLetter* find(std::uint64_t number) const;
  /// The number the next new dead letter gets.
  [[nodiscard]] std::uint64_t next_number() const { return next_number_; }
  /// A failure that stands for all with this fingerprint; null if there is none. Without its
  /// detail, once one of them is erased, until another one dies.
  [[nodiscard]] const Failure* example(std::uint64_t fingerprint) const;

  /// In state `dead`: these wait for a person.
  [[nodiscard]] std::uint64_t dead_count() const { return dead_count_; }
  /// Those whose message the accounting since the last reset has not counted anew.
  [[nodiscard]] std::uint64_t discarded_count() const { return discarded_count_; }
  /// The messages of those that hold.
  [[nodiscard]] const std::set<Offset>& holding() const { return holding_; }
  /// The records of those that are erased: nobody may see them any more.
  [[nodiscard]] const RangeSet& erased_records() const { return erased_records_; }
  /// The messages of the open dead letters, sorted.
  [[nodiscard]] std::vector<Offset> open_offsets() const;
  /// The messages that discarded_count() counts, sorted.
  [[nodiscard]] std::vector<Offset> discarded_offsets() const;

  // As DeliveryState: kBadFormat, changing nothing, if the change does not fit.
  Result<void> apply(std::uint64_t number, const DiedOp& op);
  Result<void> apply(std::uint64_t number, const FixedOp& op);
  Result<void> apply(std::uint64_t number, const RedrivenOp& op);
  Result<void> apply(std::uint64_t number, const DiscardedOp& op);
  Result<void> apply(std::uint64_t number, const ErasedOp& op);
  /// A redriven one was acknowledged by its group.
  Result<void> acknowledged(std::uint64_t number);
  /// The group is reset: what is being redriven is dead again; with include_dead, what is dead from
  /// `to` on is discarded. Discarded ones from there on no longer count.
  void reset(Offset to, bool include_dead);
  /// Where the accounting begins now: discarded ones before it no longer count.
  void begin_at(Offset start);

 private:
  friend class Snapshot;

  DeadLetter* find_in(std::uint64_t number, DeadLetterState state);
  void set_state(DeadLetter& letter, DeadLetterState state);
  void forget(DeadLetter& letter);
  void set_erased(DeadLetter& letter);

  std::map<std::uint64_t, DeadLetter> letters_;
  std::unordered_map<std::uint64_t, Failure> examples_;
  std::uint64_t next_number_ = 1;
  std::uint64_t dead_count_ = 0;
  std::uint64_t discarded_count_ = 0;
  std::set<Offset> holding_;
  RangeSet erased_records_;
};

}  // namespace waybill

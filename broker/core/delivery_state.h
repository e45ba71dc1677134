// DeliveryState: what one group has done with the messages of one partition; part of the fold.
//
// Kept: one after the highest message ever delivered (`fresh`), what below it was never delivered
// (`gaps`), the open leases, and a record for each message that was delivered before and is not
// settled. A message below `fresh` that appears nowhere is settled: done needs no memory, and
// out-of-order acks cost none. Gaps come from orderings and times: a message whose key is busy, or
// whose time has not come, stays behind while later ones go.
//
//   offset:   0 1 2 3 4 5 6 7 8 9 10 ...
//             . . g L L . t g L L  |fresh
//   '.' settled   g gap   L in an open lease   t tracked: failed or given back, waits or is leased
//
// Changes only by apply(); deadlines, due times and consumers are the caller's (GroupPartition).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "broker/core/entries.h"
#include "broker/core/open_ranges.h"
#include "broker/core/range_set.h"

namespace waybill {

/// A message that was delivered before and is not settled.
struct TrackedMessage {
  std::uint32_t deliveries = 0;
  std::uint32_t failures = 0;     ///< charged
  std::uint32_t unexplained = 0;  ///< ends of a lease that nobody explained
  std::uint32_t crashes = 0;      ///< of these, those whose client vanished with it (D10)
  std::uint32_t revoked = 0;      ///< deliveries that were taken back (D8), or never sent
  std::uint32_t redrive = 0;
  bool leased = false;
  WallTime ready_at;                   ///< not leased: when it may go again; 0: at once
  WallTime last_end;                   ///< when its last failed attempt ended; 0: none
  std::array<WallTime, 5> first_of{};  ///< its first failure of each class, from transient on (D11)
  std::uint64_t dead_letter = 0;  ///< its number, if it was redriven: the payload is the fixed one
  std::vector<Attempt> attempts;  ///< the newest kMaxAttemptHistory, since birth or redrive

  [[nodiscard]] WallTime first_failure(FailureClass failure_class) const {
    return first_of[static_cast<std::size_t>(failure_class) - 1];
  }
};

/// Messages handed to an instance under one token.
struct OpenLease {
  InstanceId instance;
  WallTime at;
  OpenRanges open;  ///< not settled yet

  [[nodiscard]] bool holds(OffsetRange range) const;
};

class DeliveryState {
 public:
  explicit DeliveryState(Offset start) : start_(start), fresh_(start) {}

  /// Where the accounting begins: what is before it is none of this group's business.
  [[nodiscard]] Offset start() const { return start_; }
  /// Of the last reset; 0: none.
  [[nodiscard]] std::uint32_t epoch() const { return epoch_; }
  /// One after the highest message ever delivered to this group.
  [[nodiscard]] Offset fresh() const { return fresh_; }
  /// Never delivered, below fresh().
  [[nodiscard]] const RangeSet& gaps() const { return gaps_; }
  [[nodiscard]] const std::map<LeaseToken, OpenLease>& leases() const { return leases_; }
  [[nodiscard]] const std::map<Offset, TrackedMessage>& tracked() const { return tracked_; }
  [[nodiscard]] const TrackedMessage* find_tracked(Offset offset) const;
  [[nodiscard]] const OpenLease* find_lease(LeaseToken token) const;
  /// Messages in open leases.
  [[nodiscard]] std::uint64_t leased_count() const { return leased_count_; }
  /// Tracked messages that are not leased: ready again or delayed.
  [[nodiscard]] std::uint64_t waiting_count() const { return tracked_.size() - tracked_leased_; }
  [[nodiscard]] std::uint64_t done_count() const { return done_count_; }
  /// Dropped because their time had passed.
  [[nodiscard]] std::uint64_t expired_count() const { return expired_count_; }
  /// Passed over by a reset.
  [[nodiscard]] std::uint64_t skipped_count() const { return skipped_count_; }
  /// Taken away by retention before they were done.
  [[nodiscard]] std::uint64_t removed_count() const { return removed_count_; }
  /// Taken out by compaction before they were delivered.
  [[nodiscard]] std::uint64_t compacted_count() const { return compacted_count_; }
  /// What was not done before this offset was removed.
  [[nodiscard]] Offset removed_to() const { return removed_to_; }
  /// Charged failures since the group began here.
  [[nodiscard]] std::uint64_t failure_count() const { return failure_count_; }
  /// Deliveries beyond each message's first.
  [[nodiscard]] std::uint64_t redelivery_count() const { return redelivery_count_; }

  /// The first run of never delivered messages at or after `from`, below `end`; count() is 0 if
  /// there is none.
  [[nodiscard]] OffsetRange undelivered_from(Offset from, Offset end) const;
  [[nodiscard]] bool is_undelivered(OffsetRange range) const;
  /// Settled for good as far as this state knows: every offset of the range is below fresh, no gap,
  /// in no lease and not tracked. (It may be a dead letter.)
  [[nodiscard]] bool is_settled(OffsetRange range) const;
  /// How many of [first, last] are gaps, leased or waiting.
  [[nodiscard]] std::uint64_t unsettled_in(OffsetRange range) const;
  /// The lowest message this group still needs; fresh() if none is below.
  [[nodiscard]] Offset floor() const;
  /// As floor(), of the log: what was redriven is in the dead-letter stream.
  [[nodiscard]] Offset needed() const;

  // Each fails with kBadFormat, changing nothing, if it does not fit the state: then the journal
  // was written by something else. Live callers have checked before.
  Result<void> apply(const LeaseOp& op);
  /// Returns the numbers of the dead letters that are done with it: messages that were redriven.
  Result<std::vector<std::uint64_t>> apply(const AckOp& op);
  Result<void> apply(const WaitOp& op);
  Result<void> apply(const ReleaseOp& op);
  Result<void> apply(const ExpiredOp& op);
  Result<void> apply(const RemovedOp& op);
  Result<void> apply(const CompactedOp& op);
  /// The message leaves this state for the dead letters.
  Result<void> apply(const DiedOp& op);
  /// The message comes back from the dead letters.
  Result<void> restore(Offset offset, std::uint64_t dead_letter, std::uint32_t redrive);
  /// Begins again at op.to. `dead` and `discarded` are the offsets of the dead letters that are
  /// open and stay so, and of the discarded ones; sorted. The accounting begins anew at the lowest
  /// message that was not done: what is settled between there and op.to counts as done.
  Result<void> apply(const ResetOp& op, const std::vector<Offset>& dead,
                     const std::vector<Offset>& discarded);

 private:
  friend class Snapshot;

  [[nodiscard]] bool is_redriven(Offset offset) const;
  [[nodiscard]] bool may_lease(OffsetRange range) const;
  void take_undelivered(OffsetRange range);
  Result<void> take_from_lease(LeaseToken token, OffsetRange range);
  TrackedMessage& track(Offset offset);
  void untrack(Offset offset);

  Offset start_;
  Offset fresh_;
  std::uint32_t epoch_ = 0;
  RangeSet gaps_;
  std::map<LeaseToken, OpenLease> leases_;
  std::map<Offset, TrackedMessage> tracked_;
  std::uint64_t leased_count_ = 0;
  std::uint64_t tracked_leased_ = 0;
  std::uint64_t done_count_ = 0;
  std::uint64_t expired_count_ = 0;
  std::uint64_t skipped_count_ = 0;
  std::uint64_t removed_count_ = 0;
  std::uint64_t compacted_count_ = 0;
  Offset removed_to_;
  std::uint64_t failure_count_ = 0;
  std::uint64_t redelivery_count_ = 0;
};

}  // namespace waybill

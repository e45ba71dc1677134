// DeliveryState: what one group has done with the messages of one partition; part of the fold.
//
// Kept: where the never delivered messages begin (`fresh`), the open leases, and a record for each
// message that is neither fresh, leased for the first time, nor settled. A message below `fresh`
// that appears nowhere is settled: done needs no memory, and out-of-order acks cost none.
//
//   offset:   0 1 2 3 4 5 6 7 8 9 10 ...
//             . . . L L . t . L L  |fresh
//   '.' settled   L in an open lease   t tracked: failed or given back before, waits or is leased
//
// Changes only by apply(); deadlines, due times and consumers are the caller's (GroupPartition).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "broker/core/entries.h"

namespace waybill {

/// A message that was delivered before and is not settled.
struct TrackedMessage {
  std::uint32_t deliveries = 0;
  std::uint32_t failures = 0;     ///< charged
  std::uint32_t unexplained = 0;  ///< ends of a lease that nobody explained
  std::uint32_t redrive = 0;
  bool leased = false;
  WallTime ready_at;              ///< not leased: when it may go again; 0: at once
  WallTime last_end;              ///< when its last failed attempt ended; 0: none
  WallTime first_transient;       ///< of its `transient` failures; 0: none (D11)
  std::uint64_t dead_letter = 0;  ///< its number, if it was redriven: the payload is the fixed one
  std::vector<Attempt> attempts;  ///< the newest kMaxAttemptHistory, since birth or redrive
};

/// Messages handed to an instance under one token.
struct OpenLease {
  InstanceId instance;
  WallTime at;
  std::vector<OffsetRange> open;  ///< not settled yet; sorted, disjoint

  [[nodiscard]] bool holds(OffsetRange range) const;
};

class DeliveryState {
 public:
  explicit DeliveryState(Offset start) : start_(start), fresh_(start) {}

  [[nodiscard]] Offset start() const { return start_; }
  /// The first message never delivered to this group.
  [[nodiscard]] Offset fresh() const { return fresh_; }
  [[nodiscard]] const std::map<LeaseToken, OpenLease>& leases() const { return leases_; }
  [[nodiscard]] const std::map<Offset, TrackedMessage>& tracked() const { return tracked_; }
  [[nodiscard]] const TrackedMessage* find_tracked(Offset offset) const;
  [[nodiscard]] const OpenLease* find_lease(LeaseToken token) const;
  /// Messages in open leases.
  [[nodiscard]] std::uint64_t leased_count() const { return leased_count_; }
  /// Tracked messages that are not leased: ready again or delayed.
  [[nodiscard]] std::uint64_t waiting_count() const { return tracked_.size() - tracked_leased_; }
  /// Charged failures since the group began here.
  [[nodiscard]] std::uint64_t failure_count() const { return failure_count_; }
  /// Deliveries beyond each message's first.
  [[nodiscard]] std::uint64_t redelivery_count() const { return redelivery_count_; }
  /// Settled for good as far as this state knows: every offset of the range is below fresh, in no
  /// lease and not tracked. (It may be a dead letter.)
  [[nodiscard]] bool is_settled(OffsetRange range) const;
  /// The lowest message this group still needs; fresh() if none is below.
  [[nodiscard]] Offset floor() const;

  // Each fails with kBadFormat, changing nothing, if it does not fit the state: then the journal
  // was written by something else. Live callers have checked before.
  Result<void> apply(const LeaseOp& op);
  /// Returns the dead letter's number if the message was a redriven one, else 0.
  Result<std::vector<std::uint64_t>> apply(const AckOp& op);
  Result<void> apply(const WaitOp& op);
  Result<void> apply(const ReleaseOp& op);
  /// The message leaves this state for the dead letters.
  Result<void> apply(const DiedOp& op);
  /// The message comes back from the dead letters.
  Result<void> restore(Offset offset, std::uint64_t dead_letter, std::uint32_t redrive);

 private:
  Result<void> take_from_lease(LeaseToken token, OffsetRange range);
  TrackedMessage& track(Offset offset);
  void untrack(Offset offset);

  Offset start_;
  Offset fresh_;
  std::map<LeaseToken, OpenLease> leases_;
  std::map<Offset, TrackedMessage> tracked_;
  std::uint64_t leased_count_ = 0;
  std::uint64_t tracked_leased_ = 0;
  std::uint64_t failure_count_ = 0;
  std::uint64_t redelivery_count_ = 0;
};

}  // namespace waybill

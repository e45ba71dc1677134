#include "broker/core/delivery_state.h"

#include <algorithm>

#include "protocol/base/limits.h"
#include "protocol/base/mutant.h"

namespace waybill {
namespace {

Error misfit(const char* where) {
  return {Errc::kBadFormat, 0, where};
}

std::uint64_t overlap(OffsetRange a, OffsetRange b) {
  OffsetRange both{std::max(a.first, b.first), std::min(a.last, b.last)};
  return both.count() > 0 ? static_cast<std::uint64_t>(both.count()) : 0;
}

std::uint64_t count_in(const std::vector<Offset>& sorted, OffsetRange range) {
  return static_cast<std::uint64_t>(std::ranges::upper_bound(sorted, range.last) -
                                    std::ranges::lower_bound(sorted, range.first));
}

}  // namespace

bool OpenLease::holds(OffsetRange range) const {
  auto part = open.find(range.last);
  return part != open.end() && part->first <= range.first && range.count() > 0;
}

const TrackedMessage* DeliveryState::find_tracked(Offset offset) const {
  auto found = tracked_.find(offset);
  return found == tracked_.end() ? nullptr : &found->second;
}

const OpenLease* DeliveryState::find_lease(LeaseToken token) const {
  auto found = leases_.find(token);
  return found == leases_.end() ? nullptr : &found->second;
}

OffsetRange DeliveryState::undelivered_from(Offset from, Offset end) const {
  OffsetRange gap = gaps_.run_from(from);
  if (gap.count() <= 0) gap = {std::max(from, fresh_), end - 1};
  // A gap that ends where the fresh ones begin runs on.
  if (gap.last + 1 == fresh_) gap.last = end - 1;
  gap.last = std::min(gap.last, end - 1);
  return gap;
}

bool DeliveryState::is_undelivered(OffsetRange range) const {
  if (range.first >= fresh_) return true;
  return gaps_.contains({range.first, std::min(range.last, fresh_ - 1)});
}

bool DeliveryState::is_settled(OffsetRange range) const {
  if (range.first < start_ || range.last >= fresh_) return false;
  return unsettled_in(range) == 0;
}

std::uint64_t DeliveryState::unsettled_in(OffsetRange range) const {
  std::uint64_t count = 0;
  for (OffsetRange gap = gaps_.run_from(range.first); gap.count() > 0 && gap.first <= range.last;
       gap = gaps_.run_from(gap.last + 1)) {
    count += overlap(gap, range);
  }
  for (const auto& [token, lease] : leases_) {
    for (OffsetRange part : lease.open) count += overlap(part, range);
  }
  for (auto it = tracked_.lower_bound(range.first); it != tracked_.end() && it->first <= range.last;
       ++it) {
    if (!it->second.leased) ++count;
  }
  return count;
}

Offset DeliveryState::floor() const {
  Offset floor = fresh_;
  if (!gaps_.empty()) floor = std::min(floor, gaps_.front().first);
  if (!tracked_.empty()) floor = std::min(floor, tracked_.begin()->first);
  for (const auto& [token, lease] : leases_) floor = std::min(floor, lease.open.front().first);
  return floor;
}

bool DeliveryState::is_redriven(Offset offset) const {
  const TrackedMessage* message = find_tracked(offset);
  return message != nullptr && message->dead_letter != 0;
}

Offset DeliveryState::needed() const {
  Offset needed = fresh_;
  if (!gaps_.empty()) needed = std::min(needed, gaps_.front().first);
  for (const auto& [offset, message] : tracked_) {
    if (message.dead_letter != 0) continue;
    needed = std::min(needed, offset);
    break;
  }
  for (const auto& [token, lease] : leases_) {
    auto first = std::ranges::find_if_not(
        lease.open, [this](OffsetRange range) { return is_redriven(range.first); });
    if (first != lease.open.end()) needed = std::min(needed, first->first);
  }
  return needed;
}

TrackedMessage& DeliveryState::track(Offset offset) {
  auto [it, inserted] = tracked_.try_emplace(offset);
  // First tracked when its first lease ends: that was delivery 1.
  if (inserted) it->second.deliveries = 1;
  return it->second;
}

void DeliveryState::untrack(Offset offset) {
  auto found = tracked_.find(offset);
  if (found == tracked_.end()) return;
  if (found->second.leased) --tracked_leased_;
  tracked_.erase(found);
}

/// Requires is_undelivered(range).
void DeliveryState::take_undelivered(OffsetRange range) {
  if (range.first < fresh_) gaps_.remove({range.first, std::min(range.last, fresh_ - 1)});
  if (range.first > fresh_) gaps_.add({fresh_, range.first - 1});
  fresh_ = std::max(fresh_, range.last + 1);
}

Result<void> DeliveryState::take_from_lease(LeaseToken token, OffsetRange range) {
  auto found = leases_.find(token);
  if (found == leases_.end()) return misfit("settlement without its lease");
  OpenRanges& open = found->second.open;
  if (!open.take(range)) return misfit("settlement outside its lease");
  leased_count_ -= static_cast<std::uint64_t>(range.count());
  if (open.empty()) leases_.erase(found);
  return {};
}

bool DeliveryState::may_lease(OffsetRange range) const {
  if (range.count() < 1 || range.first < start_) return false;
  if (is_undelivered(range)) return true;
  auto found = tracked_.find(range.first);
  return range.count() == 1 && found != tracked_.end() && !found->second.leased;
}

Result<void> DeliveryState::apply(const LeaseOp& op) {
  if (op.ranges.empty() || leases_.contains(op.token)) return misfit("lease");
  for (std::size_t i = 0; i < op.ranges.size(); ++i) {
    if (i > 0 && op.ranges[i].first <= op.ranges[i - 1].last) return misfit("lease out of order");
    if (!may_lease(op.ranges[i])) return misfit("lease of a message that is not waiting");
  }
  for (OffsetRange range : op.ranges) {
    leased_count_ += static_cast<std::uint64_t>(range.count());
    auto found = tracked_.find(range.first);
    if (found == tracked_.end()) {
      take_undelivered(range);
      continue;
    }
    found->second.leased = true;
    ++found->second.deliveries;
    ++tracked_leased_;
    ++redelivery_count_;
  }
  leases_.emplace(op.token, OpenLease{op.instance, op.at, OpenRanges(op.ranges)});
  return {};
}

Result<std::vector<std::uint64_t>> DeliveryState::apply(const AckOp& op) {
  if (Result<void> taken = take_from_lease(op.token, op.range); !taken) return taken.error();
  done_count_ += static_cast<std::uint64_t>(op.range.count());
  std::vector<std::uint64_t> redriven;
  auto it = tracked_.lower_bound(op.range.first);
  while (it != tracked_.end() && it->first <= op.range.last) {
    if (it->second.dead_letter != 0) redriven.push_back(it->second.dead_letter);
    if (it->second.leased) --tracked_leased_;
    it = tracked_.erase(it);
  }
  return redriven;
}

Result<void> DeliveryState::apply(const WaitOp& op) {
  Result<void> taken = take_from_lease(op.token, {op.offset, op.offset});
  if (!taken) return taken;
  TrackedMessage& message = track(op.offset);
  if (message.leased) --tracked_leased_;
  message.leased = false;
  message.ready_at = op.ready_at;
  message.last_end = op.attempt.at;
  if (op.charged) {
    ++message.failures;
    ++failure_count_;
  }
  WallTime& first =
      message.first_of[static_cast<std::size_t>(op.attempt.failure.failure_class) - 1];
  if (first.milliseconds == 0) first = op.attempt.at;
  message.attempts.push_back(op.attempt);
  if (message.attempts.size() > limits::kMaxAttemptHistory) {
    message.attempts.erase(message.attempts.begin());
  }
  return {};
}

Result<void> DeliveryState::apply(const ReleaseOp& op) {
  Result<void> taken = take_from_lease(op.token, op.range);
  if (!taken) return taken;
  for (Offset offset = op.range.first; offset <= op.range.last; ++offset) {
    TrackedMessage& message = track(offset);
    if (message.leased) --tracked_leased_;
    message.leased = false;
    message.ready_at = {};
    bool crashed = op.kind == ReleaseKind::kCrashed;
    bool unexplained = crashed || op.kind == ReleaseKind::kUnexplained;
    if (unexplained ? mutant("charge_unexplained") : mutant("charge_released")) {
      ++message.failures;
    }
    if (unexplained) ++message.unexplained;
    if (crashed) ++message.crashes;
    if (op.kind == ReleaseKind::kRevoked) ++message.revoked;
  }
  return {};
}

Result<void> DeliveryState::apply(const ExpiredOp& op) {
  if (op.range.count() < 1 || op.range.first < start_) return misfit("expiry");
  if (is_undelivered(op.range)) {
    take_undelivered(op.range);
  } else {
    auto found = tracked_.find(op.range.first);
    if (op.range.count() != 1 || found == tracked_.end() || found->second.leased) {
      return misfit("expiry of a message that is not waiting");
    }
    tracked_.erase(found);
  }
  expired_count_ += static_cast<std::uint64_t>(op.range.count());
  return {};
}

Result<void> DeliveryState::apply(const RemovedOp& op) {
  if (op.to <= removed_to_) return misfit("removal");
  const std::uint64_t before = gaps_.count() + leased_count_ + waiting_count();
  while (!gaps_.empty() && gaps_.front().first < op.to) {
    const OffsetRange gap = gaps_.front();
    gaps_.remove({gap.first, std::min(gap.last, op.to - 1)});
  }
  for (auto lease = leases_.begin(); lease != leases_.end();) {
    std::vector<OffsetRange> left;
    for (OffsetRange range : lease->second.open) {
      const OffsetRange cut{std::max(range.first, op.to), range.last};
      if (is_redriven(range.first)) {
        left.push_back(range);
      } else {
        leased_count_ -=
            static_cast<std::uint64_t>(range.count() - std::max<std::int64_t>(cut.count(), 0));
        if (cut.count() > 0) left.push_back(cut);
      }
    }
    lease->second.open = OpenRanges(std::move(left));
    lease = lease->second.open.empty() ? leases_.erase(lease) : std::next(lease);
  }
  for (auto it = tracked_.begin(); it != tracked_.end() && it->first < op.to;) {
    const bool stays = it->second.dead_letter != 0;
    if (!stays && it->second.leased) --tracked_leased_;
    it = stays ? std::next(it) : tracked_.erase(it);
  }
  removed_count_ += before - (gaps_.count() + leased_count_ + waiting_count());
  if (op.to > fresh_) removed_count_ += static_cast<std::uint64_t>(op.to - fresh_);
  fresh_ = std::max(fresh_, op.to);
  removed_to_ = op.to;
  return {};
}

Result<void> DeliveryState::apply(const CompactedOp& op) {
  if (op.range.count() < 1 || op.range.first < start_ || !is_undelivered(op.range)) {
    return misfit("compacted messages");
  }
  take_undelivered(op.range);
  compacted_count_ += static_cast<std::uint64_t>(op.range.count());
  return {};
}

Result<void> DeliveryState::apply(const DiedOp& op) {
  if (op.token == LeaseToken{}) {
    auto found = tracked_.find(op.offset);
    if (found == tracked_.end()) {
      if (op.offset < start_ || !is_undelivered({op.offset, op.offset})) {
        return misfit("death of an unknown message");
      }
      take_undelivered({op.offset, op.offset});
    } else if (found->second.leased) {
      return misfit("death of a message that is leased");
    }
  } else if (Result<void> taken = take_from_lease(op.token, {op.offset, op.offset}); !taken) {
    return taken;
  }
  // The failure that killed it is charged too; a redriven message begins again
  // at 0.
  const TrackedMessage* message = find_tracked(op.offset);
  std::uint32_t before = message != nullptr ? message->failures : 0;
  failure_count_ += op.failures > before ? op.failures - before : 0;
  untrack(op.offset);
  return {};
}

Result<void> DeliveryState::restore(Offset offset, std::uint64_t dead_letter,
                                    std::uint32_t redrive) {
  if (offset < start_ || offset >= fresh_ || tracked_.contains(offset)) return misfit("redrive");
  TrackedMessage message;
  message.redrive = redrive;
  message.dead_letter = dead_letter;
  tracked_.emplace(offset, std::move(message));
  return {};
}

Result<void> DeliveryState::apply(const ResetOp& op, const std::vector<Offset>& dead,
                                  const std::vector<Offset>& discarded) {
  if (op.epoch <= epoch_ || op.to < Offset{0}) return misfit("reset");
  Offset start = std::min(floor(), op.to);
  if (!dead.empty()) start = std::min(start, dead.front());
  OffsetRange passed{start, op.to - 1};
  std::uint64_t skipped = unsettled_in(passed) + overlap(passed, {fresh_, op.to - 1});
  // A redriven message that is on its way is a dead letter again, and counted
  // there.
  for (Offset offset : dead) {
    if (offset < op.to && tracked_.contains(offset)) --skipped;
  }
  epoch_ = op.epoch;
  start_ = start;
  skipped_count_ = skipped;
  removed_count_ = 0;
  compacted_count_ = 0;
  expired_count_ = 0;
  done_count_ = passed.count() <= 0 ? 0
                                    : static_cast<std::uint64_t>(passed.count()) - skipped -
                                          count_in(dead, passed) - count_in(discarded, passed);
  if (!mutant("resets_keep_leases")) leases_.clear();
  tracked_.clear();
  leased_count_ = 0;
  tracked_leased_ = 0;
  gaps_.clear();
  Offset next = op.to;
  for (auto it = std::ranges::lower_bound(dead, op.to); it != dead.end(); ++it) {
    gaps_.add({next, *it - 1});
    next = *it + 1;
  }
  fresh_ = std::max(fresh_, op.to);
  gaps_.add({next, fresh_ - 1});
  return {};
}

}  // namespace waybill

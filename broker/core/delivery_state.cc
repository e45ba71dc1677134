#include "broker/core/delivery_state.h"

#include <algorithm>

#include "protocol/base/limits.h"
#include "protocol/base/mutant.h"

namespace waybill {
namespace {

Error misfit(const char* where) {
  return {Errc::kBadFormat, 0, where};
}

bool covers(OffsetRange outer, OffsetRange inner) {
  return outer.first <= inner.first && inner.last <= outer.last && inner.first <= inner.last;
}

}  // namespace

bool OpenLease::holds(OffsetRange range) const {
  return std::ranges::any_of(open, [&](OffsetRange part) { return covers(part, range); });
}

const TrackedMessage* DeliveryState::find_tracked(Offset offset) const {
  auto found = tracked_.find(offset);
  return found == tracked_.end() ? nullptr : &found->second;
}

const OpenLease* DeliveryState::find_lease(LeaseToken token) const {
  auto found = leases_.find(token);
  return found == leases_.end() ? nullptr : &found->second;
}

bool DeliveryState::is_settled(OffsetRange range) const {
  if (range.first < start_ || range.last >= fresh_) return false;
  auto tracked = tracked_.lower_bound(range.first);
  if (tracked != tracked_.end() && tracked->first <= range.last) return false;
  for (const auto& [token, lease] : leases_) {
    for (OffsetRange part : lease.open) {
      if (part.first <= range.last && range.first <= part.last) return false;
    }
  }
  return true;
}

Offset DeliveryState::floor() const {
  Offset floor = fresh_;
  if (!tracked_.empty()) floor = std::min(floor, tracked_.begin()->first);
  for (const auto& [token, lease] : leases_) floor = std::min(floor, lease.open.front().first);
  return floor;
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

Result<void> DeliveryState::take_from_lease(LeaseToken token, OffsetRange range) {
  auto found = leases_.find(token);
  if (found == leases_.end()) return misfit("settlement without its lease");
  std::vector<OffsetRange>& open = found->second.open;
  auto part = std::ranges::find_if(open, [&](OffsetRange r) { return covers(r, range); });
  if (part == open.end()) return misfit("settlement outside its lease");
  OffsetRange before{part->first, range.first - 1};
  OffsetRange after{range.last + 1, part->last};
  auto at = open.erase(part);
  if (after.count() > 0) at = open.insert(at, after);
  if (before.count() > 0) open.insert(at, before);
  leased_count_ -= static_cast<std::uint64_t>(range.count());
  if (open.empty()) leases_.erase(found);
  return {};
}

Result<void> DeliveryState::apply(const LeaseOp& op) {
  if (op.range.count() < 1 || leases_.contains(op.token)) return misfit("lease");
  if (op.range.first == fresh_) {
    fresh_ = op.range.last + 1;
  } else {
    auto found = tracked_.find(op.range.first);
    if (op.range.count() != 1 || found == tracked_.end() || found->second.leased) {
      return misfit("lease of a message that is not waiting");
    }
    found->second.leased = true;
    ++found->second.deliveries;
    ++tracked_leased_;
    ++redelivery_count_;
  }
  leases_.emplace(op.token, OpenLease{op.instance, op.at, {op.range}});
  leased_count_ += static_cast<std::uint64_t>(op.range.count());
  return {};
}

Result<std::vector<std::uint64_t>> DeliveryState::apply(const AckOp& op) {
  if (Result<void> taken = take_from_lease(op.token, op.range); !taken) return taken.error();
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
  if (op.attempt.failure.failure_class == FailureClass::kTransient &&
      message.first_transient.milliseconds == 0) {
    message.first_transient = op.attempt.at;
  }
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
    if (op.unexplained) ++message.unexplained;
    if (op.unexplained ? mutant("charge_unexplained") : mutant("charge_released")) {
      ++message.failures;
    }
  }
  return {};
}

Result<void> DeliveryState::apply(const DiedOp& op) {
  if (op.token == LeaseToken{}) {
    auto found = tracked_.find(op.offset);
    if (found == tracked_.end() || found->second.leased)
      return misfit("death of an unknown message");
  } else if (Result<void> taken = take_from_lease(op.token, {op.offset, op.offset}); !taken) {
    return taken;
  }
  // The failure that killed it is charged too; a redriven message begins again at 0.
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

}  // namespace waybill

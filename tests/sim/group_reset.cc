// GroupModel, continued: a group that begins anew elsewhere (D15). From the moment a reset is sent
// until it is told, nobody can say which messages have begun anew: each shard does it at a moment
// of its own, and a repeated request does it again. Once it is told, everything that is known of
// before is void, and what is told from then on is checked as if the group were new - except for a
// message that was delivered meanwhile: its numbers may be of either epoch until it is delivered
// for the first time again, or a settlement that was sent after the reset shows whose they are.
#include <algorithm>

#include "tests/sim/group_model.h"

namespace waybill {

void GroupModel::reset_sent(const ResetGroupRequest& request) {
  if (!resetting_)
    resetting_ = Resetting{now(), request.start, request.include_dead, log_.known_ends()};
  ++resets_sent_;
  if (!request.include_dead || request.start.kind == StartKind::kLatest) return;
  std::int64_t from = request.start.kind == StartKind::kOffset ? request.start.offset.value : 0;
  dead_taken_from_ = std::min(dead_taken_from_.value_or(from), from);
}

/// Dead letters of a message after a reset; `again`: the message itself began anew.
void GroupModel::begin_letters_anew(Message& message, bool again) {
  std::uint32_t came_back = message.acked ? message.acked->redrive : 0;
  if (message.died) came_back = std::max(came_back, message.died->redrive);
  for (auto& [number, letter] : message.letters) {
    if (again && (letter.discarded || resetting_->include_dead)) letter.past = true;
    // What was under way is dead again, as if it had not been sent.
    letter.redrives_done = std::min(letter.redrives_done, came_back);
  }
}

/// One message after a reset to `to`, as far as anybody can say.
void GroupModel::begin_anew(Place place, Message& message, std::int64_t to) {
  message.changed = ++moment_;
  bool again = place.offset >= to;
  bool taken = again && resetting_->include_dead;
  if (taken) message.reasons.clear();
  constexpr DeadLetterReason kReasons[] = {
      DeadLetterReason::kMaxFailures,   DeadLetterReason::kInvalid,   DeadLetterReason::kRequested,
      DeadLetterReason::kDeliveryLimit, DeadLetterReason::kCrashLoop, DeadLetterReason::kExpired};
  for (DeadLetterReason reason : kReasons) {
    if (!taken && may_have_reason(place, message, reason)) message.reasons.insert(reason);
  }
  bool is_discarded = message.discard_sent();
  begin_letters_anew(message, again);
  std::erase_if(message.leases, [&](const auto& l) { return l.second.pushed < resetting_->since; });
  message.vague = !message.leases.empty();  // before or after, who knows
  if (!again) {
    message.skipped = true;
    if (message.acked) epochs_[place.partition].done.insert(place.offset);
    return;
  }
  // It stays where it is then.
  message.skipped =
      !message.reasons.empty() ||
      std::ranges::any_of(message.letters, [](const auto& l) { return !l.second.past; });
  message.acked.reset();
  if (!message.vague) message.ack_sent = false;
  bool stays_dead =
      message.died && !taken && !is_discarded && message.redrives_sent == message.died->redrive;
  if (!stays_dead) message.died.reset();
}

/// Its deliveries are of this epoch from `first` on, or from the next on.
void GroupModel::is_sure(Message& message, const Lease* first) {
  std::erase_if(message.leases,
                [&](const auto& l) { return first == nullptr || l.second.pushed < first->pushed; });
  message.vague = false;
  message.acked.reset();
  message.died.reset();
  message.ack_sent = message.ack_sent && first != nullptr;
}

void GroupModel::reset_told(const std::vector<ResetPartition>& partitions) {
  coverage_.count("group reset");
  if (resetting_->include_dead) coverage_.count("group reset with its dead letters");
  for (const ResetPartition& reset : partitions) {
    Place first = place(reset.partition, {0});
    check_start(resetting_->start, reset, resetting_->known_ends[first.partition]);
    PartitionEpoch& epoch = epochs_[first.partition];
    std::int64_t passed_to = std::max(epoch.passed_to, epoch.to);
    epoch = {.to = reset.to.value,
             .floor = reset.from.value,
             .passed_to = passed_to,
             .skipped = reset.skipped,
             .done = {},
             .accounted = {}};
    for (auto it = messages_.lower_bound(first);
         it != messages_.end() && it->first.partition == first.partition; ++it) {
      begin_anew(it->first, it->second, reset.to.value);
    }
  }
  held_by_.clear();
  highest_.clear();
  open_from_.clear();
  // What stays dead holds what is behind it, as before.
  for (auto& [lane, offsets] : dead_) {
    std::erase_if(offsets, [&](std::int64_t offset) {
      const Message& dead = messages_[{lane.first, offset}];
      return !dead.died || dead.vague;
    });
  }
  resolve_full();
  failures_told_.clear();
  acked_.clear();
  streak_.clear();
  streak_broken_ = now();
  resetting_.reset();
  reset_at_ = now();
  ++resets_;
  forgotten_ = ++moment_;
}

/// Whether a reset that was asked for when `known_end` was the end may begin there.
void GroupModel::check_start(const GroupStart& start, const ResetPartition& plan,
                             std::int64_t known_end) {
  bool fits = true;
  if (start.kind == StartKind::kEarliest) fits = plan.to.value == 0;
  if (start.kind == StartKind::kLatest) fits = plan.to.value >= known_end;
  if (start.kind == StartKind::kOffset) {
    fits = plan.to == start.offset || (plan.to < start.offset && plan.to.value >= known_end);
  }
  if (plan.skipped > static_cast<std::uint64_t>(plan.to.value)) fits = false;
  if (!fits) {
    report("a reset begins where it was asked to", "another start", place(plan.partition, plan.to));
  }
}

void GroupModel::dry_run_told(const ResetGroupRequest& request, const ResetGroupReply& reply,
                              const std::vector<std::int64_t>& known_ends) {
  coverage_.count("reset tried dry");
  for (const ResetPartition& plan : reply.partitions) {
    check_start(request.start, plan, known_ends[place(plan.partition, plan.to).partition]);
  }
}

/// The accounting is of the epoch that the last reset began: what that passed over is what it said,
/// and where it begins stays.
void GroupModel::check_epoch(const GroupPartitionStatus& status) {
  const Accounting& a = status.accounting;
  Place begin = place(status.partition, a.start);
  PartitionEpoch& epoch = epochs_[begin.partition];
  if (a.skipped != epoch.skipped) {
    report("accounting is true",
           std::to_string(a.skipped) + " skipped, the reset said " + std::to_string(epoch.skipped),
           begin);
  }
  bool fits = a.start.value <= std::min(epoch.to, epoch.floor);
  if (!fits || epoch.accounted.value_or(a.start.value) != a.start.value) {
    report("accounting is true",
           "it begins at " + std::to_string(a.start.value) + ", the reset to " +
               std::to_string(epoch.to) + " found " + std::to_string(epoch.floor) + " not done",
           begin);
  }
  epoch.accounted = a.start.value;
}

}  // namespace waybill

// GroupModel, continued: what people set - policy, pause, brake, a new start - and where every
// message is (D12, D13, D15, D19).
#include <algorithm>

#include "tests/sim/group_model.h"

namespace waybill {

// --- what people set ---

std::uint64_t GroupModel::policy_sent(const GroupPolicy& policy) {
  bool reordered = policy.ordering != last_policy_.ordering ||
                   policy.on_dead_letter != last_policy_.on_dead_letter;
  if (reordered) highest_.clear();
  last_policy_ = policy;
  resolve_full();
  streak_.clear();
  streak_broken_ = now();
  return policy_.sent(policy, now());
}

void GroupModel::policy_told(std::uint64_t request, bool ok) {
  if (ok) coverage_.count("policy changed");
  highest_.clear();
  resolve_full();
  policy_.answered(request, ok, now());
}

void GroupModel::pause_told(std::uint64_t request, bool ok) {
  if (ok) coverage_.count("group paused");
  paused_.answered(request, ok, now());
}

/// Something may have let go what was held.
void GroupModel::resolve_full() {
  full_since_.clear();
  full_resolved_ = now();
}

std::uint64_t GroupModel::brake_sent(BrakeMode mode) {
  streak_.clear();
  streak_broken_ = now();
  return mode_.sent(mode, now());
}

/// The brake says of itself only what something made it (D13).
void GroupModel::check_brake(const Brake& brake, const Asked& asked) {
  if (brake.state == BrakeState::kOpen) coverage_.count("brake open");
  if (brake.state == BrakeState::kProbing) coverage_.count("brake probing");
  Place anywhere{first_partition_, 0};
  auto mode_is = [&](BrakeMode mode) {
    return mode_.always([&](BrakeMode m) { return m == mode; }, asked.rest.at);
  };
  if (mode_is(BrakeMode::kForcedOpen) && brake.state != BrakeState::kOpen) {
    report("a forced brake stays", "it is not open", anywhere);
  }
  if (mode_is(BrakeMode::kForcedClosed) && brake.state != BrakeState::kClosed) {
    report("a forced brake stays", "it is not closed", anywhere);
  }
  bool always_off = policy_.always([](const GroupPolicy& p) { return !p.brake.enabled; }) &&
                    mode_.always([](BrakeMode m) { return m != BrakeMode::kForcedOpen; });
  if (always_off && brake.state != BrakeState::kClosed) {
    report("a brake has its reason", "the group never had one", anywhere);
  }
  // The most that any of them asks for.
  auto in_a_row = -policy_.least(
      [](const GroupPolicy& p) { return -static_cast<std::int64_t>(p.brake.in_a_row); },
      streak_broken_);
  bool known = asked.at > streak_broken_ && asked.rest.at > last_failure_ && !world_.refuses();
  bool judged =
      mode_.always([](BrakeMode m) { return m == BrakeMode::kAutomatic; }, streak_broken_) &&
      policy_.always([](const GroupPolicy& p) { return p.brake.enabled; }, streak_broken_);
  if (!known || !judged || static_cast<std::int64_t>(asked.failing) < in_a_row) return;
  coverage_.count("brake had to trip");
  if (brake.state == BrakeState::kClosed) {
    report("the brake trips",
           std::to_string(asked.failing) + " messages failed in a row, and it is closed", anywhere);
  }
}

// --- reset ---

/// One message after a reset to `to`, as far as anybody can say.
void GroupModel::begin_anew(Place place, Message& message, std::int64_t to, bool include_dead) {
  ++message.resets;
  message.changed = ++moment_;
  bool may_be_dead = message.died || !message.letters.empty() || may_have_expired(place) ||
                     may_have_died(message.leases) || may_be_worn_out(message.leases);
  std::erase_if(message.leases, [&](const auto& l) { return l.second.pushed < *resetting_; });
  message.vague = !message.leases.empty();  // before or after, who knows
  for (auto& [number, letter] : message.letters) {
    if (letter.redrives_done > 0) --letter.redrives_done;  // it may not have come to it
  }
  if (place.offset < to) {
    message.skipped = true;
    return;
  }
  message.skipped = may_be_dead && !include_dead;  // it stays where it is then
  message.acked.reset();
  if (!message.vague) message.ack_sent = false;
  bool stays_dead = message.died && !include_dead && !message.discard_sent() &&
                    message.redrives_sent == message.died->redrive;
  if (!stays_dead) message.died.reset();
}

void GroupModel::reset_told(const std::vector<ResetPartition>& partitions, bool include_dead) {
  coverage_.count("group reset");
  if (include_dead) coverage_.count("group reset with its dead letters");
  for (const ResetPartition& reset : partitions) {
    Place first = place(reset.partition, {0});
    for (auto it = messages_.lower_bound(first);
         it != messages_.end() && it->first.partition == first.partition; ++it) {
      begin_anew(it->first, it->second, reset.to.value, include_dead);
    }
    skipped_to_[first.partition] = std::max(skipped_to_[first.partition], reset.to.value);
  }
  held_by_.clear();
  highest_.clear();
  open_from_.clear();
  dead_.clear();
  resolve_full();
  failures_told_.clear();
  acked_.clear();
  streak_.clear();
  streak_broken_ = now();
  resetting_.reset();
  ++resets_;
  forgotten_ = ++moment_;
}

void GroupModel::dry_run_told(const ResetGroupRequest& request, const ResetGroupReply& reply,
                              const std::vector<std::int64_t>& known_ends) {
  coverage_.count("reset tried dry");
  for (const ResetPartition& plan : reply.partitions) {
    Place where = place(plan.partition, plan.to);
    std::int64_t known = known_ends[where.partition];
    bool fits = true;
    if (request.start.kind == StartKind::kEarliest) fits = plan.to.value == 0;
    if (request.start.kind == StartKind::kLatest) fits = plan.to.value >= known;
    if (request.start.kind == StartKind::kOffset) {
      fits = plan.to.value == request.start.offset.value ||
             (plan.to < request.start.offset && plan.to.value >= known);
    }
    if (plan.skipped > static_cast<std::uint64_t>(plan.to.value)) fits = false;
    if (!fits) report("a dry run says what a reset would do", "another start", where);
  }
}

// --- accounting ---

void GroupModel::check_accounting(const GroupPartitionStatus& status, const Asked& asked) {
  const Accounting& a = status.accounting;
  Place begin = place(status.partition, a.start);
  if (a.held > 0) coverage_.count("held");
  if (a.scheduled > 0) coverage_.count("scheduled");
  if (a.skipped > 0) coverage_.count("skipped by a reset");
  if (a.compacted > 0) coverage_.count("counted as compacted");
  if (a.compacted > 0 && resets_ == 0 && !resetting_) {
    report("compaction waits for every group",
           std::to_string(a.compacted) + " were compacted before they were delivered", begin);
  }
  if (a.sum() != static_cast<std::uint64_t>(a.end - a.start)) {
    report("accounting adds up",
           "the states of partition " + std::to_string(begin.partition) + " sum to " +
               std::to_string(a.sum()) + " of " + std::to_string(a.end - a.start),
           begin);
  }
  std::uint64_t may_be_done = 0;
  for (auto it = messages_.lower_bound({begin.partition, 0});
       it != messages_.end() && it->first.partition == begin.partition; ++it) {
    may_be_done += it->second.ack_sent ? 1 : 0;
  }
  auto acked = asked.acked.find(begin.partition);
  std::uint64_t must_be_done = acked == asked.acked.end() ? 0 : acked->second;
  bool fits = must_be_done <= a.done && a.done <= may_be_done;
  if (!fits && resets_ == 0 && !resetting_) {
    report("accounting is true",
           std::to_string(a.done) + " done in partition " + std::to_string(begin.partition) +
               "; acknowledged are " + std::to_string(must_be_done) + " to " +
               std::to_string(may_be_done),
           begin);
  }
  if (policy_.always([&](const GroupPolicy& p) { return a.leased > p.window; })) {
    report("the window bounds leases", std::to_string(a.leased) + " are leased", begin);
  }
  if (status.waiting == Waiting::kIndexFull) coverage_.count("index full");
  if (status.waiting == Waiting::kWindowFull) coverage_.count("window full");
  // A policy that does not hold any more is in force once all leases have ended (D12).
  bool stays = policy_.always([](const GroupPolicy& p) {
    return p.on_dead_letter == OnDeadLetter::kHold && p.ordering != Ordering::kNone;
  });
  bool full = policy_.always([&](const GroupPolicy& p) { return a.held >= p.max_held; }, asked.at);
  if (stays && full && status.waiting != Waiting::kHeldFull) {
    report("what is held is bounded", "it holds " + std::to_string(a.held) + " and goes on", begin);
  }
  if (status.waiting != Waiting::kHeldFull) return;
  coverage_.count("held full");
  world_.trace.note("held full", begin, 1, {{"held", static_cast<std::int64_t>(a.held)}});
  // In a partition's order what is before the head may still go.
  bool by_key = policy_.always([](const GroupPolicy& p) { return p.ordering == Ordering::kKey; });
  bool known = asked.at > full_resolved_ && !resetting_;
  if (stays && by_key && known) full_since_[begin.partition] = now();
}

void GroupModel::status_told(const DescribeGroupReply& reply, const Asked& asked) {
  coverage_.count("accounting added up");
  check_brake(reply.group.brake, asked);
  for (const GroupPartitionStatus& status : reply.partitions) check_accounting(status, asked);
}

void GroupModel::check_told(const CheckGroupReply& reply) {
  coverage_.count("accounting counted anew");
  for (const PartitionCheck& check : reply.partitions) {
    if (check.kept == check.counted) continue;
    auto difference = [&](const char* what, std::uint64_t kept, std::uint64_t counted) {
      return kept == counted ? std::string()
                             : std::string(" ") + what + " " + std::to_string(kept) + "/" +
                                   std::to_string(counted);
    };
    const Accounting& a = check.kept;
    const Accounting& b = check.counted;
    report("what is kept is what is counted",
           "kept/counted:" + difference("done", a.done, b.done) +
               difference("ready", a.ready, b.ready) +
               difference("scheduled", a.scheduled, b.scheduled) +
               difference("leased", a.leased, b.leased) +
               difference("delayed", a.delayed, b.delayed) + difference("held", a.held, b.held) +
               difference("dead", a.dead, b.dead) +
               difference("discarded", a.discarded, b.discarded) +
               difference("expired", a.expired, b.expired) +
               difference("skipped", a.skipped, b.skipped) +
               difference("compacted", a.compacted, b.compacted),
           place(check.partition, a.start));
  }
}

void GroupModel::check_end(const std::vector<DeadLetterSummary>& letters,
                           const DescribeGroupReply& status,
                           const std::vector<std::int64_t>& ends) {
  list_told(letters, ask());
  std::map<Place, DeadLetterState> states;
  for (const DeadLetterSummary& letter : letters) {
    states[place(letter.id.partition, letter.offset)] = letter.state;
  }
  for (const GroupPartitionStatus& partition : status.partitions) {
    Place begin = place(partition.partition, {0});
    std::uint64_t done = 0;
    for (std::int64_t offset = 0; offset < ends[begin.partition]; ++offset) {
      Place where{begin.partition, offset};
      const Message& known = messages_[where];
      auto state = states.find(where);
      bool given_up = state != states.end() && state->second != DeadLetterState::kRedriven;
      bool passed = offset < skipped_to_[begin.partition];
      // What it was done with goes; then it began before that again.
      passed = passed || (log_.may_be_compacted(where) && resets_ > 0);
      if (!given_up && !known.ack_sent && !passed && !may_have_expired(where)) {
        report("no loss", "nobody acknowledged it, and it is no dead letter", where);
      }
      if (state == states.end() && known.died) {
        report("a dead letter stays", "it died and is gone", where);
      }
      bool both = given_up && known.acked && known.acked->redrive >= known.redrives_sent;
      // What a reset discarded may have been acknowledged since.
      bool again = known.resets > 0 && state != states.end() &&
                   (known.skipped || state->second == DeadLetterState::kDiscarded);
      if (both && !again) report("one end", "acknowledged, and dead", where);
      done += given_up ? 0 : 1;
    }
    auto dead = static_cast<std::uint64_t>(std::ranges::count_if(letters, [&](const auto& letter) {
      return letter.id.partition == partition.partition && letter.state == DeadLetterState::kDead;
    }));
    if (partition.accounting.dead != dead) {
      report("accounting is true",
             std::to_string(partition.accounting.dead) + " dead, listed " + std::to_string(dead),
             begin);
    }
    std::uint64_t told = partition.accounting.done + partition.accounting.expired;
    if (partition.accounting.expired > 0) coverage_.count("expired");
    if (told == done || resets_ > 0) continue;
    report("accounting is true",
           std::to_string(told) + " done or expired, counted " + std::to_string(done), begin);
  }
}

}  // namespace waybill

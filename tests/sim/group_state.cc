// GroupModel, continued: what people set - policy, pause, brake - and where every message is (D12,
// D13, D19).
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

// --- accounting ---

void GroupModel::check_accounting(const GroupPartitionStatus& status, const Asked& asked) {
  const Accounting& a = status.accounting;
  Place begin = place(status.partition, a.start);
  if (a.held > 0) coverage_.count("held");
  if (a.scheduled > 0) coverage_.count("scheduled");
  if (a.skipped > 0) coverage_.count("skipped by a reset");
  if (a.compacted > 0) coverage_.count("counted as compacted");
  if (a.compacted > 0 && !(log_.may_be_compacted(begin) && resets_sent_ > 0)) {
    report("compaction waits for every group",
           std::to_string(a.compacted) + " were compacted before they were delivered", begin);
  }
  if (a.sum() != static_cast<std::uint64_t>(a.end - a.start)) {
    report("accounting adds up",
           "the states of partition " + std::to_string(begin.partition) + " sum to " +
               std::to_string(a.sum()) + " of " + std::to_string(a.end - a.start),
           begin);
  }
  // While a group is reset, and in an answer of before that, either epoch may be told.
  if (!is_void(asked)) {
    check_epoch(status);
    check_done(status, asked);
  }
  check_held(status, asked);
  if (policy_.always([&](const GroupPolicy& p) { return a.leased > p.window; })) {
    report("the window bounds leases", std::to_string(a.leased) + " are leased", begin);
  }
  if (status.waiting == Waiting::kIndexFull) coverage_.count("index full");
  if (status.waiting == Waiting::kWindowFull) coverage_.count("window full");
}

/// What was done: acknowledgements that were confirmed are the least, those that were sent the
/// most. A reset begins both anew; what lies before its start and was over counts as done, however
/// it had ended.
void GroupModel::check_done(const GroupPartitionStatus& status, const Asked& asked) {
  const Accounting& a = status.accounting;
  Place begin = place(status.partition, a.start);
  const PartitionEpoch& epoch = epochs_[begin.partition];
  auto acked = asked.acked.find(begin.partition);
  std::uint64_t must_be_done = acked == asked.acked.end() ? 0 : acked->second;
  must_be_done += static_cast<std::uint64_t>(
      std::distance(epoch.done.lower_bound(a.start.value), epoch.done.end()));
  std::uint64_t may_be_done = 0;
  for (auto it = messages_.lower_bound(begin);
       it != messages_.end() && it->first.partition == begin.partition; ++it) {
    may_be_done += it->second.ack_sent ? 1 : 0;
  }
  for (std::int64_t offset = a.start.value; offset < epoch.to; ++offset) {
    Place before{begin.partition, offset};
    auto known = messages_.find(before);
    if (known != messages_.end() && known->second.ack_sent) continue;  // counted above
    bool over =
        offset < epoch.passed_to || may_have_expired(before) || log_.may_be_compacted(before);
    may_be_done += over ? 1 : 0;
  }
  if (must_be_done <= a.done && a.done <= may_be_done) return;
  report("accounting is true",
         std::to_string(a.done) + " done in partition " + std::to_string(begin.partition) +
             "; acknowledged are " + std::to_string(must_be_done) + " to " +
             std::to_string(may_be_done),
         begin);
}

/// A policy that bounds what is held does (D12).
void GroupModel::check_held(const GroupPartitionStatus& status, const Asked& asked) {
  const Accounting& a = status.accounting;
  Place begin = place(status.partition, a.start);
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

/// One message, when nothing moves any more; `letter`: its newest, if it has one.
void GroupModel::check_end_of(Place where, const DeadLetterSummary* letter) {
  Message& known = messages_[where];
  bool given_up = letter != nullptr && letter->state != DeadLetterState::kRedriven;
  // What was discarded before a reset, or by it, began anew.
  bool past = false;
  bool this_epoch = false;
  if (given_up && letter->state == DeadLetterState::kDiscarded) {
    const Letter& told = letter_of(known, *letter);
    past = told.past || !told.discard_sent;
    this_epoch = told.sent_after == resets_;
  }
  bool passed = where.offset < epochs_[where.partition].to || log_.is_gone(where);
  bool ended = (given_up && !past) || known.ack_sent || passed || may_have_expired(where);
  if (!ended) report("no loss", "nobody acknowledged it, and it is no dead letter", where);
  if (letter == nullptr && known.died) {
    report("a dead letter stays", "it died and is gone", where);
  }
  bool both = given_up && known.acked && known.acked->redrive >= known.redrives_sent;
  // A discard that was sent before a reset and not confirmed may have been before or after it.
  bool discarded = given_up && letter->state == DeadLetterState::kDiscarded;
  if (both && !(discarded && !this_epoch)) report("one end", "acknowledged, and dead", where);
}

/// Discarded ones count until their message begins anew.
void GroupModel::check_discarded(const GroupPartitionStatus& status,
                                 const std::vector<DeadLetterSummary>& letters) {
  const Accounting& a = status.accounting;
  std::uint64_t must = 0;
  std::uint64_t may = 0;
  for (const DeadLetterSummary& letter : letters) {
    bool counts = letter.id.partition == status.partition && letter.offset >= a.start &&
                  letter.state == DeadLetterState::kDiscarded;
    if (!counts) continue;
    Place where = place(letter.id.partition, letter.offset);
    const Letter& told = letter_of(messages_[where], letter);
    if (told.past || !told.discard_sent) continue;
    must += told.sent_after == resets_ ? 1 : 0;
    ++may;
  }
  if (must <= a.discarded && a.discarded <= may) return;
  report("accounting is true",
         std::to_string(a.discarded) + " discarded; they are " + std::to_string(must) + " to " +
             std::to_string(may),
         place(status.partition, a.start));
}

void GroupModel::check_end(const std::vector<DeadLetterSummary>& letters,
                           const DescribeGroupReply& status,
                           const std::vector<std::int64_t>& ends) {
  list_told(letters, ask());
  std::map<Place, const DeadLetterSummary*> newest;
  for (const DeadLetterSummary& letter : letters) {
    newest[place(letter.id.partition, letter.offset)] = &letter;
  }
  for (const GroupPartitionStatus& partition : status.partitions) {
    Place begin = place(partition.partition, {0});
    std::uint64_t done = 0;
    for (std::int64_t offset = 0; offset < ends[begin.partition]; ++offset) {
      Place where{begin.partition, offset};
      auto letter = newest.find(where);
      const DeadLetterSummary* its = letter == newest.end() ? nullptr : letter->second;
      check_end_of(where, its);
      done += its != nullptr && its->state != DeadLetterState::kRedriven ? 0 : 1;
    }
    check_discarded(partition, letters);
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
    // After a reset these are the rest: every other state was looked at, and they add up.
    if (told == done || resets_ > 0) continue;
    report("accounting is true",
           std::to_string(told) + " done or expired, counted " + std::to_string(done), begin);
  }
}

}  // namespace waybill

#include "tests/sim/group_model.h"

#include <algorithm>

namespace waybill {
namespace {

std::string text(DeliveryNumber number) {
  return "delivery " + std::to_string(number.delivery) +
         (number.redrive > 0 ? " of redrive " + std::to_string(number.redrive) : "");
}

Place place_of(const DeadLetterSummary& letter) {
  return {letter.id.partition.value, letter.offset.value};
}

}  // namespace

GroupModel::GroupModel(std::string name, const GroupPolicy& policy, std::uint32_t max_deliveries,
                       const Clock& clock, LogModel& log, Findings& findings, Coverage& coverage)
    : name_(std::move(name)),
      max_deliveries_(max_deliveries),
      clock_(clock),
      log_(log),
      findings_(findings),
      coverage_(coverage),
      policy_(policy),
      least_max_failures_(policy.max_failures),
      most_max_failures_(policy.max_failures) {}

void GroupModel::report(const char* property, std::string what, Place place) {
  findings_.report(property, name_ + ": " + std::move(what), place);
}

GroupModel::Lease* GroupModel::find(const HandedOut& message) {
  auto known = messages_.find(message.place);
  if (known == messages_.end()) return nullptr;
  auto lease = known->second.leases.find(message.number);
  // A relaxed group may hand out the same delivery twice, under another token.
  bool other = lease == known->second.leases.end() || lease->second.token != message.token;
  return other ? nullptr : &lease->second;
}

// --- deliveries ---

void GroupModel::pushed(std::uint64_t holder, const DeliverPush& push,
                        const std::vector<HandedOut>& messages) {
  if (messages.size() > 1) coverage_.count("delivered in a range");
  std::int64_t granted = 0;
  for (const GrantedRange& range : push.ranges) granted += range.range.count();
  if (granted != static_cast<std::int64_t>(messages.size())) {
    report("a delivery has its messages", "a granted message is not in its batches",
           {push.partition.value, push.ranges.front().range.first.value});
  }
  for (const HandedOut& message : messages) {
    coverage_.count("delivered");
    if (message.number.delivery > 1) coverage_.count("delivered again");
    Message& known = messages_[message.place];
    if (policy_.attempts == Attempts::kRelaxed) forget_unrecorded(message, known);
    check_order(holder, message);
    check_times(message);
    if (!given_.insert({message.place.partition, {message.token, message.place.offset}}).second) {
      report("a token is given once", "its token was given before", message.place);
    }
    check_pushed(message, known);
    Lease& lease = known.leases[message.number];
    lease.token = message.token;
    lease.failures = message.failures;
    lease.holder = holder;
    lease.life = life_;
    lease.until = clock_.monotonic() + Duration(push.lease);
  }
}

void GroupModel::check_pushed(const HandedOut& message, Message& known) {
  if (known.leases.contains(message.number)) {
    report("delivery numbers never repeat", text(message.number) + " happens twice", message.place);
  }
  if (!known.leases.empty() && message.number < known.leases.rbegin()->first) {
    report("delivery numbers never go back",
           text(message.number) + " after " + text(known.leases.rbegin()->first), message.place);
  }
  if (known.acked && *known.acked < message.number) {
    report("an ack is final",
           text(message.number) + " after " + text(*known.acked) + " was acknowledged",
           message.place);
  }
  if (known.died && *known.died < message.number && message.number.redrive <= known.died->redrive) {
    report("the dead stay dead", text(message.number) + " after it died in " + text(*known.died),
           message.place);
  }
  if (known.discarded) report("a discard is final", "it was discarded", message.place);
  if (message.number.redrive > known.redrives_sent) {
    report("a redrive is somebody's",
           "nobody asked for redrive " + std::to_string(message.number.redrive), message.place);
  }
  // What was taken back in order does not count (D8); clients can not tell how often that was.
  bool countable = policy_.ordering != Ordering::kPartition;
  if (countable && message.number.delivery > max_deliveries_) {
    report("max_deliveries", text(message.number), message.place);
  }
  check_payload(message, known);
  check_counts(message, known);
  check_exclusive(message, known);
}

void GroupModel::check_payload(const HandedOut& message, const Message& known) {
  if (message.number.redrive == 0) return;  // LogModel looked
  const SimMessage* original = log_.find(message.place);
  bool fits = known.last_fix ? message.value == *known.last_fix
                             : original != nullptr && message.value == original->value;
  fits = fits || known.open_fixes.contains(message.value);
  if (!fits) report("a redrive delivers the newest version", "another value", message.place);
}

/// Failures between two deliveries are what happened in the first, no more and no less.
void GroupModel::check_counts(const HandedOut& message, const Message& known) {
  auto later = known.leases.lower_bound(message.number);
  bool first =
      later == known.leases.begin() || std::prev(later)->first.redrive != message.number.redrive;
  if (first) {
    if (message.failures != 0) {
      report("failures are counted exactly",
             std::to_string(message.failures) + " failures before anybody had it", message.place);
    }
    return;
  }
  const auto& [number, lease] = *std::prev(later);
  if (lease.life != life_ && message.failures > 0) {
    coverage_.count("delivered after a restart with failures kept");
  }
  std::uint32_t least = lease.failures + (lease.charged ? 1 : 0);
  std::uint32_t most = lease.failures + (lease.may_charge ? 1 : 0);
  if (message.failures < least || message.failures > most) {
    report("failures are counted exactly",
           text(message.number) + " says " + std::to_string(message.failures) + " failures; " +
               text(number) + " said " + std::to_string(lease.failures) +
               (lease.charged      ? " and was charged"
                : lease.may_charge ? " and may have been charged"
                                   : " and was not charged"),
           message.place);
  }
}

void GroupModel::check_exclusive(const HandedOut& message, const Message& known) {
  if (known.leases.empty()) return;
  const auto& [number, lease] = *known.leases.rbegin();
  // There, one message's end ends the leases of all later ones.
  if (policy_.ordering == Ordering::kPartition) return;
  if (lease.may_end || number.redrive != message.number.redrive) return;
  if (clock_.monotonic() >= lease.until) {
    coverage_.count(lease.may_charge ? "lease ran out started" : "lease ran out unstarted");
    return;
  }
  report("a lease is exclusive", text(message.number) + " while " + text(number) + " is still held",
         message.place);
}

void GroupModel::holder_gone(std::uint64_t holder) {
  for (auto& [place, message] : messages_) {
    for (auto& [number, lease] : message.leases) {
      if (lease.holder == holder) lease.may_end = true;
    }
  }
}

void GroupModel::restarted() {
  ++life_;
  for (auto& [place, message] : messages_) {
    for (auto& [number, lease] : message.leases) lease.may_end = true;
  }
}

// --- settlements ---

bool GroupModel::is_stale(const HandedOut& message) const {
  auto known = messages_.find(message.place);
  return known != messages_.end() && !known->second.leases.empty() &&
         (message.number < known->second.leases.rbegin()->first ||
          message.token < known->second.leases.rbegin()->second.token);
}

void GroupModel::settle_sent(const HandedOut& message, SettleVerb verb, FailureClass failure) {
  Message& known = messages_[message.place];
  if (verb == SettleVerb::kAck) known.ack_sent = true;
  Lease* lease = find(message);
  if (lease == nullptr) return;
  if (verb != SettleVerb::kAck) lease->may_end = true;
  if (verb != SettleVerb::kRetry && verb != SettleVerb::kDeadLetter) return;
  if (failure != FailureClass::kTransient) lease->may_charge = true;
  if (verb == SettleVerb::kDeadLetter) lease->asked_dead = true;
  if (failure == FailureClass::kInvalid) lease->asked_invalid = true;
}

void GroupModel::settle_told(const HandedOut& message, SettleVerb verb, FailureClass failure,
                             const Reply<SettleOutcome>& outcome, bool was_stale) {
  Lease* lease = find(message);
  if (lease == nullptr) return;
  if (!outcome) {
    if (outcome.error() == Errc::kLeaseLost) {
      coverage_.count("settlement of a lost lease refused");
      bool revocable = policy_.ordering == Ordering::kPartition;
      if (!revocable && !lease->may_end && !was_stale && clock_.monotonic() < lease->until) {
        report("a lease lasts", text(message.number) + " is refused as lost, and nobody ended it",
               message.place);
      }
    }
    if (outcome.error() == Errc::kAlreadySettled) coverage_.count("settled before");
    if (outcome.error() == Errc::kOutcomeUnknown) coverage_.count("settlement outcome unknown");
    return;
  }
  if (was_stale) {
    report("a stale token settles nothing",
           "a settlement of " + text(message.number) + " took effect after a newer delivery",
           message.place);
  }
  Message& known = messages_[message.place];
  known.changed = ++moment_;
  bool second_end =
      known.acked && (*known.acked < message.number ||
                      (*outcome == SettleOutcome::kDone && *known.acked != message.number));
  if (second_end) {
    report("one end",
           "acknowledged in " + text(*known.acked) + " and settled in " + text(message.number),
           message.place);
  }
  switch (*outcome) {
    case SettleOutcome::kDone:
      coverage_.count("acked");
      if (message.number.redrive > 0) coverage_.count("redriven and acked");
      lease->acked = true;
      known.acked = message.number;
      break;
    case SettleOutcome::kReleased:
      coverage_.count("released");
      break;
    case SettleOutcome::kDelayed:
      told_delayed(message, *lease, failure, verb);
      break;
    case SettleOutcome::kDead:
      told_dead(message, *lease, failure, verb);
      break;
  }
}

void GroupModel::told_delayed(const HandedOut& message, Lease& lease, FailureClass failure,
                              SettleVerb verb) {
  if (failure == FailureClass::kTransient) {
    coverage_.count("transient");
    return;
  }
  coverage_.count("retried");
  if (policy_.brake.enabled) return;  // what fails while it is not closed is not charged (D13)
  lease.charged = true;
  // A death whose payload can not be read right now waits, as DeadLetter says.
  bool late = lease.failures + 1 >= most_max_failures_ || verb == SettleVerb::kDeadLetter ||
              failure == FailureClass::kInvalid;
  if (late && !unreadable_) {
    report("N failures, then a dead letter",
           text(message.number) + " failed with " + std::to_string(lease.failures) +
               " failures before, and waits again",
           message.place);
  }
}

void GroupModel::told_dead(const HandedOut& message, Lease& lease, FailureClass failure,
                           SettleVerb verb) {
  Message& known = messages_[message.place];
  known.died = message.number;
  known.died_in = life_;
  const SimMessage* original = log_.find(message.place);
  if (original != nullptr) {
    dead_[{message.place.partition, original->key}].insert(message.place.offset);
    dead_[{message.place.partition, std::nullopt}].insert(message.place.offset);
  }
  if (message.number.redrive > 0) coverage_.count("redriven and died again");
  bool early = verb == SettleVerb::kRetry && failure != FailureClass::kInvalid &&
               (failure == FailureClass::kTransient || lease.failures + 1 < least_max_failures_);
  if (early) {
    report(
        "N failures, then a dead letter",
        text(message.number) + " died with " + std::to_string(lease.failures) + " failures before",
        message.place);
  }
}

void GroupModel::extend_sent(const HandedOut& message, bool started) {
  Lease* lease = find(message);
  if (lease == nullptr || !started) return;
  lease->may_charge = true;  // once started, its end is a failure (D6)
}

void GroupModel::extend_told(const HandedOut& message, bool ok, MonotonicTime sent,
                             std::uint64_t holder) {
  Lease* lease = find(message);
  if (lease == nullptr || !ok) return;
  coverage_.count("extended");
  lease->until = std::max(lease->until, sent + Duration(policy_.lease));
  lease->holder = holder;
}

void GroupModel::stolen_settle_told(const HandedOut& message, const Reply<SettleOutcome>& outcome) {
  if (outcome) {
    return report("a lease is its instance's", "another instance settled " + text(message.number),
                  message.place);
  }
  if (outcome.error() == Errc::kLeaseLost) coverage_.count("settled with a stolen token refused");
}

// --- dead letters ---

void GroupModel::check_letter(const DeadLetterSummary& letter, Message& known,
                              std::uint64_t asked) {
  Place place = place_of(letter);
  if (known.number && *known.number != letter.id.number) {
    report("one dead letter",
           "it has the numbers " + std::to_string(*known.number) + " and " +
               std::to_string(letter.id.number),
           place);
  }
  known.number = letter.id.number;
  bool dead = letter.state == DeadLetterState::kDead;
  if (letter.state == DeadLetterState::kDiscarded && !known.discard_sent) {
    report("a discard is somebody's", "nobody asked for it", place);
  }
  if (letter.redrives > known.redrives_sent) {
    report("redrives are counted exactly",
           std::to_string(letter.redrives) + " redrives, asked for " +
               std::to_string(known.redrives_sent),
           place);
  }
  if (dead) check_reason(letter, known);
  if (known.changed > asked) return;  // the list may be of before that
  if (letter.redrives < known.redrives_done) {
    report("redrives are counted exactly",
           std::to_string(letter.redrives) + " redrives, confirmed " +
               std::to_string(known.redrives_done),
           place);
  }
  if (known.discarded && letter.state != DeadLetterState::kDiscarded) {
    report("a discard is final", "it is " + std::string(waybill::name(letter.state)), place);
  }
  if (dead && known.acked && known.acked->redrive >= letter.redrives) {
    report("one end", "acknowledged, and dead", place);
  }
}

void GroupModel::check_reason(const DeadLetterSummary& letter, const Message& known) {
  auto asked = [&](auto member) {
    return std::ranges::any_of(known.leases, [&](const auto& l) { return l.second.*member; });
  };
  bool fits = true;
  switch (letter.reason) {
    case DeadLetterReason::kMaxFailures:
      fits = letter.failures >= least_max_failures_ &&
             std::ranges::any_of(known.leases, [&](const auto& l) {
               return l.second.may_charge && l.second.failures + 1 >= least_max_failures_;
             });
      coverage_.count("dead: max_failures");
      break;
    case DeadLetterReason::kInvalid:
      fits = asked(&Lease::asked_invalid);
      coverage_.count("dead: invalid");
      break;
    case DeadLetterReason::kRequested:
      fits = asked(&Lease::asked_dead);
      coverage_.count("dead: requested");
      break;
    case DeadLetterReason::kDeliveryLimit:
      fits = letter.deliveries >= max_deliveries_;
      coverage_.count("dead: delivery_limit");
      break;
    case DeadLetterReason::kExpired:
      fits = may_have_expired(place_of(letter));
      coverage_.count("dead: expired");
      break;
    default:
      break;
  }
  if (!fits) {
    report("a death has its reason", "nothing made it " + std::string(waybill::name(letter.reason)),
           place_of(letter));
  }
}

void GroupModel::list_told(const std::vector<DeadLetterSummary>& letters, std::uint64_t asked) {
  std::set<Place> listed;
  for (const DeadLetterSummary& letter : letters) {
    if (!listed.insert(place_of(letter)).second) {
      report("one dead letter", "it is listed twice", place_of(letter));
    }
    check_letter(letter, messages_[place_of(letter)], asked);
  }
  for (const auto& [place, known] : messages_) {
    if (!known.died || known.changed > asked) continue;
    if (known.died_in != life_) coverage_.count("dead letter over a restart");
    if (!listed.contains(place)) {
      report("a dead letter stays", "it died in " + text(*known.died) + " and is gone", place);
    }
  }
}

void GroupModel::show_told(const ShowDeadLetterReply& shown, std::uint64_t asked) {
  Place place = place_of(shown.summary);
  const SimMessage* original = log_.find(place);
  if (shown.versions.empty() || !shown.versions.front().message.value) {
    return report("a dead letter has its payload", "it has none", place);
  }
  std::string value(as_text(*shown.versions.front().message.value));
  if (original != nullptr && value != original->value) {
    report("a dead letter has its payload", "another value", place);
  }
  Message& known = messages_[place];
  std::string newest(as_text(shown.versions.back().message.value.value_or(ByteVector{})));
  if (known.changed > asked || !known.open_fixes.empty()) return;
  if (known.last_fix && newest != *known.last_fix) {
    report("a fix stays", "the newest version is another", place);
  }
}

void GroupModel::redrive_sent(const DeadLetterSummary& letter) {
  Message& known = messages_[place_of(letter)];
  ++known.redrives_sent;
  known.changed = ++moment_;
}

void GroupModel::redrive_told(const DeadLetterSummary& letter, const Reply<RedriveReply>& reply) {
  Message& known = messages_[place_of(letter)];
  known.changed = ++moment_;
  if (!reply) return;
  if (reply->redriven > 1) report("a redrive is of what was chosen", "several", place_of(letter));
  if (reply->redriven == 1) {
    coverage_.count("redriven");
    ++known.redrives_done;
  }
}

void GroupModel::discard_sent(const DeadLetterSummary& letter) {
  messages_[place_of(letter)].discard_sent = true;
}

void GroupModel::discard_told(const DeadLetterSummary& letter, const Reply<DiscardReply>& reply) {
  if (!reply || reply->discarded != 1) return;
  coverage_.count("discarded");
  Message& known = messages_[place_of(letter)];
  known.discarded = true;
  known.changed = ++moment_;
}

void GroupModel::fix_sent(const DeadLetterSummary& letter, const std::string& value) {
  messages_[place_of(letter)].open_fixes.insert(value);
}

void GroupModel::fix_told(const DeadLetterSummary& letter, const std::string& value,
                          const Reply<EditDeadLetterReply>& reply) {
  Message& known = messages_[place_of(letter)];
  known.changed = ++moment_;
  if (!reply && reply.error() == Errc::kOutcomeUnknown) return;
  known.open_fixes.erase(value);
  if (!reply) return;
  coverage_.count("fixed");
  known.last_fix = value;
}

// --- policy, accounting, end ---

void GroupModel::policy_sent(const GroupPolicy& policy) {
  least_max_failures_ = std::min(least_max_failures_, policy.max_failures);
  most_max_failures_ = std::max(most_max_failures_, policy.max_failures);
}

void GroupModel::status_told(const DescribeGroupReply& reply) {
  coverage_.count("accounting added up");
  if (reply.group.brake.state == BrakeState::kOpen) coverage_.count("brake open");
  if (reply.group.brake.state == BrakeState::kProbing) coverage_.count("brake probing");
  for (const GroupPartitionStatus& status : reply.partitions) {
    const Accounting& a = status.accounting;
    if (a.held > 0) coverage_.count("held");
    if (a.scheduled > 0) coverage_.count("scheduled");
    Place place{status.partition.value, a.start.value};
    if (a.sum() != static_cast<std::uint64_t>(a.end - a.start)) {
      report("accounting adds up",
             "the states of partition " + std::to_string(place.partition) + " sum to " +
                 std::to_string(a.sum()) + " of " + std::to_string(a.end - a.start),
             place);
    }
    std::uint64_t may_be_done = 0;
    for (auto it = messages_.lower_bound({place.partition, 0});
         it != messages_.end() && it->first.partition == place.partition; ++it) {
      may_be_done += it->second.ack_sent ? 1 : 0;
    }
    if (a.done > may_be_done) {
      report("accounting is true",
             std::to_string(a.done) + " done in partition " + std::to_string(place.partition) +
                 ", and only " + std::to_string(may_be_done) + " were ever acknowledged",
             place);
    }
  }
}

void GroupModel::check_end(const std::vector<DeadLetterSummary>& letters,
                           const DescribeGroupReply& status,
                           const std::vector<std::int64_t>& ends) {
  list_told(letters, moment_);
  std::map<Place, DeadLetterState> states;
  for (const DeadLetterSummary& letter : letters) states[place_of(letter)] = letter.state;
  for (std::uint32_t p = 0; p < ends.size(); ++p) {
    std::uint64_t done = 0;
    for (std::int64_t offset = 0; offset < ends[p]; ++offset) {
      Place place{p, offset};
      const Message& known = messages_[place];
      auto state = states.find(place);
      bool given_up = state != states.end() && state->second != DeadLetterState::kRedriven;
      if (!given_up && !known.ack_sent && !may_have_expired(place)) {
        report("no loss", "nobody acknowledged it, and it is no dead letter", place);
      }
      if (state == states.end() && known.died) {
        report("a dead letter stays", "it died in " + text(*known.died) + " and is gone", place);
      }
      if (given_up && known.acked && known.acked->redrive >= known.redrives_sent) {
        report("one end", "acknowledged, and dead", place);
      }
      done += given_up ? 0 : 1;
    }
    for (const GroupPartitionStatus& partition : status.partitions) {
      if (partition.partition.value != p) continue;
      std::uint64_t told = partition.accounting.done + partition.accounting.expired;
      if (partition.accounting.expired > 0) coverage_.count("expired");
      if (told == done) continue;
      report("accounting is true",
             std::to_string(told) + " done or expired, counted " + std::to_string(done),
             Place{p, 0});
    }
  }
}

std::string GroupModel::explain(Place place) const {
  auto found = messages_.find(place);
  if (found == messages_.end()) return name_ + " never had it";
  const Message& m = found->second;
  return name_ + ": " + std::to_string(m.leases.size()) + " deliveries, " +
         std::to_string(m.redrives_sent) + " redrives asked for";
}

}  // namespace waybill

#include "tests/sim/group_model.h"

#include <algorithm>

namespace waybill {
namespace {

/// What `free` means while a seed lasts, unless free_for is shorter.
constexpr std::chrono::hours kForEver{1};

std::string text(DeliveryNumber number) {
  return "delivery " + std::to_string(number.delivery) +
         (number.redrive > 0 ? " of redrive " + std::to_string(number.redrive) : "");
}

/// Waits at least so long after its first failure.
std::chrono::milliseconds least_wait(const Backoff& backoff) {
  std::chrono::milliseconds wait = std::min(backoff.base, backoff.cap);
  if (backoff.jitter == Jitter::kFull) return {};
  return backoff.jitter == Jitter::kEqual ? wait / 2 : wait;
}

}  // namespace

FailureAction action_of(const FailureRules& rules, FailureClass failure_class) {
  switch (failure_class) {
    case FailureClass::kTransient:
      return rules.transient;
    case FailureClass::kInvalid:
      return rules.invalid;
    case FailureClass::kTimeout:
      return rules.timeout;
    default:
      return rules.failed;
  }
}

GroupModel::GroupModel(std::string name, const GroupPolicy& policy, std::uint32_t first_partition,
                       std::uint32_t max_deliveries, SimWorld& world, LogModel& log,
                       Findings& findings)
    : name_(std::move(name)),
      first_partition_(first_partition),
      max_deliveries_(max_deliveries),
      world_(world),
      log_(log),
      findings_(findings),
      coverage_(world.coverage),
      policy_(policy),
      last_policy_(policy) {}

void GroupModel::report(const char* property, std::string what, Place place) {
  findings_.report(property, name_ + ": " + std::move(what), place);
}

bool GroupModel::Message::discard_sent() const {
  return std::ranges::any_of(letters,
                             [](const auto& l) { return l.second.discard_sent && !l.second.past; });
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

void GroupModel::event(Place place) {
  auto& events = events_[place.partition];
  MonotonicTime& last = messages_[place].last_event;
  events.erase({last, place.offset});
  last = now();
  events.insert({last, place.offset});
}

void GroupModel::pushed(InstanceId holder, const DeliverPush& push,
                        const std::vector<HandedOut>& messages) {
  if (messages.size() > 1) coverage_.count("delivered in a range");
  std::int64_t granted = 0;
  for (const GrantedRange& range : push.ranges) granted += range.range.count();
  if (granted != static_cast<std::int64_t>(messages.size())) {
    report("a delivery has its messages", "a granted message is not in its batches",
           place(push.partition, push.ranges.front().range.first));
  }
  for (const HandedOut& message : messages) {
    coverage_.count("delivered");
    if (message.number.delivery > 1) coverage_.count("delivered again");
    Message& known = messages_[message.place];
    if (policy_.ever([](const GroupPolicy& p) { return p.attempts == Attempts::kRelaxed; })) {
      forget_unrecorded(message, known);
    }
    check_stopped(message);
    if (!given_.insert({message.place.partition, {message.token, message.place.offset}}).second) {
      report("a token is given once", "its token was given before", message.place);
    }
    if (!resetting_) {
      if (known.vague && message.number == DeliveryNumber{0, 1}) is_sure(known, nullptr);
      known.skipped = false;
      check_order(holder, message);
      check_times(message, known);
      if (!known.vague) check_pushed(message, known);
    }
    bool alone = !resetting_ && !known.vague && goes_alone(message, known);
    Lease& lease = known.leases[message.number];
    lease = {};
    lease.goes_alone = alone;
    lease.token = message.token;
    lease.failures = message.failures;
    lease.holder = holder;
    lease.life = life_;
    lease.pushed = now();
    lease.until = now() + Duration(push.lease);
    open_[message.place.partition].insert(message.place.offset);
    event(message.place);
    lease.in_partition = ordered(Ordering::kPartition);
  }
  note_company(holder, messages);
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
  const Letter* newest = known.letters.empty() ? nullptr : &known.letters.rbegin()->second;
  if (newest != nullptr && newest->discarded && newest->sent_after == resets_) {
    report("a discard is final", "it was discarded", message.place);
  }
  if (message.number.redrive > known.redrives_sent) {
    report("a redrive is somebody's",
           "nobody asked for redrive " + std::to_string(message.number.redrive), message.place);
  }
  // What was taken back in order does not count (D8), clients can not tell how often that was; nor
  // what never left the broker, so those that came are counted.
  bool countable =
      policy_.always([](const GroupPolicy& p) { return p.ordering != Ordering::kPartition; });
  auto seen = std::ranges::count_if(known.leases, [&](const auto& lease) {
    return lease.first.redrive == message.number.redrive && lease.first < message.number;
  });
  if (countable && seen >= max_deliveries_) {
    report("max_deliveries", text(message.number), message.place);
  }
  check_payload(message, known);
  check_counts(message, known);
  check_exclusive(message, known);
}

void GroupModel::check_payload(const HandedOut& message, const Message& known) {
  if (message.number.redrive == 0) return;  // LogModel looked
  const SimMessage* original = log_.find(message.place);
  static const Letter none_yet;
  const Letter& letter = known.letters.empty() ? none_yet : known.letters.rbegin()->second;
  // Nobody knows yet what was published there if its publisher never heard (a dead letter that
  // nobody was handed before).
  bool fits = letter.last_fix ? message.value == *letter.last_fix
                              : original == nullptr || message.value == original->value;
  fits = fits || letter.open_fixes.contains(message.value);
  if (!fits) {
    report("a redrive delivers the newest version", "another value: " + message.value.substr(0, 40),
           message.place);
  }
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
  auto before = std::prev(later);
  const auto& [number, lease] = *before;
  if (lease.life != life_ && message.failures > 0) {
    coverage_.count("delivered after a restart with failures kept");
  }
  bool may_charge = may_be_charged(known.leases, before);
  if (message.failures > lease.failures && !lease.failure && !lease.started) {
    coverage_.count("crash of one held alone charged");
  }
  std::uint32_t least = lease.failures + (lease.charged ? 1 : 0);
  std::uint32_t most = lease.failures + (may_charge ? 1 : 0);
  if (message.failures < least || message.failures > most) {
    report("failures are counted exactly",
           text(message.number) + " says " + std::to_string(message.failures) + " failures; " +
               text(number) + " said " + std::to_string(lease.failures) +
               (lease.charged ? " and was charged"
                : may_charge  ? " and may have been charged"
                              : " and was not charged"),
           message.place);
  }
}

void GroupModel::holder_gone(InstanceId holder) {
  held_by_.erase(holder);
  streak_.clear();
  streak_broken_ = now();
  for (auto& [place, message] : messages_) {
    for (auto& [number, lease] : message.leases) {
      if (lease.holder != holder) continue;
      lease.lost = now();
      lease.crashed = true;
      if (!lease.ended) event(place);
    }
  }
}

void GroupModel::restarted() {
  ++life_;
  held_by_.clear();
  policy_.restarted();
  paused_.restarted();
  mode_.restarted();
  resolve_full();
  streak_.clear();
  streak_broken_ = now();
  for (auto& [place, message] : messages_) {
    for (auto& [number, lease] : message.leases) {
      lease.lost = now();
      if (!lease.ended) event(place);
    }
  }
}

// --- settlements ---

bool GroupModel::is_stale(const HandedOut& message) const {
  auto known = messages_.find(message.place);
  return known != messages_.end() && std::ranges::any_of(known->second.leases, [&](const auto& l) {
           return l.second.token > message.token;
         });
}

/// Its holder vanished while it may have held nothing else: since others had vanished with the
/// message before, or since it was its last attempt and not its first (D10).
bool GroupModel::may_be_blamed(const Leases& leases, Leases::const_iterator at) const {
  const auto& [number, lease] = *at;
  if (!lease.crashed || lease.in_company) return false;
  // That it goes alone was found out some time before it went, and stays so if the policy changes.
  MonotonicTime since = at == leases.begin() ? lease.pushed : std::prev(at)->second.pushed;
  bool last = policy_.ever(
      [&](const GroupPolicy& p) { return lease.failures + 1 >= p.max_failures; }, since);
  if (last && number.delivery > 1) return true;
  return std::count_if(leases.begin(), at, [&](const auto& l) {
           return l.first.redrive == number.redrive && l.second.crashed;
         }) >= 2;
}

/// Its end may have been charged as a failure.
bool GroupModel::may_be_charged(const Leases& leases, Leases::const_iterator at) const {
  const Lease& lease = at->second;
  auto charges = [&](FailureClass failure_class) {
    return policy_.ever(
        [&](const GroupPolicy& p) {
          FailureAction action = action_of(p.failures, failure_class);
          return action != FailureAction::kFree || p.failures.free_for < kForEver;
        },
        lease.pushed);
  };
  return (lease.failure && charges(*lease.failure)) ||
         (lease.started && charges(FailureClass::kTimeout)) || may_be_blamed(leases, at);
}

/// Its end may have made its message a dead letter.
bool GroupModel::may_die(const Leases& leases, Leases::const_iterator at) const {
  const Lease& lease = at->second;
  if (lease.asked_dead) return true;
  auto last = [&](const GroupPolicy& p) { return lease.failures + 1 >= p.max_failures; };
  auto kills = [&](FailureClass failure_class) {
    return policy_.ever(
        [&](const GroupPolicy& p) {
          FailureAction action = action_of(p.failures, failure_class);
          if (action == FailureAction::kDeadLetter) return true;
          bool free = action == FailureAction::kFree && p.failures.free_for >= kForEver;
          return !free && last(p);
        },
        lease.pushed);
  };
  return (lease.failure && kills(*lease.failure)) ||
         (lease.started && kills(FailureClass::kTimeout)) ||
         (may_be_blamed(leases, at) && policy_.ever(last, lease.pushed));
}

bool GroupModel::may_have_died(const Leases& leases) const {
  for (auto lease = leases.begin(); lease != leases.end(); ++lease) {
    if (may_die(leases, lease)) return true;
  }
  return false;
}

/// It may have been delivered as often as it can be (D3). A broker that ends between a durable
/// lease and its push counts a delivery that nobody has seen.
bool GroupModel::may_be_worn_out(const Leases& leases) const {
  return std::ranges::any_of(leases, [&](const auto& lease) {
    return lease.first.delivery + (life_ - lease.second.life) >= max_deliveries_;
  });
}

/// What fails while the brake is not closed is not charged (D13).
bool GroupModel::brake_may_forgive(MonotonicTime from) const {
  // One that tripped before the policy lost its brake is closed a while later.
  return policy_.ever([](const GroupPolicy& p) { return p.brake.enabled; }) ||
         mode_.ever([](BrakeMode mode) { return mode != BrakeMode::kAutomatic; }, from);
}

void GroupModel::settle_sent(const HandedOut& message, SentSettlement& settlement) {
  settlement.at = now();
  settlement.stale = is_stale(message);
  Message& known = messages_[message.place];
  if (settlement.verb == SettleVerb::kAck) {
    streak_.clear();
    streak_broken_ = now();
  }
  Lease* lease = find(message);
  if (lease != nullptr) {
    lease->settled = true;
    held_by_[lease->holder].erase({message.place, message.number});
  }
  bool voided = lease == nullptr && resets_ > 0 && !resetting_ &&
                policy_.always([](const GroupPolicy& p) { return p.attempts == Attempts::kExact; });
  if (voided) settlement.stale = true;  // by a reset
  if (settlement.verb == SettleVerb::kAck && !voided) known.ack_sent = true;
  if (lease == nullptr || settlement.verb == SettleVerb::kAck) return;
  if (!lease->ending) lease->ending = now();
  event(message.place);
  if (settlement.verb == SettleVerb::kRelease) return;
  lease->failure = settlement.failure;
  if (settlement.verb == SettleVerb::kDeadLetter) lease->asked_dead = true;
}

void GroupModel::refused(const HandedOut& message, const Lease& lease,
                         const SentSettlement& settlement, Errc code) {
  if (code == Errc::kAlreadySettled) coverage_.count("settled before");
  if (code == Errc::kOutcomeUnknown) coverage_.count("settlement outcome unknown");
  if (code != Errc::kLeaseLost) return;
  coverage_.count("settlement of a lost lease refused");
  bool lasts = !lease.may_end() && !settlement.stale && now() < lease.until && !resetting_ &&
               !messages_[message.place].vague;
  if (lasts && !taken_back(message.place, lease)) {
    report("a lease lasts", text(message.number) + " is refused as lost, and nobody ended it",
           message.place);
  }
}

void GroupModel::settle_told(const HandedOut& message, const SentSettlement& settlement,
                             const Reply<SettleOutcome>& outcome) {
  Lease* lease = find(message);
  if (outcome && settlement.stale) {
    report("a stale token settles nothing",
           "a settlement of " + text(message.number) + " took effect after a newer delivery or a " +
               "reset",
           message.place);
  }
  if (lease == nullptr) return;
  if (!outcome) return refused(message, *lease, settlement, outcome.error().code);
  lease->ended = lease->ended.value_or(now());
  note_outcome(message, settlement,
               settlement.verb == SettleVerb::kRetry || settlement.verb == SettleVerb::kDeadLetter);
  bool over = *outcome == SettleOutcome::kDone || *outcome == SettleOutcome::kDead;
  if (over) open_[message.place.partition].erase(message.place.offset);
  if (*outcome != SettleOutcome::kDone) event(message.place);
  Message& known = messages_[message.place];
  known.changed = ++moment_;
  // It took effect, so its lease is of the epoch that was known to have begun.
  bool sure = !known.vague || settlement.at > reset_at_;
  if (known.vague && sure && !resetting_ && message.number == DeliveryNumber{0, 1}) {
    is_sure(known, lease);
  }
  bool second_end =
      known.acked && (*known.acked < message.number ||
                      (*outcome == SettleOutcome::kDone && *known.acked != message.number));
  if (second_end && !resetting_ && !known.vague) {
    report("one end",
           "acknowledged in " + text(*known.acked) + " and settled in " + text(message.number),
           message.place);
  }
  check_behind_failure(message, *lease, settlement);
  switch (*outcome) {
    case SettleOutcome::kDone:
      coverage_.count("acked");
      if (message.number.redrive > 0) coverage_.count("redriven and acked");
      if (!sure) return;  // it may have been before the reset
      if (!known.acked) ++acked_[message.place.partition];
      known.acked = message.number;
      return;
    case SettleOutcome::kReleased:
      coverage_.count("released");
      break;
    case SettleOutcome::kDelayed:
      told_delayed(message, *lease, settlement);
      break;
    case SettleOutcome::kDead:
      told_dead(message, *lease, settlement);
      break;
  }
  failures_told_[{message.place.partition, now()}] = {message.place.offset, settlement.at};
}

void GroupModel::told_delayed(const HandedOut& message, Lease& lease,
                              const SentSettlement& settlement) {
  FailureClass failure = settlement.failure;
  coverage_.count(failure == FailureClass::kTransient ? "transient" : "retried");
  if (settlement.verb == SettleVerb::kRetry) {
    std::chrono::milliseconds wait =
        policy_.least([](const GroupPolicy& p) { return least_wait(p.backoff); }, settlement.at);
    if (settlement.retry_after) wait = *settlement.retry_after;
    if (settlement.retry_after && wait > std::chrono::milliseconds(0)) {
      coverage_.count("retried after a time of its own");
    }
    // The broker counts whole milliseconds over a restart.
    lease.go_after = settlement.at + Duration(wait) + -Duration(std::chrono::milliseconds(2));
  }
  bool charged = policy_.always(
      [&](const GroupPolicy& p) {
        return action_of(p.failures, failure) == FailureAction::kCharge;
      },
      settlement.at);
  bool deadly = settlement.verb == SettleVerb::kDeadLetter ||
                policy_.always(
                    [&](const GroupPolicy& p) {
                      return action_of(p.failures, failure) == FailureAction::kDeadLetter;
                    },
                    settlement.at);
  bool forgiven = brake_may_forgive(settlement.at);
  if (charged && !forgiven) {
    lease.charged = true;
    deadly =
        deadly ||
        policy_.always([&](const GroupPolicy& p) { return lease.failures + 1 >= p.max_failures; },
                       settlement.at);
  }
  // A death whose payload can not be read right now waits, as DeadLetter says.
  if (deadly && !unreadable_) {
    report("N failures, then a dead letter",
           text(message.number) + " failed with " + std::to_string(lease.failures) +
               " failures before, and waits again",
           message.place);
  }
}

void GroupModel::told_dead(const HandedOut& message, Lease& lease,
                           const SentSettlement& settlement) {
  Message& known = messages_[message.place];
  known.died = message.number;
  known.died_in = life_;
  const SimMessage* original = log_.find(message.place);
  if (original != nullptr) {
    dead_[{message.place.partition, original->key}].insert(message.place.offset);
    dead_[{message.place.partition, std::nullopt}].insert(message.place.offset);
  }
  if (message.number.redrive > 0) coverage_.count("redriven and died again");
  if (settlement.verb == SettleVerb::kRetry &&
      !may_die(known.leases, known.leases.find(message.number))) {
    report(
        "N failures, then a dead letter",
        text(message.number) + " died with " + std::to_string(lease.failures) + " failures before",
        message.place);
  }
}

/// For the brake (D13): how many messages failed in a row, with nothing else going on.
void GroupModel::note_outcome(const HandedOut& message, const SentSettlement& settlement,
                              bool failed) {
  // Longer than a request is on its way.
  constexpr std::chrono::milliseconds kOnTheWay(300);
  if (!failed) {
    if (settlement.verb == SettleVerb::kAck) {
      streak_.clear();
      streak_broken_ = now();
    }
    return;
  }
  bool counts = settlement.failure != FailureClass::kInvalid && message.number.redrive == 0 &&
                settlement.at > streak_broken_ + Duration(kOnTheWay) &&
                world_.last_rest().at > streak_broken_ + Duration(kOnTheWay);
  if (!counts) return;
  streak_.insert(message.place);
  last_failure_ = now();
}

void GroupModel::extend_sent(const HandedOut& message, bool started) {
  Lease* lease = find(message);
  if (lease == nullptr) return;
  if (started) lease->started = true;
  // Its time begins anew, and may be shorter now.
  lease->until = std::min(lease->until, now() + least_lease(now()));
}

Duration GroupModel::least_lease(MonotonicTime from) const {
  return policy_.least([](const GroupPolicy& p) { return p.lease; }, from);
}

void GroupModel::extend_told(const HandedOut& message, bool ok, MonotonicTime sent,
                             InstanceId holder) {
  Lease* lease = find(message);
  if (lease == nullptr || !ok) return;
  coverage_.count("extended");
  lease->until = std::max(lease->until, sent + least_lease(sent));
  lease->holder = holder;
  if (lease->lost && *lease->lost < sent) lease->lost.reset();  // claimed
}

void GroupModel::stolen_settle_told(const HandedOut& message, const Reply<SettleOutcome>& outcome) {
  if (outcome) {
    return report("a lease is its instance's", "another instance settled " + text(message.number),
                  message.place);
  }
  if (outcome.error() == Errc::kLeaseLost) coverage_.count("settled with a stolen token refused");
}

}  // namespace waybill

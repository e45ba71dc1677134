// GroupModel: what one group's consumers were handed, what they said and what they were told, and
// what people did to it and to its dead letters. Like LogModel it knows only what passed between
// clients and the broker, and when the broker had nothing to do. An operation ended well, was
// refused, or its end is unknown; then both is possible, for ever.
//
// A message's deliveries are told apart by (redrive, delivery): the broker counts both, and neither
// may ever repeat or go back, until a reset begins anew. "Before" and "after" are in that order,
// not in the order of arrival.
//
// group_model.cc deliveries and settlements; group_order.cc order, exclusiveness, times;
// group_letters.cc dead letters; group_state.cc policy, pause, brake, reset, accounting, the end.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "protocol/model/requests.h"
#include "tests/sim/findings.h"
#include "tests/sim/log_model.h"
#include "tests/sim/setting.h"
#include "tests/sim/sim_world.h"

namespace waybill {

/// Which delivery of a message: how often it was redriven, and its number since then.
struct DeliveryNumber {
  std::uint32_t redrive = 0;
  std::uint32_t delivery = 0;
  friend auto operator<=>(const DeliveryNumber&, const DeliveryNumber&) = default;
};

/// One delivery as its consumer may settle it.
struct HandedOut {
  Place place;
  DeliveryNumber number;
  LeaseToken token;
  std::uint32_t failures = 0;
  std::string value;
};

/// A settlement under way.
struct SentSettlement {
  SettleVerb verb = SettleVerb::kAck;
  FailureClass failure = FailureClass::kFailed;
  std::optional<std::chrono::milliseconds> retry_after;
  MonotonicTime at;
  bool stale = false;  ///< a newer delivery had left the broker before it was sent
};

/// What a partition's last reset said; zeros before the first: groups begin at the first message.
struct PartitionEpoch {
  std::int64_t to = 0;                    ///< where the group began
  std::int64_t floor = 0;                 ///< the first message that was not done then
  std::int64_t passed_to = 0;             ///< as `to`, the highest of the resets before
  std::uint64_t skipped = 0;              ///< messages
  std::set<std::int64_t> done;            ///< before `to`, and acknowledged for certain
  std::optional<std::int64_t> accounted;  ///< where its accounting begins, once that was told
};

/// What was known when a question was asked.
struct Asked {
  std::uint64_t moment = 0;
  MonotonicTime at;
  Rest rest;
  std::map<std::uint32_t, std::uint64_t> acked;  ///< messages of each partition, at least
  std::size_t failing = 0;                       ///< see GroupModel::streak_
};

class GroupModel {
 public:
  /// `first_partition`: the number of its topic's first partition in the run.
  GroupModel(std::string name, const GroupPolicy& policy, std::uint32_t first_partition,
             std::uint32_t max_deliveries, SimWorld& world, LogModel& log, Findings& findings);
  /// A payload may be unreadable for a while, since the disk has errors: what should die may wait.
  void expect_unreadable() { unreadable_ = true; }
  /// Its clock does not jump: times of messages can be checked.
  void expect_steady_clock() { steady_clock_ = true; }

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] Place place(PartitionIndex partition, Offset offset) const {
    return {first_partition_ + partition.value, offset.value};
  }
  [[nodiscard]] PartitionIndex partition_of(Place place) const {
    return {place.partition - first_partition_};
  }

  // --- deliveries ---

  /// The broker lets it go now; `holder` names the consumer.
  void pushed(InstanceId holder, const DeliverPush& push, const std::vector<HandedOut>& messages);
  /// The broker takes back what the holder has of a partition, from an offset on.
  void revoked(InstanceId holder, const RevokePush& push);
  /// The broker lost sight of the holder, or began anew: its leases may end.
  void holder_gone(InstanceId holder);
  void restarted();

  // --- settlements ---

  /// Notes the time, and whether it is stale already.
  void settle_sent(const HandedOut& message, SentSettlement& settlement);
  void settle_told(const HandedOut& message, const SentSettlement& settlement,
                   const Reply<SettleOutcome>& outcome);
  void extend_sent(const HandedOut& message, bool started);
  /// Extended at or after `sent`.
  void extend_told(const HandedOut& message, bool ok, MonotonicTime sent, InstanceId holder);
  void stolen_settle_told(const HandedOut& message, const Reply<SettleOutcome>& outcome);

  // --- dead letters ---

  [[nodiscard]] Asked ask() const;
  /// All dead letters.
  void list_told(const std::vector<DeadLetterSummary>& letters, const Asked& asked);
  void show_told(const ShowDeadLetterReply& shown, const Asked& asked);
  void redrive_sent(const DeadLetterSummary& letter);
  void redrive_told(const DeadLetterSummary& letter, const Reply<RedriveReply>& reply);
  void discard_sent(const DeadLetterSummary& letter);
  void discard_told(const DeadLetterSummary& letter, const Reply<DiscardReply>& reply);
  /// With the discard. It is erased also if it was discarded or redriven before (D18).
  void erase_sent(const DeadLetterSummary& letter);
  void erase_told(const DeadLetterSummary& letter, const Reply<DiscardReply>& reply);
  void fix_sent(const DeadLetterSummary& letter, const std::string& value);
  void fix_told(const DeadLetterSummary& letter, const std::string& value,
                const Reply<EditDeadLetterReply>& reply);

  // --- what people set ---

  [[nodiscard]] const GroupPolicy& policy() const { return last_policy_; }
  /// Its dead letters may hold what is behind them.
  [[nodiscard]] bool may_hold() const {
    return policy_.ever([](const auto& p) { return p.on_dead_letter == OnDeadLetter::kHold; },
                        now());
  }
  std::uint64_t policy_sent(const GroupPolicy& policy);
  void policy_told(std::uint64_t request, bool ok);
  std::uint64_t pause_sent(bool paused) { return paused_.sent(paused, now()); }
  void pause_told(std::uint64_t request, bool ok);
  std::uint64_t brake_sent(BrakeMode mode);
  void brake_told(std::uint64_t request, bool ok) { mode_.answered(request, ok, now()); }
  /// From now on any message may begin anew; until reset_told() nobody can say which has. Sent
  /// again, it may happen again.
  void reset_sent(const ResetGroupRequest& request);
  /// Requires that no reset is under way any more.
  void reset_told(const std::vector<ResetPartition>& partitions);
  [[nodiscard]] bool resetting() const { return resetting_.has_value(); }
  /// An answer may be of before a reset.
  [[nodiscard]] bool is_void(const Asked& asked) const {
    return resetting_ || asked.moment < forgotten_;
  }
  void dry_run_told(const ResetGroupRequest& request, const ResetGroupReply& reply,
                    const std::vector<std::int64_t>& known_ends);

  // --- accounting, end ---

  void status_told(const DescribeGroupReply& reply, const Asked& asked);
  void check_told(const CheckGroupReply& reply);
  /// Nothing moves any more; `letters` are all dead letters, `status` the last accounting, `ends`
  /// those of its partitions.
  void check_end(const std::vector<DeadLetterSummary>& letters, const DescribeGroupReply& status,
                 const std::vector<std::int64_t>& ends);

 private:
  struct Lease {
    LeaseToken token;
    std::uint32_t failures = 0;  ///< as told with it
    InstanceId holder;
    std::uint64_t life = 0;  ///< of the broker
    MonotonicTime pushed;
    MonotonicTime until;                  ///< exclusive at least so long, unless it may end
    std::optional<MonotonicTime> lost;    ///< its holder or the broker went, and nobody claimed it
    std::optional<MonotonicTime> ending;  ///< a settlement that is no ack was sent
    std::optional<MonotonicTime> ended;   ///< an end was confirmed
    std::optional<MonotonicTime> go_after;  ///< confirmed that it waits at least so long
    std::optional<FailureClass> failure;    ///< of what was sent last
    bool in_partition = false;              ///< leased while the order was `partition`
    bool started = false;                   ///< was sent: its running out is a failure (D6)
    bool settled = false;                   ///< a settlement was sent
    bool crashed = false;                   ///< its holder vanished (D10)
    bool in_company = false;                ///< its holder had other leases meanwhile
    bool goes_alone = false;                ///< it must not have had
    bool charged = false;                   ///< confirmed
    bool asked_dead = false;                ///< dead_letter was sent

    [[nodiscard]] bool may_end() const { return lost || ending; }
  };
  struct Letter {
    std::uint32_t redrives_done = 0;
    bool discard_sent = false;
    std::optional<std::uint32_t> sent_after;  ///< so many resets, if none was under way
    bool discarded = false;
    bool past = false;                    ///< discarded, and its message began anew since
    std::set<std::string> open_fixes;     ///< may or may not have happened
    std::optional<std::string> last_fix;  ///< confirmed, the newest
    bool erase_sent = false;
    bool erased = false;  ///< confirmed
  };
  struct Message {
    std::map<DeliveryNumber, Lease> leases;
    std::uint32_t redrives_sent = 0;
    bool ack_sent = false;
    std::optional<DeliveryNumber> acked;
    std::optional<DeliveryNumber> died;       ///< the last confirmed
    std::map<std::uint64_t, Letter> letters;  ///< by number; several after a reset
    MonotonicTime last_event;                 ///< see events_
    std::uint64_t changed = 0;                ///< the moment something of it was told last
    std::uint64_t died_in = 0;                ///< life of the broker
    std::set<DeadLetterReason> reasons;       ///< for which it may have died before a reset
    bool vague = false;    ///< delivered while a reset was under way: its numbers mean nothing
    bool skipped = false;  ///< a reset may have passed over it, or left it dead

    [[nodiscard]] bool discard_sent() const;
  };
  // A message's lane: its partition and key, or no key for the partition as a whole.
  using Lane = std::pair<std::uint32_t, std::optional<std::string>>;

  [[nodiscard]] MonotonicTime now() const { return world_.now(); }
  [[nodiscard]] static Letter& letter_of(Message& message, const DeadLetterSummary& letter);
  Lease* find(const HandedOut& message);
  void report(const char* property, std::string what, Place place);

  // Deliveries.
  void check_pushed(const HandedOut& message, Message& known);
  void check_counts(const HandedOut& message, const Message& known);
  void check_exclusive(const HandedOut& message, const Message& known);
  void check_payload(const HandedOut& message, const Message& known);
  void check_stopped(const HandedOut& message);
  void check_times(const HandedOut& message, const Message& known);
  [[nodiscard]] bool goes_alone(const HandedOut& message, const Message& known) const;
  [[nodiscard]] bool holds_surely(Place place, const Lease& lease) const;
  void note_company(InstanceId holder, const std::vector<HandedOut>& messages);
  void forget_unrecorded(const HandedOut& message, Message& known);
  [[nodiscard]] bool taken_back(Place place, const Lease& lease) const;
  [[nodiscard]] bool may_have_taken_back(Place before, const Lease& lease) const;
  void event(Place place);

  // Order.
  [[nodiscard]] bool ordered(Ordering ordering) const;
  [[nodiscard]] bool holds() const;
  void check_order(InstanceId holder, const HandedOut& message);
  void check_key_order(const HandedOut& message);
  void check_partition_order(InstanceId holder, const HandedOut& message);
  void check_hold(const Lane& lane, const HandedOut& message);
  [[nodiscard]] bool may_be_over(Place place) const;
  [[nodiscard]] bool may_have_expired(Place place) const;

  // Settlements.
  [[nodiscard]] bool is_stale(const HandedOut& message) const;
  using Leases = std::map<DeliveryNumber, Lease>;
  [[nodiscard]] bool may_be_charged(const Leases& leases, Leases::const_iterator lease) const;
  [[nodiscard]] bool may_be_blamed(const Leases& leases, Leases::const_iterator lease) const;
  [[nodiscard]] bool may_die(const Leases& leases, Leases::const_iterator lease) const;
  [[nodiscard]] bool may_have_died(const Leases& leases) const;
  [[nodiscard]] bool may_be_worn_out(const Leases& leases) const;
  [[nodiscard]] bool brake_may_forgive(MonotonicTime from) const;
  [[nodiscard]] Duration least_lease(MonotonicTime from) const;
  void check_behind_failure(const HandedOut& message, const Lease& lease,
                            const SentSettlement& settlement);
  void refused(const HandedOut& message, const Lease& lease, const SentSettlement& settlement,
               Errc code);
  void told_delayed(const HandedOut& message, Lease& lease, const SentSettlement& settlement);
  void told_dead(const HandedOut& message, Lease& lease, const SentSettlement& settlement);
  void note_outcome(const HandedOut& message, const SentSettlement& settlement, bool failed);

  // Dead letters, accounting.
  void check_letter(const DeadLetterSummary& letter, Message& known, const Asked& asked);
  void check_reason(const DeadLetterSummary& letter, const Message& known);
  [[nodiscard]] bool may_have_reason(Place place, const Message& known,
                                     DeadLetterReason reason) const;
  [[nodiscard]] bool discarded_by_reset(const DeadLetterSummary& letter) const;
  void resolve_full();
  void check_brake(const Brake& brake, const Asked& asked);
  void check_accounting(const GroupPartitionStatus& status, const Asked& asked);
  void check_epoch(const GroupPartitionStatus& status);
  void check_done(const GroupPartitionStatus& status, const Asked& asked);
  void check_held(const GroupPartitionStatus& status, const Asked& asked);
  void check_end_of(Place where, const DeadLetterSummary* letter);
  void check_discarded(const GroupPartitionStatus& status,
                       const std::vector<DeadLetterSummary>& letters);
  void check_start(const GroupStart& start, const ResetPartition& plan, std::int64_t known_end);
  void begin_anew(Place place, Message& message, std::int64_t to);
  void begin_letters_anew(Message& message, bool again);
  void is_sure(Message& message, const Lease* first);

  std::string name_;
  std::uint32_t first_partition_;
  std::uint32_t max_deliveries_;
  SimWorld& world_;
  LogModel& log_;
  Findings& findings_;
  Coverage& coverage_;
  bool unreadable_ = false;
  bool steady_clock_ = false;

  Setting<GroupPolicy> policy_;
  Setting<bool> paused_{false};
  Setting<BrakeMode> mode_{BrakeMode::kAutomatic};
  GroupPolicy last_policy_;
  struct Resetting {
    MonotonicTime since;
    GroupStart start;
    bool include_dead = false;
    std::vector<std::int64_t> known_ends;
  };
  std::optional<Resetting> resetting_;
  std::uint32_t resets_ = 0;       ///< told
  std::uint32_t resets_sent_ = 0;  ///< each may have happened
  MonotonicTime reset_at_;         ///< when the last was told
  std::uint64_t forgotten_ = 0;  ///< the moment of the last reset: questions of before it are void
  std::map<std::uint32_t, PartitionEpoch> epochs_;  ///< by partition
  /// From where on a reset may have taken dead letters with it.
  std::optional<std::int64_t> dead_taken_from_;

  std::map<Place, Message> messages_;
  std::set<std::pair<std::uint32_t, std::pair<LeaseToken, std::int64_t>>> given_;
  /// By instance: what it may hold.
  std::map<InstanceId, std::set<std::pair<Place, DeliveryNumber>>> held_by_;
  std::uint64_t moment_ = 1;
  std::uint64_t life_ = 1;
  std::map<std::uint32_t, std::uint64_t> acked_;  ///< by partition, confirmed
  /// Ends that were confirmed and no ack, by partition and time: what came behind is taken back.
  struct FailureTold {
    std::int64_t offset = 0;
    MonotonicTime sent;
  };
  std::map<std::pair<std::uint32_t, MonotonicTime>, FailureTold> failures_told_;
  // By partition: messages without a confirmed end, and when something but an ack happened to each
  // last.
  std::map<std::uint32_t, std::set<std::int64_t>> open_;
  std::map<std::uint32_t, std::set<std::pair<MonotonicTime, std::int64_t>>> events_;
  /// Partitions that were told to stand still for all that is held, and when.
  std::map<std::uint32_t, MonotonicTime> full_since_;
  MonotonicTime full_resolved_;
  // Messages that failed in a row while nothing else can have ended: then the brake must trip.
  std::set<Place> streak_;
  MonotonicTime streak_broken_;  ///< at the last ack, restart, change of policy …
  MonotonicTime last_failure_;   ///< of the streak, told

  // Ordered groups: the first message that can not be over yet, the highest one that was handed
  // out, and those that are known to be dead.
  std::map<Lane, std::int64_t> open_from_;
  std::map<Lane, std::int64_t> highest_;
  std::map<Lane, std::set<std::int64_t>> dead_;
};

/// What a failure of this class does under these rules.
FailureAction action_of(const FailureRules& rules, FailureClass failure_class);

}  // namespace waybill

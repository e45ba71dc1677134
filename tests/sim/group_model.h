// GroupModel: what one group's consumers were handed, what they said and what they were told, and
// what a person did to its dead letters. Like LogModel it knows only what passed between clients
// and the broker. An operation ended well, was refused, or its end is unknown; then both is
// possible, for ever.
//
// A message's deliveries are told apart by (redrive, delivery): the broker counts both, and neither
// may ever repeat or go back. "Before" and "after" are in that order, not in the order of arrival.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "protocol/model/requests.h"
#include "tests/sim/coverage.h"
#include "tests/sim/findings.h"
#include "tests/sim/log_model.h"

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

class GroupModel {
 public:
  GroupModel(std::string name, const GroupPolicy& policy, std::uint32_t max_deliveries,
             const Clock& clock, LogModel& log, Findings& findings, Coverage& coverage);
  /// A payload may be unreadable for a while, since the disk has errors: what should die may wait.
  void expect_unreadable() { unreadable_ = true; }

  [[nodiscard]] const std::string& name() const { return name_; }

  // --- deliveries ---

  /// The broker lets it go now; `holder` names the consumer's connection.
  void pushed(std::uint64_t holder, const DeliverPush& push,
              const std::vector<HandedOut>& messages);
  /// The broker takes back what the holder has of a partition, from an offset on.
  void revoked(std::uint64_t holder, const RevokePush& push);
  /// The broker lost sight of the holder, or began anew: its leases may end.
  void holder_gone(std::uint64_t holder);
  void restarted();

  // --- settlements ---

  void settle_sent(const HandedOut& message, SettleVerb verb, FailureClass failure);
  /// `was_stale` when it was sent.
  void settle_told(const HandedOut& message, SettleVerb verb, FailureClass failure,
                   const Reply<SettleOutcome>& outcome, bool was_stale);
  void extend_sent(const HandedOut& message, bool started);
  /// Extended at or after `sent`.
  void extend_told(const HandedOut& message, bool ok, MonotonicTime sent, std::uint64_t holder);
  /// A newer delivery of the message has left the broker: this one's token is worth nothing.
  [[nodiscard]] bool is_stale(const HandedOut& message) const;
  void stolen_settle_told(const HandedOut& message, const Reply<SettleOutcome>& outcome);

  // --- dead letters ---

  /// A moment, to tell what was known when a list was asked for.
  [[nodiscard]] std::uint64_t moment() const { return moment_; }
  /// All dead letters, asked for at `asked`.
  void list_told(const std::vector<DeadLetterSummary>& letters, std::uint64_t asked);
  void show_told(const ShowDeadLetterReply& shown, std::uint64_t asked);
  void redrive_sent(const DeadLetterSummary& letter);
  void redrive_told(const DeadLetterSummary& letter, const Reply<RedriveReply>& reply);
  void discard_sent(const DeadLetterSummary& letter);
  void discard_told(const DeadLetterSummary& letter, const Reply<DiscardReply>& reply);
  void fix_sent(const DeadLetterSummary& letter, const std::string& value);
  void fix_told(const DeadLetterSummary& letter, const std::string& value,
                const Reply<EditDeadLetterReply>& reply);

  // --- policy, accounting, end ---

  /// Its clock does not jump: times of messages can be checked.
  void expect_steady_clock() { steady_clock_ = true; }
  void pause_told(bool paused);
  void pause_ends() { paused_since_.reset(); }
  [[nodiscard]] const GroupPolicy& policy() const { return policy_; }
  void policy_sent(const GroupPolicy& policy);
  void status_told(const DescribeGroupReply& reply);
  /// Nothing moves any more; `letters` are all dead letters, `status` the last accounting.
  void check_end(const std::vector<DeadLetterSummary>& letters, const DescribeGroupReply& status,
                 const std::vector<std::int64_t>& ends);
  /// What is known of a message, for a person.
  [[nodiscard]] std::string explain(Place place) const;

 private:
  struct Lease {
    LeaseToken token;
    std::uint32_t failures = 0;  ///< as told with it
    std::uint64_t holder = 0;
    MonotonicTime until;   ///< exclusive at least so long, unless `may_end`
    bool may_end = false;  ///< somebody said or did what ends it
    bool may_charge = false;
    bool charged = false;        ///< confirmed
    bool acked = false;          ///< confirmed
    std::uint64_t life = 0;      ///< of the broker
    bool asked_dead = false;     ///< dead_letter was sent
    bool asked_invalid = false;  ///< invalid was sent
  };
  struct Message {
    std::map<DeliveryNumber, Lease> leases;
    std::uint32_t redrives_sent = 0;
    std::uint32_t redrives_done = 0;
    bool discard_sent = false;
    bool discarded = false;
    bool ack_sent = false;
    std::optional<DeliveryNumber> acked;
    std::optional<DeliveryNumber> died;   ///< the last confirmed
    std::set<std::string> open_fixes;     ///< may or may not have happened
    std::optional<std::string> last_fix;  ///< confirmed, the newest
    std::optional<std::uint64_t> number;  ///< of its dead letter
    std::uint64_t changed = 0;            ///< the moment something of it was told last
    std::uint64_t died_in = 0;            ///< life of the broker
  };

  void check_pushed(const HandedOut& message, Message& known);
  void check_counts(const HandedOut& message, const Message& known);
  void check_exclusive(const HandedOut& message, const Message& known);
  void check_order(std::uint64_t holder, const HandedOut& message);
  void check_partition_order(std::uint64_t holder, const HandedOut& message);
  void check_times(const HandedOut& message);
  void forget_unrecorded(const HandedOut& message, Message& known);
  /// Whether what clients did may have ended it for good.
  [[nodiscard]] bool may_be_over(Place place) const;
  [[nodiscard]] bool may_have_expired(Place place) const;
  void check_payload(const HandedOut& message, const Message& known);
  void check_letter(const DeadLetterSummary& letter, Message& known, std::uint64_t asked);
  void check_reason(const DeadLetterSummary& letter, const Message& known);
  void told_delayed(const HandedOut& message, Lease& lease, FailureClass failure, SettleVerb verb);
  void told_dead(const HandedOut& message, Lease& lease, FailureClass failure, SettleVerb verb);
  Lease* find(const HandedOut& message);
  void report(const char* property, std::string what, Place place);

  std::string name_;
  std::uint32_t max_deliveries_;
  const Clock& clock_;
  LogModel& log_;
  Findings& findings_;
  Coverage& coverage_;
  // Over all policies that were ever asked for.
  GroupPolicy policy_;
  std::uint32_t least_max_failures_;
  std::uint32_t most_max_failures_;
  std::map<Place, Message> messages_;
  std::set<std::pair<std::uint32_t, std::pair<LeaseToken, std::int64_t>>> given_;
  std::uint64_t moment_ = 1;
  std::uint64_t life_ = 1;
  bool unreadable_ = false;
  bool steady_clock_ = false;
  std::optional<MonotonicTime> paused_since_;
  // Ordered groups, by partition and key: the first message that can not be over yet, the highest
  // one that was handed out, and those that are known to be dead.
  using Lane = std::pair<std::uint32_t, std::optional<std::string>>;
  std::map<Lane, std::int64_t> open_from_;
  std::map<Lane, std::int64_t> highest_;
  std::map<Lane, std::set<std::int64_t>> dead_;
};

}  // namespace waybill

// DeliveryEngine: the consumer groups of one shard. Leases messages to consumers with credit, takes
// their settlements, lets leases run out, waits between attempts, and moves what failed too often
// to the dead letters - each as entries of the journal, none told before it is durable.
//
//   fresh -> leased -> settled
//              |  ^
//      retry,  v  | due
//      expiry  waiting ----> dead letter (too many failures, invalid, asked for)
//
// Where what is in this class: delivery_engine.cc the fold, consumers, the loop; scan.cc what
// may go; leasing.cc what goes next and to whom; isolation.cc who may have killed clients;
// sending.cc how it leaves; settlement.cc how a lease ends; burial.cc dead letters; accounting.cc
// describe, check, reset; removal.cc what retention takes away. Rules D1-D15.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/core/consumer_group.h"
#include "broker/core/isolation_desk.h"
#include "broker/core/partitions.h"
#include "broker/core/record_places.h"

namespace waybill {

class DeliveryEngine {
 public:
  /// Fewer timers are never looked through for idle ones.
  static constexpr std::size_t kFewTimers = 1024;

  DeliveryEngine(ShardLog& log, Partitions& partitions, ShardMetrics& metrics)
      : log_(log), partitions_(partitions), metrics_(metrics) {}

  // --- the fold ---

  Result<void> apply(const DeliveryEntry& entry);
  Result<void> apply(const DeadLetterEntry& entry);
  /// A new group (with a place for each partition of its topic here) or a new policy.
  Result<void> adopt(const GroupInfo& group, const std::vector<GroupPlace>& places);
  void drop(GroupId group);

  /// Where a new group would begin in each partition here; dead-letter streams get `next_stream`
  /// on.
  [[nodiscard]] std::vector<GroupPlace> places(const GroupInfo& group, const TopicInfo& topic,
                                               StreamId next_stream) const;

  // --- consumers ---

  /// Leases of this instance from before a restart or a lost connection stay orphans until it
  /// claims them with extend(), and have their full time again then (D5).
  void attach(GroupId group, ShardConsumer consumer);
  /// `clean`: its leases are released; otherwise they wait for the instance to come back.
  void detach(GroupId group, ConsumerId consumer, bool clean);
  void lend(GroupId group, ConsumerId consumer, Credit credit);
  /// Takes back what is not used and tells the consumer's gateway.
  void recall(GroupId group, ConsumerId consumer);
  [[nodiscard]] std::size_t consumer_count(GroupId group) const;

  void settle(GroupId group, InstanceId instance, std::vector<Settlement> settlements,
              Done<SettleReply> done);
  void extend(GroupId group, InstanceId instance, std::vector<LeaseExtension> leases,
              Done<ExtendReply> done);

  // --- seeing ---

  [[nodiscard]] ConsumerGroup* find(GroupId group);
  [[nodiscard]] std::vector<GroupPartitionStatus> status(GroupId group);
  [[nodiscard]] std::uint64_t open_dead_letters() const;
  /// Of the group: those that are dead, and those on their way back to it.
  [[nodiscard]] std::uint64_t unresolved_dead_letters(GroupId group) const;
  [[nodiscard]] std::uint64_t leased() const;
  /// What waits for its time: at most twice what is leased or delayed, and kFewTimers.
  [[nodiscard]] std::size_t timer_count() const { return timers_.size(); }

  /// What reset() would do, partition by partition; changes nothing (D15).
  [[nodiscard]] std::vector<ResetPartition> plan_reset(GroupId group, const GroupStart& start,
                                                       bool include_dead);
  /// Moves each partition of the group here to the start, in one change per partition. Does
  /// nothing, and says so with an empty list, where this epoch or a later one was reached before.
  /// Answered when durable. Errors: kUnknownGroup; kOutcomeUnknown, also where the journal has no
  /// room yet: then it happens later.
  void reset(GroupId group, std::uint32_t epoch, const GroupStart& start, bool include_dead,
             Done<std::vector<ResetPartition>> done);
  /// Counts every message of the group here anew, beside what is kept (D19).
  [[nodiscard]] std::vector<PartitionCheck> check(GroupId group);

  /// Called at the end of a turn with the attempts that ended in it: one call per group.
  void on_outcomes(std::move_only_function<void(GroupId, std::vector<DeliveryOutcome>)> callback) {
    outcomes_ = std::move(callback);
  }

  // --- retention ---

  /// What is before it every group here is done with; the log's end if all are with all of it.
  [[nodiscard]] Offset floor(const Stream& log) const;
  /// What is before it no group here needs from the log; the log's end if nobody needs anything.
  [[nodiscard]] Offset needed(const Stream& log) const;
  /// The log begins at `to` now, where a segment begins: stages and applies that for the log and
  /// for the groups. How many messages were taken from groups that were not done with them.
  std::uint64_t trim(Stream& log, Offset to);

  // --- erasing (D18) ---

  /// Groups on partitions whose dead-letter stream may have records of erased dead letters in its
  /// files. Who has seen to it that there are none takes it out.
  [[nodiscard]] std::set<std::pair<GroupId, StreamId>>& erasing() { return erasing_; }

  // --- isolation (D10), called by the desk in shard 0 ---

  /// Leases the instance nothing until unhush(), and tells the desk when it holds nothing here.
  void hush(InstanceId instance, std::uint64_t round);
  void unhush(InstanceId instance);
  /// The instance holds nothing anywhere: it may get the suspect that was asked for.
  void isolate(InstanceId instance, std::uint64_t ask);

  /// Something changed that may allow a lease: a redrive, an append.
  void touch(GroupPartition& partition);
  /// A dead letter goes back to its group. Requires state `dead`.
  void redrive(GroupPartition& partition, std::uint64_t number, const std::string& by);
  /// Stages a change of a dead letter, after what the partition has not staged yet.
  void stage(GroupPartition& partition, std::uint64_t number, DeadLetterOp op,
             Bytes record_batch = {});

  // --- the loop ---

  /// Rebuilds what is only of this run, after recovery (D5, D11).
  void resume();
  /// Lets run out what is due, grants leases, stages what gathered in this turn.
  void turn();
  [[nodiscard]] std::optional<MonotonicTime> deadline() const;
  /// Whether something waits for the end of a turn.
  [[nodiscard]] bool wants_turn() const { return !dirty_.empty() || !unstaged_.empty(); }
  void appended(const Stream& stream);
  /// Whether something is applied and not staged: only inside a turn.
  [[nodiscard]] bool has_unstaged() const { return !unstaged_.empty(); }

 private:
  friend class Snapshot;

  /// A moment at which a lease may run out, or a waiting message may go again. Checked when it
  /// comes: the lease may have been extended or settled meanwhile.
  struct Timer {
    GroupPartition* partition;
    LeaseToken lease;              ///< {0, 0}: it is about `offset`
    std::optional<Offset> offset;  ///< nothing: it is about the scheduler
  };
  /// A message on its way to the dead letters.
  struct Death {
    LeaseToken token;  ///< {0, 0}: it is not leased
    Offset offset;
    DeadLetterReason reason{};
    std::optional<Attempt> attempt;  ///< the one that killed it
    bool charged = false;
    std::move_only_function<void(Reply<SettleOutcome>)> done;
  };
  /// An instance that is leased nothing for a while.
  struct Hush {
    std::uint64_t round = 0;
    bool told = false;  ///< the desk knows that it holds nothing here
  };
  /// An instance that was asked for, for a suspect of that partition.
  struct Isolation {
    GroupId group;
    StreamId stream;
    IsolationAsk ask;
    MonotonicTime until;  ///< withdrawn if it has not come by then
    LeaseToken token;     ///< {0, 0}: it has not come yet
  };
  /// A reset that waits for room in the journal.
  struct LateReset {
    GroupId group;
    std::uint32_t epoch = 0;
    GroupStart start;
    bool include_dead = false;
  };
  struct SettleCall;
  struct Pick;
  struct Sending;

  void detach_from_log(ConsumerGroup& group);
  static Result<void> apply(GroupPartition& partition, const DeliveryOp& op);
  static Result<void> apply(GroupPartition& partition, const ResetOp& op);
  void record(GroupPartition& partition, DeliveryOp op);
  void follow(GroupPartition& partition, const DeliveryOp& op);
  void stage_ops(GroupPartition& partition);
  static Offset resolve(const GroupStart& start, const Stream& log);
  void watch_until(GroupPartition& partition, LeaseToken token, MonotonicTime when);
  void drop_idle_timers();

  /// Makes the messages ready again, except those on their way to the dead letters.
  void release(GroupPartition& partition, LeaseToken token, OffsetRange range,
               ReleaseKind kind = ReleaseKind::kGivenBack);
  void mark_dirty(ConsumerGroup& group);

  // What may go.
  void forget_removed(GroupPartition& partition, Offset to);
  void rebuild(GroupPartition& partition);
  void add_trimmed(GroupPartition& partition);
  void add_redriven(GroupPartition& partition, OffsetRange range);
  void look(ConsumerGroup& group, GroupPartition& partition);
  void scan(GroupPartition& partition);
  bool scan_batch(GroupPartition& partition, Bytes batch);
  void read_for_scan(GroupPartition& partition, const Stretch& stretch);
  void pass_gap(GroupPartition& partition, OffsetRange gap);
  void set_alarm(GroupPartition& partition);
  void available(GroupPartition& partition, Offset offset);
  void ended(GroupPartition& partition, OffsetRange range);
  void lease_ended(GroupPartition& partition, OffsetRange range);
  [[nodiscard]] static bool drains(const ConsumerGroup& group, const GroupPartition& partition);
  [[nodiscard]] static bool held_full(const ConsumerGroup& group, const GroupPartition& partition);
  [[nodiscard]] static std::optional<Offset> next_in_order(const GroupPartition& partition);
  [[nodiscard]] bool has_work(const ConsumerGroup& group, const GroupPartition& partition) const;

  // To whom, and how it leaves.
  void grant(ConsumerGroup& group);
  void grant_leases(ConsumerGroup& group);
  [[nodiscard]] bool may_grant(ConsumerGroup& group);
  ShardConsumer* choose_consumer(ConsumerGroup& group, GroupPartition& partition);
  ShardConsumer* choose_owner(ConsumerGroup& group, GroupPartition& partition);
  bool grant_one(ConsumerGroup& group, GroupPartition& partition, ShardConsumer& consumer);
  Pick pick(ConsumerGroup& group, GroupPartition& partition, const ShardConsumer& consumer);
  static void choose_singles(ConsumerGroup& group, GroupPartition& partition);
  void pick_singles(ConsumerGroup& group, GroupPartition& partition, Pick& pick);
  bool pick_run(ConsumerGroup& group, GroupPartition& partition, Pick& pick);
  bool drop_next(ConsumerGroup& group, GroupPartition& partition, OffsetRange& range);
  void unpick(GroupPartition& partition, const std::vector<OffsetRange>& ranges, std::size_t from);
  void ask_for_credit(ConsumerGroup& group);
  void want_credit(ShardConsumer& consumer);
  void refund(ConsumerGroup& group, ConsumerId consumer, Credit credit);
  LeaseToken lease(ConsumerGroup& group, GroupPartition& partition, ShardConsumer& consumer,
                   Pick& picked);
  LeaseToken grant_single(ConsumerGroup& group, GroupPartition& partition, ShardConsumer& consumer,
                          Offset offset);

  // Suspects.
  [[nodiscard]] static bool goes_alone(const ConsumerGroup& group, const GroupPartition& partition,
                                       Offset offset);
  bool may_isolate(ConsumerGroup& group, const GroupPartition& partition);
  void ask_for_isolation(ConsumerGroup& group);
  void set_quiet(InstanceId instance, bool quiet);
  void grant_alone(ConsumerGroup& group, Isolation& isolation, InstanceId instance);
  void end_isolation(InstanceId instance);
  [[nodiscard]] bool is_attached(InstanceId instance) const;
  [[nodiscard]] bool holds_lease(InstanceId instance) const;
  void run_isolation();

  void send(GroupId group, StreamId stream, LeaseToken token, ConsumerId consumer, Credit used);
  void fetch(GroupPartition& partition, const std::shared_ptr<Sending>& sending);
  void read_run(const std::shared_ptr<Sending>& sending, std::size_t first, std::size_t count);
  void read_done(const std::shared_ptr<Sending>& sending);
  void leave(Sending& sending);
  std::vector<std::pair<Offset, SharedBytes>> gather(Sending& sending,
                                                     std::vector<OffsetRange>& unreadable);
  void push(ConsumerGroup& group, GroupPartition& partition, Sending& sending);
  void end_unreadable(GroupPartition& partition, LeaseToken token, OffsetRange range);

  void run_timer(const Timer& timer);
  void expire(GroupPartition& partition, LeaseToken token);
  void end_unexplained(GroupPartition& partition, LeaseToken token);
  void revoke_after(GroupPartition& partition, Offset offset);
  void tell_revoked(GroupPartition& partition, const std::set<ConsumerId>& holders, Offset first);
  void note(ConsumerGroup& group, const GroupPartition& partition, OffsetRange range, bool failed);
  void tell_outcomes();

  std::optional<Reply<SettleOutcome>> settle_one(ConsumerGroup& group, InstanceId instance,
                                                 const Settlement& settlement,
                                                 std::vector<OffsetRange>& parts,
                                                 const std::shared_ptr<SettleCall>& call,
                                                 std::size_t index);
  static void finish(const std::shared_ptr<SettleCall>& call);
  void fail_parts(ConsumerGroup& group, GroupPartition& partition, LeaseToken token,
                  const Settlement& settlement, const std::vector<OffsetRange>& parts,
                  const std::shared_ptr<SettleCall>& call, std::size_t index);
  void fail(ConsumerGroup& group, GroupPartition& partition, LeaseToken token, Offset offset,
            const Settlement& settlement, std::move_only_function<void(Reply<SettleOutcome>)> done);
  void kill(GroupPartition& partition, Death death);
  void buried(GroupPartition& partition, Death& death, const Result<SharedBytes>& batch);
  void survive(GroupPartition& partition, Death& death, const Error& error);
  void read_payload(GroupPartition& partition, Offset offset,
                    std::move_only_function<void(Result<SharedBytes>)> done);
  Result<void> bury(GroupPartition& partition, const Death& death, const SharedBytes& batch);

  [[nodiscard]] bool has_room_for_reset(const ConsumerGroup& group) const;
  void run_late_resets();
  [[nodiscard]] ResetPartition plan(const GroupPartition& partition, Offset to,
                                    bool include_dead) const;
  [[nodiscard]] Offset end_of(const GroupPartition& partition) const;
  [[nodiscard]] Accounting accounting(const GroupPartition& partition) const;
  [[nodiscard]] Accounting count(const GroupPartition& partition) const;
  [[nodiscard]] Waiting why_waiting(const ConsumerGroup& group,
                                    const GroupPartition& partition) const;

  ShardLog& log_;
  Partitions& partitions_;
  ShardMetrics& metrics_;
  std::map<GroupId, std::unique_ptr<ConsumerGroup>> groups_;
  std::unordered_map<StreamId, std::vector<GroupPartition*>> by_stream_;
  std::vector<GroupId> dirty_;
  std::vector<GroupId> noted_;  ///< with outcomes to tell
  std::vector<LateReset> late_resets_;
  std::vector<GroupId> starved_;  ///< they have work, and the journal had no room for a lease
  std::vector<std::pair<GroupId, StreamId>> unstaged_;
  std::set<std::pair<GroupId, StreamId>> erasing_;
  /// Ordering `partition`: leases whose batches are being read; they leave in this order (D8).
  std::map<std::pair<GroupId, StreamId>, std::deque<std::shared_ptr<Sending>>> leaving_;
  RecordPlaces places_;
  std::multimap<MonotonicTime, Timer> timers_;
  std::size_t idle_timers_at_ = kFewTimers;  ///< so many timers are looked through
  std::uint64_t next_lease_ = 1;
  std::map<InstanceId, Hush> hushed_;
  std::map<InstanceId, Isolation> isolations_;
  std::uint64_t next_ask_ = 1;
  IsolationDesk desk_;  ///< shard 0's is every shard's
  std::move_only_function<void(GroupId, std::vector<DeliveryOutcome>)> outcomes_;
};

}  // namespace waybill

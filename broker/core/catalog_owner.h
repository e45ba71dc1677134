// CatalogOwner: topics and groups, on shard 0 (S13). A change is journaled here, then every shard
// adopts it in its own journal, and only then is it confirmed and shown: a client that was told
// "created" finds it everywhere. After a restart whatever some shard had not adopted is sent again;
// adopting is idempotent.
//
// A group's pause, brake and epoch are part of the catalog too: shard 0 is every group's home (D2).
// It hears how deliveries end on all shards and changes the brake as its judge says (D13).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "broker/core/brake_judge.h"
#include "broker/core/entries.h"
#include "broker/core/gateway.h"
#include "broker/core/shard_log.h"

namespace waybill {

class CatalogOwner {
 public:
  explicit CatalogOwner(ShardLog& log) : log_(log) {}

  void create_topic(CreateTopicRequest request, Done<CreateTopicReply> done);
  void alter_topic(AlterTopicRequest request, Done<AlterTopicReply> done);
  void delete_topic(DeleteTopicRequest request, Done<DeleteTopicReply> done);
  void create_group(CreateGroupRequest request, Done<CreateGroupReply> done);
  void alter_group(AlterGroupRequest request, Done<AlterGroupReply> done);
  void delete_group(DeleteGroupRequest request, Done<DeleteGroupReply> done);
  void pause_group(PauseGroupRequest request, Done<PauseGroupReply> done);
  void set_brake(SetBrakeRequest request, Done<SetBrakeReply> done);
  /// A job of its own: first the new epoch and start are durable here, then every shard resets its
  /// partitions, also if the power fails in between; answered when all have (D15).
  void reset_group(ResetGroupRequest request, Done<ResetGroupReply> done);

  /// How deliveries of the group ended on some shard; told when they are durable there.
  void ended(GroupId group, const std::vector<DeliveryOutcome>& outcomes);
  /// Moves brakes whose time has come.
  void tick();
  /// When tick() wants to be called, if at all.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const;

  /// Sends every shard everything, then shows the catalog; `ready` runs when all have adopted.
  void start(std::move_only_function<void()> ready);

  // --- the fold ---

  Result<void> apply(const CatalogChange& change);
  [[nodiscard]] const Catalog& catalog() const { return catalog_; }

 private:
  friend class Snapshot;

  using Resets = std::vector<ResetPartition>;
  /// What all shards said to a change: mostly nothing, or how they reset the group.
  using Adopted = std::move_only_function<void(const Reply<Resets>&)>;

  static void apply_to(Catalog& catalog, const CatalogChange& change);
  void change(CatalogChange change, Adopted done);
  void adopt_everywhere(CatalogChange change, Adopted done);
  /// As adopt_everywhere(), of what is in the catalog already: perhaps only since this turn, and
  /// nobody may adopt what a crash can still take back (S13).
  void adopt_known(CatalogChange change, Adopted done);
  [[nodiscard]] PutGroup put(GroupInfo group) const;
  void plan_reset(const GroupInfo& group, ResetGroupRequest request, Done<ResetGroupReply> done);
  void show();
  template <class R>
  void answer(Done<R> done, Reply<R> reply);
  /// Gives the group another version, and answers R{group} when all shards have adopted it. A group
  /// that is as it should be is only adopted once more: perhaps it was not yet, everywhere (S13).
  template <class R>
  void put_group(GroupInfo group, Done<R> done);
  BrakeJudge& judge_of(const GroupInfo& group);
  /// The group's brake becomes what its judge says.
  void follow_judge(GroupId group);
  /// How many dead letters of the group are open, unless there are consumers or may be none open.
  void check_group_unused(const GroupInfo& group, bool dead_letters_may_be_open,
                          std::move_only_function<void(Reply<std::uint64_t>)> done);
  void archive(GroupInfo group, Adopted done);
  [[nodiscard]] bool has_groups(TopicId topic) const;
  void drop_unused_archive(TopicId topic);

  ShardLog& log_;
  Catalog catalog_;  ///< with what is only staged
  Catalog shown_;    ///< what every shard has adopted durably
  std::uint64_t next_id_ = 1;
  std::set<GroupId> reset_dead_;          ///< whose last reset took the open dead letters too
  std::map<GroupId, BrakeJudge> judges_;  ///< of groups that had something to judge
  std::multimap<MonotonicTime, GroupId> brake_times_;  ///< checked when they come
};

/// The group is an archive, and what was asked for needs a live one.
RequestError is_archive(Errc code, const std::string& group);

}  // namespace waybill

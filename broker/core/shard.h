// Shard: a journal and everything folded from it, on one thread. Partitions, producers, groups and
// dead letters of a shard change only by entries of its journal: a request is checked against the
// state, becomes one or more entries, and apply() of the part concerned - the only code that
// changes durable state - runs when they are staged. What a client may learn waits until they are
// durable (S11, S12).
//
// apply() reads no clock, no random number and no other shard: the same entries give the same state
// after a crash, and later on another machine. What is only of this run (leases' deadlines, due
// times, credit, caches) stands beside the fold and is rebuilt after recovery.
//
//   ShardLog        journal, streams, "staged" versus "told"
//   Partitions      publish, read, producers
//   DeliveryEngine  groups: leases, settlements, back-off, dying
//   DeadLetterDesk  list, show, edit, redrive, discard
//   CatalogOwner    topics and groups; shard 0 only
//   Retention       what is kept no longer
//   Compactor       only the latest record of each key
//   Checkpointer    the state on disk now and then, so that the journal can forget
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "broker/core/catalog_owner.h"
#include "broker/core/checkpointer.h"
#include "broker/core/compactor.h"
#include "broker/core/dead_letter_desk.h"
#include "broker/core/delivery_engine.h"
#include "broker/core/partitions.h"
#include "broker/core/retention.h"
#include "broker/core/shard_log.h"
#include "broker/core/shard_runtime.h"

namespace waybill {

class Shard {
 public:
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // --- the driver's side (shard_runtime.h) ---

  /// Begins a run, durably; once, after recover_shard() and before all else. Blocking. A broker of
  /// several shards recovers all of them first: then one that is damaged leaves the others alone.
  Result<void> start(std::string* explanation) { return log_.journal().start(explanation); }
  /// Ends a loop turn: lets run out what is due, grants leases, stages what gathered, writes,
  /// answers what became durable.
  void turn();
  /// When turn() wants to be called again without traffic, if at all.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const;
  /// Called when something other than a request touched the shard (a disk completion), so that the
  /// driver runs turn() soon.
  void on_touched(std::move_only_function<void()> callback) {
    log_.on_touched(std::move(callback));
  }
  /// Called with what retention removed before a group was done with it.
  void on_removed(Retention::Removed callback) { retention_.on_removed(std::move(callback)); }
  /// Called when messages cannot be moved from the journal into segments.
  void on_flush_trouble(Flusher::Troubled callback) {
    log_.flusher().on_trouble(std::move(callback));
  }
  /// Called when the disk has too little room for all to go on, and when it has again (S21).
  void on_space_changed(DiskSpace::Changed callback) {
    log_.space().on_changed(std::move(callback));
  }
  [[nodiscard]] bool poisoned() const { return log_.journal().poisoned(); }
  [[nodiscard]] Error poison() const { return log_.journal().poison(); }
  /// Shard 0 only, once all shards run: sends every shard what it should have adopted; `ready` runs
  /// when all have (S13).
  void start_catalog(std::move_only_function<void()> ready) { owner_.start(std::move(ready)); }
  /// Writes everything staged and closes the journal. Blocking; nothing may be called afterwards.
  Result<void> close() { return log_.journal().close(); }
  [[nodiscard]] ShardMetrics metrics();
  [[nodiscard]] ShardIndex index() const { return log_.options().shard; }

  // --- the gateways' side ---

  Partitions& partitions() { return partitions_; }
  DeliveryEngine& delivery() { return delivery_; }
  DeadLetterDesk& dead_letters() { return desk_; }
  /// Requires index() == 0.
  CatalogOwner& catalog_owner() { return owner_; }
  Mailbox& mailbox() { return log_.mailbox(); }

  /// The catalog as last shown; never null. Immutable, to be kept as long as needed.
  [[nodiscard]] std::shared_ptr<const Catalog> catalog() const { return shown_; }
  void show_catalog(std::shared_ptr<const Catalog> catalog) { shown_ = std::move(catalog); }

  /// Calls back when everything staged so far is durable: for answers that tell of state (S12).
  void when_durable(ShardLog::Waiter waiter) { log_.when_durable(std::move(waiter)); }

  /// Takes over its part of a catalog change, durably, unless it did before (S13). `topic` is the
  /// topic a group belongs to. A group in an epoch that partitions here have not reached is reset,
  /// and the answer says how (D15).
  void adopt(const CatalogChange& change, const TopicInfo& topic,
             Done<std::vector<ResetPartition>> done);
  /// Drops what it adopted once and the catalog does not have any more: a crash may come between
  /// the catalog's entry and the shard's (S13).
  void drop_missing(const Catalog& catalog, std::move_only_function<void(bool durable)> done);

 private:
  friend class Snapshot;
  friend Result<std::unique_ptr<Shard>> recover_shard(ShardEnvironment, ShardOptions,
                                                      RecoveryReport*, std::string*);
  Shard(ShardEnvironment environment, ShardOptions options);

  Result<void> replay(const EntryView& entry, const StagedEntry& staged);
  Result<void> replay_append(const EntryView& entry, const StagedEntry& staged);
  Result<void> check_carried(std::string* explanation) const;
  Result<void> apply(const AdoptEntry& entry);
  Result<void> apply(const TrimEntry& entry);
  void empty(const TopicInfo& topic);
  /// Tells the group's home how deliveries ended here, for its brake (D13).
  void report(GroupId group, std::vector<DeliveryOutcome> outcomes);

  ShardMetrics metrics_;
  ShardLog log_;
  Partitions partitions_;
  DeliveryEngine delivery_;
  DeadLetterDesk desk_;
  Compactor compactor_;
  Retention retention_;
  CatalogOwner owner_;
  std::shared_ptr<const Catalog> shown_ = std::make_shared<const Catalog>();

  // What has been adopted, part of the fold: id -> version.
  std::map<TopicId, std::uint64_t> adopted_topics_;
  std::map<GroupId, std::uint64_t> adopted_groups_;
  std::uint64_t next_dead_stream_ = 0;

  /// What the checkpoint that was loaded knows, by its parts; replay passes over it (S19).
  struct Loaded {
    EntrySeq rest;  ///< everything but the below; not above any of them
    std::unordered_map<StreamId, EntrySeq> streams;
    std::map<std::pair<GroupId, StreamId>, EntrySeq> groups;
    std::map<StreamId, Offset> awaited;  ///< the end of what was carried forward, at least

    [[nodiscard]] EntrySeq of(StreamId stream) const {
      auto found = streams.find(stream);
      return found == streams.end() ? rest : found->second;
    }
    [[nodiscard]] EntrySeq of(GroupId group, StreamId stream) const {
      auto found = groups.find({group, stream});
      return found == groups.end() ? rest : found->second;
    }
  };
  Loaded loaded_;
  Checkpointer checkpointer_;
};

}  // namespace waybill

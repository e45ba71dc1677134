// Snapshot: the state of a shard as objects of a checkpoint, and back (S19): everything that is
// folded from the journal, and of the streams where their segments are. What is not in a segment is
// not in here: it is appended again when the journal is replayed.
//
// A state that is large is saved bit by bit (Walk): each stream, and each group on a partition, is
// of one moment, and its objects carry the entry_seq that was applied then; replay passes over what
// an object knows. Objects stand in the order in which load() needs them; long lists are cut, so
// that no object is large. Their bodies: snapshot_objects.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "broker/core/snapshot_objects.h"

namespace waybill {

class Shard;
struct ConsumerGroup;
struct GroupPartition;
struct Partition;

class Snapshot {
 public:
  using Sink = std::function<void(ObjectKind kind, std::uint64_t id, Bytes body)>;

  /// Goes through the state of a shard. Between two calls of next() time may pass, but
  /// ShardLog::structure() must stay as it is.
  class Walk {
   public:
    explicit Walk(const Shard& shard);
    /// Saves what comes next, of this moment. False: there is nothing more. Requires that
    /// everything applied is staged.
    bool next(const Sink& sink);

   private:
    void next_group(const Sink& sink);

    const Shard& shard_;
    std::vector<StreamId> streams_;
    std::vector<GroupId> groups_;
    bool begun_ = false;
    std::size_t stream_ = 0;
    std::size_t group_ = 0;
    std::size_t partition_ = 0;  ///< of the group; its places stand before the first
  };

  /// All at once. Requires that everything applied is staged.
  static void save(const Shard& shard, const Sink& sink);
  /// Puts one object back into a shard that was just made, with what it knows. kBadFormat: it does
  /// not fit. kUnsupportedFormat: a newer broker's.
  static Result<void> load(Shard& shard, const CheckpointObject& object);

 private:
  class Lists;

  static void save_rest(const Shard& shard, const Sink& sink);
  static void save_places(const ConsumerGroup& group, const Sink& sink);
  static void save_stream(const Stream& stream, const Shard& shard, const Sink& sink);
  static void save_delivery(const GroupPartition& partition, const Sink& sink);
  static void save_letters(const GroupPartition& partition, const Sink& sink);

  // One body into the shard.
  static Result<void> restore(Shard& shard, const CheckpointObject& object, AdoptedBody body);
  static Result<void> restore(Shard& shard, const CheckpointObject& object,
                              const ProducerEntry& producer);
  static Result<void> restore(Shard& shard, const CheckpointObject& object,
                              const CatalogBody& body);
  static Result<void> restore(Shard& shard, const CheckpointObject& object,
                              const CatalogChange& change);
  static Result<void> restore(Shard& shard, const CheckpointObject& object, StreamBody body);
  static Result<void> restore(Shard& shard, const CheckpointObject& object, ProducersBody body);
  static Result<void> restore(Shard& shard, const CheckpointObject& object, PlacesBody body);
  static Result<void> restore(Shard& shard, const CheckpointObject& object,
                              const NumbersBody& body);
  template <class Element>
  static Result<void> restore(Shard& shard, const CheckpointObject& object, ListBody<Element> body);
  static GroupPartition* find(Shard& shard, const CheckpointObject& object, GroupPlaceId whose);
  static void add(GroupPartition& partition, OffsetRange gap);
  static void add(GroupPartition& partition, SavedLease saved);
  static void add(GroupPartition& partition, SavedTracked saved);
  static void add(GroupPartition& partition, SavedLetter saved);
  static void add(GroupPartition& partition, SavedExample saved);
};

}  // namespace waybill

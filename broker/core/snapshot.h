// Snapshot: the state of a shard as objects of a checkpoint, and back (S19): everything that is
// folded from the journal, and of the streams where their segments are. What is not in a segment is
// not in here: it is appended again when the journal is replayed. FORMAT.md, "Objects", has the
// bodies.
//
// A state that is large is saved bit by bit (Walk): each stream, and each group on a partition, is
// of one moment, and its objects carry the entry_seq that was applied then; replay passes over what
// an object knows. Objects stand in the order in which load() needs them; long lists are cut, so
// that no object is large.
//
// To add a field to a body: raise kObjectVersion, keep reading the old form. To add a kind: take
// the next number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "broker/core/entries.h"
#include "storage/checkpoint_writer.h"

namespace waybill {

class Shard;
class Stream;
struct ConsumerGroup;
struct GroupPartition;
struct Partition;
struct StreamSegment;

/// On disk.
enum class ObjectKind : std::uint16_t {
  kAdopted = 1,     ///< which topics and groups the shard has adopted
  kProducer = 2,    ///< a durable producer
  kCatalog = 3,     ///< shard 0: numbers of the catalog
  kTopic = 4,       ///< shard 0
  kGroup = 5,       ///< shard 0
  kStream = 6,      ///< a stream
  kPlaces = 7,      ///< a group here: its policy, and its partitions
  kDelivery = 8,    ///< a group on a partition: numbers
  kGaps = 9,        ///< …: what was passed over
  kLeases = 10,     ///< …: open leases
  kTracked = 11,    ///< …: messages that wait or are leased again
  kLetters = 12,    ///< …: dead letters
  kExamples = 13,   ///< …: a failure for each fingerprint
  kProducers = 14,  ///< what a partition remembers of its producers
};
inline constexpr std::uint16_t kObjectVersion = 1;

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
  static void save_producers(const Partition& partition, const Sink& sink);
  static void save_delivery(const GroupPartition& partition, const Sink& sink);
  static void save_letters(const GroupPartition& partition, const Sink& sink);
  static Result<void> load_adopted(Shard& shard, ByteReader& in);
  static Result<void> load_stream(Shard& shard, StreamId id, ByteReader& in);
  static Result<void> load_producers(Shard& shard, StreamId id, ByteReader& in);
  static Result<void> load_places(Shard& shard, ByteReader& in);
  static Result<void> load_in_partition(Shard& shard, ObjectKind kind, EntrySeq applied,
                                        ByteReader& in);
  static void load_numbers(GroupPartition& partition, ByteReader& in);
  static void load_leases(GroupPartition& partition, ByteReader& in);
  static void load_tracked(GroupPartition& partition, ByteReader& in);
  static void load_letters(GroupPartition& partition, ByteReader& in);
};

}  // namespace waybill

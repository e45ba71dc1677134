// The bodies of checkpoint objects: what a checkpoint keeps of a shard (S19), as structs. Snapshot
// takes them from a shard and puts them back; tools show them. Writing and reading stand side by
// side; reading accepts exactly what writing writes. FORMAT.md, "Objects", has the bytes.
//
// To add a field to a body: raise kObjectVersion, keep reading the old form. To add a kind: take
// the next number.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "broker/core/dead_letters.h"
#include "broker/core/delivery_state.h"
#include "broker/core/entries.h"
#include "broker/core/producers.h"
#include "storage/checkpoint_writer.h"
#include "storage/stream.h"

namespace waybill {

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

/// kAdopted: with the version of each that was adopted.
struct AdoptedBody {
  std::uint64_t next_dead_stream = 0;
  std::map<TopicId, std::uint64_t> topics;
  std::map<GroupId, std::uint64_t> groups;
};
/// kCatalog
struct CatalogBody {
  std::uint64_t version = 0;
  std::uint64_t next_id = 0;
};
struct SavedPartition {
  TopicId topic;
  PartitionIndex index;
  bool archived = false;  ///< its topic is deleted
};
/// kStream
struct StreamBody {
  Offset start;
  std::deque<StreamSegment> segments;
  std::optional<SavedPartition> partition;  ///< nothing: dead letters of a group
};
/// kProducers
struct ProducersBody {
  std::map<ProducerId, ProducerTable::State> producers;
};
/// kPlaces
struct PlacesBody {
  struct Place {
    StreamId stream;
    StreamId dead_stream;
  };
  GroupInfo group;
  std::vector<Place> places;
};
/// A group on a partition.
struct GroupPlaceId {
  GroupId group;
  StreamId stream;  ///< the partition's
};
/// kDelivery
struct NumbersBody {
  GroupPlaceId whose;
  Offset start;
  Offset fresh;
  std::uint32_t epoch = 0;
  std::uint64_t done = 0;
  std::uint64_t expired = 0;
  std::uint64_t skipped = 0;
  std::uint64_t removed = 0;
  Offset removed_to;
  std::uint64_t compacted = 0;
  std::uint64_t failures = 0;
  std::uint64_t redeliveries = 0;
  std::uint64_t next_letter = 0;
};
/// The rest of a group on a partition: lists, each cut into as many objects as it needs.
template <class Element>
struct ListBody {
  GroupPlaceId whose;
  std::vector<Element> elements;
};
struct SavedLease {
  LeaseToken token;
  OpenLease lease;
};
struct SavedTracked {
  Offset offset;
  TrackedMessage message;
};
struct SavedLetter {
  std::uint64_t number = 0;
  DeadLetter letter;
};
struct SavedExample {
  std::uint64_t fingerprint = 0;
  Failure failure;
};

/// kProducer and kTopic, kGroup have the bodies of entries.
using ObjectBody =
    std::variant<AdoptedBody, ProducerEntry, CatalogBody, CatalogChange, StreamBody, ProducersBody,
                 PlacesBody, NumbersBody, ListBody<OffsetRange>, ListBody<SavedLease>,
                 ListBody<SavedTracked>, ListBody<SavedLetter>, ListBody<SavedExample>>;

/// kBadFormat: it is not what a broker writes. kUnsupportedFormat: a newer one's.
Result<ObjectBody> decode_object(const CheckpointObject& object);

ByteVector encode(const AdoptedBody& body);
ByteVector encode(const CatalogBody& body);
ByteVector encode(const PlacesBody& body);
ByteVector encode(const NumbersBody& body);
ByteVector encode_stream(Offset start, const std::deque<StreamSegment>& segments,
                         const std::optional<SavedPartition>& partition);
ByteVector encode_producers(const std::map<ProducerId, ProducerTable::State>& producers);

// A list's body: whose it is, then its elements.
void put(ByteWriter& out, GroupPlaceId whose);
void put_lease(ByteWriter& out, LeaseToken token, const OpenLease& lease);
void put_tracked(ByteWriter& out, Offset offset, const TrackedMessage& message);
void put_letter(ByteWriter& out, std::uint64_t number, const DeadLetter& letter);
void put_example(ByteWriter& out, std::uint64_t fingerprint, const Failure& failure);

}  // namespace waybill

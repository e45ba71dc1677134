// The bodies of journal entries: every durable change of a shard, as bytes. FORMAT.md lists them
// byte by byte. Encoding is by hand, little-endian, without gaps; decoding accepts exactly what
// encoding writes and names anything else kBadFormat.
//
// To change a body: raise its version constant, write the new form, keep reading the old one.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/model/requests.h"
#include "storage/entry.h"

namespace waybill {

/// kAppend: a batch at the end of a stream. The batch's bytes follow this head in the entry's body.
/// kCarry: the same without a producer, and the stream has it already.
struct AppendHead {
  StreamId stream;
  Offset base;
  std::uint32_t count = 0;
  WallTime max_timestamp;
  bool timed = false;  ///< a record of it has a not-before or an expiry time
  std::optional<ProducerStamp> producer;
};

// --- kDelivery: what happened to messages of one group on one partition, in order ---

/// The messages leave for an instance. Each range is of never delivered messages, or a single one
/// again; they rise.
struct LeaseOp {
  LeaseToken token;
  std::vector<OffsetRange> ranges;
  WallTime at;
  InstanceId instance;
};
/// Done, for good.
struct AckOp {
  LeaseToken token;
  OffsetRange range;
};
/// An attempt failed; the message waits until ready_at.
struct WaitOp {
  LeaseToken token;
  Offset offset;
  bool charged = true;
  WallTime ready_at;
  Attempt attempt;
};
// On disk.
enum class ReleaseKind : std::uint8_t {
  kGivenBack = 1,
  kUnexplained = 2,  ///< nobody claimed them after a restart, or on a new connection (D5)
  kRevoked = 3,      ///< taken back: a message before them was not acked (D8), or never sent
  kCrashed = 4,      ///< their client vanished; nobody knows which message it was (D10)
};
/// The messages are ready again, uncharged.
struct ReleaseOp {
  LeaseToken token;
  OffsetRange range;
  ReleaseKind kind = ReleaseKind::kGivenBack;
};
/// Dropped, since their time passed before they were delivered. Never delivered messages, or a
/// single waiting one.
struct ExpiredOp {
  OffsetRange range;
};
/// The group begins again at `to` (D15): every lease is void, everything from there on is delivered
/// again, what was not settled before it is skipped. Redrives under way are dead letters again.
struct ResetOp {
  std::uint32_t epoch = 0;
  Offset to;
  bool include_dead = false;  ///< discards the open dead letters from there on
  WallTime at;
};
/// The log begins at `to` now: what the group was not done with before it is removed, and its
/// leases are void (S22). What was redriven stays, its payload is elsewhere.
struct RemovedOp {
  Offset to;
};
/// Never delivered messages that are in the log no more: each had a later record of its key (S23).
struct CompactedOp {
  OffsetRange range;
};
using DeliveryOp =
    std::variant<LeaseOp, AckOp, WaitOp, ReleaseOp, ExpiredOp, ResetOp, RemovedOp, CompactedOp>;

struct DeliveryEntry {
  GroupId group;
  StreamId stream;  ///< the partition's
  std::vector<DeliveryOp> ops;
};

// --- kDeadLetter: one dead letter's life ---

/// A message becomes a dead letter, or a redriven one returns under its number. The payload and the
/// history are the record `record` of the dead-letter stream, appended in the same change (D14).
struct DiedOp {
  LeaseToken token;  ///< {0, 0}: it was not leased
  Offset offset;
  Offset record;
  DeadLetterReason reason{};
  std::uint64_t key = 0;  ///< KeyHash of the message's key; 0: none
  std::uint64_t fingerprint = 0;
  std::uint32_t failures = 0;
  std::uint32_t deliveries = 0;
  WallTime at;
  Failure failure;
};
/// A new version of its payload: the record `record`.
struct FixedOp {
  Offset record;
};
/// Given back to its group.
struct RedrivenOp {
  WallTime at;
  std::string by;
};
struct DiscardedOp {
  WallTime at;
  std::string by;
  std::string reason;
};
/// Discarded, unless it was discarded or redriven before, and its records are kept no longer (D18).
struct ErasedOp {
  WallTime at;
  std::string by;
  std::string reason;
};
using DeadLetterOp = std::variant<DiedOp, FixedOp, RedrivenOp, DiscardedOp, ErasedOp>;

struct DeadLetterEntry {
  GroupId group;
  StreamId stream;  ///< the partition's, not the dead-letter stream's
  std::uint64_t number = 0;
  DeadLetterOp op;
};

// --- kCatalog, kAdopt, kProducer ---

struct PutTopic {
  TopicInfo topic;
};
struct DropTopic {
  TopicId topic;
  std::uint64_t version = 0;
};
struct PutGroup {
  GroupInfo group;
  /// The reset that began this epoch discards what dead letters are open, and delivers them again.
  bool reset_dead = false;
};
struct DropGroup {
  GroupId group;
  std::uint64_t version = 0;
};
using CatalogChange = std::variant<PutTopic, DropTopic, PutGroup, DropGroup>;

/// Where a newly adopted group begins in one partition of this shard, and where its dead letters
/// go.
struct GroupPlace {
  StreamId stream;
  StreamId dead_stream;
  Offset start;
};
struct AdoptEntry {
  CatalogChange change;
  std::vector<GroupPlace> places;  ///< PutGroup of a group this shard did not have
};

struct OpenedProducer {
  ProducerId id;
  std::uint32_t epoch = 0;
  std::string name;
};
/// The shard forgets it, in every partition (D21).
struct RemovedProducer {
  ProducerId id;
};
using ProducerEntry = std::variant<OpenedProducer, RemovedProducer>;

/// kTrim: the stream begins at `start` now; what is before it is kept no longer (S22).
struct TrimEntry {
  StreamId stream;
  Offset start;
};

inline constexpr std::uint8_t kEntryVersion = 1;

ByteVector encode(const AppendHead& head);
ByteVector encode(const DeliveryEntry& entry);
ByteVector encode(const DeadLetterEntry& entry);
ByteVector encode(const CatalogChange& change);
ByteVector encode(const AdoptEntry& entry);
ByteVector encode(const ProducerEntry& entry);
ByteVector encode(const TrimEntry& entry);

/// `batch_offset` is where the batch begins in the body.
Result<AppendHead> decode_append(Bytes body, std::size_t* batch_offset);
Result<DeliveryEntry> decode_delivery(Bytes body);
Result<DeadLetterEntry> decode_dead_letter(Bytes body);
Result<CatalogChange> decode_catalog(Bytes body);
Result<AdoptEntry> decode_adopt(Bytes body);
Result<ProducerEntry> decode_producer(Bytes body);
Result<TrimEntry> decode_trim(Bytes body);

// --- the record of a dead letter, in its group's dead-letter stream ---

/// Header of such a record that the broker reads back; never leaves the broker.
inline constexpr std::string_view kDeathHeader = "wb-death";
inline constexpr std::string_view kFixHeader = "wb-fix";

/// Why and how it died: the attempts since the record before it, newest kept.
struct DeathFacts {
  WallTime at;
  DeadLetterReason reason{};
  std::vector<Attempt> attempts;
};
struct FixFacts {
  WallTime at;
  std::string by;
  std::string note;
};
ByteVector encode(const DeathFacts& facts);
ByteVector encode(const FixFacts& facts);
Result<DeathFacts> decode_death(Bytes bytes);
Result<FixFacts> decode_fix(Bytes bytes);

}  // namespace waybill

// Every request and answer of the broker as plain structs: the vocabulary that client, wire codec,
// server and core share. protocol/wire turns them into bytes; nothing else sees protobuf.
// What each means, its limits and errors stand in protocol/PROTOCOL.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
#include "protocol/base/shared_bytes.h"
#include "protocol/model/catalog.h"
#include "protocol/model/failure.h"
#include "protocol/model/group_policy.h"
#include "protocol/model/message.h"
#include "protocol/model/reply.h"

namespace waybill {

// --- hello ---

struct HelloRequest {
  std::uint8_t min_version = 1;
  std::uint8_t max_version = 1;
  std::uint64_t features = 0;
  InstanceId instance;               ///< nil: this connection never consumes
  std::uint64_t instance_start = 0;  ///< rises with each run of the process
  std::string client_name;           ///< for logs and `describe`: "waybill-cli/0.1"
  std::string user;                  ///< who asks; empty where the broker has no users
  std::string token;                 ///< the user's secret: never logged, never stored
};
struct HelloReply {
  std::uint8_t version = 1;
  std::uint64_t features = 0;
  std::string broker_version;
  Uuid broker_id;  ///< of the data directory
};
/// "Are you still there?"; answered at once, in the order of arrival.
struct PingRequest {};
struct PingReply {};

// --- catalog ---

struct MetadataRequest {
  std::vector<std::string> topics;  ///< empty: all
};
struct MetadataReply {
  Catalog catalog;
};
struct CreateTopicRequest {
  std::string name;
  std::uint32_t partitions = 1;
  std::optional<TopicPolicy> policy = std::nullopt;  ///< nothing: the default, or as it is
};
struct CreateTopicReply {
  TopicInfo topic;
  bool created = false;  ///< false: it existed already, just so
};
/// Replaces the whole policy of a live topic.
struct AlterTopicRequest {
  std::string name;
  TopicPolicy policy;
};
struct AlterTopicReply {
  TopicInfo topic;
};
struct DescribeTopicRequest {
  std::string name;
};
struct PartitionStatus {
  PartitionIndex partition;
  Offset start;  ///< the first offset kept
  Offset end;    ///< one after the last
  std::uint64_t bytes = 0;
};
struct DescribeTopicReply {
  TopicInfo topic;
  std::vector<PartitionStatus> partitions;
  std::vector<std::string> groups;
};
struct DeleteTopicRequest {
  std::string name;
};
struct DeleteTopicReply {};

// --- publishing ---

enum class ProducerKind : std::uint8_t { kSession = 1, kDurable = 2 };

/// Who publishes and in what order (D20, D21). Sequences count messages, from 1. `previous` is the
/// last sequence this producer sent to this partition, 0 if none; a session producer is dense:
/// base_sequence = previous + 1.
struct ProducerStamp {
  ProducerId id;
  ProducerKind kind = ProducerKind::kSession;
  std::uint32_t epoch = 0;
  std::uint64_t previous = 0;
  std::uint64_t base_sequence = 0;
  friend bool operator==(const ProducerStamp&, const ProducerStamp&) = default;
};

/// One batch for one partition: appended whole or not at all.
struct PublishPart {
  TopicId topic;
  PartitionIndex partition;
  std::optional<ProducerStamp> producer;
  std::optional<Offset> expected_end;  ///< compare-and-append
  SharedBytes batch;                   ///< a Kafka record batch v2
};
struct PublishRequest {
  std::vector<PublishPart> parts;
};
struct PublishResult {
  Offset base_offset;
  bool duplicate = false;  ///< it was there already; base_offset is the first append's
};
struct PublishReply {
  std::vector<Reply<PublishResult>> parts;  ///< in the request's order
};

struct OpenProducerRequest {
  ProducerId id;
  std::uint32_t epoch = 0;
  std::string name;  ///< for `producer list`
};
struct ProducerPosition {
  TopicId topic;
  PartitionIndex partition;
  std::uint64_t last_sequence = 0;
  friend bool operator==(const ProducerPosition&, const ProducerPosition&) = default;
};
struct OpenProducerReply {
  std::vector<ProducerPosition> positions;  ///< partitions it has published to
};

/// A durable producer, as its owning shards know it (D21).
struct ProducerInfo {
  ProducerId id;
  std::uint32_t epoch = 0;
  std::string name;
  std::vector<ProducerPosition> positions;
};
struct ListProducersRequest {};
struct ListProducersReply {
  std::vector<ProducerInfo> producers;  ///< by id
};
/// Forgets it and what it sent: a publish under this id is then a new producer's first.
struct RemoveProducerRequest {
  ProducerId id;
};
struct RemoveProducerReply {};

// --- reading without a group ---

struct ReadRequest {
  TopicId topic;
  PartitionIndex partition;
  Offset from;
  std::optional<WallTime> from_time;  ///< instead of `from`
  std::uint32_t max_bytes = 1024 * 1024;
  std::chrono::milliseconds wait{0};  ///< at the end: wait for more, at most this long
};
struct ReadReply {
  Offset first;  ///< where reading began; earlier records of the first batch are to be skipped
  Offset start;
  Offset end;
  std::vector<SharedBytes> batches;  ///< whole batches with absolute offsets
};

// --- groups ---

struct CreateGroupRequest {
  std::string name;
  std::string topic;
  GroupPolicy policy;
  GroupStart start;
};
struct CreateGroupReply {
  GroupInfo group;
  bool created = false;
};
/// Replaces the whole policy of a live group. Ordering and hold take effect once what is leased has
/// been settled (D12).
struct AlterGroupRequest {
  std::string name;
  GroupPolicy policy;
};
struct AlterGroupReply {
  GroupInfo group;
};
struct DeleteGroupRequest {
  std::string name;
  bool discard_dead_letters = false;
  /// Keep the open dead letters as an archive under the group's name (D15).
  bool keep_dead_letters = false;
};
struct DeleteGroupReply {};

/// Stops or resumes handing out messages; what is leased may still be settled.
struct PauseGroupRequest {
  std::string name;
  bool paused = true;
};
struct PauseGroupReply {
  GroupInfo group;
};
struct SetBrakeRequest {
  std::string name;
  BrakeMode mode = BrakeMode::kAutomatic;
};
struct SetBrakeReply {
  GroupInfo group;
};

/// Moves every partition of the group to another start (D15): voids its leases, delivers again what
/// lies behind, skips what was not delivered before it. Open dead letters stay where they are
/// unless `include_dead`, which discards them and delivers their messages again.
struct ResetGroupRequest {
  std::string name;
  GroupStart start;
  bool include_dead = false;
  bool dry_run = true;  ///< only says what it would do
};
struct ResetPartition {
  PartitionIndex partition;
  Offset from;                      ///< the first offset that was not done
  Offset to;                        ///< where it begins now
  std::uint64_t redelivered = 0;    ///< settled before, and delivered again
  std::uint64_t skipped = 0;        ///< never settled, and not delivered any more
  std::uint64_t leases_voided = 0;  ///< messages
  std::uint64_t dead_kept = 0;      ///< open dead letters that stay
};
struct ResetGroupReply {
  GroupInfo group;
  std::vector<ResetPartition> partitions;
};

/// Every record in [start, end) is in exactly one of these (D19).
struct Accounting {
  Offset start;
  Offset end;
  std::uint64_t done = 0;
  std::uint64_t ready = 0;      ///< also those whose key is busy
  std::uint64_t scheduled = 0;  ///< their not-before time has not come
  std::uint64_t leased = 0;
  std::uint64_t delayed = 0;  ///< failed, and waiting for the next attempt
  std::uint64_t held = 0;     ///< behind a dead letter of their key or partition
  std::uint64_t dead = 0;
  std::uint64_t redriving = 0;  ///< on the way to another topic
  std::uint64_t redriven = 0;   ///< sent on to another topic
  std::uint64_t discarded = 0;
  std::uint64_t expired = 0;
  std::uint64_t skipped = 0;    ///< passed over by a reset
  std::uint64_t compacted = 0;  ///< taken out by key compaction
  std::uint64_t removed = 0;    ///< taken out by retention before they were done
  friend bool operator==(const Accounting&, const Accounting&) = default;
  [[nodiscard]] std::uint64_t sum() const {
    return done + ready + scheduled + leased + delayed + held + dead + redriving + redriven +
           discarded + expired + skipped + compacted + removed;
  }
};
/// Why a group does not advance in a partition: the closed list of D9. Numbers are on the wire.
enum class Waiting : std::uint8_t {
  kNothing = 0,  ///< it advances
  kNoCredit = 1,
  kNothingReady = 2,
  kAllKeysBusy = 3,
  kWindowFull = 4,
  kIndexFull = 5,
  kHeldFull = 6,
  kBraked = 7,
  kPaused = 8,
  kDisk = 9,
};
std::string_view name(Waiting waiting);

struct GroupPartitionStatus {
  PartitionIndex partition;
  Accounting accounting;
  std::uint64_t failures = 0;     ///< charged failures since the group began
  std::uint64_t redelivered = 0;  ///< deliveries that were not the first
  Waiting waiting = Waiting::kNothing;
};
struct DescribeGroupRequest {
  std::string name;
};
struct DescribeGroupReply {
  GroupInfo group;
  std::string topic;
  std::uint32_t consumers = 0;
  std::vector<GroupPartitionStatus> partitions;
};

/// Counts every record of the group anew and compares with what is kept (D19).
struct CheckGroupRequest {
  std::string name;
};
struct PartitionCheck {
  PartitionIndex partition;
  Accounting kept;     ///< as describe answers
  Accounting counted;  ///< record by record
};
struct CheckGroupReply {
  std::vector<PartitionCheck> partitions;
};

// --- consuming ---

/// A subscription is named by its connection: `subscription` is the client's own number.
struct SubscribeRequest {
  std::uint32_t subscription = 0;
  std::string group;
};
struct SubscribeReply {
  GroupInfo group;
  std::string topic;
};
struct UnsubscribeRequest {
  std::uint32_t subscription = 0;  ///< its leases are released, uncharged
};
struct UnsubscribeReply {};

/// Adds to what the broker may push. Not answered.
struct CreditRequest {
  std::uint32_t subscription = 0;
  std::uint32_t messages = 0;
  std::uint64_t bytes = 0;
};

/// What of a pushed batch is leased, and under which token.
struct GrantedRange {
  OffsetRange range;
  LeaseToken token;
  std::uint32_t delivery = 1;  ///< 1 on first delivery
  std::uint32_t failures = 0;  ///< charged so far
  std::uint32_t redrive = 0;   ///< how often it was sent back from the dead letters
};
/// Pushed by the broker. Records of the batches outside the granted ranges are not this consumer's.
struct DeliverPush {
  std::uint32_t subscription = 0;
  PartitionIndex partition;
  std::chrono::milliseconds lease{0};  ///< from the moment of sending
  std::vector<GrantedRange> ranges;
  std::vector<SharedBytes> batches;
};

/// Pushed by the broker (D8): what this subscription holds of the partition from `first` on is not
/// its any more; a message before it was not acked. Deliveries of it follow anew.
struct RevokePush {
  std::uint32_t subscription = 0;
  PartitionIndex partition;
  Offset first;
};

enum class SettleVerb : std::uint8_t { kAck = 1, kRetry = 2, kDeadLetter = 3, kRelease = 4 };

struct Settlement {
  PartitionIndex partition;
  LeaseToken token;
  OffsetRange range;
  SettleVerb verb = SettleVerb::kAck;
  std::optional<std::chrono::milliseconds> retry_after;
  Failure failure;  ///< for retry and dead_letter
};
struct SettleRequest {
  std::uint32_t subscription = 0;
  std::vector<Settlement> settlements;
};
/// What became of a settled message.
enum class SettleOutcome : std::uint8_t {
  kDone = 1,
  kDelayed = 2,
  kDead = 3,
  kReleased = 4,
};
struct SettleReply {
  std::vector<Reply<SettleOutcome>> outcomes;  ///< in the request's order
};

struct LeaseExtension {
  PartitionIndex partition;
  LeaseToken token;
  OffsetRange range;
  bool started = false;  ///< a handler is working on it (D6)
};
struct ExtendRequest {
  std::uint32_t subscription = 0;
  std::vector<LeaseExtension> leases;
};
struct ExtendReply {
  std::vector<Reply<void>> outcomes;
};

// --- dead letters ---

// Numbers are on the wire and on disk.
enum class DeadLetterState : std::uint8_t {
  kDead = 1,
  kHeld = 2,
  kRedriving = 3,
  kRedriven = 4,
  kDiscarded = 5,
};
std::string_view name(DeadLetterState state);

/// Why the broker gave up. Numbers are on the wire and on disk.
enum class DeadLetterReason : std::uint8_t {
  kMaxFailures = 1,
  kInvalid = 2,
  kRequested = 3,  ///< the consumer said dead_letter
  kDeliveryLimit = 4,
  kCrashLoop = 5,
  kExpired = 6,
};
std::string_view name(DeadLetterReason reason);

struct DeadLetterSummary {
  DeadLetterId id;
  Offset offset;
  DeadLetterState state = DeadLetterState::kDead;
  DeadLetterReason reason = DeadLetterReason::kMaxFailures;
  std::uint64_t fingerprint = 0;
  std::uint32_t failures = 0;
  std::uint32_t deliveries = 0;
  std::uint32_t redrives = 0;
  std::uint32_t versions = 1;
  WallTime died_at;
  Failure last_failure;
  std::optional<ByteVector> key;  ///< of the newest version; lists leave out one above 1 KiB
  bool erased = false;            ///< payload, fixes and attempts are gone for good (D18)
};

/// Which dead letters: all conditions that are set must hold.
struct DeadLetterSelection {
  std::string group;
  std::vector<DeadLetterId> ids;  ///< empty: any
  std::optional<std::uint64_t> fingerprint;
  std::optional<std::string> code;
  std::optional<DeadLetterState> state;
};

struct ListDeadLettersRequest {
  DeadLetterSelection selection;
  std::optional<DeadLetterId> after;  ///< page on from here
  std::uint32_t limit = 100;
};
struct FingerprintCount {
  std::uint64_t fingerprint = 0;
  std::uint64_t count = 0;
  Failure example;
};
struct ListDeadLettersReply {
  std::vector<DeadLetterSummary> dead_letters;
  bool more = false;
  std::vector<FingerprintCount> fingerprints;  ///< over the whole selection, not just this page
};

struct DeadLetterVersion {
  std::uint32_t version = 0;  ///< 0 is the original
  WallTime at;
  std::string by;
  std::string note;
  Message message;
};
struct ShowDeadLetterRequest {
  std::string group;
  DeadLetterId id;
};
struct ShowDeadLetterReply {
  DeadLetterSummary summary;
  std::string topic;
  std::vector<Attempt> attempts;
  std::vector<DeadLetterVersion> versions;
};

/// A fix is a new version beside the untouched original.
struct EditDeadLetterRequest {
  std::string group;
  DeadLetterId id;
  std::uint32_t base_version =
      0;  ///< refused unless this is the newest: nobody's fix is overwritten
  Message message;
  std::string by;
  std::string note;
};
struct EditDeadLetterReply {
  std::uint32_t version = 0;
};

struct RedriveRequest {
  DeadLetterSelection selection;
  bool override_limit = false;
  std::string by;
};
struct RedriveReply {
  std::uint64_t redriven = 0;
  std::uint64_t skipped = 0;  ///< not in state `dead` any more
};
struct DiscardRequest {
  DeadLetterSelection selection;
  std::string by;
  std::string reason;
  /// Also erases payload, fixes and attempts, of those too that were discarded or redriven before.
  bool erase = false;
};
struct DiscardReply {
  std::uint64_t discarded = 0;
  std::uint64_t skipped = 0;  ///< neither discarded nor erased by this
  std::uint64_t erased = 0;   ///< of which some may have been discarded or redriven before
};

}  // namespace waybill

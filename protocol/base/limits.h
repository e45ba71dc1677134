// Every bound that a peer or a file can run into, with its reason. The ones a client can meet stand
// in protocol/PROTOCOL.md too; a test compares the page with this file.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace waybill::limits {

// --- the conversation ---

/// A frame before hello: enough for hello, too little to be worth attacking with.
inline constexpr std::size_t kMaxHelloFrame = 8 * 1024;
/// A frame after hello: one maximal batch, its metadata, and room.
inline constexpr std::size_t kMaxFrame = 9 * 1024 * 1024;
/// The protobuf part of a frame: control data only, batches travel in the body.
inline constexpr std::size_t kMaxFrameMeta = 4 * 1024 * 1024;
/// Unanswered requests of one connection; more are refused, so that no queue grows without end.
inline constexpr std::size_t kMaxPendingRequests = 1024;
/// Bytes waiting to be sent to one connection before the broker stops reading from it.
inline constexpr std::size_t kMaxOutputBuffer = 64 * 1024 * 1024;
/// A user's token: room for any generator's, little enough to be hashed at once.
inline constexpr std::size_t kMaxToken = 256;
/// How long a new connection may take to say hello.
inline constexpr std::chrono::seconds kHelloTimeout{10};
/// Connections of one broker.
inline constexpr std::size_t kMaxConnections = 10'000;

/// Submessages and strings in one frame's metadata: each costs far more in memory than on the wire.
inline constexpr std::size_t kMaxMetaElements = 200'000;

// --- requests ---

/// Batches of one publish request.
inline constexpr std::size_t kMaxPublishParts = 1024;
/// Settlements of one settle request, and leases of one extend request.
inline constexpr std::size_t kMaxSettlements = 10'000;
/// Ranges granted by one delivery: every record of a maximal batch alone.
inline constexpr std::size_t kMaxGrantedRanges = 100'000;
/// Batches in one read reply or delivery.
inline constexpr std::size_t kMaxBatchesPerFrame = 10'000;
/// What one read may ask for; a first batch larger than asked comes whole all the same.
inline constexpr std::uint32_t kMaxReadBytes = 8 * 1024 * 1024;
/// How long a read at the end may wait for more: below the idle time-outs of common gateways.
inline constexpr std::chrono::seconds kMaxReadWait{300};
/// Messages and bytes of one credit: more than anyone holds, and sums never overflow.
inline constexpr std::uint32_t kMaxCreditMessages = 1'000'000;
inline constexpr std::uint64_t kMaxCreditBytes = std::uint64_t{1} << 40;
/// The longest wait that a consumer may ask for with `retry`.
inline constexpr std::chrono::hours kMaxRetryAfter{7 * 24};
/// Dead letters named one by one in one request.
inline constexpr std::size_t kMaxSelectionIds = 10'000;
/// Dead letters on one page of a list.
inline constexpr std::uint32_t kMaxPage = 1000;
/// Free text of people: a client's or producer's name, who, why, a note.
inline constexpr std::size_t kMaxText = 1024;

// --- names and catalog ---

/// As Kafka's, so that every Kafka tool can say it.
inline constexpr std::size_t kMaxNameLength = 249;
/// Partitions of one topic in this version: each costs memory in its shard.
inline constexpr std::uint32_t kMaxPartitions = 10'000;
inline constexpr std::size_t kMaxTopics = 10'000;
inline constexpr std::size_t kMaxGroups = 10'000;
inline constexpr std::uint32_t kMaxShards = 64;

// --- messages ---

/// Key, value and headers of one message together.
inline constexpr std::size_t kMaxMessage = 4 * 1024 * 1024;
inline constexpr std::size_t kMaxHeaders = 64;
/// All header keys and values of one message.
inline constexpr std::size_t kMaxHeaderBytes = 64 * 1024;
/// A batch as sent, header included: one batch, its journal entry and a frame header fit a frame.
inline constexpr std::size_t kMaxBatch = 6 * 1024 * 1024;
inline constexpr std::uint32_t kMaxBatchRecords = 100'000;
/// What a compressed batch may expand to in memory.
inline constexpr std::size_t kMaxUncompressedBatch = 32 * 1024 * 1024;
/// A higher ratio on more than kMinRatioBytes of output is a decompression bomb.
inline constexpr std::size_t kMaxCompressionRatio = 1000;
inline constexpr std::size_t kMinRatioBytes = 1024 * 1024;

// --- failures, dead letters ---

inline constexpr std::size_t kMaxFailureCode = 64;
/// Longer detail is cut, and ends with "…".
inline constexpr std::size_t kMaxFailureDetail = 1024;
/// Attempts kept in a message's history, the newest; the counters count all.
inline constexpr std::size_t kMaxAttemptHistory = 16;
/// Deliveries of one message whatever their end, so that nothing loops for ever (D3).
inline constexpr std::uint32_t kMaxDeliveries = 100;
/// Ends of a delivery that nobody explained before the message is a dead letter `crash_loop` (D10).
inline constexpr std::uint32_t kMaxUnexplained = 20;
/// Redrives of one dead letter before it needs an override (D16).
inline constexpr std::uint32_t kMaxRedrives = 10;
/// How long `transient` failures are free, from the first (D11).
inline constexpr std::chrono::hours kTransientFree{24};
/// How long a lease of before a restart waits for its instance to come back (D5).
inline constexpr std::chrono::seconds kReclaimAfterRestart{10};

// --- producers ---

inline constexpr std::size_t kMaxDurableProducers = 1000;
/// Session producers remembered per partition; the least recently used goes first.
inline constexpr std::size_t kMaxSessionProducers = 1000;
/// Batches remembered per producer and partition, so that a resend gets its offsets again (D21).
inline constexpr std::size_t kProducerRecentBatches = 5;

// --- journal ---

inline constexpr std::size_t kBlock = 4096;
/// A frame is closed at this size; only a single larger change goes beyond.
inline constexpr std::size_t kFrameTarget = 1024 * 1024;
inline constexpr std::size_t kMaxJournalFrame = 8 * 1024 * 1024;
inline constexpr std::size_t kJournalFile = 64 * 1024 * 1024;
inline constexpr std::size_t kMaxFramesInFlight = 4;
/// Staged, not yet durable bytes of one shard; beyond, publishers get `overloaded`.
inline constexpr std::size_t kMaxStagedBytes = 64 * 1024 * 1024;

static_assert(kMaxMessage + kMaxHeaderBytes + kMaxAttemptHistory * (kMaxFailureDetail + 256) <
                  kMaxBatch,
              "a dead letter, history included, is one batch");
static_assert(kMaxBatch + 64 * 1024 < kMaxJournalFrame,
              "a batch and its entries are one change (S3)");
static_assert(kMaxBatch < kMaxFrame, "a batch fits a request");
static_assert(kMaxReadBytes + 512 * 1024 < kMaxFrame, "what a read asks for fits a frame");

}  // namespace waybill::limits

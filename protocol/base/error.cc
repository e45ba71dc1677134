#include "protocol/base/error.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace waybill {
namespace {

constexpr bool kYes = true;
constexpr bool kNo = false;

// code, name, retriable, outcome unknown, closes the connection, meaning
constexpr auto kFacts = std::to_array<ErrcFacts>({
    {Errc::kMalformedFrame, "malformed_frame", kNo, kNo, kYes, "the bytes are not a frame"},
    {Errc::kFrameTooLarge, "frame_too_large", kNo, kNo, kYes, "a frame is longer than the limit"},
    {Errc::kUnsupportedVersion, "unsupported_version", kNo, kNo, kYes,
     "no protocol version is common to both sides"},
    {Errc::kUnknownRequest, "unknown_request", kNo, kNo, kNo, "the request kind is not known here"},
    {Errc::kHelloRequired, "hello_required", kNo, kNo, kYes, "the first frame was not hello"},
    {Errc::kHelloTimeout, "hello_timeout", kYes, kNo, kYes, "hello did not come in time"},
    {Errc::kInvalidRequest, "invalid_request", kNo, kNo, kNo,
     "a field is missing or outside its range"},
    {Errc::kTooManyRequests, "too_many_requests", kYes, kNo, kNo,
     "too many requests of this connection are unanswered"},
    {Errc::kNotAuthorized, "not_authorized", kNo, kNo, kNo,
     "the user lacks a right, which the sentence names"},
    {Errc::kShuttingDown, "shutting_down", kYes, kNo, kYes, "the broker is stopping"},
    {Errc::kOutcomeUnknown, "outcome_unknown", kYes, kYes, kNo,
     "the broker cannot say whether it happened; repeat it under the same sequence"},
    {Errc::kTimedOut, "timed_out", kYes, kYes, kNo, "no answer before the deadline"},
    {Errc::kConnectionLost, "connection_lost", kYes, kYes, kNo,
     "the connection ended before the answer"},
    {Errc::kNotLeader, "not_leader", kYes, kNo, kNo, "another broker owns this partition"},
    {Errc::kNotSupported, "not_supported", kNo, kNo, kNo, "this version does not offer that"},
    {Errc::kCancelled, "cancelled", kNo, kYes, kNo, "the caller gave up waiting"},
    {Errc::kCannotConnect, "cannot_connect", kYes, kNo, kNo, "no broker answers at that address"},
    {Errc::kUnauthenticated, "unauthenticated", kNo, kNo, kYes,
     "the broker has no such user, or the token is not that user's"},
    {Errc::kUnknownTopic, "unknown_topic", kNo, kNo, kNo, "there is no topic of that name or id"},
    {Errc::kTopicExists, "topic_exists", kNo, kNo, kNo, "a topic of that name exists, differently"},
    {Errc::kUnknownPartition, "unknown_partition", kNo, kNo, kNo,
     "the topic has no such partition"},
    {Errc::kInvalidName, "invalid_name", kNo, kNo, kNo, "the name is empty, too long or misspelt"},
    {Errc::kOpenDeadLetters, "open_dead_letters", kNo, kNo, kNo,
     "dead letters would be lost; discard them first or say so"},
    {Errc::kTopicInUse, "topic_in_use", kNo, kNo, kNo, "the topic still has consumer groups"},
    {Errc::kCorruptBatch, "corrupt_batch", kYes, kNo, kNo, "the batch's CRC-32C does not match"},
    {Errc::kInvalidBatch, "invalid_batch", kNo, kNo, kNo,
     "the batch or a record in it is malformed"},
    {Errc::kMessageTooLarge, "message_too_large", kNo, kNo, kNo,
     "a message, its headers or the batch exceed a limit"},
    {Errc::kUnsupportedCompression, "unsupported_compression", kNo, kNo, kNo,
     "the batch's codec is not known here"},
    {Errc::kDecompressionLimit, "decompression_limit", kNo, kNo, kNo,
     "the batch would expand beyond the limit"},
    {Errc::kWrongEndOffset, "wrong_end_offset", kNo, kNo, kNo,
     "the partition's end is not the expected offset; nothing was appended"},
    {Errc::kOutOfOrder, "out_of_order", kNo, kNo, kNo,
     "a session producer's sequence does not follow its last one"},
    {Errc::kProducerUnknown, "producer_unknown", kNo, kYes, kNo,
     "the producer is not known here and this is not its first sequence"},
    {Errc::kOutOfSequence, "out_of_sequence", kNo, kNo, kNo,
     "`previous` is not the last sequence of this durable producer"},
    {Errc::kFenced, "fenced", kNo, kNo, kNo, "a newer epoch of this producer or consumer exists"},
    {Errc::kProducerLimit, "producer_limit", kNo, kNo, kNo, "too many durable producers"},
    {Errc::kOffsetOutOfRange, "offset_out_of_range", kNo, kNo, kNo,
     "the partition does not hold that offset"},
    {Errc::kDiskFull, "disk_full", kYes, kNo, kNo,
     "the data directory is full; nothing was appended"},
    {Errc::kOverloaded, "overloaded", kYes, kNo, kNo, "a bounded queue is full; try again later"},
    {Errc::kUnknownGroup, "unknown_group", kNo, kNo, kNo, "there is no group of that name"},
    {Errc::kPolicyMismatch, "policy_mismatch", kNo, kNo, kNo,
     "the group exists with another policy or topic"},
    {Errc::kInvalidPolicy, "invalid_policy", kNo, kNo, kNo, "a policy value is outside its range"},
    {Errc::kLeaseLost, "lease_lost", kNo, kNo, kNo,
     "the lease ended before the settlement; the message will be delivered again"},
    {Errc::kAlreadySettled, "already_settled", kNo, kNo, kNo,
     "the message is settled already; count it as success"},
    {Errc::kUnknownSubscription, "unknown_subscription", kNo, kNo, kNo,
     "the connection has no such subscription"},
    {Errc::kUnknownDeadLetter, "unknown_dead_letter", kNo, kNo, kNo,
     "there is no dead letter of that id"},
    {Errc::kDeadLetterState, "dead_letter_state", kNo, kNo, kNo,
     "the dead letter's state does not allow that"},
    {Errc::kRedriveLimit, "redrive_limit", kNo, kNo, kNo,
     "the dead letter was redriven too often already"},
    {Errc::kGroupInUse, "group_in_use", kNo, kNo, kNo, "the group has connected consumers"},
    {Errc::kNotInTransaction, "not_in_transaction", kNo, kNo, kNo,
     "enqueue needs an open transaction of the application"},
    {Errc::kOutboxTables, "outbox_tables", kNo, kNo, kNo, "the database has no outbox tables"},
    {Errc::kDatabase, "database", kYes, kNo, kNo, "the application's database reported an error"},
    {Errc::kLaneOwned, "lane_owned", kYes, kNo, kNo, "another relay owns the outbox lane"},
    {Errc::kWentBack, "went_back", kNo, kNo, kNo,
     "database and broker disagree on the last sequence; one of them was restored"},
    {Errc::kIo, "io", kNo, kNo, kNo, "the operating system reported an input/output error"},
    {Errc::kNoSpace, "no_space", kYes, kNo, kNo, "the file system is full"},
    {Errc::kNotFound, "not_found", kNo, kNo, kNo, "the file does not exist"},
    {Errc::kLocked, "locked", kNo, kNo, kNo, "another process holds the data directory"},
    {Errc::kShortData, "short_data", kNo, kNo, kNo, "the bytes end too early"},
    {Errc::kChecksum, "checksum", kNo, kNo, kNo, "a checksum does not match"},
    {Errc::kBadFormat, "bad_format", kNo, kNo, kNo, "the bytes are not of the expected format"},
    {Errc::kDamaged, "damaged", kNo, kNo, kNo, "acknowledged data is damaged"},
    {Errc::kPoisoned, "poisoned", kNo, kYes, kNo, "a write failed earlier; the shard has stopped"},
    {Errc::kUnsupportedFormat, "unsupported_format", kNo, kNo, kNo,
     "written by a newer version of the broker"},
    {Errc::kClosed, "closed", kNo, kNo, kNo, "the object was closed"},
});

static_assert(std::ranges::is_sorted(kFacts, std::ranges::less_equal{}, &ErrcFacts::code));

constexpr ErrcFacts kUnknownError{Errc{0}, "unknown_error", false,
                                  true,    false,           "a code this version does not know"};

}  // namespace

std::span<const ErrcFacts> all_errc_facts() {
  return kFacts;
}

const ErrcFacts& facts(Errc code) {
  const auto* found = std::ranges::lower_bound(kFacts, code, {}, &ErrcFacts::code);
  return found != kFacts.end() && found->code == code ? *found : kUnknownError;
}

std::string to_string(const Error& error) {
  std::string text = error.where;
  if (!text.empty()) text += ": ";
  text += name(error.code);
  if (error.os_errno != 0) {
    text +=
        " (errno " + std::to_string(error.os_errno) + ": " + std::strerror(error.os_errno) + ")";
  }
  return text;
}

}  // namespace waybill

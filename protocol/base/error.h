// The one error carrier of the project.
//
// Errc     a fixed number per kind of failure. Numbers below 200 travel on the wire and are part of
//          the protocol (protocol/PROTOCOL.md lists them; a test compares the page with this
//          table). A number is never reused; a retired one stays in the enum as a gap with a
//          comment.
// Error    what failed, the operating system's errno if there was one, and a literal saying where.
//          16 bytes, trivially copyable: it costs nothing to return and survives any coroutine.
// To add a code: 1 give it the next free number of its block, 2 add its row in error.cc,
// 3 if it is below 200, add its row to PROTOCOL.md; the tests name what is missing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace waybill {

enum class Errc : std::uint16_t {
  // 1-19: the conversation itself
  kMalformedFrame = 1,
  kFrameTooLarge = 2,
  kUnsupportedVersion = 3,
  kUnknownRequest = 4,
  kHelloRequired = 5,
  kHelloTimeout = 6,
  kInvalidRequest = 7,
  kTooManyRequests = 8,
  kNotAuthorized = 9,
  kShuttingDown = 10,
  kOutcomeUnknown = 11,
  kTimedOut = 12,
  kConnectionLost = 13,
  kNotLeader = 14,
  kNotSupported = 15,
  kCancelled = 16,
  kCannotConnect = 17,
  kUnauthenticated = 18,
  // 20-29: topics
  kUnknownTopic = 20,
  kTopicExists = 21,
  kUnknownPartition = 22,
  kInvalidName = 23,
  kOpenDeadLetters = 24,
  kTopicInUse = 25,
  // 30-49: publishing and reading
  kCorruptBatch = 30,
  kInvalidBatch = 31,
  kMessageTooLarge = 32,
  kUnsupportedCompression = 33,
  kDecompressionLimit = 34,
  kWrongEndOffset = 35,
  kOutOfOrder = 36,
  kProducerUnknown = 37,
  kOutOfSequence = 38,
  kFenced = 39,
  kProducerLimit = 40,
  kOffsetOutOfRange = 41,
  kDiskFull = 42,
  kOverloaded = 43,
  // 50-69: groups, deliveries, dead letters
  kUnknownGroup = 50,
  kPolicyMismatch = 51,
  kInvalidPolicy = 52,
  kLeaseLost = 53,
  kAlreadySettled = 54,
  kUnknownSubscription = 55,
  kUnknownDeadLetter = 56,
  kDeadLetterState = 57,
  kRedriveLimit = 58,
  kGroupInUse = 59,
  // 100-119: outbox and inbox, in the client's process
  kNotInTransaction = 100,
  kOutboxTables = 101,
  kDatabase = 102,
  kLaneOwned = 103,
  kWentBack = 104,
  // 200 and above never leave the process
  kIo = 200,
  kNoSpace = 201,
  kNotFound = 202,
  kLocked = 203,
  kShortData = 204,
  kChecksum = 205,
  kBadFormat = 206,
  kDamaged = 207,
  kPoisoned = 208,
  kUnsupportedFormat = 209,
  kClosed = 210,
};

/// What is fixed about a code: whether repeating the request can help, whether it may have taken
/// effect, and whether the broker closes the connection after saying it.
struct ErrcFacts {
  Errc code;
  std::string_view name;
  bool retriable;
  bool outcome_unknown;
  bool closes_connection;
  std::string_view meaning;
};

/// Every code, ordered by number.
std::span<const ErrcFacts> all_errc_facts();
/// The facts of one code; an unlisted number (a newer peer's) reads as `unknown_error`.
const ErrcFacts& facts(Errc code);
inline std::string_view name(Errc code) {
  return facts(code).name;
}

struct Error {
  Errc code;
  std::int32_t os_errno = 0;
  const char* where = "";  ///< a literal: the operation that failed
};
static_assert(sizeof(Error) == 16);

inline bool operator==(const Error& error, Errc code) {
  return error.code == code;
}

/// "disk write: io (errno 5: Input/output error)"
std::string to_string(const Error& error);

}  // namespace waybill

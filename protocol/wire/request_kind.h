// The number of every request and push. Numbers are the protocol: never changed, never reused; a
// retired one stays here as a comment. A reply or an error carries its request's number.
// To add one: 1 the next free number of its group here, 2 its row in request_kind.cc, 3 its structs
// in protocol/model/requests.h, 4 its message in waybill.proto and its pair of overloads in
// codec.h, 5 its section in PROTOCOL.md; the tests name what is missing.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "protocol/model/right.h"

namespace waybill {

enum class RequestKind : std::uint16_t {
  kNone = 0,  ///< only in errors that answer no request in particular
  // 1-9: the conversation
  kHello = 1,
  kPing = 2,
  // 10-19: topics
  kMetadata = 10,
  kCreateTopic = 11,
  kDescribeTopic = 12,
  kDeleteTopic = 13,
  kAlterTopic = 14,
  // 20-39: publishing and reading
  kOpenProducer = 20,
  kPublish = 21,
  kListProducers = 22,
  kRemoveProducer = 23,
  kRead = 30,
  // 40-59: groups; metadata lists them
  kCreateGroup = 40,
  kAlterGroup = 41,
  kDeleteGroup = 42,
  kDescribeGroup = 43,
  kPauseGroup = 44,
  kSetBrake = 45,
  kResetGroup = 46,
  kCheckGroup = 47,
  // 60-79: consuming
  kSubscribe = 60,
  kUnsubscribe = 61,
  kCredit = 62,
  kDeliver = 63,
  kSettle = 64,
  kExtend = 65,
  kRevoke = 66,
  // 80-99: dead letters
  kListDeadLetters = 80,
  kShowDeadLetter = 81,
  kEditDeadLetter = 82,
  kRedrive = 83,
  kDiscard = 84,
};

/// What is fixed about a kind. Repeating an idempotent request has the effect of doing it once.
struct RequestKindFacts {
  RequestKind kind;
  std::string_view name;
  bool answered;
  bool pushed;  ///< sent by the broker, never by a client
  bool idempotent;
  Right right;  ///< what a user needs for it (D18); see right_beyond() in the server for more
};

/// Every kind but kNone, ordered by number.
std::span<const RequestKindFacts> all_request_kinds();
/// Null for a number that this version does not know.
const RequestKindFacts* find_request_kind(RequestKind kind);
/// "publish"; "unknown" for a number that this version does not know.
std::string_view name(RequestKind kind);

}  // namespace waybill

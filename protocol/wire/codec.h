// Structs of protocol/model/requests.h <-> frames. For every struct there is one pair of overloads,
// encode() and decode(); everything else here is generic over them:
//
//   client: OutFrame out = encode_request(correlation, PublishRequest{...});
//           Reply<PublishReply> reply = decode_answer<PublishRequest>(frame);
//   server: Reply<PublishRequest> request = decode_as<PublishRequest>(frame);
//           OutFrame out = encode_reply(frame.header.correlation, PublishReply{...});
//
// decode() believes nothing: sizes and counts are bounded before memory is allocated for them,
// every number has a range, every enum value must be known, slices must cover the body exactly.
// What it refuses it names in a sentence (kInvalidRequest, kInvalidPolicy), or it was no protobuf
// (kMalformedFrame). Decoded slices keep the frame's memory alive and are not copied.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "protocol/model/requests.h"
#include "protocol/wire/frame.h"

namespace waybill {

// --- what belongs to what ---

/// Of a request, reply or push struct: kKind, and for a request its ReplyType (void: no answer).
template <class Struct>
struct Wire;

template <RequestKind Kind, class Answer>
struct RequestWire {
  static constexpr RequestKind kKind = Kind;
  static constexpr FrameType kType = FrameType::kRequest;
  using ReplyType = Answer;
};
template <RequestKind Kind>
struct ReplyWire {
  static constexpr RequestKind kKind = Kind;
  static constexpr FrameType kType = FrameType::kReply;
};
template <RequestKind Kind>
struct PushWire {
  static constexpr RequestKind kKind = Kind;
  static constexpr FrameType kType = FrameType::kPush;
};

template <>
struct Wire<HelloRequest> : RequestWire<RequestKind::kHello, HelloReply> {};
template <>
struct Wire<HelloReply> : ReplyWire<RequestKind::kHello> {};
template <>
struct Wire<PingRequest> : RequestWire<RequestKind::kPing, PingReply> {};
template <>
struct Wire<PingReply> : ReplyWire<RequestKind::kPing> {};
template <>
struct Wire<MetadataRequest> : RequestWire<RequestKind::kMetadata, MetadataReply> {};
template <>
struct Wire<MetadataReply> : ReplyWire<RequestKind::kMetadata> {};
template <>
struct Wire<CreateTopicRequest> : RequestWire<RequestKind::kCreateTopic, CreateTopicReply> {};
template <>
struct Wire<CreateTopicReply> : ReplyWire<RequestKind::kCreateTopic> {};
template <>
struct Wire<DescribeTopicRequest> : RequestWire<RequestKind::kDescribeTopic, DescribeTopicReply> {};
template <>
struct Wire<DescribeTopicReply> : ReplyWire<RequestKind::kDescribeTopic> {};
template <>
struct Wire<AlterTopicRequest> : RequestWire<RequestKind::kAlterTopic, AlterTopicReply> {};
template <>
struct Wire<AlterTopicReply> : ReplyWire<RequestKind::kAlterTopic> {};
template <>
struct Wire<DeleteTopicRequest> : RequestWire<RequestKind::kDeleteTopic, DeleteTopicReply> {};
template <>
struct Wire<DeleteTopicReply> : ReplyWire<RequestKind::kDeleteTopic> {};
template <>
struct Wire<OpenProducerRequest> : RequestWire<RequestKind::kOpenProducer, OpenProducerReply> {};
template <>
struct Wire<OpenProducerReply> : ReplyWire<RequestKind::kOpenProducer> {};
template <>
struct Wire<PublishRequest> : RequestWire<RequestKind::kPublish, PublishReply> {};
template <>
struct Wire<PublishReply> : ReplyWire<RequestKind::kPublish> {};
template <>
struct Wire<ListProducersRequest> : RequestWire<RequestKind::kListProducers, ListProducersReply> {};
template <>
struct Wire<ListProducersReply> : ReplyWire<RequestKind::kListProducers> {};
template <>
struct Wire<RemoveProducerRequest>
    : RequestWire<RequestKind::kRemoveProducer, RemoveProducerReply> {};
template <>
struct Wire<RemoveProducerReply> : ReplyWire<RequestKind::kRemoveProducer> {};
template <>
struct Wire<ReadRequest> : RequestWire<RequestKind::kRead, ReadReply> {};
template <>
struct Wire<ReadReply> : ReplyWire<RequestKind::kRead> {};
template <>
struct Wire<CreateGroupRequest> : RequestWire<RequestKind::kCreateGroup, CreateGroupReply> {};
template <>
struct Wire<CreateGroupReply> : ReplyWire<RequestKind::kCreateGroup> {};
template <>
struct Wire<AlterGroupRequest> : RequestWire<RequestKind::kAlterGroup, AlterGroupReply> {};
template <>
struct Wire<AlterGroupReply> : ReplyWire<RequestKind::kAlterGroup> {};
template <>
struct Wire<DeleteGroupRequest> : RequestWire<RequestKind::kDeleteGroup, DeleteGroupReply> {};
template <>
struct Wire<DeleteGroupReply> : ReplyWire<RequestKind::kDeleteGroup> {};
template <>
struct Wire<DescribeGroupRequest> : RequestWire<RequestKind::kDescribeGroup, DescribeGroupReply> {};
template <>
struct Wire<DescribeGroupReply> : ReplyWire<RequestKind::kDescribeGroup> {};
template <>
struct Wire<PauseGroupRequest> : RequestWire<RequestKind::kPauseGroup, PauseGroupReply> {};
template <>
struct Wire<PauseGroupReply> : ReplyWire<RequestKind::kPauseGroup> {};
template <>
struct Wire<SetBrakeRequest> : RequestWire<RequestKind::kSetBrake, SetBrakeReply> {};
template <>
struct Wire<SetBrakeReply> : ReplyWire<RequestKind::kSetBrake> {};
template <>
struct Wire<ResetGroupRequest> : RequestWire<RequestKind::kResetGroup, ResetGroupReply> {};
template <>
struct Wire<ResetGroupReply> : ReplyWire<RequestKind::kResetGroup> {};
template <>
struct Wire<CheckGroupRequest> : RequestWire<RequestKind::kCheckGroup, CheckGroupReply> {};
template <>
struct Wire<CheckGroupReply> : ReplyWire<RequestKind::kCheckGroup> {};
template <>
struct Wire<SubscribeRequest> : RequestWire<RequestKind::kSubscribe, SubscribeReply> {};
template <>
struct Wire<SubscribeReply> : ReplyWire<RequestKind::kSubscribe> {};
template <>
struct Wire<UnsubscribeRequest> : RequestWire<RequestKind::kUnsubscribe, UnsubscribeReply> {};
template <>
struct Wire<UnsubscribeReply> : ReplyWire<RequestKind::kUnsubscribe> {};
template <>
struct Wire<CreditRequest> : RequestWire<RequestKind::kCredit, void> {};
template <>
struct Wire<SettleRequest> : RequestWire<RequestKind::kSettle, SettleReply> {};
template <>
struct Wire<SettleReply> : ReplyWire<RequestKind::kSettle> {};
template <>
struct Wire<ExtendRequest> : RequestWire<RequestKind::kExtend, ExtendReply> {};
template <>
struct Wire<ExtendReply> : ReplyWire<RequestKind::kExtend> {};
template <>
struct Wire<ListDeadLettersRequest>
    : RequestWire<RequestKind::kListDeadLetters, ListDeadLettersReply> {};
template <>
struct Wire<ListDeadLettersReply> : ReplyWire<RequestKind::kListDeadLetters> {};
template <>
struct Wire<ShowDeadLetterRequest>
    : RequestWire<RequestKind::kShowDeadLetter, ShowDeadLetterReply> {};
template <>
struct Wire<ShowDeadLetterReply> : ReplyWire<RequestKind::kShowDeadLetter> {};
template <>
struct Wire<EditDeadLetterRequest>
    : RequestWire<RequestKind::kEditDeadLetter, EditDeadLetterReply> {};
template <>
struct Wire<EditDeadLetterReply> : ReplyWire<RequestKind::kEditDeadLetter> {};
template <>
struct Wire<RedriveRequest> : RequestWire<RequestKind::kRedrive, RedriveReply> {};
template <>
struct Wire<RedriveReply> : ReplyWire<RequestKind::kRedrive> {};
template <>
struct Wire<DiscardRequest> : RequestWire<RequestKind::kDiscard, DiscardReply> {};
template <>
struct Wire<DiscardReply> : ReplyWire<RequestKind::kDiscard> {};
template <>
struct Wire<DeliverPush> : PushWire<RequestKind::kDeliver> {};
template <>
struct Wire<RevokePush> : PushWire<RequestKind::kRevoke> {};

template <class Request>
using ReplyOf = typename Wire<Request>::ReplyType;

/// Every request struct, for code that goes through all of them.
template <class... Types>
struct TypeList {};
using AllRequests =
    TypeList<HelloRequest, PingRequest, MetadataRequest, CreateTopicRequest, DescribeTopicRequest,
             DeleteTopicRequest, AlterTopicRequest, OpenProducerRequest, PublishRequest,
             ListProducersRequest, RemoveProducerRequest, ReadRequest, CreateGroupRequest,
             AlterGroupRequest, DeleteGroupRequest, DescribeGroupRequest, PauseGroupRequest,
             SetBrakeRequest, ResetGroupRequest, CheckGroupRequest, SubscribeRequest,
             UnsubscribeRequest, CreditRequest, SettleRequest, ExtendRequest,
             ListDeadLettersRequest, ShowDeadLetterRequest, EditDeadLetterRequest, RedriveRequest,
             DiscardRequest>;

// --- one pair per struct ---
// encode() appends to `meta` and `body`. It never fails; check_size() says whether the peer takes
// the result.

void encode(const HelloRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, HelloRequest& out);
void encode(const HelloReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, HelloReply& out);
void encode(const PingRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, PingRequest& out);
void encode(const PingReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, PingReply& out);
void encode(const MetadataRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, MetadataRequest& out);
void encode(const MetadataReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, MetadataReply& out);
void encode(const CreateTopicRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, CreateTopicRequest& out);
void encode(const CreateTopicReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, CreateTopicReply& out);
void encode(const DescribeTopicRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, DescribeTopicRequest& out);
void encode(const DescribeTopicReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, DescribeTopicReply& out);
void encode(const AlterTopicRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, AlterTopicRequest& out);
void encode(const AlterTopicReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, AlterTopicReply& out);
void encode(const DeleteTopicRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, DeleteTopicRequest& out);
void encode(const DeleteTopicReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, DeleteTopicReply& out);
void encode(const OpenProducerRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, OpenProducerRequest& out);
void encode(const OpenProducerReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, OpenProducerReply& out);
void encode(const PublishRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, PublishRequest& out);
void encode(const PublishReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, PublishReply& out);
void encode(const ListProducersRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, ListProducersRequest& out);
void encode(const ListProducersReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, ListProducersReply& out);
void encode(const RemoveProducerRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, RemoveProducerRequest& out);
void encode(const RemoveProducerReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, RemoveProducerReply& out);
void encode(const ReadRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, ReadRequest& out);
void encode(const ReadReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, ReadReply& out);
void encode(const CreateGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, CreateGroupRequest& out);
void encode(const CreateGroupReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, CreateGroupReply& out);
void encode(const AlterGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, AlterGroupRequest& out);
void encode(const AlterGroupReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, AlterGroupReply& out);
void encode(const DeleteGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, DeleteGroupRequest& out);
void encode(const DeleteGroupReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, DeleteGroupReply& out);
void encode(const DescribeGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, DescribeGroupRequest& out);
void encode(const DescribeGroupReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, DescribeGroupReply& out);
void encode(const PauseGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, PauseGroupRequest& out);
void encode(const PauseGroupReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, PauseGroupReply& out);
void encode(const SetBrakeRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, SetBrakeRequest& out);
void encode(const SetBrakeReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, SetBrakeReply& out);
void encode(const ResetGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, ResetGroupRequest& out);
void encode(const ResetGroupReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, ResetGroupReply& out);
void encode(const CheckGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, CheckGroupRequest& out);
void encode(const CheckGroupReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, CheckGroupReply& out);
void encode(const SubscribeRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, SubscribeRequest& out);
void encode(const SubscribeReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, SubscribeReply& out);
void encode(const UnsubscribeRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, UnsubscribeRequest& out);
void encode(const UnsubscribeReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, UnsubscribeReply& out);
void encode(const CreditRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, CreditRequest& out);
void encode(const SettleRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, SettleRequest& out);
void encode(const SettleReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, SettleReply& out);
void encode(const ExtendRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, ExtendRequest& out);
void encode(const ExtendReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, ExtendReply& out);
void encode(const ListDeadLettersRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, ListDeadLettersRequest& out);
void encode(const ListDeadLettersReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, ListDeadLettersReply& out);
void encode(const ShowDeadLetterRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, ShowDeadLetterRequest& out);
void encode(const ShowDeadLetterReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, ShowDeadLetterReply& out);
void encode(const EditDeadLetterRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, EditDeadLetterRequest& out);
void encode(const EditDeadLetterReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, EditDeadLetterReply& out);
void encode(const RedriveRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, RedriveRequest& out);
void encode(const RedriveReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, RedriveReply& out);
void encode(const DiscardRequest& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, DiscardRequest& out);
void encode(const DiscardReply& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, DiscardReply& out);
void encode(const DeliverPush& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, DeliverPush& out);
void encode(const RevokePush& value, ByteVector& meta, std::vector<SharedBytes>& body);
Reply<void> decode(Bytes meta, const SharedBytes& body, RevokePush& out);

// --- frames ---

/// `correlation` is 1 or more, and unlike that of any unanswered request of the connection; credit,
/// which is not answered, may have 0. Requests after hello are of the negotiated version.
template <class Request>
OutFrame encode_request(std::uint32_t correlation, const Request& request,
                        std::uint8_t version = kMaxProtocolVersion) {
  static_assert(Wire<Request>::kType == FrameType::kRequest);
  WB_ASSERT(correlation != 0 || std::is_void_v<ReplyOf<Request>>, "a request has a correlation");
  OutFrame frame;
  frame.head.resize(kFrameHeaderSize);
  encode(request, frame.head, frame.body);
  constexpr RequestKind kKind = Wire<Request>::kKind;
  finish_frame(frame, {.kind = kKind,
                       .type = FrameType::kRequest,
                       .version = kKind == RequestKind::kHello ? kHelloVersion : version,
                       .correlation = correlation});
  return frame;
}

/// kMessageTooLarge, with a sentence, if the frame exceeds what a peer accepts after hello.
Reply<void> check_size(const OutFrame& frame);

/// Codes of 200 and above do not travel: they become kOutcomeUnknown, with their explanation. For
/// an error that answers no request, `correlation` is 0 and `kind` kNone.
OutFrame encode_error(std::uint32_t correlation, RequestKind kind, const RequestError& error,
                      std::uint8_t version = kMaxProtocolVersion);

/// A reply too large for a frame becomes an error that says so, rather than a broken connection.
template <class ReplyStruct>
OutFrame encode_reply(std::uint32_t correlation, const ReplyStruct& reply,
                      std::uint8_t version = kMaxProtocolVersion) {
  static_assert(Wire<ReplyStruct>::kType == FrameType::kReply);
  constexpr RequestKind kKind = Wire<ReplyStruct>::kKind;
  constexpr bool kIsHello = kKind == RequestKind::kHello;
  OutFrame frame;
  frame.head.resize(kFrameHeaderSize);
  encode(reply, frame.head, frame.body);
  Reply<void> fits = check_size(frame);
  if (!fits) return encode_error(correlation, kKind, fits.error(), version);
  finish_frame(frame, {.kind = kKind,
                       .type = FrameType::kReply,
                       .version = kIsHello ? kHelloVersion : version,
                       .correlation = correlation});
  return frame;
}

template <class Push>
OutFrame encode_push(const Push& push, std::uint8_t version = kMaxProtocolVersion) {
  static_assert(Wire<Push>::kType == FrameType::kPush);
  OutFrame frame;
  frame.head.resize(kFrameHeaderSize);
  encode(push, frame.head, frame.body);
  finish_frame(frame, {.kind = Wire<Push>::kKind, .type = FrameType::kPush, .version = version});
  return frame;
}

/// The struct in a frame whose kind and type the caller has looked at already.
template <class Struct>
Reply<Struct> decode_as(const Frame& frame) {
  if (frame.header.kind != Wire<Struct>::kKind || frame.header.type != Wire<Struct>::kType) {
    return RequestError(Errc::kMalformedFrame, "the frame is of another kind or type");
  }
  Struct out;
  Reply<void> decoded = decode(frame.meta(), frame.body(), out);
  if (!decoded) return decoded.error();
  return out;
}

/// What an error frame says. If it cannot be read itself: kMalformedFrame.
RequestError decode_error(const Frame& frame);

/// The answer to `Request`: its reply, or the error the broker answered with.
template <class Request>
Reply<ReplyOf<Request>> decode_answer(const Frame& frame) {
  if (frame.header.type == FrameType::kError) return decode_error(frame);
  return decode_as<ReplyOf<Request>>(frame);
}

}  // namespace waybill

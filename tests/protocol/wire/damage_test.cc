// Goal: no bytes of a peer can crash, hang or bloat the other side.
// Method: every struct's frame truncated at every length, with every bit flipped, in single bytes;
// counts and nesting beyond the limits; and fields outside their ranges, each named in the refusal.
#include <gtest/gtest.h>

#include "tests/protocol/wire/samples.h"

namespace waybill::test {
namespace {

template <class Struct>
Reply<void> decode_payload(Bytes meta, Bytes body) {
  Struct out;
  return decode(meta, SharedBytes(to_vector(body)), out);
}

/// The refusal of a request that decodes with every field filled but for what `spoil` changes.
template <class Struct, class Spoil>
std::string refusal(Spoil spoil) {
  Struct value = filled<Struct>();
  spoil(value);
  Payload payload = payload_of(value);
  Reply<void> decoded = decode_payload<Struct>(payload.meta, payload.body);
  return decoded ? "accepted" : to_string(decoded.error());
}

TEST(Damage, EveryTruncationOfAFrameNeedsMore) {
  for (const AnyStruct& any : all_structs()) {
    for (std::size_t size = 0; size < any.filled_frame.size(); ++size) {
      FrameDecoder decoder = decoder_after_hello();
      auto frames = feed(decoder, Bytes(any.filled_frame).first(size));
      ASSERT_TRUE(frames.ok() && frames->empty()) << any.name << " at " << size;
      ASSERT_EQ(decoder.at_boundary(), size == 0);
    }
  }
}

TEST(Damage, EveryTruncationOfMetadataIsRefusedOrReadsAsLess) {
  for (const AnyStruct& any : all_structs()) {
    for (std::size_t size = 0; size < any.filled.meta.size(); ++size) {
      Reply<Heard> heard = any.decode_payload(Bytes(any.filled.meta).first(size), any.filled.body);
      EXPECT_FALSE(heard.ok() && heard->as_filled) << any.name << " at " << size;
    }
  }
}

TEST(Damage, EveryTruncationOfABodyIsRefused) {
  for (const AnyStruct& any : all_structs()) {
    for (std::size_t size = 0; size < any.filled.body.size(); ++size) {
      Reply<Heard> heard = any.decode_payload(any.filled.meta, Bytes(any.filled.body).first(size));
      ASSERT_FALSE(heard.ok()) << any.name << " at " << size;
      EXPECT_EQ(heard.error().code, Errc::kInvalidRequest);
      EXPECT_NE(heard.error().explanation.find("but the body has only"), std::string::npos);
    }
  }
}

TEST(Damage, TrailingBodyIsRefused) {
  for (const AnyStruct& any : all_structs()) {
    ByteVector body = any.filled.body;
    body.push_back(std::byte{0});
    Reply<Heard> heard = any.decode_payload(any.filled.meta, body);
    ASSERT_FALSE(heard.ok()) << any.name;
    EXPECT_EQ(heard.error().explanation, "body has 1 bytes more than the metadata says");
  }
}

TEST(Damage, EveryBitFlipIsRefusedOrReadsAsSomethingValid) {
  for (const AnyStruct& any : all_structs()) {
    ByteVector meta = any.filled.meta;
    for (std::size_t bit = 0; bit < meta.size() * 8; ++bit) {
      meta[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
      Reply<Heard> heard = any.decode_payload(meta, any.filled.body);
      if (heard) {
        ASSERT_TRUE(any.decode_payload(heard->again.meta, heard->again.body).ok())
            << any.name << " at bit " << bit;
      }
      meta[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    }
  }
}

TEST(Damage, EveryBitFlipOfAWholeFrameEndsInAFrameAnErrorOrWaiting) {
  ByteVector bytes = bytes_of(frame_of(filled<HelloRequest>()));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    FrameDecoder decoder;
    auto frames = feed(decoder, bytes);
    if (frames && !frames->empty()) {
      ignore_error(decode_as<HelloRequest>(frames->front()), "any end but a crash will do");
    }
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
}

TEST(Damage, ManyTinyElementsAreRefusedBeforeTheyBecomeObjects) {
  // Field 2 of settle, empty, 300 000 times: 600 kB that would be 30 MB of objects.
  ByteVector meta;
  for (int i = 0; i < 300'000; ++i) {
    meta.push_back(std::byte{0x12});
    meta.push_back(std::byte{0});
  }
  SettleRequest out;
  Reply<void> decoded = decode(meta, {}, out);
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.error().code, Errc::kInvalidRequest);
  EXPECT_NE(decoded.error().explanation.find("too many elements"), std::string::npos);
  EXPECT_TRUE(out.settlements.empty());
}

TEST(Damage, UnknownFieldsAreSkippedButCounted) {
  // Field 100, a varint: known to a newer peer only.
  ByteVector meta{std::byte{0xa0}, std::byte{0x06}, std::byte{1}};
  PingRequest out;
  EXPECT_TRUE(decode(meta, {}, out).ok());
  ByteVector many;
  for (int i = 0; i < 300'000; ++i) many.insert(many.end(), meta.begin(), meta.end());
  EXPECT_FALSE(decode(many, {}, out).ok());
}

TEST(Damage, GroupsOfOldProtobufDoNotRecurse) {
  for (std::size_t size : {std::size_t{1000}, std::size_t{1'000'000}}) {
    ByteVector meta(size, std::byte{0x0b});  // "start of group 1", for ever
    PingRequest out;
    Reply<void> decoded = decode(meta, {}, out);
    ASSERT_FALSE(decoded.ok());
    EXPECT_EQ(decoded.error().code, Errc::kMalformedFrame);
  }
}

TEST(Damage, RandomBytesAreNotProtobuf) {
  ByteVector meta(100, std::byte{0xff});
  for_each_struct([&]<class Struct>() {
    Reply<void> decoded = decode_payload<Struct>(meta, {});
    ASSERT_FALSE(decoded.ok());
    EXPECT_EQ(decoded.error().code, Errc::kMalformedFrame);
  });
}

TEST(Damage, FieldsOutsideTheirRangeAreNamed) {
  EXPECT_EQ(refusal<HelloRequest>([](auto& r) { r.min_version = 0; }),
            "invalid_request: min_version is 0, must be 1 to 255");
  EXPECT_EQ(refusal<HelloRequest>([](auto& r) { r.max_version = 3; }),
            "invalid_request: max_version is 3, must be 11 to 255");
  EXPECT_EQ(refusal<CreateTopicRequest>([](auto& r) { r.name.clear(); }),
            "invalid_request: name is missing");
  EXPECT_EQ(refusal<CreateTopicRequest>([](auto& r) { r.name = std::string(300, 'a'); }),
            "invalid_request: name has 300 bytes, at most 249 fit");
  EXPECT_EQ(refusal<CreateTopicRequest>([](auto& r) { r.partitions = 10'001; }),
            "invalid_request: partitions is 10001, must be 1 to 10000");
  EXPECT_EQ(refusal<OpenProducerRequest>([](auto& r) { r.id = {}; }),
            "invalid_request: id is missing");
  EXPECT_EQ(refusal<ReadRequest>([](auto& r) { r.max_bytes = 0; }),
            "invalid_request: max_bytes is 0, must be 1 to 8388608");
  EXPECT_EQ(refusal<ReadRequest>([](auto& r) { r.from = {-1}; }),
            "invalid_request: from is 18446744073709551615, must be 0 to 9223372036854775807");
  EXPECT_EQ(refusal<CreditRequest>([](auto& r) { r.messages = 1'000'001; }),
            "invalid_request: messages is 1000001, must be 0 to 1000000");
  EXPECT_EQ(refusal<ListDeadLettersRequest>([](auto& r) { r.limit = 1001; }),
            "invalid_request: limit is 1001, must be 1 to 1000");
  EXPECT_EQ(refusal<DiscardRequest>([](auto& r) { r.reason = std::string(2000, 'x'); }),
            "invalid_request: reason has 2000 bytes, at most 1024 fit");
}

TEST(Damage, FieldsOfListElementsAreNamedWithTheirPlace) {
  EXPECT_EQ(refusal<PublishRequest>([](auto& r) { r.parts.clear(); }),
            "invalid_request: parts has 0 elements, must have 1 to 1024");
  EXPECT_EQ(refusal<PublishRequest>([](auto& r) { r.parts.resize(1025, r.parts[0]); }),
            "invalid_request: parts has 1025 elements, must have 1 to 1024");
  EXPECT_EQ(refusal<PublishRequest>([](auto& r) { r.parts[1].batch = {}; }),
            "invalid_request: parts[1].batch_size is 0, must be at least 1");
  EXPECT_EQ(refusal<PublishRequest>(
                [](auto& r) { r.parts[1].batch = SharedBytes(ByteVector(limits::kMaxBatch + 1)); }),
            "message_too_large: parts[1].batch_size is 6291457, at most 6291456 fit");
  EXPECT_EQ(refusal<PublishRequest>([](auto& r) { r.parts[0].producer->kind = ProducerKind{3}; }),
            "invalid_request: parts[0].producer.kind is 3, must be 1 to 2");
  EXPECT_EQ(refusal<PublishRequest>([](auto& r) { r.parts[0].producer->base_sequence = 5; }),
            "invalid_request: parts[0].producer.previous is 30, must be 0 to 4");
  EXPECT_EQ(refusal<SettleRequest>([](auto& r) { r.settlements[1].verb = SettleVerb{9}; }),
            "invalid_request: settlements[1].verb is 9, must be 1 to 4");
  EXPECT_EQ(refusal<SettleRequest>([](auto& r) { r.settlements[0].range.last = {0}; }),
            "invalid_request: settlements[0].last is before first");
  EXPECT_EQ(refusal<SettleRequest>([](auto& r) { r.settlements[0].verb = SettleVerb::kAck; }),
            "invalid_request: settlements[0].retry_after_ms goes with retry only");
  EXPECT_EQ(refusal<SettleRequest>([](auto& r) {
              r.settlements[0].failure.failure_class = FailureClass::kUnexplained;
            }),
            "invalid_request: settlements[0].failure.failure_class is unexplained, which only the "
            "broker says");
}

TEST(Damage, PoliciesAreValidatedBeforeTheyReachTheCore) {
  EXPECT_EQ(refusal<CreateGroupRequest>([](auto& r) { r.policy.max_failures = 0; }),
            "invalid_policy: max_failures is 0, must be 1 to 100");
  EXPECT_EQ(refusal<CreateGroupRequest>([](auto& r) { r.policy.ordering = Ordering::kUnset; }),
            "invalid_policy: ordering is not stated; it is one of none, key and partition");
  EXPECT_EQ(refusal<CreateGroupRequest>([](auto& r) { r.start.kind = StartKind::kUnset; }),
            "invalid_policy: start is not stated; it is one of earliest, latest, offset and time");
  EXPECT_EQ(refusal<AlterGroupRequest>([](auto& r) { r.policy.window = 0; }),
            "invalid_policy: window is 0, must be 1 to 1000000");
  EXPECT_EQ(refusal<AlterGroupRequest>([](auto& r) { r.policy.backoff.jitter = Jitter{7}; }),
            "invalid_request: policy.jitter is 7, must be 1 to 3");
  EXPECT_EQ(
      refusal<AlterGroupRequest>([](auto& r) { r.policy.failures.invalid = FailureAction{4}; }),
      "invalid_request: policy.failures.invalid is 4, must be 1 to 3");
  EXPECT_EQ(refusal<AlterGroupRequest>([](auto& r) { r.policy.brake.percent = 0; }),
            "invalid_policy: brake.percent is 0, must be 1 to 100");
  EXPECT_EQ(refusal<ResetGroupRequest>([](auto& r) { r.start.kind = StartKind::kUnset; }),
            "invalid_policy: start is not stated; it is one of earliest, latest, offset and time");
  EXPECT_EQ(refusal<SetBrakeRequest>([](auto& r) { r.mode = BrakeMode{0}; }),
            "invalid_request: mode is 0, must be 1 to 3");
}

TEST(Damage, HeadersOfAFixAreLimited) {
  EXPECT_EQ(refusal<EditDeadLetterRequest>([](auto& r) { r.message.headers.resize(65); }),
            "invalid_request: message.headers has 65 elements, must have 0 to 64");
  EXPECT_EQ(refusal<EditDeadLetterRequest>(
                [](auto& r) { r.message.headers = {{"k", ByteVector(limits::kMaxHeaderBytes)}}; }),
            "message_too_large: message.headers have 65537 bytes, at most 65536 fit");
}

}  // namespace
}  // namespace waybill::test

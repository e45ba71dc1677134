// Goal: whatever one side says, the other hears.
// Method: every struct, once with every field different and once with its defaults, goes through
// frames; the fields are walked by the test itself, so none can be forgotten.
#include <gtest/gtest.h>

#include "tests/protocol/wire/samples.h"

namespace waybill::test {
namespace {

Frame frame_in(const ByteVector& bytes) {
  FrameDecoder decoder = decoder_after_hello();
  Result<std::vector<Frame>> frames = feed(decoder, bytes);
  EXPECT_TRUE(frames.ok() && frames->size() == 1);
  return frames->front();
}

template <class Struct>
Reply<Struct> through_the_wire(const Struct& value) {
  return decode_as<Struct>(frame_in(bytes_of(frame_of(value))));
}

TEST(RoundTrip, EveryStructKeepsEveryField) {
  for (const AnyStruct& any : all_structs()) {
    Reply<Heard> heard = any.decode_frame(frame_in(any.filled_frame));
    ASSERT_TRUE(heard.ok()) << any.name << ": " << to_string(heard.error());
    EXPECT_TRUE(heard->as_filled) << any.name;
    EXPECT_FALSE(heard->as_default && any.filled.meta.size() > 0) << any.name;
  }
  EXPECT_EQ(all_structs().size(), 61u);
}

TEST(RoundTrip, EveryStructWithDefaultsIsTheSameOrNamesWhatIsMissing) {
  for (const AnyStruct& any : all_structs()) {
    Reply<Heard> heard = any.decode_frame(frame_in(any.default_frame));
    if (heard) {
      EXPECT_TRUE(heard->as_default) << any.name;
    } else {
      EXPECT_TRUE(any.type == FrameType::kRequest ||
                  heard.error().explanation.find("is 0") != std::string::npos)
          << any.name << ": " << heard.error().explanation;
      EXPECT_EQ(heard.error().code, Errc::kInvalidRequest);
      EXPECT_GT(heard.error().explanation.size(), 10u);
    }
  }
}

TEST(RoundTrip, EmptyKeysAndValuesAreNotMissingOnes) {
  EditDeadLetterRequest request = filled<EditDeadLetterRequest>();
  request.message.key.emplace();
  request.message.value.reset();
  Reply<EditDeadLetterRequest> heard = through_the_wire(request);
  ASSERT_TRUE(heard.ok());
  EXPECT_TRUE(heard->message.key.has_value());
  EXPECT_FALSE(heard->message.value.has_value());
  EXPECT_TRUE(same(request, *heard));
}

TEST(RoundTrip, ExtremeNumbersArrive) {
  CreditRequest credit{UINT32_MAX, limits::kMaxCreditMessages, limits::kMaxCreditBytes};
  EXPECT_TRUE(same(credit, *through_the_wire(credit)));
  ReadRequest read{{UINT64_MAX},        {limits::kMaxPartitions - 1}, {INT64_MAX},
                   WallTime{INT64_MIN}, limits::kMaxReadBytes,        limits::kMaxReadWait};
  EXPECT_TRUE(same(read, *through_the_wire(read)));
}

TEST(RoundTrip, TextThatIsNoUtf8Arrives) {
  DiscardRequest request = filled<DiscardRequest>();
  request.reason = "\xff\xfe not text";
  EXPECT_TRUE(same(request, *through_the_wire(request)));
}

TEST(RoundTrip, DecodedBatchesShareTheFramesMemory) {
  FrameDecoder decoder = decoder_after_hello();
  auto frames = feed(decoder, bytes_of(frame_of(filled<PublishRequest>())));
  const Frame& frame = frames->front();
  Reply<PublishRequest> request = decode_as<PublishRequest>(frame);
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->parts[0].batch.view().data(), frame.body().view().data());
  EXPECT_EQ(request->parts[1].batch.view().data(), frame.body().view().data() + 70);
}

TEST(RoundTrip, EncodedBatchesAreNotCopied) {
  PublishRequest request = filled<PublishRequest>();
  OutFrame frame = encode_request(1, request);
  ASSERT_EQ(frame.body.size(), 2u);
  EXPECT_EQ(frame.body[0].view().data(), request.parts[0].batch.view().data());
}

TEST(RoundTrip, AnErrorAnswersTheRequest) {
  FrameDecoder decoder = decoder_after_hello();
  OutFrame out = encode_error(9, RequestKind::kPublish, {Errc::kUnknownTopic, "no topic \"x\""});
  auto frames = feed(decoder, bytes_of(out));
  ASSERT_TRUE(frames.ok());
  EXPECT_EQ(frames->front().header.correlation, 9u);
  Reply<PublishReply> reply = decode_answer<PublishRequest>(frames->front());
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kUnknownTopic);
  EXPECT_EQ(reply.error().explanation, "no topic \"x\"");
}

TEST(RoundTrip, LocalErrorCodesDoNotTravel) {
  FrameDecoder decoder = decoder_after_hello();
  OutFrame out = encode_error(9, RequestKind::kPublish, {Errc::kPoisoned, "the shard has stopped"});
  RequestError error = decode_error(feed(decoder, bytes_of(out))->front());
  EXPECT_EQ(error.code, Errc::kOutcomeUnknown);
  EXPECT_EQ(error.explanation, "the shard has stopped");
}

TEST(RoundTrip, LongFailureDetailIsCutNotRefused) {
  SettleRequest request = filled<SettleRequest>();
  request.settlements[0].failure.detail = std::string(100'000, 'x');
  Reply<SettleRequest> heard = through_the_wire(request);
  ASSERT_TRUE(heard.ok());
  EXPECT_EQ(heard->settlements[0].failure.detail.size(), limits::kMaxFailureDetail);
}

TEST(RoundTrip, AReplyTooLargeForAFrameBecomesAnError) {
  ShowDeadLetterReply reply = filled<ShowDeadLetterReply>();
  for (DeadLetterVersion& version : reply.versions) {
    version.message.value = ByteVector(5 * 1024 * 1024);
  }
  FrameDecoder decoder = decoder_after_hello();
  auto frames = feed(decoder, bytes_of(encode_reply(3, reply)));
  ASSERT_TRUE(frames.ok());
  EXPECT_EQ(frames->front().header.correlation, 3u);
  EXPECT_EQ(decode_answer<ShowDeadLetterRequest>(frames->front()).error().code,
            Errc::kMessageTooLarge);
}

TEST(RoundTrip, AFrameOfAnotherKindIsNotDecoded) {
  FrameDecoder decoder = decoder_after_hello();
  auto frames = feed(decoder, bytes_of(frame_of(DeleteTopicRequest{"orders"})));
  EXPECT_FALSE(decode_as<DescribeTopicRequest>(frames->front()).ok());
  EXPECT_FALSE(decode_as<DeleteTopicReply>(frames->front()).ok());
  EXPECT_TRUE(decode_as<DeleteTopicRequest>(frames->front()).ok());
}

}  // namespace
}  // namespace waybill::test

// Goal: a connection survives every mistake that is not fatal, ends with an explanation after every
// one that is, and no client can hurt another or make the broker hold memory without bound.
// Method: a real broker in this process, clients that speak raw frames; transcripts are compared.
#include <gtest/gtest.h>

#include "tests/broker/server/http_talk.h"
#include "tests/broker/server/metrics_parser.h"
#include "tests/broker/server/raw_client.h"

namespace waybill {
namespace {

Config quiet() {
  Config config;
  config.http.reset();
  return config;
}

TopicInfo make_topic(RawClient& client, const std::string& name, std::uint32_t partitions = 1) {
  Reply<CreateTopicReply> made = client.ask(CreateTopicRequest{name, partitions});
  EXPECT_TRUE(made.ok()) << to_string(made.error());
  return made ? made->topic : TopicInfo{};
}

class ConnectionTest : public testing::Test {
 protected:
  LocalBroker broker_{quiet()};
};

TEST_F(ConnectionTest, HelloAnswersWithVersionAndIdentity) {
  RawClient client(broker_.port());
  Reply<HelloReply> reply = client.hello();
  ASSERT_TRUE(reply.ok()) << to_string(reply.error());
  EXPECT_EQ(reply->version, 1);
  EXPECT_EQ(reply->broker_version, "0.1.0");
  EXPECT_FALSE(reply->broker_id.is_nil());
}

TEST_F(ConnectionTest, GarbageIsAnsweredWithAReasonAndTheConnectionEnds) {
  RawClient client(broker_.port());
  ByteVector garbage = RawClient::flat(encode_request(1, HelloRequest{}));
  garbage[6] = std::byte{0x77};  // no frame type
  client.send_bytes(garbage);
  EXPECT_EQ(client.receive_error().code, Errc::kMalformedFrame);
  EXPECT_TRUE(client.at_end());
}

TEST_F(ConnectionTest, AnHttpRequestIsAnsweredWithAReasonAndTheConnectionEnds) {
  RawClient client(broker_.port());
  client.send_bytes(as_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(client.receive_error().code, Errc::kFrameTooLarge);
  EXPECT_TRUE(client.at_end());
}

TEST_F(ConnectionTest, ATooLongFrameIsRefusedByItsHeaderAlone) {
  RawClient client(broker_.port());
  ByteVector header = RawClient::flat(encode_request(1, HelloRequest{}));
  header.resize(kFrameHeaderSize);
  store_little(header.data(), std::uint32_t{0xffff'ffff});
  client.send_bytes(header);  // and not one byte of the 4 GiB
  EXPECT_EQ(client.receive_error().code, Errc::kFrameTooLarge);
  EXPECT_TRUE(client.at_end());
}

TEST_F(ConnectionTest, TheLimitBeforeHelloIsSmallAndAfterItLarge) {
  RawClient early(broker_.port());
  HelloRequest long_hello;
  long_hello.client_name = std::string(limits::kMaxHelloFrame, 'x');
  early.request(1, long_hello);
  EXPECT_EQ(early.receive_error().code, Errc::kFrameTooLarge);

  RawClient late(broker_.port());
  ASSERT_TRUE(late.hello().ok());
  TopicInfo topic = make_topic(late, "large");
  Reply<PublishReply> published = late.ask(publish_to(topic.id, batch_of(3 * 1024 * 1024)));
  ASSERT_TRUE(published.ok()) << to_string(published.error());
  EXPECT_TRUE(published->parts.at(0).ok());
}

TEST_F(ConnectionTest, HalfAFrameThenTheEndHurtsNobody) {
  ByteVector whole = RawClient::flat(encode_request(1, HelloRequest{}));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    RawClient client(broker_.port());
    client.send_bytes(Bytes(whole).first(size));
    client.end_sending();
    EXPECT_TRUE(client.at_end()) << size;
  }
  RawClient next(broker_.port());
  EXPECT_TRUE(next.hello().ok());
}

TEST_F(ConnectionTest, OneByteAtATimeIsUnderstood) {
  RawClient client(broker_.port());
  for (std::byte byte : RawClient::flat(encode_request(1, HelloRequest{}))) {
    ASSERT_TRUE(client.send_bytes(Bytes(&byte, 1)));
  }
  EXPECT_TRUE(client.receive_answer<HelloRequest>().ok());
}

TEST_F(ConnectionTest, HelloComesFirstAndOnce) {
  RawClient rude(broker_.port());
  rude.request(1, PingRequest{});
  EXPECT_TRUE(!rude.receive()->payload.empty());
  EXPECT_TRUE(rude.at_end());
  EXPECT_EQ(rude.transcript(),
            "> ping #1\n"
            "< hello_required #1\n"
            "< end\n");

  RawClient twice(broker_.port());
  ASSERT_TRUE(twice.hello().ok());
  twice.request(2, HelloRequest{});
  twice.receive();
  twice.request(3, PingRequest{});
  twice.receive();
  EXPECT_EQ(twice.transcript(),
            "> hello #1\n"
            "< hello reply #1\n"
            "> hello #2\n"
            "< invalid_request #2\n"
            "> ping #3\n"
            "< ping reply #3\n");
}

TEST_F(ConnectionTest, AVersionThatIsNotSpokenIsRefusedWithBothWindows) {
  RawClient client(broker_.port());
  HelloRequest future;
  future.min_version = 7;
  future.max_version = 9;
  client.request(1, future);
  RequestError error = client.receive_error();
  EXPECT_EQ(error.code, Errc::kUnsupportedVersion);
  EXPECT_NE(error.explanation.find("7 to 9"), std::string::npos) << error.explanation;
  EXPECT_TRUE(client.at_end());
}

TEST_F(ConnectionTest, AnUnknownKindIsAnErrorAndTheConversationGoesOn) {
  RawClient client(broker_.port());
  ASSERT_TRUE(client.hello().ok());
  client.request_kind(7, 999);
  client.receive();
  client.request_kind(8, static_cast<std::uint16_t>(RequestKind::kDeliver));  // only ever pushed
  client.receive();
  client.request(9, PingRequest{});
  client.receive();
  EXPECT_EQ(client.transcript(),
            "> hello #1\n"
            "< hello reply #1\n"
            "> 999 #7\n"
            "< unknown_request #7\n"
            "> 63 #8\n"
            "< unknown_request #8\n"
            "> ping #9\n"
            "< ping reply #9\n");
}

TEST_F(ConnectionTest, AClientThatSendsRepliesIsDisconnected) {
  RawClient client(broker_.port());
  ASSERT_TRUE(client.hello().ok());
  client.send_frame(encode_reply(5, PingReply{}));
  EXPECT_EQ(client.receive_error().code, Errc::kMalformedFrame);
  EXPECT_TRUE(client.at_end());
}

TEST_F(ConnectionTest, EveryAnsweredKindIsHandled) {
  RawClient client(broker_.port());
  ASSERT_TRUE(client.hello().ok());
  std::uint32_t correlation = 100;
  for (const RequestKindFacts& kind : all_request_kinds()) {
    if (!kind.answered || kind.pushed) continue;
    client.request_kind(++correlation, static_cast<std::uint16_t>(kind.kind));
    std::optional<Frame> frame = client.receive();
    ASSERT_TRUE(frame.has_value()) << kind.name;
    EXPECT_EQ(frame->header.correlation, correlation) << kind.name;
    EXPECT_EQ(frame->header.kind, kind.kind);
    if (frame->header.type != FrameType::kError) continue;
    EXPECT_NE(decode_error(*frame).code, Errc::kUnknownRequest) << kind.name;
  }
}

TEST_F(ConnectionTest, CreditIsNeverAnsweredUnlessItIsWrong) {
  RawClient client(broker_.port());
  ASSERT_TRUE(client.hello().ok());
  // The client may have granted it before it learned that the subscription is gone.
  client.request(0, CreditRequest{.subscription = 5, .messages = 1, .bytes = 1});
  client.request(2, PingRequest{});
  client.receive();
  client.request(0, CreditRequest{.messages = limits::kMaxCreditMessages + 1});
  client.receive();
  client.request(3, PingRequest{});
  client.receive();
  EXPECT_EQ(client.transcript(),
            "> hello #1\n"
            "< hello reply #1\n"
            "> credit #0\n"
            "> ping #2\n"
            "< ping reply #2\n"
            "> credit #0\n"
            "< invalid_request #0\n"
            "> ping #3\n"
            "< ping reply #3\n");
}

TEST_F(ConnectionTest, WhatAFailureTakesBackIsPushedAsARevokeD8) {
  RawClient client(broker_.port());
  HelloRequest hello;
  hello.instance.uuid.bytes[0] = std::byte{1};
  ASSERT_TRUE(client.hello(hello).ok());
  TopicInfo topic = make_topic(client, "ordered");
  CreateGroupRequest group;
  group.name = "in-order";
  group.topic = "ordered";
  group.policy.ordering = Ordering::kPartition;
  group.start.kind = StartKind::kEarliest;
  ASSERT_TRUE(client.ask(group).ok());
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(client.ask(publish_to(topic.id, batch_of(10)))->parts.at(0).ok());
  }
  ASSERT_TRUE(client.ask(SubscribeRequest{4, "in-order"}).ok());
  ASSERT_TRUE(client.request(100, CreditRequest{4, 10, 1'000'000}));
  std::vector<GrantedRange> granted;
  std::int64_t messages = 0;
  while (messages < 2) {
    std::optional<Frame> frame = client.receive();
    ASSERT_TRUE(frame);
    Reply<DeliverPush> push = decode_as<DeliverPush>(*frame);
    ASSERT_TRUE(push.ok());
    for (const GrantedRange& range : push->ranges) {
      granted.push_back(range);
      messages += range.range.count();
    }
  }
  Settlement retry;
  retry.token = granted.front().token;
  retry.range = {Offset{0}, Offset{0}};
  retry.verb = SettleVerb::kRetry;
  retry.failure = {FailureClass::kFailed, "broken", ""};
  ASSERT_TRUE(client.request(101, SettleRequest{4, {retry}}));
  std::optional<RevokePush> revoked;
  bool answered = false;
  while (!revoked || !answered) {
    std::optional<Frame> frame = client.receive();
    ASSERT_TRUE(frame);
    if (frame->header.type == FrameType::kPush) {
      Reply<RevokePush> push = decode_as<RevokePush>(*frame);
      ASSERT_TRUE(push.ok());
      revoked = *push;
    } else {
      Reply<SettleReply> reply = decode_answer<SettleRequest>(*frame);
      ASSERT_TRUE(reply.ok());
      EXPECT_EQ(*reply->outcomes.at(0), SettleOutcome::kDelayed);
      answered = true;
    }
  }
  EXPECT_EQ(revoked->subscription, 4u);
  EXPECT_EQ(revoked->partition, PartitionIndex{0});
  EXPECT_LE(revoked->first, Offset{1});
}

TEST_F(ConnectionTest, PipelinedRequestsAreAllAnsweredUnderTheirNumbers) {
  RawClient client(broker_.port());
  ASSERT_TRUE(client.hello().ok());
  TopicInfo topic = make_topic(client, "orders", 2);
  ByteVector burst;
  constexpr std::uint32_t kCount = 200;
  for (std::uint32_t i = 1; i <= kCount; ++i) {
    ByteVector frame =
        RawClient::flat(encode_request(1000 + i, publish_to(topic.id, batch_of(100), i % 2)));
    burst.insert(burst.end(), frame.begin(), frame.end());
  }
  ASSERT_TRUE(client.send_bytes(burst));
  std::set<std::uint32_t> answered;
  std::array<std::int64_t, 2> next{};
  for (std::uint32_t i = 1; i <= kCount; ++i) {
    std::optional<Frame> frame = client.receive();
    ASSERT_TRUE(frame.has_value());
    Reply<PublishReply> reply = decode_answer<PublishRequest>(*frame);
    ASSERT_TRUE(reply.ok()) << to_string(reply.error());
    ASSERT_TRUE(reply->parts.at(0).ok()) << to_string(reply->parts[0].error());
    answered.insert(frame->header.correlation);
    std::size_t partition = (frame->header.correlation - 1000) % 2;
    EXPECT_EQ(reply->parts[0]->base_offset.value, next[partition]++) << "order within a partition";
  }
  EXPECT_EQ(answered.size(), kCount);
}

TEST_F(ConnectionTest, TooManyUnansweredRequestsAreRefusedOneByOne) {
  RawClient client(broker_.port());
  ASSERT_TRUE(client.hello().ok());
  TopicInfo topic = make_topic(client, "quiet");
  ReadRequest waiting = read_from(topic.id, std::chrono::minutes(5));
  constexpr auto kLimit = static_cast<std::uint32_t>(limits::kMaxPendingRequests);
  for (std::uint32_t i = 0; i < kLimit + 2; ++i) ASSERT_TRUE(client.request(10 + i, waiting));
  EXPECT_EQ(client.receive_error().code, Errc::kTooManyRequests);
  EXPECT_EQ(client.receive_error().code, Errc::kTooManyRequests);
  client.transcript();
  client.request(5, PingRequest{});
  client.receive();
  EXPECT_EQ(client.transcript(), "> ping #5\n< ping reply #5\n");

  RawClient publisher(broker_.port());
  ASSERT_TRUE(publisher.hello().ok());
  ASSERT_TRUE(publisher.ask(publish_to(topic.id, batch_of(10))).ok());
  for (std::uint32_t i = 0; i < kLimit; ++i) {
    Reply<ReadReply> read = client.receive_answer<ReadRequest>();
    ASSERT_TRUE(read.ok()) << to_string(read.error());
    EXPECT_EQ(read->batches.size(), 1u);
  }
}

TEST(SlowReader, GetsEverythingLaterBlocksNobodyAndIsNotReadFromMeanwhile) {
  LocalBroker broker;
  RawClient slow(broker.port());
  ASSERT_TRUE(slow.hello().ok());
  TopicInfo topic = make_topic(slow, "large");
  constexpr std::size_t kSize = 1024 * 1024;
  ASSERT_TRUE(slow.ask(publish_to(topic.id, batch_of(kSize))).ok());

  constexpr std::uint32_t kReads = 300;  // 300 MiB: many times what sockets and the bound take
  for (std::uint32_t i = 0; i < kReads; ++i) {
    ASSERT_TRUE(slow.request(100 + i, read_from(topic.id)));
  }
  RawClient other(broker.port());
  ASSERT_TRUE(other.hello().ok());
  for (int i = 0; i < 50; ++i) {
    Reply<PublishReply> reply = other.ask(publish_to(topic.id, batch_of(10)));
    ASSERT_TRUE(reply.ok()) << to_string(reply.error());
  }
  auto samples = parse_metrics(http_body(http_request(broker.http_port(), "GET", "/metrics")));
  EXPECT_LT(samples.at("waybill_requests_total"), kReads) << "the bound on unsent bytes holds";
  for (std::uint32_t i = 0; i < kReads; ++i) {
    Reply<ReadReply> read = slow.receive_answer<ReadRequest>();
    ASSERT_TRUE(read.ok()) << to_string(read.error());
    EXPECT_GT(read->batches.at(0).size(), kSize);
  }
}

TEST(SlowReader, ManyOfThemShareABudgetAndLeaveOthersServed) {
  Config config;
  config.shards = 1;
  config.memory = std::uint64_t{64} * 1024 * 1024;  // of which an eighth is for this
  LocalBroker broker(config);
  RawClient other(broker.port());
  ASSERT_TRUE(other.hello().ok());
  TopicInfo topic = make_topic(other, "large");
  constexpr std::uint64_t kSize = 1024 * 1024;
  ASSERT_TRUE(other.ask(publish_to(topic.id, batch_of(kSize))).ok());

  constexpr std::uint32_t kReaders = 20;
  constexpr std::uint32_t kReads = 60;  // many times what sockets take
  std::deque<RawClient> slow;
  for (std::uint32_t r = 0; r < kReaders; ++r) {
    RawClient& reader = slow.emplace_back(broker.port());
    ASSERT_TRUE(reader.hello().ok());
    for (std::uint32_t i = 0; i < kReads; ++i) {
      // Some wait, as for what is new: what they find counts all the same.
      const std::chrono::milliseconds wait(i % 2);
      ASSERT_TRUE(reader.request(100 + i, read_from(topic.id, wait)));
    }
  }
  for (int i = 0; i < 50; ++i) {
    Reply<ReadReply> read = other.ask(read_from(topic.id));
    ASSERT_TRUE(read.ok()) << to_string(read.error());
  }
  auto samples = parse_metrics(http_body(http_request(broker.http_port(), "GET", "/metrics")));
  EXPECT_LT(samples.at("waybill_output_bytes"), config.memory);
  for (RawClient& reader : slow) {
    for (std::uint32_t i = 0; i < kReads; ++i) {
      Reply<ReadReply> read = reader.receive_answer<ReadRequest>();
      ASSERT_TRUE(read.ok()) << to_string(read.error());
      EXPECT_GT(read->batches.at(0).size(), kSize);
    }
  }
  slow.clear();
  ASSERT_TRUE(other.ask(PingRequest{}).ok());
}

TEST_F(ConnectionTest, AClientThatVanishesWithRequestsUnansweredLeavesNothingBehind) {
  std::optional<RawClient> rude(broker_.port());
  ASSERT_TRUE(rude->hello().ok());
  TopicInfo topic = make_topic(*rude, "t");
  ReadRequest waiting = read_from(topic.id, std::chrono::minutes(5));
  for (std::uint32_t i = 0; i < 10; ++i) rude->request(10 + i, waiting);
  rude.reset();
  RawClient next(broker_.port());
  ASSERT_TRUE(next.hello().ok());
  EXPECT_TRUE(next.ask(publish_to(topic.id, batch_of(10))).ok());
}

TEST_F(ConnectionTest, ACleanStopAnswersWhatWasBegunThenSaysSo) {
  RawClient client(broker_.port());
  ASSERT_TRUE(client.hello().ok());
  TopicInfo topic = make_topic(client, "t");
  RawClient idle(broker_.port());
  ASSERT_TRUE(idle.hello().ok());
  TopicInfo silent = make_topic(idle, "silent");
  idle.request(2, read_from(silent.id, std::chrono::minutes(5)));  // no stop waits that long
  ASSERT_TRUE(client.ask(publish_to(topic.id, batch_of(10))).ok());
  EXPECT_TRUE(broker_.stop());
  EXPECT_EQ(client.receive_error().code, Errc::kShuttingDown);
  EXPECT_TRUE(client.at_end());
  EXPECT_EQ(idle.receive_error().code, Errc::kShuttingDown);
  EXPECT_FALSE(RawClient(broker_.port()).connected());

  broker_.start();
  RawClient again(broker_.port());
  ASSERT_TRUE(again.hello().ok());
  Reply<ReadReply> read = again.ask(read_from(topic.id));
  ASSERT_TRUE(read.ok()) << to_string(read.error());
  EXPECT_EQ(read->end, Offset{1});
}

TEST(ConnectionLimits, HelloThatDoesNotComeEndsTheConnection) {
  Config config = quiet();
  config.hello_timeout = std::chrono::milliseconds(300);  // to send half a frame within
  LocalBroker broker(config);
  RawClient silent(broker.port());
  EXPECT_EQ(silent.receive_error().code, Errc::kHelloTimeout);
  EXPECT_TRUE(silent.at_end());

  RawClient halting(broker.port());
  halting.send_bytes(Bytes(RawClient::flat(encode_request(1, HelloRequest{}))).first(9));
  EXPECT_EQ(halting.receive_error().code, Errc::kHelloTimeout);
}

TEST(ConnectionLimits, TooManyConnectionsAreRefusedWithAReason) {
  Config config = quiet();
  config.max_connections = 2;
  config.shards = 1;
  LocalBroker broker(config);
  RawClient one(broker.port());
  RawClient two(broker.port());
  ASSERT_TRUE(one.hello().ok());
  ASSERT_TRUE(two.hello().ok());
  RawClient three(broker.port());
  EXPECT_EQ(three.receive_error().code, Errc::kTooManyRequests);
  EXPECT_TRUE(three.at_end());
  EXPECT_TRUE(one.ask(PingRequest{}).ok());
}

}  // namespace
}  // namespace waybill

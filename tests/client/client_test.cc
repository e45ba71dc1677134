// Goal: every request ends, with the right answer or a sentence that helps, whatever the broker or
// the network does. Method: transcripts against a scripted broker on loopback; the client runs on
// its own thread, and the test only waits for what must happen.

#include "client/client.h"

#include <gtest/gtest.h>

#include <boost/asio/use_future.hpp>
#include <chrono>

#include "client/blocking_client.h"
#include "protocol/base/random.h"
#include "tests/client/fake_broker.h"

namespace waybill {
namespace {

using asio::use_future;
using std::chrono::milliseconds;

TEST(Client, SaysWhoItIsInHello) {
  FakeBroker broker;
  ClientOptions options = broker.options();
  options.instance.uuid = SeededRandom(5).uuid();
  options.instance_start = 42;
  options.user = "anna";
  options.token = "secret";
  BlockingClient client(options);
  auto connected = client.async().async_connect(use_future);

  Peer peer = broker.accept();
  HelloRequest hello = peer.greet();
  EXPECT_EQ(hello.client_name, "the test");
  EXPECT_EQ(hello.instance, options.instance);
  EXPECT_EQ(hello.instance_start, 42);
  EXPECT_EQ(hello.user, "anna");
  EXPECT_EQ(hello.token, "secret");
  Reply<HelloReply> reply = wait(std::move(connected));
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->broker_version, "fake");
}

TEST(Client, MakesUpAnInstanceOfItsOwn) {
  FakeBroker broker;
  BlockingClient one(broker.options());
  BlockingClient other(broker.options());
  EXPECT_FALSE(one.async().instance().uuid.is_nil());
  EXPECT_NE(one.async().instance(), other.async().instance());
}

TEST(Client, MatchesAnswersByCorrelationInAnyOrder) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  auto first = client.async().async_request(DescribeTopicRequest{"first"}, use_future);
  Peer peer = broker.accept_greeted();
  auto asked_first = peer.expect<DescribeTopicRequest>();
  auto second = client.async().async_request(DescribeTopicRequest{"second"}, use_future);
  auto asked_second = peer.expect<DescribeTopicRequest>();

  DescribeTopicReply reply;
  reply.topic = topic_of(asked_second->name, 1);
  peer.answer(asked_second, reply);
  EXPECT_EQ(wait(std::move(second))->topic.name, "second");
  EXPECT_FALSE(ready(first));
  reply.topic = topic_of(asked_first->name, 1);
  peer.answer(asked_first, reply);
  EXPECT_EQ(wait(std::move(first))->topic.name, "first");
}

TEST(Client, HandsOnTheBrokersExplanation) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  auto answer = client.async().async_request(DescribeGroupRequest{"biling"}, use_future);
  Peer peer = broker.accept_greeted();
  peer.refuse(peer.expect<DescribeGroupRequest>(), Errc::kUnknownGroup,
              "there is no group 'biling'; did you mean 'billing'?");
  Reply<DescribeGroupReply> reply = wait(std::move(answer));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kUnknownGroup);
  EXPECT_EQ(reply.error().explanation, "there is no group 'biling'; did you mean 'billing'?");
}

TEST(Client, SaysWhereNobodyListensAndWhatToDo) {
  FakeBroker broker;
  ClientOptions options = broker.options();
  broker.stop();
  BlockingClient client(options);
  Reply<HelloReply> reply = client.connect();
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kCannotConnect);
  EXPECT_NE(reply.error().explanation.find("cannot reach " + options.endpoints[0]),
            std::string::npos)
      << reply.error().explanation;
  EXPECT_NE(reply.error().explanation.find("refused"), std::string::npos);
  EXPECT_NE(reply.error().explanation.find("waybilld"), std::string::npos);
}

TEST(Client, NamesAnEndpointThatIsNoAddress) {
  ClientOptions options;
  options.endpoints = {"broker-without-port"};
  BlockingClient client(options);
  Reply<HelloReply> reply = client.connect();
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kCannotConnect);
  EXPECT_NE(reply.error().explanation.find("host:port"), std::string::npos);
}

TEST(Client, TriesTheNextEndpointWhenOneIsDead) {
  FakeBroker dead;
  FakeBroker alive;
  ClientOptions options = alive.options();
  options.endpoints = {dead.endpoint(), alive.endpoint()};
  dead.stop();
  BlockingClient client(options);
  auto connected = client.async().async_connect(use_future);
  Peer peer = alive.accept_greeted();
  EXPECT_TRUE(wait(std::move(connected)).ok());
}

TEST(Client, WaitsForABrokerThatStartsLaterIfToldTo) {
  FakeBroker broker;
  ClientOptions options = broker.options();
  options.wait_for_broker = true;
  BlockingClient client(options);
  auto connected = client.async().async_connect(use_future);
  broker.accept().hang_up();
  broker.accept().hang_up();
  Peer peer = broker.accept_greeted();
  EXPECT_TRUE(wait(std::move(connected)).ok());
}

TEST(Client, ReportsARefusedHello) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  auto connected = client.async().async_connect(use_future);
  Peer peer = broker.accept();
  peer.refuse(peer.expect<HelloRequest>(), Errc::kUnsupportedVersion,
              "this broker speaks versions 2 to 3, you speak 1");
  Reply<HelloReply> reply = wait(std::move(connected));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kUnsupportedVersion);
  EXPECT_EQ(reply.error().explanation, "this broker speaks versions 2 to 3, you speak 1");
}

TEST(Client, D18DoesNotWaitForABrokerThatDoesNotKnowItsToken) {
  FakeBroker broker;
  ClientOptions options = broker.options();
  options.wait_for_broker = true;
  BlockingClient client(options);
  auto connected = client.async().async_connect(use_future);
  Peer peer = broker.accept();
  peer.refuse(peer.expect<HelloRequest>(), Errc::kUnauthenticated, "no such token");
  Reply<HelloReply> reply = wait(std::move(connected));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kUnauthenticated);
}

TEST(Client, GivesUpABrokerThatNeverSaysHello) {
  FakeBroker broker;
  ClientOptions options = broker.options();
  options.connect_timeout = milliseconds(20);
  BlockingClient client(options);
  auto connected = client.async().async_connect(use_future);
  Peer peer = broker.accept();
  Reply<HelloReply> reply = wait(std::move(connected));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kCannotConnect);
  EXPECT_NE(reply.error().explanation.find("no answer within 20 ms"), std::string::npos)
      << reply.error().explanation;
}

TEST(Client, EndsARequestWithoutAnAnswerAfterItsTime) {
  FakeBroker broker;
  ClientOptions options = broker.options();
  options.request_timeout = milliseconds(50);
  BlockingClient client(options);
  auto connecting = client.async().async_connect(use_future);
  Peer peer = broker.accept_greeted();
  // However slow this machine is: it goes on once the connection stands.
  bool connected = wait(std::move(connecting)).ok();
  while (!connected) connected = client.connect().ok();
  auto answer = client.async().async_request(DeleteTopicRequest{"orders"}, use_future);
  auto asked = peer.expect<DeleteTopicRequest>();
  Reply<DeleteTopicReply> reply = wait(std::move(answer));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kTimedOut);

  // The late answer belongs to nobody, and the conversation goes on.
  peer.answer(asked, {});
  bool answered = false;
  while (!answered) {
    auto next = client.async().async_request(PingRequest{}, use_future);
    peer.answer(peer.expect<PingRequest>(), {});
    Reply<PingReply> pong = wait(std::move(next));
    ASSERT_TRUE(pong.ok() || pong.error() == Errc::kTimedOut) << to_string(pong.error());
    answered = pong.ok();
  }
}

TEST(Client, RepeatsAnIdempotentRequestAfterALostConnection) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  auto answer = client.async().async_request(DescribeTopicRequest{"orders"}, use_future);
  Peer peer = broker.accept_greeted();
  peer.expect<DescribeTopicRequest>();
  peer.hang_up();
  Peer again = broker.accept_greeted();
  auto asked = again.expect<DescribeTopicRequest>();
  EXPECT_EQ(asked->name, "orders");
  DescribeTopicReply reply;
  reply.topic = topic_of("orders", 1);
  again.answer(asked, reply);
  EXPECT_TRUE(wait(std::move(answer)).ok());
}

TEST(Client, DoesNotRepeatARequestThatWouldCountTwice) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  auto answer = client.async().async_request(DeleteTopicRequest{"orders"}, use_future);
  Peer peer = broker.accept_greeted();
  peer.expect<DeleteTopicRequest>();
  peer.hang_up();
  Reply<DeleteTopicReply> reply = wait(std::move(answer));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kConnectionLost);
  Peer again = broker.accept_greeted();
  EXPECT_TRUE(again.quiet());
}

TEST(Client, LeavesAPeerThatSendsGarbageAndReconnects) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  auto answer = client.async().async_request(DescribeTopicRequest{"orders"}, use_future);
  Peer peer = broker.accept_greeted();
  peer.expect<DescribeTopicRequest>();
  peer.send_raw(as_bytes("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));
  peer.expect_hang_up();
  Peer again = broker.accept_greeted();
  DescribeTopicReply reply;
  reply.topic = topic_of("orders", 1);
  again.answer(again.expect<DescribeTopicRequest>(), reply);
  EXPECT_TRUE(wait(std::move(answer)).ok());
}

TEST(Client, TrustsNothingAfterAnAnswerThatCannotBeRead) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  auto answer = client.async().async_request(DeleteTopicRequest{"orders"}, use_future);
  Peer peer = broker.accept_greeted();
  auto asked = peer.expect<DeleteTopicRequest>();
  // A frame of the right kind whose metadata is no protobuf.
  OutFrame broken;
  broken.head.resize(kFrameHeaderSize);
  broken.head.resize(kFrameHeaderSize + 5, std::byte{0xff});
  finish_frame(broken, {.kind = RequestKind::kDeleteTopic,
                        .type = FrameType::kReply,
                        .version = 1,
                        .correlation = asked.correlation});
  peer.send(broken);
  Reply<DeleteTopicReply> reply = wait(std::move(answer));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kConnectionLost);
  EXPECT_NE(reply.error().explanation.find("delete_topic"), std::string::npos);
  peer.expect_hang_up();
}

TEST(Client, ReportsWhyTheBrokerClosedTheConnection) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  auto answer = client.async().async_request(DeleteTopicRequest{"orders"}, use_future);
  Peer peer = broker.accept_greeted();
  peer.expect<DeleteTopicRequest>();
  peer.send(encode_error(0, RequestKind::kNone,
                         RequestError(Errc::kShuttingDown, "the broker is shutting down")));
  Reply<DeleteTopicReply> reply = wait(std::move(answer));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kConnectionLost);
  EXPECT_NE(reply.error().explanation.find("the broker is shutting down"), std::string::npos);
}

TEST(Client, AsksASilentBrokerAndLeavesItWhenItStaysSilent) {
  FakeBroker broker;
  ClientOptions options = broker.options();
  options.keepalive = milliseconds(50);
  BlockingClient client(options);
  auto connected = client.async().async_connect(use_future);
  Peer peer = broker.accept_greeted();
  ASSERT_TRUE(wait(std::move(connected)).ok());
  peer.expect<PingRequest>();
  peer.expect_hang_up();
  broker.accept();
}

TEST(Client, WaitsLongerAfterEachLostConnection) {
  FakeBroker broker;
  ClientOptions options = broker.options();
  options.wait_for_broker = true;
  options.reconnect = {BackoffKind::kExponential, milliseconds(20), 2.0, milliseconds(1000),
                       Jitter::kNone};
  BlockingClient client(options);
  auto connected = client.async().async_connect(use_future);
  auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 3; ++i) broker.accept().hang_up();
  Peer peer = broker.accept_greeted();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(20 + 40 + 80));
  EXPECT_TRUE(wait(std::move(connected)).ok());
}

TEST(Client, RefusesARequestThatIsTooLargeBeforeSendingIt) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  PublishRequest request;
  PublishPart part;
  part.topic = {7};
  part.batch = SharedBytes(ByteVector(limits::kMaxFrame + 1));
  request.parts.push_back(part);
  auto answer = client.async().async_request(request, use_future);
  Peer peer = broker.accept_greeted();
  Reply<PublishReply> reply = wait(std::move(answer));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kMessageTooLarge);
  EXPECT_TRUE(peer.quiet());
}

TEST(Client, EndsWhatIsPendingWhenItIsDestroyed) {
  FakeBroker broker;
  auto client = std::make_unique<BlockingClient>(broker.options());
  auto answer = client->async().async_request(DeleteTopicRequest{"orders"}, use_future);
  Peer peer = broker.accept_greeted();
  peer.expect<DeleteTopicRequest>();
  client.reset();
  EXPECT_FALSE(wait(std::move(answer)).ok());
  peer.expect_hang_up();
}

TEST(Client, EndsAtOnceWhileItConnects) {
  FakeBroker broker;
  auto client = std::make_unique<BlockingClient>(broker.options());
  auto connected = client->async().async_connect(use_future);
  Peer peer = broker.accept();
  peer.expect<HelloRequest>();
  client.reset();
  Reply<HelloReply> reply = wait(std::move(connected));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kClosed);
}

TEST(Client, RefusesWorkAfterClose) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  ASSERT_TRUE(client.close().ok());
  EXPECT_EQ(client.connect().error().code, Errc::kClosed);
  EXPECT_EQ(client.publish("orders", text_message("x")).error().code, Errc::kClosed);
}

}  // namespace
}  // namespace waybill

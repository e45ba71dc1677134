// Goal: what publish() confirms is in the log once and in order, and what it does not confirm it
// says exactly (D20). Method: transcripts against a scripted broker that answers late, refuses,
// hangs up, or never answers; the batches are read back with the real reader.

#include "client/message_publisher.h"

#include <gtest/gtest.h>

#include <boost/asio/use_future.hpp>

#include "client/blocking_client.h"
#include "client/message_times.h"
#include "protocol/record/partitioner.h"
#include "tests/client/fake_broker.h"

namespace waybill {
namespace {

using asio::use_future;
using std::chrono::milliseconds;
using Values = std::vector<std::string>;

const PublishPart& part_of(const Asked<PublishRequest>& asked) {
  if (asked->parts.size() != 1) throw std::runtime_error("expected one part");
  return asked->parts[0];
}

class Publishing : public testing::Test {
 protected:
  void connect(ClientOptions options, std::uint32_t partitions = 1) {
    client_.emplace(std::move(options));
    auto found = client_->async().async_find_topic("orders", use_future);
    peer_.emplace(broker_.accept_greeted());
    answer_topic(*peer_, topic_of("orders", partitions));
    ASSERT_TRUE(wait(std::move(found)).ok());
  }
  std::future<Reply<PublishReceipt>> publish(std::string_view value,
                                             std::optional<std::string_view> key = {}) {
    return client_->async().async_publish("orders", text_message(value, key), use_future);
  }
  std::future<Reply<PublishReceipt>> publish_to(std::uint32_t partition, std::string_view value) {
    return client_->async().async_publish({"orders", PartitionIndex{partition}},
                                          text_message(value), use_future);
  }
  Asked<PublishRequest> expect_publish() { return peer_->expect<PublishRequest>(); }
  void reconnect() { peer_.emplace(broker_.accept_greeted()); }

  FakeBroker broker_;
  std::optional<BlockingClient> client_;
  std::optional<Peer> peer_;
};

TEST_F(Publishing, ConfirmsWithPartitionAndOffset) {
  connect(broker_.options());
  auto receipt = publish("a", "key");
  auto asked = expect_publish();
  EXPECT_EQ(part_of(asked).topic, TopicId{7});
  EXPECT_EQ(values_in(part_of(asked).batch), Values{"a"});
  EXPECT_TRUE(validate_batch(part_of(asked).batch.view()).ok());
  peer_->answer(asked, published(41));
  Reply<PublishReceipt> reply = wait(std::move(receipt));
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(*reply, (PublishReceipt{{0}, {41}, false}));
}

TEST_F(Publishing, StatesTimesInTheBrokersHeaders) {
  connect(broker_.options());
  PublishTarget target("orders");
  target.not_before = WallTime{5000};
  target.expires = WallTime{9000};
  Message own = text_message("b");
  set_not_before(own, {6000});
  auto a = client_->async().async_publish(target, text_message("a"), use_future);
  auto b = client_->async().async_publish(target, own, use_future);
  std::vector<std::int64_t> seen;
  while (seen.size() < 4) {
    auto asked = expect_publish();
    EXPECT_TRUE(validate_batch(part_of(asked).batch.view()).ok());
    Result<BatchReader> reader = BatchReader::open(part_of(asked).batch.view());
    Result<void> read = reader->for_each([&](const RecordView& record) {
      seen.push_back(record.not_before().value_or(WallTime{}).milliseconds);
      seen.push_back(record.expiry().value_or(WallTime{}).milliseconds);
      return true;
    });
    ASSERT_TRUE(read.ok());
    peer_->answer(asked, published(static_cast<std::int64_t>(seen.size())));
  }
  EXPECT_EQ(seen, (std::vector<std::int64_t>{5000, 9000, 6000, 9000}));
  EXPECT_TRUE(wait(std::move(a)).ok());
  EXPECT_TRUE(wait(std::move(b)).ok());
}

TEST_F(Publishing, GathersWhatComesWhileABatchIsOnItsWay) {
  connect(broker_.options());
  auto first = publish("a");
  auto asked = expect_publish();
  auto second = publish("b");
  auto third = publish("c");
  EXPECT_TRUE(peer_->quiet());
  peer_->answer(asked, published(0));
  EXPECT_EQ(wait(std::move(first))->offset, Offset{0});

  auto later = expect_publish();
  EXPECT_EQ(values_in(part_of(later).batch), (Values{"b", "c"}));
  peer_->answer(later, published(1));
  EXPECT_EQ(wait(std::move(second))->offset, Offset{1});
  EXPECT_EQ(wait(std::move(third))->offset, Offset{2});
}

TEST_F(Publishing, StampsDenseSequencesPerPartition_D20) {
  connect(broker_.options(), 2);
  auto first = publish_to(0, "a");
  auto asked = expect_publish();
  auto b = publish_to(0, "b");
  auto c = publish_to(0, "c");
  auto other = publish_to(1, "x");
  auto asked_other = expect_publish();
  peer_->answer(asked, published(0));
  auto later = expect_publish();

  const ProducerStamp& stamp = *part_of(asked).producer;
  EXPECT_FALSE(stamp.id.uuid.is_nil());
  EXPECT_EQ(stamp.kind, ProducerKind::kSession);
  EXPECT_EQ(stamp.previous, 0);
  EXPECT_EQ(stamp.base_sequence, 1);
  EXPECT_EQ(part_of(later).producer->id, stamp.id);
  EXPECT_EQ(part_of(later).producer->previous, 1);
  EXPECT_EQ(part_of(later).producer->base_sequence, 2);
  EXPECT_EQ(part_of(asked_other).partition, PartitionIndex{1});
  EXPECT_EQ(part_of(asked_other).producer->base_sequence, 1);

  peer_->answer(later, published(1));
  ASSERT_TRUE(wait(std::move(c)).ok());
  auto last = publish_to(0, "d");
  EXPECT_EQ(part_of(expect_publish()).producer->previous, 3);
}

TEST_F(Publishing, ResendsTheSameBatchUnderTheSameSequenceAfterALostConnection_D20) {
  connect(broker_.options());
  auto first = publish("a");
  auto asked = expect_publish();
  auto second = publish("b");
  EXPECT_TRUE(peer_->quiet());
  peer_->hang_up();
  reconnect();
  auto again = expect_publish();
  EXPECT_EQ(part_of(again).producer, part_of(asked).producer);
  EXPECT_TRUE(equal(part_of(again).batch.view(), part_of(asked).batch.view()));
  peer_->answer(again, published(5, true));
  Reply<PublishReceipt> receipt = wait(std::move(first));
  ASSERT_TRUE(receipt.ok());
  EXPECT_EQ(*receipt, (PublishReceipt{{0}, {5}, true}));

  auto next = expect_publish();
  EXPECT_EQ(values_in(part_of(next).batch), Values{"b"});
  EXPECT_EQ(part_of(next).producer->previous, 1);
  peer_->answer(next, published(6));
  EXPECT_EQ(wait(std::move(second))->offset, Offset{6});
}

TEST_F(Publishing, SendsOnANewConnectionWhatABrokerNeverAnswered) {
  ClientOptions options = broker_.options();
  options.request_timeout = milliseconds(1000);  // to answer the second time within
  connect(options);
  auto receipt = publish("a");
  auto asked = expect_publish();
  peer_->expect_hang_up();
  reconnect();
  auto again = expect_publish();
  EXPECT_EQ(part_of(again).producer, part_of(asked).producer);
  peer_->answer(again, published(0));
  EXPECT_TRUE(wait(std::move(receipt)).ok());
}

TEST_F(Publishing, RepeatsWhatAnOverloadedBrokerRefused) {
  connect(broker_.options());
  auto receipt = publish("a");
  auto asked = expect_publish();
  peer_->answer(asked, rejected(Errc::kOverloaded, "too much at once"));
  auto again = expect_publish();
  EXPECT_EQ(part_of(again).producer, part_of(asked).producer);
  peer_->refuse(again, Errc::kTooManyRequests, "one at a time");
  peer_->answer(expect_publish(), published(3));
  EXPECT_EQ(wait(std::move(receipt))->offset, Offset{3});
}

TEST_F(Publishing, FreesTheSequenceOfARefusedBatch) {
  connect(broker_.options());
  auto refused = publish("a");
  peer_->answer(expect_publish(), rejected(Errc::kInvalidBatch, "not like this"));
  Reply<PublishReceipt> reply = wait(std::move(refused));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kInvalidBatch);
  EXPECT_EQ(reply.error().explanation, "not like this");

  auto next = publish("b");
  EXPECT_EQ(part_of(expect_publish()).producer->base_sequence, 1);
}

TEST_F(Publishing, BeginsAgainWhenTheBrokerForgotTheProducer) {
  connect(broker_.options());
  auto first = publish("a");
  auto asked = expect_publish();
  peer_->answer(asked, published(0));
  ASSERT_TRUE(wait(std::move(first)).ok());

  auto second = publish("b");
  peer_->answer(expect_publish(), rejected(Errc::kProducerUnknown, "evicted"));
  auto again = expect_publish();
  EXPECT_NE(part_of(again).producer->id, part_of(asked).producer->id);
  EXPECT_EQ(part_of(again).producer->previous, 0);
  EXPECT_EQ(part_of(again).producer->base_sequence, 1);
  peer_->answer(again, published(1));
  EXPECT_TRUE(wait(std::move(second)).ok());
  auto third = publish("c");
  EXPECT_EQ(part_of(expect_publish()).producer->previous, 1);
}

TEST_F(Publishing, SaysThatAnOutcomeIsUnknownWhenNobodyCanTellAnyMore) {
  connect(broker_.options());
  auto first = publish("a");
  peer_->answer(expect_publish(), published(0));
  ASSERT_TRUE(wait(std::move(first)).ok());
  auto second = publish("b");
  auto asked = expect_publish();
  peer_->hang_up();
  reconnect();
  peer_->answer(expect_publish(), rejected(Errc::kProducerUnknown, "evicted"));
  Reply<PublishReceipt> reply = wait(std::move(second));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kOutcomeUnknown);

  auto third = publish("c");
  auto next = expect_publish();
  EXPECT_NE(part_of(next).producer->id, part_of(asked).producer->id);
  EXPECT_EQ(part_of(next).producer->base_sequence, 1);
}

TEST_F(Publishing, TellsNeverSentFromNeverConfirmedWhenTimeIsUp) {
  ClientOptions options = broker_.options();
  options.publish_timeout = milliseconds(300);
  options.max_batch_bytes = 1;  // each message alone: both are published before any time is up
  connect(options);
  auto sent = publish("a");
  auto queued = publish("b");
  EXPECT_EQ(values_in(part_of(expect_publish()).batch), Values{"a"});
  EXPECT_EQ(wait(std::move(queued)).error().code, Errc::kTimedOut);
  EXPECT_EQ(wait(std::move(sent)).error().code, Errc::kOutcomeUnknown);
}

TEST_F(Publishing, KeepsKeysTogetherLikeEveryKafkaClient_S27) {
  connect(broker_.options(), 16);
  for (std::string_view key : {"alpha", "beta", "gamma"}) {
    auto receipt = publish("x", key);
    auto asked = expect_publish();
    EXPECT_EQ(part_of(asked).partition, partition_for_key(as_bytes(key), 16));
    peer_->answer(asked, published(0));
    EXPECT_EQ(wait(std::move(receipt))->partition, part_of(asked).partition);
  }
}

TEST_F(Publishing, MovesOnWithMessagesWithoutAKeyWhenAPartitionGotEnough) {
  connect(broker_.options(), 64);
  const std::string value(4000, 'x');
  std::vector<PartitionIndex> met;
  for (int i = 0; i < 15; ++i) {
    auto receipt = publish(value);
    auto asked = expect_publish();
    met.push_back(part_of(asked).partition);
    peer_->answer(asked, published(0));
    ASSERT_TRUE(wait(std::move(receipt)).ok());
  }
  // 16 KiB are five of them.
  for (std::size_t i = 1; i < met.size(); ++i) {
    EXPECT_EQ(met[i] == met[i - 1], i % 5 != 0) << i;
  }
}

TEST_F(Publishing, MovesOnWithMessagesWithoutAKeyWhileABatchIsOut) {
  connect(broker_.options(), 2);
  auto first = publish("a");
  auto asked = expect_publish();
  auto second = publish("b");
  auto other = expect_publish();
  EXPECT_NE(part_of(other).partition, part_of(asked).partition);
  peer_->answer(asked, published(0));
  peer_->answer(other, published(0));
  EXPECT_TRUE(wait(std::move(first)).ok());
  EXPECT_TRUE(wait(std::move(second)).ok());
}

TEST_F(Publishing, LetsMessagesWaitWhileTheBufferIsFull) {
  ClientOptions options = broker_.options();
  options.max_buffered_bytes = 1000;
  options.max_waiting_publishes = 1;
  connect(options, 2);
  std::string large(900, 'x');
  auto first = publish_to(0, large);
  auto asked = expect_publish();
  auto second = publish_to(1, large);
  EXPECT_TRUE(peer_->quiet()) << "the other partition is free, the buffer is not";
  auto third = publish_to(1, "z");
  Reply<PublishReceipt> refused = wait(std::move(third));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kOverloaded);

  peer_->answer(asked, published(0));
  peer_->answer(expect_publish(), published(0));
  EXPECT_TRUE(wait(std::move(second)).ok());
}

TEST_F(Publishing, ClosesABatchAtItsSize) {
  ClientOptions options = broker_.options();
  options.max_batch_bytes = 2500;
  connect(options);
  auto first = publish("a");
  auto asked = expect_publish();
  std::vector<std::future<Reply<PublishReceipt>>> rest;
  for (int i = 0; i < 3; ++i) rest.push_back(publish(std::string(1000, 'x')));
  // Until the client has them: its answer to a later question.
  auto asked_later = client_->async().async_request(PingRequest{}, use_future);
  peer_->answer(peer_->expect<PingRequest>(), {});
  ASSERT_TRUE(wait(std::move(asked_later)).ok());
  peer_->answer(asked, published(0));
  auto second = expect_publish();
  EXPECT_EQ(values_in(part_of(second).batch).size(), 2);
  peer_->answer(second, published(1));
  EXPECT_EQ(values_in(part_of(expect_publish()).batch).size(), 1);
}

TEST_F(Publishing, RefusesWhatNoBatchMayHold) {
  connect(broker_.options());
  auto receipt = publish(std::string(limits::kMaxMessage + 1, 'x'));
  EXPECT_EQ(wait(std::move(receipt)).error().code, Errc::kMessageTooLarge);
  EXPECT_TRUE(peer_->quiet());
}

TEST_F(Publishing, NamesAPartitionThatDoesNotExist) {
  connect(broker_.options(), 3);
  Reply<PublishReceipt> reply = wait(publish_to(3, "x"));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kUnknownPartition);
  EXPECT_NE(reply.error().explanation.find("3 partitions"), std::string::npos);
}

TEST_F(Publishing, AsksAgainForATopicThatTheBrokerDoesNotKnowAnyMore) {
  connect(broker_.options());
  auto receipt = publish("a");
  peer_->answer(expect_publish(), rejected(Errc::kUnknownTopic, "deleted"));
  EXPECT_EQ(wait(std::move(receipt)).error().code, Errc::kUnknownTopic);

  auto next = publish("b");
  answer_topic(*peer_, topic_of("orders", 1, 8));
  auto asked = expect_publish();
  EXPECT_EQ(part_of(asked).topic, TopicId{8});
  EXPECT_EQ(part_of(asked).producer->base_sequence, 1);
}

TEST(PublishingToNothing, NamesTheUnknownTopic) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  auto receipt = client.async().async_publish("oders", text_message("x"), use_future);
  Peer peer = broker.accept_greeted();
  peer.answer(peer.expect<MetadataRequest>(), {});
  Reply<PublishReceipt> reply = wait(std::move(receipt));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Errc::kUnknownTopic);
  EXPECT_NE(reply.error().explanation.find("'oders'"), std::string::npos);
}

TEST(PublishingToNothing, FailsAtOnceWhereNoBrokerIs) {
  FakeBroker broker;
  ClientOptions options = broker.options();
  broker.stop();
  BlockingClient client(options);
  EXPECT_EQ(client.publish("orders", text_message("x")).error().code, Errc::kCannotConnect);
}

TEST_F(Publishing, FlushesBeforeItCloses) {
  connect(broker_.options());
  auto receipt = publish("a");
  auto asked = expect_publish();
  auto closed = client_->async().async_close(use_future);
  EXPECT_FALSE(ready(closed));
  peer_->answer(asked, published(0));
  EXPECT_TRUE(wait(std::move(receipt)).ok());
  EXPECT_TRUE(wait(std::move(closed)).ok());
}

TEST_F(Publishing, PublishesManyAsOneBatchForEachPartition) {
  connect(broker_.options(), 2);
  std::string odd(limits::kMaxMessage + 1, 'x');
  // Two keys of different partitions, in turns; one message among them that no batch may hold.
  std::vector<Message> messages{text_message("a", "k0"), text_message(odd, "k0"),
                                text_message("b", "k1"), text_message("c", "k0")};
  std::uint32_t home = partition_for_key(as_bytes("k0"), 2).value;
  std::string other = "k1";
  while (partition_for_key(as_bytes(other), 2).value == home) other += "1";
  messages[2] = text_message("b", other);
  auto all = client_->async().async_publish_all("orders", std::move(messages), use_future);
  for (int i = 0; i < 2; ++i) {
    auto asked = expect_publish();
    bool first = part_of(asked).partition == PartitionIndex{home};
    EXPECT_EQ(values_in(part_of(asked).batch), first ? (Values{"a", "c"}) : Values{"b"});
    peer_->answer(asked, published(first ? 10 : 20));
  }
  Reply<PublishReceipts> answered = wait(std::move(all));
  ASSERT_TRUE(answered.ok());
  const PublishReceipts& receipts = *answered;
  ASSERT_EQ(receipts.size(), 4);
  EXPECT_EQ(*receipts[0], (PublishReceipt{PartitionIndex{home}, Offset{10}}));
  EXPECT_EQ(receipts[1].error().code, Errc::kMessageTooLarge);
  EXPECT_EQ(*receipts[2], (PublishReceipt{PartitionIndex{1 - home}, Offset{20}}));
  EXPECT_EQ(*receipts[3], (PublishReceipt{PartitionIndex{home}, Offset{11}}));
  EXPECT_TRUE(wait(client_->async().async_publish_all("orders", {}, use_future))->empty());
}

TEST_F(Publishing, KeepsTheOrderOfCallsOfOneAndOfMany) {
  connect(broker_.options());
  auto first = publish("a");
  auto asked = expect_publish();
  auto second = publish("b");
  auto several = client_->async().async_publish_all(
      "orders", {text_message("c"), text_message("d")}, use_future);
  auto last = publish("e");
  peer_->answer(asked, published(0));
  auto rest = expect_publish();
  EXPECT_EQ(values_in(part_of(rest).batch), (Values{"b", "c", "d", "e"}));
  peer_->answer(rest, published(1));
  Reply<PublishReceipts> receipts = wait(std::move(several));
  EXPECT_EQ((*receipts)[1]->offset, Offset{3});
  EXPECT_EQ(wait(std::move(last))->offset, Offset{4});
}

TEST_F(Publishing, LetsThePartOfACallWaitThatDoesNotFitTheBuffer) {
  ClientOptions options = broker_.options();
  options.max_buffered_bytes = 1000;
  connect(options);
  std::string half(400, 'x');
  auto all = client_->async().async_publish_all(
      "orders", {text_message(half), text_message(half), text_message(half)}, use_future);
  auto asked = expect_publish();
  EXPECT_EQ(values_in(part_of(asked).batch).size(), 2u);
  peer_->answer(asked, published(0));
  auto rest = expect_publish();
  EXPECT_EQ(values_in(part_of(rest).batch).size(), 1u);
  peer_->answer(rest, published(2));
  EXPECT_EQ((*wait(std::move(all)))[2]->offset, Offset{2});
}

TEST_F(Publishing, AnswersEveryMessageOfPublishAllInOrder) {
  connect(broker_.options());
  std::vector<Message> messages;
  for (int i = 0; i < 5; ++i) messages.push_back(text_message(std::to_string(i)));
  auto all = std::async(std::launch::async,
                        [&] { return client_->publish_all("orders", std::move(messages)); });
  std::int64_t end = 0;
  while (end < 5) {
    auto asked = expect_publish();
    auto values = values_in(part_of(asked).batch);
    peer_->answer(asked, published(end));
    for (const std::string& value : values) EXPECT_EQ(value, std::to_string(end++));
  }
  auto receipts = wait(std::move(all));
  ASSERT_EQ(receipts.size(), 5);
  for (std::int64_t i = 0; i < 5; ++i) EXPECT_EQ(receipts[i]->offset, Offset{i});
}

}  // namespace
}  // namespace waybill

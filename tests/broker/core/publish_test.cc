// Goal: a publish is confirmed when it is durable and not before, once, in the order its producer
// meant. Method: CoreRig; the disk stands still where "not before" is asked, and power cuts where
// "for ever" is.
#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

ProducerStamp session(std::uint64_t previous, std::uint64_t id = 9) {
  ProducerStamp stamp;
  store_little(stamp.id.uuid.bytes.data(), id);
  stamp.previous = previous;
  stamp.base_sequence = previous + 1;
  return stamp;
}

ProducerStamp durable(std::uint64_t previous, std::uint64_t base, std::uint32_t epoch = 1) {
  ProducerStamp stamp = session(previous, 77);
  stamp.kind = ProducerKind::kDurable;
  stamp.base_sequence = base;
  stamp.epoch = epoch;
  return stamp;
}

OpenProducerRequest open_request(std::uint32_t epoch) {
  return {durable(0, 1).id, epoch, "outbox"};
}

TEST(Publish, NothingIsAnsweredReadOrDeliveredBeforeItIsDurableS12) {
  CoreRig rig;
  TestClient& client = rig.connect();
  TestClient& reader = rig.connect(2);
  TopicId topic = rig.create_topic(client, "orders");
  rig.create_group(client, "billing", "orders");
  reader.subscribe("billing");
  ReadRequest waiting;
  waiting.topic = topic;
  waiting.wait = seconds(10);
  auto read = reader.begin<ReadReply>(waiting);
  PublishRequest request;
  request.parts.push_back({topic, {0}, {}, {}, batch_of({"a"})});
  auto published = client.begin<PublishReply>(request);
  rig.run_without_disk();
  ASSERT_GT(rig.disk->pending(), 0u) << "it is on its way";
  // What is staged can be asked about; the answer waits too.
  auto described = client.begin<DescribeGroupReply>(DescribeGroupRequest{"billing"});
  auto topic_status = client.begin<DescribeTopicReply>(DescribeTopicRequest{"orders"});
  request.parts[0].expected_end = Offset{0};
  auto refused = client.begin<PublishReply>(request);
  rig.run_without_disk();
  EXPECT_FALSE(published->has_value());
  EXPECT_FALSE(read->has_value());
  EXPECT_FALSE(described->has_value());
  EXPECT_FALSE(topic_status->has_value());
  EXPECT_FALSE(refused->has_value()) << "the refusal would tell of the undurable batch";
  EXPECT_TRUE(reader.pushes.empty());

  rig.run();
  ASSERT_TRUE(published->has_value() && **published);
  EXPECT_TRUE((**published)->parts.front().ok());
  ASSERT_TRUE(read->has_value() && **read);
  EXPECT_EQ((**read)->batches.size(), 1u);
  EXPECT_EQ((**described)->partitions[0].accounting.leased, 1u);
  EXPECT_EQ(code_of((**refused)->parts.front()), Errc::kWrongEndOffset);
  EXPECT_EQ(reader.take().size(), 1u);
}

TEST(Publish, AnUnconfirmedBatchMayBeLostAndAConfirmedOneNever) {
  CoreRig rig;
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  ASSERT_TRUE(client.publish(topic, 0, {"kept"}).ok());
  PublishRequest request;
  request.parts.push_back({topic, {0}, {}, {}, batch_of({"lost"})});
  auto published = client.begin<PublishReply>(request);
  rig.run_without_disk();
  rig.restart(keep_none());
  EXPECT_FALSE(published->has_value());
  Reply<ReadReply> read = rig.connect().read(topic, 0, 0);
  ASSERT_TRUE(read.ok());
  ASSERT_EQ(read->batches.size(), 1u);
  EXPECT_EQ(records_of(read->batches)[0].second, "kept");
}

TEST(Publish, TheLeaseOfAMessageThatIsWaitedForIsInItsFrameD4) {
  CoreRig rig;
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  rig.create_group(client, "billing", "orders");
  client.subscribe("billing");
  rig.advance(seconds(1));
  std::uint64_t before = rig.disk->operations();
  auto published =
      client.begin<PublishReply>(PublishRequest{{{topic, {0}, {}, {}, batch_of({"a"})}}});
  rig.run_until([&] { return !client.pushes.empty(); });
  EXPECT_EQ(rig.disk->operations() - before, 1u) << "one write for both";
  EXPECT_TRUE(published->has_value());
}

TEST(Publish, PartsForSeveralShardsAreEachAppendedOrRefusedByThemselves) {
  CoreRig rig({.shards = 3});
  TestClient& client = rig.connect(1, 2);
  TopicId topic = rig.create_topic(client, "orders", 6);
  PublishRequest request;
  for (std::uint32_t p = 0; p < 6; ++p) {
    request.parts.push_back({topic, {p}, {}, {}, batch_of({"m" + std::to_string(p)})});
  }
  request.parts[2].expected_end = Offset{5};
  request.parts.push_back({topic, {6}, {}, {}, batch_of({"x"})});
  request.parts.push_back({TopicId{999}, {0}, {}, {}, batch_of({"x"})});
  request.parts.push_back({topic, {0}, {}, {}, SharedBytes(ByteVector(200))});
  Reply<PublishReply> reply = client.call<PublishReply>(request);
  ASSERT_TRUE(reply.ok());
  ASSERT_EQ(reply->parts.size(), 9u);
  for (std::uint32_t p = 0; p < 6; ++p) EXPECT_EQ(reply->parts[p].ok(), p != 2) << p;
  EXPECT_EQ(code_of(reply->parts[2]), Errc::kWrongEndOffset);
  EXPECT_EQ(code_of(reply->parts[6]), Errc::kUnknownPartition);
  EXPECT_EQ(code_of(reply->parts[7]), Errc::kUnknownTopic);
  EXPECT_FALSE(reply->parts[8].ok());
  rig.restart();
  TestClient& again = rig.connect(1, 1);
  for (std::uint32_t p = 0; p < 6; ++p) {
    Reply<ReadReply> read = again.read(topic, p, 0);
    ASSERT_TRUE(read.ok());
    ASSERT_EQ(read->batches.size(), p == 2 ? 0u : 1u);
  }
}

TEST(Publish, CompareAndAppendAppendsOnlyAtTheExpectedEnd) {
  CoreRig rig;
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  // Both stand in one turn: the second is compared with what the first staged.
  PublishRequest request;
  request.parts.push_back({topic, {0}, {}, Offset{0}, batch_of({"a", "b"})});
  request.parts.push_back({topic, {0}, {}, Offset{0}, batch_of({"c"})});
  request.parts.push_back({topic, {0}, {}, Offset{2}, batch_of({"d"})});
  Reply<PublishReply> reply = client.call<PublishReply>(request);
  ASSERT_TRUE(reply.ok());
  EXPECT_TRUE(reply->parts[0].ok());
  EXPECT_EQ(code_of(reply->parts[1]), Errc::kWrongEndOffset);
  EXPECT_EQ(reply->parts[2]->base_offset, Offset{2});
}

TEST(Publish, ASessionProducerIsDenseAndKnowsDuplicatesFromGapsD20) {
  CoreRig rig;
  TestClient* client = &rig.connect();
  TopicId topic = rig.create_topic(*client, "orders");
  EXPECT_EQ(code_of(client->publish(topic, 0, {"x"}, session(4))), Errc::kProducerUnknown);
  EXPECT_EQ(client->publish(topic, 0, {"a", "b"}, session(0))->base_offset, Offset{0});
  EXPECT_EQ(client->publish(topic, 0, {"c"}, session(2))->base_offset, Offset{2});
  for (int i = 0; i < 2; ++i) {
    Reply<PublishResult> again = client->publish(topic, 0, {"a", "b"}, session(0));
    ASSERT_TRUE(again.ok());
    EXPECT_TRUE(again->duplicate);
    EXPECT_EQ(again->base_offset, Offset{0});
    EXPECT_EQ(code_of(client->publish(topic, 0, {"x"}, session(4))), Errc::kOutOfOrder);
    EXPECT_EQ(code_of(client->publish(topic, 0, {"x"}, session(1))), Errc::kOutOfOrder);
    rig.restart();
    client = &rig.connect();
  }
  EXPECT_EQ(client->publish(topic, 0, {"d"}, session(3))->base_offset, Offset{3});
  ProducerStamp gap = session(4);
  gap.base_sequence = 7;
  EXPECT_EQ(code_of(client->publish(topic, 0, {"x"}, gap)), Errc::kInvalidRequest);
  EXPECT_EQ(client->read(topic, 0, 0)->end, Offset{4});
}

TEST(Publish, TwoSendersOfOneSequenceInOneTurnAppendOnceD20) {
  CoreRig rig;
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  PublishRequest request;
  request.parts.push_back({topic, {0}, session(0), {}, batch_of({"a"})});
  request.parts.push_back({topic, {0}, session(0), {}, batch_of({"a"})});
  Reply<PublishReply> reply = client.call<PublishReply>(request);
  EXPECT_FALSE(reply->parts[0]->duplicate);
  EXPECT_TRUE(reply->parts[1]->duplicate);
  EXPECT_EQ(client.read(topic, 0, 0)->end, Offset{1});
}

TEST(Publish, TheLeastRecentlyUsedSessionIsForgottenD20) {
  CoreRig rig({.journal_file = 1024 * 1024});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  for (std::uint64_t id = 1; id <= limits::kMaxSessionProducers; ++id) {
    ASSERT_TRUE(client.publish(topic, 0, {"a"}, session(0, id)).ok());
  }
  ASSERT_TRUE(client.publish(topic, 0, {"b"}, session(1, 1)).ok()) << "1 is used again";
  ASSERT_TRUE(client.publish(topic, 0, {"a"}, session(0, 5000)).ok()) << "2 has to go";
  EXPECT_TRUE(client.publish(topic, 0, {"c"}, session(2, 1)).ok());
  EXPECT_EQ(code_of(client.publish(topic, 0, {"b"}, session(1, 2))), Errc::kProducerUnknown);
}

TEST(Publish, ADurableProducerAppendsOnlyBehindWhatItSentBeforeD21) {
  CoreRig rig({.shards = 2});
  TestClient* client = &rig.connect();
  TopicId topic = rig.create_topic(*client, "orders", 2);
  EXPECT_EQ(code_of(client->publish(topic, 0, {"x"}, durable(0, 1))), Errc::kInvalidRequest)
      << "it has to be opened";
  ASSERT_TRUE(client->call<OpenProducerReply>(open_request(1)).ok());
  // Gaps are its own business: sequence numbers are rows of a table.
  std::uint64_t last = 0;
  for (std::uint64_t i = 1; i <= 7; ++i) {
    ASSERT_TRUE(client->publish(topic, 0, {"m" + std::to_string(i)}, durable(last, i * 10)).ok());
    last = i * 10;
  }
  for (int round = 0; round < 2; ++round) {
    for (std::uint64_t i = 1; i <= 7; ++i) {
      Reply<PublishResult> again = client->publish(topic, 0, {"m"}, durable((i - 1) * 10, i * 10));
      if (i <= 2) {  // the last five are kept
        EXPECT_EQ(code_of(again), Errc::kOutOfSequence) << i;
      } else {
        ASSERT_TRUE(again.ok()) << i;
        EXPECT_TRUE(again->duplicate);
        EXPECT_EQ(again->base_offset, Offset{static_cast<std::int64_t>(i) - 1});
      }
    }
    EXPECT_EQ(code_of(client->publish(topic, 0, {"x", "y"}, durable(60, 70))), Errc::kOutOfSequence)
        << "another count is another batch";
    EXPECT_EQ(code_of(client->publish(topic, 0, {"x"}, durable(60, 71))), Errc::kOutOfSequence);
    EXPECT_EQ(code_of(client->publish(topic, 0, {"x"}, durable(71, 80))), Errc::kOutOfSequence);
    EXPECT_EQ(code_of(client->publish(topic, 0, {"x"}, durable(70, 65))), Errc::kOutOfSequence);
    // Dedupe comes before validation: a resend is answered whatever else is wrong with it.
    ByteVector damaged = to_vector(batch_of({"m7"}).view());
    damaged.back() ^= std::byte{1};
    EXPECT_TRUE(client->publish_batch(topic, 0, SharedBytes(damaged), durable(60, 70))->duplicate);
    EXPECT_EQ(code_of(client->publish_batch(topic, 0, SharedBytes(damaged), durable(70, 80))),
              Errc::kCorruptBatch);
    rig.restart();
    client = &rig.connect();
  }
  Reply<OpenProducerReply> opened = client->call<OpenProducerReply>(open_request(2));
  ASSERT_TRUE(opened.ok());
  ASSERT_EQ(opened->positions.size(), 1u);
  EXPECT_EQ(opened->positions[0], (ProducerPosition{topic, {0}, 70}));
  EXPECT_EQ(code_of(client->publish(topic, 0, {"x"}, durable(70, 80, 1))), Errc::kFenced);
  EXPECT_EQ(code_of(client->publish(topic, 1, {"x"}, durable(0, 80, 1))), Errc::kFenced);
  EXPECT_EQ(code_of(client->call<OpenProducerReply>(open_request(1))), Errc::kFenced);
  rig.restart();
  client = &rig.connect();
  EXPECT_EQ(code_of(client->publish(topic, 0, {"x"}, durable(70, 80, 1))), Errc::kFenced);
  EXPECT_TRUE(client->publish(topic, 0, {"x"}, durable(70, 80, 2)).ok());
  EXPECT_EQ(client->read(topic, 0, 0)->end, Offset{8});
}

TEST(Publish, ASessionCannotPassTheFenceOfADurableProducerD21) {
  CoreRig rig;
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  ASSERT_TRUE(client.call<OpenProducerReply>(open_request(1)).ok());
  ASSERT_TRUE(client.publish(topic, 0, {"a"}, durable(0, 1)).ok());
  EXPECT_EQ(code_of(client.publish(topic, 0, {"b"}, session(1, 77))), Errc::kInvalidRequest);
}

TEST(Publish, DurableProducersAreLimitedD21S20) {
  CoreRig rig({.journal_file = 1024 * 1024});
  TestClient& client = rig.connect();
  OpenProducerRequest request = open_request(1);
  for (std::size_t i = 1; i <= limits::kMaxDurableProducers; ++i) {
    store_little(request.id.uuid.bytes.data(), std::uint64_t{i});
    ASSERT_TRUE(client.call<OpenProducerReply>(request).ok());
  }
  EXPECT_TRUE(client.call<OpenProducerReply>(request).ok()) << "a known one may come again";
  store_little(request.id.uuid.bytes.data(), std::uint64_t{100'000});
  EXPECT_EQ(code_of(client.call<OpenProducerReply>(request)), Errc::kProducerLimit);
}

TEST(Publish, DurableProducersAreListedWithWhatTheySentD21S20) {
  CoreRig rig({.shards = 3});
  TestClient* client = &rig.connect(1, 2);
  TopicId topic = rig.create_topic(*client, "orders", 4);
  auto list = [&] { return client->call<ListProducersReply>(ListProducersRequest{}); };
  EXPECT_TRUE(list()->producers.empty());
  ASSERT_TRUE(client->call<OpenProducerReply>(open_request(3)).ok());
  for (std::uint32_t i : {3, 0, 2}) {
    ASSERT_TRUE(client->publish(topic, i, {"m"}, durable(0, 10 + i, 3)).ok());
  }
  ASSERT_TRUE(client->publish(topic, 1, {"m"}, session(0)).ok());
  OpenProducerRequest other = open_request(1);
  store_little(other.id.uuid.bytes.data(), std::uint64_t{5});
  ASSERT_TRUE(client->call<OpenProducerReply>(other).ok());
  for (int round = 0; round < 2; ++round) {
    Reply<ListProducersReply> reply = list();
    ASSERT_TRUE(reply.ok());
    ASSERT_EQ(reply->producers.size(), 2u) << "a session is nobody to remember by name";
    EXPECT_EQ(reply->producers[0].id, other.id);
    EXPECT_TRUE(reply->producers[0].positions.empty());
    const ProducerInfo& producer = reply->producers[1];
    EXPECT_EQ(producer.id, durable(0, 1).id);
    EXPECT_EQ(producer.epoch, 3u);
    EXPECT_EQ(producer.name, "outbox");
    EXPECT_EQ(producer.positions, (std::vector<ProducerPosition>{
                                      {topic, {0}, 10}, {topic, {2}, 12}, {topic, {3}, 13}}));
    rig.restart();
    client = &rig.connect();
  }
}

TEST(Publish, ARemovedProducerIsForgottenEverywhereD21S20) {
  CoreRig rig({.shards = 3});
  TestClient* client = &rig.connect();
  TopicId topic = rig.create_topic(*client, "orders", 4);
  RemoveProducerRequest remove{durable(0, 1).id};
  EXPECT_EQ(code_of(client->call<RemoveProducerReply>(remove)), Errc::kInvalidRequest);
  ASSERT_TRUE(client->call<OpenProducerReply>(open_request(4)).ok());
  for (std::uint32_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(client->publish(topic, i, {"m"}, durable(0, 10, 4)).ok());
  }
  ASSERT_TRUE(client->call<RemoveProducerReply>(remove).ok());
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(client->call<ListProducersReply>(ListProducersRequest{})->producers.empty());
    EXPECT_EQ(code_of(client->publish(topic, 0, {"x"}, durable(10, 20, 4))), Errc::kInvalidRequest)
        << "it has to be opened again";
    rig.restart();
    client = &rig.connect();
  }
  Reply<OpenProducerReply> opened = client->call<OpenProducerReply>(open_request(1));
  ASSERT_TRUE(opened.ok()) << "its epoch is forgotten, too";
  EXPECT_TRUE(opened->positions.empty());
  for (std::uint32_t i = 0; i < 4; ++i) {
    Reply<PublishResult> first = client->publish(topic, i, {"m"}, durable(0, 10, 1));
    ASSERT_TRUE(first.ok());
    EXPECT_FALSE(first->duplicate);
  }
}

TEST(Publish, ARemovalIsAnsweredWhenEveryShardHasItAndCanBeRepeatedAfterACutD21) {
  for (std::uint64_t operations = 0;; ++operations) {
    CoreRig rig({.shards = 3});
    TestClient& client = rig.connect();
    TopicId topic = rig.create_topic(client, "orders", 3);
    ASSERT_TRUE(client.call<OpenProducerReply>(open_request(1)).ok());
    for (std::uint32_t i = 0; i < 3; ++i) {
      ASSERT_TRUE(client.publish(topic, i, {"m"}, durable(0, 10)).ok());
    }
    rig.disk->crash_after(operations);
    auto removed = client.begin<RemoveProducerReply>(RemoveProducerRequest{durable(0, 1).id});
    rig.run();
    bool cut = rig.disk->crashed();
    bool told = removed->has_value() && (*removed)->ok();
    EXPECT_EQ(told, !cut);
    rig.restart(keep_random(operations));
    TestClient& again = rig.connect();
    auto left = again.call<ListProducersReply>(ListProducersRequest{})->producers.size();
    EXPECT_TRUE(left == 0 || !told);
    if (left > 0) {
      ASSERT_TRUE(again.call<RemoveProducerReply>(RemoveProducerRequest{durable(0, 1).id}).ok());
    }
    EXPECT_TRUE(again.call<ListProducersReply>(ListProducersRequest{})->producers.empty());
    if (!cut) return;
  }
}

}  // namespace
}  // namespace waybill

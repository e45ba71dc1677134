// Goal: when the disk fails or is full, nothing untrue is said: what is confirmed is durable, what
// is not is called unknown or refused. Method: CoreRig with planned faults and a small disk.
#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

TEST(FailingDisk, AfterAFailedWriteEveryWaitingRequestIsAnsweredOutcomeUnknownS12) {
  Scene s({.shards = 1});
  s.publish(0, {"a", "b", "c", "d"});
  s.client->subscribe("billing", 3);
  std::vector<Delivered> got = s.client->take();
  ASSERT_EQ(got.size(), 3u);
  ASSERT_TRUE(s.client->bury(got[2]).ok());
  s.rig.advance(seconds(1));

  PublishRequest publish{{{s.topic, {0}, {}, {}, batch_of({"lost"})}}};
  ReadRequest waiting;
  waiting.topic = s.topic;
  waiting.from = {4};
  waiting.wait = seconds(100);
  auto read = s.client->begin<ReadReply>(waiting);
  auto published = s.client->begin<PublishReply>(publish);
  s.rig.disk->fail_after(0, Errc::kIo);
  s.rig.run_without_disk();
  // These come after the failing write was queued, and depend on what it carries.
  auto acked = s.client->begin<SettleReply>(SettleRequest{1, {TestClient::settlement(got[0])}});
  auto buried = s.client->begin<SettleReply>(
      SettleRequest{1, {TestClient::settlement(got[1], SettleVerb::kDeadLetter)}});
  auto redriven = s.client->begin<RedriveReply>(RedriveRequest{selection(), false, ""});
  auto described = s.client->begin<DescribeGroupReply>(DescribeGroupRequest{"billing"});
  auto created = s.client->begin<CreateTopicReply>(CreateTopicRequest{"more", 1});
  auto opened =
      s.client->begin<OpenProducerReply>(OpenProducerRequest{{{{std::byte{1}}}}, 1, "outbox"});
  s.rig.run();
  ASSERT_TRUE(s.rig.shards[0]->poisoned());
  ASSERT_TRUE(published->has_value());
  EXPECT_EQ(code_of((**published)->parts[0]), Errc::kOutcomeUnknown);
  ASSERT_TRUE(acked->has_value());
  EXPECT_EQ(code_of((**acked)->outcomes[0]), Errc::kOutcomeUnknown);
  ASSERT_TRUE(buried->has_value());
  EXPECT_EQ(code_of((**buried)->outcomes[0]), Errc::kOutcomeUnknown);
  ASSERT_TRUE(redriven->has_value());
  EXPECT_EQ(code_of(**redriven), Errc::kOutcomeUnknown);
  ASSERT_TRUE(created->has_value());
  EXPECT_EQ(code_of(**created), Errc::kOutcomeUnknown);
  ASSERT_TRUE(opened->has_value());
  EXPECT_EQ(code_of(**opened), Errc::kOutcomeUnknown);
  ASSERT_TRUE(read->has_value());
  EXPECT_EQ(code_of(**read), Errc::kOutcomeUnknown);
  EXPECT_TRUE(described->has_value());
  EXPECT_TRUE(s.client->take().empty());

  // And nothing is confirmed any more, whatever comes.
  Reply<PublishReply> later = s.client->call<PublishReply>(publish);
  EXPECT_FALSE(later->parts[0].ok());
  EXPECT_FALSE(s.client->ack(got[0]).ok());
  EXPECT_FALSE(s.client->bury(got[1]).ok());
  EXPECT_FALSE(s.client->call<CreateTopicReply>(CreateTopicRequest{"evenmore", 1}).ok());
  s.rig.advance(minutes(2));
  s.rig.restart();
  s.reconnect().subscribe("billing");
  EXPECT_EQ(s.client->read(s.topic, 0, 0)->end, Offset{4});
  Accounting accounting = s.accounting();
  EXPECT_EQ(accounting.dead, 1u);
  EXPECT_EQ(accounting.leased, 3u);
}

TEST(FailingDisk, APoisonedShardLeavesTheOthersHonest) {
  CoreRig rig({.shards = 2});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders", 2);
  rig.advance(seconds(1));
  PublishRequest both{
      {{topic, {0}, {}, {}, batch_of({"a"})}, {topic, {1}, {}, {}, batch_of({"b"})}}};
  auto published = client.begin<PublishReply>(both);
  rig.disk->fail_after(0, Errc::kIo);
  rig.run();
  ASSERT_TRUE(published->has_value());
  int unknown = 0;
  for (const auto& part : (**published)->parts) {
    if (!part.ok()) {
      ++unknown;
      EXPECT_EQ(part.error().code, Errc::kOutcomeUnknown);
    }
  }
  EXPECT_EQ(unknown, 1);
  EXPECT_NE(rig.shards[0]->poisoned(), rig.shards[1]->poisoned());
  EXPECT_FALSE(client.call<CreateTopicReply>(CreateTopicRequest{"more", 2}).ok());
}

TEST(FailingDisk, AFullDiskRefusesPublishesAndStillTakesSettlementsS21) {
  Scene s({.disk = {.capacity = 1'300'000}});
  s.client->subscribe("billing", 5);
  int published = 0;
  Errc refusal{};
  for (int i = 0; i < 500 && refusal == Errc{}; ++i) {
    Reply<PublishResult> reply = s.client->publish(s.topic, 0, {std::string(3000, 'x')});
    if (reply) {
      ++published;
    } else {
      refusal = reply.error().code;
    }
  }
  EXPECT_EQ(refusal, Errc::kDiskFull);
  EXPECT_GT(published, 100);
  std::vector<Delivered> got = s.client->take();
  ASSERT_EQ(got.size(), 5u);
  EXPECT_TRUE(s.client->ack(got[0]).ok());
  EXPECT_TRUE(s.client->retry(got[1]).ok());
  EXPECT_EQ(*s.client->bury(got[2]), SettleOutcome::kDead);
  s.client->credit(5);
  EXPECT_TRUE(s.client->pushes.empty()) << "no lease without room for its dead letter (D14)";
  Reply<DescribeGroupReply> described =
      s.client->call<DescribeGroupReply>(DescribeGroupRequest{"billing"});
  EXPECT_EQ(described->partitions[0].waiting, Waiting::kDisk);
  // Room comes back: both go on by themselves.
  s.rig.disk->set_capacity(100'000'000);
  s.rig.options.disk.capacity = 100'000'000;
  s.rig.advance(seconds(2));
  EXPECT_FALSE(s.client->take().empty());
  EXPECT_TRUE(s.client->publish(s.topic, 0, {"again"}).ok());
  s.rig.restart();
  s.reconnect();
  EXPECT_EQ(s.client->read(s.topic, 0, 0)->end, Offset{published + 1});
  EXPECT_EQ(s.accounting().dead, 1u);
}

TEST(FailingDisk, ShardsWithoutRoomDoNotHandCreditToAndFro) {
  // One credit, two shards that have work and no room for a lease: the core comes to rest (run()
  // fails if it does not), and goes on when there is room.
  Scene s({.shards = 2, .disk = {.capacity = 2'600'000}}, 2);
  s.publish(1, {"fails once"});
  s.client->subscribe("billing", 1);
  std::vector<Delivered> first = s.client->take();
  ASSERT_EQ(first.size(), 1u);
  EXPECT_TRUE(s.client->retry(first.front()).ok());
  // Both journals are filled with another topic, so that shard 1 has nothing to deliver meanwhile.
  TopicId filler = s.rig.create_topic(*s.client, "filler", 2);
  s.publish(0, std::vector<std::string>(20, "waits"));
  for (std::uint32_t partition = 0; partition < 2; ++partition) {
    for (int refused = 0; refused < 10;) {
      if (!s.client->publish(filler, partition, {std::string(3000, 'x')})) ++refused;
    }
  }
  s.client->credit(1);
  s.rig.advance(seconds(5));  // what failed may go again
  EXPECT_TRUE(s.client->pushes.empty());
  s.rig.disk->set_capacity(100'000'000);
  s.rig.advance(seconds(5));
  for (int i = 0; i < 10; ++i) {
    std::vector<Delivered> got = s.client->take();
    ASSERT_EQ(got.size(), 1u);
    EXPECT_TRUE(s.client->ack(got.front()).ok());
    s.client->credit(1);
  }
}

TEST(FailingDisk, AResetThatFindsNoRoomHappensOnceThereIsSomeD15) {
  constexpr std::size_t kMessages = 300;
  Scene s({.shards = 2, .disk = {.capacity = 2'600'000}}, 2);
  // Shard 0 has room to record the reset; where that partition is there is none to carry it out.
  std::uint32_t full = s.rig.shards[1]->delivery().find(s.group)->partitions.front()->index.value;
  s.publish(full, std::vector<std::string>(kMessages, "work"));
  s.client->subscribe("billing");
  std::vector<Delivered> got = s.client->take();
  ASSERT_EQ(got.size(), kMessages);
  TopicId filler = s.rig.create_topic(*s.client, "filler", 2);
  for (int refused = 0; refused < 10;) {
    if (!s.client->publish(filler, full, {std::string(3000, 'x')})) ++refused;
  }
  // Settlements still find room, until there is none for them either.
  std::size_t acked = 0;
  while (acked < kMessages && s.client->ack(got[acked]).ok()) ++acked;
  ASSERT_GT(acked, 0u);
  ASSERT_LT(acked, kMessages);
  ResetGroupRequest request{"billing", {StartKind::kEarliest, {}, {}}, false, false};
  auto reset = s.client->begin<ResetGroupReply>(request);
  s.rig.run();
  EXPECT_EQ(s.rig.partition_of(s.group, full).delivery.epoch(), 0u);
  s.rig.disk->set_capacity(100'000'000);
  s.rig.options.disk.capacity = 100'000'000;
  s.rig.advance(seconds(5));
  ASSERT_TRUE(reset->has_value());
  EXPECT_EQ(code_of(**reset), Errc::kOutcomeUnknown);
  EXPECT_EQ(s.rig.partition_of(s.group, full).delivery.epoch(), 1u);
  EXPECT_EQ(code_of(s.client->ack(got[acked])), Errc::kLeaseLost) << "the reset voided it";
  EXPECT_EQ(s.client->take().size(), kMessages);
  s.rig.restart();
  s.reconnect();
  EXPECT_EQ(s.accounting().leased, kMessages) << "it happened once";
}

TEST(FailingDisk, BelowTheWatermarkNothingGrowsAndAboveItAllGoesOnByItselfS21) {
  constexpr std::uint64_t kMinFree = 1'000'000;
  Scene s({.min_free = kMinFree});
  std::vector<DiskSpaceChange::Kind> told;
  s.rig.shards[0]->on_space_changed([&](const auto& change) { told.push_back(change.kind); });
  s.publish(0, std::vector<std::string>(10, "work"));
  s.client->subscribe("billing", 5);
  std::vector<Delivered> got = s.client->take();
  ASSERT_EQ(got.size(), 5u);
  s.rig.leave_free(kMinFree - 1);
  EXPECT_EQ(code_of(s.client->publish(s.topic, 0, {"more"})), Errc::kDiskFull);
  EXPECT_EQ(s.rig.shards[0]->metrics().disk_full, 1u);
  EXPECT_TRUE(s.client->ack(got[0]).ok());
  EXPECT_TRUE(s.client->retry(got[1]).ok());
  EXPECT_EQ(*s.client->bury(got[2]), SettleOutcome::kDead);
  s.client->credit(5);
  EXPECT_TRUE(s.client->pushes.empty()) << "no lease below the watermark (D14)";
  Reply<DescribeGroupReply> described =
      s.client->call<DescribeGroupReply>(DescribeGroupRequest{"billing"});
  EXPECT_EQ(described->partitions[0].waiting, Waiting::kDisk);

  s.rig.leave_free(kMinFree + kMinFree / 8);
  EXPECT_EQ(code_of(s.client->publish(s.topic, 0, {"more"})), Errc::kDiskFull) << "it would flap";
  s.rig.leave_free(2 * kMinFree);
  EXPECT_EQ(s.client->take().size(), 5u) << "nobody had to ask";
  EXPECT_TRUE(s.client->publish(s.topic, 0, {"more"}).ok());
  EXPECT_EQ(s.rig.shards[0]->metrics().disk_full, 0u);
  EXPECT_EQ(told, (std::vector{DiskSpaceChange::Kind::kLow, DiskSpaceChange::Kind::kPlenty}));
  s.rig.restart();
  EXPECT_EQ(s.reconnect().read(s.topic, 0, 0)->end, Offset{11});
}

/// A scene whose group holds so many messages, with a reserve, on a disk that somebody else has
/// filled to the last byte.
struct FilledScene : Scene {
  static constexpr std::size_t kLeased = 300;
  static constexpr std::uint64_t kReserve = 600'000;

  explicit FilledScene(std::uint64_t reserve) : Scene({.reserve = reserve}) {
    publish(0, std::vector<std::string>(kLeased, "work"));
    client->subscribe("billing");
    got = client->take();
    EXPECT_EQ(got.size(), kLeased);
    rig.leave_free(0);
  }
  std::vector<Delivered> got;
};

TEST(FailingDisk, OnAFullDiskFlushAndCheckpointHaveTheReserveS21) {
  FilledScene s(FilledScene::kReserve);
  Shard& shard = *s.rig.shards[0];
  EXPECT_EQ(shard.metrics().reserve_bytes, FilledScene::kReserve);
  // What is published now has room in the journal, and is to be put away.
  EXPECT_TRUE(s.client->publish(s.topic, 0, {std::string(5000, 'x')}).ok());
  s.rig.advance(seconds(1));
  EXPECT_EQ(shard.metrics().reserve_bytes, 0u) << "it was given";
  EXPECT_EQ(shard.metrics().flush_stalled, 0u);
  EXPECT_EQ(code_of(s.client->publish(s.topic, 0, {"more"})), Errc::kDiskFull);
  // Settlements go on for journal file after journal file, since checkpoints release them.
  for (const Delivered& message : s.got) {
    ASSERT_TRUE(s.client->ack(message).ok()) << message.offset.value;
    s.rig.advance(milliseconds(10));
  }
  EXPECT_EQ(shard.metrics().flush_stalled, 0u);
  s.rig.leave_free(FilledScene::kReserve - 1);
  EXPECT_EQ(code_of(s.client->publish(s.topic, 0, {"more"})), Errc::kDiskFull);
  EXPECT_EQ(shard.metrics().reserve_bytes, 0u);
  s.rig.leave_free(4 * FilledScene::kReserve);
  EXPECT_GE(shard.metrics().reserve_bytes, FilledScene::kReserve) << "it was rebuilt";
  EXPECT_TRUE(s.client->publish(s.topic, 0, {"more"}).ok());
  s.rig.restart();
  s.reconnect();
  EXPECT_EQ(s.accounting().done, FilledScene::kLeased);
  EXPECT_EQ(s.client->read(s.topic, 0, 0)->end, Offset{FilledScene::kLeased + 2});
}

TEST(FailingDisk, WithoutAReserveAFullDiskStallsAndLosesNothingS21) {
  FilledScene s(0);
  EXPECT_TRUE(s.client->publish(s.topic, 0, {std::string(5000, 'x')}).ok());
  s.rig.advance(seconds(1));
  EXPECT_EQ(s.rig.shards[0]->metrics().flush_stalled, 1u);
  std::size_t acked = 0;
  while (acked < s.got.size() && s.client->ack(s.got[acked]).ok()) ++acked;
  EXPECT_LT(acked, s.got.size()) << "the journal cannot forget";
  s.rig.leave_free(10'000'000);
  s.rig.advance(seconds(2));
  for (std::size_t i = acked; i < s.got.size(); ++i) {
    ASSERT_TRUE(s.client->ack(s.got[i]).ok());
  }
  s.rig.restart();
  s.reconnect();
  EXPECT_EQ(s.accounting().done, s.got.size());
}

TEST(FailingDisk, ManySmallFilesDoNotStarveAConsumer) {
  // Each time the journal waits for its next file no lease is granted; it has to go on afterwards.
  Scene s({.journal_file = 128 * 1024});
  s.client->subscribe("billing", 100'000, 100'000'000);
  std::size_t got = 0;
  for (int i = 0; i < 300; ++i) {
    Reply<PublishResult> reply = s.client->publish(s.topic, 0, {std::string(2000, 'x')});
    if (!reply) {
      ASSERT_EQ(reply.error().code, Errc::kOverloaded);
      --i;
    }
    for (const Delivered& message : s.client->take()) {
      ++got;
      ASSERT_TRUE(s.client->ack(message).ok());
    }
  }
  s.rig.run();
  got += s.client->take().size();
  EXPECT_EQ(got, 300u);
}

}  // namespace
}  // namespace waybill

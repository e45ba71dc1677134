// Goal: reading without a group gives what was published, from memory or from the journal, and
// never wrong bytes. Method: CoreRig with a memory for batches that is smaller than one.
#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

/// Finds the bytes in a file of the disk; the position, or -1.
std::pair<std::string, std::int64_t> find_on_disk(SimDisk& disk, std::string_view text) {
  Result<std::vector<std::string>> names = disk.list("shard-0/journal");
  for (const std::string& name : *names) {
    std::string path = "shard-0/journal/" + name;
    Result<FileHandle> file = disk.open(path, OpenMode::kRead);
    if (!file) continue;
    ByteVector bytes(static_cast<std::size_t>(*disk.size(*file)));
    Result<std::size_t> got = disk.read_now(*file, 0, bytes);
    disk.close(*file);
    EXPECT_TRUE(got.ok());
    auto at = as_text(bytes).find(text);
    if (at != std::string_view::npos) return {path, static_cast<std::int64_t>(at)};
  }
  return {"", -1};
}

TEST(Read, ByOffsetGivesWholeBatchesFromTheOneThatHoldsIt) {
  CoreRig rig;
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  ASSERT_TRUE(client.publish(topic, 0, {"a", "b", "c"}).ok());
  ASSERT_TRUE(client.publish(topic, 0, {"d"}).ok());
  Reply<ReadReply> read = client.read(topic, 0, 1);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->first, Offset{1});
  EXPECT_EQ(read->start, Offset{0});
  EXPECT_EQ(read->end, Offset{4});
  ASSERT_EQ(read->batches.size(), 2u);
  auto records = records_of(read->batches);
  EXPECT_EQ(records[3], std::pair(Offset{3}, std::string("d"))) << "offsets are absolute";
  EXPECT_EQ(client.read(topic, 0, 3)->batches.size(), 1u);
  EXPECT_EQ(client.read(topic, 0, 4)->batches.size(), 0u) << "the end is not beyond it";
  EXPECT_EQ(code_of(client.read(topic, 0, 5)), Errc::kOffsetOutOfRange);
  EXPECT_EQ(code_of(client.read(topic, 0, -1)), Errc::kOffsetOutOfRange);
  EXPECT_EQ(code_of(client.read(topic, 1, 0)), Errc::kUnknownPartition);
  EXPECT_EQ(code_of(client.read(TopicId{99}, 0, 0)), Errc::kUnknownPartition);
}

TEST(Read, StopsAtMaxBytesButGivesAtLeastOneBatch) {
  CoreRig rig;
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(client.publish(topic, 0, {std::string(1000, 'x')}).ok());
  }
  ReadRequest request;
  request.topic = topic;
  request.max_bytes = 10;
  EXPECT_EQ(client.call<ReadReply>(request)->batches.size(), 1u);
  request.max_bytes = 2500;
  EXPECT_EQ(client.call<ReadReply>(request)->batches.size(), 2u);
}

TEST(Read, ByTimeBeginsAtTheFirstBatchThatIsNotOlder) {
  CoreRig rig;
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  for (std::int64_t at : {1000, 3000, 2000, 4000}) {
    ASSERT_TRUE(client.publish_batch(topic, 0, batch_of({"m"}, {at})).ok());
  }
  ReadRequest request;
  request.topic = topic;
  for (auto [time, first] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {0, 0}, {1000, 0}, {1001, 1}, {2000, 1}, {3001, 3}, {4001, 4}}) {
    request.from_time = WallTime{time};
    EXPECT_EQ(client.call<ReadReply>(request)->first, Offset{first}) << time;
  }
}

TEST(Read, AtTheEndWaitsForMoreOrItsTime) {
  CoreRig rig({.shards = 2});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders", 4);
  ReadRequest request;
  request.topic = topic;
  request.wait = seconds(2);
  auto zero = client.begin<ReadReply>(request);
  request.partition = {2};  // of the same shard as 0
  auto one = client.begin<ReadReply>(request);
  request.wait = seconds(5);
  auto late = client.begin<ReadReply>(request);
  rig.run();
  EXPECT_FALSE(zero->has_value());
  ASSERT_TRUE(client.publish(topic, 0, {"a"}).ok());
  ASSERT_TRUE(zero->has_value());
  EXPECT_EQ((**zero)->batches.size(), 1u);
  EXPECT_FALSE(one->has_value()) << "it waits for another partition";
  rig.advance(seconds(2));
  ASSERT_TRUE(one->has_value());
  EXPECT_EQ((**one)->batches.size(), 0u);
  EXPECT_FALSE(late->has_value());
  ASSERT_TRUE(client.publish(topic, 2, {"b"}).ok());
  ASSERT_TRUE(late->has_value());
  EXPECT_EQ((**late)->batches.size(), 1u);
}

TEST(Read, WaitingEndsWhenTheTopicIsDeleted) {
  CoreRig rig;
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  ReadRequest request;
  request.topic = topic;
  request.wait = seconds(100);
  auto waiting = client.begin<ReadReply>(request);
  ASSERT_TRUE(client.call<DeleteTopicReply>(DeleteTopicRequest{"orders"}).ok());
  ASSERT_TRUE(waiting->has_value());
  EXPECT_EQ(code_of(*(*waiting)), Errc::kUnknownPartition);
}

TEST(Read, BatchesThatLeftMemoryAreReadBackFromTheJournalS16) {
  CoreRig rig({.tail_cache = 1});
  TestClient* client = &rig.connect();
  TopicId topic = rig.create_topic(*client, "orders");
  std::vector<std::string> sent;
  for (int i = 0; i < 60; ++i) {  // over several journal files
    sent.push_back(std::string(10'000, static_cast<char>('a' + i % 26)) + std::to_string(i));
    ASSERT_TRUE(client->publish(topic, 0, {sent.back()}).ok());
  }
  for (int round = 0; round < 2; ++round) {
    for (std::int64_t from = 0; from < 60; from += 7) {
      Reply<ReadReply> read = client->read(topic, 0, from);
      ASSERT_TRUE(read.ok());
      auto records = records_of(read->batches);
      ASSERT_EQ(records.size(), static_cast<std::size_t>(60 - from));
      for (const auto& [offset, value] : records) {
        ASSERT_EQ(value, sent[static_cast<std::size_t>(offset.value)]);
      }
    }
    rig.restart();
    client = &rig.connect();
  }
}

TEST(Read, ADamagedBatchIsAnErrorNeverWrongBytes) {
  CoreRig rig({.tail_cache = 1});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  ASSERT_TRUE(client.publish(topic, 0, {"the first"}).ok());
  ASSERT_TRUE(client.publish(topic, 0, {"needle in it"}).ok());
  auto [path, at] = find_on_disk(*rig.disk, "needle");
  ASSERT_GE(at, 0);
  rig.disk->flip_bit(path, static_cast<std::uint64_t>(at));
  EXPECT_EQ(code_of(client.read(topic, 0, 1)), Errc::kDamaged);
  ReadRequest request;
  request.topic = topic;
  request.max_bytes = 1;
  EXPECT_TRUE(client.call<ReadReply>(request).ok()) << "its neighbour is not affected";
}

TEST(Read, AMessageThatCannotBeReadBackHoldsUpNobodyAndIsNotLost) {
  CoreRig rig({.tail_cache = 1});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  GroupId group = rig.create_group(client, "billing", "orders");
  for (const char* text : {"one", "needle", "three"}) {
    ASSERT_TRUE(client.publish(topic, 0, {text}).ok());
  }
  auto [path, at] = find_on_disk(*rig.disk, "needle");
  rig.disk->flip_bit(path, static_cast<std::uint64_t>(at));
  client.subscribe("billing", 5, 100'000);
  rig.advance(seconds(1));
  std::vector<Delivered> got = client.take();
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].value, "one");
  EXPECT_EQ(got[1].value, "three");
  for (const Delivered& message : got) ASSERT_TRUE(client.ack(message).ok());
  Accounting accounting = rig.accounting(client, "billing");
  EXPECT_EQ(accounting.done, 2u);
  EXPECT_EQ(accounting.delayed, 1u);
  EXPECT_EQ(rig.partition_of(group, 0).delivery.find_tracked({1})->failures, 0u);
  // The device recovers: so does the message, with credit that was not lost on the way.
  rig.disk->flip_bit(path, static_cast<std::uint64_t>(at));
  rig.advance(seconds(61));
  got = client.take();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].value, "needle");
  EXPECT_TRUE(client.ack(got[0]).ok());
}

TEST(Read, WhatAGroupByKeyCannotReadHoldsUpWhatIsBehindAndItSaysSoD9) {
  CoreRig rig({.tail_cache = 1});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  for (const char* text : {"one", "needle", "three"}) {
    ASSERT_TRUE(client.publish(topic, 0, {text}).ok());
  }
  auto [path, at] = find_on_disk(*rig.disk, "needle");
  rig.disk->flip_bit(path, static_cast<std::uint64_t>(at));
  GroupPolicy policy = CoreRig::policy();
  policy.ordering = Ordering::kKey;
  rig.create_group(client, "billing", "orders", policy);
  client.subscribe("billing");
  rig.advance(seconds(1));
  std::vector<Delivered> got = client.take();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_TRUE(client.ack(got[0]).ok());
  auto waiting = [&] {
    auto described = client.call<DescribeGroupReply>(DescribeGroupRequest{"billing"});
    return described->partitions.at(0).waiting;
  };
  EXPECT_EQ(waiting(), Waiting::kDisk);
  rig.disk->flip_bit(path, static_cast<std::uint64_t>(at));
  rig.advance(seconds(61));
  EXPECT_EQ(client.take().size(), 2u);
  EXPECT_NE(waiting(), Waiting::kDisk);
}

}  // namespace
}  // namespace waybill

// Goal: what goes is what the topic's policy says, whole segments of it, and nobody loses count of
// it (S22, D19). Method: the whole core with tiny segments and a clock that moves when told; files
// are counted on the simulated disk, and the power fails at any moment.
#include <algorithm>

#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

constexpr int kMessages = 30;

TopicPolicy keep(Duration retention, Duration drop_after = {}, std::uint64_t drop_above = 0) {
  return {std::chrono::duration_cast<milliseconds>(retention),
          std::chrono::duration_cast<milliseconds>(drop_after), drop_above};
}

/// A topic with that policy whose messages say their offset, and perhaps a group.
struct Kept {
  explicit Kept(const TopicPolicy& policy, std::optional<Ordering> ordering = Ordering::kNone,
                RigOptions options = {.journal_file = 128 * 1024})
      : rig(options), client(&rig.connect()) {
    CreateTopicRequest request{"orders", 1, policy};
    topic = client->call<CreateTopicReply>(request)->topic.id;
    if (!ordering) return;
    GroupPolicy group = CoreRig::policy();
    group.ordering = *ordering;
    group.brake.enabled = false;
    billing = rig.create_group(*client, "billing", "orders", group);
  }
  void publish(int count = kMessages) {
    for (int i = 0; i < count; ++i, ++published) {
      const std::string value = std::to_string(published) + std::string(3000, '.');
      ASSERT_TRUE(client->publish_batch(topic, 0, batch_of({value}, {1000}, "key")).ok());
    }
  }
  void reconnect() { client = &rig.connect(); }
  /// Takes and acknowledges what is delivered, but for those of these offsets: they die.
  void consume(const std::vector<std::int64_t>& dying = {}) {
    for (;;) {
      std::vector<Delivered> all = client->take();
      if (all.empty()) return;
      for (const Delivered& message : all) {
        EXPECT_TRUE(message.value.starts_with(std::to_string(message.offset.value) + ".") ||
                    message.redrive > 0);
        const bool dies = std::ranges::find(dying, message.offset.value) != dying.end();
        const Errc code = code_of(dies ? client->bury(message) : client->ack(message));
        EXPECT_TRUE(code == Errc{} || may_be_late) << static_cast<int>(code);
      }
      client->credit(1000);
    }
  }
  PartitionStatus status() {
    return client->call<DescribeTopicReply>(DescribeTopicRequest{"orders"})->partitions.front();
  }
  Offset start() { return status().start; }
  /// What the group kept, checked against what is counted anew.
  Accounting accounting() {
    Reply<CheckGroupReply> check = client->call<CheckGroupReply>(CheckGroupRequest{"billing"});
    EXPECT_EQ(check->partitions.front().kept, check->partitions.front().counted);
    const Accounting kept = check->partitions.front().kept;
    EXPECT_EQ(kept.sum(), static_cast<std::uint64_t>(kept.end - kept.start));
    return kept;
  }
  std::int64_t segments() const {
    const SimDiskImage image = rig.disk->crash(keep_all());
    return std::ranges::count_if(image.files,
                                 [](const auto& file) { return file.first.ends_with(".wbs"); });
  }

  CoreRig rig;
  TestClient* client;
  TopicId topic;
  GroupId billing;
  std::int64_t published = 0;
  bool may_be_late = false;  ///< leases end before what was delivered is looked at
};

TEST(Retention, WhatIsOldAndDoneGoesWithItsFilesS22) {
  Kept kept(keep(hours(1)));
  kept.publish();
  kept.rig.advance(hours(5));
  EXPECT_EQ(kept.start(), Offset{0}) << "the group is not done with any of it";
  const std::int64_t before = kept.segments();
  EXPECT_GT(before, 3);
  kept.client->subscribe("billing");
  kept.consume();
  kept.rig.advance(minutes(1));
  EXPECT_EQ(kept.start(), Offset{kMessages}) << "all of it is old, and done";
  EXPECT_EQ(kept.status().bytes, 0u);
  EXPECT_EQ(kept.segments(), 0);
  EXPECT_EQ(kept.accounting().done, static_cast<std::uint64_t>(kMessages));
  EXPECT_EQ(kept.accounting().removed, 0u);
  EXPECT_EQ(code_of(kept.client->read(kept.topic, 0, 0)), Errc::kOffsetOutOfRange);
  kept.publish(1);
  EXPECT_EQ(records_of(kept.client->read(kept.topic, 0, kMessages)->batches).size(), 1u);
  kept.rig.restart();
  kept.reconnect();
  EXPECT_EQ(kept.start(), Offset{kMessages});
  EXPECT_EQ(records_of(kept.client->read(kept.topic, 0, kMessages)->batches).size(), 1u);
  EXPECT_TRUE(kept.rig.reports[0].moved_aside.empty());
}

TEST(Retention, WithoutAGroupTimeAloneDecidesAndWhatIsYoungStaysS22) {
  Kept kept(keep(hours(1)), std::nullopt);
  kept.publish(3);
  kept.rig.advance(minutes(40));
  kept.publish(3);
  kept.rig.advance(minutes(15));
  EXPECT_EQ(kept.start(), Offset{0});
  kept.rig.advance(minutes(20));
  EXPECT_EQ(kept.start(), Offset{3}) << "a quiet partition's segments end too";
  kept.rig.advance(hours(1));
  EXPECT_EQ(kept.start(), Offset{6});
}

TEST(Retention, AGroupThatLagsHoldsBackOnlyWhatItNeedsS22) {
  Kept kept(keep(minutes(10)));
  kept.client->subscribe("billing", 10);
  kept.publish();
  std::vector<Delivered> all = kept.client->take();
  ASSERT_EQ(all.size(), 10u);
  for (std::size_t i = 0; i < 9; ++i) ASSERT_TRUE(kept.client->ack(all[i]).ok());
  kept.rig.advance(hours(2));
  EXPECT_GT(kept.start(), Offset{0});
  EXPECT_LE(kept.start(), Offset{9});
  EXPECT_EQ(kept.accounting().removed, 0u);
}

TEST(Retention, BeyondAnExplicitLimitMessagesGoAndAreCountedD19) {
  Kept kept(keep(minutes(10), hours(1)));
  kept.client->subscribe("billing", 10);
  kept.publish();
  std::vector<Delivered> all = kept.client->take();
  ASSERT_EQ(all.size(), 10u);
  ASSERT_TRUE(kept.client->ack(all[4]).ok());
  std::uint64_t alarmed = 0;
  kept.rig.shards[0]->on_removed(
      [&](const Partition&, std::uint64_t messages) { alarmed += messages; });
  kept.rig.advance(hours(2));
  EXPECT_EQ(kept.start(), Offset{kMessages});
  for (int generation = 0; generation < 2; ++generation) {
    const Accounting accounting = kept.accounting();
    EXPECT_EQ(accounting.removed, static_cast<std::uint64_t>(kMessages - 1));
    EXPECT_EQ(accounting.done, 1u);
    EXPECT_EQ(accounting.leased + accounting.delayed, 0u);
    EXPECT_EQ(accounting.ready, static_cast<std::uint64_t>(generation));
    EXPECT_EQ(code_of(kept.client->ack(all[3])), Errc::kLeaseLost) << "not: it was settled";
    if (generation == 1) break;
    kept.client->credit(1);
    EXPECT_EQ(alarmed, static_cast<std::uint64_t>(kMessages - 1));
    EXPECT_EQ(kept.rig.shards[0]->metrics().removed_messages, alarmed);
    kept.publish(1);
    kept.client->take();
    kept.rig.restart();
    kept.reconnect();
    kept.client->subscribe("billing", 0);
    kept.rig.advance(minutes(1));
  }
}

TEST(Retention, APartitionThatIsTooLargeLosesItsOldestS22) {
  Kept kept(keep(hours(24), {}, 40'000));
  for (int i = 0; i < 10; ++i) {
    kept.publish(10);
    kept.rig.advance(seconds(30));
  }
  EXPECT_GT(kept.start(), Offset{70});
  EXPECT_LT(kept.start(), Offset{95});
  EXPECT_LE(kept.status().bytes, 60'000u);
  EXPECT_EQ(kept.accounting().removed, static_cast<std::uint64_t>(kept.start().value));
  kept.client->subscribe("billing");
  kept.consume();
  EXPECT_EQ(kept.accounting().done, static_cast<std::uint64_t>(Offset{100} - kept.start()));
}

class RetentionOrdering : public testing::TestWithParam<Ordering> {};

TEST_P(RetentionOrdering, ADeadLetterOutlivesItsMessageAndGoesBackD14) {
  Kept kept(keep(minutes(10)), GetParam());
  kept.may_be_late = GetParam() == Ordering::kPartition;  // a death takes back what is behind it
  kept.client->subscribe("billing");
  kept.publish();
  kept.consume({3, 4, 17});
  kept.rig.advance(hours(2));
  ASSERT_EQ(kept.start(), Offset{kMessages});
  EXPECT_EQ(kept.accounting().dead, 3u);
  RedriveRequest request;
  request.selection = selection();
  EXPECT_EQ(kept.client->call<RedriveReply>(request)->redriven, 3u);
  std::vector<Delivered> again = kept.client->take();
  ASSERT_FALSE(again.empty());
  EXPECT_EQ(again.front().offset, Offset{3});
  EXPECT_TRUE(again.front().value.starts_with("3."));
  // It fails, the power fails, and it is delivered once more: from the dead letters alone.
  EXPECT_TRUE(kept.client->retry(again.front()).ok());
  kept.rig.restart();
  kept.reconnect();
  kept.client->subscribe("billing");
  kept.rig.advance(seconds(15));
  kept.consume();
  kept.rig.advance(seconds(15));
  kept.consume();
  const Accounting accounting = kept.accounting();
  EXPECT_EQ(accounting.dead, 0u);
  EXPECT_EQ(accounting.done, static_cast<std::uint64_t>(kMessages));
}

TEST_P(RetentionOrdering, WhatIsRedrivenStaysWhenTheLogIsCutD14) {
  Kept kept(keep(minutes(10), hours(1)), GetParam());
  kept.client->subscribe("billing", 5);
  kept.publish(10);
  std::vector<Delivered> all = kept.client->take();
  ASSERT_TRUE(kept.client->bury(all.front()).ok());
  RedriveRequest request;
  request.selection = selection();
  EXPECT_EQ(kept.client->call<RedriveReply>(request)->redriven, 1u);
  kept.rig.advance(hours(3));
  EXPECT_EQ(kept.start(), Offset{10});
  EXPECT_EQ(kept.accounting().removed, 9u);
  kept.rig.restart();
  kept.reconnect();
  kept.client->subscribe("billing");
  kept.rig.advance(seconds(15));
  kept.consume();
  const Accounting accounting = kept.accounting();
  EXPECT_EQ(accounting.done, 1u);
  EXPECT_EQ(accounting.removed, 9u);
}

INSTANTIATE_TEST_SUITE_P(All, RetentionOrdering,
                         testing::Values(Ordering::kNone, Ordering::kKey, Ordering::kPartition));

TEST(Retention, ThePolicyOfALiveTopicChangesS22) {
  Kept kept(keep(hours(100)), std::nullopt);
  kept.publish(3);
  kept.rig.advance(hours(50));
  EXPECT_EQ(kept.start(), Offset{0});
  Reply<AlterTopicReply> altered =
      kept.client->call<AlterTopicReply>(AlterTopicRequest{"orders", keep(hours(1))});
  ASSERT_TRUE(altered.ok());
  kept.rig.restart();
  kept.reconnect();
  EXPECT_EQ(
      kept.client->call<DescribeTopicReply>(DescribeTopicRequest{"orders"})->topic.policy.retention,
      hours(1));
  kept.rig.advance(hours(2));
  EXPECT_EQ(kept.start(), Offset{3});
  auto alter = [&](const std::string& name, const TopicPolicy& policy) {
    return code_of(kept.client->call<AlterTopicReply>(AlterTopicRequest{name, policy}));
  };
  EXPECT_EQ(alter("order", keep(hours(1))), Errc::kUnknownTopic);
  EXPECT_EQ(alter("orders", keep(hours(2), hours(1))), Errc::kInvalidRequest);
  EXPECT_EQ(alter("orders", keep(-hours(2))), Errc::kInvalidRequest);
  auto create = [&](std::optional<TopicPolicy> policy) {
    return code_of(kept.client->call<CreateTopicReply>(CreateTopicRequest{"orders", 1, policy}));
  };
  EXPECT_EQ(create({}), Errc{}) << "not stated: as it is";
  EXPECT_EQ(create(keep(hours(1))), Errc{});
  EXPECT_EQ(create(keep(hours(2))), Errc::kTopicExists);
}

class RetentionClock : public testing::TestWithParam<hours> {};

TEST_P(RetentionClock, ThatJumpsBackLetsMessagesStayLongerByAsMuchAndNoneGoEarlierS22) {
  const hours jump = GetParam();
  Kept kept(keep(hours(1), hours(2)));
  kept.client->subscribe("billing");
  kept.publish(3);
  kept.consume();
  kept.rig.advance(minutes(20));
  kept.rig.clock.jump_wall(-jump);
  kept.publish(3);
  kept.consume();
  kept.rig.advance(jump + minutes(35));
  EXPECT_EQ(kept.start(), Offset{0}) << "the first are not an hour old by the clock as it is";
  EXPECT_EQ(kept.accounting().done, 6u);
  kept.rig.advance(minutes(20));
  EXPECT_EQ(kept.start(), Offset{6}) << "what was stored after the jump waited behind them";
  // From then on as ever.
  kept.publish(3);
  kept.consume();
  kept.rig.advance(minutes(55));
  EXPECT_EQ(kept.start(), Offset{6});
  kept.rig.advance(minutes(20));
  EXPECT_EQ(kept.start(), Offset{9});
  EXPECT_EQ(kept.accounting().removed, 0u);
}

TEST_P(RetentionClock, ThatJumpedBackBeforeARestartRemovesNothingEarlyS22) {
  const hours jump = GetParam();
  Kept kept(keep(hours(1)), std::nullopt);
  kept.publish();
  kept.rig.advance(minutes(20));
  kept.rig.clock.jump_wall(-jump);
  kept.publish(3);
  kept.rig.restart();
  kept.reconnect();
  kept.rig.advance(minutes(35));
  EXPECT_EQ(kept.start(), Offset{0});
  EXPECT_EQ(records_of(kept.client->read(kept.topic, 0, 0)->batches).front().first, Offset{0});
  kept.rig.advance(jump + hours(1));
  EXPECT_EQ(kept.start(), Offset{kMessages + 3});
}

TEST_P(RetentionClock, ThatJumpsAheadMakesMessagesOldAndWhatIsStoredMeanwhileStaysLongerS22) {
  const hours jump = GetParam();
  Kept kept(keep(hours(1)));
  kept.client->subscribe("billing", 3);
  kept.publish(6);
  for (const Delivered& message : kept.client->take()) {
    ASSERT_TRUE(kept.client->ack(message).ok());
  }
  kept.rig.advance(minutes(20));
  ASSERT_EQ(kept.start(), Offset{0});
  kept.rig.clock.jump_wall(jump + hours(1));
  kept.rig.advance(minutes(1));
  EXPECT_LE(kept.start(), Offset{3}) << "the group is not done with the others";
  kept.publish(3);
  kept.rig.advance(minutes(20));
  kept.rig.clock.jump_wall(-(jump + hours(1)));
  EXPECT_EQ(records_of(kept.client->read(kept.topic, 0, 3)->batches).size(), 6u);
  kept.client->credit(1000);
  kept.consume();
  kept.rig.advance(hours(1));
  EXPECT_EQ(kept.start(), Offset{6}) << "stored by the time before the jump, an hour ago";
  kept.rig.advance(jump - minutes(30));
  EXPECT_EQ(kept.start(), Offset{6});
  kept.rig.advance(hours(2));
  EXPECT_EQ(kept.start(), Offset{9});
  EXPECT_EQ(kept.accounting().removed, 0u);
}

INSTANTIATE_TEST_SUITE_P(All, RetentionClock, testing::Values(hours(1), hours(24)));

TEST(Retention, WhateverThePowerDoesNothingComesBackAndNothingElseGoesS22) {
  std::int64_t removed = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    const Ordering ordering = Ordering{static_cast<std::uint8_t>(1 + seed % 3)};
    Kept kept(keep(minutes(10), seed % 2 == 0 ? Duration(hours(1)) : Duration{}), ordering,
              {.journal_file = 128 * 1024, .tail_cache = seed % 4 == 0 ? 1u : 1024 * 1024});
    kept.may_be_late = true;
    for (int round = 0; round < 12; ++round) {
      kept.client->subscribe("billing", 20);
      for (int step = 0; step < 8; ++step) {
        kept.publish(static_cast<int>(random.below(6)));
        if (random.below(3) > 0)
          kept.consume(random.below(3) == 0 ? std::vector{kept.published - 1}
                                            : std::vector<std::int64_t>{});
        kept.rig.advance(seconds(random.below(900)));
      }
      const Offset before = kept.start();
      if (random.below(2) == 0) kept.rig.advance(minutes(30));
      kept.rig.restart(random.below(2) == 0 ? keep_all() : keep_none());
      kept.reconnect();
      const PartitionStatus status = kept.status();
      ASSERT_GE(status.start, before);
      ASSERT_EQ(status.end, Offset{kept.published});
      const Accounting accounting = kept.accounting();
      ASSERT_TRUE(seed % 2 == 0 || accounting.removed == 0);
      removed += static_cast<std::int64_t>(accounting.removed);
      for (Offset next = status.start; next < status.end;) {
        Reply<ReadReply> read = kept.client->read(kept.topic, 0, next.value);
        ASSERT_TRUE(read.ok()) << to_string(read.error());
        for (const auto& [offset, value] : records_of(read->batches)) {
          ASSERT_EQ(offset, next);
          ASSERT_TRUE(value.starts_with(std::to_string(offset.value) + "."));
          next = next + 1;
        }
      }
    }
    EXPECT_GT(kept.start(), Offset{0});
  }
  EXPECT_GT(removed, 0);
}

}  // namespace
}  // namespace waybill

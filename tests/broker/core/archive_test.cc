// Goal: a group that is deleted with open dead letters can leave them behind as an archive (D15):
// they stay as they are, and nothing else of the group or its topic does. Method: CoreRig; every
// decision is checked again after a power cut.
#include <algorithm>

#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

Reply<DeleteGroupReply> remove_group(Scene& s, bool keep, bool discard = false) {
  return s.client->call<DeleteGroupReply>(DeleteGroupRequest{"billing", discard, keep});
}
Reply<DeleteTopicReply> remove_topic(Scene& s) {
  return s.client->call<DeleteTopicReply>(DeleteTopicRequest{"orders"});
}
std::vector<DeadLetterSummary> letters(Scene& s) {
  ListDeadLettersRequest request;
  request.selection = selection();
  Reply<ListDeadLettersReply> reply = s.client->call<ListDeadLettersReply>(request);
  EXPECT_TRUE(reply.ok());
  return reply ? reply->dead_letters : std::vector<DeadLetterSummary>();
}
std::string payload(Scene& s, DeadLetterId id) {
  Reply<ShowDeadLetterReply> reply =
      s.client->call<ShowDeadLetterReply>(ShowDeadLetterRequest{"billing", id});
  EXPECT_TRUE(reply.ok());
  return reply ? std::string(as_text(*reply->versions.back().message.value)) : "";
}
Reply<RedriveReply> redrive(Scene& s) {
  return s.client->call<RedriveReply>(RedriveRequest{selection(), false, "ann"});
}

/// Three messages in two partitions: one dead, one leased, one acknowledged. Nobody is connected
/// but a new client.
void let_one_die(Scene& s) {
  s.publish(0, {"bad", "done"});
  s.publish(1, {"leased"});
  s.client->subscribe("billing");
  for (const Delivered& message : s.client->take()) {
    if (message.value == "bad") {
      ASSERT_TRUE(s.client->bury(message).ok());
    } else if (message.value == "done") {
      ASSERT_TRUE(s.client->ack(message).ok());
    }
  }
  s.rig.lose(*s.client);
  s.reconnect(2);
}

void cut(Scene& s) {
  s.rig.restart();
  s.reconnect(2);
}

TEST(Archive, OpenDeadLettersOfADeletedGroupAreKeptAndNothingElseIsD15) {
  Scene s({.shards = 2}, 2);
  let_one_die(s);
  EXPECT_EQ(code_of(remove_group(s, false)), Errc::kOpenDeadLetters);
  EXPECT_EQ(code_of(remove_group(s, true, true)), Errc::kInvalidRequest);
  ASSERT_TRUE(remove_group(s, true).ok());
  for (int round = 0; round < 2; ++round) {
    std::vector<DeadLetterSummary> kept = letters(s);
    ASSERT_EQ(kept.size(), 1u);
    EXPECT_EQ(payload(s, kept[0].id), "bad");
    EXPECT_EQ(s.accounting().dead, 1u);
    EXPECT_EQ(s.accounting().leased, 0u);
    EXPECT_EQ(s.accounting().ready, 0u);
    EXPECT_EQ(code_of(s.client->call<SubscribeReply>(SubscribeRequest{1, "billing"})),
              Errc::kUnknownGroup);
    EXPECT_EQ(code_of(redrive(s)), Errc::kUnknownGroup);
    EXPECT_EQ(code_of(s.client->call<PauseGroupReply>(PauseGroupRequest{"billing", true})),
              Errc::kUnknownGroup);
    EXPECT_EQ(
        code_of(s.client->call<AlterGroupReply>(AlterGroupRequest{"billing", CoreRig::policy()})),
        Errc::kUnknownGroup);
    EXPECT_EQ(code_of(s.client->call<CreateGroupReply>(CreateGroupRequest{
                  "billing", "orders", CoreRig::policy(), {StartKind::kEarliest, {}, {}}})),
              Errc::kOpenDeadLetters)
        << "its name is part of the dead letters' ids";
    ASSERT_TRUE(remove_group(s, true).ok()) << "asked for again, it is as it should be";
    s.publish(0, {"later"});
    EXPECT_EQ(s.accounting().ready, 0u) << "what comes now is not the archive's";
    cut(s);
  }
  EXPECT_EQ(code_of(remove_group(s, false)), Errc::kOpenDeadLetters);
  ASSERT_TRUE(remove_group(s, false, true).ok());
  s.group = s.rig.create_group(*s.client, "billing", "orders");
  EXPECT_TRUE(letters(s).empty());
}

TEST(Archive, ItHoldsNothingOfItsTopicBackS22) {
  Scene s({}, 2);
  let_one_die(s);
  Shard& shard = *s.rig.shards.front();
  Stream& log = s.rig.partition_of(s.group, 1).log;
  ASSERT_LT(shard.delivery().needed(log), log.end());
  ASSERT_TRUE(remove_group(s, true).ok());
  EXPECT_EQ(shard.delivery().needed(log), log.end());
  cut(s);
  Stream& same = s.rig.partition_of(s.group, 1).log;
  EXPECT_EQ(s.rig.shards.front()->delivery().needed(same), same.end());
}

TEST(Archive, ItOutlivesItsTopicWhichGoesWithTheLastOfThemD15) {
  Scene s({.shards = 2}, 2);
  let_one_die(s);
  EXPECT_EQ(code_of(remove_topic(s)), Errc::kTopicInUse);
  ASSERT_TRUE(remove_group(s, true).ok());
  ASSERT_TRUE(remove_topic(s).ok());
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(code_of(s.client->publish(s.topic, 0, {"x"})), Errc::kUnknownPartition);
    EXPECT_EQ(code_of(s.client->read(s.topic, 0, 0)), Errc::kUnknownPartition);
    EXPECT_EQ(code_of(remove_topic(s)), Errc::kUnknownTopic);
    Reply<MetadataReply> metadata = s.client->call<MetadataReply>(MetadataRequest{});
    ASSERT_TRUE(metadata.ok());
    EXPECT_TRUE(metadata->catalog.topics.empty());
    ASSERT_EQ(metadata->catalog.groups.size(), 1u);
    EXPECT_TRUE(metadata->catalog.groups[0].archived);
    ASSERT_EQ(letters(s).size(), 1u);
    EXPECT_EQ(payload(s, letters(s)[0].id), "bad");
    EXPECT_EQ(s.accounting().dead, 1u);
    cut(s);
  }
  const TopicId again = s.rig.create_topic(*s.client, "orders");
  EXPECT_NE(again, s.topic) << "the name is free";
  ASSERT_TRUE(s.client->publish(again, 0, {"new"}).ok());
  ASSERT_TRUE(remove_group(s, false, true).ok());
  cut(s);
  EXPECT_EQ(s.rig.shards.front()->catalog_owner().catalog().topic(s.topic), nullptr);
  std::size_t partitions = 0;
  for (const auto& shard : s.rig.shards) partitions += shard->partitions().count();
  EXPECT_EQ(partitions, 1u);
  EXPECT_EQ(s.client->read(again, 0, 0)->end, Offset{1});
}

TEST(Archive, WhatWasOnItsWayBackIsADeadLetterAgainD15) {
  Scene s;
  s.publish(0, {"bad"});
  s.client->subscribe("billing");
  ASSERT_TRUE(s.client->bury(s.client->take().at(0)).ok());
  ASSERT_EQ(redrive(s)->redriven, 1u);
  ASSERT_EQ(s.client->take().size(), 1u) << "it is out again";
  s.rig.lose(*s.client);
  s.reconnect(2);
  EXPECT_EQ(code_of(remove_group(s, false)), Errc::kOpenDeadLetters) << "it is not resolved";
  ASSERT_TRUE(remove_group(s, true).ok());
  for (int round = 0; round < 2; ++round) {
    ASSERT_EQ(letters(s).size(), 1u);
    EXPECT_EQ(letters(s)[0].state, DeadLetterState::kDead);
    EXPECT_EQ(s.accounting().dead, 1u);
    cut(s);
  }
}

TEST(Archive, WithoutOpenDeadLettersNothingIsLeft) {
  Scene s;
  s.publish(0, {"one"});
  ASSERT_TRUE(remove_group(s, true).ok());
  EXPECT_EQ(s.rig.shards.front()->delivery().find(s.group), nullptr);
  ASSERT_TRUE(remove_topic(s).ok());
  EXPECT_EQ(s.rig.shards.front()->catalog_owner().catalog().topic(s.topic), nullptr);
}

TEST(Archive, ACutAtAnyMomentLeavesItEverywhereOrNowhereS13) {
  bool archived = false;
  for (std::uint64_t cut_after = 0; !archived; ++cut_after) {
    ASSERT_LT(cut_after, 100u);
    Scene s({.shards = 3}, 3);
    let_one_die(s);
    s.rig.disk->crash_after(cut_after);
    auto removed = s.client->begin<DeleteGroupReply>(DeleteGroupRequest{"billing", false, true});
    s.rig.run();
    archived = removed->has_value() && (**removed).ok();
    cut(s);
    ASSERT_EQ(letters(s).size(), 1u);
    EXPECT_EQ(payload(s, letters(s)[0].id), "bad");
    std::size_t apart = 0;
    for (std::uint32_t p = 0; p < 3; ++p) {
      const GroupPartition& partition = s.rig.partition_of(s.group, p);
      if (partition.delivery.floor() == partition.log.end()) ++apart;
    }
    const bool is_archive =
        s.rig.shards.front()->catalog_owner().catalog().group(s.group)->archived;
    EXPECT_TRUE(is_archive || !archived) << "it was confirmed";
    EXPECT_EQ(apart, is_archive ? 3u : 2u) << "partition 1 has a message that was only leased";
  }
}

}  // namespace
}  // namespace waybill

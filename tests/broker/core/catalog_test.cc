// Goal: topics and groups are created, changed and deleted everywhere or nowhere, under ids that
// never come back. Method: CoreRig with several shards; power cuts between the catalog's entry and
// the shards' own.
#include <functional>
#include <set>

#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

CreateGroupRequest group_request(const std::string& name, const GroupPolicy& policy,
                                 const std::string& topic = "orders") {
  return {name, topic, policy, {StartKind::kEarliest, {}, {}}};
}

TEST(Catalog, ATopicIsCreatedOnceAndFoundByEveryGatewayS13) {
  CoreRig rig({.shards = 3});
  TestClient& client = rig.connect(1, 1);
  Reply<CreateTopicReply> first = client.call<CreateTopicReply>(CreateTopicRequest{"orders", 5});
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(first->created);
  std::set<ShardIndex> used;
  for (const PartitionPlace& place : first->topic.partitions) {
    EXPECT_EQ(place.stream.value >> 48, place.shard.value) << "a stream's id names its shard";
    used.insert(place.shard);
  }
  EXPECT_EQ(used.size(), 3u);
  Reply<CreateTopicReply> again = client.call<CreateTopicReply>(CreateTopicRequest{"orders", 5});
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->topic, first->topic);
  EXPECT_EQ(code_of(client.call<CreateTopicReply>(CreateTopicRequest{"orders", 4})),
            Errc::kTopicExists);
  EXPECT_EQ(code_of(client.call<CreateTopicReply>(CreateTopicRequest{"a/b", 1})),
            Errc::kInvalidName);
  EXPECT_EQ(code_of(client.call<CreateTopicReply>(CreateTopicRequest{"none", 0})),
            Errc::kInvalidRequest);
  for (std::uint16_t home = 0; home < 3; ++home) {
    Reply<MetadataReply> metadata = rig.connect(1, home).call<MetadataReply>(MetadataRequest{});
    ASSERT_TRUE(metadata.ok());
    EXPECT_EQ(metadata->catalog.topics.size(), 1u);
  }
}

TEST(Catalog, AnUnknownNameIsAnErrorWithASuggestionD1) {
  CoreRig rig;
  TestClient& client = rig.connect();
  rig.create_topic(client, "orders");
  rig.create_group(client, "billing", "orders");
  Reply<SubscribeReply> reply = client.call<SubscribeReply>(SubscribeRequest{1, "biling"});
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(code_of(reply), Errc::kUnknownGroup);
  EXPECT_NE(reply.error().explanation.find("did you mean \"billing\"?"), std::string::npos);
  Reply<CreateGroupReply> group =
      client.call<CreateGroupReply>(group_request("other", CoreRig::policy(), "order"));
  EXPECT_EQ(code_of(group), Errc::kUnknownTopic);
  EXPECT_NE(group.error().explanation.find("did you mean \"orders\"?"), std::string::npos);
}

TEST(Catalog, AGroupStatesItsOrderingAndStartAndRefusesAnotherPolicyD1) {
  CoreRig rig;
  TestClient& client = rig.connect();
  rig.create_topic(client, "orders");
  rig.create_topic(client, "parcels");
  auto create = [&](const CreateGroupRequest& request) {
    return client.call<CreateGroupReply>(request);
  };
  GroupPolicy unset = CoreRig::policy();
  unset.ordering = Ordering::kUnset;
  EXPECT_EQ(code_of(create(group_request("billing", unset))), Errc::kInvalidPolicy);
  CreateGroupRequest no_start = group_request("billing", CoreRig::policy());
  no_start.start = {};
  EXPECT_EQ(code_of(create(no_start)), Errc::kInvalidPolicy);
  for (Ordering ordering : {Ordering::kKey, Ordering::kPartition}) {
    GroupPolicy ordered = CoreRig::policy();
    ordered.ordering = ordering;
    ordered.on_dead_letter = OnDeadLetter::kHold;
    EXPECT_TRUE(create(group_request(std::string(name(ordering)), ordered))->created);
  }
  GroupPolicy hold = CoreRig::policy();
  hold.on_dead_letter = OnDeadLetter::kHold;
  EXPECT_EQ(code_of(create(group_request("billing", hold))), Errc::kInvalidPolicy);

  EXPECT_TRUE(create(group_request("billing", CoreRig::policy()))->created);
  EXPECT_FALSE(create(group_request("billing", CoreRig::policy()))->created);
  GroupPolicy other = CoreRig::policy();
  other.max_failures = 5;
  EXPECT_EQ(code_of(create(group_request("billing", other))), Errc::kPolicyMismatch);
  EXPECT_EQ(code_of(create(group_request("billing", CoreRig::policy(), "parcels"))),
            Errc::kPolicyMismatch);
  ASSERT_TRUE(client.call<AlterGroupReply>(AlterGroupRequest{"billing", other}).ok());
  rig.restart();
  TestClient& again = rig.connect();
  Reply<DescribeGroupReply> described =
      again.call<DescribeGroupReply>(DescribeGroupRequest{"billing"});
  EXPECT_EQ(described->group.policy, other);
  EXPECT_EQ(described->topic, "orders");
}

TEST(Catalog, AGroupBeginsWhereItsStartSaysD1) {
  CoreRig rig({.shards = 2});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders", 2);
  for (std::int64_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(client.publish_batch(topic, 0, batch_of({"m"}, {1000 * i})).ok());
  }
  rig.create_group(client, "latest", "orders", CoreRig::policy(), {StartKind::kLatest, {}, {}});
  rig.create_group(client, "offset", "orders", CoreRig::policy(), {StartKind::kOffset, {3}, {}});
  rig.create_group(client, "time", "orders", CoreRig::policy(), {StartKind::kTime, {}, {1500}});
  rig.create_group(client, "earliest", "orders");
  ASSERT_TRUE(client.publish(topic, 0, {"new"}).ok());
  rig.restart();
  TestClient& again = rig.connect();
  for (auto [name, ready] : std::vector<std::pair<std::string, std::uint64_t>>{
           {"latest", 1}, {"offset", 2}, {"time", 3}, {"earliest", 5}}) {
    EXPECT_EQ(rig.accounting(again, name).ready, ready) << name;
  }
}

TEST(Catalog, NeitherTopicNorGroupInUseIsDeletedD15) {
  CoreRig rig({.shards = 2});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders", 2);
  GroupId group = rig.create_group(client, "billing", "orders");
  EXPECT_EQ(code_of(client.call<DeleteTopicReply>(DeleteTopicRequest{"orders"})),
            Errc::kTopicInUse);
  client.subscribe("billing");
  EXPECT_EQ(code_of(client.call<DeleteGroupReply>(DeleteGroupRequest{"billing", true})),
            Errc::kGroupInUse);
  ASSERT_TRUE(client.publish(topic, 1, {"bad"}).ok());
  ASSERT_TRUE(client.bury(client.take().at(0)).ok());
  ASSERT_TRUE(client.call<UnsubscribeReply>(UnsubscribeRequest{1}).ok());
  EXPECT_EQ(code_of(client.call<DeleteGroupReply>(DeleteGroupRequest{"billing", false})),
            Errc::kOpenDeadLetters);
  EXPECT_TRUE(client.call<DeleteGroupReply>(DeleteGroupRequest{"billing", true}).ok());
  EXPECT_EQ(code_of(client.call<DeleteGroupReply>(DeleteGroupRequest{"billing", true})),
            Errc::kUnknownGroup);
  GroupId next = rig.create_group(client, "billing", "orders");
  EXPECT_NE(next, group) << "an id is never used again";
  EXPECT_EQ(rig.accounting(client, "billing").ready, 1u) << "nothing of the old group is left";
  ASSERT_TRUE(client.call<DeleteGroupReply>(DeleteGroupRequest{"billing", false}).ok());
  ASSERT_TRUE(client.call<DeleteTopicReply>(DeleteTopicRequest{"orders"}).ok());
  rig.restart();
  TestClient& again = rig.connect();
  EXPECT_EQ(code_of(again.publish(topic, 0, {"x"})), Errc::kUnknownTopic);
  TopicId new_topic = rig.create_topic(again, "orders", 2);
  EXPECT_GT(new_topic, topic);
  EXPECT_EQ(again.read(new_topic, 0, 0)->end, Offset{0});
}

/// The power fails at every moment of a change; afterwards it is everywhere or nowhere.
void cut_everywhere(const std::function<void(CoreRig&, TestClient&)>& prepare,
                    const std::function<void(TestClient&)>& change,
                    const std::function<void(CoreRig&, TestClient&)>& check) {
  for (std::uint64_t operations = 0;; ++operations) {
    CoreRig rig({.shards = 3});
    TestClient& client = rig.connect();
    prepare(rig, client);
    rig.disk->crash_after(operations);
    change(client);
    rig.run();
    bool cut = rig.disk->crashed();
    rig.restart(keep_random(operations));
    ASSERT_TRUE(rig.ready);
    TestClient& again = rig.connect();
    check(rig, again);
    if (!cut) return;
  }
}

TEST(Catalog, ACutWhileAGroupIsCreatedLeavesItEverywhereOrNowhereS13) {
  int found = 0;
  int missing = 0;
  cut_everywhere([](CoreRig& rig, TestClient& client) { rig.create_topic(client, "orders", 3); },
                 [](TestClient& client) {
                   client.begin<CreateGroupReply>(group_request("billing", CoreRig::policy()));
                 },
                 [&](CoreRig& rig, TestClient& client) {
                   Reply<MetadataReply> metadata = client.call<MetadataReply>(MetadataRequest{});
                   bool there = metadata->catalog.group("billing") != nullptr;
                   ++(there ? found : missing);
                   std::size_t places = 0;
                   for (auto& shard : rig.shards) {
                     for (std::uint64_t id = 1; id < 10; ++id) {
                       ConsumerGroup* group = shard->delivery().find(GroupId{id});
                       if (group != nullptr) places += group->partitions.size();
                     }
                   }
                   EXPECT_EQ(places, there ? 3u : 0u);
                   rig.create_group(client, "billing", "orders");
                 });
  EXPECT_GT(found, 1);
  EXPECT_GT(missing, 0);
}

TEST(Catalog, ACutWhileAGroupIsDeletedLeavesItEverywhereOrNowhereS13) {
  int found = 0;
  int missing = 0;
  cut_everywhere(
      [](CoreRig& rig, TestClient& client) {
        rig.create_topic(client, "orders", 3);
        rig.create_group(client, "billing", "orders");
      },
      [](TestClient& client) {
        client.begin<DeleteGroupReply>(DeleteGroupRequest{"billing", false});
      },
      [&](CoreRig& rig, TestClient& client) {
        Reply<MetadataReply> metadata = client.call<MetadataReply>(MetadataRequest{});
        bool there = metadata->catalog.group("billing") != nullptr;
        ++(there ? found : missing);
        std::size_t places = 0;
        for (auto& shard : rig.shards) {
          for (std::uint64_t id = 1; id < 20; ++id) {
            ConsumerGroup* group = shard->delivery().find(GroupId{id});
            if (group != nullptr) places += group->partitions.size();
          }
        }
        EXPECT_EQ(places, there ? 3u : 0u);
      });
  EXPECT_GT(found, 0);
  EXPECT_GT(missing, 1);
}

TEST(Catalog, AChangeIsConfirmedOnlyWhenEveryShardAdoptedItS13) {
  CoreRig rig({.shards = 3, .disk = {.order = SimOrder::kByHand}});
  TestClient& client = rig.connect();
  auto created = client.begin<CreateTopicReply>(CreateTopicRequest{"orders", 3});
  auto again = client.begin<CreateTopicReply>(CreateTopicRequest{"orders", 3});
  auto metadata = client.begin<MetadataReply>(MetadataRequest{});
  // Everything is written but what shard 2 has to say.
  for (int i = 0; i < 20; ++i) {
    rig.run_without_disk();
    rig.disk->submit();
    for (const SimOperation& operation : rig.disk->in_flight()) {
      if (!operation.path.starts_with("shard-2/")) rig.disk->complete(operation.id);
    }
    rig.disk->reap();
  }
  EXPECT_FALSE(created->has_value());
  EXPECT_FALSE(again->has_value()) << "it is not there yet, whoever asks";
  ASSERT_TRUE(metadata->has_value());
  EXPECT_TRUE((**metadata)->catalog.topics.empty());
  rig.disk->set_order(SimOrder::kFifo);
  rig.run();
  EXPECT_TRUE(created->has_value());
  EXPECT_TRUE(again->has_value());
}

TEST(Catalog, AChangeDoesNotShowAnotherThatIsOnlyStagedS13) {
  CoreRig rig({.shards = 2, .disk = {.order = SimOrder::kByHand}});
  TestClient& client = rig.connect();
  auto first = client.begin<CreateTopicReply>(CreateTopicRequest{"first", 2});
  std::shared_ptr<std::optional<Reply<CreateTopicReply>>> second;
  for (int i = 0; i < 20; ++i) {
    rig.run_without_disk();
    for (auto& shard : rig.shards) {
      if (shard->catalog()->topic("second") == nullptr) continue;
      // It is shown: then nothing of it may still be on its way, on any shard.
      for (auto& other : rig.shards) {
        EXPECT_EQ(other->metrics().entries_staged, other->metrics().entries_durable);
      }
    }
    rig.disk->submit();
    for (const SimOperation& operation : rig.disk->in_flight()) rig.disk->complete(operation.id);
    rig.disk->reap();
    if (i == 0) second = client.begin<CreateTopicReply>(CreateTopicRequest{"second", 2});
  }
  EXPECT_TRUE(first->has_value());
  EXPECT_TRUE(second->has_value());
  rig.disk->set_order(SimOrder::kFifo);
  rig.run();
}

TEST(Catalog, AFullQueueRefusesTheRequestAndNeverHalfAChange) {
  CoreRig rig({.shards = 2});
  TestClient& client = rig.connect();
  auto created = client.begin<CreateTopicReply>(CreateTopicRequest{"orders", 2});
  rig.mailbox->refuse_requests = true;  // between admission and the fan-out
  EXPECT_EQ(code_of(client.call<DescribeTopicReply>(DescribeTopicRequest{"orders"})),
            Errc::kUnknownTopic);
  ASSERT_TRUE(created->has_value());
  EXPECT_TRUE((*created)->ok());
  EXPECT_EQ(code_of(client.publish((**created)->topic.id, 0, {"a"})), Errc::kOverloaded);
  rig.mailbox->refuse_requests = false;
  EXPECT_TRUE(client.publish((**created)->topic.id, 0, {"a"}).ok());
}

}  // namespace
}  // namespace waybill

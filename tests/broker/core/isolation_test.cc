// Goal: a message that kills its clients is found and becomes a dead letter, no other is charged,
// and the rest goes on (D10).
// Method: CoreRig; clients vanish while they hold messages, and come back under other instances.
#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

SharedBytes keyed(const std::vector<std::pair<std::string, std::string>>& records) {
  BatchBuilder builder;
  for (const auto& [key, value] : records) {
    EXPECT_TRUE(builder.add({as_bytes(key), as_bytes(value), {}, {1000}}).ok());
  }
  return SharedBytes(builder.build());
}

GroupPolicy ordered(Ordering ordering) {
  GroupPolicy policy = CoreRig::policy();
  policy.ordering = ordering;
  return policy;
}

/// A new instance takes what the group has, and vanishes with it.
std::size_t crash_one(Scene& s, std::uint64_t instance) {
  TestClient& victim = s.rig.connect(instance);
  victim.subscribe("billing");
  std::size_t held = victim.take().size();
  s.rig.lose(victim);
  s.rig.advance(seconds(10));
  return held;
}

TEST(Isolation, CrashesInCompanyChargeNobodyAndThenSuspectsComeOneByOneD10) {
  Scene s;
  s.publish(0, {"a", "b", "c"});
  EXPECT_EQ(crash_one(s, 11), 3u);
  EXPECT_EQ(crash_one(s, 12), 3u) << "one crash makes no suspects";
  EXPECT_EQ(s.tracked(1)->crashes, 2u);
  s.publish(0, {"new"});
  TestClient& survivor = s.rig.connect(13);
  survivor.subscribe("billing");
  std::set<std::string> seen;
  for (int i = 0; i < 4; ++i) {
    std::vector<Delivered> got = survivor.take();
    ASSERT_EQ(got.size(), 1u) << i;
    EXPECT_EQ(got[0].failures, 0u);
    seen.insert(got[0].value);
    EXPECT_TRUE(survivor.ack(got[0]).ok());
  }
  EXPECT_EQ(seen, (std::set<std::string>{"a", "b", "c", "new"}));
  EXPECT_EQ(s.accounting().done, 4u);
}

TEST(Isolation, WhoeverKillsAloneIsChargedAndDiesD10) {
  Scene s;
  s.publish(0, {"good", "killer", "fine"});
  std::uint64_t instance = 100;
  int crashes = 0;
  for (; crashes < 20 && s.accounting().dead == 0; ++crashes) {
    TestClient* victim = &s.rig.connect(++instance);
    victim->subscribe("billing");
    // It handles message after message until it meets the killer.
    for (bool lives = true; lives;) {
      std::vector<Delivered> got = victim->take();
      if (got.empty()) break;
      for (const Delivered& message : got) lives = lives && message.value != "killer";
      if (!lives) break;
      for (const Delivered& message : got) ASSERT_TRUE(victim->ack(message).ok());
    }
    s.rig.lose(*victim);
    s.rig.advance(seconds(12));
  }
  // Twice in company, then as often as the policy lets it fail.
  EXPECT_EQ(crashes, 2 + 3);
  TestClient& survivor = s.rig.connect(99);
  survivor.subscribe("billing");
  for (const Delivered& message : survivor.take()) EXPECT_TRUE(survivor.ack(message).ok());
  Accounting accounting = s.accounting();
  EXPECT_EQ(accounting.dead, 1u);
  EXPECT_EQ(accounting.done, 2u);
  ListDeadLettersRequest request;
  request.selection = selection();
  Reply<ListDeadLettersReply> letters = s.reconnect().call<ListDeadLettersReply>(request);
  ASSERT_TRUE(letters.ok() && letters->dead_letters.size() == 1);
  EXPECT_EQ(letters->dead_letters[0].reason, DeadLetterReason::kMaxFailures);
  EXPECT_EQ(letters->dead_letters[0].failures, 3u);
  EXPECT_EQ(letters->dead_letters[0].last_failure.code, "consumer_crashed");
}

TEST(Isolation, RestartsOfTheBrokerMakeNoSuspectsD10) {
  Scene s;
  s.publish(0, {"a", "b"});
  for (std::uint64_t i = 1; i <= 3; ++i) {
    TestClient& client = s.rig.connect(20 + i);
    client.subscribe("billing");
    ASSERT_EQ(client.take().size(), 2u) << "together";
    s.rig.restart();
    s.rig.advance(seconds(10));
  }
  EXPECT_EQ(s.tracked(0)->unexplained, 3u);
  EXPECT_EQ(s.tracked(0)->crashes, 0u);
}

TEST(Isolation, SuspicionSurvivesACutD10) {
  Scene s;
  s.publish(0, {"a", "b"});
  crash_one(s, 11);
  crash_one(s, 12);
  s.rig.restart();
  TestClient& survivor = s.rig.connect(13);
  survivor.subscribe("billing");
  EXPECT_EQ(survivor.take().size(), 1u);
}

TEST(Isolation, ItsOtherSubscriptionsPauseAndOtherInstancesRunOnD10) {
  RigOptions options;
  options.shards = 3;
  Scene s(options, 3);
  TopicId other_topic = s.rig.create_topic(*s.client, "events", 3);
  s.rig.create_group(*s.client, "audit", "events");
  s.publish(1, {"suspect"});
  crash_one(s, 11);
  crash_one(s, 12);

  TestClient& busy = s.rig.connect(13, 1);
  busy.subscribe("audit", 1000, 10'000'000, 2);
  for (std::uint32_t p = 0; p < 3; ++p) {
    ASSERT_TRUE(s.client->publish(other_topic, p, {"work"}).ok());
  }
  std::vector<Delivered> work = busy.take();
  ASSERT_EQ(work.size(), 3u);
  // It holds other leases: first they end, and meanwhile it gets nothing.
  busy.subscribe("billing");
  EXPECT_TRUE(busy.take().empty());
  ASSERT_TRUE(s.client->publish(other_topic, 0, {"later"}).ok());
  EXPECT_TRUE(busy.take().empty());
  TestClient& other = s.rig.connect(14, 2);
  other.subscribe("audit");
  ASSERT_EQ(other.take().size(), 1u) << "other instances run on";
  for (const Delivered& message : work) {
    SettleRequest settle{2, {TestClient::settlement(message)}};
    ASSERT_TRUE(busy.call<SettleReply>(settle)->outcomes[0].ok());
  }
  std::vector<Delivered> alone = busy.take();
  ASSERT_EQ(alone.size(), 1u);
  EXPECT_EQ(alone[0].value, "suspect");
  s.rig.close(other);
  EXPECT_TRUE(busy.take().empty()) << "while it has the suspect it gets nothing else";
  EXPECT_TRUE(busy.ack(alone[0]).ok());
  EXPECT_EQ(busy.take().size(), 1u) << "what the other one gave back";
}

TEST(Isolation, AnInstanceThatStaysBusyIsNotHeldUpForEverD10) {
  Scene s;
  s.publish(0, {"suspect"});
  crash_one(s, 11);
  crash_one(s, 12);
  TopicId other_topic = s.rig.create_topic(*s.client, "events");
  s.rig.create_group(*s.client, "audit", "events");
  TestClient& busy = s.rig.connect(13);
  busy.subscribe("audit", 1000, 10'000'000, 2);
  ASSERT_TRUE(s.client->publish(other_topic, 0, {"long"}).ok());
  Delivered held = busy.take().at(0);
  busy.subscribe("billing");
  ASSERT_TRUE(s.client->publish(other_topic, 0, {"more"}).ok());
  std::size_t more = 0;
  for (int i = 0; i < 4; ++i) {
    s.rig.advance(seconds(10));
    EXPECT_TRUE(busy.claim(held, 2));
    more += busy.take().size();
  }
  EXPECT_EQ(more, 1u) << "the suspect goes on waiting, the rest does not";
  SettleRequest settle{2, {TestClient::settlement(held)}};
  ASSERT_TRUE(busy.call<SettleReply>(settle)->outcomes[0].ok());
  s.rig.close(busy);
  TestClient& idle = s.rig.connect(14);
  idle.subscribe("billing");
  s.rig.advance(seconds(25));
  EXPECT_EQ(idle.take().size(), 1u);
}

TEST(Isolation, ALastAttemptIsAloneIfAnEarlierOneTimedOutD10) {
  Scene s;
  s.publish(0, {"slow", "broken"});
  TestClient& client = s.rig.connect(13);
  client.subscribe("billing", 0);
  // Both fail twice, and may fail three times; only one does so by its time.
  for (int i = 0; i < 2; ++i) {
    client.credit(2);
    std::vector<Delivered> got = client.take();
    ASSERT_EQ(got.size(), 2u) << i;
    LeaseExtension begun{{0}, got[0].token, {got[0].offset, got[0].offset}, true};
    ASSERT_TRUE(client.call<ExtendReply>(ExtendRequest{1, {begun}})->outcomes[0].ok());
    EXPECT_TRUE(client.retry(got[1]).ok());
    s.rig.advance(seconds(40));
  }
  EXPECT_EQ(s.tracked(0)->failures, 2u);
  EXPECT_EQ(s.tracked(1)->failures, 2u);
  client.credit(10);
  std::vector<Delivered> broken = client.take();
  ASSERT_EQ(broken.size(), 1u);
  EXPECT_EQ(broken[0].value, "broken") << "whose failures explain themselves";
  s.publish(0, {"new"});
  EXPECT_TRUE(client.take().empty()) << "the instance is to hold nothing";
  EXPECT_TRUE(client.ack(broken[0]).ok());
  std::vector<Delivered> slow = client.take();
  ASSERT_EQ(slow.size(), 1u);
  EXPECT_EQ(slow[0].value, "slow");
  EXPECT_TRUE(client.ack(slow[0]).ok());
  ASSERT_EQ(client.take().size(), 1u);
}

TEST(Isolation, ALastAttemptAfterAnUnexplainedEndIsAloneD10) {
  Scene s;
  s.publish(0, {"unlucky"});
  s.client->subscribe("billing", 1);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(s.client->retry(s.client->take().at(0)).ok());
    s.rig.advance(seconds(5));
    s.client->credit(1);
  }
  ASSERT_EQ(s.client->take().size(), 1u);
  s.rig.restart();
  s.rig.advance(seconds(10));
  EXPECT_EQ(s.tracked(0)->unexplained, 1u);
  TestClient& client = s.reconnect(13);
  s.publish(0, {"new"});
  client.subscribe("billing");
  std::vector<Delivered> got = client.take();
  ASSERT_EQ(got.size(), 1u) << "not together";
  EXPECT_TRUE(client.ack(got[0]).ok());
  ASSERT_EQ(client.take().size(), 1u);
}

TEST(Isolation, ASuspectBlocksItsKeyAndNoOtherD8D10) {
  Scene s({}, 1, ordered(Ordering::kKey));
  ASSERT_TRUE(s.client->publish_batch(s.topic, 0, keyed({{"k", "suspect"}})).ok());
  crash_one(s, 11);
  crash_one(s, 12);
  ASSERT_TRUE(s.client->publish_batch(s.topic, 0, keyed({{"k", "behind"}, {"m", "other"}})).ok());
  TestClient& client = s.rig.connect(13);
  client.subscribe("billing");
  std::vector<std::string> seen;
  for (int i = 0; i < 3; ++i) {
    std::vector<Delivered> got = client.take();
    ASSERT_EQ(got.size(), 1u) << i;
    seen.push_back(got[0].value);
    EXPECT_TRUE(client.ack(got[0]).ok());
  }
  EXPECT_LT(std::ranges::find(seen, "suspect"), std::ranges::find(seen, "behind"));
  EXPECT_EQ(s.accounting().done, 3u);
}

TEST(Isolation, InOrderOfAPartitionASuspectGoesAloneBeforeTheRestD8D10) {
  Scene s({}, 1, ordered(Ordering::kPartition));
  s.publish(0, {"a", "b"});
  crash_one(s, 11);
  crash_one(s, 12);
  s.publish(0, {"c", "d"});
  TestClient& client = s.rig.connect(13);
  client.subscribe("billing");
  std::string seen;
  for (int i = 0; i < 10 && s.accounting().done < 4; ++i) {
    std::vector<Delivered> got = client.take();
    ASSERT_TRUE(got.size() == 1 || i >= 2) << i;
    for (const Delivered& message : got) {
      seen += message.value;
      EXPECT_TRUE(client.ack(message).ok());
    }
  }
  EXPECT_EQ(seen, "abcd");
}

}  // namespace
}  // namespace waybill

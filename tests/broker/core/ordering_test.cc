// Goal: a group that wants an order gets it, also across failures, times, dead letters and cuts.
// Method: CoreRig; each test publishes a few messages with keys or times and says, delivery by
// delivery, what must come next and what must not.
#include "protocol/record/reserved_headers.h"
#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

struct Draft {
  std::string key;  ///< empty: none
  std::string value;
  std::optional<WallTime> not_before = {};
  std::optional<WallTime> expiry = {};
};

SharedBytes keyed(const std::vector<Draft>& drafts) {
  BatchBuilder builder;
  for (const Draft& draft : drafts) {
    RecordDraft record{std::nullopt, as_bytes(draft.value), {}, {1000}};
    if (!draft.key.empty()) record.key = as_bytes(draft.key);
    std::array<std::byte, 8> not_before;
    std::array<std::byte, 8> expiry;
    if (draft.not_before) {
      store_little(not_before.data(), draft.not_before->milliseconds);
      record.headers.emplace_back(reserved_headers::kNotBefore, not_before);
    }
    if (draft.expiry) {
      store_little(expiry.data(), draft.expiry->milliseconds);
      record.headers.emplace_back(reserved_headers::kExpiry, expiry);
    }
    EXPECT_TRUE(builder.add(record).ok());
  }
  return SharedBytes(builder.build());
}

std::string values_of(const std::vector<Delivered>& messages) {
  std::string all;
  for (const Delivered& message : messages) all += (all.empty() ? "" : " ") + message.value;
  return all;
}

GroupPolicy ordered(Ordering ordering, OnDeadLetter on_dead_letter = OnDeadLetter::kSkip) {
  GroupPolicy policy = CoreRig::policy();
  policy.ordering = ordering;
  policy.on_dead_letter = on_dead_letter;
  return policy;
}

/// A scene that keeps what its client was delivered.
struct Order : Scene {
  explicit Order(const GroupPolicy& policy, RigOptions options = {}) : Scene(options, 1, policy) {}

  void publish(const std::vector<Draft>& drafts) {
    ASSERT_TRUE(client->publish_batch(topic, 0, keyed(drafts)).ok());
  }
  /// What came since the last call.
  std::string next() {
    std::vector<Delivered> got = client->take();
    for (const Delivered& message : got) held[message.value] = message;
    return values_of(got);
  }
  Reply<SettleOutcome> ack(const std::string& value) { return client->ack(held.at(value)); }
  Reply<SettleOutcome> retry(const std::string& value) { return client->retry(held.at(value)); }
  Reply<SettleOutcome> bury(const std::string& value) { return client->bury(held.at(value)); }
  [[nodiscard]] WallTime in(milliseconds wait) const {
    return {rig.clock.wall().milliseconds + wait.count()};
  }
  Waiting waiting() {
    Reply<DescribeGroupReply> reply =
        client->call<DescribeGroupReply>(DescribeGroupRequest{"billing"});
    return reply->partitions.front().waiting;
  }
  /// Describe and a count of every message agree (D19).
  void check() {
    for (const PartitionCheck& check : rig.shards.front()->delivery().check(group)) {
      EXPECT_EQ(check.kept, check.counted);
      EXPECT_EQ(check.kept.sum(), static_cast<std::uint64_t>(check.kept.end - check.kept.start));
    }
  }
  std::uint64_t redrive() {
    Reply<RedriveReply> reply =
        client->call<RedriveReply>(RedriveRequest{selection(), false, "ann"});
    return reply ? reply->redriven : 0;
  }

  std::map<std::string, Delivered> held;
};

// --- key ---

TEST(KeyOrder, OneMessageOfEachKeyIsOutAtATimeD8) {
  Order s(ordered(Ordering::kKey));
  s.publish({{"a", "a1"}, {"b", "b1"}, {"a", "a2"}, {"", "n1"}, {"a", "a3"}, {"", "n2"}});
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "a1 b1 n1 n2") << "messages without a key have no order";
  EXPECT_EQ(s.waiting(), Waiting::kAllKeysBusy);
  EXPECT_EQ(s.accounting().ready, 2u);
  s.check();
  EXPECT_TRUE(s.ack("b1").ok());
  EXPECT_EQ(s.next(), "");
  EXPECT_TRUE(s.ack("a1").ok());
  EXPECT_EQ(s.next(), "a2");
  EXPECT_TRUE(s.ack("a2").ok());
  EXPECT_EQ(s.next(), "a3");
  EXPECT_TRUE(s.ack("a3").ok());
  EXPECT_TRUE(s.ack("n1").ok());
  EXPECT_TRUE(s.ack("n2").ok());
  EXPECT_EQ(s.accounting().done, 6u);
  EXPECT_EQ(s.rig.partition_of(s.group, 0).delivery.floor(), Offset{6});
  s.check();
}

TEST(KeyOrder, AFailedMessageKeepsItsKeyAndNoOtherD8) {
  Order s(ordered(Ordering::kKey));
  s.publish({{"a", "a1"}, {"a", "a2"}, {"b", "b1"}, {"b", "b2"}});
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "a1 b1");
  EXPECT_TRUE(s.retry("a1").ok());
  EXPECT_TRUE(s.ack("b1").ok());
  EXPECT_EQ(s.next(), "b2");
  EXPECT_EQ(s.accounting().delayed, 1u);
  s.check();
  s.rig.advance(seconds(1));
  EXPECT_EQ(s.next(), "a1");
  EXPECT_EQ(s.held["a1"].delivery, 2u);
  EXPECT_TRUE(s.ack("a1").ok());
  EXPECT_EQ(s.next(), "a2");
}

TEST(KeyOrder, TheOrderSurvivesACutD8) {
  Order s(ordered(Ordering::kKey), {.tail_cache = 1});
  s.publish({{"a", "a1"}, {"a", "a2"}, {"b", "b1"}});
  s.publish({{"b", "b2"}, {"c", "c1"}});
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "a1 b1 c1");
  EXPECT_TRUE(s.retry("b1").ok());
  EXPECT_TRUE(s.ack("c1").ok());
  s.rig.restart();
  s.reconnect(2).subscribe("billing");
  EXPECT_EQ(s.next(), "") << "a1 waits for its instance, b1 for its time";
  s.check();
  s.rig.advance(seconds(1));
  EXPECT_EQ(s.next(), "b1");
  s.rig.advance(seconds(10));
  EXPECT_EQ(s.next(), "a1");
  EXPECT_TRUE(s.ack("b1").ok());
  EXPECT_EQ(s.next(), "b2");
  EXPECT_TRUE(s.ack("a1").ok());
  EXPECT_EQ(s.next(), "a2");
}

TEST(KeyOrder, TheIndexIsBoundedAndGoesOnWhereItStoppedD9) {
  Order s(ordered(Ordering::kKey), {.index_limit = 4});
  std::vector<Draft> drafts;
  for (int i = 0; i < 8; ++i) s.publish({{"a", "a" + std::to_string(i)}});
  s.publish({{"b", "b0"}});
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "a0");
  EXPECT_EQ(s.waiting(), Waiting::kIndexFull);
  for (int i = 0; i < 8; ++i) {
    EXPECT_TRUE(s.ack("a" + std::to_string(i)).ok());
    s.next();
  }
  EXPECT_TRUE(s.held.contains("b0"));
  s.check();
}

TEST(KeyOrder, ConsumersShareTheKeysAndEachPushIsOneLease) {
  Order s(ordered(Ordering::kKey));
  TestClient& other = s.rig.connect(2);
  other.subscribe("billing");
  s.client->subscribe("billing");
  std::vector<Draft> drafts;
  for (int i = 0; i < 20; ++i) drafts.push_back({"k" + std::to_string(i), std::to_string(i)});
  s.publish(drafts);
  EXPECT_EQ(s.client->pushes.size(), 1u);
  EXPECT_EQ(s.client->take().size(), 10u);
  EXPECT_EQ(other.take().size(), 10u);
}

// --- hold ---

TEST(Hold, WhatComesBehindADeadLetterOfItsKeyWaitsInOrderD12) {
  Order s(ordered(Ordering::kKey, OnDeadLetter::kHold));
  s.publish({{"a", "a1"}, {"b", "b1"}, {"a", "a2"}, {"a", "a3"}});
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "a1 b1");
  EXPECT_TRUE(s.bury("a1").ok());
  EXPECT_TRUE(s.ack("b1").ok());
  s.publish({{"b", "b2"}, {"a", "a4"}});
  EXPECT_EQ(s.next(), "b2") << "all other keys flow";
  EXPECT_EQ(s.accounting().held, 3u);
  EXPECT_EQ(s.accounting().dead, 1u);
  EXPECT_EQ(s.rig.partition_of(s.group, 0).delivery.needed(), Offset{2}) << "it pins retention";
  s.check();
  s.rig.restart();
  s.reconnect().subscribe("billing");
  EXPECT_EQ(s.next(), "");
  EXPECT_EQ(s.accounting().held, 3u) << "the entry of its death knows the key";
  EXPECT_EQ(s.redrive(), 1u);
  EXPECT_EQ(s.next(), "a1");
  EXPECT_EQ(s.held["a1"].redrive, 1u);
  s.check();
  EXPECT_TRUE(s.ack("a1").ok());
  EXPECT_EQ(s.next(), "a2");
  EXPECT_TRUE(s.ack("a2").ok());
  EXPECT_EQ(s.next(), "a3");
}

TEST(Hold, DiscardingTheHeadLetsTheOthersGoD12) {
  Order s(ordered(Ordering::kKey, OnDeadLetter::kHold));
  s.publish({{"a", "a1"}, {"a", "a2"}});
  s.client->subscribe("billing");
  s.next();
  EXPECT_TRUE(s.bury("a1").ok());
  EXPECT_EQ(s.next(), "");
  ASSERT_TRUE(s.client->call<DiscardReply>(DiscardRequest{selection(), "ann", "test"}).ok());
  EXPECT_EQ(s.next(), "a2");
  EXPECT_EQ(s.accounting().discarded, 1u);
  s.check();
}

TEST(Hold, AHeadThatFailsAgainHoldsAgainD12) {
  Order s(ordered(Ordering::kKey, OnDeadLetter::kHold));
  s.publish({{"a", "a1"}, {"a", "a2"}});
  s.client->subscribe("billing");
  s.next();
  EXPECT_TRUE(s.bury("a1").ok());
  EXPECT_EQ(s.redrive(), 1u);
  EXPECT_EQ(s.next(), "a1");
  EXPECT_TRUE(s.bury("a1").ok());
  EXPECT_EQ(s.next(), "");
  EXPECT_EQ(s.accounting().held, 1u);
  s.check();
}

TEST(Hold, TooManyHeldStopThePartitionUntilTheHeadIsResolvedD12) {
  GroupPolicy policy = ordered(Ordering::kKey, OnDeadLetter::kHold);
  policy.max_held = 2;
  Order s(policy);
  s.publish({{"a", "a1"}, {"a", "a2"}, {"a", "a3"}});
  s.client->subscribe("billing");
  s.next();
  EXPECT_TRUE(s.bury("a1").ok());
  s.publish({{"b", "b1"}, {"", "n1"}});
  EXPECT_EQ(s.next(), "");
  EXPECT_EQ(s.waiting(), Waiting::kHeldFull);
  EXPECT_EQ(s.redrive(), 1u);
  EXPECT_EQ(s.next(), "n1 a1 b1");
}

TEST(Hold, OfTwoDeadLettersTheFirstComesFirstWhicheverIsSentBackD12) {
  for (Ordering ordering : {Ordering::kKey, Ordering::kPartition}) {
    SCOPED_TRACE(name(ordering));
    Order s(ordered(Ordering::kNone));
    s.publish({{"a", "1"}, {"a", "2"}, {"a", "3"}});
    s.client->subscribe("billing", 2);
    EXPECT_EQ(s.next(), "1 2");
    EXPECT_TRUE(s.bury("1").ok());
    EXPECT_TRUE(s.bury("2").ok());
    GroupPolicy policy = ordered(ordering, OnDeadLetter::kHold);
    ASSERT_TRUE(s.client->call<AlterGroupReply>(AlterGroupRequest{"billing", policy}).ok());
    s.client->credit(10);
    EXPECT_EQ(s.accounting().held, 1u);
    DeadLetterSelection second = selection({{s.group, {0}, 2}});
    ASSERT_TRUE(s.client->call<RedriveReply>(RedriveRequest{second, false, ""}).ok());
    EXPECT_EQ(s.next(), "") << "the first is still dead";
    s.check();
    EXPECT_EQ(s.redrive(), 1u);
    EXPECT_EQ(s.next(), ordering == Ordering::kKey ? "1" : "1 2 3");
    EXPECT_TRUE(s.ack("1").ok());
    if (ordering == Ordering::kKey) {
      EXPECT_EQ(s.next(), "2");
    }
    s.check();
  }
}

TEST(Hold, InAPartitionEverythingWaitsBehindADeadLetterD12) {
  Order s(ordered(Ordering::kPartition, OnDeadLetter::kHold));
  s.publish({{"a", "1"}, {"b", "2"}, {"c", "3"}});
  s.client->subscribe("billing", 2);
  EXPECT_EQ(s.next(), "1 2");
  EXPECT_TRUE(s.bury("1").ok());
  s.client->credit(10);
  EXPECT_EQ(s.next(), "");
  EXPECT_EQ(s.accounting().held, 2u);
  s.check();
  EXPECT_EQ(s.redrive(), 1u);
  EXPECT_EQ(s.next(), "1 2 3");
  s.check();
}

// --- partition ---

TEST(PartitionOrder, OneConsumerGetsEverythingInOrderD8) {
  Order s(ordered(Ordering::kPartition));
  TestClient& other = s.rig.connect(2);
  s.client->subscribe("billing");
  other.subscribe("billing");
  s.publish({{"", "1"}, {"", "2"}});
  s.publish({{"", "3"}});
  bool mine = !s.client->pushes.empty();
  TestClient& owner = mine ? *s.client : other;
  TestClient& idle = mine ? other : *s.client;
  EXPECT_EQ(values_of(owner.take()), "1 2 3");
  EXPECT_TRUE(idle.pushes.empty());
  s.rig.close(owner);
  EXPECT_EQ(values_of(idle.take()), "1 2 3") << "another takes over";
}

TEST(PartitionOrder, ConsumersShareThePartitionsD8) {
  Scene s({}, 4, ordered(Ordering::kPartition));
  TestClient& other = s.rig.connect(2);
  s.client->subscribe("billing");
  other.subscribe("billing");
  for (std::uint32_t partition = 0; partition < 4; ++partition) {
    s.publish(partition, {"first", "second"});
  }
  std::map<std::uint32_t, std::string> got;
  for (TestClient* client : {s.client, &other}) {
    std::vector<Delivered> all = client->take();
    EXPECT_EQ(all.size(), 4u) << "of two partitions each";
    for (const Delivered& message : all) got[message.partition.value] += message.value + " ";
  }
  EXPECT_EQ(got.size(), 4u);
  for (const auto& [partition, values] : got) EXPECT_EQ(values, "first second ") << partition;
}

TEST(PartitionOrder, AnyEndButAckTakesBackWhatCameBehindD8) {
  Order s(ordered(Ordering::kPartition));
  s.publish({{"", "1"}, {"", "2"}, {"", "3"}, {"", "4"}});
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "1 2 3 4");
  EXPECT_TRUE(s.ack("1").ok());
  EXPECT_TRUE(s.retry("2").ok());
  ASSERT_EQ(s.client->revokes.size(), 1u);
  EXPECT_EQ(s.client->revokes[0].first, Offset{2});
  EXPECT_EQ(code_of(s.ack("3")), Errc::kLeaseLost);
  EXPECT_EQ(s.next(), "") << "nothing goes before it";
  s.check();
  s.rig.advance(seconds(1));
  EXPECT_EQ(s.next(), "2 3 4");
  EXPECT_EQ(s.held["2"].failures, 1u);
  EXPECT_EQ(s.held["3"].failures, 0u) << "taken back uncharged";
  EXPECT_EQ(s.held["3"].delivery, 2u) << "but not silently";
  for (const char* value : {"2", "3", "4"}) EXPECT_TRUE(s.ack(value).ok());
  EXPECT_EQ(s.accounting().done, 4u);
  s.check();
}

TEST(PartitionOrder, AMessageThatAlwaysFailsDoesNotWearOutThoseBehindItD3) {
  GroupPolicy policy = ordered(Ordering::kPartition);
  policy.max_failures = 5;
  Order s(policy, {.max_deliveries = 3});
  s.publish({{"", "1"}, {"", "2"}});
  s.client->subscribe("billing");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(s.next(), "1 2");
    EXPECT_TRUE(s.retry("1").ok());
    s.rig.advance(seconds(1));
  }
  EXPECT_EQ(s.next(), "2");
  EXPECT_EQ(s.accounting().dead, 1u);
  s.check();
}

TEST(PartitionOrder, AMessageWithATimeHoldsUpThePartitionD8) {
  Order s(ordered(Ordering::kPartition));
  s.publish({{"", "1"}, {"", "2", s.in(seconds(5))}, {"", "3"}});
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "1");
  EXPECT_EQ(s.accounting().scheduled, 1u);
  s.check();
  s.rig.advance(seconds(5));
  EXPECT_EQ(s.next(), "2 3");
}

// --- times ---

TEST(Times, AMessageWaitsForItsTimeAndOthersDoNotD11) {
  Order s(ordered(Ordering::kNone));
  s.publish({{"", "1", s.in(seconds(5))}, {"", "2"}});
  s.publish({{"", "3"}});
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "2 3");
  EXPECT_EQ(s.accounting().scheduled, 1u);
  for (const char* value : {"2", "3"}) EXPECT_TRUE(s.ack(value).ok());
  s.check();
  EXPECT_EQ(s.rig.partition_of(s.group, 0).delivery.floor(), Offset{0}) << "it pins retention";
  s.rig.restart();
  s.reconnect().subscribe("billing");
  s.rig.advance(milliseconds(4900));
  EXPECT_EQ(s.next(), "");
  s.rig.advance(milliseconds(200));
  EXPECT_EQ(s.next(), "1");
  EXPECT_EQ(s.held["1"].delivery, 1u);
}

TEST(Times, AScheduledMessageHoldsUpItsKeyOnlyD8) {
  Order s(ordered(Ordering::kKey));
  s.publish({{"a", "a1", s.in(seconds(5))}, {"a", "a2"}, {"b", "b1"}});
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "b1");
  s.check();
  s.rig.advance(seconds(5));
  EXPECT_EQ(s.next(), "a1");
  EXPECT_TRUE(s.ack("a1").ok());
  EXPECT_EQ(s.next(), "a2");
}

TEST(Times, WhatExpiredBeforeItsDeliveryIsDroppedWithACountD11) {
  for (Ordering ordering : {Ordering::kNone, Ordering::kKey, Ordering::kPartition}) {
    SCOPED_TRACE(name(ordering));
    Order s(ordered(ordering));
    s.publish({{"a", "1", {}, s.in(seconds(1))}, {"a", "2"}, {"a", "3", {}, s.in(hours(1))}});
    s.rig.advance(seconds(2));
    s.client->subscribe("billing");
    if (ordering == Ordering::kKey) {
      EXPECT_EQ(s.next(), "2");
      EXPECT_TRUE(s.ack("2").ok());
      EXPECT_EQ(s.next(), "3");
    } else {
      EXPECT_EQ(s.next(), "2 3");
    }
    EXPECT_EQ(s.accounting().expired, 1u);
    s.check();
    s.rig.restart();
    s.reconnect();
    EXPECT_EQ(s.accounting().expired, 1u);
  }
}

TEST(Times, WhatExpiresWhileItIsLeasedIsSettledAndNotDeliveredAgainD11) {
  Order s(ordered(Ordering::kNone));
  s.publish({{"", "1", {}, s.in(seconds(1))}, {"", "2", {}, s.in(seconds(1))}});
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "1 2");
  s.rig.advance(seconds(2));
  EXPECT_EQ(s.accounting().leased, 2u);
  EXPECT_EQ(*s.ack("1"), SettleOutcome::kDone);
  EXPECT_EQ(*s.retry("2"), SettleOutcome::kDelayed);
  s.rig.advance(seconds(2));
  EXPECT_EQ(s.next(), "");
  EXPECT_EQ(s.accounting().done, 1u);
  EXPECT_EQ(s.accounting().expired, 1u);
  s.check();
}

TEST(Times, TheScanWaitsWhereTooManyHaveAnExpiryTimeD9) {
  RigOptions options;
  options.index_limit = 3;
  Scene s(options);
  WallTime later{s.rig.clock.wall().milliseconds + 1'000'000};
  for (int i = 0; i < 7; ++i) {
    SharedBytes batch = keyed({{"", std::to_string(i), {}, later}});
    ASSERT_TRUE(s.client->publish_batch(s.topic, 0, batch).ok());
  }
  EXPECT_EQ(s.rig.partition_of(s.group, 0).expiries.size(), 3u);
  s.client->subscribe("billing");
  std::string seen;
  for (int i = 0; i < 7 && seen.size() < 7; ++i) {
    for (const Delivered& message : s.client->take()) {
      seen += message.value;
      EXPECT_TRUE(s.client->ack(message).ok());
      EXPECT_LE(s.rig.partition_of(s.group, 0).expiries.size(), 3u);
    }
  }
  EXPECT_EQ(seen, "0123456");
}

TEST(Times, WhatExpiredMayBecomeADeadLetterButNeverHoldsD12) {
  GroupPolicy policy = ordered(Ordering::kKey, OnDeadLetter::kHold);
  policy.on_expiry = OnExpiry::kDeadLetter;
  Order s(policy);
  s.publish({{"a", "a1", {}, s.in(seconds(1))}, {"a", "a2"}});
  s.rig.advance(seconds(2));
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "a2");
  EXPECT_EQ(s.accounting().dead, 1u);
  EXPECT_EQ(s.redrive(), 1u);
  EXPECT_TRUE(s.ack("a2").ok());
  EXPECT_EQ(s.next(), "a1") << "a person sent it again, whatever its time";
  s.check();
}

// --- changes of policy ---

TEST(PolicyChange, AnotherOrderAppliesOnceWhatIsLeasedIsSettledD12) {
  Order s(ordered(Ordering::kNone));
  s.publish({{"a", "a1"}, {"a", "a2"}});
  s.client->subscribe("billing", 2);
  EXPECT_EQ(s.next(), "a1 a2");
  ASSERT_TRUE(
      s.client->call<AlterGroupReply>(AlterGroupRequest{"billing", ordered(Ordering::kKey)}).ok());
  s.publish({{"a", "a3"}, {"a", "a4"}});
  s.client->credit(10);
  EXPECT_TRUE(s.ack("a2").ok());
  EXPECT_EQ(s.next(), "") << "a1 is still out";
  EXPECT_TRUE(s.ack("a1").ok());
  EXPECT_EQ(s.next(), "a3");
  EXPECT_TRUE(s.ack("a3").ok());
  EXPECT_EQ(s.next(), "a4");
  s.check();
}

TEST(PolicyChange, AHoldAppliesOnceWhatIsLeasedIsSettledD12) {
  Order s(ordered(Ordering::kKey));
  s.publish({{"a", "a1"}, {"b", "b1"}, {"a", "a2"}, {"a", "a3"}});
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "a1 b1");
  EXPECT_TRUE(s.bury("a1").ok());
  EXPECT_EQ(s.next(), "a2") << "nothing is held yet";
  AlterGroupRequest hold{"billing", ordered(Ordering::kKey, OnDeadLetter::kHold)};
  ASSERT_TRUE(s.client->call<AlterGroupReply>(hold).ok());
  EXPECT_TRUE(s.ack("a2").ok());
  EXPECT_EQ(s.next(), "") << "b1 is still out";
  EXPECT_EQ(s.accounting().held, 0u);
  EXPECT_TRUE(s.ack("b1").ok());
  EXPECT_EQ(s.next(), "");
  EXPECT_EQ(s.accounting().held, 1u) << "a1 is dead, and holds from now on";
  s.check();
  ASSERT_TRUE(s.client->call<DiscardReply>(DiscardRequest{selection(), "ann", "test"}).ok());
  EXPECT_EQ(s.next(), "a3");
}

TEST(PolicyChange, InAPartitionNothingGoesAheadOfWhatTheNewScanHasNotReachedD8) {
  Order s(ordered(Ordering::kKey), {.tail_cache = 1});
  s.publish({{"k", "a"}});
  s.publish({{"k", "b", {}, s.in(std::chrono::hours(1))}});
  s.publish({{"j", "c"}});
  s.client->subscribe("billing", 2);
  EXPECT_EQ(s.next(), "a c") << "b waits for its key";
  AlterGroupRequest order{"billing", ordered(Ordering::kPartition)};
  ASSERT_TRUE(s.client->call<AlterGroupReply>(order).ok());
  EXPECT_TRUE(s.client->settle(s.client->settlement(s.held.at("c"), SettleVerb::kRelease)).ok());
  EXPECT_TRUE(s.ack("a").ok());
  s.client->credit(10);
  EXPECT_EQ(s.next(), "b c") << "b's batch has to be read first";
  s.check();
}

TEST(PolicyChange, EachClassOfFailureDoesWhatThePolicySays) {
  GroupPolicy policy = ordered(Ordering::kNone);
  policy.failures.invalid = FailureAction::kCharge;
  policy.failures.failed = FailureAction::kDeadLetter;
  policy.failures.timeout = FailureAction::kFree;
  Order s(policy);
  s.publish({{"", "1"}, {"", "2"}});
  s.client->subscribe("billing");
  s.next();
  EXPECT_EQ(*s.client->retry(s.held["1"], FailureClass::kInvalid), SettleOutcome::kDelayed);
  EXPECT_EQ(s.tracked(0)->failures, 1u);
  EXPECT_EQ(*s.client->retry(s.held["2"], FailureClass::kFailed), SettleOutcome::kDead);
  s.rig.advance(seconds(1));
  s.next();
  EXPECT_EQ(*s.client->retry(s.held["1"], FailureClass::kTimeout), SettleOutcome::kDelayed);
  EXPECT_EQ(s.tracked(0)->failures, 1u);
}

// --- reset ---

struct Reset : Order {
  using Order::Order;
  std::vector<ResetPartition> to(std::int64_t offset, std::uint32_t epoch, bool include_dead) {
    DeliveryEngine& engine = rig.shards.front()->delivery();
    GroupStart start{StartKind::kOffset, Offset{offset}, {}};
    std::vector<ResetPartition> planned = engine.plan_reset(group, start, include_dead);
    std::vector<ResetPartition> done;
    engine.reset(group, epoch, start, include_dead,
                 [&](Reply<std::vector<ResetPartition>> reply) { done = std::move(*reply); });
    rig.shards.front()->turn();
    rig.run();
    if (!done.empty()) {
      EXPECT_EQ(planned[0].redelivered, done[0].redelivered);
      EXPECT_EQ(planned[0].skipped, done[0].skipped);
    }
    check();
    return done;
  }
};

TEST(Reset, DeliversAgainWhatLiesBehindAndVoidsLeasesD15) {
  for (Ordering ordering : {Ordering::kNone, Ordering::kKey, Ordering::kPartition}) {
    SCOPED_TRACE(name(ordering));
    Reset s(ordered(ordering));
    s.publish({{"a", "0"}, {"b", "1"}, {"c", "2"}, {"d", "3"}});
    s.client->subscribe("billing");
    EXPECT_EQ(s.next(), "0 1 2 3");
    EXPECT_TRUE(s.ack("0").ok());
    EXPECT_TRUE(s.ack("1").ok());
    std::vector<ResetPartition> done = s.to(1, 1, false);
    ASSERT_EQ(done.size(), 1u);
    EXPECT_EQ(done[0].redelivered, 1u);
    EXPECT_EQ(done[0].leases_voided, 2u);
    EXPECT_EQ(code_of(s.ack("2")), Errc::kLeaseLost);
    EXPECT_EQ(s.next(), "1 2 3");
    EXPECT_FALSE(s.client->revokes.empty());
    EXPECT_TRUE(s.to(1, 1, false).empty()) << "once per epoch";
    s.rig.restart();
    s.check();
    s.reconnect();
    EXPECT_EQ(s.accounting().leased, 3u);
  }
}

TEST(Reset, OneThatComesAfterANewerOneDoesNothingD15) {
  // A shard without room carries out its resets late, and a newer one may have found room before.
  Reset s(ordered(Ordering::kNone));
  s.publish({{"", "0"}, {"", "1"}, {"", "2"}});
  s.client->subscribe("billing");
  EXPECT_EQ(s.next(), "0 1 2");
  EXPECT_EQ(s.to(2, 2, false).size(), 1u);
  EXPECT_EQ(s.next(), "2");
  EXPECT_TRUE(s.to(0, 1, true).empty());
  EXPECT_EQ(s.next(), "");
  EXPECT_TRUE(s.ack("2").ok()) << "its lease is of the newer one";
  EXPECT_EQ(s.accounting().skipped, 2u);
  EXPECT_EQ(s.accounting().done, 1u);
  s.rig.restart();
  s.reconnect().subscribe("billing");
  EXPECT_EQ(s.next(), "");
}

TEST(Reset, SkipsWhatLiesBeforeAndKeepsOpenDeadLettersD15) {
  Reset s(ordered(Ordering::kNone));
  s.publish({{"", "0"}, {"", "1"}, {"", "2"}, {"", "3"}, {"", "4"}});
  s.client->subscribe("billing");
  s.next();
  EXPECT_TRUE(s.bury("0").ok());
  EXPECT_TRUE(s.ack("1").ok());
  std::vector<ResetPartition> done = s.to(4, 1, false);
  EXPECT_EQ(done[0].skipped, 2u);
  EXPECT_EQ(done[0].dead_kept, 1u);
  EXPECT_EQ(s.next(), "4");
  EXPECT_EQ(s.accounting().skipped, 2u);
  EXPECT_EQ(s.accounting().dead, 1u);
  EXPECT_EQ(s.accounting().done, 1u);
  EXPECT_EQ(s.redrive(), 1u);
  EXPECT_EQ(s.next(), "0");
  s.check();
}

TEST(Reset, OpenDeadLettersAreDeliveredAgainOnlyIfAskedD15) {
  Reset s(ordered(Ordering::kKey, OnDeadLetter::kHold));
  s.publish({{"a", "0"}, {"a", "1"}, {"b", "2"}});
  s.client->subscribe("billing");
  s.next();
  EXPECT_TRUE(s.bury("0").ok());
  EXPECT_TRUE(s.to(0, 1, false)[0].dead_kept == 1);
  EXPECT_EQ(s.next(), "2") << "the dead letter stays, and holds";
  EXPECT_EQ(s.accounting().held, 1u);
  s.to(0, 2, true);
  EXPECT_EQ(s.next(), "0 2");
  EXPECT_EQ(s.accounting().dead, 0u);
  EXPECT_EQ(s.accounting().discarded, 0u);
  EXPECT_TRUE(s.ack("0").ok());
  EXPECT_EQ(s.next(), "1");
  s.check();
}

// --- the brake and the pause ---

TEST(Brake, AnOpenOneStopsDeliveryAndAProbingOneLetsOneMessageGoD13) {
  for (Ordering ordering : {Ordering::kNone, Ordering::kKey, Ordering::kPartition}) {
    SCOPED_TRACE(name(ordering));
    Order s(ordered(ordering));
    DeliveryEngine& engine = s.rig.shards.front()->delivery();
    auto brake = [&](BrakeState state) {
      GroupInfo info = engine.find(s.group)->info;
      info.brake.state = state;
      EXPECT_TRUE(engine.adopt(info, {}).ok());
      s.rig.shards.front()->turn();
      s.rig.run();
    };
    brake(BrakeState::kOpen);
    s.publish({{"a", "1"}, {"b", "2"}});
    s.client->subscribe("billing");
    EXPECT_EQ(s.next(), "");
    EXPECT_EQ(s.waiting(), Waiting::kBraked);
    brake(BrakeState::kProbing);
    EXPECT_EQ(s.next(), "1");
    EXPECT_TRUE(s.retry("1").ok());
    EXPECT_EQ(s.tracked(0)->failures, ordering == Ordering::kPartition ? 1u : 0u);
    EXPECT_EQ(s.next(), ordering == Ordering::kPartition ? "" : "2") << "probes rotate";
  }
}

TEST(Relaxed, AMessageThatIsDurableLeavesBeforeItsLeaseIsD4) {
  GroupPolicy policy = ordered(Ordering::kNone);
  policy.attempts = Attempts::kRelaxed;
  Order s(policy);
  s.publish({{"", "1"}});
  EXPECT_TRUE(s.client->begin<SubscribeReply>(SubscribeRequest{1, "billing"}));
  s.rig.run();
  EXPECT_TRUE(s.client->session->handle(CreditRequest{1, 10, 1000}).ok());
  s.rig.run_without_disk();
  EXPECT_EQ(s.next(), "1");
  s.rig.restart();
  s.reconnect().subscribe("billing");
  EXPECT_EQ(s.next(), "1") << "the lease never was";
}

}  // namespace
}  // namespace waybill

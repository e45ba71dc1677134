// Goal: every message goes to a consumer with credit, one lease at a time, and comes back when the
// lease ends badly - charged only when somebody is to blame. Method: CoreRig; leases, back-offs and
// restarts on a clock that moves when told.
#include <set>

#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

TEST(Delivery, RangesAreAcknowledgedInAnyOrderAndInParts) {
  Scene s;
  s.publish(0, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
  s.client->subscribe("billing");
  ASSERT_EQ(s.client->pushes.size(), 1u);
  std::vector<Delivered> got = s.client->take();
  ASSERT_EQ(got.size(), 10u);
  auto ack = [&](std::int64_t first, std::int64_t last) {
    Settlement settlement = TestClient::settlement(got[0]);
    settlement.range = {{first}, {last}};
    return s.client->settle(settlement);
  };
  EXPECT_TRUE(ack(4, 6).ok());
  EXPECT_TRUE(ack(9, 9).ok());
  EXPECT_TRUE(ack(3, 4).ok()) << "a repeated ack may join what was settled and what was not (D5)";
  EXPECT_EQ(code_of(ack(5, 5)), Errc::kAlreadySettled);
  EXPECT_EQ(code_of(ack(8, 10)), Errc::kLeaseLost);
  EXPECT_EQ(code_of(ack(3, 2)), Errc::kLeaseLost) << "an empty range";
  EXPECT_EQ(s.accounting().done, 5u);
  EXPECT_EQ(s.accounting().leased, 5u);
  EXPECT_TRUE(ack(0, 3).ok());
  EXPECT_TRUE(ack(7, 8).ok());
  EXPECT_EQ(s.accounting().done, 10u);
  EXPECT_EQ(code_of(ack(0, 9)), Errc::kAlreadySettled);
  s.rig.restart();
  s.reconnect();
  EXPECT_EQ(s.accounting().done, 10u);
}

TEST(Delivery, LeasesThatEndedLeaveNoTimersBehindForHours) {
  GroupPolicy policy = CoreRig::policy();
  policy.lease = hours(12);
  Scene s({}, 1, policy);
  const int messages = 2 * static_cast<int>(DeliveryEngine::kFewTimers);
  s.publish(0, std::vector<std::string>(static_cast<std::size_t>(messages), "x"));
  s.client->subscribe("billing", 1);
  std::vector<Delivered> held = s.client->take();
  ASSERT_EQ(held.size(), 1u) << "this one stays leased";
  for (int i = 1; i < messages; ++i) {
    s.client->credit(1);
    std::vector<Delivered> got = s.client->take();
    ASSERT_EQ(got.size(), 1u);
    ASSERT_TRUE(s.client->ack(got[0]).ok());
  }
  EXPECT_LE(s.rig.shards.front()->delivery().timer_count(), DeliveryEngine::kFewTimers + 1);
  s.rig.advance(hours(13));
  EXPECT_EQ(s.accounting().leased, 0u) << "its own timer is there yet";
}

TEST(Delivery, TheWindowLimitsWhatIsLeasedD9) {
  GroupPolicy policy = CoreRig::policy();
  policy.window = 3;
  Scene s({}, 1, policy);
  s.publish(0, {"0", "1", "2", "3", "4"});
  s.client->subscribe("billing");
  std::vector<Delivered> got = s.client->take();
  ASSERT_EQ(got.size(), 3u);
  Reply<DescribeGroupReply> described =
      s.client->call<DescribeGroupReply>(DescribeGroupRequest{"billing"});
  EXPECT_EQ(described->partitions[0].waiting, Waiting::kWindowFull);
  ASSERT_TRUE(s.client->ack(got[1]).ok());
  EXPECT_EQ(s.client->take().size(), 1u);
}

TEST(Delivery, WithoutMessagesOrWithoutCreditItSaysWhichD9) {
  Scene s;
  auto waiting = [&] {
    return s.client->call<DescribeGroupReply>(DescribeGroupRequest{"billing"})
        ->partitions[0]
        .waiting;
  };
  EXPECT_EQ(waiting(), Waiting::kNothingReady);
  s.publish(0, {"0", "1"});
  EXPECT_EQ(waiting(), Waiting::kNoCredit) << "nobody consumes";
  s.client->subscribe("billing", 1);
  std::vector<Delivered> got = s.client->take();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(waiting(), Waiting::kNoCredit) << "what there was is used up";
  s.client->credit(1);
  EXPECT_EQ(s.client->take().size(), 1u);
  EXPECT_EQ(waiting(), Waiting::kNothingReady);
}

TEST(Delivery, CreditCountsMessagesAndBytesD2) {
  Scene s;
  for (int i = 0; i < 6; ++i) s.publish(0, {std::string(1000, 'x')});
  s.client->subscribe("billing", 2, 1'000'000);
  EXPECT_EQ(s.client->take().size(), 2u);
  s.client->credit(1);
  EXPECT_EQ(s.client->take().size(), 1u);
  s.client->session->close();
  s.rig.run();
  TestClient& other = s.rig.connect(2);
  other.subscribe("billing", 100, 2500);
  // What is given while some is left may go beyond; then it stops until that is paid back.
  std::size_t got = other.take().size();
  EXPECT_GE(got, 2u);
  EXPECT_LE(got, 3u);
}

TEST(Delivery, BytesAreCountedAsTheyAreSent) {
  // One record out of a large batch is charged as itself: a consumer that returns what it received
  // never runs dry.
  Scene s;
  s.publish(0, {"small", std::string(20'000, 'x')});
  std::int64_t credit = 100'000;
  s.client->subscribe("billing", 1000, static_cast<std::uint64_t>(credit));
  for (int round = 0; round < 30; ++round) {
    std::uint64_t bytes = 0;
    std::vector<DeliverPush> pushes = s.client->pushes;
    for (const DeliverPush& push : pushes) {
      for (const SharedBytes& batch : push.batches) bytes += batch.size();
    }
    for (const Delivered& message : s.client->take()) {
      Settlement release = TestClient::settlement(message, SettleVerb::kRelease);
      ASSERT_TRUE(s.client->settle(release).ok()) << round;
    }
    ASSERT_GT(bytes, 0u) << round;
    s.client->credit(2, bytes);
  }
}

TEST(Delivery, CreditGoesToTheShardThatHasMessagesD2) {
  Scene s({.shards = 4}, 8);
  s.client->subscribe("billing", 1, 10'000);
  // One credit, lent to some shard; messages come on each shard in turn.
  for (std::uint32_t partition = 0; partition < 8; ++partition) {
    s.publish(partition, {"only here"});
    std::vector<Delivered> got = s.client->take();
    ASSERT_EQ(got.size(), 1u) << partition;
    EXPECT_EQ(got[0].partition.value, partition);
    ASSERT_TRUE(s.client->ack(got[0]).ok());
    s.client->credit(1, 10'000);
  }
}

/// A consumer that gives back the credit of what it settles.
struct HonestConsumer {
  TestClient& client;
  std::set<std::string> got = {};

  void settle_all() {
    std::uint64_t bytes = 0;
    for (const DeliverPush& push : client.pushes) {
      for (const SharedBytes& batch : push.batches) bytes += batch.size();
    }
    std::vector<Delivered> all = client.take();
    for (const Delivered& message : all) {
      got.insert(message.value);
      ASSERT_TRUE(client.ack(message).ok());
    }
    if (!all.empty()) client.credit(static_cast<std::uint32_t>(all.size()), bytes);
  }
};

TEST(Delivery, MessagesWithoutBytesAndBytesWithoutMessagesComeTogetherD2) {
  // Large messages leave a shard in debt, small ones leave the other with bytes and no message;
  // whatever is left in pieces must serve whoever has work.
  for (std::uint32_t large : {0U, 1U}) {
    for (std::uint32_t credit : {1U, 2U, 3U, 5U}) {
      Scene s({.shards = 2}, 2);
      HonestConsumer consumer{*s.client};
      s.client->subscribe("billing", credit, 1000);
      for (int i = 0; i < 12; ++i) {
        s.publish(large, {std::to_string(i) + std::string(900, 'x')});
        s.publish(1 - large, {std::to_string(i)});
      }
      for (int round = 0; round < 100 && consumer.got.size() < 24; ++round) consumer.settle_all();
      EXPECT_EQ(consumer.got.size(), 24u) << large << " with " << credit;
    }
  }
}

TEST(Delivery, AMessageOfCreditServesShardsInTurnD2) {
  Scene s({.shards = 2}, 2);
  s.client->subscribe("billing", 1, 100'000);
  for (int i = 0; i < 10; ++i) {
    s.publish(0, {std::to_string(i)});
    s.publish(1, {std::to_string(i)});
  }
  std::map<std::uint32_t, int> from;
  for (int i = 0; i < 10; ++i) {
    Delivered message = s.client->take().at(0);
    ++from[message.partition.value];
    ASSERT_TRUE(s.client->ack(message).ok());
    s.client->credit(1, 1000);
  }
  EXPECT_GE(from[0], 3);
  EXPECT_GE(from[1], 3);
}

TEST(Delivery, PartitionsOfAShardTakeTurns) {
  for (Ordering ordering : {Ordering::kNone, Ordering::kPartition}) {
    SCOPED_TRACE(name(ordering));
    GroupPolicy policy = CoreRig::policy();
    policy.ordering = ordering;
    Scene s({}, 2, policy);
    for (std::uint32_t partition : {0U, 1U}) {
      s.publish(partition, std::vector<std::string>(10, "waits"));
    }
    s.client->subscribe("billing", 1);
    std::map<std::uint32_t, int> from;
    for (int i = 0; i < 10; ++i) {
      std::vector<Delivered> got = s.client->take();
      ASSERT_EQ(got.size(), 1u);
      ++from[got[0].partition.value];
      ASSERT_TRUE(s.client->ack(got[0]).ok());
      s.client->credit(1);
    }
    EXPECT_EQ(from[0], 5);
    EXPECT_EQ(from[1], 5);
  }
}

TEST(Delivery, ConsumersShareAndEachMessageGoesToOne) {
  Scene s({.shards = 2}, 4);
  TestClient& other = s.rig.connect(2, 1);
  s.client->subscribe("billing", 4, 100'000);
  other.subscribe("billing", 4, 100'000);
  for (int i = 0; i < 8; ++i) s.publish(static_cast<std::uint32_t>(i % 4), {std::to_string(i)});
  std::set<std::string> all;
  std::size_t count = 0;
  for (TestClient* client : {s.client, &other}) {
    std::vector<Delivered> got = client->take();
    EXPECT_EQ(got.size(), 4u);
    for (const Delivered& message : got) all.insert(message.value);
    count += got.size();
  }
  EXPECT_EQ(count, 8u);
  EXPECT_EQ(all.size(), 8u);
}

TEST(Delivery, AFailureWaitsItsBackOffAndIsChargedD11) {
  Scene s;
  s.publish(0, {"a"});
  s.client->subscribe("billing");
  Delivered first = s.client->take().at(0);
  EXPECT_EQ(first.delivery, 1u);
  ASSERT_EQ(*s.client->retry(first), SettleOutcome::kDelayed);
  EXPECT_EQ(s.accounting().delayed, 1u);
  s.rig.advance(milliseconds(999));
  EXPECT_TRUE(s.client->pushes.empty());
  s.rig.advance(milliseconds(1));
  Delivered second = s.client->take().at(0);
  EXPECT_EQ(second.delivery, 2u);
  EXPECT_EQ(second.failures, 1u);
  EXPECT_NE(second.token, first.token);
  Settlement later = TestClient::settlement(second, SettleVerb::kRetry);
  later.retry_after = seconds(100);
  ASSERT_TRUE(s.client->settle(later).ok());
  s.rig.advance(seconds(99));
  EXPECT_TRUE(s.client->pushes.empty());
  s.rig.restart();
  s.reconnect().subscribe("billing");
  EXPECT_TRUE(s.client->pushes.empty()) << "it waits on after a restart";
  s.rig.advance(seconds(1));
  Delivered third = s.client->take().at(0);
  EXPECT_EQ(third.delivery, 3u);
  EXPECT_EQ(third.failures, 2u) << "failures are durable (D3)";
}

TEST(Delivery, AWallClockThatJumpedDoesNotParkAMessageD11) {
  Scene s;
  s.publish(0, {"a"});
  s.client->subscribe("billing");
  ASSERT_TRUE(s.client->retry(s.client->take().at(0)).ok());
  s.rig.clock.jump_wall(-hours(100));
  s.rig.restart();
  s.reconnect().subscribe("billing");
  s.rig.advance(seconds(1));
  EXPECT_EQ(s.client->take().size(), 1u);
}

TEST(Delivery, TransientFailuresWaitLongerEachTimeAlthoughTheyAreFreeD11) {
  GroupPolicy policy = CoreRig::policy();
  policy.backoff = {BackoffKind::kExponential, std::chrono::seconds(1), 2.0,
                    std::chrono::seconds(300), Jitter::kNone};
  Scene s({}, 1, policy);
  s.publish(0, {"a"});
  s.client->subscribe("billing");
  for (int wait : {1, 2, 4, 8}) {
    std::vector<Delivered> got = s.client->take();
    ASSERT_EQ(got.size(), 1u) << "before the wait of " << wait;
    ASSERT_TRUE(s.client->retry(got[0], FailureClass::kTransient).ok());
    s.rig.advance(std::chrono::milliseconds(wait * 1000 - 10));
    EXPECT_TRUE(s.client->pushes.empty()) << "wait of " << wait;
    s.rig.advance(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(s.tracked(0)->failures, 0u);
}

TEST(Delivery, TransientFailuresAreFreeForADayThenChargedD11) {
  Scene s;
  s.publish(0, {"a"});
  s.client->subscribe("billing", 100'000);
  for (int hour = 0; hour <= 24; ++hour) {
    Delivered message = s.client->take().at(0);
    EXPECT_EQ(message.failures, 0u) << hour;
    Settlement transient =
        TestClient::settlement(message, SettleVerb::kRetry, FailureClass::kTransient);
    transient.retry_after = hours(1);
    ASSERT_EQ(*s.client->settle(transient), SettleOutcome::kDelayed);
    if (hour == 12) {
      s.rig.restart();  // the day is counted from the first, over restarts
      s.reconnect().subscribe("billing", 100'000);
    }
    s.rig.advance(hours(1));
  }
  Delivered late = s.client->take().at(0);
  Settlement transient = TestClient::settlement(late, SettleVerb::kRetry, FailureClass::kTransient);
  ASSERT_TRUE(s.client->settle(transient).ok());
  EXPECT_EQ(s.tracked(0)->failures, 1u);
}

TEST(Delivery, AReleasedMessageGoesAgainAtOnceUncharged) {
  Scene s;
  s.publish(0, {"a", "b"});
  s.client->subscribe("billing");
  Settlement release = TestClient::settlement(s.client->take().at(0), SettleVerb::kRelease);
  release.range = {{0}, {1}};
  EXPECT_EQ(*s.client->settle(release), SettleOutcome::kReleased);
  std::vector<Delivered> got = s.client->take();
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].delivery, 2u);
  EXPECT_EQ(got[0].failures, 0u);
}

TEST(Delivery, SettlingTwiceOrWithoutTheLeaseIsToldApartD4D5) {
  Scene s;
  TestClient& other = s.rig.connect(2);
  s.publish(0, {"a", "b", "c"});
  s.client->subscribe("billing", 3);
  other.subscribe("billing", 3);
  std::vector<Delivered> got = s.client->take();
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(code_of(other.ack(got[0])), Errc::kLeaseLost) << "somebody else's lease";
  EXPECT_TRUE(s.client->ack(got[0]).ok());
  EXPECT_EQ(code_of(s.client->ack(got[0])), Errc::kAlreadySettled);
  EXPECT_EQ(code_of(s.client->retry(got[0])), Errc::kAlreadySettled);
  EXPECT_TRUE(s.client->retry(got[1]).ok());
  EXPECT_EQ(code_of(s.client->ack(got[1])), Errc::kLeaseLost) << "it was given back";
  Delivered unknown = got[2];
  unknown.partition = {7};
  EXPECT_EQ(code_of(s.client->ack(unknown)), Errc::kUnknownPartition);
  unknown = got[2];
  unknown.token.counter += 1000;
  EXPECT_EQ(code_of(s.client->ack(unknown)), Errc::kLeaseLost);
  SettleRequest twice{1, {TestClient::settlement(got[2]), TestClient::settlement(got[2])}};
  Reply<SettleReply> reply = s.client->call<SettleReply>(twice);
  EXPECT_TRUE(reply->outcomes[0].ok());
  EXPECT_EQ(code_of(reply->outcomes[1]), Errc::kAlreadySettled);
  s.rig.restart();
  s.reconnect().subscribe("billing");
  EXPECT_EQ(code_of(s.client->ack(got[0])), Errc::kAlreadySettled);
}

TEST(Delivery, AnExpiredLeaseIsChargedOnlyIfAHandlerHadStartedD6) {
  Scene s;
  s.publish(0, {"a"});
  s.publish(0, {"b"});
  s.client->subscribe("billing", 2);
  std::vector<Delivered> got = s.client->take();
  ASSERT_EQ(got.size(), 2u);
  ASSERT_EQ(got[0].token, got[1].token);
  // A lease is extended as long as somebody asks.
  for (int i = 0; i < 5; ++i) {
    s.rig.advance(seconds(20));
    ExtendRequest extend{1, {{{0}, got[0].token, {{0}, {1}}, false}}};
    ASSERT_TRUE(s.client->call<ExtendReply>(extend)->outcomes[0].ok());
  }
  s.rig.advance(seconds(29));
  EXPECT_EQ(s.accounting().leased, 2u);
  s.rig.advance(seconds(2));
  EXPECT_EQ(s.accounting().ready, 2u);
  EXPECT_EQ(s.tracked(0)->failures, 0u);
  EXPECT_EQ(s.tracked(0)->unexplained, 0u);
  EXPECT_EQ(code_of(s.client->ack(got[0])), Errc::kLeaseLost);
  ExtendRequest late{1, {{{0}, got[0].token, {{0}, {1}}, true}}};
  EXPECT_EQ(code_of(s.client->call<ExtendReply>(late)->outcomes[0]), Errc::kLeaseLost);

  s.client->credit(1);
  Delivered again = s.client->take().at(0);
  EXPECT_EQ(again.delivery, 2u);
  ExtendRequest started{1, {{{0}, again.token, {{0}, {0}}, true}}};
  ASSERT_TRUE(s.client->call<ExtendReply>(started)->outcomes[0].ok());
  s.rig.advance(seconds(31));
  ASSERT_EQ(s.tracked(0)->failures, 1u);
  EXPECT_EQ(s.tracked(0)->attempts.back().failure.failure_class, FailureClass::kTimeout);
}

TEST(Delivery, AfterARestartItsInstanceHasTheLeaseAgainWithItsFullTimeD5) {
  Scene s;
  s.publish(0, {"a"});
  s.client->subscribe("billing");
  Delivered message = s.client->take().at(0);
  s.rig.advance(seconds(25));
  s.rig.restart();
  s.rig.advance(seconds(9));
  s.reconnect().subscribe("billing");
  ASSERT_TRUE(s.client->claim(message));
  s.rig.advance(seconds(29));
  EXPECT_TRUE(s.client->pushes.empty());
  EXPECT_EQ(*s.client->ack(message), SettleOutcome::kDone);
}

TEST(Delivery, AShortLeaseThatWasTakenBackEndsInTimeD5) {
  GroupPolicy policy = CoreRig::policy();
  policy.lease = seconds(2);
  Scene s({}, 1, policy);
  s.publish(0, {"a"});
  s.client->subscribe("billing");
  Delivered message = s.client->take().at(0);
  s.rig.restart();
  s.reconnect().subscribe("billing");
  ASSERT_TRUE(s.client->claim(message));
  s.rig.advance(seconds(3));
  EXPECT_EQ(s.client->take().size(), 1u);
}

TEST(Delivery, WhatItsInstanceDoesNotClaimNeverReachedItAndIsReadyAfterTenSecondsD5) {
  Scene s;
  s.publish(0, {"a", "b"});
  s.client->subscribe("billing");
  std::vector<Delivered> got = s.client->take();
  ASSERT_EQ(got.size(), 2u);
  s.rig.restart();
  s.reconnect().subscribe("billing");
  s.rig.advance(seconds(9));
  EXPECT_TRUE(s.client->pushes.empty());
  s.rig.advance(seconds(2));
  EXPECT_EQ(s.client->take().size(), 2u);
  EXPECT_EQ(s.tracked(0)->unexplained, 1u);
  EXPECT_EQ(s.tracked(0)->failures, 0u);
}

TEST(Delivery, ALeaseNobodyTakesBackIsReadyAfterTenSecondsUnchargedD5) {
  Scene s;
  s.publish(0, {"a"});
  s.client->subscribe("billing");
  Delivered message = s.client->take().at(0);
  s.rig.restart();
  s.reconnect(2).subscribe("billing");
  s.rig.advance(seconds(9));
  EXPECT_TRUE(s.client->pushes.empty());
  s.rig.advance(seconds(1));
  Delivered again = s.client->take().at(0);
  EXPECT_EQ(again.failures, 0u);
  EXPECT_EQ(again.delivery, 2u);
  EXPECT_EQ(s.tracked(0)->unexplained, 1u);
  EXPECT_EQ(code_of(s.client->ack(message)), Errc::kLeaseLost) << "the old token is void";
  EXPECT_TRUE(s.client->ack(again).ok());
}

TEST(Delivery, ALostConnectionLeavesItsLeasesForItsInstanceAndACleanCloseGivesThemBackD10) {
  Scene s;
  s.publish(0, {"a"});
  TestClient* consumer = &s.rig.connect(5);
  consumer->subscribe("billing");
  Delivered message = consumer->take().at(0);
  s.rig.lose(*consumer);
  consumer = &s.rig.connect(5);
  consumer->subscribe("billing");
  EXPECT_TRUE(consumer->ack(message).ok()) << "it came back in time";

  s.publish(0, {"b"});
  ASSERT_EQ(consumer->take().size(), 1u);
  s.rig.lose(*consumer);
  TestClient& other = s.rig.connect(6);
  other.subscribe("billing");
  s.rig.advance(seconds(9));
  EXPECT_TRUE(other.pushes.empty());
  s.rig.advance(seconds(1));
  ASSERT_EQ(other.take().size(), 1u);
  EXPECT_EQ(s.tracked(1)->unexplained, 1u);
  EXPECT_EQ(s.tracked(1)->failures, 0u);

  TestClient& third = s.rig.connect(7);
  third.subscribe("billing");
  s.rig.close(other);
  ASSERT_EQ(third.take().size(), 1u) << "at once";
  EXPECT_EQ(s.tracked(1)->unexplained, 1u) << "a clean close is no suspicion";
}

TEST(Delivery, WhatNeverLeftCountsAgainstNoLimitD3) {
  Scene s({.max_deliveries = 2});
  s.publish(0, {"a"});
  // Leased for one who is gone before the lease is durable, again and again.
  for (std::uint64_t instance = 5; instance < 9; ++instance) {
    TestClient& hasty = s.rig.connect(instance);
    ASSERT_TRUE(hasty.call<SubscribeReply>(SubscribeRequest{1, "billing"}).ok());
    EXPECT_TRUE(hasty.session->handle(CreditRequest{1, 10, 10'000}).ok());
    s.rig.run_without_disk();
    EXPECT_TRUE(hasty.pushes.empty());
    EXPECT_EQ(s.rig.partition_of(s.group, 0).delivery.leases().size(), 1u);
    s.rig.lose(hasty);
  }
  s.client->subscribe("billing");
  EXPECT_EQ(s.client->take().size(), 1u);
  EXPECT_EQ(s.tracked(0)->unexplained, 0u);
}

TEST(Delivery, TokensAreNeverUsedAgainD4) {
  Scene s;
  std::set<LeaseToken> seen;
  for (int start = 0; start < 4; ++start) {
    s.reconnect().subscribe("billing");
    for (int i = 0; i < 5; ++i) {
      s.publish(0, {"m"});
      for (const Delivered& message : s.client->take()) {
        EXPECT_TRUE(seen.insert(message.token).second);
      }
    }
    s.rig.restart();
  }
}

TEST(Delivery, MoreFailuresThanAFrameHoldsAreSettledInOneRequest) {
  // 4000 messages with a kilobyte of detail each: several frames' worth in one turn.
  GroupPolicy policy = CoreRig::policy();
  policy.max_failures = 10;
  Scene s({.journal_file = 512 * 1024}, 1, policy);
  std::vector<std::string> values(1000, "m");
  for (int i = 0; i < 4; ++i) s.publish(0, values);
  s.client->subscribe("billing", 10'000, 10'000'000);
  SettleRequest request{1, {}};
  for (const DeliverPush& push : s.client->pushes) {
    for (const GrantedRange& range : push.ranges) {
      Settlement retry;
      retry.token = range.token;
      retry.range = range.range;
      retry.verb = SettleVerb::kRetry;
      retry.failure = {FailureClass::kFailed, "broken", std::string(1000, 'd')};
      request.settlements.push_back(retry);
    }
  }
  Reply<SettleReply> reply = s.client->call<SettleReply>(request);
  ASSERT_TRUE(reply.ok());
  for (const auto& outcome : reply->outcomes) EXPECT_TRUE(outcome.ok());
  EXPECT_EQ(s.accounting().delayed, 4000u);
  s.rig.restart();
  s.reconnect();
  EXPECT_EQ(s.accounting().delayed, 4000u);
}

TEST(Delivery, DeletingTheGroupAnswersWhatIsStillUnderWayWithIt) {
  Scene s({.tail_cache = 1});
  s.publish(0, {"bad"});
  s.client->subscribe("billing");
  Delivered message = s.client->take().at(0);
  // The payload is being read back for the dead letter when the group goes.
  auto burying = s.client->begin<SettleReply>(
      SettleRequest{1, {TestClient::settlement(message, SettleVerb::kDeadLetter)}});
  auto left = s.client->begin<UnsubscribeReply>(UnsubscribeRequest{1});
  s.rig.run_without_disk();
  s.rig.shards[0]->delivery().drop(s.group);
  s.rig.run();
  EXPECT_TRUE(left->has_value());
  ASSERT_TRUE(burying->has_value());
  EXPECT_EQ(code_of((**burying)->outcomes[0]), Errc::kUnknownGroup);
}

TEST(Delivery, ADeathUnderWayThatAResetVoidedDoesNotEndTheNextLeaseD15) {
  Scene s({.tail_cache = 1});
  s.publish(0, {"bad"});
  s.client->subscribe("billing");
  Delivered message = s.client->take().at(0);
  auto bury = [&](LeaseToken token) {
    Settlement settlement = TestClient::settlement(message, SettleVerb::kDeadLetter);
    settlement.token = token;
    auto reply = s.client->begin<SettleReply>(SettleRequest{1, {settlement}});
    s.rig.run_without_disk();
    return reply;
  };
  // Its payload is being read back when the group is reset; then it is leased again and dies again.
  auto before = bury(message.token);
  DeliveryEngine& engine = s.rig.shards.front()->delivery();
  engine.reset(s.group, 1, {StartKind::kEarliest, {}, {}}, false, [](const auto&) {});
  s.rig.run_without_disk();
  const auto& leases = s.rig.partition_of(s.group, 0).delivery.leases();
  ASSERT_EQ(leases.size(), 1u);
  auto after = bury(leases.begin()->first);
  s.rig.run();
  ASSERT_TRUE(before->has_value() && after->has_value());
  EXPECT_EQ(code_of((**before)->outcomes[0]), Errc::kLeaseLost);
  EXPECT_EQ(*(**after)->outcomes[0], SettleOutcome::kDead);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(s.accounting().dead, 1u);
    s.rig.restart();
    s.reconnect();
  }
}

TEST(Delivery, AConsumerThatLeavesWhileItsMessageDiesDoesNotDisturbTheBurial) {
  Scene s({.tail_cache = 1});
  s.publish(0, {"a", "bad", "c"});
  s.client->subscribe("billing");
  std::vector<Delivered> got = s.client->take();
  auto burying = s.client->begin<SettleReply>(
      SettleRequest{1, {TestClient::settlement(got[1], SettleVerb::kDeadLetter)}});
  auto left = s.client->begin<UnsubscribeReply>(UnsubscribeRequest{1});
  s.rig.run();
  ASSERT_TRUE(burying->has_value());
  EXPECT_EQ(*(**burying)->outcomes[0], SettleOutcome::kDead);
  EXPECT_EQ(s.accounting().dead, 1u);
  EXPECT_EQ(s.accounting().ready, 2u);
  s.rig.restart();
  s.reconnect();
  EXPECT_EQ(s.accounting().dead, 1u);
}

}  // namespace
}  // namespace waybill

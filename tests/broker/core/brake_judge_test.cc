// Goal: the brake opens when the policy says and not before, probes, and closes or waits longer;
// an operator overrules it (D13). Method: outcomes and time by hand; every short sequence of
// outcomes against a second, plainer reckoning.
#include "broker/core/brake_judge.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace waybill {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

struct Bench {
  BrakePolicy policy;
  ManualClock clock;
  BrakeJudge judge{Brake{}};

  void end(bool failed, std::int64_t offset, std::uint32_t partition = 0) {
    judge.outcome(policy, {{partition}, {offset}, failed, false}, clock);
  }
  /// Failures of as many messages as open it.
  void trip() {
    for (std::uint32_t i = 0; i < policy.in_a_row; ++i) end(true, 1000 + i);
    ASSERT_EQ(state(), BrakeState::kOpen);
  }
  void wait(Duration duration) {
    clock.advance(duration);
    judge.tick(policy, clock);
  }
  [[nodiscard]] BrakeState state() const { return judge.brake().state; }
  [[nodiscard]] const std::string& cause() const { return judge.brake().cause; }
};

TEST(BrakeJudge, TenMessagesInARowOpenItAndNineDoNotD13) {
  Bench bench;
  for (int i = 0; i < 9; ++i) bench.end(true, i);
  EXPECT_EQ(bench.state(), BrakeState::kClosed);
  EXPECT_FALSE(bench.judge.deadline());
  bench.end(true, 9);
  EXPECT_EQ(bench.state(), BrakeState::kOpen);
  EXPECT_EQ(bench.cause(), "10 messages in a row failed");
  EXPECT_EQ(bench.judge.brake().since, bench.clock.wall());
  EXPECT_EQ(bench.judge.deadline(), bench.clock.monotonic() + seconds(10));
}

TEST(BrakeJudge, OneMessageThatFailsAgainAndAgainIsNoRowOfMessagesD13) {
  Bench bench;
  bench.policy.outcomes = 1000;  // so that only the row could open it
  for (int i = 0; i < 900; ++i) bench.end(true, 5);
  for (int i = 0; i < 8; ++i) bench.end(true, i % 8, 1);
  EXPECT_EQ(bench.state(), BrakeState::kClosed);
  bench.end(true, 5, 2);
  EXPECT_EQ(bench.state(), BrakeState::kOpen) << "the same offset elsewhere is another message";
}

TEST(BrakeJudge, ASuccessEndsTheRowD13) {
  Bench bench;
  bench.policy.percent = 100;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 9; ++i) bench.end(true, round * 10 + i);
    bench.end(false, round * 10 + 9);
  }
  EXPECT_EQ(bench.state(), BrakeState::kClosed);
}

TEST(BrakeJudge, HalfOfTheLastTwentyOpenItAndOneLessDoesNotD13) {
  Bench bench;
  for (int i = 0; i < 11; ++i) bench.end(false, i);
  for (int i = 0; i < 9; ++i) bench.end(true, 11 + i);
  EXPECT_EQ(bench.state(), BrakeState::kClosed) << "9 of 20";
  Bench other;
  for (int i = 0; i < 19; ++i) other.end(i % 2 == 1, i);
  EXPECT_EQ(other.state(), BrakeState::kClosed) << "too few to say";
  other.end(true, 19);
  EXPECT_EQ(other.state(), BrakeState::kOpen);
  EXPECT_EQ(other.cause(), "10 of the last 20 deliveries failed");
}

TEST(BrakeJudge, WhatIsOlderThanThePeriodDoesNotCountD13) {
  Bench bench;
  for (int i = 0; i < 9; ++i) bench.end(true, i);
  bench.clock.advance(minutes(10) + milliseconds(1));
  for (int i = 0; i < 9; ++i) bench.end(true, 100 + i);
  EXPECT_EQ(bench.state(), BrakeState::kClosed) << "neither the row nor the share";
  bench.clock.advance(minutes(10));
  bench.end(true, 200);
  EXPECT_EQ(bench.state(), BrakeState::kOpen) << "just within the period";
}

TEST(BrakeJudge, EverySequenceOfOutcomesOpensItExactlyWhenTheRulesSayD13) {
  // A small policy, all sequences of 12 outcomes of 4 messages in two orders: the rules by hand.
  for (std::uint32_t bits = 0; bits < (1u << 12); ++bits) {
    Bench bench;
    bench.policy.outcomes = 6;
    bench.policy.percent = 67;
    bench.policy.in_a_row = 3;
    std::vector<std::pair<bool, std::int64_t>> all;
    bool open = false;
    for (std::uint32_t i = 0; i < 12 && !open; ++i) {
      bool failed = (bits >> i & 1) != 0;
      std::int64_t message = i * (bits % 3 + 1) % 4;
      all.emplace_back(failed, message);
      std::set<std::int64_t> row;
      for (auto it = all.rbegin(); it != all.rend() && it->first; ++it) row.insert(it->second);
      std::size_t failures = 0;
      std::size_t first = all.size() < 6 ? 0 : all.size() - 6;
      for (std::size_t k = first; k < all.size(); ++k) failures += all[k].first ? 1 : 0;
      open = row.size() >= 3 || (all.size() >= 6 && failures * 100 >= 67 * 6);
      bench.end(failed, message);
      ASSERT_EQ(bench.state() == BrakeState::kOpen, open) << "bits " << bits << " at " << i;
    }
  }
}

TEST(BrakeJudge, ItProbesAfterTheWaitAndClosesAfterEnoughSuccessesD13) {
  Bench bench;
  bench.trip();
  bench.end(false, 1);
  bench.end(true, 2);
  EXPECT_EQ(bench.state(), BrakeState::kOpen) << "leases of before are no probes";
  bench.wait(seconds(10) - Duration(1));
  EXPECT_EQ(bench.state(), BrakeState::kOpen);
  bench.wait(Duration(1));
  EXPECT_EQ(bench.state(), BrakeState::kProbing);
  EXPECT_EQ(bench.cause(), "10 messages in a row failed") << "still why it is braked";
  EXPECT_FALSE(bench.judge.deadline());
  bench.end(false, 1);
  bench.end(false, 2);
  EXPECT_EQ(bench.state(), BrakeState::kProbing);
  bench.end(false, 3);
  EXPECT_EQ(bench.state(), BrakeState::kClosed);
  EXPECT_EQ(bench.cause(), "3 probes in a row succeeded");
  for (int i = 0; i < 9; ++i) bench.end(true, i);
  EXPECT_EQ(bench.state(), BrakeState::kClosed) << "what was before it opened is forgotten";
}

TEST(BrakeJudge, EachFailedProbeDoublesTheWaitUpToFiveMinutesD13) {
  Bench bench;
  bench.trip();
  bench.wait(seconds(10));
  for (int expected : {20, 40, 80, 160, 300, 300}) {
    ASSERT_EQ(bench.state(), BrakeState::kProbing);
    bench.end(false, 1);
    bench.end(false, 2);
    bench.end(true, 3);
    EXPECT_EQ(bench.state(), BrakeState::kOpen);
    EXPECT_EQ(bench.cause(), "10 messages in a row failed; then a probe failed");
    bench.wait(seconds(expected) - Duration(1));
    EXPECT_EQ(bench.state(), BrakeState::kOpen) << expected;
    bench.wait(Duration(1));
  }
  for (int i = 0; i < 3; ++i) bench.end(false, i);
  ASSERT_EQ(bench.state(), BrakeState::kClosed);
  bench.trip();
  EXPECT_EQ(bench.judge.deadline(), bench.clock.monotonic() + seconds(10)) << "from the beginning";
}

TEST(BrakeJudge, AWaitBeyondFiveMinutesStaysAsLongAsThePolicySaysD13) {
  Bench bench;
  bench.policy.probe_after = minutes(20);
  bench.trip();
  bench.wait(minutes(20));
  bench.end(true, 1);
  EXPECT_EQ(bench.judge.deadline(), bench.clock.monotonic() + minutes(20));
}

TEST(BrakeJudge, WhatComesBackFromTheDeadLettersNeitherOpensNorClosesItD13) {
  Bench bench;
  auto redriven = [&](bool failed, std::int64_t offset) {
    bench.judge.outcome(bench.policy, {{0}, {offset}, failed, true}, bench.clock);
  };
  for (int i = 0; i < 100; ++i) redriven(true, i);
  EXPECT_EQ(bench.state(), BrakeState::kClosed);
  bench.trip();
  bench.wait(seconds(10));
  for (int i = 0; i < 100; ++i) redriven(false, i);
  EXPECT_EQ(bench.state(), BrakeState::kProbing);
}

TEST(BrakeJudge, AnOperatorForcesItEitherWayAndGivesItBackD13) {
  Bench bench;
  bench.judge.set_mode(BrakeMode::kForcedOpen, bench.clock);
  EXPECT_EQ(bench.state(), BrakeState::kOpen);
  EXPECT_FALSE(bench.judge.deadline());
  bench.wait(std::chrono::hours(24));
  bench.end(false, 1);
  EXPECT_EQ(bench.state(), BrakeState::kOpen) << "it does not probe";
  bench.judge.set_mode(BrakeMode::kForcedClosed, bench.clock);
  for (int i = 0; i < 100; ++i) bench.end(true, i);
  EXPECT_EQ(bench.state(), BrakeState::kClosed);
  EXPECT_EQ(bench.cause(), "forced closed by an operator");
  bench.judge.set_mode(BrakeMode::kAutomatic, bench.clock);
  EXPECT_EQ(bench.state(), BrakeState::kClosed);
  bench.trip();
  Brake before = bench.judge.brake();
  bench.judge.set_mode(BrakeMode::kAutomatic, bench.clock);
  EXPECT_EQ(bench.judge.brake(), before) << "nothing new";
  bench.judge.set_mode(BrakeMode::kForcedOpen, bench.clock);
  bench.judge.set_mode(BrakeMode::kAutomatic, bench.clock);
  EXPECT_EQ(bench.state(), BrakeState::kProbing) << "carefully";
}

TEST(BrakeJudge, APolicyWithoutBrakeClosesItD13) {
  Bench bench;
  bench.trip();
  bench.policy.enabled = false;
  bench.wait(Duration(0));
  EXPECT_EQ(bench.state(), BrakeState::kClosed);
  for (int i = 0; i < 100; ++i) bench.end(true, i);
  EXPECT_EQ(bench.state(), BrakeState::kClosed);
}

TEST(BrakeJudge, AfterARestartAnOpenBrakeIsProbedAtOnceAndAForcedOneStaysD13) {
  Bench bench;
  bench.judge = BrakeJudge({BrakeState::kOpen, BrakeMode::kAutomatic, {5}, "why"});
  ASSERT_TRUE(bench.judge.deadline());
  EXPECT_LE(*bench.judge.deadline(), bench.clock.monotonic());
  bench.wait(Duration(0));
  EXPECT_EQ(bench.state(), BrakeState::kProbing);
  EXPECT_EQ(bench.cause(), "why");
  bench.end(true, 1);
  EXPECT_EQ(bench.judge.deadline(), bench.clock.monotonic() + seconds(10));
  bench.judge = BrakeJudge({BrakeState::kOpen, BrakeMode::kForcedOpen, {5}, "why"});
  bench.wait(seconds(100));
  EXPECT_EQ(bench.state(), BrakeState::kOpen);
  bench.judge = BrakeJudge({BrakeState::kProbing, BrakeMode::kAutomatic, {5}, "why"});
  for (int i = 0; i < 3; ++i) bench.end(false, i);
  EXPECT_EQ(bench.state(), BrakeState::kClosed);
}

}  // namespace
}  // namespace waybill

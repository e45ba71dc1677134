// Goal: what an operator or the brake does to a group reaches every shard, survives cuts, and is
// answered when it holds everywhere. Method: CoreRig with several shards; outcomes told to the
// group's home as shards tell them; power cuts at every operation of the disk.
#include <set>

#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

/// As the shards tell it: failures of `count` messages of one partition.
std::vector<DeliveryOutcome> failures(int count, std::int64_t first = 0) {
  std::vector<DeliveryOutcome> outcomes;
  for (int i = 0; i < count; ++i) outcomes.push_back({{0}, {first + i}, true, false});
  return outcomes;
}
std::vector<DeliveryOutcome> successes(int count) {
  std::vector<DeliveryOutcome> outcomes;
  for (int i = 0; i < count; ++i) outcomes.push_back({{0}, {i}, false, false});
  return outcomes;
}

struct Control : Scene {
  explicit Control(RigOptions options = {.shards = 3}) : Scene(options, 3) {}

  void ended(const std::vector<DeliveryOutcome>& outcomes) {
    rig.shards.front()->catalog_owner().ended(group, outcomes);
    rig.run();
  }
  /// The group as every shard and every gateway has it; fails unless they agree.
  GroupInfo info() {
    const GroupInfo shown = *rig.shards.front()->catalog()->group(group);
    for (auto& shard : rig.shards) {
      EXPECT_EQ(shard->delivery().find(group)->info, shown);
      EXPECT_EQ(*shard->catalog()->group(group), shown);
    }
    return shown;
  }
  BrakeState brake() { return info().brake.state; }
  Reply<PauseGroupReply> pause(bool paused) {
    return client->call<PauseGroupReply>(PauseGroupRequest{"billing", paused});
  }
  Reply<SetBrakeReply> set_brake(BrakeMode mode) {
    return client->call<SetBrakeReply>(SetBrakeRequest{"billing", mode});
  }
};

TEST(GroupControl, APauseReachesEveryShardAndSurvivesARestartS13) {
  Control control;
  EXPECT_FALSE(control.info().paused);
  Reply<PauseGroupReply> paused = control.pause(true);
  ASSERT_TRUE(paused.ok());
  EXPECT_TRUE(paused->group.paused);
  EXPECT_EQ(control.info(), paused->group);
  EXPECT_EQ(control.pause(true)->group, paused->group) << "nothing changed: no new version";
  control.rig.restart();
  control.reconnect();
  EXPECT_EQ(control.info(), paused->group);
  ASSERT_TRUE(control.pause(false).ok());
  EXPECT_FALSE(control.info().paused);
  EXPECT_EQ(code_of(control.client->call<PauseGroupReply>(PauseGroupRequest{"bilingg", true})),
            Errc::kUnknownGroup);
}

TEST(GroupControl, APauseIsAnsweredWhenEveryShardHasItAndIsEverywhereOrNowhereAfterACutS13) {
  int paused = 0;
  for (std::uint64_t operations = 0;; ++operations) {
    Control control;
    control.rig.disk->crash_after(operations);
    auto reply = control.client->begin<PauseGroupReply>(PauseGroupRequest{"billing", true});
    control.rig.run();
    bool cut = control.rig.disk->crashed();
    bool told = reply->has_value() && (*reply)->ok();
    EXPECT_EQ(told, !cut);
    control.rig.restart(keep_random(operations));
    bool is_paused = control.info().paused;
    paused += is_paused ? 1 : 0;
    EXPECT_TRUE(is_paused || !told);
    if (!cut) break;
    EXPECT_LT(operations, 100u);
  }
  EXPECT_GT(paused, 1) << "a cut never came between the catalog's entry and the shards'";
}

TEST(GroupControl, TheBrakeOpensOnEveryShardProbesAndClosesD13) {
  Control control;
  control.ended(failures(9));
  EXPECT_EQ(control.brake(), BrakeState::kClosed);
  control.ended(failures(1, 9));
  EXPECT_EQ(control.brake(), BrakeState::kOpen);
  EXPECT_EQ(control.info().brake.cause, "10 messages in a row failed");
  EXPECT_EQ(control.info().brake.since, control.rig.clock.wall());
  control.rig.advance(seconds(10) - milliseconds(1));
  EXPECT_EQ(control.brake(), BrakeState::kOpen);
  control.rig.advance(milliseconds(1));
  EXPECT_EQ(control.brake(), BrakeState::kProbing);
  control.ended(failures(1));
  EXPECT_EQ(control.brake(), BrakeState::kOpen);
  control.rig.advance(seconds(20));
  EXPECT_EQ(control.brake(), BrakeState::kProbing);
  control.ended(successes(3));
  EXPECT_EQ(control.brake(), BrakeState::kClosed);
}

TEST(GroupControl, AnOpenBrakeSurvivesARestartAndIsProbedD13) {
  Control control;
  control.ended(failures(10));
  control.rig.restart();
  EXPECT_EQ(control.brake(), BrakeState::kProbing);
  EXPECT_EQ(control.info().brake.cause, "10 messages in a row failed");
  control.rig.restart();
  EXPECT_EQ(control.brake(), BrakeState::kProbing);
  control.ended(successes(3));
  EXPECT_EQ(control.brake(), BrakeState::kClosed);
  control.rig.restart();
  EXPECT_EQ(control.brake(), BrakeState::kClosed);
}

TEST(GroupControl, ACutAtAnyMomentOfABrakesChangeLeavesOneBrakeForAllShardsD13) {
  std::set<BrakeState> states;
  for (std::uint64_t operations = 0;; ++operations) {
    Control control;
    control.rig.disk->crash_after(operations);
    control.ended(failures(10));
    bool cut = control.rig.disk->crashed();
    control.rig.restart(keep_random(operations));
    states.insert(control.brake());
    if (!cut) break;
  }
  EXPECT_EQ(states, (std::set{BrakeState::kClosed, BrakeState::kProbing}));
}

TEST(GroupControl, AnOperatorForcesTheBrakeAndGivesItBackD13) {
  Control control;
  Reply<SetBrakeReply> forced = control.set_brake(BrakeMode::kForcedOpen);
  ASSERT_TRUE(forced.ok());
  EXPECT_EQ(control.info(), forced->group);
  EXPECT_EQ(control.brake(), BrakeState::kOpen);
  control.rig.restart();
  control.reconnect();
  control.rig.advance(minutes(60));
  EXPECT_EQ(control.brake(), BrakeState::kOpen);
  ASSERT_TRUE(control.set_brake(BrakeMode::kForcedClosed).ok());
  control.ended(failures(100));
  EXPECT_EQ(control.brake(), BrakeState::kClosed);
  ASSERT_TRUE(control.set_brake(BrakeMode::kAutomatic).ok());
  control.ended(failures(100));
  EXPECT_EQ(control.brake(), BrakeState::kOpen);
  EXPECT_EQ(code_of(control.client->call<SetBrakeReply>(SetBrakeRequest{"none"})),
            Errc::kUnknownGroup);
}

TEST(GroupControl, ABrakeThatThePolicyNoLongerHasIsClosedD13) {
  Control control;
  control.ended(failures(10));
  GroupPolicy policy = CoreRig::policy();
  policy.brake.enabled = false;
  Reply<AlterGroupReply> altered =
      control.client->call<AlterGroupReply>(AlterGroupRequest{"billing", policy});
  ASSERT_TRUE(altered.ok());
  control.rig.run();
  EXPECT_EQ(control.brake(), BrakeState::kClosed);
  EXPECT_EQ(control.info().policy, policy);
  control.ended(failures(100));
  EXPECT_EQ(control.brake(), BrakeState::kClosed);
}

TEST(GroupControl, MetricsCountPausedAndBrakedGroupsAndWhyPartitionsWaitD9) {
  Control control;
  control.publish(0, {"a", "b"});
  auto home = [&] { return control.rig.shards.front()->metrics(); };
  EXPECT_EQ(home().groups, 1u);
  EXPECT_EQ(home().groups_paused + home().groups_braked + home().groups_probing, 0u);
  ASSERT_TRUE(control.pause(true).ok());
  EXPECT_EQ(home().groups_paused, 1u);
  control.ended(failures(10));
  EXPECT_EQ(home().groups_braked, 1u);
  control.rig.advance(seconds(10));
  EXPECT_EQ(home().groups_probing, 1u);
  ShardMetrics sum;
  for (auto& shard : control.rig.shards) {
    ShardMetrics metrics = shard->metrics();
    sum.ready += metrics.ready;
    for (std::size_t i = 0; i < kWaitingCount; ++i) sum.waiting[i] += metrics.waiting[i];
  }
  EXPECT_EQ(sum.ready, 2u);
  EXPECT_EQ(sum.waiting[std::to_underlying(Waiting::kNothingReady)], 2u);
}

TEST(GroupControl, OutcomesOfADeletedGroupAreNobodysD13) {
  Control control;
  control.ended(failures(10));
  ASSERT_TRUE(control.client->call<DeleteGroupReply>(DeleteGroupRequest{"billing", false}).ok());
  control.ended(failures(10));
  control.rig.advance(minutes(10));
  EXPECT_EQ(control.rig.shards.front()->catalog()->group(control.group), nullptr);
}

}  // namespace
}  // namespace waybill

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
  Waiting waiting(std::uint32_t partition) {
    return client->call<DescribeGroupReply>(DescribeGroupRequest{"billing"})
        ->partitions.at(partition)
        .waiting;
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
  ASSERT_TRUE(control.set_brake(BrakeMode::kForcedOpen).ok());
  EXPECT_EQ(control.brake(), BrakeState::kOpen) << "an operator may, all the same";
  ASSERT_TRUE(control.set_brake(BrakeMode::kAutomatic).ok());
  EXPECT_EQ(control.brake(), BrakeState::kClosed);
}

TEST(GroupControl, APausedGroupDeliversNothingAndSettlesWhatIsLeasedD9) {
  Control control;
  control.client->subscribe("billing");
  control.publish(0, {"a"});
  std::vector<Delivered> held = control.client->take();
  ASSERT_EQ(held.size(), 1u);
  ASSERT_TRUE(control.pause(true).ok());
  control.publish(0, {"b"});
  control.rig.advance(seconds(20));
  EXPECT_TRUE(control.client->take().empty());
  EXPECT_EQ(control.waiting(0), Waiting::kPaused);
  EXPECT_TRUE(control.client->ack(held[0]).ok());
  ASSERT_TRUE(control.pause(false).ok());
  EXPECT_EQ(control.client->take().size(), 1u);
}

TEST(GroupControl, AGroupWhoseDeliveriesFailIsBrakedProbedUnchargedAndGoesOnD13) {
  Control control;
  control.client->subscribe("billing");
  for (std::uint32_t i = 0; i < 3; ++i) control.publish(i, {"a", "b", "c", "d"});
  std::vector<Delivered> first = control.client->take();
  ASSERT_EQ(first.size(), 12u);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(control.client->retry(first[i]).ok());
  EXPECT_EQ(control.brake(), BrakeState::kOpen);
  control.rig.advance(seconds(5));  // their back-off is over
  EXPECT_TRUE(control.client->take().empty());
  EXPECT_EQ(control.waiting(first[0].partition.value), Waiting::kBraked);
  EXPECT_TRUE(control.client->ack(first[10]).ok());
  EXPECT_TRUE(control.client->ack(first[11]).ok());
  control.rig.advance(seconds(5));
  EXPECT_EQ(control.brake(), BrakeState::kProbing);
  std::vector<Delivered> probes = control.client->take();
  ASSERT_FALSE(probes.empty());
  EXPECT_LE(probes.size(), 3u) << "one at a time for each shard";
  ASSERT_TRUE(control.client->retry(probes[0]).ok());
  EXPECT_EQ(control.brake(), BrakeState::kOpen);
  EXPECT_EQ(control.tracked(probes[0].offset.value, probes[0].partition.value)->failures, 1u)
      << "a probe is not charged";
  for (std::size_t i = 1; i < probes.size(); ++i) {
    ASSERT_TRUE(control.client->ack(probes[i]).ok());
  }
  control.rig.advance(seconds(20));
  EXPECT_EQ(control.brake(), BrakeState::kProbing);
  int acked = 0;
  for (int round = 0; round < 20 && control.brake() == BrakeState::kProbing; ++round) {
    for (const Delivered& probe : control.client->take()) {
      ASSERT_TRUE(control.client->ack(probe).ok());
      ++acked;
    }
  }
  EXPECT_EQ(control.brake(), BrakeState::kClosed);
  EXPECT_GE(acked, 3);
  control.rig.run();
  for (const Delivered& message : control.client->take()) {
    ASSERT_TRUE(control.client->ack(message).ok());
  }
  EXPECT_EQ(control.accounting().done, 12u);
}

TEST(GroupControl, EveryClassOfFailureTripsTheBrakeButInvalidD13) {
  for (FailureClass failure_class : {FailureClass::kFailed, FailureClass::kTransient,
                                     FailureClass::kTimeout, FailureClass::kInvalid}) {
    SCOPED_TRACE(name(failure_class));
    Control control;
    control.client->subscribe("billing");
    for (std::uint32_t i = 0; i < 3; ++i) control.publish(i, {"a", "b", "c", "d"});
    std::vector<Delivered> got = control.client->take();
    ASSERT_EQ(got.size(), 12u);
    for (const Delivered& message : got) {
      ASSERT_TRUE(control.client->retry(message, failure_class).ok());
    }
    bool counts = failure_class != FailureClass::kInvalid;
    EXPECT_EQ(control.brake(), counts ? BrakeState::kOpen : BrakeState::kClosed);
  }
}

// --- reset and check ---

/// Two messages in each of three partitions, all acked.
struct Reset : Control {
  Reset() {
    for (std::uint32_t i = 0; i < 3; ++i) publish(i, {"a", "b"});
    client->subscribe("billing");
    for (const Delivered& message : client->take()) EXPECT_TRUE(client->ack(message).ok());
    EXPECT_TRUE(client->call<UnsubscribeReply>(UnsubscribeRequest{1}).ok());
    EXPECT_EQ(accounting().done, 6u);
  }
  Reply<ResetGroupReply> reset(GroupStart start, bool dry_run = false, bool include_dead = false) {
    return client->call<ResetGroupReply>(
        ResetGroupRequest{"billing", start, include_dead, dry_run});
  }
  void expect_checked() {
    Reply<CheckGroupReply> check = client->call<CheckGroupReply>(CheckGroupRequest{"billing"});
    ASSERT_TRUE(check.ok());
    ASSERT_EQ(check->partitions.size(), 3u);
    for (std::uint32_t i = 0; i < 3; ++i) {
      EXPECT_EQ(check->partitions[i].partition, PartitionIndex{i});
      EXPECT_EQ(check->partitions[i].kept, check->partitions[i].counted);
    }
  }
};
constexpr GroupStart kEarliest{StartKind::kEarliest, {}, {}};
constexpr GroupStart kLatest{StartKind::kLatest, {}, {}};

TEST(GroupControl, ADryRunSaysWhatAResetWouldDoAndDoesNothingD15) {
  Reset scene;
  GroupInfo before = scene.info();
  Reply<ResetGroupReply> plan = scene.reset(kEarliest, true);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->group, before);
  ASSERT_EQ(plan->partitions.size(), 3u);
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(plan->partitions[i].partition, PartitionIndex{i});
    EXPECT_EQ(plan->partitions[i].from, Offset{2});
    EXPECT_EQ(plan->partitions[i].to, Offset{0});
    EXPECT_EQ(plan->partitions[i].redelivered, 2u);
    EXPECT_EQ(plan->partitions[i].skipped, 0u);
  }
  EXPECT_EQ(scene.info(), before);
  EXPECT_EQ(scene.accounting().done, 6u);
}

TEST(GroupControl, AResetDeliversAgainOrSkipsInEveryPartitionD15) {
  Reset scene;
  Reply<ResetGroupReply> again = scene.reset(kEarliest);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->group, scene.info());
  EXPECT_EQ(again->group.epoch, 1u);
  ASSERT_EQ(again->partitions.size(), 3u);
  EXPECT_EQ(again->partitions[2].redelivered, 2u);
  EXPECT_EQ(scene.accounting().ready, 6u);
  scene.expect_checked();
  scene.rig.restart();
  scene.reconnect();
  EXPECT_EQ(scene.accounting().ready, 6u);
  Reply<ResetGroupReply> skip = scene.reset(kLatest);
  ASSERT_TRUE(skip.ok());
  EXPECT_EQ(skip->group.epoch, 2u);
  EXPECT_EQ(skip->partitions[1].skipped, 2u);
  EXPECT_EQ(scene.accounting().ready, 0u);
  scene.expect_checked();
  scene.client->subscribe("billing");
  EXPECT_TRUE(scene.client->take().empty());
  scene.publish(1, {"new"});
  ASSERT_EQ(scene.client->take().size(), 1u);
}

TEST(GroupControl, AResetIsEverywhereOrNowhereAfterACutAtAnyMomentD15) {
  std::set<std::uint32_t> epochs;
  for (std::uint64_t operations = 0;; ++operations) {
    Reset scene;
    scene.rig.disk->crash_after(operations);
    auto reply =
        scene.client->begin<ResetGroupReply>(ResetGroupRequest{"billing", kEarliest, false, false});
    scene.rig.run();
    bool cut = scene.rig.disk->crashed();
    bool told = reply->has_value() && (*reply)->ok();
    EXPECT_EQ(told, !cut);
    scene.rig.restart(keep_random(operations));
    scene.reconnect();
    std::uint32_t epoch = scene.info().epoch;
    epochs.insert(epoch);
    EXPECT_EQ(scene.accounting().ready, epoch * 6) << "after " << operations << " operations";
    EXPECT_TRUE(epoch == 1 || !told);
    scene.expect_checked();
    if (!cut) break;
  }
  EXPECT_EQ(epochs, (std::set<std::uint32_t>{0, 1}));
}

TEST(GroupControl, WhatIsAskedForAgainIsAdoptedOnlyOnceItIsDurableS13) {
  Reset scene;
  auto reset =
      scene.client->begin<ResetGroupReply>(ResetGroupRequest{"billing", kEarliest, false, false});
  auto again = scene.client->begin<PauseGroupReply>(PauseGroupRequest{"billing", false});
  scene.rig.run();
  ASSERT_TRUE(reset->has_value() && (*reset)->ok() && again->has_value() && (*again)->ok());
  EXPECT_EQ((**reset)->partitions.size(), 3u) << "nobody had adopted the reset before";
}

TEST(GroupControl, AResetKeepsOpenDeadLettersUnlessTheyAreIncludedD15) {
  Reset scene;
  scene.client->subscribe("billing");
  scene.publish(0, {"bad"});
  ASSERT_TRUE(scene.client->bury(scene.client->take().at(0)).ok());
  ASSERT_TRUE(scene.client->call<UnsubscribeReply>(UnsubscribeRequest{1}).ok());
  Reply<ResetGroupReply> kept = scene.reset(kEarliest);
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(kept->partitions[0].dead_kept, 1u);
  EXPECT_EQ(scene.accounting().dead, 1u);
  EXPECT_EQ(scene.accounting().ready, 6u);
  Reply<ResetGroupReply> taken = scene.reset(kEarliest, false, true);
  ASSERT_TRUE(taken.ok());
  EXPECT_EQ(taken->partitions[0].dead_kept, 0u);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(scene.accounting().dead, 0u);
    EXPECT_EQ(scene.accounting().ready, 7u);
    scene.expect_checked();
    scene.rig.restart();
    scene.reconnect();
  }
}

TEST(GroupControl, AResetIsRefusedWithoutAStartOrAGroupD15) {
  Reset scene;
  EXPECT_EQ(code_of(scene.reset({})), Errc::kInvalidPolicy);
  EXPECT_EQ(code_of(scene.client->call<ResetGroupReply>(
                ResetGroupRequest{"biling", kEarliest, false, false})),
            Errc::kUnknownGroup);
  EXPECT_EQ(code_of(scene.client->call<CheckGroupReply>(CheckGroupRequest{"biling"})),
            Errc::kUnknownGroup);
  EXPECT_EQ(scene.info().epoch, 0u);
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

// Goal: whatever happens to a group in whatever order - settlements, pauses, brakes, resets, power
// cuts - every message is accounted for once, on every shard alike. Method: random steps from a
// seed, in every ordering; after each step check_group counts all records anew (D19).
#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

struct Kind {
  Ordering ordering;
  OnDeadLetter on_dead_letter;
};

/// How much of what was seen over all seeds: a generator that reaches nothing proves nothing.
struct Reached {
  std::uint64_t delayed = 0;
  std::uint64_t held = 0;
  std::uint64_t dead = 0;
  std::uint64_t discarded = 0;
  std::uint64_t skipped = 0;
  std::uint64_t braked = 0;
  std::uint64_t probing = 0;
};

class RandomGroup {
 public:
  RandomGroup(std::uint64_t seed, Kind kind, Reached& reached)
      : reached_(reached), random_(seed), rig_({.shards = 3}), client_(&rig_.connect()) {
    GroupPolicy policy = CoreRig::policy();
    policy.ordering = kind.ordering;
    policy.on_dead_letter = kind.on_dead_letter;
    policy.brake.in_a_row = 6;
    topic_ = rig_.create_topic(*client_, "orders", kPartitions);
    group_ = rig_.create_group(*client_, "billing", "orders", policy);
    client_->subscribe("billing", 50);
  }

  void step() {
    switch (below(16)) {
      case 0:
      case 1:
      case 2:
        return publish();
      case 3:
      case 4:
      case 5:
      case 6:
      case 7:
        return settle();
      case 8:
        return rig_.advance(milliseconds(below(12'000)));
      case 9:
        (void)client_->call<PauseGroupReply>(PauseGroupRequest{"billing", below(3) == 0});
        return;
      case 10:
        (void)client_->call<SetBrakeReply>(
            SetBrakeRequest{"billing", below(4) == 0 ? BrakeMode(2 + below(2)) : BrakeMode(1)});
        return;
      case 11:
        return reset();
      case 12:
        (void)client_->call<RedriveReply>(RedriveRequest{selection(), true, "test"});
        return;
      case 13:
        if (below(3) == 0) {
          (void)client_->call<DiscardReply>(DiscardRequest{selection(), "test", "why"});
        }
        return;
      case 14:
        client_->credit(static_cast<std::uint32_t>(below(30)));
        return;
      default:
        if (below(2) == 0) return reconnect();
        return cut();
    }
  }

  void check() {
    Reply<CheckGroupReply> reply = client_->call<CheckGroupReply>(CheckGroupRequest{"billing"});
    ASSERT_TRUE(reply.ok());
    ASSERT_EQ(reply->partitions.size(), kPartitions);
    for (const PartitionCheck& partition : reply->partitions) {
      EXPECT_EQ(partition.kept, partition.counted) << "partition " << partition.partition.value;
      EXPECT_EQ(partition.kept.sum(),
                static_cast<std::uint64_t>(partition.kept.end - partition.kept.start));
    }
    Accounting all = rig_.accounting(*client_, "billing");
    reached_.delayed += all.delayed;
    reached_.dead += all.dead;
    reached_.discarded += all.discarded;
    for (const PartitionCheck& partition : reply->partitions) {
      reached_.held += partition.counted.held;
      reached_.skipped += partition.counted.skipped;
    }
    const GroupInfo& shown = *rig_.shards.front()->catalog()->group(group_);
    EXPECT_EQ(shown.epoch, epoch_);
    if (shown.brake.mode == BrakeMode::kAutomatic) {
      if (shown.brake.state == BrakeState::kOpen) ++reached_.braked;
      if (shown.brake.state == BrakeState::kProbing) ++reached_.probing;
    }
    for (auto& shard : rig_.shards) EXPECT_EQ(shard->delivery().find(group_)->info, shown);
  }

  /// Whatever is stopped goes on, and everything is settled in the end: nothing is stuck.
  void drain() {
    (void)client_->call<PauseGroupReply>(PauseGroupRequest{"billing", false});
    (void)client_->call<SetBrakeReply>(SetBrakeRequest{"billing", BrakeMode::kForcedClosed});
    (void)client_->call<DiscardReply>(DiscardRequest{selection(), "test", "why"});
    client_->credit(1000);
    for (int round = 0; round < 200; ++round) {
      take();
      for (const Delivered& message : std::exchange(held_, {})) (void)client_->ack(message);
      rig_.advance(seconds(40));
    }
    take();
    Accounting all = rig_.accounting(*client_, "billing");
    EXPECT_EQ(all.ready + all.leased + all.delayed, 0u) << "something is never delivered";
    Reply<DescribeGroupReply> reply =
        client_->call<DescribeGroupReply>(DescribeGroupRequest{"billing"});
    for (const GroupPartitionStatus& status : reply->partitions) {
      EXPECT_EQ(status.accounting.held, 0u);
      EXPECT_EQ(status.accounting.dead, 0u);
    }
  }

 private:
  static constexpr std::uint32_t kPartitions = 4;

  std::uint64_t below(std::uint64_t bound) { return random_.next() % bound; }
  void take() {
    for (Delivered& message : client_->take()) held_.push_back(std::move(message));
  }
  void publish() {
    std::vector<std::string> values(1 + below(3), "value");
    std::string key = below(4) == 0 ? "" : "key" + std::to_string(below(3));
    auto partition = static_cast<std::uint32_t>(below(kPartitions));
    ASSERT_TRUE(
        client_->publish_batch(topic_, partition, batch_of(values, rig_.clock.wall(), key)).ok());
  }
  void settle() {
    take();
    if (held_.empty()) return;
    auto chosen = held_.begin() + static_cast<std::ptrdiff_t>(below(held_.size()));
    Delivered message = *chosen;
    held_.erase(chosen);
    // Its lease may be gone: voided by a reset, revoked, run out.
    switch (below(8)) {
      case 0:
        (void)client_->bury(message);
        break;
      case 1:
      case 2:
        (void)client_->retry(message);
        break;
      case 3:
        (void)client_->settle(TestClient::settlement(message, SettleVerb::kRelease));
        break;
      default:
        (void)client_->ack(message);
    }
  }
  void reset() {
    GroupStart start{StartKind(1 + below(4)), {static_cast<std::int64_t>(below(10))}, {}};
    if (start.kind == StartKind::kTime) start.time = {rig_.clock.wall().milliseconds - 5000};
    bool dry_run = below(3) == 0;
    bool include_dead = below(2) == 0;
    Reply<ResetGroupReply> plan =
        client_->call<ResetGroupReply>(ResetGroupRequest{"billing", start, include_dead, true});
    ASSERT_TRUE(plan.ok());
    if (dry_run) return;
    Reply<ResetGroupReply> done =
        client_->call<ResetGroupReply>(ResetGroupRequest{"billing", start, include_dead, false});
    ASSERT_TRUE(done.ok()) << to_string(done.error());
    epoch_ = done->group.epoch;
    ASSERT_EQ(done->partitions.size(), plan->partitions.size());
    for (std::size_t i = 0; i < plan->partitions.size(); ++i) {
      EXPECT_EQ(done->partitions[i].to, plan->partitions[i].to);
      EXPECT_EQ(done->partitions[i].redelivered, plan->partitions[i].redelivered);
      EXPECT_EQ(done->partitions[i].skipped, plan->partitions[i].skipped);
      EXPECT_EQ(done->partitions[i].dead_kept, plan->partitions[i].dead_kept);
    }
  }
  void reconnect() {
    take();
    rig_.lose(*client_);
    client_ = &rig_.connect(1 + below(2));
    client_->subscribe("billing", 50);
  }
  void cut() {
    bool begun = below(2) == 0;
    if (begun) {
      rig_.disk->crash_after(below(6));
      client_->begin<ResetGroupReply>(
          ResetGroupRequest{"billing", {StartKind::kEarliest, {}, {}}, false, false});
      rig_.run();
    }
    rig_.restart(keep_random(below(1000)));
    epoch_ = rig_.shards.front()->catalog()->group(group_)->epoch;
    client_ = &rig_.connect();
    client_->subscribe("billing", 50);
  }

  Reached& reached_;
  SeededRandom random_;
  CoreRig rig_;
  TestClient* client_;
  TopicId topic_;
  GroupId group_;
  std::vector<Delivered> held_;
  std::uint32_t epoch_ = 0;
};

void run(Kind kind) {
  Reached reached;
  for (std::uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomGroup group(seed, kind, reached);
    for (int step = 0; step < 150 && !testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      group.step();
      group.check();
    }
    if (testing::Test::HasFailure()) return;
    group.drain();
    group.check();
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(reached.delayed, 100u);
  EXPECT_GT(reached.dead, 100u);
  EXPECT_GT(reached.discarded, 100u);
  EXPECT_GT(reached.skipped, 100u);
  EXPECT_GT(reached.braked, 0u);
  EXPECT_GT(reached.probing, 0u);
  EXPECT_EQ(reached.held > 100, kind.on_dead_letter == OnDeadLetter::kHold);
}

TEST(GroupRandom, EveryMessageIsAccountedForWithoutOrderD19) {
  run({Ordering::kNone, OnDeadLetter::kSkip});
}
TEST(GroupRandom, EveryMessageIsAccountedForInOrderOfKeysD19) {
  run({Ordering::kKey, OnDeadLetter::kSkip});
}
TEST(GroupRandom, EveryMessageIsAccountedForBehindDeadLettersOfKeysD19) {
  run({Ordering::kKey, OnDeadLetter::kHold});
}
TEST(GroupRandom, EveryMessageIsAccountedForInOrderOfPartitionsD19) {
  run({Ordering::kPartition, OnDeadLetter::kSkip});
}
TEST(GroupRandom, EveryMessageIsAccountedForBehindDeadLettersOfPartitionsD19) {
  run({Ordering::kPartition, OnDeadLetter::kHold});
}

}  // namespace
}  // namespace waybill

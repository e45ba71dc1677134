// Goal: a checkpoint that is saved slice by slice, while messages come and are settled and topics
// come and go, loads to the state that the journal folds to (S19). Method: slices of one object,
// and requests between any two rounds of the loop; what is saved at once before a power failure is
// compared with what is saved after it.
#include <algorithm>

#include "broker/core/snapshot.h"
#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

/// As text, object by object; of the streams only where they begin.
std::vector<std::string> objects_of(CoreRig& rig) {
  std::vector<std::string> all;
  Snapshot::save(*rig.shards.front(), [&](ObjectKind kind, std::uint64_t id, Bytes body) {
    if (kind == ObjectKind::kStream) body = body.first(9);
    all.push_back(std::to_string(static_cast<int>(kind)) + "/" + std::to_string(id) + ": " +
                  std::string(as_text(body)));
  });
  return all;
}

/// Requests that nobody waits for, between rounds of the loop.
class Traffic {
 public:
  Traffic(std::uint64_t seed, CoreRig& rig) : rig_(rig), random_(seed) {
    client_ = &rig_.connect();
    topic_ = rig_.create_topic(*client_, "orders", 3);
    GroupPolicy policy = CoreRig::policy();
    policy.brake.enabled = false;
    rig_.create_group(*client_, "billing", "orders", policy);
    connect();
  }
  void connect() {
    client_ = &rig_.connect(2);
    held_.clear();
    client_->subscribe("billing", 30);
  }
  void step(bool topics_change) {
    const std::uint64_t what = random_.below(10);
    if (what < 5) {
      PublishRequest request;
      request.parts.push_back({topic_,
                               {static_cast<std::uint32_t>(random_.below(3))},
                               {},
                               {},
                               batch_of({std::string(500 + random_.below(3000), 'x')})});
      client_->begin<PublishReply>(std::move(request));
    } else if (what < 9) {
      settle();
    } else if (topics_change && what == 9) {
      const std::string name = "topic-" + std::to_string(random_.below(3));
      if (random_.below(2) == 0) {
        client_->begin<CreateTopicReply>(CreateTopicRequest{name, 2});
      } else {
        client_->begin<DeleteTopicReply>(DeleteTopicRequest{name});
      }
    }
    std::uint64_t rounds = random_.below(3);
    rig_.run_until([&rounds] { return rounds-- == 0; });
  }

 private:
  void settle() {
    for (Delivered& message : client_->take()) held_.push_back(std::move(message));
    if (held_.empty()) return;
    const std::size_t index = random_.below(held_.size());
    const SettleVerb verbs[] = {SettleVerb::kAck, SettleVerb::kRetry, SettleVerb::kDeadLetter};
    Settlement settlement = TestClient::settlement(
        held_[index], verbs[std::max<std::uint64_t>(2, random_.below(5)) - 2]);
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
    client_->begin<SettleReply>(SettleRequest{1, {std::move(settlement)}});
    EXPECT_TRUE(client_->session->handle(CreditRequest{1, 1, 100'000}).ok());
  }

  CoreRig& rig_;
  SeededRandom random_;
  TestClient* client_ = nullptr;
  TopicId topic_;
  std::vector<Delivered> held_;
};

void check(bool topics_change) {
  std::uint64_t loaded = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    CoreRig rig({.journal_file = 128 * 1024,
                 .tail_cache = seed % 3 == 0 ? 1u : 1024 * 1024,
                 .checkpoint_slice = 1,
                 .carry_below = seed % 2 == 0 ? 1000u : 64u * 1024});
    Traffic traffic(seed, rig);
    for (int round = 0; round < 4; ++round) {
      for (int i = 0; i < 300; ++i) traffic.step(topics_change);
      rig.run();
      ASSERT_FALSE(rig.restless);
      const std::vector<std::string> before = objects_of(rig);
      ASSERT_TRUE(rig.try_restart(keep_all()).ok()) << rig.explanation;
      const std::vector<std::string> after = objects_of(rig);
      ASSERT_EQ(before.size(), after.size());
      for (std::size_t i = 0; i < before.size(); ++i) {
        ASSERT_TRUE(before[i] == after[i]) << "object " << before[i].substr(0, before[i].find(':'));
      }
      loaded += rig.reports.front().checkpoint;
      traffic.connect();
    }
  }
  EXPECT_GT(loaded, 100u) << "most starts have a checkpoint to begin with, and many were made";
}

TEST(Checkpointer, SlicesOfDifferentMomentsLoadToOneStateS19) {
  check(false);
}

TEST(Checkpointer, TopicsThatComeAndGoMeanwhileMakeItBeginAnewS19) {
  check(true);
}

/// Appends between the slices: replay may begin between two batches of a stream that were both
/// carried forward behind it.
TEST(Checkpointer, WhatComesWhileTailsAreCarriedIsThereOnceS18) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    CoreRig rig({.journal_file = 128 * 1024, .checkpoint_slice = 1, .carry_below = 64 * 1024});
    TestClient* client = &rig.connect();
    const TopicId topic = rig.create_topic(*client, "orders", 20);
    std::uint64_t carried = 0;
    for (int round = 0; round < 8; ++round) {
      for (std::uint64_t i = 0; i < 100 + random.below(100); ++i) {
        PublishRequest request;
        const auto partition = static_cast<std::uint32_t>(random.below(20));
        request.parts.push_back({topic, {partition}, {}, {}, batch_of({std::string(100, 'x')})});
        client->begin<PublishReply>(std::move(request));
        std::uint64_t rounds = random.below(3);
        rig.run_until([&rounds] { return rounds-- == 0; });
      }
      rig.run();
      carried += rig.shards.front()->metrics().carried_bytes;
      const std::vector<std::string> before = objects_of(rig);
      std::vector<std::int64_t> ends;
      for (std::uint32_t p = 0; p < 20; ++p) ends.push_back(client->read(topic, p, 0)->end.value);
      ASSERT_TRUE(rig.try_restart(keep_all()).ok()) << rig.explanation;
      EXPECT_EQ(objects_of(rig), before);
      client = &rig.connect();
      for (std::uint32_t p = 0; p < 20; ++p) {
        std::int64_t next = 0;
        while (next < ends[p]) {
          Reply<ReadReply> read = client->read(topic, p, next);
          ASSERT_TRUE(read.ok() && !records_of(read->batches).empty()) << p << ": " << next;
          for (const auto& [offset, value] : records_of(read->batches)) {
            ASSERT_EQ(offset.value, next++);
          }
        }
      }
    }
    EXPECT_GT(carried, 0u);
  }
}

TEST(Checkpointer, AShardThatIsOnlyStartedForgetsTheFileOfEachStartS19) {
  CoreRig rig({.shards = 2, .journal_file = 128 * 1024});
  TopicId topic = rig.create_topic(rig.connect(), "orders", 2);
  for (int i = 0; i < 20; ++i) {
    rig.restart(i % 2 == 0 ? keep_all() : keep_none());
    EXPECT_LE(rig.reports[0].files + rig.reports[1].files, 6u) << "start " << i;
  }
  TestClient& client = rig.connect();
  EXPECT_TRUE(client.publish(topic, 0, {"a"}).ok());
  EXPECT_TRUE(client.publish(topic, 1, {"b"}).ok());
}

TEST(Checkpointer, OneTurnSavesOneSliceS19) {
  CoreRig rig({.journal_file = 128 * 1024, .checkpoint_slice = 1});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders", 40);
  std::vector<std::size_t> slices;
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(
        client.publish(topic, static_cast<std::uint32_t>(i % 40), {std::string(4000, 'x')}).ok());
  }
  rig.restart();
  EXPECT_GT(rig.reports.front().checkpoint, 0u);
  Snapshot::Walk walk(*rig.shards.front());
  for (;;) {
    std::size_t objects = 0;
    if (!walk.next([&](ObjectKind, std::uint64_t, Bytes) { ++objects; })) break;
    slices.push_back(objects);
  }
  ASSERT_EQ(slices.size(), 41u) << "the rest, and each partition";
  EXPECT_EQ(std::ranges::max(std::span(slices).subspan(1)), 2u) << "a stream and its producers";
}

}  // namespace
}  // namespace waybill

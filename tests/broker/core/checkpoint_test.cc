// Goal: a shard that forgets its journal knows as much as one that replays all of it, and what
// cannot be read is named, never passed over. Method: the whole core on a simulated disk with tiny
// files; what is saved before a restart is compared with what is saved after it, byte for byte.
#include <gtest/gtest.h>

#include <algorithm>

#include "storage/checkpoint_reader.h"
#include "storage/superblock.h"
#include "tests/broker/core/shard_life.h"

namespace waybill {
namespace {

std::uint64_t journal_files(const SimDisk& disk) {
  const SimDiskImage image = disk.crash(keep_all());
  return static_cast<std::uint64_t>(std::ranges::count_if(
      image.files, [](const auto& file) { return file.first.ends_with(".wbj"); }));
}

std::string newest_checkpoint(CoreRig& rig) {
  Result<FoundCheckpoints> found = find_checkpoints(*rig.disk, "shard-0", {0});
  EXPECT_TRUE(found.ok() && !found->finished.empty());
  return found->finished.front().path;
}

/// Everything that leaves a trace in the state: keys, times, leases, failures, dead letters, fixes,
/// producers of both kinds, a reset.
class Workload {
 public:
  explicit Workload(std::uint64_t seed, CoreRig& rig) : random_(seed), rig_(rig) {
    TestClient& client = rig_.connect(1);
    orders_ = rig_.create_topic(client, "orders", 3);
    rig_.create_topic(client, "audit", 2);
    GroupPolicy unordered = CoreRig::policy();
    unordered.brake.enabled = false;  // it moves when the broker starts
    GroupPolicy keyed = unordered;
    keyed.ordering = Ordering::kKey;
    rig_.create_group(client, "billing", "orders", unordered);
    rig_.create_group(client, "shipping", "orders", keyed);
    connect();
  }

  void connect() {
    client_ = &rig_.connect(2);
    client_->subscribe("billing", 40);
  }

  void step() {
    switch (random_.below(12)) {
      case 0:
        rig_.advance(milliseconds(random_.below(3000)));
        break;
      case 1:
        redrive_or_discard();
        break;
      case 2:
        open_producer();
        break;
      case 3:
        if (random_.below(10) == 0) {
          ResetGroupRequest request;
          request.name = "billing";
          request.start = {StartKind::kOffset, {5}, {}};
          request.include_dead = random_.below(2) == 0;
          EXPECT_TRUE(client_->call<ResetGroupReply>(request).ok());
        }
        break;
      case 4:
      case 5:
      case 6:
        publish();
        break;
      default:
        settle();
    }
  }

  void publish() {
    std::vector<std::string> values;
    for (std::uint64_t i = 0; i <= random_.below(4); ++i) {
      values.emplace_back(100 + random_.below(3000), 'x');
    }
    const std::string key = random_.below(2) == 0 ? "" : "key " + std::to_string(random_.below(3));
    Reply<PublishResult> done = client_->publish_batch(
        orders_, static_cast<std::uint32_t>(random_.below(3)), batch_of(values, {1000}, key));
    EXPECT_TRUE(done.ok());
  }

 private:
  void settle() {
    for (Delivered& message : client_->take()) held_.push_back(std::move(message));
    if (held_.empty()) return;
    const std::size_t index = random_.below(held_.size());
    const Delivered message = held_[index];
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
    const std::uint64_t fate = random_.below(10);
    Reply<SettleOutcome> done = fate < 6   ? client_->ack(message)
                                : fate < 8 ? client_->retry(message)
                                           : client_->bury(message, "code " + std::to_string(fate));
    client_->credit(1);
    // Its lease may have run out meanwhile, or the group was reset.
    const Errc code = code_of(done);
    EXPECT_TRUE(done.ok() || code == Errc::kLeaseLost || code == Errc::kAlreadySettled);
  }

  void redrive_or_discard() {
    if (random_.below(2) == 0) {
      RedriveRequest request;
      request.selection = selection();
      EXPECT_TRUE(client_->call<RedriveReply>(request).ok());
    } else {
      DiscardRequest request;
      request.selection = selection();
      request.reason = "test";
      EXPECT_TRUE(client_->call<DiscardReply>(request).ok());
    }
  }

  void open_producer() {
    ProducerId id;
    id.uuid.bytes[0] = std::byte(1 + random_.below(3));
    OpenProducerRequest request{id, ++epoch_, "outbox"};
    EXPECT_TRUE(client_->call<OpenProducerReply>(request).ok());
    const std::uint64_t sequence = ++sequences_[id];
    ProducerStamp stamp{id, ProducerKind::kDurable, epoch_, sequence - 1, sequence};
    EXPECT_TRUE(client_->publish(orders_, 0, {"durable"}, stamp).ok());
  }

  SeededRandom random_;
  CoreRig& rig_;
  TopicId orders_;
  TestClient* client_ = nullptr;
  std::vector<Delivered> held_;
  std::map<ProducerId, std::uint64_t> sequences_;
  std::uint32_t epoch_ = 0;
};

TEST(Checkpoint, WhatIsLoadedAndReplayedIsWhatWasFoldedS11S19) {
  std::uint64_t loaded = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    CoreRig rig({.shards = static_cast<std::uint16_t>(1 + seed % 2),
                 .journal_file = 128 * 1024,
                 .tail_cache = seed % 3 == 0 ? 1u : 1024 * 1024});
    Workload work(seed, rig);
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 100; ++i) work.step();
      rig.run();
      const std::vector<std::string> before = objects_of(rig);
      rig.restart();
      const std::vector<std::string> after = objects_of(rig);
      ASSERT_EQ(before.size(), after.size());
      for (std::size_t i = 0; i < before.size(); ++i) {
        ASSERT_TRUE(before[i] == after[i]) << "object " << before[i].substr(0, before[i].find(':'));
      }
      for (const RecoveryReport& report : rig.reports) loaded += report.checkpoint > 0 ? 1 : 0;
      work.connect();
    }
  }
  EXPECT_GT(loaded, 40u) << "most starts have a checkpoint to begin with";
}

TEST(Checkpoint, TheJournalIsBoundedAndEveryMessageStaysReadable) {
  CoreRig rig({.journal_file = 128 * 1024, .tail_cache = 4096});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  std::vector<std::string> sent;
  for (int i = 0; i < 300; ++i) {
    sent.push_back(std::to_string(i) + std::string(4000, 'x'));
    ASSERT_TRUE(client.publish(topic, 0, {sent.back()}).ok());
    ASSERT_LE(journal_files(*rig.disk), 4u) << "after message " << i;
  }
  for (int generation = 0; generation < 2; ++generation) {
    TestClient& reader = rig.connect();
    std::int64_t next = 0;
    while (next < 300) {
      Reply<ReadReply> read = reader.read(topic, 0, next);
      ASSERT_TRUE(read.ok()) << to_string(read.error());
      auto records = records_of(read->batches);
      ASSERT_FALSE(records.empty());
      EXPECT_EQ(records.front().first, Offset{next}) << "nothing before it is sent";
      for (const auto& [offset, value] : records) {
        ASSERT_EQ(offset, Offset{next});
        ASSERT_EQ(value, sent[static_cast<std::size_t>(next++)]);
      }
    }
    rig.restart();
    EXPECT_GT(rig.reports[0].checkpoint, 0u);
    EXPECT_LE(rig.reports[0].files, 4u);
  }
}

std::size_t segments_in(const SimDisk& disk) {
  const SimDiskImage image = disk.crash(keep_all());
  return static_cast<std::size_t>(std::ranges::count_if(
      image.files, [](const auto& file) { return file.first.ends_with(".wbs"); }));
}

TEST(Checkpoint, SmallTailsAreCarriedForwardAndFlushedTheFifthTimeS18) {
  CoreRig rig({.shards = 1, .journal_file = 128 * 1024, .carry_below = 4096});
  TestClient* const client = &rig.connect();
  const TopicId quiet = rig.create_topic(*client, "quiet");
  ASSERT_TRUE(client->publish(quiet, 0, {"one", "two"}).ok());
  // Commands fill the journal, and write nothing into streams.
  GroupPolicy policy = CoreRig::policy();
  rig.create_group(*client, "billing", "quiet", policy);
  std::string newest;
  auto next_checkpoint = [&] {
    for (int i = 0; i < 10'000; ++i) {
      policy.max_failures = policy.max_failures % 7 + 1;
      ASSERT_TRUE(client->call<AlterGroupReply>(AlterGroupRequest{"billing", policy}).ok());
      Result<FoundCheckpoints> found = find_checkpoints(*rig.disk, "shard-0", {0});
      if (!found || found->finished.empty() || found->finished.front().path == newest) continue;
      newest = found->finished.front().path;
      return;
    }
    FAIL() << "no checkpoint came";
  };
  for (int times = 1; times <= 5; ++times) {
    next_checkpoint();
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_EQ(segments_in(*rig.disk), times < 5 ? 0u : 1u) << times;
    CoreRig after({.shards = 1, .journal_file = 128 * 1024}, rig.disk->crash(keep_none()));
    EXPECT_GT(after.reports[0].checkpoint, 0u);
    Reply<ReadReply> read = after.connect().read(quiet, 0, 0);
    ASSERT_TRUE(read.ok());
    ASSERT_EQ(records_of(read->batches).size(), 2u) << times;
    EXPECT_EQ(records_of(read->batches)[1].second, "two");
  }
  EXPECT_GT(rig.shards[0]->metrics().carried_bytes, 0u);
  EXPECT_LE(journal_files(*rig.disk), 4u);
}

TEST(Checkpoint, ADamagedCheckpointWhoseJournalIsGoneIsNamedS8) {
  CoreRig rig({.journal_file = 128 * 1024});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.publish(topic, 0, {std::string(4000, 'x')}).ok());
  }
  const std::string path = newest_checkpoint(rig);
  rig.disk->flip_bit(path, 100, 3);
  ASSERT_FALSE(rig.try_restart(keep_all()).ok());
  EXPECT_NE(rig.explanation.find(path), std::string::npos) << rig.explanation;
}

/// Publishes until there is another checkpoint; what the disk held before that.
class TwoCheckpoints : public testing::Test {
 protected:
  TwoCheckpoints() {
    TestClient& client = rig_.connect();
    topic_ = rig_.create_topic(client, "orders");
    auto publish = [&] {
      EXPECT_TRUE(client.publish(topic_, 0, {std::string(4000, 'x')}).ok());
      ++published_;
    };
    while (published_ < 100) publish();
    older_ = newest_checkpoint(rig_);
    for (newer_ = older_; newer_ == older_; newer_ = newest_checkpoint(rig_)) {
      before_ = rig_.disk->crash(keep_all());
      publish();
    }
  }
  static constexpr std::size_t kJournalFile = 128 * 1024;
  CoreRig rig_{{.journal_file = kJournalFile}};
  TopicId topic_;
  int published_ = 0;
  std::string older_;
  std::string newer_;
  SimDiskImage before_;
};

TEST_F(TwoCheckpoints, ADamagedOneIsPassedOverWhileItsPredecessorsJournalIsThereS19) {
  // As if the power had failed just before the first one was removed.
  SimDiskImage image = rig_.disk->crash(keep_all());
  for (const auto& [name, content] : before_.files) {
    if (name == older_ || name.ends_with(".wbj")) image.files.try_emplace(name, content);
  }
  image.flip_bit(newer_, 100, 3);
  CoreRig again({.journal_file = kJournalFile}, image);
  EXPECT_TRUE(older_.ends_with(checkpoint_name(again.reports[0].checkpoint))) << older_;
  EXPECT_NE(again.reports[0].passed_over.find(newer_), std::string::npos);
  TestClient& client = again.connect();
  EXPECT_EQ(client.read(topic_, 0, 0)->end, Offset{published_});
  EXPECT_TRUE(client.publish(topic_, 0, {"more"}).ok());
}

TEST_F(TwoCheckpoints, ADamagedOneWhosePredecessorsJournalIsGoneIsNamedWithTheFileS19) {
  std::string first;
  for (const auto& [name, content] : before_.files) {
    if (first.empty() && name.ends_with(".wbj")) first = name;
  }
  const SimContent& content = before_.files.at(older_);
  ByteVector bytes(content.size());
  content.read(0, bytes);
  Result<FileHandle> file = rig_.disk->open(older_, OpenMode::kCreate);
  ASSERT_TRUE(file.ok() && rig_.disk->write_now(*file, 0, bytes).ok());
  rig_.disk->close(*file);
  rig_.disk->flip_bit(newer_, 100, 3);
  ASSERT_FALSE(rig_.try_restart(keep_all()).ok());
  EXPECT_NE(rig_.explanation.find(newer_), std::string::npos) << rig_.explanation;
  EXPECT_NE(rig_.explanation.find(first), std::string::npos) << rig_.explanation;
}

TEST(Checkpoint, ASealedSegmentIsLookedIntoWhenItIsReadS10) {
  CoreRig rig({.journal_file = 128 * 1024});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.publish(topic, 0, {std::string(4000, 'x')}).ok());
  }
  // The first segment: all of it but what a start asks for, its length.
  std::string path;
  std::uint64_t size = 0;
  for (const auto& [name, content] : rig.disk->crash(keep_all()).files) {
    if (!path.empty() || !name.ends_with(".wbs")) continue;
    path = name;
    size = content.size();
  }
  for (std::uint64_t at = 0; at < size; at += 512) rig.disk->flip_bit(path, at + 50);
  rig.restart(keep_all());
  Reply<ReadReply> damaged = rig.connect().read(topic, 0, 0);
  ASSERT_FALSE(damaged.ok());
  EXPECT_EQ(code_of(damaged), Errc::kDamaged);
  EXPECT_NE(damaged.error().explanation.find(path), std::string::npos)
      << damaged.error().explanation;
  EXPECT_TRUE(rig.connect().read(topic, 0, 90).ok());
}

TEST(Checkpoint, ASegmentThatIsMissingIsNamedS10) {
  CoreRig rig({.journal_file = 128 * 1024});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.publish(topic, 0, {std::string(4000, 'x')}).ok());
  }
  std::string path;
  for (const auto& [name, content] : rig.disk->crash(keep_all()).files) {
    if (path.empty() && name.ends_with(".wbs")) path = name;
  }
  ASSERT_TRUE(rig.disk->remove(path).ok());
  ASSERT_TRUE(rig.disk->sync_directory(path.substr(0, path.rfind('/'))).ok());
  ASSERT_FALSE(rig.try_restart().ok());
  EXPECT_NE(rig.explanation.find(path), std::string::npos) << rig.explanation;
}

TEST(Checkpoint, AFullDiskStallsTheFlushAndFreedSpaceLetsItGoOnS21) {
  CoreRig rig({.journal_file = 128 * 1024});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  std::int64_t sent = 0;
  for (; sent < 20; ++sent) {
    ASSERT_TRUE(client.publish(topic, 0, {std::string(4000, 'x')}).ok());
  }
  rig.disk->set_capacity(1);
  Errc refused{};
  for (int i = 0; i < 200 && refused == Errc{}; ++i) {
    Reply<PublishResult> reply = client.publish(topic, 0, {std::string(4000, 'x')});
    reply.ok() ? void(++sent) : void(refused = code_of(reply));
  }
  EXPECT_EQ(refused, Errc::kDiskFull);
  EXPECT_FALSE(rig.shards.front()->poisoned());
  rig.disk->set_capacity(UINT64_MAX);
  rig.advance(seconds(5));
  for (int i = 0; i < 100; ++i, ++sent) {
    ASSERT_TRUE(client.publish(topic, 0, {std::string(4000, 'x')}).ok());
  }
  EXPECT_LE(journal_files(*rig.disk), 4u) << "it was flushed and forgotten";
  rig.restart();
  EXPECT_GT(rig.reports[0].checkpoint, 0u);
  EXPECT_EQ(rig.connect().read(topic, 0, sent)->end, Offset{sent});
}

TEST(Checkpoint, ADeletedTopicLeavesNoFilesS22) {
  CoreRig rig({.journal_file = 128 * 1024});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.publish(topic, 0, {std::string(4000, 'x')}).ok());
  }
  auto segments = [&] {
    const SimDiskImage image = rig.disk->crash(keep_all());
    return std::ranges::count_if(image.files,
                                 [](const auto& file) { return file.first.ends_with(".wbs"); });
  };
  ASSERT_GT(segments(), 0);
  ASSERT_TRUE(client.call<DeleteTopicReply>(DeleteTopicRequest{"orders"}).ok());
  rig.advance(seconds(1));
  EXPECT_EQ(segments(), 0);
  rig.restart();
  EXPECT_TRUE(rig.reports[0].moved_aside.empty());
}

TEST(Checkpoint, WhatADeletedTopicHadIsGoneBeforeNobodyKnowsWhoseItWasS22) {
  CoreRig rig({.journal_file = 128 * 1024});
  TestClient& client = rig.connect();
  TopicId gone = rig.create_topic(client, "gone");
  TopicId other = rig.create_topic(client, "other");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.publish(gone, 0, {std::string(4000, 'x')}).ok());
  }
  rig.restart();  // with its segments in the checkpoint, and nothing unsynced
  TestClient& later = rig.connect();
  ASSERT_TRUE(later.call<DeleteTopicReply>(DeleteTopicRequest{"gone"}).ok());
  const std::uint64_t before = rig.reports[0].checkpoint;
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(later.publish(other, 0, {std::string(4000, 'x')}).ok());
  }
  rig.advance(seconds(1));
  rig.restart(keep_none());
  ASSERT_GT(rig.reports[0].checkpoint, before) << "the topic is not in the journal any more";
  EXPECT_TRUE(rig.reports[0].moved_aside.empty());
}

TEST(Checkpoint, ATopicThatIsDeletedWhileItIsReadAnswersEveryReader) {
  CoreRig rig({.journal_file = 128 * 1024, .tail_cache = 1});
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.publish(topic, 0, {std::string(4000, 'x')}).ok());
  }
  std::vector<std::shared_ptr<std::optional<Reply<ReadReply>>>> readers;
  for (const std::int64_t from : {0, 50, 99, 100}) {
    ReadRequest request;
    request.topic = topic;
    request.from = {from};
    request.wait = seconds(5);
    readers.push_back(client.begin<ReadReply>(request));
  }
  rig.run_without_disk();
  ASSERT_GT(rig.disk->pending(), 0u) << "they are being read from the disk";
  auto deleted = client.begin<DeleteTopicReply>(DeleteTopicRequest{"orders"});
  rig.run();
  rig.advance(seconds(6));
  ASSERT_TRUE(deleted->has_value());
  EXPECT_TRUE((*deleted)->ok());
  for (const auto& reader : readers) {
    ASSERT_TRUE(reader->has_value()) << "a reader was forgotten";
    const Errc code = code_of(**reader);
    EXPECT_TRUE((*reader)->ok() || code == Errc::kUnknownTopic || code == Errc::kUnknownPartition)
        << to_string((*reader)->error());
  }
  EXPECT_FALSE(client.read(topic, 0, 0).ok());
}

}  // namespace
}  // namespace waybill

// Goal: of a compacted topic the latest record of each key is always there, what goes had a later
// one or was a tombstone long enough, and no group loses count of it (S23, D19). Method: the whole
// core with tiny segments and a clock that moves when told; every record that is gone is accounted
// for against what was published; the power fails at any moment.
#include <algorithm>
#include <map>

#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

struct Record {
  std::string key;
  std::optional<std::string> value;
};

TopicPolicy compacted(Duration tombstone_delay = hours(24)) {
  TopicPolicy policy;
  policy.cleanup = Cleanup::kCompact;
  policy.tombstone_delay = std::chrono::duration_cast<milliseconds>(tombstone_delay);
  return policy;
}

/// A topic of one partition that is compacted, and all that was ever published to it.
struct Compacted {
  explicit Compacted(const TopicPolicy& policy = compacted(),
                     RigOptions options = {.journal_file = 128 * 1024})
      : rig(options), client(&rig.connect()) {
    topic = client->call<CreateTopicReply>(CreateTopicRequest{"state", 1, policy})->topic.id;
  }
  bool publish(const Record& record) {
    BatchBuilder builder;
    RecordDraft draft{as_bytes(record.key), std::nullopt, {}, {1000}};
    if (record.value) draft.value = as_bytes(*record.value);
    EXPECT_TRUE(builder.add(draft).ok());
    const bool ok = client->publish_batch(topic, 0, SharedBytes(builder.build())).ok();
    if (ok) published.push_back(record);
    return ok;
  }
  /// So many messages of so many keys, each a few to a segment.
  void publish(int count, int keys) {
    for (int i = 0; i < count; ++i) {
      const auto number = std::to_string(published.size());
      ASSERT_TRUE(publish({"key " + std::to_string(i % keys), number + std::string(2000, '.')}));
    }
  }
  /// Ends the segments, and gives the broker time.
  void settle() { rig.advance(minutes(25)); }
  void reconnect() { client = &rig.connect(); }

  /// What a reader finds from there on, by offset.
  std::map<std::int64_t, Record> read(std::int64_t from = 0) {
    std::map<std::int64_t, Record> found;
    for (std::int64_t next = from;;) {
      Reply<ReadReply> reply = client->read(topic, 0, next);
      EXPECT_TRUE(reply.ok()) << (reply ? "" : reply.error().explanation);
      if (!reply || (reply->batches.empty() && reply->first >= reply->end)) return found;
      EXPECT_TRUE(!reply->batches.empty() || reply->first.value > next) << "it gets on";
      next = reply->first.value;
      for (const SharedBytes& batch : reply->batches) {
        Result<BatchReader> reader = BatchReader::open(batch.view());
        EXPECT_TRUE(check_batch_crc(batch.view()).ok());
        next = reader->header().last_offset().value + 1;
        Result<void> read = reader->for_each([&](const RecordView& record) {
          Record& one = found[record.offset.value];
          one.key = as_text(*record.key);
          if (record.value) one.value = std::string(as_text(*record.value));
          return true;
        });
        EXPECT_TRUE(read.ok());
      }
    }
  }
  /// Everything there is as it was published; what is not had a later record of its key, or is a
  /// tombstone that may be gone.
  std::map<std::int64_t, Record> check(bool tombstones_may_go = false) {
    const std::map<std::int64_t, Record> found = read();
    std::map<std::string, std::int64_t> latest;
    for (std::size_t i = 0; i < published.size(); ++i) {
      latest[published[i].key] = static_cast<std::int64_t>(i);
    }
    for (std::size_t i = 0; i < published.size(); ++i) {
      const auto offset = static_cast<std::int64_t>(i);
      const auto there = found.find(offset);
      if (there != found.end()) {
        EXPECT_EQ(there->second.key, published[i].key) << offset;
        EXPECT_EQ(there->second.value, published[i].value) << offset;
        continue;
      }
      const bool replaced = latest[published[i].key] > offset;
      EXPECT_TRUE(replaced || (tombstones_may_go && !published[i].value)) << "lost " << offset;
    }
    EXPECT_LE(found.size(), published.size());
    return found;
  }
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& [path, file] : rig.disk->crash(keep_all()).files) {
      if (path.ends_with(".wbs")) names.insert(path.substr(path.rfind('/') + 1));
    }
    return names;
  }
  /// Those that the stream names are there, and no others.
  void expect_no_other_files() {
    Partition* partition = rig.shards[0]->partitions().find(topic, {0});
    std::set<std::string> named;
    for (const StreamSegment& segment : partition->log->segments()) {
      named.insert(segment_name(segment.id));
    }
    EXPECT_EQ(files(), named);
  }
  void create_group(const std::string& name, Ordering ordering) {
    GroupPolicy policy = CoreRig::policy();
    policy.ordering = ordering;
    policy.brake.enabled = false;
    rig.create_group(*client, name, "state", policy);
  }
  /// Takes and acknowledges what there is; its offsets.
  std::vector<std::int64_t> consume() {
    std::vector<std::int64_t> offsets;
    for (std::vector<Delivered> all = client->take(); !all.empty(); all = client->take()) {
      for (const Delivered& message : all) {
        offsets.push_back(message.offset.value);
        EXPECT_TRUE(client->ack(message).ok());
      }
      client->credit(1000);
    }
    return offsets;
  }
  /// What the group kept, checked against what is counted anew.
  Accounting accounting(const std::string& group) {
    Reply<CheckGroupReply> check = client->call<CheckGroupReply>(CheckGroupRequest{group});
    EXPECT_EQ(check->partitions.front().kept, check->partitions.front().counted);
    const Accounting kept = check->partitions.front().kept;
    EXPECT_EQ(kept.sum(), static_cast<std::uint64_t>(kept.end - kept.start));
    return kept;
  }

  CoreRig rig;
  TestClient* client;
  TopicId topic;
  std::vector<Record> published;  ///< by offset
};

std::vector<std::int64_t> offsets_of(const std::map<std::int64_t, Record>& records) {
  std::vector<std::int64_t> offsets;
  for (const auto& [offset, record] : records) offsets.push_back(offset);
  return offsets;
}

TEST(Compactor, KeepsTheLatestOfEachKeyUnderItsOffsetAlsoAfterARestartS23) {
  Compacted state;
  state.publish(120, 5);
  const std::uint64_t bytes =
      state.client->call<DescribeTopicReply>(DescribeTopicRequest{"state"})->partitions[0].bytes;
  state.settle();
  const std::map<std::int64_t, Record> found = state.check();
  EXPECT_LE(found.size(), 10u) << "up to half of it is not worth another pass";
  EXPECT_GE(state.rig.shards[0]->metrics().compactions, 1u);
  EXPECT_EQ(state.rig.shards[0]->metrics().compacted_messages, 120u - found.size());
  const PartitionStatus status =
      state.client->call<DescribeTopicReply>(DescribeTopicRequest{"state"})->partitions[0];
  EXPECT_LT(status.bytes, bytes / 10);
  EXPECT_EQ(status.start, Offset{0});
  EXPECT_EQ(status.end, Offset{120});
  state.expect_no_other_files();
  for (int i = 0; i < 2; ++i) {
    state.rig.restart();
    state.reconnect();
    EXPECT_TRUE(state.rig.reports[0].moved_aside.empty());
    EXPECT_EQ(offsets_of(state.check()), offsets_of(found));
    state.expect_no_other_files();
  }
  state.publish(10, 2);
  EXPECT_EQ(state.check().size(), found.size() + 10u);
}

TEST(Compactor, GoesOnWhereItLeftOffWhenThereIsEnoughNewsS23) {
  Compacted state;
  for (int round = 0; round < 6; ++round) {
    state.publish(40, 7);
    state.settle();
    EXPECT_LE(state.check().size(), 7u + 40u) << round;
  }
  state.publish(120, 7);
  state.settle();
  EXPECT_LE(state.check().size(), 14u);
  state.expect_no_other_files();
}

TEST(Compactor, ATopicThatIsNotCompactedKeepsEverythingS23) {
  Compacted state{TopicPolicy{}};
  state.publish(60, 2);
  state.settle();
  EXPECT_EQ(state.check().size(), 60u);
  EXPECT_EQ(state.rig.shards[0]->metrics().compactions, 0u);
  AlterTopicRequest alter{"state", compacted()};
  ASSERT_TRUE(state.client->call<AlterTopicReply>(alter).ok());
  state.settle();
  EXPECT_LE(state.check().size(), 4u) << "a change of the policy is enough";
}

TEST(Compactor, ATombstoneGoesAfterItsDelayAndWhatItEndedNeverComesBackS23) {
  Compacted state(compacted(hours(2)));
  state.publish(20, 4);
  ASSERT_TRUE(state.publish({"key 1", std::nullopt}));
  state.publish(20, 1);
  state.settle();
  std::map<std::int64_t, Record> found = state.check();
  ASSERT_TRUE(found.contains(20)) << "who reads on meanwhile learns of it";
  EXPECT_FALSE(found[20].value.has_value());
  EXPECT_EQ(std::ranges::count(found, "key 1", [](const auto& one) { return one.second.key; }), 1);
  state.rig.advance(hours(3));
  state.publish(60, 1);
  state.settle();
  found = state.check(true);
  EXPECT_EQ(std::ranges::count(found, "key 1", [](const auto& one) { return one.second.key; }), 0);
  state.rig.restart();
  state.reconnect();
  EXPECT_EQ(offsets_of(state.check(true)), offsets_of(found));
}

TEST(Compactor, NeverTouchesWhatAGroupIsNotDoneWithS23) {
  for (const Ordering ordering : {Ordering::kNone, Ordering::kKey, Ordering::kPartition}) {
    Compacted state;
    state.create_group("view", ordering);
    state.publish(60, 3);
    state.settle();
    EXPECT_EQ(state.check().size(), 60u);
    state.client->subscribe("view");
    std::vector<std::int64_t> offsets = state.consume();
    EXPECT_EQ(offsets.size(), 60u);
    state.settle();
    EXPECT_LE(state.check().size(), 6u) << "it is done with all of it";
    EXPECT_EQ(state.accounting("view").done, 60u);
    EXPECT_EQ(state.accounting("view").compacted, 0u);
  }
}

TEST(Compactor, AGroupThatBeginsInACompactedPartGetsWhatIsLeftAndCountsTheRestD19) {
  for (const Ordering ordering : {Ordering::kNone, Ordering::kKey, Ordering::kPartition}) {
    Compacted state;
    state.publish(60, 3);
    state.settle();
    const std::vector<std::int64_t> left = offsets_of(state.check());
    const std::uint64_t gone = 60 - left.size();
    ASSERT_GT(gone, 50u);
    state.publish(20, 2);
    state.create_group("view", ordering);
    state.client->subscribe("view", 2);
    EXPECT_EQ(state.accounting("view").compacted, gone);
    EXPECT_EQ(state.accounting("view").ready, left.size() + 18u);
    state.rig.restart();
    state.reconnect();
    state.rig.advance(seconds(30));
    EXPECT_EQ(state.accounting("view").compacted, gone);
    state.client->subscribe("view");
    std::vector<std::int64_t> offsets = state.consume();
    std::ranges::sort(offsets);
    std::vector<std::int64_t> expected = left;
    for (std::int64_t offset = 60; offset < 80; ++offset) expected.push_back(offset);
    EXPECT_EQ(offsets, expected);
    Accounting accounting = state.accounting("view");
    EXPECT_EQ(accounting.done, expected.size());
    EXPECT_EQ(accounting.compacted, gone);
    // Again from the beginning.
    ResetGroupRequest reset;
    reset.name = "view";
    reset.start = {StartKind::kEarliest, {}, {}};
    reset.dry_run = false;
    ASSERT_TRUE(state.client->call<ResetGroupReply>(reset).ok());
    state.rig.run();
    offsets = state.consume();
    std::ranges::sort(offsets);
    EXPECT_EQ(offsets, expected);
    accounting = state.accounting("view");
    EXPECT_EQ(accounting.done, expected.size());
    EXPECT_EQ(accounting.compacted, gone);
  }
}

TEST(Compactor, ADeadLetterWhoseMessageIsGoneIsRedrivenS23) {
  for (const Ordering ordering : {Ordering::kNone, Ordering::kKey}) {
    Compacted state;
    state.create_group("view", ordering);
    state.publish(40, 2);
    state.client->subscribe("view");
    for (std::vector<Delivered> all = state.client->take(); !all.empty();
         all = state.client->take()) {
      for (const Delivered& message : all) {
        const bool dies = message.offset == Offset{4};
        ASSERT_TRUE((dies ? state.client->bury(message) : state.client->ack(message)).ok());
      }
    }
    state.settle();
    ASSERT_FALSE(state.check().contains(4));
    RedriveRequest redrive;
    redrive.selection.group = "view";
    ASSERT_TRUE(state.client->call<RedriveReply>(redrive).ok());
    state.rig.restart();
    state.reconnect();
    state.rig.advance(minutes(1));
    state.client->subscribe("view");
    EXPECT_EQ(state.consume(), std::vector<std::int64_t>{4});
    EXPECT_EQ(state.accounting("view").done, 40u);
  }
}

TEST(Compactor, AReaderPassesOverWhatIsGoneAndWaitsBehindItS23) {
  Compacted state(compacted(milliseconds(0)));
  for (const std::optional<std::string>& value : {std::optional<std::string>("v"), {}}) {
    for (int key = 0; key < 3; ++key) {
      ASSERT_TRUE(state.publish({"key " + std::to_string(key), value}));
    }
  }
  state.settle();
  ASSERT_TRUE(state.check(true).empty()) << "all of it is gone";
  ReadRequest request;
  request.topic = state.topic;
  request.wait = milliseconds(60'000);
  auto reply = state.client->begin<ReadReply>(request);
  state.rig.run();
  EXPECT_FALSE(reply->has_value()) << "there is nothing to tell yet";
  state.publish(1, 1);
  state.rig.run();
  ASSERT_TRUE(reply->has_value() && (*reply)->ok());
  EXPECT_EQ((**reply)->first, Offset{6});
  EXPECT_EQ(records_of((**reply)->batches).size(), 1u);
}

TEST(Compactor, WhatIsOldStaysUnlessTheRetentionIsAskedForTooS22) {
  TopicPolicy policy = compacted();
  policy.retention = hours(1);
  Compacted state(policy);
  state.publish(20, 5);
  state.rig.advance(hours(10));
  EXPECT_LE(state.check().size(), 10u);
  policy.cleanup = Cleanup::kCompactAndDelete;
  ASSERT_TRUE(state.client->call<AlterTopicReply>(AlterTopicRequest{"state", policy}).ok());
  state.rig.advance(hours(3));
  EXPECT_EQ(
      state.client->call<DescribeTopicReply>(DescribeTopicRequest{"state"})->partitions[0].start,
      Offset{20});
}

TEST(Compactor, RefusesRecordsWithoutAKeyS23) {
  Compacted state;
  EXPECT_EQ(code_of(state.client->publish(state.topic, 0, {"no key"})), Errc::kInvalidBatch);
  state.publish(1, 1);
  EXPECT_EQ(state.check().size(), 1u);
}

TEST(Compactor, TakesSeveralPassesWhereTheKeysDoNotFitItsMemoryS23) {
  RigOptions options{.journal_file = 128 * 1024};
  options.compaction_memory = 24 * 16;  // twelve keys
  Compacted state(compacted(), options);
  state.publish(160, 40);
  for (int i = 0; i < 12; ++i) state.settle();
  const std::map<std::int64_t, Record> found = state.check();
  EXPECT_GE(state.rig.shards[0]->metrics().compactions, 2u);
  EXPECT_LT(found.size(), 160u);
  state.rig.restart();
  state.reconnect();
  state.check();
}

TEST(Compactor, OnAFullDiskItWaitsAndGoesOnOnceThereIsRoomS21) {
  Compacted state;
  state.publish(120, 5);
  state.rig.leave_free(0);
  state.settle();
  EXPECT_EQ(state.check().size(), 120u);
  state.rig.disk->set_capacity(UINT64_MAX);
  state.settle();
  EXPECT_LE(state.check().size(), 10u);
  state.expect_no_other_files();
}

/// A life up to the moment between the swap and the checkpoint that names the new segments.
struct Swapped : Compacted {
  Swapped() {
    publish(60, 5);
    Shard& shard = *rig.shards[0];
    for (int i = 0; i < 3600 && shard.metrics().compacted_messages == 0; ++i) {
      rig.advance(std::chrono::seconds(1));
    }
    EXPECT_GT(shard.metrics().compacted_messages, 0u);
    const Partition* partition = shard.partitions().find(topic, {0});
    EXPECT_GT(files().size(), partition->log->segments().size()) << "no checkpoint yet";
  }
};

TEST(Compactor, BetweenTheSwapAndItsCheckpointAStartTellsItsOwnFilesFromOthersS10) {
  for (const CrashPlan& plan : {keep_none(), keep_all()}) {
    Swapped state;
    // Beside what the swap left: a segment of a stream that is not known, and nobody's file.
    SimDisk& disk = *state.rig.disk;
    const std::string streams = "shard-0/streams/";
    const std::string own = disk.list("shard-0/streams")->front();
    const std::string unknown = stream_directory_name(StreamId{255});
    const std::string segment = segment_name({StreamId{255}, Offset{0}, 1});
    ASSERT_TRUE(disk.make_directory(streams + unknown).ok());
    const std::vector<std::string> others{streams + own + "/note",
                                          streams + unknown + "/" + segment};
    for (const std::string& path : others) {
      disk.close(*disk.open(path, OpenMode::kCreate));
      ASSERT_TRUE(disk.sync_directory(path.substr(0, path.rfind('/'))).ok());
    }
    state.rig.restart(plan);
    state.reconnect();
    std::vector<std::string> aside = state.rig.reports[0].moved_aside;
    std::ranges::sort(aside);
    EXPECT_EQ(aside, others) << "reported, and nothing else";
    const SimDiskImage image = state.rig.disk->crash(keep_all());
    for (const std::string& name : {own + "-note", unknown + "-" + segment}) {
      EXPECT_TRUE(image.files.contains("shard-0/quarantine/" + name)) << "never deleted";
    }
    EXPECT_EQ(state.check().size(), 60u) << "the checkpoint names the old segments: they count";
    state.settle();
    EXPECT_LE(state.check().size(), 10u);
  }
}

TEST(Compactor, ATopicThatIsDeletedMeanwhileLeavesNothingS23) {
  // Wherever the pass is: after any number of turns of the loop.
  for (int turns = 0; turns < 60; turns += 3) {
    Compacted state;
    state.publish(60, 5);
    state.rig.advance(minutes(9));
    const MonotonicTime ends = state.rig.clock.monotonic() + minutes(1);
    int seen = 0;
    for (int i = 0; i < 200 && seen < turns; ++i) {
      state.rig.clock.advance(std::chrono::seconds(1));
      state.rig.run_without_disk();
      state.rig.disk->submit();
      if (state.rig.disk->pending() > 0) state.rig.disk->wait();
      // From when it may begin on: the segment has ended.
      if (state.rig.clock.monotonic() >= ends) ++seen;
    }
    ASSERT_TRUE(state.client->call<DeleteTopicReply>(DeleteTopicRequest{"state"}).ok());
    state.settle();
    EXPECT_TRUE(state.files().empty()) << turns;
    state.rig.restart();
    EXPECT_TRUE(state.files().empty()) << turns;
    EXPECT_TRUE(state.rig.reports[0].moved_aside.empty());
  }
}

TEST(Compactor, WhatIsTrimmedMeanwhileStaysTrimmedS22) {
  TopicPolicy policy = compacted();
  policy.drop_above = 64 * 1024;
  Compacted state(policy);
  for (int round = 0; round < 8; ++round) {
    state.publish(60, 50);
    state.settle();
    const Offset start =
        state.client->call<DescribeTopicReply>(DescribeTopicRequest{"state"})->partitions[0].start;
    for (const auto& [offset, record] : state.read(start.value)) {
      const Record& was = state.published[static_cast<std::size_t>(offset)];
      EXPECT_EQ(record.key, was.key);
      EXPECT_EQ(record.value, was.value);
    }
    EXPECT_GT(start, Offset{0});
    state.rig.restart();
    state.reconnect();
  }
  state.expect_no_other_files();
}

TEST(Compactor, ThePowerFailsAtAnyMomentAndNothingIsLostS23) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRandom random(seed);
    Compacted state;
    state.create_group("view", Ordering::kKey);
    for (int life = 0; life < 4; ++life) {
      state.client->subscribe("view");
      state.publish(40, 6);
      state.consume();
      state.rig.disk->crash_after(random.below(400));
      // Until the power fails; whatever was under way.
      for (int i = 0; i < 120 && !state.rig.disk->crashed(); ++i) {
        state.rig.clock.advance(std::chrono::seconds(10));
        state.rig.run_without_disk();
        state.rig.disk->submit();
        if (state.rig.disk->pending() > 0) state.rig.disk->wait();
      }
      state.rig.restart(keep_random(seed * 10 + static_cast<std::uint64_t>(life)));
      ASSERT_FALSE(HasFailure());
      EXPECT_TRUE(state.rig.reports[0].moved_aside.empty());
      state.reconnect();
      state.check();
      state.accounting("view");
      ASSERT_FALSE(HasFailure());
    }
    state.client->subscribe("view");
    state.rig.advance(minutes(1));
    state.consume();
    state.settle();
    state.settle();
    EXPECT_LE(state.check().size(), 6u + 40u);
    state.expect_no_other_files();
  }
}

}  // namespace
}  // namespace waybill

// Goal: a checkpoint has its name only when it is whole and durable, whatever fails on the way and
// wherever the power fails (S19). Method: SimDisk with failing and reordered writes; two
// checkpoints in a row cut at every call, with every class of what a crash may keep.
#include "storage/checkpoint_writer.h"

#include <algorithm>
#include <cstdio>

#include "tests/storage/checkpoint_rig.h"

namespace waybill {
namespace {

/// Small objects, and some that go over several pages.
void fill(CheckpointRig& rig, std::uint64_t seed, int count) {
  for (int i = 0; i < count; ++i) {
    const std::size_t size = i % 5 == 4 ? 600'000 : i * 37 % 900;
    std::string body = "seed " + std::to_string(seed) + " object " + std::to_string(i);
    rig.add(i, seed * 100 + i * 7 % 50, body + std::string(size, static_cast<char>('a' + i % 26)));
  }
}

TEST(CheckpointWriter, WhatIsWrittenComesBack) {
  SimDisk disk(image_with_shard());
  CheckpointRig rig(disk, 7);
  ASSERT_TRUE(rig.create().ok());
  fill(rig, 1, 20);
  rig.finish(42);
  ASSERT_TRUE(rig.writer->done());
  CheckpointSummary summary;
  Result<std::vector<KeptObject>> read = read_checkpoint(disk, 7, &summary);
  ASSERT_TRUE(read.ok()) << to_string(read.error());
  EXPECT_EQ(*read, rig.objects);
  EXPECT_EQ(summary.object_count, 20U);
  EXPECT_EQ(summary.max_applied, rig.writer->max_applied());
  EXPECT_EQ(summary.max_applied, EntrySeq{149});
  EXPECT_EQ(summary.replay_from, EntrySeq{42});
  EXPECT_EQ(summary.journal_file, 2U);
}

TEST(CheckpointWriter, AnEmptyStateIsACheckpointToo) {
  SimDisk disk(image_with_shard());
  CheckpointRig rig(disk, 1);
  ASSERT_TRUE(rig.create().ok());
  rig.finish();
  EXPECT_TRUE(rig.writer->done());
  EXPECT_EQ(*read_checkpoint(disk, 1), std::vector<KeptObject>{});
}

TEST(CheckpointWriter, ObjectsThatEndExactlyWithAPageComeBack) {
  for (std::size_t less : {0U, 1U, 23U, 24U, 25U}) {
    SimDisk disk(image_with_shard());
    CheckpointRig rig(disk, 1);
    ASSERT_TRUE(rig.create().ok());
    rig.add(1, 1, std::string(kCheckpointPage - kPageHeaderSize - kObjectHeaderSize - less, 'x'));
    rig.add(2, 2, "next");
    rig.add(3, 3, "");
    rig.finish();
    EXPECT_EQ(*read_checkpoint(disk, 1), rig.objects) << less;
  }
}

TEST(CheckpointWriter, ItHasNoNameBeforeItIsDurable) {
  SimDisk disk(image_with_shard(), {.seed = 1, .order = SimOrder::kByHand});
  CheckpointRig rig(disk, 7);
  ASSERT_TRUE(rig.create().ok());
  rig.add(1, 1, "state");
  EXPECT_GT(rig.writer->unwritten(), 0U);
  rig.writer->finish({.replay_from = EntrySeq{1}, .journal_file = 1, .time = {}});
  while (disk.pending() > 0) {
    EXPECT_FALSE(rig.writer->done());
    EXPECT_TRUE(disk.open("shard-3/" + checkpoint_name(7), OpenMode::kRead).error() ==
                Errc::kNotFound);
    disk.submit();
    disk.wait();
  }
  EXPECT_TRUE(rig.writer->done());
  EXPECT_EQ(rig.writer->unwritten(), 0U);
  SimDisk after(disk.crash(keep_none()));
  EXPECT_EQ(*read_checkpoint(after, 7), rig.objects);
}

TEST(CheckpointWriter, AFailureLeavesThePredecessorAndNoName) {
  SimDisk first(image_with_shard());
  CheckpointRig old(first, 1);
  ASSERT_TRUE(old.create().ok());
  fill(old, 1, 6);
  old.finish();
  ASSERT_TRUE(old.writer->done());
  const SimDiskImage image = first.crash(keep_none());
  bool succeeded = false;
  for (std::uint64_t call = 0; !succeeded; ++call) {
    SimDisk disk(image);
    disk.fail_after(call, call % 2 == 0 ? Errc::kIo : Errc::kNoSpace);
    CheckpointRig rig(disk, 2);
    if (!rig.create()) continue;
    fill(rig, 2, 6);
    rig.finish();
    succeeded = rig.writer->done();
    EXPECT_NE(succeeded, rig.writer->failed().has_value()) << call;
    if (succeeded) break;
    EXPECT_EQ(*read_checkpoint(disk, 1), old.objects) << call;
    rig.writer->abandon();
    Result<FoundCheckpoints> found = find_checkpoints(disk, kCheckpointDirectory, kCheckpointShard);
    ASSERT_TRUE(found.ok());
    EXPECT_TRUE(found->unfinished.empty()) << call;
    for (const FoundCheckpoint& one : found->finished)
      EXPECT_TRUE(one.summary.has_value()) << call << ": " << one.explanation;
  }
  EXPECT_TRUE(succeeded);
}

TEST(CheckpointWriter, AShortWriteIsAFailure) {
  SimDisk disk(image_with_shard());
  CheckpointRig rig(disk, 1);
  ASSERT_TRUE(rig.create().ok());
  rig.add(1, 1, std::string(10'000, 'x'));
  disk.short_write_after(0, 4096);
  rig.finish();
  EXPECT_FALSE(rig.writer->done());
  EXPECT_TRUE(rig.writer->failed().has_value());
}

TEST(CheckpointWriter, WhatAnEarlierTryLeftIsReplaced) {
  SimDisk disk(image_with_shard());
  CheckpointRig first(disk, 1);
  ASSERT_TRUE(first.create().ok());
  fill(first, 1, 10);
  finish_operations(disk);
  first.writer.reset();
  CheckpointRig second(disk, 1);
  ASSERT_TRUE(second.create().ok());
  second.add(1, 1, "short");
  second.finish();
  EXPECT_EQ(*read_checkpoint(disk, 1), second.objects);
}

// --- crashes ---

struct Oracle {
  std::uint64_t done = 0;  ///< number of the newest that was said to be durable
  std::vector<KeptObject> objects[3];
};

/// Two checkpoints; the first is removed once the second is done.
Oracle work(SimDisk& disk, std::uint64_t seed) {
  Oracle oracle;
  SeededRandom random(seed);
  for (std::uint64_t number : {1, 2}) {
    CheckpointRig rig(disk, number);
    if (!rig.create()) return oracle;
    const int count = static_cast<int>(2 + random.below(5));
    for (int i = 0; i < count; ++i) {
      rig.add(i, i, std::string(random.below(4) == 0 ? 300'000 : random.below(6000), 'x'));
      disk.submit();
      if (random.below(2) == 0) disk.reap();
    }
    oracle.objects[number] = rig.objects;
    rig.finish();
    if (!rig.writer->done()) return oracle;
    oracle.done = number;
    if (number == 2 && disk.remove("shard-3/" + checkpoint_name(1)))
      ignore_error(disk.sync_directory("shard-3"), "the power may be gone");
  }
  return oracle;
}

void check_image(const SimDiskImage& image, const Oracle& oracle, const std::string& where) {
  SimDisk disk(image);
  Result<FoundCheckpoints> found = find_checkpoints(disk, kCheckpointDirectory, kCheckpointShard);
  ASSERT_TRUE(found.ok()) << where;
  for (const FoundCheckpoint& one : found->finished) {
    ASSERT_TRUE(one.summary.has_value()) << where << ": " << one.explanation;
    ASSERT_EQ(*read_checkpoint(disk, one.number), oracle.objects[one.number]) << where;
  }
  if (oracle.done == 0) return;
  ASSERT_FALSE(found->finished.empty()) << where << ": a durable checkpoint is gone";
  ASSERT_GE(found->finished.front().number, oracle.done) << where;
}

TEST(CheckpointCrash, AnythingThatHasTheNameIsWholeAndNothingDoneIsLost) {
  std::size_t crashes = 0;
  for (std::uint64_t seed = 1; seed <= 16; ++seed) {
    for (std::uint64_t cut = 0;; ++cut) {
      const SimOrder order = seed % 2 == 0 ? SimOrder::kRandom : SimOrder::kFifo;
      SimDisk disk(image_with_shard(), {.seed = seed + cut, .order = order});
      disk.crash_after(cut);
      const Oracle oracle = work(disk, seed);
      std::vector<CrashPlan> plans = {keep_none(), keep_all()};
      const std::vector<UnsyncedPart> parts = disk.unsynced();
      const std::size_t step = std::max<std::size_t>(1, parts.size() / 5);
      for (std::size_t i = cut % step; i < parts.size(); i += step) {
        plans.push_back(keep_only(i));
        plans.push_back(keep_all_but(i));
      }
      // Names are the last parts: each of them alone, and each of them missing.
      for (std::size_t i = 0; i < parts.size(); ++i) {
        if (parts[i].kind == UnsyncedPart::Kind::kSector) continue;
        plans.push_back(keep_only(i));
        plans.push_back(keep_all_but(i));
      }
      for (std::uint64_t k = 0; k < 3; ++k) plans.push_back(keep_random(seed * 1000 + cut + k));
      for (std::size_t i = 0; i < plans.size(); ++i) {
        ++crashes;
        check_image(disk.crash(plans[i]), oracle,
                    "seed " + std::to_string(seed) + " cut at call " + std::to_string(cut) +
                        ", plan " + std::to_string(i));
        if (testing::Test::HasFatalFailure()) return;
      }
      if (!disk.crashed()) break;
    }
  }
  std::printf("tried %zu crash points\n", crashes);
  EXPECT_GT(crashes, 1000U);
}

}  // namespace
}  // namespace waybill

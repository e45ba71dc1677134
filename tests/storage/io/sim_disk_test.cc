// Goal: SimDisk keeps after a crash exactly what a real device promises to keep, and may lose the
// rest in every way, so that a storage bug has somewhere to show.
// Method: small histories; every crash plan of each is tried and the images are compared.
#include "storage/io/sim_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/storage/io/test_directory.h"

namespace waybill {
namespace {

using testing::ElementsAre;
using Kind = UnsyncedPart::Kind;

constexpr Bytes kNothing;

class SimDiskTest : public testing::Test {
 protected:
  /// A file whose name is durable.
  FileHandle create(std::string_view path) {
    FileHandle file = *disk_.open(path, OpenMode::kCreate);
    EXPECT_TRUE(disk_.sync_directory(""));
    return file;
  }
  void write(FileHandle file, std::uint64_t position, Bytes data, Durability durability) {
    disk_.write(file, position, data, durability,
                [this](Result<std::size_t> done) { results_.push_back(std::move(done)); });
  }
  void sync(FileHandle file) {
    disk_.sync(file, [this](Result<std::size_t> done) { results_.push_back(std::move(done)); });
  }
  void finish_all() {
    disk_.submit();
    while (disk_.pending() > 0) disk_.wait();
  }
  ByteVector survives(const CrashPlan& plan) { return disk_.crash(plan).files.at("data").bytes(); }
  bool is_durable(Bytes data) { return equal(survives(keep_none()), data); }

  SimDisk disk_;
  AlignedBlocks ones_{1, 1};
  AlignedBlocks twos_{1, 2};
  std::vector<Result<std::size_t>> results_;
};

TEST_F(SimDiskTest, ADurableWriteIsAtRiskWhileInFlightAndSafeAfterwards) {
  FileHandle file = create("data");
  write(file, 0, ones_.view(), Durability::kDurable);
  EXPECT_TRUE(disk_.unsynced().empty()) << "what is not submitted has reached nothing";
  disk_.submit();
  ASSERT_EQ(disk_.unsynced().size(), 8u);
  EXPECT_TRUE(disk_.unsynced()[0].in_flight);
  EXPECT_TRUE(is_durable(kNothing));
  EXPECT_TRUE(equal(survives(keep_all()), ones_.view()));
  disk_.wait();
  EXPECT_TRUE(disk_.unsynced().empty());
  EXPECT_TRUE(is_durable(ones_.view()));
}

TEST_F(SimDiskTest, EverySubsetOfSectorsOfAnInFlightWriteMaySurvive) {
  FileHandle file = create("data");
  write(file, 0, ones_.view(), Durability::kDurable);
  finish_all();
  write(file, 0, twos_.view(), Durability::kDurable);
  disk_.submit();
  for (unsigned subset = 0; subset < 256; ++subset) {
    ByteVector found =
        survives([subset](const UnsyncedPart& part) { return (subset >> part.sector & 1) != 0; });
    for (std::size_t i = 0; i < 4096; ++i)
      ASSERT_EQ(found[i], static_cast<std::byte>((subset >> (i / 512) & 1) + 1)) << subset;
  }
}

TEST_F(SimDiskTest, PlansKeepWhatTheirNamesSay) {
  FileHandle file = create("data");
  write(file, 0, ones_.view(), Durability::kDurable);
  write(file, 4096, twos_.view(), Durability::kDurable);
  disk_.submit();
  auto kept = [this](const CrashPlan& plan) {
    std::set<std::size_t> sectors;
    ByteVector found = survives(plan);
    for (std::size_t i = 0; i < found.size(); i += 512)
      if (found[i] != std::byte{0}) sectors.insert(i / 512);
    return sectors;
  };
  EXPECT_THAT(kept(keep_only(3)), ElementsAre(3));
  EXPECT_EQ(kept(keep_all_but(3)).size(), 15u);
  EXPECT_THAT(kept(keep_torn(0, 2)), ElementsAre(0, 1));
  EXPECT_THAT(kept(keep_torn(1, 1)), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_EQ(kept(keep_random(5)), kept(keep_random(5)));
  EXPECT_NE(kept(keep_random(5)), kept(keep_random(6)));
}

TEST_F(SimDiskTest, ABufferedWriteIsDurableOnlyAfterASync) {
  FileHandle file = create("data");
  write(file, 0, ones_.view(), Durability::kBuffered);
  finish_all();
  EXPECT_TRUE(is_durable(kNothing));
  EXPECT_FALSE(disk_.unsynced()[0].in_flight);
  sync(file);
  disk_.submit();
  EXPECT_TRUE(is_durable(kNothing));
  disk_.wait();
  EXPECT_TRUE(is_durable(ones_.view()));
}

TEST_F(SimDiskTest, ASyncDoesNotCoverAWriteThatWasInFlightWithIt) {
  disk_.set_order(SimOrder::kByHand);
  FileHandle file = create("data");
  write(file, 0, ones_.view(), Durability::kBuffered);
  sync(file);
  disk_.submit();
  std::vector<SimOperation> flying = disk_.in_flight();
  ASSERT_EQ(flying.size(), 2u);
  EXPECT_EQ(flying[1].kind, SimOperation::Kind::kSync);
  disk_.complete(flying[0].id);
  disk_.complete(flying[1].id);
  EXPECT_EQ(disk_.reap(), 2u);
  EXPECT_TRUE(is_durable(kNothing));
  ASSERT_TRUE(disk_.sync_now(file));
  EXPECT_TRUE(is_durable(ones_.view()));
}

TEST_F(SimDiskTest, AfterAFailedSyncALaterOneRepairsNothing) {
  FileHandle file = create("data");
  write(file, 0, ones_.view(), Durability::kBuffered);
  finish_all();
  disk_.fail_after(0, Errc::kIo);
  EXPECT_EQ(disk_.sync_now(file).error(), Errc::kIo);
  ASSERT_TRUE(disk_.sync_now(file));
  EXPECT_TRUE(is_durable(kNothing));
  write(file, 0, ones_.view(), Durability::kDurable);
  finish_all();
  EXPECT_TRUE(is_durable(ones_.view()));
  EXPECT_TRUE(disk_.unsynced().empty());
}

TEST_F(SimDiskTest, AnOlderBufferedWriteNeverHidesANewerDurableOne) {
  FileHandle file = create("data");
  write(file, 0, ones_.view(), Durability::kBuffered);
  finish_all();
  write(file, 0, twos_.view(), Durability::kDurable);
  finish_all();
  EXPECT_TRUE(is_durable(twos_.view()));
  EXPECT_TRUE(equal(survives(keep_all()), twos_.view()));
}

TEST_F(SimDiskTest, AShortWriteSaysSoAndLeavesTheRestOpen) {
  FileHandle file = create("data");
  disk_.short_write_after(0, 1024);
  write(file, 0, ones_.view(), Durability::kDurable);
  finish_all();
  EXPECT_EQ(*results_.at(0), 1024u);
  EXPECT_EQ(*disk_.size(file), 1024u);
  EXPECT_TRUE(is_durable(ones_.view().first(1024)));
  EXPECT_EQ(disk_.unsynced().size(), 6u);
}

TEST_F(SimDiskTest, TheChosenOperationFailsAndItsDataMayHaveArrived) {
  FileHandle file = create("data");
  disk_.fail_after(1, Errc::kNoSpace);
  write(file, 0, ones_.view(), Durability::kDurable);
  write(file, 4096, twos_.view(), Durability::kDurable);
  write(file, 8192, ones_.view(), Durability::kDurable);
  finish_all();
  ASSERT_EQ(results_.size(), 3u);
  EXPECT_TRUE(results_[0]);
  EXPECT_EQ(results_[1].error(), Errc::kNoSpace);
  EXPECT_EQ(results_[1].error().os_errno, ENOSPC);
  EXPECT_TRUE(results_[2]);
  ASSERT_TRUE(disk_.sync_now(file));
  EXPECT_EQ(survives(keep_none())[4096], std::byte{0});
  EXPECT_EQ(survives(keep_all())[4096], std::byte{2});
}

TEST_F(SimDiskTest, S21GrowingBeyondTheCapacityIsNoSpaceAndOverwritingIsNot) {
  FileHandle file = create("data");
  disk_.set_capacity(8192);
  ASSERT_TRUE(disk_.write_now(file, 0, AlignedBlocks(2, 1).view()));
  EXPECT_EQ(disk_.write_now(file, 8192, as_bytes("x")).error(), Errc::kNoSpace);
  write(file, 8192, ones_.view(), Durability::kDurable);
  write(file, 4096, twos_.view(), Durability::kDurable);
  finish_all();
  EXPECT_EQ(results_.at(0).error(), Errc::kNoSpace);
  EXPECT_TRUE(results_.at(1));
}

TEST_F(SimDiskTest, ANewNameIsLostUnlessItsDirectoryWasSynced) {
  FileHandle file = *disk_.open("data", OpenMode::kCreate);
  ASSERT_TRUE(disk_.write_now(file, 0, as_bytes("durable bytes of a lost name")));
  ASSERT_EQ(disk_.unsynced().size(), 1u);
  EXPECT_EQ(disk_.unsynced()[0].kind, Kind::kCreate);
  EXPECT_TRUE(disk_.crash(keep_none()).files.empty());
  EXPECT_EQ(disk_.crash(keep_all()).files.size(), 1u);
  ASSERT_TRUE(disk_.sync_directory("."));
  EXPECT_EQ(disk_.crash(keep_none()).files.size(), 1u);
}

std::string names_in(const SimDiskImage& image) {
  std::string names;
  for (const auto& [path, content] : image.files) names += path + ";";
  return names;
}

TEST_F(SimDiskTest, ARenameHappensWhollyOrNotAtAll) {
  disk_.close(create("spare"));
  disk_.close(create("journal"));
  ASSERT_TRUE(disk_.rename("spare", "journal"));
  EXPECT_EQ(names_in(disk_.crash(keep_none())), "journal;spare;");
  EXPECT_EQ(names_in(disk_.crash(keep_all())), "journal;");
  ASSERT_TRUE(disk_.sync_directory(""));
  EXPECT_EQ(names_in(disk_.crash(keep_none())), "journal;");
}

TEST_F(SimDiskTest, ChangesOfADirectoryAreLostOneByOneButNotOutOfTheirOwnOrder) {
  disk_.close(create("old"));
  disk_.close(*disk_.open("a", OpenMode::kCreate));
  ASSERT_TRUE(disk_.rename("a", "b"));
  ASSERT_TRUE(disk_.remove("old"));
  std::set<std::string> outcomes;
  for (unsigned subset = 0; subset < 8; ++subset) {
    outcomes.insert(names_in(disk_.crash(
        [subset](const UnsyncedPart& part) { return (subset >> part.index & 1) != 0; })));
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{"old;", "", "a;old;", "a;", "b;old;", "b;"}));
}

TEST_F(SimDiskTest, AChangeThatBuildsOnALostOneIsLostToo) {
  FileHandle old = create("spare");
  ASSERT_TRUE(disk_.write_now(old, 0, as_bytes("old")));
  ASSERT_TRUE(disk_.rename("spare", "journal"));
  disk_.close(*disk_.open("spare", OpenMode::kCreate));
  ASSERT_TRUE(disk_.remove("spare"));
  for (std::size_t only : {1, 2}) {
    SimDiskImage image = disk_.crash(keep_only(only));
    EXPECT_EQ(names_in(image), "spare;");
    EXPECT_EQ(as_text(image.files.at("spare").bytes()), "old");
  }
  EXPECT_EQ(names_in(disk_.crash(keep_only(0))), "journal;");
}

TEST_F(SimDiskTest, SyncingADirectoryLeavesTheOthersAtRisk) {
  ASSERT_TRUE(disk_.make_directory("one"));
  ASSERT_TRUE(disk_.make_directory("two"));
  disk_.close(*disk_.open("one/file", OpenMode::kCreate));
  disk_.close(*disk_.open("two/file", OpenMode::kCreate));
  ASSERT_TRUE(disk_.sync_directory("one"));
  EXPECT_EQ(names_in(disk_.crash(keep_none())), "one/file;");
}

TEST_F(SimDiskTest, WithADirectoryGoesAllThatIsInItUntilItsParentWasSynced) {
  ASSERT_TRUE(disk_.make_directory("streams"));
  ASSERT_TRUE(disk_.create_directory("streams/5"));
  disk_.close(*disk_.open("streams/5/file", OpenMode::kCreate));
  ASSERT_TRUE(disk_.sync_directory("streams/5"));
  ASSERT_EQ(disk_.unsynced().size(), 1u);
  EXPECT_EQ(disk_.unsynced()[0].kind, Kind::kCreateDirectory);
  SimDiskImage lost = disk_.crash(keep_none());
  EXPECT_EQ(names_in(lost), "");
  EXPECT_EQ(lost.directories, (std::set<std::string, std::less<>>{"streams"}));
  EXPECT_EQ(names_in(disk_.crash(keep_all())), "streams/5/file;");
  ASSERT_TRUE(disk_.sync_directory("streams"));
  EXPECT_EQ(names_in(disk_.crash(keep_none())), "streams/5/file;");
}

TEST_F(SimDiskTest, ADirectorySyncCoversWhatCameBeforeItWasSubmitted) {
  disk_.close(*disk_.open("before", OpenMode::kCreate));
  disk_.sync_directory("", [](Result<std::size_t> done) { EXPECT_TRUE(done.ok()); });
  disk_.submit();
  disk_.close(*disk_.open("after", OpenMode::kCreate));
  EXPECT_EQ(names_in(disk_.crash(keep_none())), "");
  disk_.wait();
  EXPECT_EQ(names_in(disk_.crash(keep_none())), "before;");
}

TEST_F(SimDiskTest, ARemovalMayHaveHappenedFromItsSubmissionOn) {
  disk_.close(*disk_.open("file", OpenMode::kCreate));
  ASSERT_TRUE(disk_.sync_directory(""));
  disk_.remove("file", [](Result<std::size_t> done) { EXPECT_TRUE(done.ok()); });
  EXPECT_EQ(names_in(disk_.crash(keep_all())), "file;");
  disk_.submit();
  for (bool over : {false, true}) {
    EXPECT_EQ(names_in(disk_.crash(keep_all())), "");
    EXPECT_EQ(names_in(disk_.crash(keep_none())), "file;");
    if (!over) disk_.wait();
  }
  ASSERT_TRUE(disk_.sync_directory(""));
  EXPECT_EQ(names_in(disk_.crash(keep_none())), "");
}

/// A history of every kind of call; returns false once the disk has failed.
bool small_history(SimDisk& disk, Bytes block) {
  Result<FileHandle> file = disk.open("spare", OpenMode::kCreate);
  if (!file || !disk.write_now(*file, 0, block) || !disk.sync_directory("")) return false;
  if (!disk.rename("spare", "data") || !disk.sync_directory("")) return false;
  bool ok = true;
  auto check = [&ok](Result<std::size_t> done) { ok = ok && done.ok(); };
  disk.write(*file, 4096, block, Durability::kDurable, check);
  disk.write(*file, 8192, block, Durability::kBuffered, check);
  disk.submit();
  while (disk.pending() > 0) disk.wait();
  disk.sync(*file, check);
  disk.submit();
  while (disk.pending() > 0) disk.wait();
  return ok && disk.remove("data") && disk.sync_directory("");
}

TEST_F(SimDiskTest, ThePowerCanBeCutAfterEveryCall) {
  SimDisk whole;
  ASSERT_TRUE(small_history(whole, ones_.view()));
  ASSERT_EQ(whole.operations(), 10u);
  std::set<std::string> outcomes;
  for (std::uint64_t calls = 0; calls < whole.operations(); ++calls) {
    SimDisk disk;
    disk.crash_after(calls);
    EXPECT_FALSE(small_history(disk, ones_.view()));
    EXPECT_TRUE(disk.crashed());
    EXPECT_EQ(disk.list("").error(), Errc::kClosed);
    for (const CrashPlan& plan : {keep_none(), keep_all()}) {
      SimDiskImage image = disk.crash(plan);
      std::string outcome = names_in(image);
      for (const auto& [path, content] : image.files) outcome += std::to_string(content.size());
      outcomes.insert(outcome);
    }
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{"", "spare;0", "spare;4096", "data;4096", "data;8192",
                                             "data;12288"}));
}

TEST_F(SimDiskTest, TheCallThatIsCutMayBeTorn) {
  FileHandle file = create("data");
  disk_.crash_after(0);
  EXPECT_EQ(disk_.write_now(file, 0, ones_.view()).error(), Errc::kClosed);
  EXPECT_EQ(disk_.write_now(file, 4096, ones_.view()).error(), Errc::kClosed);
  EXPECT_EQ(survives(keep_torn(0, 3)).size(), 3u * 512);
  EXPECT_EQ(survives(keep_all()).size(), 4096u) << "nothing after the cut reaches the medium";
}

TEST_F(SimDiskTest, WhatWasInFlightAtTheCutFailsAndStaysAtRisk) {
  FileHandle file = create("data");
  write(file, 0, ones_.view(), Durability::kDurable);
  disk_.submit();
  write(file, 4096, ones_.view(), Durability::kDurable);  // queued only
  disk_.crash_after(0);
  EXPECT_EQ(disk_.sync_now(file).error(), Errc::kClosed);
  finish_all();
  ASSERT_EQ(results_.size(), 2u);
  EXPECT_EQ(results_[0].error(), Errc::kClosed);
  EXPECT_EQ(results_[1].error(), Errc::kClosed);
  EXPECT_TRUE(is_durable(kNothing));
  EXPECT_TRUE(equal(survives(keep_all()), ones_.view()));
}

TEST_F(SimDiskTest, AnImageStartsAnotherDiskAndSharesNothingVisible) {
  FileHandle file = create("data");
  ASSERT_TRUE(disk_.write_now(file, 0, ones_.view()));
  SimDiskImage image = disk_.crash(keep_none());
  SimDiskImage copy = image;
  copy.flip_bit("data", 100, 3);
  SimDisk next(image);
  FileHandle again = *next.open("data", OpenMode::kReadWrite);
  ASSERT_TRUE(next.write_now(again, 5, as_bytes("changed")));
  EXPECT_TRUE(equal(image.files.at("data").bytes(), ones_.view()));
  EXPECT_TRUE(is_durable(ones_.view()));
  EXPECT_EQ(copy.files.at("data").bytes()[100], std::byte{1 ^ 8});
  disk_.flip_bit("data", 200, 0);
  std::byte seen{};
  ASSERT_TRUE(disk_.read_now(file, 200, {&seen, 1}));
  EXPECT_EQ(seen, std::byte{0});
  EXPECT_EQ(survives(keep_none())[200], std::byte{0});
}

std::vector<int> completion_order(std::uint64_t seed, SimOrder order) {
  SimDisk disk({}, {.seed = seed, .order = order});
  FileHandle file = *disk.open("data", OpenMode::kCreate);
  AlignedBlocks block(1, 1);
  std::vector<int> finished;
  for (int i = 0; i < 12; ++i) {
    disk.write(file, 4096u * static_cast<unsigned>(i), block.view(), Durability::kDurable,
               [&finished, i](Result<std::size_t>) { finished.push_back(i); });
  }
  disk.submit();
  while (disk.pending() > 0) disk.wait();
  return finished;
}

TEST_F(SimDiskTest, TheOrderOfCompletionIsTheSeeds) {
  EXPECT_EQ(completion_order(1, SimOrder::kRandom), completion_order(1, SimOrder::kRandom));
  EXPECT_NE(completion_order(1, SimOrder::kRandom), completion_order(2, SimOrder::kRandom));
  EXPECT_THAT(completion_order(1, SimOrder::kFifo),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
}

TEST_F(SimDiskTest, ABufferThatChangesInFlightIsCaught) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  FileHandle file = create("data");
  write(file, 0, ones_.view(), Durability::kDurable);
  disk_.submit();
  ones_.bytes()[7] = std::byte{9};
  EXPECT_DEATH(disk_.wait(), "does not change while its write is in flight");
}

}  // namespace
}  // namespace waybill

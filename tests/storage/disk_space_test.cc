// Goal: a shard knows in time that the disk runs full, does not flap at the limit, and has room put
// by for flush and checkpoint whoever filled the disk (S21). Method: a simulated disk with a
// capacity, and a file of somebody else's that takes what shall not be free.
#include "storage/disk_space.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "storage/io/sim_disk.h"

namespace waybill {
namespace {

using Kind = DiskSpaceChange::Kind;

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr std::uint64_t kCapacity = 100 * kMiB;
constexpr std::uint64_t kWatermark = 16 * kMiB;
constexpr std::uint64_t kEnough = 20 * kMiB;  ///< a quarter more
constexpr std::uint64_t kReserve = 10 * kMiB;
constexpr const char* kPath = "shard-0/reserve";

class DiskSpaceTest : public testing::Test {
 protected:
  DiskSpaceTest() { begin(SimDiskImage{}); }

  void begin(SimDiskImage image, const DiskSpaceOptions& options = {kPath, kWatermark, kReserve}) {
    disk_ = std::make_unique<SimDisk>(std::move(image), SimDiskOptions{.capacity = kCapacity});
    ASSERT_TRUE(disk_->make_directory("shard-0").ok());
    restart(options);
  }
  void restart(const DiskSpaceOptions& options = {kPath, kWatermark, kReserve}) {
    space_ = std::make_unique<DiskSpace>(*disk_, clock_, options);
    space_->on_changed([this](const DiskSpaceChange& change) { told_.push_back(change.kind); });
  }
  /// Somebody else's files change so that so much is free, whatever the reserve takes.
  void leave(std::uint64_t free) {
    ignore_error(disk_->remove("other"), "the first time there is none");
    const std::uint64_t before = *disk_->free_space();
    ASSERT_GE(before, free);
    const FileHandle other = *disk_->open("other", OpenMode::kCreate);
    const Result<void> taken = disk_->allocate(other, before - free);
    ASSERT_TRUE(taken.ok());
    disk_->close(other);
  }
  void look() {
    clock_.advance(std::chrono::seconds(1));
    space_->look();
  }
  void look_with(std::uint64_t free) {
    leave(free);
    look();
  }
  std::vector<Kind> told() { return std::exchange(told_, {}); }
  std::uint64_t size_of_file() {
    const Result<FileHandle> file = disk_->open(kPath, OpenMode::kRead);
    if (!file) return 0;
    const std::uint64_t size = *disk_->size(*file);
    disk_->close(*file);
    return size;
  }

  std::unique_ptr<SimDisk> disk_;
  ManualClock clock_;
  std::unique_ptr<DiskSpace> space_;
  std::vector<Kind> told_;
};

TEST_F(DiskSpaceTest, BelowTheWatermarkItIsLowUntilAQuarterMoreIsFreeS21) {
  look();
  EXPECT_FALSE(space_->low());
  EXPECT_EQ(space_->deadline(), std::nullopt) << "an idle broker sleeps";
  look_with(kWatermark);
  EXPECT_FALSE(space_->low());
  look_with(kWatermark - 1);
  EXPECT_TRUE(space_->low());
  ASSERT_TRUE(space_->deadline().has_value());
  EXPECT_EQ(*space_->deadline() - clock_.monotonic(), std::chrono::seconds(1));
  look_with(kEnough - 1);
  EXPECT_TRUE(space_->low());
  look_with(kEnough);
  EXPECT_FALSE(space_->low());
  look_with(kWatermark);
  EXPECT_FALSE(space_->low());
  EXPECT_EQ(told(), (std::vector{Kind::kLow, Kind::kPlenty}));
}

TEST_F(DiskSpaceTest, ItLooksOnceASecondHoweverOftenItIsAsked) {
  look();
  leave(0);
  space_->look();
  EXPECT_FALSE(space_->low());
  clock_.advance(std::chrono::milliseconds(999));
  space_->look();
  EXPECT_FALSE(space_->low());
  clock_.advance(std::chrono::milliseconds(1));
  space_->look();
  EXPECT_TRUE(space_->low());
}

TEST_F(DiskSpaceTest, TheReserveIsRoomThatOthersCannotTakeAndIsGivenOnceS21) {
  look();
  EXPECT_EQ(space_->reserve(), kReserve);
  EXPECT_EQ(size_of_file(), kReserve);
  leave(0);
  EXPECT_TRUE(space_->give());
  EXPECT_EQ(*disk_->free_space(), kReserve);
  EXPECT_TRUE(space_->low());
  EXPECT_TRUE(space_->given());
  EXPECT_EQ(space_->reserve(), 0u);
  EXPECT_FALSE(space_->give()) << "it is given once";
  EXPECT_EQ(told(), std::vector{Kind::kGiven});
}

TEST_F(DiskSpaceTest, WhatWasGivenIsRebuiltBeforeAnythingGrowsS21) {
  look();
  leave(0);
  ASSERT_TRUE(space_->give());
  told();
  look_with(kEnough + kReserve - 1);
  EXPECT_TRUE(space_->low()) << "there is not room for both";
  EXPECT_EQ(size_of_file(), 0u);
  look_with(kEnough + kReserve);
  EXPECT_FALSE(space_->low());
  EXPECT_FALSE(space_->given());
  EXPECT_EQ(size_of_file(), kReserve);
  EXPECT_EQ(told(), std::vector{Kind::kPlenty});
  look();
  EXPECT_FALSE(space_->low()) << "building it made nothing low";
  EXPECT_TRUE(told().empty());
  leave(0);
  EXPECT_TRUE(space_->give()) << "and it can be given again";
}

TEST_F(DiskSpaceTest, ADiskTooSmallForAReserveGoesWithoutAndSaysSo) {
  look_with(kEnough + kReserve - 1);
  EXPECT_EQ(size_of_file(), 0u);
  EXPECT_FALSE(space_->low()) << "the watermark applies, and nothing else";
  EXPECT_FALSE(space_->give());
  look();
  EXPECT_EQ(told(), std::vector{Kind::kNoReserve}) << "once";
  look_with(kEnough + kReserve);
  EXPECT_EQ(size_of_file(), kReserve) << "it is made as soon as there is room";
}

TEST_F(DiskSpaceTest, TheReserveGrowsWithTheCheckpoints) {
  look();
  space_->want(2 * kReserve);
  look();
  EXPECT_EQ(space_->reserve(), 2 * kReserve);
  EXPECT_EQ(size_of_file(), 2 * kReserve);
  space_->want(kReserve);
  look();
  EXPECT_EQ(space_->reserve(), 2 * kReserve);
  space_->want(4 * kReserve);
  look_with(kEnough);
  EXPECT_EQ(space_->reserve(), 2 * kReserve)
      << "what stands is kept while there is no room for more";
  EXPECT_FALSE(space_->low());
}

TEST_F(DiskSpaceTest, WithoutAWatermarkOnlyAFullDiskStopsAnything) {
  restart({kPath, 0, kReserve});
  look();
  look_with(0);
  EXPECT_FALSE(space_->low());
  ASSERT_TRUE(space_->give());
  look();
  EXPECT_FALSE(space_->given()) << "there is room for it again";
  EXPECT_FALSE(space_->low());
  restart({kPath, 0, 0});
  look_with(0);
  EXPECT_FALSE(space_->low());
  EXPECT_FALSE(space_->give());
}

TEST_F(DiskSpaceTest, WhatAnEarlierRunLeftIsTheReserveEvenOnAFullDisk) {
  look();
  leave(0);
  restart();
  look();
  EXPECT_EQ(space_->reserve(), kReserve);
  EXPECT_TRUE(space_->low());
  EXPECT_TRUE(space_->give());
}

TEST_F(DiskSpaceTest, AFileThatIsTooShortIsMadeAnew) {
  for (const std::uint64_t size : {std::uint64_t{0}, kReserve / 2}) {
    begin(SimDiskImage{});
    const FileHandle file = *disk_->open(kPath, OpenMode::kCreate);
    const Result<void> taken = disk_->allocate(file, size);
    ASSERT_TRUE(taken.ok());
    disk_->close(file);
    leave(kEnough);
    look();
    EXPECT_EQ(size_of_file(), 0u) << "a part is no promise, and gives its room back";
    look_with(kEnough + kReserve);
    EXPECT_EQ(size_of_file(), kReserve);
  }
}

TEST_F(DiskSpaceTest, ACutAnywhereLeavesWhatTheNextRunPutsRight) {
  bool finished = false;
  for (std::uint64_t cut = 0; !finished; ++cut) {
    ASSERT_LT(cut, 100u);
    for (const CrashPlan& plan : {keep_none(), keep_all()}) {
      begin(SimDiskImage{});
      disk_->crash_after(cut);
      look();
      space_->give();
      look();
      finished = !disk_->crashed();
      begin(disk_->crash(plan));
      look();
      EXPECT_EQ(size_of_file(), kReserve) << "cut at " << cut;
      EXPECT_FALSE(space_->low());
    }
  }
}

TEST_F(DiskSpaceTest, AnErrorOfTheDiskIsTriedAgain) {
  for (std::uint64_t call = 0; call < 3; ++call) {
    begin(SimDiskImage{});
    disk_->fail_after(call, Errc::kIo);
    look();
    look();
    EXPECT_EQ(size_of_file(), kReserve) << "call " << call;
  }
}

}  // namespace
}  // namespace waybill

// Goal: the check finds what the broker would find; what salvage gives up is what it says, no more;
// and the broker starts afterwards (S10). Method: each file of a shard is wiped in part, cut or
// removed in turn; both checks, the plan, the salvage, the start, and everything read.
#include <gtest/gtest.h>

#include "storage/salvage.h"
#include "tests/broker/core/shard_look.h"

namespace waybill {
namespace {

constexpr ShardIndex kShard{0};

struct Checks {
  JournalCheck journal;
  SegmentsCheck segments;
  [[nodiscard]] bool clean() const { return journal.clean && segments.clean; }
};

Checks check(SimDisk& disk) {
  const CheckProgress progress = [](std::uint64_t, std::uint64_t) {};
  std::string explanation;
  Result<JournalCheck> journal =
      check_journal(disk, "shard-0/journal", kShard, progress, &explanation);
  EXPECT_TRUE(journal.ok()) << explanation;
  Result<SegmentsCheck> segments = check_segments(disk, kShard, progress, &explanation);
  EXPECT_TRUE(segments.ok()) << explanation;
  if (!journal || !segments) return {};
  return {std::move(*journal), std::move(*segments)};
}

class ShardSalvage : public testing::Test {
 protected:
  ShardSalvage() : rig_(tiny()) {}
  void SetUp() override {
    const TopicInfo* orders = rig_.shards.front()->catalog()->topic("orders");
    ASSERT_NE(orders, nullptr);
    for (const PartitionPlace& place : orders->partitions) streams_.push_back(place.stream);
  }

  /// Checks, salvages if the broker does not start, and reads everything.
  void go_through(const SimDiskImage& image) {
    SimDisk disk(image);
    const Checks checks = check(disk);
    if (power_on(rig_, image).ok()) {
      Look look(rig_, sound_);
      look.any_file = true;
      if (look.unread("") > 0) {
        EXPECT_FALSE(checks.clean()) << "the check saw nothing";
      }
      ++started_;
      return;
    }
    EXPECT_FALSE(checks.clean()) << "the broker refuses: " << rig_.explanation;
    Result<SalvagePlan> plan = plan_salvage(disk, kShard, checks.journal, checks.segments);
    ASSERT_TRUE(plan.ok()) << to_string(plan.error());
    if (!plan->obstacle.empty()) {
      ++hopeless_;
      return;
    }
    EXPECT_FALSE(plan->steps.empty());
    ASSERT_EQ(disk.crash(keep_all()).files.size(), image.files.size()) << "a plan changes nothing";
    Result<void> salvaged = salvage_shard(disk, kShard, checks.journal, checks.segments);
    ASSERT_TRUE(salvaged.ok()) << to_string(salvaged.error());
    const SimDiskImage after = disk.crash(keep_none());
    for (const auto& [path, content] : image.files) keeps(after, content, path);
    ASSERT_TRUE(power_on(rig_, after).ok()) << rig_.explanation;
    read_rest(*plan);
    ++salvaged_;
  }

  /// Nothing is erased: what a file held is still there, under whatever name.
  static void keeps(const SimDiskImage& after, const SimContent& content, const std::string& path) {
    const ByteVector bytes = content.bytes();
    for (const auto& [name, other] : after.files) {
      if (other.size() == bytes.size() && other.bytes() == bytes) return;
    }
    ADD_FAILURE() << path << " is erased";
  }

  void read_rest(const SalvagePlan& plan) {
    Look look(rig_, sound_);
    look.may_end = look.any_file = true;
    look.unread("");
    for (const Told::Place& place : look.unread_messages) {
      bool said = false;
      bool followed = false;
      for (const GivenUp& lost : plan.given_up) {
        if (lost.stream != streams_.at(place.first)) continue;
        const bool reaches = place.second <= lost.offsets.last.value;
        said = said || (reaches && lost.offsets.first.value <= place.second);
        followed = followed || reaches;
      }
      // Of a frame that nobody can read, and that nothing in its partition followed, all that can
      // be said is that everything from an entry on is lost.
      if (plan.first_entry > 0 && look.beyond_the_end.contains(place) && !followed) said = true;
      EXPECT_TRUE(said) << "offset " << place.second << " of partition " << place.first
                        << " is lost, and nobody said so";
    }
  }

  CoreRig rig_;
  Told told_;
  Sound sound_ = make_sound(rig_, told_, 90);
  std::vector<StreamId> streams_;
  int started_ = 0;
  int salvaged_ = 0;
  int hopeless_ = 0;
};

TEST_F(ShardSalvage, ASoundShardIsClean) {
  SimDisk disk(sound_.image);
  const Checks checks = check(disk);
  EXPECT_TRUE(checks.clean()) << checks.journal.explanation;
  EXPECT_GT(checks.segments.segments, 3u);
  EXPECT_GT(checks.segments.sealed, 1u);
  EXPECT_GT(checks.segments.records, 10u);
}

TEST_F(ShardSalvage, EachByteOfAFooterIsVerifiedAndCostsNothing) {
  SimDisk sound(sound_.image);
  const std::string directory = "shard-0/streams/" + stream_directory_name(streams_.front());
  Result<std::vector<std::string>> names = sound.list(directory);
  ASSERT_TRUE(names.ok() && !names->empty());
  const std::string path = directory + "/" + *std::ranges::min_element(*names);
  const ByteVector bytes = sound_.image.files.at(path).bytes();
  const std::optional<std::uint64_t> footer =
      footer_position(Bytes(bytes).last(limits::kBlock), bytes.size());
  ASSERT_TRUE(footer) << "the oldest segment is sealed";
  for (std::uint64_t at = *footer; at < bytes.size(); at += 61) {
    SCOPED_TRACE(path + " at " + std::to_string(at));
    SimDiskImage image = sound_.image;
    image.files[path].write(at, ByteVector{bytes[at] ^ std::byte{0x10}});
    SimDisk disk(image);
    const Checks checks = check(disk);
    ASSERT_FALSE(checks.clean());
    ASSERT_EQ(checks.segments.damaged_footers.size(), 1u);
    EXPECT_EQ(checks.segments.damaged_footers.front().path, path);
    EXPECT_EQ(checks.segments.damaged_footers.front().position, *footer);
    EXPECT_TRUE(checks.segments.lost.empty() && checks.segments.unusable.empty());
  }
  SimDiskImage image = sound_.image;
  image.files[path].write(bytes.size() - 100, ByteVector{bytes[bytes.size() - 100] ^ std::byte{1}});
  ASSERT_TRUE(power_on(rig_, image).ok()) << rig_.explanation;
  Look look(rig_, sound_);
  EXPECT_EQ(look.unread(""), 0u);
}

TEST_F(ShardSalvage, WhatIsGivenUpIsSaidAndTheRestIsServedS10) {
  const ByteVector zeros(limits::kBlock);
  for (const auto& [path, content] : sound_.image.files) {
    const ByteVector bytes = content.bytes();
    for (std::uint64_t kind = 0; kind < 5; ++kind) {
      SCOPED_TRACE(path + " kind " + std::to_string(kind));
      SimDiskImage image = sound_.image;
      SimContent cut;
      cut.write(0, Bytes(bytes).first(bytes.size() / 2));
      const std::uint64_t block = bytes.size() / 3 * (kind % 3) / limits::kBlock * limits::kBlock;
      if (kind < 3) image.files[path].write(block, zeros);
      if (kind == 3) image.files[path] = cut;
      if (kind == 4) image.files.erase(path);
      go_through(image);
      if (HasFailure()) return;
    }
  }
  std::cout << started_ << " start as they are, " << salvaged_ << " salvaged, " << hopeless_
            << " cannot be helped\n";
  EXPECT_GT(salvaged_, 5);
}

}  // namespace
}  // namespace waybill

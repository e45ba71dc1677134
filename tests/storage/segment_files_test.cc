// Goal: stretches of segments come back whole and checked, with bounded memory, also when the file
// goes meanwhile or its index is not intact. Method: a segment of the real writer on a simulated
// disk whose reads are finished by hand.
#include "storage/segment_files.h"

#include <algorithm>
#include <numeric>

#include "tests/storage/segment_rig.h"

namespace waybill {
namespace {

constexpr std::size_t kBudget = 512 * 1024;

class SegmentFilesTest : public testing::Test {
 protected:
  SegmentFilesTest() : rig_(disk_) {
    EXPECT_TRUE(rig_.create().ok());
    for (int i = 0; i < 40; ++i) {
      rig_.append(1, 30'000);
      if (i % 4 == 3) rig_.flush();
    }
    rig_.sync();
    size_ = rig_.writer->durable_position();
    rig_.seal();
  }
  std::vector<SegmentIndexEntry> index() {
    return files_.read_index(kSegment, size_, rig_.writer->end());
  }
  void read(std::size_t entry, const std::vector<SegmentIndexEntry>& index) {
    const bool last = entry + 1 == index.size();
    const Offset end = last ? rig_.writer->end() : index[entry + 1].base;
    const SegmentPlace place{
        .position = index[entry].position,
        .size = (last ? size_ : index[entry + 1].position) - index[entry].position,
        .offsets = {index[entry].base, end - 1}};
    files_.read(kSegment, place, [this](const Result<std::vector<SharedBytes>>& batches) {
      batches ? void(got_ += batches->size()) : void(errors_.push_back(batches.error()));
    });
    disk_.submit();
  }
  [[nodiscard]] std::uint64_t on_their_way() const {
    const std::vector<SimOperation> all = disk_.in_flight();
    return std::accumulate(all.begin(), all.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const SimOperation& o) { return sum + o.size; });
  }

  SimDisk disk_;
  SegmentRig rig_;
  std::uint64_t size_ = 0;
  SegmentFiles files_{disk_, "shard-0/streams", kBudget};
  std::size_t got_ = 0;
  std::vector<Error> errors_;
};

TEST_F(SegmentFilesTest, NoMoreThanHalfOfTheBudgetIsReadAtOnceAndAllIsRead) {
  const std::vector<SegmentIndexEntry> entries = index();
  ASSERT_GE(entries.size(), 10u);
  disk_.set_order(SimOrder::kByHand);
  for (std::size_t i = 0; i < entries.size(); ++i) read(i, entries);
  EXPECT_GT(on_their_way(), kBudget / 4);
  while (disk_.pending() > 0) {
    EXPECT_LE(on_their_way(), kBudget / 2);
    disk_.wait();
    disk_.submit();
  }
  EXPECT_TRUE(errors_.empty());
  EXPECT_EQ(got_, rig_.batches.size());
}

TEST_F(SegmentFilesTest, WhatWaitedIsNotReadTwiceAndSurvivesItsFile) {
  const std::vector<SegmentIndexEntry> entries = index();
  disk_.set_order(SimOrder::kByHand);
  std::size_t wanted = 0;
  // Three at a time, twice: the first of them has arrived when its second reader's turn comes.
  for (std::size_t first = 0; first + 3 <= entries.size(); first += 3) {
    for (std::size_t i = 0; i < 6; ++i, ++wanted) read(first + i % 3, entries);
  }
  ASSERT_TRUE(disk_.remove(rig_.writer->path()).ok());
  files_.forget(kSegment);
  std::size_t reads = 0;
  for (; disk_.pending() > 0; ++reads) {
    disk_.wait();
    disk_.submit();
  }
  EXPECT_TRUE(errors_.empty());
  EXPECT_GE(got_, 2 * wanted);
  EXPECT_LT(reads, wanted);
}

TEST_F(SegmentFilesTest, TheIndexIsThatOfTheFooterOrElseOfTheBlocks) {
  const std::vector<SegmentIndexEntry> footer = index();
  disk_.flip_bit(rig_.writer->path(), size_ + 100);
  EXPECT_EQ(index(), footer);
}

TEST_F(SegmentFilesTest, ASegmentWithoutAnIndexIsDamageForWhoReadsIt) {
  disk_.flip_bit(rig_.writer->path(), size_ + 100);
  disk_.flip_bit(rig_.writer->path(), 5000);
  const std::vector<SegmentIndexEntry> entries = index();
  ASSERT_EQ(entries.size(), 1u);
  read(0, entries);
  drain(disk_);
  ASSERT_EQ(errors_.size(), 1u);
  EXPECT_EQ(errors_.front(), Errc::kDamaged);
  EXPECT_NE(files_.damage().find(rig_.writer->path()), std::string::npos);
}

}  // namespace
}  // namespace waybill

// Goal: what is taken out of the ranges of a lease is gone, in whatever order and however cut, and
// nothing else is. Method: beside a set of offsets, from the front mostly, as leases are settled.
#include "broker/core/open_ranges.h"

#include <gtest/gtest.h>

#include <set>

#include "protocol/base/random.h"

namespace waybill {
namespace {

std::set<std::int64_t> offsets_of(const OpenRanges& ranges) {
  std::set<std::int64_t> offsets;
  for (OffsetRange range : ranges) {
    EXPECT_GT(range.count(), 0);
    for (Offset o = range.first; o <= range.last; ++o) EXPECT_TRUE(offsets.insert(o.value).second);
  }
  return offsets;
}

TEST(OpenRanges, NeighboursStayApartAndAreTakenTogether) {
  OpenRanges open({{{3}, {3}}, {{4}, {6}}, {{8}, {9}}});
  EXPECT_EQ(open.size(), 3u);
  EXPECT_FALSE(open.take({{2}, {3}}));
  EXPECT_FALSE(open.take({{6}, {8}})) << "7 is not here";
  EXPECT_FALSE(open.take({{5}, {4}})) << "nothing";
  EXPECT_EQ(open.size(), 3u);
  EXPECT_TRUE(open.take({{3}, {5}}));
  EXPECT_EQ(open.copy(), (std::vector<OffsetRange>{{{6}, {6}}, {{8}, {9}}}));
  EXPECT_EQ(open.find({7})->first, Offset{8});
  EXPECT_EQ(open.find({10}), open.end());
}

TEST(OpenRanges, IsASetOfOffsetsWhateverIsTaken) {
  SeededRandom random{3};
  for (int round = 0; round < 200; ++round) {
    std::vector<OffsetRange> ranges;
    Offset next{static_cast<std::int64_t>(random.below(5))};
    for (std::uint64_t i = 1 + random.below(40); i > 0; --i) {
      OffsetRange range{next, next + static_cast<std::int64_t>(random.below(4))};
      ranges.push_back(range);
      next = range.last + 1 + static_cast<std::int64_t>(random.below(3));
    }
    OpenRanges open(ranges);
    std::set<std::int64_t> model = offsets_of(open);
    while (!open.empty()) {
      ASSERT_EQ(open.front().first.value, *model.begin());
      ASSERT_EQ(open.back().last.value, *model.rbegin());
      OffsetRange range{open.front().first, {}};
      if (random.below(3) == 0) range.first = {static_cast<std::int64_t>(random.below(150))};
      range.last = range.first + static_cast<std::int64_t>(random.below(6));
      bool whole = true;
      for (Offset o = range.first; o <= range.last; ++o) whole &= model.contains(o.value);
      ASSERT_EQ(open.take(range), whole);
      for (Offset o = range.first; whole && o <= range.last; ++o) model.erase(o.value);
      ASSERT_EQ(offsets_of(open), model);
    }
    ASSERT_TRUE(model.empty());
  }
}

}  // namespace
}  // namespace waybill

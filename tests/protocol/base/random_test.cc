// Goal: seeded randomness is the same everywhere and stays in its range. Method: SplitMix64's
// published sequence; bounds small and huge.
#include "protocol/base/random.h"

#include <gtest/gtest.h>

#include <set>

namespace waybill {
namespace {

TEST(SeededRandom, IsSplitMix64) {
  SeededRandom random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317U);
  EXPECT_EQ(random.next(), 3203168211198807973U);
  EXPECT_EQ(random.next(), 9817491932198370423U);
}

TEST(SeededRandom, BelowReachesEveryNumberOfItsRangeAndNoOther) {
  SeededRandom random(1);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random.below(7));
  EXPECT_EQ(seen.size(), 7U);
  EXPECT_EQ(*seen.rbegin(), 6U);
  EXPECT_EQ(random.below(1), 0U);
  for (int i = 0; i < 100; ++i) EXPECT_LT(random.below(UINT64_MAX), UINT64_MAX);
}

TEST(SeededRandom, UuidsDiffer) {
  SeededRandom random(1);
  std::set<Uuid> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random.uuid());
  EXPECT_EQ(seen.size(), 1000U);
}

TEST(SystemSeed, DiffersFromCallToCall) {
  EXPECT_NE(system_seed(), system_seed());
}

}  // namespace
}  // namespace waybill

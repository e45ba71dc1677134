// Goal: whatever clients do and whatever fails, what the broker said stays true. Method: the whole
// core on simulated disks, clocks and networks, from a bounded number of seeds, each run twice; an
// oracle that only knows what clients sent and heard. More: tests/sim/run --minutes N.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/sim/simulation.h"

namespace waybill {
namespace {

#ifdef WAYBILL_SANITIZED
constexpr std::uint64_t kSeeds = 15;  // four seconds each, and longer on a busy machine
#else
constexpr std::uint64_t kSeeds = 60;
#endif

TEST(Simulation, NoSeedBreaksAPromise) {
  const char* chosen = std::getenv("WAYBILL_SEED");
  std::uint64_t first = chosen != nullptr ? std::strtoull(chosen, nullptr, 10) : 1;
  std::uint64_t count = chosen != nullptr ? 1 : kSeeds;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    SimResult result = simulate_twice(seed);
    ASSERT_FALSE(result.finding) << report(result);
  }
}

TEST(Simulation, ASeedIsTheSameRunEveryTime) {
  EXPECT_EQ(simulate(7).hash, simulate(7).hash);
  EXPECT_NE(simulate(7).hash, simulate(8).hash);
}

}  // namespace
}  // namespace waybill

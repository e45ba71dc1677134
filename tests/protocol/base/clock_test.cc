// Goal: time moves only when told (ManualClock), and never back (SystemClock). Method: reads both.
#include "protocol/base/clock.h"

#include <gtest/gtest.h>

namespace waybill {
namespace {

using std::chrono::milliseconds;

TEST(ManualClock, MovesOnlyWhenTold) {
  ManualClock clock;
  MonotonicTime start = clock.monotonic();
  WallTime wall = clock.wall();
  EXPECT_EQ(clock.monotonic(), start);
  clock.advance(milliseconds(1500));
  EXPECT_EQ(clock.monotonic() - start, milliseconds(1500));
  EXPECT_EQ(clock.wall().milliseconds - wall.milliseconds, 1500);
}

TEST(ManualClock, AJumpOfTheWallLeavesMonotonicTimeAlone) {
  ManualClock clock;
  MonotonicTime start = clock.monotonic();
  WallTime wall = clock.wall();
  clock.jump_wall(milliseconds(-5000));
  EXPECT_EQ(clock.monotonic(), start);
  EXPECT_EQ(clock.wall().milliseconds - wall.milliseconds, -5000);
}

TEST(ManualClock, SmallStepsAddUpOnTheWall) {
  ManualClock clock;
  WallTime wall = clock.wall();
  for (int i = 0; i < 10; ++i) clock.advance(std::chrono::microseconds(500));
  EXPECT_EQ(clock.wall().milliseconds - wall.milliseconds, 5);
}

TEST(SystemClock, NeverGoesBackAndKnowsTheCentury) {
  SystemClock clock;
  MonotonicTime first = clock.monotonic();
  EXPECT_GE(clock.monotonic(), first);
  constexpr std::int64_t kStartOf2024 = 1'704'067'200'000;
  EXPECT_GT(clock.wall().milliseconds, kStartOf2024);
}

}  // namespace
}  // namespace waybill

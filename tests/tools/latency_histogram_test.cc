// Goal: a percentile is what a person would count by hand, to within 1/64.
// Method: values whose percentiles are known; every doubling's edges; what is out of range.
#include "tools/latency_histogram.h"

#include <gtest/gtest.h>

namespace waybill::cli {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

TEST(LatencyHistogram, PercentilesAreThoseOfTheValues) {
  LatencyHistogram times;
  for (int us = 1; us <= 10'000; ++us) times.add(microseconds(us));
  EXPECT_EQ(times.count(), 10'000u);
  for (double percent : {1.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    double exact = percent * 100;
    double found = static_cast<double>(times.percentile(percent).count()) / 1000;
    EXPECT_GE(found, exact) << percent;
    EXPECT_LE(found, exact * (1 + 1.0 / 64) + 1) << percent;
  }
  EXPECT_EQ(times.longest(), microseconds(10'000));
  EXPECT_EQ(times.mean(), nanoseconds(5'000'500));
}

TEST(LatencyHistogram, EveryValueIsKeptToWithinA64thUpToHours) {
  for (std::int64_t us = 1; us < microseconds(hours(12)).count(); us *= 2) {
    for (std::int64_t value : {us - 1, us, us + 1, us + us / 2}) {
      LatencyHistogram times;
      times.add(microseconds(value));
      times.add(hours(25));  // so that the longest does not hide the step
      std::int64_t found = times.percentile(50).count();
      EXPECT_GT(found, value * 1000) << value;
      EXPECT_LE(found, value * 1000 + value * 1000 / 64 + 1000) << value;
    }
  }
}

TEST(LatencyHistogram, WhatIsOutOfRangeCountsAtTheEdge) {
  LatencyHistogram times;
  EXPECT_EQ(times.percentile(99), nanoseconds(0)) << "nothing was added";
  times.add(nanoseconds(-5));
  times.add(hours(24 * 365));
  EXPECT_EQ(times.count(), 2u);
  EXPECT_LE(times.percentile(50), microseconds(1));
  EXPECT_EQ(times.longest(), hours(24 * 365));
}

TEST(LatencyHistogram, PrintsWhatHdrHistogramsPlotterReads) {
  LatencyHistogram times;
  for (int i = 0; i < 3; ++i) times.add(microseconds(20));
  times.add(microseconds(2000));
  EXPECT_EQ(times.hdr_text(),
            "       Value     Percentile TotalCount 1/(1-Percentile)\n"
            "\n"
            "       0.021 0.750000000000          3           4.00\n"
            "       2.000 1.000000000000          4\n"
            "#[Mean    =        0.515, StdDeviation   =        0.857]\n"
            "#[Max     =        2.000, Total count    =            4]\n"
            "#[Buckets =           35, SubBuckets     =           64]\n");
}

TEST(LatencyHistogram, ManyAtOnceAreAsOneByOne) {
  LatencyHistogram together;
  LatencyHistogram single;
  together.add(microseconds(700), 3);
  together.add(microseconds(9000), 0);
  for (int i = 0; i < 3; ++i) single.add(microseconds(700));
  EXPECT_EQ(together.hdr_text(), single.hdr_text());
}

TEST(LatencyHistogram, TwoOfThemAddUp) {
  LatencyHistogram all;
  LatencyHistogram some;
  all.add(microseconds(10));
  some.add(microseconds(1000));
  all.add(some);
  EXPECT_EQ(all.count(), 2u);
  EXPECT_EQ(all.longest(), microseconds(1000));
  EXPECT_LE(all.percentile(50), microseconds(11));
}

}  // namespace
}  // namespace waybill::cli

// Goal: whatever a broker stands on, its start says so once, with the cost and the way out.
// Method: facts of good and bad ground go in; events, values and warnings are compared.
#include "broker/server/start_report.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace waybill {
namespace {

const DiskFacts kGood{"io_uring (plain)", "RWF_DSYNC", true, ""};

bool warns(const std::vector<StartLine>& lines) {
  return std::ranges::any_of(lines, &StartLine::warning);
}

TEST(StartReport, EveryLineHasAValueACostAndAWayToChangeIt) {
  for (const auto& lines : {report_disk(kGood), report_disk({}), report_limits({}),
                            report_limits({1024, 64, 10'000})}) {
    for (const StartLine& line : lines) {
      EXPECT_FALSE(line.cost.empty()) << line.event;
      EXPECT_FALSE(line.change.empty()) << line.event;
    }
  }
}

TEST(StartReport, WhoMayDoWhatIsSaidAndWarnedOfBeyondLoopback) {
  StartLine open = report_access({.users = std::nullopt, .loopback = true});
  EXPECT_EQ(open.value, "everybody");
  EXPECT_FALSE(open.warning);
  EXPECT_NE(open.change.find("--users"), std::string::npos);
  EXPECT_TRUE(report_access({.users = std::nullopt, .loopback = false}).warning);
  StartLine closed = report_access({.users = 3, .loopback = true});
  EXPECT_EQ(closed.value, "3");
  EXPECT_FALSE(closed.warning);
  StartLine readable = report_access({.users = 3, .loopback = false});
  EXPECT_TRUE(readable.warning);
  EXPECT_NE(readable.cost.find("clear text"), std::string::npos);
}

TEST(StartReport, GoodGroundIsNoWarning) {
  std::vector<StartLine> lines = report_disk(kGood);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].value, "io_uring (plain)");
  EXPECT_EQ(lines[1].value, "RWF_DSYNC");
  EXPECT_EQ(lines[2].value, "O_DIRECT");
  EXPECT_FALSE(warns(lines));
}

TEST(StartReport, AnEngineThatWasNotToBeHadIsAWarningWithItsReason) {
  DiskFacts facts{"thread pool (2 threads)", "RWF_DSYNC", true, "io_uring is blocked here"};
  StartLine line = report_disk(facts).front();
  EXPECT_TRUE(line.warning);
  EXPECT_EQ(line.change, "io_uring is blocked here");
  facts.obstacle.clear();
  EXPECT_FALSE(report_disk(facts).front().warning) << "it was asked for";
  EXPECT_TRUE(report_disk(facts).front().change.contains("--disk auto"));
}

TEST(StartReport, BufferedFilesAreAWarning) {
  std::vector<StartLine> lines = report_disk({"thread pool (2 threads)", "fdatasync", false, ""});
  EXPECT_TRUE(lines[1].cost.contains("second call"));
  EXPECT_EQ(lines[2].value, "buffered");
  EXPECT_TRUE(lines[2].warning);
}

TEST(StartReport, TooFewFilesForAllConnectionsAreAWarning) {
  EXPECT_FALSE(warns(report_limits({8192, 20'000, 10'000})));
  std::vector<StartLine> few = report_limits({8192, 1024, 10'000});
  EXPECT_EQ(few[0].value, "8192");
  EXPECT_EQ(few[1].value, "1024");
  EXPECT_TRUE(few[1].warning);
  EXPECT_TRUE(few[1].cost.contains("11024")) << few[1].cost;
  EXPECT_EQ(report_limits({}).at(1).value, "unlimited");
}

TEST(StartReport, WhatConnectionsLeaveIsForSegments) {
  EXPECT_EQ(segment_files({8192, 20'000, 10'000}), 20'000U - 10'000 - 1024);
  EXPECT_EQ(segment_files({8192, 1024, 10'000}), 256U) << "some are needed whatever the limit";
  EXPECT_EQ(segment_files({8192, 1'000'000, 10'000}), 100'000U);
  EXPECT_TRUE(report_limits({8192, 20'000, 10'000}).at(1).cost.contains("8976 partitions"));
}

}  // namespace
}  // namespace waybill

// Goal: a probe measures every method at every size and depth, and leaves nothing behind.
// Method: a real directory, few writes; what was measured is not judged, only that it was.
#include "storage/sync_probe.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "tests/storage/io/test_directory.h"

namespace waybill {
namespace {

TEST(SyncProbe, MeasuresEveryMethodAndLeavesNothingBehind) {
  TestDirectory directory;
  std::size_t said = 0;
  Result<ProbeReport> report =
      probe_directory(directory.path(), SystemClock(), {.max_writes = 3},
                      [&said](const std::string& what) { said += what.empty() ? 0 : 1; });
  ASSERT_TRUE(report.ok()) << to_string(report.error());
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  EXPECT_GE(said, report->results.size());
  EXPECT_FALSE(report->engine.empty());

  std::set<SyncMethod> methods;
  std::set<SyncMethod> chosen;
  for (const ProbeResult& result : report->results) {
    methods.insert(result.method);
    if (result.chosen) chosen.insert(result.method);
    EXPECT_EQ(result.writes, 3U);
    EXPECT_GT(result.median, Duration::zero());
    EXPECT_GE(result.slowest, result.median);
    EXPECT_GT(result.bytes_per_second, 0);
  }
  EXPECT_EQ(report->results.size(), methods.size() * 6) << "two sizes, three depths";
  EXPECT_GE(methods.size(), 2U);
  ASSERT_EQ(chosen.size(), 1U) << "the broker writes in one way";
  EXPECT_EQ(*chosen.begin(), methods.contains(SyncMethod::kDirectDsync) ? SyncMethod::kDirectDsync
                                                                        : SyncMethod::kDsync);
}

TEST(SyncProbe, AMissingDirectoryIsSaidToBeMissing) {
  TestDirectory directory;
  Result<ProbeReport> report = probe_directory(std::string(directory.path()) + "/none",
                                               SystemClock(), {}, [](const std::string&) {});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace waybill

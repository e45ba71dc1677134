// Goal: the page of a load test draws what was measured, also where that is little or nothing.
// Method: results made by hand; the points of the lines, as numbers.
#include <gtest/gtest.h>

#include <sstream>

#include "tools/bench.h"

namespace waybill::cli {
namespace {

using std::chrono::milliseconds;

struct Dot {
  double x = 0;
  double y = 0;
};

/// Of each line of the page, in order.
std::vector<std::vector<Dot>> lines_of(const BenchResult& result) {
  std::string page = bench_page({}, result, {});
  std::vector<std::vector<Dot>> lines;
  const std::string begin = "<polyline points=\"";
  for (std::size_t at = page.find(begin); at != std::string::npos; at = page.find(begin, at + 1)) {
    std::size_t from = at + begin.size();
    std::istringstream points(page.substr(from, page.find('"', from) - from));
    lines.emplace_back();
    Dot dot;
    char comma = 0;
    while (points >> dot.x >> comma >> dot.y) lines.back().push_back(dot);
    EXPECT_TRUE(points.eof()) << "no number: " << points.str();
  }
  return lines;
}

TEST(BenchPage, OneMessageIsAPointWithinTheChart) {
  BenchResult result;
  result.publish.add(milliseconds(3));
  auto lines = lines_of(result);
  ASSERT_EQ(lines.size(), 1u);
  ASSERT_FALSE(lines[0].empty());
  for (const Dot& dot : lines[0]) {
    EXPECT_GE(dot.y, 0);
    EXPECT_LT(dot.y, 300);
  }
}

TEST(BenchPage, TheLongestStandsWhereOneOfAllLiesBeyondAndAtItsHeight) {
  BenchResult result;
  result.publish.add(milliseconds(1), 999);
  result.publish.add(milliseconds(100));
  auto lines = lines_of(result);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].back().x, 740) << "of a thousand messages at 99.9, the end of the axis";
  EXPECT_LT(lines[0].back().y, 100) << "not clipped to what the others need";
  BenchResult half = result;
  half.publish.add(result.publish);
  half.publish.add(milliseconds(1), 3000);
  EXPECT_LT(lines_of(half)[0].back().x, 740) << "3 of 5000 lie there, and the axis goes further";
}

TEST(BenchPage, RatesOfNothingAreAFlatLine) {
  BenchResult result;
  for (int i = 0; i < 20; ++i) result.samples.push_back({milliseconds(100 * i), 0, 0});
  auto lines = lines_of(result);
  ASSERT_EQ(lines.size(), 1u);
  ASSERT_FALSE(lines[0].empty());
  EXPECT_EQ(lines[0].front().y, lines[0].back().y);
  EXPECT_EQ(lines[0].front().y, 260) << "at the axis";
}

}  // namespace
}  // namespace waybill::cli

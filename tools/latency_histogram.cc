#include "tools/latency_histogram.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace waybill::cli {

void LatencyHistogram::add(std::chrono::nanoseconds time, std::uint64_t count) {
  if (count == 0) return;
  time = std::max(time, std::chrono::nanoseconds(0));
  steps_[step_of(static_cast<std::uint64_t>(time.count() / 1000))] += count;
  count_ += count;
  sum_ += time * static_cast<std::int64_t>(count);
  longest_ = std::max(longest_, time);
}

void LatencyHistogram::add(const LatencyHistogram& other) {
  for (std::size_t i = 0; i < steps_.size(); ++i) steps_[i] += other.steps_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  longest_ = std::max(longest_, other.longest_);
}

std::chrono::nanoseconds LatencyHistogram::mean() const {
  return count_ == 0 ? std::chrono::nanoseconds(0) : sum_ / static_cast<std::int64_t>(count_);
}

std::chrono::nanoseconds LatencyHistogram::percentile(double percent) const {
  if (count_ == 0) return {};
  auto wanted = static_cast<std::uint64_t>(std::ceil(static_cast<double>(count_) * percent / 100));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    seen += steps_[i];
    if (seen < std::max<std::uint64_t>(wanted, 1)) continue;
    return std::min(std::chrono::nanoseconds(end_of(i) * 1000), longest_);
  }
  return longest_;
}

std::vector<LatencyHistogram::Step> LatencyHistogram::steps() const {
  std::vector<Step> all;
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (steps_[i] == 0) continue;
    seen += steps_[i];
    all.push_back({std::min(std::chrono::nanoseconds(end_of(i) * 1000), longest_), steps_[i],
                   static_cast<double>(seen) / static_cast<double>(count_)});
  }
  return all;
}

std::string LatencyHistogram::hdr_text() const {
  auto ms = [](std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1e6; };
  std::string text = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n";
  double mean_ms = ms(mean());
  double squares = 0;
  std::uint64_t seen = 0;
  for (const Step& step : steps()) {
    seen += step.count;
    squares += static_cast<double>(step.count) * std::pow(ms(step.upto) - mean_ms, 2);
    text += fmt::format("{:12.3f} {:1.12f} {:10d}", ms(step.upto), step.below, seen);
    text += seen < count_ ? fmt::format(" {:14.2f}\n", 1 / (1 - step.below)) : "\n";
  }
  double deviation = count_ == 0 ? 0 : std::sqrt(squares / static_cast<double>(count_));
  text += fmt::format("#[Mean    = {:12.3f}, StdDeviation   = {:12.3f}]\n", mean_ms, deviation);
  text += fmt::format("#[Max     = {:12.3f}, Total count    = {:12d}]\n", ms(longest_), count_);
  return text + fmt::format("#[Buckets = {:12d}, SubBuckets     = {:12d}]\n", kRows, kRow);
}

/// The first row has steps of 1 us; each further one doubles them, and begins where the last ended.
std::size_t LatencyHistogram::step_of(std::uint64_t microseconds) {
  if (microseconds < kRow) return microseconds;
  auto row = static_cast<std::size_t>(std::bit_width(microseconds) - std::bit_width(kRow - 1));
  // In row r values lie in [64 << (r-1), 64 << r), in steps of 1 << (r-1): 64 of them.
  std::size_t step = row * kRow + ((microseconds >> (row - 1)) - kRow);
  return std::min(step, kRow * kRows - 1);
}

std::uint64_t LatencyHistogram::end_of(std::size_t step) {
  if (step < kRow) return step + 1;
  std::size_t row = step / kRow;
  return (kRow + step % kRow + 1) << (row - 1);
}

}  // namespace waybill::cli

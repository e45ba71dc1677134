#include "tools/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace waybill::cli {

void LatencyHistogram::add(std::chrono::nanoseconds time) {
  time = std::max(time, std::chrono::nanoseconds(0));
  ++steps_[step_of(static_cast<std::uint64_t>(time.count() / 1000))];
  ++count_;
  sum_ += time;
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

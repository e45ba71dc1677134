// LatencyHistogram: how long many things took, in bounded memory: from 1 microsecond to hours, each
// value kept to within 1/64 of itself. The layout is that of HdrHistogram (Gil Tene,
// hdrhistogram.org): a row of 64 equal steps for each doubling.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace waybill::cli {

class LatencyHistogram {
 public:
  /// Negative times count as 0, longer ones than the last step as that step.
  void add(std::chrono::nanoseconds time, std::uint64_t count = 1);
  void add(const LatencyHistogram& other);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::chrono::nanoseconds longest() const { return longest_; }
  [[nodiscard]] std::chrono::nanoseconds mean() const;
  /// A time that `percent` of all took at most, as the upper end of its step; 0 without any.
  /// Requires 0 < percent <= 100.
  [[nodiscard]] std::chrono::nanoseconds percentile(double percent) const;

  struct Step {
    std::chrono::nanoseconds upto{};  ///< its upper end
    std::uint64_t count = 0;          ///< of it
    double below = 0;                 ///< the part of all that took at most this, up to 1
  };
  /// Those that are not empty, in order.
  [[nodiscard]] std::vector<Step> steps() const;
  /// As HdrHistogram prints percentiles, in milliseconds: its plotter reads it.
  [[nodiscard]] std::string hdr_text() const;

 private:
  static constexpr std::size_t kRow = 64;
  static constexpr std::size_t kRows = 35;  ///< 64 us << 34 is 12 days

  static std::size_t step_of(std::uint64_t microseconds);
  static std::uint64_t end_of(std::size_t step);

  std::array<std::uint64_t, kRow * kRows> steps_{};
  std::uint64_t count_ = 0;
  std::chrono::nanoseconds sum_{};
  std::chrono::nanoseconds longest_{};
};

}  // namespace waybill::cli

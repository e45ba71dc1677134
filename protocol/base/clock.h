// Time as an argument. The core never reads a clock of its own: the broker passes the system's, a
// test or the simulator passes one that moves when told.
#pragma once

#include <chrono>
#include <cstdint>

namespace waybill {

using Duration = std::chrono::nanoseconds;

/// Never goes back, unrelated to the calendar: leases, timers, latencies.
struct MonotonicTime {
  std::int64_t nanoseconds = 0;
  friend constexpr auto operator<=>(const MonotonicTime&, const MonotonicTime&) = default;
  friend constexpr MonotonicTime operator+(MonotonicTime time, Duration duration) {
    return {time.nanoseconds + duration.count()};
  }
  friend constexpr Duration operator-(MonotonicTime a, MonotonicTime b) {
    return Duration(a.nanoseconds - b.nanoseconds);
  }
};

/// Milliseconds since 1970-01-01 UTC; may jump. What entries and messages carry.
struct WallTime {
  std::int64_t milliseconds = 0;
  friend constexpr auto operator<=>(const WallTime&, const WallTime&) = default;
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicTime monotonic() const = 0;
  virtual WallTime wall() const = 0;
};

class SystemClock final : public Clock {
 public:
  MonotonicTime monotonic() const override {
    return {
        std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())
            .count()};
  }
  WallTime wall() const override {
    return {std::chrono::duration_cast<std::chrono::milliseconds>(
                std::chrono::system_clock::now().time_since_epoch())
                .count()};
  }
};

/// Moves only when told. For tests and the simulator.
class ManualClock final : public Clock {
 public:
  MonotonicTime monotonic() const override { return monotonic_; }
  WallTime wall() const override { return wall_; }
  void advance(Duration duration) {
    monotonic_ = monotonic_ + duration;
    // What is less than a millisecond is kept, or many small steps would leave the wall behind.
    Duration whole = below_millisecond_ + duration;
    auto passed = std::chrono::floor<std::chrono::milliseconds>(whole);
    below_millisecond_ = whole - passed;
    wall_.milliseconds += passed.count();
  }
  void jump_wall(std::chrono::milliseconds by) { wall_.milliseconds += by.count(); }

 private:
  MonotonicTime monotonic_{1};
  WallTime wall_{1'700'000'000'000};
  Duration below_millisecond_{};
};

}  // namespace waybill

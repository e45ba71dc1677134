// Setting: what the model knows of something that clients may change at any moment - a policy, a
// pause - when a change may have happened, or not, or is still under way. Every value that was ever
// asked for has an era in which it may have been in force; eras overlap until an answer ends them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "protocol/base/clock.h"

namespace waybill {

template <class T>
class Setting {
 public:
  explicit Setting(T initial) { eras_.push_back({.value = std::move(initial)}); }

  /// Somebody asks for the value now; the result names the request.
  std::uint64_t sent(T value, MonotonicTime now) {
    eras_.push_back({.value = std::move(value), .from = now, .under_way = true});
    return eras_.size() - 1;
  }
  /// Its answer has come. `ok`: it is in force, and nothing that was sent before and is not under
  /// way any more. Else it may or may not be.
  void answered(std::uint64_t request, bool ok, MonotonicTime now) {
    eras_[request].under_way = false;
    if (!ok) return;
    for (std::uint64_t i = 0; i < request; ++i) {
      if (!eras_[i].under_way) eras_[i].until = std::min(eras_[i].until, now);
    }
  }
  /// The broker began anew: what was under way has happened, or never will.
  void restarted() {
    for (Era& era : eras_) era.under_way = false;
  }

  /// Whether a value that passes the test may have been in force at `from` or later.
  template <class Test>
  [[nodiscard]] bool ever(Test test, MonotonicTime from = kAlways) const {
    return std::ranges::any_of(
        eras_, [&](const Era& era) { return era.until >= from && test(era.value); });
  }
  /// Whether every value passes that may have been in force at `from` or later.
  template <class Test>
  [[nodiscard]] bool always(Test test, MonotonicTime from = kAlways) const {
    return !ever([&](const T& value) { return !test(value); }, from);
  }
  /// The least of what get(value) says of the values that may have been in force since.
  template <class Get>
  [[nodiscard]] auto least(Get get, MonotonicTime from = kAlways) const {
    auto least = get(eras_.back().value);  // the last is never over
    for (const Era& era : eras_) {
      if (era.until >= from) least = std::min(least, get(era.value));
    }
    return least;
  }

 private:
  static constexpr MonotonicTime kAlways{std::numeric_limits<std::int64_t>::min()};
  static constexpr MonotonicTime kOpen{std::numeric_limits<std::int64_t>::max()};
  struct Era {
    T value;
    MonotonicTime from = kAlways;
    MonotonicTime until = kOpen;
    bool under_way = false;
  };
  std::vector<Era> eras_;
};

}  // namespace waybill

#include "tools/time_text.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdio>

namespace waybill::cli {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t milliseconds;
};
constexpr Unit kUnits[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};

Problem not_a_time(std::string_view text) {
  return {fmt::format(
      "'{}' is not a time: write it as 2026-03-01T12:30:00Z, 2026-03-01 (UTC), now or now-10m",
      text)};
}

/// Reads the digits of a date; fails for good at the first thing that is not there.
class DateReader {
 public:
  explicit DateReader(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool finished() const { return ok_ && rest_.empty(); }

  int digits(std::size_t count) {
    int number = 0;
    bool all = rest_.size() >= count &&
               rest_.substr(0, count).find_first_not_of("0123456789") == std::string_view::npos;
    if (!all) return fail();
    std::from_chars(rest_.data(), rest_.data() + count, number);
    rest_.remove_prefix(count);
    return number;
  }
  void mark(std::string_view any_of) {
    if (!take(any_of)) fail();
  }
  /// The letter taken, or 0.
  char take(std::string_view any_of) {
    if (rest_.empty() || !any_of.contains(rest_[0])) return 0;
    char letter = rest_[0];
    rest_.remove_prefix(1);
    return letter;
  }
  /// ".25" as 250, finer digits cut; 0 if there is no fraction.
  int milliseconds() {
    if (!take(".")) return 0;
    int value = 0;
    int scale = 100;
    if (rest_.empty() || rest_[0] < '0' || rest_[0] > '9') return fail();
    while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9') {
      value += (rest_[0] - '0') * scale;
      scale /= 10;
      rest_.remove_prefix(1);
    }
    return value;
  }

 private:
  int fail() {
    ok_ = false;
    rest_ = {};
    return 0;
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace

Checked<std::chrono::milliseconds> parse_duration(std::string_view text) {
  double number = 0;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view unit(parsed.ptr,
                        static_cast<std::size_t>(text.data() + text.size() - parsed.ptr));
  for (const Unit& known : kUnits) {
    constexpr double kLongest = 1e15;
    double milliseconds = number * static_cast<double>(known.milliseconds);
    if (parsed.ec != std::errc() || unit != known.name || !(milliseconds >= 0) ||
        milliseconds > kLongest) {
      continue;
    }
    return std::chrono::milliseconds(std::llround(milliseconds));
  }
  return Problem{fmt::format(
      "'{}' is not a duration: write a number and its unit, as 500ms, 30s, 5m, 2h, 1d", text)};
}

std::string duration_text(std::chrono::milliseconds duration) {
  std::int64_t rest = duration.count();
  if (rest == 0) return "0s";
  std::string text = rest < 0 ? "-" : "";
  rest = std::abs(rest);
  for (const Unit& unit : {kUnits[4], kUnits[3], kUnits[2], kUnits[1], kUnits[0]}) {
    if (rest >= unit.milliseconds) text += fmt::format("{}{}", rest / unit.milliseconds, unit.name);
    rest %= unit.milliseconds;
  }
  return text;
}

Checked<WallTime> parse_time(std::string_view text, WallTime now) {
  if (text == "now") return now;
  if (text.starts_with("now-")) {
    Checked<std::chrono::milliseconds> back = parse_duration(text.substr(4));
    if (!back) return back.error();
    return WallTime{now.milliseconds - back->count()};
  }
  DateReader reader(text);
  int year = reader.digits(4);
  reader.mark("-");
  int month = reader.digits(2);
  reader.mark("-");
  int day = reader.digits(2);
  std::chrono::milliseconds of_day{0};
  if (reader.take("Tt ")) {
    of_day += std::chrono::hours(reader.digits(2));
    reader.mark(":");
    of_day += std::chrono::minutes(reader.digits(2));
    reader.mark(":");
    of_day += std::chrono::seconds(reader.digits(2));
    of_day += std::chrono::milliseconds(reader.milliseconds());
    char zone = reader.take("Zz+-");
    if (zone == 0) return not_a_time(text);
    if (zone == '+' || zone == '-') {
      std::chrono::minutes offset = std::chrono::hours(reader.digits(2));
      reader.mark(":");
      offset += std::chrono::minutes(reader.digits(2));
      of_day += zone == '+' ? -offset : offset;
    }
  }
  std::chrono::year_month_day date{std::chrono::year(year),
                                   std::chrono::month(static_cast<unsigned>(month)),
                                   std::chrono::day(static_cast<unsigned>(day))};
  if (!reader.finished() || !date.ok()) return not_a_time(text);
  auto since_epoch = std::chrono::sys_days(date).time_since_epoch();
  return WallTime{
      (std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch) + of_day).count()};
}

std::string time_text(WallTime time) {
  std::chrono::sys_time<std::chrono::milliseconds> point{
      std::chrono::milliseconds(time.milliseconds)};
  auto day = std::chrono::floor<std::chrono::days>(point);
  std::chrono::year_month_day date(day);
  std::chrono::hh_mm_ss of_day(point - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     of_day.hours().count(), of_day.minutes().count(), of_day.seconds().count(),
                     of_day.subseconds().count());
}

Checked<GroupStart> parse_start(std::string_view text, WallTime now) {
  GroupStart start;
  std::int64_t offset = 0;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), offset);
  if (text == "earliest") {
    start.kind = StartKind::kEarliest;
  } else if (text == "latest") {
    start.kind = StartKind::kLatest;
  } else if (!text.empty() && parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() &&
             offset >= 0) {
    start.kind = StartKind::kOffset;
    start.offset = {offset};
  } else {
    Checked<WallTime> time = parse_time(text, now);
    if (!time) {
      return Problem{
          fmt::format("'{}' is no place to start: write earliest, latest, an offset, or a time as "
                      "2026-03-01T12:30:00Z or now-10m",
                      text)};
    }
    start.kind = StartKind::kTime;
    start.time = *time;
  }
  return start;
}

}  // namespace waybill::cli

// Times and durations as people write and read them.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "protocol/base/clock.h"
#include "protocol/model/group_policy.h"
#include "tools/problem.h"

namespace waybill::cli {

/// "500ms", "30s", "5m", "2h", "1d", "1.5s". A number without a unit is an error.
Checked<std::chrono::milliseconds> parse_duration(std::string_view text);
/// "500ms", "30s", "1m30s", "2h": exact, and parse-able part by part by a person.
std::string duration_text(std::chrono::milliseconds duration);

/// "2026-03-01", "2026-03-01T12:30:00Z", with fractions and offsets as in RFC 3339; "now",
/// "now-10m".
Checked<WallTime> parse_time(std::string_view text, WallTime now);
/// "2026-03-01T12:30:00.250Z"
std::string time_text(WallTime time);

/// "earliest", "latest", an offset, or a time as in parse_time.
Checked<GroupStart> parse_start(std::string_view text, WallTime now);

}  // namespace waybill::cli

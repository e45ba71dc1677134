// Which build this is: said in hello, --version, the log and /metrics.
#pragma once

#include <string_view>

namespace waybill {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace waybill

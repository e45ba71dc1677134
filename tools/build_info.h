// Which build this is: said by --version and in the result of a load test.
#pragma once

#include <string_view>

namespace waybill::cli {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace waybill::cli

// "1 message", "2 messages".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace waybill::cli {

inline std::string counted(std::uint64_t count, std::string_view noun) {
  return std::to_string(count) + " " + std::string(noun) + (count == 1 ? "" : "s");
}

}  // namespace waybill::cli

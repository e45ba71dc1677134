// What a fix changes, line by line, as `diff -u` shows it.
#pragma once

#include <string>
#include <string_view>

namespace waybill::cli {

/// Lines that differ with '-' and '+', with up to three equal lines around them; empty if nothing
/// differs. The texts' lines are escaped. Beyond 2000 differing lines the whole middle is shown as
/// replaced, because the exact answer costs time and memory with the square of that number.
std::string line_diff(std::string_view before, std::string_view after);

}  // namespace waybill::cli

#include "tools/line_diff.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "tools/escape.h"

namespace waybill::cli {
namespace {

constexpr std::size_t kMaxExactLines = 2000;
constexpr std::size_t kContext = 3;

struct DiffLine {
  char mark;  ///< ' ', '-' or '+'
  std::string_view text;
};

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

using Lines = std::span<const std::string_view>;

/// The longest common subsequence by the textbook table.
void add_exact(Lines before, Lines after, std::vector<DiffLine>& out) {
  std::size_t width = after.size() + 1;
  std::vector<std::uint16_t> longest((before.size() + 1) * width, 0);
  for (std::size_t i = before.size(); i-- > 0;) {
    for (std::size_t j = after.size(); j-- > 0;) {
      longest[i * width + j] =
          before[i] == after[j]
              ? static_cast<std::uint16_t>(longest[(i + 1) * width + j + 1] + 1)
              : std::max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < before.size() || j < after.size()) {
    if (i < before.size() && j < after.size() && before[i] == after[j]) {
      out.push_back({' ', before[i]});
      ++i, ++j;
    } else if (j == after.size() ||
               (i < before.size() && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      out.push_back({'-', before[i++]});
    } else {
      out.push_back({'+', after[j++]});
    }
  }
}

std::vector<DiffLine> diff_lines(Lines before, Lines after) {
  std::vector<DiffLine> out;
  std::size_t same = 0;
  while (same < before.size() && same < after.size() && before[same] == after[same]) {
    out.push_back({' ', before[same++]});
  }
  before = before.subspan(same);
  after = after.subspan(same);
  std::size_t tail = 0;
  while (tail < before.size() && tail < after.size() &&
         before[before.size() - 1 - tail] == after[after.size() - 1 - tail]) {
    ++tail;
  }
  Lines middle_before = before.first(before.size() - tail);
  Lines middle_after = after.first(after.size() - tail);
  if (std::max(middle_before.size(), middle_after.size()) <= kMaxExactLines) {
    add_exact(middle_before, middle_after, out);
  } else {
    for (std::string_view line : middle_before) out.push_back({'-', line});
    for (std::string_view line : middle_after) out.push_back({'+', line});
  }
  for (std::string_view line : before.last(tail)) out.push_back({' ', line});
  return out;
}

}  // namespace

std::string line_diff(std::string_view before, std::string_view after) {
  std::vector<std::string_view> before_lines = lines_of(before);
  std::vector<std::string_view> after_lines = lines_of(after);
  std::vector<DiffLine> lines = diff_lines(before_lines, after_lines);
  std::vector<bool> shown(lines.size(), false);
  for (std::size_t index = 0; index < lines.size(); ++index) {
    if (lines[index].mark == ' ') continue;
    std::size_t from = index - std::min(index, kContext);
    std::size_t to = std::min(lines.size(), index + kContext + 1);
    std::fill(shown.begin() + static_cast<std::ptrdiff_t>(from),
              shown.begin() + static_cast<std::ptrdiff_t>(to), true);
  }
  std::string out;
  for (std::size_t index = 0; index < lines.size(); ++index) {
    if (!shown[index]) continue;
    if (index > 0 && !shown[index - 1] && !out.empty()) out += "  ...\n";
    out += std::string(1, lines[index].mark) + " " + escaped_line(lines[index].text) + "\n";
  }
  return out;
}

}  // namespace waybill::cli

#include "tools/accounting.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace waybill::cli {
namespace {

std::string upper(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::toupper(c); });
  return out;
}

}  // namespace

std::string accounting_table(const std::vector<AccountingRow>& rows,
                             const std::string& note_heading) {
  Accounting all;
  std::int64_t in_log = 0;
  for (const AccountingRow& row : rows) {
    for (const AccountingState& state : kAccountingStates) {
      all.*state.count += row.accounting.*state.count;
    }
    in_log += row.accounting.end - row.accounting.start;
  }
  std::vector<AccountingState> shown;
  std::ranges::copy_if(kAccountingStates, std::back_inserter(shown), [&](const auto& state) {
    return state.always_shown || all.*state.count > 0;
  });

  std::vector<std::string> headings{"PARTITION"};
  for (const AccountingState& state : shown) headings.push_back(">" + upper(state.name));
  headings.insert(headings.end(), {">SUM", ">IN LOG"});
  if (!note_heading.empty()) headings.push_back(note_heading);
  TextTable table(std::move(headings));
  auto add = [&](std::string title, const Accounting& one, std::int64_t total, std::string note) {
    std::vector<std::string> cells{std::move(title)};
    for (const AccountingState& state : shown) cells.push_back(fmt::to_string(one.*state.count));
    cells.push_back(fmt::to_string(one.sum()));
    cells.push_back(fmt::to_string(total));
    if (!note_heading.empty()) cells.push_back(std::move(note));
    table.add(std::move(cells));
  };
  for (const AccountingRow& row : rows) {
    add(fmt::to_string(row.partition.value), row.accounting,
        row.accounting.end - row.accounting.start, row.note);
  }
  if (rows.size() > 1) add("all", all, in_log, "");
  return table.render();
}

}  // namespace waybill::cli

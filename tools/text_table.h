// Columns that line up, for `-o text`. Cells are shown as they are: escape what came from users.
#pragma once

#include <string>
#include <vector>

namespace waybill::cli {

class TextTable {
 public:
  /// A heading that begins with '>' aligns its column to the right (numbers).
  explicit TextTable(std::vector<std::string> headings);
  /// Requires as many cells as headings.
  void add(std::vector<std::string> cells);
  /// With a heading line; no spaces at the ends of lines.
  [[nodiscard]] std::string render() const;
  [[nodiscard]] bool empty() const { return rows_.empty(); }

 private:
  std::vector<std::string> headings_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace waybill::cli

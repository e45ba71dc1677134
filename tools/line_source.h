// Lines from a file, a pipe or a terminal, as many at a time as are there: a slow pipe gives each
// line at once, a fast one gives large chunks.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tools/child_process.h"
#include "tools/problem.h"

namespace waybill::cli {

class LineSource {
 public:
  /// A file by its name, or standard input for "-".
  static Checked<LineSource> open(const std::string& file);
  explicit LineSource(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

  /// At least one line, without newlines; none at the end or after a stop signal. A last line
  /// without newline counts. Errors: a read error, a line longer than any message.
  Checked<std::vector<std::string>> next();

 private:
  Descriptor descriptor_;
  std::string rest_;
  bool at_end_ = false;
};

}  // namespace waybill::cli

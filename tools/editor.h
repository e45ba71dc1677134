// A person changes a text in the editor of their choice.
#pragma once

#include <string>
#include <string_view>

#include "tools/problem.h"

namespace waybill::cli {

/// Opens $VISUAL, $EDITOR or vi on a private temporary file with this text and this ending of its
/// name, and returns what it holds when the editor has ended successfully.
Checked<std::string> edit_text(std::string_view text, std::string_view ending);

}  // namespace waybill::cli

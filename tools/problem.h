// What is wrong with something a person gave us, as a sentence for that person.
#pragma once

#include <string>

#include "protocol/base/result.h"

namespace waybill::cli {

struct Problem {
  std::string text;
};

template <class T>
using Checked = Result<T, Problem>;

}  // namespace waybill::cli

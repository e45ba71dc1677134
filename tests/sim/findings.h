// Findings: what an oracle says when the broker broke a promise.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/sim/trace.h"

namespace waybill {

struct Finding {
  std::string property;  ///< the promise, as a name
  std::string what;      ///< for a person
  std::optional<Place> place;
};

class Findings {
 public:
  /// Only the first counts: what follows may be its consequence.
  void report(std::string property, std::string what, std::optional<Place> place = {}) {
    if (!first_) first_ = Finding{std::move(property), std::move(what), place};
  }
  [[nodiscard]] bool any() const { return first_.has_value(); }
  [[nodiscard]] const std::optional<Finding>& first() const { return first_; }

 private:
  std::optional<Finding> first_;
};

}  // namespace waybill

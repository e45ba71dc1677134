// A right as a users file gives it: everywhere ("view"), or for topics and groups of one name
// ("view:billing") or of one beginning ("publish:orders.*"). Publishing and reading without a group
// are about a topic; everything else that can be limited is about a group.
#pragma once

#include <string>
#include <string_view>

#include "protocol/model/reply.h"
#include "protocol/model/right.h"

namespace waybill {

struct Grant {
  Right right = Right::kNone;
  std::string where = "*";  ///< a name, or the beginning of names and then a star

  [[nodiscard]] bool covers(std::string_view topic_or_group) const;
  friend bool operator==(const Grant&, const Grant&) = default;
};

/// Refuses what is no right, a place that is no name, and a place for `admin`, which is one right
/// for the whole broker.
Reply<Grant> parse_grant(std::string_view text);
/// As parse_grant reads it.
std::string to_string(const Grant& grant);

}  // namespace waybill

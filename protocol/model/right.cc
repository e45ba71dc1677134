#include "protocol/model/right.h"

#include <algorithm>
#include <array>

namespace waybill {
namespace {

constexpr auto kAll = std::to_array({Right::kPublish, Right::kConsume, Right::kView, Right::kFix,
                                     Right::kRedrive, Right::kDiscard, Right::kAdmin});

}  // namespace

std::string_view name(Right right) {
  switch (right) {
    case Right::kNone:
      return "none";
    case Right::kPublish:
      return "publish";
    case Right::kConsume:
      return "consume";
    case Right::kView:
      return "view";
    case Right::kFix:
      return "fix";
    case Right::kRedrive:
      return "redrive";
    case Right::kDiscard:
      return "discard";
    case Right::kAdmin:
      return "admin";
  }
  return "unknown";
}

std::span<const Right> all_rights() {
  return kAll;
}

std::optional<Right> parse_right(std::string_view text) {
  const auto* found = std::ranges::find(kAll, text, [](Right right) { return name(right); });
  return found == kAll.end() ? std::nullopt : std::optional(*found);
}

}  // namespace waybill

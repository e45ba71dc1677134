#include "protocol/model/grant.h"

#include "protocol/model/catalog.h"

namespace waybill {
namespace {

constexpr std::string_view kEverywhere = "*";

std::string names_of_rights() {
  std::string names;
  for (Right right : all_rights()) {
    names += names.empty() ? "" : ", ";
    names += name(right);
  }
  return names;
}

RequestError invalid(std::string text) {
  return {Errc::kInvalidRequest, std::move(text)};
}

}  // namespace

bool Grant::covers(std::string_view topic_or_group) const {
  std::string_view pattern = where;
  if (!pattern.ends_with('*')) return pattern == topic_or_group;
  return topic_or_group.starts_with(pattern.substr(0, pattern.size() - 1));
}

Reply<Grant> parse_grant(std::string_view text) {
  const std::size_t colon = text.find(':');
  std::optional<Right> right = parse_right(text.substr(0, colon));
  if (!right) {
    return invalid("\"" + std::string(text) + "\" is no right; there are " + names_of_rights());
  }
  Grant grant{*right};
  if (colon == std::string_view::npos) return grant;
  grant.where = text.substr(colon + 1);
  if (*right == Right::kAdmin) {
    return invalid("\"" + std::string(text) + "\": admin is one right for the whole broker");
  }
  std::string_view place = grant.where;
  if (place == kEverywhere) return grant;
  if (place.ends_with('*')) place.remove_suffix(1);
  Reply<void> named = validate_name("topic or group", place);
  if (!named) return invalid("\"" + std::string(text) + "\": " + named.error().explanation);
  return grant;
}

std::string to_string(const Grant& grant) {
  std::string text(name(grant.right));
  if (grant.where != kEverywhere) text += ":" + grant.where;
  return text;
}

}  // namespace waybill

#include "protocol/model/catalog.h"

#include <algorithm>

#include "protocol/base/limits.h"

namespace waybill {
namespace {

/// Above this, names are different rather than misspelt, and comparing would cost too much.
constexpr std::size_t kMaxEdits = 8;

template <class Item, class Key>
const Item* find_by(const std::vector<Item>& items, Key Item::* member, const auto& key) {
  auto found = std::ranges::find(items, key, member);
  return found == items.end() ? nullptr : &*found;
}

bool allowed_in_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment) that turn
/// `a` into `b`, or limit + 1 if it takes more. Computes only the diagonal band that matters.
std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t limit) {
  std::size_t too_many = limit + 1;
  if (a.size() > b.size() + limit || b.size() > a.size() + limit) return too_many;
  std::vector<std::size_t> before_last;
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::ranges::fill(row, too_many);
    if (i <= limit) row[0] = i;
    std::size_t best = row[0];
    std::size_t first = i > limit ? i - limit : 1;
    for (std::size_t j = std::max<std::size_t>(first, 1); j <= std::min(b.size(), i + limit); ++j) {
      std::size_t edits =
          std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        edits = std::min(edits, before_last[j - 2] + 1);
      }
      row[j] = std::min(edits, too_many);
      best = std::min(best, row[j]);
    }
    if (best > limit) return too_many;
    before_last = last;
    std::swap(last, row);
  }
  return std::min(last[b.size()], too_many);
}

}  // namespace

std::string_view name(BrakeState state) {
  switch (state) {
    case BrakeState::kClosed:
      return "closed";
    case BrakeState::kOpen:
      return "open";
    case BrakeState::kProbing:
      return "probing";
  }
  return "unknown";
}

std::string_view name(BrakeMode mode) {
  switch (mode) {
    case BrakeMode::kAutomatic:
      return "automatic";
    case BrakeMode::kForcedOpen:
      return "forced open";
    case BrakeMode::kForcedClosed:
      return "forced closed";
  }
  return "unknown";
}

const TopicInfo* Catalog::topic(TopicId id) const {
  return find_by(topics, &TopicInfo::id, id);
}
const TopicInfo* Catalog::topic(std::string_view name) const {
  auto found = std::ranges::find_if(
      topics, [&](const TopicInfo& topic) { return topic.name == name && !topic.archived; });
  return found == topics.end() ? nullptr : &*found;
}
const GroupInfo* Catalog::group(GroupId id) const {
  return find_by(groups, &GroupInfo::id, id);
}
const GroupInfo* Catalog::group(std::string_view name) const {
  return find_by(groups, &GroupInfo::name, name);
}

Reply<void> validate_name(std::string_view kind, std::string_view name) {
  std::string text(kind);
  text += " name";
  if (name.empty()) return RequestError(Errc::kInvalidName, text + " is empty");
  if (name.size() > limits::kMaxNameLength) {
    return RequestError(Errc::kInvalidName,
                        text + " has " + std::to_string(name.size()) + " characters, at most " +
                            std::to_string(limits::kMaxNameLength) + " are allowed");
  }
  text += " \"" + std::string(name) + "\"";
  if (name == "." || name == "..") {
    return RequestError(Errc::kInvalidName, text + " is a folder's; choose another");
  }
  auto bad = std::ranges::find_if_not(name, allowed_in_name);
  if (bad == name.end()) return {};
  return RequestError(Errc::kInvalidName, text +
                                              " has a character that is not allowed at position " +
                                              std::to_string(bad - name.begin() + 1) +
                                              "; use letters, digits, '.', '_' and '-'");
}

std::string_view name(Cleanup cleanup) {
  switch (cleanup) {
    case Cleanup::kDelete:
      return "delete";
    case Cleanup::kCompact:
      return "compact";
    case Cleanup::kCompactAndDelete:
      return "compact,delete";
  }
  return "";
}

Reply<void> validate(const TopicPolicy& policy) {
  constexpr std::chrono::milliseconds kLongest = std::chrono::hours(10 * 365 * 24);
  for (const std::chrono::milliseconds time :
       {policy.retention, policy.drop_after, policy.tombstone_delay}) {
    if (time.count() >= 0 && time <= kLongest) continue;
    return RequestError(Errc::kInvalidRequest, "times of a topic are 0 to ten years");
  }
  if (policy.cleanup != Cleanup::kCompact && policy.drop_after.count() > 0 &&
      policy.drop_after < policy.retention) {
    return RequestError(Errc::kInvalidRequest,
                        "drop_after is shorter than the retention: messages would be dropped that "
                        "are to be kept; shorten the retention too");
  }
  return {};
}

std::optional<std::string> did_you_mean(std::string_view name,
                                        const std::vector<std::string>& candidates) {
  if (name.empty() || name.size() > limits::kMaxNameLength) return std::nullopt;
  std::size_t limit = std::min(std::max<std::size_t>(2, name.size() / 3), kMaxEdits);
  // A name of which nothing is left was not meant.
  limit = std::min(limit, name.size() - 1);
  std::optional<std::string> best;
  for (const std::string& candidate : candidates) {
    std::size_t edits = edit_distance(name, candidate, limit);
    if (edits > limit) continue;
    best = candidate;
    if (edits == 0) break;
    limit = edits - 1;
  }
  return best;
}

}  // namespace waybill

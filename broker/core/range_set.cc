#include "broker/core/range_set.h"

#include <algorithm>
#include <iterator>

#include "protocol/base/assert.h"

namespace waybill {

void RangeSet::add(OffsetRange range) {
  if (range.count() <= 0) return;
  count_ += static_cast<std::uint64_t>(range.count());
  auto after = ranges_.upper_bound(range.first);
  if (after != ranges_.begin()) {
    auto before = std::prev(after);
    WB_ASSERT(before->second < range.first, "what is added is not in the set");
    if (before->second + 1 == range.first) {
      range.first = before->first;
      ranges_.erase(before);
    }
  }
  if (after != ranges_.end()) {
    WB_ASSERT(range.last < after->first, "what is added is not in the set");
    if (range.last + 1 == after->first) {
      range.last = after->second;
      after = ranges_.erase(after);
    }
  }
  ranges_.emplace_hint(after, range.first, range.last);
}

void RangeSet::remove(OffsetRange range) {
  auto after = ranges_.upper_bound(range.first);
  WB_ASSERT(after != ranges_.begin() && range.last <= std::prev(after)->second,
            "what is removed is in the set");
  count_ -= static_cast<std::uint64_t>(range.count());
  auto run = std::prev(after);
  Offset last = run->second;
  if (run->first == range.first && range.last < last) {
    // The run begins later now: its node stays, and with it its place in memory.
    auto node = ranges_.extract(run);
    node.key() = range.last + 1;
    ranges_.insert(after, std::move(node));
    return;
  }
  if (run->first == range.first) {
    ranges_.erase(run);
    return;
  }
  run->second = range.first - 1;
  if (range.last < last) ranges_.emplace_hint(after, range.last + 1, last);
}

void RangeSet::clear() {
  ranges_.clear();
  count_ = 0;
}

bool RangeSet::contains(OffsetRange range) const {
  auto after = ranges_.upper_bound(range.first);
  return after != ranges_.begin() && range.last <= std::prev(after)->second;
}

bool RangeSet::intersects(OffsetRange range) const {
  OffsetRange run = run_from(range.first);
  return run.count() > 0 && run.first <= range.last;
}

OffsetRange RangeSet::run_from(Offset offset) const {
  auto after = ranges_.upper_bound(offset);
  if (after != ranges_.begin()) {
    auto before = std::prev(after);
    if (offset <= before->second) return {offset, before->second};
  }
  if (after == ranges_.end()) return {offset, offset - 1};
  return {after->first, after->second};
}

}  // namespace waybill

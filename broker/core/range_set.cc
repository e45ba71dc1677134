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
  WB_ASSERT(contains(range), "what is removed is in the set");
  count_ -= static_cast<std::uint64_t>(range.count());
  auto run = std::prev(ranges_.upper_bound(range.first));
  Offset last = run->second;
  if (run->first == range.first) {
    run = ranges_.erase(run);
  } else {
    run->second = range.first - 1;
    ++run;
  }
  if (range.last < last) ranges_.emplace_hint(run, range.last + 1, last);
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

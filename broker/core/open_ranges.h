// OpenRanges: what of a lease is not settled yet, as sorted, disjoint ranges. Neighbours stay
// apart: a message that was delivered before is a range of its own.
//
// Most leases are settled from the front: what is gone there is only counted, until it makes up
// half, since moving all the rest with every settlement would cost more than the settlement.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>
#include <vector>

#include "protocol/base/ids.h"

namespace waybill {

class OpenRanges {
 public:
  using Iterator = std::vector<OffsetRange>::const_iterator;

  OpenRanges() = default;
  /// Requires ranges that are sorted and disjoint.
  explicit OpenRanges(std::vector<OffsetRange> ranges) : ranges_(std::move(ranges)) {}

  [[nodiscard]] Iterator begin() const {
    return ranges_.begin() + static_cast<std::ptrdiff_t>(gone_);
  }
  [[nodiscard]] Iterator end() const { return ranges_.end(); }
  [[nodiscard]] bool empty() const { return gone_ == ranges_.size(); }
  [[nodiscard]] std::size_t size() const { return ranges_.size() - gone_; }
  [[nodiscard]] OffsetRange front() const { return ranges_[gone_]; }
  [[nodiscard]] OffsetRange back() const { return ranges_.back(); }
  /// They as they are now, to go through while they change.
  [[nodiscard]] std::vector<OffsetRange> copy() const { return {begin(), end()}; }

  /// The first range that ends at the offset or behind.
  [[nodiscard]] Iterator find(Offset offset) const {
    return std::ranges::lower_bound(begin(), end(), offset, {}, &OffsetRange::last);
  }
  /// Requires a range behind all others.
  void push_back(OffsetRange range) { ranges_.push_back(range); }

  /// Takes `range` out, which may span several that are neighbours. False, and nothing changes, if
  /// not all of it is here.
  bool take(OffsetRange range) {
    const Iterator first = find(range.first);
    if (first == end() || first->first > range.first || range.count() < 1) return false;
    Iterator last = first;
    while (last->last < range.last) {
      const Iterator next = std::next(last);
      if (next == end() || next->first != last->last + 1) return false;
      last = next;
    }
    const OffsetRange before{first->first, range.first - 1};
    const OffsetRange after{range.last + 1, last->last};
    if (first == begin() && before.count() <= 0) {
      gone_ += static_cast<std::size_t>(std::distance(first, last)) + 1;
      if (after.count() > 0) ranges_[--gone_] = after;
    } else {
      auto at = ranges_.erase(first, std::next(last));
      if (after.count() > 0) at = ranges_.insert(at, after);
      if (before.count() > 0) ranges_.insert(at, before);
    }
    if (gone_ * 2 > ranges_.size()) {
      ranges_.erase(ranges_.begin(), begin());
      gone_ = 0;
    }
    return true;
  }

 private:
  std::vector<OffsetRange> ranges_;
  std::size_t gone_ = 0;  ///< at the front
};

}  // namespace waybill

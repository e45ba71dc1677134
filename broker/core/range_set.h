// RangeSet: offsets as few disjoint ranges, for sets that are mostly runs. Neighbours are joined,
// so that memory and time go with the number of runs, not of offsets.
#pragma once

#include <cstdint>
#include <map>

#include "protocol/base/ids.h"

namespace waybill {

class RangeSet {
 public:
  using Ranges = std::map<Offset, Offset>;  ///< first -> last, disjoint, never neighbours

  /// Requires that none of the range is in the set.
  void add(OffsetRange range);
  /// Requires contains(range).
  void remove(OffsetRange range);
  void clear();

  /// Whether all of the range is in the set; requires range.count() > 0.
  [[nodiscard]] bool contains(OffsetRange range) const;
  [[nodiscard]] bool contains(Offset offset) const { return contains({offset, offset}); }
  /// Whether any of the range is in the set.
  [[nodiscard]] bool intersects(OffsetRange range) const;
  /// The first run at or after the offset, cut so that it begins there or later; count() is 0 if
  /// there is none.
  [[nodiscard]] OffsetRange run_from(Offset offset) const;

  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  /// Offsets in the set.
  [[nodiscard]] std::uint64_t count() const { return count_; }
  /// The lowest offset; requires !empty().
  [[nodiscard]] Offset front() const { return ranges_.begin()->first; }
  [[nodiscard]] const Ranges& ranges() const { return ranges_; }

 private:
  Ranges ranges_;
  std::uint64_t count_ = 0;
};

}  // namespace waybill

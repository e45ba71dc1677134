// RangeSet: offsets as few disjoint ranges, for sets that are mostly runs. Neighbours are joined,
// so that memory and time go with the number of runs, not of offsets.
//
// The runs lie sorted in blocks of at most kMaxBlock, beside a list of where each block begins:
// finding is two short binary searches, changing moves at most a block, and a run costs 16 to 64
// bytes (a node of a tree: 64, and a walk over as many cache lines as it is deep).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "protocol/base/ids.h"

namespace waybill {

class RangeSet {
 public:
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

  [[nodiscard]] bool empty() const { return blocks_.empty(); }
  /// Offsets in the set.
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::size_t run_count() const;
  /// The run of the lowest offset; requires !empty().
  [[nodiscard]] OffsetRange front() const { return blocks_.front().front(); }

 private:
  /// Runs of a block at most: beyond, moving them costs more than finding them; much below, the
  /// list of blocks is what has to be moved.
  static constexpr std::size_t kMaxBlock = 128;
  using Block = std::vector<OffsetRange>;
  struct Place {
    std::size_t block = 0;
    std::size_t index = 0;
  };

  /// Where a run that begins at the offset belongs: behind all that begin before or there.
  [[nodiscard]] Place place_behind(Offset offset) const;
  /// The run before such a place, and the one at it; null if there is none.
  [[nodiscard]] const OffsetRange* before(Place place) const;
  [[nodiscard]] const OffsetRange* at(Place place) const;
  /// Of the last run that begins at the offset or before; requires that there is one.
  [[nodiscard]] Place place_of(Offset offset) const;
  void insert(Place place, OffsetRange run);
  Place split(Place place);
  void erase(Place place);
  void change(Place place, OffsetRange run);

  std::vector<Block> blocks_;   ///< none of them empty
  std::vector<Offset> firsts_;  ///< where each block begins
  std::uint64_t count_ = 0;
  mutable Place hint_;  ///< found last
};

}  // namespace waybill

#include "broker/core/range_set.h"

#include <algorithm>
#include <utility>

#include "protocol/base/assert.h"

namespace waybill {

RangeSet::Place RangeSet::place_behind(Offset offset) const {
  // Most look for one offset after the other: it is in the block of the last, at its place or soon
  // behind.
  const std::size_t last = hint_.block;
  bool behind = last < firsts_.size() && firsts_[last] <= offset;
  bool there = behind && (last + 1 == firsts_.size() || offset < firsts_[last + 1]);
  if (!there) {
    auto after = std::ranges::upper_bound(firsts_, offset);
    if (after == firsts_.begin()) return {};
    hint_ = {static_cast<std::size_t>(after - firsts_.begin()) - 1, 0};
  }
  const Block& block = blocks_[hint_.block];
  std::size_t from = std::min(hint_.index, block.size());
  if (from > 0 && block[from - 1].first > offset) from = 0;
  std::size_t end = from;
  for (std::size_t step = 1; end < block.size() && block[end].first <= offset; step *= 2) {
    from = end + 1;
    end += step;
  }
  end = std::min(end, block.size());
  auto at = [&](std::size_t index) { return block.begin() + static_cast<std::ptrdiff_t>(index); };
  auto run = std::ranges::upper_bound(at(from), at(end), offset, {}, &OffsetRange::first);
  hint_.index = static_cast<std::size_t>(run - block.begin());
  return hint_;
}

RangeSet::Place RangeSet::place_of(Offset offset) const {
  Place place = place_behind(offset);
  WB_ASSERT(place.index > 0, "a run begins at the offset or before");
  return {place.block, place.index - 1};
}

const OffsetRange* RangeSet::before(Place place) const {
  return place.index == 0 ? nullptr : &blocks_[place.block][place.index - 1];
}

const OffsetRange* RangeSet::at(Place place) const {
  if (place.block < blocks_.size() && place.index < blocks_[place.block].size()) {
    return &blocks_[place.block][place.index];
  }
  return place.block + 1 < blocks_.size() ? &blocks_[place.block + 1].front() : nullptr;
}

void RangeSet::insert(Place place, OffsetRange run) {
  if (blocks_.empty()) {
    blocks_.push_back({run});
    return firsts_.push_back(run.first);
  }
  if (blocks_[place.block].size() == kMaxBlock) place = split(place);
  Block& block = blocks_[place.block];
  block.insert(block.begin() + static_cast<std::ptrdiff_t>(place.index), run);
  firsts_[place.block] = block.front().first;
}

/// Makes room in a full block; answers where the place is then.
RangeSet::Place RangeSet::split(Place place) {
  Block& block = blocks_[place.block];
  // What grows at its end leaves full blocks behind.
  bool at_end = place.block + 1 == blocks_.size() && place.index == block.size();
  std::size_t kept = at_end ? block.size() - 1 : block.size() / 2;
  auto middle = block.begin() + static_cast<std::ptrdiff_t>(kept);
  Block upper(middle, block.end());
  block.erase(middle, block.end());
  auto next = static_cast<std::ptrdiff_t>(place.block) + 1;
  firsts_.insert(firsts_.begin() + next, upper.front().first);
  blocks_.insert(blocks_.begin() + next, std::move(upper));
  return place.index <= kept ? place : Place{place.block + 1, place.index - kept};
}

void RangeSet::erase(Place place) {
  Block& block = blocks_[place.block];
  block.erase(block.begin() + static_cast<std::ptrdiff_t>(place.index));
  auto index = static_cast<std::ptrdiff_t>(place.block);
  if (block.empty()) {
    blocks_.erase(blocks_.begin() + index);
    firsts_.erase(firsts_.begin() + index);
    return;
  }
  firsts_[place.block] = block.front().first;
  // Blocks that became small are joined, or each would keep the memory of a full one.
  if (place.block + 1 == blocks_.size() || block.size() > kMaxBlock / 8) return;
  const Block& next = blocks_[place.block + 1];
  if (block.size() + next.size() > kMaxBlock / 2) return;
  block.insert(block.end(), next.begin(), next.end());
  blocks_.erase(blocks_.begin() + index + 1);
  firsts_.erase(firsts_.begin() + index + 1);
}

void RangeSet::change(Place place, OffsetRange run) {
  // A place at the end of a block is the beginning of the next.
  if (place.index == blocks_[place.block].size()) place = {place.block + 1, 0};
  blocks_[place.block][place.index] = run;
  if (place.index == 0) firsts_[place.block] = run.first;
}

void RangeSet::add(OffsetRange range) {
  if (range.count() <= 0) return;
  count_ += static_cast<std::uint64_t>(range.count());
  Place place = place_behind(range.first);
  const OffsetRange* lower = before(place);
  const OffsetRange* upper = at(place);
  WB_ASSERT(lower == nullptr || lower->last < range.first, "what is added is not in the set");
  WB_ASSERT(upper == nullptr || range.last < upper->first, "what is added is not in the set");
  bool joins_lower = lower != nullptr && lower->last + 1 == range.first;
  bool joins_upper = upper != nullptr && range.last + 1 == upper->first;
  if (joins_upper) range.last = upper->last;
  if (!joins_lower) return joins_upper ? change(place, range) : insert(place, range);
  range.first = lower->first;
  Place lower_place{place.block, place.index - 1};
  change(lower_place, range);
  if (!joins_upper) return;
  if (place.index == blocks_[place.block].size()) place = {place.block + 1, 0};
  erase(place);
}

void RangeSet::remove(OffsetRange range) {
  if (range.count() <= 0) return;
  Place place = place_of(range.first);
  OffsetRange run = blocks_[place.block][place.index];
  WB_ASSERT(range.last <= run.last, "what is removed is in the set");
  count_ -= static_cast<std::uint64_t>(range.count());
  OffsetRange lower{run.first, range.first - 1};
  OffsetRange upper{range.last + 1, run.last};
  if (lower.count() <= 0 && upper.count() <= 0) return erase(place);
  change(place, lower.count() > 0 ? lower : upper);
  if (lower.count() > 0 && upper.count() > 0) insert({place.block, place.index + 1}, upper);
}

void RangeSet::clear() {
  *this = {};
}

bool RangeSet::contains(OffsetRange range) const {
  const OffsetRange* run = before(place_behind(range.first));
  return run != nullptr && range.last <= run->last;
}

bool RangeSet::intersects(OffsetRange range) const {
  OffsetRange run = run_from(range.first);
  return run.count() > 0 && run.first <= range.last;
}

OffsetRange RangeSet::run_from(Offset offset) const {
  Place place = place_behind(offset);
  const OffsetRange* run = before(place);
  if (run != nullptr && offset <= run->last) return {offset, run->last};
  run = at(place);
  return run != nullptr ? *run : OffsetRange{offset, offset - 1};
}

std::size_t RangeSet::run_count() const {
  std::size_t count = 0;
  for (const Block& block : blocks_) count += block.size();
  return count;
}

}  // namespace waybill

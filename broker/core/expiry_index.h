// ExpiryIndex: until when messages may be delivered, for those the scan has seen that say so. 16
// bytes each, sorted by offset since the scan adds them so; what ended is marked, and goes when it
// comes to the front or makes up half (D9).
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <optional>

#include "protocol/base/clock.h"
#include "protocol/base/ids.h"

namespace waybill {

class ExpiryIndex {
 public:
  /// Requires an offset above all that were added.
  void add(Offset offset, WallTime at) {
    if (at != kEnded) entries_.push_back({offset, at});
  }
  /// The messages ended; those without a time do not matter.
  void forget(OffsetRange range) {
    for (auto it = find(range.first); it != entries_.end() && it->offset <= range.last; ++it) {
      if (it->at == kEnded) continue;
      it->at = kEnded;
      ++ended_;
    }
    while (!entries_.empty() && entries_.front().at == kEnded) {
      entries_.pop_front();
      --ended_;
    }
    if (ended_ * 2 <= entries_.size()) return;
    std::erase_if(entries_, [](const Entry& entry) { return entry.at == kEnded; });
    ended_ = 0;
  }
  /// The first message of the range whose time has passed.
  [[nodiscard]] std::optional<Offset> first_expired(OffsetRange range, WallTime now) const {
    for (auto it = find(range.first); it != entries_.end() && it->offset <= range.last; ++it) {
      if (it->at != kEnded && it->at <= now) return it->offset;
    }
    return std::nullopt;
  }
  /// Messages it keeps in mind.
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  void clear() {
    entries_.clear();
    ended_ = 0;
  }

 private:
  struct Entry {
    Offset offset;
    WallTime at;
  };
  static_assert(sizeof(Entry) == 16);
  static constexpr WallTime kEnded{INT64_MAX};

  template <class Self>
  static auto find_in(Self& entries, Offset offset) {
    return std::ranges::lower_bound(entries, offset, {}, &Entry::offset);
  }
  [[nodiscard]] std::deque<Entry>::const_iterator find(Offset offset) const {
    return find_in(entries_, offset);
  }
  std::deque<Entry>::iterator find(Offset offset) { return find_in(entries_, offset); }

  std::deque<Entry> entries_;
  std::size_t ended_ = 0;  ///< of them
};

}  // namespace waybill

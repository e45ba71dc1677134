// KeyIndex: of each key of a stretch of log, the offset of its latest record; what key compaction
// compares with (S23). 24 bytes for a key, in memory that is made once and bounded: who fills it
// asks fits() first.
//
// Keys are stood for by 128 bits of XXH3 under a random seed. Two keys with equal hashes would lose
// a record; among a million keys that has a chance of 1 in 10^26, below that of the memory failing,
// and nobody can choose such keys without the seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/checksum.h"
#include "protocol/base/ids.h"

namespace waybill {

class KeyIndex {
 public:
  /// For about `keys` keys, in at most `max_bytes`.
  KeyIndex(std::uint64_t keys, std::size_t max_bytes, std::uint64_t seed);

  /// Whether so many further keys fit, all of them new. An empty one takes any number: whoever has
  /// a batch must get on.
  [[nodiscard]] bool fits(std::size_t keys) const;
  /// A record of the key; offsets rise. Beyond what fits, the index grows.
  void put(Bytes key, Offset offset);
  /// The latest record of the key, if there is one.
  [[nodiscard]] std::optional<Offset> find(Bytes key) const;
  /// How many keys there are.
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  struct Slot {
    Hash128 hash;
    Offset offset{-1};  ///< -1: free
  };
  static_assert(sizeof(Slot) == 24);

  [[nodiscard]] std::size_t slot_of(const Hash128& hash) const;
  void grow();

  std::uint64_t seed_;
  std::size_t size_ = 0;
  std::vector<Slot> slots_;
};

}  // namespace waybill

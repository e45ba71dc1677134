#include "storage/key_index.h"

#include <algorithm>
#include <utility>

namespace waybill {
namespace {

constexpr std::size_t kLeastSlots = 16;

/// Fuller tables make long searches.
constexpr std::size_t most_keys(std::size_t slots) {
  return slots / 4 * 3;
}

}  // namespace

KeyIndex::KeyIndex(std::uint64_t keys, std::size_t max_bytes, std::uint64_t seed) : seed_(seed) {
  const std::size_t most = std::max(kLeastSlots, max_bytes / sizeof(Slot));
  slots_.resize(std::clamp<std::uint64_t>(keys / 3 * 4 + kLeastSlots, kLeastSlots, most));
}

bool KeyIndex::fits(std::size_t keys) const {
  return size_ == 0 || size_ + keys <= most_keys(slots_.size());
}

/// Where the key is, or would be put.
std::size_t KeyIndex::slot_of(const Hash128& hash) const {
  std::size_t slot = hash.low % slots_.size();
  while (slots_[slot].offset.value >= 0 && slots_[slot].hash != hash) {
    slot = slot + 1 == slots_.size() ? 0 : slot + 1;
  }
  return slot;
}

void KeyIndex::put(Bytes key, Offset offset) {
  const Hash128 hash = xxh3_128(key, seed_);
  Slot* slot = &slots_[slot_of(hash)];
  if (slot->offset.value < 0) {
    if (size_ == most_keys(slots_.size())) {
      grow();
      slot = &slots_[slot_of(hash)];
    }
    ++size_;
    slot->hash = hash;
  }
  slot->offset = offset;
}

void KeyIndex::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  std::swap(old, slots_);
  for (const Slot& slot : old) {
    if (slot.offset.value >= 0) slots_[slot_of(slot.hash)] = slot;
  }
}

std::optional<Offset> KeyIndex::find(Bytes key) const {
  const Slot& slot = slots_[slot_of(xxh3_128(key, seed_))];
  return slot.offset.value < 0 ? std::nullopt : std::optional(slot.offset);
}

}  // namespace waybill

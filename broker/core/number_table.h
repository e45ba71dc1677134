// NumberTable: from 64-bit numbers to 32-bit ones, for indexes that change with every message:
// open addressing with linear probing, so that adding and erasing allocate nothing and touch one
// cache line or two. About 22 to 43 bytes an entry; what is large shrinks again.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace waybill {

class NumberTable {
 public:
  /// Stands for "no value" inside; may not be stored.
  static constexpr std::uint32_t kNoValue = UINT32_MAX;

  /// The value of the key; null if there is none. Valid until the next change.
  [[nodiscard]] const std::uint32_t* find(std::uint64_t key) const {
    if (size_ == 0) return nullptr;
    const Slot& slot = slots_[place_of(key)];
    return slot.value == kNoValue ? nullptr : &slot.value;
  }
  [[nodiscard]] bool contains(std::uint64_t key) const { return find(key) != nullptr; }

  /// The value of the key, which is `value` if it had none, and whether it had none. Valid until
  /// the next change.
  std::pair<std::uint32_t*, bool> try_emplace(std::uint64_t key, std::uint32_t value) {
    // Three quarters full at most: beyond, probing becomes slow.
    if ((size_ + 1) * 4 > slots_.size() * 3) resize(std::max(kMinSlots, slots_.size() * 2));
    Slot& slot = slots_[place_of(key)];
    bool inserted = slot.value == kNoValue;
    if (inserted) {
      slot = {key, value};
      ++size_;
    }
    return {&slot.value, inserted};
  }

  /// Nothing if it has no such key.
  void erase(std::uint64_t key) {
    if (size_ == 0) return;
    std::size_t hole = place_of(key);
    if (slots_[hole].value == kNoValue) return;
    --size_;
    // What was pushed on by the one that goes moves back, so that no probe ends at the hole.
    for (std::size_t next = behind(hole); slots_[next].value != kNoValue; next = behind(next)) {
      std::size_t wanted = home(slots_[next].key);
      if (distance(wanted, next) < distance(hole, next)) continue;
      slots_[hole] = slots_[next];
      hole = next;
    }
    slots_[hole].value = kNoValue;
    if (slots_.size() > kKeptSlots && size_ * 8 < slots_.size()) resize(slots_.size() / 2);
  }

  [[nodiscard]] std::size_t size() const { return size_; }

  /// Calls visit(key, value) for each, in no order.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const Slot& slot : slots_) {
      if (slot.value != kNoValue) visit(slot.key, slot.value);
    }
  }

 private:
  static constexpr std::size_t kMinSlots = 16;
  /// Up to so many it keeps its memory (1 MiB): it fills and empties with every turn.
  static constexpr std::size_t kKeptSlots = 64 * 1024;
  struct Slot {
    std::uint64_t key = 0;
    std::uint32_t value = kNoValue;
  };

  /// Fibonacci hashing: the top bits of a product with 2^64 / phi, which spreads neighbours.
  [[nodiscard]] std::size_t home(std::uint64_t key) const {
    return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15) >> shift_);
  }
  [[nodiscard]] std::size_t behind(std::size_t place) const {
    return (place + 1) & (slots_.size() - 1);
  }
  [[nodiscard]] std::size_t distance(std::size_t from, std::size_t to) const {
    return (to - from) & (slots_.size() - 1);
  }
  /// Where the key is, or where it would go.
  [[nodiscard]] std::size_t place_of(std::uint64_t key) const {
    std::size_t place = home(key);
    while (slots_[place].value != kNoValue && slots_[place].key != key) place = behind(place);
    return place;
  }
  void resize(std::size_t slots) {
    std::vector<Slot> old(slots);
    old.swap(slots_);
    shift_ = 64 - std::countr_zero(slots);
    for (const Slot& slot : old) {
      if (slot.value != kNoValue) slots_[place_of(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;  ///< a power of two of them, or none
  int shift_ = 64;
  std::size_t size_ = 0;
};

}  // namespace waybill

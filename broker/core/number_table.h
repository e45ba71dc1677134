// NumberTable: from 64-bit numbers to small values, for indexes that change with every message:
// open addressing with linear probing, so that adding and erasing allocate nothing and touch one
// cache line or two. An entry takes 1.3 to 2.7 times its size; what is large shrinks again.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace waybill {

template <class Value>
class NumberTable {
 public:
  /// Stands for "no entry" inside; no entry may have it.
  static constexpr std::uint64_t kNoKey = 0;

  /// The value of the key; null if there is none. Valid until the next entry comes or goes.
  [[nodiscard]] Value* find(std::uint64_t key) {
    return const_cast<Value*>(std::as_const(*this).find(key));
  }
  [[nodiscard]] const Value* find(std::uint64_t key) const {
    if (size_ == 0) return nullptr;
    const Slot& slot = slots_[place_of(key)];
    return slot.key == kNoKey ? nullptr : &slot.value;
  }
  [[nodiscard]] bool contains(std::uint64_t key) const { return find(key) != nullptr; }

  /// The value of the key, which is `value` if it had none, and whether it had none. Valid until
  /// the next entry comes or goes.
  std::pair<Value*, bool> try_emplace(std::uint64_t key, Value value = {}) {
    // Three quarters full at most: beyond, probing becomes slow.
    if ((size_ + 1) * 4 > slots_.size() * 3) resize(std::max(kMinSlots, slots_.size() * 2));
    Slot& slot = slots_[place_of(key)];
    bool inserted = slot.key == kNoKey;
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
    if (slots_[hole].key == kNoKey) return;
    --size_;
    // What was pushed on by the one that goes moves back, so that no probe ends at the hole.
    for (std::size_t next = behind(hole); slots_[next].key != kNoKey; next = behind(next)) {
      std::size_t wanted = home(slots_[next].key);
      if (distance(wanted, next) < distance(hole, next)) continue;
      slots_[hole] = slots_[next];
      hole = next;
    }
    slots_[hole].key = kNoKey;
    if (slots_.size() > kKeptSlots && size_ * 8 < slots_.size()) resize(slots_.size() / 2);
  }

  [[nodiscard]] std::size_t size() const { return size_; }

  /// Calls visit(key, value) for each, in no order.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const Slot& slot : slots_) {
      if (slot.key != kNoKey) visit(slot.key, slot.value);
    }
  }

 private:
  static constexpr std::size_t kMinSlots = 16;
  struct Slot {
    std::uint64_t key = kNoKey;
    Value value{};
  };
  /// Up to so many it keeps its memory: it fills and empties with every turn. No more, because a
  /// shard has two for each of its partitions, which should stay in the processor's cache.
  static constexpr std::size_t kKeptSlots = 4096;

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
    while (slots_[place].key != kNoKey && slots_[place].key != key) place = behind(place);
    return place;
  }
  void resize(std::size_t slots) {
    std::vector<Slot> old(slots);
    old.swap(slots_);
    shift_ = 64 - std::countr_zero(slots);
    for (const Slot& slot : old) {
      if (slot.key != kNoKey) slots_[place_of(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;  ///< a power of two of them, or none
  int shift_ = 64;
  std::size_t size_ = 0;
};

}  // namespace waybill

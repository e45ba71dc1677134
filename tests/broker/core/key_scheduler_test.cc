// Goal: the scheduler hands out what may go, each key in order, whatever comes back in between.
// Method: small sequences by hand; then random ones against a plain list that is searched each
// time.
#include "broker/core/key_scheduler.h"
#include "broker/core/expiry_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "protocol/base/random.h"

namespace waybill {
namespace {

TEST(RangeSet, JoinsNeighboursAndSplitsWhereSomethingIsTakenOut) {
  RangeSet set;
  set.add({{5}, {9}});
  set.add({{0}, {2}});
  set.add({{3}, {4}});
  EXPECT_EQ(set.run_count(), 1u);
  set.remove({{4}, {5}});
  EXPECT_EQ(set.count(), 8u);
  EXPECT_TRUE(set.contains({{0}, {3}}));
  EXPECT_FALSE(set.contains({{3}, {6}}));
  EXPECT_EQ(set.run_from({4}), (OffsetRange{{6}, {9}}));
  EXPECT_EQ(set.run_from({7}), (OffsetRange{{7}, {9}}));
  EXPECT_LE(set.run_from({10}).count(), 0);
}

void check_random_ranges(std::uint64_t offsets, int steps) {
  SeededRandom random{7};
  RangeSet set;
  std::set<std::int64_t> model;
  for (int i = 0; i < steps; ++i) {
    OffsetRange range{{static_cast<std::int64_t>(random.below(offsets))}, {}};
    range.last = range.first + static_cast<std::int64_t>(random.below(6));
    std::int64_t present = 0;
    for (Offset o = range.first; o <= range.last; ++o) present += model.contains(o.value) ? 1 : 0;
    ASSERT_EQ(set.intersects(range), present > 0);
    ASSERT_EQ(set.contains(range), present == range.count());
    auto next = model.lower_bound(range.first.value);
    OffsetRange run = set.run_from(range.first);
    ASSERT_EQ(run.count() > 0, next != model.end());
    if (next != model.end()) {
      ASSERT_EQ(run.first.value, *next);
      ASSERT_TRUE(model.contains(run.last.value) && !model.contains(run.last.value + 1));
      ASSERT_EQ(set.front().first.value, *model.begin());
    }
    if (present == 0) {
      set.add(range);
      for (Offset o = range.first; o <= range.last; ++o) model.insert(o.value);
    } else if (present == range.count()) {
      set.remove(range);
      for (Offset o = range.first; o <= range.last; ++o) model.erase(o.value);
    }
    ASSERT_EQ(set.count(), model.size());
  }
}

TEST(RangeSet, IsASetOfOffsetsWhateverTheRanges) {
  check_random_ranges(60, 20'000);
}

TEST(RangeSet, IsOneAlsoWithManyBlocksOfRuns) {
  check_random_ranges(20'000, 60'000);
}

TEST(RangeSet, EmptiesFromItsFrontItsEndAndItsMiddle) {
  for (std::int64_t stride : {1, 7, -1}) {
    RangeSet set;
    constexpr std::int64_t kRuns = 1000;
    for (std::int64_t i = 0; i < kRuns; ++i) set.add({{2 * i}, {2 * i}});
    EXPECT_EQ(set.run_count(), 1000u);
    std::int64_t at = stride < 0 ? kRuns - 1 : 0;
    for (std::int64_t left = kRuns; left > 0; --left, at = (at + stride + kRuns) % kRuns) {
      ASSERT_EQ(set.count(), static_cast<std::uint64_t>(left));
      set.remove({{2 * at}, {2 * at}});
      ASSERT_FALSE(set.contains(Offset{2 * at}));
    }
    EXPECT_TRUE(set.empty());
  }
}

TEST(NumberTable, IsAMapWhateverIsErased) {
  SeededRandom random{11};
  NumberTable<std::uint32_t> table;
  std::map<std::uint64_t, std::uint32_t> model;
  constexpr std::uint64_t kKeys = 200'000;  // so many that it shrinks again in the end
  for (std::uint32_t i = 0; i < 300'000; ++i) {
    std::uint64_t key = 1 + random.below(kKeys);
    if (random.below(8) < 5) {
      auto [value, inserted] = table.try_emplace(key, i);
      auto [it, expected] = model.try_emplace(key, i);
      ASSERT_EQ(inserted, expected);
      ASSERT_EQ(*value, it->second);
    } else {
      table.erase(key);
      model.erase(key);
    }
    std::uint64_t other = random.below(kKeys);
    const std::uint32_t* found = table.find(other);
    ASSERT_EQ(found == nullptr ? 0 : *found + 1, model.contains(other) ? model.at(other) + 1 : 0);
    ASSERT_EQ(table.size(), model.size());
  }
  std::map<std::uint64_t, std::uint32_t> all;
  table.for_each([&](std::uint64_t key, std::uint32_t value) { all.emplace(key, value); });
  EXPECT_EQ(all, model);
  for (std::uint64_t key = 1; key <= kKeys; ++key) {
    table.erase(key);
    model.erase(key);
    ASSERT_EQ(table.size(), model.size());
    ASSERT_TRUE(model.empty() || table.contains(model.begin()->first));
  }
}

TEST(ExpiryIndex, KnowsWhatHasExpiredWhateverHasEnded) {
  SeededRandom random{5};
  ExpiryIndex index;
  std::map<std::int64_t, std::int64_t> model;
  std::int64_t end = 0;
  for (int i = 0; i < 20'000; ++i) {
    if (random.below(3) > 0) {
      end += 1 + static_cast<std::int64_t>(random.below(3));
      auto at = static_cast<std::int64_t>(random.below(100));
      index.add({end}, {at});
      model[end] = at;
    }
    OffsetRange range{{end - static_cast<std::int64_t>(random.below(300))}, {}};
    range.last = range.first + static_cast<std::int64_t>(random.below(10));
    if (random.below(3) == 0) {
      index.forget(range);
      model.erase(model.lower_bound(range.first.value), model.upper_bound(range.last.value));
    }
    WallTime now{static_cast<std::int64_t>(random.below(100))};
    std::optional<Offset> expected;
    for (auto it = model.lower_bound(range.first.value);
         it != model.end() && it->first <= range.last.value && !expected; ++it) {
      if (it->second <= now.milliseconds) expected = Offset{it->first};
    }
    ASSERT_EQ(index.first_expired(range, now), expected);
    ASSERT_LE(index.size(), 2 * model.size());
  }
  index.forget({{0}, {end}});
  EXPECT_EQ(index.size(), 0u);
}

TEST(KeyScheduler, AnEmptyKeyIsAKeyAndNoKeyIsNoneD8) {
  EXPECT_EQ(key_hash(std::nullopt), 0u);
  EXPECT_NE(key_hash(Bytes{}), 0u);
}

TEST(KeyScheduler, KeysTakeTurnsInTheOrderTheyBecameReady) {
  KeyScheduler scheduler(100);
  for (std::int64_t i = 0; i < 6; ++i) {
    scheduler.add({i}, 1 + static_cast<KeyHash>(i % 2), {});
  }
  EXPECT_EQ(scheduler.take(), Offset{0});
  EXPECT_EQ(scheduler.take(), Offset{1});
  EXPECT_EQ(scheduler.take(), std::nullopt);
  scheduler.settled({1});
  scheduler.settled({0});
  EXPECT_EQ(scheduler.take(), Offset{3});
  EXPECT_EQ(scheduler.take(), Offset{2});
}

/// One message of the model.
struct Entry {
  KeyHash key = 0;
  WallTime not_before = {};
  bool taken = false;
};

/// The scheduler and a plain list, side by side.
class Twin {
 public:
  explicit Twin(std::uint64_t seed) : random_{seed} {}

  void step() {
    switch (random_.below(8)) {
      case 0:
      case 1:
        add();
        break;
      case 2:
      case 3:
        if (auto it = pick_taken(); it != model_.end()) {
          scheduler_.settled({it->first});
          model_.erase(it);
        }
        break;
      case 4:
        if (auto it = pick_taken(); it != model_.end()) {
          it->second.taken = false;
          scheduler_.put_back({it->first}, random_.below(2) == 0);
        }
        break;
      case 5:
        now_.milliseconds += static_cast<std::int64_t>(random_.below(20));
        scheduler_.run_due(now_);
        break;
      case 6:
        hold_or_release();
        break;
      default:
        take();
    }
    EXPECT_EQ(scheduler_.held_count(), scheduler_.count_held());
  }

 private:
  using Model = std::map<std::int64_t, Entry>;  ///< what is not settled, by offset

  KeyHash any_key() { return 1 + random_.below(4); }
  Model::iterator pick_taken() {
    std::vector<std::int64_t> all;
    for (const auto& [offset, entry] : model_) {
      if (entry.taken) all.push_back(offset);
    }
    return all.empty() ? model_.end() : model_.find(all[random_.below(all.size())]);
  }
  void add() {
    KeyHash key = any_key();
    WallTime at;
    if (random_.below(4) == 0) {
      at.milliseconds = now_.milliseconds + 1 + static_cast<std::int64_t>(random_.below(50));
    }
    scheduler_.add({next_}, key, at);
    model_[next_++] = {key, at, false};
  }
  void hold_or_release() {
    KeyHash key = any_key();
    std::set<std::int64_t>& holds = holds_[key];
    if (holds.size() > 1 || (!holds.empty() && random_.below(2) == 0)) {
      auto hold = holds.begin();
      std::advance(hold, random_.below(holds.size()));
      scheduler_.release(key, {*hold});
      holds.erase(hold);
      return;
    }
    // A dead letter is a message that was there and is not any more.
    auto at = static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(next_) + 1));
    if (at == next_ || model_.contains(at) || !holds.insert(at).second) return;
    scheduler_.hold(key, {at});
  }
  bool may_go(std::int64_t offset) {
    const Entry& entry = model_[offset];
    if (entry.taken || entry.not_before > now_) return false;
    const std::set<std::int64_t>& holds = holds_[entry.key];
    if (!holds.empty() && *holds.begin() < offset) return false;
    return std::ranges::none_of(model_, [&](const auto& other) {
      return other.second.key == entry.key && (other.second.taken || other.first < offset);
    });
  }
  void take() {
    if (std::optional<Offset> got = scheduler_.take()) {
      ASSERT_TRUE(model_.contains(got->value));
      EXPECT_TRUE(may_go(got->value)) << got->value;
      model_[got->value].taken = true;
      return;
    }
    for (const auto& [offset, entry] : Model(model_)) {
      EXPECT_FALSE(may_go(offset)) << offset << " was forgotten";
    }
  }

  SeededRandom random_;
  KeyScheduler scheduler_{1000};
  Model model_;
  std::map<KeyHash, std::set<std::int64_t>> holds_;
  std::int64_t next_ = 0;
  WallTime now_{1000};
};

TEST(KeyScheduler, NeverGivesAwayWhatMayNotGoAndAlwaysWhatMay) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Twin twin(seed);
    for (int i = 0; i < 400; ++i) twin.step();
  }
}

}  // namespace
}  // namespace waybill

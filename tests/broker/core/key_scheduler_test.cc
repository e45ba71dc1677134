// Goal: the scheduler hands out what may go, each key in order, whatever comes back in between.
// Method: small sequences by hand; then random ones against a plain list that is searched each
// time.
#include "broker/core/key_scheduler.h"

#include <gtest/gtest.h>

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
  EXPECT_EQ(set.ranges().size(), 1u);
  set.remove({{4}, {5}});
  EXPECT_EQ(set.count(), 8u);
  EXPECT_TRUE(set.contains({{0}, {3}}));
  EXPECT_FALSE(set.contains({{3}, {6}}));
  EXPECT_EQ(set.run_from({4}), (OffsetRange{{6}, {9}}));
  EXPECT_EQ(set.run_from({7}), (OffsetRange{{7}, {9}}));
  EXPECT_LE(set.run_from({10}).count(), 0);
}

TEST(RangeSet, IsASetOfOffsetsWhateverTheRanges) {
  SeededRandom random{7};
  RangeSet set;
  std::set<std::int64_t> model;
  for (int i = 0; i < 20'000; ++i) {
    OffsetRange range{{static_cast<std::int64_t>(random.below(60))}, {}};
    range.last = range.first + static_cast<std::int64_t>(random.below(6));
    std::int64_t present = 0;
    for (Offset o = range.first; o <= range.last; ++o) present += model.contains(o.value) ? 1 : 0;
    EXPECT_EQ(set.intersects(range), present > 0);
    EXPECT_EQ(set.contains(range), present == range.count());
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
  bool redriven = false;
};

TEST(KeyScheduler, NeverGivesAwayWhatMayNotGoAndAlwaysWhatMay) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random{seed};
    KeyScheduler scheduler(1000);
    std::map<std::int64_t, Entry> model;  // what is not settled, by offset
    std::map<KeyHash, std::set<std::int64_t>> holds;
    std::int64_t next = 0;
    WallTime now{1000};
    auto may_go = [&](std::int64_t offset) {
      const Entry& entry = model[offset];
      if (entry.taken || entry.not_before > now) return false;
      if (!holds[entry.key].empty() && *holds[entry.key].begin() < offset) return false;
      for (const auto& [other, e] : model) {
        if (e.key == entry.key && (e.taken || other < offset)) return false;
      }
      return true;
    };
    for (int i = 0; i < 400; ++i) {
      KeyHash key = 1 + random.below(4);
      auto pick = [&](bool taken) -> std::map<std::int64_t, Entry>::iterator {
        std::vector<std::int64_t> all;
        for (const auto& [offset, entry] : model) {
          if (entry.taken == taken) all.push_back(offset);
        }
        return all.empty() ? model.end() : model.find(all[random.below(all.size())]);
      };
      switch (random.below(8)) {
        case 0:
        case 1: {
          WallTime at =
              random.below(4) == 0
                  ? WallTime{now.milliseconds + 1 + static_cast<std::int64_t>(random.below(50))}
                  : WallTime{};
          scheduler.add({next}, key, at);
          model[next++] = {key, at, false, false};
          break;
        }
        case 2:
        case 3:
          if (auto it = pick(true); it != model.end()) {
            scheduler.settled({it->first});
            model.erase(it);
          }
          break;
        case 4:
          if (auto it = pick(true); it != model.end()) {
            it->second.redriven = random.below(2) == 0;
            it->second.taken = false;
            scheduler.put_back({it->first}, it->second.redriven);
          }
          break;
        case 5:
          now.milliseconds += static_cast<std::int64_t>(random.below(20));
          scheduler.run_due(now);
          break;
        case 6:
          if (holds[key].size() > 1 || (!holds[key].empty() && random.below(2) == 0)) {
            auto hold = std::next(holds[key].begin(),
                                  static_cast<std::ptrdiff_t>(random.below(holds[key].size())));
            scheduler.release(key, {*hold});
            holds[key].erase(hold);
          } else {
            // A dead letter is a message that was there and is not any more.
            auto at = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(next) + 1));
            if (at == next || model.contains(at) || !holds[key].insert(at).second) break;
            scheduler.hold(key, {at});
          }
          break;
        default:
          if (std::optional<Offset> got = scheduler.take()) {
            ASSERT_TRUE(model.contains(got->value));
            EXPECT_TRUE(may_go(got->value)) << got->value;
            model[got->value].taken = true;
          } else {
            for (const auto& [offset, entry] : std::map(model)) {
              EXPECT_FALSE(may_go(offset)) << offset << " was forgotten";
            }
          }
      }
      EXPECT_EQ(scheduler.held_count(), scheduler.count_held());
    }
  }
}

}  // namespace
}  // namespace waybill

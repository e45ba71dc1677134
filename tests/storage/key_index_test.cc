// Goal: the index that key compaction compares with knows of each key the latest record and of no
// other one any, within the memory it was given (S23). Method: against a map, over random keys.
#include "storage/key_index.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "protocol/base/random.h"

namespace waybill {
namespace {

TEST(KeyIndex, KnowsOfEachKeyTheLatestRecordAndOfNoOtherAnyS23) {
  SeededRandom random(1);
  KeyIndex index(1000, 64 * 1024, 7);
  std::map<std::string, Offset> model;
  for (std::int64_t offset = 0; offset < 5000; ++offset) {
    const std::string key = "key " + std::to_string(random.below(900));
    index.put(as_bytes(key), Offset{offset});
    model[key] = Offset{offset};
  }
  EXPECT_EQ(index.size(), model.size());
  for (int i = 0; i < 2000; ++i) {
    const std::string key = "key " + std::to_string(i);
    const auto known = model.find(key);
    const std::optional<Offset> latest = index.find(as_bytes(key));
    ASSERT_EQ(latest.has_value(), known != model.end()) << key;
    if (!latest) continue;
    EXPECT_EQ(*latest, known->second) << key;
  }
}

TEST(KeyIndex, SaysWhenFurtherKeysDoNotFitItsMemoryS23) {
  constexpr std::size_t kMemory = 24 * 100;
  KeyIndex index(1'000'000, kMemory, 7);
  std::int64_t keys = 0;
  for (; index.fits(1); ++keys) index.put(as_bytes(std::to_string(keys)), Offset{keys});
  EXPECT_EQ(keys, 75) << "three quarters of the slots";
  EXPECT_FALSE(index.fits(1));
  EXPECT_TRUE(index.fits(0));
  EXPECT_EQ(index.find(as_bytes("74")), Offset{74});
}

TEST(KeyIndex, AnEmptyOneTakesABatchOfAnySizeS23) {
  KeyIndex index(1, 0, 7);
  ASSERT_TRUE(index.fits(100'000));
  for (std::int64_t i = 0; i < 1000; ++i) index.put(as_bytes(std::to_string(i)), Offset{i});
  EXPECT_EQ(index.size(), 1000u);
  EXPECT_EQ(index.find(as_bytes("0")), Offset{0});
  EXPECT_EQ(index.find(as_bytes("999")), Offset{999});
  EXPECT_FALSE(index.fits(100'000));
}

TEST(KeyIndex, AnEmptyKeyIsAKey) {
  KeyIndex index(10, 4096, 7);
  EXPECT_FALSE(index.find({}).has_value());
  index.put({}, Offset{3});
  EXPECT_EQ(index.find({}), Offset{3});
}

}  // namespace
}  // namespace waybill

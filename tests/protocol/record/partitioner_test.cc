// Goal: keys map to the partitions that Kafka's clients choose (S27). Method: the vectors that
// Kafka's own tests use, and every length of tail.
#include "protocol/record/partitioner.h"

#include <gtest/gtest.h>

namespace waybill {
namespace {

TEST(Murmur2, MatchesKafkasVectorsS27) {
  EXPECT_EQ(murmur2(as_bytes("21")), -973932308);
  EXPECT_EQ(murmur2(as_bytes("foobar")), -790332482);
  EXPECT_EQ(murmur2(as_bytes("a-little-bit-long-string")), -985981536);
  EXPECT_EQ(murmur2(as_bytes("a-little-bit-longer-string")), -1486304829);
  EXPECT_EQ(murmur2(as_bytes("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8")), -58897971);
  EXPECT_EQ(murmur2(as_bytes("abc")), 479470107);
}

TEST(PartitionForKey, IgnoresTheSignAsKafkaDoes) {
  EXPECT_EQ(partition_for_key(as_bytes("abc"), 10), PartitionIndex{479470107 % 10});
  EXPECT_EQ(partition_for_key(as_bytes("21"), 7),
            PartitionIndex{(static_cast<std::uint32_t>(-973932308) & 0x7fffffffU) % 7});
  EXPECT_EQ(partition_for_key(as_bytes("21"), 1), PartitionIndex{0});
}

TEST(PartitionForKey, AnEmptyKeyHasAPartition) {
  EXPECT_LT(partition_for_key({}, 16).value, 16U);
}

}  // namespace
}  // namespace waybill

#include "protocol/record/partitioner.h"

namespace waybill {

std::int32_t murmur2(Bytes bytes) {
  constexpr std::uint32_t kSeed = 0x9747b28c;
  constexpr std::uint32_t kMultiplier = 0x5bd1e995;
  std::uint32_t hash = kSeed ^ static_cast<std::uint32_t>(bytes.size());
  while (bytes.size() >= 4) {
    std::uint32_t word = load_little<std::uint32_t>(bytes.data()) * kMultiplier;
    word = (word ^ (word >> 24)) * kMultiplier;
    hash = (hash * kMultiplier) ^ word;
    bytes = bytes.subspan(4);
  }
  for (std::size_t i = bytes.size(); i-- > 0;) {
    hash ^= static_cast<std::uint32_t>(bytes[i]) << (8 * i);
  }
  if (!bytes.empty()) hash *= kMultiplier;
  hash = (hash ^ (hash >> 13)) * kMultiplier;
  return static_cast<std::int32_t>(hash ^ (hash >> 15));
}

PartitionIndex partition_for_key(Bytes key, std::uint32_t partition_count) {
  WB_ASSERT(partition_count > 0, "a topic has partitions");
  return {(static_cast<std::uint32_t>(murmur2(key)) & 0x7fffffff) % partition_count};
}

}  // namespace waybill

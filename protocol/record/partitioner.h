// Which partition a key belongs to (S27): Kafka's default partitioner, so that every Kafka client
// agrees with this one.
#pragma once

#include <cstdint>

#include "protocol/base/bytes.h"
#include "protocol/base/ids.h"

namespace waybill {

/// Austin Appleby's MurmurHash2 (32 bit, seed 0x9747b28c), signed as in Kafka's Utils.murmur2.
std::int32_t murmur2(Bytes bytes);

/// Requires partition_count > 0.
PartitionIndex partition_for_key(Bytes key, std::uint32_t partition_count);

}  // namespace waybill

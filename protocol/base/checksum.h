// The checksums of the project. XXH3-64 protects what we lay out ourselves (frames, headers);
// CRC-32C is Kafka's, over a record batch's body; XXH3-128 stands for a key where keys are compared
// by the million and an equal hash must mean an equal key.
#pragma once

#include <cstdint>

#include "protocol/base/bytes.h"

namespace waybill {

std::uint64_t xxh3_64(Bytes bytes, std::uint64_t seed = 0);

struct Hash128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
};
Hash128 xxh3_128(Bytes bytes, std::uint64_t seed);

/// CRC-32C (Castagnoli), the value as Kafka stores it.
std::uint32_t crc32c(Bytes bytes);

}  // namespace waybill

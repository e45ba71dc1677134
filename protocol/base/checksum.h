// The two checksums of the project. XXH3-64 protects what we lay out ourselves (frames, headers);
// CRC-32C is Kafka's, over a record batch's body.
#pragma once

#include <cstdint>

#include "protocol/base/bytes.h"

namespace waybill {

std::uint64_t xxh3_64(Bytes bytes, std::uint64_t seed = 0);

/// CRC-32C (Castagnoli), the value as Kafka stores it.
std::uint32_t crc32c(Bytes bytes);

}  // namespace waybill

#include "protocol/base/checksum.h"

#include <isa-l/crc.h>
#include <xxhash.h>

#include <algorithm>
#include <climits>

namespace waybill {

std::uint64_t xxh3_64(Bytes bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint32_t crc32c(Bytes bytes) {
  // ISA-L takes an int length and neither pre- nor post-inverts.
  std::uint32_t crc = 0xffffffff;
  while (!bytes.empty()) {
    std::size_t size = std::min<std::size_t>(bytes.size(), INT_MAX);
    auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(bytes.data()));
    crc = crc32_iscsi(data, static_cast<int>(size), crc);
    bytes = bytes.subspan(size);
  }
  return ~crc;
}

}  // namespace waybill

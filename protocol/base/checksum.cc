#include "protocol/base/checksum.h"

#include <isa-l/crc.h>
#include <xxhash.h>

#include <algorithm>
#include <climits>

// Puts functions in the place of XXH3's that use the widest vectors the machine has, with the same
// results; without it they use those that every machine has.
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#endif

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

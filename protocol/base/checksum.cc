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
namespace {

/// ISA-L returns with the upper halves of the vector registers in use. Until something clears them,
/// every SSE instruction of this thread drags them along: what follows is up to ten times as slow.
#if defined(__x86_64__)
__attribute__((target("avx"))) void clear_upper_halves() {
  if (__builtin_cpu_supports("avx")) __builtin_ia32_vzeroupper();
}
#else
void clear_upper_halves() {}
#endif

}  // namespace

std::uint64_t xxh3_64(Bytes bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

Hash128 xxh3_128(Bytes bytes, std::uint64_t seed) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed);
  return {hash.low64, hash.high64};
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
  clear_upper_halves();
  return ~crc;
}

}  // namespace waybill

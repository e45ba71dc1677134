#include "protocol/base/random.h"

#include <sys/random.h>

namespace waybill {

std::uint64_t system_seed() {
  std::uint64_t seed = 0;
  ssize_t got = getrandom(&seed, sizeof seed, 0);
  WB_ASSERT(got == sizeof seed, "the system gives random bytes");
  return seed;
}

}  // namespace waybill

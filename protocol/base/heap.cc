#include "protocol/base/heap.h"

#include <malloc.h>

namespace waybill {

void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kMapFrom = 32 * 1024 * 1024;  // the most that glibc takes
  constexpr int kKeep = 64 * 1024 * 1024;
  ::mallopt(M_MMAP_THRESHOLD, kMapFrom);
  ::mallopt(M_TRIM_THRESHOLD, kKeep);
#endif
}

}  // namespace waybill

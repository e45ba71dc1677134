#include "protocol/base/heap.h"

#include <malloc.h>

namespace waybill {

void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kMapFrom = 4 * 1024 * 1024;  // above any batch; what is larger goes back at once
  constexpr int kKeep = 16 * 1024 * 1024;  // more was no quicker, and an idle broker would hold it
  ::mallopt(M_MMAP_THRESHOLD, kMapFrom);
  ::mallopt(M_TRIM_THRESHOLD, kKeep);
#endif
}

}  // namespace waybill

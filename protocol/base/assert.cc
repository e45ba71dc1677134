#include "protocol/base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace waybill {

void assertion_failed(const char* condition, const char* file, int line, const char* message) {
  std::fprintf(stderr, "waybill: assertion failed: %s (%s) at %s:%d\n", message, condition, file,
               line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace waybill

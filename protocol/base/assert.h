// Assertions that stay on in release builds: a broken invariant stops the process before it can
// write anything wrong. Bytes from disk or network are never asserted, they are checked into a
// Result.
#pragma once

namespace waybill {

/// Prints the condition, its place and the message to stderr and aborts.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line,
                                   const char* message);

}  // namespace waybill

#define WB_ASSERT(condition, message)                                         \
  do {                                                                        \
    if (!(condition)) [[unlikely]]                                            \
      ::waybill::assertion_failed(#condition, __FILE__, __LINE__, (message)); \
  } while (false)

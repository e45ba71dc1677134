// How the heap of a whole process behaves; for main() of our programs, never for the library.
#pragma once

namespace waybill {

/// Batches of up to a MiB come and go thousands of times a second. glibc would map each anew and
/// give it back, and the kernel would clear every page of it every time: more work than filling
/// it. This keeps up to 16 MiB of freed memory with each thread. Call it first thing in main().
void keep_freed_memory();

}  // namespace waybill

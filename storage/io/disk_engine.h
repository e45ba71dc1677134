// Which Disk to use: io_uring where the kernel allows it, else a pool of threads, and one sentence
// for the log that says why and what it costs.
#pragma once

#include <memory>
#include <string>

#include "storage/io/posix_disk.h"

namespace waybill {

enum class DiskEngine : std::uint8_t {
  kAuto,   ///< io_uring, or the pool where it is not available
  kUring,  ///< io_uring or an error
  kPool,
};

/// Opens the data directory `root`, which must exist. `why` (may be null) gets a sentence when
/// kAuto had to take the pool, or when kUring failed; otherwise it is left empty.
Result<std::unique_ptr<Disk>> open_disk(const std::string& root, DiskEngine engine,
                                        std::string* why, const PosixDiskOptions& options = {});

}  // namespace waybill

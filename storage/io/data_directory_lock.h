// DataDirectoryLock: at most one process works in a data directory (S6). An flock on the file
// `lock`; the file itself stays, its content (the holder's process id) is for people.
//
// A killed process may leave writes with the kernel that land after its death. Therefore the disk
// engines keep the descriptor (PosixDiskOptions::lock_fd) until their last write is done, the lock
// lasts as long, and whoever comes next waits a little for it.
#pragma once

#include <chrono>
#include <string>

#include "protocol/base/clock.h"
#include "storage/io/posix_disk.h"

namespace waybill {

class DataDirectoryLock {
 public:
  /// Tries for `patience`, blocking. Requires the directory to exist. kLocked: another process
  /// holds it; `explanation` (may be null) then names it and says what to do.
  static Result<DataDirectoryLock> acquire(const std::string& directory, std::string* explanation,
                                           Duration patience = std::chrono::seconds(5));

  /// For PosixDiskOptions::lock_fd.
  [[nodiscard]] int fd() const { return descriptor_.get(); }

 private:
  explicit DataDirectoryLock(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

  Descriptor descriptor_;
};

}  // namespace waybill

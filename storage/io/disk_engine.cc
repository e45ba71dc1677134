#include "storage/io/disk_engine.h"

#include <cerrno>

#include "storage/io/pool_disk.h"
#include "storage/io/uring_disk.h"

namespace waybill {
namespace {

/// What stands in the way, and how a person removes it.
std::string obstacle(const Error& error) {
  switch (error.os_errno) {
    case EPERM:
      return "io_uring is blocked here: allow it in the container's seccomp profile "
             "(io_uring_setup, io_uring_enter, io_uring_register) or set the sysctl "
             "kernel.io_uring_disabled=0";
    case ENOSYS:
      return "this kernel has no io_uring that can read, write and sync: Linux 5.6 or newer does";
    case ENOMEM:
      return "io_uring got no memory: raise the locked-memory limit (ulimit -l)";
    case EMFILE:
    case ENFILE:
      return "io_uring got no file descriptor: raise the limit (ulimit -n)";
    default:
      return "io_uring cannot be used (" + to_string(error) + ")";
  }
}

}  // namespace

Result<std::unique_ptr<Disk>> open_disk(const std::string& root, DiskEngine engine,
                                        std::string* why, const PosixDiskOptions& options) {
  if (why != nullptr) why->clear();
  if (engine != DiskEngine::kPool) {
    Result<std::unique_ptr<UringDisk>> uring = UringDisk::open(root, options);
    if (uring) return std::unique_ptr<Disk>(std::move(*uring));
    // A missing or unreadable directory has nothing to do with the engine.
    if (uring.error().code == Errc::kNotFound) return uring.error();
    if (why != nullptr) *why = obstacle(uring.error());
    if (engine == DiskEngine::kUring) return uring.error();
    if (why != nullptr) {
      *why +=
          "; using the thread pool meanwhile, which is as safe and costs two to three times "
          "the processor time per write.";
    }
  }
  Result<std::unique_ptr<PoolDisk>> pool = PoolDisk::open(root, options);
  if (!pool) return pool.error();
  return std::unique_ptr<Disk>(std::move(*pool));
}

}  // namespace waybill

// UringDisk: a Disk on its own io_uring. A durable write is one submission entry (O_DIRECT with
// RWF_DSYNC), so nothing has to be ordered or linked, and a loop turn costs one system call.
//
// Thread: open() and the blocking calls may run anywhere, one at a time. The first submit() or
// wait() binds the ring to its thread (the kernel's single-issuer mode); from then on, and for
// destruction, everything runs there.
//
// Bounded: at most kEntries operations are with the kernel; what is submitted beyond that waits in
// order and follows as others finish. Nothing is dropped and the completion queue cannot overflow.
#pragma once

#include <memory>
#include <string>

#include "storage/io/posix_disk.h"

namespace waybill {

class UringDisk final : public PosixDisk {
 public:
  /// Enough for every shard of a thread; more would only wait in the device's queue.
  static constexpr unsigned kEntries = 256;

  /// Requires the directory `root` to exist. Fails with the kernel's errno where io_uring is not
  /// available (EPERM: blocked by a seccomp profile or kernel.io_uring_disabled; ENOSYS: no kernel
  /// support; ENOMEM: locked-memory limit).
  static Result<std::unique_ptr<UringDisk>> open(const std::string& root,
                                                 const PosixDiskOptions& options = {});
  ~UringDisk() override;

  void write(FileHandle file, std::uint64_t position, Bytes data, Durability durability,
             Completion completion) override;
  void read(FileHandle file, std::uint64_t position, MutableBytes buffer,
            Completion completion) override;
  void sync(FileHandle file, Completion completion) override;
  using PosixDisk::sync_directory;
  void sync_directory(std::string_view path, Completion completion) override;
  using PosixDisk::remove;
  void remove(std::string_view path, Completion completion) override;
  void submit() override;
  std::size_t reap() override;
  [[nodiscard]] std::size_t pending() const override;
  std::size_t wait() override;
  [[nodiscard]] int completion_fd() const override;
  [[nodiscard]] std::string engine() const override;
  [[nodiscard]] std::string sync_method() const override;

 private:
  class Ring;
  struct Operation;

  UringDisk(Root root, std::unique_ptr<Ring> ring);
  void enqueue(std::unique_ptr<Operation> operation, std::shared_ptr<OpenFile> opened,
               Completion completion);
  std::size_t finish(std::vector<std::unique_ptr<Operation>> done);

  std::vector<std::unique_ptr<Operation>> queued_;
  std::size_t pending_ = 0;
  std::unique_ptr<Ring> ring_;
};

}  // namespace waybill

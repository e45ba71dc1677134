// PoolDisk: a Disk on a few threads that make blocking calls. It works on every Linux, also where
// io_uring is not allowed (Docker's default seccomp profile); it costs two to three times the
// processor time per write.
//
// The owner's thread queues, submits and reaps; the pool's threads only make the system call and
// put the result into a list. Completions run, and are destroyed, on the owner's thread. An eventfd
// tells the owner that the list is no longer empty.
#pragma once

#include <memory>
#include <string>

#include "storage/io/posix_disk.h"

namespace waybill {

class PoolDisk final : public PosixDisk {
 public:
  /// Requires the directory `root` to exist.
  static Result<std::unique_ptr<PoolDisk>> open(const std::string& root,
                                                const PosixDiskOptions& options = {});
  ~PoolDisk() override;

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
  class Pool;
  struct Operation;

  PoolDisk(Root root, std::unique_ptr<Pool> pool);
  void enqueue(std::unique_ptr<Operation> operation, std::shared_ptr<OpenFile> opened,
               Completion completion);
  std::size_t finish(std::vector<std::unique_ptr<Operation>> done);

  std::vector<std::unique_ptr<Operation>> queued_;
  std::size_t pending_ = 0;
  std::unique_ptr<Pool> pool_;
};

}  // namespace waybill

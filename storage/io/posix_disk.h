// PosixDisk: what PoolDisk and UringDisk have in common, which is everything but the asynchronous
// calls: the open files, the blocking calls, and the choice between direct and buffered files.
//
// Files are opened with O_DIRECT where the file system knows it, else buffered; both ways a durable
// write is on stable storage when it completes. Blocking reads and writes of any alignment go
// through an aligned bounce buffer, so that one file is never used directly and through the page
// cache at once. Two consequences for write_now():
//  - It reads and rewrites the blocks at its ends: no asynchronous write may touch these meanwhile.
//  - A power cut during one that makes the file grow to an unaligned size may leave the file longer
//    by less than 4096 bytes, all zeros.
#pragma once

#include <fcntl.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/io/disk.h"

namespace waybill {

/// "<where>: <the code that fits errno>"
Error os_error(int os_errno, const char* where);

/// A descriptor that is closed at the end.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  int release() {
    int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_ = -1;
};

struct PosixDiskOptions {
  /// False: open every file buffered, as on a file system that refuses O_DIRECT.
  bool direct = true;
  /// The data directory's lock, or -1. The engine holds it until nothing is in flight any more,
  /// even if the process is killed (S6).
  int lock_fd = -1;
  /// PoolDisk: one write or sync each at a time.
  unsigned threads = 2;
};

class PosixDisk : public Disk {
 public:
  Result<FileHandle> open(std::string_view path, OpenMode mode) override;
  /// The descriptor stays open until the file's operations in flight are done.
  void close(FileHandle file) override;
  Result<std::uint64_t> size(FileHandle file) override;
  Result<std::size_t> read_now(FileHandle file, std::uint64_t position,
                               MutableBytes buffer) override;
  Result<void> write_now(FileHandle file, std::uint64_t position, Bytes data) override;
  Result<void> allocate(FileHandle file, std::uint64_t size) override;
  Result<std::uint64_t> free_space() override;
  Result<void> sync_now(FileHandle file) override;
  using Disk::sync_directory;
  Result<void> sync_directory(std::string_view path) override;
  Result<void> rename(std::string_view from, std::string_view to) override;
  using Disk::remove;
  Result<void> remove(std::string_view path) override;
  Result<void> create_directory(std::string_view path) override;
  Result<void> make_directory(std::string_view path) override;
  Result<std::vector<std::string>> list(std::string_view path) override;

  /// Whether new files are opened with O_DIRECT.
  [[nodiscard]] bool direct() const { return direct_; }
  /// "io_uring (…)" or "thread pool (…)".
  [[nodiscard]] virtual std::string engine() const = 0;
  /// What makes a write durable: "RWF_DSYNC", or "fdatasync" after it.
  [[nodiscard]] virtual std::string sync_method() const = 0;
  [[nodiscard]] std::string describe() const final;

 protected:
  struct OpenFile {
    Descriptor descriptor;
    bool direct = false;
    bool writable = false;
  };

  /// An open data directory.
  struct Root {
    Descriptor directory;
    bool direct = false;
  };
  static Result<Root> open_root(const std::string& path, bool direct);

  explicit PosixDisk(Root root) : root_(std::move(root.directory)), direct_(root.direct) {}

  /// Requires the file to be open. Operations keep the pointer until they are done.
  [[nodiscard]] const std::shared_ptr<OpenFile>& file(FileHandle handle) const;

  Result<Descriptor> open_directory(std::string_view path, const char* where);
  /// A file on its way out. A device that is told what is free (mount option `discard`) serves
  /// nobody else meanwhile: a durable write beside it took up to 27 ms when 64 MiB were freed at
  /// once, and 1.4 ms in pieces of 2 MiB. They go after the name, so that after a crash the file is
  /// there whole or not at all.
  struct Removal {
    int root = -1;
    std::string path;
    Descriptor file;
    std::uint64_t left = 0;  ///< bytes it still has

    /// Takes the next piece off `left`; false: there is none.
    bool next() {
      if (left == 0) return false;
      left = (left - 1) / kPiece * kPiece;
      return true;
    }

    static constexpr std::uint64_t kPiece = 2 * 1024 * 1024;
    static constexpr int kGiveBack = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  };
  Result<Removal> begin_removal(std::string_view path) const;

 private:
  Descriptor root_;
  bool direct_;
  std::map<std::int32_t, std::shared_ptr<OpenFile>> files_;
  std::int32_t next_handle_ = 0;
};

}  // namespace waybill

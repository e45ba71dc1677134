// DataDirectory: the directory a broker works in: whose it is, which format it has, how many
// shards, and the lock that keeps a second broker out (S6, S24). storage/FORMAT.md, "Superblock",
// has the bytes of the one file that this layer writes.
//
//   superblock            identity, format version, shard count
//   lock                  held while a broker runs
//   shard-<n>/            everything else; see DESIGN of storage
//
// A directory becomes a data directory by the rename of superblock.new, in one step, after the
// shards' directories were made: one that is missing later was removed, with all that was in it.
#pragma once

#include <filesystem>
#include <optional>

#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
#include "storage/io/data_directory_lock.h"
#include "storage/superblock.h"

namespace waybill {

class DataDirectory {
 public:
  /// Creates the directory or opens it, and locks it. `shards` is for a new one; on an existing one
  /// another number is refused, because partitions are bound to their shards. Throws StartError.
  static DataDirectory open(const std::filesystem::path& path, std::optional<std::uint16_t> shards,
                            Duration lock_patience = std::chrono::seconds(5));

  [[nodiscard]] const Superblock& superblock() const { return superblock_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// For the disk engines (S6).
  [[nodiscard]] int lock_fd() const { return lock_.fd(); }
  /// True if this run made it.
  [[nodiscard]] bool created() const { return created_; }

 private:
  DataDirectory(std::filesystem::path path, DataDirectoryLock lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::filesystem::path path_;
  DataDirectoryLock lock_;
  Superblock superblock_;
  bool created_ = false;
};

/// The sentence for a person about an error of the data directory: what, why, what next.
std::string explain_disk_error(const std::filesystem::path& path, const Error& error);

}  // namespace waybill

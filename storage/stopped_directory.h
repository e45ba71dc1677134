// StoppedDirectory: a data directory opened to be looked at while no broker runs: locked, so that
// none starts meanwhile, and read with the real engine. Nothing in it changes but the process id in
// the lock file.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/io/data_directory_lock.h"
#include "storage/io/disk.h"
#include "storage/superblock.h"

namespace waybill {

class StoppedDirectory {
 public:
  /// kLocked: a broker is running. kNotFound: no such directory. kBadFormat: it is there, but is no
  /// data directory. `explanation` (not null) is the sentence for a person.
  static Result<StoppedDirectory> open(const std::string& path, std::string* explanation);
  /// Also while a broker runs: then what is read may change meanwhile, and `explanation` says that
  /// it runs. For a look only.
  static Result<StoppedDirectory> look(const std::string& path, std::string* explanation);
  /// Whether a broker runs, after look().
  [[nodiscard]] bool in_use() const { return in_use_; }

  [[nodiscard]] Disk& disk() { return *disk_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// The superblock, or why it cannot be read (kNotFound, or as decode_superblock).
  [[nodiscard]] const Result<Superblock>& superblock() const { return superblock_; }
  /// As superblock_format().
  [[nodiscard]] std::uint32_t format() const { return format_; }
  /// Then what else is there would be called damage, and is none.
  [[nodiscard]] bool of_other_format() const {
    return !superblock_ && superblock_.error() == Errc::kUnsupportedFormat;
  }
  /// The shards that have a directory, in order; also some that the superblock does not count.
  [[nodiscard]] const std::vector<ShardIndex>& shards() const { return shards_; }
  /// The shards that the superblock promises and that have no journal: whatever they held is gone.
  [[nodiscard]] std::vector<ShardIndex> lost_shards();
  /// Directories with the name of a shard that the superblock does not count, and without a
  /// journal: there is nothing in them to look at.
  [[nodiscard]] const std::vector<ShardIndex>& foreign() const { return foreign_; }

 private:
  explicit StoppedDirectory(std::string path) : path_(std::move(path)) {}
  Result<void> read_names();
  Result<Superblock> read_superblock();

  std::string path_;
  std::optional<DataDirectoryLock> lock_;
  bool in_use_ = false;
  std::unique_ptr<Disk> disk_;
  Result<Superblock> superblock_ = Result<Superblock>(Errc::kNotFound, "superblock");
  std::uint32_t format_ = 0;
  std::vector<ShardIndex> shards_;
  std::vector<ShardIndex> foreign_;
};

}  // namespace waybill

#include "storage/stopped_directory.h"

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "storage/io/disk_engine.h"

namespace waybill {
namespace {

/// Long enough for the kernel to finish the writes of a broker that was just killed (S6).
constexpr std::chrono::seconds kLockPatience{1};

std::optional<ShardIndex> parse_shard_directory(std::string_view name) {
  ShardIndex shard;
  const std::size_t dash = name.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  std::from_chars(name.data() + dash + 1, name.data() + name.size(), shard.value);
  if (shard_directory(shard) != name) return std::nullopt;
  return shard;
}

}  // namespace

Result<StoppedDirectory> StoppedDirectory::open(const std::string& path, std::string* explanation) {
  StoppedDirectory directory(path);
  // Without the lock first: a directory that is none of ours gets no lock file.
  Result<std::unique_ptr<Disk>> disk = open_disk(path, DiskEngine::kPool, nullptr);
  if (!disk) {
    *explanation = "the data directory " + path + " cannot be opened: " + to_string(disk.error());
    return disk.error();
  }
  directory.disk_ = std::move(*disk);
  directory.superblock_ = directory.read_superblock();
  if (Result<void> read = directory.read_names(); !read) {
    *explanation = "the data directory " + path + " cannot be read: " + to_string(read.error());
    return read.error();
  }
  const bool no_superblock =
      !directory.superblock_ && directory.superblock_.error() == Errc::kNotFound;
  if (no_superblock && directory.shards_.empty()) {
    *explanation = path + " is no data directory: it has neither a superblock nor shards";
    return {Errc::kBadFormat, "open data directory"};
  }
  Result<DataDirectoryLock> lock = DataDirectoryLock::acquire(path, explanation, kLockPatience);
  // On a read-only file system no broker can run, and no lock can be taken.
  if (lock) {
    directory.lock_ = std::move(*lock);
  } else if (lock.error().os_errno != EROFS) {
    if (lock.error() != Errc::kLocked) {
      *explanation = "the data directory " + path +
                     " cannot be locked: " + to_string(lock.error()) +
                     "; run this as the user that waybilld runs as";
    }
    return lock.error();
  }
  return directory;
}

Result<StoppedDirectory> StoppedDirectory::look(const std::string& path, std::string* explanation) {
  Result<StoppedDirectory> stopped = open(path, explanation);
  if (stopped || stopped.error() != Errc::kLocked) return stopped;
  StoppedDirectory directory(path);
  Result<std::unique_ptr<Disk>> disk = open_disk(path, DiskEngine::kPool, nullptr);
  if (!disk) return disk.error();
  directory.disk_ = std::move(*disk);
  directory.superblock_ = directory.read_superblock();
  if (Result<void> read = directory.read_names(); !read) return read.error();
  directory.in_use_ = true;
  return directory;
}

Result<void> StoppedDirectory::read_names() {
  Result<std::vector<std::string>> names = disk_->list("");
  if (!names) return names.error();
  for (const std::string& name : *names) {
    const std::optional<ShardIndex> shard = parse_shard_directory(name);
    if (!shard) continue;
    const bool counted = !superblock_ || shard->value < superblock_->shard_count;
    const Result<std::vector<std::string>> journal = disk_->list(journal_directory(*shard));
    const bool empty = !journal && journal.error() == Errc::kNotFound;
    (empty && !counted ? foreign_ : shards_).push_back(*shard);
  }
  std::ranges::sort(shards_);
  std::ranges::sort(foreign_);
  return {};
}

std::vector<ShardIndex> StoppedDirectory::lost_shards() {
  std::vector<ShardIndex> lost;
  if (!superblock_) return lost;
  for (ShardIndex shard{0}; shard.value < superblock_->shard_count; ++shard.value) {
    const Result<std::vector<std::string>> names = disk_->list(journal_directory(shard));
    if (!names && names.error() == Errc::kNotFound) lost.push_back(shard);
  }
  return lost;
}

Result<Superblock> StoppedDirectory::read_superblock() {
  Result<FileHandle> file = disk_->open(kSuperblockName, OpenMode::kRead);
  if (!file) return file.error();
  ByteVector bytes(kSuperblockSize);
  Result<std::size_t> size = disk_->read_now(*file, 0, bytes);
  disk_->close(*file);
  if (!size) return size.error();
  bytes.resize(*size);
  format_ = superblock_format(bytes);
  return decode_superblock(bytes);
}

}  // namespace waybill

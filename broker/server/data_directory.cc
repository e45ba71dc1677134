#include "broker/server/data_directory.h"

#include <algorithm>
#include <cerrno>
#include <memory>

#include "broker/server/config.h"
#include "broker/server/start_error.h"
#include "protocol/base/random.h"
#include "storage/io/disk_engine.h"

namespace waybill {
namespace {

constexpr std::string_view kNewSuperblockName = "superblock.new";

[[noreturn]] void unusable(const std::filesystem::path& path, const Error& error) {
  throw StartError(ExitCode::kDataDirectory, explain_disk_error(path, error));
}

template <class T>
T check(Result<T> result, const std::filesystem::path& path) {
  if (!result) unusable(path, result.error());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

void make_root(const std::filesystem::path& path) {
  std::error_code failure;
  std::filesystem::create_directories(path, failure);
  if (failure) unusable(path, {Errc::kIo, failure.value(), "make the data directory"});
}

/// Whether anything is in a shard's directory but what a creation that was cut off had made.
bool holds_something(Disk& disk, const std::string& shard) {
  const Result<std::vector<std::string>> names = disk.list(shard);
  if (!names || names->size() > 1) return true;
  if (names->empty()) return false;
  const Result<std::vector<std::string>> files = disk.list(shard + "/" + names->front());
  return !files || !files->empty();
}

bool has_shards(Disk& disk, const std::vector<std::string>& names) {
  return std::ranges::any_of(names, [&](const std::string& name) {
    return name.starts_with("shard-") && holds_something(disk, name);
  });
}

void make_shards(Disk& disk, const std::filesystem::path& path, std::uint16_t count) {
  for (ShardIndex shard{0}; shard.value < count; ++shard.value) {
    check(disk.make_directory(shard_directory(shard)), path);
    check(disk.make_directory(journal_directory(shard)), path);
  }
}

/// A shard begun anew would serve its partitions as if nothing had ever been published to them.
void refuse_lost_shards(Disk& disk, const std::filesystem::path& path, std::uint16_t count) {
  for (ShardIndex shard{0}; shard.value < count; ++shard.value) {
    const Result<std::vector<std::string>> names = disk.list(journal_directory(shard));
    if (names) continue;
    if (names.error() != Errc::kNotFound) unusable(path, names.error());
    const std::string without_copy =
        shard == ShardIndex{0}
            ? "; it has the catalog of all topics and groups, so nothing can be used without it"
            : ". If there is none, waybill storage salvage makes the shard anew, empty";
    throw StartError(ExitCode::kDataDirectory,
                     "the directory " + (path / journal_directory(shard)).string() +
                         " is missing, and with it what was acknowledged there; is a file system "
                         "not mounted? Restore it from a copy" +
                         without_copy + ". Nothing was changed.");
  }
}

void write_superblock(Disk& disk, const std::filesystem::path& path, const Superblock& superblock) {
  // Left over from a broker that was killed right here.
  Result<void> removed = disk.remove(kNewSuperblockName);
  if (!removed && removed.error().code != Errc::kNotFound) unusable(path, removed.error());
  FileHandle file = check(disk.open(kNewSuperblockName, OpenMode::kCreate), path);
  ByteVector bytes = encode_superblock(superblock);
  Result<void> written = disk.write_now(file, 0, bytes);
  disk.close(file);
  check(std::move(written), path);
  check(disk.rename(kNewSuperblockName, kSuperblockName), path);
  check(disk.sync_directory(""), path);
}

Superblock read_superblock(Disk& disk, FileHandle file, const std::filesystem::path& path) {
  ByteVector bytes(kSuperblockSize);
  Result<std::size_t> size = disk.read_now(file, 0, bytes);
  disk.close(file);
  bytes.resize(check(std::move(size), path));
  Result<Superblock> superblock = decode_superblock(bytes);
  if (superblock) return *superblock;
  if (superblock.error() == Errc::kUnsupportedFormat) {
    throw StartError(ExitCode::kDataDirectory, "the data directory " + path.string() + " " +
                                                   explain_format(superblock_format(bytes)));
  }
  throw StartError(ExitCode::kDataDirectory,
                   "the file " + (path / kSuperblockName).string() + " is damaged (" +
                       to_string(superblock.error()) +
                       "), so it is not known how many shards there are; restore it from a backup "
                       "(it never changes after creation). Nothing was changed.");
}

void refuse_other_shard_count(std::optional<std::uint16_t> wanted, std::uint16_t has) {
  if (!wanted || *wanted == has) return;
  throw StartError(ExitCode::kUsage,
                   "--shards " + std::to_string(*wanted) +
                       ": this data directory was created with " + std::to_string(has) +
                       " and keeps that number, because partitions are bound to shards; leave "
                       "--shards out, or start with a new directory");
}

}  // namespace

std::string explain_disk_error(const std::filesystem::path& path, const Error& error) {
  std::string text = "the data directory " + path.string() + " cannot be used: " + to_string(error);
  if (error.code == Errc::kNoSpace || error.os_errno == ENOSPC || error.os_errno == EDQUOT) {
    return text + "; free some space on its file system and start again (nothing is lost)";
  }
  if (error.os_errno == EACCES || error.os_errno == EPERM) {
    return text + "; it must be writable by the user waybilld runs as";
  }
  if (error.os_errno == EROFS) return text + "; its file system is mounted read-only";
  if (error.os_errno == ENOTDIR || error.os_errno == EEXIST) {
    return text + "; a file is in its place";
  }
  return text + "; the kernel log (dmesg) may say more";
}

DataDirectory DataDirectory::open(const std::filesystem::path& path,
                                  std::optional<std::uint16_t> shards, Duration lock_patience) {
  make_root(path);
  std::string explanation;
  Result<DataDirectoryLock> lock =
      DataDirectoryLock::acquire(path.string(), &explanation, lock_patience);
  if (!lock) {
    if (lock.error() == Errc::kLocked) throw StartError(ExitCode::kLocked, explanation);
    unusable(path, lock.error());
  }
  DataDirectory directory(path, std::move(*lock));
  std::unique_ptr<Disk> disk = check(
      open_disk(path.string(), DiskEngine::kPool, nullptr, {.lock_fd = directory.lock_fd()}), path);

  Result<FileHandle> file = disk->open(kSuperblockName, OpenMode::kRead);
  if (file) {
    directory.superblock_ = read_superblock(*disk, *file, path);
    refuse_other_shard_count(shards, directory.superblock_.shard_count);
    refuse_lost_shards(*disk, path, directory.superblock_.shard_count);
  } else if (file.error().code != Errc::kNotFound) {
    unusable(path, file.error());
  } else if (has_shards(*disk, check(disk->list(""), path))) {
    throw StartError(ExitCode::kDataDirectory,
                     "the data directory " + path.string() +
                         " holds shards but its superblock is missing; restore that file from a "
                         "backup (it never changes after creation). Nothing was changed.");
  } else {
    SeededRandom random(system_seed());
    directory.superblock_ = {.broker_id = random.uuid(),
                             .shard_count = shards.value_or(default_shard_count()),
                             .created_at = SystemClock().wall()};
    make_shards(*disk, path, directory.superblock_.shard_count);
    write_superblock(*disk, path, directory.superblock_);
    directory.created_ = true;
  }
  return directory;
}

}  // namespace waybill

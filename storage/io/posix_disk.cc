#include "storage/io/posix_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "storage/io/disk_path.h"

namespace waybill {
namespace {

constexpr std::uint64_t kAlignment = 4096;
/// The bounce buffer: larger saves no time, smaller costs system calls in recovery scans.
constexpr std::size_t kBounce = 1024 * 1024;

struct FreeDeleter {
  void operator()(std::byte* memory) const { std::free(memory); }
};

/// An aligned piece of memory around [position, position + size), or the first part of it.
class Bounce {
 public:
  Bounce(std::uint64_t position, std::uint64_t size)
      : begin_(position / kAlignment * kAlignment),
        size_(std::min<std::uint64_t>(
            kBounce, (position + size + kAlignment - 1) / kAlignment * kAlignment - begin_)),
        memory_(static_cast<std::byte*>(std::aligned_alloc(kAlignment, size_))) {
    WB_ASSERT(memory_ != nullptr, "out of memory");
  }
  [[nodiscard]] std::uint64_t begin() const { return begin_; }
  [[nodiscard]] MutableBytes bytes() { return {memory_.get(), size_}; }

 private:
  std::uint64_t begin_;
  std::size_t size_;
  std::unique_ptr<std::byte, FreeDeleter> memory_;
};

bool aligned(std::uint64_t position, Bytes data) {
  return position % kAlignment == 0 && data.size() % kAlignment == 0 &&
         reinterpret_cast<std::uintptr_t>(data.data()) % kAlignment == 0;
}

/// Reads until the buffer is full or the file ends.
Result<std::size_t> read_all(int fd, std::uint64_t position, MutableBytes buffer) {
  std::size_t done = 0;
  while (done < buffer.size()) {
    ssize_t got = ::pread(fd, buffer.data() + done, buffer.size() - done,
                          static_cast<off_t>(position + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return os_error(errno, "disk read");
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
    // A direct read that stops inside a block has met the end; going on would be unaligned.
    if (done < buffer.size() && (position + done) % kAlignment != 0) {
      struct stat status{};
      if (::fstat(fd, &status) == 0 &&
          position + done >= static_cast<std::uint64_t>(status.st_size))
        break;
    }
  }
  return done;
}

Result<void> write_all(int fd, std::uint64_t position, Bytes data) {
  while (!data.empty()) {
    ssize_t put = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(position));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return os_error(errno, "disk write");
    if (put == 0) return Error{Errc::kIo, 0, "disk write made no progress"};
    position += static_cast<std::uint64_t>(put);
    data = data.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

Result<void> sync_data(int fd) {
  if (::fdatasync(fd) != 0) return os_error(errno, "disk sync");
  return {};
}

Result<std::uint64_t> size_of(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return os_error(errno, "disk size");
  return static_cast<std::uint64_t>(status.st_size);
}

/// Writes one bounce buffer's worth of `data` with what surrounds it in the file.
Result<std::size_t> write_around(int fd, std::uint64_t position, Bytes data) {
  Bounce bounce(position, data.size());
  MutableBytes block = bounce.bytes();
  Result<std::size_t> old = read_all(fd, bounce.begin(), block);
  if (!old) return old.error();
  std::fill(block.begin() + *old, block.end(), std::byte{0});
  const std::size_t before = position - bounce.begin();
  const std::size_t part = std::min(data.size(), block.size() - before);
  std::copy_n(data.begin(), part, block.begin() + before);
  if (Result<void> ok = write_all(fd, bounce.begin(), block); !ok) return ok.error();
  return part;
}

}  // namespace

Error os_error(int os_errno, const char* where) {
  switch (os_errno) {
    case ENOENT:
    case ENOTDIR:
      return {Errc::kNotFound, os_errno, where};
    case ENOSPC:
    case EDQUOT:
      return {Errc::kNoSpace, os_errno, where};
    default:
      return {Errc::kIo, os_errno, where};
  }
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  Descriptor old(fd_);
  fd_ = other.release();
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<PosixDisk::Root> PosixDisk::open_root(const std::string& path, bool direct) {
  Root root;
  root.directory = Descriptor(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.directory.valid()) return os_error(errno, "open data directory");
  root.direct = direct;
  if (!direct) return root;
  // A nameless file shows whether direct files work here. If even a buffered one cannot be made
  // (read-only, or a file system without nameless files), each open() finds out for itself.
  const int mode = O_TMPFILE | O_RDWR | O_CLOEXEC;
  Descriptor trial(::openat(root.directory.get(), ".", mode | O_DIRECT, 0600));
  if (!trial.valid() && (errno == EINVAL || errno == EOPNOTSUPP)) {
    Descriptor buffered(::openat(root.directory.get(), ".", mode, 0600));
    root.direct = !buffered.valid();
  }
  return root;
}

const std::shared_ptr<PosixDisk::OpenFile>& PosixDisk::file(FileHandle handle) const {
  auto found = files_.find(handle.value);
  WB_ASSERT(found != files_.end(), "the file is open");
  return found->second;
}

std::string PosixDisk::describe() const {
  return engine() + ", " +
         (direct_ ? "direct files (O_DIRECT)"
                  : "buffered files, because the file system refuses O_DIRECT") +
         ", " + sync_method();
}

Result<FileHandle> PosixDisk::open(std::string_view path, OpenMode mode) {
  if (Result<void> ok = check_disk_path(path); !ok) return ok.error();
  int flags = O_CLOEXEC | O_NOCTTY | (mode == OpenMode::kRead ? O_RDONLY : O_RDWR);
  if (mode == OpenMode::kCreate) flags |= O_CREAT | O_EXCL;
  const std::string name(path);
  auto opened = std::make_shared<OpenFile>();
  opened->writable = mode != OpenMode::kRead;
  opened->direct = direct_;
  int fd = ::openat(root_.get(), name.c_str(), flags | (direct_ ? O_DIRECT : 0), 0600);
  if (fd < 0 && direct_ && (errno == EINVAL || errno == EOPNOTSUPP)) {
    // The refused call may already have created the file.
    opened->direct = false;
    fd = ::openat(root_.get(), name.c_str(), flags & ~O_EXCL, 0600);
    direct_ = fd < 0;
  }
  if (fd < 0) return os_error(errno, "disk open");
  opened->descriptor = Descriptor(fd);
  const std::int32_t number = next_handle_++;
  files_.emplace(number, std::move(opened));
  return FileHandle{number};
}

void PosixDisk::close(FileHandle handle) {
  WB_ASSERT(files_.erase(handle.value) == 1, "the file is open");
}

Result<std::uint64_t> PosixDisk::size(FileHandle handle) {
  return size_of(file(handle)->descriptor.get());
}

Result<std::size_t> PosixDisk::read_now(FileHandle handle, std::uint64_t position,
                                        MutableBytes buffer) {
  const OpenFile& opened = *file(handle);
  const int fd = opened.descriptor.get();
  if (!opened.direct || aligned(position, buffer)) return read_all(fd, position, buffer);
  std::size_t done = 0;
  while (done < buffer.size()) {
    Bounce bounce(position + done, buffer.size() - done);
    Result<std::size_t> got = read_all(fd, bounce.begin(), bounce.bytes());
    if (!got) return got.error();
    const std::size_t before = position + done - bounce.begin();
    if (*got <= before) break;
    const std::size_t part = std::min(*got - before, buffer.size() - done);
    std::copy_n(bounce.bytes().begin() + before, part, buffer.begin() + done);
    done += part;
    if (*got < bounce.bytes().size()) break;
  }
  return done;
}

Result<void> PosixDisk::write_now(FileHandle handle, std::uint64_t position, Bytes data) {
  const OpenFile& opened = *file(handle);
  WB_ASSERT(opened.writable, "the file is open for writing");
  if (data.empty()) return {};
  const int fd = opened.descriptor.get();
  if (!opened.direct || aligned(position, data)) {
    if (Result<void> ok = write_all(fd, position, data); !ok) return ok;
    return sync_data(fd);
  }
  Result<std::uint64_t> before = size_of(fd);
  if (!before) return before.error();
  const std::uint64_t end = std::max(*before, position + data.size());
  for (std::size_t done = 0; done < data.size();) {
    Result<std::size_t> part = write_around(fd, position + done, data.subspan(done));
    if (!part) return part.error();
    done += *part;
  }
  // Whole blocks were written; the file ends where its data ends.
  if (end % kAlignment != 0 && ::ftruncate(fd, static_cast<off_t>(end)) != 0)
    return os_error(errno, "disk truncate");
  return sync_data(fd);
}

Result<void> PosixDisk::allocate(FileHandle handle, std::uint64_t size) {
  const int fd = file(handle)->descriptor.get();
  // Not posix_fallocate(): where the file system cannot, that writes to every block instead.
  while (::fallocate(fd, 0, 0, static_cast<off_t>(size)) != 0) {
    if (errno != EINTR) return os_error(errno, "disk allocate");
  }
  return {};
}

Result<std::uint64_t> PosixDisk::free_space() {
  struct statvfs status{};
  if (::fstatvfs(root_.get(), &status) != 0) return os_error(errno, "disk free_space");
  return std::uint64_t{status.f_bavail} * status.f_frsize;
}

Result<void> PosixDisk::sync_now(FileHandle handle) {
  return sync_data(file(handle)->descriptor.get());
}

Result<Descriptor> PosixDisk::open_directory(std::string_view path, const char* where) {
  if (Result<void> ok = check_disk_path(path, true); !ok) return ok.error();
  const std::string name(path.empty() ? "." : path);
  Descriptor directory(::openat(root_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return os_error(errno, where);
  return directory;
}

Result<void> PosixDisk::sync_directory(std::string_view path) {
  Result<Descriptor> directory = open_directory(path, "disk sync_directory");
  if (!directory) return directory.error();
  if (::fsync(directory->get()) != 0) return os_error(errno, "disk sync_directory");
  return {};
}

Result<void> PosixDisk::rename(std::string_view from, std::string_view to) {
  for (std::string_view path : {from, to})
    if (Result<void> ok = check_disk_path(path); !ok) return ok;
  const std::string old_name(from);
  const std::string new_name(to);
  if (::renameat(root_.get(), old_name.c_str(), root_.get(), new_name.c_str()) != 0)
    return os_error(errno, "disk rename");
  return {};
}

Result<void> PosixDisk::remove(std::string_view path) {
  if (Result<void> ok = check_disk_path(path); !ok) return ok;
  const std::string name(path);
  if (::unlinkat(root_.get(), name.c_str(), 0) == 0) return {};
  if (errno == EISDIR && ::unlinkat(root_.get(), name.c_str(), AT_REMOVEDIR) == 0) return {};
  return os_error(errno, "disk remove");
}

Result<PosixDisk::Removal> PosixDisk::begin_removal(std::string_view path) const {
  if (Result<void> ok = check_disk_path(path); !ok) return ok.error();
  Removal removal{.root = root_.get(), .path = std::string(path), .file = {}, .left = 0};
  // What cannot be opened, for want of descriptors say, can be unlinked; that says what is wrong.
  const int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
  removal.file = Descriptor(::openat(root_.get(), removal.path.c_str(), flags));
  if (!removal.file.valid()) return removal;
  if (Result<std::uint64_t> size = size_of(removal.file.get())) removal.left = *size;
  return removal;
}

Result<void> PosixDisk::create_directory(std::string_view path) {
  if (Result<void> ok = check_disk_path(path); !ok) return ok;
  const std::string name(path);
  if (::mkdirat(root_.get(), name.c_str(), 0700) == 0) return {};
  if (errno != EEXIST) return os_error(errno, "disk create_directory");
  struct stat status{};
  if (::fstatat(root_.get(), name.c_str(), &status, 0) != 0)
    return os_error(errno, "disk create_directory");
  if (!S_ISDIR(status.st_mode)) return Error{Errc::kIo, ENOTDIR, "disk create_directory"};
  return {};
}

Result<void> PosixDisk::make_directory(std::string_view path) {
  // Synced when it was there already too: whoever made it may have been killed before.
  if (Result<void> made = create_directory(path); !made) return made;
  return sync_directory(parent_of(path));
}

Result<std::vector<std::string>> PosixDisk::list(std::string_view path) {
  Result<Descriptor> directory = open_directory(path, "disk list");
  if (!directory) return directory.error();
  DIR* stream = ::fdopendir(directory->get());
  if (stream == nullptr) return os_error(errno, "disk list");
  directory->release();  // the stream owns it
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  const int failure = errno;
  ::closedir(stream);
  if (failure != 0) return os_error(failure, "disk list");
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace waybill

#include "storage/disk_space.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace waybill {
namespace {

/// How much may be written between two looks decides how late low() is.
constexpr Duration kInterval = std::chrono::seconds(1);

}  // namespace

void DiskSpace::look() {
  if (options_.watermark == 0 && options_.reserve == 0) return;
  const MonotonicTime now = clock_.monotonic();
  if (looked_ && now - *looked_ < kInterval) return;
  if (!looked_) find();
  looked_ = now;
  const Result<std::uint64_t> free = disk_.free_space();
  free_ = free ? *free : UINT64_MAX;  // what does not say it, will say ENOSPC
  if (size_ < options_.reserve && !impossible_) build();
  const bool low = low_ ? given_ || free_ < enough() : free_ < options_.watermark;
  if (low == std::exchange(low_, low)) return;
  tell(low ? DiskSpaceChange::Kind::kLow : DiskSpaceChange::Kind::kPlenty, enough());
}

std::optional<MonotonicTime> DiskSpace::deadline() const {
  return low_ && looked_ ? std::optional(*looked_ + kInterval) : std::nullopt;
}

bool DiskSpace::give() {
  if (size_ == 0) return false;
  if (!disk_.remove(options_.reserve_path)) return false;
  size_ = 0;
  low_ = given_ = true;
  tell(DiskSpaceChange::Kind::kGiven, enough());
  return true;
}

void DiskSpace::want(std::uint64_t bytes) {
  if (options_.reserve > 0 && bytes > options_.reserve) options_.reserve = bytes;
}

/// What an earlier run left stands, if it is large enough; a copy of it may have holes.
void DiskSpace::find() {
  Result<std::uint64_t> size = allocate(OpenMode::kReadWrite, 0);
  if (size && options_.reserve > 0 && *size >= options_.reserve)
    size = allocate(OpenMode::kReadWrite, *size);
  if (size && options_.reserve > 0 && *size >= options_.reserve) {
    size_ = *size;
  } else if (size || size.error() != Errc::kNotFound) {
    ignore_error(disk_.remove(options_.reserve_path), "it is in nobody's way");
  }
}

/// The whole of it or none: a part would be no promise.
void DiskSpace::build() {
  const std::uint64_t missing = options_.reserve - size_;
  const std::uint64_t wanted = options_.watermark + options_.watermark / 4 + missing;
  if (free_ < wanted) {
    if (size_ == 0 && !given_ && !std::exchange(told_, true))
      tell(DiskSpaceChange::Kind::kNoReserve, wanted, {Errc::kNoSpace, 0, "reserve"});
    return;
  }
  const Result<std::uint64_t> built =
      allocate(size_ > 0 ? OpenMode::kReadWrite : OpenMode::kCreate, options_.reserve);
  if (!built) {
    ignore_error(disk_.remove(options_.reserve_path), "the next try makes it anew");
    size_ = 0;
    const int reason = built.error().os_errno;
    impossible_ = reason == EOPNOTSUPP || reason == ENOSYS;
    if (impossible_) given_ = false;  // it would be waited for in vain
    if (!std::exchange(told_, true)) tell(DiskSpaceChange::Kind::kNoReserve, wanted, built.error());
    return;
  }
  free_ -= missing;
  size_ = options_.reserve;
  given_ = told_ = false;
}

/// Opens the file, makes it so long, if it is not, and says how long it is.
Result<std::uint64_t> DiskSpace::allocate(OpenMode mode, std::uint64_t size) {
  const Result<FileHandle> file = disk_.open(options_.reserve_path, mode);
  if (!file) return file.error();
  const Result<void> allocated = size > 0 ? disk_.allocate(*file, size) : Result<void>();
  Result<std::uint64_t> has = disk_.size(*file);
  disk_.close(*file);
  return allocated ? has : allocated.error();
}

void DiskSpace::tell(DiskSpaceChange::Kind kind, std::uint64_t wanted, const Error& error) {
  if (changed_) changed_({.kind = kind, .free = free_, .wanted = wanted, .error = error});
}

}  // namespace waybill

// DiskSpace: what a shard does about a file system that runs full (S21). Two lines of defence:
//
//  - The watermark. With less free space than that, nothing may grow that need not: publishers are
//    pushed back, no leases are granted (low()). There is still room for what settles and flushes.
//    It ends when a quarter more is free, so that it does not flap.
//  - The reserve, a file that does nothing but take up room. When a flush or a checkpoint finds the
//    disk full, whoever filled it, the file goes, and they have its room (give()). Until it stands
//    again nothing grows either, and the journal fills no new files: that would be the room. So
//    flush and checkpoint can always make the journal forget, which is what frees journal files.
//
//   plenty ──less than the watermark──► low ──a quarter more──────────────────────► plenty
//      └───────────give()───────────────► low, given ──that, and the reserve again──► plenty
//
// The reserve is built only where that much more than the watermark is free, so building it makes
// nothing low. A disk too small for it, or a file system that cannot take up room ahead
// (fallocate), goes without: then the watermark is all there is, and that is told.
//
// What a crash leaves of the file does not matter: what is there and large enough is the reserve,
// anything else is made anew. Belongs to the shard's thread.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "protocol/base/clock.h"
#include "storage/io/disk.h"

namespace waybill {

/// In the shard's directory.
inline constexpr std::string_view kReserveName = "reserve";

struct DiskSpaceOptions {
  std::string reserve_path;     ///< relative to the Disk: "shard-0/reserve"
  std::uint64_t watermark = 0;  ///< free bytes; 0: none
  std::uint64_t reserve = 0;    ///< bytes; 0: none
};

/// What an operator wants to hear.
struct DiskSpaceChange {
  enum class Kind : std::uint8_t {
    kLow,        ///< less is free than the watermark: nothing grows until `wanted` bytes are
    kGiven,      ///< a flush or checkpoint found no room and has the reserve; as kLow
    kPlenty,     ///< all goes on
    kNoReserve,  ///< it cannot be built: `error`, or (kNoSpace) before `wanted` bytes are free
  };
  Kind kind{};
  std::uint64_t free = 0;
  std::uint64_t wanted = 0;
  Error error{};
};

class DiskSpace {
 public:
  using Changed = std::move_only_function<void(const DiskSpaceChange&)>;

  DiskSpace(Disk& disk, const Clock& clock, DiskSpaceOptions options)
      : disk_(disk), clock_(clock), options_(std::move(options)) {}

  void on_changed(Changed callback) { changed_ = std::move(callback); }

  /// Looks at the disk, at most once a second, and builds the reserve where it is missing. Blocks
  /// shortly.
  void look();
  /// When look() wants to be called without traffic, if at all.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const;

  /// Whether nothing may grow that need not.
  [[nodiscard]] bool low() const { return low_; }
  /// Whether the reserve was given and does not stand again.
  [[nodiscard]] bool given() const { return given_; }
  /// A flush or checkpoint found no room. True: it has the reserve's now; false: there is none.
  bool give();
  /// The reserve shall be so large, if that is more than before.
  void want(std::uint64_t bytes);

  /// Bytes that were free at the last look; 0 before.
  [[nodiscard]] std::uint64_t free() const { return free_; }
  /// Bytes of the reserve; 0: it does not stand.
  [[nodiscard]] std::uint64_t reserve() const { return size_; }

 private:
  [[nodiscard]] std::uint64_t enough() const {
    return options_.watermark + options_.watermark / 4 + (given_ ? options_.reserve : 0);
  }
  void find();
  void build();
  Result<std::uint64_t> allocate(OpenMode mode, std::uint64_t size);
  void tell(DiskSpaceChange::Kind kind, std::uint64_t wanted, const Error& error = {});

  Disk& disk_;
  const Clock& clock_;
  DiskSpaceOptions options_;
  Changed changed_;
  std::optional<MonotonicTime> looked_;
  std::uint64_t free_ = 0;
  std::uint64_t size_ = 0;
  bool low_ = false;
  bool given_ = false;
  bool impossible_ = false;  ///< the file system has no such call
  bool told_ = false;        ///< that there is no reserve; until it stands
};

}  // namespace waybill

// SimDisk: a Disk in memory that remembers what a power cut may take away. Every crash of the
// storage code and of the whole core is reproduced with it, from a seed or by enumeration.
//
// What survives a crash:
//  - A durable write: from its completion on. While it is in flight, any subset of its 512-byte
//    sectors may have reached the medium. One that is queued but not submitted has reached nothing.
//  - A buffered write: from the completion of a sync that was submitted after the write completed.
//    Until then, any subset of its sectors.
//  - A failed write, the rest of a short write, and what a failed sync covered: any subset, for
//    ever; a later sync does not repair it (the kernel drops the dirty mark, "fsyncgate"). Only
//    writing the sectors again does.
//  - Creating, renaming, removing a file: from a sync_directory of the (new) parent on that was
//    submitted after it. Until then each is kept or lost by itself, atomically; one that builds on
//    a lost one is lost too.
//    An asynchronous removal has done so once it is submitted.
//  - create_directory: the same. With a directory all that is in it is lost.
//  - make_directory, allocate: at once.
// crash() picks among all that by a CrashPlan and returns the image a restart would find. It does
// not disturb the disk, so one run yields thousands of crash images.
//
//   SimDisk disk(SimDiskImage{}, {.seed = 7});
//   disk.crash_after(n);                          // cut the power at the n-th call from now
//   ... run the code under test until it fails with kClosed ...
//   SimDisk after(disk.crash(keep_random(seed)), {});
//
// Deterministic: same image, options and calls, same results. Directories cannot be renamed.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/random.h"
#include "storage/io/disk.h"
#include "storage/io/sim_content.h"

namespace waybill {

/// What a medium holds while the power is off. A value: copies are cheap and independent.
struct SimDiskImage {
  std::map<std::string, SimContent, std::less<>> files;  ///< by path
  std::set<std::string, std::less<>> directories;        ///< without the root

  /// Bit rot. Requires the file to exist and to be longer than `position`.
  void flip_bit(std::string_view path, std::uint64_t position, unsigned bit = 0);
};

/// One thing that a crash now may keep or lose by itself.
struct UnsyncedPart {
  enum class Kind : std::uint8_t { kSector, kCreate, kRename, kRemove, kCreateDirectory };
  Kind kind;
  std::size_t index;       ///< among all parts, in the order crash() asks for them
  std::size_t write;       ///< kSector: which write, counted over all unsynced ones
  std::size_t sector;      ///< kSector: which sector of that write, from 0
  bool in_flight;          ///< kSector: its write has not completed
  std::uint64_t position;  ///< kSector: in the file
  std::string path;
};

/// Whether that part has reached the medium. Asked once for each part, in order; a plan serves one
/// crash (a random one moves on).
using CrashPlan = std::function<bool(const UnsyncedPart&)>;
CrashPlan keep_none();
CrashPlan keep_all();
CrashPlan keep_only(std::size_t index);
CrashPlan keep_all_but(std::size_t index);
/// Each part with probability `percent`.
CrashPlan keep_random(std::uint64_t seed, unsigned percent = 50);
/// The first `sectors` sectors of one write, everything before it, nothing of later writes, and
/// every change of directories.
CrashPlan keep_torn(std::size_t write, std::size_t sectors);

/// How reap() finishes what is in flight.
enum class SimOrder : std::uint8_t {
  kFifo,    ///< all, in the order of submission
  kRandom,  ///< some (perhaps none; wait() at least one), in random order
  kByHand,  ///< what complete() chose; wait() takes the oldest when nothing is chosen
};

struct SimDiskOptions {
  std::uint64_t seed = 1;
  SimOrder order = SimOrder::kFifo;
  /// Bytes of all files that have a name or are open; growing beyond fails with kNoSpace.
  std::uint64_t capacity = std::numeric_limits<std::uint64_t>::max();
};

/// An asynchronous operation in flight, for SimOrder::kByHand.
struct SimOperation {
  enum class Kind : std::uint8_t { kWrite, kRead, kSync, kSyncDirectory, kRemove };
  std::uint64_t id;
  Kind kind;
  std::string path;
  std::uint64_t position;
  std::size_t size;
};

class SimDisk final : public Disk {
 public:
  static constexpr std::size_t kSector = 512;

  explicit SimDisk(SimDiskImage image = {}, SimDiskOptions options = {});
  ~SimDisk() override;

  // --- crashes ---

  /// What a restart finds if the power fails now.
  [[nodiscard]] SimDiskImage crash(const CrashPlan& keep) const;
  /// Everything that a crash now may keep or lose, in the order crash() asks for it.
  [[nodiscard]] std::vector<UnsyncedPart> unsynced() const;
  /// Disk calls made so far: every call that may touch the medium (not size,
  /// free_space, close, submit, reap).
  [[nodiscard]] std::uint64_t operations() const { return operations_; }
  /// `count` further calls work; the next one is cut in the middle (it fails, and any part of it
  /// may have reached the medium); from then on everything fails with kClosed, also what is in
  /// flight, and nothing reaches the medium any more.
  void crash_after(std::uint64_t count) { cut_at_ = operations_ + count; }
  [[nodiscard]] bool crashed() const { return crashed_; }

  // --- faults ---

  /// `count` further calls work, the next fails with kIo or kNoSpace. Several may be planned.
  void fail_after(std::uint64_t count, Errc code);
  /// As above, but the call, if it is a write, does only `size` bytes and says so.
  void short_write_after(std::uint64_t count, std::size_t size);
  void set_capacity(std::uint64_t bytes) { options_.capacity = bytes; }
  /// Bit rot in what is readable now and in what survives. As SimDiskImage::flip_bit.
  void flip_bit(std::string_view path, std::uint64_t position, unsigned bit = 0);

  // --- order of completion ---

  void set_order(SimOrder order) { options_.order = order; }
  [[nodiscard]] std::vector<SimOperation> in_flight() const;
  /// The next reap() finishes this operation. Requires kByHand, and the operation in flight.
  void complete(std::uint64_t id);

  // --- Disk ---

  void write(FileHandle file, std::uint64_t position, Bytes data, Durability durability,
             Completion completion) override;
  void read(FileHandle file, std::uint64_t position, MutableBytes buffer,
            Completion completion) override;
  void sync(FileHandle file, Completion completion) override;
  void sync_directory(std::string_view path, Completion completion) override;
  void remove(std::string_view path, Completion completion) override;
  void submit() override;
  std::size_t reap() override;
  [[nodiscard]] std::size_t pending() const override;
  std::size_t wait() override;
  [[nodiscard]] int completion_fd() const override { return -1; }

  Result<FileHandle> open(std::string_view path, OpenMode mode) override;
  void close(FileHandle file) override;
  Result<std::uint64_t> size(FileHandle file) override;
  Result<std::size_t> read_now(FileHandle file, std::uint64_t position,
                               MutableBytes buffer) override;
  Result<void> write_now(FileHandle file, std::uint64_t position, Bytes data) override;
  Result<void> allocate(FileHandle file, std::uint64_t size) override;
  Result<std::uint64_t> free_space() override;
  Result<void> sync_now(FileHandle file) override;
  Result<void> sync_directory(std::string_view path) override;
  Result<void> rename(std::string_view from, std::string_view to) override;
  Result<void> remove(std::string_view path) override;
  Result<void> create_directory(std::string_view path) override;
  Result<void> make_directory(std::string_view path) override;
  Result<std::vector<std::string>> list(std::string_view path) override;
  [[nodiscard]] std::string describe() const override;

 private:
  struct File;
  struct UnsyncedWrite;
  struct DirectoryChange;
  struct Operation;
  struct Fault;
  struct Turn;
  using FilePointer = std::shared_ptr<File>;
  using Names = std::map<std::string, FilePointer, std::less<>>;

  struct Handle {
    FilePointer file;
    bool writable = false;
  };

  Turn begin();
  Handle& handle(FileHandle file);
  void enqueue(Operation operation, FileHandle file, Completion completion);
  std::size_t finish(std::vector<std::uint64_t> ids);
  Result<std::size_t> apply(Operation& operation);
  Result<std::size_t> apply_write(Operation& operation);
  std::uint64_t put_in_flight(File& file, std::uint64_t position, Bytes data);
  void settle_write(File& file, std::uint64_t id, std::size_t done, bool durable);
  static void settle_sync(File& file, std::uint64_t submitted, bool ok);
  static void supersede(File& file, std::uint64_t before, std::uint64_t position,
                        std::uint64_t size);
  [[nodiscard]] bool fits(const File& file, std::uint64_t end) const;
  [[nodiscard]] std::uint64_t used() const;
  [[nodiscard]] bool directory_exists(std::string_view path) const;
  Result<void> change_names(DirectoryChange change, const Turn& turn);
  Result<void> remove_file(std::string_view path, const Turn& turn);
  void begin_removal(Operation& operation);
  Result<void> settle_directory(std::string_view path, std::uint64_t submitted);
  static bool apply_change(Names& names, const DirectoryChange& change);
  static UnsyncedPart part_of(UnsyncedPart::Kind kind, std::size_t index, const std::string& path);
  void each_unsynced_sector(
      const std::function<void(const File&, const UnsyncedWrite&, UnsyncedPart&)>& visit) const;

  SimDiskOptions options_;
  SeededRandom random_;
  std::uint64_t operations_ = 0;
  std::uint64_t cut_at_ = std::numeric_limits<std::uint64_t>::max();
  bool crashed_ = false;
  bool reaping_ = false;
  std::map<std::uint64_t, Fault> faults_;  ///< by operation number
  std::uint64_t next_id_ = 1;              ///< of operations and unsynced writes, in order of time

  std::map<std::uint64_t, FilePointer> files_;  ///< every file that any name or handle refers to
  Names names_;                                 ///< as a program sees them
  Names durable_names_;                         ///< as they would be if every change were lost
  std::vector<DirectoryChange> changes_;        ///< from durable_names_ to names_
  std::set<std::string, std::less<>> directories_;
  /// Of them those whose entry is not durable, and when they were created.
  std::map<std::string, std::uint64_t, std::less<>> unsynced_directories_;
  std::map<std::int32_t, Handle> handles_;
  std::int32_t next_handle_ = 0;

  std::deque<Operation> queued_;
  std::map<std::uint64_t, Operation> in_flight_;  ///< by id, which is the order of submission
  std::vector<std::uint64_t> chosen_;
};

}  // namespace waybill

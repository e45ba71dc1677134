// Disk: the one seam between the broker and storage devices. Everything that survives a crash goes
// through these calls, so a simulated disk can reproduce every crash (SimDisk), and an engine can
// be chosen to fit the machine (UringDisk, PoolDisk).
//
// A Disk is rooted at a data directory; paths are relative to it, with '/' between parts. It
// belongs to one thread; several shards of that thread share it.
//
// Two kinds of calls:
//  - asynchronous reads, writes and syncs for traffic. They are queued by the call, handed over by
//    submit(), and finished by reap(), which runs their completions. A completion never runs inside
//    the call that queued it nor inside submit() (S14). Operations are not ordered among each
//    other.
//  - blocking calls for start-up, file changes, recovery and tools.
//
// Buffers belong to the operation until its completion has run: whoever queues one keeps its memory
// alive, usually by capturing the owner in the completion. Nothing can be cancelled.
//
// A completion carries the number of bytes done; it may be fewer than asked for (a short write).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/ids.h"
#include "protocol/base/result.h"

namespace waybill {

using FileHandle = StrongId<struct FileHandleTag, std::int32_t>;

enum class OpenMode : std::uint8_t {
  kRead,       ///< must exist
  kReadWrite,  ///< must exist
  kCreate,     ///< must not exist; empty afterwards. The directory entry is not yet durable
};

enum class Durability : std::uint8_t {
  kBuffered,  ///< in the device or a cache; a sync makes it durable
  kDurable,   ///< on stable storage when the completion says so (O_DSYNC semantics)
};

class Disk {
 public:
  using Completion = std::move_only_function<void(Result<std::size_t>)>;

  virtual ~Disk() = default;  ///< waits for what is in flight; its completions do not run

  // --- asynchronous ---

  /// Requires data, position and size to be multiples of 4096 (O_DIRECT).
  virtual void write(FileHandle file, std::uint64_t position, Bytes data, Durability durability,
                     Completion completion) = 0;
  /// Requires buffer, position and size to be multiples of 4096. Reading past the end gives fewer
  /// bytes.
  virtual void read(FileHandle file, std::uint64_t position, MutableBytes buffer,
                    Completion completion) = 0;
  /// Makes every completed buffered write of the file durable (fdatasync).
  virtual void sync(FileHandle file, Completion completion) = 0;
  /// Makes durable what was created in the directory, renamed into it and removed from it.
  virtual void sync_directory(std::string_view path, Completion completion) = 0;
  /// Removes a file, never a directory. Its name goes first; of a large file the room follows
  /// piece by piece, so that others are served in between. Whoever has it open finds holes in it.
  virtual void remove(std::string_view path, Completion completion) = 0;
  /// Hands everything queued to the engine: once per loop turn.
  virtual void submit() = 0;
  /// Runs the completions of what has finished and says how many. Never blocks.
  virtual std::size_t reap() = 0;
  /// Operations queued or in flight.
  [[nodiscard]] virtual std::size_t pending() const = 0;
  /// Blocks until something has finished, then reaps. Requires pending() > 0.
  virtual std::size_t wait() = 0;
  /// Becomes readable when reap() has work; -1 for a simulated disk. The owner reads it empty, and
  /// then reaps (the other way round, a wake-up between the two would be lost).
  [[nodiscard]] virtual int completion_fd() const = 0;

  // --- blocking ---

  virtual Result<FileHandle> open(std::string_view path, OpenMode mode) = 0;
  virtual void close(FileHandle file) = 0;
  virtual Result<std::uint64_t> size(FileHandle file) = 0;
  /// Fills the buffer or stops at the end of the file; any alignment.
  virtual Result<std::size_t> read_now(FileHandle file, std::uint64_t position,
                                       MutableBytes buffer) = 0;
  /// Writes all of `data`, durably; any alignment.
  virtual Result<void> write_now(FileHandle file, std::uint64_t position, Bytes data) = 0;
  /// Makes the file at least so long, with room that is its own from now on; new bytes are zeros.
  /// kNoSpace: a part may be taken, until the file goes. kIo with EOPNOTSUPP: the file system has
  /// no such call.
  virtual Result<void> allocate(FileHandle file, std::uint64_t size) = 0;
  /// Bytes that may still be written to the file system of the data directory.
  virtual Result<std::uint64_t> free_space() = 0;
  /// fdatasync; for what an earlier, killed process may have left in flight (S6).
  virtual Result<void> sync_now(FileHandle file) = 0;
  virtual Result<void> sync_directory(std::string_view path) = 0;
  virtual Result<void> rename(std::string_view from, std::string_view to) = 0;
  /// A file, or an empty directory. Whoever has the file open may go on with it.
  virtual Result<void> remove(std::string_view path) = 0;
  /// Succeeds if the directory exists already. It is durable, and so is what is in it, once the
  /// parent was synced (sync_directory); until then all of that may go.
  virtual Result<void> create_directory(std::string_view path) = 0;
  /// The same, durable afterwards.
  virtual Result<void> make_directory(std::string_view path) = 0;
  /// Names (not paths) of the entries, sorted; kNotFound if there is no such directory.
  virtual Result<std::vector<std::string>> list(std::string_view path) = 0;

  /// One line for the start-up log: engine, sync method, direct or buffered.
  [[nodiscard]] virtual std::string describe() const = 0;
};

}  // namespace waybill

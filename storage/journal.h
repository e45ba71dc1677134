// Journal: a shard's write-ahead log. Everything durable of a shard is an entry in here; the rest
// is folded from it. Rules S1-S10 bind; FORMAT.md has the bytes.
//
// What is true when:
//  - stage() returns: the entries have their place in the current frame and their entry_seq.
//  Nothing
//    is durable; nobody outside the shard may learn of them.
//  - pump() returns: frames that may be written are queued and submitted; no completion has run.
//  - durable() == s: every entry up to s is on stable storage, in a frame that recovery will
//  accept,
//    and so will every later recovery.
//  - poisoned(): a write failed. Nothing staged after durable() will ever become durable here; what
//    was in flight has an unknown outcome. There is no way back but to reopen (recovery).
//
// Belongs to the shard's thread. No call blocks on the device except open() and taking a new file
// into use (once per 64 MiB).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "protocol/base/clock.h"
#include "protocol/base/limits.h"
#include "protocol/base/random.h"
#include "protocol/base/shared_bytes.h"
#include "storage/entry.h"
#include "storage/io/disk.h"

namespace waybill {

/// Where bytes lie in the journal's files.
struct JournalPlace {
  std::uint64_t file_number = 0;
  std::uint64_t position = 0;
  std::uint32_t size = 0;
  friend bool operator==(const JournalPlace&, const JournalPlace&) = default;
};

/// The memory of one frame: built, written, then shared with tail reads until nobody needs it
/// (S15). 4096-aligned. Its bytes do not move once it is sealed, that is, once any entry in it is
/// durable.
class JournalFrame {
 public:
  virtual ~JournalFrame() = default;
  [[nodiscard]] virtual Bytes bytes() const = 0;
  /// Requires sealed: where the frame's first byte lies.
  [[nodiscard]] virtual JournalPlace place() const = 0;
};

/// The body of one staged or replayed entry, wherever its frame's memory is.
struct StagedEntry {
  EntrySeq seq;
  std::shared_ptr<const JournalFrame> frame;
  std::uint32_t body_offset = 0;  ///< within the frame
  std::uint32_t body_size = 0;
};

/// One entry to be written. The body is given in two runs so that a batch need not be copied twice.
struct EntryDraft {
  EntryType type{};
  std::uint8_t version = 1;
  Bytes head;  ///< the first part of the body
  Bytes tail;  ///< the rest of it
};

/// Where a checkpoint lets replay begin (S19). Without one: the beginning.
struct JournalBase {
  std::uint64_t file_number = 1;  ///< files before it are worthless, and recovery removes them
  EntrySeq replay_from{1};        ///< the first entry that is needed; in that file or later
  EntrySeq applied;               ///< the journal must have entries up to this one
};

struct JournalOptions {
  std::string directory;  ///< relative to the Disk: "shard-0/journal"
  ShardIndex shard;
  std::size_t file_size = limits::kJournalFile;  ///< multiple of 4096, at least 64 KiB
  std::size_t frame_target = limits::kFrameTarget;
  std::size_t max_frames_in_flight = limits::kMaxFramesInFlight;
  std::size_t max_staged_bytes = limits::kMaxStagedBytes;
  /// Journal room that only settlements and dead letters may use when the disk is full (S21).
  std::size_t reserve = limits::kJournalFile / 4;
  Duration idle_mark = std::chrono::milliseconds(10);  ///< S5
  JournalBase base;
  /// Files beyond this many bytes: what is not essential waits until some are released.
  std::uint64_t max_bytes = UINT64_MAX;
};

/// What recovery found, for the start-up log.
struct RecoveryReport {
  std::uint64_t files = 0;
  std::uint64_t frames = 0;
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  std::uint64_t torn_frames = 0;  ///< discarded: written, never acknowledged
  std::uint64_t torn_at_file = 0;
  std::uint64_t torn_at_position = 0;
  std::uint32_t start_number = 0;  ///< of this run, from 1
  /// Files in the directory that are not the journal's: moved into its "quarantine" (S10).
  std::vector<std::string> moved_aside;
  std::uint64_t checkpoint = 0;  ///< number of the one that was loaded; 0: none
  std::string passed_over;       ///< newer ones that are damaged, each with what is wrong
};

/// Why a change may not be staged now.
enum class Admission : std::uint8_t {
  kAdmitted,
  kStagedFull,  ///< too much is staged or not released: come back later
  kDiskFull,    ///< no room in the journal for this kind of change
};

class Journal {
 public:
  /// Called for every entry in order during recover(). The frame is shared: keep it to keep the
  /// body. An error stops recovery and is returned by recover().
  using Replay = std::move_only_function<Result<void>(const EntryView&, const StagedEntry&)>;

  /// Recovers the directory (creates it when missing) and replays it; start() must follow.
  /// kDamaged if acknowledged data is damaged; `explanation` then names file, position and frames.
  static Result<std::unique_ptr<Journal>> recover(Disk& disk, const Clock& clock, Random& random,
                                                  JournalOptions options, Replay replay,
                                                  std::string* explanation);
  virtual ~Journal() = default;

  /// Takes a new file into use and writes the start frame durably; what recovery found torn stays
  /// discarded from then on (S7). Once, before anything is staged. Apart from recover(), so that a
  /// broker that cannot run for another reason leaves no file behind at each try.
  virtual Result<void> start(std::string* explanation) = 0;

  [[nodiscard]] virtual const RecoveryReport& report() const = 0;
  /// The number of this run; part of every lease token (D4).
  [[nodiscard]] virtual std::uint32_t start_number() const = 0;

  /// Whether a change of `bytes` may be staged. `essential` changes (settlements, dead letters) may
  /// use the reserve. Never refuses an essential change for staged bytes.
  [[nodiscard]] virtual Admission admit(std::size_t bytes, bool essential) const = 0;
  /// Stages the entries as one change: they become durable together (S3). Requires !poisoned() and
  /// at most kMaxBatch + 64 KiB in all. The result is in the order of the drafts.
  virtual std::vector<StagedEntry> stage(std::span<const EntryDraft> change) = 0;
  /// Writes what may be written now: call once per loop turn, after staging.
  virtual void pump() = 0;

  [[nodiscard]] virtual EntrySeq staged() const = 0;
  [[nodiscard]] virtual EntrySeq durable() const = 0;
  [[nodiscard]] virtual bool poisoned() const = 0;
  /// Why it is poisoned. Requires poisoned().
  [[nodiscard]] virtual Error poison() const = 0;
  /// Called from Disk::reap() whenever durable() rose, the journal was poisoned, or admit() may say
  /// more than before; from pump() only if taking a new file into use poisoned it.
  virtual void on_progress(std::move_only_function<void()> callback) = 0;

  /// When pump() wants to be called again without traffic (idle mark, spare file), if at all.
  /// Disk::reap() changes it without on_progress(): a frame may have waited for an idle mark.
  [[nodiscard]] virtual std::optional<MonotonicTime> deadline() const = 0;

  /// Reads bytes back by place, for batches that left memory. Fewer bytes than asked is kDamaged.
  virtual void read(JournalPlace place,
                    std::move_only_function<void(Result<SharedBytes>)> done) = 0;

  /// Writes everything staged and an idle mark, and waits for it. Blocking; for a clean stop.
  virtual Result<void> close() = 0;

  /// Bytes of all journal files, and what is left before the next file.
  [[nodiscard]] virtual std::uint64_t bytes_on_disk() const = 0;
  /// "shard-0/journal/000000000007.wbj"
  [[nodiscard]] virtual std::string path_of(std::uint64_t file_number) const = 0;
  /// The number of the file that is written to.
  [[nodiscard]] virtual std::uint64_t current_file() const = 0;
  /// The file that holds an entry. Requires that it is durable and in no file that was released.
  [[nodiscard]] virtual std::uint64_t file_of(EntrySeq seq) const = 0;
  /// Files before this one are not needed any more, and nobody reads from them: some become spares,
  /// the rest are removed. Blocks shortly.
  virtual void release_before(std::uint64_t file_number) = 0;
  /// False: no new files are filled until it is said otherwise, as when the room that is left is
  /// another's (S21). Those that are there or come back are used.
  virtual void may_fill_files(bool may) = 0;
  /// Whether there is no room for the next file, and one that is released would be it.
  [[nodiscard]] virtual bool wants_release() const = 0;
};

}  // namespace waybill

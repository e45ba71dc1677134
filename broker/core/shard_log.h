// ShardLog: what the parts of a shard write through and wait on - the journal, the streams in it,
// and the gate between "staged" and "told" (S12).
//
// A part stages entries, applies them to its state at once, and hands whatever it wants to say to
// when_durable(): that runs after everything staged in the same loop turn or before is durable.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "broker/core/shard_runtime.h"
#include "storage/disk_space.h"
#include "storage/journal.h"
#include "storage/segment_files.h"
#include "storage/stream.h"

namespace waybill {

/// What a stream's index keeps of a batch (the journal keeps its bytes).
struct AppendedBatch {
  Offset base;
  std::uint32_t count = 0;
  WallTime max_timestamp;
  std::size_t batch_offset = 0;  ///< where it begins in the entry's body
  bool timed = false;            ///< a record of it has a not-before or an expiry time
};

class ShardLog {
 public:
  /// Told whether what was waited for became durable; false: the journal failed before (the outcome
  /// is unknown).
  using Waiter = std::move_only_function<void(bool durable)>;

  ShardLog(ShardEnvironment environment, ShardOptions options);
  /// Waits for its own operations in flight; nobody is told of them.
  ~ShardLog();

  /// Recovers the journal from the base on; `replay` gets every entry. Then finds the segments of
  /// the streams that are left. Blocking.
  Result<void> open(const JournalBase& base, Journal::Replay replay, RecoveryReport* report,
                    std::string* explanation);

  [[nodiscard]] const ShardOptions& options() const { return options_; }
  [[nodiscard]] const Clock& clock() const { return environment_.clock; }
  [[nodiscard]] Random& random() { return environment_.random; }
  [[nodiscard]] Mailbox& mailbox() { return environment_.mailbox; }
  [[nodiscard]] Journal& journal() { return *journal_; }
  [[nodiscard]] const Journal& journal() const { return *journal_; }
  [[nodiscard]] Disk& disk() { return environment_.disk; }
  [[nodiscard]] Flusher& flusher() { return flusher_; }
  [[nodiscard]] SegmentFiles& segments() { return segments_; }
  [[nodiscard]] DiskSpace& space() { return space_; }

  // --- writing ---

  [[nodiscard]] Admission admit(std::size_t bytes, bool essential) const {
    if (journal_->poisoned()) return Admission::kStagedFull;  // nothing can become durable any more
    if (!essential && space_.low()) return Admission::kDiskFull;
    return journal_->admit(bytes, essential);
  }
  StagedEntry stage(EntryType type, Bytes head, Bytes tail = {});
  std::vector<StagedEntry> stage(std::span<const EntryDraft> change) {
    return journal_->stage(change);
  }
  void when_durable(Waiter waiter) { turn_waiters_.push_back(std::move(waiter)); }
  /// Whether somebody waits for the end of a turn.
  [[nodiscard]] bool wants_turn() const { return !turn_waiters_.empty(); }

  // --- streams ---

  /// Requires that there is none with this id.
  Stream& create_stream(StreamId id);
  void drop_stream(StreamId id);
  /// As Stream::trim(); the files of the segments that go are removed when everything staged so far
  /// is durable.
  void trim(Stream& stream, Offset start);
  /// As Stream::replace(): false, and nothing happens, if there are no such segments any more. The
  /// files of those that are replaced stay until a checkpoint names the new ones.
  bool replace(Stream& stream, std::vector<StreamSegment> with);
  /// Files that a checkpoint begun now does not name any more: a number for remove_replaced().
  [[nodiscard]] std::uint64_t replaced() const { return replaced_before_ + replaced_.size(); }
  /// Whether they are worth a checkpoint of their own, of so many bytes.
  [[nodiscard]] bool wants_checkpoint(std::uint64_t checkpoint_size) const;
  /// Such a checkpoint is durable: those files go.
  void remove_replaced(std::uint64_t until);
  [[nodiscard]] Stream* find_stream(StreamId id);
  [[nodiscard]] const Stream* find_stream(StreamId id) const;
  /// Rises whenever a stream comes or goes, or something changes in all of them at once: whoever
  /// goes through them bit by bit then has to begin anew.
  [[nodiscard]] std::uint64_t structure() const { return structure_; }
  void change_structure() { ++structure_; }
  /// All of them, by id.
  [[nodiscard]] std::vector<const Stream*> streams() const;
  /// Indexes a batch that was just staged or replayed as (part of) the entry's body.
  void append(Stream& stream, const AppendedBatch& batch, const StagedEntry& entry);
  /// Stages what the stream has in no segment once more, so that the journal may forget where it
  /// was (S18). False, and nothing happens: it has to be flushed.
  bool carry(Stream& stream);
  /// Bytes that were, since the start.
  [[nodiscard]] std::uint64_t carried_bytes() const { return carried_bytes_; }
  /// As read_batches() in storage/stream.h.
  void read(const Stream& stream, Offset from, Offset end, BatchesRead done);
  /// The error of a read that just failed, in words: damage by file, position and offsets.
  [[nodiscard]] RequestError explain(const Error& error) const {
    if (error == Errc::kDamaged) return {error.code, segments_.damage()};
    return {error};
  }
  /// Called when more of a stream became visible.
  void on_revealed(std::move_only_function<void(Stream&)> callback) {
    revealed_ = std::move(callback);
  }

  // --- the loop ---

  /// Called when a disk completion touched the shard, so that its driver ends a turn soon.
  void on_touched(std::move_only_function<void()> callback) { touched_ = std::move(callback); }
  /// A disk completion touched the shard.
  void touch() {
    if (touched_) touched_();
  }
  /// Begins a turn: looks what room the disk has, now and then.
  void begin_turn();
  /// A flush or checkpoint found no room: it has the reserve's from now on. False: there is none.
  bool give_reserve();
  /// When a turn is wanted without traffic, if at all.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const;
  /// Moves what is durable into segments, as far as it goes now.
  void flush() {
    if (!journal_->poisoned()) flusher_.step(*journal_);
  }
  /// Ends a turn: what was staged is written, and answers wait for it.
  void end_turn();
  /// The journal's durable prefix rose, or it failed: shows what is durable and runs who waited.
  void progress();

 private:
  struct Waiting {
    EntrySeq seq;
    Waiter waiter;
  };
  /// A file that the newest checkpoint names, and the stream does not.
  struct Replaced {
    SegmentId segment;
    std::uint64_t size = 0;
    MonotonicTime since;
  };
  struct Unrevealed {
    EntrySeq seq;
    StreamId stream;
  };

  void run_waiters();
  Result<void> open_segments(RecoveryReport* report, std::string* explanation);
  Result<void> open_segments(const Stream& stream, std::string* explanation);
  Result<void> move_aside(StreamId stream, const std::string& name, RecoveryReport* report);

  ShardEnvironment environment_;
  ShardOptions options_;
  std::unordered_map<StreamId, std::unique_ptr<Stream>> streams_;
  std::uint64_t structure_ = 0;
  TailCache cache_;
  SegmentFiles segments_;
  Flusher flusher_;
  DiskSpace space_;
  std::vector<StreamId> dropped_;  ///< while the journal is replayed
  std::uint64_t carried_bytes_ = 0;
  std::deque<Replaced> replaced_;
  std::uint64_t replaced_before_ = 0;  ///< that are removed
  std::uint64_t replaced_bytes_ = 0;
  std::deque<Unrevealed> unrevealed_;
  std::vector<Waiter> turn_waiters_;
  std::deque<Waiting> waiting_;  ///< by seq
  std::move_only_function<void(Stream&)> revealed_;
  std::move_only_function<void()> touched_;
  std::unique_ptr<Journal> journal_;  ///< last: its frames outlive nothing above
};

}  // namespace waybill

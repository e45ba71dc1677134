// SegmentWriter: fills one segment file with whole batches (S17), in large aligned writes behind
// the journal. What is in a segment is in the journal too until it is durable here.
//
// What is true when:
//  - append() returns: the batch is copied into the buffer and counts in end(). Nothing is written.
//  - flush() returns: everything appended is in a write, queued or held back for a sync. The file
//    will end at a block's end.
//  - durable_end() == o: every record below o is on stable storage, in intact blocks below
//    durable_position(), in a file whose name is durable too. Only then may the journal forget it.
//  - sealed(): the footer is durable; the file never changes again.
//  - stalled(): a write failed, usually for want of space (S21). Nothing is lost: its memory is
//    kept, and retry() writes it again, whole.
//  - broken(): a sync failed. The kernel may have dropped what it covered, and would not say so
//    twice; what durable_end() says still holds. The owner deletes the file, or keeps it up to
//    durable_end(), and writes the rest into another one.
//
// Completions queue further operations: whoever reaps must submit. Belongs to the shard's thread.
// The owner keeps it alive until pending() is 0. create() blocks shortly, and until the directory's
// parents are durable unless they are known to be.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/aligned_memory.h"
#include "storage/journal_file.h"
#include "storage/segment_format.h"

namespace waybill {

/// A batch about to be flushed.
struct SegmentBatch {
  Offset base;
  Offset end;  ///< one after the last record; gaps are allowed (S23)
  std::uint32_t record_count = 0;
  WallTime max_timestamp;  ///< over the records
  SegmentFacts facts = SegmentFacts::kNone;
  Bytes bytes;  ///< with its base offset stamped; at most limits::kMaxBatch
};

/// What is known of the directory where a segment is to be.
enum class DirectoryState : std::uint8_t {
  kUnknown,        ///< it, and those above it, are made if they are missing, and synced
  kParentDurable,  ///< it is made if it is missing, and synced with the segment
  kDurable,        ///< it is there, and so is its entry in its parent
};

class SegmentWriter {
 public:
  /// Makes a file that must not exist yet, and `directory` if it is missing.
  static Result<std::unique_ptr<SegmentWriter>> create(
      Disk& disk, const std::string& directory, const SegmentId& id,
      DirectoryState state = DirectoryState::kUnknown);

  /// Takes the memory for so many bytes of batches at once, rather than as it turns out.
  void expect(std::size_t bytes);
  /// Requires batch.base >= end() (the offsets between belong to nobody any more) and that seal()
  /// was not called.
  void append(const SegmentBatch& batch);
  /// The offsets up to there have no record any more (S23): the last block reaches that far. The
  /// same of nothing but that, if nothing was appended. `facts` are that block's too. Requires
  /// end >= end() and no seal().
  void pass(Offset end, SegmentFacts facts);
  /// Bytes appended and not flushed, headers and padding included.
  [[nodiscard]] std::size_t buffered() const { return buffer_used_; }
  void flush();
  /// Makes durable what was flushed before.
  void sync();
  /// flush(), sync(), the footer, sync(). Requires end() > the segment's base.
  void seal();
  /// Requires stalled(). Writes again what failed.
  void retry();

  [[nodiscard]] const SegmentId& id() const { return id_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// One after the last record appended; before the first, the segment's base.
  [[nodiscard]] Offset end() const { return end_; }
  /// Bytes of what was flushed, written or not.
  [[nodiscard]] std::uint64_t position() const { return added_.position; }
  [[nodiscard]] Offset durable_end() const { return durable_.end; }
  [[nodiscard]] std::uint64_t durable_position() const { return durable_.position; }
  [[nodiscard]] bool sealed() const { return durable_.sealed; }
  [[nodiscard]] const std::optional<Error>& stalled() const { return stalled_; }
  [[nodiscard]] const std::optional<Error>& broken() const { return broken_; }
  /// What is in the blocks that were closed so far: after flush(), everything appended.
  [[nodiscard]] const SegmentFooter& contents() const { return footer_; }
  /// Operations whose completion has not run.
  [[nodiscard]] std::size_t pending() const { return in_flight_ + (syncing_ ? 1 : 0); }
  /// Called from completions, when anything above may have changed or wants to be submitted.
  void on_progress(std::move_only_function<void()> callback) { progress_ = std::move(callback); }

 private:
  /// How far something reaches.
  struct Mark {
    Offset end;
    std::uint64_t position = 0;
    bool sealed = false;
  };
  struct Write {
    AlignedMemory memory;
    std::size_t size = 0;
    std::uint64_t position = 0;
    Mark after;
    bool queued = false;
    bool repeated = false;  ///< after a short write
  };
  using WritePointer = std::list<Write>::iterator;

  SegmentWriter(Disk& disk, std::string path, const SegmentId& id, OpenFilePointer file,
                std::vector<std::string> unsynced);
  void open_block(WallTime max_timestamp);
  void close_block();
  void reserve(std::size_t size);
  void grow(std::size_t size);
  void add_footer();
  void add_write(AlignedMemory memory, std::size_t size, bool sealing);
  /// Whether the wanted sync is to cover it.
  [[nodiscard]] bool belongs_to_sync(const Write& write) const {
    return write.after.position <= sync_target_;
  }
  void go_on();
  void start_sync();
  void queue_write(WritePointer write);
  void on_written(WritePointer write, const Result<std::size_t>& done);
  void on_synced(const Mark& covered, const Result<std::size_t>& done);

  Disk& disk_;
  SegmentId id_;
  std::string path_;
  OpenFilePointer file_;
  std::move_only_function<void()> progress_;

  AlignedMemory buffer_;
  std::size_t buffer_used_ = 0;
  std::size_t block_at_ = 0;           ///< of the open block in the buffer
  std::optional<SegmentBlock> block_;  ///< the open one
  Offset end_;
  SegmentFooter footer_;  ///< of what was closed so far
  bool sealing_ = false;
  bool footer_added_ = false;

  std::list<Write> writes_;  ///< that are not done, in order
  Mark queued_;              ///< after the last write that was queued
  Mark added_;               ///< after the last of writes_
  Mark durable_;
  std::size_t in_flight_ = 0;
  bool sync_wanted_ = false;
  std::uint64_t sync_target_ = 0;  ///< position up to which it is wanted
  bool syncing_ = false;
  std::vector<std::string> unsynced_;  ///< directories without which the file has no durable name
  std::optional<Error> stalled_;
  std::optional<Error> broken_;
};

}  // namespace waybill

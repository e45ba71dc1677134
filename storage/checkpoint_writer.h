// CheckpointWriter: writes one checkpoint in slices while traffic goes on (S19).
//
// What is true when:
//  - add() returns: the object is copied; full pages are queued to be written. Nothing is durable,
//    and nobody finds the file under a checkpoint's name.
//  - finish() returns: the rest is queued. The owner calls it only when every entry up to
//    max_applied() is durable in the journal: otherwise the checkpoint would know of changes that a
//    crash takes back.
//  - done(): the checkpoint is whole and durable, and so is its name. Only now may its predecessor
//    and the journal files before journal_file go.
//  - failed(): an operation failed; there will be no checkpoint of this number. The predecessor is
//    as good as before. A full disk is the usual cause (S21).
//
// Completions queue further operations: whoever reaps must submit. Belongs to the shard's thread.
// The owner keeps it alive until pending() is 0, and then destroys it or calls abandon(). Creating,
// and the rename at the end, block shortly.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "storage/aligned_memory.h"
#include "storage/checkpoint_format.h"
#include "storage/journal_file.h"

namespace waybill {

/// A part of the state, as its owner serialised it.
struct CheckpointObject {
  std::uint16_t kind = 0;
  std::uint16_t version = 1;
  std::uint64_t id = 0;
  EntrySeq applied;
  Bytes body;  ///< at most kMaxCheckpointObject
};

/// What the owner knows at the end.
struct CheckpointEnd {
  EntrySeq replay_from;  ///< at most one more than the lowest applied; lower for unflushed tails
  std::uint64_t journal_file = 0;
  WallTime time;
};

class CheckpointWriter {
 public:
  /// `directory` ("shard-0") exists. What an earlier try at this number left is removed.
  static Result<std::unique_ptr<CheckpointWriter>> create(Disk& disk, const std::string& directory,
                                                          const CheckpointId& id);

  /// Requires that finish() was not called. Ignored after a failure.
  void add(const CheckpointObject& object);
  void finish(const CheckpointEnd& end);
  /// Removes the unfinished file. Requires !done() and pending() == 0.
  void abandon();

  /// The highest of all objects.
  [[nodiscard]] EntrySeq max_applied() const { return summary_.max_applied; }
  /// Bytes in memory that are not written yet: the owner pauses above a few pages.
  [[nodiscard]] std::size_t unwritten() const { return page_used_ + in_flight_bytes_; }
  /// Bytes of the file so far.
  [[nodiscard]] std::uint64_t size() const { return position_; }
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] const std::optional<Error>& failed() const { return failed_; }
  /// Operations whose completion has not run.
  [[nodiscard]] std::size_t pending() const { return pending_; }
  /// Called from completions, when anything above may have changed or wants to be submitted.
  void on_progress(std::move_only_function<void()> callback) { progress_ = std::move(callback); }

 private:
  CheckpointWriter(Disk& disk, std::string directory, const CheckpointId& id, OpenFilePointer file)
      : disk_(disk), directory_(std::move(directory)), id_(id), file_(std::move(file)) {}
  void put(Bytes bytes);
  void write_page(bool last);
  void on_written(std::size_t size, const Result<std::size_t>& result);
  void on_synced(const Result<std::size_t>& result);
  Result<void> name_it();

  Disk& disk_;
  std::string directory_;
  CheckpointId id_;
  OpenFilePointer file_;
  std::move_only_function<void()> progress_;
  CheckpointSummary summary_;
  AlignedMemory page_;
  std::size_t page_used_ = 0;  ///< 0: no page is begun
  std::uint64_t position_ = 0;
  std::size_t in_flight_bytes_ = 0;
  std::size_t pending_ = 0;
  bool finishing_ = false;
  bool done_ = false;
  std::optional<Error> failed_;
};

}  // namespace waybill

// JournalSpare: the next journal file, prepared off the hot path while the current one fills:
// created, zero-filled by buffered writes of 1 MiB one at a time, synced, and only then given the
// name that says it is finished.
//
//   kNone --start()--> kFilling --done--> kReady --taken()--> kNone
//                          |  no space: the part is removed
//                          +-----------> kDiskFull --start(), at most once a second--> kFilling
//
// A full disk is not a fault of the journal: what is in the current file still works (S21). Any
// other error is reported to the owner, who stops the journal.
// Belongs to the journal's thread. The owner keeps it alive until pending() is 0.
#pragma once

#include <functional>
#include <string>

#include "storage/journal_file.h"

namespace waybill {

class JournalSpare {
 public:
  enum class State : std::uint8_t { kNone, kFilling, kReady, kDiskFull };
  using Changed = std::move_only_function<void(Result<void>)>;

  /// `changed` is called from completions: when a write was queued that wants to be submitted, when
  /// the spare is ready, or the disk full, or with another error.
  JournalSpare(Disk& disk, std::string directory, std::uint64_t file_size, Changed changed);

  /// A finished file, which recovery found or the journal released. Requires kNone or kDiskFull.
  void adopt(std::uint64_t number);
  /// Begins to prepare number `number`. Requires kNone or kDiskFull. The first write is queued, not
  /// submitted; only creating the file blocks. A full disk is a state, not an error.
  Result<void> start(std::uint64_t number);
  /// Requires kReady: the owner has taken it into use.
  void taken();
  /// Stops filling, at the next completion, and removes the part. What is ready stays. May be
  /// started again then.
  void abandon() { abandoned_ = true; }

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] std::uint64_t number() const { return number_; }
  /// Operations whose completion has not run: 0 or 1.
  [[nodiscard]] std::size_t pending() const { return pending_; }

 private:
  void queue_next();
  void on_written(Result<std::size_t> result);
  void on_synced(Result<std::size_t> result);
  Result<void> give_up(Error error);

  Disk& disk_;
  std::string directory_;
  std::uint64_t file_size_;
  Changed changed_;
  State state_ = State::kNone;
  bool abandoned_ = false;
  std::uint64_t number_ = 0;
  std::uint64_t filled_ = 0;
  std::size_t pending_ = 0;
  OpenFilePointer file_;
};

}  // namespace waybill

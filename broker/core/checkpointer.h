// Checkpointer: writes a shard's checkpoints while traffic goes on, releases the journal files that
// they make worthless, and reads the newest one back at a start (S19).
//
//   idle ──enough journal──► carrying ──small tails staged again──► flushing
//    ▲                                                                  │
//    │                                                          others in segments
//    │                                                                  ▼
//    └── durable: journal files released ── writing ◄──all of it──── saving
//
// Small tails are carried forward in the journal, and flushed every fifth time: a copy of a few
// kilobytes costs the device less than a sync (S18).
//
// The state is saved in slices of a few kilobytes, one in each turn (Snapshot::Walk). What a slice
// knows must be durable before the file gets its name; what changes behind it is replayed from the
// journal, as is what was appended and not flushed. When topics or groups come or go meanwhile, it
// begins anew; if that goes on, it saves all at once. Until the new one is durable, its predecessor
// and all journal files stay; then both go. A failure (a full disk, S21) costs nothing but journal
// room: another try follows.
//
// Belongs to the shard's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/core/shard_log.h"
#include "broker/core/snapshot.h"
#include "storage/checkpoint_writer.h"

namespace waybill {

class Checkpointer {
 public:
  Checkpointer(const Shard& shard, ShardLog& log) : shard_(shard), log_(log) {}
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;
  /// Waits for its own operations in flight.
  ~Checkpointer();

  /// Loads the newest checkpoint into a shard that was just made, and says where replay begins.
  /// kDamaged: there are checkpoints, and none can be used; `explanation` names them. Blocking.
  Result<JournalBase> load(Shard& shard, RecoveryReport* report, std::string* explanation);

  /// Goes on if it can. At the end of a turn, when everything applied is staged.
  void turn();
  /// When turn() wants to be called without progress, if at all.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const;

 private:
  enum class State : std::uint8_t { kIdle, kCarrying, kFlushing, kSaving, kAborting, kWriting };

  [[nodiscard]] bool due() const;
  void begin();
  void carry();
  void flush();
  void begin_save();
  void save();
  void begin_anew();
  void finish();
  void keep_room_for(std::uint64_t size);
  void release();
  void fail(Error error);  ///< by value: it may be the writer's, which goes

  const Shard& shard_;
  ShardLog& log_;
  State state_ = State::kIdle;
  std::uint64_t next_number_ = 1;
  std::vector<std::string> older_;  ///< paths of checkpoints that a new one replaces
  std::uint64_t begun_in_ = 1;      ///< journal file in which the last one was begun
  std::uint64_t started_in_ = 0;    ///< journal file of this run's start frame, which is durable
  EntrySeq started_at_;             ///< the last entry before that
  std::uint64_t size_ = 0;          ///< of the last one
  EntrySeq flush_to_;
  std::vector<StreamId> small_;      ///< streams that may be carried
  std::vector<StreamId> unflushed_;  ///< streams that may have something up to flush_to_
  std::unique_ptr<CheckpointWriter> writer_;
  std::optional<Snapshot::Walk> walk_;
  std::uint64_t replaced_ = 0;   ///< files that it does not name any more, by ShardLog::replaced()
  std::uint64_t structure_ = 0;  ///< the log's, when the walk began
  int restarts_ = 0;             ///< of this checkpoint
  EntrySeq applied_;             ///< by the last one that is durable
  EntrySeq replay_from_;
  std::uint64_t journal_file_ = 0;  ///< the first that it needs
  bool finishing_ = false;
  std::optional<MonotonicTime> retry_at_;
};

}  // namespace waybill

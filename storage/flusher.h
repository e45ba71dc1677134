// Flusher: moves what is durable in the journal into segments, behind the journal, so that the
// journal can forget it (S15-S17). A step copies some batches of one stream from memory (or, if
// they were evicted, reads them back from the journal) into the stream's segment, writes them in
// one run and syncs them; then, and only then, their location is the segment. A crash in between
// costs nothing: only a checkpoint makes a segment count, as far as it says. A few steps are under
// way, of different streams, so that the device need not wait for us, nor a sync for the next copy;
// the further a stream is behind, the more one step takes. More large ones at a time would end
// sooner, and make publishers wait longer for the device meanwhile.
//
// A stream's segment stays open to grow until it has its size, or too many others are open that are
// worth a file; then it is sealed, in the background. Thousands of streams with little data have
// one file each that way, which has a block more each fifth checkpoint: the others carry their
// tails forward in the journal (S18, Checkpointer).
//
// A full disk stalls it (S21): nothing is lost, the journal only cannot forget. It asks its owner
// for room, and without tries again every second. A segment
// whose sync failed is left as it is, as far as it was durable, and the stream goes on in a new
// one. What cannot be read back from the journal is damage: its stream is flushed no more, and the
// others are. All of that is told to the owner (FlushTrouble).
//
// Belongs to the shard's thread. The owner keeps it alive until pending() is 0.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "protocol/base/clock.h"
#include "storage/segment_files.h"
#include "storage/segment_writer.h"
#include "storage/stream.h"

namespace waybill {

struct FlusherOptions {
  std::uint64_t segment_size = 64 * 1024 * 1024;  ///< sealed when they are this large
  /// What a stream gathers before it is flushed on its own: large enough for the device, small
  /// enough to be written beside the journal without being felt.
  std::uint64_t step = 1024 * 1024;
  /// Copied and synced at once if it has gathered more: a sync costs about as much as this.
  std::uint64_t max_step = 4 * 1024 * 1024;
  std::size_t max_steps = 2;  ///< under way at once; each has a copy of its bytes
  /// The same while they are less than `step` together: those under way share what a sync costs,
  /// since the file system writes its own journal once for all that wait for it.
  std::size_t max_small_steps = 16;
  /// Segments of `step` and more that may grow: their index is in memory and in each checkpoint.
  std::size_t max_open = 64;
  std::size_t max_files = 4096;  ///< segments that may grow; each costs a descriptor
};

/// Why something is not moved into segments.
struct FlushTrouble {
  Error error;
  std::string detail;  ///< of damage: file, position and offsets, for a person
};

class Flusher {
 public:
  using Troubled = std::move_only_function<void(const FlushTrouble&)>;

  Flusher(Disk& disk, const Clock& clock, SegmentFiles& files, FlusherOptions options)
      : disk_(disk), clock_(clock), files_(files), options_(options) {}

  /// Something wants step() to be called: a completion ran.
  void on_progress(std::move_only_function<void()> callback) { progress_ = std::move(callback); }

  /// Called when it begins to stall, and with each stream that is damaged.
  void on_trouble(Troubled callback) { troubled_ = std::move(callback); }

  /// Asked for room when the disk is full; true: there is some now.
  void on_no_room(std::move_only_function<bool()> callback) { no_room_ = std::move(callback); }

  /// The stream has a batch more: flushed soon, once there are enough.
  void appended(Stream& stream);
  /// Flushed soon, however little it is.
  void enqueue(Stream& stream);
  /// The stream is about to go; its files stay.
  void forget(const Stream& stream);
  /// Nobody needs the files of this stream any more, and that is durable: removes them, one after
  /// the other.
  void remove(StreamId stream) { removals_.push_back({stream, std::nullopt}); }
  /// The same of one segment.
  void remove(const SegmentId& segment) { removals_.push_back({segment.stream, segment}); }
  /// Whether a stream still has files. Segments of one that stays are found by the next start.
  [[nodiscard]] bool removing_streams() const;

  /// Whether the segment may still be written to.
  [[nodiscard]] bool grows(const SegmentId& segment) const;
  /// Bytes of the batches in the stream's segment that grows; 0 if there is none.
  [[nodiscard]] std::uint64_t growing(const Stream& stream) const;
  /// Ends that segment, and flushes soon what is in none. False, and nothing happens: it is just
  /// being written.
  bool roll(Stream& stream);

  /// Does what can be done now. Once per turn. Blocks only to create a file or two.
  void step(Journal& journal);
  /// When step() wants to be called without progress, if at all.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const;
  /// Why nothing goes on for now.
  [[nodiscard]] const std::optional<Error>& stalled() const { return stalled_; }
  /// Streams that are flushed no more, since the journal is damaged where they are.
  [[nodiscard]] std::size_t damaged() const { return damaged_.size(); }

  /// Operations whose completion has not run.
  [[nodiscard]] std::size_t pending() const;
  /// No callback runs any more.
  void silence();

 private:
  struct Open {
    std::unique_ptr<SegmentWriter> writer;
    Stream* stream = nullptr;
    std::uint64_t payload = 0;  ///< bytes of the batches in it
    std::uint64_t used = 0;     ///< number of the step that used it last
  };
  struct Part {
    Offset base;
    std::uint32_t count = 0;
    WallTime max_timestamp;
    bool timed = false;
  };
  struct Removal {
    StreamId stream;
    std::optional<SegmentId> segment;  ///< nothing: all of them, and their directory
  };
  /// One that is under way.
  struct Step {
    std::uint64_t number = 0;
    Stream* stream = nullptr;
    std::vector<Part> parts;
    std::uint64_t bytes = 0;
    Offset until;
    Open* open = nullptr;  ///< what is written to; null: the batches are being read
    bool again = false;    ///< the stream was enqueued meanwhile
  };
  using StepPointer = std::list<Step>::iterator;

  [[nodiscard]] bool may_begin() const;
  bool begin(Journal& journal);
  void on_read(std::uint64_t number, Result<std::vector<SharedBytes>> batches);
  Result<void> write(Step& step, const std::vector<SharedBytes>& batches);
  Result<Open*> segment_of(Stream& stream);
  StepPointer check_written(StepPointer step);
  [[nodiscard]] StepPointer step_of(const Stream& stream);
  [[nodiscard]] bool written_to(const Open& open) const;
  void make_room();
  void used_large(const Stream& stream);
  void seal(std::map<StreamId, Open>::iterator open);
  void check_sealed();
  void remove_next();
  void remove_from_stream(const Removal& removal);
  void remove_file(const Removal& removal, const std::string& path);
  void stall(const Error& error);
  void give_up(Step& step, const Error& error);

  Disk& disk_;
  const Clock& clock_;
  SegmentFiles& files_;
  FlusherOptions options_;
  std::move_only_function<void()> progress_;
  Troubled troubled_;
  std::move_only_function<bool()> no_room_;

  std::deque<Stream*> queue_;
  std::map<StreamId, Stream*> queued_;  ///< those in queue_
  std::map<StreamId, Open> open_;
  std::list<StreamId> large_;       ///< of them those of `step` and more, the last used at the end
  std::set<StreamId> directories_;  ///< of streams, durable: this run saw to that

  std::list<Step> steps_;  ///< of different streams
  std::uint64_t number_ = 0;
  bool silent_ = false;

  std::vector<std::pair<Stream*, std::unique_ptr<SegmentWriter>>> sealing_;
  std::vector<std::unique_ptr<SegmentWriter>> leaving_;  ///< until nothing of them is in flight
  std::deque<Removal> removals_;
  std::optional<Removal> removing_;  ///< the disk has a file of it
  bool removals_wait_ = false;       ///< for readers
  std::optional<Error> stalled_;
  bool told_ = false;  ///< that it stalls; until something is flushed
  MonotonicTime retry_at_;
  std::set<StreamId> damaged_;
};

}  // namespace waybill

// Stream: the index over an append-only sequence of batches inside a shard - a partition's log, or
// the dead-letter payloads of a group. TailCache: how much of the streams' newest bytes stay in
// memory.
//
// Every batch has exactly one location (S16): the memory of the journal frame it was staged in;
// once evicted, a segment, if it was flushed, else its place in a journal file. Reading works from
// each. A batch is visible to readers outside the shard only when it is durable: reveal() follows
// the journal's durable prefix (S12).
//
//   | segments ....................... |  batches not flushed: journal |
//                        | batches still in memory ................... |
//   start            (memory first)   flushed_end                     end
//
// Both belong to the shard's thread; neither does I/O by itself, but for the index of a sealed
// segment that was there before the start: it is read, blocking, when it is first wanted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "protocol/base/ids.h"
#include "protocol/base/shared_bytes.h"
#include "storage/journal.h"
#include "storage/segment_format.h"

namespace waybill {

class SegmentFiles;

/// A batch that is in memory or in the journal.
struct StoredBatch {
  Offset base;
  std::uint32_t count = 0;
  std::uint32_t size = 0;  ///< of the batch in bytes
  WallTime max_timestamp;
  bool timed = false;                         ///< a record has a not-before or an expiry time
  EntrySeq seq;                               ///< of the append; durable with it
  std::shared_ptr<const JournalFrame> frame;  ///< null once evicted
  std::uint32_t frame_offset = 0;             ///< of the batch within the frame
  std::uint64_t file_number = 0;              ///< with `position`: where it lies once evicted
  std::uint64_t position = 0;

  [[nodiscard]] Offset last() const { return base + (count - 1); }
};

/// A segment of the stream, as far as it is durable.
struct StreamSegment {
  SegmentId id;
  /// With the index, one entry for each stretch. Of a sealed one that a checkpoint named without:
  /// read when it is first wanted (Stream::index_of).
  SegmentFooter contents;
  std::uint64_t size = 0;     ///< bytes of its blocks
  std::uint64_t payload = 0;  ///< bytes of its batches
  bool sealed = false;        ///< its footer is durable
  WallTime stored;            ///< when the last of it was written, by the broker's clock
};

/// A part of a stream that is read as a whole: one batch, or those that stand together in a
/// segment (at least 64 KiB of them, if there are so many).
struct Stretch {
  Offset base;
  Offset end;                ///< one after the last record
  std::uint64_t size = 0;    ///< bytes of its batches; in a segment, at most that
  WallTime max_timestamp;    ///< over its records; in a segment, over those before them too
  bool timed = false;        ///< a record may have a not-before or an expiry time
  bool together = false;     ///< some batches in a segment, of which those that are wanted are sent
  bool gaps = false;         ///< some of its offsets may have no record any more (S23)
  std::int64_t records = 1;  ///< about how many there are
  Bytes batch = {};          ///< if it is in memory; until the shard's turn ends
  const std::shared_ptr<const JournalFrame>* frame = nullptr;  ///< of that batch; as long

  /// The batch, to be kept. Requires !batch.empty().
  [[nodiscard]] SharedBytes in_memory() const { return {*frame, batch}; }
  /// What is sent for `count` of its records, about, after some of `before` were reckoned with.
  [[nodiscard]] std::int64_t cost(std::int64_t count, std::optional<Offset> before) const {
    if (together) return static_cast<std::int64_t>(size) * count / records + 1;
    return before == base ? 0 : static_cast<std::int64_t>(size);
  }
  [[nodiscard]] Offset last() const { return end - 1; }
};

class Stream {
 public:
  explicit Stream(StreamId id) : id_(id) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] StreamId id() const { return id_; }
  [[nodiscard]] Offset start() const { return start_; }
  /// One after the last staged record: where the next batch goes.
  [[nodiscard]] Offset end() const { return end_; }
  /// One after the last record that may be shown: durable.
  [[nodiscard]] Offset visible_end() const { return visible_end_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  /// Requires batch.base == end().
  void append(StoredBatch batch);
  /// Shows everything whose append is durable.
  void reveal(EntrySeq durable);

  /// The stretch that holds the offset; requires start() <= offset < end(). One after the other is
  /// quick, anything else a search.
  [[nodiscard]] Stretch at(Offset offset) const;
  /// Where the first stretch begins that may have a record of that time or later; end() if there is
  /// none.
  [[nodiscard]] Offset find_time(WallTime time) const;

  // --- segments ---

  [[nodiscard]] const std::deque<StreamSegment>& segments() const { return segments_; }
  /// Everything below it is in segments.
  [[nodiscard]] Offset flushed_end() const;
  /// Bytes of the batches behind it.
  [[nodiscard]] std::uint64_t unflushed_bytes() const { return unflushed_bytes_; }
  /// The batches that are durable and not in segments, oldest first, until they are `max_bytes`; at
  /// least one if there is one.
  [[nodiscard]] std::vector<const StoredBatch*> unflushed(EntrySeq durable,
                                                          std::uint64_t max_bytes) const;
  /// The entry that appended the first batch that is not in a segment; nothing if all are.
  [[nodiscard]] const StoredBatch* first_unflushed() const;
  /// Whether what is in no segment may be staged again: it is durable, shown, less than so many
  /// bytes, in memory, and was not carried kMaxCarries times before (S18).
  [[nodiscard]] bool may_carry(EntrySeq durable, std::uint64_t below) const;
  /// Stages each such batch again, in order, and takes it to be there from now on. `stage` sets the
  /// batch's offset in the entry's body. Requires may_carry().
  using StageAgain =
      std::move_only_function<StagedEntry(const StoredBatch&, std::uint32_t* offset)>;
  void carry(StageAgain stage);
  /// More is durable in the last segment, or in a new one behind it.
  void flushed(StreamSegment segment);
  /// The footer of that segment is durable.
  void sealed(const SegmentId& segment);
  /// The stream begins later: requires start() <= start <= end(), where a batch begins. Segments of
  /// which nothing is left are no part of it any more.
  void trim(Offset start);
  /// The segments that hold [with.front().id.base, with.back().contents.end) exactly are replaced
  /// by these, which hold the same offsets: rewritten ones (S23). Nothing of it may be in memory
  /// any more (TailCache::forget). Returns those that were replaced; none, and nothing happens, if
  /// the stream has no such segments.
  std::vector<StreamSegment> replace(std::vector<StreamSegment> with);
  /// Whether a segment of the stream, another one, has the offset where that one begins.
  [[nodiscard]] bool holds_other(const SegmentId& segment) const;
  /// Puts back what a checkpoint says; the rest is appended again. Requires that it is new.
  void restore(Offset start, std::deque<StreamSegment> segments);
  /// Where the indexes are that restore() was given without. Outlives the stream.
  void read_indexes_from(SegmentFiles& files) { files_ = &files; }

 private:
  friend class TailCache;
  friend class StreamRead;

  static constexpr std::uint8_t kMaxCarries = 4;

  [[nodiscard]] std::size_t batch_index(Offset offset) const;
  [[nodiscard]] std::size_t unflushed_index() const;
  [[nodiscard]] StreamSegment& segment_of(Offset offset) const;
  /// May block, once for a segment.
  const std::vector<SegmentIndexEntry>& index_of(StreamSegment& segment) const;
  void drop_flushed();

  StreamId id_;
  Offset start_;
  Offset end_;
  Offset visible_end_;
  std::uint64_t bytes_ = 0;
  std::uint64_t unflushed_bytes_ = 0;
  std::uint8_t carries_ = 0;                    ///< since something was flushed
  mutable std::deque<StreamSegment> segments_;  ///< the index of some comes when it is wanted
  SegmentFiles* files_ = nullptr;
  std::deque<StoredBatch> batches_;
  std::uint64_t dropped_ = 0;       ///< batches that were in front of batches_ once
  mutable std::uint64_t hint_ = 0;  ///< number of the batch found last, counting dropped ones
};

/// Keeps the newest batches of all streams of a shard in memory, up to a budget; the oldest go
/// first. Evicting drops a reference: the frame's memory goes when its last batch and the last
/// delivery that uses it are gone.
class TailCache {
 public:
  explicit TailCache(std::size_t budget) : budget_(budget) {}

  /// The newest batch of the stream was just appended from memory. The stream must be told of with
  /// forget() before it is destroyed.
  void added(Stream& stream);
  /// Evicts down to the budget; never what is not durable yet, since its place is not final.
  void trim(EntrySeq durable);
  void forget(const Stream& stream);
  /// Lets go of the stream's batches before that offset. Requires that they are in segments.
  void forget(Stream& stream, Offset before);
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Cached {
    Stream* stream;
    std::uint64_t number;  ///< of the batch in its stream, counting dropped ones
  };

  std::size_t budget_;
  std::size_t bytes_ = 0;
  std::deque<Cached> oldest_first_;
};

using BatchesRead = std::move_only_function<void(Result<std::vector<SharedBytes>>)>;

/// Fetches the batches that hold records of [from, end), in order, from memory, journal or
/// segments, and calls `done` with them: at once if all are in memory, else from Disk::reap(). What
/// is read back is checked. Requires from <= end <= the stream's end, and that they are durable.
/// kOffsetOutOfRange: what was there was trimmed.
void read_batches(Journal& journal, SegmentFiles& segments, const Stream& stream, Offset from,
                  Offset end, BatchesRead done);

}  // namespace waybill

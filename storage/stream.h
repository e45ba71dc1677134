// Stream: the index over an append-only sequence of batches inside a shard - a partition's log, or
// the dead-letter payloads of a group. TailCache: how much of the streams' newest bytes stay in
// memory.
//
// Every batch has exactly one location (S16): the memory of the journal frame it was staged in, or,
// once evicted, its place in a journal file. Reading works from either. A batch is visible to
// readers outside the shard only when it is durable: reveal() follows the journal's durable prefix
// (S12).
//
// Both belong to the shard's thread; neither does I/O by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "protocol/base/ids.h"
#include "protocol/base/shared_bytes.h"
#include "storage/journal.h"

namespace waybill {

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

class Stream {
 public:
  explicit Stream(StreamId id) : id_(id) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] StreamId id() const { return id_; }
  [[nodiscard]] Offset start() const { return {0}; }
  /// One after the last staged record: where the next batch goes.
  [[nodiscard]] Offset end() const { return end_; }
  /// One after the last record that may be shown: durable.
  [[nodiscard]] Offset visible_end() const { return visible_end_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  /// Requires batch.base == end().
  void append(StoredBatch batch);
  /// Shows everything whose append is durable.
  void reveal(EntrySeq durable);

  /// Index of the batch that holds the offset; requires start() <= offset < end(). Quick for
  /// offsets that rise.
  [[nodiscard]] std::size_t index_of(Offset offset) const;
  /// Index of the first batch with a record of that timestamp or later; batch_count() if none.
  [[nodiscard]] std::size_t index_of_time(WallTime time) const;
  [[nodiscard]] const StoredBatch& batch(std::size_t index) const { return batches_[index]; }
  [[nodiscard]] std::size_t batch_count() const { return batches_.size(); }

 private:
  friend class TailCache;

  StreamId id_;
  Offset end_;
  Offset visible_end_;
  std::uint64_t bytes_ = 0;
  std::deque<StoredBatch> batches_;
  mutable std::size_t hint_ = 0;  ///< where the last one looked for was
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
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Cached {
    Stream* stream;
    std::size_t index;
  };

  std::size_t budget_;
  std::size_t bytes_ = 0;
  std::deque<Cached> oldest_first_;
};

using BatchesRead = std::move_only_function<void(Result<std::vector<SharedBytes>>)>;

/// Fetches the batches [first, first + count) of the stream, from memory or by reading the journal,
/// and calls `done` with them in order: at once if all are in memory, else from Disk::reap(). A
/// batch read back is checked against its CRC. Requires that they are durable.
void read_batches(Journal& journal, const Stream& stream, std::size_t first, std::size_t count,
                  BatchesRead done);

}  // namespace waybill

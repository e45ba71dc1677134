// SegmentFiles: batches back from a shard's segments, a stretch at a time (S16). Every block that
// is given out was checked as a whole. Some files stay open, the least recently read is closed
// first; opening one and reading its index are the only blocking calls. What was read lately stays
// in memory within a budget of its own, so that whoever reads far behind neither reads a stretch
// twice for its neighbours nor pushes the tail out of memory. Half of the budget is for what is
// being read: the rest of the reads wait. Belongs to the shard's thread. The owner keeps it alive
// until pending() is 0.
#pragma once

#include <functional>
#include <list>
#include <string>
#include <vector>

#include "protocol/base/shared_bytes.h"
#include "storage/journal_file.h"
#include "storage/read_queue.h"
#include "storage/segment_format.h"

namespace waybill {

/// Blocks of a segment that stand side by side, and the offsets that are in them.
struct SegmentPlace {
  std::uint64_t position = 0;
  std::uint64_t size = 0;
  OffsetRange offsets;
};

class SegmentFiles {
 public:
  using Done = std::move_only_function<void(const Result<std::vector<SharedBytes>>&)>;
  /// More would only cost descriptors.
  static constexpr std::size_t kMaxOpenFiles = 64;

  /// `directory`: "shard-0/streams".
  SegmentFiles(Disk& disk, std::string directory, std::size_t budget)
      : disk_(disk), directory_(std::move(directory)), budget_(budget), queue_(budget / 2) {}

  /// The batches there. `done` runs at once if they are in memory or the file cannot be opened,
  /// else in a completion. kDamaged: the blocks are not what they were. `once`: nobody else will
  /// want them soon, so they push nothing out of memory.
  void read(const SegmentId& id, const SegmentPlace& place, Done done, bool once = false);
  /// The index of a sealed segment, whose blocks end at `size` and offsets before `end`: from its
  /// footer, or if that is not intact, from the blocks. If these are not either, one entry for all
  /// of it: reading that is kDamaged. Blocking.
  std::vector<SegmentIndexEntry> read_index(const SegmentId& id, std::uint64_t size, Offset end);
  /// Whether the file is there and has that many bytes. kDamaged: it is not as it was;
  /// `explanation` is a sentence for a person. Blocking.
  Result<void> check_there(const SegmentId& id, std::uint64_t size, std::string* explanation);
  /// Lets go of a segment that is no more.
  void forget(const SegmentId& segment);
  /// What the last kDamaged of a read was about: file, position and offsets, for a person.
  [[nodiscard]] const std::string& damage() const { return damage_; }
  /// Remembers it, also for batches that are elsewhere.
  void found_damage(const std::string& path, std::uint64_t position, OffsetRange offsets);
  /// Lets go of the files of a stream that is no more.
  void forget(StreamId stream);
  /// Whether somebody still reads what was forgotten: the segment, or one of the stream.
  [[nodiscard]] bool reads(const SegmentId& segment) const;
  [[nodiscard]] bool reads(StreamId stream) const;
  /// "shard-0/streams/0001000000000011"
  [[nodiscard]] std::string directory_of(StreamId stream) const;
  [[nodiscard]] std::string path_of(const SegmentId& segment) const {
    return directory_of(segment.stream) + "/" + segment_name(segment);
  }
  /// Reads whose completion has not run.
  [[nodiscard]] std::size_t pending() const { return pending_; }
  /// No `done` runs any more: whoever asked is going.
  void silence() {
    silent_ = true;
    queue_.clear();
  }

 private:
  struct Entry {
    SegmentId id;
    OpenFilePointer file;
  };
  struct Cached {
    SegmentId id;
    SegmentPlace place;
    std::vector<SharedBytes> batches;
  };
  /// A read that may have to wait. The file stays open, also if its name goes.
  struct Wanted {
    SegmentId id;
    SegmentPlace place;
    OpenFilePointer file;
    bool once = false;
    Done done;
  };
  Result<OpenFilePointer> open(const SegmentId& id);
  const std::vector<SharedBytes>* find_cached(const SegmentId& id, const SegmentPlace& place);
  void start_read(Wanted wanted);
  void keep(Cached cached);
  void trim_cache();
  void let_go(const Entry& entry);
  template <class Gone>
  void forget_if(Gone gone);
  template <class Matches>
  bool reads_any(Matches matches) const;

  Disk& disk_;
  std::string directory_;
  std::size_t budget_;
  std::vector<Entry> files_;  ///< the most recently used last
  /// Those let go of while somebody read them.
  std::vector<std::pair<SegmentId, std::weak_ptr<OpenFile>>> leaving_;
  std::list<Cached> cache_;  ///< the most recently read first
  std::size_t cached_bytes_ = 0;
  ReadQueue queue_;
  std::string damage_;
  std::size_t pending_ = 0;
  bool silent_ = false;
};

}  // namespace waybill

// CheckpointReader: the objects of one checkpoint, one by one. find_checkpoints: which there are,
// and which are whole. Blocking; for recovery and tools. Neither changes anything.
//
// Whether a checkpoint may be used is for its owner to say: the journal must reach, without a gap,
// from its journal_file and replay_from on (S19).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "storage/aligned_memory.h"
#include "storage/checkpoint_writer.h"

namespace waybill {

class CheckpointReader {
 public:
  /// Errors are the disk's. What is in the file is judged by next().
  static Result<CheckpointReader> open(Disk& disk, const std::string& directory,
                                       const CheckpointId& id);

  /// The next object, whose body lasts until the next call; nothing after the last one, when the
  /// summary is known. kDamaged: a page is not intact, or pages or objects are missing; position()
  /// says where. kUnsupportedFormat: a newer version's.
  Result<std::optional<CheckpointObject>> next();

  /// Requires that next() has returned nothing.
  [[nodiscard]] const CheckpointSummary& summary() const { return *summary_; }
  /// Of the page that is read next, or could not be read.
  [[nodiscard]] std::uint64_t position() const { return position_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::uint64_t file_size() const { return file_size_; }

 private:
  CheckpointReader(Disk& disk, std::string path, const CheckpointId& id, OpenFilePointer file)
      : disk_(&disk), path_(std::move(path)), id_(id), file_(std::move(file)) {}
  /// Makes the next `size` bytes of the objects stand together; fewer only at the end.
  Result<Bytes> gather(std::size_t size);
  Result<void> read_page();
  Result<std::optional<CheckpointObject>> end();

  Disk* disk_;
  std::string path_;
  CheckpointId id_;
  OpenFilePointer file_;
  std::uint64_t file_size_ = 0;
  std::uint64_t position_ = 0;
  AlignedMemory page_;
  ByteVector gathered_;    ///< what was read and not given out
  std::size_t given_ = 0;  ///< of gathered_
  std::uint64_t count_ = 0;
  std::uint64_t size_ = 0;
  EntrySeq max_applied_;
  std::optional<CheckpointSummary> summary_;
};

/// A file that bears a checkpoint's name.
struct FoundCheckpoint {
  std::uint64_t number = 0;
  std::string path;
  std::optional<CheckpointSummary> summary;  ///< if it is whole
  Error problem{};                           ///< if it is not: kDamaged or kUnsupportedFormat
  std::string explanation;                   ///< of the problem: file and position
};
struct FoundCheckpoints {
  std::vector<FoundCheckpoint> finished;  ///< the newest first
  std::vector<std::string> unfinished;    ///< paths of what a crash left, worthless
};
/// Reads every page of every checkpoint of the shard. Errors are the disk's.
Result<FoundCheckpoints> find_checkpoints(Disk& disk, const std::string& directory,
                                          ShardIndex shard);

}  // namespace waybill

// PlaceReader: bytes back from the journal's files by place, for batches that left memory (S16).
// Reads whole blocks into its own memory and gives out the part that was asked for. A few old files
// stay open, the least recently read is closed first; opening one is the only blocking call. Reads
// beyond kMaxReading bytes at once wait.
// Belongs to the journal's thread. The owner keeps it alive until pending() is 0.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "protocol/base/shared_bytes.h"
#include "storage/journal.h"
#include "storage/journal_file.h"
#include "storage/read_queue.h"

namespace waybill {

class PlaceReader {
 public:
  using Done = std::move_only_function<void(Result<SharedBytes>)>;
  /// More would only cost descriptors: whoever reads far behind reads one file after the other.
  static constexpr std::size_t kMaxOpenFiles = 8;

  /// Bytes that are read at once: enough for the device to be busy.
  static constexpr std::size_t kMaxReading = 8 * 1024 * 1024;

  PlaceReader(Disk& disk, std::string directory) : disk_(disk), directory_(std::move(directory)) {}

  /// A file that is open already, because frames are being written to it.
  void keep(std::uint64_t number, OpenFilePointer file);
  /// Queues the read; `done` runs in a completion, never inside this call, unless the file cannot
  /// be opened. kDamaged if the file ends before the place does. Requires place.size > 0.
  void read(JournalPlace place, Done done);
  /// Lets go of files before this one.
  void forget_before(std::uint64_t number);
  /// Reads that are not over.
  [[nodiscard]] std::size_t pending() const { return pending_ + queue_.waiting(); }
  /// No `done` runs any more: whoever asked is going.
  void silence() {
    silent_ = true;
    queue_.clear();
  }

 private:
  struct Entry {
    std::uint64_t number = 0;
    OpenFilePointer file;
  };
  Result<OpenFilePointer> open(std::uint64_t number);
  void start_read(const OpenFilePointer& file, JournalPlace place, Done done);

  Disk& disk_;
  std::string directory_;
  std::vector<Entry> files_;  ///< the most recently used last
  ReadQueue queue_{kMaxReading};
  std::size_t pending_ = 0;  ///< with the disk
  bool silent_ = false;
};

}  // namespace waybill

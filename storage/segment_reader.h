// SegmentReader: batches back from one segment file, by offset and by time (S17). Every block that
// is given out was checked as a whole; one that is not intact is damage, named by file, position
// and offsets, and never skipped.
//
// What must be there is what the owner claims (its checkpoint says so): behind the claimed end, a
// file that was being written may hold anything, and nothing of it is looked at. A footer that is
// not intact costs a scan and no data: everything in it also stands in the blocks.
//
// open() blocks; read() and find_time() do not. Belongs to the shard's thread. The owner keeps it
// alive until pending() is 0.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/base/shared_bytes.h"
#include "storage/aligned_memory.h"
#include "storage/journal_file.h"
#include "storage/segment_format.h"

namespace waybill {

/// What the owner knows to be durable in a segment: SegmentWriter's durable_position() and
/// durable_end().
struct SegmentClaim {
  std::uint64_t position = 0;  ///< end of the blocks; of a sealed file also its footer
  Offset end;
};

/// What cannot be read: the block that belongs at the position, and the offsets that may be in it.
struct SegmentDamage {
  std::uint64_t position = 0;
  OffsetRange offsets;
};

class SegmentReader {
 public:
  using BatchesRead = std::move_only_function<void(Result<std::vector<SharedBytes>>)>;
  using TimeFound = std::move_only_function<void(Result<Offset>)>;

  /// Without a claim (a tool's look), all blocks that follow each other are taken. kNotFound: no
  /// such file. kDamaged: what is claimed is not there. kUnsupportedFormat: a newer version's.
  /// `explanation` (not null) is then a sentence for a person.
  static Result<std::unique_ptr<SegmentReader>> open(Disk& disk, const std::string& directory,
                                                     const SegmentId& id,
                                                     const std::optional<SegmentClaim>& claim,
                                                     std::string* explanation);

  [[nodiscard]] const SegmentId& id() const { return id_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Totals and index, from the footer or the scan.
  [[nodiscard]] const SegmentFooter& contents() const { return contents_; }
  [[nodiscard]] Offset end() const { return contents_.end; }
  /// Whether it has an intact footer.
  [[nodiscard]] bool sealed() const { return sealed_; }
  /// Bytes of blocks.
  [[nodiscard]] std::uint64_t size() const { return size_; }

  /// The batches from the one that holds `from` (or, in a gap, from the next) on, at least one,
  /// until they are `max_bytes`; `done` runs in a completion. Requires base <= from < end().
  /// kDamaged fills damage(); batches before the damage are given out first.
  void read(Offset from, std::size_t max_bytes, BatchesRead done);
  /// The offset of the first record with that timestamp or a later one; end() if there is none.
  /// `done` runs in a completion, or at once if nothing needs to be read.
  void find_time(WallTime time, TimeFound done);

  /// What the last kDamaged was about.
  [[nodiscard]] const std::optional<SegmentDamage>& damage() const { return damage_; }
  /// "<path> at position 4096: offsets 3-5 …", for a person. Requires damage().
  [[nodiscard]] std::string explain_damage() const;
  [[nodiscard]] std::size_t pending() const { return pending_; }

 private:
  /// A stretch of the file in memory, beginning with a block.
  struct Window {
    std::shared_ptr<AlignedMemory> memory;
    std::uint64_t position = 0;
    std::size_t size = 0;
    [[nodiscard]] Bytes bytes() const { return memory->bytes().first(size); }
  };
  using Loaded = std::move_only_function<void(const Result<Window>&)>;
  struct Walk;
  struct Read;
  struct Search;
  /// A block in a window; not whole: the window ends before the block does.
  struct Found {
    bool whole = false;
    SegmentBlock header;
    std::vector<Bytes> batches;
  };

  SegmentReader(Disk& disk, std::string path, const SegmentId& id, OpenFilePointer file)
      : disk_(disk), path_(std::move(path)), id_(id), file_(std::move(file)) {}
  Result<void> read_contents(const std::optional<SegmentClaim>& claim, std::string* explanation);
  Result<bool> read_footer(std::uint64_t file_size);
  Result<void> scan(std::uint64_t file_size, const std::optional<SegmentClaim>& claim);
  Result<std::optional<SegmentBlock>> scan_block(MutableBytes memory, std::uint64_t file_size);
  void load(std::uint64_t position, Offset expected, std::size_t size, Loaded done);
  [[nodiscard]] std::size_t first_index(Offset offset) const;
  /// The intact block at `position`, which begins with `expected`; kDamaged if there is none.
  Result<Found> block_in(const Window& window, std::uint64_t position, Offset expected);
  Error damaged(std::uint64_t position, Offset expected);
  void go_on(std::unique_ptr<Read> read);
  void go_on(std::unique_ptr<Search> search);
  Result<bool> collect(Read& read, const Window& window);
  Result<bool> search_in(Search& search, const Window& window);

  Disk& disk_;
  std::string path_;
  SegmentId id_;
  OpenFilePointer file_;
  SegmentFooter contents_;
  std::uint64_t size_ = 0;
  bool sealed_ = false;
  std::optional<SegmentDamage> damage_;
  std::size_t pending_ = 0;
};

}  // namespace waybill

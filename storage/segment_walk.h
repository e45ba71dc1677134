// SegmentWalk: everything that stands in one segment file, stretch by stretch, in whatever state it
// is: for tools that show, check, or list what is lost. How far the file counts is its checkpoint's
// business. Changes nothing. Blocking.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "storage/aligned_memory.h"
#include "storage/journal_file.h"
#include "storage/segment_format.h"

namespace waybill {

enum class SegmentPart : std::uint8_t {
  kBlock,   ///< an intact block that continues the one before, or begins behind a gap
  kGap,     ///< no intact block; up to the next one, the footer, or the end of the file
  kFooter,  ///< an intact footer; the last part
};

struct SegmentStretch {
  SegmentPart part{};
  std::uint64_t position = 0;
  std::uint64_t size = 0;
  SegmentBlock block;    ///< of a block
  SegmentFooter footer;  ///< of a footer
  Bytes bytes;           ///< of a block; until the next call
};

class SegmentWalk {
 public:
  /// `directory` holds the file: "shard-0/streams/0000000000000005". Errors are the disk's.
  static Result<SegmentWalk> open(Disk& disk, const std::string& directory, const SegmentId& id);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const SegmentId& id() const { return id_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Nothing: it has none that is intact.
  [[nodiscard]] const std::optional<SegmentFooter>& footer() const { return footer_; }

  /// The next stretch, or nothing after the last.
  Result<std::optional<SegmentStretch>> next();

 private:
  SegmentWalk(Disk& disk, std::string path, const SegmentId& id, OpenFilePointer file)
      : disk_(&disk), path_(std::move(path)), id_(id), file_(std::move(file)), end_(id.base) {}
  Result<void> read_footer();
  /// The bytes there, fewer at the end of the file.
  Result<Bytes> load(std::uint64_t position, std::uint64_t size);
  Result<std::optional<SegmentBlock>> block_at(std::uint64_t position);

  Disk* disk_;
  std::string path_;
  SegmentId id_;
  OpenFilePointer file_;
  std::uint64_t size_ = 0;
  std::uint64_t blocks_end_ = 0;  ///< where the footer begins, or the file ends
  std::optional<SegmentFooter> footer_;
  bool footer_given_ = false;
  std::uint64_t position_ = 0;
  Offset end_;  ///< of the blocks so far
  AlignedMemory memory_;
};

}  // namespace waybill

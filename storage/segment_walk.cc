#include "storage/segment_walk.h"

#include <algorithm>

namespace waybill {

Result<SegmentWalk> SegmentWalk::open(Disk& disk, const std::string& directory,
                                      const SegmentId& id) {
  const std::string path = directory + "/" + segment_name(id);
  Result<FileHandle> handle = disk.open(path, OpenMode::kRead);
  if (!handle) return handle.error();
  SegmentWalk walk(disk, path, id, std::make_shared<OpenFile>(disk, *handle));
  Result<std::uint64_t> size = disk.size(*handle);
  if (!size) return size.error();
  walk.size_ = *size;
  // A file that was cut may end within a block; that rest is a gap.
  walk.blocks_end_ = *size;
  if (Result<void> read = walk.read_footer(); !read) return read.error();
  return walk;
}

Result<void> SegmentWalk::read_footer() {
  if (size_ < limits::kBlock || size_ % limits::kBlock != 0) return {};
  Result<Bytes> last = load(size_ - limits::kBlock, limits::kBlock);
  if (!last) return last.error();
  const std::optional<std::uint64_t> position = footer_position(*last, size_);
  if (!position) return {};
  Result<Bytes> bytes = load(*position, size_ - *position);
  if (!bytes) return bytes.error();
  Result<SegmentFooter> footer = decode_footer(*bytes, id_, *position);
  if (!footer) return {};
  footer_ = std::move(*footer);
  blocks_end_ = *position;
  return {};
}

Result<Bytes> SegmentWalk::load(std::uint64_t position, std::uint64_t size) {
  const std::uint64_t wanted = std::min(size, size_ - std::min(position, size_));
  const std::size_t whole = (wanted + limits::kBlock - 1) / limits::kBlock * limits::kBlock;
  if (memory_.size() < whole) memory_ = AlignedMemory(whole);
  Result<std::size_t> read =
      disk_->read_now(file_->handle(), position, memory_.bytes().first(whole));
  if (!read) return read.error();
  return Bytes(memory_.bytes().first(std::min<std::size_t>(*read, wanted)));
}

/// An intact block there whose offsets are behind what was seen.
Result<std::optional<SegmentBlock>> SegmentWalk::block_at(std::uint64_t position) {
  std::optional<SegmentBlock> none;
  Result<Bytes> start = load(position, limits::kBlock);
  if (!start) return start.error();
  const std::optional<SegmentBlock> header = peek_block(*start, id_, blocks_end_ - position);
  if (!header || header->base < end_ || header->end <= header->base) return none;
  Result<Bytes> block = load(position, header->block_size);
  if (!block) return block.error();
  if (block->size() < header->block_size || !block_intact(*block, id_, position)) return none;
  return header;
}

Result<std::optional<SegmentStretch>> SegmentWalk::next() {
  SegmentStretch stretch;
  stretch.position = position_;
  if (position_ >= blocks_end_) {
    if (!footer_ || footer_given_) return std::optional<SegmentStretch>();
    footer_given_ = true;
    stretch.part = SegmentPart::kFooter;
    stretch.size = size_ - position_;
    stretch.footer = *footer_;
    return std::optional(std::move(stretch));
  }
  for (; position_ < blocks_end_; position_ += limits::kBlock) {
    Result<std::optional<SegmentBlock>> block = block_at(position_);
    if (!block) return block.error();
    if (!block->has_value()) continue;
    if (position_ > stretch.position || (*block)->base > end_) break;  // the gap first
    stretch.part = SegmentPart::kBlock;
    stretch.size = (*block)->block_size;
    stretch.block = **block;
    stretch.bytes = memory_.bytes().first(stretch.size);
    position_ += stretch.size;
    end_ = stretch.block.end;
    return std::optional(std::move(stretch));
  }
  position_ = std::min(position_, blocks_end_);
  stretch.part = SegmentPart::kGap;
  stretch.size = position_ - stretch.position;
  // Offsets may be missing without a byte between: the next block is taken as it is.
  if (position_ < blocks_end_) {
    Result<std::optional<SegmentBlock>> block = block_at(position_);
    if (block && block->has_value()) end_ = (*block)->base;
  }
  return std::optional(std::move(stretch));
}

}  // namespace waybill

#include "storage/segment_reader.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "protocol/record/batch_view.h"

namespace waybill {
namespace {

constexpr WallTime kNever{std::numeric_limits<std::int64_t>::min()};
/// What is read at once: from an index entry over the stretch to the next, and a block more.
constexpr std::size_t kWindow = kIndexInterval + kSegmentBlock;

/// What one read may load beyond that: no caller wants more at once.
constexpr std::size_t kMaxWindow = kWindow + limits::kMaxReadBytes;
/// More than any index needs: a file that says so was not sealed by us.
constexpr std::size_t kMaxFooter = 16 * 1024 * 1024;

std::size_t round_up(std::size_t size) {
  return (size + limits::kBlock - 1) / limits::kBlock * limits::kBlock;
}

/// The first record of the batches with that timestamp or a later one. A batch's own claim about
/// its newest timestamp is the producer's word, so records are looked at.
Result<std::optional<Offset>> first_at_or_after(const std::vector<Bytes>& batches, WallTime time) {
  std::optional<Offset> found;
  for (const Bytes batch : batches) {
    Result<BatchReader> reader = BatchReader::open(batch);
    if (!reader) return reader.error();
    Result<void> read = reader->for_each([&found, time](const RecordView& record) {
      if (record.timestamp >= time) found = record.offset;
      return !found.has_value();
    });
    if (!read) return read.error();
    if (found) return found;
  }
  return found;
}

}  // namespace

/// Where a walk over the blocks stands.
struct SegmentReader::Walk {
  std::uint64_t position = 0;  ///< of the next block
  Offset expected;             ///< where that block begins
  std::size_t window = 0;      ///< what to load there

  void pass(const SegmentBlock& header) {
    position += header.block_size;
    expected = header.end;
  }
};

struct SegmentReader::Read {
  Offset from;
  std::size_t max_bytes = 0;
  BatchesRead done;
  Walk walk;
  std::size_t bytes = 0;
  std::vector<SharedBytes> batches;
};

struct SegmentReader::Search {
  WallTime time;
  TimeFound done;
  Walk walk;
  std::optional<Offset> found;
};

Result<std::unique_ptr<SegmentReader>> SegmentReader::open(Disk& disk, const std::string& directory,
                                                           const SegmentId& id,
                                                           const std::optional<SegmentClaim>& claim,
                                                           std::string* explanation) {
  const std::string path = directory + "/" + segment_name(id);
  Result<FileHandle> file = disk.open(path, OpenMode::kRead);
  if (!file) {
    *explanation = path + ": " + to_string(file.error());
    return file.error();
  }
  auto reader = std::unique_ptr<SegmentReader>(
      new SegmentReader(disk, path, id, std::make_shared<OpenFile>(disk, *file)));
  if (Result<void> done = reader->read_contents(claim, explanation); !done) {
    if (explanation->empty()) *explanation = path + ": " + to_string(done.error());
    return done.error();
  }
  return reader;
}

Result<void> SegmentReader::read_contents(const std::optional<SegmentClaim>& claim,
                                          std::string* explanation) {
  explanation->clear();
  Result<std::uint64_t> file_size = disk_.size(file_->handle());
  if (!file_size) return file_size.error();
  if (claim && *file_size < claim->position) {
    *explanation = path_ + " has " + std::to_string(*file_size) + " bytes instead of " +
                   std::to_string(claim->position) + ": offsets up to " +
                   std::to_string(claim->end.value - 1) + " were stored in it";
    return {Errc::kDamaged, "segment: cut short"};
  }
  Result<bool> footer = read_footer(*file_size);
  if (!footer) return footer.error();
  sealed_ = *footer;
  if (!sealed_) {
    if (Result<void> scanned = scan(*file_size, claim); !scanned) {
      if (damage_) *explanation = explain_damage();
      return scanned;
    }
  }
  if (claim && contents_.end < claim->end) {
    *explanation = path_ + " ends with offset " + std::to_string(contents_.end.value - 1) +
                   " instead of " + std::to_string(claim->end.value - 1);
    return {Errc::kDamaged, "segment: end"};
  }
  return {};
}

/// Whether there is an intact one. What is wrong with it does not matter but for its version.
Result<bool> SegmentReader::read_footer(std::uint64_t file_size) {
  if (file_size < 2 * limits::kBlock || file_size % limits::kBlock != 0) return false;
  AlignedMemory last(limits::kBlock);
  Result<std::size_t> read =
      disk_.read_now(file_->handle(), file_size - limits::kBlock, last.bytes());
  if (!read) return read.error();
  const std::optional<std::uint64_t> position =
      footer_position(last.bytes().first(*read), file_size);
  if (!position || file_size - *position > kMaxFooter) return false;
  AlignedMemory memory(file_size - *position);
  read = disk_.read_now(file_->handle(), *position, memory.bytes());
  if (!read) return read.error();
  Result<SegmentFooter> footer = decode_footer(memory.bytes().first(*read), id_, *position);
  if (!footer) {
    if (footer.error() == Errc::kUnsupportedFormat) return footer.error();
    return false;
  }
  contents_ = std::move(*footer);
  size_ = *position;
  return true;
}

/// Block after block from the beginning, to the claimed end or to the first that is none.
Result<void> SegmentReader::scan(std::uint64_t file_size,
                                 const std::optional<SegmentClaim>& claim) {
  contents_ = {};
  contents_.stream = id_.stream;
  contents_.base = contents_.end = id_.base;
  contents_.max_timestamp = kNever;
  AlignedMemory memory(kMaxSegmentBlock);
  while (size_ < file_size && (!claim || contents_.end < claim->end)) {
    Result<std::optional<SegmentBlock>> block = scan_block(memory.bytes(), file_size);
    if (!block) return block.error();
    if (!block->has_value()) break;
    const SegmentBlock& header = **block;
    if (contents_.index.empty() || size_ - contents_.index.back().position >= kIndexInterval) {
      contents_.index.push_back(
          {.base = header.base, .max_before = contents_.max_timestamp, .position = size_});
    }
    contents_.facts = contents_.facts | header.facts;
    contents_.end = header.end;
    contents_.max_timestamp = std::max(contents_.max_timestamp, header.max_timestamp);
    contents_.record_count += header.record_count;
    size_ += header.block_size;
  }
  if (!claim || contents_.end >= claim->end) return {};
  damage_ = {.position = size_, .offsets = {contents_.end, claim->end - 1}};
  return {Errc::kDamaged, "segment: scan"};
}

/// The intact block at the end of what was scanned so far.
Result<std::optional<SegmentBlock>> SegmentReader::scan_block(MutableBytes memory,
                                                              std::uint64_t file_size) {
  const std::uint64_t room = file_size - size_;
  std::optional<SegmentBlock> header;
  std::size_t wanted = std::min<std::uint64_t>(kSegmentBlock, room);
  for (;;) {
    Result<std::size_t> read = disk_.read_now(file_->handle(), size_, memory.first(wanted));
    if (!read) return read.error();
    const Bytes bytes = memory.first(*read);
    header = peek_block(bytes, id_, room);
    if (!header || header->base != contents_.end || header->end <= header->base)
      return std::optional<SegmentBlock>();
    if (header->block_size <= bytes.size()) break;
    if (wanted >= header->block_size) return std::optional<SegmentBlock>();
    wanted = header->block_size;
  }
  const Bytes block = memory.first(header->block_size);
  if (!block_intact(block, id_, size_)) return std::optional<SegmentBlock>();
  if (header->version != kSegmentVersion)
    return {Errc::kUnsupportedFormat, "segment block: version"};
  return header;
}

void SegmentReader::load(std::uint64_t position, Offset expected, std::size_t size, Loaded done) {
  const std::size_t wanted = std::min<std::uint64_t>(round_up(size), size_ - position);
  auto memory = std::make_shared<AlignedMemory>(wanted);
  ++pending_;
  disk_.read(file_->handle(), position, memory->bytes(),
             [this, position, expected, memory, wanted,
              done = std::move(done)](const Result<std::size_t>& read) mutable {
               --pending_;
               if (!read) {
                 done(read.error());
               } else if (*read < wanted) {
                 done(damaged(position, expected));
               } else {
                 done(Window{.memory = memory, .position = position, .size = wanted});
               }
             });
}

std::size_t SegmentReader::first_index(Offset offset) const {
  const auto after =
      std::ranges::upper_bound(contents_.index, offset, {}, &SegmentIndexEntry::base);
  return static_cast<std::size_t>(after - contents_.index.begin()) - 1;
}

Error SegmentReader::damaged(std::uint64_t position, Offset expected) {
  const auto next =
      std::ranges::upper_bound(contents_.index, position, {}, &SegmentIndexEntry::position);
  const Offset end = next == contents_.index.end() ? contents_.end : next->base;
  damage_ = {.position = position, .offsets = {expected, end - 1}};
  return {Errc::kDamaged, 0, "segment block"};
}

std::string SegmentReader::explain_damage() const {
  WB_ASSERT(damage_.has_value(), "only damage is explained");
  return path_ + " at position " + std::to_string(damage_->position) + ": offsets " +
         std::to_string(damage_->offsets.first.value) + "-" +
         std::to_string(damage_->offsets.last.value) +
         " cannot be read. Restore the file from a copy.";
}

Result<SegmentReader::Found> SegmentReader::block_in(const Window& window, std::uint64_t position,
                                                     Offset expected) {
  const Bytes rest = window.bytes().subspan(position - window.position);
  if (rest.empty()) return Found{};
  const std::optional<SegmentBlock> header = peek_block(rest, id_, size_ - position);
  if (!header || header->base != expected || header->end <= expected)
    return damaged(position, expected);
  if (header->block_size > rest.size()) return Found{.header = *header, .batches = {}};
  const Bytes block = rest.first(header->block_size);
  if (!block_intact(block, id_, position)) return damaged(position, expected);
  if (header->version != kSegmentVersion)
    return {Errc::kUnsupportedFormat, "segment block: version"};
  Result<std::vector<Bytes>> batches = block_batches(*header, block);
  if (!batches) return damaged(position, expected);
  return Found{.whole = true, .header = *header, .batches = std::move(*batches)};
}

void SegmentReader::read(Offset from, std::size_t max_bytes, BatchesRead done) {
  WB_ASSERT(from >= id_.base && from < end(), "only what is in the segment is read");
  const SegmentIndexEntry& entry = contents_.index[first_index(from)];
  auto read = std::make_unique<Read>();
  read->from = from;
  read->max_bytes = max_bytes;
  read->done = std::move(done);
  read->walk = {.position = entry.position,
                .expected = entry.base,
                .window = std::min(kWindow + max_bytes, kMaxWindow)};
  go_on(std::move(read));
}

void SegmentReader::go_on(std::unique_ptr<Read> read) {
  const Walk walk = read->walk;
  load(walk.position, walk.expected, walk.window,
       [this, read = std::move(read)](const Result<Window>& window) mutable {
         if (!window) return read->done(window.error());
         const Result<bool> finished = collect(*read, *window);
         if (!finished && read->batches.empty()) return read->done(finished.error());
         if (!finished || *finished) return read->done(std::move(read->batches));
         go_on(std::move(read));
       });
}

/// Whether the read is finished with this window; if not, it knows where to go on.
Result<bool> SegmentReader::collect(Read& read, const Window& window) {
  while (read.walk.position < size_ && (read.bytes == 0 || read.bytes < read.max_bytes)) {
    Result<Found> found = block_in(window, read.walk.position, read.walk.expected);
    if (!found) return found.error();
    if (!found->whole) {
      read.walk.window = std::max<std::size_t>(kWindow, found->header.block_size);
      return false;
    }
    read.walk.pass(found->header);
    for (const Bytes batch : found->batches) {
      Result<BatchHeader> header = parse_batch_header(batch);
      if (!header || header->last_offset() < read.from) continue;
      if (read.bytes > 0 && read.bytes >= read.max_bytes) break;
      read.bytes += batch.size();
      read.batches.emplace_back(window.memory, batch);
    }
  }
  return true;
}

void SegmentReader::find_time(WallTime time, TimeFound done) {
  if (contents_.index.empty() || contents_.max_timestamp < time) return done(end());
  const auto after =
      std::ranges::lower_bound(contents_.index, time, {}, &SegmentIndexEntry::max_before);
  const SegmentIndexEntry& entry = after == contents_.index.begin() ? *after : *std::prev(after);
  auto search = std::make_unique<Search>();
  search->time = time;
  search->done = std::move(done);
  search->walk = {.position = entry.position, .expected = entry.base, .window = kWindow};
  go_on(std::move(search));
}

void SegmentReader::go_on(std::unique_ptr<Search> search) {
  const Walk walk = search->walk;
  load(walk.position, walk.expected, walk.window,
       [this, search = std::move(search)](const Result<Window>& window) mutable {
         if (!window) return search->done(window.error());
         const Result<bool> finished = search_in(*search, *window);
         if (!finished) return search->done(finished.error());
         if (*finished) return search->done(search->found.value_or(end()));
         go_on(std::move(search));
       });
}

Result<bool> SegmentReader::search_in(Search& search, const Window& window) {
  while (search.walk.position < size_) {
    Result<Found> found = block_in(window, search.walk.position, search.walk.expected);
    if (!found) return found.error();
    if (!found->whole) {
      search.walk.window = std::max<std::size_t>(kWindow, found->header.block_size);
      return false;
    }
    if (found->header.max_timestamp >= search.time) {
      Result<std::optional<Offset>> offset = first_at_or_after(found->batches, search.time);
      if (!offset) return damaged(search.walk.position, search.walk.expected);
      search.found = *offset;
      if (search.found) return true;
    }
    search.walk.pass(found->header);
  }
  return true;
}

}  // namespace waybill

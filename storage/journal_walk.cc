#include "storage/journal_walk.h"

#include <algorithm>

namespace waybill {
namespace {

/// What is on the disk, not the disk itself.
bool is_content(Errc code) {
  return code == Errc::kBadFormat || code == Errc::kChecksum || code == Errc::kShortData ||
         code == Errc::kUnsupportedFormat;
}

}  // namespace

Result<JournalWalk> JournalWalk::open(Disk& disk, const std::string& directory) {
  Result<std::vector<std::string>> names = disk.list(directory);
  if (!names) return names.error();
  JournalWalk walk(disk);
  for (const std::string& name : *names) {
    const JournalName parsed = parse_journal_name(name);
    if (parsed.kind != JournalNameKind::kJournal) {
      walk.others_.push_back(name);
      continue;
    }
    WalkedFile& file = walk.files_.emplace_back();
    file.number = parsed.number;
    file.path = directory + "/" + name;
  }
  std::ranges::sort(walk.files_, {}, &WalkedFile::number);
  std::uint64_t end = UINT64_MAX;
  for (std::size_t i = walk.files_.size(); i-- > 0;) {
    WalkedFile& file = walk.files_[i];
    file.live_end = end;
    if (Result<void> done = walk.read_header(file); !done) return done.error();
    if (file.header) end = std::min(end, file.header->first_frame_seq);
  }
  return walk;
}

Result<void> JournalWalk::read_header(WalkedFile& file) {
  Result<JournalFileReader> reader = JournalFileReader::open(*disk_, file.path, false);
  if (reader) {
    file.size = reader->size();
    file.header = reader->header();
    return {};
  }
  if (!is_content(reader.error().code)) return reader.error();
  file.problem = reader.error();
  Result<FileHandle> handle = disk_->open(file.path, OpenMode::kRead);
  if (!handle) return handle.error();
  Result<std::uint64_t> size = disk_->size(*handle);
  disk_->close(*handle);
  if (!size) return size.error();
  file.size = *size;
  return {};
}

Result<std::optional<JournalStretch>> JournalWalk::next() {
  for (; file_ < files_.size(); ++file_, reader_.reset(), position_ = kFileHeaderSize) {
    const WalkedFile& file = files_[file_];
    if (!file.header || position_ >= file.size) continue;
    if (!reader_) {
      Result<JournalFileReader> reader = JournalFileReader::open(*disk_, file.path, false);
      if (!reader) return reader.error();
      reader_ = std::move(*reader);
    }
    Result<JournalStretch> stretch = read_stretch();
    if (!stretch) return stretch.error();
    position_ += stretch->size;
    return std::optional(*stretch);
  }
  return std::optional<JournalStretch>();
}

Result<JournalStretch> JournalWalk::read_stretch() {
  const WalkedFile& file = files_[file_];
  JournalStretch stretch{.kind = StretchKind::kUnused,
                         .file = file_,
                         .position = position_,
                         .size = file.size - position_,
                         .header = {},
                         .bytes = {}};
  for (std::uint64_t position = position_; position < file.size; position += limits::kBlock) {
    Result<std::optional<FoundFrame>> found = reader_->frame_at(position);
    if (!found) return found.error();
    if (!found->has_value()) {
      Result<bool> begins = reader_->looks_like_frame(position);
      if (!begins) return begins.error();
      if (*begins) stretch.kind = StretchKind::kGap;
      continue;
    }
    if (position > position_) {
      stretch.kind = StretchKind::kGap;
      stretch.size = position - position_;
      return stretch;
    }
    const FoundFrame& frame = **found;
    const bool live = frame.header.frame_seq < file.live_end;
    stretch.kind = live ? StretchKind::kFrame : StretchKind::kVoidFrame;
    stretch.size = frame.header.frame_size;
    stretch.header = frame.header;
    stretch.bytes = frame.bytes;
    return stretch;
  }
  return stretch;
}

}  // namespace waybill

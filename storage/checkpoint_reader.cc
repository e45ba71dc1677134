#include "storage/checkpoint_reader.h"

#include <algorithm>

namespace waybill {

Result<CheckpointReader> CheckpointReader::open(Disk& disk, const std::string& directory,
                                                const CheckpointId& id) {
  const std::string path = directory + "/" + checkpoint_name(id.number);
  Result<FileHandle> file = disk.open(path, OpenMode::kRead);
  if (!file) return file.error();
  CheckpointReader reader(disk, path, id, std::make_shared<OpenFile>(disk, *file));
  Result<std::uint64_t> size = disk.size(*file);
  if (!size) return size.error();
  reader.file_size_ = *size;
  reader.page_ = AlignedMemory(kCheckpointPage);
  return reader;
}

Result<std::optional<CheckpointObject>> CheckpointReader::next() {
  if (summary_) return std::optional<CheckpointObject>();
  Result<Bytes> head = gather(kObjectHeaderSize);
  if (!head) return head.error();
  if (head->empty()) return end();
  if (head->size() < kObjectHeaderSize) return {Errc::kDamaged, "checkpoint: object"};
  const ObjectHeader header = decode_object_header(head->data());
  if (header.body_size > kMaxCheckpointObject) return {Errc::kDamaged, "checkpoint: object"};
  const std::size_t whole = kObjectHeaderSize + header.body_size;
  Result<Bytes> bytes = gather(whole);
  if (!bytes) return bytes.error();
  if (bytes->size() < whole) return {Errc::kDamaged, "checkpoint: object"};
  given_ += whole;
  ++count_;
  size_ += whole;
  max_applied_ = std::max(max_applied_, header.applied);
  return std::optional(CheckpointObject{.kind = header.kind,
                                        .version = header.version,
                                        .id = header.id,
                                        .applied = header.applied,
                                        .body = bytes->subspan(kObjectHeaderSize)});
}

Result<Bytes> CheckpointReader::gather(std::size_t size) {
  if (gathered_.size() - given_ < size) {
    gathered_.erase(gathered_.begin(), gathered_.begin() + static_cast<std::ptrdiff_t>(given_));
    given_ = 0;
  }
  while (gathered_.size() - given_ < size && !summary_) {
    if (Result<void> read = read_page(); !read) return read.error();
  }
  const Bytes rest = Bytes(gathered_).subspan(given_);
  return rest.first(std::min(size, rest.size()));
}

/// Adds the page's payload to what is gathered, or takes the summary from the last page.
Result<void> CheckpointReader::read_page() {
  const std::uint64_t room = file_size_ - std::min(position_, file_size_);
  Result<std::size_t> read =
      disk_->read_now(file_->handle(), position_,
                      page_.bytes().first(std::min<std::uint64_t>(kCheckpointPage, room)));
  if (!read) return read.error();
  const Bytes bytes = page_.bytes().first(*read);
  const std::optional<CheckpointPage> header = peek_page(bytes, id_, room);
  if (!header || header->page_size > bytes.size()) return {Errc::kDamaged, "checkpoint: page"};
  const Bytes page = bytes.first(header->page_size);
  if (!page_intact(page, id_, position_)) return {Errc::kDamaged, "checkpoint: page"};
  if (header->version != kCheckpointVersion)
    return {Errc::kUnsupportedFormat, "checkpoint: version"};
  const Bytes payload = page.subspan(kPageHeaderSize, header->payload_size);
  if (!header->last) {
    position_ += header->page_size;
    gathered_.insert(gathered_.end(), payload.begin(), payload.end());
    return {};
  }
  if (payload.size() != kSummarySize || header->page_size != room)
    return {Errc::kDamaged, "checkpoint: summary"};
  summary_ = decode_summary(payload.data());
  return {};
}

Result<std::optional<CheckpointObject>> CheckpointReader::end() {
  const CheckpointSummary& said = *summary_;
  if (said.object_count == count_ && said.objects_size == size_ && said.max_applied == max_applied_)
    return std::optional<CheckpointObject>();
  summary_.reset();
  return {Errc::kDamaged, "checkpoint: summary"};
}

namespace {

Result<FoundCheckpoint> look_at(Disk& disk, const std::string& directory, const CheckpointId& id) {
  Result<CheckpointReader> reader = CheckpointReader::open(disk, directory, id);
  if (!reader) return reader.error();
  FoundCheckpoint found{.number = id.number,
                        .path = reader->path(),
                        .summary = std::nullopt,
                        .problem = {},
                        .explanation = {}};
  for (;;) {
    Result<std::optional<CheckpointObject>> object = reader->next();
    if (object && object->has_value()) continue;
    if (object) {
      found.summary = reader->summary();
      return found;
    }
    const Errc code = object.error().code;
    if (code != Errc::kDamaged && code != Errc::kUnsupportedFormat) return object.error();
    found.problem = object.error();
    found.explanation =
        code == Errc::kDamaged
            ? found.path + " is damaged at position " + std::to_string(reader->position()) +
                  ". It gets this name only when it is whole and durable, so it was damaged later."
            : found.path + " was written by a newer version of the broker; this one reads format " +
                  std::to_string(kCheckpointVersion) + ".";
    return found;
  }
}

}  // namespace

Result<FoundCheckpoints> find_checkpoints(Disk& disk, const std::string& directory,
                                          ShardIndex shard) {
  Result<std::vector<std::string>> names = disk.list(directory);
  if (!names) return names.error();
  FoundCheckpoints all;
  for (const std::string& name : *names) {
    const std::optional<CheckpointName> parsed = parse_checkpoint_name(name);
    if (!parsed) continue;
    if (!parsed->finished) {
      all.unfinished.push_back(directory + "/" + name);
      continue;
    }
    Result<FoundCheckpoint> found =
        look_at(disk, directory, {.shard = shard, .number = parsed->number});
    if (!found) return found.error();
    all.finished.push_back(std::move(*found));
  }
  std::ranges::sort(all.finished, std::ranges::greater(), &FoundCheckpoint::number);
  return all;
}

}  // namespace waybill

#include "storage/checkpoint_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace waybill {

Result<std::unique_ptr<CheckpointWriter>> CheckpointWriter::create(Disk& disk,
                                                                   const std::string& directory,
                                                                   const CheckpointId& id) {
  const std::string path = directory + "/" + unfinished_checkpoint_name(id.number);
  Result<void> removed = disk.remove(path);
  if (!removed && removed.error() != Errc::kNotFound) return removed.error();
  Result<FileHandle> file = disk.open(path, OpenMode::kCreate);
  if (!file) return file.error();
  return std::unique_ptr<CheckpointWriter>(
      new CheckpointWriter(disk, directory, id, std::make_shared<OpenFile>(disk, *file)));
}

void CheckpointWriter::add(const CheckpointObject& object) {
  WB_ASSERT(!finishing_, "a finished checkpoint does not grow");
  WB_ASSERT(object.body.size() <= kMaxCheckpointObject, "an object is small (S19)");
  if (failed_) return;
  const ObjectHeader header{.kind = object.kind,
                            .version = object.version,
                            .body_size = static_cast<std::uint32_t>(object.body.size()),
                            .id = object.id,
                            .applied = object.applied};
  std::byte encoded[kObjectHeaderSize];
  encode_object_header(header, encoded);
  put(encoded);
  put(object.body);
  ++summary_.object_count;
  summary_.objects_size += kObjectHeaderSize + object.body.size();
  summary_.max_applied = std::max(summary_.max_applied, object.applied);
}

void CheckpointWriter::finish(const CheckpointEnd& end) {
  WB_ASSERT(!finishing_, "a checkpoint is finished once");
  finishing_ = true;
  if (failed_) return;
  if (page_used_ > 0) write_page(false);
  summary_.replay_from = end.replay_from;
  summary_.journal_file = end.journal_file;
  summary_.time = end.time;
  std::byte encoded[kSummarySize];
  encode_summary(summary_, encoded);
  put(encoded);
  write_page(true);
}

void CheckpointWriter::put(Bytes bytes) {
  while (!bytes.empty()) {
    if (page_used_ == 0) {
      page_ = AlignedMemory(kCheckpointPage);
      page_used_ = kPageHeaderSize;
    }
    const std::size_t part = std::min(bytes.size(), kCheckpointPage - page_used_);
    std::memcpy(page_.data() + page_used_, bytes.data(), part);
    page_used_ += part;
    bytes = bytes.subspan(part);
    if (page_used_ == kCheckpointPage) write_page(false);
  }
}

void CheckpointWriter::write_page(bool last) {
  const std::size_t used = std::exchange(page_used_, 0);
  const std::size_t size = (used + limits::kBlock - 1) / limits::kBlock * limits::kBlock;
  auto memory = std::make_shared<AlignedMemory>(std::move(page_));
  const MutableBytes page = memory->bytes().first(size);
  std::fill(page.begin() + static_cast<std::ptrdiff_t>(used), page.end(), std::byte{0});
  const CheckpointPage header{.last = last,
                              .page_size = static_cast<std::uint32_t>(size),
                              .payload_size = static_cast<std::uint32_t>(used - kPageHeaderSize)};
  seal_page(header, id_, position_, page);
  ++pending_;
  in_flight_bytes_ += size;
  disk_.write(file_->handle(), position_, page, Durability::kBuffered,
              [this, memory, size](const Result<std::size_t>& result) {
                --pending_;
                in_flight_bytes_ -= size;
                on_written(size, result);
              });
  position_ += size;
}

/// The sync comes when everything is written, since it covers nothing else.
void CheckpointWriter::on_written(std::size_t size, const Result<std::size_t>& result) {
  if (!result) {
    failed_ = result.error();
  } else if (*result < size) {
    failed_ = Error{Errc::kNoSpace, 0, "checkpoint write: short"};
  }
  if (finishing_ && !failed_ && pending_ == 0) {
    ++pending_;
    disk_.sync(file_->handle(), [this](const Result<std::size_t>& synced) {
      --pending_;
      on_synced(synced);
    });
  }
  if (progress_) progress_();
}

void CheckpointWriter::on_synced(const Result<std::size_t>& result) {
  const Result<void> named = result ? name_it() : Result<void>(result.error());
  if (named) {
    done_ = true;
  } else {
    failed_ = named.error();
  }
  if (progress_) progress_();
}

Result<void> CheckpointWriter::name_it() {
  Result<void> renamed = disk_.rename(directory_ + "/" + unfinished_checkpoint_name(id_.number),
                                      directory_ + "/" + checkpoint_name(id_.number));
  if (!renamed) return renamed;
  return disk_.sync_directory(directory_);
}

void CheckpointWriter::abandon() {
  WB_ASSERT(!done_ && pending_ == 0, "only an unfinished checkpoint at rest is abandoned");
  ignore_error(disk_.remove(directory_ + "/" + unfinished_checkpoint_name(id_.number)),
               "it is worthless, and recovery removes it");
}

}  // namespace waybill

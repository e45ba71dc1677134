#include "storage/place_reader.h"

#include <algorithm>
#include <utility>

namespace waybill {

void PlaceReader::keep(std::uint64_t number, OpenFilePointer file) {
  if (files_.size() == kMaxOpenFiles) files_.erase(files_.begin());
  files_.push_back({.number = number, .file = std::move(file)});
}

void PlaceReader::forget_before(std::uint64_t number) {
  std::erase_if(files_, [number](const Entry& entry) { return entry.number < number; });
}

Result<OpenFilePointer> PlaceReader::open(std::uint64_t number) {
  auto found = std::find_if(files_.begin(), files_.end(),
                            [number](const Entry& entry) { return entry.number == number; });
  if (found != files_.end()) {
    std::rotate(found, found + 1, files_.end());
    return files_.back().file;
  }
  Result<FileHandle> handle = disk_.open(directory_ + "/" + journal_name(number), OpenMode::kRead);
  if (!handle) return handle.error();
  keep(number, std::make_shared<OpenFile>(disk_, *handle));
  return files_.back().file;
}

void PlaceReader::read(JournalPlace place, Done done) {
  WB_ASSERT(place.size > 0, "there is something to read");
  Result<OpenFilePointer> file = open(place.file_number);
  if (!file) return done(file.error());
  // The file is captured so that it stays open even if it is dropped from the list meanwhile.
  queue_.add(place.size, [this, place, file = *file, done = std::move(done)]() mutable {
    start_read(file, place, std::move(done));
    return true;
  });
}

void PlaceReader::start_read(const OpenFilePointer& file, JournalPlace place, Done done) {
  const std::uint64_t begin = place.position / limits::kBlock * limits::kBlock;
  const std::uint64_t end = round_up_to_block(place.position + place.size);
  auto memory = std::make_shared<AlignedMemory>(end - begin);
  const MutableBytes buffer = memory->bytes();
  const std::size_t skip = place.position - begin;
  ++pending_;
  auto finish = [this, memory = std::move(memory), keep_open = file, skip, size = place.size,
                 done = std::move(done)](Result<std::size_t> result) mutable {
    --pending_;
    keep_open.reset();
    if (silent_) return;
    queue_.ended(size);
    if (!result) return done(result.error());
    if (*result < skip + size)
      return done(Error{Errc::kDamaged, 0, "journal read: file too short"});
    const Bytes bytes = memory->bytes().subspan(skip, size);
    done(SharedBytes(std::move(memory), bytes));
  };
  disk_.read(file->handle(), begin, buffer, std::move(finish));
}

}  // namespace waybill

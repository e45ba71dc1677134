#include "storage/segment_files.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "storage/aligned_memory.h"
#include "storage/segment_reader.h"

namespace waybill {
namespace {

/// A block begins in each interval of the index.
constexpr std::uint64_t kLargestPlace = kIndexInterval + kMaxSegmentBlock;

/// The batches of all blocks, which must fill the place and hold exactly its offsets.
Result<std::vector<SharedBytes>> batches_in(const SegmentId& id, const SegmentPlace& place,
                                            const std::shared_ptr<AlignedMemory>& memory) {
  std::vector<SharedBytes> all;
  Offset next = place.offsets.first;
  for (std::uint64_t done = 0; done < place.size;) {
    const Bytes rest = memory->bytes().subspan(done, place.size - done);
    const std::optional<SegmentBlock> header = peek_block(rest, id, rest.size());
    if (!header || header->base != next || header->end <= next ||
        !block_intact(rest.first(header->block_size), id, place.position + done))
      return {Errc::kDamaged, "segment block"};
    if (header->version != kSegmentVersion)
      return {Errc::kUnsupportedFormat, "segment block: version"};
    Result<std::vector<Bytes>> batches = block_batches(*header, rest.first(header->block_size));
    if (!batches) return batches.error();
    for (const Bytes batch : *batches) all.emplace_back(memory, batch);
    done += header->block_size;
    next = header->end;
  }
  if (next != place.offsets.last + 1) return {Errc::kDamaged, "segment block"};
  return all;
}

}  // namespace

std::string SegmentFiles::directory_of(StreamId stream) const {
  return directory_ + "/" + stream_directory_name(stream);
}

void SegmentFiles::found_damage(const std::string& path, std::uint64_t position,
                                OffsetRange offsets) {
  damage_ = path + " at position " + std::to_string(position) + ": offsets " +
            std::to_string(offsets.first.value) + "-" + std::to_string(offsets.last.value) +
            " cannot be read. Restore the file from a copy.";
}

Result<OpenFilePointer> SegmentFiles::open(const SegmentId& id) {
  auto found = std::ranges::find(files_, id, &Entry::id);
  if (found != files_.end()) {
    std::rotate(found, found + 1, files_.end());
    return files_.back().file;
  }
  Result<FileHandle> handle =
      disk_.open(directory_of(id.stream) + "/" + segment_name(id), OpenMode::kRead);
  if (!handle) return handle.error();
  if (files_.size() == kMaxOpenFiles) {
    let_go(files_.front());
    files_.erase(files_.begin());
  }
  files_.push_back({.id = id, .file = std::make_shared<OpenFile>(disk_, *handle)});
  return files_.back().file;
}

Result<void> SegmentFiles::check_there(const SegmentId& id, std::uint64_t size,
                                       std::string* explanation) {
  Result<OpenFilePointer> file = open(id);
  if (!file && file.error() != Errc::kNotFound) return file.error();
  Result<std::uint64_t> there = file ? disk_.size((*file)->handle()) : std::uint64_t{0};
  if (there && *there >= size) return {};
  *explanation = directory_of(id.stream) + "/" + segment_name(id) +
                 (file ? " is shorter than it was" : " is missing") +
                 ": acknowledged messages were stored in it. Restore it from a copy.";
  return {Errc::kDamaged, "segment"};
}

std::vector<SegmentIndexEntry> SegmentFiles::read_index(const SegmentId& id, std::uint64_t size,
                                                        Offset end) {
  std::string explanation;
  Result<std::unique_ptr<SegmentReader>> reader = SegmentReader::open(
      disk_, directory_of(id.stream), id, SegmentClaim{.position = size, .end = end}, &explanation);
  if (reader) return (*reader)->contents().index;
  constexpr WallTime kNever{std::numeric_limits<std::int64_t>::min()};
  return {{.base = id.base, .max_before = kNever, .position = 0}};
}

const std::vector<SharedBytes>* SegmentFiles::find_cached(const SegmentId& id,
                                                          const SegmentPlace& place) {
  auto known = std::ranges::find_if(cache_, [&](const Cached& cached) {
    return cached.id == id && cached.place.position == place.position &&
           cached.place.size == place.size;
  });
  if (known == cache_.end()) return nullptr;
  cache_.splice(cache_.begin(), cache_, known);
  return &known->batches;
}

void SegmentFiles::read(const SegmentId& id, const SegmentPlace& place, Done done, bool once) {
  if (const auto* known = find_cached(id, place)) {
    const std::vector<SharedBytes> batches = *known;
    return done(batches);
  }
  Result<OpenFilePointer> file = open(id);
  if (!file && file.error() == Errc::kNotFound) {
    found_damage(path_of(id), place.position, place.offsets);
    return done(Error{Errc::kDamaged, 0, "segment: missing"});
  }
  if (place.size > kLargestPlace) {
    found_damage(path_of(id), place.position, place.offsets);
    return done(Error{Errc::kDamaged, 0, "segment: no index"});
  }
  if (!file) return done(file.error());
  queue_.add(place.size,
             [this, wanted = Wanted{id, place, std::move(*file), once, std::move(done)}]() mutable {
               // Somebody else may have read it meanwhile.
               if (const auto* known = find_cached(wanted.id, wanted.place)) {
                 const std::vector<SharedBytes> batches = *known;
                 wanted.done(batches);
                 return false;
               }
               start_read(std::move(wanted));
               return true;
             });
}

void SegmentFiles::start_read(Wanted wanted) {
  const FileHandle handle = wanted.file->handle();
  const std::uint64_t position = wanted.place.position;
  auto memory = std::make_shared<AlignedMemory>(wanted.place.size);
  const MutableBytes buffer = memory->bytes().first(wanted.place.size);
  trim_cache();
  ++pending_;
  auto finish = [this, memory = std::move(memory),
                 wanted = std::move(wanted)](const Result<std::size_t>& result) mutable {
    --pending_;
    const SegmentPlace& place = wanted.place;
    wanted.file.reset();
    if (silent_) return;
    queue_.ended(place.size);
    if (!result) return wanted.done(result.error());
    Result<std::vector<SharedBytes>> batches = *result == place.size
                                                   ? batches_in(wanted.id, place, memory)
                                                   : Error{Errc::kDamaged, 0, "segment: cut short"};
    if (!batches && batches.error() == Errc::kDamaged) {
      found_damage(path_of(wanted.id), place.position, place.offsets);
    }
    if (batches && !wanted.once) keep({wanted.id, place, *batches});
    wanted.done(batches);
  };
  disk_.read(handle, position, buffer, std::move(finish));
}

void SegmentFiles::keep(Cached cached) {
  cached_bytes_ += cached.place.size;
  cache_.push_front(std::move(cached));
  trim_cache();
}

void SegmentFiles::trim_cache() {
  while (!cache_.empty() && cached_bytes_ + queue_.reading() > budget_) {
    cached_bytes_ -= cache_.back().place.size;
    cache_.pop_back();
  }
}

void SegmentFiles::let_go(const Entry& entry) {
  std::erase_if(leaving_, [](const auto& left) { return left.second.expired(); });
  if (entry.file.use_count() > 1) leaving_.emplace_back(entry.id, entry.file);
}

template <class Matches>
bool SegmentFiles::reads_any(Matches matches) const {
  return std::ranges::any_of(
      leaving_, [&](const auto& left) { return matches(left.first) && !left.second.expired(); });
}

bool SegmentFiles::reads(const SegmentId& segment) const {
  return reads_any([&](const SegmentId& id) { return id == segment; });
}

bool SegmentFiles::reads(StreamId stream) const {
  return reads_any([&](const SegmentId& id) { return id.stream == stream; });
}

template <class Gone>
void SegmentFiles::forget_if(Gone gone) {
  std::erase_if(files_, [&](const Entry& entry) {
    if (gone(entry.id)) let_go(entry);
    return gone(entry.id);
  });
  std::erase_if(cache_, [&](const Cached& cached) {
    if (!gone(cached.id)) return false;
    cached_bytes_ -= cached.place.size;
    return true;
  });
}

void SegmentFiles::forget(const SegmentId& segment) {
  forget_if([&](const SegmentId& id) { return id == segment; });
}

void SegmentFiles::forget(StreamId stream) {
  forget_if([&](const SegmentId& id) { return id.stream == stream; });
}

}  // namespace waybill

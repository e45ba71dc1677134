#include "storage/io/sim_disk.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "storage/io/disk_path.h"

namespace waybill {

/// Bytes that have reached `current` or the wire, but not certainly the medium.
struct SimDisk::UnsyncedWrite {
  enum class State : std::uint8_t { kInFlight, kCompleted, kFailed };
  std::uint64_t id = 0;
  std::uint64_t completed = 0;  ///< when, in ids
  State state = State::kInFlight;
  std::uint64_t position = 0;
  ByteVector data;
  std::vector<bool> gone;  ///< sectors that a later durable write has replaced

  /// Sectors are cut at multiples of kSector of the file, so the first may be a part of one.
  [[nodiscard]] std::size_t sectors() const {
    return (position % kSector + data.size() + kSector - 1) / kSector;
  }
  [[nodiscard]] std::uint64_t sector_position(std::size_t sector) const {
    return sector == 0 ? position : (position / kSector + sector) * kSector;
  }
  [[nodiscard]] Bytes sector_bytes(std::size_t sector) const {
    const std::uint64_t begin = sector_position(sector);
    const std::uint64_t end =
        std::min((position / kSector + sector + 1) * kSector, position + data.size());
    return Bytes(data).subspan(begin - position, end - begin);
  }
};

struct SimDisk::File {
  std::uint64_t id = 0;
  std::string path;  ///< the newest name, for people
  SimContent durable;
  SimContent current;
  std::vector<UnsyncedWrite> unsynced;  ///< by id
};

struct SimDisk::DirectoryChange {
  UnsyncedPart::Kind kind{};
  FilePointer file;
  std::string path;  ///< the name created, removed, or given
  std::string from;  ///< kRename: the name taken away
  std::uint64_t made = 0;
};

struct SimDisk::Operation {
  SimOperation::Kind kind{};
  FilePointer file;  ///< kSyncDirectory, kRemove: none
  std::string path;  ///< of those
  std::uint64_t position = 0;
  Bytes data;
  MutableBytes buffer;
  Durability durability{};
  Completion completion;
  std::uint64_t id = 0;
  std::optional<Error> failure;
  std::optional<std::size_t> short_size;
};

struct SimDisk::Fault {
  std::optional<Errc> error;
  std::size_t short_size = 0;
};

/// What becomes of one disk call.
struct SimDisk::Turn {
  std::optional<Error> failure;
  std::optional<std::size_t> short_size;
  bool cut = false;  ///< the power fails during this call
};

namespace {

Error closed() {
  return {Errc::kClosed, 0, "simulated power cut"};
}

Error planned(Errc code) {
  return {code, code == Errc::kNoSpace ? ENOSPC : EIO, "simulated fault"};
}

void flip(SimContent& content, std::uint64_t position, unsigned bit) {
  std::byte byte{};
  WB_ASSERT(content.read(position, {&byte, 1}) == 1, "the bit to flip lies inside the file");
  byte ^= std::byte{1} << (bit % 8);
  content.write(position, {&byte, 1});
}

}  // namespace

// --- images and plans ---

void SimDiskImage::flip_bit(std::string_view path, std::uint64_t position, unsigned bit) {
  auto file = files.find(path);
  WB_ASSERT(file != files.end(), "the file whose bit is to flip exists");
  flip(file->second, position, bit);
}

CrashPlan keep_none() {
  return [](const UnsyncedPart&) { return false; };
}
CrashPlan keep_all() {
  return [](const UnsyncedPart&) { return true; };
}
CrashPlan keep_only(std::size_t index) {
  return [index](const UnsyncedPart& part) { return part.index == index; };
}
CrashPlan keep_all_but(std::size_t index) {
  return [index](const UnsyncedPart& part) { return part.index != index; };
}
CrashPlan keep_random(std::uint64_t seed, unsigned percent) {
  return [random = SeededRandom(seed), percent](const UnsyncedPart&) mutable {
    return random.below(100) < percent;
  };
}
CrashPlan keep_torn(std::size_t write, std::size_t sectors) {
  return [write, sectors](const UnsyncedPart& part) {
    if (part.kind != UnsyncedPart::Kind::kSector) return true;
    return part.write == write ? part.sector < sectors : part.write < write;
  };
}

// --- life ---

SimDisk::SimDisk(SimDiskImage image, SimDiskOptions options)
    : options_(options), random_(options.seed), directories_(std::move(image.directories)) {
  for (auto& [path, content] : image.files) {
    auto file = std::make_shared<File>();
    file->id = next_id_++;
    file->path = path;
    file->durable = content;
    file->current = content;
    files_.emplace(file->id, file);
    names_.emplace(path, file);
    durable_names_.emplace(path, std::move(file));
  }
}

SimDisk::~SimDisk() = default;

SimDisk::Turn SimDisk::begin() {
  if (crashed_) return {.failure = closed(), .short_size = {}, .cut = false};
  const std::uint64_t number = operations_++;
  if (number == cut_at_) {
    crashed_ = true;
    return {.failure = closed(), .short_size = {}, .cut = true};
  }
  Turn turn;
  if (auto fault = faults_.find(number); fault != faults_.end()) {
    if (fault->second.error) {
      turn.failure = planned(*fault->second.error);
    } else {
      turn.short_size = fault->second.short_size;
    }
    faults_.erase(fault);
  }
  return turn;
}

SimDisk::Handle& SimDisk::handle(FileHandle file) {
  auto found = handles_.find(file.value);
  WB_ASSERT(found != handles_.end(), "the file is open");
  return found->second;
}

// --- crashes and faults ---

void SimDisk::each_unsynced_sector(
    const std::function<void(const File&, const UnsyncedWrite&, UnsyncedPart&)>& visit) const {
  UnsyncedPart part{};
  part.kind = UnsyncedPart::Kind::kSector;
  for (const auto& [id, file] : files_) {
    for (const UnsyncedWrite& write : file->unsynced) {
      for (std::size_t sector = 0; sector < write.sectors(); ++sector) {
        if (write.gone[sector]) continue;
        part.sector = sector;
        part.in_flight = write.state == UnsyncedWrite::State::kInFlight;
        part.position = write.sector_position(sector);
        part.path = file->path;
        visit(*file, write, part);
        ++part.index;
      }
      ++part.write;
    }
  }
}

std::vector<UnsyncedPart> SimDisk::unsynced() const {
  std::vector<UnsyncedPart> parts;
  each_unsynced_sector(
      [&](const File&, const UnsyncedWrite&, UnsyncedPart& part) { parts.push_back(part); });
  for (const DirectoryChange& change : changes_)
    parts.push_back(part_of(change.kind, parts.size(), change.path));
  for (const auto& [path, made] : unsynced_directories_)
    parts.push_back(part_of(UnsyncedPart::Kind::kCreateDirectory, parts.size(), path));
  return parts;
}

UnsyncedPart SimDisk::part_of(UnsyncedPart::Kind kind, std::size_t index, const std::string& path) {
  UnsyncedPart part{};
  part.kind = kind;
  part.index = index;
  part.path = path;
  return part;
}

SimDiskImage SimDisk::crash(const CrashPlan& keep) const {
  std::map<const File*, SimContent> contents;
  for (const auto& [id, file] : files_) contents.emplace(file.get(), file->durable);
  std::size_t index = 0;
  each_unsynced_sector([&](const File& file, const UnsyncedWrite& write, UnsyncedPart& part) {
    if (keep(part)) contents[&file].write(part.position, write.sector_bytes(part.sector));
    index = part.index + 1;
  });
  Names names = durable_names_;
  for (const DirectoryChange& change : changes_) {
    if (keep(part_of(change.kind, index++, change.path))) apply_change(names, change);
  }
  SimDiskImage image;
  image.directories = directories_;
  for (const auto& [path, made] : unsynced_directories_) {
    if (keep(part_of(UnsyncedPart::Kind::kCreateDirectory, index++, path))) continue;
    auto lost = [whole = path + "/"](const std::string& inside) {
      return (inside + "/").starts_with(whole);
    };
    std::erase_if(image.directories, lost);
    std::erase_if(names, [&](const auto& entry) { return lost(entry.first); });
  }
  for (const auto& [path, file] : names) {
    image.files.emplace(path, contents[file.get()]);
    // A directory that was removed may still hold a file whose removal was lost.
    for (std::string_view up = parent_of(path); !up.empty(); up = parent_of(up))
      image.directories.emplace(up);
  }
  return image;
}

void SimDisk::fail_after(std::uint64_t count, Errc code) {
  faults_[operations_ + count] = Fault{.error = code, .short_size = 0};
}

void SimDisk::short_write_after(std::uint64_t count, std::size_t size) {
  faults_[operations_ + count] = Fault{.error = {}, .short_size = size};
}

void SimDisk::flip_bit(std::string_view path, std::uint64_t position, unsigned bit) {
  auto found = names_.find(path);
  WB_ASSERT(found != names_.end(), "the file whose bit is to flip exists");
  File& file = *found->second;
  flip(file.current, position, bit);
  if (position < file.durable.size()) flip(file.durable, position, bit);
}

// --- unsynced writes ---

std::uint64_t SimDisk::put_in_flight(File& file, std::uint64_t position, Bytes data) {
  UnsyncedWrite write;
  write.id = next_id_++;
  write.position = position;
  write.data = to_vector(data);
  write.gone.resize(write.sectors());
  file.unsynced.push_back(std::move(write));
  return file.unsynced.back().id;
}

/// Forgets what older, finished writes still had in sectors that are now durably written.
void SimDisk::supersede(File& file, std::uint64_t before, std::uint64_t position,
                        std::uint64_t size) {
  for (UnsyncedWrite& older : file.unsynced) {
    if (older.id >= before || older.state == UnsyncedWrite::State::kInFlight) continue;
    for (std::size_t sector = 0; sector < older.sectors(); ++sector) {
      const std::uint64_t begin = older.sector_position(sector);
      const std::uint64_t end = begin + older.sector_bytes(sector).size();
      if (begin >= position && end <= position + size) older.gone[sector] = true;
    }
  }
  std::erase_if(file.unsynced, [](const UnsyncedWrite& write) {
    return std::find(write.gone.begin(), write.gone.end(), false) == write.gone.end();
  });
}

/// The first `done` bytes of an in-flight write have arrived; the rest never will for certain.
void SimDisk::settle_write(File& file, std::uint64_t id, std::size_t done, bool durable) {
  auto found = std::find_if(file.unsynced.begin(), file.unsynced.end(),
                            [id](const UnsyncedWrite& write) { return write.id == id; });
  WB_ASSERT(found != file.unsynced.end(), "an in-flight write is listed");
  const std::uint64_t position = found->position;
  Bytes arrived = Bytes(found->data).first(done);
  file.current.write(position, arrived);
  if (durable && done == found->data.size() && position % SimContent::kChunk == 0 &&
      done % SimContent::kChunk == 0) {
    file.durable.adopt(file.current, position, done);
  } else if (durable) {
    file.durable.write(position, arrived);
  }
  const std::uint64_t now = next_id_++;
  if (done == found->data.size()) {
    found->state = UnsyncedWrite::State::kCompleted;
    found->completed = now;
    if (durable) supersede(file, id + 1, position, done);
    return;
  }
  found->state = UnsyncedWrite::State::kFailed;
  if (done == 0) return;
  if (durable) {
    supersede(file, id + 1, position, done);
    return;
  }
  UnsyncedWrite head;
  head.id = found->id;
  head.completed = now;
  head.state = UnsyncedWrite::State::kCompleted;
  head.position = position;
  head.data = to_vector(arrived);
  head.gone.resize(head.sectors());
  file.unsynced.insert(found, std::move(head));
}

/// A sync makes durable what completed before it was submitted; a failed one gives it up.
void SimDisk::settle_sync(File& file, std::uint64_t submitted, bool ok) {
  std::vector<UnsyncedWrite> covered;
  for (UnsyncedWrite& write : file.unsynced) {
    if (write.state != UnsyncedWrite::State::kCompleted || write.completed >= submitted) continue;
    if (ok) {
      covered.push_back(write);
    } else {
      write.state = UnsyncedWrite::State::kFailed;
    }
  }
  for (const UnsyncedWrite& write : covered) {
    for (std::size_t sector = 0; sector < write.sectors(); ++sector) {
      if (!write.gone[sector])
        file.durable.write(write.sector_position(sector), write.sector_bytes(sector));
    }
    supersede(file, write.id + 1, write.position, write.data.size());
  }
}

bool SimDisk::fits(const File& file, std::uint64_t end) const {
  if (end <= file.current.size()) return true;
  if (options_.capacity == std::numeric_limits<std::uint64_t>::max()) return true;
  return used() + end - file.current.size() <= options_.capacity;
}

/// Files that were removed give their room at once, as file systems do when it becomes scarce.
std::uint64_t SimDisk::used() const {
  std::set<const File*> taking;
  for (const auto& [name, file] : names_) taking.insert(file.get());
  for (const auto& [number, opened] : handles_) taking.insert(opened.file.get());
  std::uint64_t bytes = 0;
  for (const File* file : taking) bytes += file->current.size();
  return bytes;
}

// --- asynchronous ---

void SimDisk::enqueue(Operation operation, FileHandle file, Completion completion) {
  Handle& opened = handle(file);
  WB_ASSERT(operation.kind != SimOperation::Kind::kWrite || opened.writable,
            "the file is open for writing");
  WB_ASSERT(operation.position % 4096 == 0 && operation.data.size() % 4096 == 0 &&
                operation.buffer.size() % 4096 == 0,
            "asynchronous operations are aligned to 4096 bytes");
  WB_ASSERT(reinterpret_cast<std::uintptr_t>(operation.data.data()) % 4096 == 0 &&
                reinterpret_cast<std::uintptr_t>(operation.buffer.data()) % 4096 == 0,
            "asynchronous buffers are aligned to 4096 bytes");
  operation.file = opened.file;
  operation.completion = std::move(completion);
  Turn turn = begin();
  operation.failure = turn.failure;
  operation.short_size = turn.short_size;
  if (turn.cut && operation.kind == SimOperation::Kind::kWrite)
    put_in_flight(*operation.file, operation.position, operation.data);
  queued_.push_back(std::move(operation));
}

void SimDisk::write(FileHandle file, std::uint64_t position, Bytes data, Durability durability,
                    Completion completion) {
  Operation operation;
  operation.kind = SimOperation::Kind::kWrite;
  operation.position = position;
  operation.data = data;
  operation.durability = durability;
  enqueue(std::move(operation), file, std::move(completion));
}

void SimDisk::read(FileHandle file, std::uint64_t position, MutableBytes buffer,
                   Completion completion) {
  Operation operation;
  operation.kind = SimOperation::Kind::kRead;
  operation.position = position;
  operation.buffer = buffer;
  enqueue(std::move(operation), file, std::move(completion));
}

void SimDisk::sync(FileHandle file, Completion completion) {
  Operation operation;
  operation.kind = SimOperation::Kind::kSync;
  enqueue(std::move(operation), file, std::move(completion));
}

void SimDisk::sync_directory(std::string_view path, Completion completion) {
  Operation operation;
  operation.kind = SimOperation::Kind::kSyncDirectory;
  operation.path = std::string(path);
  operation.completion = std::move(completion);
  operation.failure = begin().failure;
  queued_.push_back(std::move(operation));
}

void SimDisk::remove(std::string_view path, Completion completion) {
  Operation operation;
  operation.kind = SimOperation::Kind::kRemove;
  operation.path = std::string(path);
  operation.completion = std::move(completion);
  Turn turn = begin();
  operation.failure = turn.failure;
  if (turn.cut) ignore_error(remove_file(path, turn), "it may have been done");
  queued_.push_back(std::move(operation));
}

void SimDisk::submit() {
  while (!queued_.empty()) {
    Operation operation = std::move(queued_.front());
    queued_.pop_front();
    if (operation.kind == SimOperation::Kind::kRemove && !operation.failure && !crashed_)
      begin_removal(operation);
    const bool reaches_medium = operation.kind == SimOperation::Kind::kWrite && !crashed_;
    operation.id = reaches_medium
                       ? put_in_flight(*operation.file, operation.position, operation.data)
                       : next_id_++;
    in_flight_.emplace(operation.id, std::move(operation));
  }
}

/// The name goes, and whoever has the file open finds holes in it.
void SimDisk::begin_removal(Operation& operation) {
  auto found = names_.find(operation.path);
  const FilePointer file = found == names_.end() ? nullptr : found->second;
  if (Result<void> done = remove_file(operation.path, {}); !done) {
    operation.failure = done.error();
    return;
  }
  const std::uint64_t size = std::exchange(file->current, {}).size();
  constexpr std::byte kZero{0};
  if (size > 0) file->current.write(size - 1, {&kZero, 1});
}

std::vector<SimOperation> SimDisk::in_flight() const {
  std::vector<SimOperation> all;
  for (const auto& [id, operation] : in_flight_) {
    all.push_back({.id = id,
                   .kind = operation.kind,
                   .path = operation.file ? operation.file->path : operation.path,
                   .position = operation.position,
                   .size = std::max(operation.data.size(), operation.buffer.size())});
  }
  return all;
}

void SimDisk::complete(std::uint64_t id) {
  WB_ASSERT(options_.order == SimOrder::kByHand, "completions are chosen by hand");
  WB_ASSERT(in_flight_.contains(id), "the operation is in flight");
  WB_ASSERT(std::find(chosen_.begin(), chosen_.end(), id) == chosen_.end(), "chosen once");
  chosen_.push_back(id);
}

Result<std::size_t> SimDisk::apply_write(Operation& operation) {
  File& file = *operation.file;
  const std::size_t size = operation.data.size();
  if (!operation.failure && !fits(file, operation.position + size))
    operation.failure = planned(Errc::kNoSpace);
  if (operation.failure) {
    settle_write(file, operation.id, 0, false);
    return *operation.failure;
  }
  auto listed = std::find_if(file.unsynced.begin(), file.unsynced.end(),
                             [&](const UnsyncedWrite& write) { return write.id == operation.id; });
  WB_ASSERT(listed != file.unsynced.end() && equal(listed->data, operation.data),
            "a buffer does not change while its write is in flight");
  const std::size_t done = std::min(operation.short_size.value_or(size), size);
  settle_write(file, operation.id, done, operation.durability == Durability::kDurable);
  return done;
}

Result<std::size_t> SimDisk::apply(Operation& operation) {
  if (crashed_) return closed();
  switch (operation.kind) {
    case SimOperation::Kind::kWrite:
      return apply_write(operation);
    case SimOperation::Kind::kRead:
      if (operation.failure) return *operation.failure;
      return operation.file->current.read(operation.position, operation.buffer);
    case SimOperation::Kind::kSync:
      settle_sync(*operation.file, operation.id, !operation.failure);
      if (operation.failure) return *operation.failure;
      return std::size_t{0};
    case SimOperation::Kind::kSyncDirectory:
      if (operation.failure) return *operation.failure;
      if (Result<void> done = settle_directory(operation.path, operation.id); !done)
        return done.error();
      return std::size_t{0};
    case SimOperation::Kind::kRemove:
      if (operation.failure) return *operation.failure;
      return std::size_t{0};
  }
  return closed();
}

std::size_t SimDisk::finish(std::vector<std::uint64_t> ids) {
  WB_ASSERT(!reaping_, "a completion does not reap");
  reaping_ = true;
  for (std::uint64_t id : ids) {
    auto node = in_flight_.extract(id);
    Operation& operation = node.mapped();
    Result<std::size_t> result = apply(operation);
    operation.completion(std::move(result));
  }
  reaping_ = false;
  return ids.size();
}

std::size_t SimDisk::reap() {
  if (options_.order == SimOrder::kByHand) return finish(std::exchange(chosen_, {}));
  std::vector<std::uint64_t> ids;
  for (const auto& [id, operation] : in_flight_) ids.push_back(id);
  if (options_.order == SimOrder::kRandom && !ids.empty()) {
    for (std::size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[random_.below(i)]);
    ids.resize(random_.below(ids.size() + 1));
  }
  return finish(std::move(ids));
}

std::size_t SimDisk::pending() const {
  return queued_.size() + in_flight_.size();
}

std::size_t SimDisk::wait() {
  WB_ASSERT(pending() > 0, "there is something to wait for");
  submit();
  if (options_.order == SimOrder::kByHand && chosen_.empty()) complete(in_flight_.begin()->first);
  std::size_t done = 0;
  while (done == 0) done = reap();
  return done;
}

// --- blocking ---

Result<FileHandle> SimDisk::open(std::string_view path, OpenMode mode) {
  if (Result<void> ok = check_disk_path(path); !ok) return ok.error();
  auto found = names_.find(path);
  Turn turn = begin();
  if (mode != OpenMode::kCreate) {
    if (turn.failure) return *turn.failure;
    if (found == names_.end()) return {Errc::kNotFound, "disk open"};
  } else {
    if (turn.failure && !turn.cut) return *turn.failure;
    if (found != names_.end()) return Error{Errc::kIo, EEXIST, "disk create"};
    if (!directory_exists(parent_of(path))) return {Errc::kNotFound, "disk create"};
    auto file = std::make_shared<File>();
    file->id = next_id_++;
    file->path = std::string(path);
    files_.emplace(file->id, file);
    DirectoryChange change{.kind = UnsyncedPart::Kind::kCreate,
                           .file = std::move(file),
                           .path = std::string(path),
                           .from = {}};
    if (Result<void> ok = change_names(std::move(change), turn); !ok) return ok.error();
    found = names_.find(path);
  }
  const std::int32_t number = next_handle_++;
  handles_[number] = Handle{.file = found->second, .writable = mode != OpenMode::kRead};
  return FileHandle{number};
}

void SimDisk::close(FileHandle file) {
  WB_ASSERT(handles_.erase(file.value) == 1, "the file is open");
}

Result<std::uint64_t> SimDisk::size(FileHandle file) {
  if (crashed_) return closed();
  return handle(file).file->current.size();
}

Result<std::size_t> SimDisk::read_now(FileHandle file, std::uint64_t position,
                                      MutableBytes buffer) {
  Handle& opened = handle(file);
  if (Turn turn = begin(); turn.failure) return *turn.failure;
  return opened.file->current.read(position, buffer);
}

Result<void> SimDisk::write_now(FileHandle file, std::uint64_t position, Bytes data) {
  Handle& opened = handle(file);
  WB_ASSERT(opened.writable, "the file is open for writing");
  if (data.empty()) return {};
  Turn turn = begin();
  if (turn.failure && !turn.cut && crashed_) return *turn.failure;
  const std::uint64_t id = put_in_flight(*opened.file, position, data);
  if (turn.cut) return *turn.failure;
  if (turn.short_size) turn.failure = planned(Errc::kIo);  // the rest failed when it was tried
  if (!turn.failure && !fits(*opened.file, position + data.size()))
    turn.failure = planned(Errc::kNoSpace);
  settle_write(*opened.file, id, turn.failure ? 0 : data.size(), true);
  if (turn.failure) return *turn.failure;
  return {};
}

Result<void> SimDisk::allocate(FileHandle file, std::uint64_t size) {
  Handle& opened = handle(file);
  WB_ASSERT(opened.writable, "the file is open for writing");
  if (Turn turn = begin(); turn.failure) return *turn.failure;
  if (size <= opened.file->current.size()) return {};
  if (!fits(*opened.file, size)) return planned(Errc::kNoSpace);
  constexpr std::byte kZero{0};
  opened.file->current.write(size - 1, {&kZero, 1});
  if (opened.file->durable.size() < size) opened.file->durable.write(size - 1, {&kZero, 1});
  return {};
}

Result<std::uint64_t> SimDisk::free_space() {
  if (crashed_) return closed();
  const std::uint64_t taken = used();
  return taken < options_.capacity ? options_.capacity - taken : 0;
}

Result<void> SimDisk::sync_now(FileHandle file) {
  Handle& opened = handle(file);
  Turn turn = begin();
  if (crashed_) return closed();
  settle_sync(*opened.file, next_id_++, !turn.failure);
  if (turn.failure) return *turn.failure;
  return {};
}

// --- directories ---

bool SimDisk::directory_exists(std::string_view path) const {
  return path.empty() || path == "." || directories_.contains(path);
}

/// False, and nothing done, if the change builds on one that was lost.
bool SimDisk::apply_change(Names& names, const DirectoryChange& change) {
  if (change.kind == UnsyncedPart::Kind::kCreate)
    return names.try_emplace(change.path, change.file).second;
  const bool renaming = change.kind == UnsyncedPart::Kind::kRename;
  auto old = names.find(renaming ? change.from : change.path);
  if (old == names.end() || old->second != change.file) return false;
  names.erase(old);
  if (renaming) names.insert_or_assign(change.path, change.file);
  return true;
}

Result<void> SimDisk::change_names(DirectoryChange change, const Turn& turn) {
  if (turn.failure && !turn.cut) return *turn.failure;
  if (!turn.cut) {
    WB_ASSERT(apply_change(names_, change), "the change was checked before");
    change.file->path = change.path;
  }
  change.made = next_id_++;
  changes_.push_back(std::move(change));
  if (turn.cut) return *turn.failure;
  return {};
}

Result<void> SimDisk::sync_directory(std::string_view path) {
  if (Turn turn = begin(); turn.failure) return *turn.failure;
  return settle_directory(path, next_id_++);
}

Result<void> SimDisk::settle_directory(std::string_view path, std::uint64_t submitted) {
  if (Result<void> ok = check_disk_path(path, true); !ok) return ok.error();
  if (!directory_exists(path)) return {Errc::kNotFound, "disk sync_directory"};
  const std::string_view directory = path == "." ? std::string_view() : path;
  std::vector<DirectoryChange> rest;
  // A change is durable with its directory, and so is what came before it to the same file.
  for (std::size_t i = 0; i < changes_.size(); ++i) {
    const bool covered =
        std::any_of(changes_.begin() + i, changes_.end(), [&](const DirectoryChange& later) {
          return later.file == changes_[i].file && parent_of(later.path) == directory &&
                 later.made < submitted;
        });
    if (!covered || !apply_change(durable_names_, changes_[i])) rest.push_back(changes_[i]);
  }
  changes_ = std::move(rest);
  std::erase_if(unsynced_directories_, [&](const auto& entry) {
    return parent_of(entry.first) == directory && entry.second < submitted;
  });
  // Files that no name and no handle refers to any more are gone.
  std::erase_if(files_, [](const auto& entry) { return entry.second.use_count() == 1; });
  return {};
}

Result<void> SimDisk::rename(std::string_view from, std::string_view to) {
  for (std::string_view path : {from, to})
    if (Result<void> ok = check_disk_path(path); !ok) return ok.error();
  Turn turn = begin();
  auto found = names_.find(from);
  if (found == names_.end() || !directory_exists(parent_of(to))) {
    if (turn.failure) return *turn.failure;
    return {Errc::kNotFound, "disk rename"};
  }
  return change_names({.kind = UnsyncedPart::Kind::kRename,
                       .file = found->second,
                       .path = std::string(to),
                       .from = std::string(from)},
                      turn);
}

Result<void> SimDisk::remove_file(std::string_view path, const Turn& turn) {
  if (Result<void> ok = check_disk_path(path); !ok) return ok.error();
  auto found = names_.find(path);
  if (found != names_.end()) {
    return change_names({.kind = UnsyncedPart::Kind::kRemove,
                         .file = found->second,
                         .path = std::string(path),
                         .from = {}},
                        turn);
  }
  if (turn.failure) return *turn.failure;
  if (directories_.contains(path)) return Error{Errc::kIo, EISDIR, "disk remove"};
  return {Errc::kNotFound, "disk remove"};
}

Result<void> SimDisk::remove(std::string_view path) {
  Turn turn = begin();
  Result<void> removed = remove_file(path, turn);
  if (removed || removed.error().os_errno != EISDIR) return removed;
  const std::string below = std::string(path) + "/";
  auto inside = [&below](const auto& names, auto name) {
    auto first = names.lower_bound(below);
    return first != names.end() && name(*first).starts_with(below);
  };
  if (inside(names_, [](const auto& entry) { return std::string_view(entry.first); }) ||
      inside(directories_, [](const auto& entry) { return std::string_view(entry); }))
    return Error{Errc::kIo, ENOTEMPTY, "disk remove"};
  directories_.erase(directories_.find(path));
  std::erase_if(unsynced_directories_, [&](const auto& entry) { return entry.first == path; });
  return {};
}

Result<void> SimDisk::create_directory(std::string_view path) {
  if (Result<void> ok = check_disk_path(path); !ok) return ok.error();
  Turn turn = begin();
  const bool parent = directory_exists(parent_of(path));
  const bool possible = parent && !names_.contains(path);
  if (possible && (!turn.failure || turn.cut) && directories_.emplace(path).second)
    unsynced_directories_.emplace(path, next_id_++);
  if (turn.failure) return *turn.failure;
  if (!parent) return {Errc::kNotFound, "disk create_directory"};
  if (!possible) return Error{Errc::kIo, ENOTDIR, "disk create_directory"};
  return {};
}

Result<void> SimDisk::make_directory(std::string_view path) {
  if (Result<void> made = create_directory(path); !made) return made;
  std::erase_if(unsynced_directories_, [&](const auto& entry) { return entry.first == path; });
  return {};
}

Result<std::vector<std::string>> SimDisk::list(std::string_view path) {
  if (Result<void> ok = check_disk_path(path, true); !ok) return ok.error();
  Turn turn = begin();
  if (turn.failure) return *turn.failure;
  if (!directory_exists(path)) return {Errc::kNotFound, "disk list"};
  const std::string_view directory = path == "." ? std::string_view() : path;
  std::set<std::string> found;
  for (const auto& [name, file] : names_)
    if (parent_of(name) == directory) found.emplace(name_of(name));
  for (const std::string& name : directories_)
    if (parent_of(name) == directory) found.emplace(name_of(name));
  return std::vector<std::string>(found.begin(), found.end());
}

std::string SimDisk::describe() const {
  return "simulated disk, seed " + std::to_string(options_.seed);
}

}  // namespace waybill

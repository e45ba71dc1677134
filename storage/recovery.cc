#include "storage/recovery.h"

#include <algorithm>
#include <set>
#include <utility>

#include "storage/journal_frame.h"
#include "storage/journal_reader.h"

namespace waybill {
namespace {

constexpr const char* kUntouched =
    " Nothing was changed. Restore the file from a copy, or keep the directory for repair.";

class Recovery {
 public:
  Recovery(Disk& disk, const JournalOptions& options, Journal::Replay& replay,
           std::string& explanation, RecoveryMode mode)
      : disk_(disk), options_(options), replay_(replay), explanation_(explanation), mode_(mode) {}

  Result<Recovered> run();

 private:
  struct File {
    std::uint64_t number = 0;
    std::uint64_t size = 0;
    FileHeader header;
    std::uint64_t live_end = UINT64_MAX;  ///< frames from here on are void (R3)
  };
  /// The first position that holds no acceptable frame.
  struct Tail {
    std::size_t file = 0;  ///< index
    std::uint64_t position = 0;
    std::uint64_t frame_seq = 0;
  };

  Result<void> make_directory();
  Result<void> list_names();
  Result<void> read_headers();
  Result<void> check_header(File& file, Result<JournalFileReader>& reader);
  void mark_void();
  Result<void> replay_files();
  Result<void> replay_frame(const File& file, const FoundFrame& found);
  Result<void> check_frame(const File& file, const FoundFrame& found);
  void begin_with(const JournalFrameHeader& header);
  Result<void> check_base();
  Result<void> judge(const Tail& tail);
  Result<void> judge_file(const Tail& tail, std::size_t index);
  Result<void> tidy();

  [[nodiscard]] std::string path(std::string_view name) const {
    return options_.directory + "/" + std::string(name);
  }
  [[nodiscard]] std::string path(const File& file) const { return path(journal_name(file.number)); }
  Error refuse(Errc code, std::string what) {
    explanation_ = std::move(what);
    if (code == Errc::kDamaged) explanation_ += kUntouched;
    return {code, 0, "journal recovery"};
  }
  /// An error of the disk, not of what is on it.
  Error failed(const Error& error, const std::string& where) {
    if (explanation_.empty()) explanation_ = where + ": " + to_string(error);
    return error;
  }

  Disk& disk_;
  const JournalOptions& options_;
  Journal::Replay& replay_;
  std::string& explanation_;
  RecoveryMode mode_;
  std::vector<File> files_;
  std::vector<std::uint64_t> spares_;
  std::vector<std::string> foreign_;
  std::vector<std::string> unfinished_;
  std::uint32_t last_start_ = 0;
  Recovered recovered_;
};

std::string at(const std::string& path, std::uint64_t position) {
  return path + " at position " + std::to_string(position);
}

Result<Recovered> Recovery::run() {
  const bool looks = mode_ == RecoveryMode::kLook;
  if (Result<void> done = looks ? Result<void>() : make_directory(); !done) return done.error();
  if (Result<void> done = list_names(); !done) return done.error();
  if (Result<void> done = read_headers(); !done) return done.error();
  mark_void();
  if (Result<void> done = replay_files(); !done) return done.error();
  if (Result<void> done = check_base(); !done) return done.error();
  if (Result<void> done = looks ? Result<void>() : tidy(); !done) return done.error();
  recovered_.report.start_number = last_start_ + 1;
  return std::move(recovered_);
}

Result<void> Recovery::make_directory() {
  const std::string& whole = options_.directory;
  for (std::size_t end = 0; end != std::string::npos;) {
    end = whole.find('/', end + 1);
    Result<void> made = disk_.make_directory(whole.substr(0, end));
    if (!made) return failed(made.error(), whole);
  }
  return {};
}

Result<void> Recovery::list_names() {
  Result<std::vector<std::string>> names = disk_.list(options_.directory);
  if (!names) return failed(names.error(), options_.directory);
  for (const std::string& name : *names) {
    const JournalName parsed = parse_journal_name(name);
    switch (parsed.kind) {
      case JournalNameKind::kJournal:
        files_.emplace_back().number = parsed.number;
        break;
      case JournalNameKind::kSpare:
        spares_.push_back(parsed.number);
        break;
      case JournalNameKind::kFilling:
        unfinished_.push_back(name);
        break;
      case JournalNameKind::kQuarantine:
        break;
      case JournalNameKind::kForeign:
        foreign_.push_back(name);
        break;
    }
  }
  std::sort(files_.begin(), files_.end(),
            [](const File& a, const File& b) { return a.number < b.number; });
  // What the checkpoint made worthless.
  while (!files_.empty() && files_.front().number < options_.base.file_number) {
    unfinished_.push_back(journal_name(files_.front().number));
    files_.erase(files_.begin());
  }
  return {};
}

/// R1: every journal-named file has a good header. R2: none is missing.
Result<void> Recovery::read_headers() {
  const std::uint64_t first = options_.base.file_number;
  if (files_.empty() && first > 1) {
    return refuse(Errc::kDamaged, path(journal_name(first)) +
                                      " is missing; the checkpoint says that the journal goes on "
                                      "there.");
  }
  for (std::size_t i = 0; i < files_.size(); ++i) {
    File& file = files_[i];
    if (file.number != first + i) {
      const std::string name = path(journal_name(first + i));
      return refuse(Errc::kDamaged, i == 0 && first == 1
                                        ? name +
                                              " is missing, and so is a checkpoint that says "
                                              "what was in it; files after it are there."
                                        : name + " is missing, but files after it are there.");
    }
    Result<JournalFileReader> reader = JournalFileReader::open(disk_, path(file), true);
    if (Result<void> good = check_header(file, reader); !good) return good;
    file.size = reader->size();
    last_start_ = std::max(last_start_, file.header.start_number);
  }
  if (!files_.empty()) recovered_.next_frame_seq = files_.front().header.first_frame_seq;
  if (first == 1 && recovered_.next_frame_seq != 1)
    return refuse(Errc::kDamaged, path(files_.front()) + " does not begin with frame 1.");
  recovered_.report.files = files_.size();
  recovered_.next_file_number = first + files_.size();
  return {};
}

Result<void> Recovery::check_header(File& file, Result<JournalFileReader>& reader) {
  if (!reader) {
    const Error error = reader.error();
    if (error == Errc::kUnsupportedFormat) {
      return refuse(error.code, path(file) +
                                    " was written by a newer version of the broker; this one reads "
                                    "journal format " +
                                    std::to_string(kJournalVersion) + ".");
    }
    if (error == Errc::kBadFormat || error == Errc::kChecksum || error == Errc::kShortData) {
      return refuse(Errc::kDamaged,
                    path(file) + " has no valid header (" + error.where +
                        "). A file gets this name only after its header is durable, so the file "
                        "was damaged later and the frames in it cannot be trusted.");
    }
    return failed(error, path(file));
  }
  file.header = reader->header();
  if (file.header.shard != options_.shard) {
    return refuse(Errc::kDamaged, path(file) + " belongs to shard " +
                                      std::to_string(file.header.shard.value) + ", not to " +
                                      std::to_string(options_.shard.value) + ".");
  }
  if (file.header.file_number != file.number) {
    return refuse(Errc::kDamaged, path(file) + " says that it is file " +
                                      std::to_string(file.header.file_number) +
                                      "; it was renamed or copied.");
  }
  if (file.header.file_size != reader->size()) {
    return refuse(Errc::kDamaged, path(file) + " has " + std::to_string(reader->size()) +
                                      " bytes instead of " + std::to_string(file.header.file_size) +
                                      ".");
  }
  return {};
}

/// R3 (S7): a file's first frame voids equal and higher ones in earlier files.
void Recovery::mark_void() {
  std::uint64_t end = UINT64_MAX;
  for (std::size_t i = files_.size(); i-- > 0;) {
    files_[i].live_end = end;
    end = std::min(end, files_[i].header.first_frame_seq);
  }
}

/// R4: frames follow each other without a gap, from frame 1 to the first one that is not there.
Result<void> Recovery::replay_files() {
  std::uint64_t& expected = recovered_.next_frame_seq;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    const File& file = files_[i];
    recovered_.files.push_back({.number = file.number,
                                .first_entry = {recovered_.last_entry.value + 1},
                                .size = file.size});
    if (expected == file.live_end || file.header.first_frame_seq >= file.live_end) continue;
    Result<JournalFileReader> reader = JournalFileReader::open(disk_, path(file), false);
    if (!reader) return failed(reader.error(), path(file));
    std::uint64_t position = kFileHeaderSize;
    while (expected != file.live_end) {
      Result<std::optional<FoundFrame>> found = reader->frame_at(position);
      if (!found) return failed(found.error(), path(file));
      if (!found->has_value())
        return judge({.file = i, .position = position, .frame_seq = expected});
      const FoundFrame& frame = **found;
      if (Result<void> good = check_frame(file, frame); !good) return good;
      if (Result<void> done = replay_frame(file, frame); !done) return done;
      position += frame.header.frame_size;
      ++expected;
    }
  }
  return {};
}

/// R5: a valid frame in its place holds what this version writes.
Result<void> Recovery::check_frame(const File& file, const FoundFrame& found) {
  const JournalFrameHeader& header = found.header;
  const std::string where =
      "Frame " + std::to_string(header.frame_seq) + " in " + at(path(file), found.position);
  if (header.version != kJournalVersion || header.flags > FrameFlags::kIdleMark) {
    return refuse(Errc::kUnsupportedFormat,
                  where +
                      " was written by a newer version of the broker; this one reads journal "
                      "format " +
                      std::to_string(kJournalVersion) + ".");
  }
  const std::uint64_t expected = recovered_.next_frame_seq;
  if (header.frame_seq != expected) {
    return refuse(Errc::kDamaged, where + " stands where frame " + std::to_string(expected) +
                                      " belongs: frames are missing.");
  }
  if (recovered_.report.frames == 0 && options_.base.file_number > 1) begin_with(header);
  if (header.durable_seq >= header.frame_seq ||
      header.first_entry_seq.value != recovered_.last_entry.value + 1) {
    return refuse(Errc::kDamaged, where +
                                      " does not continue the frame before it: it begins with "
                                      "entry " +
                                      std::to_string(header.first_entry_seq.value) +
                                      " after entry " +
                                      std::to_string(recovered_.last_entry.value) + ".");
  }
  return {};
}

/// The first frame behind what a checkpoint made worthless: its entries go on from there.
void Recovery::begin_with(const JournalFrameHeader& header) {
  recovered_.last_entry = EntrySeq{header.first_entry_seq.value - 1};
  recovered_.files.back().first_entry = header.first_entry_seq;
}

/// A checkpoint needs what is between it and the journal's end, without a gap (S19).
Result<void> Recovery::check_base() {
  const JournalBase& base = options_.base;
  if (base.file_number == 1 && base.applied.value == 0) return {};
  const bool begins =
      !recovered_.files.empty() && recovered_.files.front().first_entry <= base.replay_from;
  if (begins && recovered_.last_entry >= base.applied) return {};
  return refuse(Errc::kDamaged, options_.directory + " does not go with the shard's checkpoint, " +
                                    "which needs the entries from " +
                                    std::to_string(base.replay_from.value) + " to " +
                                    std::to_string(base.applied.value) + ".");
}

Result<void> Recovery::replay_frame(const File& file, const FoundFrame& found) {
  auto frame = std::make_shared<const FrameBuffer>(
      found.bytes,
      JournalPlace{
          .file_number = file.number, .position = found.position, .size = found.header.frame_size});
  EntryReader entries(frame->bytes(), found.header);
  while (std::optional<EntryView> entry = entries.next()) {
    StagedEntry staged{.seq = entry->seq,
                       .frame = frame,
                       .body_offset = entries.body_offset(),
                       .body_size = static_cast<std::uint32_t>(entry->body.size())};
    if (Result<void> done = replay_(*entry, staged); !done) {
      return failed(done.error(), "Entry " + std::to_string(entry->seq.value) + " in " +
                                      at(path(file), found.position) + " cannot be replayed");
    }
    ++recovered_.report.entries;
    if (!is_local(entry->type)) recovered_.last_entry = entry->seq;
  }
  if (entries.problem()) {
    return refuse(entries.problem()->code, "Frame " + std::to_string(found.header.frame_seq) +
                                               " in " + at(path(file), found.position) +
                                               " cannot be read: " + entries.problem()->what + ".");
  }
  ++recovered_.report.frames;
  recovered_.report.bytes += found.header.frame_size;
  recovered_.last_frame_size = found.header.frame_size;
  return {};
}

/// R6, R7 (S8): damage if and only if a later frame that is not void knows the first bad one as
/// durable; else it is the torn tail, and what follows it was never acknowledged.
Result<void> Recovery::judge(const Tail& tail) {
  for (std::size_t i = tail.file; i < files_.size(); ++i) {
    if (Result<void> done = judge_file(tail, i); !done) return done;
  }
  if (recovered_.report.torn_frames > 0) {
    recovered_.report.torn_at_file = files_[tail.file].number;
    recovered_.report.torn_at_position = tail.position;
  }
  return {};
}

Result<void> Recovery::judge_file(const Tail& tail, std::size_t index) {
  const File& file = files_[index];
  Result<JournalFileReader> reader = JournalFileReader::open(disk_, path(file), false);
  if (!reader) return failed(reader.error(), path(file));
  std::uint64_t position = index == tail.file ? tail.position : kFileHeaderSize;
  while (position < reader->size()) {
    Result<std::optional<FoundFrame>> found = reader->frame_at(position);
    if (!found) return failed(found.error(), path(file));
    if (!found->has_value()) {
      Result<bool> torn = reader->looks_like_frame(position);
      if (!torn) return failed(torn.error(), path(file));
      if (*torn) ++recovered_.report.torn_frames;
      position += limits::kBlock;
      continue;
    }
    const JournalFrameHeader header = (*found)->header;
    if (header.frame_seq < file.live_end) {
      if (header.durable_seq >= tail.frame_seq) {
        const std::string bad = std::to_string(tail.frame_seq);
        return refuse(Errc::kDamaged,
                      at(path(files_[tail.file]), tail.position) + ": frame " + bad +
                          " cannot be read, but frame " + std::to_string(header.frame_seq) + " (" +
                          at(path(file), position) + ") says that frames up to " +
                          std::to_string(header.durable_seq) + " were durable. Frame " + bad +
                          " was acknowledged, so starting without it would lose what clients were "
                          "told is safe.");
      }
      ++recovered_.report.torn_frames;
    }
    position += header.frame_size;
  }
  return {};
}

/// Only after everything was accepted: what is worthless goes, what is not ours moves aside (S10).
Result<void> Recovery::tidy() {
  for (std::uint64_t number : spares_) {
    const std::string name = path(spare_name(number));
    Result<FileHandle> file = disk_.open(name, OpenMode::kRead);
    if (!file) return failed(file.error(), name);
    Result<std::uint64_t> size = disk_.size(*file);
    disk_.close(*file);
    if (size && *size == options_.file_size && recovered_.spare == 0) {
      recovered_.spare = number;
    } else {
      unfinished_.push_back(spare_name(number));
    }
  }
  for (const std::string& name : unfinished_) {
    if (Result<void> done = disk_.remove(path(name)); !done) return failed(done.error(), name);
  }
  if (foreign_.empty()) return {};
  const std::string quarantine = path(kQuarantineName);
  if (Result<void> done = disk_.make_directory(quarantine); !done)
    return failed(done.error(), quarantine);
  Result<std::vector<std::string>> taken = disk_.list(quarantine);
  if (!taken) return failed(taken.error(), quarantine);
  std::set<std::string> names(taken->begin(), taken->end());
  for (const std::string& name : foreign_) {
    std::string target = name;
    for (unsigned copy = 1; !names.insert(target).second; ++copy)
      target = name + "." + std::to_string(copy);
    Result<void> moved = disk_.rename(path(name), quarantine + "/" + target);
    if (moved) recovered_.report.moved_aside.push_back(name);
    ignore_error(moved, "it is in nobody's way where it is");
  }
  return {};
}

}  // namespace

Result<Recovered> recover_journal(Disk& disk, const JournalOptions& options,
                                  Journal::Replay& replay, std::string& explanation,
                                  RecoveryMode mode) {
  return Recovery(disk, options, replay, explanation, mode).run();
}

}  // namespace waybill

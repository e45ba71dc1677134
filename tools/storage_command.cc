// `waybill storage`: a stopped broker's data directory, looked at with the broker's own readers.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "storage/disk_space.h"
#include "storage/segment_walk.h"
#include "storage/stopped_directory.h"
#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
#include "tools/file_dump.h"
#include "tools/journal_dump.h"
#include "tools/storage_report.h"

namespace waybill::cli {
namespace {

/// "No such file or directory" where the system said so, else our own words.
std::string reason(const Error& error) {
  return error.os_errno != 0 ? std::strerror(error.os_errno) : to_string(error);
}

/// Says why a directory cannot be looked at.
ExitCode refuse(Console& console, const Error& error, const std::string& explanation) {
  console.complain(explanation);
  return error == Errc::kNotFound ? ExitCode::kNotFound : ExitCode::kFailed;
}

Result<ShardSummary> summarise(Disk& disk, ShardIndex shard, Console& console) {
  Result<JournalWalk> walk = JournalWalk::open(disk, journal_directory(shard));
  if (!walk) return walk.error();
  ShardSummary summary{.shard = shard,
                       .files = walk->files(),
                       .summaries = std::vector<FileSummary>(walk->files().size()),
                       .others = walk->others()};
  std::size_t shown = SIZE_MAX;
  for (;;) {
    Result<std::optional<JournalStretch>> stretch = walk->next();
    if (!stretch) return stretch.error();
    if (!stretch->has_value()) break;
    if (shown != (*stretch)->file) {
      shown = (*stretch)->file;
      console.progress(fmt::format("reading {}", walk->files()[shown].path));
    }
    summary.summaries[(*stretch)->file].add(**stretch);
  }
  return summary;
}

Result<FilesSummary> summarise_files(Disk& disk, ShardIndex shard) {
  FilesSummary files{.shard = shard, .checkpoints = {}, .streams = {}, .reserve = std::nullopt};
  Result<FoundCheckpoints> found = find_checkpoints(disk, shard_directory(shard), shard);
  if (!found) return found.error();
  files.checkpoints = std::move(*found);
  for (const FoundCheckpoint& checkpoint : files.checkpoints.finished) {
    if (!checkpoint.summary) continue;
    Result<std::vector<StreamObject>> streams = streams_of(disk, shard, checkpoint.number);
    if (streams) files.streams = std::move(*streams);
    break;
  }
  const std::string reserve = shard_directory(shard) + "/" + std::string(kReserveName);
  if (Result<FileHandle> file = disk.open(reserve, OpenMode::kRead); file) {
    if (Result<std::uint64_t> size = disk.size(*file); size) files.reserve = *size;
    disk.close(*file);
  }
  return files;
}

/// A percentage that is said when it changed.
class CheckProgressLine {
 public:
  CheckProgressLine(Console& console, ShardIndex shard) : console_(console), shard_(shard) {}
  void operator()(std::uint64_t done, std::uint64_t total) {
    const std::uint64_t percent = total == 0 ? 100 : done * 100 / total;
    if (percent == percent_) return;
    percent_ = percent;
    console_.progress(fmt::format("checking shard {}: {} %", shard_.value, percent));
  }

 private:
  Console& console_;
  ShardIndex shard_;
  std::uint64_t percent_ = UINT64_MAX;
};

/// What a check comes to over the superblock and all shards.
class Verdict {
 public:
  /// Something is not clean: damaged, or only of another version.
  void add(bool other) { (other ? other_ : damaged_) = true; }

  ExitCode say(Console& console) const {
    if (damaged_) {
      console.complain("the data directory is damaged; nothing was changed",
                       "keep a copy of it as it is, and restore what is named above from a backup");
      return ExitCode::kDamaged;
    }
    if (other_) {
      console.complain("the data directory was written by another version of waybilld",
                       "check it with the waybill of that version");
      return ExitCode::kFailed;
    }
    console.say("clean");
    return ExitCode::kOk;
  }

 private:
  bool damaged_ = false;
  bool other_ = false;
};

/// Shards that the superblock promises and that are not there, which it returns, and the other way
/// round.
std::vector<ShardIndex> say_lost_shards(StoppedDirectory& directory, Console& console) {
  if (!directory.superblock()) return {};
  const std::uint16_t count = directory.superblock()->shard_count;
  std::vector<ShardIndex> lost = directory.lost_shards();
  for (const ShardIndex shard : lost) {
    console.say(fmt::format("{} is not there, and with it all that the shard held",
                            journal_directory(shard)));
  }
  for (ShardIndex shard : directory.shards()) {
    if (shard.value >= count) {
      console.say(fmt::format("note: {} is not one of this broker's {}", shard_directory(shard),
                              counted(count, "shard")));
    }
  }
  for (ShardIndex shard : directory.foreign()) {
    console.say(fmt::format("note: {} is not one of this broker's {}, and has no journal",
                            shard_directory(shard), counted(count, "shard")));
  }
  return lost;
}

/// Prints one file's and its stretches' lines until enough frames were shown.
class Dump {
 public:
  Dump(const StorageDump& command, JournalWalk& walk, Console& console)
      : command_(command), walk_(walk), console_(console) {}

  Result<void> run() {
    std::uint32_t frames = 0;
    while (frames < command_.count && !console_.reader_gone()) {
      Result<std::optional<JournalStretch>> stretch = walk_.next();
      if (!stretch) return stretch.error();
      if (!stretch->has_value()) break;
      const bool is_frame =
          (*stretch)->kind == StretchKind::kFrame || (*stretch)->kind == StretchKind::kVoidFrame;
      if (is_frame && (*stretch)->header.frame_seq < command_.from) continue;
      if (is_frame) begun_ = true;
      // What lies between frames is shown from the first one that was asked for on.
      if (!begun_ && command_.from > 1) continue;
      show(**stretch);
      if (is_frame) ++frames;
    }
    console_.finish_items();
    if (frames == 0 && command_.count > 0) {
      console_.say(fmt::format("shard {} has no frame from {} on", command_.shard, command_.from));
    }
    return {};
  }

 private:
  void show(const JournalStretch& stretch) {
    const WalkedFile& file = walk_.files()[stretch.file];
    const ShardIndex shard{command_.shard};
    if (shown_file_ != stretch.file) {
      shown_file_ = stretch.file;
      console_.print_item(dump_text(file), dump_json(shard, file));
    }
    console_.print_item(dump_text(stretch, command_.records),
                        dump_json(shard, file, stretch, command_.records));
  }

  const StorageDump& command_;
  JournalWalk& walk_;
  Console& console_;
  bool begun_ = false;
  std::size_t shown_file_ = SIZE_MAX;
};

/// A segment, stretch by stretch.
Result<void> dump_segment(const StorageDump& command, Disk& disk, const SegmentId& id,
                          Console& console) {
  const std::string directory = command.file.substr(0, command.file.rfind('/'));
  Result<SegmentWalk> walk = SegmentWalk::open(disk, directory, id);
  if (!walk) return walk.error();
  std::uint64_t number = 0;
  for (std::uint32_t shown = 0; shown < command.count && !console.reader_gone();) {
    Result<std::optional<SegmentStretch>> stretch = walk->next();
    if (!stretch) return stretch.error();
    if (!stretch->has_value()) break;
    if (++number < command.from) continue;
    console.print_item(dump_text(**stretch, id, command.records),
                       dump_json(**stretch, id, command.records));
    ++shown;
  }
  return {};
}

/// A checkpoint, object by object.
Result<void> dump_checkpoint(const StorageDump& command, Disk& disk, const CheckpointId& id,
                             Console& console) {
  Result<CheckpointReader> reader = CheckpointReader::open(disk, shard_directory(id.shard), id);
  if (!reader) return reader.error();
  std::uint64_t number = 0;
  for (std::uint32_t shown = 0; shown < command.count && !console.reader_gone();) {
    Result<std::optional<CheckpointObject>> object = reader->next();
    if (!object) return object.error();
    if (!object->has_value()) {
      console.print_item(dump_text(reader->summary()), dump_json(reader->summary()));
      break;
    }
    if (++number < command.from) continue;
    console.print_item(dump_text(**object, command.records), dump_json(**object, command.records));
    ++shown;
  }
  return {};
}

/// kBadFormat: its name is neither a segment's nor a checkpoint's.
Result<void> dump_file(const StorageDump& command, StoppedDirectory& directory, Console& console) {
  const std::string& path = command.file;
  const std::string name = path.substr(path.rfind('/') + 1);
  for (const ShardIndex shard : directory.shards()) {
    const std::string prefix = shard_directory(shard) + "/";
    if (!path.starts_with(prefix)) continue;
    if (std::optional<CheckpointName> checkpoint = parse_checkpoint_name(name)) {
      return dump_checkpoint(command, directory.disk(), {shard, checkpoint->number}, console);
    }
    const std::string streams = prefix + "streams/";
    if (!path.starts_with(streams) || path.size() <= streams.size() + name.size()) continue;
    const std::string_view stream = std::string_view(path).substr(
        streams.size(), path.size() - streams.size() - name.size() - 1);
    const std::optional<StreamId> id = parse_stream_directory(stream);
    const std::optional<SegmentId> segment =
        id ? parse_segment_name(*id, name) : std::optional<SegmentId>();
    if (segment) return dump_segment(command, directory.disk(), *segment, console);
  }
  return {Errc::kBadFormat, "no segment or checkpoint of this directory has that name"};
}

}  // namespace

ExitCode run(const StorageInfo& command, BrokerSession& session) {
  Console& console = session.console();
  std::string explanation;
  Result<StoppedDirectory> directory = StoppedDirectory::look(command.directory, &explanation);
  if (!directory) return refuse(console, directory.error(), explanation);
  if (directory->in_use()) {
    console.say(explanation.substr(0, explanation.find(": stop it first")));
    console.say("this is read while it is written: what just changed may look torn or be missing");
  }
  console.print_item(superblock_text(*directory), superblock_json(*directory));
  const std::vector<ShardIndex> lost = say_lost_shards(*directory, console);
  for (ShardIndex shard : directory->shards()) {
    if (std::ranges::find(lost, shard) != lost.end()) continue;
    Result<ShardSummary> summary = summarise(directory->disk(), shard, console);
    console.progress("");
    if (!summary) {
      explanation = fmt::format("{} cannot be read: {}", journal_directory(shard),
                                to_string(summary.error()));
      return refuse(console, summary.error(), explanation);
    }
    console.print_item(to_text(*summary), to_json(*summary));
    Result<FilesSummary> files = summarise_files(directory->disk(), shard);
    if (!files) return refuse(console, files.error(), to_string(files.error()));
    console.print_item(to_text(*files), to_json(*files));
  }
  console.finish_items();
  return ExitCode::kOk;
}

ExitCode run(const StorageCheck& command, BrokerSession& session) {
  Console& console = session.console();
  std::string explanation;
  Result<StoppedDirectory> directory = StoppedDirectory::open(command.directory, &explanation);
  if (!directory) return refuse(console, directory.error(), explanation);
  Verdict verdict;
  if (!directory->superblock()) verdict.add(directory->of_other_format());
  console.print_item(superblock_text(*directory), superblock_json(*directory));
  if (directory->of_other_format()) {
    console.finish_items();
    return verdict.say(console);
  }
  const std::vector<ShardIndex> lost = say_lost_shards(*directory, console);
  if (!lost.empty()) verdict.add(false);
  for (ShardIndex shard : directory->shards()) {
    if (std::ranges::find(lost, shard) != lost.end()) continue;
    CheckProgressLine progress(console, shard);
    Result<JournalCheck> check = check_journal(directory->disk(), journal_directory(shard), shard,
                                               std::ref(progress), &explanation);
    console.progress("");
    if (!check) return refuse(console, check.error(), explanation);
    console.print_item(check_text(shard, *check), check_json(shard, *check));
    if (!check->clean) verdict.add(check->unsupported);
    Result<SegmentsCheck> segments = check_segments(
        directory->disk(), shard,
        [&](std::uint64_t done, std::uint64_t) {
          console.progress(
              fmt::format("checking segments of shard {}: {}", shard.value, size_text(done)));
        },
        &explanation);
    console.progress("");
    if (!segments) return refuse(console, segments.error(), explanation);
    console.print_item(check_text(shard, *segments), check_json(shard, *segments));
    if (!segments->clean) verdict.add(segments->unsupported);
  }
  console.finish_items();
  return verdict.say(console);
}

ExitCode run(const StorageDump& command, BrokerSession& session) {
  Console& console = session.console();
  std::string explanation;
  Result<StoppedDirectory> directory = StoppedDirectory::open(command.directory, &explanation);
  if (!directory) return refuse(console, directory.error(), explanation);
  if (!command.file.empty()) {
    Result<void> shown = dump_file(command, *directory, console);
    console.finish_items();
    if (shown) return ExitCode::kOk;
    return refuse(console, shown.error(),
                  fmt::format("{} cannot be read: {}", command.file, reason(shown.error())));
  }
  const std::string journal = journal_directory(ShardIndex{command.shard});
  Result<JournalWalk> walk = JournalWalk::open(directory->disk(), journal);
  if (!walk) {
    return refuse(console, walk.error(),
                  fmt::format("{} cannot be read: {}", journal, reason(walk.error())));
  }
  Result<void> done = Dump(command, *walk, console).run();
  if (done) return ExitCode::kOk;
  return refuse(console, done.error(),
                fmt::format("{} cannot be read: {}", journal, to_string(done.error())));
}

ExitCode run(const StorageProbe& command, BrokerSession& session) {
  Console& console = session.console();
  Result<ProbeReport> report =
      probe_directory(command.directory, SystemClock(), {},
                      [&console](const std::string& now) { console.progress(now); });
  console.progress("");
  if (!report) {
    return refuse(
        console, report.error(),
        fmt::format("{} cannot be measured: {}", command.directory, reason(report.error())));
  }
  console.print_one(to_text(*report), to_json(*report));
  return ExitCode::kOk;
}

}  // namespace waybill::cli

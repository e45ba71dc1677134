// `waybill storage`: a stopped broker's data directory, looked at with the broker's own readers.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "storage/stopped_directory.h"
#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
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
  Result<JournalWalk> walk = JournalWalk::open(disk, StoppedDirectory::journal_of(shard));
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
  /// Something is not clean: damaged, or only too new.
  void add(bool newer) { (newer ? newer_ : damaged_) = true; }

  ExitCode say(Console& console) const {
    if (damaged_) {
      console.complain("the data directory is damaged; nothing was changed",
                       "keep a copy of it as it is, and restore what is named above from a backup");
      return ExitCode::kDamaged;
    }
    if (newer_) {
      console.complain("the data directory was written by a newer version of waybilld",
                       "check it with the waybill of that version");
      return ExitCode::kFailed;
    }
    console.say("clean");
    return ExitCode::kOk;
  }

 private:
  bool damaged_ = false;
  bool newer_ = false;
};

/// Shards that the superblock promises and that are not there, and the other way round.
void say_missing_shards(const StoppedDirectory& directory, Console& console) {
  if (!directory.superblock()) return;
  const std::uint16_t count = directory.superblock()->shard_count;
  for (ShardIndex shard{0}; shard.value < count; ++shard.value) {
    if (std::ranges::find(directory.shards(), shard) == directory.shards().end()) {
      console.say(fmt::format("note: {} is not there: it was never started, or was removed",
                              shard_directory(shard)));
    }
  }
  for (ShardIndex shard : directory.shards()) {
    if (shard.value >= count) {
      console.say(fmt::format("note: {} is not one of this broker's {}", shard_directory(shard),
                              counted(count, "shard")));
    }
  }
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

}  // namespace

ExitCode run(const StorageInfo& command, BrokerSession& session) {
  Console& console = session.console();
  std::string explanation;
  Result<StoppedDirectory> directory = StoppedDirectory::open(command.directory, &explanation);
  if (!directory) return refuse(console, directory.error(), explanation);
  console.print_item(superblock_text(directory->superblock()),
                     superblock_json(directory->superblock()));
  say_missing_shards(*directory, console);
  for (ShardIndex shard : directory->shards()) {
    Result<ShardSummary> summary = summarise(directory->disk(), shard, console);
    console.progress("");
    if (!summary) {
      explanation = fmt::format("{} cannot be read: {}", StoppedDirectory::journal_of(shard),
                                to_string(summary.error()));
      return refuse(console, summary.error(), explanation);
    }
    console.print_item(to_text(*summary), to_json(*summary));
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
  if (!directory->superblock())
    verdict.add(directory->superblock().error() == Errc::kUnsupportedFormat);
  console.print_item(superblock_text(directory->superblock()),
                     superblock_json(directory->superblock()));
  say_missing_shards(*directory, console);
  for (ShardIndex shard : directory->shards()) {
    CheckProgressLine progress(console, shard);
    Result<JournalCheck> check =
        check_journal(directory->disk(), StoppedDirectory::journal_of(shard), shard,
                      std::ref(progress), &explanation);
    console.progress("");
    if (!check) return refuse(console, check.error(), explanation);
    console.print_item(check_text(shard, *check), check_json(shard, *check));
    if (!check->clean) verdict.add(check->unsupported);
  }
  console.finish_items();
  return verdict.say(console);
}

ExitCode run(const StorageDump& command, BrokerSession& session) {
  Console& console = session.console();
  std::string explanation;
  Result<StoppedDirectory> directory = StoppedDirectory::open(command.directory, &explanation);
  if (!directory) return refuse(console, directory.error(), explanation);
  const std::string journal = StoppedDirectory::journal_of(ShardIndex{command.shard});
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

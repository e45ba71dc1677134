#include "tools/storage_report.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "storage/journal_reader.h"
#include "tools/counted.h"
#include "tools/escape.h"
#include "tools/text_table.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

namespace json = boost::json;

constexpr std::uint64_t kStreamBits = 48;

std::string range_text(std::uint64_t first, std::uint64_t last) {
  if (first == 0) return "-";
  return first == last ? fmt::to_string(first) : fmt::format("{}-{}", first, last);
}

json::object range_object(std::uint64_t first, std::uint64_t last) {
  return {{"first", first}, {"last", last}};
}

std::string_view method_name(SyncMethod method) {
  switch (method) {
    case SyncMethod::kDirectDsync:
      return "O_DIRECT + DSYNC";
    case SyncMethod::kDsync:
      return "buffered + DSYNC";
    case SyncMethod::kFdatasync:
      return "buffered + fdatasync";
  }
  return "?";
}

double milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

std::string entries_of(const LostFrames& lost) {
  if (lost.last_entry < lost.first_entry) return "no entries that are known";
  return "entries " + range_text(lost.first_entry.value, lost.last_entry.value);
}

std::string verdict_of(const JournalCheck& check) {
  return check.clean ? "clean" : check.unsupported ? "from a newer broker" : "damaged";
}

}  // namespace

void FileSummary::add(const JournalStretch& stretch) {
  if (stretch.kind == StretchKind::kVoidFrame) ++void_frames;
  if (stretch.kind == StretchKind::kGap) ++gaps;
  if (stretch.kind != StretchKind::kFrame) return;
  const JournalFrameHeader& header = stretch.header;
  if (frames++ == 0) first_frame = header.frame_seq;
  last_frame = header.frame_seq;
  used = stretch.position + stretch.size;
  EntryReader entries(stretch.bytes, header);
  while (std::optional<EntryView> entry = entries.next()) {
    if (is_local(entry->type)) continue;
    if (first_entry == EntrySeq{}) first_entry = entry->seq;
    last_entry = entry->seq;
  }
}

std::string stream_text(StreamId stream) {
  const std::uint64_t number = stream.value & ((std::uint64_t{1} << kStreamBits) - 1);
  return fmt::format("{}/{}", stream.value >> kStreamBits, number);
}

std::string size_text(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return counted(bytes, "byte");
  auto size = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; size >= 1024 && unit + 1 < std::size(kUnits); ++unit) size /= 1024;
  return fmt::format("{:.1f} {}", size, kUnits[unit]);
}

std::string superblock_text(const StoppedDirectory& directory) {
  const Result<Superblock>& superblock = directory.superblock();
  if (superblock) {
    return fmt::format("superblock: broker {}, {}, created {}\n", to_string(superblock->broker_id),
                       counted(superblock->shard_count, "shard"),
                       time_text(superblock->created_at));
  }
  if (superblock.error() == Errc::kNotFound)
    return "superblock: missing; restore it from a copy, it never changes\n";
  if (directory.of_other_format())
    return fmt::format("superblock: {}\n", explain_format(directory.format()));
  return fmt::format("superblock: damaged ({}); restore it from a copy, it never changes\n",
                     to_string(superblock.error()));
}

std::string superblock_json(const StoppedDirectory& directory) {
  const Result<Superblock>& superblock = directory.superblock();
  json::object object{
      {"kind", "superblock"}, {"clean", superblock.ok()}, {"format", directory.format()}};
  if (superblock) {
    object["broker_id"] = to_string(superblock->broker_id);
    object["shards"] = superblock->shard_count;
    object["created"] = time_text(superblock->created_at);
  } else {
    object["problem"] = to_string(superblock.error());
  }
  return json::serialize(object);
}

std::string to_text(const ShardSummary& shard) {
  std::uint64_t size = 0;
  TextTable table({"FILE", ">RUN", ">FRAMES", ">ENTRIES", ">USED", ">SIZE", "REMARK"});
  for (std::size_t i = 0; i < shard.files.size(); ++i) {
    const WalkedFile& file = shard.files[i];
    const FileSummary& summary = shard.summaries[i];
    size += file.size;
    std::string remark;
    if (!file.header) remark = "no valid header: " + to_string(file.problem);
    if (summary.void_frames > 0) remark = counted(summary.void_frames, "void frame");
    if (summary.gaps > 0) {
      remark += (remark.empty() ? "" : ", ") + counted(summary.gaps, "gap") +
                "; see 'waybill storage check'";
    }
    table.add({file.path, file.header ? fmt::to_string(file.header->start_number) : "-",
               range_text(summary.first_frame, summary.last_frame),
               range_text(summary.first_entry.value, summary.last_entry.value),
               size_text(summary.used), size_text(file.size), remark});
  }
  std::string text = fmt::format("shard {}: {}, {}\n", shard.shard.value,
                                 counted(shard.files.size(), "journal file"), size_text(size));
  if (!table.empty()) text += table.render();
  for (const std::string& name : shard.others) text += "also there: " + escaped_line(name) + "\n";
  return text;
}

std::string to_json(const ShardSummary& shard) {
  json::array files;
  for (std::size_t i = 0; i < shard.files.size(); ++i) {
    const WalkedFile& file = shard.files[i];
    const FileSummary& summary = shard.summaries[i];
    json::object object{
        {"path", file.path},
        {"number", file.number},
        {"size", file.size},
        {"used", summary.used},
        {"frame_count", summary.frames},
        {"frames", range_object(summary.first_frame, summary.last_frame)},
        {"entries", range_object(summary.first_entry.value, summary.last_entry.value)},
        {"void_frames", summary.void_frames},
        {"gaps", summary.gaps}};
    if (file.header) {
      object["start_number"] = file.header->start_number;
    } else {
      object["problem"] = to_string(file.problem);
    }
    files.push_back(std::move(object));
  }
  json::array others;
  for (const std::string& name : shard.others) others.push_back(json::value(escaped_line(name)));
  return json::serialize(json::object{{"kind", "shard"},
                                      {"shard", shard.shard.value},
                                      {"files", std::move(files)},
                                      {"others", std::move(others)}});
}

std::string check_text(ShardIndex shard, const JournalCheck& check) {
  const RecoveryReport& report = check.report;
  std::string text = fmt::format(
      "shard {}: {}: {} with {} ({}), {} of {} in {}\n", shard.value, verdict_of(check),
      counted(report.files, "file"), counted(report.frames, "frame"), size_text(report.bytes),
      check.batches == 1 ? "1 batch" : fmt::format("{} batches", check.batches),
      counted(check.records, "record"), counted(check.streams, "stream"));
  if (report.torn_frames > 0) {
    text += fmt::format(
        "  torn tail: {} in file {} from position {}: written, never acknowledged; the next start "
        "discards it\n",
        counted(report.torn_frames, "frame"), report.torn_at_file, report.torn_at_position);
  }
  if (!check.explanation.empty()) text += "  " + escaped_line(check.explanation) + "\n";
  for (const LostFrames& lost : check.lost_frames) {
    text += fmt::format("  lost: frames {} with {}, {} from position {}\n",
                        range_text(lost.first, lost.last), entries_of(lost),
                        lost.path.empty() ? "before the first file" : lost.path, lost.position);
  }
  for (const LostOffsets& lost : check.lost_offsets) {
    text += fmt::format("  lost: offsets {}-{} of stream {}\n", lost.offsets.first.value,
                        lost.offsets.last.value, stream_text(lost.stream));
  }
  for (const BadEntry& bad : check.bad_entries) {
    text += fmt::format("  bad: entry {} in the frame at position {} of {}: {}\n", bad.seq.value,
                        bad.position, bad.path, bad.what);
  }
  if (!check.lost_frames.empty())
    text += "  streams without a later batch may have lost their newest records too\n";
  return text;
}

std::string check_json(ShardIndex shard, const JournalCheck& check) {
  json::array lost_frames;
  for (const LostFrames& lost : check.lost_frames) {
    lost_frames.push_back(
        json::object{{"path", lost.path},
                     {"position", lost.position},
                     {"frames", range_object(lost.first, lost.last)},
                     {"entries", range_object(lost.first_entry.value, lost.last_entry.value)}});
  }
  json::array lost_offsets;
  for (const LostOffsets& lost : check.lost_offsets) {
    lost_offsets.push_back(json::object{{"stream", stream_text(lost.stream)},
                                        {"first", lost.offsets.first.value},
                                        {"last", lost.offsets.last.value}});
  }
  json::array bad_entries;
  for (const BadEntry& bad : check.bad_entries) {
    bad_entries.push_back(json::object{{"path", bad.path},
                                       {"position", bad.position},
                                       {"entry_seq", bad.seq.value},
                                       {"problem", bad.what}});
  }
  const RecoveryReport& report = check.report;
  return json::serialize(json::object{{"kind", "shard"},
                                      {"shard", shard.value},
                                      {"clean", check.clean},
                                      {"unsupported", check.unsupported},
                                      {"explanation", escaped_line(check.explanation)},
                                      {"files", report.files},
                                      {"frames", report.frames},
                                      {"bytes", report.bytes},
                                      {"batches", check.batches},
                                      {"records", check.records},
                                      {"streams", check.streams},
                                      {"torn_frames", report.torn_frames},
                                      {"torn_at_file", report.torn_at_file},
                                      {"torn_at_position", report.torn_at_position},
                                      {"lost_frames", std::move(lost_frames)},
                                      {"lost_offsets", std::move(lost_offsets)},
                                      {"bad_entries", std::move(bad_entries)}});
}

std::string to_text(const FilesSummary& files) {
  std::string text;
  if (files.reserve) {
    text += fmt::format("  reserve: {}, for flush and checkpoint on a full disk\n",
                        size_text(*files.reserve));
  }
  for (const FoundCheckpoint& checkpoint : files.checkpoints.finished) {
    if (!checkpoint.summary) {
      text += "  " + checkpoint.explanation + "\n";
      continue;
    }
    const CheckpointSummary& summary = *checkpoint.summary;
    text += fmt::format("  {}: {} ({}) up to entry {}, replay from {} in journal file {}, {}\n",
                        checkpoint.path, counted(summary.object_count, "object"),
                        size_text(summary.objects_size), summary.max_applied.value,
                        summary.replay_from.value, summary.journal_file, time_text(summary.time));
  }
  TextTable table({"STREAM", ">START", ">IN SEGMENTS TO", ">SEGMENTS", ">SIZE", "DIRECTORY"});
  for (const StreamObject& stream : files.streams) {
    if (stream.segments.empty()) continue;
    std::uint64_t size = 0;
    for (const ClaimedSegment& segment : stream.segments) size += segment.size;
    table.add({stream_text(stream.stream), fmt::to_string(stream.start.value),
               fmt::to_string(stream.segments.back().end.value - 1),
               fmt::to_string(stream.segments.size()), size_text(size),
               stream_directory_name(stream.stream)});
  }
  if (!table.empty()) text += table.render();
  return text;
}

std::string to_json(const FilesSummary& files) {
  json::array checkpoints;
  for (const FoundCheckpoint& checkpoint : files.checkpoints.finished) {
    json::object object{{"path", checkpoint.path}, {"whole", checkpoint.summary.has_value()}};
    if (checkpoint.summary) {
      object["objects"] = checkpoint.summary->object_count;
      object["applied"] = checkpoint.summary->max_applied.value;
      object["replay_from"] = checkpoint.summary->replay_from.value;
      object["journal_file"] = checkpoint.summary->journal_file;
    } else {
      object["problem"] = checkpoint.explanation;
    }
    checkpoints.push_back(std::move(object));
  }
  json::array streams;
  for (const StreamObject& stream : files.streams) {
    json::array segments;
    for (const ClaimedSegment& segment : stream.segments) {
      segments.push_back(json::object{{"name", segment_name(segment.id)},
                                      {"first", segment.id.base.value},
                                      {"last", segment.end.value - 1},
                                      {"size", segment.size},
                                      {"sealed", segment.sealed}});
    }
    streams.push_back(json::object{{"stream", stream_text(stream.stream)},
                                   {"directory", stream_directory_name(stream.stream)},
                                   {"start", stream.start.value},
                                   {"segments", std::move(segments)}});
  }
  return json::serialize(json::object{{"kind", "files"},
                                      {"shard", files.shard.value},
                                      {"reserve", files.reserve.value_or(0)},
                                      {"checkpoints", std::move(checkpoints)},
                                      {"streams", std::move(streams)}});
}

std::string check_text(ShardIndex shard, const SegmentsCheck& check) {
  std::string text = fmt::format(
      "shard {}: {}: {}, {} ({} sealed) of {} with {} of {}, {}\n", shard.value,
      check.clean         ? "clean"
      : check.unsupported ? "from a newer broker"
                          : "damaged",
      check.checkpoint == 0 ? "no checkpoint" : fmt::format("checkpoint {}", check.checkpoint),
      counted(check.segments, "segment"), check.sealed, counted(check.streams, "stream"),
      check.batches == 1 ? "1 batch" : fmt::format("{} batches", check.batches),
      counted(check.records, "record"), size_text(check.bytes));
  for (const std::string& explanation : check.explanations)
    text += "  " + escaped_line(explanation) + "\n";
  for (const LostInSegment& lost : check.lost) {
    text += fmt::format("  lost: offsets {}-{} of stream {}: {} from position {}: {}\n",
                        lost.offsets.first.value, lost.offsets.last.value, stream_text(lost.stream),
                        lost.path, lost.position, lost.what);
  }
  for (const DamagedFooter& footer : check.damaged_footers) {
    text += fmt::format(
        "  {} from position {}: its footer is damaged: nothing is lost, the broker reads all "
        "blocks "
        "instead, which takes longer\n",
        footer.path, footer.position);
  }
  for (const UnusableSegment& segment : check.unusable)
    text += fmt::format("  {}: {}: the broker does not start\n", segment.path, segment.what);
  for (const std::string& path : check.misplaced) {
    text += fmt::format(
        "  {} is a file where a stream's directory belongs: the broker does not start; move it "
        "out of the data directory\n",
        path);
  }
  if (!check.unknown.empty()) {
    text += fmt::format("  {} left by a crash, or not the broker's: the next start sees to it\n",
                        counted(check.unknown.size(), "file"));
  }
  return text;
}

std::string check_json(ShardIndex shard, const SegmentsCheck& check) {
  json::array lost;
  for (const LostInSegment& one : check.lost) {
    lost.push_back(json::object{{"path", one.path},
                                {"position", one.position},
                                {"stream", stream_text(one.stream)},
                                {"first", one.offsets.first.value},
                                {"last", one.offsets.last.value},
                                {"problem", one.what}});
  }
  json::array checkpoints;
  for (const std::string& explanation : check.explanations)
    checkpoints.push_back(json::value(escaped_line(explanation)));
  json::array footers;
  for (const DamagedFooter& footer : check.damaged_footers)
    footers.push_back(json::object{{"path", footer.path}, {"position", footer.position}});
  json::array misplaced;
  for (const std::string& path : check.misplaced) misplaced.push_back(json::value(path));
  json::array unknown;
  for (const std::string& path : check.unknown) unknown.push_back(json::value(escaped_line(path)));
  return json::serialize(json::object{{"kind", "segments"},
                                      {"shard", shard.value},
                                      {"clean", check.clean},
                                      {"unsupported", check.unsupported},
                                      {"checkpoint", check.checkpoint},
                                      {"damaged_checkpoints", std::move(checkpoints)},
                                      {"segments", check.segments},
                                      {"sealed", check.sealed},
                                      {"batches", check.batches},
                                      {"records", check.records},
                                      {"bytes", check.bytes},
                                      {"streams", check.streams},
                                      {"lost_offsets", std::move(lost)},
                                      {"damaged_footers", std::move(footers)},
                                      {"misplaced", std::move(misplaced)},
                                      {"unknown", std::move(unknown)}});
}

std::string to_text(const ProbeReport& report) {
  TextTable table(
      {"METHOD", ">WRITE", ">IN FLIGHT", ">MEDIAN MS", ">SLOWEST MS", ">MIB/S", "BROKER"});
  for (const ProbeResult& result : report.results) {
    table.add({std::string(method_name(result.method)), size_text(result.write_size),
               fmt::to_string(result.depth), fmt::format("{:.3f}", milliseconds(result.median)),
               fmt::format("{:.3f}", milliseconds(result.slowest)),
               fmt::format("{:.1f}", result.bytes_per_second / (1024.0 * 1024.0)),
               result.chosen ? "uses it" : ""});
  }
  std::string text = table.render();
  text += "The broker will use " + report.engine + ".\n";
  text += report.why.empty()
              ? "Why: one call makes a write durable, and it does not wait for the writes of "
                "others.\n"
              : "Why: " + report.why + "\n";
  return text;
}

std::string to_json(const ProbeReport& report) {
  json::array results;
  for (const ProbeResult& result : report.results) {
    results.push_back(json::object{{"method", method_name(result.method)},
                                   {"write_bytes", result.write_size},
                                   {"in_flight", result.depth},
                                   {"writes", result.writes},
                                   {"median_ms", milliseconds(result.median)},
                                   {"slowest_ms", milliseconds(result.slowest)},
                                   {"bytes_per_second", result.bytes_per_second},
                                   {"chosen", result.chosen}});
  }
  return json::serialize(json::object{
      {"engine", report.engine}, {"why", report.why}, {"results", std::move(results)}});
}

}  // namespace waybill::cli

#include "storage/segments_check.h"

#include <algorithm>
#include <map>
#include <set>

#include "protocol/record/record_batch.h"
#include "storage/checkpoint_reader.h"
#include "storage/journal_walk.h"
#include "storage/segment_walk.h"
#include "storage/superblock.h"

namespace waybill {
namespace {

/// The first number of the stream ids, within their shard, that hold dead letters.
constexpr std::uint64_t kFirstDeadStream = std::uint64_t{1} << 47;
constexpr std::uint64_t kStreamMask = (std::uint64_t{1} << 48) - 1;
constexpr std::uint8_t kDropTopic = 2;
constexpr std::uint8_t kDropGroup = 4;

/// What the journal behind a checkpoint takes away again.
struct TakenAway {
  std::map<StreamId, Offset> trimmed;
  std::set<TopicId> topics;
  bool groups = false;  ///< some; their streams of dead letters are not told apart

  [[nodiscard]] bool has(const StreamObject& stream) const {
    if (stream.is_partition) return topics.contains(stream.topic);
    return groups && (stream.stream.value & kStreamMask) >= kFirstDeadStream;
  }
  [[nodiscard]] Offset start_of(const StreamObject& stream) const {
    auto found = trimmed.find(stream.stream);
    return found == trimmed.end() ? stream.start : std::max(found->second, stream.start);
  }
  void add(const EntryView& entry) {
    ByteReader in(entry.body);
    if (entry.type == EntryType::kTrim) {
      const StreamId stream{in.read<std::uint64_t>()};
      Offset& start = trimmed[stream];
      start = std::max(start, Offset{in.read<std::int64_t>()});
    } else if (entry.type == EntryType::kAdopt) {
      const auto number = in.read<std::uint8_t>();
      if (number == kDropTopic) topics.insert(TopicId{in.read<std::uint64_t>()});
      if (number == kDropGroup) groups = true;
    }
  }
};

/// All of it: what is older than the checkpoint takes away nothing twice.
Result<TakenAway> read_journal(Disk& disk, const std::string& directory,
                               std::optional<EntrySeq> before) {
  TakenAway taken;
  Result<JournalWalk> walk = JournalWalk::open(disk, directory);
  if (!walk && walk.error() == Errc::kNotFound) return taken;
  if (!walk) return walk.error();
  for (;;) {
    Result<std::optional<JournalStretch>> stretch = walk->next();
    if (!stretch) return stretch.error();
    if (!stretch->has_value()) return taken;
    if ((*stretch)->kind != StretchKind::kFrame) continue;
    EntryReader entries((*stretch)->bytes, (*stretch)->header);
    while (std::optional<EntryView> entry = entries.next()) {
      if (!before || entry->seq < *before) taken.add(*entry);
    }
  }
}

class Check {
 public:
  Check(Disk& disk, ShardIndex shard, const CheckProgress& progress, std::string& explanation,
        std::optional<EntrySeq> before)
      : disk_(disk),
        shard_(shard),
        progress_(progress),
        explanation_(explanation),
        before_(before) {}

  Result<SegmentsCheck> run() {
    const std::string directory = shard_directory(shard_);
    Result<FoundCheckpoints> found = find_checkpoints(disk_, directory, shard_);
    if (!found) return failed(found.error(), directory);
    std::optional<CheckpointSummary> summary;
    for (const FoundCheckpoint& checkpoint : found->finished) {
      if (!checkpoint.summary) {
        const bool newer = checkpoint.problem == Errc::kUnsupportedFormat;
        (newer ? check_.unsupported : damaged_) = true;
        check_.damaged_checkpoints.push_back(checkpoint.path);
        check_.explanations.push_back(checkpoint.explanation);
      } else if (!summary) {
        summary = checkpoint.summary;
        check_.checkpoint = checkpoint.number;
      }
    }
    std::vector<StreamObject> streams;
    if (summary) {
      Result<std::vector<StreamObject>> read = streams_of(disk_, shard_, check_.checkpoint);
      if (!read) return failed(read.error(), directory);
      streams = std::move(*read);
    }
    Result<TakenAway> taken = read_journal(disk_, directory + "/journal", before_);
    if (!taken) return failed(taken.error(), directory + "/journal");
    for (const StreamObject& stream : streams) {
      if (Result<void> done = check_stream(stream, *taken); !done) return done.error();
    }
    if (Result<void> done = find_unknown(directory + "/streams"); !done) return done.error();
    check_.clean = !damaged_ && !check_.unsupported && check_.lost.empty() &&
                   check_.damaged_footers.empty() && check_.misplaced.empty();
    return std::move(check_);
  }

 private:
  Error failed(const Error& error, const std::string& where) {
    explanation_ = where + ": " + to_string(error);
    return error;
  }

  Result<void> check_stream(const StreamObject& stream, const TakenAway& taken) {
    const std::string directory =
        shard_directory(shard_) + "/streams/" + stream_directory_name(stream.stream);
    for (const ClaimedSegment& claim : stream.segments) known_.insert(path_of(directory, claim));
    if (taken.has(stream)) return {};
    const Offset start = taken.start_of(stream);
    check_.streams += stream.segments.empty() ? 0 : 1;
    for (const ClaimedSegment& claim : stream.segments) {
      if (claim.end <= start) continue;
      if (Result<void> done = check_segment(directory, claim); !done) return done;
    }
    return {};
  }

  static std::string path_of(const std::string& directory, const ClaimedSegment& claim) {
    return directory + "/" + segment_name(claim.id);
  }

  Result<void> check_segment(const std::string& directory, const ClaimedSegment& claim) {
    const std::string path = path_of(directory, claim);
    ++check_.segments;
    check_.bytes += claim.size;
    Result<SegmentWalk> walk = SegmentWalk::open(disk_, directory, claim.id);
    if (!walk && walk.error() != Errc::kNotFound) return failed(walk.error(), path);
    if (!walk) {
      lose(path, 0, claim, {claim.id.base, claim.end - 1}, "the file is missing");
      check_.unusable.push_back({path, claim, "it is missing"});
      return {};
    }
    const std::size_t lost_before = check_.lost.size();
    if (walk->footer()) ++check_.sealed;
    if (Result<void> done = read_blocks(*walk, claim); !done) return failed(done.error(), path);
    const bool indexed = claim.sealed && walk->footer();
    for (std::size_t i = lost_before; i < check_.lost.size(); ++i)
      widen(check_.lost[i].offsets, indexed ? walk->footer()->index : claim.index, claim);
    if (walk->size() < claim.size) {
      check_.unusable.push_back({path, claim, "it is shorter than it was"});
    } else if (claim.sealed && !walk->footer() && check_.lost.size() > lost_before) {
      check_.unusable.push_back({path, claim, "neither its footer nor all its blocks are intact"});
    } else if (claim.sealed && !walk->footer()) {
      check_.damaged_footers.push_back({path, claim.size});
    }
    progress_(check_.bytes, 0);
    return {};
  }

  /// The broker reads from one entry of the index to the next: it serves all of that or nothing.
  static void widen(OffsetRange& lost, const std::vector<SegmentIndexEntry>& index,
                    const ClaimedSegment& claim) {
    auto after = std::ranges::upper_bound(index, lost.first, {}, &SegmentIndexEntry::base);
    if (after != index.begin()) lost.first = std::prev(after)->base;
    auto end = std::ranges::upper_bound(index, lost.last, {}, &SegmentIndexEntry::base);
    if (!index.empty()) lost.last = (end == index.end() ? claim.end : end->base) - 1;
  }

  /// As far as it counts.
  Result<void> read_blocks(SegmentWalk& walk, const ClaimedSegment& claim) {
    Offset expected = claim.id.base;
    std::optional<std::uint64_t> gap;
    std::uint64_t end = 0;
    for (;;) {
      Result<std::optional<SegmentStretch>> stretch = walk.next();
      if (!stretch) return stretch.error();
      if (!stretch->has_value() || (*stretch)->position >= claim.size) break;
      const SegmentStretch& part = **stretch;
      end = part.position + part.size;
      if (part.part == SegmentPart::kGap && !gap) gap = part.position;
      if (part.part != SegmentPart::kBlock) continue;
      if (part.block.base > expected) {
        lose(walk.path(), gap.value_or(part.position), claim, {expected, part.block.base - 1},
             "no intact block");
      }
      gap.reset();
      expected = part.block.end;
      read_batches(walk, claim, part);
    }
    if (expected < claim.end) {
      lose(walk.path(), gap.value_or(end), claim, {expected, claim.end - 1}, "no intact block");
    }
    return {};
  }

  void read_batches(const SegmentWalk& walk, const ClaimedSegment& claim,
                    const SegmentStretch& part) {
    ++check_.blocks;
    if (part.block.version > kSegmentVersion) check_.unsupported = true;
    Result<std::vector<Bytes>> batches = block_batches(part.block, part.bytes);
    bool good = batches.ok();
    for (std::size_t i = 0; good && i < batches->size(); ++i) {
      good = check_batch_crc((*batches)[i]).ok();
      ++check_.batches;
    }
    check_.records += part.block.record_count;
    if (good) return;
    lose(walk.path(), part.position, claim, {part.block.base, part.block.end - 1},
         "its batches are not right");
  }

  void lose(const std::string& path, std::uint64_t position, const ClaimedSegment& claim,
            OffsetRange offsets, std::string what) {
    check_.lost.push_back({path, position, claim.id.stream, offsets, std::move(what)});
  }

  Result<void> find_unknown(const std::string& directory) {
    Result<std::vector<std::string>> streams = disk_.list(directory);
    if (!streams && streams.error() == Errc::kNotFound) return {};
    if (!streams) return failed(streams.error(), directory);
    for (const std::string& stream : *streams) {
      Result<std::vector<std::string>> files = disk_.list(directory + "/" + stream);
      if (!files && files.error() == Errc::kNotFound) {  // a file in the place of a directory
        if (parse_stream_directory(stream)) check_.misplaced.push_back(directory + "/" + stream);
        continue;
      }
      if (!files) return failed(files.error(), directory + "/" + stream);
      for (const std::string& file : *files) {
        const std::string path = directory + "/" + stream + "/" + file;
        if (!known_.contains(path)) check_.unknown.push_back(path);
      }
    }
    return {};
  }

  Disk& disk_;
  ShardIndex shard_;
  const CheckProgress& progress_;
  std::string& explanation_;
  std::optional<EntrySeq> before_;
  SegmentsCheck check_;
  bool damaged_ = false;
  std::set<std::string> known_;
};

}  // namespace

Result<std::vector<StreamObject>> streams_of(Disk& disk, ShardIndex shard, std::uint64_t number) {
  Result<CheckpointReader> reader =
      CheckpointReader::open(disk, shard_directory(shard), {.shard = shard, .number = number});
  if (!reader) return reader.error();
  std::vector<StreamObject> streams;
  for (;;) {
    Result<std::optional<CheckpointObject>> object = reader->next();
    if (!object) return object.error();
    if (!object->has_value()) return streams;
    if ((*object)->kind != kStreamObjectKind) continue;
    std::optional<StreamObject> stream = read_stream_object(**object);
    if (!stream) return {Errc::kUnsupportedFormat, "checkpoint object: stream"};
    streams.push_back(std::move(*stream));
  }
}

Result<SegmentsCheck> check_segments(Disk& disk, ShardIndex shard, const CheckProgress& progress,
                                     std::string* explanation, std::optional<EntrySeq> before) {
  return Check(disk, shard, progress, *explanation, before).run();
}

}  // namespace waybill

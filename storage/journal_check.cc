#include "storage/journal_check.h"

#include <algorithm>

#include "storage/append_body.h"
#include "storage/checkpoint_reader.h"
#include "storage/journal_walk.h"
#include "storage/recovery.h"

namespace waybill {
namespace {

/// Where each stream ends so far, and what the batches in it are worth.
class StreamEnds {
 public:
  explicit StreamEnds(JournalCheck& check) : check_(check) {}

  /// `where` is the entry without its complaint.
  void add(const EntryView& entry, const BadEntry& where) {
    if (!holds_batch(entry.type)) return;
    const std::optional<AppendBody> append = read_append_body(entry);
    if (!append) return complain(where, "it should hold a batch, but holds none that fits it");
    if (Result<void> good = check_batch_crc(append->batch); !good)
      complain(where, "the checksum of its batch is wrong");
    const bool known = ends_.contains(append->stream);
    Offset& end = ends_[append->stream];
    if (anywhere_ && !known) end = append->base;
    if (entry.type == EntryType::kCarry && append->base < end) return;
    if (append->base < end) {
      complain(where, "it begins at offset " + std::to_string(append->base.value) +
                          " of its stream, which has records up to " +
                          std::to_string(end.value - 1) + " already");
    } else if (append->base > end) {
      check_.lost_offsets.push_back({append->stream, {end, append->base - 1}});
    }
    end = std::max(end, append->last() + 1);
    ++check_.batches;
    check_.records += append->count;
    check_.streams = ends_.size();
  }

  /// What is before the first files is in segments: a stream goes on from where it is first seen.
  void begin_anywhere() { anywhere_ = true; }

 private:
  void complain(BadEntry where, std::string what) {
    where.what = std::move(what);
    check_.bad_entries.push_back(std::move(where));
  }

  JournalCheck& check_;
  std::map<StreamId, Offset> ends_;
  bool anywhere_ = false;
};

/// As the broker begins: with the newest checkpoint of the shard that is whole.
Result<JournalBase> newest_base(Disk& disk, const std::string& journal, ShardIndex shard) {
  const std::string directory = journal.substr(0, journal.rfind('/'));
  Result<FoundCheckpoints> found = find_checkpoints(disk, directory, shard);
  if (!found)
    return found.error() == Errc::kNotFound ? JournalBase{} : Result<JournalBase>(found.error());
  for (const FoundCheckpoint& checkpoint : found->finished) {
    if (!checkpoint.summary) continue;
    return JournalBase{.file_number = checkpoint.summary->journal_file,
                       .replay_from = checkpoint.summary->replay_from,
                       .applied = checkpoint.summary->max_applied};
  }
  return JournalBase{};
}

/// Behind the frames that recovery could replay: what is still there, and so what is not.
class LossScan {
 public:
  /// Entries up to `replayed` are in `ends` already.
  LossScan(JournalCheck& check, StreamEnds& ends, EntrySeq replayed, const JournalBase& base)
      : check_(check), ends_(ends), replayed_(replayed), base_(base) {}

  Result<void> run(JournalWalk& walk) {
    // Frames in files that a checkpoint released are not lost.
    const bool released = base_.file_number > 1 && !walk.files().empty();
    if (released && walk.files().front().number <= base_.file_number) {
      const std::optional<FileHeader>& first = walk.files().front().header;
      if (first) next_ = first->first_frame_seq;
      next_entry_ = base_.replay_from;
    }
    for (;;) {
      Result<std::optional<JournalStretch>> stretch = walk.next();
      if (!stretch) return stretch.error();
      if (!stretch->has_value()) break;
      if ((*stretch)->kind == StretchKind::kFrame) add(walk.files()[(*stretch)->file], **stretch);
    }
    // What nobody knows to be durable was never acknowledged: the torn tail (S8).
    std::erase_if(gaps_, [this](const LostFrames& gap) { return gap.first > durable_; });
    for (LostFrames& gap : gaps_) gap.last = std::min(gap.last, durable_);
    check_.lost_frames = std::move(gaps_);
    return {};
  }

 private:
  void add(const WalkedFile& file, const JournalStretch& frame) {
    const JournalFrameHeader& header = frame.header;
    if (spot_.path != file.path) {
      // Frames missing at the end of the file before are looked for there, if it has the first.
      if (spot_.path.empty() || file.header->first_frame_seq == next_)
        spot_ = {.path = file.path, .position = kFileHeaderSize};
    }
    if (header.frame_seq > next_) note_gap(header);
    if (header.frame_seq >= next_) {
      next_ = header.frame_seq + 1;
      read_entries(file, frame);
      ++check_.report.frames;
      check_.report.bytes += frame.size;
    }
    durable_ = std::max(durable_, header.durable_seq);
    spot_ = {.path = file.path, .position = frame.position + frame.size};
  }

  void note_gap(const JournalFrameHeader& after) {
    gaps_.push_back({.path = spot_.path,
                     .position = spot_.position,
                     .first = next_,
                     .last = after.frame_seq - 1,
                     .first_entry = next_entry_,
                     .last_entry = EntrySeq{after.first_entry_seq.value - 1}});
  }

  void read_entries(const WalkedFile& file, const JournalStretch& frame) {
    next_entry_ = std::max(next_entry_, frame.header.first_entry_seq);
    EntryReader entries(frame.bytes, frame.header);
    while (std::optional<EntryView> entry = entries.next()) {
      if (!is_local(entry->type)) next_entry_.value = entry->seq.value + 1;
      if (entry->seq <= replayed_) continue;
      ends_.add(*entry,
                {.path = file.path, .position = frame.position, .seq = entry->seq, .what = {}});
    }
  }

  struct Spot {
    std::string path;
    std::uint64_t position = 0;
  };

  JournalCheck& check_;
  StreamEnds& ends_;
  EntrySeq replayed_;
  JournalBase base_;
  std::vector<LostFrames> gaps_;
  Spot spot_;  ///< where the next frame belongs
  std::uint64_t next_ = 1;
  EntrySeq next_entry_{1};
  std::uint64_t durable_ = 0;
};

}  // namespace

Result<JournalCheck> check_journal(Disk& disk, const std::string& directory, ShardIndex shard,
                                   const CheckProgress& progress, std::string* explanation) {
  Result<JournalWalk> walk = JournalWalk::open(disk, directory);
  if (!walk) {
    *explanation = directory + ": " + to_string(walk.error());
    return walk.error();
  }
  std::uint64_t total = 0;
  for (const WalkedFile& file : walk->files()) total += file.size;

  JournalCheck check;
  StreamEnds ends(check);
  std::uint64_t done = 0;
  JournalPlace last;
  EntrySeq replayed;
  Journal::Replay replay = [&](const EntryView& entry, const StagedEntry& staged) -> Result<void> {
    const JournalPlace place = staged.frame->place();
    ends.add(entry, {.path = directory + "/" + journal_name(place.file_number),
                     .position = place.position,
                     .seq = entry.seq,
                     .what = {}});
    replayed = std::max(replayed, entry.seq);
    if (place != last) {
      last = place;
      done += place.size;
      progress(done, total);
    }
    return {};
  };
  JournalOptions options;
  options.directory = directory;
  options.shard = shard;
  Result<JournalBase> base = newest_base(disk, directory, shard);
  if (!base) return base.error();
  options.base = *base;
  if (base->file_number > 1) ends.begin_anywhere();
  Result<Recovered> recovered =
      recover_journal(disk, options, replay, check.explanation, RecoveryMode::kLook);
  if (recovered) {
    check.report = recovered->report;
  } else {
    const Errc code = recovered.error().code;
    if (code != Errc::kDamaged && code != Errc::kUnsupportedFormat) {
      *explanation = check.explanation;
      return recovered.error();
    }
    check.unsupported = code == Errc::kUnsupportedFormat;
    check.report.files = walk->files().size();
    if (Result<void> scanned = LossScan(check, ends, replayed, *base).run(*walk); !scanned)
      return scanned.error();
  }
  check.clean = recovered.ok() && check.bad_entries.empty() && check.lost_offsets.empty();
  return check;
}

}  // namespace waybill

#include "storage/salvage.h"

#include <algorithm>
#include <map>
#include <set>

#include "storage/append_body.h"
#include "storage/checkpoint_reader.h"
#include "storage/journal_walk.h"
#include "storage/segment_walk.h"
#include "storage/superblock.h"

namespace waybill {
namespace {

constexpr std::size_t kCopyPiece = 1024 * 1024;
/// As the segment writer spaces its index.
constexpr std::uint64_t kIndexStride = 64 * 1024;

class Salvage {
 public:
  Salvage(Disk& disk, ShardIndex shard, const JournalCheck& journal, const SegmentsCheck& segments,
          bool accept)
      : disk_(disk),
        directory_(shard_directory(shard)),
        shard_(shard),
        journal_(journal),
        segments_(segments),
        accept_(accept) {}

  Result<SalvagePlan> run() {
    Result<void> done = checkpoints();
    if (done && plan_.obstacle.empty()) done = journal();
    if (done && plan_.obstacle.empty()) done = segments();
    if (!done) return done.error();
    return std::move(plan_);
  }

 private:
  // --- what goes aside ---

  [[nodiscard]] std::string quarantine() const { return directory_ + "/" + "quarantine"; }

  /// A name there that is not taken, for a file of the shard.
  Result<std::string> place_for(const std::string& path) {
    if (Result<void> made = disk_.make_directory(quarantine()); !made) return made.error();
    Result<std::vector<std::string>> names = disk_.list(quarantine());
    if (!names) return names.error();
    std::string name = path.substr(directory_.size() + 1);
    std::ranges::replace(name, '/', '-');
    std::string free = name;
    for (unsigned copy = 1; std::ranges::find(*names, free) != names->end(); ++copy)
      free = name + "." + std::to_string(copy);
    return quarantine() + "/" + free;
  }

  Result<void> move_aside(const std::string& path) {
    Result<std::string> place = place_for(path);
    if (!place) return place.error();
    if (Result<void> moved = disk_.rename(path, *place); !moved) return moved;
    if (Result<void> done = disk_.sync_directory(quarantine()); !done) return done;
    return disk_.sync_directory(path.substr(0, path.rfind('/')));
  }

  Result<void> copy_aside(const std::string& path) {
    Result<std::string> place = place_for(path);
    if (!place) return place.error();
    Result<FileHandle> from = disk_.open(path, OpenMode::kRead);
    if (!from) return from.error();
    const OpenFile source(disk_, *from);
    Result<FileHandle> to = disk_.open(*place, OpenMode::kCreate);
    if (!to) return to.error();
    const OpenFile target(disk_, *to);
    AlignedMemory piece(kCopyPiece);
    for (std::uint64_t position = 0;;) {
      Result<std::size_t> read = disk_.read_now(*from, position, piece.bytes());
      if (!read) return read.error();
      if (*read == 0) break;
      const Bytes bytes = Bytes(piece.bytes()).first(*read);
      if (Result<void> written = disk_.write_now(*to, position, bytes); !written) return written;
      position += *read;
    }
    if (Result<void> synced = disk_.sync_now(*to); !synced) return synced;
    return disk_.sync_directory(quarantine());
  }

  // --- the parts ---

  Result<void> checkpoints() {
    if (segments_.damaged_checkpoints.empty()) return {};
    // Whatever is used instead, the journal has to reach as far; its check began there.
    const bool reaches = journal_.explanation.empty() || cut_possible();
    if (!reaches) {
      plan_.obstacle = segments_.explanations.front() +
                       " Neither an older checkpoint nor the journal reaches as far.";
      return {};
    }
    for (const std::string& path : segments_.damaged_checkpoints) {
      plan_.steps.push_back(path + " is moved aside: what it holds is in the journal too.");
      if (Result<void> moved = accept_ ? move_aside(path) : Result<void>(); !moved) return moved;
    }
    return {};
  }

  /// There is something in front of what is lost.
  [[nodiscard]] bool cut_possible() const {
    return !journal_.lost_frames.empty() && journal_.lost_frames.front().first > 1 &&
           !journal_.lost_frames.front().path.empty();
  }

  /// Cuts it where the first frame is missing.
  Result<void> journal() {
    if (journal_.explanation.empty()) return {};
    if (!cut_possible()) {
      plan_.obstacle = journal_.explanation + " Nothing in front of it is left to start from.";
      return {};
    }
    const LostFrames& first = journal_.lost_frames.front();
    Result<EntrySeq> applied = applied_by_checkpoint();
    if (!applied) return applied.error();
    if (first.first_entry.value <= applied->value) {
      plan_.obstacle = journal_.explanation +
                       " The checkpoint needs entries that are lost (up to " +
                       std::to_string(applied->value) + ").";
      return {};
    }
    plan_.first_entry = first.first_entry.value;
    if (Result<void> read = read_given_up(first); !read) return read;
    return cut(first);
  }

  Result<EntrySeq> applied_by_checkpoint() {
    Result<FoundCheckpoints> found = find_checkpoints(disk_, directory_, shard_);
    if (!found) return found.error();
    for (const FoundCheckpoint& checkpoint : found->finished) {
      if (checkpoint.summary) return checkpoint.summary->max_applied;
    }
    return EntrySeq{};
  }

  /// What the frames behind the cut hold, and what is missing between them.
  Result<void> read_given_up(const LostFrames& cut) {
    std::map<StreamId, OffsetRange> lost;
    auto add = [&lost](StreamId stream, OffsetRange offsets) {
      auto [it, inserted] = lost.try_emplace(stream, offsets);
      it->second.first = std::min(it->second.first, offsets.first);
      it->second.last = std::max(it->second.last, offsets.last);
    };
    for (const LostOffsets& one : journal_.lost_offsets) add(one.stream, one.offsets);
    Result<JournalWalk> walk = JournalWalk::open(disk_, directory_ + "/journal");
    if (!walk) return walk.error();
    for (;;) {
      Result<std::optional<JournalStretch>> stretch = walk->next();
      if (!stretch) return stretch.error();
      if (!stretch->has_value()) break;
      if ((*stretch)->kind != StretchKind::kFrame) continue;
      if ((*stretch)->header.frame_seq < cut.first) continue;
      EntryReader entries((*stretch)->bytes, (*stretch)->header);
      while (std::optional<EntryView> entry = entries.next()) {
        const std::optional<AppendBody> append = read_append_body(*entry);
        if (append) add(append->stream, {append->base, append->last()});
      }
    }
    for (const auto& [stream, offsets] : lost) plan_.given_up.push_back({stream, offsets});
    return {};
  }

  Result<void> cut(const LostFrames& cut) {
    const std::string journal = directory_ + "/journal";
    Result<std::vector<std::string>> names = disk_.list(journal);
    if (!names) return names.error();
    std::ranges::sort(*names, std::greater());  // the newest first, so that it can be repeated
    const std::string last = cut.path.substr(cut.path.rfind('/') + 1);
    for (const std::string& name : *names) {
      if (parse_journal_name(name).kind != JournalNameKind::kJournal || name <= last) continue;
      const std::string path = journal + "/" + name;
      plan_.steps.push_back(path + " is moved aside: frames before it are lost.");
      if (Result<void> moved = accept_ ? move_aside(path) : Result<void>(); !moved) return moved;
    }
    plan_.steps.push_back(cut.path + " is cut at position " + std::to_string(cut.position) +
                          ": frame " + std::to_string(cut.first) + " belongs there.");
    return accept_ ? wipe(cut.path, cut.position) : Result<void>();
  }

  Result<void> wipe(const std::string& path, std::uint64_t position) {
    if (Result<void> copied = copy_aside(path); !copied) return copied;
    Result<FileHandle> handle = disk_.open(path, OpenMode::kReadWrite);
    if (!handle) return handle.error();
    const OpenFile file(disk_, *handle);
    Result<std::uint64_t> size = disk_.size(*handle);
    if (!size) return size.error();
    if (Result<void> zeros = write_zeros(*handle, position, *size); !zeros) return zeros;
    return disk_.sync_now(*handle);
  }

  Result<void> write_zeros(FileHandle file, std::uint64_t from, std::uint64_t to) {
    AlignedMemory zeros(kCopyPiece);
    std::ranges::fill(zeros.bytes(), std::byte{0});
    while (from < to) {
      const Bytes piece =
          Bytes(zeros.bytes()).first(std::min<std::uint64_t>(kCopyPiece, to - from));
      if (Result<void> written = disk_.write_now(file, from, piece); !written) return written;
      from += piece.size();
    }
    return {};
  }

  Result<void> segments() {
    if (plan_.first_entry == 0) return segments(segments_);
    // What the entries that are given up had removed is wanted again.
    std::string explanation;
    Result<SegmentsCheck> check = check_segments(
        disk_, shard_, [](std::uint64_t, std::uint64_t) {}, &explanation,
        EntrySeq{plan_.first_entry});
    return check ? segments(*check) : Result<void>(check.error());
  }

  Result<void> segments(const SegmentsCheck& check) {
    for (const std::string& path : check.misplaced) {
      plan_.steps.push_back(path + " is moved aside: it is a file where a directory belongs.");
      if (Result<void> moved = accept_ ? move_aside(path) : Result<void>(); !moved) return moved;
    }
    for (const LostInSegment& lost : check.lost)
      plan_.given_up.push_back({lost.stream, lost.offsets});
    for (const UnusableSegment& segment : check.unusable) {
      plan_.steps.push_back(segment.path + ": " + segment.what +
                            "; it gets its length and an index again, and what is lost in it is "
                            "reported to whoever reads it.");
      if (Result<void> done = accept_ ? restore(segment) : Result<void>(); !done) return done;
    }
    return {};
  }

  Result<void> restore(const UnusableSegment& segment) {
    const ClaimedSegment& claim = segment.claim;
    const std::string directory = segment.path.substr(0, segment.path.rfind('/'));
    if (Result<void> made = make_directories(directory); !made) return made;
    Result<FileHandle> handle = disk_.open(segment.path, OpenMode::kReadWrite);
    if (handle) {
      disk_.close(*handle);
      if (Result<void> copied = copy_aside(segment.path); !copied) return copied;
      handle = disk_.open(segment.path, OpenMode::kReadWrite);
    } else if (handle.error() == Errc::kNotFound) {
      handle = disk_.open(segment.path, OpenMode::kCreate);
    }
    if (!handle) return handle.error();
    const OpenFile file(disk_, *handle);
    Result<std::uint64_t> size = disk_.size(*handle);
    if (!size) return size.error();
    const std::uint64_t whole = *size / limits::kBlock * limits::kBlock;
    Result<void> grown = write_zeros(*handle, std::min(whole, claim.size), claim.size);
    if (whole < claim.size && !grown) return grown;
    if (Result<void> sealed = claim.sealed ? seal(*handle, directory, claim) : Result<void>();
        !sealed)
      return sealed;
    if (Result<void> synced = disk_.sync_now(*handle); !synced) return synced;
    return disk_.sync_directory(directory);
  }

  Result<void> make_directories(const std::string& path) {
    for (std::size_t end = 0; end != std::string::npos;) {
      end = path.find('/', end + 1);
      if (Result<void> made = disk_.make_directory(path.substr(0, end)); !made) return made;
    }
    return {};
  }

  /// A footer behind the blocks, whose index has every gap.
  Result<void> seal(FileHandle file, const std::string& directory, const ClaimedSegment& claim) {
    Result<SegmentWalk> walk = SegmentWalk::open(disk_, directory, claim.id);
    if (!walk) return walk.error();
    SegmentFooter footer;
    footer.facts = SegmentFacts::kAll;
    footer.stream = claim.id.stream;
    footer.base = footer.end = claim.id.base;
    WallTime newest{INT64_MIN};
    bool after_gap = true;
    for (;;) {
      Result<std::optional<SegmentStretch>> stretch = walk->next();
      if (!stretch) return stretch.error();
      if (!stretch->has_value() || (*stretch)->position >= claim.size) break;
      const SegmentStretch& part = **stretch;
      const bool block = part.part == SegmentPart::kBlock;
      if (block && part.block.end > claim.end) break;
      const Offset base = block ? part.block.base : footer.end;
      const bool far =
          footer.index.empty() || part.position >= footer.index.back().position + kIndexStride;
      if ((after_gap || far || !block) && base < claim.end &&
          (footer.index.empty() || base > footer.index.back().base))
        footer.index.push_back({base, newest, part.position});
      after_gap = !block;
      if (!block) continue;
      newest = std::max(newest, part.block.max_timestamp);
      footer.end = part.block.end;
      footer.record_count += part.block.record_count;
    }
    footer.end = claim.end;
    footer.max_timestamp = newest;
    AlignedMemory bytes(footer_size(footer.index.size()));
    encode_footer(footer, claim.id, claim.size, bytes.bytes());
    return disk_.write_now(file, claim.size, bytes.bytes());
  }

  Disk& disk_;
  std::string directory_;
  ShardIndex shard_;
  const JournalCheck& journal_;
  const SegmentsCheck& segments_;
  bool accept_;
  SalvagePlan plan_;
};

}  // namespace

Result<SalvagePlan> plan_salvage(Disk& disk, ShardIndex shard, const JournalCheck& journal,
                                 const SegmentsCheck& segments) {
  return Salvage(disk, shard, journal, segments, false).run();
}

Result<void> salvage_shard(Disk& disk, ShardIndex shard, const JournalCheck& journal,
                           const SegmentsCheck& segments) {
  Result<SalvagePlan> done = Salvage(disk, shard, journal, segments, true).run();
  return done ? Result<void>() : Result<void>(done.error());
}

}  // namespace waybill

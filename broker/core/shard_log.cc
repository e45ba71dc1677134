#include "broker/core/shard_log.h"

#include <algorithm>
#include <string>
#include <utility>

#include "broker/core/entries.h"
#include "protocol/base/mutant.h"
#include "storage/segment_reader.h"
#include "storage/superblock.h"

namespace waybill {
namespace {

/// Files that were replaced cost their bytes until the next checkpoint: so many, or for so long,
/// are worth one.
constexpr std::uint64_t kReplacedBytes = 16 * 1024 * 1024;
constexpr Duration kReplacedStay = std::chrono::minutes(1);

}  // namespace

ShardLog::ShardLog(ShardEnvironment environment, ShardOptions options)
    : environment_(environment),
      options_(options),
      cache_(options.tail_cache_bytes),
      segments_(environment.disk, shard_directory(options.shard) + "/streams",
                options.catch_up_cache_bytes),
      flusher_(environment.disk, environment.clock, segments_, options.flush),
      space_(environment.disk, environment.clock,
             {.reserve_path = shard_directory(options.shard) + "/" + std::string(kReserveName),
              .watermark = options.min_free,
              .reserve = options.reserve}) {
  flusher_.on_progress([this] { touch(); });
  flusher_.on_no_room([this] { return give_reserve(); });
}

ShardLog::~ShardLog() {
  segments_.silence();
  flusher_.silence();
  journal_.reset();
  while (segments_.pending() + flusher_.pending() > 0 && environment_.disk.pending() > 0) {
    environment_.disk.submit();
    environment_.disk.wait();
  }
}

Result<void> ShardLog::open(const JournalBase& base, Journal::Replay replay, RecoveryReport* report,
                            std::string* explanation) {
  JournalOptions options;
  options.directory = journal_directory(options_.shard);
  options.shard = options_.shard;
  options.file_size = options_.journal_file_size;
  // A frame does not span two files: what is left of one when the next is begun is a part of it.
  options.frame_target = std::min(limits::kFrameTarget, options_.journal_file_size / 16);
  options.reserve = options_.journal_file_size / 4;
  options.max_staged_bytes = options_.max_staged_bytes;
  options.base = base;
  options.max_bytes = options_.max_journal_files * options_.journal_file_size;
  Result<std::unique_ptr<Journal>> journal =
      Journal::recover(environment_.disk, environment_.clock, environment_.random,
                       std::move(options), std::move(replay), explanation);
  if (!journal) return journal.error();
  journal_ = std::move(*journal);
  RecoveryReport replayed = journal_->report();
  replayed.checkpoint = report->checkpoint;
  replayed.passed_over = std::move(report->passed_over);
  *report = std::move(replayed);
  if (Result<void> opened = open_segments(report, explanation); !opened) return opened;
  journal_->on_progress([this] { progress(); });
  for (auto& [id, stream] : streams_) stream->reveal(journal_->durable());
  unrevealed_.clear();
  cache_.trim(journal_->durable());
  return {};
}

// --- segments ---

namespace {

std::string explain_unlisted(const std::string& path, const Error& error) {
  // It was just seen in its parent.
  if (error == Errc::kNotFound) {
    return path +
           " is a file, and where it stands a stream's directory belongs: it is not the broker's. "
           "Move it out of the data directory and start again.";
  }
  return path + " cannot be read: " + to_string(error) + ".";
}

}  // namespace

/// After the journal was replayed: a segment that is missing is damage only if it is still wanted
/// (S10).
Result<void> ShardLog::open_segments(RecoveryReport* report, std::string* explanation) {
  Disk& disk = environment_.disk;
  for (auto& [id, stream] : streams_) {
    if (Result<void> opened = open_segments(*stream, explanation); !opened) return opened;
  }
  for (const StreamId id : dropped_) flusher_.remove(id);
  const std::string directory = shard_directory(options_.shard) + "/streams";
  Result<std::vector<std::string>> names = disk.list(directory);
  if (!names) return names.error() == Errc::kNotFound ? Result<void>() : names.error();
  for (const std::string& name : *names) {
    const std::optional<StreamId> id = parse_stream_directory(name);
    if (!id || std::ranges::find(dropped_, *id) != dropped_.end()) continue;
    Result<std::vector<std::string>> files = disk.list(directory + "/" + name);
    if (!files) {
      *explanation = explain_unlisted(directory + "/" + name, files.error());
      return files.error();
    }
    const Stream* stream = find_stream(*id);
    for (const std::string& file : *files) {
      const std::optional<SegmentId> segment = parse_segment_name(*id, file);
      const bool known = stream != nullptr && segment &&
                         std::ranges::find(stream->segments(), *segment, &StreamSegment::id) !=
                             stream->segments().end();
      if (known) continue;
      // Trimmed, and the power failed before it was removed.
      if (stream != nullptr && segment && segment->base < stream->start()) {
        flusher_.remove(*segment);
        continue;
      }
      // A segment took its place, or it did not come to take that one's: a rewrite (S23).
      if (stream != nullptr && segment && stream->holds_other(*segment)) {
        flusher_.remove(*segment);
        continue;
      }
      // Written after the checkpoint: what it holds is in the journal, which was replayed to its
      // end, or was never acknowledged. At once, since a new segment may take the name.
      if (stream != nullptr && segment && segment->base >= stream->flushed_end()) {
        const std::string path = segments_.path_of(*segment);
        if (Result<void> removed = disk.remove(path); !removed) return removed;
        continue;
      }
      if (Result<void> moved = move_aside(*id, file, report); !moved) return moved;
    }
  }
  return {};
}

Result<void> ShardLog::open_segments(const Stream& stream, std::string* explanation) {
  for (const StreamSegment& segment : stream.segments()) {
    if (Result<void> there = segments_.check_there(segment.id, segment.size, explanation); !there)
      return there;
  }
  return {};
}

/// What a crash left, or somebody put there: reported, never deleted (S10).
Result<void> ShardLog::move_aside(StreamId stream, const std::string& name,
                                  RecoveryReport* report) {
  Disk& disk = environment_.disk;
  const std::string quarantine = shard_directory(options_.shard) + "/quarantine";
  if (Result<void> made = disk.make_directory(quarantine); !made) return made;
  Result<std::vector<std::string>> taken = disk.list(quarantine);
  if (!taken) return taken.error();
  const std::string target = stream_directory_name(stream) + "-" + name;
  std::string free = target;
  for (unsigned copy = 1; std::ranges::find(*taken, free) != taken->end(); ++copy) {
    free = target + "." + std::to_string(copy);
  }
  const std::string from = segments_.directory_of(stream) + "/" + name;
  if (Result<void> moved = disk.rename(from, quarantine + "/" + free); !moved) return moved;
  report->moved_aside.push_back(from);
  // Before a new segment takes the name.
  return disk.sync_directory(quarantine);
}

StagedEntry ShardLog::stage(EntryType type, Bytes head, Bytes tail) {
  EntryDraft draft{type, 1, head, tail};
  return journal_->stage({&draft, 1}).front();
}

Stream& ShardLog::create_stream(StreamId id) {
  auto [it, inserted] = streams_.try_emplace(id, std::make_unique<Stream>(id));
  WB_ASSERT(inserted, "stream ids are never reused");
  it->second->read_indexes_from(segments_);
  change_structure();
  return *it->second;
}

void ShardLog::drop_stream(StreamId id) {
  auto found = streams_.find(id);
  if (found == streams_.end()) return;
  cache_.forget(*found->second);
  flusher_.forget(*found->second);
  streams_.erase(found);
  change_structure();
  if (!journal_) return dropped_.push_back(id);
  when_durable([this, id](bool durable) {
    if (durable) flusher_.remove(id);
  });
}

void ShardLog::trim(Stream& stream, Offset start) {
  std::vector<SegmentId> gone;
  for (const StreamSegment& segment : stream.segments()) {
    if (segment.contents.end <= start) gone.push_back(segment.id);
  }
  stream.trim(start);
  for (const SegmentId& segment : gone) segments_.forget(segment);
  if (!journal_ || gone.empty()) return;  // at a start, what is left over is found
  when_durable([this, gone = std::move(gone)](bool durable) {
    for (const SegmentId& segment : gone) {
      if (durable) flusher_.remove(segment);
    }
  });
}

bool ShardLog::replace(Stream& stream, std::vector<StreamSegment> with) {
  const Offset end = with.back().contents.end;
  // What is in memory has what the segments have no more.
  cache_.forget(stream, std::min(end, stream.flushed_end()));
  const std::vector<StreamSegment> replaced = stream.replace(std::move(with));
  for (const StreamSegment& segment : replaced) {
    segments_.forget(segment.id);
    if (mutant("unlink_before_checkpoint")) flusher_.remove(segment.id);
    replaced_.push_back({segment.id, segment.size, clock().monotonic()});
    replaced_bytes_ += segment.size;
  }
  return !replaced.empty();
}

bool ShardLog::wants_checkpoint(std::uint64_t checkpoint_size) const {
  if (replaced_.empty()) return false;
  return replaced_bytes_ >= std::max(kReplacedBytes, checkpoint_size) ||
         clock().monotonic() - replaced_.front().since >= kReplacedStay;
}

void ShardLog::remove_replaced(std::uint64_t until) {
  for (; replaced_before_ < until; ++replaced_before_) {
    flusher_.remove(replaced_.front().segment);
    replaced_bytes_ -= replaced_.front().size;
    replaced_.pop_front();
  }
}

Stream* ShardLog::find_stream(StreamId id) {
  auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

const Stream* ShardLog::find_stream(StreamId id) const {
  auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

std::vector<const Stream*> ShardLog::streams() const {
  std::vector<const Stream*> all;
  all.reserve(streams_.size());
  for (const auto& [id, stream] : streams_) all.push_back(stream.get());
  std::ranges::sort(all, {}, &Stream::id);
  return all;
}

void ShardLog::append(Stream& stream, const AppendedBatch& batch, const StagedEntry& entry) {
  StoredBatch stored;
  stored.base = batch.base;
  stored.count = batch.count;
  stored.size = entry.body_size - static_cast<std::uint32_t>(batch.batch_offset);
  stored.max_timestamp = batch.max_timestamp;
  stored.timed = batch.timed;
  stored.seq = entry.seq;
  stored.frame = entry.frame;
  stored.frame_offset = entry.body_offset + static_cast<std::uint32_t>(batch.batch_offset);
  stream.append(std::move(stored));
  cache_.added(stream);
  flusher_.appended(stream);
  unrevealed_.push_back({entry.seq, stream.id()});
  // While the journal replays, everything it hands out is durable and nobody waits: keep within the
  // budget as it goes.
  if (!journal_) {
    cache_.trim(entry.seq);
    unrevealed_.clear();
  }
}

bool ShardLog::carry(Stream& stream) {
  if (!stream.may_carry(journal_->durable(), options_.carry_below)) return false;
  // Where the journal has to shrink, it does not help.
  if (journal_->wants_release()) return false;
  if (admit(2 * stream.unflushed_bytes(), false) != Admission::kAdmitted) return false;
  carried_bytes_ += stream.unflushed_bytes();
  stream.carry([&](const StoredBatch& batch, std::uint32_t* offset) {
    AppendHead head;
    head.stream = stream.id();
    head.base = batch.base;
    head.count = batch.count;
    head.max_timestamp = batch.max_timestamp;
    head.timed = batch.timed;
    const ByteVector bytes = encode(head);
    *offset = static_cast<std::uint32_t>(bytes.size());
    return stage(EntryType::kCarry, bytes,
                 batch.frame->bytes().subspan(batch.frame_offset, batch.size));
  });
  return true;
}

void ShardLog::read(const Stream& stream, Offset from, Offset end, BatchesRead done) {
  read_batches(*journal_, segments_, stream, from, end,
               [this, done = std::move(done)](Result<std::vector<SharedBytes>> batches) mutable {
                 done(std::move(batches));
                 touch();
               });
}

void ShardLog::begin_turn() {
  if (journal_->poisoned()) return;
  space_.look();
  journal_->may_fill_files(!space_.given());
}

bool ShardLog::give_reserve() {
  if (!space_.give()) return false;
  journal_->may_fill_files(false);
  return true;
}

void ShardLog::end_turn() {
  if (!turn_waiters_.empty()) {
    EntrySeq seq = journal_->staged();
    for (Waiter& waiter : turn_waiters_) waiting_.push_back({seq, std::move(waiter)});
    turn_waiters_.clear();
  }
  flush();
  journal_->pump();
  environment_.disk.submit();
  run_waiters();
}

std::optional<MonotonicTime> ShardLog::deadline() const {
  std::optional<MonotonicTime> earliest = journal_->deadline();
  for (const std::optional<MonotonicTime> at : {flusher_.deadline(), space_.deadline()}) {
    if (at && (!earliest || *at < *earliest)) earliest = at;
  }
  return earliest;
}

void ShardLog::progress() {
  EntrySeq durable = journal_->durable();
  while (!unrevealed_.empty() && unrevealed_.front().seq <= durable) {
    StreamId id = unrevealed_.front().stream;
    unrevealed_.pop_front();
    Stream* stream = find_stream(id);
    if (stream == nullptr) continue;
    Offset before = stream->visible_end();
    stream->reveal(durable);
    if (stream->visible_end() != before && revealed_) revealed_(*stream);
  }
  cache_.trim(durable);
  run_waiters();
  touch();
}

void ShardLog::run_waiters() {
  // A waiter may add waiters, and may look at the queue again through progress(): take each out
  // before it runs.
  while (!waiting_.empty()) {
    bool durable = waiting_.front().seq <= journal_->durable() || mutant("reply_before_durable");
    if (!durable && !journal_->poisoned()) return;
    Waiter waiter = std::move(waiting_.front().waiter);
    waiting_.pop_front();
    waiter(durable);
  }
}

}  // namespace waybill

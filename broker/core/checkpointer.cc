#include "broker/core/checkpointer.h"

#include <algorithm>

#include "broker/core/shard.h"
#include "storage/checkpoint_reader.h"
#include "storage/superblock.h"

namespace waybill {
namespace {

constexpr Duration kRetry = std::chrono::seconds(1);
/// Journal between two checkpoints is at least this many times the size of one (S19).
constexpr std::uint64_t kIntervalPerSize = 2;
/// What an object costs beside its bytes.
constexpr std::size_t kObjectCost = 64;
/// The walk waits for the disk above so many bytes.
constexpr std::size_t kMaxUnwritten = 1024 * 1024;
/// When topics and groups come and go all the time, all is saved at once in the end.
constexpr int kMaxRestarts = 3;
/// Of the journal, this part may be taken by what is carried forward (S18).
constexpr std::uint64_t kCarriedPart = 8;
/// The head of an entry is smaller than the batch behind it.
constexpr std::uint64_t kCarryCost = 2;

}  // namespace

Checkpointer::~Checkpointer() {
  if (!writer_) return;
  writer_->on_progress(nullptr);
  while (writer_->pending() > 0 && log_.disk().pending() > 0) {
    log_.disk().submit();
    log_.disk().wait();
  }
}

// --- reading ---

Result<JournalBase> Checkpointer::load(Shard& shard, RecoveryReport* report,
                                       std::string* explanation) {
  const std::string directory = shard_directory(log_.options().shard);
  Result<FoundCheckpoints> found = find_checkpoints(log_.disk(), directory, log_.options().shard);
  if (!found && found.error() == Errc::kNotFound) return JournalBase{};
  if (!found) return found.error();
  std::string problems;
  const FoundCheckpoint* best = nullptr;
  for (const FoundCheckpoint& checkpoint : found->finished) {
    next_number_ = std::max(next_number_, checkpoint.number + 1);
    older_.push_back(checkpoint.path);
    if (!checkpoint.summary) problems += checkpoint.explanation + " ";
    // An older one reaches as far, if its journal files are still there: recovery says so.
    if (best == nullptr && checkpoint.summary) best = &checkpoint;
  }
  if (best == nullptr && !found->finished.empty()) {
    *explanation = problems +
                   "There is no other checkpoint. Nothing was changed. Restore the file from a "
                   "copy, or keep the directory for repair.";
    return found->finished.front().problem;
  }
  for (const std::string& path : found->unfinished) {
    ignore_error(log_.disk().remove(path), "it is worthless, and the next start tries again");
  }
  if (best == nullptr) return JournalBase{};
  report->passed_over = problems;
  Result<CheckpointReader> reader = CheckpointReader::open(
      log_.disk(), directory, {.shard = log_.options().shard, .number = best->number});
  if (!reader) return reader.error();
  for (;;) {
    Result<std::optional<CheckpointObject>> object = reader->next();
    if (!object) return object.error();
    if (!object->has_value()) break;
    if (Result<void> loaded = Snapshot::load(shard, **object); !loaded) {
      *explanation = best->path + ": an object of kind " + std::to_string((*object)->kind) +
                     " cannot be read: " + to_string(loaded.error());
      return loaded.error();
    }
  }
  const CheckpointSummary& summary = reader->summary();
  report->checkpoint = best->number;
  keep_room_for(reader->file_size());
  begun_in_ = summary.journal_file;
  return JournalBase{.file_number = summary.journal_file,
                     .replay_from = summary.replay_from,
                     .applied = summary.max_applied};
}

// --- writing ---

bool Checkpointer::due() const {
  const Journal& journal = log_.journal();
  if (retry_at_ && log_.clock().monotonic() < *retry_at_) return false;
  if (journal.durable().value > 0 && log_.wants_checkpoint(size_ * kIntervalPerSize)) return true;
  // On a full disk the next journal file may be one that the last checkpoint still needed.
  if (journal.wants_release() && journal_file_ < journal.current_file() &&
      journal.durable() > applied_)
    return true;
  const std::uint64_t files = journal.current_file() - std::min(begun_in_, journal.current_file());
  return files >= log_.options().checkpoint_files && journal.durable().value > 0 &&
         files * log_.options().journal_file_size >= size_ * kIntervalPerSize;
}

void Checkpointer::turn() {
  if (log_.journal().poisoned()) return;
  if (started_in_ == 0) {
    started_in_ = log_.journal().current_file();
    started_at_ = log_.journal().durable();
  }
  if (state_ == State::kIdle && due()) begin();
  if (state_ == State::kCarrying) carry();
  if (state_ == State::kFlushing) flush();
  if (state_ == State::kAborting) begin_anew();
  if (state_ == State::kSaving) save();
  if (state_ == State::kWriting) finish();
}

void Checkpointer::begin() {
  state_ = State::kCarrying;
  restarts_ = 0;
  retry_at_.reset();
  begun_in_ = log_.journal().current_file();
  flush_to_ = log_.journal().durable();
  const ShardOptions& options = log_.options();
  std::uint64_t left = options.max_journal_files * options.journal_file_size / kCarriedPart;
  small_.clear();
  unflushed_.clear();
  for (const Stream* stream : log_.streams()) {
    if (stream->unflushed_bytes() == 0) continue;
    const std::uint64_t cost = kCarryCost * stream->unflushed_bytes();
    if (cost <= left && stream->may_carry(flush_to_, options.carry_below)) {
      left -= cost;
      small_.push_back(stream->id());
    } else {
      unflushed_.push_back(stream->id());
      log_.flusher().enqueue(*log_.find_stream(stream->id()));
    }
  }
  std::ranges::reverse(unflushed_);  // the back is the next to be flushed
}

/// One slice of the small tails.
void Checkpointer::carry() {
  std::uint64_t carried = 0;
  for (; !small_.empty(); small_.pop_back()) {
    if (carried >= log_.options().checkpoint_slice) return;
    Stream* stream = log_.find_stream(small_.back());
    const StoredBatch* first = stream == nullptr ? nullptr : stream->first_unflushed();
    if (first == nullptr || first->seq > flush_to_) continue;
    carried += kCarryCost * stream->unflushed_bytes();
    if (log_.carry(*stream)) continue;
    unflushed_.push_back(stream->id());
    log_.flusher().enqueue(*stream);
  }
  state_ = State::kFlushing;
}

/// Until the tails are in segments; what came later may wait for the next checkpoint.
void Checkpointer::flush() {
  // Only the next one is looked at: of thousands, each turn would pay for all.
  while (!unflushed_.empty()) {
    Stream* stream = log_.find_stream(unflushed_.back());
    const StoredBatch* first = stream == nullptr ? nullptr : stream->first_unflushed();
    if (first != nullptr && first->seq <= flush_to_) return log_.flusher().enqueue(*stream);
    unflushed_.pop_back();
  }
  begin_save();
}

void Checkpointer::begin_save() {
  Result<std::unique_ptr<CheckpointWriter>> writer =
      CheckpointWriter::create(log_.disk(), shard_directory(log_.options().shard),
                               {.shard = log_.options().shard, .number = next_number_++});
  if (!writer) return fail(writer.error());
  writer_ = std::move(*writer);
  writer_->on_progress([this] { log_.touch(); });
  walk_.emplace(shard_);
  replaced_ = log_.replaced();
  structure_ = log_.structure();
  replay_from_ = EntrySeq{log_.journal().staged().value + 1};
  state_ = State::kSaving;
}

/// One slice of the state.
void Checkpointer::save() {
  if (writer_->failed()) {
    if (writer_->pending() == 0) fail(*writer_->failed());
    return;
  }
  if (log_.structure() != structure_) {
    state_ = State::kAborting;
    return;
  }
  const bool whole = restarts_ >= kMaxRestarts;
  if (!whole && writer_->unwritten() > kMaxUnwritten) return;
  const EntrySeq applied = log_.journal().staged();
  std::size_t saved = 0;
  auto sink = [&](ObjectKind kind, std::uint64_t id, Bytes body) {
    writer_->add({.kind = static_cast<std::uint16_t>(kind),
                  .version = kObjectVersion,
                  .id = id,
                  .applied = applied,
                  .body = body});
    saved += body.size() + kObjectCost;
    if (kind != ObjectKind::kStream) return;
    const StoredBatch* first = log_.find_stream(StreamId{id})->first_unflushed();
    if (first != nullptr) replay_from_ = std::min(replay_from_, first->seq);
  };
  while (walk_->next(sink)) {
    if (!whole && saved >= log_.options().checkpoint_slice) return;
  }
  walk_.reset();
  finishing_ = false;
  state_ = State::kWriting;
}

/// Once nothing of the last try is in flight.
void Checkpointer::begin_anew() {
  if (writer_->pending() > 0) return;
  writer_->abandon();
  writer_.reset();
  ++restarts_;
  begin_save();
}

void Checkpointer::finish() {
  Journal& journal = log_.journal();
  if (writer_->failed()) {
    if (writer_->pending() == 0) fail(*writer_->failed());
    return;
  }
  // Once nothing of a stream is in the journal any more, nobody knows whose files they were.
  if (!finishing_ && log_.flusher().removing_streams()) return;
  if (!finishing_ && journal.durable() >= writer_->max_applied()) {
    finishing_ = true;
    // What came before this run is not looked for: if all of it is known, replay begins with the
    // start frame. A shard that is only started and stopped keeps none of the files of its starts.
    const EntrySeq needed = std::min(replay_from_, writer_->max_applied());
    const bool all_before = needed <= started_at_ && replay_from_ > started_at_;
    journal_file_ = all_before ? started_in_ : journal.file_of(needed);
    writer_->finish(
        {.replay_from = replay_from_, .journal_file = journal_file_, .time = log_.clock().wall()});
  }
  if (writer_->done() && writer_->pending() == 0) release();
}

/// Of the last one: the next takes about as much, and stands beside it until it is durable (S21).
void Checkpointer::keep_room_for(std::uint64_t size) {
  log_.space().want(log_.options().reserve + 2 * size);
}

/// The new one is durable: what it replaces goes.
void Checkpointer::release() {
  size_ = writer_->size();
  applied_ = writer_->max_applied();
  keep_room_for(size_);
  const std::string path =
      shard_directory(log_.options().shard) + "/" + checkpoint_name(next_number_ - 1);
  for (const std::string& old : older_) {
    ignore_error(log_.disk().remove(old), "the next start does not look at it");
  }
  older_.assign(1, path);
  writer_.reset();
  state_ = State::kIdle;
  log_.journal().release_before(journal_file_);
  log_.remove_replaced(replaced_);
}

void Checkpointer::fail(Error error) {
  if (writer_) writer_->abandon();
  writer_.reset();
  walk_.reset();
  state_ = State::kIdle;
  begun_in_ = 0;
  retry_at_ = log_.clock().monotonic() + kRetry;
  if (error == Errc::kNoSpace && log_.give_reserve()) retry_at_ = log_.clock().monotonic();
}

std::optional<MonotonicTime> Checkpointer::deadline() const {
  if (state_ == State::kIdle) return retry_at_;
  // The next slice, unless the disk has to come first: its completion is progress.
  bool goes_on = state_ == State::kSaving && writer_->unwritten() <= kMaxUnwritten;
  goes_on = goes_on || state_ == State::kCarrying;
  goes_on = goes_on || (state_ == State::kAborting && writer_->pending() == 0);
  return goes_on ? std::optional(log_.clock().monotonic()) : std::nullopt;
}

}  // namespace waybill

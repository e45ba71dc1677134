#include "storage/flusher.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace waybill {
namespace {

constexpr Duration kRetry = std::chrono::seconds(1);
/// Names that may be taken by what a crash left, before something is wrong.
constexpr std::uint64_t kMaxGeneration = 1000;

}  // namespace

void Flusher::appended(Stream& stream) {
  if (stream.unflushed_bytes() >= options_.step) enqueue(stream);
}

void Flusher::enqueue(Stream& stream) {
  if (stream.unflushed_bytes() == 0 || damaged_.contains(stream.id())) return;
  if (auto step = step_of(stream); step != steps_.end()) {
    step->again = true;
  } else if (queued_.emplace(stream.id(), &stream).second) {
    queue_.push_back(&stream);
  }
}

void Flusher::forget(const Stream& stream) {
  damaged_.erase(stream.id());
  directories_.erase(stream.id());
  std::erase(queue_, &stream);
  queued_.erase(stream.id());
  if (auto step = step_of(stream); step != steps_.end()) steps_.erase(step);
  for (auto& [sealed, writer] : sealing_) {
    if (sealed == &stream) sealed = nullptr;
  }
  auto open = open_.find(stream.id());
  if (open != open_.end()) {
    leaving_.push_back(std::move(open->second.writer));
    large_.remove(stream.id());
    open_.erase(open);
  }
  files_.forget(stream.id());
}

// --- steps ---

Flusher::StepPointer Flusher::step_of(const Stream& stream) {
  return std::ranges::find(steps_, &stream, &Step::stream);
}

bool Flusher::written_to(const Open& open) const {
  return std::ranges::any_of(steps_, [&](const Step& step) { return step.open == &open; });
}

void Flusher::step(Journal& journal) {
  std::erase_if(leaving_, [](const auto& writer) { return writer->pending() == 0; });
  check_sealed();
  remove_next();
  if (stalled_ && *stalled_ == Errc::kNoSpace && no_room_ && no_room_()) retry_at_ = {};
  if (stalled_ && clock_.monotonic() < retry_at_) return;
  for (const Step& step : steps_) {
    if (stalled_ && step.open != nullptr && step.open->writer->stalled())
      step.open->writer->retry();
  }
  stalled_.reset();
  for (auto step = steps_.begin(); step != steps_.end();) {
    step = step->open == nullptr ? std::next(step) : check_written(step);
  }
  // A few in one turn: each may create a file.
  const std::size_t most = steps_.size() + options_.max_steps;
  while (steps_.size() < most && may_begin() && !stalled_ && begin(journal)) continue;
}

bool Flusher::may_begin() const {
  if (steps_.size() < options_.max_steps) return true;
  std::uint64_t bytes = 0;
  for (const Step& step : steps_) bytes += step.bytes;
  return steps_.size() < options_.max_small_steps && bytes < options_.step;
}

/// Takes the next stream. False: there is none.
bool Flusher::begin(Journal& journal) {
  if (queue_.empty()) return false;
  Stream& stream = *queue_.front();
  queue_.pop_front();
  queued_.erase(stream.id());
  const std::vector<const StoredBatch*> batches =
      stream.unflushed(journal.durable(), std::min(options_.max_step, options_.segment_size));
  if (batches.empty()) return true;
  Step& step = steps_.emplace_back();
  step.number = ++number_;
  step.stream = &stream;
  for (const StoredBatch* batch : batches) {
    step.parts.push_back({batch->base, batch->count, batch->max_timestamp, batch->timed});
    step.bytes += batch->size;
  }
  step.until = batches.back()->last() + 1;
  read_batches(journal, files_, stream, step.parts.front().base, step.until,
               [this, number = number_](Result<std::vector<SharedBytes>> read) {
                 on_read(number, std::move(read));
               });
  return true;
}

void Flusher::on_read(std::uint64_t number, Result<std::vector<SharedBytes>> batches) {
  const auto step = std::ranges::find(steps_, number, &Step::number);
  if (silent_ || step == steps_.end()) return;  // the stream went
  Result<void> written = batches ? write(*step, *batches) : Result<void>(batches.error());
  if (!written) {
    give_up(*step, written.error());
    steps_.erase(step);
  }
  if (progress_) progress_();
}

/// Nothing of the step was written. The caller removes it.
void Flusher::give_up(Step& step, const Error& error) {
  Stream& stream = *std::exchange(step.stream, nullptr);
  if (error != Errc::kDamaged) {
    enqueue(stream);
    return stall(error);
  }
  damaged_.insert(stream.id());
  if (troubled_) troubled_({error, files_.damage()});
}

Result<void> Flusher::write(Step& step, const std::vector<SharedBytes>& batches) {
  WB_ASSERT(batches.size() == step.parts.size(), "every batch was read");
  Result<Open*> open = segment_of(*step.stream);
  if (!open) return open.error();
  step.open = *open;
  SegmentWriter& writer = *step.open->writer;
  writer.expect(step.bytes);
  for (std::size_t i = 0; i < step.parts.size(); ++i) {
    const Part& part = step.parts[i];
    SegmentFacts facts = SegmentFacts::kKeys;  // nobody looked: there may be some
    if (part.timed) facts = facts | SegmentFacts::kNotBefore | SegmentFacts::kExpiry;
    writer.append({.base = part.base,
                   .end = part.base + part.count,
                   .record_count = part.count,
                   .max_timestamp = part.max_timestamp,
                   .facts = facts,
                   .bytes = batches[i].view()});
  }
  step.open->used = step.number;
  writer.flush();
  writer.sync();
  return {};
}

Result<Flusher::Open*> Flusher::segment_of(Stream& stream) {
  auto known = open_.find(stream.id());
  if (known != open_.end()) return &known->second;
  make_room();
  const std::string directory = files_.directory_of(stream.id());
  DirectoryState state = DirectoryState::kUnknown;
  if (!directories_.empty()) state = DirectoryState::kParentDurable;
  if (directories_.contains(stream.id())) state = DirectoryState::kDurable;
  SegmentId id{.stream = stream.id(), .base = stream.flushed_end(), .generation = 1};
  for (;; ++id.generation) {
    Result<std::unique_ptr<SegmentWriter>> writer =
        SegmentWriter::create(disk_, directory, id, state);
    if (!writer && writer.error().os_errno == EEXIST && id.generation < kMaxGeneration) continue;
    if (!writer) return writer.error();
    (*writer)->on_progress([this] {
      if (progress_) progress_();
    });
    Open& open = open_[stream.id()];
    open.writer = std::move(*writer);
    open.stream = &stream;
    return &open;
  }
}

/// The step, or if it is over, the next.
Flusher::StepPointer Flusher::check_written(StepPointer step) {
  SegmentWriter& writer = *step->open->writer;
  const bool done = writer.durable_end() >= step->until;
  if (!done && !writer.broken()) {
    if (writer.stalled()) stall(*writer.stalled());
    return std::next(step);
  }
  const Step over = std::move(*step);
  step = steps_.erase(step);
  Stream& stream = *over.stream;
  auto open = open_.find(stream.id());
  if (done) {
    told_ = false;
    directories_.insert(stream.id());
    open->second.payload += over.bytes;
    stream.flushed({.id = writer.id(),
                    .contents = writer.contents(),
                    .size = writer.durable_position(),
                    .payload = open->second.payload,
                    .sealed = false,
                    .stored = clock_.wall()});
    over.again ? enqueue(stream) : appended(stream);
    if (writer.durable_position() >= options_.segment_size) {
      seal(open);
    } else if (writer.durable_position() >= options_.step) {
      used_large(stream);
    }
  } else {
    // What it says to be durable is; the rest goes into another segment.
    stall(*writer.broken());
    leaving_.push_back(std::move(open->second.writer));
    large_.remove(stream.id());
    open_.erase(open);
    enqueue(stream);
  }
  return step;
}

void Flusher::stall(const Error& error) {
  stalled_ = error;
  retry_at_ = clock_.monotonic() + kRetry;
  if (troubled_ && !std::exchange(told_, true)) troubled_({error, {}});
}

// --- the ends of segments ---

/// Before one more file. Seals the one that was used least recently, of those that are not just
/// written to.
void Flusher::make_room() {
  if (open_.size() < std::max(options_.max_files, options_.max_small_steps)) return;
  seal(std::ranges::min_element(open_, {}, [this](const auto& open) {
    return std::pair(written_to(open.second), open.second.used);
  }));
}

/// The same of the large ones, once there are too many.
void Flusher::used_large(const Stream& stream) {
  large_.remove(stream.id());
  large_.push_back(stream.id());
  if (large_.size() <= options_.max_open) return;
  for (const StreamId& least : large_) {
    auto open = open_.find(least);
    if (!written_to(open->second)) return seal(open);
  }
}

void Flusher::seal(std::map<StreamId, Open>::iterator open) {
  large_.remove(open->first);
  open->second.writer->seal();
  sealing_.emplace_back(open->second.stream, std::move(open->second.writer));
  open_.erase(open);
}

bool Flusher::grows(const SegmentId& segment) const {
  auto open = open_.find(segment.stream);
  if (open != open_.end() && open->second.writer->id() == segment) return true;
  return std::ranges::any_of(sealing_,
                             [&](const auto& one) { return one.second->id() == segment; });
}

std::uint64_t Flusher::growing(const Stream& stream) const {
  auto open = open_.find(stream.id());
  return open == open_.end() ? 0 : open->second.payload;
}

bool Flusher::roll(Stream& stream) {
  auto open = open_.find(stream.id());
  if (open != open_.end() && written_to(open->second)) return false;
  if (open != open_.end()) seal(open);
  enqueue(stream);
  return true;
}

void Flusher::check_sealed() {
  std::erase_if(sealing_, [&](auto& entry) {
    auto& [stream, writer] = entry;
    const bool over = writer->sealed() || writer->broken() || writer->stalled();
    if (!over || writer->pending() > 0) return false;
    // Without a footer it is read as it is: the checkpoint has its index.
    if (writer->sealed() && stream != nullptr) stream->sealed(writer->id());
    return true;
  });
}

/// One file at a time, beside everything else, and never one that is still being read.
void Flusher::remove_next() {
  removals_wait_ = false;
  for (std::size_t left = removals_.size(); left > 0 && !removing_; --left) {
    const Removal next = removals_.front();
    removals_.pop_front();
    if (next.segment ? files_.reads(*next.segment) : files_.reads(next.stream)) {
      removals_.push_back(next);
      removals_wait_ = true;
    } else if (next.segment) {
      remove_file(next, files_.path_of(*next.segment));
    } else {
      remove_from_stream(next);
    }
  }
}

bool Flusher::removing_streams() const {
  auto whole = [](const Removal& removal) { return !removal.segment; };
  return (removing_ && whole(*removing_)) || std::ranges::any_of(removals_, whole);
}

/// Its next file, or, when there is none any more, its directory.
void Flusher::remove_from_stream(const Removal& removal) {
  const std::string directory = files_.directory_of(removal.stream);
  Result<std::vector<std::string>> names = disk_.list(directory);
  if (!names) return;  // it never had one
  if (!names->empty()) return remove_file(removal, directory + "/" + names->back());
  // Before a checkpoint that does not know the stream: after a crash the files would be there
  // again, and nobody would know whose they are.
  removing_ = removal;
  disk_.sync_directory(directory, [this, directory](const Result<std::size_t>& /*synced*/) {
    ignore_error(disk_.remove(directory), "an empty directory is in nobody's way");
    removing_.reset();
    if (progress_) progress_();
  });
}

void Flusher::remove_file(const Removal& removal, const std::string& path) {
  removing_ = removal;
  disk_.remove(path, [this](const Result<std::size_t>& removed) {
    // What cannot be removed is removed or moved aside by the next start.
    if (removed && !removing_->segment) removals_.push_front(*removing_);  // for its next file
    removing_.reset();
    if (progress_) progress_();
  });
}

// --- the loop ---

std::optional<MonotonicTime> Flusher::deadline() const {
  if (!removals_.empty() && !removing_)
    return clock_.monotonic() + (removals_wait_ ? kRetry : Duration{});
  if (stalled_) return retry_at_;
  return std::nullopt;
}

std::size_t Flusher::pending() const {
  std::size_t all = removing_ ? 1 : 0;
  for (const auto& [id, open] : open_) all += open.writer->pending();
  for (const auto& [stream, writer] : sealing_) all += writer->pending();
  for (const auto& writer : leaving_) all += writer->pending();
  return all;
}

void Flusher::silence() {
  progress_ = nullptr;
  troubled_ = nullptr;
  silent_ = true;
}

}  // namespace waybill

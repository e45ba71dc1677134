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
  if (stream.unflushed_bytes() == 0 || !queued_.emplace(stream.id(), &stream).second) return;
  queue_.push_back(&stream);
}

void Flusher::forget(const Stream& stream) {
  std::erase(queue_, &stream);
  queued_.erase(stream.id());
  if (current_ == &stream) current_ = nullptr;
  for (auto& [sealed, writer] : sealing_) {
    if (sealed == &stream) sealed = nullptr;
  }
  auto open = open_.find(stream.id());
  if (open != open_.end()) {
    if (writing_ == &open->second) go_idle();
    leaving_.push_back(std::move(open->second.writer));
    open_.erase(open);
  }
  files_.forget(stream.id());
}

// --- a step ---

void Flusher::step(Journal& journal) {
  std::erase_if(leaving_, [](const auto& writer) { return writer->pending() == 0; });
  check_sealed();
  remove_one();
  if (stalled_ && clock_.monotonic() < retry_at_) return;
  if (stalled_ && writing_ != nullptr && writing_->writer->stalled()) writing_->writer->retry();
  stalled_.reset();
  if (state_ == State::kWriting) check_written();
  while (state_ == State::kIdle && !stalled_ && begin(journal)) continue;
}

/// Takes the next stream. False: there is none.
bool Flusher::begin(Journal& journal) {
  if (queue_.empty()) return false;
  Stream& stream = *queue_.front();
  queue_.pop_front();
  queued_.erase(stream.id());
  const std::vector<const StoredBatch*> batches =
      stream.unflushed(journal.durable(), options_.step);
  if (batches.empty()) return true;
  current_ = &stream;
  state_ = State::kReading;
  ++number_;
  parts_.clear();
  for (const StoredBatch* batch : batches) {
    parts_.push_back({batch->base, batch->count, batch->max_timestamp, batch->timed});
  }
  until_ = batches.back()->last() + 1;
  read_batches(journal, files_, stream, parts_.front().base, until_,
               [this, number = number_](Result<std::vector<SharedBytes>> read) {
                 on_read(number, std::move(read));
               });
  return true;
}

void Flusher::on_read(std::uint64_t number, Result<std::vector<SharedBytes>> batches) {
  if (number != number_ || state_ != State::kReading) return;
  if (current_ == nullptr) return go_idle();
  Result<void> written = batches ? write(*batches) : Result<void>(batches.error());
  if (!written) {
    enqueue(*current_);
    go_idle();
    stall(written.error());
  }
  if (progress_) progress_();
}

Result<void> Flusher::write(const std::vector<SharedBytes>& batches) {
  WB_ASSERT(batches.size() == parts_.size(), "every batch was read");
  Result<Open*> open = segment_of(*current_);
  if (!open) return open.error();
  writing_ = *open;
  bytes_ = 0;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    SegmentFacts facts = SegmentFacts::kKeys;  // nobody looked: there may be some
    if (part.timed) facts = facts | SegmentFacts::kNotBefore | SegmentFacts::kExpiry;
    writing_->writer->append({.base = part.base,
                              .end = part.base + part.count,
                              .record_count = part.count,
                              .max_timestamp = part.max_timestamp,
                              .facts = facts,
                              .bytes = batches[i].view()});
    bytes_ += batches[i].size();
  }
  state_ = State::kWriting;
  writing_->used = number_;
  writing_->writer->flush();
  writing_->writer->sync();
  return {};
}

Result<Flusher::Open*> Flusher::segment_of(Stream& stream) {
  auto known = open_.find(stream.id());
  if (known != open_.end()) return &known->second;
  make_room();
  SegmentId id{.stream = stream.id(), .base = stream.flushed_end(), .generation = 1};
  for (;; ++id.generation) {
    Result<std::unique_ptr<SegmentWriter>> writer =
        SegmentWriter::create(disk_, files_.directory_of(stream.id()), id);
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

void Flusher::check_written() {
  SegmentWriter& writer = *writing_->writer;
  if (writer.durable_end() >= until_) {
    writing_->payload += bytes_;
    Stream& stream = *current_;
    stream.flushed({.id = writer.id(),
                    .contents = writer.contents(),
                    .size = writer.durable_position(),
                    .payload = writing_->payload,
                    .sealed = false,
                    .stored = clock_.wall()});
    appended(stream);
    auto open = open_.find(stream.id());
    go_idle();
    if (writer.durable_position() >= options_.segment_size) seal(open);
    return;
  }
  if (writer.broken()) {
    // What it says to be durable is; the rest goes into another segment.
    const Error error = *writer.broken();
    auto open = open_.find(current_->id());
    leaving_.push_back(std::move(open->second.writer));
    open_.erase(open);
    enqueue(*current_);
    go_idle();
    return stall(error);
  }
  if (writer.stalled()) stall(*writer.stalled());
}

void Flusher::go_idle() {
  state_ = State::kIdle;
  current_ = nullptr;
  writing_ = nullptr;
}

void Flusher::stall(const Error& error) {
  stalled_ = error;
  retry_at_ = clock_.monotonic() + kRetry;
}

// --- the ends of segments ---

/// Seals the one that was used least recently.
void Flusher::make_room() {
  if (open_.size() < options_.max_open) return;
  seal(std::ranges::min_element(open_, {}, [](const auto& open) { return open.second.used; }));
}

void Flusher::seal(std::map<StreamId, Open>::iterator open) {
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
  if (open != open_.end() && writing_ == &open->second) return false;
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

void Flusher::remove_one() {
  if (removals_.empty()) return;
  if (const auto& segment = removals_.front().segment) {
    ignore_error(disk_.remove(files_.path_of(*segment)), "the next start tries again");
    return removals_.pop_front();
  }
  const std::string directory = files_.directory_of(removals_.front().stream);
  Result<std::vector<std::string>> names = disk_.list(directory);
  if (names && !names->empty()) {
    Result<void> removed = disk_.remove(directory + "/" + names->back());
    if (removed && names->size() > 1) return;
    ignore_error(removed, "the next start moves it aside");
  }
  if (names) ignore_error(disk_.remove(directory), "an empty directory is in nobody's way");
  removals_.pop_front();
}

// --- the loop ---

std::optional<MonotonicTime> Flusher::deadline() const {
  if (!removals_.empty()) return clock_.monotonic();
  if (stalled_) return retry_at_;
  return std::nullopt;
}

std::size_t Flusher::pending() const {
  std::size_t all = 0;
  for (const auto& [id, open] : open_) all += open.writer->pending();
  for (const auto& [stream, writer] : sealing_) all += writer->pending();
  for (const auto& writer : leaving_) all += writer->pending();
  return all;
}

void Flusher::silence() {
  progress_ = nullptr;
  ++number_;
}

}  // namespace waybill

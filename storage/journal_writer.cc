#include "storage/journal_writer.h"

#include <algorithm>
#include <utility>

#include "protocol/base/mutant.h"

namespace waybill {
namespace {

/// A frame of this part of the target gains little by growing: it is written beside others.
constexpr std::size_t kPartWorthAWrite = 16;
constexpr Duration kSpareRetry = std::chrono::seconds(1);
/// Released files kept as spares, beside the one that is prepared ahead: with the two that are
/// behind a checkpoint, all that a journal grows to while checkpoints wait for the disk. When it is
/// full they are what settlements have left (S21).
constexpr std::size_t kMaxReleased = 5;

/// What a change of `bytes` takes at worst: a frame of its own.
std::size_t frame_size_for(std::size_t bytes) {
  constexpr std::size_t kEntryOverhead = 512;  // headers and alignment of a few entries
  return round_up_to_block(kJournalFrameHeaderSize + kEntryOverhead + bytes);
}

}  // namespace

JournalWriter::JournalWriter(Disk& disk, const Clock& clock, Random& random, JournalOptions options,
                             Recovered recovered)
    : disk_(disk),
      clock_(clock),
      random_(random),
      options_(std::move(options)),
      report_(std::move(recovered.report)),
      staged_(recovered.last_entry),
      frame_hint_(recovered.last_frame_size),
      next_frame_seq_(recovered.next_frame_seq),
      durable_frame_(recovered.next_frame_seq - 1),
      durable_(recovered.last_entry),
      files_(recovered.files.begin(), recovered.files.end()),
      recovered_spare_(recovered.spare),
      spare_(disk, options_.directory, options_.file_size,
             [this](Result<void> result) {
               unsubmitted_ = true;
               if (!result) return fail(result.error());
               if (spare_.state() == JournalSpare::State::kDiskFull)
                 spare_retry_ = clock_.monotonic() + kSpareRetry;
               if (spare_.state() != JournalSpare::State::kFilling) progress();
             }),
      places_(disk, options_.directory) {
  for (const RecoveredFile& file : files_) files_size_ += file.size;
  current_.header.file_number = recovered.next_file_number - 1;
  options_.frame_target =
      std::min<std::size_t>(options_.frame_target, options_.file_size - kFileHeaderSize);
  options_.reserve = std::min<std::size_t>(options_.reserve, options_.file_size / 4);
}

JournalWriter::~JournalWriter() {
  on_progress_ = nullptr;
  spare_.abandon();
  places_.silence();
  while (own_pending() > 0 && disk_.pending() > 0) {
    disk_.submit();
    disk_.wait();
  }
}

std::size_t JournalWriter::own_pending() const {
  return writes_pending_ + spare_.pending() + places_.pending();
}

Error JournalWriter::poison() const {
  WB_ASSERT(poison_.has_value(), "the journal is poisoned");
  return *poison_;
}

// --- staging ---

std::vector<StagedEntry> JournalWriter::stage(std::span<const EntryDraft> change) {
  WB_ASSERT(!poisoned(), "nothing is staged after a failed write");
  std::size_t size = 0;
  for (const EntryDraft& draft : change)
    size += entry_stride(draft.head.size() + draft.tail.size());
  WB_ASSERT(
      round_up_to_block(kJournalFrameHeaderSize + size) <=
          std::min<std::size_t>(limits::kMaxJournalFrame, options_.file_size - kFileHeaderSize),
      "a change fits one frame (S3)");
  if (building_ && building_->frame->size() + size > options_.frame_target) close_building();
  if (!building_) {
    building_ = Pending{};
    building_->frame =
        std::make_shared<FrameBuffer>(std::max(frame_hint_, kJournalFrameHeaderSize + size));
    building_->first = EntrySeq{staged_.value + 1};
  }
  std::vector<StagedEntry> staged;
  staged.reserve(change.size());
  for (const EntryDraft& draft : change) {
    EntrySeq seq;
    if (!is_local(draft.type)) seq = EntrySeq{++staged_.value};
    const std::uint32_t offset = building_->frame->append(draft, seq);
    staged.push_back(
        {.seq = seq,
         .frame = building_->frame,
         .body_offset = offset,
         .body_size = static_cast<std::uint32_t>(draft.head.size() + draft.tail.size())});
  }
  building_->last = staged_;
  building_->bytes += size;
  staged_bytes_ += size;
  return staged;
}

void JournalWriter::close_building() {
  unissued_bytes_ += building_->frame->padded_size();
  closed_.push_back(std::move(*building_));
  building_.reset();
}

/// Room in the files that are there, after `need` bytes of frames: a frame does not span two files,
/// so the end of the current one may be lost.
std::size_t JournalWriter::room_after(std::size_t need) const {
  const std::size_t left = options_.file_size - position_;
  if (need <= left) {
    const bool ready = spare_.state() == JournalSpare::State::kReady;
    return left - need + (ready ? options_.file_size - kFileHeaderSize : 0);
  }
  if (spare_.state() != JournalSpare::State::kReady) return 0;
  const std::size_t lost = std::min(left, std::max(options_.frame_target, need));
  const std::size_t room = left - lost + options_.file_size - kFileHeaderSize;
  return need <= room ? room - need : 0;
}

Admission JournalWriter::admit(std::size_t bytes, bool essential) const {
  if (!essential && staged_bytes_ > 0 && staged_bytes_ + bytes > options_.max_staged_bytes)
    return Admission::kStagedFull;
  if (!essential && files_size_ >= options_.max_bytes) return Admission::kStagedFull;
  const std::size_t waiting = unissued_bytes_ + (building_ ? building_->frame->padded_size() : 0);
  const std::size_t room = room_after(waiting + frame_size_for(bytes));
  if (room > (essential ? 0 : options_.reserve)) return Admission::kAdmitted;
  if (disk_full()) return Admission::kDiskFull;
  // The next file is on its way. What everybody may stage waits for it, so that the reserve is
  // still there if it does not come; what is essential counts on it.
  return essential ? Admission::kAdmitted : Admission::kStagedFull;
}

/// There is no next file, and it is not on its way.
bool JournalWriter::disk_full() const {
  const JournalSpare::State state = spare_.state();
  return state == JournalSpare::State::kDiskFull ||
         (!may_fill_ && released_.empty() && state != JournalSpare::State::kReady);
}

// --- writing ---

bool JournalWriter::idle() const {
  return !building_ && closed_.empty() && in_flight_.empty();
}

/// The frame that may be written now, if any.
const JournalWriter::Pending* JournalWriter::next_frame() const {
  if (in_flight_.size() >= options_.max_frames_in_flight) return nullptr;
  if (!closed_.empty()) return &closed_.front();
  if (!building_) return nullptr;
  const bool large = building_->frame->size() >= options_.frame_target / kPartWorthAWrite;
  return in_flight_.empty() || large ? &*building_ : nullptr;
}

bool JournalWriter::room_for(std::size_t frame_size) const {
  return position_ + frame_size <= options_.file_size ||
         spare_.state() == JournalSpare::State::kReady;
}

void JournalWriter::pump() {
  if (poisoned()) return;
  const MonotonicTime now = clock_.monotonic();
  issue_frames();
  if (!poisoned()) prepare_spare(now);
  if (!poisoned()) issue_mark(now);
  submit();
}

void JournalWriter::submit() {
  if (!unsubmitted_) return;
  unsubmitted_ = false;
  disk_.submit();
}

void JournalWriter::issue_frames() {
  while (const Pending* next = next_frame()) {
    if (!room_for(next->frame->padded_size())) return;
    if (closed_.empty()) close_building();
    Pending pending = std::move(closed_.front());
    closed_.pop_front();
    unissued_bytes_ -= pending.frame->padded_size();
    frame_hint_ = std::min(pending.frame->padded_size(), options_.frame_target);
    issue(std::move(pending), FrameFlags::kNone);
    if (poisoned()) return;
  }
}

void JournalWriter::issue(Pending pending, FrameFlags flags) {
  const std::size_t frame_size = pending.frame->padded_size();
  if (position_ + frame_size > options_.file_size) {
    Result<void> taken = take_file(spare_.number(), pending.first);
    if (!taken) return fail(taken.error());
    spare_.taken();
  }
  JournalFrameHeader header;
  header.flags = flags;
  header.frame_seq = next_frame_seq_++;
  header.file_epoch = current_.header.file_epoch;
  header.durable_seq = durable_frame_;
  header.first_entry_seq = pending.first;
  const FrameSpot spot{options_.shard, header.file_epoch, position_};
  pending.frame->seal(header, spot, current_.header.file_number);
  position_ += frame_size;
  marked_ = flags == FrameFlags::kIdleMark;
  in_flight_.push_back(
      {.pending = std::move(pending), .frame_seq = header.frame_seq, .file = current_.file});
  queue_write(in_flight_.back());
}

void JournalWriter::queue_write(InFlight& frame) {
  const std::shared_ptr<FrameBuffer>& buffer = frame.pending.frame;
  ++writes_pending_;
  unsubmitted_ = true;
  disk_.write(frame.file->handle(), buffer->place().position, buffer->bytes(),
              mutant("journal_is_not_synced") ? Durability::kBuffered : Durability::kDurable,
              [this, seq = frame.frame_seq, owner = buffer](Result<std::size_t> result) {
                on_written(seq, result);
              });
}

void JournalWriter::on_written(std::uint64_t frame_seq, Result<std::size_t> result) {
  --writes_pending_;
  if (poisoned()) return;
  if (!result && mutant("ignore_write_errors")) result = std::size_t{limits::kMaxJournalFrame};
  if (!result) return fail(result.error());
  InFlight& frame = in_flight_[frame_seq - in_flight_.front().frame_seq];
  if (*result < frame.pending.frame->bytes().size() && !mutant("ignore_short_writes")) {
    if (frame.retried) return fail(Error{Errc::kIo, 0, "journal write: short twice"});
    frame.retried = true;
    return queue_write(frame);
  }
  frame.done = true;
  advance();
}

void JournalWriter::advance() {
  bool entries = false;
  while (!in_flight_.empty() && in_flight_.front().done) {
    const InFlight& front = in_flight_.front();
    durable_frame_ = front.frame_seq;
    durable_ = front.pending.last;
    staged_bytes_ -= front.pending.bytes;
    entries = entries || front.pending.bytes > 0;
    in_flight_.pop_front();
  }
  if (in_flight_.empty()) quiet_since_ = clock_.monotonic();
  if (entries) progress();
}

void JournalWriter::fail(const Error& error) {
  if (poisoned()) return;
  poison_ = error;
  progress();
}

void JournalWriter::progress() {
  if (on_progress_) on_progress_();
}

// --- files ---

Result<void> JournalWriter::take_file(std::uint64_t spare_number, EntrySeq first_entry) {
  FileHeader header{.shard = options_.shard,
                    .file_number = current_.header.file_number + 1,
                    .file_epoch = random_.next(),
                    .first_frame_seq = next_frame_seq_,
                    .file_size = options_.file_size,
                    .start_number = report_.start_number};
  Result<JournalFile> taken = take_into_use(disk_, options_.directory, spare_number, header);
  if (!taken) return taken.error();
  current_ = std::move(*taken);
  position_ = kFileHeaderSize;
  files_.push_back(
      {.number = header.file_number, .first_entry = first_entry, .size = options_.file_size});
  files_size_ += options_.file_size;
  places_.keep(header.file_number, current_.file);
  return {};
}

void JournalWriter::prepare_spare(MonotonicTime now) {
  const JournalSpare::State state = spare_.state();
  const bool wanted = state == JournalSpare::State::kNone ||
                      (state == JournalSpare::State::kDiskFull && now >= spare_retry_);
  if (!wanted || (closing_ && idle())) return;
  if (!released_.empty()) {
    spare_.adopt(released_.back());
    released_.pop_back();
    return progress();
  }
  if (!may_fill_) return;
  spare_retry_ = now + kSpareRetry;
  unsubmitted_ = true;
  if (Result<void> started = spare_.start(current_.header.file_number + 1); !started)
    fail(started.error());
}

Result<void> JournalWriter::start(std::string* explanation) {
  Result<void> written = write_start();
  if (!written && explanation != nullptr) {
    *explanation = written.error() == Errc::kNoSpace
                       ? "There is no room for a new journal file; free some space."
                       : "The start frame cannot be written: " + to_string(written.error());
  }
  return written;
}

Result<void> JournalWriter::write_start() {
  std::uint64_t spare = recovered_spare_;
  if (spare == 0) {
    spare = current_.header.file_number + 1;
    Result<void> made = create_spare(disk_, options_.directory, spare, options_.file_size);
    if (!made) return made;
  }
  if (Result<void> taken = take_file(spare, EntrySeq{staged_.value + 1}); !taken) return taken;

  FrameBuffer frame;
  const ByteVector body =
      encode_start_body({.start_number = report_.start_number, .time = clock_.wall()});
  frame.append({.type = EntryType::kStart, .version = 1, .head = body, .tail = {}}, EntrySeq{});
  JournalFrameHeader header;
  header.flags = FrameFlags::kStart;
  header.frame_seq = next_frame_seq_++;
  header.file_epoch = current_.header.file_epoch;
  header.durable_seq = durable_frame_;
  header.first_entry_seq = EntrySeq{staged_.value + 1};
  frame.seal(header, {options_.shard, header.file_epoch, position_}, current_.header.file_number);
  Result<void> written = disk_.write_now(current_.file->handle(), position_, frame.bytes());
  if (!written) return written;
  durable_frame_ = header.frame_seq;
  position_ += frame.bytes().size();
  quiet_since_ = clock_.monotonic();
  pump();  // begins the next spare
  if (poisoned()) return poison();
  return {};
}

void JournalWriter::read(JournalPlace place,
                         std::move_only_function<void(Result<SharedBytes>)> done) {
  unsubmitted_ = true;
  places_.read(place, std::move(done));
}

std::uint64_t JournalWriter::bytes_on_disk() const {
  const bool ready = spare_.state() == JournalSpare::State::kReady;
  return files_size_ + (released_.size() + (ready ? 1 : 0)) * options_.file_size;
}

std::uint64_t JournalWriter::file_of(EntrySeq seq) const {
  auto after = std::ranges::upper_bound(files_, seq, {}, &RecoveredFile::first_entry);
  WB_ASSERT(after != files_.begin(), "the entry is in a file that was not released");
  return std::prev(after)->number;
}

void JournalWriter::release_before(std::uint64_t file_number) {
  places_.forget_before(file_number);
  bool any = false;
  while (!poisoned() && files_.size() > 1 && files_.front().number < file_number) {
    let_go(files_.front());
    files_size_ -= files_.front().size;
    files_.pop_front();
    any = true;
  }
  if (any) progress();
}

/// It is filled already, so it saves filling another one.
void JournalWriter::let_go(const RecoveredFile& file) {
  const std::string name = options_.directory + "/" + journal_name(file.number);
  // Whoever reads from it now may still read from a file without a name.
  const bool reusable =
      file.size == options_.file_size && places_.pending() == 0 && released_.size() < kMaxReleased;
  if (!reusable) return ignore_error(disk_.remove(name), "the next start removes it");
  Result<void> renamed = disk_.rename(name, options_.directory + "/" + spare_name(file.number));
  if (renamed) released_.push_back(file.number);
  ignore_error(renamed, "the next start removes it");
}

void JournalWriter::may_fill_files(bool may) {
  if (may == std::exchange(may_fill_, may) || may) return;
  if (spare_.state() == JournalSpare::State::kFilling) spare_.abandon();
}

// --- idle, deadlines, close ---

/// An idle mark is worth its block only after a frame that is not one.
bool JournalWriter::mark_wanted() const {
  return idle() && !marked_ && room_for(limits::kBlock);
}

void JournalWriter::issue_mark(MonotonicTime now) {
  if (!mark_wanted()) return;
  if (!closing_ && now - quiet_since_ < options_.idle_mark) return;
  const EntrySeq next{staged_.value + 1};
  issue({.frame = std::make_shared<FrameBuffer>(), .first = next, .last = staged_, .bytes = 0},
        FrameFlags::kIdleMark);
}

std::optional<MonotonicTime> JournalWriter::deadline() const {
  if (poisoned()) return std::nullopt;
  const Pending* next = next_frame();
  if (unsubmitted_ || (next != nullptr && room_for(next->frame->padded_size())))
    return clock_.monotonic();
  std::optional<MonotonicTime> earliest;
  if (mark_wanted()) earliest = quiet_since_ + options_.idle_mark;
  if (!may_fill_ && released_.empty()) return earliest;
  if (spare_.state() == JournalSpare::State::kNone && !closing_) earliest = clock_.monotonic();
  if (spare_.state() == JournalSpare::State::kDiskFull && (!earliest || spare_retry_ < *earliest))
    earliest = spare_retry_;
  return earliest;
}

/// Until everything staged is durable.
Result<void> JournalWriter::drain() {
  while (!poisoned() && !idle()) {
    pump();
    if (poisoned()) break;
    if (in_flight_.empty() && spare_.pending() == 0 && !idle())
      return {Errc::kNoSpace, "journal close: no room for what is staged"};
    if (own_pending() > 0) disk_.wait();
  }
  if (poisoned()) return poison();
  return {};
}

Result<void> JournalWriter::close() {
  closing_ = true;
  if (Result<void> done = drain(); !done) return done;
  pump();  // the idle mark
  if (Result<void> done = drain(); !done) return done;
  spare_.abandon();
  while (spare_.pending() > 0) {
    disk_.submit();
    disk_.wait();
  }
  return {};
}

}  // namespace waybill

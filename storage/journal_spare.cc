#include "storage/journal_spare.h"

#include <algorithm>
#include <utility>

namespace waybill {

JournalSpare::JournalSpare(Disk& disk, std::string directory, std::uint64_t file_size,
                           Changed changed)
    : disk_(disk),
      directory_(std::move(directory)),
      file_size_(file_size),
      changed_(std::move(changed)) {}

void JournalSpare::adopt(std::uint64_t number) {
  WB_ASSERT(state_ == State::kNone || state_ == State::kDiskFull, "one spare at a time");
  number_ = number;
  state_ = State::kReady;
}

Result<void> JournalSpare::start(std::uint64_t number) {
  WB_ASSERT(state_ == State::kNone || state_ == State::kDiskFull, "one spare at a time");
  WB_ASSERT(pending_ == 0, "the last attempt is over");
  number_ = number;
  filled_ = 0;
  abandoned_ = false;
  Result<FileHandle> file = disk_.open(directory_ + "/" + filling_name(number_), OpenMode::kCreate);
  if (!file && file.error() == Errc::kNoSpace) {
    state_ = State::kDiskFull;
    return {};
  }
  if (!file) return file.error();
  file_ = std::make_shared<OpenFile>(disk_, *file);
  state_ = State::kFilling;
  queue_next();
  return {};
}

void JournalSpare::taken() {
  WB_ASSERT(state_ == State::kReady, "only a finished spare is taken into use");
  state_ = State::kNone;
}

void JournalSpare::queue_next() {
  ++pending_;
  if (filled_ == file_size_) {
    disk_.sync(file_->handle(), [this](Result<std::size_t> result) { on_synced(result); });
    return;
  }
  const std::size_t size = std::min<std::uint64_t>(zero_block().size(), file_size_ - filled_);
  disk_.write(file_->handle(), filled_, zero_block().first(size), Durability::kBuffered,
              [this](Result<std::size_t> result) { on_written(result); });
}

void JournalSpare::on_written(Result<std::size_t> result) {
  --pending_;
  // A short write is how some file systems begin to say that they are full; go on behind it.
  if (result && *result < limits::kBlock) result = Error{Errc::kNoSpace, 0, "journal spare"};
  if (!result || abandoned_) {
    changed_(give_up(result ? Error{Errc::kClosed, 0, "journal spare"} : result.error()));
    return;
  }
  filled_ += *result / limits::kBlock * limits::kBlock;
  queue_next();
  changed_({});
}

void JournalSpare::on_synced(Result<std::size_t> result) {
  --pending_;
  if (!result || abandoned_) {
    changed_(give_up(result ? Error{Errc::kClosed, 0, "journal spare"} : result.error()));
    return;
  }
  file_.reset();
  Result<void> named = disk_.rename(directory_ + "/" + filling_name(number_),
                                    directory_ + "/" + spare_name(number_));
  if (named) state_ = State::kReady;
  changed_(std::move(named));
}

/// What the owner has to hear: a full disk and an abandoned spare are not errors.
Result<void> JournalSpare::give_up(Error error) {
  file_.reset();
  state_ = error == Errc::kNoSpace ? State::kDiskFull : State::kNone;
  if (error != Errc::kNoSpace && error != Errc::kClosed) return error;
  Result<void> removed = disk_.remove(directory_ + "/" + filling_name(number_));
  if (abandoned_) {
    ignore_error(removed, "the next start removes it");
    return {};
  }
  return error == Errc::kNoSpace ? removed : Result<void>(error);
}

}  // namespace waybill

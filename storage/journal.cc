#include "storage/journal.h"

#include <utility>

#include "storage/journal_writer.h"
#include "storage/recovery.h"

namespace waybill {

Result<std::unique_ptr<Journal>> Journal::open(Disk& disk, const Clock& clock, Random& random,
                                               JournalOptions options, Replay replay,
                                               std::string* explanation) {
  WB_ASSERT(options.file_size >= kMinJournalFile && options.file_size % limits::kBlock == 0,
            "a journal file is whole blocks, at least 64 KiB");
  WB_ASSERT(options.max_frames_in_flight >= 1, "at least one frame is in flight");
  std::string text;
  Result<Recovered> recovered = recover_journal(disk, options, replay, text);
  if (!recovered) {
    if (explanation != nullptr) *explanation = std::move(text);
    return recovered.error();
  }
  auto writer =
      std::make_unique<JournalWriter>(disk, clock, random, std::move(options), *recovered);
  if (Result<void> started = writer->write_start(); !started) {
    if (explanation != nullptr) {
      *explanation = started.error() == Errc::kNoSpace
                         ? "There is no room for a new journal file; free some space."
                         : "The start frame cannot be written: " + to_string(started.error());
    }
    return started.error();
  }
  return std::unique_ptr<Journal>(std::move(writer));
}

}  // namespace waybill

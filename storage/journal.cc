#include "storage/journal.h"

#include <utility>

#include "storage/journal_writer.h"
#include "storage/recovery.h"

namespace waybill {

Result<std::unique_ptr<Journal>> Journal::recover(Disk& disk, const Clock& clock, Random& random,
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
  return std::unique_ptr<Journal>(std::make_unique<JournalWriter>(
      disk, clock, random, std::move(options), std::move(*recovered)));
}

}  // namespace waybill

// JournalRig: a journal over a Disk with a clock, randomness and a record of what was replayed, so
// that a test says what it does in a line.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "protocol/base/clock.h"
#include "protocol/base/random.h"
#include "storage/format.h"
#include "storage/io/sim_disk.h"
#include "storage/journal.h"
#include "storage/journal_file.h"

namespace waybill {

inline constexpr const char* kJournalDirectory = "shard-0/journal";

inline std::string journal_path(std::uint64_t number) {
  std::string path(kJournalDirectory);
  path += '/';
  return path += journal_name(number);
}

/// 64 KiB files and 8 KiB frames: rolls and full flights within a few changes.
inline JournalOptions small_journal() {
  JournalOptions options;
  options.directory = kJournalDirectory;
  options.file_size = kMinJournalFile;
  options.frame_target = 8 * 1024;
  return options;
}

struct Replayed {
  EntryType type{};
  std::uint64_t seq = 0;
  std::string body;
  friend bool operator==(const Replayed&, const Replayed&) = default;
};

class JournalRig {
 public:
  explicit JournalRig(Disk& disk, JournalOptions options = small_journal(), std::uint64_t seed = 1)
      : disk_(disk), options_(std::move(options)), random_(seed) {}

  Result<void> open() {
    replayed.clear();
    explanation.clear();
    auto replay = [this](const EntryView& entry, const StagedEntry& staged) -> Result<void> {
      EXPECT_TRUE(
          equal(entry.body, staged.frame->bytes().subspan(staged.body_offset, staged.body_size)));
      if (entry.type == EntryType::kStart) {
        Result<StartBody> start = decode_start_body(entry.body);
        EXPECT_TRUE(start.ok());
        if (start) starts.push_back(start->start_number);
        return {};
      }
      replayed.push_back({entry.type, entry.seq.value, std::string(as_text(entry.body))});
      return {};
    };
    starts.clear();
    Result<std::unique_ptr<Journal>> opened =
        Journal::recover(disk_, clock, random_, options_, replay, &explanation);
    if (!opened) return opened.error();
    journal = std::move(*opened);
    Result<void> started = journal->start(&explanation);
    if (!started) journal.reset();
    return started;
  }

  StagedEntry stage(std::string_view body, EntryType type = EntryType::kAppend) {
    EntryDraft draft{.type = type,
                     .version = 1,
                     .head = as_bytes(body.substr(0, body.size() / 2)),
                     .tail = as_bytes(body.substr(body.size() / 2))};
    return journal->stage({&draft, 1}).front();
  }

  /// Until everything staged is durable or nothing moves any more.
  void settle() {
    while (!journal->poisoned() && journal->durable() != journal->staged()) {
      journal->pump();
      if (disk_.pending() == 0) return;
      disk_.wait();
    }
  }
  /// Also what goes on behind: spare and idle mark.
  void settle_all() {
    settle();
    clock.advance(std::chrono::milliseconds(20));
    journal->pump();
    while (disk_.pending() > 0) {
      disk_.submit();
      disk_.wait();
      journal->pump();
    }
  }
  Result<void> write(std::string_view body) {
    stage(body);
    settle();
    if (journal->poisoned()) return journal->poison();
    return {};
  }
  Result<void> close() {
    Result<void> closed = journal->close();
    journal.reset();
    return closed;
  }
  [[nodiscard]] std::vector<std::string> bodies() const {
    std::vector<std::string> all;
    for (const Replayed& entry : replayed) all.push_back(entry.body);
    return all;
  }

  ManualClock clock;
  std::unique_ptr<Journal> journal;
  std::vector<Replayed> replayed;     ///< logical entries of the last open()
  std::vector<std::uint32_t> starts;  ///< start numbers of the last open()
  std::string explanation;

 private:
  Disk& disk_;
  JournalOptions options_;
  SeededRandom random_;
};

}  // namespace waybill

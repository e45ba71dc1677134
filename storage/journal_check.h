// check_journal: is a journal intact, would the broker start from it, and if not, what exactly is
// lost? The verdict is recovery's own (R1 to R8, S8), so a tool cannot disagree with the broker;
// what recovery does not look into, every batch's CRC and place in its stream, is checked here.
// Changes nothing. Blocking; reads everything once, twice if it is damaged.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "storage/journal.h"

namespace waybill {

/// Frames that were acknowledged and cannot be read: [first, last], which belong at `position`.
struct LostFrames {
  std::string path;
  std::uint64_t position = 0;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  EntrySeq
      first_entry;      ///< with last_entry: which entries these held, as far as a later frame says
  EntrySeq last_entry;  ///< below first_entry: none that is known
};

/// Records that were acknowledged and are missing, because a later batch of the stream is there.
struct LostOffsets {
  StreamId stream;
  OffsetRange offsets;
};

/// An entry in an intact frame that does not hold what it should.
struct BadEntry {
  std::string path;
  std::uint64_t position = 0;  ///< of its frame
  EntrySeq seq;
  std::string what;
};

struct JournalCheck {
  bool clean = true;         ///< the broker starts from it, and every batch is good
  bool unsupported = false;  ///< not damaged, but a newer broker's
  std::string explanation;   ///< recovery's refusal; empty if it accepts
  /// As recovery reports it; if it refuses, files, frames and bytes that can be read.
  RecoveryReport report;
  std::uint64_t batches = 0;
  std::uint64_t records = 0;
  std::uint64_t streams = 0;
  std::vector<LostFrames> lost_frames;
  std::vector<LostOffsets> lost_offsets;
  std::vector<BadEntry> bad_entries;
};

/// Called now and then with the bytes read so far and the bytes there are.
using CheckProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// `directory` is relative to the disk: "shard-0/journal". Errors are the disk's; `explanation`
/// (not null) then says which file. kNotFound: there is no such directory.
Result<JournalCheck> check_journal(Disk& disk, const std::string& directory, ShardIndex shard,
                                   const CheckProgress& progress, std::string* explanation);

}  // namespace waybill

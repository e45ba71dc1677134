// salvage_shard: makes a damaged shard one that the broker starts from, by giving up what cannot be
// read, and says what that is (S10). Nothing is erased: whatever it changes or takes away is in
// `quarantine/` before, as it was.
//
//  - journal: everything from the first frame that is lost is given up, also what could be read
//    behind it: later entries build on earlier ones.
//  - a segment that is missing, cut or without any order gets its length and an index again; what
//    could be read still can, and whoever reads the rest is told that it is damaged.
//  - a damaged checkpoint goes, if an older one, or the journal alone, reaches as far.
//
// Blocking. The directory must be locked, and no broker run.
#pragma once

#include <string>
#include <vector>

#include "storage/segments_check.h"

namespace waybill {

/// Records that will be missing.
struct GivenUp {
  StreamId stream;
  OffsetRange offsets;
};

struct SalvagePlan {
  /// What is done, or would be: a sentence for each file.
  std::vector<std::string> steps;
  std::vector<GivenUp> given_up;
  /// Entries of the journal that are given up; 0: none.
  std::uint64_t first_entry = 0;
  /// Why it cannot be helped; empty: it can.
  std::string obstacle;
};

/// What would be done about what the two checks found.
Result<SalvagePlan> plan_salvage(Disk& disk, ShardIndex shard, const JournalCheck& journal,
                                 const SegmentsCheck& segments);
/// Does it. Requires a plan without an obstacle. Errors are the disk's, kNoSpace above all: then
/// some steps may be done, and it can be repeated.
Result<void> salvage_shard(Disk& disk, ShardIndex shard, const JournalCheck& journal,
                           const SegmentsCheck& segments);

}  // namespace waybill

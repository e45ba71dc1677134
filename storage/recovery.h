// Recovery: what a journal's files say after whatever happened to them. It reads and judges, moves
// foreign files aside, and changes nothing else; Journal::open then writes the start frame. A tool
// that only wants the judgement gets it without even that (RecoveryMode::kLook). The
// conditions R1 to R8 of FORMAT.md stand in recovery.cc one by one.
//
// The answer is one of three:
//  - recovered: every frame that may have been acknowledged was replayed; a torn tail, if any, is
//    named and will be voided by the start frame;
//  - damaged (kDamaged): something acknowledged cannot be read; nothing may start;
//  - unsupported (kUnsupportedFormat): a newer broker wrote here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "storage/journal.h"
#include "storage/journal_file.h"

namespace waybill {

struct RecoveredFile {
  std::uint64_t number = 0;
  EntrySeq first_entry;  ///< the first in it, or the next that came after it was taken into use
  std::uint64_t size = 0;
};

struct Recovered {
  RecoveryReport report;  ///< start_number is the one of the run to come
  std::uint64_t next_frame_seq = 1;
  std::uint64_t next_file_number = 1;
  EntrySeq last_entry;
  std::vector<RecoveredFile> files;
  std::uint64_t spare = 0;  ///< number of a finished spare of the right size; 0 is none
  std::size_t last_frame_size = 0;
};

enum class RecoveryMode : std::uint8_t {
  kOpen,  ///< creates the directory if it is missing, tidies up
  kLook,  ///< changes nothing; a missing directory is kNotFound
};

/// `explanation` is filled when the result is an error.
Result<Recovered> recover_journal(Disk& disk, const JournalOptions& options,
                                  Journal::Replay& replay, std::string& explanation,
                                  RecoveryMode mode = RecoveryMode::kOpen);

}  // namespace waybill

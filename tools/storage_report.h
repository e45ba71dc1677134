// What `waybill storage info`, `check` and `probe` say about a data directory, as text and as JSON
// on one line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/checkpoint_reader.h"
#include "storage/journal_check.h"
#include "storage/journal_walk.h"
#include "storage/segments_check.h"
#include "storage/stopped_directory.h"
#include "storage/sync_probe.h"

namespace waybill::cli {

/// One file of a journal.
struct FileSummary {
  std::uint64_t frames = 0;  ///< valid and not void
  std::uint64_t first_frame = 0;
  std::uint64_t last_frame = 0;
  std::uint64_t void_frames = 0;
  std::uint64_t gaps = 0;  ///< stretches where frames were and are not valid
  EntrySeq first_entry;    ///< 0: it has none
  EntrySeq last_entry;
  std::uint64_t used = 0;  ///< bytes up to the end of the last frame

  void add(const JournalStretch& stretch);
};

/// One shard's journal.
struct ShardSummary {
  ShardIndex shard;
  std::vector<WalkedFile> files;
  std::vector<FileSummary> summaries;  ///< in the order of `files`
  std::vector<std::string> others;     ///< names of what else is there
};

/// "0/17": the shard, and the stream's number within it.
std::string stream_text(StreamId stream);
/// "512 bytes", "4.0 KiB", "64.0 MiB"
std::string size_text(std::uint64_t bytes);

/// The line "superblock: …", and what to do if it cannot be read.
std::string superblock_text(const StoppedDirectory& directory);
std::string superblock_json(const StoppedDirectory& directory);
std::string to_text(const ShardSummary& shard);
std::string to_json(const ShardSummary& shard);
/// The checkpoints of a shard, and what the newest says about streams.
struct FilesSummary {
  ShardIndex shard;
  FoundCheckpoints checkpoints;
  std::vector<StreamObject> streams;
  std::optional<std::uint64_t> reserve;  ///< bytes, if it is there
};
std::string to_text(const FilesSummary& files);
std::string to_json(const FilesSummary& files);
std::string check_text(ShardIndex shard, const SegmentsCheck& check);
std::string check_json(ShardIndex shard, const SegmentsCheck& check);
std::string check_text(ShardIndex shard, const JournalCheck& check);
std::string check_json(ShardIndex shard, const JournalCheck& check);
std::string to_text(const ProbeReport& report);
std::string to_json(const ProbeReport& report);

}  // namespace waybill::cli

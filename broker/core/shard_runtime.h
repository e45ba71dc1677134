// ShardRuntime: what whoever drives a shard (the server's thread, the simulator) has to know of it.
//
// The driver's loop, for each shard of a thread:
//   run requests and mailbox calls (they call into the shard or a gateway)
//   shard.turn()           once per loop turn in which anything touched the shard
//   disk.reap()            when disk.completion_fd() is readable; completions touch the shard
//   shard.turn() again by shard.deadline(), even without traffic
//   shard.poisoned()?      stop the process: no further acknowledgement can be true
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "broker/core/mailbox.h"
#include "protocol/base/clock.h"
#include "protocol/base/random.h"
#include "protocol/model/reply.h"
#include "protocol/model/requests.h"
#include "storage/flusher.h"
#include "storage/io/disk.h"
#include "storage/journal.h"

namespace waybill {

/// Numbers of Waiting, from 0 on.
inline constexpr std::size_t kWaitingCount = std::size_t{std::to_underlying(Waiting::kDisk)} + 1;

struct ShardOptions {
  ShardIndex shard;
  std::uint16_t shard_count = 1;
  std::size_t journal_file_size = limits::kJournalFile;
  std::size_t max_staged_bytes = limits::kMaxStagedBytes;  ///< publishers wait beyond that
  std::size_t tail_cache_bytes = 64 * 1024 * 1024;
  /// What was read from segments lately, for those who are behind.
  std::size_t catch_up_cache_bytes = 16 * 1024 * 1024;
  /// Journal files that are filled before the next checkpoint: what a start replays, about.
  std::uint64_t checkpoint_files = 2;
  /// Bytes of a checkpoint that are put together in one turn, about: tens of microseconds (S19).
  std::size_t checkpoint_slice = 32 * 1024;
  /// What a stream has in no segment when a checkpoint comes: if it is less, it is carried forward
  /// in the journal, up to four times (S18), instead of being flushed. A sync costs as much as
  /// this.
  std::uint64_t carry_below = 64 * 1024;
  /// How often it is looked at what is kept no longer.
  Duration retention_interval = std::chrono::seconds(2);
  /// For the keys that a compaction pass compares; it takes several where they do not fit.
  std::size_t compaction_memory = 16 * 1024 * 1024;
  /// With so many journal files, publishers wait until a checkpoint has released some.
  std::uint64_t max_journal_files = 8;
  /// With less free space on the file system nothing grows that need not (S21); 0: whatever fits.
  std::uint64_t min_free = 0;
  /// Room kept for flush and checkpoint when the disk is full (S21); 0: none. At least twice the
  /// size of a checkpoint is added.
  std::uint64_t reserve = 0;
  FlusherOptions flush = {};
  std::uint32_t max_deliveries = limits::kMaxDeliveries;
  /// Messages that a group keeps in mind per partition: behind a busy key, and for their time (D9).
  std::size_t index_limit = 1'000'000;
};

/// Divides a shard's part of the memory budget: three eighths for the newest messages, a quarter
/// for what is on its way to the journal, an eighth for those who are behind; the rest is for what
/// is being read, flushed and sent, and for what the newest messages share frames with.
inline void divide_memory(std::uint64_t bytes, ShardOptions& options) {
  // Two of the largest batches, or a publisher of such would wait for ever.
  constexpr std::uint64_t kLeastStaged = 2 * limits::kMaxBatch + limits::kFrameTarget;
  options.max_staged_bytes =
      std::clamp(bytes / 4, kLeastStaged, std::uint64_t{limits::kMaxStagedBytes});
  options.tail_cache_bytes = bytes * 3 / 8;
  options.catch_up_cache_bytes = bytes / 8;
  options.compaction_memory = std::min<std::uint64_t>(bytes / 16, options.compaction_memory);
}

/// What lies between two checkpoints is to be flushed, and fits into the reserve.
inline void keep_reserve(ShardOptions& options) {
  options.reserve = options.checkpoint_files * options.journal_file_size;
}

/// Counters of one shard since its start; plain numbers for /metrics.
struct ShardMetrics {
  std::uint64_t published_messages = 0;
  std::uint64_t published_batches = 0;
  std::uint64_t published_bytes = 0;
  std::uint64_t duplicate_batches = 0;
  std::uint64_t delivered_messages = 0;
  std::uint64_t redelivered_messages = 0;
  std::uint64_t acked_messages = 0;
  std::uint64_t failed_attempts = 0;
  std::uint64_t expired_leases = 0;
  std::uint64_t dead_lettered = 0;
  std::uint64_t redriven = 0;
  std::uint64_t discarded = 0;
  std::uint64_t removed_messages = 0;
  std::uint64_t compacted_messages = 0;  ///< records that compaction took out
  std::uint64_t compactions = 0;         ///< passes over a partition
  std::uint64_t carried_bytes = 0;       ///< of batches, forward in the journal (S18)
  std::uint64_t read_requests = 0;
  std::uint64_t journal_bytes = 0;    ///< on disk
  std::uint64_t flush_stalled = 0;    ///< gauge: 1 while nothing can be moved into segments
  std::uint64_t disk_full = 0;        ///< gauge: 1 while publishes are refused for lack of space
  std::uint64_t disk_free_bytes = 0;  ///< gauge: on the file system, at the last look
  std::uint64_t reserve_bytes = 0;    ///< gauge: the reserve for flush and checkpoint
  std::uint64_t damaged_streams = 0;  ///< gauge: whose part in the journal cannot be read
  std::uint64_t entries_staged = 0;
  std::uint64_t entries_durable = 0;
  std::uint64_t open_dead_letters = 0;  ///< gauge
  std::uint64_t leased = 0;             ///< gauge
  std::uint64_t partitions = 0;         ///< gauge
  // Gauges over the groups' partitions in this shard.
  std::uint64_t ready = 0;
  std::uint64_t scheduled = 0;
  std::uint64_t delayed = 0;
  std::uint64_t held = 0;
  std::array<std::uint64_t, kWaitingCount> waiting{};  ///< how many partitions, by Waiting (D9)
  // Gauges over the groups at home in this shard.
  std::uint64_t groups = 0;
  std::uint64_t groups_paused = 0;
  std::uint64_t groups_braked = 0;   ///< their brake is open
  std::uint64_t groups_probing = 0;  ///< it is, and they are delivered probes
};

/// What a shard runs on; all of it outlives the shard.
struct ShardEnvironment {
  Disk& disk;
  const Clock& clock;
  Random& random;
  Mailbox& mailbox;
};

/// Recovers a shard, which then waits for start(); blocking. On failure the explanation names what
/// is damaged or missing.
Result<std::unique_ptr<Shard>> recover_shard(ShardEnvironment environment, ShardOptions options,
                                             RecoveryReport* report, std::string* explanation);

}  // namespace waybill

// The relay's side of the application's database. One implementation per database (SQLite so far:
// sqlite_store.h); the relay is written once over this.
//
// What every implementation keeps:
//   - Each call is one short transaction of its own; none is open while the relay talks to the
//     broker.
//   - Every write holds only for the claim's epoch. A relay that lost its lane changes nothing and
//     gets kLaneOwned. Leases only save work: safety rests on the epoch.
//   - Times are the database's.
//   - Rows are a set: a row that exists is unpublished. Nothing is skipped for its id or its age.
// Errors of every call: kLaneOwned, kOutboxTables, kDatabase (retriable).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/outbox/intent.h"
#include "client/outbox/status.h"
#include "protocol/model/reply.h"

namespace waybill {

struct LaneRequest {
  std::int64_t lane = 0;
  std::string owner;  ///< takes its own lane back at once
  std::chrono::milliseconds lease{15'000};
};

/// The right to write for a lane, as long as nobody took a higher epoch.
struct LaneClaim {
  std::int64_t lane = 0;
  std::uint32_t epoch = 0;
  std::chrono::milliseconds lease{15'000};
};

/// What the database remembers of one partition.
struct LanePosition {
  TopicId topic;
  PartitionIndex partition;
  std::uint64_t acknowledged = 0;   ///< the last sequence the broker has, as far as we know
  std::uint64_t next_sequence = 1;  ///< never given to a row
};

struct Lane {
  LaneClaim claim;
  ProducerId producer;
  LaneMode mode = LaneMode::kRun;
  std::string note;
  Intent intent;  ///< empty: nothing in flight
  std::vector<LanePosition> positions;
};

struct LoadRequest {
  /// Published already, their deletion is part of the next advance; rising.
  std::vector<std::int64_t> except;
  std::size_t max_rows = 500;
  std::size_t max_bytes = 1 << 20;  ///< ends with the row that goes beyond
};
struct LoadedRows {
  LaneMode mode = LaneMode::kRun;
  std::vector<OutboxRow> rows;  ///< by id; without rows that are held, delayed, or behind such
};

/// A row that the broker, or the relay for it, refused.
struct RefusedRow {
  std::int64_t id = 0;
  Errc code = Errc::kInvalidBatch;
  std::string explanation;
};

/// Everything that changes between two publishes, in one transaction.
struct LaneAdvance {
  std::vector<IntentPart> acknowledged;  ///< their rows leave the outbox, their positions move on
  std::vector<RefusedRow> held;          ///< their keys wait; tried again with growing pauses
  std::vector<RefusedRow> dead;          ///< move to waybill_outbox_dead
  Intent intent;                         ///< what is sent next; empty: nothing
};

class OutboxStore {
 public:
  virtual ~OutboxStore() = default;

  /// Takes the lane with the next epoch and reads what it was doing. If its mode is not kRun,
  /// nothing is taken: `claim.epoch` is 0. kLaneOwned: another owner's lease has not run out.
  virtual Reply<Lane> take_lane(const LaneRequest& request) = 0;
  /// Gives the lease up, so that the next owner need not wait.
  virtual Reply<void> release_lane(const LaneClaim& claim) = 0;
  /// Prolongs the lease.
  virtual Reply<LaneMode> renew_lane(const LaneClaim& claim) = 0;

  virtual Reply<LoadedRows> load(const LaneClaim& claim, const LoadRequest& request) = 0;
  /// These rows, held or not; those that do not exist any more are missing in the answer.
  virtual Reply<std::vector<OutboxRow>> load_rows(const std::vector<std::int64_t>& ids) = 0;
  /// False: a row of the new intent is gone, nothing was changed; load again.
  virtual Reply<bool> advance(const LaneClaim& claim, const LaneAdvance& change) = 0;

  /// Forgets a partition whose topic was deleted.
  virtual Reply<void> forget_position(const LaneClaim& claim, TopicPartition place) = 0;
  /// A new producer without positions or intent: what was in flight may be published twice.
  virtual Reply<ProducerId> new_incarnation(const LaneClaim& claim) = 0;
  virtual Reply<void> halt_lane(const LaneClaim& claim, const std::string& note) = 0;

  /// Whether anybody else may have written since the last call. Cheap enough for a tight poll.
  virtual bool changed() = 0;
  /// For people, from any process: needs no claim.
  virtual Reply<OutboxStatus> status() = 0;
  /// `waybill outbox pause|resume`.
  virtual Reply<void> set_lane_mode(std::int64_t lane, LaneMode mode) = 0;
};

}  // namespace waybill

// What to send next: rows in the order of their ids become an intent and its batches. Pure: no
// database, no broker, no clock.
//
// Two rows of one key never overtake each other: they are in the same partition, and once a row of
// a partition does not fit into the plan, no later row of that partition is taken.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "client/outbox/intent.h"
#include "client/outbox/outbox_store.h"
#include "protocol/base/shared_bytes.h"
#include "protocol/model/catalog.h"

namespace waybill {

using LanePositions = std::map<TopicPartition, LanePosition>;

struct BatchPlan {
  Intent intent;
  std::vector<SharedBytes> batches;  ///< one for each part
  std::vector<RefusedRow> refused;   ///< cannot become messages, or their topic does not exist
  bool unknown_topic = false;        ///< a newer catalog may help
};

struct PlanInput {
  std::span<const OutboxRow> rows;  ///< by id
  const Catalog& catalog;
  const LanePositions& positions;
  /// Partitions whose last part was refused: at most so many rows each.
  const std::map<TopicPartition, std::size_t>& part_limits;
  Codec codec = Codec::kNone;
};

BatchPlan plan_batch(const PlanInput& input);

/// By its key; without one, by its message id: the same for every attempt until it is in an intent.
PartitionIndex partition_of(const OutboxRow& row, std::uint32_t partition_count);

}  // namespace waybill

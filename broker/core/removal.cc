// DeliveryEngine, continued: what retention takes away (S22). A partition's log ends earlier than a
// group is done with it only beyond a limit that its topic states; then those messages are counted
// as removed, and their leases are lost. What was redriven stays: its payload is in the group's
// dead-letter stream.
#include <algorithm>

#include "broker/core/delivery_engine.h"
#include "broker/core/shard.h"

namespace waybill {

Offset DeliveryEngine::needed(const Stream& log) const {
  Offset needed = log.end();
  auto found = by_stream_.find(log.id());
  if (found == by_stream_.end()) return needed;
  for (const GroupPartition* partition : found->second) {
    needed = std::min(needed, partition->delivery.needed());
  }
  return needed;
}

Offset DeliveryEngine::floor(const Stream& log) const {
  Offset floor = log.end();
  auto found = by_stream_.find(log.id());
  if (found == by_stream_.end()) return floor;
  for (const GroupPartition* partition : found->second) {
    floor = std::min(floor, partition->delivery.floor());
  }
  return floor;
}

std::uint64_t DeliveryEngine::trim(Stream& log, Offset to) {
  std::uint64_t removed = 0;
  auto found = by_stream_.find(log.id());
  std::vector<GroupPartition*> groups;
  if (found != by_stream_.end()) groups = found->second;
  for (GroupPartition* partition : groups) {
    const std::uint64_t before = partition->delivery.removed_count();
    if (partition->delivery.needed() < to) record(*partition, RemovedOp{to});
    stage_ops(*partition);
    removed += partition->delivery.removed_count() - before;
  }
  log_.stage(EntryType::kTrim, encode(TrimEntry{log.id(), to}));
  log_.trim(log, to);
  metrics_.removed_messages += removed;
  for (GroupPartition* partition : groups) {
    // What the scan has sorted, or would look at next, may be gone.
    if (partition->scheduler.scanned() < to || partition->delivery.removed_to() == to) {
      forget_removed(*partition, to);
    }
  }
  return removed;
}

/// What is only of this run forgets what was removed.
void DeliveryEngine::forget_removed(GroupPartition& partition, Offset to) {
  const DeliveryState& delivery = partition.delivery;
  auto gone = [&](Offset offset) {
    return offset < to && delivery.find_tracked(offset) == nullptr;
  };
  std::erase_if(partition.delayed, [&](const auto& delayed) { return gone(delayed.first); });
  std::erase_if(partition.dying, gone);
  std::erase_if(partition.watches,
                [&](const auto& watch) { return delivery.find_lease(watch.first) == nullptr; });
  rebuild(partition);
  touch(partition);
}

}  // namespace waybill

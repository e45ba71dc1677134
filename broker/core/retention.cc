#include "broker/core/retention.h"

#include <algorithm>

namespace waybill {
namespace {

/// Partitions that are looked at in one turn: finding a topic among thousands costs microseconds.
constexpr int kPartitionsPerTurn = 16;
/// A segment spans this part of the shortest limit: what goes is late by so much at most, and a
/// quiet partition has a few segments more than so many.
constexpr int kSegmentsPerLimit = 8;
/// Shorter ones are not worth their files.
constexpr std::chrono::milliseconds kShortestSegment{1000};
constexpr std::chrono::milliseconds kLongestSegment = std::chrono::hours(12);
/// So that topics compact into which little is published; compaction joins what is small.
constexpr std::chrono::milliseconds kCompactedAge = std::chrono::minutes(10);
/// Journal room without which nothing is decided: an entry for each group, about.
constexpr std::size_t kRoom = 16 * 1024;

std::chrono::milliseconds segment_age(const TopicPolicy& policy) {
  // Only what is in an ended segment can be compacted.
  if (policy.cleanup == Cleanup::kCompact && policy.drop_after.count() == 0) return kCompactedAge;
  std::chrono::milliseconds limit = policy.retention;
  if (policy.cleanup == Cleanup::kCompact) limit = policy.drop_after;
  if (policy.drop_after.count() > 0) limit = std::min(limit, policy.drop_after);
  return std::clamp(limit / kSegmentsPerLimit, kShortestSegment,
                    policy.compacts() ? kCompactedAge : kLongestSegment);
}

}  // namespace

void Retention::turn(const Catalog& catalog) {
  const MonotonicTime now = log_.clock().monotonic();
  if (!due_) {
    if (partitions_.count() > 0) due_ = now + log_.options().retention_interval;
    return;
  }
  if (now < *due_) return;
  for (int i = 0; i < kPartitionsPerTurn; ++i) {
    Partition* partition = partitions_.after(last_);
    if (partition == nullptr) {
      last_ = {};
      due_.reset();
      if (partitions_.count() > 0) due_ = now + log_.options().retention_interval;
      return;
    }
    last_ = {partition->topic, partition->index};
    const TopicInfo* topic = catalog.topic(partition->topic);
    if (topic != nullptr) look(*partition, topic->policy);
  }
}

void Retention::look(Partition& partition, const TopicPolicy& policy) {
  roll(partition, policy);
  Stream& log = *partition.log;
  const Offset needed = delivery_.needed(log);
  const WallTime now = log_.clock().wall();
  std::uint64_t bytes = log.bytes();
  Offset to = log.start();
  for (const StreamSegment& segment : log.segments()) {
    if (log_.flusher().grows(segment.id)) break;
    const std::chrono::milliseconds age(now.milliseconds - segment.stored.milliseconds);
    const bool done = policy.cleanup != Cleanup::kCompact && age >= policy.retention &&
                      segment.contents.end <= needed;
    const bool late = policy.drop_after.count() > 0 && age >= policy.drop_after;
    // What is left is still that much: a segment may be larger than the limit.
    const bool much = policy.drop_above > 0 && bytes - segment.payload >= policy.drop_above;
    if (!done && !late && !much) break;
    bytes -= segment.payload;
    to = segment.contents.end;
  }
  if (to > log.start() && log_.admit(kRoom, true) == Admission::kAdmitted) {
    const std::uint64_t removed = delivery_.trim(log, to);
    if (removed > 0 && removed_) removed_(partition, removed);
  }
  compactor_.consider(log, policy);
}

/// Ends the partition's segment when it is old or large enough, and has flushed what is in none.
void Retention::roll(Partition& partition, const TopicPolicy& policy) {
  const MonotonicTime now = log_.clock().monotonic();
  Flusher& flusher = log_.flusher();
  if (partition.rolled == MonotonicTime{}) partition.rolled = now;
  const bool old = now - partition.rolled >= segment_age(policy);
  const bool large = policy.drop_above > 0 &&
                     flusher.growing(*partition.log) >= policy.drop_above / kSegmentsPerLimit;
  if ((old || large) && flusher.roll(*partition.log)) partition.rolled = now;
}

}  // namespace waybill

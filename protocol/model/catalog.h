// Topics and groups as the catalog knows them. Names are for people, ids are what everything
// durable refers to; neither ids nor a group's incarnations are ever reused (D1, S13).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/ids.h"
#include "protocol/model/group_policy.h"

namespace waybill {

struct PartitionPlace {
  ShardIndex shard;
  StreamId stream;
  friend bool operator==(const PartitionPlace&, const PartitionPlace&) = default;
};

/// What of a topic goes when every group is done with it. Numbers are on the wire and on disk.
enum class Cleanup : std::uint8_t {
  kDelete = 1,            ///< what is older than the retention
  kCompact = 2,           ///< what has a later record of its key (S23); every record has a key
  kCompactAndDelete = 3,  ///< both
};
/// "delete", "compact", "compact,delete", as Kafka's cleanup.policy.
std::string_view name(Cleanup cleanup);

/// How long a topic keeps its messages (S22).
struct TopicPolicy {
  /// At least so long after they were stored, and until every group is done with them; plays no
  /// part with Cleanup::kCompact.
  std::chrono::milliseconds retention = std::chrono::hours(7 * 24);
  /// What is older goes, whoever was not done with it; 0: nothing does.
  std::chrono::milliseconds drop_after{0};
  /// The oldest of a partition that has more bytes goes, whoever was not done with it; 0: nothing.
  std::uint64_t drop_above = 0;
  Cleanup cleanup = Cleanup::kDelete;
  /// Compaction keeps a record without a value, which says that its key is no more, at least so
  /// long after it was stored: who reads on meanwhile learns of it.
  std::chrono::milliseconds tombstone_delay = std::chrono::hours(24);

  [[nodiscard]] bool compacts() const { return cleanup != Cleanup::kDelete; }
  friend bool operator==(const TopicPolicy&, const TopicPolicy&) = default;
};

struct TopicInfo {
  TopicId id;
  std::string name;
  std::uint64_t version = 0;               ///< of the catalog entry, rises with each change
  std::vector<PartitionPlace> partitions;  ///< by partition number (S13: an explicit table)
  TopicPolicy policy = {};
  /// It is deleted; archives of its groups still refer to it (D15). Its name is free again.
  bool archived = false;
  friend bool operator==(const TopicInfo&, const TopicInfo&) = default;
};

// Numbers of these enums are on the wire and on disk.
/// As of a circuit breaker: open means that nothing passes.
enum class BrakeState : std::uint8_t {
  kClosed = 1,   ///< the group delivers
  kOpen = 2,     ///< it waits for its first probe
  kProbing = 3,  ///< one message at a time, uncharged
};
/// Who decides about the brake.
enum class BrakeMode : std::uint8_t { kAutomatic = 1, kForcedOpen = 2, kForcedClosed = 3 };
std::string_view name(BrakeState state);
std::string_view name(BrakeMode mode);

struct Brake {
  BrakeState state = BrakeState::kClosed;
  BrakeMode mode = BrakeMode::kAutomatic;
  WallTime since;     ///< of the state; 0: always
  std::string cause;  ///< for a person: "11 of the last 20 deliveries failed"
  friend bool operator==(const Brake&, const Brake&) = default;
};

struct GroupInfo {
  GroupId id;
  std::string name;
  TopicId topic;
  std::uint64_t version = 0;
  GroupPolicy policy;
  GroupStart start;
  bool paused = false;  ///< by an operator; leases held are still settled
  Brake brake;
  std::uint32_t epoch = 0;  ///< rises with each reset (D15)
  /// It is deleted; its dead letters are kept, to be looked at and discarded (D15).
  bool archived = false;
  friend bool operator==(const GroupInfo&, const GroupInfo&) = default;
};

/// Everything, at one moment: what metadata answers and the server resolves names with.
struct Catalog {
  std::uint64_t version = 0;
  std::vector<TopicInfo> topics;
  std::vector<GroupInfo> groups;

  [[nodiscard]] const TopicInfo* topic(TopicId id) const;
  /// Not one that is archived.
  [[nodiscard]] const TopicInfo* topic(std::string_view name) const;
  [[nodiscard]] const GroupInfo* group(GroupId id) const;
  [[nodiscard]] const GroupInfo* group(std::string_view name) const;
};

/// 1 to 249 of [A-Za-z0-9._-], not "." or "..": a name that every Kafka tool accepts too.
Reply<void> validate_name(std::string_view kind, std::string_view name);

/// Times from 0 to ten years, and no limit that would end before the retention.
Reply<void> validate(const TopicPolicy& policy);

/// The name in `candidates` that `name` was probably meant to be (edit distance at most 2, or a
/// third of its length but at most 8), or nothing.
std::optional<std::string> did_you_mean(std::string_view name,
                                        const std::vector<std::string>& candidates);

}  // namespace waybill

// Topics and groups as the catalog knows them. Names are for people, ids are what everything
// durable refers to; neither ids nor a group's incarnations are ever reused (D1, S13).
#pragma once

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

struct TopicInfo {
  TopicId id;
  std::string name;
  std::uint64_t version = 0;               ///< of the catalog entry, rises with each change
  std::vector<PartitionPlace> partitions;  ///< by partition number (S13: an explicit table)
  friend bool operator==(const TopicInfo&, const TopicInfo&) = default;
};

struct GroupInfo {
  GroupId id;
  std::string name;
  TopicId topic;
  std::uint64_t version = 0;
  GroupPolicy policy;
  GroupStart start;
  friend bool operator==(const GroupInfo&, const GroupInfo&) = default;
};

/// Everything, at one moment: what metadata answers and the server resolves names with.
struct Catalog {
  std::uint64_t version = 0;
  std::vector<TopicInfo> topics;
  std::vector<GroupInfo> groups;

  [[nodiscard]] const TopicInfo* topic(TopicId id) const;
  [[nodiscard]] const TopicInfo* topic(std::string_view name) const;
  [[nodiscard]] const GroupInfo* group(GroupId id) const;
  [[nodiscard]] const GroupInfo* group(std::string_view name) const;
};

/// 1 to 249 of [A-Za-z0-9._-], not "." or "..": a name that every Kafka tool accepts too.
Reply<void> validate_name(std::string_view kind, std::string_view name);

/// The name in `candidates` that `name` was probably meant to be (edit distance at most 2, or a
/// third of its length but at most 8), or nothing.
std::optional<std::string> did_you_mean(std::string_view name,
                                        const std::vector<std::string>& candidates);

}  // namespace waybill

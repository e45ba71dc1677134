// Where a message goes: a topic, and a partition if the caller wants to choose it. A plain value
// that the caller makes; a topic's name turns into one by itself.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "protocol/base/ids.h"

namespace waybill {

/// Without a partition: by its key, or, without a key, wherever the next
/// batch goes.
struct PublishTarget {
  std::string topic;
  std::optional<PartitionIndex> partition;

  PublishTarget(const char* topic_name) : topic(topic_name) {}
  PublishTarget(std::string topic_name) : topic(std::move(topic_name)) {}
  PublishTarget(std::string topic_name, PartitionIndex index)
      : topic(std::move(topic_name)), partition(index) {}
};

}  // namespace waybill

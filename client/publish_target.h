// Where a message goes, and when: a topic, a partition if the caller wants to choose it, and times
// before and after which groups do not get it. A plain value that the caller makes; a topic's name
// turns into one by itself.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "protocol/base/clock.h"
#include "protocol/base/ids.h"

namespace waybill {

/// Without a partition: by its key, or, without a key, where the publisher's last one went, until
/// that partition has a batch under way or got 16 KiB in a row; then another, drawn at random.
struct PublishTarget {
  std::string topic;
  std::optional<PartitionIndex> partition;
  /// Groups get it at this time or later: until then it is scheduled.
  std::optional<WallTime> not_before;
  /// Groups that have not got it by then drop it, or make it a dead letter, as their policy says.
  /// Both times travel as headers (wb-not-before, wb-expiry); what the message itself carries wins.
  std::optional<WallTime> expires;

  PublishTarget(const char* topic_name) : topic(topic_name) {}
  PublishTarget(std::string topic_name) : topic(std::move(topic_name)) {}
  PublishTarget(std::string topic_name, PartitionIndex index)
      : topic(std::move(topic_name)), partition(index) {}
};

}  // namespace waybill

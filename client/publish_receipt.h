// What publish() and publish_all() answer once a message is durable.
#pragma once

#include <vector>

#include "protocol/base/ids.h"
#include "protocol/model/reply.h"

namespace waybill {

struct PublishReceipt {
  PartitionIndex partition;
  Offset offset;
  /// The broker had it already: a resend after a lost connection met its own first attempt.
  bool duplicate = false;
  friend bool operator==(const PublishReceipt&, const PublishReceipt&) = default;
};

/// What many messages published together are answered with: one for each, in their order.
using PublishReceipts = std::vector<Reply<PublishReceipt>>;

}  // namespace waybill

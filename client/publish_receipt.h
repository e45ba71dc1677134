// What publish() answers once the message is durable.
#pragma once

#include "protocol/base/ids.h"

namespace waybill {

struct PublishReceipt {
  PartitionIndex partition;
  Offset offset;
  /// The broker had it already: a resend after a lost connection met its own first attempt.
  bool duplicate = false;
  friend bool operator==(const PublishReceipt&, const PublishReceipt&) = default;
};

}  // namespace waybill

// When a message may be delivered, as its publisher states it in two reserved headers (S26). They
// are set by PublishTarget too; these are for a time of each message's own, and for reading.
#pragma once

#include <optional>

#include "protocol/base/clock.h"
#include "protocol/model/message.h"

namespace waybill {

/// Groups get the message at this time or later. Replaces what it said before.
void set_not_before(Message& message, WallTime time);
/// A group that has not got the message by then drops it or makes it a dead letter, as its policy
/// says. Replaces what it said before.
void set_expiry(Message& message, WallTime time);

/// Nothing if the message does not say, or not in 8 bytes.
std::optional<WallTime> not_before(const Message& message);
std::optional<WallTime> expiry(const Message& message);

}  // namespace waybill

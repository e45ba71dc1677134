// Messages as JSON lines: what `publish --jsonl` reads, what `consume -o jsonl` prints and a worker
// gets. What one prints the other reads.
//
//   {"key": "order-7", "value": "text", "headers": {"source": "web"}}
//
// "not_before" and "expires" are times (RFC 3339) for groups: no sooner, no later.
//
// "value" is text, or null (a tombstone), or any other JSON value, whose text as it stands, without
// spaces between its tokens, becomes the message's value. Bytes that are not text travel as
// "key_base64" and "value_base64"; a header's value that is not text as {"base64": "…"}.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/model/message.h"
#include "tools/problem.h"

namespace waybill::cli {

/// The fields that only say where a printed message came from (id, message_id, topic, partition,
/// offset, time, delivery, failures, redrive) are accepted and ignored; any other unknown field is
/// an error.
Checked<Message> parse_message_line(std::string_view line);

/// Where a message stands in the log, and its delivery's numbers if it was delivered.
struct MessagePlace {
  std::string topic;
  PartitionIndex partition;
  Offset offset;
  std::uint32_t delivery = 0;  ///< 0: read, not delivered
  std::uint32_t failures = 0;
  std::uint32_t redrive = 0;
};

/// "<topic>/<partition>/<offset>": a message's default identity, and its id to a worker.
std::string message_id(const MessagePlace& place);
/// One line without its newline. The broker's own headers (S26) are left out; a message id given by
/// the publisher is the field "message_id".
std::string message_json(const MessagePlace& place, const Message& message);

}  // namespace waybill::cli

// A message's parts as a person reads them: JSON with its members on lines of their own, text with
// its control characters escaped (D18), anything else as a hex dump.
#pragma once

#include <optional>
#include <string>

#include "protocol/model/message.h"

namespace waybill::cli {

/// "JSON, 120 bytes", "text, 12 bytes", "binary, 3 bytes", "none (a tombstone)".
std::string payload_kind(const std::optional<ByteVector>& value);
/// Ends with a newline unless it is empty.
std::string payload_text(const std::optional<ByteVector>& value);
/// Key, headers and value, one thing per line: what two versions of a message are compared by.
std::string message_text(const Message& message);

}  // namespace waybill::cli

// Base64 (RFC 4648, with padding): how bytes that are not text travel in JSON lines.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/base/bytes.h"

namespace waybill::cli {

std::string to_base64(Bytes bytes);
/// Nothing unless the text is exactly what to_base64 would write.
std::optional<ByteVector> from_base64(std::string_view text);

}  // namespace waybill::cli

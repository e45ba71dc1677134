// Headers that begin with "wb-" carry the broker's metadata of a message (S26). A publisher may set
// its message id, not-before and expiry; the others are written by the broker only. Integers are
// little-endian; each name occurs at most once in a message. They do not count against the limits
// of the message's own headers, so that a maximal message can still be redriven.
#pragma once

#include <cstddef>
#include <string_view>

namespace waybill::reserved_headers {

inline constexpr std::string_view kPrefix = "wb-";

/// 16 bytes: a Uuid that stays with the message for life.
inline constexpr std::string_view kMessageId = "wb-message-id";
/// i64, milliseconds since 1970 UTC: not delivered before.
inline constexpr std::string_view kNotBefore = "wb-not-before";
/// i64, milliseconds since 1970 UTC: not delivered after.
inline constexpr std::string_view kExpiry = "wb-expiry";
/// u32: how often the message was redriven. Written by the broker.
inline constexpr std::string_view kRedrive = "wb-redrive";
/// Text: where a message republished by a redrive came from. Written by the broker.
inline constexpr std::string_view kRepublishedFrom = "wb-republished-from";

inline constexpr std::size_t kMessageIdSize = 16;
inline constexpr std::size_t kTimeSize = 8;
inline constexpr std::size_t kRedriveSize = 4;
/// Room for a topic's name, a partition, an offset and a dead letter's id.
inline constexpr std::size_t kMaxRepublishedFromSize = 1024;

}  // namespace waybill::reserved_headers

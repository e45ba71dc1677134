// What a user of a broker may do. Which request needs which right stands in RequestKindFacts and
// in PROTOCOL.md. View, fix, redrive and discard are about dead letters, and separate (D18): who
// looks into a letter need not be able to change it, who repairs need not be able to throw away.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace waybill {

enum class Right : std::uint8_t {
  kNone,     ///< what every user may do: names and counts, no message and no change
  kPublish,  ///< append messages, open durable producers
  kConsume,  ///< read messages, consume and settle them in any group
  kView,     ///< list dead letters and show them, with payload and history
  kFix,      ///< put a new version beside a dead letter
  kRedrive,  ///< give dead letters back
  kDiscard,  ///< throw dead letters away
  kAdmin,    ///< create, change, pause, reset and delete topics, groups and producers
};
/// "publish"; as in a users file.
std::string_view name(Right right);
/// Every right but kNone.
std::span<const Right> all_rights();
std::optional<Right> parse_right(std::string_view text);

}  // namespace waybill

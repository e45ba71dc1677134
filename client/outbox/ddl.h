// The outbox's tables as SQL text. They are a public contract (D24): any program may INSERT into
// waybill_outbox, with topic and payload alone; everything else has a default.
//
//   waybill_outbox           a row is a message that is not in the log yet; publishing deletes it
//   waybill_outbox_lane      one row per lane: its producer, its owner's epoch, the intent
//   waybill_outbox_position  per lane and partition: the last sequence the broker acknowledged
//   waybill_outbox_held      rows the broker refused; their keys wait
//   waybill_outbox_dead      rows given up on, as they were, with the reason
//
// To change them: 1 raise kOutboxSchema, 2 write the step from the version before, 3 let the
// relay's store refuse what it does not know, 4 freeze the old text in a test.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/model/reply.h"

namespace waybill {

enum class OutboxDatabase : std::uint8_t { kSqlite = 1 };

/// Stands in every lane row, column `schema`.
inline constexpr std::int64_t kOutboxSchema = 1;

/// "sqlite". Errors: kNotSupported, naming what there is.
Reply<OutboxDatabase> outbox_database_of_name(std::string_view name);

/// Statements that create what is missing and change nothing else; to be run by the owner of the
/// database, any number of times, also inside a transaction.
std::string outbox_ddl(OutboxDatabase database);

}  // namespace waybill

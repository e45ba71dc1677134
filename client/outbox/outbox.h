// The application's side of the outbox: enqueue puts a message into the application's own database,
// inside the application's own transaction, so that data and message are committed together or not
// at all. A relay (relay.h) takes it to the broker, exactly once into the log.
//
//   sqlite3_exec(db, "BEGIN IMMEDIATE", ...);
//   sqlite3_exec(db, "UPDATE orders SET state = 'paid' WHERE id = 7", ...);
//   auto row = waybill::enqueue(db, {.topic = "orders", .key = waybill::as_bytes("7"),
//                                    .payload = waybill::as_bytes(json)});
//   sqlite3_exec(db, row ? "COMMIT" : "ROLLBACK", ...);
//
// It never begins, commits or opens anything. The tables are a public contract (ddl.h): a plain
// INSERT with topic and payload does the same from any language. Rows of one key leave in the order
// of their ids. Thread: that of the connection.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "protocol/base/bytes.h"
#include "protocol/base/ids.h"
#include "protocol/model/message.h"
#include "protocol/model/reply.h"

struct sqlite3;

namespace waybill {

/// What to publish; points to the caller's memory, which enqueue copies.
struct OutboxMessage {
  std::string_view topic;
  std::optional<Bytes> key;  ///< none: unordered, any partition
  Bytes payload;
  std::span<const Header>
      headers;  ///< none of them begins with "wb-"; `traceparent` passes through
  /// Stays with the message for life (header wb-message-id). Default: a new UUIDv7. Give one made
  /// from the request, so that a repeated business operation is recognised by its consumers (an
  /// interrupted COMMIT may or may not have happened).
  std::optional<Uuid> id;
  /// Not published before; later messages of the same key wait behind it.
  std::optional<std::chrono::system_clock::time_point> not_before;
};

struct EnqueuedRow {
  std::int64_t id = 0;  ///< rises with every row, never used again
  Uuid message_id;
};

/// Inserts one row in the transaction that is open on `db`, and nothing if it fails.
/// Errors: kNotInTransaction; kOutboxTables (the explanation says how to make them);
/// kMessageTooLarge, kInvalidName, kInvalidRequest: what the broker would refuse later is refused
/// here, while the transaction can still be rolled back; kDatabase with SQLite's own words.
Reply<EnqueuedRow> enqueue(sqlite3* db, const OutboxMessage& message);

}  // namespace waybill

#include "client/outbox/outbox.h"

#include <sqlite3.h>

#include <algorithm>
#include <string>

#include "client/outbox/row_headers.h"
#include "client/outbox/sqlite_statement.h"
#include "protocol/base/limits.h"
#include "protocol/model/catalog.h"

namespace waybill {
namespace {

/// RFC 9562, version 7: 48 bits of milliseconds, then random bits; new ids sort after old ones.
Uuid new_message_id() {
  Uuid uuid;
  sqlite3_randomness(static_cast<int>(uuid.bytes.size()), uuid.bytes.data());
  auto now = static_cast<std::uint64_t>(SystemClock().wall().milliseconds);
  for (int i = 0; i < 6; ++i) {
    uuid.bytes[static_cast<std::size_t>(i)] = static_cast<std::byte>(now >> (40 - 8 * i) & 0xff);
  }
  uuid.bytes[6] = (uuid.bytes[6] & std::byte{0x0f}) | std::byte{0x70};
  uuid.bytes[8] = (uuid.bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  return uuid;
}

RequestError too_large(std::string_view what, std::size_t size, std::size_t limit) {
  return {Errc::kMessageTooLarge, "the message was not enqueued: " + std::string(what) + " " +
                                      std::to_string(size) + ", the limit is " +
                                      std::to_string(limit) +
                                      "; store large content elsewhere and send a reference"};
}

/// What the broker would refuse for ever must not be committed: nobody could take it back (T21).
Reply<void> check_message(const OutboxMessage& message) {
  Reply<void> named = validate_name("topic", message.topic);
  if (!named) return named;
  std::size_t header_bytes = 0;
  for (const Header& header : message.headers) {
    header_bytes += header.key.size() + header.value.size();
    if (is_reserved_header(header.key)) {
      return RequestError(Errc::kInvalidRequest,
                          "header \"" + header.key +
                              "\" begins with \"wb-\", which is the broker's; name it otherwise");
    }
    auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20; };
    if (std::any_of(header.key.begin(), header.key.end(), is_control)) {
      return RequestError(Errc::kInvalidRequest, "a header's name has a control character");
    }
  }
  if (message.headers.size() > limits::kMaxHeaders) {
    return too_large("its headers number", message.headers.size(), limits::kMaxHeaders);
  }
  if (header_bytes > limits::kMaxHeaderBytes) {
    return too_large("its headers' bytes are", header_bytes, limits::kMaxHeaderBytes);
  }
  std::size_t size =
      message.payload.size() + header_bytes + (message.key ? message.key->size() : 0);
  if (size > limits::kMaxMessage) {
    return too_large("its bytes are", size, limits::kMaxMessage);
  }
  return {};
}

}  // namespace

Reply<EnqueuedRow> enqueue(sqlite3* db, const OutboxMessage& message) {
  if (sqlite3_get_autocommit(db) != 0) {
    return RequestError(Errc::kNotInTransaction,
                        "the message was not enqueued: begin the transaction that changes your "
                        "data first (BEGIN IMMEDIATE), enqueue inside it, then commit both");
  }
  Reply<void> checked = check_message(message);
  if (!checked) return checked.error();
  Reply<SqliteStatement> insert = SqliteStatement::prepare(
      db,
      "INSERT INTO main.waybill_outbox(message_id, topic, key, headers, payload, not_before_us)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
  if (!insert) return insert.error();

  Uuid id = message.id.value_or(Uuid{});
  if (!message.id) id = new_message_id();
  insert->bind(Bytes(id.bytes)).bind(message.topic).bind(message.key);
  insert->bind(encode_row_headers(message.headers)).bind(message.payload);
  if (message.not_before) {
    auto since_epoch = message.not_before->time_since_epoch();
    insert->bind(std::chrono::duration_cast<std::chrono::microseconds>(since_epoch).count());
  } else {
    insert->bind_null();
  }
  Reply<void> inserted = insert->run();
  if (!inserted) return inserted.error();
  return EnqueuedRow{sqlite3_last_insert_rowid(db), id};
}

}  // namespace waybill

// Goal: enqueue and a plain INSERT put a message into the application's transaction, and refuse
// what could never be published while it can still be rolled back (outbox traps T16, T21, T24;
// D24). Method: a real SQLite file; every refusal is followed by a look at what is in the table.
#include <gtest/gtest.h>

#include "client/outbox/outbox.h"
#include "client/outbox/sqlite_store.h"
#include "protocol/base/limits.h"
#include "tests/client/outbox/test_database.h"

namespace waybill {
namespace {

OutboxMessage order(std::string_view payload) {
  OutboxMessage message;
  message.topic = "orders";
  message.payload = as_bytes(payload);
  return message;
}

TEST(Enqueue, CommitsWithTheBusinessData) {
  TestDatabase database;
  database.exec("BEGIN IMMEDIATE; INSERT INTO orders VALUES (7, 'paid')");
  Reply<EnqueuedRow> row = enqueue(database.db(), order("seven"));
  ASSERT_TRUE(row.ok()) << to_string(row.error());
  EXPECT_EQ(sqlite3_get_autocommit(database.db()), 0) << "the transaction is the application's";
  database.exec("COMMIT");
  EXPECT_EQ(row->id, 1);
  EXPECT_EQ(database.text("SELECT payload FROM waybill_outbox"), "seven");
  EXPECT_EQ(database.text("SELECT typeof(payload) FROM waybill_outbox"), "blob");
}

TEST(Enqueue, LeavesNothingAfterRollback) {
  TestDatabase database;
  database.exec("BEGIN IMMEDIATE");
  ASSERT_TRUE(enqueue(database.db(), order("never")).ok());
  database.exec("ROLLBACK");
  EXPECT_EQ(database.pending(), 0);
}

TEST(Enqueue, RefusesToWorkOutsideATransaction) {
  TestDatabase database;
  Reply<EnqueuedRow> row = enqueue(database.db(), order("alone"));
  ASSERT_FALSE(row.ok());
  EXPECT_EQ(row.error().code, Errc::kNotInTransaction);
  EXPECT_EQ(database.pending(), 0);
}

TEST(Enqueue, SaysHowToMakeMissingTables) {
  TestDatabase database(TestDatabase::Tables::kNone);
  database.exec("BEGIN");
  Reply<EnqueuedRow> row = enqueue(database.db(), order("x"));
  ASSERT_FALSE(row.ok());
  EXPECT_EQ(row.error().code, Errc::kOutboxTables);
  EXPECT_NE(row.error().explanation.find("waybill outbox ddl sqlite | sqlite3 " + database.path()),
            std::string::npos)
      << row.error().explanation;
  EXPECT_EQ(SqliteStore::open(database.path()).error().code, Errc::kOutboxTables);
}

TEST(Enqueue, RefusesWhatTheBrokerWouldRefuseT21) {
  TestDatabase database;
  database.exec("BEGIN IMMEDIATE");
  std::string large(limits::kMaxMessage, 'x');
  EXPECT_TRUE(enqueue(database.db(), order(large)).ok()) << "the limit itself is allowed";
  large += 'x';
  EXPECT_EQ(enqueue(database.db(), order(large)).error().code, Errc::kMessageTooLarge);

  OutboxMessage message = order("x");
  message.topic = "no spaces";
  EXPECT_EQ(enqueue(database.db(), message).error().code, Errc::kInvalidName);

  message = order("x");
  std::vector<Header> headers{{"wb-message-id", {}}};
  message.headers = headers;
  EXPECT_EQ(enqueue(database.db(), message).error().code, Errc::kInvalidRequest);
  headers.assign(limits::kMaxHeaders + 1, {"h", {}});
  message.headers = headers;
  EXPECT_EQ(enqueue(database.db(), message).error().code, Errc::kMessageTooLarge);
  headers.assign(1, {"h", ByteVector(limits::kMaxHeaderBytes)});
  message.headers = headers;
  EXPECT_EQ(enqueue(database.db(), message).error().code, Errc::kMessageTooLarge);
  EXPECT_EQ(database.pending(), 1);
}

TEST(Enqueue, GivesRisingVersion7IdsOrTakesTheCallersT24) {
  TestDatabase database;
  database.exec("BEGIN IMMEDIATE");
  Uuid made = enqueue(database.db(), order("a"))->message_id;
  EXPECT_EQ(to_string(made)[14], '7');
  EXPECT_NE(made, enqueue(database.db(), order("b"))->message_id);
  OutboxMessage message = order("c");
  message.id = parse_uuid("0191d3c4-7e2a-5c3b-9f10-5a6b7c8d9e0f").value();
  EXPECT_EQ(enqueue(database.db(), message)->message_id, *message.id);
  EXPECT_EQ(database.text("SELECT hex(message_id) FROM waybill_outbox WHERE id = 3"),
            "0191D3C47E2A5C3B9F105A6B7C8D9E0F");
}

TEST(Enqueue, NeverGivesAnIdTwiceT16) {
  TestDatabase database;
  database.exec("BEGIN IMMEDIATE");
  EXPECT_EQ(enqueue(database.db(), order("a"))->id, 1);
  database.exec("COMMIT; DELETE FROM waybill_outbox; BEGIN IMMEDIATE");
  EXPECT_EQ(enqueue(database.db(), order("b"))->id, 2);
}

TEST(Enqueue, KeepsHeadersOfEveryKindApart) {
  TestDatabase database;
  std::vector<Header> headers{{"traceparent", to_vector(as_bytes("00-ab-cd-01"))},
                              {"quote\"back\\slash", to_vector(as_bytes("\"\\"))},
                              {"binary", {std::byte{0}, std::byte{0xff}, std::byte{0x80}}},
                              {"twice", to_vector(as_bytes("1"))},
                              {"umlaut", to_vector(as_bytes("ä€😀"))},
                              {"empty", {}},
                              {"twice", {std::byte{0xfe}}}};
  OutboxMessage message = order("x");
  message.headers = headers;
  database.exec("BEGIN IMMEDIATE");
  ASSERT_TRUE(enqueue(database.db(), message).ok());
  database.exec("COMMIT");
  auto store = SqliteStore::open(database.path());
  ASSERT_TRUE(store.ok());
  Reply<std::vector<OutboxRow>> rows = (*store)->load_rows({1});
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->size(), 1U);
  std::vector<Header> expected = headers;
  std::swap(expected[4], expected[6]);  // a repeated name stands with its first
  std::swap(expected[5], expected[6]);
  EXPECT_EQ(rows->front().headers, expected);
  EXPECT_EQ(rows->front().defect, "");
}

TEST(OutboxDdl, MayRunAgainAtAnyTime) {
  TestDatabase database;
  database.exec("INSERT INTO waybill_outbox(topic, payload) VALUES ('orders', 'x')");
  std::string producer = database.text("SELECT hex(producer_id) FROM waybill_outbox_lane");
  EXPECT_EQ(database.exec(outbox_ddl(OutboxDatabase::kSqlite)), SQLITE_OK);
  EXPECT_EQ(database.exec("BEGIN;" + outbox_ddl(OutboxDatabase::kSqlite) + "COMMIT"), SQLITE_OK);
  EXPECT_EQ(database.pending(), 1);
  EXPECT_EQ(database.text("SELECT hex(producer_id) FROM waybill_outbox_lane"), producer);
}

TEST(OutboxDdl, TopicAndPayloadAloneAreEnoughD24) {
  TestDatabase database;
  EXPECT_EQ(database.exec("INSERT INTO waybill_outbox(topic, payload) VALUES ('t', 'text')"),
            SQLITE_OK);
  EXPECT_EQ(database.exec("INSERT INTO waybill_outbox(topic, payload) VALUES ('t', x'00ff')"),
            SQLITE_OK);
  EXPECT_EQ(database.integer("SELECT count(DISTINCT message_id) FROM waybill_outbox"), 2);
}

TEST(OutboxDdl, RefusesRowsThatCouldNeverBeMessages) {
  TestDatabase database;
  for (const char* values :
       {"('t', 42)", "('t', NULL)", "('', 'x')", "(NULL, 'x')", "(zeroblob(3), 'x')"}) {
    std::string sql = std::string("INSERT INTO waybill_outbox(topic, payload) VALUES ") + values;
    EXPECT_EQ(database.exec(sql), SQLITE_CONSTRAINT) << sql;
  }
  for (const char* headers : {"'no json'", "'[1]'", "NULL"}) {
    std::string sql = std::string("INSERT INTO waybill_outbox(topic, payload, headers)") +
                      " VALUES ('t', 'x', " + headers + ")";
    EXPECT_EQ(database.exec(sql), SQLITE_CONSTRAINT) << sql;
  }
  EXPECT_EQ(database.pending(), 0);
}

}  // namespace
}  // namespace waybill

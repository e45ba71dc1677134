#include "client/outbox/ddl.h"

namespace waybill {
namespace {

// The NOT NULL and CHECK clauses refuse, inside the business transaction, what could never become a
// message. AUTOINCREMENT is required: without it SQLite gives ids again (outbox trap T16).
constexpr std::string_view kSqliteDdl =
    R"sql(-- Waybill outbox for SQLite 3.38 or newer. May be run again at any time.
-- To publish: INSERT INTO waybill_outbox(topic, payload) VALUES (...), in your own transaction.
CREATE TABLE IF NOT EXISTS waybill_outbox (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  message_id    BLOB NOT NULL DEFAULT (randomblob(16)) CHECK (length(message_id) = 16),
  topic         TEXT NOT NULL CHECK (length(topic) BETWEEN 1 AND 249),
  key           ANY CHECK (typeof(key) IN ('text', 'blob', 'null')),
  headers       TEXT NOT NULL DEFAULT '{}'
                CHECK (json_valid(headers) AND json_type(headers) = 'object'),
  payload       ANY NOT NULL CHECK (typeof(payload) IN ('text', 'blob')),
  created_us    INTEGER NOT NULL
                DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)),
  not_before_us INTEGER,
  lane          INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS waybill_outbox_by_lane ON waybill_outbox(lane, id);
CREATE INDEX IF NOT EXISTS waybill_outbox_delayed
  ON waybill_outbox(topic, CAST(key AS BLOB), id) WHERE not_before_us IS NOT NULL;

CREATE TABLE IF NOT EXISTS waybill_outbox_lane (
  lane           INTEGER PRIMARY KEY,
  schema         INTEGER NOT NULL DEFAULT 1,
  producer_id    BLOB NOT NULL DEFAULT (randomblob(16)),
  epoch          INTEGER NOT NULL DEFAULT 0,
  owner          TEXT,
  lease_until_us INTEGER NOT NULL DEFAULT 0,
  intent         BLOB,
  state          TEXT NOT NULL DEFAULT 'run' CHECK (state IN ('run', 'paused', 'halted')),
  note           TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT OR IGNORE INTO waybill_outbox_lane(lane) VALUES (0);

CREATE TABLE IF NOT EXISTS waybill_outbox_position (
  lane          INTEGER NOT NULL,
  topic_id      INTEGER NOT NULL,
  partition     INTEGER NOT NULL,
  acknowledged  INTEGER NOT NULL,
  next_sequence INTEGER NOT NULL,
  PRIMARY KEY (lane, topic_id, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS waybill_outbox_held (
  row_id      INTEGER PRIMARY KEY,
  lane        INTEGER NOT NULL,
  topic       TEXT NOT NULL,
  key         BLOB,
  attempts    INTEGER NOT NULL,
  code        TEXT NOT NULL,
  explanation TEXT NOT NULL,
  held_us     INTEGER NOT NULL,
  retry_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS waybill_outbox_held_by_key ON waybill_outbox_held(topic, key);

CREATE TABLE IF NOT EXISTS waybill_outbox_dead (
  id            INTEGER PRIMARY KEY,
  message_id    BLOB NOT NULL,
  topic         TEXT NOT NULL,
  key           ANY,
  headers       TEXT NOT NULL,
  payload       ANY NOT NULL,
  created_us    INTEGER NOT NULL,
  not_before_us INTEGER,
  lane          INTEGER NOT NULL,
  died_us       INTEGER NOT NULL,
  attempts      INTEGER NOT NULL,
  code          TEXT NOT NULL,
  explanation   TEXT NOT NULL
) STRICT;
)sql";

}  // namespace

Reply<OutboxDatabase> outbox_database_of_name(std::string_view name) {
  if (name == "sqlite") return OutboxDatabase::kSqlite;
  return RequestError(Errc::kNotSupported, "no outbox for the database \"" + std::string(name) +
                                               "\" in this version; there is: sqlite");
}

std::string outbox_ddl(OutboxDatabase database) {
  switch (database) {
    case OutboxDatabase::kSqlite:
      return std::string(kSqliteDdl);
  }
  WB_ASSERT(false, "an outbox database without tables");
}

}  // namespace waybill

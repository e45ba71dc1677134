#include "client/outbox/sqlite_store.h"

#include <sqlite3.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "client/outbox/ddl.h"
#include "client/outbox/row_headers.h"
#include "client/outbox/sqlite_statement.h"
#include "protocol/base/limits.h"

namespace waybill {
namespace {

constexpr int kFullSynchronous = 2;
constexpr std::int64_t kHeldListLength = 100;
/// Between two tries for the lock that another writer has. SQLite's own waiting sleeps up to 100
/// ms, and there is no queue: beside threads that write one transaction after the other, a relay
/// that sleeps so long hardly ever finds the lock free.
constexpr std::chrono::microseconds kBusyPause{200};
/// A held row is tried again after 2 s, 4 s, … and every 5 minutes in the end.
constexpr std::string_view kHoldRow =
    "INSERT INTO waybill_outbox_held"
    " SELECT id, lane, topic, CAST(key AS BLOB), 1, ?2, ?3, ?4, ?4 + 2000000"
    " FROM waybill_outbox WHERE id = ?1"
    " ON CONFLICT(row_id) DO UPDATE SET attempts = attempts + 1, code = excluded.code,"
    " explanation = excluded.explanation,"
    " retry_at_us = excluded.held_us + min(300000000, 2000000 << min(attempts, 8))";
constexpr std::string_view kBuryRow =
    "INSERT OR REPLACE INTO waybill_outbox_dead"
    " SELECT id, message_id, topic, key, headers, payload, created_us, not_before_us, lane, ?4,"
    " coalesce((SELECT attempts FROM waybill_outbox_held WHERE row_id = ?1), 0) + 1, ?2, ?3"
    " FROM waybill_outbox WHERE id = ?1";
#define WB_OUTBOX_COLUMNS                                                   \
  "o.id, o.message_id, o.topic, o.key, o.headers, o.payload, o.created_us," \
  " EXISTS (SELECT 1 FROM waybill_outbox_held w WHERE w.row_id = o.id) FROM waybill_outbox o"
/// The set of publishable rows. A row waits if it is delayed or held itself, or if an earlier row
/// of its key is: order wins over delay.
constexpr std::string_view kLoadRows =
    "SELECT " WB_OUTBOX_COLUMNS
    " WHERE o.lane = ?1 AND (o.not_before_us IS NULL OR o.not_before_us <= ?2)"
    " AND NOT EXISTS (SELECT 1 FROM waybill_outbox d WHERE d.not_before_us > ?2"
    "  AND d.topic = o.topic AND CAST(d.key AS BLOB) = CAST(o.key AS BLOB) AND d.id < o.id)"
    " AND NOT EXISTS (SELECT 1 FROM waybill_outbox_held h"
    "  WHERE h.row_id = o.id AND h.retry_at_us > ?2)"
    " AND NOT EXISTS (SELECT 1 FROM waybill_outbox_held h WHERE h.topic = o.topic"
    "  AND h.key = CAST(o.key AS BLOB) AND h.row_id < o.id AND h.retry_at_us > ?2)"
    " ORDER BY o.id LIMIT ?3";
constexpr std::string_view kLoadRow = "SELECT " WB_OUTBOX_COLUMNS " WHERE o.id = ?1";
#undef WB_OUTBOX_COLUMNS

RequestError lost(const LaneClaim& claim) {
  return {Errc::kLaneOwned, "another relay took lane " + std::to_string(claim.lane) +
                                " after epoch " + std::to_string(claim.epoch)};
}

/// The database's clock, the only one that counts.
Reply<std::int64_t> now_us(sqlite3* db) {
  Reply<SqliteStatement> clock = SqliteStatement::prepare(
      db, "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)");
  if (!clock) return clock.error();
  Reply<bool> row = clock->step();
  if (!row) return row.error();
  return clock->integer(0);
}

Reply<void> run_sql(sqlite3* db, const std::string& sql) {
  if (sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return sqlite_error(db, sql);
  }
  return {};
}

std::int64_t pragma(sqlite3* db, std::string_view sql) {
  Reply<SqliteStatement> statement = SqliteStatement::prepare(db, sql);
  if (!statement) return -1;
  Reply<bool> row = statement->step();
  return row && *row ? statement->integer(0) : -1;
}

std::int64_t microseconds(std::chrono::milliseconds duration) {
  return std::chrono::microseconds(duration).count();
}

OutboxRow read_row(sqlite3* db, const SqliteStatement& found) {
  OutboxRow row;
  row.id = found.integer(0);
  row.message_id = found.uuid(1);
  row.topic = found.text(2);
  if (!found.is_null(3)) row.key = to_vector(found.bytes(3));
  row.created_us = found.integer(6);
  row.was_held = found.integer(7) != 0;
  Bytes payload = found.bytes(5);
  if (payload.size() > limits::kMaxMessage) {
    row.defect_code = Errc::kMessageTooLarge;
    row.defect = "its payload has " + std::to_string(payload.size()) + " bytes, the limit is " +
                 std::to_string(limits::kMaxMessage);
    return row;
  }
  row.payload = to_vector(payload);
  Reply<std::vector<Header>> headers = decode_row_headers(db, found.text(4));
  if (!headers) {
    row.defect = headers.error().explanation;
    return row;
  }
  row.headers = std::move(*headers);
  for (const Header& header : row.headers) {
    if (!is_reserved_header(header.key)) continue;
    row.defect = "its header \"" + header.key + "\" begins with \"wb-\", which is the broker's";
  }
  return row;
}

/// One write of the lane's owner: a transaction whose first statement proves the claim.
class LaneWrite {
 public:
  static Reply<LaneWrite> begin(sqlite3* db, const LaneClaim& claim) {
    Reply<SqliteTransaction> transaction = SqliteTransaction::begin(db);
    if (!transaction) return transaction.error();
    Reply<std::int64_t> now = now_us(db);
    if (!now) return now.error();
    LaneWrite write(db, std::move(*transaction), *now);
    Reply<void> guarded = write.run(
        "UPDATE waybill_outbox_lane SET lease_until_us = ?3 WHERE lane = ?1 AND epoch = ?2",
        claim.lane, std::int64_t{claim.epoch}, *now + microseconds(claim.lease));
    if (!guarded) return guarded.error();
    if (sqlite3_changes(db) != 1) return lost(claim);
    return write;
  }

  template <class... Values>
  Reply<void> run(std::string_view sql, const Values&... values) {
    Reply<SqliteStatement> statement = SqliteStatement::prepare(db_, sql);
    if (!statement) return statement.error();
    (statement->bind(values), ...);
    return statement->run();
  }
  /// Runs the statement once per id, prepared once.
  Reply<void> run_for_each(std::string_view sql, const std::vector<std::int64_t>& ids) {
    Reply<SqliteStatement> statement = SqliteStatement::prepare(db_, sql);
    if (!statement) return statement.error();
    for (std::int64_t id : ids) {
      Reply<void> done = statement->bind(id).run();
      if (!done) return done;
    }
    return {};
  }
  Reply<void> commit() { return transaction_.commit(); }
  [[nodiscard]] std::int64_t now() const { return now_; }
  [[nodiscard]] sqlite3* db() const { return db_; }

 private:
  LaneWrite(sqlite3* db, SqliteTransaction transaction, std::int64_t now)
      : db_(db), transaction_(std::move(transaction)), now_(now) {}

  sqlite3* db_;
  SqliteTransaction transaction_;
  std::int64_t now_;
};

Reply<void> delete_rows(LaneWrite& write, const std::vector<std::int64_t>& ids) {
  Reply<void> gone = write.run_for_each("DELETE FROM waybill_outbox WHERE id = ?1", ids);
  if (!gone) return gone;
  return write.run_for_each("DELETE FROM waybill_outbox_held WHERE row_id = ?1", ids);
}

/// Moves the partition's numbers forward, never back.
Reply<void> move_position(LaneWrite& write, std::int64_t lane, const IntentPart& part,
                          std::uint64_t acknowledged) {
  return write.run(
      "INSERT INTO waybill_outbox_position VALUES (?1, ?2, ?3, ?4, ?5)"
      " ON CONFLICT DO UPDATE SET acknowledged = max(acknowledged, excluded.acknowledged),"
      " next_sequence = max(next_sequence, excluded.next_sequence)",
      lane, static_cast<std::int64_t>(part.topic.value), std::int64_t{part.partition.value},
      static_cast<std::int64_t>(acknowledged), static_cast<std::int64_t>(part.last_sequence() + 1));
}

Reply<void> acknowledge(LaneWrite& write, std::int64_t lane, const IntentPart& part) {
  Reply<void> moved = move_position(write, lane, part, part.last_sequence());
  if (!moved) return moved;
  return delete_rows(write, part.rows);
}

Reply<void> refuse_rows(LaneWrite& write, const LaneAdvance& change) {
  for (const RefusedRow& row : change.held) {
    Reply<void> held =
        write.run(kHoldRow, row.id, name(row.code), std::string_view(row.explanation), write.now());
    if (!held) return held;
  }
  for (const RefusedRow& row : change.dead) {
    Reply<void> buried =
        write.run(kBuryRow, row.id, name(row.code), std::string_view(row.explanation), write.now());
    if (!buried) return buried;
    Reply<void> gone = delete_rows(write, {row.id});
    if (!gone) return gone;
  }
  return {};
}

/// False if a row of the intent is gone.
Reply<bool> write_intent(LaneWrite& write, std::int64_t lane, const Intent& intent) {
  Reply<SqliteStatement> present =
      SqliteStatement::prepare(write.db(), "SELECT count(*) FROM waybill_outbox WHERE id = ?1");
  if (!present) return present.error();
  for (const IntentPart& part : intent.parts) {
    for (std::int64_t id : part.rows) {
      Reply<bool> row = present->bind(id).step();
      if (!row) return row.error();
      bool exists = present->integer(0) == 1;
      present->reset();
      if (!exists) return false;
    }
    Reply<void> moved = move_position(write, lane, part, part.previous);
    if (!moved) return moved.error();
  }
  std::optional<Bytes> column;
  ByteVector encoded;
  if (!intent.empty()) column = encoded = encode_intent(intent);
  Reply<void> written =
      write.run("UPDATE waybill_outbox_lane SET intent = ?2 WHERE lane = ?1", lane, column);
  if (!written) return written.error();
  return true;
}

Reply<std::vector<LanePosition>> load_positions(sqlite3* db, std::int64_t lane) {
  Reply<SqliteStatement> found =
      SqliteStatement::prepare(db,
                               "SELECT topic_id, partition, acknowledged, next_sequence"
                               " FROM waybill_outbox_position WHERE lane = ?1 ORDER BY 1, 2");
  if (!found) return found.error();
  found->bind(lane);
  std::vector<LanePosition> positions;
  for (;;) {
    Reply<bool> row = found->step();
    if (!row) return row.error();
    if (!*row) return positions;
    positions.push_back({{static_cast<std::uint64_t>(found->integer(0))},
                         {static_cast<std::uint32_t>(found->integer(1))},
                         static_cast<std::uint64_t>(found->integer(2)),
                         static_cast<std::uint64_t>(found->integer(3))});
  }
}

}  // namespace

int SqliteStore::pause_while_busy(void* store, int tries) {
  if (tries * kBusyPause >= static_cast<SqliteStore*>(store)->busy_timeout_) return 0;
  std::this_thread::sleep_for(kBusyPause);
  return 1;
}

Reply<std::unique_ptr<SqliteStore>> SqliteStore::open(const std::string& path,
                                                      SqliteStoreOptions options) {
  sqlite3* db = nullptr;
  int opened =
      sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  // Closes db in every case.
  std::unique_ptr<SqliteStore> store(new SqliteStore(db, options.busy_timeout));
  if (opened != SQLITE_OK) {
    return RequestError(Errc::kDatabase,
                        "cannot open \"" + path + "\": " + sqlite3_errstr(opened) +
                            "; the relay needs the application's existing SQLite file");
  }
  sqlite3_extended_result_codes(db, 1);
  sqlite3_busy_handler(db, pause_while_busy, store.get());
  Reply<void> durable = run_sql(db, "PRAGMA synchronous = FULL");
  if (!durable) {
    return RequestError(durable.error().code,
                        "cannot use \"" + path + "\": " + durable.error().explanation);
  }
  Reply<SqliteStatement> schema =
      SqliteStatement::prepare(db, "SELECT max(schema) FROM waybill_outbox_lane");
  if (!schema) return schema.error();
  Reply<bool> row = schema->step();
  if (!row) return row.error();
  if (schema->integer(0) > kOutboxSchema) {
    return RequestError(Errc::kOutboxTables,
                        "the outbox tables are of version " + std::to_string(schema->integer(0)) +
                            ", this program knows up to " + std::to_string(kOutboxSchema) +
                            "; use a newer waybill");
  }
  return store;
}

SqliteStore::~SqliteStore() {
  sqlite3_close_v2(db_);
}

std::vector<std::string> SqliteStore::warnings() const {
  std::vector<std::string> warnings;
  if (pragma(db_, "PRAGMA synchronous") < kFullSynchronous) {
    warnings.push_back(
        "synchronous is below FULL: a power failure can take back rows that were published");
  }
  if (pragma(db_, "SELECT journal_mode <> 'wal' FROM pragma_journal_mode") != 0) {
    warnings.push_back(
        "the database is not in WAL mode: relay and application block each other; run PRAGMA "
        "journal_mode = WAL");
  }
  if (pragma(db_, "SELECT encoding <> 'UTF-8' FROM pragma_encoding") != 0) {
    warnings.push_back(
        "the database is not UTF-8: a key given as text and the same key given as blob are not "
        "kept in order with each other while one of them is held");
  }
  return warnings;
}

Reply<Lane> SqliteStore::take_lane(const LaneRequest& request) {
  Reply<SqliteTransaction> transaction = SqliteTransaction::begin(db_);
  if (!transaction) return transaction.error();
  Reply<std::int64_t> now = now_us(db_);
  if (!now) return now.error();
  Reply<SqliteStatement> found = SqliteStatement::prepare(
      db_,
      "SELECT producer_id, epoch, coalesce(owner, ''), lease_until_us, intent, state, note"
      " FROM waybill_outbox_lane WHERE lane = ?1");
  if (!found) return found.error();
  Reply<bool> row = found->bind(request.lane).step();
  if (!row) return row.error();
  if (!*row) {
    return RequestError(
        Errc::kInvalidRequest,
        "there is no outbox lane " + std::to_string(request.lane) + "; see waybill outbox status");
  }
  Lane lane;
  lane.claim = {request.lane, 0, request.lease};
  lane.producer.uuid = found->uuid(0);
  lane.mode = lane_mode_of_name(found->text(5)).value_or(LaneMode::kHalted);
  lane.note = found->text(6);
  if (lane.mode != LaneMode::kRun) return lane;
  std::string owner = found->text(2);
  if (!owner.empty() && owner != request.owner && found->integer(3) > *now) {
    return RequestError(Errc::kLaneOwned,
                        "lane " + std::to_string(request.lane) + " is relayed by " + owner);
  }
  if (!found->is_null(4)) {
    Result<Intent> intent = decode_intent(found->bytes(4));
    if (!intent) return RequestError(intent.error());
    lane.intent = std::move(*intent);
  }
  lane.claim.epoch = static_cast<std::uint32_t>(found->integer(1)) + 1;
  found->reset();

  Reply<SqliteStatement> take = SqliteStatement::prepare(
      db_,
      "UPDATE waybill_outbox_lane SET epoch = ?2, owner = ?3, lease_until_us = ?4, note = ''"
      " WHERE lane = ?1");
  if (!take) return take.error();
  take->bind(request.lane).bind(std::int64_t{lane.claim.epoch}).bind(request.owner);
  Reply<void> taken = take->bind(*now + microseconds(request.lease)).run();
  if (!taken) return taken.error();
  Reply<std::vector<LanePosition>> positions = load_positions(db_, request.lane);
  if (!positions) return positions.error();
  lane.positions = std::move(*positions);
  Reply<void> committed = transaction->commit();
  if (!committed) return committed.error();
  return lane;
}

Reply<void> SqliteStore::release_lane(const LaneClaim& claim) {
  Reply<LaneWrite> write = LaneWrite::begin(db_, claim);
  if (!write) return write.error();
  Reply<void> released =
      write->run("UPDATE waybill_outbox_lane SET owner = NULL, lease_until_us = 0 WHERE lane = ?1",
                 claim.lane);
  if (!released) return released;
  return write->commit();
}

Reply<LaneMode> SqliteStore::renew_lane(const LaneClaim& claim) {
  Reply<LaneWrite> write = LaneWrite::begin(db_, claim);
  if (!write) return write.error();
  Reply<void> committed = write->commit();
  if (!committed) return committed.error();
  return lane_mode(claim);
}

Reply<LaneMode> SqliteStore::lane_mode(const LaneClaim& claim) {
  Reply<SqliteStatement> found = SqliteStatement::prepare(
      db_, "SELECT state FROM waybill_outbox_lane WHERE lane = ?1 AND epoch = ?2");
  if (!found) return found.error();
  Reply<bool> row = found->bind(claim.lane).bind(std::int64_t{claim.epoch}).step();
  if (!row) return row.error();
  if (!*row) return lost(claim);
  return lane_mode_of_name(found->text(0)).value_or(LaneMode::kHalted);
}

Reply<LoadedRows> SqliteStore::load(const LaneClaim& claim, const LoadRequest& request) {
  Reply<LaneMode> mode = lane_mode(claim);
  if (!mode) return mode.error();
  LoadedRows loaded;
  loaded.mode = *mode;
  if (loaded.mode != LaneMode::kRun) return loaded;
  Reply<std::int64_t> now = now_us(db_);
  if (!now) return now.error();
  Reply<SqliteStatement> found = SqliteStatement::prepare(db_, kLoadRows);
  if (!found) return found.error();
  found->bind(claim.lane).bind(*now);
  found->bind(static_cast<std::int64_t>(request.max_rows + request.except.size()));
  std::size_t size = 0;
  while (size < request.max_bytes && loaded.rows.size() < request.max_rows) {
    Reply<bool> row = found->step();
    if (!row) return row.error();
    if (!*row) break;
    if (std::ranges::binary_search(request.except, found->integer(0))) continue;
    loaded.rows.push_back(read_row(db_, *found));
    size += loaded.rows.back().size();
  }
  return loaded;
}

Reply<std::vector<OutboxRow>> SqliteStore::load_rows(const std::vector<std::int64_t>& ids) {
  Reply<SqliteStatement> found = SqliteStatement::prepare(db_, kLoadRow);
  if (!found) return found.error();
  std::vector<OutboxRow> rows;
  for (std::int64_t id : ids) {
    Reply<bool> row = found->bind(id).step();
    if (!row) return row.error();
    if (*row) rows.push_back(read_row(db_, *found));
    found->reset();
  }
  return rows;
}

Reply<bool> SqliteStore::advance(const LaneClaim& claim, const LaneAdvance& change) {
  Reply<LaneWrite> write = LaneWrite::begin(db_, claim);
  if (!write) return write.error();
  for (const IntentPart& part : change.acknowledged) {
    Reply<void> acknowledged = acknowledge(*write, claim.lane, part);
    if (!acknowledged) return acknowledged.error();
  }
  Reply<void> refused = refuse_rows(*write, change);
  if (!refused) return refused.error();
  Reply<bool> written = write_intent(*write, claim.lane, change.intent);
  if (!written || !*written) return written;
  Reply<void> committed = write->commit();
  if (!committed) return committed.error();
  return true;
}

Reply<void> SqliteStore::forget_position(const LaneClaim& claim, TopicPartition place) {
  Reply<LaneWrite> write = LaneWrite::begin(db_, claim);
  if (!write) return write.error();
  Reply<void> forgotten = write->run(
      "DELETE FROM waybill_outbox_position WHERE lane = ?1 AND topic_id = ?2 AND partition = ?3",
      claim.lane, static_cast<std::int64_t>(place.first.value), std::int64_t{place.second.value});
  if (!forgotten) return forgotten;
  return write->commit();
}

Reply<ProducerId> SqliteStore::new_incarnation(const LaneClaim& claim) {
  ProducerId producer;
  sqlite3_randomness(static_cast<int>(producer.uuid.bytes.size()), producer.uuid.bytes.data());
  Reply<LaneWrite> write = LaneWrite::begin(db_, claim);
  if (!write) return write.error();
  Reply<void> renamed =
      write->run("UPDATE waybill_outbox_lane SET producer_id = ?2, intent = NULL WHERE lane = ?1",
                 claim.lane, Bytes(producer.uuid.bytes));
  if (!renamed) return renamed.error();
  Reply<void> forgotten =
      write->run("DELETE FROM waybill_outbox_position WHERE lane = ?1", claim.lane);
  if (!forgotten) return forgotten.error();
  Reply<void> committed = write->commit();
  if (!committed) return committed.error();
  return producer;
}

Reply<void> SqliteStore::halt_lane(const LaneClaim& claim, const std::string& note) {
  Reply<LaneWrite> write = LaneWrite::begin(db_, claim);
  if (!write) return write.error();
  Reply<void> halted = write->run(
      "UPDATE waybill_outbox_lane SET state = 'halted', note = ?2, owner = NULL WHERE lane = ?1",
      claim.lane, std::string_view(note));
  if (!halted) return halted;
  return write->commit();
}

bool SqliteStore::changed() {
  std::int64_t version = pragma(db_, "PRAGMA data_version");
  return std::exchange(data_version_, version) != version;
}

Reply<OutboxStatus> SqliteStore::status() {
  OutboxStatus status;
  Reply<std::int64_t> now = now_us(db_);
  if (!now) return now.error();
  auto age = [&](std::int64_t since_us) {
    return std::chrono::milliseconds(std::max<std::int64_t>(0, *now - since_us) / 1000);
  };
  Reply<SqliteStatement> lanes = SqliteStatement::prepare(
      db_,
      "SELECT l.lane, state, note, coalesce(owner, ''), lease_until_us, epoch, producer_id, intent,"
      " (SELECT count(*) FROM waybill_outbox o WHERE o.lane = l.lane),"
      " (SELECT min(created_us) FROM waybill_outbox o WHERE o.lane = l.lane)"
      " FROM waybill_outbox_lane l ORDER BY 1");
  if (!lanes) return lanes.error();
  for (;;) {
    Reply<bool> row = lanes->step();
    if (!row) return row.error();
    if (!*row) break;
    LaneStatus lane;
    lane.lane = lanes->integer(0);
    lane.mode = lane_mode_of_name(lanes->text(1)).value_or(LaneMode::kHalted);
    lane.note = lanes->text(2);
    lane.owner = lanes->text(3);
    lane.lease_left =
        std::chrono::milliseconds(std::max<std::int64_t>(0, lanes->integer(4) - *now) / 1000);
    lane.epoch = static_cast<std::uint32_t>(lanes->integer(5));
    lane.producer.uuid = lanes->uuid(6);
    Result<Intent> intent = decode_intent(lanes->bytes(7));
    if (intent) lane.in_flight = intent->rows().size();
    lane.pending = static_cast<std::uint64_t>(lanes->integer(8));
    if (!lanes->is_null(9)) lane.oldest = age(lanes->integer(9));
    status.lanes.push_back(std::move(lane));
  }
  status.held_rows =
      static_cast<std::uint64_t>(pragma(db_, "SELECT count(*) FROM waybill_outbox_held"));
  status.dead_rows =
      static_cast<std::uint64_t>(pragma(db_, "SELECT count(*) FROM waybill_outbox_dead"));
  Reply<void> listed = list_held(status);
  if (!listed) return listed.error();
  return status;
}

Reply<void> SqliteStore::list_held(OutboxStatus& status) {
  Reply<SqliteStatement> held = SqliteStatement::prepare(
      db_,
      "SELECT row_id, topic, key, attempts, code, explanation FROM waybill_outbox_held"
      " ORDER BY row_id LIMIT ?1");
  if (!held) return held.error();
  held->bind(kHeldListLength);
  for (;;) {
    Reply<bool> row = held->step();
    if (!row) return row.error();
    if (!*row) return {};
    HeldStatus one;
    one.row = held->integer(0);
    one.topic = held->text(1);
    if (!held->is_null(2)) one.key = to_vector(held->bytes(2));
    one.attempts = static_cast<std::uint32_t>(held->integer(3));
    one.code = held->text(4);
    one.explanation = held->text(5);
    status.held.push_back(std::move(one));
  }
}

Reply<void> SqliteStore::set_lane_mode(std::int64_t lane, LaneMode mode) {
  Reply<SqliteStatement> set = SqliteStatement::prepare(
      db_, "UPDATE waybill_outbox_lane SET state = ?2, note = '' WHERE lane = ?1");
  if (!set) return set.error();
  Reply<void> done = set->bind(lane).bind(name(mode)).run();
  if (!done) return done;
  if (sqlite3_changes(db_) == 1) return {};
  return RequestError(Errc::kInvalidRequest, "there is no outbox lane " + std::to_string(lane) +
                                                 "; see waybill outbox status");
}

}  // namespace waybill

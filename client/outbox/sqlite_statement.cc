#include "client/outbox/sqlite_statement.h"

#include <sqlite3.h>

#include <algorithm>
#include <utility>

namespace waybill {

bool sqlite_has_outbox(sqlite3* db) {
  return sqlite3_table_column_metadata(db, nullptr, "waybill_outbox", "payload", nullptr, nullptr,
                                       nullptr, nullptr, nullptr) == SQLITE_OK &&
         sqlite3_table_column_metadata(db, nullptr, "waybill_outbox_lane", "schema", nullptr,
                                       nullptr, nullptr, nullptr, nullptr) == SQLITE_OK;
}

RequestError sqlite_error(sqlite3* db, std::string_view doing) {
  std::string words = sqlite3_errmsg(db);  // before anything else is asked of the connection
  int code = sqlite3_extended_errcode(db);
  if ((code & 0xff) == SQLITE_ERROR && !sqlite_has_outbox(db)) {
    const char* file = sqlite3_db_filename(db, "main");
    bool named = file != nullptr && *file != '\0';
    return {Errc::kOutboxTables,
            "the database has no outbox tables; run: waybill outbox ddl sqlite | sqlite3 " +
                std::string(named ? file : "FILE")};
  }
  return {Errc::kDatabase, std::string(doing) + ": SQLite says \"" + words + "\" (code " +
                               std::to_string(code) + ")"};
}

Reply<SqliteStatement> SqliteStatement::prepare(sqlite3* db, std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db, sql.data(), static_cast<int>(sql.size()), &statement, nullptr) !=
      SQLITE_OK) {
    return sqlite_error(db, "preparing a statement");
  }
  return SqliteStatement(db, statement);
}

SqliteStatement::SqliteStatement(SqliteStatement&& other) noexcept
    : db_(other.db_), statement_(std::exchange(other.statement_, nullptr)), bound_(other.bound_) {}

SqliteStatement::~SqliteStatement() {
  sqlite3_finalize(statement_);
}

SqliteStatement& SqliteStatement::bind(std::int64_t value) {
  sqlite3_bind_int64(statement_, ++bound_, value);
  return *this;
}

SqliteStatement& SqliteStatement::bind(std::string_view text) {
  sqlite3_bind_text64(statement_, ++bound_, text.data() == nullptr ? "" : text.data(), text.size(),
                      SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

SqliteStatement& SqliteStatement::bind(Bytes bytes) {
  ++bound_;
  if (bytes.empty()) {
    sqlite3_bind_zeroblob(statement_, bound_, 0);  // a null pointer would bind NULL
  } else {
    sqlite3_bind_blob64(statement_, bound_, bytes.data(), bytes.size(), SQLITE_TRANSIENT);
  }
  return *this;
}

SqliteStatement& SqliteStatement::bind_null() {
  sqlite3_bind_null(statement_, ++bound_);
  return *this;
}

Reply<bool> SqliteStatement::step() {
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return sqlite_error(db_, "running a statement");
}

void SqliteStatement::reset() {
  sqlite3_reset(statement_);
  bound_ = 0;
}

Reply<void> SqliteStatement::run() {
  Reply<bool> stepped = step();
  reset();
  if (!stepped) return stepped.error();
  return {};
}

std::int64_t SqliteStatement::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

Bytes SqliteStatement::bytes(int column) const {
  const void* data = sqlite3_column_type(statement_, column) == SQLITE_BLOB
                         ? sqlite3_column_blob(statement_, column)
                         : sqlite3_column_text(statement_, column);
  auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return {static_cast<const std::byte*>(data), data == nullptr ? 0 : size};
}

std::string SqliteStatement::text(int column) const {
  return std::string(as_text(bytes(column)));
}

bool SqliteStatement::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

Uuid SqliteStatement::uuid(int column) const {
  Uuid uuid;
  Bytes stored = bytes(column);
  std::copy_n(stored.begin(), std::min(stored.size(), uuid.bytes.size()), uuid.bytes.begin());
  return uuid;
}

Reply<SqliteTransaction> SqliteTransaction::begin(sqlite3* db) {
  if (sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) != SQLITE_OK) {
    return sqlite_error(db, "beginning a transaction");
  }
  return SqliteTransaction(db);
}

SqliteTransaction::SqliteTransaction(SqliteTransaction&& other) noexcept
    : db_(std::exchange(other.db_, nullptr)) {}

SqliteTransaction::~SqliteTransaction() {
  // Some failures end the transaction by themselves; then there is nothing to roll back.
  if (db_ != nullptr && sqlite3_get_autocommit(db_) == 0) {
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

Reply<void> SqliteTransaction::commit() {
  // After a failed COMMIT the transaction may still be open: the destructor rolls it back.
  if (sqlite3_exec(db_, "COMMIT", nullptr, nullptr, nullptr) != SQLITE_OK) {
    return sqlite_error(db_, "committing");
  }
  db_ = nullptr;
  return {};
}

}  // namespace waybill

// One SQLite statement: prepared, bound, stepped, finalised. Values are bound by copy and read by
// column number. Thread: that of the connection.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/base/bytes.h"
#include "protocol/base/ids.h"
#include "protocol/model/reply.h"

struct sqlite3;
struct sqlite3_stmt;

namespace waybill {

/// SQLite's own words about its last failure on `db`: kOutboxTables if the outbox's tables are
/// missing (and how to make them), else kDatabase.
RequestError sqlite_error(sqlite3* db, std::string_view doing);
bool sqlite_has_outbox(sqlite3* db);

class SqliteStatement {
 public:
  static Reply<SqliteStatement> prepare(sqlite3* db, std::string_view sql);
  SqliteStatement(SqliteStatement&& other) noexcept;
  SqliteStatement& operator=(SqliteStatement&&) = delete;
  ~SqliteStatement();

  /// Parameters are bound in the order of the calls, from the first.
  SqliteStatement& bind(std::int64_t value);
  SqliteStatement& bind(std::string_view text);
  SqliteStatement& bind(const std::string& text) { return bind(std::string_view(text)); }
  SqliteStatement& bind(Bytes bytes);
  SqliteStatement& bind_null();
  SqliteStatement& bind(const std::optional<Bytes>& bytes) {
    return bytes ? bind(*bytes) : bind_null();
  }

  /// True: there is a row to read. False: done.
  Reply<bool> step();
  /// Ready to be bound and stepped again.
  void reset();
  /// For statements without rows. The statement may then be bound and run again.
  Reply<void> run();

  [[nodiscard]] std::int64_t integer(int column) const;
  /// Blob or text (as UTF-8), as bytes; valid until the next step.
  [[nodiscard]] Bytes bytes(int column) const;
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] Uuid uuid(int column) const;

 private:
  SqliteStatement(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}

  sqlite3* db_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
};

/// BEGIN IMMEDIATE … COMMIT on the store's own connection; rolled back unless committed.
class SqliteTransaction {
 public:
  static Reply<SqliteTransaction> begin(sqlite3* db);
  SqliteTransaction(SqliteTransaction&& other) noexcept;
  SqliteTransaction& operator=(SqliteTransaction&&) = delete;
  ~SqliteTransaction();

  Reply<void> commit();

 private:
  explicit SqliteTransaction(sqlite3* db) : db_(db) {}
  sqlite3* db_;  ///< null once ended
};

}  // namespace waybill

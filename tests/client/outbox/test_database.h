// An application's SQLite database for one test: a file of its own, in memory where the machine
// has a memory file system, with or without the outbox tables.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "client/outbox/ddl.h"

namespace waybill {

class TestDatabase {
 public:
  enum class Tables : bool { kNone, kOutbox };

  explicit TestDatabase(Tables tables = Tables::kOutbox) {
    std::filesystem::path root = ::access("/dev/shm", W_OK) == 0
                                     ? std::filesystem::path("/dev/shm")
                                     : std::filesystem::temp_directory_path();
    std::string pattern = (root / "waybill-outbox-XXXXXX").string();
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    db_ = connect();
    sqlite3_busy_timeout(db_, 10'000);  // a relay writes too: its turn is waited for
    exec("PRAGMA journal_mode = WAL");
    exec("CREATE TABLE orders(id INTEGER PRIMARY KEY, state TEXT)");
    if (tables == Tables::kOutbox) exec(outbox_ddl(OutboxDatabase::kSqlite));
  }
  TestDatabase(const TestDatabase&) = delete;
  TestDatabase& operator=(const TestDatabase&) = delete;
  ~TestDatabase() {
    sqlite3_close_v2(db_);
    sqlite3_close_v2(saved_);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  [[nodiscard]] std::string path() const { return (folder_ / "app.db").string(); }
  /// The application's connection.
  sqlite3* db() { return db_; }
  /// One more; the caller closes it.
  sqlite3* connect() {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open(path().c_str(), &db), SQLITE_OK);
    return db;
  }

  /// SQLite's result code.
  int exec(const std::string& sql) {
    int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
    last_error_ = code == SQLITE_OK ? "" : sqlite3_errmsg(db_);
    return code;
  }
  [[nodiscard]] const std::string& last_error() const { return last_error_; }
  /// The first column of the first row.
  std::string text(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr), SQLITE_OK)
        << sqlite3_errmsg(db_);
    std::string result;
    if (sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_text(statement, 0) != nullptr) {
      result = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
    }
    sqlite3_finalize(statement);
    return result;
  }
  std::int64_t integer(const std::string& sql) {
    std::string result = text(sql);
    return result.empty() ? 0 : std::stoll(result);
  }
  /// restore() puts the database back to what it was at backup(), as an operator would.
  void backup() { copy(db_, saved()); }
  void restore() { copy(saved(), db_); }
  std::int64_t pending() { return integer("SELECT count(*) FROM waybill_outbox"); }

 private:
  sqlite3* saved() {
    if (saved_ == nullptr) {
      EXPECT_EQ(sqlite3_open(":memory:", &saved_), SQLITE_OK);
    }
    return saved_;
  }
  static void copy(sqlite3* from, sqlite3* to) {
    sqlite3_backup* backup = sqlite3_backup_init(to, "main", from, "main");
    EXPECT_NE(backup, nullptr);
    EXPECT_EQ(sqlite3_backup_step(backup, -1), SQLITE_DONE);
    EXPECT_EQ(sqlite3_backup_finish(backup), SQLITE_OK);
  }

  std::filesystem::path folder_;
  sqlite3* db_ = nullptr;
  sqlite3* saved_ = nullptr;
  std::string last_error_;
};

}  // namespace waybill

// OutboxStore over SQLite, with a connection of its own.
//
// Every write is one BEGIN IMMEDIATE transaction (a transaction that reads first and then writes
// fails in WAL mode whatever the timeout). The connection runs with synchronous=FULL: the intent's
// commit makes the application's earlier commits durable too, even if the application itself runs
// with NORMAL, so nothing is published that a power failure could take back.
//
// Thread: one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/outbox/outbox_store.h"

struct sqlite3;

namespace waybill {

struct SqliteStoreOptions {
  /// How long a call waits for another writer before it fails with kDatabase.
  std::chrono::milliseconds busy_timeout{5'000};
};

class SqliteStore final : public OutboxStore {
 public:
  /// Opens the existing database at `path`. Errors: kDatabase if it cannot be opened;
  /// kOutboxTables if it has no outbox tables, or those of another version.
  static Reply<std::unique_ptr<SqliteStore>> open(const std::string& path,
                                                  SqliteStoreOptions options = {});
  ~SqliteStore() override;
  SqliteStore(const SqliteStore&) = delete;
  SqliteStore& operator=(const SqliteStore&) = delete;

  /// What in this database endangers or slows the outbox, for people; usually empty.
  [[nodiscard]] std::vector<std::string> warnings() const;

  Reply<Lane> take_lane(const LaneRequest& request) override;
  Reply<void> release_lane(const LaneClaim& claim) override;
  Reply<LaneMode> renew_lane(const LaneClaim& claim) override;
  Reply<LoadedRows> load(const LaneClaim& claim, const LoadRequest& request) override;
  Reply<std::vector<OutboxRow>> load_rows(const std::vector<std::int64_t>& ids) override;
  Reply<bool> advance(const LaneClaim& claim, const LaneAdvance& change) override;
  Reply<void> forget_position(const LaneClaim& claim, TopicPartition place) override;
  Reply<ProducerId> new_incarnation(const LaneClaim& claim) override;
  Reply<void> halt_lane(const LaneClaim& claim, const std::string& note) override;
  bool changed() override;
  Reply<OutboxStatus> status() override;
  Reply<void> set_lane_mode(std::int64_t lane, LaneMode mode) override;

 private:
  SqliteStore(sqlite3* db, std::chrono::milliseconds busy_timeout)
      : db_(db), busy_timeout_(busy_timeout) {}
  /// SQLite's busy handler: false (0) ends the waiting.
  static int pause_while_busy(void* store, int tries);
  Reply<LaneMode> lane_mode(const LaneClaim& claim);
  Reply<void> list_held(OutboxStatus& status);

  sqlite3* db_;
  std::chrono::milliseconds busy_timeout_;
  std::int64_t data_version_ = -1;
};

}  // namespace waybill

// Goal: whatever crashes, hangs, repeats or is taken over, every committed row is in the log
// exactly once, rolled-back rows never, and the rows of a key in the order of their ids (D21, D22;
// outbox traps T1, T4-T7, T10, T20). Method: random schedules from a printed seed over a real
// SQLite file and a broker that keeps D21: several relays whose leases are worth nothing (every old
// owner is a zombie), crashes before and after every database call and request, lost and delayed
// requests, outages, refused rows, open transactions of the application that make the database busy
// and then commit or roll back.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <set>
#include <utility>

#include "client/outbox/outbox.h"
#include "client/outbox/relay.h"
#include "client/outbox/sqlite_store.h"
#include "tests/client/outbox/fake_broker.h"
#include "tests/client/outbox/test_database.h"

namespace waybill {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kSchedules = 100;
constexpr int kActions = 400;

struct Crash {};

/// What happens at a boundary (before and after every database call and request) that a random
/// countdown picked: the relay crashes there, or hangs while others go on.
struct Interruption {
  int countdown = -1;
  std::function<void()> hang;  ///< empty: crash
  void boundary() {
    if (countdown < 0 || countdown-- > 0) return;
    if (!hang) throw Crash{};
    std::exchange(hang, {})();
  }
};

/// A store whose calls can crash their relay before they begin and after they took effect.
class CrashingStore final : public OutboxStore {
  template <class Call>
  auto around(Call call) {
    interruption_.boundary();
    auto result = call();
    interruption_.boundary();
    return result;
  }

 public:
  CrashingStore(OutboxStore& store, Interruption& interruption)
      : store_(store), interruption_(interruption) {}

  Reply<Lane> take_lane(const LaneRequest& request) override {
    return around([&] { return store_.take_lane(request); });
  }
  Reply<void> release_lane(const LaneClaim& claim) override {
    return around([&] { return store_.release_lane(claim); });
  }
  Reply<LaneMode> renew_lane(const LaneClaim& claim) override {
    return around([&] { return store_.renew_lane(claim); });
  }
  Reply<LoadedRows> load(const LaneClaim& claim, const LoadRequest& request) override {
    return around([&] { return store_.load(claim, request); });
  }
  Reply<std::vector<OutboxRow>> load_rows(const std::vector<std::int64_t>& ids) override {
    return around([&] { return store_.load_rows(ids); });
  }
  Reply<bool> advance(const LaneClaim& claim, const LaneAdvance& change) override {
    return around([&] { return store_.advance(claim, change); });
  }
  Reply<void> forget_position(const LaneClaim& claim, TopicPartition place) override {
    return around([&] { return store_.forget_position(claim, place); });
  }
  Reply<ProducerId> new_incarnation(const LaneClaim& claim) override {
    return around([&] { return store_.new_incarnation(claim); });
  }
  Reply<void> halt_lane(const LaneClaim& claim, const std::string& note) override {
    return around([&] { return store_.halt_lane(claim, note); });
  }
  bool changed() override { return store_.changed(); }
  Reply<OutboxStatus> status() override { return store_.status(); }
  Reply<void> set_lane_mode(std::int64_t lane, LaneMode mode) override {
    return store_.set_lane_mode(lane, mode);
  }

 private:
  OutboxStore& store_;
  Interruption& interruption_;
};

struct Enqueued {
  std::int64_t row = 0;
  std::string topic;
  std::string key;
};

class Schedule {
 public:
  explicit Schedule(std::uint64_t seed) : random_(seed) {
    broker_.create_topic("one", 1);
    broker_.create_topic("three", 3);
    broker_.on_boundary = [this] { interruption_.boundary(); };
    broker_.fault = [this] { return chaos_ ? random_fault() : FakeBroker::Fault::kNone; };
    broker_.refuses = [](const LoggedRecord& record) -> std::optional<Errc> {
      if (record.value.starts_with("poison")) return Errc::kInvalidBatch;
      return std::nullopt;
    };
    options_.lease = milliseconds(0);  // safety must not rest on time
    options_.backoff_base = milliseconds(1);
    options_.backoff_cap = milliseconds(1);
    options_.batch_rows = 1 + random_.below(12);
    options_.sweep = milliseconds(random_.below(2) == 0 ? 0 : 1000);
    options_.on_refused = random_.below(2) == 0 ? OnRefused::kHoldKey : OnRefused::kToDead;
    options_.on_event = [this](const RelayEvent& event) { trace_ += event.what + "\n"; };
  }

  void run() {
    for (int i = 0; i < kActions && !testing::Test::HasFailure(); ++i) act();
    heal();
    check();
  }

 private:
  struct Running {
    std::unique_ptr<SqliteStore> store;
    std::unique_ptr<CrashingStore> crashing;
    std::unique_ptr<OutboxRelay> relay;
  };

  void act() {
    switch (random_.below(16)) {
      case 0:
      case 1:
        begin_or_end_transaction();
        break;
      case 2:
        broker_.down = random_.below(4) == 0;
        break;
      case 3:
        if (broker_.delayed_count() > 0) {
          broker_.deliver_delayed(random_.below(broker_.delayed_count()));
        }
        break;
      case 4:
        relays_[random_.below(relays_.size())] = {};
        break;
      case 5:
        if (!in_transaction_) {
          database_.exec("UPDATE waybill_outbox_held SET retry_at_us = 0");
        }
        break;
      default:
        step_relay(random_.below(relays_.size()), 1 + random_.below(8));
    }
  }

  void begin_or_end_transaction() {
    if (in_transaction_) {
      bool commits = random_.below(3) != 0;
      ASSERT_EQ(database_.exec(commits ? "COMMIT" : "ROLLBACK"), SQLITE_OK);
      if (commits) committed_.merge(open_);
      for (const auto& [id, row] : open_) rolled_back_.insert(id);
      open_.clear();
      in_transaction_ = false;
      return;
    }
    if (database_.exec("BEGIN IMMEDIATE") != SQLITE_OK) return;
    in_transaction_ = true;
    for (std::uint64_t n = 1 + random_.below(6); n > 0; --n) {
      OutboxMessage message;
      std::string topic = random_.below(2) == 0 ? "one" : random_.below(8) == 0 ? "late" : "three";
      std::string key = "k" + std::to_string(random_.below(5));
      bool has_key = random_.below(5) != 0;
      std::string value = random_.below(40) == 0 ? "poison" : "fine";
      message.topic = topic;
      if (has_key) message.key = as_bytes(key);
      message.payload = as_bytes(value);
      message.id = random_.uuid();
      Reply<EnqueuedRow> row = enqueue(database_.db(), message);
      ASSERT_TRUE(row.ok()) << to_string(row.error());
      open_[row->message_id] = {row->id, topic, has_key ? key : ""};
    }
    if (random_.below(2) == 0) begin_or_end_transaction();  // else the relays meet a busy database
  }

  void step_relay(std::size_t index, std::uint64_t steps) {
    Running& slot = relays_[index];
    if (slot.relay == nullptr) start(slot);
    interruption_ = {};
    if (random_.below(2) == 0) interruption_.countdown = static_cast<int>(random_.below(12));
    if (random_.below(2) == 0) interruption_.hang = [this, index] { others_go_on(index); };
    try {
      for (; steps > 0; --steps) slot.relay->step();
    } catch (const Crash&) {
      slot = {};
    }
    interruption_ = {};
  }

  void others_go_on(std::size_t hanging) {
    std::size_t other = (hanging + 1 + random_.below(relays_.size() - 1)) % relays_.size();
    Running& slot = relays_[other];
    if (slot.relay == nullptr) start(slot);
    for (std::uint64_t steps = 1 + random_.below(10); steps > 0; --steps) slot.relay->step();
  }

  void start(Running& slot) {
    slot.store = std::move(SqliteStore::open(database_.path(), {milliseconds(0)})).value();
    slot.crashing = std::make_unique<CrashingStore>(*slot.store, interruption_);
    RelayOptions options = options_;
    options.owner = "relay " + std::to_string(++started_);
    slot.relay = std::make_unique<OutboxRelay>(*slot.crashing, broker_, options);
  }

  FakeBroker::Fault random_fault() {
    switch (random_.below(10)) {
      case 0:
        return FakeBroker::Fault::kLostRequest;
      case 1:
        return FakeBroker::Fault::kLostReply;
      case 2:
        return FakeBroker::Fault::kDelayed;
      case 3:
        return FakeBroker::Fault::kHalfAndLost;
      default:
        return FakeBroker::Fault::kNone;
    }
  }

  /// Everything works again; what the network kept arrives before, between and after.
  void heal() {
    if (in_transaction_) begin_or_end_transaction();
    chaos_ = false;
    broker_.down = false;
    broker_.create_topic("late", 2);
    deliver_some_delayed();
    for (int round = 0; round < 2; ++round) {
      database_.exec("UPDATE waybill_outbox_held SET retry_at_us = 0");
      Running last;
      start(last);
      EXPECT_TRUE(last.relay->drain(milliseconds(20'000))) << last.relay->status().reason;
      for (Running& zombie : relays_) {
        if (zombie.relay != nullptr) zombie.relay->step();
      }
      deliver_some_delayed();
    }
    while (broker_.delayed_count() > 0) broker_.deliver_delayed(0);
  }

  void deliver_some_delayed() {
    for (std::uint64_t n = broker_.delayed_count() / 2; n > 0; --n) {
      broker_.deliver_delayed(random_.below(broker_.delayed_count()));
    }
  }

  void check() {
    EXPECT_EQ(database_.text("SELECT state FROM waybill_outbox_lane"), "run")
        << database_.text("SELECT note FROM waybill_outbox_lane");
    std::map<Uuid, int> seen;
    std::map<std::pair<std::string, std::string>, std::int64_t> newest;
    for (const auto& [place, records] : broker_.log()) {
      for (const LoggedRecord& record : records) {
        EXPECT_FALSE(rolled_back_.contains(record.message_id)) << "a rolled-back row is in the log";
        auto row = committed_.find(record.message_id);
        ASSERT_NE(row, committed_.end()) << "nobody committed this";
        EXPECT_EQ(++seen[record.message_id], 1) << "row " << row->second.row << " is there twice";
        if (row->second.key.empty()) continue;
        std::int64_t& last = newest[{row->second.topic, row->second.key}];
        EXPECT_LT(last, row->second.row) << "a key's rows are out of order";
        last = row->second.row;
      }
    }
    for (const auto& [id, row] : committed_) {
      std::string where = " WHERE id = " + std::to_string(row.row);
      std::int64_t places = seen[id] +
                            database_.integer("SELECT count(*) FROM waybill_outbox" + where) +
                            database_.integer("SELECT count(*) FROM waybill_outbox_dead" + where);
      EXPECT_EQ(places, 1) << "row " << row.row << " is in " << places << " places";
      bool waits = database_.integer("SELECT count(*) FROM waybill_outbox" + where) > 0;
      auto last = newest.find({row.topic, row.key});
      if (!waits || row.key.empty() || last == newest.end()) continue;
      EXPECT_LT(last->second, row.row) << "a row overtook a waiting row of its key";
    }
    EXPECT_EQ(
        database_.integer("SELECT count(*) FROM waybill_outbox o WHERE NOT EXISTS (SELECT 1 FROM"
                          " waybill_outbox_held h WHERE h.row_id = o.id OR (h.topic = o.topic AND"
                          " h.key = CAST(o.key AS BLOB) AND h.row_id < o.id))"),
        0)
        << "only held rows and those behind them stay";
    EXPECT_EQ(database_.integer("SELECT count(*) FROM waybill_outbox_held h LEFT JOIN"
                                " waybill_outbox o ON o.id = h.row_id"
                                " WHERE o.payload <> CAST('poison' AS BLOB)"),
              0)
        << "an innocent row is held: "
        << database_.text(
               "SELECT group_concat(row_id || ' ' || topic || ' ' || coalesce(key, '-') || ' ' ||"
               " explanation, '; ') FROM waybill_outbox_held");
    EXPECT_EQ(database_.integer("SELECT count(*) FROM waybill_outbox_dead WHERE payload <>"
                                " CAST('poison' AS BLOB) AND topic <> 'late'"),
              0)
        << "an innocent row is dead";
    if (testing::Test::HasFailure()) std::cerr << trace_;
    published_rows += seen.size();
  }

 public:
  static inline std::size_t published_rows = 0;

 private:
  SeededRandom random_;
  TestDatabase database_;
  FakeBroker broker_;
  RelayOptions options_;
  Interruption interruption_;
  std::array<Running, 3> relays_;
  int started_ = 0;
  bool chaos_ = true;
  bool in_transaction_ = false;
  std::map<Uuid, Enqueued> open_;
  std::map<Uuid, Enqueued> committed_;
  std::set<Uuid> rolled_back_;
  std::string trace_;
};

TEST(RelayModel, EveryCommittedRowIsInTheLogExactlyOnceInOrder) {
  const char* fixed = std::getenv("WAYBILL_SEED");
  std::uint64_t first = fixed != nullptr ? std::strtoull(fixed, nullptr, 10) : system_seed() >> 16;
  std::uint64_t count = fixed != nullptr ? 1 : kSchedules;
  for (std::uint64_t seed = first; seed < first + count && !HasFailure(); ++seed) {
    SCOPED_TRACE("WAYBILL_SEED=" + std::to_string(seed));
    Schedule(seed).run();
  }
  std::cout << "seeds from " << first << ", " << Schedule::published_rows << " rows published\n";
}

}  // namespace
}  // namespace waybill

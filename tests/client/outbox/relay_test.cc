// Goal: each promise of the relay, one by one: order, refused rows, outages, restores, ownership,
// delays (D21, D22; outbox traps T5, T7, T10, T11, T13, T17, T20).
// Method: a real SQLite file and a broker in memory that keeps D21; drain() runs the relay.
#include "client/outbox/relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "client/outbox/outbox.h"
#include "client/outbox/sqlite_store.h"
#include "protocol/record/partitioner.h"
#include "tests/client/outbox/fake_broker.h"
#include "tests/client/outbox/test_database.h"

namespace waybill {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr milliseconds kLong{10'000};

class RelayTest : public testing::Test {
 protected:
  RelayTest() {
    broker_.create_topic("orders", 1);
    options_.owner = "test";
    options_.backoff_base = milliseconds(1);
    options_.backoff_cap = milliseconds(2);
    options_.sweep = milliseconds(5);
    options_.on_event = [this](const RelayEvent& event) { events_ += event.what + "\n"; };
    broker_.refuses = [](const LoggedRecord& record) -> std::optional<Errc> {
      if (record.value.starts_with("poison")) return Errc::kInvalidBatch;
      return std::nullopt;
    };
  }

  std::unique_ptr<SqliteStore> open_store(milliseconds busy_timeout = kLong) {
    return std::move(SqliteStore::open(database_.path(), {busy_timeout})).value();
  }
  bool drain(milliseconds timeout = kLong) {
    auto store = open_store();
    OutboxRelay relay(*store, broker_, options_);
    bool drained = relay.drain(timeout);
    status_ = relay.status();
    return drained;
  }
  void insert(const std::string& key, const std::string& value,
              const std::string& topic = "orders") {
    std::string quoted_key = key.empty() ? "NULL" : "'" + key + "'";
    ASSERT_EQ(database_.exec("INSERT INTO waybill_outbox(topic, key, payload) VALUES ('" + topic +
                             "', " + quoted_key + ", '" + value + "')"),
              SQLITE_OK)
        << database_.last_error();
  }
  void release_held() { database_.exec("UPDATE waybill_outbox_held SET retry_at_us = 0"); }
  std::string lane_state() { return database_.text("SELECT state FROM waybill_outbox_lane"); }
  std::string note() { return database_.text("SELECT note FROM waybill_outbox_lane"); }
  void resume() { database_.exec("UPDATE waybill_outbox_lane SET state = 'run'"); }

  TestDatabase database_;
  FakeBroker broker_;
  RelayOptions options_;
  RelayStatus status_;
  std::string events_;
};

TEST_F(RelayTest, PublishesInOrderAndDeletesWhatIsInTheLog) {
  for (int i = 0; i < 2000; ++i) insert("k", std::to_string(i));
  EXPECT_TRUE(drain());
  std::vector<std::string> values = broker_.values();
  ASSERT_EQ(values.size(), 2000U);
  for (int i = 0; i < 2000; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], std::to_string(i));
  EXPECT_EQ(database_.pending(), 0);
  EXPECT_EQ(status_.published, 2000U);
  EXPECT_EQ(status_.batches, 4U);
  EXPECT_EQ(database_.text("SELECT typeof(intent) FROM waybill_outbox_lane"), "null");
  EXPECT_EQ(database_.text("SELECT typeof(owner) FROM waybill_outbox_lane"), "null");
}

TEST_F(RelayTest, CarriesIdKeyHeadersAndTime) {
  database_.exec(
      "INSERT INTO waybill_outbox(topic, key, payload, headers, message_id, created_us) VALUES"
      " ('orders', x'00ff', 'v', '{\"traceparent\":\"00-a-b-01\"}',"
      "  x'000102030405060708090a0b0c0d0e0f', 1700000000123999)");
  EXPECT_TRUE(drain());
  ASSERT_EQ(broker_.all_records().size(), 1U);
  LoggedRecord record = broker_.all_records().front();
  EXPECT_EQ(to_string(record.message_id), "00010203-0405-0607-0809-0a0b0c0d0e0f");
  EXPECT_EQ(record.key, std::string("\0\xff", 2));
  EXPECT_EQ(record.timestamp.milliseconds, 1700000000123);
  ASSERT_EQ(record.headers.size(), 2U);
  EXPECT_EQ(record.headers[0], (Header{"traceparent", to_vector(as_bytes("00-a-b-01"))}));
}

TEST_F(RelayTest, UsesKafkasPartitionForKeysOfTextAndBlobAlike) {
  TopicId wide = broker_.create_topic("wide", 16);
  insert("alpha", "1", "wide");
  database_.exec(
      "INSERT INTO waybill_outbox(topic, key, payload) VALUES"
      " ('wide', CAST('alpha' AS BLOB), '2')");
  EXPECT_TRUE(drain());
  auto place = TopicPartition{wide, partition_for_key(as_bytes("alpha"), 16)};
  ASSERT_TRUE(broker_.log().contains(place));
  EXPECT_EQ(broker_.log().at(place).size(), 2U);
}

TEST_F(RelayTest, ResendsTheSameBytesWhenTheAnswerIsLostD22) {
  insert("a", "1");
  insert("b", "2");
  int publishes = 0;
  broker_.fault = [&] {
    return ++publishes == 1 ? FakeBroker::Fault::kLostReply : FakeBroker::Fault::kNone;
  };
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("1", "2"));
  EXPECT_EQ(status_.duplicates, 2U);
  ASSERT_EQ(broker_.requests.size(), 2U);
  const PublishPart& first = broker_.requests[0].parts.at(0);
  const PublishPart& again = broker_.requests[1].parts.at(0);
  EXPECT_EQ(first.producer, again.producer);
  EXPECT_TRUE(equal(first.batch.view(), again.batch.view()));
}

TEST_F(RelayTest, ResendsTheSameBytesAfterACrashD22) {
  insert("a", "1");
  broker_.fault = [] { return FakeBroker::Fault::kLostRequest; };
  while (broker_.requests.empty()) EXPECT_FALSE(drain(milliseconds(20)));
  insert("a", "2");  // must not slip into the recorded batch
  broker_.fault = [] { return FakeBroker::Fault::kNone; };
  std::size_t before = broker_.requests.size();
  EXPECT_TRUE(drain());
  const PublishPart& first = broker_.requests.front().parts.at(0);
  const PublishPart& again = broker_.requests.at(before).parts.at(0);
  EXPECT_TRUE(equal(first.batch.view(), again.batch.view()));
  EXPECT_EQ(first.producer->previous, again.producer->previous);
  EXPECT_EQ(first.producer->base_sequence, again.producer->base_sequence);
  EXPECT_LT(first.producer->epoch, again.producer->epoch);
  EXPECT_THAT(broker_.values(), ElementsAre("1", "2"));
}

TEST_F(RelayTest, ABrokerOutageIsNobodysFailure) {
  options_.on_refused = OnRefused::kToDead;
  insert("a", "1");
  broker_.down = true;
  while (events_.empty()) EXPECT_FALSE(drain(milliseconds(30)));
  EXPECT_EQ(database_.pending(), 1);
  EXPECT_EQ(database_.integer("SELECT count(*) FROM waybill_outbox_dead"), 0);
  EXPECT_EQ(database_.integer("SELECT count(*) FROM waybill_outbox_held"), 0);
  EXPECT_THAT(events_, HasSubstr("cannot_connect"));
  EXPECT_EQ(std::ranges::count(events_, '\n'), 1) << "said once, not at every try:\n" << events_;
  broker_.down = false;
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("1"));
}

TEST_F(RelayTest, HoldsTheKeyOfARefusedRowAndLetsOthersFlow) {
  for (int i = 0; i < 20; ++i) insert("k" + std::to_string(i), "before");
  insert("bad", "poison");
  insert("bad", "behind");
  insert("good", "after");
  EXPECT_TRUE(drain());
  EXPECT_EQ(broker_.values().size(), 21U);
  EXPECT_EQ(database_.pending(), 2);
  EXPECT_EQ(status_.held, 1U) << "one row is to blame, not its batch";
  EXPECT_EQ(database_.text("SELECT code FROM waybill_outbox_held"), "invalid_batch");
  EXPECT_LT(broker_.publish_count, 16U) << "the row is found by halving";

  release_held();
  EXPECT_TRUE(drain());
  EXPECT_EQ(database_.integer("SELECT attempts FROM waybill_outbox_held"), 2);
  EXPECT_EQ(database_.pending(), 2) << "the row behind waits through every try";

  broker_.refuses = [](const LoggedRecord&) { return std::nullopt; };
  release_held();
  EXPECT_TRUE(drain());
  std::vector<std::string> values = broker_.values();
  ASSERT_EQ(values.size(), 23U);
  EXPECT_EQ(values[21], "poison");
  EXPECT_EQ(values[22], "behind");
  EXPECT_EQ(database_.integer("SELECT count(*) FROM waybill_outbox_held"), 0);
}

TEST_F(RelayTest, HoldsOneRowWithoutAKeyAlone) {
  insert("", "poison");
  insert("", "free");
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("free"));
  EXPECT_EQ(database_.pending(), 1);
}

TEST_F(RelayTest, MovesARefusedRowToTheDeadIfAsked) {
  options_.on_refused = OnRefused::kToDead;
  insert("a", "1");
  insert("a", "poison");
  insert("a", "2");
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("1", "2"));
  EXPECT_EQ(database_.pending(), 0);
  EXPECT_EQ(database_.text("SELECT payload FROM waybill_outbox_dead WHERE id = 2"), "poison");
  EXPECT_EQ(database_.text("SELECT code FROM waybill_outbox_dead"), "invalid_batch");
  EXPECT_EQ(status_.dead, 1U);
}

TEST_F(RelayTest, HaltsTheLaneAtARefusedRowIfAsked) {
  options_.on_refused = OnRefused::kHaltLane;
  insert("a", "1");
  insert("b", "poison");
  insert("c", "2");
  EXPECT_FALSE(drain());
  EXPECT_EQ(lane_state(), "halted");
  EXPECT_THAT(note(), HasSubstr("row 2"));
  EXPECT_EQ(status_.state, RelayState::kStopped);
  database_.exec("DELETE FROM waybill_outbox WHERE id = 2");
  resume();
  EXPECT_TRUE(drain());
  EXPECT_EQ(broker_.values().size(), 2U);
}

TEST_F(RelayTest, NumbersOfRefusedRowsAreBurntD21) {
  options_.on_refused = OnRefused::kToDead;
  insert("a", "poison");
  EXPECT_TRUE(drain());
  insert("a", "1");
  EXPECT_TRUE(drain());
  const ProducerStamp& stamp = *broker_.requests.back().parts.at(0).producer;
  EXPECT_EQ(stamp.previous, 0U) << "names the last accepted sequence";
  EXPECT_EQ(stamp.base_sequence, 2U) << "never reuses a number";
}

TEST_F(RelayTest, ARefusedCopyThatArrivesLateIsFenced) {
  // The first copy hangs in the network; the second is refused; then the first becomes acceptable.
  options_.on_refused = OnRefused::kToDead;
  insert("a", "poison");
  int publishes = 0;
  broker_.fault = [&] {
    return ++publishes == 1 ? FakeBroker::Fault::kDelayed : FakeBroker::Fault::kNone;
  };
  EXPECT_TRUE(drain());
  ASSERT_EQ(database_.integer("SELECT count(*) FROM waybill_outbox_dead"), 1);
  broker_.refuses = [](const LoggedRecord&) { return std::nullopt; };
  ASSERT_EQ(broker_.delayed_count(), 1U);
  broker_.deliver_delayed(0);
  EXPECT_EQ(broker_.all_records().size(), 0U) << "a dead row must not come back to life";
}

TEST_F(RelayTest, FindsRowsThatCannotBeMessagesWithoutAskingTheBroker) {
  database_.exec(
      "INSERT INTO waybill_outbox(topic, payload, headers) VALUES"
      " ('orders', 'x', '{\"n\": 1}'), ('orders', 'y', '{\"wb-expiry\": \"1\"}'),"
      " ('orders', zeroblob(5000000), '{}'), ('orders', 'fine', '{}')");
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("fine"));
  EXPECT_EQ(database_.text("SELECT group_concat(code) FROM"
                           " (SELECT code FROM waybill_outbox_held ORDER BY row_id)"),
            "invalid_batch,invalid_batch,message_too_large");
}

TEST_F(RelayTest, RowsOfAnUnknownTopicWaitUntilItExists) {
  insert("a", "early", "later");
  insert("b", "now");
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("now"));
  EXPECT_EQ(database_.text("SELECT code FROM waybill_outbox_held"), "unknown_topic");
  broker_.create_topic("later", 3);
  release_held();
  EXPECT_TRUE(drain());
  EXPECT_EQ(broker_.all_records().size(), 2U);
}

TEST_F(RelayTest, FollowsATopicThatIsDeletedAndMadeAgain) {
  broker_.create_topic("other", 1);
  auto store = open_store();
  OutboxRelay relay(*store, broker_, options_);
  insert("a", "1", "other");
  insert("a", "1");
  EXPECT_TRUE(relay.drain(kLong));
  broker_.delete_topic("other");
  broker_.create_topic("other", 1);
  insert("a", "2", "other");
  EXPECT_TRUE(relay.drain(kLong));
  EXPECT_EQ(broker_.all_records().size(), 2U);
  EXPECT_EQ(database_.pending(), 0);
  EXPECT_EQ(lane_state(), "run");
}

TEST_F(RelayTest, NotBeforeBlocksItsKeyOnly) {
  database_.exec(
      "INSERT INTO waybill_outbox(topic, key, payload, not_before_us) VALUES"
      " ('orders', 'k', 'first', 9000000000000000)");
  database_.exec(
      "INSERT INTO waybill_outbox(topic, key, payload) VALUES"
      " ('orders', CAST('k' AS BLOB), 'second')");
  insert("other", "free");
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("free"));
  database_.exec("UPDATE waybill_outbox SET not_before_us = 1 WHERE id = 1");
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("free", "first", "second"));
}

TEST_F(RelayTest, SaysThatTheDatabaseWentBackT17) {
  insert("a", "1");
  EXPECT_TRUE(drain());
  database_.backup();
  insert("a", "2");
  EXPECT_TRUE(drain());
  database_.restore();
  insert("a", "3");
  EXPECT_FALSE(drain());
  EXPECT_EQ(lane_state(), "halted");
  EXPECT_THAT(note(), HasSubstr("the database went back: the broker has sequence 2 of orders/0"));
  EXPECT_THAT(broker_.values(), ElementsAre("1", "2")) << "nothing new may pass for a duplicate";

  resume();
  options_.new_incarnation = true;
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("1", "2", "3"));
  EXPECT_THAT(events_, HasSubstr("going on as producer"));
}

TEST_F(RelayTest, SaysThatTheDatabaseWentBackByItsEpoch) {
  insert("a", "1");
  database_.backup();
  EXPECT_TRUE(drain());
  EXPECT_TRUE(drain());
  database_.restore();
  EXPECT_FALSE(drain());
  EXPECT_THAT(note(), HasSubstr("the database went back"));
}

TEST_F(RelayTest, SaysThatTheBrokerWentBackT17) {
  insert("a", "1");
  EXPECT_TRUE(drain());
  FakeBroker::Backup backup = broker_.backup();
  insert("a", "2");
  insert("a", "3");
  EXPECT_TRUE(drain());
  broker_.restore(backup);
  insert("a", "4");
  EXPECT_FALSE(drain());
  EXPECT_THAT(note(), HasSubstr("the broker went back: the broker lost up to 2 messages"));

  resume();
  options_.new_incarnation = true;
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("1", "4"));
}

TEST_F(RelayTest, SaysThatTheBrokerWasReplaced) {
  insert("a", "1");
  EXPECT_TRUE(drain());
  broker_.restore(FakeBroker::Backup{});
  insert("a", "2");
  EXPECT_FALSE(drain());
  EXPECT_THAT(note(), HasSubstr("the broker went back"));
}

TEST_F(RelayTest, RefusedNumbersDoNotLookLikeARestoreD22) {
  options_.on_refused = OnRefused::kToDead;
  insert("a", "poison");
  insert("a", "poison too");
  EXPECT_TRUE(drain());
  insert("a", "1");
  EXPECT_TRUE(drain());
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("1"));
}

TEST_F(RelayTest, PlansAnewWhenRowsInFlightWereDeletedOrChanged) {
  insert("a", "1");
  insert("a", "2");
  insert("a", "3");
  broker_.fault = [] { return FakeBroker::Fault::kLostRequest; };
  while (broker_.requests.empty()) EXPECT_FALSE(drain(milliseconds(20)));
  database_.exec("DELETE FROM waybill_outbox WHERE id = 1");
  database_.exec("UPDATE waybill_outbox SET payload = 'edited' WHERE id = 2");
  broker_.fault = [] { return FakeBroker::Fault::kNone; };
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("edited", "3"));
  EXPECT_THAT(events_, HasSubstr("changed or deleted"));
}

TEST_F(RelayTest, ALaneHasOneOwnerUntilItsLeaseEnds) {
  auto first_store = open_store();
  OutboxRelay first(*first_store, broker_, options_);
  first.step();  // takes the lane, and hangs
  insert("a", "1");
  options_.owner = "second";
  EXPECT_FALSE(drain(milliseconds(20)));
  database_.exec("UPDATE waybill_outbox_lane SET lease_until_us = 0");
  EXPECT_TRUE(drain());
  EXPECT_THAT(broker_.values(), ElementsAre("1"));
}

TEST_F(RelayTest, ARelayThatLostItsLaneChangesNothingT7) {
  insert("a", "1");
  auto zombie_store = open_store();
  OutboxRelay zombie(*zombie_store, broker_, options_);
  for (int i = 0; i < 3; ++i) zombie.step();  // take, open, commit the intent; not yet sent
  database_.exec("UPDATE waybill_outbox_lane SET lease_until_us = 0");
  options_.owner = "second";
  EXPECT_TRUE(drain());
  insert("a", "2");
  zombie.step();  // sends what the second relay has published long since
  zombie.step();
  EXPECT_THAT(broker_.values(), ElementsAre("1"));
  EXPECT_EQ(database_.pending(), 1);
}

TEST_F(RelayTest, TheStoreRefusesEveryWriteUnderAnOldEpochT7) {
  insert("a", "1");
  auto store = open_store();
  LaneRequest request{0, "one", milliseconds(0)};
  LaneClaim old = store->take_lane(request)->claim;
  LaneClaim claim = store->take_lane(request)->claim;
  IntentPart part{{1}, {0}, 0, 1, 0, {1}};
  LaneAdvance change;
  change.intent.parts.push_back(part);
  ASSERT_TRUE(store->advance(claim, change).ok());
  std::string dump =
      "SELECT hex(intent) || epoch || owner || lease_until_us || state || note ||"
      " hex(producer_id) FROM waybill_outbox_lane";
  std::string before = database_.text(dump);
  LaneAdvance done;
  done.acknowledged.push_back(part);
  EXPECT_EQ(store->advance(old, done).error().code, Errc::kLaneOwned);
  EXPECT_EQ(store->renew_lane(old).error().code, Errc::kLaneOwned);
  EXPECT_EQ(store->release_lane(old).error().code, Errc::kLaneOwned);
  EXPECT_EQ(store->halt_lane(old, "no").error().code, Errc::kLaneOwned);
  EXPECT_EQ(store->new_incarnation(old).error().code, Errc::kLaneOwned);
  EXPECT_EQ(store->forget_position(old, part.place()).error().code, Errc::kLaneOwned);
  EXPECT_EQ(store->load(old, {}).error().code, Errc::kLaneOwned);
  EXPECT_EQ(database_.text(dump), before);
  EXPECT_EQ(database_.pending(), 1);
  EXPECT_EQ(database_.integer("SELECT count(*) FROM waybill_outbox_position"), 1);
}

TEST_F(RelayTest, HoldsNoTransactionWhileItPublishesT13) {
  insert("a", "1");
  bool wrote = false;
  broker_.fault = [&] {
    wrote = database_.exec("INSERT INTO orders(state) VALUES ('free')") == SQLITE_OK;
    return FakeBroker::Fault::kNone;
  };
  EXPECT_TRUE(drain());
  EXPECT_TRUE(wrote) << database_.last_error();
}

TEST_F(RelayTest, WaitsOutABusyDatabaseT20) {
  insert("a", "1");
  database_.exec("BEGIN IMMEDIATE; INSERT INTO orders(state) VALUES ('writing')");
  auto store = open_store(milliseconds(1));
  OutboxRelay relay(*store, broker_, options_);
  while (events_.empty()) EXPECT_FALSE(relay.drain(milliseconds(30)));
  EXPECT_THAT(events_, HasSubstr("database is locked"));
  database_.exec("COMMIT");
  EXPECT_TRUE(relay.drain(kLong));
  EXPECT_THAT(broker_.values(), ElementsAre("1"));
}

TEST_F(RelayTest, APausedLaneWaitsAndGoesOn) {
  auto store = open_store();
  ASSERT_TRUE(store->set_lane_mode(0, LaneMode::kPaused).ok());
  insert("a", "1");
  EXPECT_FALSE(drain());
  EXPECT_EQ(broker_.publish_count, 0U);
  ASSERT_TRUE(store->set_lane_mode(0, LaneMode::kRun).ok());
  EXPECT_TRUE(drain());
  EXPECT_FALSE(store->set_lane_mode(9, LaneMode::kRun).ok());
}

TEST_F(RelayTest, StatusShowsWhatWaitsAndWhy) {
  insert("bad", "poison");
  insert("bad", "behind");
  EXPECT_TRUE(drain());
  auto store = open_store();
  Reply<OutboxStatus> status = store->status();
  ASSERT_TRUE(status.ok()) << to_string(status.error());
  ASSERT_EQ(status->lanes.size(), 1U);
  EXPECT_EQ(status->lanes[0].pending, 2U);
  EXPECT_EQ(status->lanes[0].in_flight, 0U);
  EXPECT_GT(status->lanes[0].epoch, 0U);
  EXPECT_EQ(status->lanes[0].owner, "");
  EXPECT_EQ(status->held_rows, 1U);
  ASSERT_EQ(status->held.size(), 1U);
  EXPECT_EQ(status->held[0].row, 1);
  EXPECT_EQ(status->held[0].code, "invalid_batch");
}

TEST_F(RelayTest, RunsOnItsOwnThreadAndSeesCommitsOfOthers) {
  auto store = open_store();
  options_.sweep = milliseconds(60'000);  // only data_version tells it
  options_.poll = milliseconds(1);
  OutboxRelay relay(*store, broker_, options_);
  std::jthread thread([&](const std::stop_token& stop) { relay.run(stop); });
  for (int i = 0; i < 5; ++i) {
    insert("a", std::to_string(i));
    relay.kick();
    auto deadline = std::chrono::steady_clock::now() + kLong;
    while (database_.pending() > 0 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    ASSERT_EQ(database_.pending(), 0);
  }
  thread.request_stop();
  thread.join();
  EXPECT_THAT(broker_.values(), ElementsAre("0", "1", "2", "3", "4"));
  EXPECT_EQ(relay.status().state, RelayState::kStopped);
}

TEST_F(RelayTest, TheStoreRunsWithFullSynchronousT20) {
  EXPECT_THAT(open_store()->warnings(), testing::IsEmpty());
  database_.exec("PRAGMA journal_mode = DELETE");
  EXPECT_THAT(open_store()->warnings(), ElementsAre(HasSubstr("WAL")));
}

}  // namespace
}  // namespace waybill

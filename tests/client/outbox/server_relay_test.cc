// Goal: the whole way from an application's transaction to the log of the real broker, exactly once
// and in order, also while the broker restarts.
// Method: the broker in this process, the relay over the client library on its own thread, an
// application that commits meanwhile; then every partition is read back and counted.
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "broker/server/server.h"
#include "client/outbox/client_publisher.h"
#include "client/outbox/outbox.h"
#include "client/outbox/relay.h"
#include "client/outbox/sqlite_store.h"
#include "protocol/record/batch_view.h"
#include "tests/client/outbox/test_database.h"
#include "tests/support/broker_process.h"

namespace waybill {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kPartitions = 4;
constexpr int kKeys = 7;

class ServerRelayTest : public testing::Test {
 protected:
  ServerRelayTest() { start_broker(0); }

  void start_broker(std::uint16_t port) {
    Config config;
    config.data_directory = directory_.path();
    config.listen.port = port;
    config.http.reset();
    config.log_level = LogLevel::kWarning;
    config.journal_file_size = 9 * 1024 * 1024;
    config.shards = 2;
    server_ = std::make_unique<Server>(config);
    server_->start();
  }
  void restart_broker() {
    std::uint16_t port = server_->port();
    EXPECT_TRUE(server_->stop());
    server_.reset();
    start_broker(port);
  }
  [[nodiscard]] ClientOptions client_options() const {
    ClientOptions options;
    options.endpoints = {"127.0.0.1:" + std::to_string(server_->port())};
    options.request_timeout = seconds(5);
    options.reconnect.base = milliseconds(5);
    options.reconnect.cap = milliseconds(20);
    return options;
  }
  /// `count` orders, one transaction each; values count up per key.
  void commit_orders(int count) {
    for (int i = 0; i < count; ++i, ++committed_) {
      std::string key = "k" + std::to_string(committed_ % kKeys);
      std::string value = std::to_string(committed_);
      OutboxMessage message;
      message.topic = "orders";
      message.key = as_bytes(key);
      message.payload = as_bytes(value);
      database_.exec("BEGIN IMMEDIATE");
      Reply<EnqueuedRow> row = enqueue(database_.db(), message);
      ASSERT_TRUE(row.ok()) << to_string(row.error());
      database_.exec("COMMIT");
    }
  }
  /// Every value in the log, by key, in the log's order.
  std::map<std::string, std::vector<int>> read_log(BlockingClient& client) {
    std::map<std::string, std::vector<int>> values;
    Reply<TopicInfo> topic = client.find_topic("orders");
    EXPECT_TRUE(topic.ok());
    for (std::uint32_t partition = 0; partition < kPartitions; ++partition) {
      Offset next;
      for (;;) {
        Reply<ReadReply> reply = client.request(ReadRequest{topic->id, {partition}, next, {}});
        EXPECT_TRUE(reply.ok()) << to_string(reply.error());
        if (!reply || reply->batches.empty()) break;
        for (const SharedBytes& batch : reply->batches) collect(batch.view(), next, values);
      }
    }
    return values;
  }
  static void collect(Bytes batch, Offset& next, std::map<std::string, std::vector<int>>& values) {
    Result<BatchReader> reader = BatchReader::open(batch);
    ASSERT_TRUE(reader.ok());
    ASSERT_TRUE(reader
                    ->for_each([&](const RecordView& record) {
                      if (record.offset >= next) {
                        EXPECT_TRUE(record.message_id().has_value());
                        values[std::string(as_text(*record.key))].push_back(
                            std::stoi(std::string(as_text(*record.value))));
                        next = record.offset + 1;
                      }
                      return true;
                    })
                    .ok());
  }
  void expect_everything_once(BlockingClient& client) {
    std::size_t total = 0;
    for (const auto& [key, values] : read_log(client)) {
      total += values.size();
      for (std::size_t i = 0; i < values.size(); ++i) {
        EXPECT_EQ(values[i] / kKeys, static_cast<int>(i)) << "in " << key;
      }
    }
    EXPECT_EQ(total, static_cast<std::size_t>(committed_));
  }

  TempDirectory directory_;
  TestDatabase database_;
  std::unique_ptr<Server> server_;
  int committed_ = 0;
};

TEST_F(ServerRelayTest, TakesEveryCommittedRowToTheLogOnceAcrossBrokerRestarts) {
  BlockingClient client(client_options());
  ASSERT_TRUE(client.create_topic("orders", kPartitions).ok());
  ClientPublisher publisher(client);
  auto store = std::move(SqliteStore::open(database_.path())).value();
  RelayOptions options;
  options.batch_rows = 20;
  options.backoff_base = milliseconds(2);
  options.backoff_cap = milliseconds(20);
  OutboxRelay relay(*store, publisher, options);
  std::jthread thread([&](const std::stop_token& stop) { relay.run(stop); });
  for (int round = 0; round < 3; ++round) {
    commit_orders(300);
    relay.kick();
    restart_broker();
  }
  commit_orders(100);
  auto deadline = std::chrono::steady_clock::now() + seconds(60);
  while (database_.pending() > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_EQ(database_.pending(), 0) << relay.status().reason;
  thread.request_stop();
  thread.join();
  expect_everything_once(client);
}

TEST_F(ServerRelayTest, TheRealBrokerKnowsALanesPastAgain) {
  BlockingClient client(client_options());
  ASSERT_TRUE(client.create_topic("orders", kPartitions).ok());
  ClientPublisher publisher(client);
  auto store = std::move(SqliteStore::open(database_.path())).value();
  for (int round = 0; round < 3; ++round) {
    commit_orders(50);
    if (round == 1) database_.backup();
    RelayOptions options;
    options.owner = "relay " + std::to_string(round);
    OutboxRelay relay(*store, publisher, options);
    ASSERT_TRUE(relay.drain(seconds(30))) << relay.status().reason;
    restart_broker();
  }
  expect_everything_once(client);

  database_.restore();  // to before the second and third round left
  OutboxRelay relay(*store, publisher);
  EXPECT_FALSE(relay.drain(seconds(30)));
  EXPECT_NE(database_.text("SELECT note FROM waybill_outbox_lane").find("database went back"),
            std::string::npos);
  expect_everything_once(client);
}

}  // namespace
}  // namespace waybill

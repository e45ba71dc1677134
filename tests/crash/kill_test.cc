// Goal: nothing is lost, doubled or charged when the broker is killed (SIGKILL) at any moment.
// Method: an application commits rows to its outbox, a relay publishes, a consumer acks, fails and
// rejects, a person redrives - while waybilld is killed and restarted at random points of their
// progress. The ledger below is written by the test's own actors; it never asks the broker for its
// accounting, and the log is read record by record in the end.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <boost/asio/use_future.hpp>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "client/blocking_client.h"
#include "client/outbox/client_publisher.h"
#include "client/outbox/ddl.h"
#include "client/outbox/outbox.h"
#include "client/outbox/relay.h"
#include "client/outbox/sqlite_store.h"
#include "protocol/base/random.h"
#include "protocol/record/batch_view.h"
#include "tests/support/broker_process.h"

namespace waybill {
namespace {

constexpr int kKills = 30;
constexpr int kRowsPerKill = 40;
constexpr std::size_t kLargeRow = 60'000;
constexpr std::uint32_t kPartitions = 4;
constexpr std::uint32_t kMaxFailures = 3;
const std::string kTopic = "orders";
const std::string kGroup = "billing";

/// What a message will do to its consumer, by its number.
enum class Fate { kAck, kFailOnce, kFailUntilRedriven, kInvalidUntilRedriven, kInvalidForEver };
Fate fate_of(int number) {
  switch (number % 20) {
    case 3:
    case 9:
      return Fate::kFailOnce;
    case 5:
      return Fate::kFailUntilRedriven;
    case 11:
      return Fate::kInvalidUntilRedriven;
    case 17:
      return Fate::kInvalidForEver;
    default:
      return Fate::kAck;
  }
}

/// What the test itself saw of one message.
struct Seen {
  PartitionIndex partition;
  Offset offset;
  std::uint32_t redrive = 0;
  std::uint32_t last_delivery = 0;  ///< within this redrive
  std::uint32_t last_failures = 0;
  std::uint32_t reported = 0;  ///< failures that handlers reported, within this redrive
  bool ack_confirmed = false;
};

/// The independent record of what happened, and the progress the killer waits for.
class Ledger {
 public:
  void progress() {
    std::lock_guard lock(mutex_);
    ++progress_;
    changed_.notify_all();
  }
  /// Waits for `count` more steps of progress of anybody; false if the patience runs out.
  bool wait_for_progress(std::uint64_t count) {
    std::unique_lock lock(mutex_);
    std::uint64_t target = progress_ + count;
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return progress_ >= target; });
  }

  /// A delivery arrived: its counters must fit what was seen before (D3, D5).
  void delivered(int number, const Delivery& delivery) {
    std::lock_guard lock(mutex_);
    Seen& seen = seen_[number];
    if (seen.last_delivery == 0) {
      seen.partition = delivery.partition();
      seen.offset = delivery.offset();
    }
    EXPECT_EQ(seen.offset, delivery.offset()) << "message " << number << " moved";
    EXPECT_FALSE(seen.ack_confirmed) << "message " << number << " came again after a confirmed ack";
    EXPECT_GE(delivery.redrive(), seen.redrive) << "message " << number;
    if (delivery.redrive() != seen.redrive) {
      seen.redrive = delivery.redrive();
      seen.last_delivery = 0;
      seen.last_failures = 0;
      seen.reported = 0;
    }
    EXPECT_GT(delivery.number(), seen.last_delivery)
        << "message " << number << ": attempt repeated";
    EXPECT_GE(delivery.failures(), seen.last_failures) << "message " << number << ": went back";
    EXPECT_LE(delivery.failures(), seen.reported)
        << "message " << number << " was charged for what no handler reported";
    seen.last_delivery = delivery.number();
    seen.last_failures = delivery.failures();
  }
  void reporting_failure(int number) {
    std::lock_guard lock(mutex_);
    ++seen_[number].reported;
  }
  void ack_confirmed(int number) {
    std::lock_guard lock(mutex_);
    seen_[number].ack_confirmed = true;
  }
  std::map<int, Seen> seen() {
    std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t progress_ = 0;
  std::map<int, Seen> seen_;
};

/// The application: its database and its outbox.
class Application {
 public:
  explicit Application(const std::string& path) : path_(path) {
    sqlite3_open(path.c_str(), &db_);
    sqlite3_busy_timeout(db_, 10'000);
    run("PRAGMA journal_mode=WAL");
    run(outbox_ddl(OutboxDatabase::kSqlite).c_str());
  }
  ~Application() { sqlite3_close_v2(db_); }
  Application(const Application&) = delete;
  Application& operator=(const Application&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int written() const { return next_; }

  /// Commits `count` rows, and rolls back one more that must never be seen.
  void write(int count) {
    run("BEGIN IMMEDIATE");
    for (int i = 0; i < count; ++i) {
      // Some are large, so that streams are flushed, segments are sealed and files are released.
      const std::size_t size = next_ % 4 == 0 ? kLargeRow : 0;
      enqueue_row("order " + std::to_string(next_++) + " " + std::string(size, 'x'));
    }
    run("COMMIT");
    run("BEGIN IMMEDIATE");
    enqueue_row("order -1");
    run("ROLLBACK");
  }

 private:
  void run(const char* sql) {
    ASSERT_EQ(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db_);
  }
  void enqueue_row(const std::string& text) {
    OutboxMessage message;
    message.topic = kTopic;
    message.key = as_bytes(text).first(std::min<std::size_t>(text.size(), 12));
    message.payload = as_bytes(text);
    Reply<EnqueuedRow> row = enqueue(db_, message);
    ASSERT_TRUE(row) << to_string(row.error());
  }

  std::string path_;
  sqlite3* db_ = nullptr;
  int next_ = 0;
};

int number_of(const Message& message) {
  return std::stoi(std::string(as_text(*message.value)).substr(std::string("order ").size()));
}

class KillTest : public testing::TestWithParam<const char*> {
 protected:
  KillTest()
      : broker_(
            {.data_directory = directory_.path() / "data",
             .arguments = {"--disk", GetParam(), "--shards", "2", "--journal-file-size", "9MiB"},
             .program = {},
             .keep_port = true}),
        app_((directory_.path() / "app.db").string()) {}

  ClientOptions options(const char* name) {
    ClientOptions options;
    options.client_name = name;
    options.endpoints = {address_};
    options.wait_for_broker = true;
    options.reconnect.base = std::chrono::milliseconds(5);
    options.reconnect.cap = std::chrono::milliseconds(50);
    return options;
  }

  void create_topic_and_group() {
    BlockingClient client(options("setup"));
    Reply<CreateTopicReply> topic = client.create_topic(kTopic, kPartitions);
    ASSERT_TRUE(topic) << to_string(topic.error());
    CreateGroupRequest group;
    group.name = kGroup;
    group.topic = kTopic;
    group.policy.ordering = Ordering::kNone;
    group.policy.max_failures = kMaxFailures;
    group.policy.lease = std::chrono::minutes(10);  // nothing may run out: failures are reported
    // Its consumer fails on purpose, more often than a brake would stand.
    group.policy.brake.enabled = false;
    group.policy.backoff.base = std::chrono::milliseconds(5);
    group.policy.backoff.cap = std::chrono::milliseconds(20);
    group.start.kind = StartKind::kEarliest;
    ASSERT_TRUE(client.ensure_group(group));
  }

  void relay(const std::stop_token& stop) {
    auto store = SqliteStore::open(app_.path());
    ASSERT_TRUE(store) << to_string(store.error());
    BlockingClient client(options("relay"));
    ClientPublisher publisher(client);
    RelayOptions relay_options;
    relay_options.batch_rows = 17;
    relay_options.backoff_base = std::chrono::milliseconds(5);
    relay_options.backoff_cap = std::chrono::milliseconds(50);
    OutboxRelay relay(**store, publisher, relay_options);
    relay.run(stop);
  }

  void handle(Delivery& delivery) {
    int number = number_of(delivery.message());
    ledger_.delivered(number, delivery);
    Fate fate = fate_of(number);
    bool redriven = delivery.redrive() > 0;
    if (fate == Fate::kInvalidForEver || (fate == Fate::kInvalidUntilRedriven && !redriven)) {
      ledger_.reporting_failure(number);
      delivery.retry({FailureClass::kInvalid, "cannot", "never works"});
    } else if ((fate == Fate::kFailOnce && delivery.failures() == 0 && !redriven) ||
               (fate == Fate::kFailUntilRedriven && !redriven)) {
      ledger_.reporting_failure(number);
      delivery.retry({FailureClass::kFailed, "not_yet", "try again"});
    } else {
      std::future<Reply<void>> settled = delivery.async_settle({}, asio::use_future);
      waiting_.emplace_back(number, std::move(settled));
    }
    ledger_.progress();
  }

  void note_confirmed(bool wait) {
    std::erase_if(waiting_, [&](auto& waiting) {
      if (!wait && waiting.second.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
        return false;
      }
      Reply<void> settled = waiting.second.get();
      if (settled) {
        ledger_.ack_confirmed(waiting.first);
      } else {
        // Whatever the reason, the message must come again or turn out to be done.
        std::printf("order %d: ack not confirmed: %s\n", waiting.first,
                    to_string(settled.error()).c_str());
      }
      return true;
    });
  }

  void consume(const std::stop_token& stop) {
    BlockingClient client(options("consumer"));
    SubscribeOptions subscribe;
    subscribe.credit_messages = 20;
    Reply<BlockingSubscription> subscription = client.subscribe(kGroup, subscribe);
    ASSERT_TRUE(subscription) << to_string(subscription.error());
    while (!stop.stop_requested()) {
      Reply<Delivery> delivery = subscription->next(std::chrono::milliseconds(20));
      if (delivery) {
        handle(*delivery);
      } else {
        ASSERT_EQ(delivery.error().code, Errc::kTimedOut) << to_string(delivery.error());
      }
      note_confirmed(false);
    }
    note_confirmed(true);
    EXPECT_TRUE(subscription->close());
    EXPECT_TRUE(client.close());
  }

  /// The person: gives back once what a redrive can heal.
  void repair(const std::stop_token& stop) {
    BlockingClient client(options("repair"));
    while (!stop.stop_requested()) {
      RedriveRequest request;
      request.selection.group = kGroup;
      request.by = "test";
      for (const DeadLetterSummary& letter : dead_letters(client)) {
        if (letter.state == DeadLetterState::kDead && letter.redrives < 2) {
          request.selection.ids.push_back(letter.id);
        }
      }
      if (!request.selection.ids.empty()) {
        // A lost connection leaves the outcome unknown; asking again skips what was done (D16).
        ignore_error(client.request(request), "repeated with the next look");
      }
      ledger_.progress();
    }
  }

  static std::vector<DeadLetterSummary> dead_letters(BlockingClient& client) {
    std::vector<DeadLetterSummary> all;
    ListDeadLettersRequest request;
    request.selection.group = kGroup;
    request.limit = 50;
    for (;;) {
      Reply<ListDeadLettersReply> page = client.request(request);
      if (!page) return all;
      for (DeadLetterSummary& letter : page->dead_letters) all.push_back(std::move(letter));
      if (!page->more) return all;
      request.after = all.back().id;
    }
  }

  void restart() {
    broker_.kill();
    ASSERT_TRUE(broker_.start()) << broker_.log();
    ASSERT_EQ(broker_.address(), address_);
  }

  void wait_until_all_is_settled() {
    BlockingClient client(options("observer"));
    auto store = SqliteStore::open(app_.path());
    ASSERT_TRUE(store);
    // Leases whose push was lost with a killed broker wait ten seconds for their instance (D5).
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(90);
    while (std::chrono::steady_clock::now() < deadline) {
      std::map<int, Seen> seen = ledger_.seen();
      Reply<OutboxStatus> outbox = (*store)->status();
      bool relayed = outbox && outbox->lanes.at(0).pending == 0;
      std::size_t dead = 0;
      for (const DeadLetterSummary& letter : dead_letters(client)) {
        if (letter.state == DeadLetterState::kDead && letter.redrives >= 2) ++dead;
      }
      std::size_t acked = 0;
      for (const auto& [number, s] : seen) acked += s.ack_confirmed ? 1 : 0;
      if (relayed && acked + dead == static_cast<std::size_t>(app_.written())) return;
      ledger_.wait_for_progress(5);
    }
    FAIL() << "not everything was settled" << accounting(client);
  }

  static std::string accounting(BlockingClient& client) {
    std::string text;
    Reply<DescribeGroupReply> group = client.request(DescribeGroupRequest{kGroup});
    if (!group) return to_string(group.error());
    for (const GroupPartitionStatus& partition : group->partitions) {
      const Accounting& a = partition.accounting;
      text += "\n  partition " + std::to_string(partition.partition.value) + ": done " +
              std::to_string(a.done) + ", ready " + std::to_string(a.ready) + ", leased " +
              std::to_string(a.leased) + ", delayed " + std::to_string(a.delayed) + ", dead " +
              std::to_string(a.dead) + ", waits for " + std::string(name(partition.waiting));
    }
    return text;
  }

  /// Every record of the log, read one by one.
  std::map<std::pair<PartitionIndex, Offset>, int> read_log() {
    std::map<std::pair<PartitionIndex, Offset>, int> records;
    BlockingClient client(options("reader"));
    Reply<TopicInfo> topic = client.find_topic(kTopic);
    EXPECT_TRUE(topic);
    for (std::uint32_t p = 0; p < kPartitions; ++p) {
      ReadRequest request;
      request.topic = topic->id;
      request.partition = {p};
      for (;;) {
        Reply<ReadReply> part = client.request(request);
        if (!part) {
          ADD_FAILURE() << to_string(part.error());
          return records;
        }
        for (const SharedBytes& batch : part->batches) {
          auto reader = BatchReader::open(batch.view());
          EXPECT_TRUE(reader);
          EXPECT_TRUE(check_batch_crc(batch.view()));
          Result<void> read = reader->for_each([&](const RecordView& record) {
            if (record.offset < request.from) return true;
            EXPECT_EQ(record.offset, request.from) << "a gap in the log";
            std::string value(as_text(*record.value));
            records[{request.partition, record.offset}] = std::stoi(value.substr(6));
            request.from = record.offset + 1;
            return true;
          });
          EXPECT_TRUE(read);
        }
        if (request.from >= part->end) break;
      }
    }
    return records;
  }

  /// It was flushed and checkpointed, the journal was released, and no kill left anything behind.
  void check_files() {
    std::map<std::string, int> count;
    const std::filesystem::path data = directory_.path() / "data";
    for (const auto& file : std::filesystem::recursive_directory_iterator(data)) {
      if (file.is_regular_file()) ++count[file.path().extension()];
      if (file.path().parent_path().filename() == "quarantine") ++count["quarantine"];
    }
    EXPECT_GT(count[".wbs"], 2);
    EXPECT_GE(count[".wbc"], 2) << "a checkpoint for each shard";
    EXPECT_LE(count[".wbc"], 4) << "and perhaps the one before";
    EXPECT_LE(count[".wbj"], 12) << "the journal is bounded";
    EXPECT_EQ(count["quarantine"], 0) << "moved aside";
  }

  TempDirectory directory_;
  BrokerProcess broker_;
  std::string address_;
  Application app_;
  Ledger ledger_;
  std::vector<std::pair<int, std::future<Reply<void>>>> waiting_;  ///< the consumer thread's
};

TEST_P(KillTest, NothingIsLostDoubledOrChargedWhenTheBrokerIsKilled) {
  std::uint64_t seed = system_seed();
  std::printf("seed %llu, %s\n", static_cast<unsigned long long>(seed), GetParam());
  SeededRandom random(seed);
  ASSERT_TRUE(broker_.start()) << broker_.log();
  address_ = broker_.address();
  create_topic_and_group();
  if (HasFatalFailure()) return;

  std::jthread relaying([this](const std::stop_token& stop) { relay(stop); });
  std::jthread consuming([this](const std::stop_token& stop) { consume(stop); });
  std::jthread repairing([this](const std::stop_token& stop) { repair(stop); });
  for (int kill = 0; kill < kKills && !HasFatalFailure(); ++kill) {
    app_.write(kRowsPerKill);
    ledger_.wait_for_progress(1 + random.below(60));
    restart();
  }
  app_.write(kRowsPerKill);
  wait_until_all_is_settled();
  for (std::jthread* actor : {&repairing, &consuming, &relaying}) {
    actor->request_stop();
    actor->join();
  }

  // Every committed row is in the log exactly once, nothing else is.
  std::map<std::pair<PartitionIndex, Offset>, int> log = read_log();
  std::map<int, int> copies;
  for (const auto& [place, number] : log) ++copies[number];
  EXPECT_EQ(log.size(), static_cast<std::size_t>(app_.written()));
  for (int number = 0; number < app_.written(); ++number) {
    EXPECT_EQ(copies[number], 1) << "order " << number;
  }
  // Every message ended once: acknowledged, or one dead letter with its own offset.
  BlockingClient client(options("observer"));
  std::map<std::pair<PartitionIndex, Offset>, DeadLetterSummary> dead;
  for (const DeadLetterSummary& letter : dead_letters(client)) {
    bool inserted = dead.try_emplace({letter.id.partition, letter.offset}, letter).second;
    EXPECT_TRUE(inserted) << "two dead letters for one message";
  }
  std::map<int, Seen> seen = ledger_.seen();
  for (const auto& [place, number] : log) {
    const Seen& s = seen[number];
    EXPECT_EQ((std::pair{s.partition, s.offset}), place) << "order " << number;
    auto letter = dead.find(place);
    bool is_dead = letter != dead.end() && letter->second.state == DeadLetterState::kDead;
    EXPECT_NE(s.ack_confirmed, is_dead) << "order " << number;
    EXPECT_EQ(is_dead, fate_of(number) == Fate::kInvalidForEver) << "order " << number;
    bool died = fate_of(number) != Fate::kAck && fate_of(number) != Fate::kFailOnce;
    EXPECT_EQ(letter != dead.end(), died) << "order " << number;
  }
  EXPECT_EQ(broker_.stop(), 0) << broker_.log();
  check_files();
}

INSTANTIATE_TEST_SUITE_P(Engines, KillTest, testing::Values("uring", "pool"),
                         [](const auto& engine) { return std::string(engine.param); });

}  // namespace
}  // namespace waybill

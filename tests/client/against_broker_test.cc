// Goal: client and broker mean the same by every promise, over a restart of the broker too. Method:
// the real broker inside this process on a free port and a fresh data directory; waits are for
// answers, never for time.

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>

#include "broker/server/server.h"
#include "client/blocking_client.h"
#include "client/process.h"
#include "protocol/record/partitioner.h"
#include "protocol/record/record_batch.h"

namespace waybill {
namespace {

using asio::use_future;
using std::chrono::milliseconds;
using std::chrono::seconds;

Message numbered(int number, std::optional<std::string> key = {}) {
  Message message;
  message.value = to_vector(as_bytes(std::to_string(number)));
  if (key) message.key = to_vector(as_bytes(*key));
  return message;
}
int number_of(const Delivery& delivery) {
  return std::stoi(std::string(as_text(*delivery.message().value)));
}

class AgainstBroker : public testing::Test {
 protected:
  AgainstBroker() {
    directory_ =
        std::filesystem::temp_directory_path() / ("waybill-client-" + std::to_string(::getpid()));
    std::filesystem::remove_all(directory_);
    start();
    ClientOptions options;
    options.endpoints = {"127.0.0.1:" + std::to_string(port_)};
    client_.emplace(options);
  }
  ~AgainstBroker() override {
    client_.reset();
    server_.reset();
    std::filesystem::remove_all(directory_);
  }
  void start() {
    Config config;
    config.data_directory = directory_;
    config.listen.port = port_;
    config.http.reset();
    config.shards = 2;
    config.journal_file_size = 9 * 1024 * 1024;
    config.log_level = LogLevel::kOff;
    server_.emplace(config);
    server_->start();
    port_ = server_->port();
  }
  void restart() {
    server_.reset();
    start();
  }

  void create(std::uint32_t partitions, std::uint32_t max_failures = 8,
              Ordering ordering = Ordering::kNone) {
    Reply<CreateTopicReply> topic = client_->create_topic("orders", partitions);
    ASSERT_TRUE(topic.ok()) << to_string(topic.error());
    CreateGroupRequest group;
    group.name = "billing";
    group.topic = "orders";
    group.policy.ordering = ordering;
    group.policy.max_failures = max_failures;
    group.policy.backoff = {BackoffKind::kFixed, milliseconds(10), 1.0, milliseconds(10),
                            Jitter::kNone};
    group.start.kind = StartKind::kEarliest;
    Reply<CreateGroupReply> made = client_->ensure_group(group);
    ASSERT_TRUE(made.ok()) << to_string(made.error());
  }
  void publish(int count) {
    std::vector<Message> messages;
    for (int i = 0; i < count; ++i) messages.push_back(numbered(i, std::to_string(i % 7)));
    for (const auto& receipt : client_->publish_all("orders", std::move(messages))) {
      ASSERT_TRUE(receipt.ok()) << to_string(receipt.error());
    }
  }
  Accounting accounting() {
    Reply<DescribeGroupReply> group = client_->request(DescribeGroupRequest{"billing"});
    Accounting sum;
    if (!group) return sum;
    for (const GroupPartitionStatus& partition : group->partitions) {
      sum.done += partition.accounting.done;
      sum.dead += partition.accounting.dead;
      sum.leased += partition.accounting.leased;
    }
    return sum;
  }

  std::filesystem::path directory_;
  std::uint16_t port_ = 0;
  std::optional<Server> server_;
  std::optional<BlockingClient> client_;
};

TEST_F(AgainstBroker, ConsumesEveryMessageOnce) {
  create(4);
  publish(300);
  std::set<int> seen;
  Reply<void> consumed = client_->consume("billing", [&](Delivery& delivery) {
    EXPECT_TRUE(seen.insert(number_of(delivery)).second);
    EXPECT_EQ(delivery.partition(), partition_for_key(*delivery.message().key, 4));
    delivery.ack();
    return seen.size() < 300 ? Continue::kYes : Continue::kNo;
  });
  ASSERT_TRUE(consumed.ok()) << to_string(consumed.error());
  EXPECT_EQ(accounting().done, 300);
}

TEST_F(AgainstBroker, ProcessesWithManyHandlers) {
  create(3);
  publish(500);
  std::mutex mutex;
  std::multiset<int> seen;
  std::promise<void> all;
  asio::thread_pool pool(4);
  Processor processor = process(client_->async(), "billing", pool.get_executor(),
                                [&](const Delivery& delivery) {
                                  std::lock_guard lock(mutex);
                                  seen.insert(number_of(delivery));
                                  if (seen.size() == 500) all.set_value();
                                  return HandlerResult::ack();
                                },
                                {.concurrency = 4});
  all.get_future().wait();
  processor.stop();
  EXPECT_TRUE(processor.async_wait(use_future).get().ok());
  pool.join();
  EXPECT_EQ(std::set(seen.begin(), seen.end()).size(), 500);
  EXPECT_EQ(accounting().done, 500);
}

TEST_F(AgainstBroker, TurnsFailuresIntoADeadLetterAndTakesItBack) {
  create(1, 3);
  publish(1);
  Reply<BlockingSubscription> made = client_->subscribe("billing");
  ASSERT_TRUE(made.ok());
  BlockingSubscription& subscription = *made;
  for (std::uint32_t attempt = 1; attempt <= 3; ++attempt) {
    Reply<Delivery> delivery = subscription.next(seconds(20));
    ASSERT_TRUE(delivery.ok()) << to_string(delivery.error());
    EXPECT_EQ(delivery->number(), attempt);
    EXPECT_EQ(delivery->failures(), attempt - 1);
    SettleOptions retry{SettleVerb::kRetry, {FailureClass::kFailed, "unpaid", "card"}, {}};
    ASSERT_TRUE(delivery->async_settle(retry, use_future).get().ok());
  }
  ListDeadLettersRequest list;
  list.selection.group = "billing";
  Reply<ListDeadLettersReply> dead = client_->request(list);
  ASSERT_TRUE(dead.ok()) << to_string(dead.error());
  ASSERT_EQ(dead->dead_letters.size(), 1);
  EXPECT_EQ(dead->dead_letters[0].last_failure.code, "unpaid");

  RedriveRequest redrive;
  redrive.selection.group = "billing";
  ASSERT_TRUE(client_->request(redrive).ok());
  Reply<Delivery> again = subscription.next(seconds(20));
  ASSERT_TRUE(again.ok()) << to_string(again.error());
  EXPECT_EQ(again->redrive(), 1);
  ASSERT_TRUE(again->async_settle({}, use_future).get().ok());
  EXPECT_EQ(accounting().done, 1);
}

/// Forty messages of four keys in one batch of each codec; one fails twice, one dies.
class CompressedBatches : public AgainstBroker, public testing::WithParamInterface<Codec> {
 protected:
  static constexpr int kMessages = 40;
  static constexpr int kFailing = 13;
  static constexpr int kDying = 22;

  void publish_compressed() {
    ClientOptions options;
    options.endpoints = {"127.0.0.1:" + std::to_string(port_)};
    options.compression = GetParam();
    BlockingClient publisher(options);
    std::vector<Message> messages;
    for (int i = 0; i < kMessages; ++i) {
      messages.push_back(numbered(i, std::to_string(i % 4)));
      messages.back().headers = {{"of", to_vector(as_bytes(std::string(200, 'h')))}};
    }
    for (const auto& receipt : publisher.publish_all({"orders", PartitionIndex{0}}, messages)) {
      ASSERT_TRUE(receipt.ok()) << to_string(receipt.error());
    }
  }
  /// The codecs of what the log holds.
  std::set<Codec> stored() {
    Reply<TopicInfo> topic = client_->find_topic("orders");
    EXPECT_TRUE(topic.ok());
    ReadRequest read;
    read.topic = topic->id;
    read.partition = PartitionIndex{0};
    read.max_bytes = 1024 * 1024;
    Reply<ReadReply> answer = client_->request(read);
    EXPECT_TRUE(answer.ok()) << to_string(answer.error());
    std::set<Codec> codecs;
    for (const SharedBytes& batch : answer->batches) {
      Result<BatchHeader> header = parse_batch_header(batch.view());
      EXPECT_TRUE(header.ok());
      codecs.insert(header->codec);
    }
    return codecs;
  }
};

TEST_P(CompressedBatches, AreStoredAsSentAndDeliveredByKeyRecordByRecord) {
  create(1, 8, Ordering::kKey);
  publish_compressed();
  EXPECT_EQ(stored(), std::set{GetParam()});

  std::vector<int> done;
  int failures = 0;
  Reply<void> consumed = client_->consume("billing", [&](Delivery& delivery) {
    int number = number_of(delivery);
    EXPECT_EQ(delivery.message().headers.size(), 1u);
    if (number == kFailing && delivery.failures() < 2) {
      ++failures;
      delivery.retry({FailureClass::kFailed, "again", ""});
      return Continue::kYes;
    }
    done.push_back(number);
    if (number == kDying) {
      delivery.dead_letter({FailureClass::kInvalid, "bad", ""});
    } else {
      delivery.ack();
    }
    return done.size() < kMessages ? Continue::kYes : Continue::kNo;
  });
  ASSERT_TRUE(consumed.ok()) << to_string(consumed.error());
  EXPECT_EQ(failures, 2);
  for (int key = 0; key < 4; ++key) {
    std::vector<int> of_key;
    std::ranges::copy_if(done, std::back_inserter(of_key), [&](int n) { return n % 4 == key; });
    EXPECT_EQ(of_key.size(), kMessages / 4u);
    EXPECT_TRUE(std::ranges::is_sorted(of_key)) << "the order of key " << key;
  }
  EXPECT_EQ(accounting().done, kMessages - 1);
  EXPECT_EQ(accounting().dead, 1);
}

INSTANTIATE_TEST_SUITE_P(Codecs, CompressedBatches,
                         testing::Values(Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd),
                         [](const auto& codec) { return std::string(name(codec.param)); });

TEST_F(AgainstBroker, GoesOnAfterTheBrokerRestarts_D5) {
  create(1);
  publish(2);
  Reply<BlockingSubscription> made = client_->subscribe("billing");
  ASSERT_TRUE(made.ok());
  Reply<Delivery> held = made->next(seconds(20));
  ASSERT_TRUE(held.ok());
  restart();

  Reply<PublishReceipt> receipt = client_->publish("orders", numbered(2));
  ASSERT_TRUE(receipt.ok()) << to_string(receipt.error());
  EXPECT_EQ(receipt->offset, Offset{2});
  Reply<void> settled = held->async_settle({}, use_future).get();
  EXPECT_TRUE(settled.ok()) << to_string(settled.error());
  for (int expected : {1, 2}) {
    Reply<Delivery> next = made->next(seconds(20));
    ASSERT_TRUE(next.ok()) << to_string(next.error());
    EXPECT_EQ(number_of(*next), expected);
    EXPECT_EQ(next->number(), 1) << "the lease came back, nothing was delivered twice";
    ASSERT_TRUE(next->async_settle({}, use_future).get().ok());
  }
  EXPECT_EQ(accounting().done, 3);
}

}  // namespace
}  // namespace waybill

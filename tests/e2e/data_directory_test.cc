// Goal: a data directory that cannot be used is explained; one that runs full pushes publishers
// back and lets everything else go on, until there is room again. Method: the real waybilld, as an
// ordinary user where permissions matter, and on a small file system of its own. (A directory in
// use by another broker: server_test.)
#include <boost/asio/use_future.hpp>
#include <future>

#include "tests/broker/server/raw_client.h"
#include "tests/e2e/bystander.h"
#include "tests/e2e/program.h"
#include "tests/e2e/small_file_system.h"

namespace waybill {
namespace {

Words waybilld_on(const std::filesystem::path& data) {
  return {"waybilld", "--data", data.string(), "--listen", "127.0.0.1:0", "--http", "off"};
}

TEST(DataDirectoryOnDisk, AnUnwritableOneIsExplainedToAnOrdinaryUser) {
  TempDirectory directory;
  const bool root = ::geteuid() == 0;
  std::filesystem::permissions(directory.path(), std::filesystem::perms(0555));
  for (const std::filesystem::path& data : {directory.path(), directory.path() / "below"}) {
    Finished end = run(waybilld_on(data), {.ordinary_user = root});
    EXPECT_EQ(end.exit_code, 3) << end;
    EXPECT_TRUE(end.err.contains(data.string())) << end;
    EXPECT_TRUE(end.err.contains("ermission denied")) << end;
  }
  std::filesystem::permissions(directory.path(), std::filesystem::perms(0755));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path())) << "nothing is left behind";
}

void write_file(const std::filesystem::path& path, std::size_t mebibytes) {
  std::ofstream file(path, std::ios::binary);
  std::string block(1024 * 1024, 'x');
  for (std::size_t i = 0; i < mebibytes; ++i) file << block;
}

/// Takes all room that is left on the file system, to the last block.
void fill_up(const std::filesystem::path& path) {
  std::ofstream file(path, std::ios::binary);
  for (const std::size_t size : {std::size_t{1024} * 1024, std::size_t{4096}}) {
    const std::string block(size, 'x');
    while (file << block << std::flush) continue;
    file.clear();
  }
}

/// Publishes until one is refused for good, and says why; nothing if all were taken.
std::optional<RequestError> publish_up_to(RawClient& client, TopicId topic, int count,
                                          std::int64_t& published) {
  while (count > 0) {
    Reply<PublishReply> reply = client.ask(publish_to(topic, batch_of(100'000)));
    if (!reply) return reply.error();
    const Reply<PublishResult>& part = reply->parts.at(0);
    // "Overloaded" is only said while the next journal file is being prepared.
    if (!part && part.error() != Errc::kOverloaded) return part.error();
    if (!part) continue;
    ++published;
    --count;
  }
  return std::nullopt;
}

GroupPartitionStatus status_of(BlockingClient& client, const std::string& group) {
  Reply<DescribeGroupReply> reply = client.request(DescribeGroupRequest{group});
  EXPECT_TRUE(reply.ok()) << to_string(reply.error());
  return reply ? reply->partitions.at(0) : GroupPartitionStatus{};
}

class FullDirectory : public testing::Test {
 protected:
  /// `min_free`: with less free space publishers are pushed back.
  explicit FullDirectory(const std::string& min_free = "18MiB")
      : broker_(broker_on(disk_.path() / "data", {"--shards", "1", "--journal-file-size", "9MiB",
                                                  "--min-free", min_free})) {}
  void SetUp() override {
    if (!disk_.mounted()) GTEST_SKIP() << "a small file system can only be mounted by root here";
    write_file(disk_.path() / "filler", 27);
    ASSERT_TRUE(broker_.start());
    client_.emplace(client_of(broker_));
    Reply<CreateTopicReply> topic = client_->create_topic("orders");
    ASSERT_TRUE(topic.ok());
    topic_ = topic->topic.id;
    CreateGroupRequest group;
    group.name = "billing";
    group.topic = "orders";
    group.policy.ordering = Ordering::kNone;
    group.start.kind = StartKind::kEarliest;
    ASSERT_TRUE(client_->ensure_group(group).ok());
    raw_.emplace(broker_.port());
    ASSERT_TRUE(raw_->hello().ok());
  }

  /// So many deliveries, which the group's consumer holds.
  std::vector<Delivery> take(BlockingSubscription& subscription, std::size_t count) {
    std::vector<Delivery> taken;
    while (taken.size() < count) {
      Reply<Delivery> next = subscription.next(std::chrono::seconds(30));
      EXPECT_TRUE(next.ok()) << to_string(next.error());
      if (!next) break;
      taken.push_back(std::move(*next));
    }
    return taken;
  }

  /// Until a publish is taken again; what refused the last, if none is.
  std::optional<RequestError> publish_once_there_is_room() {
    std::optional<RequestError> refused;
    for (int i = 0; i < 600; ++i) {
      refused = publish_up_to(*raw_, topic_, 1, published_);
      if (!refused) break;
      let_time_pass();
    }
    return refused;
  }

  /// The journal of the stopped broker has no file put by, and there is no room for another.
  void fill_up_beside_the_journal(const std::string& name) {
    for (const auto& file :
         std::filesystem::directory_iterator(disk_.path() / "data" / "shard-0" / "journal")) {
      if (file.path().filename().string().starts_with("spare-")) std::filesystem::remove(file);
    }
    fill_up(disk_.path() / name);
  }

  /// A pause of the broker's own: a read that waits for what does not come.
  void let_time_pass() {
    ReadRequest read = read_from(topic_, std::chrono::milliseconds(50));
    read.from = Offset{published_};
    EXPECT_TRUE(raw_->ask(read).ok());
  }

  SmallFileSystem disk_{90};
  BrokerProcess broker_;
  std::optional<BlockingClient> client_;
  std::optional<RawClient> raw_;
  TopicId topic_;
  std::int64_t published_ = 0;
};

/// Deliveries taken, one in four of them given up and the others acknowledged: durably.
void settle_all(std::vector<Delivery>& taken) {
  std::vector<std::future<Reply<void>>> settled;
  for (std::size_t i = 0; i < taken.size(); ++i) {
    SettleOptions options;
    if (i % 4 == 0) options.verb = SettleVerb::kDeadLetter;
    if (i % 4 == 0) options.failure = {FailureClass::kInvalid, "bad", "given up"};
    settled.push_back(taken[i].async_settle(options, asio::use_future));
  }
  for (auto& one : settled) {
    Reply<void> outcome = one.get();
    EXPECT_TRUE(outcome.ok()) << to_string(outcome.error());
  }
}

TEST_F(FullDirectory, S21PublishersArePushedBackAndSettlementsGoOnUntilThereIsRoom) {
  constexpr std::size_t kTaken = 8;
  ASSERT_FALSE(publish_up_to(*raw_, topic_, kTaken, published_).has_value());
  Reply<BlockingSubscription> subscription =
      client_->subscribe("billing", {.credit_messages = kTaken});
  ASSERT_TRUE(subscription.ok());
  std::vector<Delivery> taken = take(*subscription, kTaken);
  ASSERT_EQ(taken.size(), kTaken);
  std::optional<RequestError> refused = publish_up_to(*raw_, topic_, 1000, published_);
  ASSERT_TRUE(refused.has_value()) << "100 MB do not fit";
  EXPECT_EQ(refused->code, Errc::kDiskFull) << to_string(*refused);
  EXPECT_TRUE(facts(Errc::kDiskFull).retriable);
  EXPECT_GT(published_, 20);

  // What was handed out is acknowledged and given up, durably; the rest waits and says for what.
  settle_all(taken);
  taken.clear();
  GroupPartitionStatus full = status_of(*client_, "billing");
  EXPECT_EQ(full.accounting.done, kTaken - kTaken / 4);
  EXPECT_EQ(full.accounting.dead, kTaken / 4);
  EXPECT_EQ(full.waiting, Waiting::kDisk);

  // Room again: the broker notices by itself.
  std::filesystem::remove(disk_.path() / "filler");
  refused = publish_once_there_is_room();
  EXPECT_FALSE(refused.has_value()) << to_string(*refused);
  for (std::int64_t left = published_ - static_cast<std::int64_t>(kTaken); left > 0; --left) {
    Reply<Delivery> next = subscription->next(std::chrono::seconds(30));
    ASSERT_TRUE(next.ok()) << to_string(next.error());
    next->ack();
  }
  ASSERT_TRUE(client_->close().ok());
  client_.reset();
  raw_.reset();
  EXPECT_EQ(broker_.stop(), 0) << broker_.log();

  ASSERT_TRUE(broker_.start());
  BlockingClient again(client_of(broker_));
  Accounting after = status_of(again, "billing").accounting;
  EXPECT_EQ(after.end, Offset{published_}) << "everything confirmed is there, nothing else is";
  EXPECT_EQ(after.dead, kTaken / 4);
  EXPECT_EQ(static_cast<std::int64_t>(after.done + after.dead), published_);
}

/// Without a watermark, so that the disk is full before anybody is pushed back.
class QuiteFullDirectory : public FullDirectory {
 protected:
  QuiteFullDirectory() : FullDirectory("0") {}
};

TEST_F(QuiteFullDirectory, S21WhenSomethingElseFillsTheDiskTheReservePutsAwayWhatWasPublished) {
  constexpr std::size_t kTaken = 40;
  ASSERT_FALSE(publish_up_to(*raw_, topic_, kTaken, published_).has_value());
  Reply<BlockingSubscription> subscription =
      client_->subscribe("billing", {.credit_messages = kTaken});
  ASSERT_TRUE(subscription.ok());
  std::vector<Delivery> taken = take(*subscription, kTaken);
  ASSERT_EQ(taken.size(), kTaken);
  const std::filesystem::path reserve = disk_.path() / "data" / "shard-0" / "reserve";
  ASSERT_EQ(std::filesystem::file_size(reserve), 18U * 1024 * 1024);
  fill_up(disk_.path() / "neighbour");
  std::optional<RequestError> refused = publish_up_to(*raw_, topic_, 1000, published_);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->code, Errc::kDiskFull) << to_string(*refused);
  for (int i = 0; i < 600 && !broker_.log().contains("disk.full"); ++i) let_time_pass();
  EXPECT_FALSE(std::filesystem::exists(reserve)) << broker_.log();
  settle_all(taken);
  taken.clear();
  EXPECT_EQ(status_of(*client_, "billing").accounting.dead, kTaken / 4);

  std::filesystem::remove(disk_.path() / "neighbour");
  std::filesystem::remove(disk_.path() / "filler");
  refused = publish_once_there_is_room();
  EXPECT_FALSE(refused.has_value()) << to_string(*refused);
  EXPECT_TRUE(std::filesystem::exists(reserve)) << "it was rebuilt first";
  EXPECT_TRUE(broker_.log().contains("disk.room_again")) << broker_.log();
  taken = take(*subscription, static_cast<std::size_t>(published_) - kTaken);
  for (Delivery& one : taken) one.ack();
  taken.clear();
  ASSERT_TRUE(client_->close().ok());
  client_.reset();
  raw_.reset();
  EXPECT_EQ(broker_.stop(), 0) << broker_.log();

  ASSERT_TRUE(broker_.start());
  BlockingClient again(client_of(broker_));
  Accounting after = status_of(again, "billing").accounting;
  EXPECT_EQ(after.end, Offset{published_}) << "everything confirmed is there, nothing else is";
  EXPECT_EQ(after.dead, kTaken / 4);
  EXPECT_EQ(static_cast<std::int64_t>(after.done + after.dead), published_);
}

TEST_F(FullDirectory, ABrokerKilledOnAFullDiskAsksForRoomAndThenHasEverything) {
  ASSERT_TRUE(publish_up_to(*raw_, topic_, 1000, published_).has_value());
  client_.reset();
  raw_.reset();
  broker_.kill();
  // A start may find room in what the last checkpoint had made worthless; the next does not.
  int code = -1;
  int starts = 0;
  while (code < 0 && starts < 4) {
    fill_up_beside_the_journal(std::to_string(starts++));
    code = broker_.start_and_fail();
  }
  EXPECT_EQ(code, 3) << broker_.log();
  EXPECT_TRUE(broker_.log().contains("free some space")) << broker_.log();
  while (starts > 0) std::filesystem::remove(disk_.path() / std::to_string(--starts));
  std::filesystem::remove(disk_.path() / "filler");
  ASSERT_TRUE(broker_.start());
  BlockingClient again(client_of(broker_));
  EXPECT_EQ(status_of(again, "billing").accounting.end, Offset{published_});
}

TEST(NewDataDirectory, TheFirstPublishIsTakenAndTheIdleBrokerIsSmall) {
  TempDirectory directory;
  BrokerProcess::Options options = broker_on(directory.path() / "data");
  options.patience = std::chrono::seconds(10);
  BrokerProcess broker(options);
  ASSERT_TRUE(broker.start());
  {
    Bystander first(broker);
    first.expect_served("right after the start");
  }
  if (!kMemoryIsTheProgramsOwn) GTEST_SKIP() << "a sanitizer's memory counts too";
  EXPECT_LT(resident_kib(broker.pid()), 60U * 1024) << "KiB in memory";
}

}  // namespace
}  // namespace waybill

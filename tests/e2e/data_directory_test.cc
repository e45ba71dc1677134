// Goal: a data directory that cannot be used is explained; one that runs full pushes publishers
// back and lets everything else go on, until there is room again. Method: the real waybilld, as an
// ordinary user where permissions matter, and on a small file system of its own. (A directory in
// use by another broker: server_test.)
#include <sched.h>
#include <sys/mount.h>

#include "tests/broker/server/raw_client.h"
#include "tests/e2e/bystander.h"
#include "tests/e2e/program.h"

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

/// A file system of this thread's own, and of the processes it starts: gone with the test program.
class SmallFileSystem {
 public:
  explicit SmallFileSystem(std::size_t mebibytes) {
    std::string size = "size=" + std::to_string(mebibytes) + "m";
    mounted_ = unshare(CLONE_NEWNS) == 0 &&
               mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               mount("none", path().c_str(), "tmpfs", 0, size.c_str()) == 0;
  }
  ~SmallFileSystem() {
    if (mounted_) umount2(path().c_str(), MNT_DETACH);
  }
  SmallFileSystem(const SmallFileSystem&) = delete;
  SmallFileSystem& operator=(const SmallFileSystem&) = delete;
  [[nodiscard]] bool mounted() const { return mounted_; }
  [[nodiscard]] const std::filesystem::path& path() const { return directory_.path(); }

 private:
  TempDirectory directory_;
  bool mounted_ = false;
};

void write_file(const std::filesystem::path& path, std::size_t mebibytes) {
  std::ofstream file(path, std::ios::binary);
  std::string block(1024 * 1024, 'x');
  for (std::size_t i = 0; i < mebibytes; ++i) file << block;
}

/// Publishes until one is refused, and says why; nothing if all were taken.
std::optional<RequestError> publish_up_to(RawClient& client, TopicId topic, int count,
                                          std::int64_t& published) {
  for (int i = 0; i < count; ++i) {
    Reply<PublishReply> reply = client.ask(publish_to(topic, batch_of(100'000)));
    if (!reply) return reply.error();
    if (!reply->parts.at(0)) return reply->parts[0].error();
    ++published;
  }
  return std::nullopt;
}

Accounting accounting_of(BlockingClient& client, const std::string& group) {
  Reply<DescribeGroupReply> reply = client.request(DescribeGroupRequest{group});
  EXPECT_TRUE(reply.ok()) << to_string(reply.error());
  return reply ? reply->partitions.at(0).accounting : Accounting{};
}

class FullDirectory : public testing::Test {
 protected:
  FullDirectory()
      : broker_(
            broker_on(disk_.path() / "data", {"--shards", "1", "--journal-file-size", "1MiB"})) {}
  void SetUp() override {
    if (!disk_.mounted()) GTEST_SKIP() << "a small file system can only be mounted by root here";
    write_file(disk_.path() / "filler", 8);
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

  /// A pause of the broker's own: a read that waits for what does not come.
  void let_time_pass() {
    ReadRequest read = read_from(topic_, std::chrono::milliseconds(50));
    read.from = Offset{published_};
    EXPECT_TRUE(raw_->ask(read).ok());
  }

  SmallFileSystem disk_{24};
  BrokerProcess broker_;
  std::optional<BlockingClient> client_;
  std::optional<RawClient> raw_;
  TopicId topic_;
  std::int64_t published_ = 0;
};

TEST_F(FullDirectory, S21PublishersArePushedBackAndSettlementsGoOnUntilThereIsRoom) {
  std::optional<RequestError> refused = publish_up_to(*raw_, topic_, 1000, published_);
  ASSERT_TRUE(refused.has_value()) << "100 MB do not fit";
  EXPECT_EQ(refused->code, Errc::kDiskFull) << to_string(*refused);
  EXPECT_TRUE(facts(Errc::kDiskFull).retriable);
  EXPECT_GT(published_, 10);

  // What is there is still delivered, acknowledged, failed and given up.
  int handled = 0;
  ConsumeOptions options;
  options.idle_timeout = std::chrono::seconds(10);
  Reply<void> consumed = client_->consume(
      "billing",
      [&](Delivery& delivery) {
        ++handled;
        if (handled % 10 == 0) {
          delivery.dead_letter({FailureClass::kInvalid, "bad", "does not fit"});
        } else {
          delivery.ack();
        }
        return handled == published_ ? Continue::kNo : Continue::kYes;
      },
      options);
  ASSERT_TRUE(consumed.ok()) << to_string(consumed.error());
  Accounting settled = accounting_of(*client_, "billing");
  EXPECT_EQ(static_cast<std::int64_t>(settled.done + settled.dead), published_);
  EXPECT_GT(settled.done, 0U);
  EXPECT_GT(settled.dead, 0U);

  // Room again: the broker notices by itself.
  std::filesystem::remove(disk_.path() / "filler");
  for (int i = 0; i < 600 && refused; ++i) {
    let_time_pass();
    refused = publish_up_to(*raw_, topic_, 1, published_);
  }
  EXPECT_FALSE(refused.has_value()) << to_string(*refused);

  client_.reset();
  raw_.reset();
  EXPECT_EQ(broker_.stop(), 0) << broker_.log();
  ASSERT_TRUE(broker_.start());
  BlockingClient again(client_of(broker_));
  Accounting after = accounting_of(again, "billing");
  EXPECT_EQ(after.end, Offset{published_}) << "everything confirmed is there, nothing else is";
  EXPECT_EQ(after.done, settled.done);
  EXPECT_EQ(after.dead, settled.dead);
}

TEST_F(FullDirectory, ABrokerThatIsKilledOnAFullDiskStartsAgain) {
  ASSERT_TRUE(publish_up_to(*raw_, topic_, 1000, published_).has_value());
  client_.reset();
  raw_.reset();
  broker_.kill();
  ASSERT_TRUE(broker_.start());
  BlockingClient again(client_of(broker_));
  EXPECT_EQ(accounting_of(again, "billing").end, Offset{published_});
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

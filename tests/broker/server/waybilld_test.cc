// Goal: the program starts, stops, refuses and recovers as its --help says.
// Method: the real waybilld as a child process; exit codes and what it wrote are compared.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/broker/server/raw_client.h"
#include "tests/support/broker_process.h"

namespace waybill {
namespace {

const std::vector<std::string> kSmall{"--shards", "2", "--journal-file-size", "9MiB"};

class WaybilldTest : public testing::Test {
 protected:
  static BrokerProcess::Options options(const std::filesystem::path& data,
                                        std::vector<std::string> arguments = kSmall) {
    return {.data_directory = data, .arguments = std::move(arguments), .program = {}};
  }

  TempDirectory temp_;
};

std::int64_t published_end(std::uint16_t port, TopicId topic) {
  RawClient client(port);
  EXPECT_TRUE(client.hello().ok());
  Reply<ReadReply> read = client.ask(read_from(topic));
  EXPECT_TRUE(read.ok()) << to_string(read.error());
  return read ? read->end.value : -1;
}

TopicId publish_one(std::uint16_t port) {
  RawClient client(port);
  EXPECT_TRUE(client.hello().ok());
  auto topic = client.ask(CreateTopicRequest{"t", 1});
  EXPECT_TRUE(topic.ok()) << to_string(topic.error());
  auto published = client.ask(publish_to(topic->topic.id, batch_of(100)));
  EXPECT_TRUE(published.ok() && published->parts.at(0).ok());
  return topic->topic.id;
}

TEST_F(WaybilldTest, SigtermStopsCleanlyAndARestartHasEverything) {
  BrokerProcess broker(options(temp_.path()));
  ASSERT_TRUE(broker.start());
  TopicId topic = publish_one(broker.port());
  EXPECT_EQ(broker.stop(), 0);
  EXPECT_NE(broker.log().find("broker.stopped clean=true"), std::string::npos) << broker.log();
  ASSERT_TRUE(broker.start());
  EXPECT_EQ(published_end(broker.port(), topic), 1);
  broker.signal(SIGINT);
  EXPECT_EQ(broker.wait(), 0);
}

TEST_F(WaybilldTest, AfterKillNineEverythingConfirmedIsThere) {
  BrokerProcess broker(options(temp_.path()));
  ASSERT_TRUE(broker.start());
  TopicId topic = publish_one(broker.port());
  broker.kill();
  ASSERT_TRUE(broker.start());
  EXPECT_EQ(published_end(broker.port(), topic), 1);
}

TEST_F(WaybilldTest, S6ASecondBrokerOnTheSameDirectoryIsRefused) {
  BrokerProcess first(options(temp_.path()));
  ASSERT_TRUE(first.start());
  BrokerProcess second(options(temp_.path()));
  EXPECT_EQ(second.start_and_fail(), 4);
  EXPECT_NE(second.log().find("in use by process " + std::to_string(first.pid())),
            std::string::npos)
      << second.log();
}

TEST_F(WaybilldTest, APortInUseIsRefusedEvenIfItsHolderIsABrokerToo) {
  BrokerProcess first(options(temp_.path() / "a"));
  ASSERT_TRUE(first.start());
  auto arguments = kSmall;
  arguments.insert(arguments.end(), {"--listen", first.address()});
  BrokerProcess second(options(temp_.path() / "b", arguments));
  EXPECT_EQ(second.start_and_fail(), 5);
  EXPECT_NE(second.log().find("another program listens there"), std::string::npos) << second.log();
}

TEST_F(WaybilldTest, AnAddressThatOthersCanReachNeedsAPromise) {
  auto arguments = kSmall;
  arguments.insert(arguments.end(), {"--listen", "0.0.0.0:0"});
  BrokerProcess refused(options(temp_.path(), arguments));
  EXPECT_EQ(refused.start_and_fail(), 2);
  EXPECT_NE(refused.log().find("--allow-unauthenticated"), std::string::npos) << refused.log();
  arguments.emplace_back("--allow-unauthenticated");
  BrokerProcess allowed(options(temp_.path(), arguments));
  EXPECT_TRUE(allowed.start());
}

TEST_F(WaybilldTest, WrongArgumentsAreUsageErrors) {
  for (const char* wrong :
       {"--nonsense", "--disk=tape", "--journal-file-size=1", "--journal-file-size=8MiB",
        "--memory=1MiB", "--memory=much", "--shards=0", "--shards=1000", "--log-level=loud",
        "--listen=nowhere", "--busy-poll=soon", "--busy-poll=-1", "--busy-poll=10001"}) {
    BrokerProcess broker(options(temp_.path(), {wrong}));
    EXPECT_EQ(broker.start_and_fail(), 2) << wrong << broker.log();
  }
}

TEST_F(WaybilldTest, ADamagedSuperblockIsExplained) {
  BrokerProcess broker(options(temp_.path()));
  ASSERT_TRUE(broker.start());
  EXPECT_EQ(broker.stop(), 0);
  std::fstream file(temp_.path() / "superblock", std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(30);
  int byte = file.get();
  file.seekp(30);
  file.put(static_cast<char>(byte ^ 1));  // whatever stands there: its id is random
  file.close();
  EXPECT_EQ(broker.start_and_fail(), 3);
  EXPECT_NE(broker.log().find("is damaged"), std::string::npos) << broker.log();
}

TEST_F(WaybilldTest, AnUnusableDataDirectoryIsExplained) {
  BrokerProcess broker(options("/proc/no/such/place"));
  EXPECT_EQ(broker.start_and_fail(), 3);
  EXPECT_NE(broker.log().find("/proc/no/such/place"), std::string::npos) << broker.log();
}

TEST_F(WaybilldTest, BothEnginesServeTheSameDirectoryInTurn) {
  auto pool = kSmall;
  pool.insert(pool.end(), {"--disk", "pool", "--busy-poll", "0"});
  BrokerProcess on_pool(options(temp_.path(), pool));
  ASSERT_TRUE(on_pool.start());
  TopicId topic = publish_one(on_pool.port());
  EXPECT_EQ(on_pool.stop(), 0);
  BrokerProcess on_auto(options(temp_.path()));
  ASSERT_TRUE(on_auto.start());
  EXPECT_EQ(published_end(on_auto.port(), topic), 1);
}

/// The state of each of its threads that have shards, as ps shows it.
std::string shard_thread_states(pid_t pid) {
  std::string states;
  const std::filesystem::path tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::ifstream file(task.path() / "stat");
    std::string line;
    std::getline(file, line);
    const std::size_t name_end = line.rfind(") ");
    if (line.find("(shards-") == std::string::npos || name_end == std::string::npos) continue;
    states += line.at(name_end + 2);
  }
  return states;
}

TEST_F(WaybilldTest, AThreadThatPollsForMoreWorkSleepsWhenThereIsNone) {
  auto arguments = kSmall;
  arguments.insert(arguments.end(), {"--busy-poll", "10000"});
  BrokerProcess broker(options(temp_.path(), arguments));
  ASSERT_TRUE(broker.start());
  publish_one(broker.port());
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  std::string states;
  auto asleep = [&] { return states.find_first_not_of('S') == std::string::npos; };
  do {
    states = shard_thread_states(broker.pid());
    ASSERT_FALSE(states.empty());
  } while (!asleep() && std::chrono::steady_clock::now() < limit);
  EXPECT_TRUE(asleep()) << states;
}

TEST_F(WaybilldTest, AStartSaysWhatItStandsOnALineEach) {
  auto pool = kSmall;
  pool.insert(pool.end(), {"--disk", "pool"});
  BrokerProcess broker(options(temp_.path(), pool));
  ASSERT_TRUE(broker.start());
  std::istringstream log(broker.log());
  std::set<std::string> said;
  for (std::string line; std::getline(log, line);) {
    if (!line.contains(" costs=\"") || !line.contains(" change=\"")) continue;
    std::istringstream words(line);
    std::string time, level, event;
    words >> time >> level >> event;
    EXPECT_TRUE(said.insert(event).second) << line;
  }
  EXPECT_EQ(said, (std::set<std::string>{"access.users", "disk.engine", "disk.sync", "disk.files",
                                         "limit.memlock", "limit.nofile"}))
      << broker.log();
}

}  // namespace
}  // namespace waybill

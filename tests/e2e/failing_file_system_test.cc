// Goal: when the device below a data directory fails, the broker says so and ends instead of
// hanging or going on; and once the device is repaired, everything that it had acknowledged is
// there. Method: the real waybilld on ext4 on a loop device whose file outgrows the memory it lies
// in. (Such errors at each moment, on a simulated disk: core_test.)
#include "protocol/base/random.h"
#include "tests/broker/server/raw_client.h"
#include "tests/e2e/bystander.h"
#include "tests/e2e/small_file_system.h"

namespace waybill {
namespace {

/// Of its own for each offset: nothing can be taken for another.
std::string value_of(std::int64_t offset) {
  SeededRandom random(static_cast<std::uint64_t>(offset));
  std::string value = std::to_string(offset) + ":";
  while (value.size() < 100'000) value += std::to_string(random.next());
  return value;
}

SharedBytes batch_with(const std::string& value) {
  BatchBuilder builder;
  RecordDraft draft;
  draft.value = as_bytes(value);
  EXPECT_TRUE(builder.add(draft).ok());
  return SharedBytes(builder.build());
}

/// Publishes one after the other until the broker ends; how many it acknowledged.
std::int64_t publish_to_the_end(RawClient& client, TopicId topic, const FailingFileSystem& disk) {
  std::int64_t acknowledged = 0;
  for (;;) {
    Reply<PublishReply> reply = client.ask(publish_to(topic, batch_with(value_of(acknowledged))));
    if (!reply) return acknowledged;
    const Reply<PublishResult>& part = reply->parts.at(0);
    if (part) {
      EXPECT_EQ(part->base_offset, Offset{acknowledged});
      ++acknowledged;
    } else if (part.error() == Errc::kDiskFull) {
      // The device only said that there is no room, which the broker survives: so it gets worse.
      EXPECT_TRUE(disk.shut_down());
      ignore_error(client.ask(CreateTopicRequest{"another", 1}), "the journal is written again");
      return acknowledged;
    } else if (part.error() != Errc::kOverloaded) {  // the next journal file is being prepared
      return acknowledged;
    }
  }
}

/// Reads it all: every message is the one of its offset. How many there are.
std::int64_t read_to_the_end(RawClient& client, TopicId topic) {
  for (ReadRequest read = read_from(topic);;) {
    Reply<ReadReply> reply = client.ask(read);
    EXPECT_TRUE(reply.ok()) << to_string(reply.error());
    if (!reply || reply->batches.empty()) return read.from.value;
    for (const SharedBytes& bytes : reply->batches) {
      Result<BatchReader> batch = BatchReader::open(bytes.view());
      EXPECT_TRUE(batch.ok());
      if (!batch) return read.from.value;
      Result<void> walked = batch->for_each([&](const RecordView& record) {
        EXPECT_EQ(record.offset, read.from) << "each once, in order";
        EXPECT_TRUE(as_text(*record.value) == value_of(read.from.value)) << read.from.value;
        read.from = read.from + 1;
        return true;
      });
      EXPECT_TRUE(walked.ok());
    }
  }
}

TEST(FailingDevice, TheBrokerSaysSoAndEndsAndWhatWasAcknowledgedIsThereOnceItIsRepaired) {
  FailingFileSystem disk({.promised = 256, .there = 96});
  if (!disk.why_not().empty()) GTEST_SKIP() << disk.why_not();
  BrokerProcess::Options options =
      broker_on(disk.path() / "data", {"--shards", "1", "--journal-file-size", "9MiB"});
  options.patience = std::chrono::seconds(20);
  BrokerProcess broker(options);
  ASSERT_TRUE(broker.start());
  TopicId topic;
  std::int64_t acknowledged = 0;
  {
    BlockingClient client(client_of(broker));
    Reply<CreateTopicReply> made = client.create_topic("orders");
    ASSERT_TRUE(made.ok());
    topic = made->topic.id;
    RawClient raw(broker.port());
    ASSERT_TRUE(raw.hello().ok());
    acknowledged = publish_to_the_end(raw, topic, disk);
  }
  EXPECT_EQ(broker.wait(), 1) << broker.log();
  EXPECT_GT(acknowledged, 100);
  const std::string log = broker.log();
  EXPECT_TRUE(log.contains("shard.failed")) << log;
  EXPECT_TRUE(log.contains("nothing acknowledged is lost. Check the disk")) << log;

  ASSERT_TRUE(disk.unmount()) << "nobody holds a file there";
  ASSERT_TRUE(disk.repair(300));
  ASSERT_TRUE(disk.mount_again());
  ASSERT_TRUE(broker.start());
  RawClient raw(broker.port());
  ASSERT_TRUE(raw.hello().ok());
  const std::int64_t there = read_to_the_end(raw, topic);
  EXPECT_GE(there, acknowledged) << "everything confirmed is there";
  EXPECT_LE(there, acknowledged + 1) << "and at most what was not answered any more";
  EXPECT_EQ(broker.stop(), 0) << broker.log();
}

}  // namespace
}  // namespace waybill

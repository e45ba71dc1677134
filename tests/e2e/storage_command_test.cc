// Goal: `waybill storage` tells clean from torn from damaged on a directory that a broker really
// left, names what is lost, and changes nothing. Method: the real waybilld writes and is stopped or
// killed; bytes of its files are changed; the real waybill looks.
#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <sstream>

#include "tests/e2e/bystander.h"
#include "tests/e2e/program.h"

namespace waybill {
namespace {

namespace json = boost::json;

constexpr int kMessages = 5;

class StorageCommand : public testing::Test {
 protected:
  explicit StorageCommand(const char* shards = "1")
      : broker_(broker_on(data(), {"--shards", shards, "--journal-file-size", "9MiB"})) {}

  std::filesystem::path data() const { return directory_.path() / "data"; }
  std::filesystem::path journal_file() const { return data() / "shard-0/journal/000000000001.wbj"; }
  Finished storage(Words rest) {
    rest.insert(rest.begin(), {"waybill", "storage"});
    return run(rest);
  }

  /// A topic and a few messages, each published and confirmed alone.
  void publish() {
    ASSERT_TRUE(broker_.start());
    BlockingClient client = BlockingClient(client_of(broker_));
    ASSERT_TRUE(client.create_topic("orders").ok());
    for (int i = 0; i < kMessages; ++i) {
      Message message;
      message.value = to_vector(as_bytes("message " + std::to_string(i)));
      ASSERT_TRUE(client.publish("orders", message).ok());
    }
  }
  void publish_and_stop() {
    publish();
    ASSERT_EQ(broker_.stop(), 0);
  }

  /// Frames of the first file as `dump` prints them.
  std::vector<json::object> frames() {
    Finished dump = storage({"dump", data().string(), "-o", "jsonl", "--count", "1000"});
    EXPECT_EQ(dump.exit_code, 0) << dump;
    std::vector<json::object> all;
    std::istringstream lines(dump.out);
    for (std::string line; std::getline(lines, line);) {
      json::object object = json::parse(line).as_object();
      if (object["kind"] == "frame") all.push_back(std::move(object));
    }
    return all;
  }
  /// Where the frame lies that holds the n-th append.
  std::uint64_t position_of_append(int number) {
    for (const json::object& frame : frames()) {
      for (const json::value& entry : frame.at("entries").as_array()) {
        if (entry.at("type_name") == "append" && number-- == 0)
          return frame.at("position").to_number<std::uint64_t>();
      }
    }
    ADD_FAILURE() << "there is no such append";
    return 0;
  }
  void damage(std::uint64_t position) {
    std::fstream file(journal_file(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(position));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(position));
    file.put(static_cast<char>(byte ^ 0x10));
  }
  std::string content(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TempDirectory directory_;
  BrokerProcess broker_;
};

TEST_F(StorageCommand, ACleanDirectoryIsCleanAndCounted) {
  publish_and_stop();
  const std::string before = content(journal_file());
  Finished check = storage({"check", data().string()});
  EXPECT_EQ(check.exit_code, 0) << check;
  EXPECT_TRUE(check.out.contains("superblock: broker ")) << check;
  EXPECT_TRUE(check.out.contains("shard 0: clean")) << check;
  EXPECT_TRUE(check.out.contains("5 batches of 5 records in 1 stream")) << check;
  EXPECT_EQ(check.err, "clean\n") << "and no progress on a pipe";
  Finished info = storage({"info", data().string()});
  EXPECT_EQ(info.exit_code, 0) << info;
  EXPECT_TRUE(info.out.contains("shard-0/journal/000000000001.wbj")) << info;
  EXPECT_EQ(info.err, "");
  EXPECT_EQ(content(journal_file()), before);
  ASSERT_TRUE(broker_.start()) << "and the broker is not hindered";
}

TEST_F(StorageCommand, DamageIsNamedByFilePositionAndOffset) {
  publish_and_stop();
  const std::uint64_t position = position_of_append(2);
  damage(position + 200);
  Finished check = storage({"check", data().string()});
  EXPECT_EQ(check.exit_code, 6) << check;
  EXPECT_TRUE(check.out.contains("shard 0: damaged")) << check;
  EXPECT_TRUE(check.out.contains("shard-0/journal/000000000001.wbj from position " +
                                 std::to_string(position)))
      << check;
  EXPECT_TRUE(check.out.contains("lost: offsets 2-2 of stream")) << check;
  EXPECT_TRUE(check.err.contains("damaged; nothing was changed")) << check;

  Finished lines = storage({"check", data().string(), "-o", "jsonl"});
  EXPECT_EQ(lines.exit_code, 6) << lines;
  std::istringstream stream(lines.out);
  std::string line;
  std::getline(stream, line);
  EXPECT_EQ(json::parse(line).at("clean"), true) << line;
  std::getline(stream, line);
  const json::value shard = json::parse(line);
  EXPECT_EQ(shard.at("clean"), false);
  EXPECT_EQ(shard.at("lost_frames").at(0).at("position").to_number<std::uint64_t>(), position);
  EXPECT_EQ(shard.at("lost_offsets").at(0).at("first").to_number<int>(), 2);
  EXPECT_EQ(broker_.start_and_fail(), 3) << "the broker says the same";
}

TEST_F(StorageCommand, ATornTailIsNoDamage) {
  publish();
  broker_.kill();
  // The newest frame is unmarked only for moments; make what follows it look begun and torn.
  const json::object last = frames().back();
  const std::uint64_t end =
      last.at("position").to_number<std::uint64_t>() + last.at("size").to_number<std::uint64_t>();
  std::string bytes = content(journal_file());
  std::string torn = bytes.substr(last.at("position").to_number<std::uint64_t>(), 4096);
  std::fstream file(journal_file(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(end));
  file.write(torn.data(), 512);
  file.close();
  Finished check = storage({"check", data().string()});
  EXPECT_EQ(check.exit_code, 0) << check;
  EXPECT_TRUE(
      check.out.contains("torn tail: 1 frame in file 1 from position " + std::to_string(end)))
      << check;
  ASSERT_TRUE(broker_.start());
  EXPECT_EQ(broker_.stop(), 0);
  EXPECT_EQ(storage({"check", data().string()}).exit_code, 0) << "and is void from then on";
}

TEST_F(StorageCommand, ADamagedSuperblockIsDamage) {
  publish_and_stop();
  std::ofstream(data() / "superblock", std::ios::binary | std::ios::in).put('x');
  Finished check = storage({"check", data().string()});
  EXPECT_EQ(check.exit_code, 6) << check;
  EXPECT_TRUE(check.out.contains("superblock: damaged")) << check;
  EXPECT_TRUE(check.out.contains("shard 0: clean")) << check;
}

TEST_F(StorageCommand, AForeignShardDirectoryIsNotedAndTheRestIsChecked) {
  publish_and_stop();
  std::filesystem::create_directory(data() / "shard-9");
  EXPECT_EQ(storage({"salvage", data().string()}).exit_code, 0);
  for (const char* command : {"check", "info"}) {
    Finished end = storage({command, data().string()});
    EXPECT_EQ(end.exit_code, 0) << end;
    EXPECT_TRUE(end.out.contains("shard 0: ")) << end;
    EXPECT_TRUE(end.err.contains("note: shard-9 is not one of this broker's 1 shard")) << end;
  }
  damage(position_of_append(2) + 200);
  EXPECT_EQ(storage({"check", data().string()}).exit_code, 6);
}

TEST_F(StorageCommand, AFileWhereAStreamsDirectoryBelongsIsNamedByAll) {
  publish_and_stop();
  const std::string path = "shard-0/streams/00000000000000ff";
  std::filesystem::create_directories(data() / "shard-0/streams");
  std::ofstream(data() / path) << "x\n";
  EXPECT_EQ(broker_.start_and_fail(), 3);
  EXPECT_TRUE(broker_.log().contains(path + " is a file")) << broker_.log();
  EXPECT_TRUE(broker_.log().contains("Move it out of the data directory")) << broker_.log();
  Finished check = storage({"check", data().string()});
  EXPECT_EQ(check.exit_code, 6) << check;
  EXPECT_TRUE(check.out.contains(path + " is a file where a stream's directory belongs")) << check;
  Finished lines = storage({"check", data().string(), "-o", "jsonl"});
  EXPECT_TRUE(lines.out.contains("\"misplaced\":[\"" + path + "\"]")) << lines;
  EXPECT_EQ(storage({"salvage", data().string(), "--accept-loss"}).exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(data() / "shard-0/quarantine/streams-00000000000000ff"));
  ASSERT_TRUE(broker_.start());
  EXPECT_EQ(broker_.stop(), 0);
}

TEST_F(StorageCommand, AnotherVersionsDirectoryIsNotCalledDamaged) {
  publish_and_stop();
  for (const bool older : {false, true}) {
    std::fstream superblock(data() / "superblock", std::ios::in | std::ios::out | std::ios::binary);
    superblock.seekp(16);
    superblock.put(older ? 1 : 9);
    superblock.close();
    const std::string whose =
        older ? "an older version of waybilld" : "a newer version of waybilld";
    Finished check = storage({"check", data().string()});
    EXPECT_EQ(check.exit_code, 1) << check;
    EXPECT_TRUE(check.out.contains("superblock: has format " + std::to_string(older ? 1 : 9)))
        << check;
    EXPECT_TRUE(check.out.contains(whose)) << check;
    EXPECT_FALSE(check.out.contains("damaged")) << check;
    EXPECT_TRUE(check.err.contains("another version of waybilld")) << check;
    Finished salvage = storage({"salvage", data().string(), "--accept-loss"});
    EXPECT_EQ(salvage.exit_code, 1) << salvage;
    EXPECT_TRUE(salvage.err.contains(whose)) << salvage;
    EXPECT_EQ(broker_.start_and_fail(), 3);
    EXPECT_TRUE(broker_.log().contains(whose)) << broker_.log();
  }
}

TEST_F(StorageCommand, ADumpShowsFramesEntriesBatchesAndRecords) {
  publish_and_stop();
  Finished dump = storage({"dump", data().string(), "--records", "--count", "1000"});
  EXPECT_EQ(dump.exit_code, 0) << dump;
  for (const char* part :
       {"frame 1  start", "run 1 at ", "append  version ", "catalog  version ",
        "change put_topic  id 1  name \"orders\"", "base 4  count 1", "1 record  none", " right\n",
        "value message 4", "idle_mark", "unused, "}) {
    EXPECT_TRUE(dump.out.contains(part)) << part << "\n" << dump;
  }
  Finished two = storage({"dump", data().string(), "--from", "2", "--count", "2", "-o", "jsonl"});
  EXPECT_EQ(two.exit_code, 0) << two;
  std::istringstream lines(two.out);
  std::vector<std::string> kinds;
  std::uint64_t first = 0;
  for (std::string line; std::getline(lines, line);) {
    const json::value object = json::parse(line);
    kinds.emplace_back(object.at("kind").as_string());
    if (first == 0 && kinds.back() == "frame")
      first = object.at("frame_seq").to_number<std::uint64_t>();
  }
  EXPECT_EQ(kinds, (std::vector<std::string>{"file", "frame", "frame"}));
  EXPECT_EQ(first, 2U);
}

TEST_F(StorageCommand, ARunningBrokerIsLeftAlone) {
  publish();
  const std::string used = "is in use by process " + std::to_string(broker_.pid());
  for (const char* command : {"check", "dump", "salvage"}) {
    Finished end = storage({command, data().string()});
    EXPECT_EQ(end.exit_code, 1) << end;
    EXPECT_TRUE(end.err.contains(used)) << end;
    EXPECT_EQ(end.out, "");
  }
  Finished info = storage({"info", data().string()});
  EXPECT_EQ(info.exit_code, 0) << info;
  EXPECT_TRUE(info.err.contains(used)) << info;
  EXPECT_TRUE(info.out.contains("shard-0/journal/000000000001.wbj")) << info;
  EXPECT_EQ(broker_.stop(), 0);
}

/// A directory with a checkpoint and segments: the journal of the first runs is released.
class StorageFiles : public StorageCommand {
 protected:
  void SetUp() override {
    publish_and_stop();
    for (int start = 0; start < 2; ++start) {
      ASSERT_TRUE(broker_.start());
      BlockingClient client = BlockingClient(client_of(broker_));
      Message message;
      // Too much to be carried forward in the journal (S18): it gets a segment.
      const std::string value = start == 0 ? std::string(70'000, 'x') : "after a start";
      message.value = to_vector(as_bytes(value));
      // A checkpoint is made beside the traffic; every second start begins one.
      for (int i = 0; i < 2000 && checkpoint().empty(); ++i) {
        ASSERT_TRUE(client.publish("orders", message).ok());
        if (start == 0 && i == 5) break;
      }
      ASSERT_TRUE(client.close().ok());
      ASSERT_EQ(broker_.stop(), 0);
    }
    ASSERT_FALSE(checkpoint().empty());
    ASSERT_FALSE(segment().empty());
  }

  /// Paths below the data directory; empty: there is none.
  std::string checkpoint() const { return first_with(".wbc"); }
  std::string segment() const { return first_with(".wbs"); }
  std::string first_with(const std::string& extension) const {
    for (const auto& file : std::filesystem::recursive_directory_iterator(data())) {
      if (file.path().extension() == extension)
        return std::filesystem::relative(file.path(), data()).string();
    }
    return {};
  }
  std::vector<std::string> all_files() const {
    std::vector<std::string> all;
    for (const auto& file : std::filesystem::recursive_directory_iterator(data()))
      all.push_back(file.path().string());
    std::ranges::sort(all);
    return all;
  }
};

TEST_F(StorageFiles, CheckpointsAndSegmentsAreCountedCheckedAndDumped) {
  Finished check = storage({"check", data().string()});
  EXPECT_EQ(check.exit_code, 0) << check;
  EXPECT_TRUE(check.out.contains("clean: checkpoint 1, ")) << check;
  Finished info = storage({"info", data().string()});
  EXPECT_EQ(info.exit_code, 0) << info;
  EXPECT_TRUE(info.out.contains(checkpoint())) << info;
  EXPECT_TRUE(info.out.contains("IN SEGMENTS TO")) << info;
  Finished blocks =
      storage({"dump", data().string(), "--file", segment(), "--records", "--count", "1000"});
  EXPECT_EQ(blocks.exit_code, 0) << blocks;
  for (const char* part : {"  block  ", "offsets 0-", "1 record  none", "value message 4"})
    EXPECT_TRUE(blocks.out.contains(part)) << part << "\n" << blocks;
  Finished objects =
      storage({"dump", data().string(), "--file", checkpoint(), "--count", "1000", "-o", "jsonl"});
  EXPECT_EQ(objects.exit_code, 0) << objects;
  std::istringstream lines(objects.out);
  std::string kinds;
  for (std::string line; std::getline(lines, line);) {
    const json::value object = json::parse(line);
    kinds += " ";
    kinds += object.at("kind") == "object" ? object.at("object_kind_name").as_string()
                                           : object.at("kind").as_string();
  }
  EXPECT_TRUE(kinds.contains(" topic ")) << kinds;
  EXPECT_TRUE(kinds.contains(" stream ")) << kinds;
  EXPECT_TRUE(kinds.ends_with(" summary")) << kinds;
  EXPECT_FALSE(objects.out.contains("\"problem\"")) << "each is decoded: " << objects;
  EXPECT_EQ(storage({"dump", data().string(), "--file", "shard-0/nothing"}).exit_code, 1);
}

TEST_F(StorageFiles, ADamagedSegmentIsNamedByOffsetAndTheRestIsServed) {
  std::fstream file(data() / segment(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(100);
  file.put('?');
  file.close();
  Finished check = storage({"check", data().string()});
  EXPECT_EQ(check.exit_code, 6) << check;
  EXPECT_TRUE(check.out.contains("lost: offsets 0-")) << check;
  EXPECT_TRUE(check.out.contains(segment() + " from position 0")) << check;
  ASSERT_TRUE(broker_.start());
  EXPECT_EQ(broker_.stop(), 0);
}

TEST_F(StorageFiles, SalvageSaysWhatIsLostAndThenTheBrokerStartsS10) {
  const std::string path = segment();
  std::filesystem::remove(data() / path);
  EXPECT_EQ(broker_.start_and_fail(), 3);
  EXPECT_TRUE(broker_.log().contains(path + " is missing")) << broker_.log();
  const std::vector<std::string> before = all_files();
  Finished look = storage({"salvage", data().string()});
  EXPECT_EQ(look.exit_code, 6) << look;
  EXPECT_TRUE(look.out.contains("lost: offsets 0-")) << look;
  EXPECT_TRUE(look.err.contains("nothing was changed")) << look;
  EXPECT_EQ(all_files(), before);
  Finished done = storage({"salvage", data().string(), "--accept-loss"});
  EXPECT_EQ(done.exit_code, 0) << done;
  ASSERT_TRUE(broker_.start());
  EXPECT_EQ(broker_.stop(), 0);
}

class StorageOfTwoShards : public StorageCommand {
 protected:
  StorageOfTwoShards() : StorageCommand("2") {}
};

TEST_F(StorageOfTwoShards, OneThatIsGoneIsDamageUntilItsLossIsAcceptedS10) {
  publish_and_stop();
  std::filesystem::remove_all(data() / "shard-1");
  EXPECT_EQ(broker_.start_and_fail(), 3);
  EXPECT_TRUE(broker_.log().contains("shard-1/journal is missing")) << broker_.log();
  Finished check = storage({"check", data().string()});
  EXPECT_EQ(check.exit_code, 6) << check;
  EXPECT_TRUE(check.err.contains("shard-1/journal is not there")) << check;
  EXPECT_TRUE(check.out.contains("shard 0: clean")) << check;
  EXPECT_EQ(storage({"salvage", data().string()}).exit_code, 6);
  EXPECT_FALSE(exists(data() / "shard-1"));
  Finished done = storage({"salvage", data().string(), "--accept-loss"});
  EXPECT_EQ(done.exit_code, 0) << done;
  EXPECT_TRUE(done.out.contains("make shard-1/journal anew, empty")) << done;
  ASSERT_TRUE(broker_.start());
  ASSERT_EQ(broker_.stop(), 0);

  std::filesystem::remove_all(data() / "shard-0" / "journal");
  Finished hopeless = storage({"salvage", data().string(), "--accept-loss"});
  EXPECT_EQ(hopeless.exit_code, 6) << hopeless;
  EXPECT_TRUE(hopeless.out.contains("cannot be helped: shard-0/journal is missing")) << hopeless;
  EXPECT_FALSE(exists(data() / "shard-0" / "journal"));
}

TEST_F(StorageCommand, SalvageCutsAJournalWhereItIsDamagedAndKeepsWhatItTakesS10) {
  publish_and_stop();
  EXPECT_EQ(storage({"salvage", data().string()}).exit_code, 0) << "there is nothing to do";
  const std::uint64_t position = position_of_append(2);
  damage(position + 200);
  const std::string damaged = content(journal_file());
  EXPECT_EQ(broker_.start_and_fail(), 3);
  Finished done = storage({"salvage", data().string(), "--accept-loss", "-o", "jsonl"});
  EXPECT_EQ(done.exit_code, 0) << done;
  const json::value plan = json::parse(done.out.substr(0, done.out.find('\n')));
  EXPECT_EQ(plan.at("lost_offsets").at(0).at("first").to_number<int>(), 2);
  EXPECT_EQ(plan.at("lost_offsets").at(0).at("last").to_number<int>(), kMessages - 1);
  bool kept = false;
  for (const auto& file : std::filesystem::directory_iterator(data() / "shard-0/quarantine"))
    kept = kept || content(file.path()) == damaged;
  EXPECT_TRUE(kept) << "as it was";
  EXPECT_EQ(storage({"check", data().string()}).exit_code, 0);
  ASSERT_TRUE(broker_.start());
  BlockingClient client = BlockingClient(client_of(broker_));
  Reply<TopicInfo> topic = client.find_topic("orders");
  ASSERT_TRUE(topic.ok());
  ReadRequest read;
  read.topic = topic->id;
  Reply<ReadReply> rest = client.request(read);
  ASSERT_TRUE(rest.ok());
  EXPECT_EQ(rest->end, Offset{2});
}

TEST_F(StorageCommand, WhatIsNoDataDirectoryIsSaidToBeNone) {
  for (const char* command : {"info", "check", "dump", "salvage"}) {
    Finished missing = storage({command, data().string()});
    EXPECT_EQ(missing.exit_code, 3) << missing;
    Finished other = storage({command, directory_.path().string()});
    EXPECT_EQ(other.exit_code, 1) << other;
    EXPECT_TRUE(other.err.contains("is no data directory")) << other;
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path())) << "nothing is left behind";
  EXPECT_EQ(storage({"check"}).exit_code, 2);
}

TEST_F(StorageCommand, AProbeMeasuresAndSaysWhatTheBrokerUses) {
  Finished probe = storage({"probe", directory_.path().string()});
  EXPECT_EQ(probe.exit_code, 0) << probe;
  EXPECT_TRUE(probe.out.contains("uses it")) << probe;
  EXPECT_TRUE(probe.out.contains("The broker will use ")) << probe;
  EXPECT_TRUE(probe.out.contains("Why: ")) << probe;
  EXPECT_EQ(probe.err, "");
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
  EXPECT_EQ(storage({"probe", data().string()}).exit_code, 3);
}

}  // namespace
}  // namespace waybill

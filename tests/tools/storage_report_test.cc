// Goal: what `waybill storage` says names what a person needs: which stream, how much, what is
// lost, and where. Method: reports made by hand, their text and JSON compared.
#include "tools/storage_report.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "tools/command_line.h"

namespace waybill::cli {
namespace {

namespace json = boost::json;

TEST(StorageReport, StreamsAndSizesReadAsPeopleSayThem) {
  EXPECT_EQ(stream_text(StreamId{17}), "0/17");
  EXPECT_EQ(stream_text(StreamId{(std::uint64_t{3} << 48) + 1}), "3/1");
  EXPECT_EQ(size_text(1), "1 byte");
  EXPECT_EQ(size_text(1023), "1023 bytes");
  EXPECT_EQ(size_text(4096), "4.0 KiB");
  EXPECT_EQ(size_text(64 * 1024 * 1024), "64.0 MiB");
}

TEST(StorageReport, TheReserveIsNamedWhereThereIsOneS21) {
  FilesSummary files;
  EXPECT_EQ(to_text(files), "");
  files.reserve = 128 * 1024 * 1024;
  EXPECT_EQ(to_text(files), "  reserve: 128.0 MiB, for flush and checkpoint on a full disk\n");
  EXPECT_EQ(json::parse(to_json(files)).at("reserve"), 128 * 1024 * 1024);
}

JournalCheck damaged() {
  JournalCheck check;
  check.clean = false;
  check.explanation = "frame 3 cannot be read";
  check.report.files = 1;
  check.report.frames = 4;
  check.lost_frames.push_back({.path = "shard-0/journal/000000000001.wbj",
                               .position = 8192,
                               .first = 3,
                               .last = 4,
                               .first_entry = EntrySeq{2},
                               .last_entry = EntrySeq{1}});
  check.lost_offsets.push_back({StreamId{5}, {{7}, {9}}});
  check.bad_entries.push_back({.path = "other.wbj",
                               .position = 4096,
                               .seq = EntrySeq{8},
                               .what = "the checksum of its batch is wrong"});
  return check;
}

TEST(StorageReport, DamageIsListedByFramePositionAndOffset) {
  const std::string text = check_text(ShardIndex{0}, damaged());
  for (const char* part :
       {"shard 0: damaged: 1 file with 4 frames", "  frame 3 cannot be read\n",
        "lost: frames 3-4 with no entries that are known, shard-0/journal/000000000001.wbj from "
        "position 8192",
        "lost: offsets 7-9 of stream 0/5",
        "bad: entry 8 in the frame at position 4096 of other.wbj: the checksum of its batch is "
        "wrong",
        "may have lost their newest records too"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  const json::value object = json::parse(check_json(ShardIndex{0}, damaged()));
  EXPECT_EQ(object.at("clean"), false);
  EXPECT_EQ(object.at("lost_frames").at(0).at("position"), 8192);
  EXPECT_EQ(object.at("lost_offsets").at(0).at("stream"), "0/5");
  EXPECT_EQ(object.at("bad_entries").at(0).at("entry_seq"), 8);
}

TEST(StorageReport, ADamagedFooterIsNamedAndNothingIsLost) {
  SegmentsCheck check;
  check.clean = false;
  check.damaged_footers.push_back({.path = "shard-0/streams/05/00.wbs", .position = 12288});
  const std::string text = check_text(ShardIndex{0}, check);
  EXPECT_TRUE(text.starts_with("shard 0: damaged: ")) << text;
  EXPECT_TRUE(
      text.contains("  shard-0/streams/05/00.wbs from position 12288: its footer is "
                    "damaged: nothing is lost"))
      << text;
  const json::value object = json::parse(check_json(ShardIndex{0}, check));
  EXPECT_EQ(object.at("clean"), false);
  EXPECT_EQ(object.at("damaged_footers").at(0).at("path"), "shard-0/streams/05/00.wbs");
  EXPECT_EQ(object.at("damaged_footers").at(0).at("position").to_number<int>(), 12288);
}

TEST(StorageReport, ATornTailIsNotCalledDamage) {
  JournalCheck check;
  check.report.torn_frames = 1;
  check.report.torn_at_file = 2;
  check.report.torn_at_position = 4096;
  const std::string text = check_text(ShardIndex{1}, check);
  EXPECT_NE(text.find("shard 1: clean"), std::string::npos) << text;
  EXPECT_NE(text.find("torn tail: 1 frame in file 2 from position 4096"), std::string::npos)
      << text;
  EXPECT_EQ(text.find("damage"), std::string::npos) << text;
}

TEST(StorageReport, AProbeSaysWhatTheBrokerUsesAndWhy) {
  ProbeReport report;
  report.engine = "threads";
  report.why = "io_uring is blocked here";
  ProbeResult result;
  result.write_size = 4096;
  result.depth = 4;
  result.writes = 10;
  result.median = std::chrono::microseconds(250);
  result.chosen = true;
  report.results.push_back(result);
  const std::string text = to_text(report);
  for (const char* part : {"O_DIRECT + DSYNC", "4.0 KiB", "0.250", "uses it",
                           "The broker will use threads.", "Why: io_uring is blocked here"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  const json::value object = json::parse(to_json(report));
  EXPECT_EQ(object.at("results").at(0).at("chosen"), true);
  EXPECT_EQ(object.at("why"), "io_uring is blocked here");
}

TEST(StorageReport, TheCommandLineTakesADirectory) {
  auto parsed = parse_command_line(
      {"storage", "dump", "data", "--shard", "3", "--from", "7", "--count", "2", "--records"},
      {"", WallTime{}});
  ASSERT_TRUE(std::holds_alternative<CommandLine>(parsed));
  const auto* dump = std::get_if<StorageDump>(&std::get<CommandLine>(parsed).command);
  ASSERT_NE(dump, nullptr);
  EXPECT_EQ(dump->directory, "data");
  EXPECT_EQ(dump->shard, 3);
  EXPECT_EQ(dump->from, 7U);
  EXPECT_EQ(dump->count, 2U);
  EXPECT_TRUE(dump->records);
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"storage"},
                                                {"storage", "check"},
                                                {"storage", "dump", "data", "--shard", "64"},
                                                {"storage", "dump", "data", "--from", "x"}}) {
    auto end = parse_command_line(wrong, {"", WallTime{}});
    ASSERT_TRUE(std::holds_alternative<CommandLineEnd>(end)) << wrong.back();
    EXPECT_EQ(std::get<CommandLineEnd>(end).code, ExitCode::kUsage);
  }
}

}  // namespace
}  // namespace waybill::cli

// Goal: the bytes of a checkpoint are what FORMAT.md says, and stay that way.
// Method: golden bytes (made by an independent script from the page) against our encoders and
// readers; the page's own example parsed and compared field by field; every bit flipped.
#include "storage/checkpoint_format.h"

#include <gtest/gtest.h>

#include "tests/storage/checkpoint_rig.h"
#include "tests/storage/format_page.h"

namespace waybill {
namespace {

constexpr CheckpointId kExample{.shard = ShardIndex{3}, .number = 7};
constexpr CheckpointSummary kExampleSummary{.object_count = 2,
                                            .objects_size = 68,
                                            .max_applied = EntrySeq{8},
                                            .replay_from = EntrySeq{6},
                                            .journal_file = 2,
                                            .time = WallTime{1'700'000'000'000}};

ByteVector golden(const std::string& name) {
  return parse_hex(read_text("tests/golden/" + name));
}

TEST(CheckpointFormat, AWriterWritesTheGoldenBytes) {
  SimDisk disk(image_with_shard());
  auto writer = std::move(*CheckpointWriter::create(disk, kCheckpointDirectory, kExample));
  writer->add(
      {.kind = 1, .version = 1, .id = 9, .applied = EntrySeq{5}, .body = as_bytes("group state")});
  writer->add(
      {.kind = 2, .version = 1, .id = 10, .applied = EntrySeq{8}, .body = as_bytes("producers")});
  writer->finish(
      {.replay_from = EntrySeq{6}, .journal_file = 2, .time = WallTime{1'700'000'000'000}});
  finish_operations(disk);
  ASSERT_TRUE(writer->done());
  ByteVector file(8192);
  ASSERT_EQ(
      *disk.read_now(*disk.open("shard-3/checkpoint-000000000007.wbc", OpenMode::kRead), 0, file),
      8192U);
  EXPECT_EQ(to_vector(Bytes(file).first(4096)), golden("checkpoint_page_v1.hex"));
  EXPECT_EQ(to_vector(Bytes(file).subspan(4096)), golden("checkpoint_last_v1.hex"));
}

TEST(CheckpointFormat, TheExampleOnThePageIsReadFieldByField) {
  const std::string section = page_section("Checkpoints");
  const ByteVector page = parse_hex(hex_block(section, 0));
  const ByteVector last = parse_hex(hex_block(section, 1));
  EXPECT_EQ(page, golden("checkpoint_page_v1.hex"));
  EXPECT_EQ(last, golden("checkpoint_last_v1.hex"));
  const std::optional<CheckpointPage> header = peek_page(page, kExample, 8192);
  const std::optional<CheckpointPage> end = peek_page(last, kExample, 4096);
  ASSERT_TRUE(header.has_value() && end.has_value());
  EXPECT_TRUE(page_intact(page, kExample, 0) && page_intact(last, kExample, 4096));
  EXPECT_FALSE(header->last);
  EXPECT_TRUE(end->last);
  const ObjectHeader object = decode_object_header(page.data() + kPageHeaderSize);
  const CheckpointSummary summary = decode_summary(last.data() + kPageHeaderSize);
  EXPECT_EQ(summary, kExampleSummary);
  const std::map<std::string, std::uint64_t> read = {
      {"page.page_size", header->page_size},
      {"page.payload_size", header->payload_size},
      {"object.kind", object.kind},
      {"object.version", object.version},
      {"object.body_size", object.body_size},
      {"object.id", object.id},
      {"object.applied", object.applied.value},
      {"summary.object_count", summary.object_count},
      {"summary.objects_size", summary.objects_size},
      {"summary.max_applied", summary.max_applied.value},
      {"summary.replay_from", summary.replay_from.value},
      {"summary.journal_file", summary.journal_file},
      {"summary.time", summary.time.milliseconds},
  };
  EXPECT_EQ(read, example_table(section));
}

TEST(CheckpointFormat, EveryFlippedBitIsNoticed) {
  ByteVector page = golden("checkpoint_page_v1.hex");
  for (std::size_t bit = 0; bit < page.size() * 8; ++bit) {
    const auto mask = static_cast<std::byte>(1U << (bit % 8));
    page[bit / 8] ^= mask;
    EXPECT_FALSE(peek_page(page, kExample, 8192) && page_intact(page, kExample, 0)) << bit;
    page[bit / 8] ^= mask;
  }
  EXPECT_TRUE(page_intact(page, kExample, 0));
  EXPECT_FALSE(page_intact(page, kExample, 4096)) << "nor is it valid in another place";
  EXPECT_FALSE(page_intact(page, {ShardIndex{3}, 8}, 0));
  EXPECT_FALSE(page_intact(page, {ShardIndex{2}, 7}, 0));
}

TEST(CheckpointFormat, AnotherVersionIsRecognisedAsSuch) {
  SimDisk disk(image_with_shard());
  ByteVector page(4096);
  seal_page({.version = 2, .last = true, .page_size = 4096, .payload_size = kSummarySize}, kExample,
            0, page);
  const std::string path = "shard-3/" + checkpoint_name(7);
  ASSERT_TRUE(disk.write_now(*disk.open(path, OpenMode::kCreate), 0, page).ok());
  EXPECT_EQ(read_checkpoint(disk, 7).error().code, Errc::kUnsupportedFormat);
  const FoundCheckpoints found =
      find_checkpoints(disk, kCheckpointDirectory, kCheckpointShard).value();
  EXPECT_NE(found.finished.front().explanation.find("newer version"), std::string::npos);
}

TEST(CheckpointFormat, NamesComeBackAndNothingElseIsTaken) {
  for (std::uint64_t number : {1ULL, 42ULL, 999'999'999'999ULL}) {
    EXPECT_EQ(parse_checkpoint_name(checkpoint_name(number))->number, number);
    EXPECT_TRUE(parse_checkpoint_name(checkpoint_name(number))->finished);
    EXPECT_EQ(parse_checkpoint_name(unfinished_checkpoint_name(number))->number, number);
    EXPECT_FALSE(parse_checkpoint_name(unfinished_checkpoint_name(number))->finished);
  }
  for (const char* wrong : {"", "checkpoint-", "checkpoint-000000000000.wbc", "checkpoint-7.wbc",
                            "checkpoint-000000000007", "checkpoint-000000000007.wbc.old",
                            "checkpoint-0000000000x7.wbc", "000000000007.wbc"})
    EXPECT_FALSE(parse_checkpoint_name(wrong).has_value()) << wrong;
}

}  // namespace
}  // namespace waybill

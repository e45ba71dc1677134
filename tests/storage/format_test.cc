// Goal: the journal's bytes are what FORMAT.md says, and stay that way.
// Method: golden bytes (made by an independent script from the page) against our encoders and
// readers; the page's own example parsed and compared field by field; every bit flipped.
#include "storage/format.h"

#include <gtest/gtest.h>

#include "protocol/base/checksum.h"
#include "storage/io/sim_disk.h"
#include "storage/journal_frame.h"
#include "storage/journal_reader.h"
#include "tests/storage/format_page.h"

namespace waybill {
namespace {

FileHeader example_header() {
  return {.shard = ShardIndex{3},
          .file_number = 2,
          .file_epoch = 0x1122334455667788,
          .first_frame_seq = 5,
          .file_size = 65536,
          .start_number = 4};
}
const FrameSpot kExampleSpot{ShardIndex{3}, 0x1122334455667788, 4096};

FrameBuffer example_frame() {
  FrameBuffer frame;
  frame.append(
      {.type = EntryType::kAppend, .head = as_bytes("hello, "), .tail = as_bytes("journal")},
      EntrySeq{7});
  frame.append({.type = EntryType::kDelivery, .head = as_bytes("ack!"), .tail = {}}, EntrySeq{8});
  JournalFrameHeader header;
  header.frame_seq = 5;
  header.file_epoch = kExampleSpot.file_epoch;
  header.durable_seq = 4;
  header.first_entry_seq = EntrySeq{7};
  frame.seal(header, kExampleSpot, 2);
  return frame;
}

TEST(JournalFormat, WritesTheGoldenFileHeader) {
  ByteVector block(kFileHeaderSize);
  encode_file_header(example_header(), block);
  EXPECT_EQ(block, parse_hex(read_text("tests/golden/journal_file_header_v1.hex")));
}

TEST(JournalFormat, WritesTheGoldenFrame) {
  EXPECT_EQ(to_vector(example_frame().bytes()),
            parse_hex(read_text("tests/golden/journal_frame_v1.hex")));
}

TEST(JournalFormat, ReadsTheGoldenFileHeader) {
  Result<FileHeader> header =
      decode_file_header(parse_hex(read_text("tests/golden/journal_file_header_v1.hex")));
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(*header, example_header());
}

TEST(JournalFormat, TheExampleOnThePageIsReadFieldByField) {
  const std::string page = page_section("Example");
  std::map<std::string, std::uint64_t> table = example_table(page);
  SimDisk disk;
  Result<FileHandle> file = disk.open("example", OpenMode::kCreate);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(disk.write_now(*file, 0, ByteVector(65536)).ok());
  ASSERT_TRUE(disk.write_now(*file, 0, parse_hex(hex_block(page, 0))).ok());
  ASSERT_TRUE(disk.write_now(*file, 4096, parse_hex(hex_block(page, 1))).ok());

  Result<JournalFileReader> reader = JournalFileReader::open(disk, "example", false);
  ASSERT_TRUE(reader.ok()) << to_string(reader.error());
  const FileHeader& header = reader->header();
  Result<std::optional<FoundFrame>> found = reader->frame_at(4096);
  ASSERT_TRUE(found.ok() && found->has_value());
  const JournalFrameHeader& frame = (*found)->header;
  EntryReader entries((*found)->bytes, frame);
  std::optional<EntryView> first = entries.next();
  ASSERT_TRUE(first.has_value());
  const std::map<std::string, std::uint64_t> read = {
      {"file.shard", header.shard.value},
      {"file.file_number", header.file_number},
      {"file.file_epoch", header.file_epoch},
      {"file.first_frame_seq", header.first_frame_seq},
      {"file.file_size", header.file_size},
      {"file.start_number", header.start_number},
      {"frame.version", frame.version},
      {"frame.flags", static_cast<std::uint64_t>(frame.flags)},
      {"frame.frame_seq", frame.frame_seq},
      {"frame.file_epoch", frame.file_epoch},
      {"frame.durable_seq", frame.durable_seq},
      {"frame.first_entry_seq", frame.first_entry_seq.value},
      {"frame.frame_size", frame.frame_size},
      {"frame.payload_size", frame.payload_size},
      {"frame.entry_count", frame.entry_count},
      {"entry.type", static_cast<std::uint64_t>(first->type)},
      {"entry.entry_seq", first->seq.value},
      {"entry.body_size", first->body.size()},
      {"entry.body_offset", entries.body_offset()},
  };
  EXPECT_EQ(read, table);
  EXPECT_EQ(as_text(first->body), "hello, journal");
  std::optional<EntryView> second = entries.next();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(as_text(second->body), "ack!");
  EXPECT_FALSE(entries.next().has_value());
  EXPECT_FALSE(entries.problem().has_value());
}

TEST(JournalFormat, EveryFlippedBitOfAFileHeaderIsNoticed) {
  ByteVector block(kFileHeaderSize);
  encode_file_header(example_header(), block);
  for (std::size_t bit = 0; bit < block.size() * 8; ++bit) {
    block[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_FALSE(decode_file_header(block).ok()) << "bit " << bit;
    block[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
  }
}

TEST(JournalFormat, EveryFlippedBitOfAFrameIsNoticed) {
  ByteVector frame = to_vector(example_frame().bytes());
  auto valid = [&frame] {
    return peek_frame(frame, kExampleSpot, 61440).has_value() && frame_intact(frame, kExampleSpot);
  };
  ASSERT_TRUE(valid());
  for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
    frame[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_FALSE(valid()) << "bit " << bit;
    frame[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
  }
}

TEST(JournalFormat, AFrameIsValidOnlyInItsPlace) {
  const ByteVector frame = to_vector(example_frame().bytes());
  EXPECT_TRUE(frame_intact(frame, kExampleSpot));
  EXPECT_FALSE(frame_intact(frame, {ShardIndex{4}, kExampleSpot.file_epoch, 4096}));
  EXPECT_FALSE(frame_intact(frame, {ShardIndex{3}, kExampleSpot.file_epoch + 1, 4096}));
  EXPECT_FALSE(frame_intact(frame, {ShardIndex{3}, kExampleSpot.file_epoch, 8192}));
}

TEST(JournalFormat, AFrameMayNotReachBeyondItsFile) {
  const ByteVector frame = to_vector(example_frame().bytes());
  EXPECT_TRUE(peek_frame(frame, kExampleSpot, 4096).has_value());
  EXPECT_FALSE(peek_frame(frame, kExampleSpot, 4095).has_value());
}

TEST(JournalFormat, AnotherVersionsFileHeaderIsRecognisedAsSuch) {
  ByteVector block = parse_hex(read_text("tests/golden/journal_file_header_v1.hex"));
  block[16] = std::byte{2};
  EXPECT_EQ(decode_file_header(block).error().code, Errc::kChecksum);
  store_little(block.data(), xxh3_64(Bytes(block).subspan(8)));
  EXPECT_EQ(decode_file_header(block).error().code, Errc::kUnsupportedFormat);
}

TEST(JournalFormat, TheStartBodyComesBackAsWritten) {
  const ByteVector body = encode_start_body({.start_number = 9, .time = WallTime{-5}});
  Result<StartBody> read = decode_start_body(body);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->start_number, 9U);
  EXPECT_EQ(read->time.milliseconds, -5);
  EXPECT_FALSE(decode_start_body(Bytes(body).first(15)).ok());
}

}  // namespace
}  // namespace waybill

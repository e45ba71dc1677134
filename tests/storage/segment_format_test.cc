// Goal: the bytes of a segment are what FORMAT.md says, and stay that way.
// Method: golden bytes (made by an independent script from the page) against our encoders and
// readers; the page's own example parsed and compared field by field; every bit flipped.
#include "storage/segment_format.h"

#include <gtest/gtest.h>

#include <functional>

#include "protocol/base/checksum.h"
#include "tests/storage/format_page.h"
#include "tests/storage/segment_rig.h"

namespace waybill {
namespace {

constexpr SegmentId kExample{
    .stream = StreamId{(std::uint64_t{3} << 48) + 7}, .base = Offset{42}, .generation = 1};
constexpr std::int64_t kTime = 1'700'000'000'000;

ByteVector golden_block() {
  return parse_hex(read_text("tests/golden/segment_block_v1.hex"));
}
ByteVector golden_footer() {
  return parse_hex(read_text("tests/golden/segment_footer_v1.hex"));
}

ByteVector example_batch() {
  BatchBuilder builder;
  RecordDraft first{.key = as_bytes("k"),
                    .value = as_bytes("first"),
                    .headers = {},
                    .timestamp = WallTime{kTime}};
  RecordDraft second{
      .key = {}, .value = as_bytes("second"), .headers = {}, .timestamp = WallTime{kTime + 5}};
  EXPECT_TRUE(builder.add(first).ok() && builder.add(second).ok());
  ByteVector batch = builder.build();
  stamp_base_offset(batch, kExample.base);
  return batch;
}

TEST(SegmentFormat, AWriterWritesTheGoldenBytesS17) {
  SimDisk disk;
  SegmentRig rig(disk, kExample);
  ASSERT_TRUE(rig.create().ok());
  const ByteVector batch = example_batch();
  rig.writer->append({.base = kExample.base,
                      .end = kExample.base + 2,
                      .record_count = 2,
                      .max_timestamp = WallTime{kTime + 5},
                      .facts = SegmentFacts::kKeys,
                      .bytes = batch});
  rig.seal();
  ByteVector file(8192);
  ASSERT_EQ(*disk.read_now(*disk.open(rig.writer->path(), OpenMode::kRead), 0, file), 8192U);
  EXPECT_EQ(to_vector(Bytes(file).first(4096)), golden_block());
  EXPECT_EQ(to_vector(Bytes(file).subspan(4096)), golden_footer());
}

TEST(SegmentFormat, TheExampleOnThePageIsReadFieldByField) {
  const std::string section = page_section("Segments");
  const ByteVector block = parse_hex(hex_block(section, 0));
  const ByteVector end = parse_hex(hex_block(section, 1));
  EXPECT_EQ(block, golden_block());
  EXPECT_EQ(end, golden_footer());
  const std::optional<SegmentBlock> header = peek_block(block, kExample, 8192);
  ASSERT_TRUE(header.has_value());
  EXPECT_TRUE(block_intact(block, kExample, 0));
  Result<std::vector<Bytes>> batches = block_batches(*header, block);
  ASSERT_TRUE(batches.ok());
  ASSERT_EQ(batches->size(), 1U);
  EXPECT_EQ(to_vector(batches->front()), example_batch());
  const std::optional<std::uint64_t> position = footer_position(end, 8192);
  ASSERT_TRUE(position.has_value());
  Result<SegmentFooter> footer = decode_footer(end, kExample, *position);
  ASSERT_TRUE(footer.ok()) << to_string(footer.error());
  const std::map<std::string, std::uint64_t> read = {
      {"block.facts", static_cast<std::uint64_t>(header->facts)},
      {"block.stream", header->stream.value},
      {"block.base", header->base.value},
      {"block.end", header->end.value},
      {"block.max_timestamp", header->max_timestamp.milliseconds},
      {"block.block_size", header->block_size},
      {"block.payload_size", header->payload_size},
      {"block.batch_count", header->batch_count},
      {"block.record_count", header->record_count},
      {"footer.position", *position},
      {"footer.end", footer->end.value},
      {"footer.record_count", footer->record_count},
      {"footer.entry_count", footer->index.size()},
  };
  EXPECT_EQ(read, example_table(section));
}

TEST(SegmentFormat, EveryFlippedBitIsNoticed) {
  ByteVector block = golden_block();
  ByteVector end = golden_footer();
  for (std::size_t bit = 0; bit < limits::kBlock * 8; ++bit) {
    const auto mask = static_cast<std::byte>(1U << (bit % 8));
    block[bit / 8] ^= mask;
    end[bit / 8] ^= mask;
    EXPECT_FALSE(peek_block(block, kExample, 8192) && block_intact(block, kExample, 0)) << bit;
    EXPECT_FALSE(decode_footer(end, kExample, 4096).ok()) << bit;
    block[bit / 8] ^= mask;
    end[bit / 8] ^= mask;
  }
}

TEST(SegmentFormat, ABlockIsValidOnlyInItsFileAndPlaceS17) {
  const ByteVector block = golden_block();
  EXPECT_TRUE(block_intact(block, kExample, 0));
  EXPECT_FALSE(block_intact(block, kExample, 4096));
  for (SegmentId other :
       {SegmentId{StreamId{7}, kExample.base, 1}, SegmentId{kExample.stream, Offset{41}, 1},
        SegmentId{kExample.stream, kExample.base, 2}})
    EXPECT_FALSE(block_intact(block, other, 0));
  EXPECT_FALSE(peek_block(block, kExample, 4095)) << "it may not reach beyond its file";
  EXPECT_FALSE(peek_block(Bytes(block).first(63), kExample, 8192));
}

TEST(SegmentFormat, AnotherVersionsFooterIsRecognisedAsSuch) {
  SegmentFooter footer;
  footer.version = 2;
  ByteVector bytes(footer_size(0));
  encode_footer(footer, kExample, 4096, bytes);
  EXPECT_EQ(decode_footer(bytes, kExample, 4096).error().code, Errc::kUnsupportedFormat);
}

/// Rightly sealed, but a reader that followed it would go astray.
TEST(SegmentFormat, AFooterWithAnIndexThatCannotBeIsRefused) {
  SegmentFooter good;
  good.stream = kExample.stream;
  good.base = Offset{42};
  good.end = Offset{50};
  good.index = {{.base = Offset{42}, .max_before = WallTime{INT64_MIN}, .position = 0},
                {.base = Offset{45}, .max_before = WallTime{5}, .position = 65536}};
  auto decoded = [](const SegmentFooter& footer) {
    ByteVector bytes(footer_size(footer.index.size()));
    encode_footer(footer, kExample, 131072, bytes);
    return decode_footer(bytes, kExample, 131072);
  };
  ASSERT_TRUE(decoded(good).ok());
  EXPECT_EQ(*decoded(good), good);
  const std::vector<std::function<void(SegmentFooter&)>> wrongs = {
      [](SegmentFooter& footer) { footer.index.clear(); },
      [](SegmentFooter& footer) { footer.stream.value ^= 1; },
      [](SegmentFooter& footer) { footer.base = Offset{41}; },
      [](SegmentFooter& footer) { footer.end = Offset{42}; },
      [](SegmentFooter& footer) { footer.index[0].position = 4096; },
      [](SegmentFooter& footer) { footer.index[0].base = Offset{43}; },
      [](SegmentFooter& footer) { footer.index[1].position = 0; },
      [](SegmentFooter& footer) { footer.index[1].position = 65537; },
      [](SegmentFooter& footer) { footer.index[1].position = 131072; },
      [](SegmentFooter& footer) { footer.index[1].base = Offset{42}; },
      [](SegmentFooter& footer) { footer.index[1].base = Offset{50}; },
      [](SegmentFooter& footer) {
        footer.index[0].max_before = WallTime{6};
        footer.index[1].max_before = WallTime{5};
      },
  };
  for (std::size_t i = 0; i < wrongs.size(); ++i) {
    SegmentFooter wrong = good;
    wrongs[i](wrong);
    const Result<SegmentFooter> read = decoded(wrong);
    ASSERT_FALSE(read.ok()) << i;
    EXPECT_EQ(read.error().code, Errc::kBadFormat) << i;
  }
}

TEST(SegmentFormat, NamesComeBackAndNothingElseIsTaken) {
  EXPECT_EQ(segment_name(kExample), "00000000000000000042-1.wbs");
  for (std::int64_t base : {std::int64_t{0}, std::int64_t{42}, INT64_MAX}) {
    for (std::uint64_t generation : {1ULL, 17ULL, 18446744073709551615ULL}) {
      const SegmentId id{kExample.stream, Offset{base}, generation};
      EXPECT_EQ(parse_segment_name(kExample.stream, segment_name(id)), id);
    }
  }
  for (const char* wrong :
       {"", "00000000000000000042-1", "42-1.wbs", "00000000000000000042-.wbs",
        "00000000000000000042-01.wbs", "00000000000000000042+1.wbs", "-0000000000000000042-1.wbs",
        "99999999999999999999-1.wbs", "00000000000000000042-1.wbs.old"})
    EXPECT_FALSE(parse_segment_name(kExample.stream, wrong).has_value()) << wrong;
  EXPECT_EQ(stream_directory_name(kExample.stream), "0003000000000007");
}

}  // namespace
}  // namespace waybill

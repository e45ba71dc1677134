// Goal: the intent survives its way through the database, damage to it is an error, and a batch is
// a function of its rows (D22).
// Method: golden bytes, every truncation, every single-bit flip.
#include "client/outbox/intent.h"

#include <gtest/gtest.h>

#include "client/outbox/lane_check.h"

namespace waybill {
namespace {

Intent sample() {
  Intent intent;
  intent.codec = Codec::kZstd;
  intent.parts.push_back({{7}, {1}, 10, 12, 0x1122334455667788, {5, 9}});
  intent.parts.push_back({{8}, {0}, 0, 1, 3, {6}});
  return intent;
}

TEST(Intent, HasTheseBytesInVersion1) {
  ByteVector bytes = encode_intent(sample());
  ByteVector golden;
  ByteWriter out(golden);
  out.write(std::uint8_t{1});
  out.write(std::uint8_t{4});
  out.write(std::uint32_t{2});
  for (const IntentPart& part : sample().parts) {
    out.write(part.topic.value);
    out.write(part.partition.value);
    for (std::uint64_t value : {part.previous, part.base_sequence, part.checksum}) out.write(value);
    out.write(static_cast<std::uint32_t>(part.rows.size()));
    for (std::int64_t row : part.rows) out.write(row);
  }
  EXPECT_EQ(bytes, golden);
  EXPECT_EQ(*decode_intent(bytes), sample());
}

TEST(Intent, RefusesEveryTruncationAndOtherVersions) {
  ByteVector bytes = encode_intent(sample());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_intent(Bytes(bytes).first(size)).ok()) << size;
  }
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode_intent(bytes).ok());
  bytes.pop_back();
  bytes[0] = std::byte{2};
  EXPECT_EQ(decode_intent(bytes).error().code, Errc::kUnsupportedFormat);
}

TEST(Intent, AnyBitFlipIsReadOrRefusedWithoutHarm) {
  ByteVector bytes = encode_intent(sample());
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    ByteVector flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    Result<Intent> intent = decode_intent(flipped);
    EXPECT_FALSE(intent.ok() && *intent == sample()) << bit;
  }
}

TEST(Intent, BatchAndChecksumDependOnTheRowsAlone) {
  OutboxRow row;
  row.id = 1;
  row.topic = "t";
  row.key = to_vector(as_bytes("k"));
  row.payload = to_vector(as_bytes("v"));
  row.created_us = 1'700'000'000'000'000;
  OutboxRow copy = row;
  std::vector<const OutboxRow*> one{&row};
  std::vector<const OutboxRow*> two{&copy};
  EXPECT_EQ(*build_batch(Codec::kNone, one), *build_batch(Codec::kNone, two));
  EXPECT_EQ(rows_checksum(one), rows_checksum(two));
  copy.payload.push_back(std::byte{1});
  EXPECT_NE(rows_checksum(one), rows_checksum(two));
}

TEST(LaneCheck, TellsAppendedFromMissingPartByPart) {
  Catalog catalog;
  catalog.topics.resize(1);
  catalog.topics[0].id = {7};
  LanePositions database;
  for (std::uint32_t i = 0; i < 2; ++i) database[{{7}, {i}}] = {{7}, {i}, 10, 14};
  Intent intent;
  intent.parts.push_back({{7}, {0}, 10, 12, 0, {1, 2}});
  intent.parts.push_back({{7}, {1}, 10, 12, 0, {3, 4}});
  LaneCheck check = check_lane(database, {{{7}, {0}, 13}, {{7}, {1}, 10}}, intent, catalog);
  EXPECT_EQ(check.who, WhoWentBack::kNobody);
  ASSERT_EQ(check.appended.size(), 1U);
  EXPECT_EQ(check.appended[0], intent.parts[0]);
  ASSERT_EQ(check.missing.size(), 1U);
  EXPECT_EQ(check.missing[0], intent.parts[1]);
  // 12 is inside the intent but no end of it: nobody we know sent that.
  check = check_lane(database, {{{7}, {0}, 12}, {{7}, {1}, 10}}, intent, catalog);
  EXPECT_EQ(check.who, WhoWentBack::kDatabase);
  check = check_lane(database, {{{7}, {0}, 10}, {{7}, {1}, 9}}, intent, catalog);
  EXPECT_EQ(check.who, WhoWentBack::kBroker);
}

}  // namespace
}  // namespace waybill

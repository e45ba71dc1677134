// Goal: integers become bytes and come back; a reader never runs past its span and stays failed.
// Method: round trips, every truncation of one encoding, lengths that lie.
#include "protocol/base/bytes.h"

#include <gtest/gtest.h>

#include <limits>

namespace waybill {
namespace {

enum class Color : std::uint16_t { kRed = 0x1234 };

ByteVector encode_everything() {
  ByteVector out;
  ByteWriter writer(out);
  writer.write(std::uint8_t{0xab});
  writer.write(std::uint16_t{0x1234});
  writer.write(std::int32_t{-2});
  writer.write(std::uint64_t{0x0102030405060708});
  writer.write(Color::kRed);
  writer.write_text("text");
  writer.write_varint(300);
  writer.write_bytes(as_bytes("tail"));
  return out;
}

bool decode_everything(Bytes bytes) {
  ByteReader reader(bytes);
  bool equal_values = reader.read<std::uint8_t>() == 0xab;
  equal_values &= reader.read<std::uint16_t>() == 0x1234;
  equal_values &= reader.read<std::int32_t>() == -2;
  equal_values &= reader.read<std::uint64_t>() == 0x0102030405060708;
  equal_values &= reader.read<Color>() == Color::kRed;
  equal_values &= reader.read_text(100) == "text";
  equal_values &= reader.read_varint() == 300;
  equal_values &= as_text(reader.read_bytes(4)) == "tail";
  return reader.finished() && equal_values;
}

TEST(ByteReader, ReadsWhatTheWriterWrote) {
  EXPECT_TRUE(decode_everything(encode_everything()));
}

TEST(ByteReader, EveryTruncationFails) {
  ByteVector bytes = encode_everything();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_everything(Bytes(bytes).first(size))) << size;
  }
}

TEST(ByteReader, BytesLeftOverAreNotFinished) {
  ByteVector bytes = encode_everything();
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode_everything(bytes));
}

TEST(ByteReader, StaysFailedAfterAShortRead) {
  ByteVector bytes(3);
  ByteReader reader(bytes);
  EXPECT_EQ(reader.read<std::uint32_t>(), 0U);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.read<std::uint8_t>(), 0U);
  EXPECT_EQ(reader.remaining(), 0U);
  EXPECT_FALSE(reader.finished());
}

TEST(ByteReader, RefusesALengthBeyondItsBoundOrItsBytes) {
  ByteVector bytes;
  ByteWriter(bytes).write_sized(as_bytes("12345"));
  EXPECT_EQ(as_text(ByteReader(bytes).read_sized(5)), "12345");
  ByteReader bounded(bytes);
  EXPECT_TRUE(bounded.read_sized(4).empty());
  EXPECT_FALSE(bounded.ok());
  bytes[0] = std::byte{6};
  ByteReader lied_to(bytes);
  EXPECT_TRUE(lied_to.read_sized(100).empty());
  EXPECT_FALSE(lied_to.ok());
}

TEST(ByteReader, VarintsComeBackAtEveryLength) {
  for (unsigned shift = 0; shift < 64; ++shift) {
    for (std::uint64_t value : {(1ULL << shift) - 1, 1ULL << shift, ~0ULL >> shift}) {
      ByteVector bytes;
      ByteWriter(bytes).write_varint(value);
      ByteReader reader(bytes);
      EXPECT_EQ(reader.read_varint(), value);
      EXPECT_TRUE(reader.finished());
      EXPECT_LE(bytes.size(), 10U);
    }
  }
}

TEST(ByteReader, AVarintWithoutEndFails) {
  ByteVector endless(11, std::byte{0x80});
  ByteReader reader(endless);
  EXPECT_EQ(reader.read_varint(), 0U);
  EXPECT_FALSE(reader.ok());
}

TEST(ByteWriter, IsLittleEndian) {
  ByteVector bytes;
  ByteWriter(bytes).write(std::uint32_t{0x01020304});
  EXPECT_EQ(bytes, (ByteVector{std::byte{4}, std::byte{3}, std::byte{2}, std::byte{1}}));
}

TEST(BigEndian, HasTheHighByteFirstAndComesBack) {
  std::byte data[8]{};
  store_big(data, std::uint16_t{0x0102});
  EXPECT_EQ(data[0], std::byte{1});
  EXPECT_EQ(load_big<std::uint16_t>(data), 0x0102);
  store_big(data, std::int32_t{-5});
  EXPECT_EQ(data[3], std::byte{0xfb});
  EXPECT_EQ(load_big<std::int32_t>(data), -5);
  constexpr auto kLowest = std::numeric_limits<std::int64_t>::min();
  store_big(data, kLowest);
  EXPECT_EQ(data[0], std::byte{0x80});
  EXPECT_EQ(load_big<std::int64_t>(data), kLowest);
  store_big(data, std::int8_t{-1});
  EXPECT_EQ(load_big<std::int8_t>(data), -1);
}

TEST(Equal, ComparesContentAndTakesEmptySpans) {
  EXPECT_TRUE(equal({}, {}));
  EXPECT_TRUE(equal(as_bytes(""), {}));
  EXPECT_TRUE(equal(as_bytes("ab"), as_bytes("ab")));
  EXPECT_FALSE(equal(as_bytes("ab"), as_bytes("ac")));
  EXPECT_FALSE(equal(as_bytes("ab"), as_bytes("abc")));
}

}  // namespace
}  // namespace waybill

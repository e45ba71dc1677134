// Goal: the checksums are the published ones. Method: known vectors, and every short length against
// a bitwise CRC (the library switches code paths by length).
#include "protocol/base/checksum.h"

#include <gtest/gtest.h>

namespace waybill {
namespace {

std::uint32_t bitwise_crc32c(Bytes bytes) {
  std::uint32_t crc = 0xffffffff;
  for (std::byte byte : bytes) {
    crc ^= static_cast<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
  }
  return ~crc;
}

TEST(Crc32c, MatchesTheVectorsOfRfc3720) {
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xe3069283U);
  EXPECT_EQ(crc32c({}), 0U);
  EXPECT_EQ(crc32c(ByteVector(32)), 0x8a9136aaU);
  EXPECT_EQ(crc32c(ByteVector(32, std::byte{0xff})), 0x62a8ab43U);
}

TEST(Crc32c, MatchesTheBitwiseDefinitionAtEveryLength) {
  ByteVector bytes;
  for (unsigned i = 0; i < 4100; ++i) {
    if (i < 300 || i % 97 == 0) {
      EXPECT_EQ(crc32c(bytes), bitwise_crc32c(bytes)) << i;
    }
    bytes.push_back(static_cast<std::byte>(i * 31 + 7));
  }
}

TEST(Xxh3, MatchesThePublishedValueOfNothing) {
  EXPECT_EQ(xxh3_64({}), 0x2d06800538d394c2U);
}

TEST(Xxh3, DependsOnSeedAndOnEveryBit) {
  ByteVector bytes(300);
  std::uint64_t plain = xxh3_64(bytes);
  EXPECT_NE(xxh3_64(bytes, 1), plain);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_NE(xxh3_64(bytes), plain);
    bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
  }
}

}  // namespace
}  // namespace waybill

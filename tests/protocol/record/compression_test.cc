// Goal: every codec gives back what it was given, and no input makes it allocate far beyond the
// bound or read outside. Method: sizes around the block borders, cut and flipped input, bombs.
#include "protocol/record/compression.h"

#include <gtest/gtest.h>

#include "protocol/base/limits.h"
#include "protocol/base/random.h"
#include "tests/protocol/record/batch_bytes.h"

namespace waybill {
namespace {

constexpr Codec kCompressing[] = {Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd};

ByteVector sample(std::size_t size) {
  SeededRandom random(7);
  ByteVector bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(8));
  return bytes;
}

Errc refusal(Codec codec, Bytes input, std::size_t max_output) {
  Result<ByteVector> output = decompress(codec, input, max_output);
  return output.ok() ? Errc{0} : output.error().code;
}

TEST(Compression, EverySizeComesBack) {
  for (Codec codec : kCompressing) {
    for (std::size_t size :
         {0, 1, 100, 32 * 1024, 32 * 1024 + 1, 64 * 1024, 64 * 1024 + 1, 300'000}) {
      ByteVector input = sample(size);
      Result<ByteVector> output = decompress(codec, compress(codec, input), size);
      ASSERT_TRUE(output.ok()) << name(codec) << " " << size;
      EXPECT_EQ(*output, input) << name(codec) << " " << size;
    }
  }
}

TEST(Compression, TheBoundHoldsToTheByte) {
  ByteVector input = sample(100'000);
  for (Codec codec : kCompressing) {
    ByteVector compressed = compress(codec, input);
    EXPECT_EQ(refusal(codec, compressed, input.size()), Errc{0}) << name(codec);
    for (std::size_t less : {1UL, 50'000UL, 100'000UL}) {
      EXPECT_EQ(refusal(codec, compressed, input.size() - less), Errc::kDecompressionLimit)
          << name(codec);
    }
  }
}

TEST(Compression, LeftoversAreRefused) {
  for (Codec codec : kCompressing) {
    ByteVector compressed = compress(codec, sample(1'000));
    compressed.push_back(std::byte{0});
    EXPECT_EQ(refusal(codec, compressed, 1 << 20), Errc::kInvalidBatch) << name(codec);
  }
}

TEST(Compression, CutInputIsRefused) {
  for (Codec codec : kCompressing) {
    ByteVector compressed = compress(codec, sample(500));
    for (std::size_t size = 0; size < compressed.size(); ++size) {
      // A xerial stream of no chunks is a valid empty one; its header ends at 16 bytes.
      if (codec == Codec::kSnappy && size == 16) continue;
      EXPECT_NE(refusal(codec, Bytes(compressed).first(size), 1 << 20), Errc{0})
          << name(codec) << " " << size;
    }
  }
}

TEST(Compression, NoFlippedBitGoesBeyondTheBound) {
  for (Codec codec : kCompressing) {
    ByteVector compressed = compress(codec, sample(300));
    for (std::size_t bit = 0; bit < compressed.size() * 8; ++bit) {
      compressed[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
      Result<ByteVector> output = decompress(codec, compressed, 400);
      if (output.ok()) {
        EXPECT_LE(output->size(), 400U);
      }
      compressed[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    }
  }
}

TEST(Compression, ClaimedSizesAreNotBelievedBeforeAllocating) {
  // Five bytes that claim 2 GiB, and 30 MiB which the bound would allow.
  EXPECT_EQ(refusal(Codec::kSnappy, bytes_of({0xff, 0xff, 0xff, 0xff, 0x07}), 1 << 20),
            Errc::kDecompressionLimit);
  EXPECT_EQ(refusal(Codec::kSnappy, bytes_of({0x80, 0x80, 0x80, 0x0f}), 32 << 20),
            Errc::kInvalidBatch);
  // zstd, single segment, an eight byte content size of 2^60
  EXPECT_EQ(refusal(Codec::kZstd,
                    bytes_of({0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0}),
                    1 << 20),
            Errc::kDecompressionLimit);
}

TEST(Compression, OutputMemoryStaysNearTheBound) {
  ByteVector zeros(limits::kMaxUncompressedBatch);
  for (Codec codec : {Codec::kGzip, Codec::kZstd, Codec::kLz4}) {
    ByteVector bomb = compress(codec, zeros);
    Result<ByteVector> output = decompress(codec, bomb, zeros.size());
    ASSERT_TRUE(output.ok());
    EXPECT_LE(output->capacity(), zeros.size() + 1) << name(codec);
  }
}

TEST(Compression, RatioAndSizeBoundTheOutput) {
  EXPECT_EQ(decompression_limit(0), limits::kMinRatioBytes);
  EXPECT_EQ(decompression_limit(10), limits::kMinRatioBytes);
  EXPECT_EQ(decompression_limit(10'000), 10'000 * limits::kMaxCompressionRatio);
  EXPECT_EQ(decompression_limit(1'000'000), limits::kMaxUncompressedBatch);
  EXPECT_EQ(decompression_limit(SIZE_MAX), limits::kMaxUncompressedBatch);
}

TEST(Compression, NamesAndNumbersAreKafkas) {
  for (unsigned number = 0; number < 5; ++number) {
    Result<Codec> codec = codec_of_number(number);
    ASSERT_TRUE(codec.ok());
    EXPECT_EQ(static_cast<unsigned>(*codec), number);
    EXPECT_EQ(*codec_of_name(name(*codec)), *codec);
  }
  EXPECT_EQ(name(Codec::kSnappy), "snappy");
  EXPECT_EQ(name(Codec::kLz4), "lz4");
  EXPECT_TRUE(codec_of_number(5).error() == Errc::kUnsupportedCompression);
  EXPECT_TRUE(codec_of_name("brotli").error() == Errc::kUnsupportedCompression);
}

}  // namespace
}  // namespace waybill

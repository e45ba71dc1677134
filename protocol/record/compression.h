// The codecs of Kafka's record batch, with output bounded before it is allocated.
//
// Each writes and reads what Kafka's Java client does: gzip (RFC 1952), snappy in xerial's framing
// (raw snappy is read too: librdkafka writes it), lz4 in the LZ4 frame format with independent
// blocks, zstd frames. No state is kept between calls; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "protocol/base/bytes.h"
#include "protocol/base/result.h"

namespace waybill {

/// Kafka's numbers: the low three bits of a batch's attributes.
enum class Codec : std::uint8_t { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };

/// Errors: kUnsupportedCompression.
Result<Codec> codec_of_number(unsigned number);
/// "none", "gzip", "snappy", "lz4", "zstd". Errors: kUnsupportedCompression.
Result<Codec> codec_of_name(std::string_view text);
std::string_view name(Codec codec);

/// How far `compressed_size` bytes may expand: limits::kMaxUncompressedBatch, or less where the
/// ratio would be a bomb's.
std::size_t decompression_limit(std::size_t compressed_size);

/// Requires codec != kNone. Never allocates much more than `max_output`, whatever the input claims.
/// Errors: kDecompressionLimit; kInvalidBatch if the input is damaged or has bytes left over.
Result<ByteVector> decompress(Codec codec, Bytes input, std::size_t max_output);

/// Requires codec != kNone and input of at most limits::kMaxUncompressedBatch bytes. Cannot fail.
ByteVector compress(Codec codec, Bytes input);

}  // namespace waybill

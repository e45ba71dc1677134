#include "protocol/record/compression.h"

#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <climits>
#include <memory>

#include "protocol/base/limits.h"

namespace waybill {
namespace {

constexpr auto kNames = std::to_array<std::string_view>({"none", "gzip", "snappy", "lz4", "zstd"});

constexpr Error kBadInput{Errc::kInvalidBatch, 0, "decompress"};
constexpr Error kTooFar{Errc::kDecompressionLimit, 0, "decompress"};

/// Output that grows by doubling up to its limit and one byte: the byte tells "exactly the limit"
/// from "more than that".
class BoundedOutput {
 public:
  BoundedOutput(std::size_t input_size, std::size_t limit) : limit_(limit) {
    constexpr std::size_t kUsualRatio = 4;
    constexpr std::size_t kSmallest = 4096;
    bytes_.resize(std::min(limit + 1, std::max(kSmallest, input_size * kUsualRatio)));
  }

  [[nodiscard]] MutableBytes room() { return MutableBytes(bytes_).subspan(used_); }
  [[nodiscard]] bool full() const { return used_ == bytes_.size(); }
  void advance(std::size_t size) { used_ += size; }
  /// False at the limit.
  bool grow() {
    if (bytes_.size() > limit_) return false;
    std::size_t size = std::min(limit_ + 1, bytes_.size() * 2);
    bytes_.reserve(size);  // resize alone may take twice as much
    bytes_.resize(size);
    return true;
  }
  Result<ByteVector> finish() {
    if (used_ > limit_) return kTooFar;
    bytes_.resize(used_);
    return std::move(bytes_);
  }

 private:
  ByteVector bytes_;
  std::size_t used_ = 0;
  std::size_t limit_;
};

// --- gzip ---

constexpr int kGzipWindowBits = 15 + 16;  // +16: gzip's header and trailer, not zlib's

Bytef* zlib_input(Bytes bytes) {
  return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
}

Result<ByteVector> gunzip(Bytes input, std::size_t max_output) {
  z_stream stream{};
  WB_ASSERT(inflateInit2(&stream, kGzipWindowBits) == Z_OK, "zlib starts");
  auto end = [](z_stream* s) { inflateEnd(s); };
  std::unique_ptr<z_stream, decltype(end)> guard(&stream, end);
  stream.next_in = zlib_input(input);
  stream.avail_in = static_cast<uInt>(input.size());
  BoundedOutput output(input.size(), max_output);
  for (;;) {
    if (output.full() && !output.grow()) return kTooFar;
    MutableBytes room = output.room();
    stream.next_out = reinterpret_cast<Bytef*>(room.data());
    stream.avail_out = static_cast<uInt>(room.size());
    int status = inflate(&stream, Z_NO_FLUSH);
    output.advance(room.size() - stream.avail_out);
    if (status == Z_STREAM_END) break;
    bool needs_input = stream.avail_in == 0 && stream.avail_out != 0;
    if (status != Z_OK || needs_input) return kBadInput;
  }
  if (stream.avail_in != 0) return kBadInput;
  return output.finish();
}

ByteVector gzip(Bytes input) {
  z_stream stream{};
  constexpr int kDefaultMemory = 8;
  WB_ASSERT(deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindowBits,
                         kDefaultMemory, Z_DEFAULT_STRATEGY) == Z_OK,
            "zlib starts");
  ByteVector output(deflateBound(&stream, input.size()));
  stream.next_in = zlib_input(input);
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(output.data());
  stream.avail_out = static_cast<uInt>(output.size());
  WB_ASSERT(deflate(&stream, Z_FINISH) == Z_STREAM_END, "deflateBound is enough");
  output.resize(stream.total_out);
  deflateEnd(&stream);
  return output;
}

// --- snappy: xerial's stream is a header, then chunks of {i32 size, raw snappy block} ---

constexpr auto kXerialMagic = std::to_array<unsigned char>({0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0});
constexpr std::int32_t kXerialVersion = 1;  // written twice: version, lowest compatible version
constexpr std::size_t kXerialHeaderSize = kXerialMagic.size() + 8;
constexpr std::size_t kXerialBlock = 32 * 1024;

const char* chars(Bytes bytes) {
  return reinterpret_cast<const char*>(bytes.data());
}

Result<void> append_snappy_block(ByteVector& output, Bytes block, std::size_t max_output) {
  std::size_t size = 0;
  if (!snappy::GetUncompressedLength(chars(block), block.size(), &size)) return kBadInput;
  std::size_t at = output.size();
  if (size > max_output - at) return kTooFar;
  // A snappy copy of 3 bytes makes at most 64: a claim beyond that is a lie, not worth the memory.
  constexpr std::size_t kMaxSnappyRatio = 22;
  if (size / kMaxSnappyRatio > block.size()) return kBadInput;
  output.resize(at + size);
  auto* to = reinterpret_cast<char*>(output.data() + at);
  if (!snappy::RawUncompress(chars(block), block.size(), to)) return kBadInput;
  return {};
}

Result<ByteVector> unsnappy(Bytes input, std::size_t max_output) {
  ByteVector output;
  bool xerial = input.size() >= kXerialHeaderSize &&
                equal(input.first(kXerialMagic.size()), std::as_bytes(std::span(kXerialMagic)));
  if (!xerial) {
    Result<void> appended = append_snappy_block(output, input, max_output);
    if (!appended) return appended.error();
    return output;
  }
  input = input.subspan(kXerialHeaderSize);
  while (!input.empty()) {
    if (input.size() < 4) return kBadInput;
    auto size = load_big<std::uint32_t>(input.data());
    input = input.subspan(4);
    if (size > input.size()) return kBadInput;
    Result<void> appended = append_snappy_block(output, input.first(size), max_output);
    if (!appended) return appended.error();
    input = input.subspan(size);
  }
  return output;
}

ByteVector xerial_snappy(Bytes input) {
  ByteVector output = to_vector(std::as_bytes(std::span(kXerialMagic)));
  output.resize(kXerialHeaderSize);
  store_big(output.data() + kXerialMagic.size(), kXerialVersion);
  store_big(output.data() + kXerialMagic.size() + 4, kXerialVersion);
  while (!input.empty()) {
    Bytes block = input.first(std::min(kXerialBlock, input.size()));
    std::size_t at = output.size();
    output.resize(at + 4 + snappy::MaxCompressedLength(block.size()));
    std::size_t size = 0;
    auto* to = reinterpret_cast<char*>(output.data() + at + 4);
    snappy::RawCompress(chars(block), block.size(), to, &size);
    store_big(output.data() + at, static_cast<std::int32_t>(size));
    output.resize(at + 4 + size);
    input = input.subspan(block.size());
  }
  return output;
}

// --- lz4 ---

Result<ByteVector> unlz4(Bytes input, std::size_t max_output) {
  LZ4F_dctx* context = nullptr;
  WB_ASSERT(!LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)), "lz4 starts");
  std::unique_ptr<LZ4F_dctx, decltype(&LZ4F_freeDecompressionContext)> guard(
      context, &LZ4F_freeDecompressionContext);
  BoundedOutput output(input.size(), max_output);
  for (;;) {
    if (output.full() && !output.grow()) return kTooFar;
    MutableBytes room = output.room();
    std::size_t produced = room.size();
    std::size_t consumed = input.size();
    std::size_t more =
        LZ4F_decompress(context, room.data(), &produced, input.data(), &consumed, nullptr);
    if (LZ4F_isError(more)) return kBadInput;
    output.advance(produced);
    input = input.subspan(consumed);
    if (more == 0) break;
    if (produced == 0 && consumed == 0) return kBadInput;
  }
  if (!input.empty()) return kBadInput;
  return output.finish();
}

ByteVector lz4(Bytes input) {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;  // Kafka's Java reader needs it
  ByteVector output(LZ4F_compressFrameBound(input.size(), &preferences));
  std::size_t size =
      LZ4F_compressFrame(output.data(), output.size(), input.data(), input.size(), &preferences);
  WB_ASSERT(!LZ4F_isError(size), "the frame bound is enough");
  output.resize(size);
  return output;
}

// --- zstd ---

/// In one go rather than as a stream: a stream allocates the frame's window, up to 128 MiB.
Result<ByteVector> unzstd(Bytes input, std::size_t max_output) {
  unsigned long long claimed = ZSTD_getFrameContentSize(input.data(), input.size());
  if (claimed == ZSTD_CONTENTSIZE_ERROR) return kBadInput;
  bool known = claimed != ZSTD_CONTENTSIZE_UNKNOWN;
  if (known && claimed > max_output) return kTooFar;
  BoundedOutput output(input.size(), known ? static_cast<std::size_t>(claimed) : max_output);
  for (;;) {
    MutableBytes room = output.room();
    std::size_t size = ZSTD_decompress(room.data(), room.size(), input.data(), input.size());
    if (!ZSTD_isError(size)) {
      output.advance(size);
      return output.finish();
    }
    if (ZSTD_getErrorCode(size) != ZSTD_error_dstSize_tooSmall) return kBadInput;
    if (!output.grow()) return kTooFar;
  }
}

ByteVector zstd(Bytes input) {
  ByteVector output(ZSTD_compressBound(input.size()));
  std::size_t size =
      ZSTD_compress(output.data(), output.size(), input.data(), input.size(), ZSTD_CLEVEL_DEFAULT);
  WB_ASSERT(!ZSTD_isError(size), "the compression bound is enough");
  output.resize(size);
  return output;
}

}  // namespace

Result<Codec> codec_of_number(unsigned number) {
  if (number >= kNames.size()) return {Errc::kUnsupportedCompression, "codec number"};
  return static_cast<Codec>(number);
}

Result<Codec> codec_of_name(std::string_view text) {
  const auto* found = std::ranges::find(kNames, text);
  if (found == kNames.end()) return {Errc::kUnsupportedCompression, "codec name"};
  return static_cast<Codec>(found - kNames.begin());
}

std::string_view name(Codec codec) {
  return kNames.at(static_cast<std::size_t>(codec));
}

std::size_t decompression_limit(std::size_t compressed_size) {
  if (compressed_size >= limits::kMaxUncompressedBatch) return limits::kMaxUncompressedBatch;
  return std::min(limits::kMaxUncompressedBatch,
                  std::max(limits::kMinRatioBytes, compressed_size * limits::kMaxCompressionRatio));
}

Result<ByteVector> decompress(Codec codec, Bytes input, std::size_t max_output) {
  if (input.size() > limits::kMaxUncompressedBatch) return kTooFar;
  max_output = std::min(max_output, limits::kMaxUncompressedBatch);
  switch (codec) {
    case Codec::kGzip:
      return gunzip(input, max_output);
    case Codec::kSnappy:
      return unsnappy(input, max_output);
    case Codec::kLz4:
      return unlz4(input, max_output);
    case Codec::kZstd:
      return unzstd(input, max_output);
    case Codec::kNone:
      break;
  }
  assertion_failed("codec != kNone", __FILE__, __LINE__, "only compressed bytes are expanded");
}

ByteVector compress(Codec codec, Bytes input) {
  WB_ASSERT(input.size() <= limits::kMaxUncompressedBatch, "more would never be expanded again");
  switch (codec) {
    case Codec::kGzip:
      return gzip(input);
    case Codec::kSnappy:
      return xerial_snappy(input);
    case Codec::kLz4:
      return lz4(input);
    case Codec::kZstd:
      return zstd(input);
    case Codec::kNone:
      break;
  }
  assertion_failed("codec != kNone", __FILE__, __LINE__, "a codec compresses");
}

}  // namespace waybill

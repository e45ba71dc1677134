// Goal: frames come out of a stream as they went in, however it is cut, and a bad header is refused
// before it costs memory.
// Method: the decoder is fed in every step size; headers are spoilt field by field; the largest
// allocation is measured.
#include "protocol/wire/frame.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "tests/protocol/wire/samples.h"

namespace {
std::size_t largest_allocation = 0;
}

[[gnu::noinline]] void* operator new(std::size_t size) {
  largest_allocation = std::max(largest_allocation, size);
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace waybill::test {
namespace {

ByteVector header_bytes(std::uint32_t length, std::uint16_t kind = 2, std::uint8_t type = 0,
                        std::uint8_t version = 1, std::uint32_t correlation = 1,
                        std::uint32_t meta_length = 0) {
  ByteVector bytes;
  ByteWriter writer(bytes);
  writer.write(length);
  writer.write(kind);
  writer.write(type);
  writer.write(version);
  writer.write(correlation);
  writer.write(meta_length);
  return bytes;
}

Errc refusal(const ByteVector& bytes, FrameRules rules = {}) {
  Result<FrameHeader> header = parse_header(bytes, rules);
  return header ? Errc{0} : header.error().code;
}

TEST(Frame, HeaderIsExactlyAsThePageSays) {
  EXPECT_EQ(refusal(header_bytes(12)), Errc{0});
  Result<FrameHeader> header =
      parse_header(header_bytes(30, 21, 1, 1, 0x01020304, 5), FrameRules{});
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->kind, RequestKind::kPublish);
  EXPECT_EQ(header->type, FrameType::kReply);
  EXPECT_EQ(header->correlation, 0x01020304u);
  EXPECT_EQ(header->payload_size(), 18u);
  EXPECT_EQ(header->meta_length, 5u);
}

TEST(Frame, BadHeadersAreRefused) {
  EXPECT_EQ(refusal(header_bytes(11)), Errc::kMalformedFrame);
  EXPECT_EQ(refusal(header_bytes(0)), Errc::kMalformedFrame);
  EXPECT_EQ(refusal(header_bytes(12, 2, 3)), Errc::kMalformedFrame);
  EXPECT_EQ(refusal(header_bytes(12, 2, 128)), Errc::kMalformedFrame);
  EXPECT_EQ(refusal(header_bytes(12, 2, 0, 2)), Errc::kUnsupportedVersion);
  EXPECT_EQ(refusal(header_bytes(12, 2, 0, 0)), Errc::kUnsupportedVersion);
  EXPECT_EQ(refusal(header_bytes(12, 2, 0, 1, 0)), Errc::kMalformedFrame);
  EXPECT_EQ(refusal(header_bytes(12, 63, 4, 1, 5)), Errc::kMalformedFrame);
  EXPECT_EQ(refusal(header_bytes(12, 2, 0, 1, 1, 1)), Errc::kMalformedFrame);
  EXPECT_EQ(refusal(header_bytes(8 * 1024 * 1024, 21, 0, 1, 1, limits::kMaxFrameMeta + 1),
                    rules_after_hello(1)),
            Errc::kFrameTooLarge);
}

TEST(Frame, CreditNeedsNoCorrelation) {
  EXPECT_EQ(refusal(header_bytes(12, 62, 0, 1, 0)), Errc{0});
}

TEST(Frame, AnUnknownKindIsTheNextLayersConcern) {
  EXPECT_EQ(refusal(header_bytes(12, 9999)), Errc{0});
  EXPECT_EQ(find_request_kind(RequestKind{9999}), nullptr);
}

TEST(Frame, TheLimitCountsTheWholeFrameAndIsRaisedAfterHello) {
  auto at_limit = static_cast<std::uint32_t>(limits::kMaxHelloFrame - kFrameLengthSize);
  EXPECT_EQ(refusal(header_bytes(at_limit)), Errc{0});
  EXPECT_EQ(refusal(header_bytes(at_limit + 1)), Errc::kFrameTooLarge);
  EXPECT_EQ(refusal(header_bytes(at_limit + 1), rules_after_hello(1)), Errc{0});
  EXPECT_EQ(refusal(header_bytes(UINT32_MAX), rules_after_hello(1)), Errc::kFrameTooLarge);
}

TEST(FrameDecoder, RefusesALengthAboveTheLimitBeforeItAllocates) {
  FrameDecoder decoder = decoder_after_hello();
  ByteVector bytes = header_bytes(static_cast<std::uint32_t>(limits::kMaxFrame), 21);
  largest_allocation = 0;
  auto frames = feed(decoder, bytes);
  std::size_t largest = largest_allocation;
  ASSERT_FALSE(frames.ok());
  EXPECT_EQ(frames.error().code, Errc::kFrameTooLarge);
  EXPECT_LE(largest, 64u * 1024);
  EXPECT_EQ(decoder.next().error().code, Errc::kFrameTooLarge) << "the error stays";
}

TEST(FrameDecoder, AllocatesOnceForALargeFrame) {
  PublishRequest request = filled<PublishRequest>();
  request.parts[0].batch = SharedBytes(ByteVector(5'000'000, std::byte{7}));
  ByteVector bytes = bytes_of(encode_request(1, request));
  for (std::size_t step : {std::size_t{1500}, std::size_t{65536}, SIZE_MAX}) {
    FrameDecoder decoder = decoder_after_hello();
    largest_allocation = 0;
    auto frames = feed(decoder, bytes, step);
    std::size_t largest = largest_allocation;
    ASSERT_TRUE(frames.ok() && frames->size() == 1);
    EXPECT_LE(largest, bytes.size() + 64);
    EXPECT_TRUE(same(request, *decode_as<PublishRequest>(frames->front())));
  }
}

TEST(FrameDecoder, FramesArriveInAnyStepSize) {
  ByteVector stream;
  for (const AnyStruct& any : all_structs()) {
    stream.insert(stream.end(), any.filled_frame.begin(), any.filled_frame.end());
  }
  for (std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{15}, std::size_t{16},
                           std::size_t{17}, std::size_t{1000}, SIZE_MAX}) {
    FrameDecoder decoder = decoder_after_hello();
    auto frames = feed(decoder, stream, step);
    ASSERT_TRUE(frames.ok());
    ASSERT_EQ(frames->size(), all_structs().size());
    EXPECT_TRUE(decoder.at_boundary());
    std::size_t at = 0;
    for (const AnyStruct& any : all_structs()) {
      Reply<Heard> heard = any.decode_frame((*frames)[at++]);
      ASSERT_TRUE(heard.ok());
      EXPECT_TRUE(heard->as_filled);
    }
  }
}

TEST(FrameDecoder, FramesKeepTheirMemoryWhenTheDecoderIsGone) {
  std::vector<Frame> frames;
  {
    FrameDecoder decoder = decoder_after_hello();
    ByteVector bytes = bytes_of(frame_of(filled<DeliverPush>()));
    frames = *feed(decoder, bytes);
  }
  EXPECT_TRUE(same(filled<DeliverPush>(), *decode_as<DeliverPush>(frames.front())));
}

TEST(FrameDecoder, HelloMayBeFollowedByLargerFramesOnceTheRulesAreRaised) {
  ByteVector stream = bytes_of(frame_of(filled<HelloRequest>()));
  PublishRequest publish = filled<PublishRequest>();
  publish.parts[0].batch = SharedBytes(ByteVector(100'000, std::byte{1}));
  ByteVector second = bytes_of(frame_of(publish));
  stream.insert(stream.end(), second.begin(), second.end());

  FrameDecoder decoder;
  MutableBytes place = decoder.prepare();
  std::size_t size = std::min(place.size(), stream.size());
  std::memcpy(place.data(), stream.data(), size);
  decoder.commit(size);
  auto hello = decoder.next();
  ASSERT_TRUE(hello.ok() && hello->has_value());
  decoder.set_rules(rules_after_hello(1));
  auto rest = feed(decoder, Bytes(stream).subspan(size));
  ASSERT_TRUE(rest.ok());
  EXPECT_EQ(rest->size(), 1u);
}

TEST(FrameDecoder, ReadsFarAheadOnlyWhileMuchComes) {
  ByteVector ping = bytes_of(frame_of(PingRequest{}));
  FrameDecoder decoder = decoder_after_hello();
  /// As many pings as fit the room, or one; how much room there is afterwards.
  auto read = [&](bool full) {
    MutableBytes place = decoder.prepare();
    std::size_t count = full ? place.size() / ping.size() : 1;
    for (std::size_t i = 0; i < count; ++i) {
      std::ranges::copy(ping, place.data() + i * ping.size());
    }
    decoder.commit(count * ping.size());
    for (std::size_t i = 0; i < count; ++i) EXPECT_TRUE(decoder.next()->has_value());
    EXPECT_FALSE(decoder.next()->has_value());
    return decoder.prepare().size();
  };
  std::size_t small = read(false);
  EXPECT_LE(small, 4096u) << "what an idle connection costs";
  std::size_t large = read(true);
  EXPECT_GE(large, 16 * small);
  EXPECT_EQ(read(true), large);
  EXPECT_EQ(read(false), small);
}

TEST(OutFrame, SizeIsHeadAndBody) {
  OutFrame frame = frame_of(filled<PublishRequest>());
  EXPECT_EQ(frame.size(), frame.head.size() + 140);
  EXPECT_EQ(load_little<std::uint32_t>(frame.head.data()), frame.size() - 4);
}

TEST(OutFrame, CheckSizeKnowsWhatAPeerAccepts) {
  PublishRequest request = filled<PublishRequest>();
  EXPECT_TRUE(check_size(frame_of(request)).ok());
  request.parts[0].batch = SharedBytes(ByteVector(5'000'000));
  request.parts[1].batch = SharedBytes(ByteVector(5'000'000));
  EXPECT_EQ(check_size(frame_of(request)).error().code, Errc::kMessageTooLarge);
}

}  // namespace
}  // namespace waybill::test

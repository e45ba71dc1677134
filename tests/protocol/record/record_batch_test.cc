// Goal: what validate_batch accepts is right and can be read; everything else is refused (S25,
// S26). Method: golden batches made by hand, cut at every length and flipped at every bit; bodies
// that are wrong under a right CRC; every limit from both sides.
#include "protocol/record/record_batch.h"

#include <gtest/gtest.h>

#include "protocol/base/limits.h"
#include "protocol/record/batch_view.h"
#include "protocol/record/reserved_headers.h"
#include "protocol/record/varint.h"
#include "tests/protocol/record/batch_bytes.h"

namespace waybill {
namespace {

namespace layout = batch_layout;

Errc refusal(Bytes batch, ValidateOptions options = {}) {
  Result<BatchFacts> facts = validate_batch(batch, options);
  EXPECT_FALSE(facts.ok());
  return facts.ok() ? Errc{0} : facts.error().code;
}

/// One record with one header.
ByteVector batch_with_header(std::string_view key, Bytes value) {
  return build_batch(
      {{.key = {}, .value = as_bytes("v"), .headers = {{key, value}}, .timestamp = {1000}}});
}

/// {length, attributes 0, timestamp delta 0, offset delta, key null, value null, no headers}
ByteVector small_record(std::int32_t offset_delta) {
  ByteVector body = bytes_of({0, 0});
  append_varint(body, offset_delta);
  body.insert(body.end(), {std::byte{1}, std::byte{1}, std::byte{0}});
  ByteVector record;
  append_varint(record, static_cast<std::int64_t>(body.size()));
  record.insert(record.end(), body.begin(), body.end());
  return record;
}

TEST(ValidateBatch, FactsOfAGoldenBatchAreItsRecordsOwn) {
  ByteVector batch = golden_batch("plain");
  Result<BatchFacts> facts = validate_batch(batch);
  ASSERT_TRUE(facts.ok()) << to_string(facts.error());
  EXPECT_EQ(facts->base_offset, Offset{0});
  EXPECT_EQ(facts->record_count, 3U);
  EXPECT_EQ(facts->last_offset(), Offset{2});
  EXPECT_EQ(facts->first_timestamp, WallTime{1'700'000'000'123});
  EXPECT_EQ(facts->max_timestamp, WallTime{1'700'000'000'373});
  EXPECT_TRUE(facts->has_keys);
  EXPECT_FALSE(facts->has_not_before);
  EXPECT_FALSE(facts->has_expiry);
  EXPECT_FALSE(facts->compressed);
  EXPECT_EQ(facts->size, batch.size());
}

TEST(ValidateBatch, CompressedGoldenBatchesHaveTheSameFacts) {
  for (const char* name : {"gzip", "snappy_raw", "snappy_xerial", "lz4", "zstd"}) {
    Result<BatchFacts> facts = validate_batch(golden_batch(name));
    ASSERT_TRUE(facts.ok()) << name << ": " << to_string(facts.error());
    EXPECT_TRUE(facts->compressed);
    EXPECT_EQ(facts->record_count, 3U);
    EXPECT_EQ(facts->max_timestamp, WallTime{1'700'000'000'373});
  }
}

TEST(ValidateBatch, MaxTimestampComesFromTheRecordsAndNotFromTheHeadersClaim) {
  ByteVector batch = golden_batch("plain");
  store_big(batch.data() + layout::kMaxTimestamp, std::int64_t{0});
  seal(batch);
  Result<BatchFacts> facts = validate_batch(batch);
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->max_timestamp, WallTime{1'700'000'000'373});
}

TEST(ValidateBatch, EveryTruncationIsRefusedS25) {
  for (const char* name : {"plain", "gzip", "zstd"}) {
    ByteVector batch = golden_batch(name);
    for (std::size_t size = 0; size < batch.size(); ++size) {
      EXPECT_EQ(refusal(Bytes(batch).first(size)), Errc::kInvalidBatch) << name << " " << size;
    }
  }
}

TEST(ValidateBatch, BodyCutWithRightLengthAndCrcIsRefused) {
  for (const char* name : {"plain", "gzip", "snappy_raw", "snappy_xerial", "lz4", "zstd"}) {
    ByteVector whole = golden_batch(name);
    for (std::size_t size = layout::kHeaderSize; size < whole.size(); ++size) {
      ByteVector batch = to_vector(Bytes(whole).first(size));
      store_big(batch.data() + layout::kLength,
                static_cast<std::int32_t>(size - layout::kLengthStart));
      seal(batch);
      EXPECT_EQ(refusal(batch), Errc::kInvalidBatch) << name << " " << size;
    }
  }
}

TEST(ValidateBatch, NoFlippedBitIsAcceptedOutsideBaseOffsetAndLeaderEpochS25) {
  for (const char* name : {"plain", "gzip", "snappy_raw", "lz4", "zstd"}) {
    ByteVector batch = golden_batch(name);
    for (std::size_t bit = 0; bit < batch.size() * 8; ++bit) {
      std::size_t position = bit / 8;
      batch[position] ^= static_cast<std::byte>(1U << (bit % 8));
      bool stamped = position < layout::kLength ||
                     (position >= layout::kLeaderEpoch && position < layout::kMagic);
      Result<BatchFacts> facts = validate_batch(batch);
      if (!stamped) {
        ASSERT_FALSE(facts.ok()) << name << " bit " << bit;
      }
      if (position >= layout::kCrc) {
        EXPECT_TRUE(facts.error() == Errc::kCorruptBatch);
      }
      batch[position] ^= static_cast<std::byte>(1U << (bit % 8));
    }
  }
}

TEST(ValidateBatch, WhatIsAcceptedUnderAResealedCrcCanBeReadS25) {
  // A broken producer checksums its broken batch: any answer but a crash, and if the answer is yes,
  // the reader agrees.
  for (const char* name : {"plain", "gzip", "snappy_raw", "snappy_xerial", "lz4", "zstd"}) {
    const ByteVector whole = golden_batch(name);
    for (std::size_t bit = layout::kAttributes * 8; bit < whole.size() * 8; ++bit) {
      ByteVector batch = whole;
      batch[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
      seal(batch);
      Result<BatchFacts> facts = validate_batch(batch);
      Result<BatchReader> reader = BatchReader::open(batch);
      if (!reader) {
        EXPECT_FALSE(facts.ok()) << name << " bit " << bit;
        continue;
      }
      std::uint32_t count = 0;
      Result<void> read = reader->for_each([&](const RecordView& record) {
        std::uint32_t headers = 0;
        for ([[maybe_unused]] const HeaderView& header : record.headers) ++headers;
        EXPECT_EQ(headers, record.headers.size());
        ++count;
        return true;
      });
      if (facts.ok()) {
        EXPECT_TRUE(read.ok()) << name << " bit " << bit;
        EXPECT_EQ(count, facts->record_count);
      }
    }
  }
}

TEST(ValidateBatch, ExactlyOneBatchFillsTheBytes) {
  ByteVector batch = golden_batch("plain");
  EXPECT_EQ(refusal(concat({batch, batch})), Errc::kInvalidBatch);
  EXPECT_EQ(refusal(concat({batch, bytes_of({0})})), Errc::kInvalidBatch);
}

TEST(ValidateBatch, ControlTransactionalAndUnknownAttributesAreRefused) {
  for (unsigned bit = 3; bit < 16; ++bit) {
    ByteVector batch =
        raw_batch(small_record(0), {.attributes = static_cast<std::int16_t>(1U << bit)});
    EXPECT_EQ(refusal(batch), Errc::kInvalidBatch) << "attribute bit " << bit;
  }
}

TEST(ValidateBatch, UnknownCodecsAreNamed) {
  for (int codec = 5; codec < 8; ++codec) {
    EXPECT_EQ(refusal(raw_batch(small_record(0), {.attributes = static_cast<std::int16_t>(codec)})),
              Errc::kUnsupportedCompression);
  }
}

TEST(ValidateBatch, OtherMagicsAreRefused) {
  for (int magic : {0, 1, 3, 255}) {
    ByteVector batch = golden_batch("plain");
    batch[layout::kMagic] = static_cast<std::byte>(magic);
    EXPECT_EQ(refusal(batch), Errc::kInvalidBatch);
  }
}

TEST(ValidateBatch, OffsetDeltasCountFromZeroWithoutGaps) {
  auto two = [](std::int32_t first, std::int32_t second) {
    return raw_batch(concat({small_record(first), small_record(second)}),
                     {.last_offset_delta = 1, .record_count = 2});
  };
  EXPECT_TRUE(validate_batch(two(0, 1)).ok());
  EXPECT_EQ(refusal(two(1, 2)), Errc::kInvalidBatch);
  EXPECT_EQ(refusal(two(0, 0)), Errc::kInvalidBatch);
  EXPECT_EQ(refusal(two(0, 2)), Errc::kInvalidBatch);
  EXPECT_EQ(refusal(two(1, 0)), Errc::kInvalidBatch);
  EXPECT_EQ(refusal(two(0, -1)), Errc::kInvalidBatch);
}

TEST(ValidateBatch, CountsOfTheHeaderAgreeWithTheRecords) {
  ByteVector one = small_record(0);
  EXPECT_EQ(refusal(raw_batch(one, {.last_offset_delta = 1})), Errc::kInvalidBatch);
  EXPECT_EQ(refusal(raw_batch(one, {.last_offset_delta = -1})), Errc::kInvalidBatch);
  EXPECT_EQ(refusal(raw_batch(one, {.last_offset_delta = 1, .record_count = 2})),
            Errc::kInvalidBatch);
  EXPECT_EQ(refusal(raw_batch(one, {.last_offset_delta = -1, .record_count = 0})),
            Errc::kInvalidBatch);
  EXPECT_EQ(refusal(raw_batch({}, {.last_offset_delta = -1, .record_count = 0})),
            Errc::kInvalidBatch);
  EXPECT_EQ(refusal(raw_batch(one, {.last_offset_delta = -2, .record_count = -1})),
            Errc::kInvalidBatch);
}

TEST(ValidateBatch, ARecordBeyondTheCountIsRefused) {
  ByteVector two = concat({small_record(0), small_record(1)});
  EXPECT_EQ(refusal(raw_batch(two)), Errc::kInvalidBatch);
  EXPECT_EQ(refusal(raw_batch(compress(Codec::kLz4, two), {.attributes = 3})), Errc::kInvalidBatch);
}

TEST(ValidateBatch, NegativeAndOverflowingOffsetsAreRefused) {
  ByteVector batch = golden_batch("plain");
  stamp_base_offset(batch, Offset{-1});
  EXPECT_EQ(refusal(batch), Errc::kInvalidBatch);
  stamp_base_offset(batch, Offset{INT64_MAX - 1});
  EXPECT_EQ(refusal(batch), Errc::kInvalidBatch);
  stamp_base_offset(batch, Offset{INT64_MAX - 2});
  EXPECT_TRUE(validate_batch(batch).ok());
}

TEST(ValidateBatch, WrongFramingUnderARightCrcIsRefusedS25) {
  struct Case {
    const char* what;
    ByteVector record;
  };
  // length, attributes, timestamp delta, offset delta, key, value, header count, headers
  std::vector<Case> cases{
      {"record attributes", bytes_of({12, 1, 0, 0, 1, 1, 0})},
      {"length too short", bytes_of({10, 0, 0, 0, 1, 1, 0})},
      {"length too long", bytes_of({14, 0, 0, 0, 1, 1, 0})},
      {"negative length", bytes_of({1, 0, 0, 0, 1, 1, 0})},
      {"key length -2", bytes_of({12, 0, 0, 0, 3, 1, 0})},
      {"key beyond the record", bytes_of({12, 0, 0, 0, 8, 1, 0})},
      {"value length -2", bytes_of({12, 0, 0, 0, 1, 3, 0})},
      {"value beyond the record", bytes_of({12, 0, 0, 0, 1, 8, 0})},
      {"negative header count", bytes_of({12, 0, 0, 0, 1, 1, 1})},
      {"header missing", bytes_of({12, 0, 0, 0, 1, 1, 2})},
      {"null header key", bytes_of({16, 0, 0, 0, 1, 1, 2, 1, 0})},
      {"header value length -2", bytes_of({16, 0, 0, 0, 1, 1, 2, 0, 3})},
      {"bytes after the headers", bytes_of({14, 0, 0, 0, 1, 1, 0, 0})},
      {"offset delta of six bytes", bytes_of({22, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1, 1, 0})},
      {"offset delta beyond 32 bits", bytes_of({20, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 1, 0})},
      {"timestamp delta of eleven bytes", bytes_of({32, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                                    0x80, 0x80, 0x80, 0, 0, 1, 1, 0})},
      {"timestamp delta overflows",
       bytes_of({30, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 1, 1, 0})},
  };
  EXPECT_TRUE(validate_batch(raw_batch(bytes_of({12, 0, 0, 0, 1, 1, 0}))).ok());
  for (const Case& wrong : cases) {
    EXPECT_EQ(refusal(raw_batch(wrong.record)), Errc::kInvalidBatch) << wrong.what;
  }
}

TEST(ValidateBatch, DelaysAndExpiriesAreNotedS26) {
  ByteVector time(8);
  Result<BatchFacts> delayed =
      validate_batch(batch_with_header(reserved_headers::kNotBefore, time));
  ASSERT_TRUE(delayed.ok());
  EXPECT_TRUE(delayed->has_not_before);
  EXPECT_FALSE(delayed->has_expiry);
  Result<BatchFacts> expiring = validate_batch(batch_with_header(reserved_headers::kExpiry, time));
  ASSERT_TRUE(expiring.ok());
  EXPECT_TRUE(expiring->has_expiry);
  EXPECT_FALSE(expiring->has_not_before);
}

TEST(ValidateBatch, ReservedHeadersOfTheBrokerAreRefusedFromApplicationsS26) {
  ValidateOptions broker{.allow_reserved_headers = true};
  for (auto [key, size] : {std::pair{reserved_headers::kRedrive, 4},
                           {reserved_headers::kRepublishedFrom, 9},
                           {std::string_view("wb-"), 1},
                           {std::string_view("wb-other"), 1}}) {
    ByteVector batch = batch_with_header(key, ByteVector(static_cast<std::size_t>(size)));
    EXPECT_EQ(refusal(batch), Errc::kInvalidBatch) << key;
    EXPECT_TRUE(validate_batch(batch, broker).ok()) << key;
  }
  EXPECT_TRUE(validate_batch(batch_with_header("wbx", ByteVector(1))).ok());
  EXPECT_TRUE(validate_batch(batch_with_header("traceparent", ByteVector(1))).ok());
}

TEST(ValidateBatch, ReservedHeadersHaveTheirSizeS26) {
  ValidateOptions broker{.allow_reserved_headers = true};
  for (auto [key, size] : {std::pair{reserved_headers::kMessageId, 16},
                           {reserved_headers::kNotBefore, 8},
                           {reserved_headers::kExpiry, 8},
                           {reserved_headers::kRedrive, 4}}) {
    for (int wrong : {-1, 1}) {
      ByteVector value(static_cast<std::size_t>(size + wrong));
      EXPECT_EQ(refusal(batch_with_header(key, value), broker), Errc::kInvalidBatch) << key;
    }
    ByteVector value(static_cast<std::size_t>(size));
    EXPECT_TRUE(validate_batch(batch_with_header(key, value), broker).ok()) << key;
  }
}

TEST(ValidateBatch, AReservedHeaderOccursOnceS26) {
  ByteVector time(8);
  ByteVector batch = build_batch(
      {{.key = {},
        .value = {},
        .headers = {{reserved_headers::kExpiry, time}, {reserved_headers::kExpiry, time}},
        .timestamp = {1}}});
  EXPECT_EQ(refusal(batch), Errc::kInvalidBatch);
}

// The builder refuses what is too large too, so these bodies are made by hand.
ByteVector hand_made(std::size_t value_size, std::size_t headers, std::size_t header_size) {
  ByteVector body = bytes_of({0, 0, 0, 1});
  append_varint(body, static_cast<std::int64_t>(value_size));
  body.resize(body.size() + value_size);
  append_varint(body, static_cast<std::int64_t>(headers));
  for (std::size_t i = 0; i < headers; ++i) {
    append_varint(body, 0);
    append_varint(body, static_cast<std::int64_t>(header_size));
    body.resize(body.size() + header_size);
  }
  ByteVector record;
  append_varint(record, static_cast<std::int64_t>(body.size()));
  return raw_batch(concat({record, body}));
}

TEST(ValidateBatch, MessageLimitsHoldToTheByteS25) {
  EXPECT_TRUE(validate_batch(hand_made(limits::kMaxMessage, 0, 0)).ok());
  EXPECT_EQ(refusal(hand_made(limits::kMaxMessage + 1, 0, 0)), Errc::kMessageTooLarge);
  EXPECT_TRUE(validate_batch(hand_made(limits::kMaxMessage - 1, 1, 1)).ok());
  EXPECT_EQ(refusal(hand_made(limits::kMaxMessage, 1, 1)), Errc::kMessageTooLarge);
  EXPECT_TRUE(validate_batch(hand_made(1, limits::kMaxHeaders, 1)).ok());
  EXPECT_EQ(refusal(hand_made(1, limits::kMaxHeaders + 1, 1)), Errc::kMessageTooLarge);
  EXPECT_TRUE(validate_batch(hand_made(1, 1, limits::kMaxHeaderBytes)).ok());
  EXPECT_EQ(refusal(hand_made(1, 1, limits::kMaxHeaderBytes + 1)), Errc::kMessageTooLarge);
}

TEST(ValidateBatch, BatchLimitsHoldToTheByteAndTheRecordS25) {
  ByteVector batch(limits::kMaxBatch + 1);
  store_big(batch.data() + layout::kMagic, layout::kMagicV2);
  store_big(batch.data() + layout::kLength,
            static_cast<std::int32_t>(batch.size() - layout::kLengthStart));
  EXPECT_EQ(refusal(batch), Errc::kMessageTooLarge);

  auto many = [](std::uint32_t count) {
    ByteVector body;
    for (std::uint32_t i = 0; i < count; ++i) {
      ByteVector record = small_record(static_cast<std::int32_t>(i));
      body.insert(body.end(), record.begin(), record.end());
    }
    return raw_batch(body, {.last_offset_delta = static_cast<std::int32_t>(count) - 1,
                            .record_count = static_cast<std::int32_t>(count)});
  };
  EXPECT_TRUE(validate_batch(many(limits::kMaxBatchRecords)).ok());
  EXPECT_EQ(refusal(many(limits::kMaxBatchRecords + 1)), Errc::kMessageTooLarge);
}

TEST(ValidateBatch, DecompressionBombsAreRefusedS25) {
  ByteVector zeros(limits::kMaxUncompressedBatch);
  for (Codec codec : {Codec::kGzip, Codec::kZstd}) {
    ByteVector bomb = compress(codec, zeros);
    ByteVector batch = raw_batch(bomb, {.attributes = static_cast<std::int16_t>(codec)});
    EXPECT_EQ(refusal(batch), Errc::kDecompressionLimit) << name(codec);
  }
}

TEST(ParseBatchHeader, ReadsEveryField) {
  ByteVector batch = golden_batch("lz4");
  stamp_base_offset(batch, Offset{77});
  stamp_leader_epoch(batch, 9);
  Result<BatchHeader> header = parse_batch_header(concat({batch, batch}));
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->base_offset, Offset{77});
  EXPECT_EQ(header->last_offset(), Offset{79});
  EXPECT_EQ(header->leader_epoch, 9);
  EXPECT_EQ(header->size, batch.size());
  EXPECT_EQ(header->codec, Codec::kLz4);
  EXPECT_EQ(header->base_timestamp, WallTime{1'700'000'000'123});
  EXPECT_EQ(header->max_timestamp, WallTime{1'700'000'000'373});
  EXPECT_EQ(header->producer_id, -1);
  EXPECT_EQ(header->producer_epoch, -1);
  EXPECT_EQ(header->base_sequence, -1);
  EXPECT_EQ(header->record_count, 3U);
}

TEST(ParseBatchHeader, SaysShortDataWhereABatchIsCut) {
  ByteVector batch = golden_batch("plain");
  for (std::size_t size = 0; size < batch.size(); ++size) {
    Result<BatchHeader> header = parse_batch_header(Bytes(batch).first(size));
    ASSERT_FALSE(header.ok());
    EXPECT_TRUE(header.error() == Errc::kShortData) << size;
  }
}

TEST(StampBatch, LeavesTheCrcRight) {
  ByteVector batch = golden_batch("plain");
  stamp_base_offset(batch, Offset{1'000'000});
  stamp_leader_epoch(batch, 3);
  Result<BatchFacts> facts = validate_batch(batch);
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->base_offset, Offset{1'000'000});
  EXPECT_EQ(facts->last_offset(), Offset{1'000'002});
}

}  // namespace
}  // namespace waybill

// Goal: records come out as they went in, in place, and bytes of any kind end in a record or an
// Error. Method: the golden batches of every codec, batches with gaps, and runs cut anywhere.
#include "protocol/record/batch_view.h"

#include <gtest/gtest.h>

#include "protocol/record/reserved_headers.h"
#include "tests/protocol/record/batch_bytes.h"

namespace waybill {
namespace {

BatchReader open(Bytes batch) {
  Result<BatchReader> reader = BatchReader::open(batch);
  EXPECT_TRUE(reader.ok());
  return std::move(*reader);
}

RecordView next(BatchReader& reader) {
  Result<std::optional<RecordView>> record = reader.next();
  EXPECT_TRUE(record.ok());
  EXPECT_TRUE(record->has_value());
  return **record;
}

TEST(BatchReader, ReadsTheGoldenRecordsOfEveryCodec) {
  for (const char* name : {"plain", "gzip", "snappy_raw", "snappy_xerial", "lz4", "zstd"}) {
    SCOPED_TRACE(name);
    ByteVector batch = golden_batch(name);
    stamp_base_offset(batch, Offset{40});
    BatchReader reader = open(batch);

    RecordView first = next(reader);
    EXPECT_EQ(first.offset, Offset{40});
    EXPECT_EQ(first.timestamp, WallTime{1'700'000'000'123});
    EXPECT_EQ(as_text(first.key.value()), "order-7");
    EXPECT_EQ(as_text(first.value.value()), "{\"total\":42}");
    EXPECT_EQ(first.headers.size(), 2U);
    EXPECT_EQ(as_text(first.headers.find("traceparent").value()), "00-ab-cd-01");
    ASSERT_TRUE(first.message_id().has_value());
    EXPECT_EQ(to_string(*first.message_id()), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    EXPECT_FALSE(first.headers.find("missing").has_value());

    RecordView second = next(reader);
    EXPECT_EQ(second.offset, Offset{41});
    EXPECT_EQ(second.timestamp, WallTime{1'700'000'000'373});
    EXPECT_FALSE(second.key.has_value());
    ASSERT_TRUE(second.value.has_value());
    EXPECT_TRUE(second.value->empty());

    RecordView third = next(reader);
    EXPECT_EQ(third.offset, Offset{42});
    EXPECT_EQ(third.timestamp, WallTime{1'700'000'000'120});
    EXPECT_FALSE(third.value.has_value());
    EXPECT_TRUE(third.headers.empty());

    Result<std::optional<RecordView>> end = reader.next();
    ASSERT_TRUE(end.ok());
    EXPECT_FALSE(end->has_value());
  }
}

TEST(BatchReader, TellsNullHeaderValuesFromEmptyOnes) {
  // two headers: "a" null, "b" empty
  ByteVector batch = raw_batch(bytes_of({24, 0, 0, 0, 1, 1, 4, 2, 'a', 1, 2, 'b', 0}));
  BatchReader reader = open(batch);
  RecordView record = next(reader);
  std::vector<HeaderView> headers;
  for (const HeaderView& header : record.headers) headers.push_back(header);
  ASSERT_EQ(headers.size(), 2U);
  EXPECT_EQ(headers[0].key, "a");
  EXPECT_TRUE(headers[0].is_null);
  EXPECT_EQ(headers[1].key, "b");
  EXPECT_FALSE(headers[1].is_null);
}

TEST(BatchReader, ViewsIntoACompressedBatchSurviveMovingTheReader) {
  ByteVector batch = golden_batch("zstd");
  BatchReader first = open(batch);
  RecordView record = next(first);
  BatchReader second = std::move(first);
  EXPECT_EQ(as_text(record.key.value()), "order-7");
  EXPECT_EQ(next(second).offset, Offset{1});
}

TEST(BatchReader, ForEachStopsWhenToldAndGoesOnFromThere) {
  ByteVector batch = golden_batch("plain");
  BatchReader reader = open(batch);
  int visits = 0;
  Result<void> stopped = reader.for_each([&](const RecordView&) { return ++visits < 2; });
  EXPECT_TRUE(stopped.ok());
  EXPECT_EQ(visits, 2);
  EXPECT_EQ(next(reader).offset, Offset{2});
}

TEST(BatchReader, GapsInOffsetsAreReadAndDisorderIsNot) {
  auto two = [](unsigned first, unsigned second) {
    return raw_batch(bytes_of({12, 0, 0, first * 2, 1, 1, 0, 12, 0, 0, second * 2, 1, 1, 0}),
                     {.last_offset_delta = 9, .record_count = 2});
  };
  ByteVector gap = two(3, 8);
  BatchReader reader = open(gap);
  EXPECT_EQ(next(reader).offset, Offset{3});
  EXPECT_EQ(next(reader).offset, Offset{8});
  for (const ByteVector& wrong : {two(3, 3), two(3, 2), two(3, 10)}) {
    BatchReader failing = open(wrong);
    EXPECT_EQ(next(failing).offset, Offset{3});
    EXPECT_FALSE(failing.next().ok());
  }
}

TEST(BatchReader, RefusesBytesAfterTheLastRecord) {
  ByteVector batch = raw_batch(bytes_of({12, 0, 0, 0, 1, 1, 0, 0}));
  BatchReader reader = open(batch);
  next(reader);
  EXPECT_FALSE(reader.next().ok());
}

TEST(RecordView, ReadsTheReservedHeadersS26) {
  ByteVector time(8);
  store_little(time.data(), std::int64_t{123'456});
  ByteVector count(4);
  store_little(count.data(), std::uint32_t{7});
  ByteVector batch = build_batch({{.key = {},
                                   .value = {},
                                   .headers = {{reserved_headers::kNotBefore, time},
                                               {reserved_headers::kExpiry, time},
                                               {reserved_headers::kRedrive, count}},
                                   .timestamp = {5}},
                                  {.key = {}, .value = {}, .headers = {}, .timestamp = {5}}});
  BatchReader reader = open(batch);
  RecordView marked = next(reader);
  EXPECT_EQ(marked.not_before(), WallTime{123'456});
  EXPECT_EQ(marked.expiry(), WallTime{123'456});
  EXPECT_EQ(marked.redrive_count(), 7U);
  RecordView plain = next(reader);
  EXPECT_FALSE(plain.not_before().has_value());
  EXPECT_FALSE(plain.expiry().has_value());
  EXPECT_FALSE(plain.message_id().has_value());
  EXPECT_EQ(plain.redrive_count(), 0U);
}

TEST(BatchSequence, YieldsEachBatchOfARun) {
  ByteVector one = golden_batch("plain");
  ByteVector two = golden_batch("lz4");
  ByteVector run = concat({one, two, one});
  BatchSequence batches(run);
  std::vector<ByteVector> seen;
  while (!batches.done()) {
    Result<Bytes> batch = batches.next();
    ASSERT_TRUE(batch.ok());
    seen.push_back(to_vector(*batch));
  }
  EXPECT_EQ(seen, (std::vector<ByteVector>{one, two, one}));
  EXPECT_TRUE(BatchSequence({}).done());
}

TEST(BatchSequence, ACutRunGivesItsWholeBatchesThenShortData) {
  ByteVector one = golden_batch("plain");
  ByteVector run = concat({one, one});
  for (std::size_t size = one.size() + 1; size < run.size(); ++size) {
    BatchSequence batches(Bytes(run).first(size));
    ASSERT_TRUE(batches.next().ok());
    Result<Bytes> cut = batches.next();
    ASSERT_FALSE(cut.ok());
    EXPECT_TRUE(cut.error() == Errc::kShortData);
    EXPECT_EQ(batches.rest().size(), size - one.size());
  }
}

TEST(BatchSequence, GarbageBetweenBatchesIsNotSkipped) {
  ByteVector one = golden_batch("plain");
  ByteVector run = concat({one, ByteVector(100), one});
  BatchSequence batches(run);
  ASSERT_TRUE(batches.next().ok());
  Result<Bytes> garbage = batches.next();
  ASSERT_FALSE(garbage.ok());
  EXPECT_TRUE(garbage.error() == Errc::kInvalidBatch);
}

}  // namespace
}  // namespace waybill

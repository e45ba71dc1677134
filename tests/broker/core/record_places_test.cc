// Goal: records are found where they are, in whatever stream and however many batches were looked
// at before. Method: single records of many batches of two streams, in any order, beside those
// that are found by walking their batch.
#include "broker/core/record_places.h"

#include <gtest/gtest.h>

#include "protocol/base/random.h"
#include "protocol/record/record_batch.h"

namespace waybill {
namespace {

constexpr std::int64_t kRecords = 20;

/// The same offsets in each stream, with other values.
ByteVector batch_of(StreamId stream, std::int64_t number, std::int64_t records = kRecords) {
  BatchBuilder builder;
  for (std::int64_t i = 0; i < records; ++i) {
    const std::string value(stream.value * 10 + static_cast<std::uint64_t>(i), 'x');
    EXPECT_TRUE(
        builder.add({.key = {}, .value = as_bytes(value), .headers = {}, .timestamp = {}}).ok());
  }
  ByteVector batch = builder.build();
  stamp_base_offset(batch, Offset{number * kRecords});
  return batch;
}

Stretch stretch_of(Bytes batch, std::int64_t number, std::int64_t records = kRecords) {
  Stretch stretch;
  stretch.base = {number * kRecords};
  stretch.end = stretch.base + records;
  stretch.batch = batch;
  return stretch;
}

TEST(RecordPlaces, FindsEveryRecordThoughItBeginsAnewAgainAndAgain) {
  RecordPlaces places;
  SeededRandom random(3);
  const ByteVector batches[] = {batch_of({1}, 0), batch_of({2}, 0)};
  // More batches than it keeps, and most of them twice.
  for (int i = 0; i < 100'000; ++i) {
    const StreamId stream{random.below(2) + 1};
    const auto number = static_cast<std::int64_t>(random.below(50'000));
    ByteVector batch = batches[stream.value - 1];
    stamp_base_offset(batch, Offset{number * kRecords});
    const Stretch stretch = stretch_of(batch, number);
    const Offset record = stretch.base + static_cast<std::int64_t>(random.below(kRecords));
    places.fetch_ahead(stream, stretch, record);
    const std::vector<OffsetRange> one{{record, record}};
    const std::optional<PlacedRecords> placed = places.find(stream, stretch);
    ASSERT_TRUE(placed);
    RecordSelection found;
    ASSERT_TRUE(found.add(*placed, one).ok());
    RecordSelection walked;
    ASSERT_TRUE(walked.add(batch, one).ok());
    ASSERT_EQ(found.take(), walked.take());
  }
}

TEST(RecordPlaces, KnowsNothingOfBatchesThatAreShortOrMalformed) {
  RecordPlaces places;
  const ByteVector small = batch_of({1}, 0, 3);
  EXPECT_FALSE(places.find({1}, stretch_of(small, 0, 3)));
  ByteVector batch = batch_of({1}, 0);
  batch.pop_back();
  EXPECT_FALSE(places.find({1}, stretch_of(batch, 0)));
}

}  // namespace
}  // namespace waybill

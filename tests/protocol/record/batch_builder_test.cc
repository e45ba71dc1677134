// Goal: what is built is byte for byte Kafka's format, passes validate_batch and reads back equal.
// Method: the golden bytes, seeded random records through every codec, and single records taken out
// of batches (S28).
#include "protocol/record/batch_builder.h"

#include <gtest/gtest.h>

#include <string>

#include "protocol/base/limits.h"
#include "protocol/base/random.h"
#include "protocol/record/batch_view.h"
#include "protocol/record/record_batch.h"
#include "protocol/record/reserved_headers.h"
#include "tests/protocol/record/batch_bytes.h"

namespace waybill {
namespace {

/// A draft that points into a reader's batch.
RecordDraft draft_of(const RecordView& record) {
  RecordDraft draft{record.key, record.value, {}, record.timestamp};
  for (const HeaderView& header : record.headers)
    draft.headers.emplace_back(header.key, header.value);
  return draft;
}

struct OwnedRecord {
  std::optional<ByteVector> key;
  std::optional<ByteVector> value;
  std::vector<std::pair<std::string, ByteVector>> headers;
  WallTime timestamp;
  friend bool operator==(const OwnedRecord&, const OwnedRecord&) = default;
};

std::optional<ByteVector> owned(const std::optional<Bytes>& bytes) {
  return bytes ? std::optional(to_vector(*bytes)) : std::nullopt;
}

OwnedRecord owned(const RecordView& view) {
  OwnedRecord record{owned(view.key), owned(view.value), {}, view.timestamp};
  for (const HeaderView& header : view.headers) {
    record.headers.emplace_back(header.key, to_vector(header.value));
  }
  return record;
}

RecordDraft draft_of(const OwnedRecord& record) {
  RecordDraft draft;
  if (record.key) draft.key = Bytes(*record.key);
  if (record.value) draft.value = Bytes(*record.value);
  for (const auto& [key, value] : record.headers) draft.headers.emplace_back(key, value);
  draft.timestamp = record.timestamp;
  return draft;
}

std::vector<OwnedRecord> read_all(Bytes batch) {
  std::vector<OwnedRecord> records;
  Result<BatchReader> reader = BatchReader::open(batch);
  EXPECT_TRUE(reader.ok());
  Result<void> read = reader->for_each([&](const RecordView& view) {
    records.push_back(owned(view));
    return true;
  });
  EXPECT_TRUE(read.ok());
  return records;
}

ByteVector random_bytes(Random& random, std::size_t max) {
  ByteVector bytes(random.below(max + 1));
  auto alphabet = random.below(255) + 1;
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(alphabet));
  return bytes;
}

OwnedRecord random_record(Random& random) {
  OwnedRecord record;
  if (random.below(3) != 0) record.key = random_bytes(random, 40);
  if (random.below(5) != 0) record.value = random_bytes(random, 3000);
  for (auto n = random.below(4); n > 0; --n) {
    ByteVector name = random_bytes(random, 200);
    record.headers.emplace_back("x" + std::string(as_text(name)), random_bytes(random, 100));
  }
  record.timestamp = {static_cast<std::int64_t>(random.next() >> 2)};
  return record;
}

TEST(BatchBuilder, MakesTheGoldenBytesAgain) {
  ByteVector golden = golden_batch("plain");
  BatchBuilder builder;
  Result<BatchReader> reader = BatchReader::open(golden);
  ASSERT_TRUE(reader.ok());
  Result<void> read = reader->for_each(
      [&](const RecordView& record) { return builder.add(draft_of(record)).ok(); });
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(builder.count(), 3U);
  EXPECT_EQ(builder.size(), golden.size());
  EXPECT_EQ(builder.build(), golden);
}

TEST(BatchBuilder, RandomRecordsComeBackThroughEveryCodec) {
  constexpr std::uint64_t kSeed = 20240607;
  SeededRandom random(kSeed);
  for (Codec codec : all_codecs()) {
    for (int round = 0; round < 20; ++round) {
      SCOPED_TRACE(std::string(name(codec)) + " round " + std::to_string(round));
      std::vector<OwnedRecord> records;
      BatchBuilder builder(codec);
      for (auto n = random.below(200) + 1; n > 0; --n) {
        records.push_back(random_record(random));
        ASSERT_TRUE(builder.add(draft_of(records.back())).ok());
      }
      std::size_t size = builder.size();
      ByteVector batch = builder.build();
      EXPECT_LE(batch.size(), size);
      Result<BatchFacts> facts = validate_batch(batch);
      ASSERT_TRUE(facts.ok()) << to_string(facts.error());
      EXPECT_EQ(facts->record_count, records.size());
      EXPECT_EQ(read_all(batch), records);
    }
  }
}

TEST(BatchBuilder, CompressesWhatIsWorthIt) {
  std::string text(10'000, 'a');
  text += "and some more that differs from it";
  for (Codec codec : all_codecs()) {
    if (codec == Codec::kNone) continue;
    ByteVector batch =
        build_batch({{.key = {}, .value = as_bytes(text), .headers = {}, .timestamp = {1}}}, codec);
    Result<BatchHeader> header = parse_batch_header(batch);
    ASSERT_TRUE(header.ok());
    EXPECT_EQ(header->codec, codec);
    EXPECT_LT(batch.size(), 1'000U) << name(codec);
    ByteVector tiny =
        build_batch({{.key = {}, .value = as_bytes("x"), .headers = {}, .timestamp = {1}}}, codec);
    EXPECT_EQ(parse_batch_header(tiny)->codec, Codec::kNone);
  }
}

TEST(BatchBuilder, NeverBuildsWhatLooksLikeABomb) {
  // Two megabytes of zeros compress so far that the broker would refuse them.
  ByteVector zeros(2 * 1024 * 1024);
  for (Codec codec : all_codecs()) {
    ByteVector batch =
        build_batch({{.key = {}, .value = Bytes(zeros), .headers = {}, .timestamp = {1}}}, codec);
    EXPECT_TRUE(validate_batch(batch).ok()) << name(codec);
  }
}

TEST(BatchBuilder, CanBeUsedAgainAfterBuild) {
  BatchBuilder builder(Codec::kZstd);
  ASSERT_TRUE(
      builder.add({.key = {}, .value = as_bytes("one"), .headers = {}, .timestamp = {5}}).ok());
  builder.build();
  EXPECT_TRUE(builder.empty());
  ASSERT_TRUE(
      builder.add({.key = {}, .value = as_bytes("two"), .headers = {}, .timestamp = {3}}).ok());
  std::vector<OwnedRecord> records = read_all(builder.build());
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(as_text(*records[0].value), "two");
  EXPECT_EQ(records[0].timestamp, WallTime{3});
}

TEST(BatchBuilder, RefusesMessagesBeyondTheLimitsAndStaysAsItWas) {
  BatchBuilder builder;
  ByteVector large(limits::kMaxMessage + 1);
  Result<void> too_large =
      builder.add({.key = {}, .value = Bytes(large), .headers = {}, .timestamp = {1}});
  ASSERT_FALSE(too_large.ok());
  EXPECT_TRUE(too_large.error() == Errc::kMessageTooLarge);
  RecordDraft many{.key = {}, .value = {}, .headers = {}, .timestamp = {1}};
  many.headers.assign(limits::kMaxHeaders + 1, {"h", Bytes{}});
  EXPECT_FALSE(builder.add(many).ok());
  EXPECT_TRUE(builder.empty());
  many.headers.pop_back();
  many.headers.emplace_back(reserved_headers::kRedrive, Bytes(large).first(4));
  EXPECT_TRUE(builder.add(many).ok()) << "headers of the broker do not count";
}

TEST(BatchBuilder, RefusesTimestampsTooFarApart) {
  BatchBuilder builder;
  ASSERT_TRUE(builder.add({.key = {}, .value = {}, .headers = {}, .timestamp = {-2}}).ok());
  Result<void> far = builder.add({.key = {}, .value = {}, .headers = {}, .timestamp = {INT64_MAX}});
  ASSERT_FALSE(far.ok());
  EXPECT_EQ(builder.count(), 1U);
}

TEST(BatchBuilder, AFullBatchStaysWithinTheLimits) {
  ByteVector value(1'000'000);
  RecordDraft draft{.key = {}, .value = Bytes(value), .headers = {}, .timestamp = {1}};
  BatchBuilder builder;
  while (builder.fits(draft)) ASSERT_TRUE(builder.add(draft).ok());
  EXPECT_EQ(builder.count(), 6U);
  EXPECT_FALSE(builder.add(draft).ok());
  EXPECT_TRUE(validate_batch(builder.build()).ok());

  RecordDraft small{.key = {}, .value = {}, .headers = {}, .timestamp = {1}};
  while (builder.fits(small)) ASSERT_TRUE(builder.add(small).ok());
  EXPECT_EQ(builder.count(), limits::kMaxBatchRecords);
  EXPECT_TRUE(validate_batch(builder.build()).ok());
}

std::vector<OwnedRecord> read_selected(RecordSelection& selection) {
  std::vector<OwnedRecord> records;
  for (const auto& [base, batch] : selection.take()) {
    EXPECT_TRUE(check_batch_crc(batch).ok());
    EXPECT_EQ(parse_batch_header(batch)->base_offset, base);
    for (OwnedRecord& record : read_all(batch)) records.push_back(std::move(record));
  }
  return records;
}

TEST(RecordSelection, TakesRecordsOfSeveralBatchesIntoOne) {
  for (const char* name : {"plain", "gzip", "snappy_raw", "snappy_xerial", "lz4", "zstd"}) {
    SCOPED_TRACE(name);
    ByteVector first = golden_batch(name);
    ByteVector second = golden_batch(name);
    stamp_base_offset(first, Offset{500});
    stamp_base_offset(second, Offset{503});
    stamp_leader_epoch(first, 4);
    stamp_leader_epoch(second, 4);
    RecordSelection selection;
    std::vector<OffsetRange> ends{{{500}, {500}}, {{502}, {502}}};
    std::vector<OffsetRange> run{{{504}, {505}}};
    ASSERT_TRUE(selection.add(first, ends).ok());
    ASSERT_TRUE(selection.add(second, run).ok());
    RecordSelection again = selection;
    auto batches = again.take();
    ASSERT_EQ(batches.size(), 1U);
    EXPECT_EQ(parse_batch_header(batches.front().second)->leader_epoch, 4);
    std::vector<OwnedRecord> expected = read_all(first);
    expected.erase(expected.begin() + 1);
    std::vector<OwnedRecord> rest = read_all(second);
    expected.insert(expected.end(), rest.begin() + 1, rest.end());
    EXPECT_EQ(read_selected(selection), expected);
    EXPECT_TRUE(selection.empty());
  }
}

TEST(RecordSelection, TakesFromItsOwnBatchesWhichHaveGaps) {
  ByteVector batch = golden_batch("plain");
  stamp_base_offset(batch, Offset{500});
  RecordSelection selection;
  std::vector<OffsetRange> ends{{{500}, {500}}, {{502}, {502}}};
  ASSERT_TRUE(selection.add(batch, ends).ok());
  ByteVector gapped = std::move(selection.take().front().second);
  std::vector<OffsetRange> last{{{502}, {502}}};
  std::vector<OffsetRange> missing{{{501}, {502}}};
  EXPECT_FALSE(selection.add(gapped, missing).ok());
  EXPECT_TRUE(selection.empty());
  ASSERT_TRUE(selection.add(gapped, last).ok());
  std::vector<OwnedRecord> selected = read_selected(selection);
  ASSERT_EQ(selected.size(), 1U);
  EXPECT_EQ(selected.front(), read_all(batch).back());
}

TEST(RecordSelection, TakesTheSameWherePlacesAreKnown) {
  BatchBuilder builder;
  for (std::int64_t i = 0; i < 41; ++i) {
    const ByteVector value(static_cast<std::size_t>(i * 7 % 200), std::byte{0x5a});
    ASSERT_TRUE(builder.add({.key = {}, .value = value, .headers = {}, .timestamp = {i}}).ok());
  }
  ByteVector batch = builder.build();
  stamp_base_offset(batch, Offset{500});
  std::vector<std::uint32_t> places{99};
  std::optional<PlacedRecords> placed = place_records(batch, places);
  ASSERT_TRUE(placed);
  EXPECT_EQ(places.size(), 1U + 11U);
  placed->places = std::span(places).subspan(1);
  for (std::int64_t first = 500; first < 541; ++first) {
    for (std::int64_t second = first + 2; second < 541; ++second) {
      std::vector<OffsetRange> ranges{{{first}, {first}}, {{second}, {540}}};
      RecordSelection walked;
      RecordSelection found;
      ASSERT_TRUE(walked.add(batch, ranges).ok());
      ASSERT_TRUE(found.add(*placed, ranges).ok());
      ASSERT_EQ(found.take(), walked.take());
    }
  }
}

TEST(RecordSelection, KnowsNoPlacesInABatchThatIsCompressedMalformedOrHasGaps) {
  std::vector<std::uint32_t> places;
  EXPECT_FALSE(place_records(golden_batch("zstd"), places));
  ByteVector plain = golden_batch("plain");
  for (std::size_t size = 0; size < plain.size(); ++size) {
    EXPECT_FALSE(place_records(Bytes(plain).first(size), places));
  }
  RecordSelection selection;
  std::vector<OffsetRange> ends{{{0}, {0}}, {{2}, {2}}};
  ASSERT_TRUE(selection.add(plain, ends).ok());
  EXPECT_FALSE(place_records(selection.take().front().second, places));
  plain[batch_layout::kHeaderSize] = std::byte{0x7f};  // a record longer than the batch
  EXPECT_FALSE(place_records(plain, places));
  EXPECT_TRUE(places.empty());
}

TEST(RecordSelection, AnErrorAddsNothingOfItsBatch) {
  ByteVector batch = golden_batch("plain");
  RecordSelection selection;
  std::vector<OffsetRange> first{{{0}, {0}}};
  std::vector<OffsetRange> beyond{{{1}, {3}}};
  ASSERT_TRUE(selection.add(batch, first).ok());
  Result<void> added = selection.add(batch, beyond);
  ASSERT_FALSE(added.ok());
  EXPECT_TRUE(added.error() == Errc::kOffsetOutOfRange);
  for (std::size_t size = 0; size < batch.size(); ++size) {
    EXPECT_FALSE(selection.add(Bytes(batch).first(size), beyond).ok());
  }
  EXPECT_EQ(read_selected(selection).size(), 1U);
}

TEST(RecordSelection, BeginsAnotherBatchWhereOneMayNotReach) {
  RecordSelection selection;
  std::vector<Offset> bases{{0}, {limits::kMaxBatchRecords - 1}, {limits::kMaxBatchRecords + 5}};
  for (Offset base : bases) {
    ByteVector batch = golden_batch("plain");
    stamp_base_offset(batch, base);
    std::vector<OffsetRange> one{{base, base}};
    ASSERT_TRUE(selection.add(batch, one).ok());
  }
  EXPECT_EQ(read_selected(selection).size(), 3U);
  // Large records: each with two thirds of a batch.
  std::vector<std::byte> value(limits::kMaxMessage / 3 * 2);
  EXPECT_TRUE(selection.empty());
  for (std::int64_t i = 0; i < 12; ++i) {
    BatchBuilder builder;
    ASSERT_TRUE(builder.add({.key = {}, .value = value, .headers = {}, .timestamp = {i}}).ok());
    ByteVector batch = builder.build();
    stamp_base_offset(batch, Offset{i});
    std::vector<OffsetRange> one{{{i}, {i}}};
    ASSERT_TRUE(selection.add(batch, one).ok());
  }
  EXPECT_EQ(read_selected(selection).size(), 12U);
}

TEST(FilterBatch, KeepsWantedRecordsAsTheyAreUnderTheirOffsetsS23) {
  for (Codec codec : {Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd}) {
    BatchBuilder builder(codec);
    for (int i = 0; i < 20; ++i) {
      const std::string key = "key " + std::to_string(i);
      const std::string value(200, static_cast<char>('a' + i));
      RecordDraft draft{as_bytes(key), as_bytes(value), {}, WallTime{1000 + i * 7 % 20}};
      draft.headers.emplace_back("h", as_bytes(value));
      ASSERT_TRUE(builder.add(draft).ok());
    }
    ByteVector batch = builder.build();
    stamp_base_offset(batch, Offset{100});
    stamp_leader_epoch(batch, 7);
    std::vector<OwnedRecord> expected;
    Result<BatchReader> all = BatchReader::open(batch);
    ASSERT_TRUE(all->for_each([&](const RecordView& record) {
                     if (record.offset.value % 3 == 2) expected.push_back(owned(record));
                     return true;
                   })
                    .ok());
    Result<FilteredBatch> left =
        filter_batch(batch, [](const RecordView& record) { return record.offset.value % 3 == 2; });
    ASSERT_TRUE(left.ok());
    EXPECT_EQ(left->records, expected.size());
    ASSERT_TRUE(check_batch_crc(left->bytes).ok());
    Result<BatchReader> reader = BatchReader::open(left->bytes);
    ASSERT_TRUE(reader.ok());
    EXPECT_EQ(reader->header().base_offset, Offset{100});
    EXPECT_EQ(reader->header().last_offset(), Offset{119});
    EXPECT_EQ(reader->header().leader_epoch, 7);
    EXPECT_EQ(reader->header().codec, codec);
    EXPECT_EQ(reader->header().max_timestamp, left->max_timestamp);
    EXPECT_LT(left->bytes.size(), batch.size());
    std::vector<OwnedRecord> found;
    WallTime newest;
    ASSERT_TRUE(reader
                    ->for_each([&](const RecordView& record) {
                      EXPECT_EQ(record.offset.value % 3, 2);
                      newest = std::max(newest, record.timestamp);
                      found.push_back(owned(record));
                      return true;
                    })
                    .ok());
    EXPECT_EQ(found, expected);
    EXPECT_EQ(newest, left->max_timestamp);
  }
}

TEST(FilterBatch, OfWhichAllOrNothingIsLeftIsNotWrittenAnewS23) {
  BatchBuilder builder;
  ASSERT_TRUE(builder.add({as_bytes("key"), as_bytes("value"), {}, WallTime{5}}).ok());
  const ByteVector batch = builder.build();
  Result<FilteredBatch> all = filter_batch(batch, [](const RecordView&) { return true; });
  EXPECT_EQ(all->records, 1u);
  EXPECT_TRUE(all->bytes.empty());
  Result<FilteredBatch> none = filter_batch(batch, [](const RecordView&) { return false; });
  EXPECT_EQ(none->records, 0u);
  EXPECT_TRUE(none->bytes.empty());
  EXPECT_FALSE(filter_batch(Bytes(batch).first(70), [](const RecordView&) { return true; }).ok());
}

TEST(ExtractRecord, EveryRecordOfEveryCodecIsABatchOfItsOwnS28) {
  for (const char* name : {"plain", "gzip", "snappy_raw", "snappy_xerial", "lz4", "zstd"}) {
    SCOPED_TRACE(name);
    ByteVector batch = golden_batch(name);
    stamp_base_offset(batch, Offset{500});
    stamp_leader_epoch(batch, 4);
    std::vector<OwnedRecord> records = read_all(batch);
    for (std::int64_t i = 0; i < 3; ++i) {
      Result<ByteVector> single = extract_record(batch, Offset{500 + i});
      ASSERT_TRUE(single.ok());
      Result<BatchFacts> facts = validate_batch(*single);
      ASSERT_TRUE(facts.ok());
      EXPECT_EQ(facts->base_offset, Offset{500 + i});
      EXPECT_EQ(facts->record_count, 1U);
      EXPECT_FALSE(facts->compressed);
      EXPECT_EQ(parse_batch_header(*single)->leader_epoch, 4);
      std::vector<OwnedRecord> read = read_all(*single);
      ASSERT_EQ(read.size(), 1U);
      EXPECT_EQ(read[0], records[static_cast<std::size_t>(i)]);
    }
  }
}

TEST(ExtractRecord, KeepsNullHeaderValues) {
  ByteVector batch = raw_batch(bytes_of({24, 0, 0, 0, 1, 1, 4, 2, 'a', 1, 2, 'b', 0}));
  Result<ByteVector> single = extract_record(batch, Offset{0});
  ASSERT_TRUE(single.ok());
  Bytes body = Bytes(*single).subspan(batch_layout::kHeaderSize);
  EXPECT_TRUE(equal(body, Bytes(batch).subspan(batch_layout::kHeaderSize)));
}

TEST(ExtractRecord, ExtraHeadersReplaceThoseOfTheSameName) {
  ByteVector batch = golden_batch("plain");
  ByteVector once = bytes_of({1, 0, 0, 0});
  ByteVector twice = bytes_of({2, 0, 0, 0});
  std::vector<HeaderDraft> first{{reserved_headers::kRedrive, once}};
  std::vector<HeaderDraft> second{{reserved_headers::kRedrive, twice}};
  Result<ByteVector> redriven = extract_record(batch, Offset{0}, first);
  ASSERT_TRUE(redriven.ok());
  Result<ByteVector> again = extract_record(*redriven, Offset{0}, second);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(validate_batch(*again, {.allow_reserved_headers = true}).ok());
  Result<BatchReader> reader = BatchReader::open(*again);
  ASSERT_TRUE(reader.ok());
  Result<std::optional<RecordView>> record = reader->next();
  ASSERT_TRUE(record.ok() && record->has_value());
  EXPECT_EQ((*record)->redrive_count(), 2U);
  EXPECT_EQ((*record)->headers.size(), 3U);
  EXPECT_EQ(as_text((*record)->headers.find("traceparent").value()), "00-ab-cd-01");
}

TEST(ExtractRecord, OffsetsOutsideTheBatchAreRefused) {
  ByteVector batch = golden_batch("plain");
  stamp_base_offset(batch, Offset{10});
  for (std::int64_t offset : {-1, 0, 9, 13, 1000}) {
    Result<ByteVector> single = extract_record(batch, Offset{offset});
    ASSERT_FALSE(single.ok());
    EXPECT_TRUE(single.error() == Errc::kOffsetOutOfRange);
  }
}

}  // namespace
}  // namespace waybill

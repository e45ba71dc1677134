// Goal: what is wanted of some segments is in the new one, byte for byte and under its offsets, and
// nothing else; a rewrite that fails leaves nothing (S23). Method: segments on the simulated disk,
// rewritten and read back by the real readers; the disk fills up and fails.
#include "storage/segment_rewrite.h"

#include "tests/storage/segment_rig.h"

namespace waybill {
namespace {

/// Some segments of one stream, one behind the other, as a Stream knows them.
struct Rewritten {
  void add(const std::vector<std::uint32_t>& counts, std::size_t value_size = 20) {
    const Offset base = segments.empty() ? kSegment.base : segments.back().contents.end;
    SegmentRig rig(disk, {kSegment.stream, base, 1});
    ASSERT_TRUE(rig.create().ok());
    // As far as the segment is from the first: make_batch's offsets are the stream's.
    for (const std::uint32_t count : counts) rig.append(count, value_size);
    rig.sync();
    StreamSegment segment{.id = rig.writer->id(),
                          .contents = rig.writer->contents(),
                          .size = rig.writer->durable_position(),
                          .sealed = true,
                          .stored = WallTime{1000 + base.value}};
    for (const ByteVector& batch : rig.batches) segment.payload += batch.size();
    rig.seal();
    segments.push_back(std::move(segment));
  }
  SegmentRewrite& begin(const SegmentRewrite::Keep& keep,
                        std::optional<Offset> compacted_to = std::nullopt) {
    rewrite = std::make_unique<SegmentRewrite>(disk, files,
                                               SegmentRewrite::Plan{segments, compacted_to}, keep);
    return *rewrite;
  }
  /// To its end, a step for each completion.
  void run() {
    for (int steps = 0; steps < 10'000; ++steps) {
      rewrite->step();
      if (rewrite->done() || rewrite->error()) break;
      disk.submit();
      if (disk.pending() > 0) disk.wait();
    }
    drain(disk);
  }
  /// The offsets of the records in the file, in order, and whether their values say the same.
  std::vector<std::int64_t> offsets_in(const StreamSegment& segment) {
    std::vector<std::int64_t> offsets;
    SegmentCursor cursor(files, {segment});
    while (!cursor.at_end()) {
      cursor.fetch();
      drain(disk);
      Result<std::vector<SharedBytes>> batches = cursor.take();
      EXPECT_TRUE(batches.ok());
      if (!batches) return offsets;
      for (const SharedBytes& batch : *batches) {
        EXPECT_TRUE(check_batch_crc(batch.view()).ok());
        Result<BatchReader> reader = BatchReader::open(batch.view());
        EXPECT_TRUE(reader.ok());
        Result<void> read = reader->for_each([&](const RecordView& record) {
          const std::string value = "offset " + std::to_string(record.offset.value);
          EXPECT_TRUE(as_text(*record.value).starts_with(value));
          EXPECT_EQ(record.timestamp.milliseconds, kFirstTime + record.offset.value);
          offsets.push_back(record.offset.value);
          return true;
        });
        EXPECT_TRUE(read.ok());
      }
    }
    return offsets;
  }
  std::string problem() { return rewrite->error() ? to_string(*rewrite->error()) : "unfinished"; }
  std::size_t file_count() {
    Result<std::vector<std::string>> names = disk.list(kSegmentDirectory);
    return names ? names->size() : 0;
  }

  SimDisk disk;
  SegmentFiles files{disk, "shard-0/streams", 1024 * 1024};
  std::vector<StreamSegment> segments;
  std::unique_ptr<SegmentRewrite> rewrite;
};

bool is_even(const RecordView& record, const StreamSegment&) {
  return record.offset.value % 2 == 0;
}

TEST(SegmentRewrite, HoldsTheSameOffsetsAndOfTheRecordsThoseThatAreWantedS23) {
  Rewritten rig;
  rig.add({5, 1, 1, 7}, 20'000);
  rig.add({3, 90}, 3000);
  rig.begin(is_even);
  rig.run();
  ASSERT_TRUE(rig.rewrite->done()) << rig.problem();
  const std::vector<StreamSegment> results = rig.rewrite->results();
  ASSERT_EQ(results.size(), 1u);
  const StreamSegment& result = results.front();
  EXPECT_EQ(result.id, (SegmentId{kSegment.stream, kSegment.base, 2}));
  EXPECT_EQ(result.contents.end, rig.segments.back().contents.end);
  EXPECT_EQ(result.stored, rig.segments.back().stored) << "of the youngest";
  EXPECT_TRUE(result.contents.has_gaps());
  std::vector<std::int64_t> expected;
  for (std::int64_t offset = 100; offset < result.contents.end.value; offset += 2) {
    expected.push_back(offset);
  }
  EXPECT_EQ(rig.offsets_in(result), expected);
  EXPECT_EQ(result.contents.record_count, expected.size());
  EXPECT_GT(result.contents.index.size(), 1u);
  // What a start finds is what was said.
  SegmentLook look(rig.disk, result.id, SegmentClaim{result.size, result.contents.end});
  ASSERT_TRUE(look.ok()) << look.explanation;
  EXPECT_EQ(look.reader().contents(), result.contents);
  EXPECT_TRUE(look.reader().sealed());
}

TEST(SegmentRewrite, OfWhichNothingIsLeftIsABlockThatReachesOverItsOffsetsS23) {
  Rewritten rig;
  rig.add({5, 5});
  rig.begin([](const RecordView&, const StreamSegment&) { return false; }, Offset{110});
  rig.run();
  ASSERT_TRUE(rig.rewrite->done()) << rig.problem();
  const StreamSegment result = rig.rewrite->results().front();
  EXPECT_EQ(result.contents.base, Offset{100});
  EXPECT_EQ(result.contents.end, Offset{110});
  EXPECT_EQ(result.contents.record_count, 0u);
  EXPECT_EQ(result.payload, 0u);
  EXPECT_TRUE(result.contents.has(SegmentFacts::kCompacted));
  EXPECT_TRUE(rig.offsets_in(result).empty());
  SegmentLook look(rig.disk, result.id, SegmentClaim{result.size, result.contents.end});
  EXPECT_TRUE(look.ok()) << look.explanation;
}

TEST(SegmentRewrite, WhatTheIndexDoesNotReachIsASegmentOfItsOwnWithoutTheMarkS23) {
  Rewritten rig;
  rig.add({5, 5, 5});
  rig.begin(is_even, Offset{105});
  rig.run();
  ASSERT_TRUE(rig.rewrite->done()) << rig.problem();
  const std::vector<StreamSegment> results = rig.rewrite->results();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].contents.end, Offset{105});
  EXPECT_EQ(results[1].id, (SegmentId{kSegment.stream, Offset{105}, 1}));
  EXPECT_EQ(results[1].contents.end, Offset{115});
  EXPECT_TRUE(results[0].contents.has(SegmentFacts::kCompacted));
  EXPECT_FALSE(results[1].contents.has(SegmentFacts::kCompacted));
  EXPECT_EQ(rig.offsets_in(results[0]), (std::vector<std::int64_t>{100, 102, 104}));
  EXPECT_EQ(rig.offsets_in(results[1]), (std::vector<std::int64_t>{106, 108, 110, 112, 114}));
}

TEST(SegmentRewrite, ARewrittenSegmentIsRewrittenAgainS23) {
  Rewritten rig;
  rig.add({5, 5});
  rig.begin(is_even, Offset{110});
  rig.run();
  rig.segments = rig.rewrite->results();
  rig.begin(
      [](const RecordView& record, const StreamSegment&) { return record.offset.value != 104; },
      Offset{110});
  rig.run();
  ASSERT_TRUE(rig.rewrite->done()) << rig.problem();
  const StreamSegment result = rig.rewrite->results().front();
  EXPECT_EQ(result.id.generation, 3u);
  EXPECT_EQ(rig.offsets_in(result), (std::vector<std::int64_t>{100, 102, 106, 108}));
}

TEST(SegmentRewrite, ANameThatIsTakenIsPassedOver) {
  Rewritten rig;
  rig.add({5});
  SegmentRig leftover(rig.disk, {kSegment.stream, kSegment.base, 2});
  ASSERT_TRUE(leftover.create().ok());
  rig.begin(is_even);
  rig.run();
  ASSERT_TRUE(rig.rewrite->done()) << rig.problem();
  EXPECT_EQ(rig.rewrite->results().front().id.generation, 3u);
}

TEST(SegmentRewrite, OnAFullDiskItEndsWithAnErrorAndLeavesNothingS21) {
  Rewritten rig;
  rig.add({40, 40}, 10'000);
  const std::size_t files = rig.file_count();
  rig.disk.set_capacity(1);
  rig.begin(is_even);
  rig.run();
  ASSERT_TRUE(rig.rewrite->error().has_value());
  EXPECT_FALSE(rig.rewrite->done());
  EXPECT_EQ(rig.rewrite->pending(), 0u);
  rig.rewrite->discard();
  EXPECT_EQ(rig.file_count(), files);
}

TEST(SegmentRewrite, DamageInWhatItReadsEndsItS23) {
  Rewritten rig;
  rig.add({5, 5});
  rig.disk.flip_bit(std::string(kSegmentDirectory) + "/" + segment_name(rig.segments[0].id), 100);
  rig.begin(is_even);
  rig.run();
  ASSERT_TRUE(rig.rewrite->error().has_value());
  EXPECT_EQ(*rig.rewrite->error(), Errc::kDamaged);
}

}  // namespace
}  // namespace waybill

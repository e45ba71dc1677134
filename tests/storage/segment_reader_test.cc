// Goal: every offset and every time is found, in sealed and unsealed files, and damage is named and
// never served. Method: files written by the real writer; every position flipped, every length cut.
#include "storage/segment_reader.h"

#include <algorithm>

#include "tests/storage/segment_rig.h"

namespace waybill {
namespace {

/// Small batches and large ones, in flushes of a few, over several index intervals.
void fill(SegmentRig& rig, int batches) {
  for (int i = 0; i < batches; ++i) {
    rig.append(1 + i % 3, i % 7 == 0 ? 30'000 : 50);
    if (i % 4 == 3) rig.flush();
  }
}

ByteVector batch_of(const SegmentRig& rig, Offset offset) {
  for (const ByteVector& batch : rig.batches) {
    if (parse_batch_header(batch)->last_offset() >= offset) return batch;
  }
  return {};
}

class SegmentReading : public testing::TestWithParam<bool> {
 protected:
  SegmentReading() : rig_(disk_) {
    EXPECT_TRUE(rig_.create().ok());
    fill(rig_, 40);
    GetParam() ? rig_.seal() : rig_.sync();
  }
  SimDisk disk_;
  SegmentRig rig_;
};

TEST_P(SegmentReading, EveryOffsetIsFound) {
  SegmentLook look(disk_, kSegment, rig_.claim());
  ASSERT_TRUE(look.ok()) << look.explanation;
  EXPECT_EQ(look.reader().sealed(), GetParam());
  EXPECT_EQ(look.reader().end(), rig_.writer->end());
  EXPECT_GE(look.reader().contents().index.size(), 3U);
  for (Offset offset = kSegment.base; offset < look.reader().end(); ++offset) {
    Result<std::vector<ByteVector>> got = look.read(offset, 1);
    ASSERT_TRUE(got.ok()) << offset.value;
    ASSERT_EQ(got->size(), 1U);
    EXPECT_EQ(got->front(), batch_of(rig_, offset)) << offset.value;
  }
}

TEST_P(SegmentReading, AReadGivesBatchesUntilTheyAreEnough) {
  SegmentLook look(disk_, kSegment, rig_.claim());
  ASSERT_TRUE(look.ok());
  EXPECT_EQ(*look.read_all(1'000'000), rig_.batches);
  EXPECT_EQ(*look.read_all(1), rig_.batches);
  Result<std::vector<ByteVector>> some = look.read(kSegment.base, 40'000);
  ASSERT_TRUE(some.ok());
  std::size_t bytes = 0;
  for (const ByteVector& batch : *some) bytes += batch.size();
  EXPECT_GE(bytes, 40'000U);
  EXPECT_LT(bytes - some->back().size(), 40'000U);
}

TEST_P(SegmentReading, EveryTimeIsFound) {
  SegmentLook look(disk_, kSegment, rig_.claim());
  ASSERT_TRUE(look.ok());
  for (Offset offset = kSegment.base; offset < look.reader().end(); ++offset)
    EXPECT_EQ(*look.find_time(kFirstTime + offset.value), offset);
  EXPECT_EQ(*look.find_time(0), kSegment.base);
  EXPECT_EQ(*look.find_time(INT64_MIN), kSegment.base);
  EXPECT_EQ(*look.find_time(kFirstTime + look.reader().end().value), look.reader().end());
}

TEST_P(SegmentReading, TheTotalsAreRight) {
  SegmentLook look(disk_, kSegment, rig_.claim());
  ASSERT_TRUE(look.ok());
  const SegmentFooter& contents = look.reader().contents();
  EXPECT_EQ(contents.stream, kSegment.stream);
  EXPECT_EQ(contents.base, kSegment.base);
  EXPECT_EQ(static_cast<std::int64_t>(contents.record_count), contents.end - contents.base);
  EXPECT_EQ(contents.max_timestamp, WallTime{kFirstTime + contents.end.value - 1});
  EXPECT_EQ(contents.facts, SegmentFacts::kKeys);
}

INSTANTIATE_TEST_SUITE_P(SealedAndNot, SegmentReading, testing::Bool());

TEST(SegmentReader, AFooterAndAScanSayTheSameS17) {
  SimDisk disk;
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  fill(rig, 60);
  rig.sync();
  const SegmentFooter scanned = SegmentLook(disk).reader().contents();
  rig.seal();
  SegmentLook sealed(disk);
  ASSERT_TRUE(sealed.reader().sealed());
  EXPECT_EQ(sealed.reader().contents(), scanned);
}

TEST(SegmentReader, TimesThatGoBackAreFoundAtTheirFirst) {
  SimDisk disk;
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  const std::vector<std::int64_t> times = {50, 20, 90, 10, 90, 95, 30};
  for (std::int64_t time : times) {
    const Offset base = rig.writer->end();
    const ByteVector batch = make_batch(base, 1, 70'000, WallTime{time});
    rig.writer->append({.base = base,
                        .end = base + 1,
                        .record_count = 1,
                        .max_timestamp = WallTime{time},
                        .facts = SegmentFacts::kNone,
                        .bytes = batch});
  }
  rig.seal();
  SegmentLook look(disk);
  for (std::int64_t time = 0; time <= 100; time += 5) {
    const auto first =
        std::ranges::find_if(times, [time](std::int64_t one) { return one >= time; });
    EXPECT_EQ(*look.find_time(time), kSegment.base + (first - times.begin())) << time;
  }
}

TEST(SegmentReader, OffsetsInAGapReadTheNextBatch) {  // S23
  SimDisk disk;
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  rig.append(2);
  const ByteVector batch = make_batch({110}, 1);
  rig.writer->append({.base = {110},
                      .end = {111},
                      .record_count = 1,
                      .max_timestamp = WallTime{kFirstTime + 110},
                      .facts = SegmentFacts::kNone,
                      .bytes = batch});
  rig.seal();
  SegmentLook look(disk);
  for (std::int64_t offset = 102; offset <= 110; ++offset)
    EXPECT_EQ(*look.read(Offset{offset}, 1), std::vector<ByteVector>{batch}) << offset;
}

struct Written {
  SimDiskImage image;
  std::string path;
  std::uint64_t size = 0;
  SegmentClaim claim;
  std::vector<ByteVector> batches;
};
Written written(bool sealed, int batches = 12) {
  SimDisk disk;
  SegmentRig rig(disk);
  EXPECT_TRUE(rig.create().ok());
  fill(rig, batches);
  sealed ? rig.seal() : rig.sync();
  Written all{.image = disk.crash(keep_none()),
              .path = rig.writer->path(),
              .size = rig.writer->durable_position(),
              .claim = rig.claim(),
              .batches = rig.batches};
  return all;
}

/// Reads all of it: everything, or an error that names the place. Never anything else.
bool served_or_named(SimDisk& disk, const Written& all, std::uint64_t position) {
  SegmentLook look(disk, kSegment, all.claim);
  if (!look.ok()) {
    EXPECT_EQ(look.error().code, Errc::kDamaged) << position;
    EXPECT_NE(look.explanation.find(all.path), std::string::npos) << look.explanation;
    return false;
  }
  Result<std::vector<ByteVector>> got = look.read_all();
  if (got) {
    EXPECT_EQ(*got, all.batches) << position << ": wrong data";
    return true;
  }
  EXPECT_EQ(got.error().code, Errc::kDamaged) << position;
  const SegmentDamage damage = look.reader().damage().value();
  EXPECT_LE(damage.position, position);
  EXPECT_LE(damage.offsets.first, damage.offsets.last);
  EXPECT_NE(look.reader().explain_damage().find(all.path + " at position"), std::string::npos);
  return false;
}

TEST(SegmentReader, EveryFlippedBitIsNamedOrDoesNotMatter) {
  for (bool sealed : {true, false}) {
    const Written all = written(sealed);
    const std::uint64_t blocks =
        sealed ? all.size - footer_size(2) : all.size;  // the footer is a copy of what they say
    std::size_t named = 0;
    for (std::uint64_t position = 0; position < all.size; position += 61) {
      SimDisk disk(all.image);
      disk.flip_bit(all.path, position, position / 64 % 8);
      const bool served = served_or_named(disk, all, position);
      EXPECT_EQ(served, position >= blocks) << position;
      named += served ? 0 : 1;
    }
    EXPECT_GT(named, 100U);
  }
}

TEST(SegmentReader, AFileCutShortAnywhereIsDamaged) {
  for (bool sealed : {true, false}) {
    const Written all = written(sealed);
    for (std::uint64_t size = 0; size < all.size; size += 1000) {
      SimDisk whole(all.image);
      ByteVector bytes(size);
      ASSERT_EQ(*whole.read_now(*whole.open(all.path, OpenMode::kRead), 0, bytes), size);
      SimDisk disk;
      ASSERT_TRUE(disk.make_directory("shard-0").ok());
      ASSERT_TRUE(disk.make_directory("shard-0/streams").ok());
      ASSERT_TRUE(disk.make_directory(kSegmentDirectory).ok());
      ASSERT_TRUE(disk.write_now(*disk.open(all.path, OpenMode::kCreate), 0, bytes).ok());
      SegmentLook look(disk, kSegment, all.claim);
      ASSERT_FALSE(look.ok()) << size;
      EXPECT_EQ(look.error().code, Errc::kDamaged);
      EXPECT_NE(look.explanation.find(all.path), std::string::npos);
    }
  }
}

TEST(SegmentReader, BlocksOfAnotherFileOrPlaceAreNotValid) {
  const Written all = written(false);
  for (const SegmentId& other :
       {SegmentId{StreamId{5}, Offset{100}, 2}, SegmentId{StreamId{5}, Offset{99}, 1},
        SegmentId{StreamId{6}, Offset{100}, 1}}) {
    SimDisk disk(all.image);
    const std::string name = std::string(kSegmentDirectory) + "/" + segment_name(other);
    if (name != all.path) {
      ASSERT_TRUE(disk.rename(all.path, name).ok());
    }
    SegmentLook look(disk, other);
    ASSERT_TRUE(look.ok());
    EXPECT_EQ(look.reader().end(), other.base) << "nothing in it is taken";
  }
}

/// Rightly sealed, but not what follows: faulty software, not a faulty disk.
TEST(SegmentReader, ABlockThatDoesNotFollowTheOneBeforeIsDamage) {
  SimDisk disk;
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  rig.append(2);
  rig.flush();
  rig.append(2);
  rig.seal();
  const FileHandle file = *disk.open(rig.writer->path(), OpenMode::kReadWrite);
  ByteVector block(limits::kBlock);
  ASSERT_TRUE(disk.read_now(file, limits::kBlock, block).ok());
  SegmentBlock header = *peek_block(block, kSegment, limits::kBlock);
  header.base = header.base - 1;
  seal_block(header, kSegment, limits::kBlock, block);
  ASSERT_TRUE(disk.write_now(file, limits::kBlock, block).ok());
  SegmentLook look(disk);
  ASSERT_TRUE(look.ok());
  EXPECT_EQ(look.read(Offset{103}, 1).error().code, Errc::kDamaged);
  EXPECT_EQ(look.reader().damage()->position, limits::kBlock);
  EXPECT_EQ(look.reader().damage()->offsets, (OffsetRange{{102}, {103}}));
}

TEST(SegmentReader, WhatIsBehindTheClaimIsNotLookedAt) {
  SimDisk disk;
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  rig.append(2);
  rig.sync();
  const SegmentClaim claim = rig.claim();
  rig.append(2);
  rig.sync();
  SegmentLook look(disk, kSegment, claim);
  ASSERT_TRUE(look.ok());
  EXPECT_EQ(look.reader().end(), Offset{102});
  EXPECT_EQ(look.reader().size(), claim.position);
  EXPECT_EQ(SegmentLook(disk).reader().end(), Offset{104});
}

TEST(SegmentReader, AMissingFileIsNotFoundAndADiskErrorIsNoDamage) {
  const Written all = written(true);
  SimDisk disk(all.image);
  EXPECT_EQ(SegmentLook(disk, {StreamId{5}, Offset{7}, 1}).error().code, Errc::kNotFound);
  for (std::uint64_t call = 0; call < 3; ++call) {
    disk.fail_after(call, Errc::kIo);
    SegmentLook look(disk, kSegment, all.claim);
    ASSERT_FALSE(look.ok());
    EXPECT_EQ(look.error().code, Errc::kIo);
  }
  SegmentLook look(disk, kSegment, all.claim);
  ASSERT_TRUE(look.ok());
  disk.fail_after(0, Errc::kIo);
  EXPECT_EQ(look.read(kSegment.base, 1).error().code, Errc::kIo);
  EXPECT_FALSE(look.reader().damage().has_value());
  EXPECT_TRUE(look.read(kSegment.base, 1).ok());
}

}  // namespace
}  // namespace waybill

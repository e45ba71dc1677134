// Goal: what a segment writer says is durable is there, whatever the disk does meanwhile.
// Method: SimDisk with failing, short and reordered writes; what was written is read back.
#include "storage/segment_writer.h"

#include "tests/storage/segment_rig.h"

namespace waybill {
namespace {

TEST(SegmentWriter, NothingIsDurableBeforeTheSync) {
  SimDisk disk;
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  rig.append(3);
  EXPECT_GT(rig.writer->buffered(), 0U);
  rig.flush();
  EXPECT_EQ(rig.writer->buffered(), 0U);
  EXPECT_EQ(rig.writer->durable_end(), Offset{100});
  EXPECT_EQ(rig.writer->durable_position(), 0U);
  rig.sync();
  EXPECT_EQ(rig.writer->durable_end(), Offset{103});
  EXPECT_EQ(rig.writer->durable_position(), limits::kBlock);
  EXPECT_FALSE(rig.writer->sealed());
  rig.seal();
  EXPECT_TRUE(rig.writer->sealed());
  EXPECT_EQ(rig.writer->durable_position(), 2 * limits::kBlock);
}

TEST(SegmentWriter, ASyncDoesNotWaitForWhatWasFlushedAfterIt) {
  SimDisk disk({}, {.seed = 1, .order = SimOrder::kByHand});
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  rig.append(1);
  rig.writer->flush();
  rig.writer->sync();
  rig.append(1);
  rig.writer->flush();
  disk.submit();
  ASSERT_EQ(disk.in_flight().size(), 1U) << "the second write is held back";
  disk.wait();  // the first write; then sync and second write go together
  disk.submit();
  ASSERT_EQ(disk.in_flight().size(), 2U);
  using Kind = SimOperation::Kind;
  for (Kind next : {Kind::kSync, Kind::kSyncDirectory}) {
    EXPECT_EQ(rig.writer->durable_end(), kSegment.base) << "the file has no durable name yet";
    for (const SimOperation& operation : disk.in_flight()) {
      if (operation.kind == next) disk.complete(operation.id);
    }
    disk.reap();
    disk.submit();
  }
  EXPECT_EQ(rig.writer->durable_end(), Offset{101});
  drain(disk);
  EXPECT_EQ(rig.writer->durable_end(), Offset{101});
  rig.sync();
  EXPECT_EQ(rig.writer->durable_end(), Offset{102});
}

TEST(SegmentWriter, ManyBatchesShareABlockAndLargeOnesHaveTheirOwnS17) {
  SimDisk disk;
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  for (int i = 0; i < 10; ++i) rig.append(2);
  rig.append(1, 400'000);
  rig.append(1);
  rig.sync();
  const std::uint64_t large = (kBlockHeaderSize + rig.batches[10].size() + limits::kBlock - 1) /
                              limits::kBlock * limits::kBlock;
  EXPECT_EQ(rig.writer->durable_position(), limits::kBlock + large + limits::kBlock);
  SegmentLook look(disk, kSegment, rig.claim());
  ASSERT_TRUE(look.ok()) << look.explanation;
  EXPECT_EQ(look.reader().contents().record_count, 22U);
  EXPECT_EQ(*look.read_all(), rig.batches);
}

TEST(SegmentWriter, AFullDiskLosesNothingAndIsTriedAgain) {  // S21
  SimDisk disk;
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  rig.append(2);
  rig.sync();
  disk.set_capacity(limits::kBlock);
  rig.append(2);
  rig.sync();
  ASSERT_TRUE(rig.writer->stalled().has_value());
  EXPECT_EQ(rig.writer->stalled()->code, Errc::kNoSpace);
  EXPECT_EQ(rig.writer->durable_end(), Offset{102});
  rig.append(2);
  rig.seal();
  EXPECT_EQ(rig.writer->durable_end(), Offset{102}) << "nothing is written past a hole";
  disk.set_capacity(1 << 20);
  rig.writer->retry();
  drain(disk);
  EXPECT_FALSE(rig.writer->stalled().has_value());
  EXPECT_TRUE(rig.writer->sealed());
  SegmentLook look(disk, kSegment, rig.claim());
  ASSERT_TRUE(look.ok()) << look.explanation;
  EXPECT_TRUE(look.reader().sealed());
  EXPECT_EQ(*look.read_all(), rig.batches);
}

TEST(SegmentWriter, AShortWriteIsWrittenAgainWhole) {
  SimDisk disk;
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  rig.append(2, 5000);
  disk.short_write_after(0, 4096);
  rig.sync();
  EXPECT_EQ(rig.writer->durable_end(), Offset{102});
  SimDisk after(disk.crash(keep_none()));
  SegmentLook look(after, kSegment, rig.claim());
  ASSERT_TRUE(look.ok()) << look.explanation;
  EXPECT_EQ(*look.read_all(), rig.batches);
}

TEST(SegmentWriter, AFailedSyncIsNeverTriedAgain) {
  SimDisk disk;
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  rig.append(2);
  rig.sync();
  rig.append(2);
  rig.flush();
  disk.fail_after(0, Errc::kIo);
  rig.writer->sync();
  drain(disk);
  ASSERT_TRUE(rig.writer->broken().has_value());
  EXPECT_EQ(rig.writer->durable_end(), Offset{102});
  const std::uint64_t calls = disk.operations();
  rig.sync();
  rig.append(2);
  rig.sync();
  EXPECT_EQ(disk.operations(), calls) << "a second sync would not say what the first lost";
  EXPECT_EQ(rig.writer->durable_end(), Offset{102});
}

TEST(SegmentWriter, ADirectoryThatCannotBeSyncedBreaksItToo) {
  SimDisk disk;
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  rig.append(2);
  rig.writer->flush();
  rig.writer->sync();
  disk.fail_after(1, Errc::kIo);  // after the sync
  drain(disk);
  EXPECT_TRUE(rig.writer->broken().has_value());
  EXPECT_EQ(rig.writer->durable_end(), Offset{100});
}

TEST(SegmentWriter, InANewDirectoryNothingIsDurableBeforeTheParentIsSynced) {
  SimDisk disk;
  ASSERT_TRUE(disk.make_directory("shard-0").ok());
  ASSERT_TRUE(disk.make_directory("shard-0/streams").ok());
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create(DirectoryState::kParentDurable).ok());
  rig.append(2);
  rig.writer->flush();
  rig.writer->sync();
  while (disk.pending() > 0) {
    const bool there = !disk.crash(keep_none()).files.empty();
    EXPECT_EQ(rig.writer->durable_end(), Offset{100});
    EXPECT_FALSE(there) << "and nobody was told";
    disk.submit();
    disk.wait();
  }
  EXPECT_EQ(rig.writer->durable_end(), Offset{102});
  EXPECT_EQ(disk.crash(keep_none()).files.size(), 1U);
}

TEST(SegmentWriter, AFileThatIsThereIsNotTouched) {
  SimDisk disk;
  SegmentRig rig(disk);
  ASSERT_TRUE(rig.create().ok());
  rig.append(1);
  rig.seal();
  SegmentRig second(disk);
  EXPECT_FALSE(second.create().ok());
  EXPECT_TRUE(SegmentLook(disk).reader().sealed());
}

}  // namespace
}  // namespace waybill

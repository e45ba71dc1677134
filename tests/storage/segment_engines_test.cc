// Goal: segments and checkpoints do on real engines what they do on the simulated disk.
// Method: write, reopen and read in a directory on a real file system, over the thread pool and
// over io_uring (skipped where the kernel does not allow it).
#include <gtest/gtest.h>

#include "storage/io/disk_engine.h"
#include "tests/storage/checkpoint_rig.h"
#include "tests/storage/io/test_directory.h"
#include "tests/storage/segment_rig.h"

namespace waybill {
namespace {

class SegmentEngines : public testing::TestWithParam<DiskEngine> {
 protected:
  std::unique_ptr<Disk> open_engine() {
    std::string why;
    Result<std::unique_ptr<Disk>> disk = open_disk(directory_.path(), GetParam(), &why);
    if (disk) return std::move(*disk);
    EXPECT_NE(GetParam(), DiskEngine::kPool) << to_string(disk.error());
    return nullptr;
  }
  TestDirectory directory_;
};

TEST_P(SegmentEngines, ASegmentIsReadBackWhole) {
  std::vector<ByteVector> written;
  SegmentClaim claim;
  {
    std::unique_ptr<Disk> disk = open_engine();
    if (!disk) GTEST_SKIP() << "this kernel does not allow the engine";
    SegmentRig rig(*disk);
    ASSERT_TRUE(rig.create().ok());
    for (int i = 0; i < 100; ++i) {
      rig.append(1 + i % 5, i * 331 % 40'000);
      if (i % 9 == 0) rig.writer->flush();
      if (i % 31 == 0) rig.writer->sync();
      disk->submit();
      disk->reap();
    }
    rig.seal();
    ASSERT_TRUE(rig.writer->sealed());
    written = rig.batches;
    claim = rig.claim();
  }
  std::unique_ptr<Disk> disk = open_engine();
  ASSERT_TRUE(disk != nullptr);
  SegmentLook look(*disk, kSegment, claim);
  ASSERT_TRUE(look.ok()) << look.explanation;
  EXPECT_TRUE(look.reader().sealed());
  EXPECT_EQ(*look.read_all(100'000), written);
  EXPECT_EQ(*look.find_time(kFirstTime + 150), Offset{150});
}

TEST_P(SegmentEngines, ACheckpointIsReadBackWhole) {
  std::unique_ptr<Disk> disk = open_engine();
  if (!disk) GTEST_SKIP() << "this kernel does not allow the engine";
  ASSERT_TRUE(disk->make_directory(kCheckpointDirectory).ok());
  CheckpointRig rig(*disk, 4);
  ASSERT_TRUE(rig.create().ok());
  for (int i = 0; i < 50; ++i) {
    rig.add(i, i, std::string(i * 1931 % 60'000, 'x'));
    disk->submit();
    disk->reap();
  }
  rig.finish();
  ASSERT_TRUE(rig.writer->done());
  EXPECT_EQ(*read_checkpoint(*disk, 4), rig.objects);
}

INSTANTIATE_TEST_SUITE_P(Real, SegmentEngines,
                         testing::Values(DiskEngine::kPool, DiskEngine::kUring));

}  // namespace
}  // namespace waybill

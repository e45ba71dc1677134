// Goal: the journal does on real engines what it does on the simulated disk.
// Method: write, roll, read back, close and reopen in a directory below the build tree, once over
// the thread pool and once over io_uring (skipped where the kernel does not allow it).
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "storage/io/disk_engine.h"
#include "tests/storage/journal_rig.h"

namespace waybill {
namespace {

class JournalEngines : public testing::TestWithParam<DiskEngine> {
 protected:
  void SetUp() override {
    std::string pattern = std::string(WAYBILL_BINARY_DIR) + "/journal-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  std::unique_ptr<Disk> open_engine() {
    std::string why;
    Result<std::unique_ptr<Disk>> disk = open_disk(root_, GetParam(), &why);
    if (disk) return std::move(*disk);
    EXPECT_NE(GetParam(), DiskEngine::kPool) << to_string(disk.error());
    return nullptr;
  }
  std::string root_;
};

TEST_P(JournalEngines, WhatWasConfirmedIsThereAfterReopening) {
  JournalOptions options = small_journal();
  options.file_size = 1024 * 1024;
  options.frame_target = 64 * 1024;
  std::vector<std::string> written;
  for (int run = 0; run < 3; ++run) {
    std::unique_ptr<Disk> disk = open_engine();
    if (!disk) GTEST_SKIP() << "this kernel does not allow the engine";
    JournalRig rig(*disk, options, run + 1);
    ASSERT_TRUE(rig.open().ok()) << rig.explanation;
    EXPECT_EQ(rig.bodies(), written);
    std::vector<std::pair<StagedEntry, std::string>> staged;
    for (int i = 0; i < 150; ++i) {
      written.push_back("run " + std::to_string(run) + " entry " + std::to_string(i) +
                        std::string(i * 331 % 30'000, 'x'));
      staged.emplace_back(rig.stage(written.back()), written.back());
      rig.journal->pump();
      disk->reap();
      if (i % 10 == 0) rig.settle();
    }
    rig.settle();
    ASSERT_FALSE(rig.journal->poisoned()) << to_string(rig.journal->poison());
    std::size_t read = 0;
    for (const auto& [entry, body] : staged) {
      JournalPlace place = entry.frame->place();
      place.position += entry.body_offset;
      place.size = entry.body_size;
      rig.journal->read(place, [&read, &body](Result<SharedBytes> bytes) {
        ASSERT_TRUE(bytes.ok());
        EXPECT_EQ(as_text(bytes->view()), body);
        ++read;
      });
    }
    rig.settle_all();
    EXPECT_EQ(read, staged.size());
    staged.clear();
    if (run != 1) {
      ASSERT_TRUE(rig.close().ok());
    } else {
      rig.journal.reset();  // as a process that just ends
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Real, JournalEngines,
                         testing::Values(DiskEngine::kPool, DiskEngine::kUring),
                         [](const testing::TestParamInfo<DiskEngine>& engine) {
                           return engine.param == DiskEngine::kPool ? "PoolDisk" : "UringDisk";
                         });

}  // namespace
}  // namespace waybill

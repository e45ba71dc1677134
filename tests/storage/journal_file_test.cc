// Goal: names of journal files are read strictly, and a spare is trusted only when it is whole.
// Method: names by hand; spares on a simulated disk, cut at every call.
#include "storage/journal_file.h"

#include <gtest/gtest.h>

#include "storage/io/sim_disk.h"
#include "storage/journal_spare.h"

namespace waybill {
namespace {

constexpr std::uint64_t kFileSize = 3 * 1024 * 1024 + 4096;

TEST(JournalFile, NamesComeBackAsTheyWereMade) {
  EXPECT_EQ(journal_name(1), "000000000001.wbj");
  for (std::uint64_t number : {1UL, 42UL, 999'999'999'999UL}) {
    EXPECT_EQ(parse_journal_name(journal_name(number)).kind, JournalNameKind::kJournal);
    EXPECT_EQ(parse_journal_name(journal_name(number)).number, number);
    EXPECT_EQ(parse_journal_name(spare_name(number)).kind, JournalNameKind::kSpare);
    EXPECT_EQ(parse_journal_name(spare_name(number)).number, number);
    EXPECT_EQ(parse_journal_name(filling_name(number)).kind, JournalNameKind::kFilling);
  }
  EXPECT_EQ(parse_journal_name("quarantine").kind, JournalNameKind::kQuarantine);
}

TEST(JournalFile, EveryOtherNameIsForeign) {
  for (std::string_view name :
       {"", ".wbj", "1.wbj", "000000000000.wbj", "0000000000001.wbj", "00000000000a.wbj",
        "000000000001.wbj.bak", "000000000001", "+00000000001.wbj", "spare-1", "spare-",
        "spare-000000000000", "spare-000000000001.wbj", "spare-000000000001.filling2", "lock"})
    EXPECT_EQ(parse_journal_name(name).kind, JournalNameKind::kForeign) << name;
}

void run_spare(SimDisk& disk, JournalSpare& spare) {
  while (spare.state() == JournalSpare::State::kFilling && spare.pending() > 0) {
    disk.submit();
    disk.wait();
  }
}

TEST(JournalSpare, AFinishedNameMeansAWholeFileAfterEveryCrash) {
  for (std::uint64_t cut = 0; cut < 20; ++cut) {
    SimDisk disk;
    ASSERT_TRUE(disk.make_directory("j").ok());
    disk.crash_after(cut);
    JournalSpare spare(disk, "j", kFileSize, [](Result<void>) {});
    ignore_error(spare.start(2), "the power may fail");
    run_spare(disk, spare);
    spare.abandon();
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      const SimDiskImage image = disk.crash(seed == 0 ? keep_all() : keep_random(seed));
      auto found = image.files.find("j/" + spare_name(2));
      if (found == image.files.end()) continue;
      EXPECT_EQ(found->second.size(), kFileSize) << "cut at " << cut << ", seed " << seed;
    }
    if (!disk.crashed()) {
      EXPECT_EQ(spare.state(), JournalSpare::State::kReady);
      return;
    }
  }
  FAIL() << "the spare was never finished";
}

TEST(JournalSpare, AFullDiskLeavesNothingBehindAndCanBeTriedAgain) {
  SimDisk disk({}, {.capacity = 2 * 1024 * 1024});
  ASSERT_TRUE(disk.make_directory("j").ok());
  int changes = 0;
  JournalSpare spare(disk, "j", kFileSize, [&changes](Result<void> result) {
    ++changes;
    EXPECT_TRUE(result.ok());
  });
  ASSERT_TRUE(spare.start(2).ok());
  run_spare(disk, spare);
  EXPECT_EQ(spare.state(), JournalSpare::State::kDiskFull);
  EXPECT_TRUE(disk.list("j")->empty());
  disk.set_capacity(8 * 1024 * 1024);
  ASSERT_TRUE(spare.start(2).ok());
  run_spare(disk, spare);
  EXPECT_EQ(spare.state(), JournalSpare::State::kReady);
  EXPECT_EQ(*disk.list("j"), std::vector<std::string>{spare_name(2)});
  EXPECT_GT(changes, 2);
}

TEST(JournalSpare, AnAbandonedOneIsRemoved) {
  SimDisk disk;
  ASSERT_TRUE(disk.make_directory("j").ok());
  JournalSpare spare(disk, "j", kFileSize, [](Result<void>) {});
  ASSERT_TRUE(spare.start(2).ok());
  disk.submit();
  spare.abandon();
  run_spare(disk, spare);
  EXPECT_EQ(spare.state(), JournalSpare::State::kNone);
  EXPECT_TRUE(disk.list("j")->empty());
}

TEST(JournalSpare, AnIoErrorIsReported) {
  for (std::uint64_t operation = 0; operation < 6; ++operation) {
    SimDisk disk;
    ASSERT_TRUE(disk.make_directory("j").ok());
    disk.fail_after(operation, Errc::kIo);
    bool reported = false;
    JournalSpare spare(disk, "j", kFileSize, [&](Result<void> result) {
      if (!result) reported = result.error() == Errc::kIo;
    });
    if (!spare.start(2)) reported = true;
    run_spare(disk, spare);
    EXPECT_TRUE(reported) << "operation " << operation;
    EXPECT_NE(spare.state(), JournalSpare::State::kReady);
  }
}

}  // namespace
}  // namespace waybill

// Goal: damage to acknowledged data is refused and named, never served and never taken for a torn
// tail, but for the one exception that S5 documents.
// Method: a closed journal of several files; flip a bit in every 64 bytes; open.
#include <gtest/gtest.h>

#include "tests/storage/journal_rig.h"

namespace waybill {
namespace {

struct Written {
  SimDiskImage image;
  std::vector<std::string> bodies;
  std::uint64_t files = 0;
  /// First position behind the last frame, per file.
  std::vector<std::uint64_t> ends;
};

/// Two runs over several files; marked says whether the last run ended cleanly.
Written write_journal(bool marked) {
  Written written;
  SimDisk disk;
  JournalRig rig(disk);
  for (int run = 0; run < 2; ++run) {
    EXPECT_TRUE(rig.open().ok());
    for (int i = 0; i < 12; ++i) {
      written.bodies.push_back("run " + std::to_string(run) + " entry " + std::to_string(i) +
                               std::string(i % 3 * 3000, 'x'));
      StagedEntry staged = rig.stage(written.bodies.back());
      rig.settle();
      const JournalPlace place = staged.frame->place();
      written.files = place.file_number;
      written.ends.resize(written.files);
      written.ends.back() = place.position + place.size;
      if (i % 5 == 4) rig.settle_all();
      if (i == 11 && marked) written.ends.back() += limits::kBlock;
    }
    if (run == 0 || marked) {
      EXPECT_TRUE(rig.close().ok());
    } else {
      rig.journal.reset();
    }
  }
  written.image = disk.crash(keep_none());
  return written;
}

/// What opening says after one bit was flipped. Wrong data fails the test in any case.
enum class Outcome { kSame, kRefused, kLastLost };
Outcome open_flipped(const Written& written, std::uint64_t file, std::uint64_t position) {
  SimDisk disk(written.image);
  disk.flip_bit(journal_path(file), position, position / 64 % 8);
  JournalRig rig(disk);
  Result<void> opened = rig.open();
  const std::string where = journal_path(file) + " at " + std::to_string(position);
  if (!opened) {
    EXPECT_EQ(opened.error().code, Errc::kDamaged) << where;
    EXPECT_NE(rig.explanation.find(journal_path(file)), std::string::npos)
        << where << ": " << rig.explanation;
    return Outcome::kRefused;
  }
  std::vector<std::string> found = rig.bodies();
  if (found == written.bodies) return Outcome::kSame;
  found.push_back(written.bodies.back());
  EXPECT_EQ(found, written.bodies) << where << ": wrong data";
  EXPECT_GT(rig.journal->report().torn_at_position, 0U) << where << ": unreported";
  return Outcome::kLastLost;
}

TEST(JournalDamage, EveryFlippedBitOfAClosedJournalIsRefused) {
  const Written written = write_journal(true);
  ASSERT_GE(written.files, 3U);
  for (std::uint64_t file = 1; file <= written.files; ++file) {
    const bool last = file == written.files;
    for (std::uint64_t position = 0; position < written.ends[file - 1]; position += 61) {
      const bool in_final_mark = last && position >= written.ends.back() - limits::kBlock;
      // The mark itself holds nothing that anybody was told.
      EXPECT_EQ(open_flipped(written, file, position),
                in_final_mark ? Outcome::kSame : Outcome::kRefused)
          << journal_path(file) << " at " << position;
    }
  }
}

TEST(JournalDamage, BehindTheLastFrameNothingMatters) {
  const Written written = write_journal(true);
  for (std::uint64_t position = written.ends.back(); position < kMinJournalFile; position += 509)
    EXPECT_EQ(open_flipped(written, written.files, position), Outcome::kSame) << position;
}

/// S5's documented exception: without the mark behind it, the last acknowledged frame looks torn.
TEST(JournalDamage, OnlyTheVeryLastFrameWithoutAMarkLooksTorn) {
  const Written written = write_journal(false);
  const std::string& last_body = written.bodies.back();
  const std::uint64_t last_frame =
      written.ends.back() -
      round_up_to_block(kJournalFrameHeaderSize + entry_stride(last_body.size()));
  for (std::uint64_t position = 0; position < written.ends.back(); position += 61) {
    EXPECT_EQ(open_flipped(written, written.files, position),
              position >= last_frame ? Outcome::kLastLost : Outcome::kRefused)
        << position;
  }
}

/// A whole block wiped, as a device that lost a write: the same answers.
TEST(JournalDamage, EveryWipedBlockIsRefused) {
  const Written written = write_journal(true);
  for (std::uint64_t file = 1; file <= written.files; ++file) {
    for (std::uint64_t position = 0; position < written.ends[file - 1];
         position += limits::kBlock) {
      if (file == written.files && position + limits::kBlock == written.ends.back()) continue;
      SimDisk disk(written.image);
      Result<FileHandle> handle = disk.open(journal_path(file), OpenMode::kReadWrite);
      ASSERT_TRUE(handle.ok());
      ASSERT_TRUE(disk.write_now(*handle, position, ByteVector(limits::kBlock)).ok());
      JournalRig rig(disk);
      Result<void> opened = rig.open();
      ASSERT_FALSE(opened.ok()) << journal_path(file) << " at " << position;
      EXPECT_EQ(opened.error().code, Errc::kDamaged);
    }
  }
}

}  // namespace
}  // namespace waybill

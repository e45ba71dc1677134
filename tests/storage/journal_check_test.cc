// Goal: the check of a journal agrees with recovery in every case, changes nothing, and says
// exactly what is lost. Method: journals of real appends on SimDisk; bits flipped everywhere, files
// removed, tails torn; the verdict against what opening the journal says.
#include "storage/journal_check.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "protocol/base/checksum.h"
#include "storage/append_body.h"
#include "storage/journal_walk.h"
#include "tests/storage/journal_rig.h"
#include "tests/storage/stored_batches.h"

namespace waybill {
namespace {

constexpr StreamId kFirst{1};
constexpr StreamId kSecond{2};

Result<JournalCheck> check(Disk& disk) {
  std::string explanation;
  return check_journal(
      disk, kJournalDirectory, ShardIndex{0}, [](std::uint64_t, std::uint64_t) {}, &explanation);
}

/// Two runs; each change appends three records to the one or the other stream, in turn. Big ones
/// fill files.
SimDiskImage written_journal(bool marked, int changes = 12) {
  SimDisk disk;
  JournalRig rig(disk);
  Offset ends[2];
  for (int run = 0; run < 2; ++run) {
    EXPECT_TRUE(rig.open().ok());
    for (int i = 0; i < changes; ++i) {
      Offset& end = ends[i % 2];
      rig.stage(append_body(i % 2 == 0 ? kFirst : kSecond, end, 3, i % 3 == 0 ? 2000 : 20));
      end = end + 3;
      rig.settle();
      if (i % 5 == 4) rig.settle_all();
    }
    if (run == 0 || marked) {
      EXPECT_TRUE(rig.close().ok());
    } else {
      rig.journal.reset();
    }
  }
  return disk.crash(keep_none());
}

TEST(JournalCheck, ACleanJournalIsCleanAndCounted) {
  SimDisk disk(written_journal(true));
  Result<JournalCheck> found = check(disk);
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(found->clean) << found->explanation;
  EXPECT_EQ(found->batches, 24U);
  EXPECT_EQ(found->records, 72U);
  EXPECT_EQ(found->streams, 2U);
  EXPECT_EQ(found->report.torn_frames, 0U);
  EXPECT_GE(found->report.files, 3U);
}

TEST(JournalCheck, EveryVerdictIsRecoverysOwn) {
  for (bool marked : {true, false}) {
    const SimDiskImage image = written_journal(marked);
    std::size_t damaged = 0;
    for (const auto& [path, content] : image.files) {
      for (std::uint64_t position = 0; position < kMinJournalFile; position += 509) {
        SimDisk disk(image);
        disk.flip_bit(path, position, position / 64 % 8);
        Result<JournalCheck> found = check(disk);
        ASSERT_TRUE(found.ok()) << path << " at " << position;
        JournalRig rig(disk);
        const bool opened = rig.open().ok();
        EXPECT_EQ(found->clean, opened) << path << " at " << position << found->explanation;
        EXPECT_EQ(found->explanation, rig.explanation);
        if (opened) {
          EXPECT_EQ(found->report.torn_frames, rig.journal->report().torn_frames);
        }
        damaged += opened ? 0 : 1;
      }
    }
    EXPECT_GT(damaged, 50U);
  }
}

/// Blocks overwritten with zeros, noise, or other blocks, several at once, and files of any length.
TEST(JournalCheck, WhateverIsInTheFilesTheVerdictIsRecoverysOwn) {
  const SimDiskImage image = written_journal(true);
  std::vector<std::string> paths;
  for (const auto& [path, content] : image.files) {
    if (path.ends_with(".wbj")) paths.push_back(path);
  }
  std::size_t refused = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SeededRandom random(seed);
    SimDisk disk(image);
    for (std::uint64_t i = 0; i <= random.below(3); ++i) {
      const FileHandle file = *disk.open(paths[random.below(paths.size())], OpenMode::kReadWrite);
      ByteVector block(limits::kBlock);
      const std::uint64_t kind = random.below(3);
      const std::uint64_t blocks = kMinJournalFile / limits::kBlock;
      if (kind == 1) std::ranges::generate(block, [&] { return std::byte(random.below(256)); });
      if (kind == 2) {
        ASSERT_TRUE(disk.read_now(file, random.below(blocks) * limits::kBlock, block).ok());
      }
      // Now and then behind the end, so that the file has another length.
      ASSERT_TRUE(disk.write_now(file, random.below(blocks + 1) * limits::kBlock, block).ok());
      disk.close(file);
    }
    Result<JournalCheck> found = check(disk);
    ASSERT_TRUE(found.ok()) << "seed " << seed;
    JournalRig rig(disk);
    const bool opened = rig.open().ok();
    EXPECT_EQ(found->clean, opened) << "seed " << seed << ": " << found->explanation;
    EXPECT_EQ(found->explanation, rig.explanation) << "seed " << seed;
    refused += opened ? 0 : 1;
  }
  EXPECT_GT(refused, 100U);
  EXPECT_LT(refused, 300U);
}

TEST(JournalCheck, AMissingEmptyOrNewerFileIsNoCleanJournal) {
  const SimDiskImage image = written_journal(true);
  SimDisk missing(image);
  ASSERT_TRUE(missing.remove(journal_path(2)).ok());
  Result<JournalCheck> found = check(missing);
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->clean);
  EXPECT_NE(found->explanation.find(journal_path(2) + " is missing"), std::string::npos);
  ASSERT_FALSE(found->lost_frames.empty()) << "and what was in it is named";

  SimDisk empty(image);
  ASSERT_TRUE(empty.remove(journal_path(1)).ok());
  ASSERT_TRUE(empty.open(journal_path(1), OpenMode::kCreate).ok());
  found = check(empty);
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->clean);
  EXPECT_FALSE(found->unsupported);
  EXPECT_NE(found->explanation.find(journal_path(1) + " has no valid header"), std::string::npos);

  SimDisk newer(image);
  const FileHandle file = *newer.open(journal_path(1), OpenMode::kReadWrite);
  ByteVector header(kFileHeaderSize);
  ASSERT_TRUE(newer.read_now(file, 0, header).ok());
  header[16] = std::byte{9};
  store_little(header.data(), xxh3_64(Bytes(header).subspan(8)));
  ASSERT_TRUE(newer.write_now(file, 0, header).ok());
  found = check(newer);
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->clean);
  EXPECT_TRUE(found->unsupported);
}

/// Frames 2 to 6 hold an append each, of three records, to the streams in turn.
SimDiskImage five_appends() {
  SimDisk disk;
  JournalRig rig(disk);
  EXPECT_TRUE(rig.open().ok());
  for (int i = 0; i < 5; ++i) {
    rig.stage(append_body(i % 2 == 0 ? kFirst : kSecond, Offset{i / 2 * 3}, 3));
    rig.settle();
  }
  EXPECT_TRUE(rig.close().ok());
  return disk.crash(keep_none());
}

std::uint64_t position_of_frame(std::uint64_t number) {
  return kFileHeaderSize + (number - 1) * limits::kBlock;
}

TEST(JournalCheck, WhatIsLostIsNamedByFrameEntryAndOffset) {
  SimDisk disk(five_appends());
  disk.flip_bit(journal_path(1), position_of_frame(3) + 100);
  disk.flip_bit(journal_path(1), position_of_frame(4) + 100);
  Result<JournalCheck> found = check(disk);
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->clean);
  EXPECT_NE(found->explanation.find("frame 3 cannot be read"), std::string::npos);
  ASSERT_EQ(found->lost_frames.size(), 1U);
  const LostFrames& lost = found->lost_frames.front();
  EXPECT_EQ(lost.path, journal_path(1));
  EXPECT_EQ(lost.position, position_of_frame(3));
  EXPECT_EQ(lost.first, 3U);
  EXPECT_EQ(lost.last, 4U);
  EXPECT_EQ(lost.first_entry, EntrySeq{2});
  EXPECT_EQ(lost.last_entry, EntrySeq{3});
  // The first stream's 0 to 2 and 6 to 8 are there, the second's 3 to 5.
  ASSERT_EQ(found->lost_offsets.size(), 2U);
  EXPECT_EQ(found->lost_offsets[0].stream, kSecond);
  EXPECT_EQ(found->lost_offsets[0].offsets, (OffsetRange{{0}, {2}}));
  EXPECT_EQ(found->lost_offsets[1].stream, kFirst);
  EXPECT_EQ(found->lost_offsets[1].offsets, (OffsetRange{{3}, {5}}));
  EXPECT_TRUE(found->bad_entries.empty()) << "what is there is good, and looked at once";
}

/// Frames 2 and 3 acknowledged; 4 and 5 in flight together when the power failed.
SimDiskImage two_and_two_in_flight() {
  SimDisk disk;
  JournalRig rig(disk);
  EXPECT_TRUE(rig.open().ok());
  EXPECT_TRUE(rig.write(append_body(kFirst, {0}, 1)).ok());
  EXPECT_TRUE(rig.write(append_body(kFirst, {1}, 1)).ok());
  for (std::int64_t offset : {2, 3, 4}) rig.stage(append_body(kFirst, {offset}, 1, 9000));
  rig.journal->pump();
  while (disk.pending() > 0) disk.wait();
  rig.journal.reset();
  return disk.crash(keep_none());
}

TEST(JournalCheck, ATornTailBehindDamageIsNotCalledLost) {  // S8
  SimDisk apart(two_and_two_in_flight());
  apart.flip_bit(journal_path(1), position_of_frame(2));
  apart.flip_bit(journal_path(1), position_of_frame(4));
  Result<JournalCheck> found = check(apart);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->lost_frames.size(), 1U);
  EXPECT_EQ(found->lost_frames[0].first, 2U);
  EXPECT_EQ(found->lost_frames[0].last, 2U);

  SimDisk together(two_and_two_in_flight());
  together.flip_bit(journal_path(1), position_of_frame(3));
  together.flip_bit(journal_path(1), position_of_frame(4));
  found = check(together);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->lost_frames.size(), 1U);
  EXPECT_EQ(found->lost_frames[0].first, 3U);
  EXPECT_EQ(found->lost_frames[0].last, 3U);
}

TEST(JournalCheck, DamageInTwoPlacesIsListedTwice) {
  SimDisk disk(five_appends());
  disk.flip_bit(journal_path(1), position_of_frame(2));
  disk.flip_bit(journal_path(1), position_of_frame(5));
  Result<JournalCheck> found = check(disk);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->lost_frames.size(), 2U);
  EXPECT_EQ(found->lost_frames[0].position, position_of_frame(2));
  EXPECT_EQ(found->lost_frames[1].position, position_of_frame(5));
  EXPECT_EQ(found->lost_frames[1].first_entry, EntrySeq{4});
}

TEST(JournalCheck, ATornTailIsNoDamage) {  // S8
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.write(append_body(kFirst, {0}, 3)).ok());
  ASSERT_TRUE(rig.write(append_body(kFirst, {3}, 3, 3000)).ok());
  rig.journal.reset();
  disk.flip_bit(journal_path(1), position_of_frame(3) + 4096);
  Result<JournalCheck> found = check(disk);
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(found->clean) << found->explanation;
  EXPECT_EQ(found->records, 3U);
  EXPECT_EQ(found->report.torn_frames, 1U);
  EXPECT_EQ(found->report.torn_at_position, position_of_frame(3));
}

TEST(JournalCheck, AWrongBatchInAnIntactFrameIsFound) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  ByteVector batch = make_batch({0}, 3);
  batch.back() ^= std::byte{1};
  ASSERT_TRUE(rig.write(append_body(kFirst, {0}, 3, batch)).ok());
  ASSERT_TRUE(rig.write(append_body(kFirst, {9}, 1)).ok());
  ASSERT_TRUE(rig.write("no batch at all").ok());
  ASSERT_TRUE(rig.close().ok());
  Result<JournalCheck> found = check(disk);
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->clean);
  EXPECT_EQ(found->explanation, "");
  ASSERT_EQ(found->bad_entries.size(), 2U);
  EXPECT_EQ(found->bad_entries[0].seq, EntrySeq{1});
  EXPECT_EQ(found->bad_entries[0].position, position_of_frame(2));
  EXPECT_EQ(found->bad_entries[1].seq, EntrySeq{3});
  ASSERT_EQ(found->lost_offsets.size(), 1U);
  EXPECT_EQ(found->lost_offsets[0].offsets, (OffsetRange{{3}, {8}}));
}

TEST(JournalCheck, NothingIsChanged) {
  SimDisk disk(five_appends());
  ASSERT_TRUE(disk.open("shard-0/journal/foreign", OpenMode::kCreate).ok());
  ASSERT_TRUE(disk.open("shard-0/journal/spare-000000000009.filling", OpenMode::kCreate).ok());
  const std::vector<std::string> before = *disk.list(kJournalDirectory);
  ASSERT_TRUE(check(disk)->clean);
  EXPECT_EQ(*disk.list(kJournalDirectory), before);
  EXPECT_EQ(disk.list("shard-1").error().code, Errc::kNotFound);
  std::string explanation;
  auto none = [](std::uint64_t, std::uint64_t) {};
  EXPECT_EQ(check_journal(disk, "shard-1/journal", {}, none, &explanation).error().code,
            Errc::kNotFound);
  EXPECT_NE(explanation.find("shard-1/journal"), std::string::npos);
}

TEST(JournalCheck, ADiskThatCannotReadIsNoDamage) {
  const SimDiskImage image = five_appends();
  SimDisk healthy(image);
  ASSERT_TRUE(check(healthy).ok());
  const std::uint64_t calls = healthy.operations();
  for (std::uint64_t call = 0; call < calls; ++call) {
    SimDisk disk(image);
    disk.fail_after(call, Errc::kIo);
    Result<JournalCheck> found = check(disk);
    ASSERT_FALSE(found.ok()) << call;
    EXPECT_EQ(found.error().code, Errc::kIo) << call;
  }
}

TEST(JournalWalk, ShowsFramesVoidFramesGapsAndUnusedSpace) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.write("a").ok());
  // Two full frames in flight together.
  for (char body : {'t', 'l'}) rig.stage(std::string(9000, body));
  rig.journal->pump();
  while (disk.pending() > 0) disk.wait();
  rig.journal.reset();
  disk.flip_bit(journal_path(1), position_of_frame(3) + 80);
  ASSERT_TRUE(rig.open().ok()) << rig.explanation;  // voids frames from 3 on
  ASSERT_TRUE(rig.close().ok());

  Result<JournalWalk> walk = JournalWalk::open(disk, kJournalDirectory);
  ASSERT_TRUE(walk.ok());
  ASSERT_EQ(walk->files().size(), 2U);
  std::vector<std::pair<StretchKind, std::uint64_t>> seen;
  std::uint64_t end = 0;
  for (;;) {
    Result<std::optional<JournalStretch>> stretch = walk->next();
    ASSERT_TRUE(stretch.ok());
    if (!stretch->has_value()) break;
    if ((*stretch)->position == kFileHeaderSize) end = kFileHeaderSize;
    EXPECT_EQ((*stretch)->position, end) << "stretches follow each other";
    end += (*stretch)->size;
    seen.emplace_back((*stretch)->kind, (*stretch)->header.frame_seq);
  }
  using enum StretchKind;
  const std::vector<std::pair<StretchKind, std::uint64_t>> expected = {
      {kFrame, 1},  {kFrame, 2}, {kGap, 0},   {kVoidFrame, 4},
      {kUnused, 0}, {kFrame, 3}, {kFrame, 4}, {kUnused, 0}};
  EXPECT_EQ(seen, expected);
}

TEST(JournalWalk, ATornLastFrameIsAGapAndZerosAreUnused) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.write("a").ok());
  rig.journal.reset();
  disk.flip_bit(journal_path(1), position_of_frame(2) + 80);
  Result<JournalWalk> walk = JournalWalk::open(disk, kJournalDirectory);
  ASSERT_TRUE(walk.ok());
  EXPECT_EQ((*walk->next())->kind, StretchKind::kFrame);
  EXPECT_EQ((*walk->next())->kind, StretchKind::kGap);
  EXPECT_FALSE(walk->next()->has_value());
}

TEST(JournalCheck, WhatIsCarriedForwardIsNoSecondAppendS18) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  const std::string first = append_body(kFirst, {0}, 2, make_batch({0}, 2));
  const std::string later = append_body(kFirst, {5}, 1, make_batch({5}, 1));
  rig.stage(first);
  rig.stage(first, EntryType::kCarry);
  rig.stage(later, EntryType::kCarry);
  rig.settle();
  rig.journal.reset();
  Result<JournalCheck> found = check(disk);
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(found->bad_entries.empty());
  EXPECT_EQ(found->records, 3u);
  ASSERT_EQ(found->lost_offsets.size(), 1u) << "what is between was appended nowhere";
}

TEST(AppendBody, IsReadWithAndWithoutAProducer) {
  const ByteVector batch = make_batch({7}, 2);
  const std::string plain = append_body(kFirst, {7}, 2, batch);
  std::string with_producer = plain;
  with_producer.insert(29, std::string(37, '\x11'));
  for (const std::string& body : {plain, with_producer}) {
    const EntryView entry{.type = EntryType::kAppend, .seq = {}, .body = as_bytes(body)};
    std::optional<AppendBody> append = read_append_body(entry);
    ASSERT_TRUE(append.has_value());
    EXPECT_EQ(append->stream, kFirst);
    EXPECT_EQ(append->base, Offset{7});
    EXPECT_EQ(append->last(), Offset{8});
    EXPECT_TRUE(equal(append->batch, batch));
  }
  for (std::size_t size = 0; size < plain.size(); ++size) {
    const EntryView entry{.type = EntryType::kAppend,
                          .seq = {},
                          .body = as_bytes(std::string_view(plain).substr(0, size))};
    EXPECT_FALSE(read_append_body(entry).has_value()) << size;
  }
  EXPECT_FALSE(
      read_append_body({.type = EntryType::kDelivery, .seq = {}, .body = as_bytes(plain)}));
}

}  // namespace
}  // namespace waybill

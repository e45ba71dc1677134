// Goal: recovery tells torn from damaged, new from old and ours from foreign (S6-S10).
// Method: closed or cut journals on a simulated disk, changed by hand in one way each.
#include "storage/recovery.h"

#include <gtest/gtest.h>

#include "protocol/base/checksum.h"
#include "storage/journal_frame.h"
#include "storage/journal_reader.h"
#include "tests/storage/journal_rig.h"

namespace waybill {
namespace {

using std::string;

/// A disk after a clean stop of a journal with these entries, one frame each.
SimDiskImage closed_journal(const std::vector<string>& bodies) {
  SimDisk disk;
  JournalRig rig(disk);
  EXPECT_TRUE(rig.open().ok());
  for (const string& body : bodies) EXPECT_TRUE(rig.write(body).ok());
  EXPECT_TRUE(rig.close().ok());
  return disk.crash(keep_none());
}

void overwrite(SimDisk& disk, const string& path, std::uint64_t position, Bytes data) {
  Result<FileHandle> file = disk.open(path, OpenMode::kReadWrite);
  ASSERT_TRUE(file.ok()) << path;
  ASSERT_TRUE(disk.write_now(*file, position, data).ok());
  disk.close(*file);
}

ByteVector read_bytes(SimDisk& disk, const string& path, std::uint64_t position, std::size_t size) {
  ByteVector bytes(size);
  Result<FileHandle> file = disk.open(path, OpenMode::kRead);
  EXPECT_TRUE(file.ok()) << path;
  EXPECT_TRUE(disk.read_now(*file, position, bytes).ok());
  disk.close(*file);
  return bytes;
}

FileHeader header_of(SimDisk& disk, std::uint64_t number) {
  return *decode_file_header(read_bytes(disk, journal_path(number), 0, kFileHeaderSize));
}

/// What opening this disk says; the explanation must name `file`.
Errc refusal(SimDisk& disk, const string& file, string* explanation = nullptr) {
  JournalRig rig(disk);
  Result<void> opened = rig.open();
  EXPECT_FALSE(opened.ok());
  EXPECT_NE(rig.explanation.find(file), string::npos) << rig.explanation;
  if (explanation != nullptr) *explanation = rig.explanation;
  return opened.ok() ? Errc::kClosed : opened.error().code;
}

constexpr std::uint64_t kFirstEntryFrame = 8192;  // behind header and start frame

TEST(Recovery, AnEmptyDirectoryIsANewJournal) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  EXPECT_EQ(rig.journal->report().files, 0U);
  EXPECT_EQ(rig.journal->start_number(), 1U);
  EXPECT_EQ(header_of(disk, 1).first_frame_seq, 1U);
}

TEST(Recovery, ReplaysInOrderAndReportsWhatItFound) {
  SimDisk disk(closed_journal({"a", "b", "c"}));
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok()) << rig.explanation;
  EXPECT_EQ(rig.bodies(), (std::vector<string>{"a", "b", "c"}));
  EXPECT_EQ(rig.starts, std::vector<std::uint32_t>{1});
  const RecoveryReport& report = rig.journal->report();
  EXPECT_EQ(report.files, 1U);
  EXPECT_EQ(report.frames, 5U) << "start, three, mark";
  EXPECT_EQ(report.entries, 4U);
  EXPECT_EQ(report.torn_frames, 0U);
  EXPECT_EQ(rig.journal->staged(), EntrySeq{3});
  EXPECT_EQ(rig.journal->durable(), EntrySeq{3});
}

TEST(Recovery, StartNumbersRise) {
  SimDisk disk;
  for (std::uint32_t start = 1; start <= 5; ++start) {
    JournalRig rig(disk, small_journal(), start);
    ASSERT_TRUE(rig.open().ok());
    EXPECT_EQ(rig.journal->start_number(), start);
    EXPECT_EQ(rig.starts.size(), start - 1);
    ASSERT_TRUE(rig.close().ok());
  }
}

TEST(Recovery, StartNumbersRiseEvenIfTheStartFrameWasLost) {
  SimDisk disk(closed_journal({"a"}));
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  const std::uint32_t lost = rig.journal->start_number();
  rig.journal.reset();
  overwrite(disk, journal_path(2), 4096, ByteVector(4096));
  ASSERT_TRUE(rig.open().ok()) << rig.explanation;
  EXPECT_GT(rig.journal->start_number(), lost);
}

TEST(Recovery, AnErrorOfTheReplayStopsItAndIsReturned) {
  SimDisk disk(closed_journal({"a", "b"}));
  ManualClock clock;
  SeededRandom random(1);
  auto replay = [](const EntryView& entry, const StagedEntry&) -> Result<void> {
    if (entry.seq == EntrySeq{2}) return {Errc::kBadFormat, "test"};
    return {};
  };
  string explanation;
  auto opened = Journal::recover(disk, clock, random, small_journal(), replay, &explanation);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Errc::kBadFormat);
  EXPECT_NE(explanation.find("Entry 2"), string::npos) << explanation;
}

TEST(Recovery, KeptFramesOutliveIt) {
  SimDisk disk(closed_journal({"kept"}));
  ManualClock clock;
  SeededRandom random(1);
  StagedEntry kept;
  auto replay = [&kept](const EntryView& entry, const StagedEntry& staged) -> Result<void> {
    if (entry.type == EntryType::kAppend) kept = staged;
    return {};
  };
  auto opened = Journal::recover(disk, clock, random, small_journal(), replay, nullptr);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(as_text(kept.frame->bytes().subspan(kept.body_offset, kept.body_size)), "kept");
  EXPECT_EQ(kept.frame->place(),
            (JournalPlace{.file_number = 1, .position = kFirstEntryFrame, .size = 4096}));
}

TEST(Recovery, ATornTailIsDiscardedAndReported) {  // S8
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.write("a").ok());
  ASSERT_TRUE(rig.write(string(6000, 'b')).ok());  // frame 3: two blocks, not yet marked
  rig.journal.reset();
  disk.flip_bit(journal_path(1), kFirstEntryFrame + 4096 + 4096);
  ASSERT_TRUE(rig.open().ok()) << rig.explanation;
  EXPECT_EQ(rig.bodies(), std::vector<string>{"a"});
  EXPECT_EQ(rig.journal->report().torn_frames, 1U);
  EXPECT_EQ(rig.journal->report().torn_at_file, 1U);
  EXPECT_EQ(rig.journal->report().torn_at_position, kFirstEntryFrame + 4096);
}

TEST(Recovery, TheTornTailStaysDiscardedForEver) {  // S7, S9
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.write("a").ok());
  ASSERT_TRUE(rig.write("torn").ok());
  rig.journal.reset();
  const ByteVector whole = read_bytes(disk, journal_path(1), kFirstEntryFrame + 4096, 4096);
  overwrite(disk, journal_path(1), kFirstEntryFrame + 4096, ByteVector(4096));
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.write("b").ok());
  ASSERT_TRUE(rig.close().ok());
  // The late write of the killed process arrives after all: it is void.
  overwrite(disk, journal_path(1), kFirstEntryFrame + 4096, whole);
  ASSERT_TRUE(rig.open().ok()) << rig.explanation;
  EXPECT_EQ(rig.bodies(), (std::vector<string>{"a", "b"}));
}

TEST(Recovery, DamageBehindALaterDurableSeqRefusesAndExplains) {  // S8
  SimDisk disk(closed_journal({"a", "b", "c"}));
  disk.flip_bit(journal_path(1), kFirstEntryFrame + 4096 + 100);
  string explanation;
  EXPECT_EQ(refusal(disk, journal_path(1) + " at position 12288", &explanation), Errc::kDamaged);
  EXPECT_NE(explanation.find("frame 3 cannot be read"), string::npos) << explanation;
  EXPECT_NE(explanation.find("acknowledged"), string::npos) << explanation;
}

TEST(Recovery, ARefusalChangesNothing) {
  SimDisk disk(closed_journal({"a", "b", "c"}));
  disk.flip_bit(journal_path(1), kFirstEntryFrame);
  ASSERT_TRUE(disk.open("shard-0/journal/foreign", OpenMode::kCreate).ok());
  const std::vector<string> before = *disk.list(kJournalDirectory);
  EXPECT_EQ(refusal(disk, journal_path(1)), Errc::kDamaged);
  EXPECT_EQ(*disk.list(kJournalDirectory), before);
}

TEST(Recovery, DamageInAnOldFileIsFoundThroughALaterOne) {
  SimDisk disk(closed_journal({"a"}));
  for (int i = 0; i < 2; ++i) {
    JournalRig rig(disk);
    ASSERT_TRUE(rig.open().ok());
    ASSERT_TRUE(rig.close().ok());
  }
  disk.flip_bit(journal_path(1), kFirstEntryFrame);
  EXPECT_EQ(refusal(disk, journal_path(1)), Errc::kDamaged);
}

TEST(Recovery, AMissingFileIsDamage) {
  SimDisk disk;
  for (int i = 0; i < 3; ++i) {
    JournalRig rig(disk);
    ASSERT_TRUE(rig.open().ok());
    ASSERT_TRUE(rig.close().ok());
  }
  const SimDiskImage image = disk.crash(keep_none());
  for (std::uint64_t number : {1, 2}) {
    SimDisk without(image);
    ASSERT_TRUE(without.remove(journal_path(number)).ok());
    EXPECT_EQ(refusal(without, journal_path(number)), Errc::kDamaged);
  }
}

TEST(Recovery, AFileUnderAnotherNumbersNameIsDamage) {
  SimDisk disk(closed_journal({"a"}));
  ASSERT_TRUE(disk.rename(journal_path(1), journal_path(2)).ok());
  EXPECT_EQ(refusal(disk, journal_path(1)), Errc::kDamaged);
  const ByteVector copy = read_bytes(disk, journal_path(2), 0, kMinJournalFile);
  ASSERT_TRUE(disk.rename(journal_path(2), journal_path(1)).ok());
  ASSERT_TRUE(disk.open(journal_path(2), OpenMode::kCreate).ok());
  overwrite(disk, journal_path(2), 0, copy);
  EXPECT_EQ(refusal(disk, journal_path(2)), Errc::kDamaged);
}

TEST(Recovery, AnotherShardsFileIsDamage) {
  SimDisk disk(closed_journal({"a"}));
  JournalOptions options = small_journal();
  options.shard = ShardIndex{1};
  JournalRig rig(disk, options);
  ASSERT_FALSE(rig.open().ok());
  EXPECT_NE(rig.explanation.find("belongs to shard 0"), string::npos) << rig.explanation;
}

TEST(Recovery, AFileCutShortIsDamage) {
  SimDisk disk(closed_journal({"a"}));
  const ByteVector half = read_bytes(disk, journal_path(1), 0, kMinJournalFile / 2);
  ASSERT_TRUE(disk.remove(journal_path(1)).ok());
  ASSERT_TRUE(disk.open(journal_path(1), OpenMode::kCreate).ok());
  overwrite(disk, journal_path(1), 0, half);
  EXPECT_EQ(refusal(disk, journal_path(1)), Errc::kDamaged);
}

TEST(Recovery, AJournalNamedFileWithoutAHeaderIsDamageNotNew) {  // S1
  SimDisk disk(closed_journal({"a"}));
  overwrite(disk, journal_path(1), 0, ByteVector(kMinJournalFile));
  EXPECT_EQ(refusal(disk, journal_path(1)), Errc::kDamaged);
}

TEST(Recovery, AMisdirectedFrameIsNotValidWhereItIsFound) {  // S2
  SimDisk disk(closed_journal({"a", "b", "c"}));
  const ByteVector frame = read_bytes(disk, journal_path(1), kFirstEntryFrame, 4096);
  overwrite(disk, journal_path(1), kFirstEntryFrame + 4096, frame);
  EXPECT_EQ(refusal(disk, journal_path(1)), Errc::kDamaged);
}

TEST(Recovery, StaleFramesOfAnEarlierLifeOfTheFileDoNotCount) {  // S2
  SimDisk disk(closed_journal({"old 1", "old 2", "old 3"}));
  const ByteVector old = read_bytes(disk, journal_path(1), 0, kMinJournalFile);
  SimDisk fresh;
  ASSERT_TRUE(fresh.make_directory("shard-0").ok());
  ASSERT_TRUE(fresh.make_directory(kJournalDirectory).ok());
  const string spare = string(kJournalDirectory) + "/" + spare_name(1);
  ASSERT_TRUE(fresh.open(spare, OpenMode::kCreate).ok());
  overwrite(fresh, spare, 0, old);
  JournalRig rig(fresh, small_journal(), 55);
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.write("new").ok());
  rig.journal.reset();
  ASSERT_TRUE(rig.open().ok()) << rig.explanation;
  EXPECT_EQ(rig.bodies(), std::vector<string>{"new"});
  EXPECT_EQ(rig.journal->report().torn_frames, 0U);
}

TEST(Recovery, AFinishedSpareIsUsedAndAnUnfinishedOneIsNot) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  rig.settle_all();
  ASSERT_TRUE(rig.close().ok());
  const string directory = string(kJournalDirectory) + "/";
  ASSERT_EQ(disk.list(kJournalDirectory)->back(), spare_name(2));
  ASSERT_TRUE(disk.open(directory + filling_name(3), OpenMode::kCreate).ok());
  ASSERT_TRUE(disk.open(directory + spare_name(4), OpenMode::kCreate).ok());  // of another size
  Result<FileHandle> spare = disk.open(directory + spare_name(2), OpenMode::kRead);
  ASSERT_TRUE(rig.open().ok()) << rig.explanation;
  rig.journal.reset();
  EXPECT_EQ(*disk.list(kJournalDirectory), (std::vector<string>{journal_name(1), journal_name(2)}));
  ByteVector block(kFileHeaderSize);
  ASSERT_TRUE(disk.read_now(*spare, 0, block).ok());
  EXPECT_TRUE(decode_file_header(block).ok()) << "the very file that was the spare";
}

TEST(Recovery, ASpareOfAnotherFileSizeIsNotUsed) {
  SimDisk disk;
  JournalRig small(disk);
  ASSERT_TRUE(small.open().ok());
  small.settle_all();
  ASSERT_TRUE(small.write("small").ok());
  ASSERT_TRUE(small.close().ok());
  JournalOptions options = small_journal();
  options.file_size *= 2;
  JournalRig large(disk, options);
  for (int run = 0; run < 2; ++run) {
    ASSERT_TRUE(large.open().ok()) << large.explanation;
    EXPECT_EQ(large.bodies(), std::vector<string>{"small"});
    large.settle_all();
    ASSERT_TRUE(large.close().ok());
  }
  EXPECT_EQ(header_of(disk, 2).file_size, options.file_size);
}

TEST(Recovery, TheFirstFrameOfARunSaysThatItsStartFrameWasDurable) {  // S9
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.write("a").ok());
  rig.journal.reset();
  disk.flip_bit(journal_path(1), 4096);
  EXPECT_EQ(refusal(disk, journal_path(1)), Errc::kDamaged);
}

TEST(Recovery, ForeignFilesAreMovedAsideAndNeverDeleted) {  // S10
  SimDisk disk(closed_journal({"a"}));
  const string directory = string(kJournalDirectory) + "/";
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(disk.open(directory + "notes.txt", OpenMode::kCreate).ok());
    JournalRig rig(disk);
    ASSERT_TRUE(rig.open().ok()) << rig.explanation;
    EXPECT_EQ(rig.journal->report().moved_aside, std::vector<string>{"notes.txt"});
    ASSERT_TRUE(rig.close().ok());
  }
  EXPECT_EQ(*disk.list(directory + "quarantine"),
            (std::vector<string>{"notes.txt", "notes.txt.1"}));
}

/// Puts a frame of ours behind the last one of file 1.
void append_frame(SimDisk& disk, FrameBuffer& frame, JournalFrameHeader header) {
  const FileHeader file = header_of(disk, 1);
  header.file_epoch = file.file_epoch;
  const std::uint64_t position = kFirstEntryFrame + 2 * 4096;  // behind "a" and the mark
  frame.seal(header, {file.shard, file.file_epoch, position}, 1);
  overwrite(disk, journal_path(1), position, frame.bytes());
}
JournalFrameHeader next_header() {
  JournalFrameHeader header;
  header.frame_seq = 4;
  header.durable_seq = 3;
  header.first_entry_seq = EntrySeq{2};
  return header;
}

TEST(Recovery, AnAppendedFrameOfTheRightKindIsRead) {
  SimDisk disk(closed_journal({"a"}));
  FrameBuffer frame;
  frame.append({.type = EntryType::kCatalog, .head = as_bytes("b"), .tail = {}}, EntrySeq{2});
  append_frame(disk, frame, next_header());
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok()) << rig.explanation;
  EXPECT_EQ(rig.bodies(), (std::vector<string>{"a", "b"}));
}

TEST(Recovery, AnUnknownEntryTypeRefusesToStartWithAClearSentence) {
  SimDisk disk(closed_journal({"a"}));
  FrameBuffer frame;
  frame.append({.type = static_cast<EntryType>(33), .head = as_bytes("b"), .tail = {}},
               EntrySeq{2});
  append_frame(disk, frame, next_header());
  string explanation;
  EXPECT_EQ(refusal(disk, journal_path(1), &explanation), Errc::kUnsupportedFormat);
  EXPECT_NE(explanation.find("unknown type 33"), string::npos) << explanation;
}

TEST(Recovery, ANewerFrameVersionRefusesToStart) {
  SimDisk disk(closed_journal({"a"}));
  FrameBuffer frame;
  JournalFrameHeader header = next_header();
  header.version = 2;
  append_frame(disk, frame, header);
  EXPECT_EQ(refusal(disk, journal_path(1)), Errc::kUnsupportedFormat);
}

TEST(Recovery, ANewerFileVersionRefusesToStart) {
  SimDisk disk(closed_journal({"a"}));
  ByteVector block = read_bytes(disk, journal_path(1), 0, kFileHeaderSize);
  block[16] = std::byte{2};
  store_little(block.data(), xxh3_64(Bytes(block).subspan(8)));
  overwrite(disk, journal_path(1), 0, block);
  EXPECT_EQ(refusal(disk, journal_path(1)), Errc::kUnsupportedFormat);
}

TEST(Recovery, AGapInFrameOrEntryNumbersIsDamage) {
  for (int kind = 0; kind < 2; ++kind) {
    SimDisk disk(closed_journal({"a"}));
    FrameBuffer frame;
    JournalFrameHeader header = next_header();
    if (kind == 0) header.frame_seq = 5;
    if (kind == 1) header.first_entry_seq = EntrySeq{3};
    append_frame(disk, frame, header);
    EXPECT_EQ(refusal(disk, journal_path(1)), Errc::kDamaged) << kind;
  }
}

TEST(Recovery, NoRoomForTheStartFrameIsSaid) {
  SimDisk disk(closed_journal({"a"}));
  disk.set_capacity(kMinJournalFile + 4096);
  JournalRig rig(disk);
  Result<void> opened = rig.open();
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Errc::kNoSpace);
  EXPECT_NE(rig.explanation.find("no room"), string::npos) << rig.explanation;
}

}  // namespace
}  // namespace waybill

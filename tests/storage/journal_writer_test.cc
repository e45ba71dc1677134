// Goal: the journal acknowledges only what is durable, in order, and says what it cannot take.
// Method: a simulated disk whose completions are chosen by hand and whose calls fail when told.
#include "storage/journal_writer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <array>

#include "tests/storage/journal_rig.h"

namespace waybill {
namespace {

using std::chrono::milliseconds;

/// Frames in flight, not the filling of a spare.
std::vector<SimOperation> frame_writes(const SimDisk& disk) {
  std::vector<SimOperation> writes;
  for (const SimOperation& operation : disk.in_flight()) {
    if (operation.kind == SimOperation::Kind::kWrite && operation.path.ends_with(".wbj"))
      writes.push_back(operation);
  }
  return writes;
}

/// An open journal whose spare is ready and whose writes then wait to be completed by hand.
struct ByHand {
  explicit ByHand(JournalOptions options = small_journal()) : rig(disk, std::move(options)) {
    EXPECT_TRUE(rig.open().ok());
    rig.settle_all();
    disk.set_order(SimOrder::kByHand);
  }
  void complete(const SimOperation& operation) {
    disk.complete(operation.id);
    disk.reap();
  }
  SimDisk disk;
  JournalRig rig;
};

std::string full_frame() {
  return std::string(8000, 'x');
}

TEST(JournalWriter, LogicalEntriesAreNumberedAndLocalOnesAreNot) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  EXPECT_EQ(rig.stage("a").seq, EntrySeq{1});
  EXPECT_EQ(rig.stage("local", EntryType::kStart).seq, EntrySeq{});
  EXPECT_EQ(rig.stage("b").seq, EntrySeq{2});
  EXPECT_EQ(rig.journal->staged(), EntrySeq{2});
}

TEST(JournalWriter, NothingIsDurableBeforeItsWriteIsDone) {
  ByHand by_hand;
  Journal& journal = *by_hand.rig.journal;
  int progress = 0;
  journal.on_progress([&progress] { ++progress; });
  by_hand.rig.stage("a");
  journal.pump();
  EXPECT_EQ(journal.durable(), EntrySeq{0});
  EXPECT_EQ(progress, 0);
  by_hand.complete(frame_writes(by_hand.disk).front());
  EXPECT_EQ(journal.durable(), EntrySeq{1});
  EXPECT_EQ(progress, 1);
}

TEST(JournalWriter, OnlyTheContiguousPrefixIsDurable) {  // S4
  ByHand by_hand;
  Journal& journal = *by_hand.rig.journal;
  for (int i = 0; i < 3; ++i) by_hand.rig.stage(full_frame());
  journal.pump();
  std::vector<SimOperation> writes = frame_writes(by_hand.disk);
  ASSERT_EQ(writes.size(), 3U);
  by_hand.complete(writes[1]);
  by_hand.complete(writes[2]);
  EXPECT_EQ(journal.durable(), EntrySeq{0});
  by_hand.complete(writes[0]);
  EXPECT_EQ(journal.durable(), EntrySeq{3});
}

TEST(JournalWriter, AtMostFourFramesAreInFlight) {
  ByHand by_hand;
  for (int i = 0; i < 7; ++i) by_hand.rig.stage(full_frame());
  by_hand.rig.journal->pump();
  EXPECT_EQ(frame_writes(by_hand.disk).size(), 4U);
}

TEST(JournalWriter, ASmallFrameGathersWhileAnotherIsOnItsWay) {  // S4
  ByHand by_hand;
  Journal& journal = *by_hand.rig.journal;
  by_hand.rig.stage("a");
  journal.pump();
  for (const char* body : {"b", "c", "d"}) {
    by_hand.rig.stage(body);
    journal.pump();
  }
  std::vector<SimOperation> writes = frame_writes(by_hand.disk);
  ASSERT_EQ(writes.size(), 1U);
  EXPECT_EQ(journal.deadline(), std::nullopt) << "the write's end wakes it, not a timer";
  by_hand.complete(writes[0]);
  journal.pump();
  writes = frame_writes(by_hand.disk);
  ASSERT_EQ(writes.size(), 1U);
  by_hand.complete(writes[0]);
  EXPECT_EQ(journal.durable(), EntrySeq{4}) << "three shared a frame";
}

TEST(JournalWriter, AFrameOfASixteenthOfTheTargetGoesBesideOthers) {  // S4
  const std::size_t large = small_journal().frame_target / 16;
  ByHand by_hand;
  Journal& journal = *by_hand.rig.journal;
  by_hand.rig.stage("a");
  journal.pump();
  by_hand.rig.stage(std::string(large / 2, 'b'));
  journal.pump();
  EXPECT_EQ(frame_writes(by_hand.disk).size(), 1U);
  by_hand.rig.stage(std::string(large / 2, 'c'));
  journal.pump();
  EXPECT_EQ(frame_writes(by_hand.disk).size(), 2U);
}

TEST(JournalWriter, AChangeLargerThanAFrameGoesAlone) {
  ByHand by_hand;
  by_hand.rig.stage("small");
  by_hand.rig.stage(std::string(20'000, 'x'));
  by_hand.rig.stage("small");
  by_hand.rig.journal->pump();
  std::vector<SimOperation> writes = frame_writes(by_hand.disk);
  ASSERT_EQ(writes.size(), 2U);
  EXPECT_EQ(writes[0].size, 4096U);
  EXPECT_EQ(writes[1].size, 20'480U);
}

TEST(JournalWriter, AChangeIsNeverSplitOverFrames) {  // S3
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  const std::string body(3000, 'x');
  std::array<EntryDraft, 2> change;
  change.fill({.type = EntryType::kAppend, .head = as_bytes(body), .tail = {}});
  for (int i = 0; i < 10; ++i) {
    std::vector<StagedEntry> staged = rig.journal->stage(change);
    EXPECT_EQ(staged[0].frame, staged[1].frame);
  }
}

TEST(JournalWriter, TenMillisecondsOfQuietAreFollowedByOneIdleMark) {  // S5
  ByHand by_hand;
  Journal& journal = *by_hand.rig.journal;
  EXPECT_EQ(journal.deadline(), std::nullopt) << "marked, and the spare is there";
  by_hand.rig.stage("a");
  journal.pump();
  by_hand.complete(frame_writes(by_hand.disk).front());
  ASSERT_TRUE(journal.deadline().has_value());
  EXPECT_EQ(*journal.deadline() - by_hand.rig.clock.monotonic(), Duration(milliseconds(10)));
  by_hand.rig.clock.advance(milliseconds(9));
  journal.pump();
  EXPECT_TRUE(frame_writes(by_hand.disk).empty());
  by_hand.rig.clock.advance(milliseconds(1));
  journal.pump();
  ASSERT_EQ(frame_writes(by_hand.disk).size(), 1U);
  by_hand.complete(frame_writes(by_hand.disk).front());
  by_hand.rig.clock.advance(milliseconds(100));
  journal.pump();
  EXPECT_TRUE(frame_writes(by_hand.disk).empty()) << "one is enough";
  EXPECT_EQ(journal.deadline(), std::nullopt);
}

TEST(JournalWriter, AShortWriteIsDoneOnceMoreAsAWhole) {  // S4
  ByHand by_hand;
  Journal& journal = *by_hand.rig.journal;
  by_hand.rig.stage(full_frame());
  by_hand.disk.short_write_after(0, 4096);
  journal.pump();
  const SimOperation first = frame_writes(by_hand.disk).front();
  by_hand.complete(first);
  EXPECT_EQ(journal.durable(), EntrySeq{0});
  ASSERT_TRUE(journal.deadline().has_value()) << "wants to be pumped";
  journal.pump();
  const SimOperation second = frame_writes(by_hand.disk).front();
  EXPECT_EQ(second.position, first.position);
  EXPECT_EQ(second.size, first.size);
  by_hand.complete(second);
  EXPECT_EQ(journal.durable(), EntrySeq{1});
}

TEST(JournalWriter, ASecondShortWritePoisons) {
  ByHand by_hand;
  by_hand.rig.stage(full_frame());
  by_hand.disk.short_write_after(0, 4096);
  by_hand.disk.short_write_after(1, 4096);
  by_hand.rig.settle();
  EXPECT_TRUE(by_hand.rig.journal->poisoned());
  EXPECT_EQ(by_hand.rig.journal->durable(), EntrySeq{0});
}

TEST(JournalWriter, AfterAFailedWriteNothingBecomesDurableAnyMore) {
  ByHand by_hand;
  Journal& journal = *by_hand.rig.journal;
  int progress = 0;
  journal.on_progress([&progress] { ++progress; });
  by_hand.disk.fail_after(1, Errc::kIo);
  for (int i = 0; i < 3; ++i) by_hand.rig.stage(full_frame());
  journal.pump();
  std::vector<SimOperation> writes = frame_writes(by_hand.disk);
  ASSERT_EQ(writes.size(), 3U);
  by_hand.complete(writes[1]);
  EXPECT_TRUE(journal.poisoned());
  EXPECT_EQ(journal.poison().code, Errc::kIo);
  EXPECT_EQ(progress, 1);
  by_hand.complete(writes[0]);
  by_hand.complete(writes[2]);
  EXPECT_EQ(journal.durable(), EntrySeq{0});
  EXPECT_EQ(journal.deadline(), std::nullopt);
  journal.pump();
  EXPECT_FALSE(journal.close().ok());
}

/// Whatever call fails: the journal stops, and a restart finds everything that was confirmed.
TEST(JournalWriter, AFailureOfAnyCallLosesNothingConfirmed) {
  bool finished = false;
  for (std::uint64_t call = 0; !finished; ++call) {
    SimDisk disk;
    JournalRig rig(disk);
    disk.fail_after(call, Errc::kIo);
    std::size_t confirmed = 0;
    bool failed = true;
    if (rig.open()) {
      for (int i = 0; i < 30 && rig.write(full_frame() + std::to_string(i)); ++i) {
        rig.settle_all();
        if (rig.journal->poisoned()) break;
      }
      failed = rig.journal->poisoned();
      if (!failed) finished = rig.journal->close().ok();
      confirmed = rig.journal->durable().value;
      rig.journal.reset();
    }
    EXPECT_TRUE(failed || finished) << "call " << call << " failed unnoticed";
    SimDisk after(disk.crash(keep_random(call)));
    JournalRig again(after);
    ASSERT_TRUE(again.open().ok()) << "call " << call << ": " << again.explanation;
    ASSERT_GE(again.replayed.size(), confirmed) << "call " << call;
    for (std::size_t i = 0; i < again.replayed.size(); ++i)
      ASSERT_EQ(again.replayed[i].body, full_frame() + std::to_string(i));
  }
}

TEST(JournalWriter, TooManyStagedBytesPushBackExceptForWhatIsEssential) {
  JournalOptions options = small_journal();
  options.max_staged_bytes = 20'000;
  ByHand by_hand(options);
  Journal& journal = *by_hand.rig.journal;
  EXPECT_EQ(journal.admit(30'000, false), Admission::kAdmitted) << "nothing is staged";
  by_hand.rig.stage(full_frame());
  by_hand.rig.stage(full_frame());
  EXPECT_EQ(journal.admit(5'000, false), Admission::kStagedFull);
  EXPECT_EQ(journal.admit(5'000, true), Admission::kAdmitted);
  by_hand.rig.settle();
  EXPECT_EQ(journal.admit(5'000, false), Admission::kAdmitted);
}

TEST(JournalWriter, AFullDiskIsBackPressureWithAReserveAndEnds) {  // S21
  SimDisk disk({}, {.capacity = 3 * kMinJournalFile - 4096});
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  rig.settle_all();  // file 1 and a spare
  Journal& journal = *rig.journal;
  std::size_t ordinary = 0;
  while (journal.admit(3000, false) == Admission::kAdmitted) {
    ASSERT_TRUE(rig.write(std::string(3000, 'o')).ok());
    rig.settle_all();
    ASSERT_LT(++ordinary, 1000U);
  }
  EXPECT_EQ(journal.admit(3000, false), Admission::kDiskFull);
  EXPECT_FALSE(journal.poisoned());
  EXPECT_FALSE(disk.list(kJournalDirectory)->back().ends_with(".filling")) << "the part is gone";
  std::size_t essential = 0;
  while (journal.admit(3000, true) == Admission::kAdmitted) {
    ASSERT_TRUE(rig.write(std::string(3000, 'e')).ok());
    ASSERT_LT(++essential, 1000U);
  }
  EXPECT_GE(essential, 2U) << "the reserve serves what is essential";
  EXPECT_EQ(journal.admit(3000, true), Admission::kDiskFull);
  EXPECT_FALSE(journal.poisoned());

  disk.set_capacity(10 * kMinJournalFile);
  const std::uint64_t before = disk.operations();
  journal.pump();
  EXPECT_EQ(disk.operations(), before) << "not within the second";
  ASSERT_TRUE(journal.deadline().has_value());
  rig.clock.advance(std::chrono::seconds(1));
  rig.settle_all();
  EXPECT_EQ(journal.admit(3000, false), Admission::kAdmitted);
  ASSERT_TRUE(rig.write("after").ok());
  ASSERT_TRUE(rig.close().ok());
  ASSERT_TRUE(rig.open().ok()) << rig.explanation;
  EXPECT_EQ(rig.replayed.size(), ordinary + essential + 1);
  EXPECT_EQ(rig.replayed.back().body, "after");
}

/// Of the journal's directory, without the files that frames are in.
std::size_t spare_files(SimDisk& disk) {
  const std::vector<std::string> names = *disk.list(kJournalDirectory);
  return static_cast<std::size_t>(
      std::ranges::count_if(names, [](const auto& name) { return name.starts_with("spare-"); }));
}

TEST(JournalWriter, NoFileIsFilledWhileTheRoomIsAnothersAndThoseThatAreThereAreUsedS21) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  rig.settle_all();
  Journal& journal = *rig.journal;
  while (journal.current_file() < 12) {
    ASSERT_TRUE(rig.write(full_frame()).ok());
    rig.settle_all();
  }
  journal.release_before(journal.current_file());
  rig.settle_all();
  const std::size_t kept = spare_files(disk);
  EXPECT_EQ(kept, 6U) << "one that comes next, and five";
  const std::size_t files = disk.list(kJournalDirectory)->size();
  journal.may_fill_files(false);
  while (journal.admit(3000, true) == Admission::kAdmitted) {
    ASSERT_TRUE(rig.write(std::string(3000, 'e')).ok());
    rig.settle_all();
    ASSERT_LE(journal.current_file(), 12 + kept);
  }
  EXPECT_EQ(journal.current_file(), 12 + kept);
  EXPECT_EQ(journal.admit(3000, true), Admission::kDiskFull);
  EXPECT_EQ(journal.admit(3000, false), Admission::kDiskFull);
  EXPECT_EQ(disk.list(kJournalDirectory)->size(), files) << "nothing was filled";
  const std::optional<MonotonicTime> due = journal.deadline();
  EXPECT_TRUE(!due || *due > rig.clock.monotonic()) << "and nobody is kept awake";

  // What comes back is used at once; new ones are filled when they may be.
  journal.release_before(journal.current_file());
  rig.settle_all();
  EXPECT_EQ(journal.admit(3000, false), Admission::kAdmitted);
  EXPECT_LE(disk.list(kJournalDirectory)->size(), files);
  journal.may_fill_files(true);
  const std::uint64_t reached = journal.current_file();
  while (journal.current_file() < reached + 10) {
    ASSERT_TRUE(rig.write(full_frame()).ok());
    rig.settle_all();
  }
  EXPECT_EQ(journal.admit(3000, false), Admission::kAdmitted);
}

TEST(JournalWriter, AFileThatIsBeingFilledGivesItsRoomBackS21) {
  SimDisk disk({}, {.order = SimOrder::kByHand});
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  ASSERT_EQ(spare_files(disk), 1U) << "it is being filled";
  rig.journal->may_fill_files(false);
  rig.settle_all();
  EXPECT_EQ(spare_files(disk), 0U);
  EXPECT_EQ(rig.journal->admit(kMinJournalFile, true), Admission::kDiskFull);
  rig.journal->may_fill_files(true);
  rig.settle_all();
  EXPECT_EQ(spare_files(disk), 1U);
  EXPECT_EQ(rig.journal->admit(3000, false), Admission::kAdmitted);
  ASSERT_TRUE(rig.close().ok());
}

TEST(JournalWriter, BytesAreReadBackByPlaceFromEveryFile) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  std::vector<std::pair<JournalPlace, std::string>> written;
  for (int i = 0; i < 200; ++i) {
    std::string body = "body " + std::to_string(i) + std::string(7000, 'x');
    StagedEntry staged = rig.stage(body);
    rig.settle_all();
    JournalPlace place = staged.frame->place();
    place.position += staged.body_offset;
    place.size = staged.body_size;
    written.emplace_back(place, std::move(body));
  }
  EXPECT_GT(written.back().first.file_number, 2 * PlaceReader::kMaxOpenFiles);
  std::size_t done = 0;
  for (const auto& [place, body] : written) {
    rig.journal->read(place, [&done, &body](Result<SharedBytes> bytes) {
      ASSERT_TRUE(bytes.ok());
      EXPECT_EQ(as_text(bytes->view()), body);
      ++done;
    });
  }
  EXPECT_EQ(done, 0U) << "no completion runs inside the call (S14)";
  rig.settle_all();
  EXPECT_EQ(done, written.size());
}

TEST(JournalWriter, ReadingBeyondTheEndIsDamage) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  std::vector<Errc> errors;
  auto note = [&errors](Result<SharedBytes> bytes) {
    ASSERT_FALSE(bytes.ok());
    errors.push_back(bytes.error().code);
  };
  rig.journal->read({.file_number = 1, .position = kMinJournalFile - 100, .size = 101}, note);
  rig.journal->read({.file_number = 7, .position = 4096, .size = 1}, note);
  rig.settle_all();
  EXPECT_EQ(errors, (std::vector{Errc::kNotFound, Errc::kDamaged}));
}

TEST(JournalWriter, CloseWritesWhatIsStagedAndAMark) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  for (int i = 0; i < 50; ++i) rig.stage(full_frame());
  ASSERT_TRUE(rig.close().ok());
  EXPECT_EQ(disk.pending(), 0U);
  SimDisk after(disk.crash(keep_none()));
  JournalRig again(after);
  ASSERT_TRUE(again.open().ok());
  EXPECT_EQ(again.replayed.size(), 50U);
}

TEST(JournalWriter, ItMayGoWithWritesInFlight) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  rig.stage("a");
  rig.journal->pump();
  bool called = false;
  rig.journal->on_progress([&called] { called = true; });
  rig.journal->read({.file_number = 1, .position = 0, .size = 8},
                    [&called](Result<SharedBytes>) { called = true; });
  rig.journal.reset();
  EXPECT_EQ(disk.pending(), 0U);
  EXPECT_FALSE(called);
}

TEST(JournalWriter, AnIdleJournalStaysSmall) {
  SimDisk disk;
  JournalRig rig(disk);
  ASSERT_TRUE(rig.open().ok());
  rig.settle_all();
  const std::uint64_t before = disk.operations();
  for (int i = 0; i < 100; ++i) {
    rig.clock.advance(std::chrono::seconds(1));
    rig.journal->pump();
  }
  EXPECT_EQ(disk.operations(), before);
  EXPECT_EQ(rig.journal->bytes_on_disk(), 2 * kMinJournalFile);
}

}  // namespace
}  // namespace waybill

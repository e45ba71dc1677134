// Goal: a damaged checkpoint is never taken for a whole one, and the newest whole one is found.
// Method: checkpoints of the real writer; bits flipped everywhere, files cut at every length.
#include "storage/checkpoint_reader.h"

#include "tests/storage/checkpoint_rig.h"

namespace waybill {
namespace {

void write_checkpoint(Disk& disk, std::uint64_t number, const std::string& what) {
  CheckpointRig rig(disk, number);
  ASSERT_TRUE(rig.create().ok());
  for (int i = 0; i < 5; ++i) rig.add(i, number * 10 + i, what + std::to_string(i));
  rig.add(9, 1, std::string(9000, 'x'));
  rig.finish();
  ASSERT_TRUE(rig.writer->done());
}

std::string path_of(std::uint64_t number) {
  return std::string(kCheckpointDirectory) + "/" + checkpoint_name(number);
}

FoundCheckpoints find(Disk& disk) {
  return find_checkpoints(disk, kCheckpointDirectory, kCheckpointShard).value();
}

TEST(CheckpointReader, TheNewestIsFoundFirst) {
  SimDisk disk(image_with_shard());
  for (std::uint64_t number : {1, 12, 3}) write_checkpoint(disk, number, "state");
  ASSERT_TRUE(disk.open("shard-3/checkpoint-000000000013.writing", OpenMode::kCreate).ok());
  ASSERT_TRUE(disk.open("shard-3/checkpoint-13.wbc", OpenMode::kCreate).ok());
  const FoundCheckpoints found = find(disk);
  ASSERT_EQ(found.finished.size(), 3U);
  EXPECT_EQ(found.finished[0].number, 12U);
  EXPECT_EQ(found.finished[1].number, 3U);
  EXPECT_EQ(found.finished[2].number, 1U);
  ASSERT_TRUE(found.finished[0].summary.has_value());
  EXPECT_EQ(found.finished[0].summary->max_applied, EntrySeq{124});
  EXPECT_EQ(found.unfinished, std::vector<std::string>{"shard-3/checkpoint-000000000013.writing"});
}

TEST(CheckpointReader, EveryFlippedBitIsDamageAndThePredecessorStillGood) {
  SimDisk first(image_with_shard());
  write_checkpoint(first, 1, "old");
  write_checkpoint(first, 2, "new");
  const SimDiskImage image = first.crash(keep_none());
  const std::uint64_t size = *first.size(*first.open(path_of(2), OpenMode::kRead));
  for (std::uint64_t position = 0; position < size; position += 13) {
    SimDisk disk(image);
    disk.flip_bit(path_of(2), position, position / 8 % 8);
    const FoundCheckpoints found = find(disk);
    ASSERT_EQ(found.finished.size(), 2U);
    EXPECT_FALSE(found.finished[0].summary.has_value()) << position;
    EXPECT_EQ(found.finished[0].problem.code, Errc::kDamaged) << position;
    EXPECT_NE(found.finished[0].explanation.find(path_of(2) + " is damaged at position"),
              std::string::npos);
    EXPECT_TRUE(found.finished[1].summary.has_value());
    EXPECT_FALSE(read_checkpoint(disk, 2).ok());
  }
}

TEST(CheckpointReader, AFileOfAnyOtherLengthIsDamaged) {
  SimDisk whole(image_with_shard());
  write_checkpoint(whole, 1, "state");
  const FileHandle file = *whole.open(path_of(1), OpenMode::kRead);
  ByteVector bytes(*whole.size(file) + 4096);
  ASSERT_TRUE(whole.read_now(file, 0, bytes).ok());
  for (std::size_t size = 0; size <= bytes.size(); size += 512) {
    if (size == bytes.size() - 4096) continue;
    SimDisk disk(image_with_shard());
    ASSERT_TRUE(
        disk.write_now(*disk.open(path_of(1), OpenMode::kCreate), 0, Bytes(bytes).first(size))
            .ok());
    Result<std::vector<KeptObject>> read = read_checkpoint(disk, 1);
    ASSERT_FALSE(read.ok()) << size;
    EXPECT_EQ(read.error().code, Errc::kDamaged) << size;
  }
}

TEST(CheckpointReader, AnotherNumbersOrShardsFileIsDamaged) {
  SimDisk disk(image_with_shard());
  write_checkpoint(disk, 1, "state");
  EXPECT_TRUE(
      find_checkpoints(disk, kCheckpointDirectory, ShardIndex{4})->finished.front().summary ==
      std::nullopt);
  ASSERT_TRUE(disk.rename(path_of(1), path_of(2)).ok());
  EXPECT_EQ(find(disk).finished.front().problem.code, Errc::kDamaged);
}

TEST(CheckpointReader, AfterDamageNothingIsSaidToBeWhole) {
  SimDisk disk(image_with_shard());
  CheckpointRig rig(disk, 1);
  ASSERT_TRUE(rig.create().ok());
  rig.finish();
  // An empty checkpoint whose summary counts an object: sealed rightly, but wrong.
  const CheckpointId id{.shard = kCheckpointShard, .number = 1};
  ByteVector page(4096);
  encode_summary({.object_count = 1,
                  .objects_size = 24,
                  .max_applied = {},
                  .replay_from = {},
                  .journal_file = 1,
                  .time = {}},
                 page.data() + kPageHeaderSize);
  seal_page({.last = true, .page_size = 4096, .payload_size = kSummarySize}, id, 0, page);
  ASSERT_TRUE(disk.write_now(*disk.open(path_of(1), OpenMode::kReadWrite), 0, page).ok());
  Result<CheckpointReader> reader = CheckpointReader::open(disk, kCheckpointDirectory, id);
  ASSERT_TRUE(reader.ok());
  for (int again = 0; again < 2; ++again) {
    Result<std::optional<CheckpointObject>> object = reader->next();
    ASSERT_FALSE(object.ok());
    EXPECT_EQ(object.error().code, Errc::kDamaged);
  }
}

TEST(CheckpointReader, ADiskErrorIsNoDamage) {
  SimDisk disk(image_with_shard());
  write_checkpoint(disk, 1, "state");
  for (std::uint64_t call = 0; call < 3; ++call) {
    disk.fail_after(call, Errc::kIo);
    Result<FoundCheckpoints> found = find_checkpoints(disk, kCheckpointDirectory, kCheckpointShard);
    ASSERT_FALSE(found.ok()) << call;
    EXPECT_EQ(found.error().code, Errc::kIo);
  }
}

}  // namespace
}  // namespace waybill

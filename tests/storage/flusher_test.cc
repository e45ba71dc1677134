// Goal: what is durable in the journal gets into segments, whatever happens meanwhile, without one
// stream or one sync holding up the others. Method: a real journal and streams on a simulated disk
// whose operations are finished by hand, or that is full, or damaged.
#include "storage/flusher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "storage/segment_files.h"
#include "tests/storage/journal_rig.h"
#include "tests/storage/stored_batches.h"

namespace waybill {
namespace {

constexpr std::size_t kValue = 4000;
constexpr const char* kStreams = "shard-0/streams";
constexpr const char* kOfSecond = "shard-0/streams/0000000000000006";

JournalOptions large_journal() {
  JournalOptions options = small_journal();
  options.file_size = 1024 * 1024;
  options.frame_target = 64 * 1024;
  return options;
}

class FlusherTest : public testing::Test {
 protected:
  FlusherTest() {
    EXPECT_TRUE(rig_.open().ok());
    rig_.settle_all();
    flusher_.on_trouble([this](const FlushTrouble& trouble) { troubles_.push_back(trouble); });
  }
  ~FlusherTest() override {
    flusher_.silence();
    files_.silence();
    drain();
  }

  void drain() {
    while (disk_.pending() > 0) {
      disk_.submit();
      disk_.wait();
    }
  }
  enum class Kept : std::uint8_t { kInMemory, kInJournal };
  /// Durable batches of one record of `size` bytes.
  void append(Stream& stream, int count, Kept kept = Kept::kInMemory, std::size_t size = kValue) {
    for (int i = 0; i < count; ++i) {
      const Offset base = stream.end();
      const ByteVector batch = make_batch(base, 1, size);
      const std::string body = append_body(stream.id(), base, 1, batch);
      const StagedEntry entry = rig_.stage(body);
      StoredBatch stored;
      stored.base = base;
      stored.count = 1;
      stored.size = static_cast<std::uint32_t>(batch.size());
      stored.max_timestamp = WallTime{1'000'000};
      stored.seq = entry.seq;
      stored.frame = entry.frame;
      stored.frame_offset =
          entry.body_offset + static_cast<std::uint32_t>(body.size() - batch.size());
      stream.append(std::move(stored));
      if (kept == Kept::kInJournal) nothing_.added(stream);
    }
    rig_.settle();
    stream.reveal(rig_.journal->durable());
    nothing_.trim(rig_.journal->durable());
  }
  void step() {
    flusher_.step(*rig_.journal);
    disk_.submit();
  }
  /// Until nothing moves any more.
  void run() {
    for (step(); disk_.pending() > 0; step()) disk_.wait();
  }
  /// Bytes that are being written to segments, by path.
  std::map<std::string, std::size_t> writes() {
    std::map<std::string, std::size_t> found;
    for (const SimOperation& operation : disk_.in_flight()) {
      if (operation.kind == SimOperation::Kind::kWrite && operation.path.ends_with(".wbs"))
        found[operation.path] += operation.size;
    }
    return found;
  }

  /// From then on no stream's directory is above one that is not durable.
  void flush_one_first() {
    append(first_, 5);
    flusher_.enqueue(first_);
    run();
    disk_.set_order(SimOrder::kByHand);
  }
  using Strings = std::vector<std::string>;
  /// Until nothing moves any more: the directories that are synced meanwhile, in order.
  Strings directory_syncs() {
    Strings paths;
    for (step(); disk_.pending() > 0; step()) {
      const SimOperation oldest = disk_.in_flight().front();
      if (oldest.kind == SimOperation::Kind::kSyncDirectory) paths.push_back(oldest.path);
      disk_.wait();
    }
    return paths;
  }
  std::size_t removals() {
    const std::vector<SimOperation> all = disk_.in_flight();
    return static_cast<std::size_t>(
        std::ranges::count(all, SimOperation::Kind::kRemove, &SimOperation::kind));
  }

  SimDisk disk_;
  JournalRig rig_{disk_, large_journal()};
  SegmentFiles files_{disk_, "shard-0/streams", 1024 * 1024};
  TailCache nothing_{0};
  Flusher flusher_{disk_,
                   rig_.clock,
                   files_,
                   {.step = 16 * 1024,
                    .max_step = 64 * 1024,
                    .max_steps = 2,
                    .max_small_steps = 6,
                    .max_open = 2,
                    .max_files = 6}};
  std::vector<FlushTrouble> troubles_;
  Stream first_{StreamId{5}};
  Stream second_{StreamId{6}};
  Stream third_{StreamId{7}};
};

TEST_F(FlusherTest, AFewStreamsAreWrittenAtOnceAndNoStreamTwice) {
  for (Stream* stream : {&first_, &second_, &third_}) append(*stream, 40);
  disk_.set_order(SimOrder::kByHand);
  for (Stream* stream : {&first_, &second_, &third_}) flusher_.appended(*stream);
  step();
  EXPECT_EQ(writes().size(), 2u) << "the third waits for a step";
  flusher_.appended(first_);
  step();
  EXPECT_EQ(writes().size(), 2u);
  EXPECT_EQ(disk_.in_flight().size(), 2u) << "one write for each stream";
  run();
  for (Stream* stream : {&first_, &second_, &third_}) {
    EXPECT_EQ(stream->flushed_end(), stream->end()) << stream->id().value;
  }
  EXPECT_EQ(flusher_.pending(), 0u);
}

TEST_F(FlusherTest, SmallStreamsAreWrittenTogetherAFewMoreInEachTurn) {
  std::deque<Stream> streams;
  for (std::uint64_t i = 0; i < 9; ++i)
    append(streams.emplace_back(StreamId{100 + i}), 1, Kept::kInMemory, 100);
  disk_.set_order(SimOrder::kByHand);
  for (Stream& stream : streams) flusher_.enqueue(stream);
  for (std::size_t most : {2U, 4U, 6U, 6U}) {
    step();
    EXPECT_EQ(writes().size(), most);
  }
  run();
  for (const Stream& stream : streams) EXPECT_EQ(stream.flushed_end(), stream.end());
}

TEST_F(FlusherTest, AStreamWithLittleDataHasOneSegmentHoweverManyOthersGrow) {
  std::deque<Stream> streams;
  for (std::uint64_t id = 10; id < 16; ++id) streams.emplace_back(StreamId{id});
  for (int checkpoint = 0; checkpoint < 3; ++checkpoint) {
    for (Stream& stream : streams) {
      append(stream, 1, Kept::kInMemory, 1000);
      flusher_.enqueue(stream);
    }
    run();
  }
  for (const Stream& stream : streams) {
    EXPECT_EQ(stream.flushed_end(), stream.end());
    ASSERT_EQ(stream.segments().size(), 1u);
    EXPECT_TRUE(flusher_.grows(stream.segments().front().id));
  }
  append(first_, 1);
  flusher_.enqueue(first_);
  run();
  EXPECT_FALSE(flusher_.grows(streams.front().segments().front().id))
      << "there are not more descriptors than six: what was used least recently is sealed";
  EXPECT_TRUE(streams.front().segments().front().sealed);
  EXPECT_TRUE(flusher_.grows(streams.back().segments().front().id));
}

TEST_F(FlusherTest, OfManySegmentsWorthAFileTheOneUsedLeastRecentlyIsSealed) {
  Stream small(StreamId{9});
  append(small, 1);
  flusher_.enqueue(small);
  run();
  for (Stream* stream : {&first_, &second_, &first_, &third_}) {
    append(*stream, 5);
    flusher_.appended(*stream);
    run();
  }
  EXPECT_TRUE(flusher_.grows(small.segments().front().id));
  EXPECT_TRUE(flusher_.grows(first_.segments().front().id));
  EXPECT_FALSE(flusher_.grows(second_.segments().front().id));
  EXPECT_TRUE(second_.segments().front().sealed);
  EXPECT_TRUE(flusher_.grows(third_.segments().front().id));
}

TEST_F(FlusherTest, WhatIsFurtherBehindIsWrittenInLargerSteps) {
  append(first_, 5);
  append(second_, 40);
  disk_.set_order(SimOrder::kByHand);
  flusher_.appended(first_);
  flusher_.appended(second_);
  step();
  const std::map<std::string, std::size_t> sizes = writes();
  ASSERT_EQ(sizes.size(), 2u);
  EXPECT_LT(sizes.begin()->second, 32u * 1024);
  EXPECT_GT(sizes.rbegin()->second, 48u * 1024);
  EXPECT_LE(sizes.rbegin()->second, 72u * 1024);
}

TEST_F(FlusherTest, WhatComesDuringAStepIsFlushedByTheNext) {
  append(first_, 5);
  disk_.set_order(SimOrder::kByHand);
  flusher_.enqueue(first_);
  step();
  ASSERT_EQ(writes().size(), 1u);
  disk_.set_order(SimOrder::kFifo);
  append(first_, 1);
  flusher_.enqueue(first_);
  run();
  EXPECT_EQ(first_.flushed_end(), first_.end());
  EXPECT_EQ(first_.unflushed_bytes(), 0u);
}

TEST_F(FlusherTest, AStreamMayGoWhileItIsReadOrWritten) {
  append(first_, 5, Kept::kInJournal);
  append(second_, 5);
  disk_.set_order(SimOrder::kByHand);
  flusher_.enqueue(first_);
  flusher_.enqueue(second_);
  step();
  ASSERT_EQ(writes().size(), 1u) << "of the second; the first is being read";
  ASSERT_GT(disk_.in_flight().size(), 1u);
  flusher_.forget(first_);
  flusher_.forget(second_);
  run();
  EXPECT_EQ(first_.flushed_end(), Offset{0});
  EXPECT_EQ(second_.flushed_end(), Offset{0});
  EXPECT_EQ(flusher_.pending(), 0u);
}

TEST_F(FlusherTest, AFullDiskStallsAllIsToldOnceAndIsTriedAgainS21) {
  for (Stream* stream : {&first_, &second_, &third_}) append(*stream, 10);
  disk_.set_capacity(1);
  for (Stream* stream : {&first_, &second_, &third_}) flusher_.enqueue(*stream);
  for (int second = 0; second < 5; ++second) {
    run();
    EXPECT_TRUE(flusher_.stalled().has_value());
    rig_.clock.advance(std::chrono::seconds(1));
  }
  ASSERT_EQ(troubles_.size(), 1u);
  EXPECT_EQ(troubles_.front().error, Errc::kNoSpace);
  disk_.set_capacity(UINT64_MAX);
  rig_.clock.advance(std::chrono::seconds(1));
  run();
  for (Stream* stream : {&first_, &second_, &third_}) {
    EXPECT_EQ(stream->flushed_end(), stream->end());
  }
  EXPECT_FALSE(flusher_.stalled().has_value());
}

TEST_F(FlusherTest, ADamagedBatchIsToldWithItsPlaceAndTheOtherStreamsGoOn) {
  append(first_, 5, Kept::kInJournal);
  append(second_, 5, Kept::kInJournal);
  const StoredBatch& damaged = *first_.first_unflushed();
  const std::string path = journal_path(damaged.file_number);
  disk_.flip_bit(path, damaged.position + kValue / 2);
  flusher_.enqueue(first_);
  flusher_.enqueue(second_);
  run();
  ASSERT_EQ(troubles_.size(), 1u);
  EXPECT_EQ(troubles_.front().error, Errc::kDamaged);
  EXPECT_NE(troubles_.front().detail.find(path), std::string::npos) << troubles_.front().detail;
  EXPECT_NE(troubles_.front().detail.find("offsets"), std::string::npos);
  EXPECT_EQ(flusher_.damaged(), 1u);
  EXPECT_FALSE(flusher_.stalled().has_value());
  EXPECT_EQ(first_.flushed_end(), Offset{0});
  EXPECT_EQ(second_.flushed_end(), second_.end());
  flusher_.enqueue(first_);
  run();
  EXPECT_EQ(troubles_.size(), 1u) << "it is not read again and again";
}

TEST_F(FlusherTest, AStreamsDirectoryIsMadeDurableOnceAndNobodyWaitsForIt) {
  flush_one_first();
  append(second_, 5);
  flusher_.enqueue(second_);
  EXPECT_EQ(directory_syncs(), (Strings{kOfSecond, kStreams}));
  EXPECT_EQ(second_.flushed_end(), second_.end());
  ASSERT_TRUE(flusher_.roll(second_));
  run();
  append(second_, 5);
  flusher_.enqueue(second_);
  EXPECT_EQ(directory_syncs(), Strings{kOfSecond}) << "for the name of its next segment";
}

TEST_F(FlusherTest, ADirectoryThatCouldNotBeSyncedIsSyncedWithTheNextSegment) {
  flush_one_first();
  append(second_, 5);
  flusher_.enqueue(second_);
  for (step(); disk_.in_flight().front().path != kOfSecond; step()) disk_.wait();
  disk_.fail_after(0, Errc::kIo);
  run();
  EXPECT_EQ(second_.flushed_end(), Offset{0});
  rig_.clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(directory_syncs(), (Strings{kOfSecond, kStreams}));
  EXPECT_EQ(second_.flushed_end(), second_.end());
}

TEST_F(FlusherTest, FilesAreRemovedOneByOneBesideWhatIsWritten) {
  for (Stream* stream : {&first_, &second_}) append(*stream, 5);
  for (Stream* stream : {&first_, &second_}) flusher_.enqueue(*stream);
  run();
  append(third_, 5);
  disk_.set_order(SimOrder::kByHand);
  flusher_.remove(first_.segments().front().id);
  flusher_.forget(second_);
  flusher_.remove(second_.id());
  flusher_.enqueue(third_);
  step();
  EXPECT_EQ(removals(), 1u);
  EXPECT_EQ(writes().size(), 1u);
  EXPECT_GT(flusher_.pending(), 0u) << "what it waits for may not go before it";
  EXPECT_TRUE(flusher_.removing_streams());
  run();
  EXPECT_FALSE(flusher_.removing_streams());
  EXPECT_EQ(*disk_.list("shard-0/streams/0000000000000005"), std::vector<std::string>{});
  EXPECT_EQ(disk_.list("shard-0/streams/0000000000000006").error(), Errc::kNotFound);
  EXPECT_EQ(third_.flushed_end(), third_.end());
}

TEST_F(FlusherTest, AFileIsRemovedOnlyWhenNobodyReadsIt) {
  append(first_, 5);
  flusher_.enqueue(first_);
  run();
  const StreamSegment segment = first_.segments().front();
  const Offset last = first_.end() - 1;
  disk_.set_order(SimOrder::kByHand);
  std::size_t read = 0;
  files_.read(segment.id, {.position = 0, .size = segment.size, .offsets = {Offset{0}, last}},
              [&](const Result<std::vector<SharedBytes>>& batches) {
                ASSERT_TRUE(batches) << to_string(batches.error());
                read = batches->size();
              });
  files_.forget(segment.id);
  flusher_.remove(segment.id);
  step();
  EXPECT_EQ(removals(), 0u);
  EXPECT_FALSE(flusher_.removing_streams()) << "no checkpoint has to wait for a segment";
  ASSERT_TRUE(flusher_.deadline().has_value());
  EXPECT_GT(*flusher_.deadline(), rig_.clock.monotonic()) << "it does not ask again at once";
  run();
  EXPECT_EQ(read, 5u);
  EXPECT_EQ(*disk_.list("shard-0/streams/0000000000000005"), std::vector<std::string>{});
}

}  // namespace
}  // namespace waybill

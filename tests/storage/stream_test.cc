// Goal: a stream finds every batch by offset and time, shows only what is durable, and gives the
// same bytes from memory and from the journal. Method: a real journal on a simulated disk, and a
// cache of a few bytes.
#include "storage/stream.h"

#include "storage/segment_files.h"

#include <gtest/gtest.h>

#include "protocol/base/random.h"
#include "protocol/record/batch_builder.h"
#include "protocol/record/record_batch.h"
#include "tests/storage/journal_rig.h"

namespace waybill {
namespace {

class StreamTest : public testing::Test {
 protected:
  StreamTest() { EXPECT_TRUE(rig.open().ok()); }

  /// Appends a batch of `count` records; staged, not yet durable.
  ByteVector append(Stream& target, std::uint32_t count, std::int64_t time, TailCache* tail = {}) {
    BatchBuilder builder;
    for (std::uint32_t i = 0; i < count; ++i) {
      std::string text = "value " + std::to_string(target.end().value + i);
      EXPECT_TRUE(builder.add({{}, as_bytes(text), {}, {time}}).ok());
    }
    ByteVector batch = builder.build();
    stamp_base_offset(batch, target.end());
    EntryDraft draft{EntryType::kAppend, 1, {}, batch};
    StagedEntry staged = rig.journal->stage({&draft, 1}).front();
    StoredBatch stored;
    stored.base = target.end();
    stored.count = count;
    stored.size = staged.body_size;
    stored.max_timestamp = {time};
    stored.seq = staged.seq;
    stored.frame = staged.frame;
    stored.frame_offset = staged.body_offset;
    target.append(std::move(stored));
    if (tail != nullptr) tail->added(target);
    return batch;
  }
  Result<std::vector<SharedBytes>> read(std::int64_t from, std::int64_t end) {
    std::optional<Result<std::vector<SharedBytes>>> result;
    read_batches(*rig.journal, files, stream, {from}, {end},
                 [&](auto batches) { result = batches; });
    while (!result && disk.pending() > 0) {
      disk.submit();
      disk.wait();
    }
    EXPECT_TRUE(result.has_value()) << "an answer comes";
    return result ? *result : Result<std::vector<SharedBytes>>(Errc::kTimedOut, "read");
  }

  SimDisk disk;
  JournalRig rig{disk};
  SegmentFiles files{disk, "shard-0/streams", 1024 * 1024};
  Stream stream{StreamId{7}};
};

TEST_F(StreamTest, FindsTheBatchOfEveryOffset) {
  append(stream, 3, 0);
  append(stream, 1, 0);
  append(stream, 5, 0);
  EXPECT_EQ(stream.end(), Offset{9});
  const std::int64_t expected[] = {0, 0, 0, 3, 4, 4, 4, 4, 4};
  for (std::int64_t i = 0; i < 9; ++i) EXPECT_EQ(stream.at({i}).base, Offset{expected[i]}) << i;
  for (std::int64_t i = 9; i-- > 0;) EXPECT_EQ(stream.at({i}).base, Offset{expected[i]}) << i;
  EXPECT_EQ(stream.at({5}).end, Offset{9});
}

TEST_F(StreamTest, FindsBatchesInAnyOrderHoweverUnlikeTheyAre) {
  SeededRandom random(5);
  std::vector<std::int64_t> base_of;
  for (int i = 0; i < 200; ++i) {
    const auto count = static_cast<std::uint32_t>(i % 50 == 0 ? 300 : random.below(3) + 1);
    base_of.insert(base_of.end(), count, stream.end().value);
    append(stream, count, 0);
  }
  auto look = [&](std::size_t offset) {
    const Stretch stretch = stream.at({static_cast<std::int64_t>(offset)});
    ASSERT_EQ(stretch.base, Offset{base_of[offset]}) << offset;
  };
  for (int i = 0; i < 2000; ++i) look(random.below(base_of.size()));
  for (std::size_t stride : {1, 2, 7, 300}) {
    for (std::size_t i = 0; i < base_of.size(); i += stride) look(i);
    for (std::size_t i = base_of.size(); i-- > stride; i -= stride - 1) look(i);
  }
}

TEST_F(StreamTest, FindsTheFirstBatchThatIsNotOlderThoughClocksDiffer) {
  for (std::int64_t time : {10, 30, 20, 40}) append(stream, 1, time);
  EXPECT_EQ(stream.find_time({5}), Offset{0});
  EXPECT_EQ(stream.find_time({11}), Offset{1});
  EXPECT_EQ(stream.find_time({31}), Offset{3});
  EXPECT_EQ(stream.find_time({41}), Offset{4});
}

TEST_F(StreamTest, ShowsOnlyWhatIsDurableS12) {
  append(stream, 2, 0);
  stream.reveal(rig.journal->durable());
  EXPECT_EQ(stream.visible_end(), Offset{0});
  rig.settle();
  append(stream, 2, 0);
  stream.reveal(rig.journal->durable());
  EXPECT_EQ(stream.visible_end(), Offset{2}) << "the second batch is only staged";
  rig.settle();
  stream.reveal(rig.journal->durable());
  EXPECT_EQ(stream.visible_end(), Offset{4});
}

TEST_F(StreamTest, WhatIsInNoSegmentMayBeCarriedForwardFourTimesS18) {
  TailCache cache(0);
  auto carry = [&] {
    stream.carry([&](const StoredBatch& batch, std::uint32_t* offset) {
      const ByteVector head(5);
      const Bytes bytes = batch.frame->bytes().subspan(batch.frame_offset, batch.size);
      *offset = 5;
      EntryDraft draft{EntryType::kCarry, 1, head, bytes};
      return rig.journal->stage({&draft, 1}).front();
    });
  };
  auto durable = [&] {
    rig.settle();
    stream.reveal(rig.journal->durable());
  };
  EXPECT_FALSE(stream.may_carry(rig.journal->durable(), 10'000)) << "there is nothing";
  const std::vector<ByteVector> sent = {append(stream, 2, 0, &cache), append(stream, 1, 0, &cache)};
  EXPECT_FALSE(stream.may_carry(rig.journal->durable(), 10'000)) << "it is not durable";
  durable();
  EXPECT_FALSE(stream.may_carry(rig.journal->durable(), stream.unflushed_bytes())) << "too much";
  for (int times = 1; times <= 4; ++times) {
    ASSERT_TRUE(stream.may_carry(rig.journal->durable(), 10'000)) << times;
    const EntrySeq before = rig.journal->staged();
    carry();
    EXPECT_GT(stream.first_unflushed()->seq, before);
    EXPECT_EQ(stream.visible_end(), Offset{3}) << "what was shown stays";
    EXPECT_FALSE(stream.may_carry(rig.journal->durable(), 10'000)) << "it is not durable there";
    durable();
  }
  EXPECT_FALSE(stream.may_carry(rig.journal->durable(), 10'000)) << "a fifth time";
  for (bool in_memory : {true, false}) {
    if (!in_memory) cache.trim(rig.journal->durable());
    EXPECT_EQ(!stream.at({0}).batch.empty(), in_memory);
    Result<std::vector<SharedBytes>> got = read(0, 3);
    ASSERT_TRUE(got && got->size() == 2) << in_memory;
    for (std::size_t i = 0; i < 2; ++i) EXPECT_TRUE(equal((*got)[i].view(), sent[i]));
  }
}

TEST_F(StreamTest, WhatHasToBeReadIsNotCarriedForwardS18) {
  TailCache cache(0);
  append(stream, 1, 0, &cache);
  rig.settle();
  stream.reveal(rig.journal->durable());
  EXPECT_TRUE(stream.may_carry(rig.journal->durable(), 10'000));
  cache.trim(rig.journal->durable());
  EXPECT_FALSE(stream.may_carry(rig.journal->durable(), 10'000));
}

TEST_F(StreamTest, TheCacheKeepsTheNewestAndNeverDropsWhatIsNotDurable) {
  TailCache cache(1);
  ByteVector batch = append(stream, 1, 0, &cache);
  append(stream, 1, 0, &cache);
  cache.trim(rig.journal->durable());
  EXPECT_FALSE(stream.at({0}).batch.empty()) << "its place is not final yet";
  EXPECT_GT(cache.bytes(), batch.size());
  rig.settle();
  cache.trim(rig.journal->durable());
  EXPECT_TRUE(stream.at({0}).batch.empty());
  EXPECT_EQ(cache.bytes(), 0u);
  TailCache large(batch.size() * 2);
  for (int i = 0; i < 4; ++i) append(stream, 1, 0, &large);
  rig.settle();
  large.trim(rig.journal->durable());
  EXPECT_TRUE(stream.at({3}).batch.empty());
  EXPECT_FALSE(stream.at({4}).batch.empty());
  EXPECT_FALSE(stream.at({5}).batch.empty());
}

TEST_F(StreamTest, AStreamThatIsForgottenLeavesTheCache) {
  TailCache cache(1);
  {
    Stream other(StreamId{8});
    append(other, 1, 0, &cache);
    append(stream, 1, 0, &cache);
    std::size_t both = cache.bytes();
    cache.forget(other);
    EXPECT_LT(cache.bytes(), both);
  }
  rig.settle();
  cache.trim(rig.journal->durable());
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST_F(StreamTest, GivesTheSameBytesFromMemoryAndFromTheJournalS16) {
  std::vector<ByteVector> sent;
  TailCache cache(300);
  for (std::uint32_t i = 1; i <= 20; ++i) sent.push_back(append(stream, i, 0, &cache));
  rig.settle();
  cache.trim(rig.journal->durable());
  ASSERT_TRUE(stream.at({0}).batch.empty());
  for (std::size_t first = 0; first < 20; ++first) {
    auto base = static_cast<std::int64_t>(first * (first + 1) / 2);
    Result<std::vector<SharedBytes>> got = read(base, 210);
    ASSERT_TRUE(got.ok());
    for (std::size_t i = first; i < 20; ++i) EXPECT_TRUE(equal((*got)[i - first].view(), sent[i]));
  }
  EXPECT_EQ(read(0, 0)->size(), 0u);
}

TEST_F(StreamTest, AnyFlippedBitOfAReadBackBatchIsAnErrorNotWrongBytes) {
  TailCache cache(1);
  append(stream, 1, 0, &cache);
  ByteVector batch = append(stream, 2, 0, &cache);
  rig.settle();
  cache.trim(rig.journal->durable());
  const StoredBatch& stored = *stream.unflushed(rig.journal->durable(), UINT64_MAX)[1];
  // Outside the CRC stand the base offset, which is compared, and the leader epoch, which is not.
  for (std::size_t at = 0; at < batch.size(); ++at) {
    if (at >= 12 && at < 16) continue;
    disk.flip_bit(journal_path(stored.file_number), stored.position + at, at % 8);
    EXPECT_FALSE(read(2, 3).ok()) << at;
    EXPECT_FALSE(read(0, 2).ok()) << at;
    EXPECT_TRUE(read(0, 1).ok()) << at;
    disk.flip_bit(journal_path(stored.file_number), stored.position + at, at % 8);
  }
  EXPECT_TRUE(read(1, 3).ok());
}

TEST_F(StreamTest, AFailedReadIsAnErrorForTheWholeRequestOnce) {
  TailCache cache(1);
  for (int i = 0; i < 3; ++i) append(stream, 1, 0, &cache);
  rig.settle();
  cache.trim(rig.journal->durable());
  disk.fail_after(1, Errc::kIo);
  Result<std::vector<SharedBytes>> got = read(0, 3);
  ASSERT_FALSE(got.ok());
  EXPECT_TRUE(got.error() == Errc::kIo);
  EXPECT_TRUE(read(0, 3).ok());
}

}  // namespace
}  // namespace waybill

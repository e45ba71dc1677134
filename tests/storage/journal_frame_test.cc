// Goal: a frame's memory grows as it must, holds its entries where it says, and does not move once
// it is sealed (S15).
// Method: build frames by hand and read them with the real reader.
#include "storage/journal_frame.h"

#include <gtest/gtest.h>

#include <vector>

#include "storage/journal_reader.h"

namespace waybill {
namespace {

const FrameSpot kSpot{ShardIndex{1}, 99, 8192};

JournalFrameHeader header_for(EntrySeq first) {
  JournalFrameHeader header;
  header.frame_seq = 3;
  header.file_epoch = kSpot.file_epoch;
  header.durable_seq = 2;
  header.first_entry_seq = first;
  return header;
}

EntryDraft draft(std::string_view body, EntryType type = EntryType::kAppend) {
  return {.type = type, .version = 2, .head = as_bytes(body), .tail = {}};
}

TEST(JournalFrame, AFrameOfOneSmallEntryTakesOneBlockAndLittleMemory) {
  FrameBuffer frame;
  frame.append(draft("x"), EntrySeq{1});
  EXPECT_EQ(frame.capacity(), FrameBuffer::kSmallest);
  frame.seal(header_for(EntrySeq{1}), kSpot, 7);
  EXPECT_EQ(frame.bytes().size(), limits::kBlock);
  EXPECT_EQ(frame.place(), (JournalPlace{.file_number = 7, .position = 8192, .size = 4096}));
}

TEST(JournalFrame, EveryEntryIsWhereAppendSaidAfterAnyGrowthS15) {
  FrameBuffer frame;
  std::vector<std::pair<std::uint32_t, std::string>> placed;
  for (std::size_t i = 0; i < 200; ++i) {
    std::string body(i * 7, static_cast<char>('a' + i % 26));
    const std::uint32_t offset = frame.append(draft(body), EntrySeq{i + 1});
    EXPECT_EQ(offset % kEntryAlignment, 0U);
    placed.emplace_back(offset, std::move(body));
  }
  frame.seal(header_for(EntrySeq{1}), kSpot, 7);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frame.bytes().data()) % limits::kBlock, 0U);
  for (const auto& [offset, body] : placed)
    EXPECT_EQ(as_text(frame.bytes().subspan(offset, body.size())), body);

  std::optional<JournalFrameHeader> header = peek_frame(frame.bytes(), kSpot, frame.bytes().size());
  ASSERT_TRUE(header.has_value() && frame_intact(frame.bytes(), kSpot));
  EntryReader entries(frame.bytes(), *header);
  for (const auto& [offset, body] : placed) {
    std::optional<EntryView> entry = entries.next();
    ASSERT_TRUE(entry.has_value());
    EXPECT_EQ(as_text(entry->body), body);
    EXPECT_EQ(entries.body_offset(), offset);
    EXPECT_EQ(entry->version, 2);
  }
  EXPECT_FALSE(entries.next().has_value());
  EXPECT_FALSE(entries.problem().has_value());
}

TEST(JournalFrame, ThePaddingIsZeroWhateverTheMemoryHeldBefore) {
  {
    FrameBuffer dirty;
    dirty.append(draft(std::string(12'000, '!')), EntrySeq{1});
  }
  FrameBuffer frame;
  frame.append(draft("abc"), EntrySeq{1});
  frame.seal(header_for(EntrySeq{1}), kSpot, 7);
  for (std::size_t i = kJournalFrameHeaderSize + entry_stride(3) - 5; i < limits::kBlock; ++i)
    ASSERT_EQ(frame.bytes()[i], std::byte{0}) << i;
}

TEST(JournalFrame, ACopyOfAReadFrameKnowsItsPlace) {
  FrameBuffer frame;
  frame.append(draft("abc"), EntrySeq{1});
  frame.seal(header_for(EntrySeq{1}), kSpot, 7);
  FrameBuffer copy(frame.bytes(), frame.place());
  EXPECT_EQ(copy.place(), frame.place());
  EXPECT_TRUE(equal(copy.bytes(), frame.bytes()));
}

TEST(JournalFrame, EntriesThatDoNotFitTheirFrameAreRefused) {
  FrameBuffer frame;
  frame.append(draft("abc"), EntrySeq{5});
  frame.append(draft("local", EntryType::kStart), EntrySeq{});
  frame.seal(header_for(EntrySeq{5}), kSpot, 7);
  const JournalFrameHeader good = *peek_frame(frame.bytes(), kSpot, 4096);
  auto problem = [&frame](JournalFrameHeader header) {
    EntryReader reader(frame.bytes(), header);
    while (reader.next()) {
    }
    return reader.problem().has_value() ? reader.problem()->what : std::string();
  };
  EXPECT_EQ(problem(good), "");
  JournalFrameHeader header = good;
  header.payload_size = 1 << 20;
  EXPECT_NE(problem(header), "");
  header = good;
  header.payload_size -= 8;
  EXPECT_NE(problem(header), "");
  header = good;
  header.entry_count = 1;
  EXPECT_NE(problem(header), "");
  header = good;
  header.entry_count = 3;
  EXPECT_NE(problem(header), "");
  header = good;
  header.first_entry_seq = EntrySeq{6};
  EXPECT_NE(problem(header), "");
}

}  // namespace
}  // namespace waybill

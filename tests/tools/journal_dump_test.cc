// Goal: an entry is shown with what its body says, and one that cannot be decoded says so, with its
// bytes only where payloads are shown too. Method: a real frame of two trims, one cut short.
#include "tools/journal_dump.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "broker/core/entries.h"
#include "storage/journal_frame.h"

namespace waybill::cli {
namespace {

namespace json = boost::json;

class JournalDump : public testing::Test {
 protected:
  JournalDump() {
    const ByteVector trim = encode(TrimEntry{StreamId{8}, Offset{30}});
    frame_.append({.type = EntryType::kTrim, .head = trim, .tail = {}}, EntrySeq{1});
    frame_.append({.type = EntryType::kTrim, .head = Bytes(trim).first(5), .tail = {}},
                  EntrySeq{2});
    JournalFrameHeader header;
    header.frame_seq = 1;
    header.file_epoch = kSpot.file_epoch;
    header.first_entry_seq = EntrySeq{1};
    frame_.seal(header, kSpot, 1);
    stretch_.kind = StretchKind::kFrame;
    stretch_.bytes = frame_.bytes();
    stretch_.header = peek_frame(stretch_.bytes, kSpot, stretch_.bytes.size()).value();
  }

  static constexpr FrameSpot kSpot{ShardIndex{0}, 7, 4096};
  FrameBuffer frame_;
  JournalStretch stretch_;
};

TEST_F(JournalDump, EntriesAreShownFieldByField) {
  EXPECT_TRUE(dump_text(stretch_, false).contains("\n    stream 0/8  start 30\n"));
  const json::value shown = json::parse(dump_json({}, {}, stretch_, false));
  EXPECT_EQ(shown.at("entries").at(0).at("body").at("start"), 30);
  EXPECT_FALSE(shown.at("entries").at(0).as_object().contains("body_base64"));
}

TEST_F(JournalDump, WhatCannotBeDecodedSaysSoAndIsHexOnlyWithRecords) {
  const std::string text = dump_text(stretch_, false);
  EXPECT_TRUE(text.contains("    cannot be decoded: ")) << text;
  EXPECT_FALSE(text.contains("08 00 00 00 00")) << text;
  EXPECT_TRUE(dump_text(stretch_, true).contains("08 00 00 00 00")) << dump_text(stretch_, true);
  const json::value without = json::parse(dump_json({}, {}, stretch_, false)).at("entries").at(1);
  EXPECT_TRUE(without.as_object().contains("problem"));
  EXPECT_FALSE(without.as_object().contains("body_base64"));
  const json::value with = json::parse(dump_json({}, {}, stretch_, true)).at("entries").at(1);
  EXPECT_EQ(with.at("body_base64"), "CAAAAAA=");
}

}  // namespace
}  // namespace waybill::cli

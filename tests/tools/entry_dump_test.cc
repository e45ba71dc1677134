// Goal: each kind of entry is shown field by field, as the broker reads it, in text and in JSON,
// and nothing a user wrote acts on a terminal (D18). Method: bodies made by the broker's encoders;
// what cannot be decoded says so.
#include "tools/entry_dump.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace waybill::cli {
namespace {

namespace json = boost::json;

constexpr GroupId kGroup{11};
constexpr StreamId kStream{8};
constexpr WallTime kTime{1'700'000'000'123};
constexpr LeaseToken kToken{3, 300};

Uuid uuid() {
  Uuid uuid;
  uuid.bytes.fill(std::byte{0xab});
  return uuid;
}
const std::string kUuid = "abababab-abab-abab-abab-abababababab";
const std::string kTimeText = "2023-11-14T22:13:20.123Z";

struct Shown {
  std::string text;
  json::value json;
};

Shown show(EntryType type, const ByteVector& body, bool whole = false) {
  EntryView entry;
  entry.type = type;
  entry.body = body;
  Result<DumpFields> fields = entry_fields(entry);
  EXPECT_TRUE(fields.ok()) << to_string(fields.error());
  if (!fields) return {};
  return {fields->to_text("  ", whole), json::parse(fields->to_json())};
}

Shown show_op(DeliveryOp op) {
  return show(EntryType::kDelivery, encode(DeliveryEntry{kGroup, kStream, {std::move(op)}}));
}
Shown show_step(DeadLetterOp op) {
  return show(EntryType::kDeadLetter, encode(DeadLetterEntry{kGroup, kStream, 4, std::move(op)}));
}
Shown show_change(CatalogChange change) {
  return show(EntryType::kCatalog, encode(change));
}

Attempt attempt() {
  return {kTime, 2, 1500, {uuid()}, {FailureClass::kInvalid, "code", "red \x1b[31m\nnext"}};
}

GroupInfo group() {
  GroupInfo group;
  group.id = kGroup;
  group.name = "billing";
  group.topic = {7};
  group.version = 10;
  group.start = {StartKind::kOffset, {5}, {6}};
  group.policy.ordering = Ordering::kKey;
  group.brake = {BrakeState::kOpen, BrakeMode::kAutomatic, kTime, "cause"};
  return group;
}

TEST(EntryDump, AnAppendSaysWhoPublishedIt) {
  AppendHead head{kStream, {1000}, 3, kTime, true, {}};
  head.producer = ProducerStamp{{uuid()}, ProducerKind::kDurable, 2, 40, 41};
  Shown shown = show(EntryType::kAppend, encode(head));
  EXPECT_EQ(shown.text, "  stream 0/8  base 1000  count 3  max_timestamp " + kTimeText +
                            "  timed true\n"
                            "    producer:\n"
                            "      id " +
                            kUuid + "  kind durable  epoch 2  previous 40  base_sequence 41\n");
  EXPECT_EQ(shown.json.at("producer").at("base_sequence"), 41);
  head.producer.reset();
  EXPECT_FALSE(show(EntryType::kCarry, encode(head)).text.contains("producer"));
}

TEST(EntryDump, ADeliveryListsWhatHappenedInOrder) {
  Shown shown = show_op(LeaseOp{kToken, {{{10}, {19}}, {{25}, {25}}}, kTime, {uuid()}});
  EXPECT_EQ(shown.text,
            "  group 11  stream 0/8\n"
            "    ops:\n"
            "      op lease  token 3/300  ranges 10-19, 25  at " +
                kTimeText + "  instance " + kUuid + "\n");
  EXPECT_EQ(shown.json.at("ops").at(0).at("ranges").at(0).at("last"), 19);
  EXPECT_TRUE(
      show_op(AckOp{kToken, {{10}, {12}}}).text.contains("op ack  token 3/300  range 10-12"));
  EXPECT_TRUE(show_op(ReleaseOp{kToken, {{1}, {1}}, ReleaseKind::kCrashed})
                  .text.contains("op release  token 3/300  range 1  kind crashed"));
  EXPECT_TRUE(show_op(ExpiredOp{{{20}, {24}}}).text.contains("op expired  range 20-24"));
  EXPECT_TRUE(show_op(ResetOp{2, {5}, true, kTime})
                  .text.contains("op reset  epoch 2  to 5  include_dead true  at " + kTimeText));
  EXPECT_TRUE(show_op(RemovedOp{{30}}).text.contains("op removed  to 30"));
  EXPECT_TRUE(show_op(CompactedOp{{{31}, {40}}}).text.contains("op compacted  range 31-40"));
}

TEST(EntryDump, AFailedAttemptIsShownSafely_D18) {
  Shown shown = show_op(WaitOp{kToken, {13}, true, kTime, attempt()});
  EXPECT_TRUE(shown.text.contains("op wait  token 3/300  offset 13  charged true")) << shown.text;
  EXPECT_TRUE(
      shown.text.contains("class invalid  code \"code\"  detail \"red \\x1b[31m\\nnext\"\n"))
      << shown.text;
  const json::value& shown_attempt = shown.json.at("ops").at(0).at("attempt");
  EXPECT_EQ(shown_attempt.at("duration_ms"), 1500);
  EXPECT_EQ(shown_attempt.at("detail"), "red \x1b[31m\nnext");
}

TEST(EntryDump, LongListsAndTextsAreCutUnlessAllIsAskedFor) {
  std::vector<OffsetRange> ranges;
  for (std::int64_t i = 0; i < 100; ++i) ranges.push_back({{2 * i}, {2 * i}});
  const ByteVector body =
      encode(DeliveryEntry{kGroup, kStream, {LeaseOp{kToken, std::move(ranges), kTime, {uuid()}}}});
  EXPECT_TRUE(show(EntryType::kDelivery, body).text.contains("36, 38 … and 80 more"));
  EXPECT_TRUE(show(EntryType::kDelivery, body, true).text.contains("196, 198  at"));
  const DeliveryEntry acks{kGroup, kStream, {30, AckOp{kToken, {{1}, {1}}}}};
  EXPECT_TRUE(
      show(EntryType::kDelivery, encode(acks)).text.ends_with("… and 10 more, with --records\n"));
  Shown shown = show_step(DiscardedOp{kTime, "ann", std::string(5000, 'x')});
  EXPECT_LT(shown.text.size(), 400U);
  EXPECT_EQ(shown.json.at("reason").as_string().size(), 5000U) << "JSON is whole";
}

TEST(EntryDump, EachStepOfADeadLetterIsShown) {
  DiedOp died{
      kToken,           {13}, {2}, DeadLetterReason::kCrashLoop, 5, 0x1122334455667788, 8, 9, kTime,
      attempt().failure};
  Shown shown = show_step(died);
  EXPECT_TRUE(
      shown.text.starts_with("  group 11  stream 0/8  number 4  step died  token 3/300  "
                             "offset 13  record 2  reason crash_loop  key_hash 5"))
      << shown.text;
  EXPECT_EQ(shown.json.at("failure").at("class"), "invalid");
  EXPECT_TRUE(show_step(FixedOp{{3}}).text.contains("step fixed  record 3"));
  EXPECT_TRUE(show_step(RedrivenOp{kTime, "ann"})
                  .text.contains("step redriven  at " + kTimeText + "  by \"ann\""));
  EXPECT_TRUE(show_step(DiscardedOp{kTime, "ann", "why"}).text.contains("reason \"why\""));
  EXPECT_TRUE(show_step(ErasedOp{kTime, "ann", "why"}).text.contains("step erased"));
}

TEST(EntryDump, TheCatalogIsShownWithItsPolicies) {
  TopicInfo topic{{7}, "orders", 9, {{{0}, {8}}, {{1}, {(std::uint64_t{1} << 48) | 9}}}};
  topic.name = "orders\xff";
  Shown put = show_change(PutTopic{topic});
  EXPECT_TRUE(put.text.starts_with("  change put_topic  id 7  name \"orders\\xff\"  version 9"))
      << put.text;
  EXPECT_TRUE(put.text.contains("      retention_ms 604800000  ")) << put.text;
  EXPECT_TRUE(put.text.contains("      shard 1  stream 1/9\n")) << put.text;
  EXPECT_EQ(put.json.at("name"), "orders\\xff");
  EXPECT_TRUE(show_change(DropTopic{{7}, 12}).text.contains("change drop_topic  id 7  version 12"));
  Shown shown = show_change(PutGroup{group(), true});
  EXPECT_TRUE(shown.text.contains("reset_dead true")) << shown.text;
  EXPECT_TRUE(shown.text.contains("kind offset  offset 5")) << shown.text;
  EXPECT_TRUE(
      shown.text.contains("state open  mode automatic  since " + kTimeText + "  cause \"cause\""))
      << shown.text;
  EXPECT_EQ(shown.json.at("policy").at("ordering"), "key");
  EXPECT_EQ(shown.json.at("policy").at("backoff_factor"), 3.0);
  EXPECT_TRUE(show_change(DropGroup{kGroup, 13}).text.contains("change drop_group  id 11"));
}

TEST(EntryDump, WhatAShardAdoptsHasItsPlaces) {
  const AdoptEntry adopt{PutGroup{group()}, {{kStream, {99}, {5}}}};
  Shown shown = show(EntryType::kAdopt, encode(adopt));
  EXPECT_TRUE(shown.text.starts_with("  change put_group  id 11  name \"billing\"")) << shown.text;
  EXPECT_TRUE(shown.text.ends_with("    places:\n      stream 0/8  dead_stream 0/99  start 5\n"))
      << shown.text;
  const AdoptEntry without{DropTopic{{7}, 1}, {}};
  EXPECT_TRUE(show(EntryType::kAdopt, encode(without)).text.ends_with("places: none\n"));
}

TEST(EntryDump, ProducersAndTrimsAreShown) {
  Shown opened =
      show(EntryType::kProducer, encode(ProducerEntry(OpenedProducer{{uuid()}, 2, "box"})));
  EXPECT_EQ(opened.text, "  change opened  id " + kUuid + "  epoch 2  name \"box\"\n");
  Shown removed = show(EntryType::kProducer, encode(ProducerEntry(RemovedProducer{{uuid()}})));
  EXPECT_EQ(removed.text, "  change removed  id " + kUuid + "\n");
  Shown trim = show(EntryType::kTrim, encode(TrimEntry{kStream, {30}}));
  EXPECT_EQ(trim.text, "  stream 0/8  start 30\n");
  EXPECT_EQ(trim.json.at("start"), 30);
}

TEST(EntryDump, WhatIsNoTimeIsShownAsItIsStored) {
  const Shown shown = show_step(RedrivenOp{{INT64_MIN}, "ann"});
  EXPECT_TRUE(shown.text.contains("at -9223372036854775808 ms")) << shown.text;
}

TEST(EntryDump, WhatIsNoBodyOfItsTypeIsRefused) {
  const ByteVector trim = encode(TrimEntry{kStream, {30}});
  EntryView entry;
  entry.body = Bytes(trim).first(trim.size() - 1);
  for (int type = 1; type <= 8; ++type) {
    entry.type = static_cast<EntryType>(type);
    EXPECT_FALSE(entry_fields(entry).ok()) << type;
  }
  entry.type = EntryType::kTrim;
  entry.body = trim;
  EXPECT_TRUE(entry_fields(entry).ok());
  entry.version = kEntryVersion + 1;
  EXPECT_EQ(entry_fields(entry).error().code, Errc::kUnsupportedFormat);
}

}  // namespace
}  // namespace waybill::cli

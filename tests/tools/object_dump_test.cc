// Goal: each kind of checkpoint object is shown field by field, as the broker reads it, in text and
// in JSON; one that cannot be decoded says so. Method: bodies made by the broker's encoders.
#include "tools/object_dump.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "tools/file_dump.h"

namespace waybill::cli {
namespace {

namespace json = boost::json;

constexpr GroupPlaceId kWhose{{11}, {8}};
constexpr WallTime kTime{1'700'000'000'123};
const std::string kTimeText = "2023-11-14T22:13:20.123Z";
const std::string kUuid = "abababab-abab-abab-abab-abababababab";

Uuid uuid() {
  Uuid uuid;
  uuid.bytes.fill(std::byte{0xab});
  return uuid;
}

CheckpointObject object_of(ObjectKind kind, Bytes body) {
  CheckpointObject object;
  object.kind = static_cast<std::uint16_t>(kind);
  object.version = kObjectVersion;
  object.id = 8;
  object.body = body;
  return object;
}

struct Shown {
  std::string text;
  json::value json;
};

Shown show(ObjectKind kind, const ByteVector& body) {
  const CheckpointObject object = object_of(kind, body);
  const std::string text = dump_text(object, false);
  return {text.substr(text.find('\n') + 1), json::parse(dump_json(object, false)).at("body")};
}

/// A list with that put into it.
template <class Put>
Shown show_list(ObjectKind kind, Put put_element) {
  ByteVector body;
  ByteWriter out(body);
  put(out, kWhose);
  put_element(out);
  return show(kind, body);
}

TEST(ObjectDump, WhatTheShardAdoptedIsShown) {
  Shown shown = show(ObjectKind::kAdopted, encode(AdoptedBody{3, {{{7}, 9}}, {{{11}, 10}}}));
  EXPECT_EQ(shown.text,
            "    next_dead_stream 3\n"
            "      topics:\n"
            "        id 7  version 9\n"
            "      groups:\n"
            "        id 11  version 10\n");
  EXPECT_EQ(shown.json.at("groups").at(0).at("version"), 10);
}

TEST(ObjectDump, WhatIsAsInAnEntryIsShownAsThere) {
  const ProducerEntry producer = OpenedProducer{{uuid()}, 2, "box"};
  EXPECT_TRUE(show(ObjectKind::kProducer, encode(producer)).text.contains("name \"box\"\n"));
  const CatalogChange topic = PutTopic{{{7}, "orders", 9, {{{0}, {8}}}}};
  EXPECT_TRUE(show(ObjectKind::kTopic, encode(topic)).text.contains("name \"orders\""));
  GroupInfo group;
  group.name = "billing";
  group.policy.ordering = Ordering::kKey;
  group.start.kind = StartKind::kEarliest;
  const CatalogChange put_group = PutGroup{group};
  EXPECT_TRUE(show(ObjectKind::kGroup, encode(put_group)).text.contains("name \"billing\""));
  Shown places = show(ObjectKind::kPlaces, encode(PlacesBody{group, {{{8}, {99}}}}));
  EXPECT_TRUE(places.text.contains("name \"billing\"")) << places.text;
  EXPECT_TRUE(places.text.ends_with("stream 0/8  dead_stream 0/99\n")) << places.text;
}

TEST(ObjectDump, TheCatalogsNumbersAreShown) {
  Shown shown = show(ObjectKind::kCatalog, encode(CatalogBody{.version = 5, .next_id = 12}));
  EXPECT_EQ(shown.text, "    version 5  next_id 12\n");
}

TEST(ObjectDump, AStreamIsShownWithItsSegments) {
  StreamSegment segment;
  segment.id = {.stream = {8}, .base = {0}, .generation = 2};
  segment.contents.end = {10};
  segment.contents.facts = SegmentFacts::kKeys | SegmentFacts::kCompacted;
  segment.contents.record_count = 7;
  segment.contents.index = {{.base = {0}, .max_before = {INT64_MIN}, .position = 4096}};
  segment.size = 8192;
  segment.stored = kTime;
  const ByteVector body = encode_stream({4}, {segment}, SavedPartition{{7}, {1}, true});
  Shown shown = show(ObjectKind::kStream, body);
  EXPECT_TRUE(
      shown.text.starts_with("    stream 0/8  start 4  topic 7  partition 1  archived true"))
      << shown.text;
  EXPECT_TRUE(
      shown.text.contains("  first 0  last 9  size 8192  payload_size 0  sealed false  "
                          "stored " +
                          kTimeText + "  facts keys compacted"))
      << shown.text;
  EXPECT_TRUE(shown.text.ends_with("base 0  max_before_ms -9223372036854775808  position 4096\n"))
      << shown.text;
  const json::value& shown_segment = shown.json.at("segments").at(0);
  EXPECT_EQ(shown_segment.at("record_count"), 7);
  EXPECT_EQ(shown_segment.at("index").at(0).at("position"), 4096);
}

TEST(ObjectDump, TheProducersOfAPartitionAreShown) {
  const ProducerTable::State state{ProducerKind::kDurable, 43, {6}, {{41, 3, {100}}}};
  Shown shown = show(ObjectKind::kProducers, encode_producers({{{uuid()}, state}}));
  EXPECT_TRUE(
      shown.text.contains("id " + kUuid + "  kind durable  last_sequence 43  last_used 6\n"))
      << shown.text;
  EXPECT_TRUE(shown.text.ends_with("base_sequence 41  count 3  base_offset 100\n")) << shown.text;
}

TEST(ObjectDump, TheNumbersOfAGroupAreShown) {
  NumbersBody numbers;
  numbers.whose = kWhose;
  numbers.fresh = {20};
  numbers.removed_to = {5};
  numbers.next_letter = 3;
  Shown shown = show(ObjectKind::kDelivery, encode(numbers));
  EXPECT_TRUE(
      shown.text.starts_with("    group 11  stream 0/8  start 0  fresh 20  epoch 0  done 0"))
      << shown.text;
  EXPECT_EQ(shown.json.at("removed_to"), 5);
  EXPECT_EQ(shown.json.at("next_letter"), 3);
}

TEST(ObjectDump, TheListsOfAGroupAreShown) {
  Shown gaps = show_list(ObjectKind::kGaps, [](ByteWriter& out) {
    out.write(std::int64_t{3});  // a range: where it begins, and how many more
    out.write_varint(4);
  });
  EXPECT_EQ(gaps.text, "    group 11  stream 0/8  ranges 3-7\n");
  Shown leases = show_list(ObjectKind::kLeases, [](ByteWriter& out) {
    put_lease(out, {3, 300}, {{uuid()}, kTime, OpenRanges({{{1}, {2}}, {{4}, {4}}})});
  });
  EXPECT_TRUE(leases.text.ends_with("        token 3/300  instance " + kUuid + "  at " + kTimeText +
                                    "  open 1-2, 4\n"))
      << leases.text;
  Shown letters = show_list(ObjectKind::kLetters, [](ByteWriter& out) {
    DeadLetter letter;
    letter.offset = {6};
    letter.state = DeadLetterState::kDiscarded;
    letter.reason = DeadLetterReason::kExpired;
    letter.erased = true;
    letter.records = {{1}, {4}};
    put_letter(out, 2, letter);
  });
  EXPECT_TRUE(letters.text.contains("number 2  offset 6  state discarded  reason expired"))
      << letters.text;
  EXPECT_TRUE(letters.text.contains("erased true")) << letters.text;
  EXPECT_TRUE(letters.text.ends_with("records 1, 4\n")) << letters.text;
}

TEST(ObjectDump, WhatConsumersSaidIsShownSafely_D18) {
  const Failure failure{FailureClass::kFailed, "code", "red \x1b[31m"};
  Shown tracked = show_list(ObjectKind::kTracked, [&](ByteWriter& out) {
    TrackedMessage message;
    message.failures = 2;
    message.first_of[1] = kTime;
    message.attempts.push_back({kTime, 2, 1500, {uuid()}, failure});
    put_tracked(out, {6}, message);
  });
  EXPECT_TRUE(tracked.text.contains("offset 6  deliveries 0  failures 2")) << tracked.text;
  EXPECT_TRUE(tracked.text.contains("  failed " + kTimeText)) << tracked.text;
  EXPECT_TRUE(tracked.text.ends_with("detail \"red \\x1b[31m\"\n")) << tracked.text;
  Shown examples =
      show_list(ObjectKind::kExamples, [&](ByteWriter& out) { put_example(out, 0x1122, failure); });
  EXPECT_TRUE(examples.text.contains("class failed  code \"code\"  detail \"red \\x1b[31m\"\n"))
      << examples.text;
}

TEST(ObjectDump, WhatCannotBeDecodedSaysSoAndIsHexOnlyWithRecords) {
  const ByteVector body = encode(CatalogBody{.version = 5, .next_id = 12});
  const CheckpointObject cut = object_of(ObjectKind::kCatalog, Bytes(body).first(15));
  const std::string text = dump_text(cut, false);
  EXPECT_TRUE(text.contains("    cannot be decoded: ")) << text;
  EXPECT_FALSE(text.contains("05 00 00 00")) << text;
  EXPECT_TRUE(dump_text(cut, true).contains("05 00 00 00")) << dump_text(cut, true);
  const json::value shown = json::parse(dump_json(cut, true));
  EXPECT_TRUE(shown.as_object().contains("problem"));
  EXPECT_EQ(shown.at("body_base64"), "BQAAAAAAAAAMAAAAAAAA");
  EXPECT_FALSE(json::parse(dump_json(cut, false)).as_object().contains("body_base64"));
  CheckpointObject newer = object_of(ObjectKind::kCatalog, body);
  newer.version = kObjectVersion + 1;
  EXPECT_EQ(object_fields(newer).error().code, Errc::kUnsupportedFormat);
}

}  // namespace
}  // namespace waybill::cli

// Goal: an entry's body is read back as it was written, and anything else is refused without harm.
// Method: one example of each kind against golden bytes; every truncation, every flipped bit, and
// the same byte by byte for the facts kept beside a dead letter.
#include "broker/core/entries.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>

namespace waybill {
namespace {

Uuid uuid(std::uint8_t first) {
  Uuid uuid;
  for (std::size_t i = 0; i < 16; ++i) uuid.bytes[i] = static_cast<std::byte>(first + i);
  return uuid;
}
LeaseToken token() {
  return {3, 300};
}
Attempt attempt() {
  return {{1'700'000'000'123}, 2, 1500, {uuid(16)}, {FailureClass::kFailed, "code", "detail"}};
}
TopicInfo topic() {
  return {{7}, "orders", 9, {{{0}, {8}}, {{1}, {(std::uint64_t{1} << 48) | 9}}}};
}
GroupInfo group() {
  GroupInfo group;
  group.id = {11};
  group.name = "billing";
  group.topic = {7};
  group.version = 10;
  group.start = {StartKind::kOffset, {5}, {6}};
  group.policy.ordering = Ordering::kNone;
  group.paused = true;
  group.brake = {BrakeState::kOpen, BrakeMode::kAutomatic, {1'700'000'000'000}, "cause"};
  group.epoch = 3;
  return group;
}
DeadLetterEntry letter(DeadLetterOp op) {
  return {{11}, {8}, 4, std::move(op)};
}

struct Kind {
  std::string name;
  ByteVector bytes;
  /// Decodes and encodes again.
  std::function<Result<ByteVector>(Bytes)> again;
};

template <class Decode>
std::function<Result<ByteVector>(Bytes)> through(Decode decode) {
  return [decode](Bytes bytes) -> Result<ByteVector> {
    auto decoded = decode(bytes);
    if (!decoded) return decoded.error();
    return encode(*decoded);
  };
}

std::vector<Kind> kinds() {
  auto append = through([](Bytes bytes) {
    std::size_t batch_offset = 0;
    Result<AppendHead> head = decode_append(bytes, &batch_offset);
    EXPECT_TRUE(!head || batch_offset <= bytes.size());
    return head;
  });
  auto delivery = through(decode_delivery);
  auto dead_letter = through(decode_dead_letter);
  auto catalog = through(decode_catalog);
  auto adopt = through(decode_adopt);

  AppendHead head{{8}, {1000}, 3, {1'700'000'000'000}, false, {}};
  AppendHead timed = head;
  timed.timed = true;
  AppendHead from_producer = head;
  from_producer.producer = ProducerStamp{{uuid(1)}, ProducerKind::kDurable, 2, 40, 41};
  DeliveryEntry ops{{11}, {8}, {}};
  ops.ops.emplace_back(
      LeaseOp{token(), {{{10}, {19}}, {{25}, {25}}}, {1'700'000'000'000}, {uuid(16)}});
  ops.ops.emplace_back(AckOp{token(), {{10}, {12}}});
  ops.ops.emplace_back(WaitOp{token(), {13}, true, {1'700'000'001'123}, attempt()});
  ops.ops.emplace_back(ReleaseOp{token(), {{14}, {19}}, ReleaseKind::kUnexplained});
  ops.ops.emplace_back(ExpiredOp{{{20}, {24}}});
  DeliveryEntry reset{{11}, {8}, {}};
  reset.ops.emplace_back(ResetOp{2, {5}, true, {1'700'000'000'000}});
  DeliveryEntry removed{{11}, {8}, {}};
  removed.ops.emplace_back(RemovedOp{{30}});
  DeliveryEntry compacted{{11}, {8}, {}};
  compacted.ops.emplace_back(CompactedOp{{{31}, {40}}});
  DiedOp died{token(),
              {13},
              {2},
              DeadLetterReason::kMaxFailures,
              0x99aabbccddeeff00,
              0x1122334455667788,
              8,
              9,
              {1'700'000'000'123},
              attempt().failure};
  return {
      {"append", encode(head), append},
      {"append_timed", encode(timed), append},
      {"append_producer", encode(from_producer), append},
      {"delivery", encode(ops), delivery},
      {"reset", encode(reset), delivery},
      {"removed", encode(removed), delivery},
      {"compacted", encode(compacted), delivery},
      {"trim", encode(TrimEntry{{8}, {30}}), through(decode_trim)},
      {"died", encode(letter(died)), dead_letter},
      {"fixed", encode(letter(FixedOp{{3}})), dead_letter},
      {"redriven", encode(letter(RedrivenOp{{1'700'000'000'123}, "ann"})), dead_letter},
      {"discarded", encode(letter(DiscardedOp{{1'700'000'000'123}, "ann", "why"})), dead_letter},
      {"erased", encode(letter(ErasedOp{{1'700'000'000'123}, "ann", "why"})), dead_letter},
      {"put_topic", encode(CatalogChange(PutTopic{topic()})), catalog},
      {"drop_topic", encode(CatalogChange(DropTopic{{7}, 12})), catalog},
      {"put_group", encode(CatalogChange(PutGroup{group(), true})), catalog},
      {"drop_group", encode(CatalogChange(DropGroup{{11}, 13})), catalog},
      {"adopt", encode(AdoptEntry{PutGroup{group()}, {{{8}, {99}, {5}}}}), adopt},
      {"producer", encode(ProducerEntry(OpenedProducer{{uuid(1)}, 2, "outbox"})),
       through(decode_producer)},
      {"producer_removed", encode(ProducerEntry(RemovedProducer{{uuid(1)}})),
       through(decode_producer)},
      {"death_facts",
       encode(DeathFacts{{1'700'000'000'123}, DeadLetterReason::kInvalid, {attempt()}}),
       through(decode_death)},
      {"fix_facts", encode(FixFacts{{1'700'000'000'123}, "ann", "note"}), through(decode_fix)},
  };
}

std::string to_hex(Bytes bytes) {
  std::ostringstream text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    char byte[4];
    std::snprintf(byte, sizeof byte, "%02x", static_cast<unsigned>(bytes[i]));
    text << byte << (i % 16 == 15 || i + 1 == bytes.size() ? "\n" : " ");
  }
  return text.str();
}

TEST(Entries, AreTheGoldenBytes) {
  for (const Kind& kind : kinds()) {
    std::string path =
        std::string(WAYBILL_SOURCE_DIR) + "/tests/golden/entries_" + kind.name + ".hex";
    std::ifstream in(path);
    std::stringstream golden;
    golden << in.rdbuf();
    EXPECT_EQ(to_hex(kind.bytes), golden.str()) << kind.name << ": a changed body needs a version";
  }
}

TEST(Entries, AreReadBackAsTheyWereWritten) {
  for (const Kind& kind : kinds()) {
    Result<ByteVector> again = kind.again(kind.bytes);
    ASSERT_TRUE(again.ok()) << kind.name;
    EXPECT_EQ(*again, kind.bytes) << kind.name;
  }
}

TEST(Entries, ATruncatedOneIsRefusedAtEveryLength) {
  for (const Kind& kind : kinds()) {
    for (std::size_t size = 0; size < kind.bytes.size(); ++size) {
      EXPECT_FALSE(kind.again(Bytes(kind.bytes).first(size)).ok()) << kind.name << " " << size;
    }
    if (kind.name.starts_with("append")) continue;  // its batch follows
    ByteVector longer = kind.bytes;
    longer.push_back({});
    EXPECT_FALSE(kind.again(longer).ok()) << kind.name;
  }
}

TEST(Entries, AFlippedBitIsRefusedOrReadAsWhatItSays) {
  // Damage is found by the frame's checksum; what passes all the same must mean what it says.
  for (const Kind& kind : kinds()) {
    for (std::size_t bit = 0; bit < kind.bytes.size() * 8; ++bit) {
      ByteVector damaged = kind.bytes;
      damaged[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
      Result<ByteVector> again = kind.again(damaged);
      if (!again) continue;
      EXPECT_LE(again->size(), damaged.size()) << kind.name << " bit " << bit;
      EXPECT_TRUE(equal(*again, Bytes(damaged).first(again->size())))
          << kind.name << " bit " << bit;
    }
  }
}

}  // namespace
}  // namespace waybill

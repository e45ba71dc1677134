// Goal: ids compare by value and uuids read back what they print. Method: round trips and every
// malformed neighbour of a good text.
#include "protocol/base/ids.h"

#include <gtest/gtest.h>

#include <type_traits>
#include <unordered_set>

#include "protocol/base/random.h"

namespace waybill {
namespace {

constexpr std::string_view kText = "0191d3c4-7e2a-7c3b-9f10-5a6b7c8d9e0f";

static_assert(!std::is_convertible_v<TopicId, std::uint64_t>);
static_assert(!std::is_convertible_v<TopicId, GroupId>);
static_assert(!std::is_convertible_v<std::uint64_t, TopicId>);

TEST(Uuid, ReadsBackWhatItPrints) {
  Result<Uuid> uuid = parse_uuid(kText);
  ASSERT_TRUE(uuid.ok());
  EXPECT_EQ(to_string(*uuid), kText);
  EXPECT_EQ(uuid->bytes[0], std::byte{0x01});
  EXPECT_EQ(uuid->bytes[15], std::byte{0x0f});
  SeededRandom random(3);
  for (int i = 0; i < 100; ++i) {
    Uuid other = random.uuid();
    EXPECT_EQ(*parse_uuid(to_string(other)), other);
  }
}

TEST(Uuid, CapitalsAndMissingDashesAreRead) {
  EXPECT_EQ(*parse_uuid("0191D3C4-7E2A-7C3B-9F10-5A6B7C8D9E0F"), *parse_uuid(kText));
  EXPECT_EQ(*parse_uuid("0191d3c47e2a7c3b9f105a6b7c8d9e0f"), *parse_uuid(kText));
}

TEST(Uuid, MalformedTextIsRefused) {
  std::string text(kText);
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(parse_uuid(text.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(parse_uuid(text + "0").ok());
  EXPECT_FALSE(parse_uuid(text + "-").ok());
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string wrong = text;
    wrong[i] = 'g';
    EXPECT_FALSE(parse_uuid(wrong).ok()) << i;
  }
}

TEST(Uuid, NilIsAllZero) {
  EXPECT_TRUE(Uuid{}.is_nil());
  EXPECT_FALSE(parse_uuid(kText)->is_nil());
}

TEST(Offset, CountsAndCompares) {
  Offset offset{5};
  EXPECT_EQ(offset + 2, Offset{7});
  EXPECT_EQ(offset - 2, Offset{3});
  EXPECT_EQ((Offset{9} - offset), 4);
  EXPECT_EQ(++offset, Offset{6});
  EXPECT_LT(Offset{1}, Offset{2});
  EXPECT_EQ((OffsetRange{{3}, {3}}.count()), 1);
  EXPECT_EQ((OffsetRange{{3}, {5}}.count()), 3);
}

TEST(LeaseToken, LaterStartsAreGreater) {
  EXPECT_LT((LeaseToken{1, 900}), (LeaseToken{2, 1}));
  EXPECT_LT((LeaseToken{2, 1}), (LeaseToken{2, 2}));
}

TEST(Ids, CanBeHashed) {
  std::unordered_set<TopicId> topics{{1}, {2}, {1}};
  EXPECT_EQ(topics.size(), 2U);
  std::unordered_set<Uuid> uuids{Uuid{}, *parse_uuid(kText), Uuid{}};
  EXPECT_EQ(uuids.size(), 2U);
}

}  // namespace
}  // namespace waybill

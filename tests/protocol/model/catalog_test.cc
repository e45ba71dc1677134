// Goal: names are what every Kafka tool accepts, and a misspelt one gets a useful suggestion.
// Method: examples at every bound; edit distances against a plain recursive definition.
#include "protocol/model/catalog.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "protocol/base/random.h"

namespace waybill {
namespace {

bool valid(std::string_view name) {
  return validate_name("topic", name).ok();
}

TEST(Name, LettersDigitsDotsUnderscoresAndDashes) {
  EXPECT_TRUE(valid("Orders.v2_eu-west"));
  EXPECT_TRUE(valid("a"));
  EXPECT_TRUE(valid("..."));
  EXPECT_TRUE(valid(std::string(249, 'a')));
  EXPECT_FALSE(valid(std::string(250, 'a')));
  EXPECT_FALSE(valid(""));
  EXPECT_FALSE(valid("."));
  EXPECT_FALSE(valid(".."));
  for (std::string_view bad : {"a b", "a/b", "a\n", "ä", "a:b", "a@b", "[a]"})
    EXPECT_FALSE(valid(bad));
  EXPECT_FALSE(valid(std::string_view("a\0b", 3)));
}

TEST(Name, TheRefusalSaysWhatAndWhere) {
  RequestError error = validate_name("topic", "my orders").error();
  EXPECT_EQ(error.code, Errc::kInvalidName);
  EXPECT_EQ(error.explanation,
            "topic name \"my orders\" has a character that is not allowed at position 3; use "
            "letters, digits, '.', '_' and '-'");
}

TEST(DidYouMean, FindsTheNearest) {
  std::vector<std::string> names{"orders", "order-events", "payments", "invoices"};
  EXPECT_EQ(did_you_mean("ordres", names), "orders");
  EXPECT_EQ(did_you_mean("payment", names), "payments");
  EXPECT_EQ(did_you_mean("order_event", names), "order-events");
  EXPECT_EQ(did_you_mean("orders", names), "orders");
}

TEST(DidYouMean, SaysNothingRatherThanNonsense) {
  EXPECT_EQ(did_you_mean("shipments", {"orders", "invoices"}), std::nullopt);
  EXPECT_EQ(did_you_mean("ab", {"xy"}), std::nullopt);
  EXPECT_EQ(did_you_mean("", {"orders"}), std::nullopt);
  EXPECT_EQ(did_you_mean("orders", {}), std::nullopt);
  EXPECT_EQ(did_you_mean(std::string(100'000, 'a'), {std::string(249, 'a')}), std::nullopt);
}

/// The definition, without any band or early end.
std::size_t plain_distance(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return a.size() + b.size();
  std::size_t edits =
      std::min({plain_distance(a.substr(1), b) + 1, plain_distance(a, b.substr(1)) + 1,
                plain_distance(a.substr(1), b.substr(1)) + (a[0] != b[0])});
  if (a.size() > 1 && b.size() > 1 && a[0] == b[1] && a[1] == b[0]) {
    edits = std::min(edits, plain_distance(a.substr(2), b.substr(2)) + 1);
  }
  return edits;
}

TEST(DidYouMean, AgreesWithThePlainDefinition) {
  SeededRandom random(7);
  for (int round = 0; round < 500; ++round) {
    std::string words[2];
    for (std::string& word : words) {
      std::size_t size = 4 + random.below(3);
      for (std::size_t i = 0; i < size; ++i) word += static_cast<char>('a' + random.below(3));
    }
    bool near = plain_distance(words[0], words[1]) <= 2;
    ASSERT_EQ(did_you_mean(words[0], {words[1]}).has_value(), near) << words[0] << " " << words[1];
  }
}

TEST(Catalog, FindsByIdAndName) {
  Catalog catalog;
  catalog.topics.push_back({{3}, "orders", 1, {}});
  GroupInfo& group = catalog.groups.emplace_back();
  group.id = {4};
  group.name = "billing";
  EXPECT_EQ(catalog.topic("orders"), catalog.topic(TopicId{3}));
  ASSERT_NE(catalog.topic("orders"), nullptr);
  EXPECT_EQ(catalog.topic("order"), nullptr);
  EXPECT_EQ(catalog.topic(TopicId{4}), nullptr);
  EXPECT_EQ(catalog.group("billing"), catalog.group(GroupId{4}));
  ASSERT_NE(catalog.group("billing"), nullptr);
  EXPECT_EQ(catalog.group(GroupId{3}), nullptr);
}

}  // namespace
}  // namespace waybill

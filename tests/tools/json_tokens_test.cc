// Goal: JSON is taken apart and put together again without changing what it says (D17).
// Method: valid and invalid texts, one per rule of the grammar; equality over spellings that mean
// the same and values that only look alike.
#include "tools/json_tokens.h"

#include <gtest/gtest.h>

namespace waybill::cli {
namespace {

TEST(JsonTokensTest, ValidTextsKeepTheirSpelling) {
  for (const char* text :
       {"{}", "[]", "null", "true", "-0.5e+10", "\"\\u00e9\\n\"", "[1,[2,{}],\"x\"]",
        "{\"a\":12345678901234567890,\"a\":1.10,\"b\":[]}"}) {
    auto tokens = json_tokens(text);
    ASSERT_TRUE(tokens.ok()) << text;
    EXPECT_EQ(json_compact(*tokens), text);
  }
}

TEST(JsonTokensTest, InvalidTextsAreRefused) {
  for (const char* text :
       {"",          " ",      "{",        "}",          "[1",  "[1,]",      "[,1]",
        "{\"a\"}",   "{a:1}",  "{\"a\":}", "{\"a\":1,}", "01",  "1.",        ".5",
        "1e",        "+1",     "nul",      "nan",        "'x'", "\"x",       "\"\\x\"",
        "\"\\u12\"", "\"\n\"", "1 2",      "[1 2]",      "[1}", "{\"a\":1]", "{\"a\" 1}",
        "\"\xff\"",  "{1:2}",  "[1:2]",    "true false"}) {
    EXPECT_FALSE(json_tokens(text).ok()) << text;
  }
}

TEST(JsonTokensTest, NestingIsBounded) {
  EXPECT_TRUE(json_tokens(std::string(512, '[') + std::string(512, ']')).ok());
  EXPECT_FALSE(json_tokens(std::string(513, '[') + std::string(513, ']')).ok());
  EXPECT_FALSE(json_tokens(std::string(1'000'000, '[')).ok());
}

TEST(JsonTokensTest, PrettyIsReadableAndSaysTheSame) {
  std::string text = R"({"a":[1,2],"b":{},"c":[],"d":"{,}"})";
  std::string pretty = json_pretty(*json_tokens(text));
  EXPECT_EQ(pretty,
            "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {},\n  \"c\": [],\n  \"d\": \"{,}\"\n}");
  EXPECT_EQ(json_compact(*json_tokens(pretty)), text);
}

TEST(JsonTokensTest, SpellingsOfOneValueAreTheSame) {
  EXPECT_TRUE(same_json("{ \"a\" : 1 }", "{\"a\":1}"));
  EXPECT_TRUE(same_json("\"\\u00e9\\/\"", "\"é/\""));
  EXPECT_TRUE(same_json("\"\\ud83d\\ude00\"", "\"😀\""));
  EXPECT_TRUE(same_json("1.0", "1"));
  EXPECT_TRUE(same_json("1e3", "1000"));
  EXPECT_TRUE(same_json("0.0010e2", "0.1"));
}

TEST(JsonTokensTest, DifferentValuesAreNotTheSame_D17) {
  EXPECT_FALSE(same_json("12345678901234567890", "12345678901234567000"));
  EXPECT_FALSE(same_json("{\"a\":1,\"a\":2}", "{\"a\":2}"));
  EXPECT_FALSE(same_json("{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}")) << "order is kept, too";
  EXPECT_FALSE(same_json("\"\\ud800\"", "\"\xef\xbf\xbd\"")) << "half a pair is not U+FFFD";
  EXPECT_FALSE(same_json("\"1\"", "1"));
  EXPECT_FALSE(same_json("0.1", "0.10000000000000001"));
}

TEST(JsonTokensTest, MembersComeInOrderWithTheirTokens) {
  auto members = json_members(R"({"a":1,"b\n":{"x":[1,{}]},"a":"s"})");
  ASSERT_TRUE(members.ok());
  ASSERT_EQ(members->size(), 3U);
  EXPECT_EQ((*members)[1].name, "b\n");
  EXPECT_EQ(json_compact((*members)[1].value), R"({"x":[1,{}]})");
  EXPECT_EQ((*members)[2].value.front().text, "\"s\"");
  EXPECT_FALSE(json_members("[1]").ok());
  EXPECT_TRUE(json_members("{}")->empty());
}

TEST(JsonTokensTest, HalfASurrogatePairIsNoText) {
  auto tokens = json_tokens("\"\\ud800x\"");
  ASSERT_TRUE(tokens.ok());
  EXPECT_FALSE(json_string(tokens->front()).ok());
}

}  // namespace
}  // namespace waybill::cli

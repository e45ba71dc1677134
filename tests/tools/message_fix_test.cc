// Goal: a rule changes exactly what it says, and refuses what it cannot do without loss (D17).
// Method: rules over single messages; each value that jq 1.6 is known to damage is tried.
#include "tools/message_fix.h"

#include <gtest/gtest.h>

namespace waybill::cli {
namespace {

Message with_value(std::string_view value) {
  Message message;
  message.value = to_vector(as_bytes(value));
  return message;
}

MessageFix rule(const std::string& jq) {
  Checked<MessageFix> fix = MessageFix::create({jq, {}, {}, false});
  EXPECT_TRUE(fix.ok());
  return std::move(*fix);
}

std::string value_of(const Checked<Message>& message) {
  return message ? std::string(as_text(*message->value)) : "problem: " + message.error().text;
}

TEST(JqRuleTest, ARuleThatDoesNotCompileIsExplained) {
  Checked<JqRule> broken = JqRule::compile(".a = ");
  ASSERT_FALSE(broken.ok());
  EXPECT_TRUE(broken.error().text.starts_with("the rule does not compile")) << broken.error().text;
  EXPECT_FALSE(JqRule::compile("nosuchfunction").ok());
}

TEST(JqRuleTest, NothingAndTooMuchAndFailureAreToldApart) {
  EXPECT_TRUE(JqRule::compile("empty")->apply("{}").error().text.contains("nothing"));
  EXPECT_TRUE(JqRule::compile(".[]")->apply("[1,2]").error().text.contains("more than one"));
  EXPECT_TRUE(JqRule::compile(".a.b")->apply("{\"a\":1}").error().text.contains("failed"));
  EXPECT_TRUE(JqRule::compile(".")->apply("{oops").error().text.contains("not JSON"));
  EXPECT_EQ(*JqRule::compile("select(.a) // null")->apply("{}"), "null");
}

TEST(JqRuleTest, OneRuleServesManyValues) {
  Checked<JqRule> add = JqRule::compile(".n + 1");
  ASSERT_TRUE(add.ok());
  for (int n = 0; n < 100; ++n) {
    EXPECT_EQ(*add->apply("{\"n\":" + std::to_string(n) + "}"), std::to_string(n + 1));
    EXPECT_FALSE(add->apply("[]").ok());
  }
}

TEST(JqRuleTest, StringResultsBecomeKeysWithoutQuotes) {
  EXPECT_EQ(jq_result_text("\"k 1\""), "k 1");
  EXPECT_EQ(jq_result_text("17"), "17");
  EXPECT_EQ(jq_result_text("{\"a\":1}"), "{\"a\":1}");
}

TEST(JqRuleTest, ValuesThatJqDamagesAreKnown_D17) {
  EXPECT_TRUE(jq_keeps(R"({"a":1,"b":[1.5,"é",null,{"c":true}]})"));
  EXPECT_TRUE(jq_keeps("{ \"spaces\" : 0.1 }"));
  EXPECT_FALSE(jq_keeps("{\"id\":12345678901234567890}")) << "rounded";
  EXPECT_FALSE(jq_keeps("{\"a\":1,\"a\":2}")) << "repeated key";
  EXPECT_FALSE(jq_keeps("\"\xff\"")) << "invalid UTF-8";
  EXPECT_FALSE(jq_keeps("1e1000")) << "beyond a double";
  EXPECT_FALSE(jq_keeps("{} {}")) << "two values";
}

TEST(MessageFixTest, AValueIsFixedByJq) {
  EXPECT_EQ(value_of(rule(".s = \"ok\"").apply(with_value(R"({"n": 1, "s": "<none>"})"))),
            R"({"n":1,"s":"ok"})");
}

TEST(MessageFixTest, WhatARuleDoesNotChangeKeepsItsBytes) {
  Message message = with_value("{ \"n\" : 1.0 }");
  EXPECT_EQ(*rule(".n = 1").apply(message), message);
}

TEST(MessageFixTest, ALossyValueIsRefusedUnlessAllowed_D17) {
  Message message = with_value(R"({"id":12345678901234567890,"s":"bad"})");
  Checked<Message> refused = rule(".s = \"ok\"").apply(message);
  ASSERT_FALSE(refused.ok());
  EXPECT_TRUE(refused.error().text.contains("--allow-reencode"));
  Checked<MessageFix> allowed = MessageFix::create({".s = \"ok\"", {}, {}, true});
  EXPECT_TRUE(allowed->apply(message).ok());
}

TEST(MessageFixTest, AHeaderFixNeverReadsTheValue_D17) {
  Message message = with_value("\xff not JSON");
  message.headers = {{"keep", to_vector(as_bytes("1"))},
                     {"drop", to_vector(as_bytes("2"))},
                     {"set", to_vector(as_bytes("3"))}};
  Checked<MessageFix> fix =
      MessageFix::create({"",
                          {{"set", to_vector(as_bytes("4"))}, {"new", to_vector(as_bytes("5"))}},
                          {"drop"},
                          false});
  ASSERT_TRUE(fix.ok());
  Checked<Message> fixed = fix->apply(message);
  ASSERT_TRUE(fixed.ok());
  EXPECT_EQ(fixed->value, message.value);
  std::vector<Header> expected{{"keep", to_vector(as_bytes("1"))},
                               {"set", to_vector(as_bytes("4"))},
                               {"new", to_vector(as_bytes("5"))}};
  EXPECT_EQ(fixed->headers, expected);
}

TEST(MessageFixTest, NothingToDoAndNothingToDoItToAreProblems) {
  EXPECT_FALSE(MessageFix::create({}).ok());
  EXPECT_FALSE(rule(".").apply(Message{}).ok()) << "a tombstone has no value";
  EXPECT_FALSE(rule(".").apply(with_value("plain text")).ok());
}

}  // namespace
}  // namespace waybill::cli

// Goal: messages survive the way through JSON lines, and a bad line says what is wrong with it.
// Method: lines in, messages out and back; every kind of mistake once.
#include "tools/message_line.h"

#include <gtest/gtest.h>

#include "client/message_times.h"
#include "tools/message_maker.h"
#include "tools/worker_line.h"

namespace waybill::cli {
namespace {

std::string text(const std::optional<ByteVector>& bytes) {
  return bytes ? std::string(as_text(*bytes)) : "(none)";
}

TEST(MessageLineTest, KeyValueAndHeadersAreRead) {
  auto message = parse_message_line(R"({"key":"k","value":"v\n","headers":{"a":"1","a":"2"}})");
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(text(message->key), "k");
  EXPECT_EQ(text(message->value), "v\n");
  ASSERT_EQ(message->headers.size(), 2U);
  EXPECT_EQ(as_text(message->headers[1].value), "2");
}

TEST(MessageLineTest, AJsonValueKeepsEveryDigit) {
  auto message = parse_message_line(R"({"value": {"id": 12345678901234567890, "x": 1.0}})");
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(text(message->value), R"({"id":12345678901234567890,"x":1.0})");
}

TEST(MessageLineTest, NullsMakeTombstonesAndUnkeyedMessages) {
  auto message = parse_message_line(R"({"key":null,"value":null})");
  ASSERT_TRUE(message.ok());
  EXPECT_FALSE(message->key.has_value());
  EXPECT_FALSE(message->value.has_value());
}

TEST(MessageLineTest, MistakesAreNamed) {
  auto problem = [](std::string_view line) { return parse_message_line(line).error().text; };
  EXPECT_TRUE(problem("[]").contains("object"));
  EXPECT_TRUE(problem("{\"key\":\"k\"}").contains("\"value\" is missing"));
  EXPECT_TRUE(problem(R"({"vaule":1})").contains("did you mean \"value\"?"));
  EXPECT_TRUE(problem(R"({"value":1,"value":2})").contains("twice"));
  EXPECT_TRUE(problem(R"({"value":1,"value_base64":"Zg=="})").contains("twice"));
  EXPECT_TRUE(problem(R"({"value_base64":"Zg"})").contains("base64"));
  EXPECT_TRUE(problem(R"({"value":1,"headers":[]})").contains("headers"));
  EXPECT_TRUE(problem(R"({"value":"\ud800"})").contains("surrogate"));
  EXPECT_TRUE(problem("{\"value\":1").contains("JSON"));
}

TEST(MessageLineTest, WhatIsPrintedCanBePublishedAgain) {
  Message message;
  message.key = to_vector(as_bytes(std::string_view("\xff\0", 2)));
  message.value = to_vector(as_bytes("text \"with\" \x1b and ü"));
  message.headers = {{"h", to_vector(as_bytes("\xfe"))}, {"h", to_vector(as_bytes("two"))}};
  MessagePlace place{"orders", {3}, {17}, 2, 1, 0};
  std::string line = message_json(place, message);
  EXPECT_TRUE(line.starts_with(R"({"id":"orders/3/17","topic":"orders","partition":3,"offset":17)"))
      << line;
  auto back = parse_message_line(line);
  ASSERT_TRUE(back.ok()) << back.error().text;
  EXPECT_EQ(back->key, message.key);
  EXPECT_EQ(back->value, message.value);
  EXPECT_EQ(back->headers, message.headers);
}

TEST(MessageLineTest, TheBrokersHeadersAreNotShownAsTheMessages) {
  Message message;
  message.value.emplace();
  message.headers = {
      {"wb-message-id", ByteVector(16, std::byte{1})}, {"wb-redrive", ByteVector(4)}, {"mine", {}}};
  std::string line = message_json({"t", {0}, {0}, 1, 0, 1}, message);
  EXPECT_TRUE(line.contains(R"("message_id":"01010101-0101-0101-0101-010101010101")")) << line;
  EXPECT_TRUE(line.ends_with(R"("headers":{"mine":""}})")) << line;
}

TEST(MessageMakerTest, KeysComeFromASeparatorOrAPath) {
  auto separated = MessageMaker::create({false, "", "::", {}});
  auto message = separated->make("k::v::w");
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(text((*message)->key), "k");
  EXPECT_EQ(text((*message)->value), "v::w");
  EXPECT_FALSE(separated->make("no separator").ok());

  auto by_path = MessageMaker::create({false, ".user.id", "", {}});
  EXPECT_EQ(text((*by_path->make(R"({"user":{"id":"u1"}})"))->key), "u1");
  EXPECT_EQ(text((*by_path->make(R"({"user":{}})"))->key), "(none)");
  EXPECT_FALSE(by_path->make("not json").ok());
  EXPECT_FALSE(MessageMaker::create({false, ".[", "", {}}).ok());
}

TEST(MessageLineTest, TimesForGroupsArePrintedAndReadBack) {
  auto message =
      parse_message_line(R"({"not_before":"2030-01-01T00:00:00Z","value":1,"headers":{"a":"b"},)"
                         R"("expires":"2031-01-01"})");
  ASSERT_TRUE(message.ok()) << message.error().text;
  EXPECT_EQ(not_before(*message), WallTime{1'893'456'000'000});
  EXPECT_EQ(expiry(*message), WallTime{1'924'992'000'000});
  std::string printed = message_json({"t", {0}, {1}, 0, 0, 0}, *message);
  EXPECT_TRUE(printed.contains(R"("not_before":"2030-01-01T00:00:00)")) << printed;
  EXPECT_TRUE(printed.contains(R"("headers":{"a":"b"})")) << printed;
  auto again = parse_message_line(printed);
  ASSERT_TRUE(again.ok()) << again.error().text;
  EXPECT_EQ(not_before(*again), not_before(*message));
  EXPECT_EQ(expiry(*again), expiry(*message));
  for (const char* bad : {R"({"value":1,"expires":5})", R"({"value":1,"expires":"now"})",
                          R"({"value":1,"not_before":"soon"})"}) {
    EXPECT_FALSE(parse_message_line(bad).ok()) << bad;
  }
}

TEST(MessageMakerTest, HeadersAreAddedAndBlankJsonLinesSkipped) {
  auto maker = MessageMaker::create({true, "", "", {*parse_header("a=b=c")}});
  EXPECT_FALSE(maker->make("  ")->has_value());
  auto message = maker->make(R"({"value":1})");
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(as_text((*message)->headers.at(0).value), "b=c");
  EXPECT_FALSE(parse_header("novalue").ok());
  EXPECT_FALSE(parse_header("=x").ok());
}

TEST(MessageMakerTest, APlainLineIsAValueEvenIfEmpty) {
  auto maker = MessageMaker::create({});
  auto message = maker->make("");
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(text((*message)->value), "");
}

TEST(WorkerLineTest, AnswersBecomeSettlements) {
  auto ack = parse_worker_answer(R"({"id":"t/0/1","result":"ack"})");
  ASSERT_TRUE(ack.ok());
  EXPECT_EQ(ack->id, "t/0/1");
  EXPECT_EQ(ack->settle.verb, SettleVerb::kAck);
  auto retry = parse_worker_answer(
      R"({"id":"i","result":"retry","class":"transient","code":"db","detail":"d","after_ms":500})");
  ASSERT_TRUE(retry.ok());
  EXPECT_EQ(retry->settle.verb, SettleVerb::kRetry);
  EXPECT_EQ(retry->settle.retry_after, std::chrono::milliseconds(500));
  EXPECT_EQ(retry->settle.failure, (Failure{FailureClass::kTransient, "db", "d"}));
  auto dead = parse_worker_answer(R"({"id":"i","result":"dead_letter","after_ms":5})");
  ASSERT_TRUE(dead.ok());
  EXPECT_EQ(dead->settle.verb, SettleVerb::kDeadLetter);
  EXPECT_FALSE(dead->settle.retry_after.has_value());
  EXPECT_EQ(dead->settle.failure.code, "worker");
}

TEST(WorkerLineTest, WhatIsNoAnswerIsExplained) {
  for (const char* line :
       {"", "ack", "[]", R"({"id":"i"})", R"({"id":"i","result":"done"})",
        R"({"id":1,"result":"ack"})", R"({"id":"i","result":"retry","class":"unexplained"})",
        R"({"id":"i","result":"retry","after_ms":-1})", R"({"id":"i","result":"ack","extra":1})"}) {
    EXPECT_FALSE(parse_worker_answer(line).ok()) << line;
  }
}

}  // namespace
}  // namespace waybill::cli

// Goal: bad input gets a clear, definite error, and costs the other clients nothing.
// Method: the real waybilld, abused over real sockets and through the real command line, while a
// bystander publishes and reads before, during and after. Where each kind of bad input is tested:
//
//   garbage, half frames                     here, Frames; server_test, ConnectionTest
//   a frame longer than the limit            here, Frames; server_test, ConnectionTest
//   wrong CRC, wrong records under a right   here, Batches; record_test in every variant
//   a decompression bomb                     here, Batches; record_test, every codec
//   unknown request kinds and versions       here, Frames; server_test, ConnectionTest
//   unknown topic or group                   here, Requests; its words: command_line_run_test
//   oversized messages                       here, Batches and Requests; outbox_test, Enqueue
//   a bad policy value                       here, Requests; model_test, every value
//   settling with a stale token              here, Requests; core_test
//   a second broker on the same directory    server_test, WaybilldTest.S6...
//   an unwritable directory                  data_directory_test
//   a full directory                         data_directory_test
//   a port in use                            server_test, WaybilldTest.APortInUse...
//   a database without the outbox tables     here, Requests; outbox_test, Enqueue.SaysHow...
//   enqueue outside a transaction            outbox_test, Enqueue.RefusesToWorkOutside...
//   a jq rule that does not compile or       here, Requests; tools_test, MessageFix
//     yields nothing
//   consumers that misbehave                 bad_consumer_test
#include <sqlite3.h>

#include "protocol/base/checksum.h"
#include "protocol/base/random.h"
#include "protocol/record/varint.h"
#include "tests/e2e/bad_input.h"

namespace waybill {
namespace {

// --- frames ---

class Frames : public BadInput {};

TEST_F(Frames, GarbageEndsItsOwnConnectionOnly) {
  ByteVector noise(4096);
  SeededRandom random(7);
  for (int round = 0; round < 64; ++round) {
    for (std::byte& one : noise) one = static_cast<std::byte>(random.next());
    RawClient rude(broker_.port());
    rude.send_bytes(noise);
    rude.end_sending();
    while (!rude.at_end()) {
    }
    EXPECT_FALSE(rude.transcript().contains("reply")) << "round " << round;
  }
  RawClient browser(broker_.port());
  browser.send_bytes(as_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(browser.receive_error().code, Errc::kFrameTooLarge);
  EXPECT_TRUE(browser.at_end());
}

TEST_F(Frames, HalfFramesHoldNobodyUp) {
  ByteVector hello = RawClient::flat(encode_request(1, HelloRequest{}));
  std::vector<std::unique_ptr<RawClient>> halting;
  for (std::size_t size = 1; size < hello.size(); ++size) {
    halting.push_back(std::make_unique<RawClient>(broker_.port()));
    ASSERT_TRUE(halting.back()->send_bytes(Bytes(hello).first(size)));
  }
  std::unique_ptr<RawClient> inside = connect();
  ByteVector publish =
      RawClient::flat(encode_request(2, publish_to(make_topic("half"), batch_of(5000))));
  ASSERT_TRUE(inside->send_bytes(Bytes(publish).first(publish.size() / 2)));
  bystander_->expect_served("while half frames hang");
  halting.clear();
  inside->end_sending();
  EXPECT_TRUE(inside->at_end());
  Reply<DescribeTopicReply> topic = bystander_->client().request(DescribeTopicRequest{"half"});
  ASSERT_TRUE(topic.ok());
  EXPECT_EQ(topic->partitions.at(0).end, Offset{0}) << "half a publish is none";
}

TEST_F(Frames, ALengthIsRefusedOrHeldBeforeMemoryIsAllocated) {
  constexpr int kClients = 64;
  const std::uint64_t before = resident_kib(broker_.pid());
  auto announce = [](RawClient& client, std::uint32_t length) {
    ByteVector header = RawClient::flat(encode_request(2, PingRequest{}));
    header.resize(kFrameHeaderSize);
    store_little(header.data(), length);
    client.send_bytes(header);  // and not one byte more
  };
  std::vector<std::unique_ptr<RawClient>> waiting;
  for (int i = 0; i < kClients; ++i) {
    for (std::uint32_t length : {std::uint32_t{0xffff'ffff}, std::uint32_t{0x7fff'ffff},
                                 static_cast<std::uint32_t>(limits::kMaxFrame)}) {
      std::unique_ptr<RawClient> greedy = connect();
      announce(*greedy, length);
      EXPECT_EQ(greedy->receive_error().code, Errc::kFrameTooLarge) << length;
      EXPECT_TRUE(greedy->at_end());
    }
    // The longest that is allowed: 64 times 9 MiB, of which nothing ever comes.
    waiting.push_back(connect());
    announce(*waiting.back(), limits::kMaxFrame - kFrameLengthSize);
  }
  bystander_->expect_served("while long frames are announced");
  if (kMemoryIsTheProgramsOwn) {
    EXPECT_LT(resident_kib(broker_.pid()), before + 32 * 1024) << "KiB in memory";
  }
}

TEST_F(Frames, UnknownKindsAndVersionsAreNamedAndTheConversationGoesOn) {
  std::unique_ptr<RawClient> client = connect();
  client->request_kind(7, 999);
  RequestError error = client->receive_error();
  EXPECT_EQ(error.code, Errc::kUnknownRequest);
  EXPECT_TRUE(error.explanation.contains("999")) << error.explanation;
  EXPECT_TRUE(client->ask(PingRequest{}).ok());

  RawClient future(broker_.port());
  HelloRequest hello;
  hello.min_version = 7;
  hello.max_version = 9;
  future.request(1, hello);
  error = future.receive_error();
  EXPECT_EQ(error.code, Errc::kUnsupportedVersion);
  EXPECT_TRUE(error.explanation.contains("7 to 9")) << error.explanation;
  EXPECT_TRUE(future.at_end());
}

// --- batches ---

/// Records as a producer would write them, right or wrong, under a right CRC.
ByteVector batch_with(const ByteVector& records, std::uint32_t count, Codec codec = Codec::kNone) {
  using namespace batch_layout;
  BatchBuilder builder;
  RecordDraft draft;
  EXPECT_TRUE(builder.add(draft).ok());
  ByteVector batch = builder.build();
  batch.resize(kHeaderSize);
  batch.insert(batch.end(), records.begin(), records.end());
  store_big(batch.data() + kLength, static_cast<std::int32_t>(batch.size() - kLengthStart));
  store_big(batch.data() + kAttributes, static_cast<std::int16_t>(codec));
  store_big(batch.data() + kLastOffsetDelta, static_cast<std::int32_t>(count) - 1);
  store_big(batch.data() + kRecordCount, static_cast<std::int32_t>(count));
  store_big(batch.data() + kCrc, crc32c(Bytes(batch).subspan(kAttributes)));
  return batch;
}

struct RecordFields {
  std::int64_t length_error = 0;  ///< added to the length that is right
  std::int64_t offset_delta = 0;
  std::string value = "v";
  std::string header{};
};
ByteVector record(const RecordFields& fields) {
  ByteVector body;
  body.push_back(std::byte{0});  // attributes
  append_varint(body, 0);        // timestamp
  append_varint(body, fields.offset_delta);
  append_varint(body, -1);  // no key
  append_varint(body, static_cast<std::int64_t>(fields.value.size()));
  Bytes value = as_bytes(fields.value);
  body.insert(body.end(), value.begin(), value.end());
  append_varint(body, fields.header.empty() ? 0 : 1);
  if (!fields.header.empty()) {
    append_varint(body, static_cast<std::int64_t>(fields.header.size()));
    Bytes header = as_bytes(fields.header);
    body.insert(body.end(), header.begin(), header.end());
    append_varint(body, -1);
  }
  ByteVector whole;
  append_varint(whole, static_cast<std::int64_t>(body.size()) + fields.length_error);
  whole.insert(whole.end(), body.begin(), body.end());
  return whole;
}

class Batches : public BadInput {
 protected:
  void SetUp() override {
    BadInput::SetUp();
    topic_ = make_topic("refused");
    client_ = connect();
  }
  void TearDown() override {
    Reply<DescribeTopicReply> topic = bystander_->client().request(DescribeTopicRequest{"refused"});
    ASSERT_TRUE(topic.ok());
    EXPECT_EQ(topic->partitions.at(0).end, Offset{published_}) << "nothing refused is kept";
    client_.reset();
    BadInput::TearDown();
  }
  /// What becomes of a batch, together with a good one for the same partition.
  RequestError publish(ByteVector batch) {
    PublishRequest request = publish_to(topic_, SharedBytes(std::move(batch)));
    request.parts.push_back(publish_to(topic_, batch_of(10)).parts.front());
    Reply<PublishReply> reply = client_->ask(request);
    if (!reply) return reply.error();
    EXPECT_TRUE(reply->parts.at(1).ok()) << "each part stands for itself";
    ++published_;
    EXPECT_FALSE(reply->parts.at(0).ok());
    return reply->parts[0] ? RequestError(Errc::kClosed, "accepted") : reply->parts[0].error();
  }

  TopicId topic_;
  std::unique_ptr<RawClient> client_;
  std::int64_t published_ = 0;
};

TEST_F(Batches, AWrongCrcIsRefused) {
  ByteVector batch = batch_with(record({}), 1);
  EXPECT_TRUE(validate_batch(batch).ok()) << "what is changed below was right";
  batch.back() ^= std::byte{1};
  RequestError error = publish(batch);
  EXPECT_EQ(error.code, Errc::kCorruptBatch) << to_string(error);
}

TEST_F(Batches, WrongRecordsUnderARightCrcAreRefused) {
  ByteVector two = record({});
  ByteVector second = record({.offset_delta = 1});
  two.insert(two.end(), second.begin(), second.end());
  ASSERT_TRUE(validate_batch(batch_with(two, 2)).ok()) << "what is changed below was right";
  const std::vector<std::pair<const char*, ByteVector>> wrong = {
      {"fewer records than said", batch_with(record({}), 2)},
      {"more records than said", batch_with(two, 1)},
      {"no records", batch_with({}, 0)},
      {"a record longer than the batch", batch_with(record({.length_error = 50}), 1)},
      {"a record shorter than its fields", batch_with(record({.length_error = -1}), 1)},
      {"a negative length", batch_with(record({.length_error = -1000}), 1)},
      {"a gap in the offsets", batch_with(record({.offset_delta = 3}), 1)},
      {"a header of the broker's", batch_with(record({.header = "wb-redrive"}), 1)},
      {"plain bytes said to be zstd", batch_with(record({}), 1, Codec::kZstd)},
  };
  for (const auto& [what, batch] : wrong) {
    RequestError error = publish(batch);
    EXPECT_EQ(error.code, Errc::kInvalidBatch) << what << ": " << to_string(error);
    EXPECT_FALSE(error.explanation.empty()) << what;
  }
}

TEST_F(Batches, ADecompressionBombIsRefusedWithoutGoingOff) {
  ByteVector zeros = record({.value = std::string(31 * 1024 * 1024, '\0')});
  const std::uint64_t before = resident_kib(broker_.pid());
  for (Codec codec : {Codec::kZstd, Codec::kGzip}) {
    ByteVector bomb = batch_with(compress(codec, zeros), 1, codec);
    ASSERT_LT(bomb.size(), zeros.size() / 900);
    for (int i = 0; i < 8; ++i) {
      RequestError error = publish(bomb);
      EXPECT_EQ(error.code, Errc::kDecompressionLimit) << name(codec) << to_string(error);
    }
  }
  bystander_->expect_served("between bombs");
  if (kMemoryIsTheProgramsOwn) {
    EXPECT_LT(resident_kib(broker_.pid()), before + 24 * 1024) << "KiB in memory";
  }
}

TEST_F(Batches, OversizedMessagesAndBatchesAreRefused) {
  RequestError error =
      publish(batch_with(record({.value = std::string(limits::kMaxMessage + 1, 'x')}), 1));
  EXPECT_EQ(error.code, Errc::kMessageTooLarge) << to_string(error);
  ByteVector large;
  for (int i = 0; i < 3; ++i) {
    ByteVector one = record({.offset_delta = i, .value = std::string(limits::kMaxBatch / 3, 'x')});
    large.insert(large.end(), one.begin(), one.end());
  }
  error = publish(batch_with(large, 3));
  EXPECT_EQ(error.code, Errc::kMessageTooLarge) << to_string(error);

  Finished cli = waybill({"publish", "refused"}, std::string(limits::kMaxMessage + 1, 'x') + "\n");
  EXPECT_EQ(cli.exit_code, 1) << cli;
  EXPECT_TRUE(cli.err.contains("line 1")) << cli;
}

// --- requests ---

class Requests : public BadInput {};

/// The broker and the command line each use their own quotes.
bool suggests(const std::string& text, const std::string& name) {
  return text.contains("did you mean \"" + name + "\"?") ||
         text.contains("did you mean '" + name + "'?");
}

TEST_F(Requests, AnUnknownTopicOrGroupGetsTheNameThatWasMeant) {
  make_topic("orders");
  ASSERT_TRUE(bystander_->client().ensure_group(group_request("billing", "orders")).ok());
  for (const Words& words :
       {Words{"topic", "describe", "ordesr"}, Words{"topic", "delete", "ordesr", "--yes"},
        Words{"publish", "ordesr"}, Words{"consume", "--topic", "ordesr", "--from", "earliest"},
        Words{"group", "create", "g", "--topic", "ordesr", "--ordering", "none", "--start",
              "earliest"}}) {
    Finished end = waybill(words, "x\n");
    EXPECT_EQ(end.exit_code, 3) << words[0] << end;
    EXPECT_TRUE(suggests(end.err, "orders")) << words[0] << end;
    EXPECT_EQ(end.out, "") << words[0];
  }
  for (const Words& words :
       {Words{"group", "describe", "biling"}, Words{"group", "set", "biling", "--lease", "1m"},
        Words{"group", "delete", "biling", "--yes"}, Words{"consume", "biling"},
        Words{"dlq", "list", "biling"}, Words{"dlq", "redrive", "biling", "--all", "--yes"}}) {
    Finished end = waybill(words);
    EXPECT_EQ(end.exit_code, 3) << words[0] << end;
    EXPECT_TRUE(suggests(end.err, "billing")) << words[0] << end;
  }
}

TEST_F(Requests, ABadPolicyValueIsNamedWithItsRange) {
  make_topic("orders");
  struct Case {
    const char* option;
    const char* value;
    const char* said;
  };
  for (const Case& one :
       {Case{"--max-failures", "0", "1 to 100"}, Case{"--max-failures", "101", "1 to 100"},
        Case{"--window", "0", "1 to 1000000"}, Case{"--lease", "1ms", "lease"},
        Case{"--lease", "13h", "lease"}, Case{"--backoff-factor", "0.5", "factor"}}) {
    Finished end = waybill({"group", "create", "bad", "--topic", "orders", "--ordering", "none",
                            "--start", "earliest", one.option, one.value});
    EXPECT_EQ(end.exit_code, 1) << one.option << " " << one.value << end;
    EXPECT_TRUE(end.err.contains(one.said)) << one.option << " " << one.value << end;
  }
  CreateGroupRequest unstated = group_request("bad", "orders");
  unstated.policy.ordering = Ordering::kUnset;
  Reply<CreateGroupReply> made = connect()->ask(unstated);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, Errc::kInvalidPolicy) << to_string(made.error());
  Reply<MetadataReply> metadata = bystander_->client().request(MetadataRequest{});
  ASSERT_TRUE(metadata.ok());
  EXPECT_EQ(metadata->catalog.group("bad"), nullptr);
}

TEST_F(Requests, SettlingWithAStaleTokenIsLeaseLost) {
  TopicId topic = make_topic("orders");
  ASSERT_TRUE(bystander_->client().ensure_group(group_request("billing", "orders")).ok());
  ASSERT_TRUE(connect()->ask(publish_to(topic, batch_of(10))).ok());
  RawConsumer consumer(broker_.port());
  consumer.subscribe("billing");
  GrantedRange first = consumer.next();
  ASSERT_TRUE(consumer.settle(first.token, first.range, SettleVerb::kRelease).ok());
  GrantedRange second = consumer.next();
  ASSERT_NE(first.token, second.token);

  LeaseToken invented{second.token.start, second.token.counter + 1000};
  LeaseToken of_another_run{second.token.start + 1, second.token.counter};
  for (LeaseToken stale : {first.token, invented, of_another_run}) {
    Reply<SettleOutcome> outcome = consumer.settle(stale, second.range, SettleVerb::kAck);
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.error().code, Errc::kLeaseLost) << to_string(outcome.error());
  }
  Reply<SettleOutcome> outcome = consumer.settle(second.token, second.range, SettleVerb::kAck);
  ASSERT_TRUE(outcome.ok()) << to_string(outcome.error());
  EXPECT_EQ(*outcome, SettleOutcome::kDone);
}

TEST_F(Requests, AJqRuleThatDoesNotCompileOrYieldsNothingChangesNothing) {
  make_topic("orders");
  ASSERT_TRUE(bystander_->client().ensure_group(group_request("billing", "orders")).ok());
  ASSERT_EQ(waybill({"publish", "orders"}, "{\"a\":1}\n").exit_code, 0);
  ASSERT_EQ(waybill({"consume", "billing", "--exec", "exit 65", "--exit-at-end"}).exit_code, 0);

  Finished wrong = waybill({"dlq", "edit", "billing", "--all", "--jq", ".a |", "--yes"});
  EXPECT_EQ(wrong.exit_code, 2) << wrong;
  EXPECT_TRUE(wrong.err.contains("does not compile")) << wrong;
  for (const char* rule : {"empty", ".a, .a", "error(\"no\")", ".a.b"}) {
    Finished end = waybill({"dlq", "edit", "billing", "--all", "--jq", rule, "--yes"});
    EXPECT_EQ(end.exit_code, 1) << rule << end;
    EXPECT_TRUE(end.err.contains("billing/0-1")) << rule << end;
  }
  Finished key = waybill({"publish", "orders", "--key-jq", ".["}, "{}\n");
  EXPECT_EQ(key.exit_code, 2) << key;
  Finished shown = waybill({"-o", "json", "dlq", "show", "billing/0-1"});
  EXPECT_TRUE(shown.out.contains("\"version_count\":1")) << shown;
}

TEST_F(Requests, ADatabaseWithoutTheOutboxTablesIsToldHowToGetThem) {
  std::string file = (directory_.path() / "app.db").string();
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(file.c_str(), &database), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(database, "CREATE TABLE orders(id)", nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(database);
  for (const Words& words : {Words{"outbox", "relay", "--db", file, "--exit-at-end"},
                             Words{"outbox", "status", "--db", file}}) {
    Finished end = waybill(words);
    EXPECT_EQ(end.exit_code, 1) << end;
    EXPECT_TRUE(end.err.contains("waybill outbox ddl")) << end;
  }
  Finished none = waybill({"outbox", "status", "--db", file + ".not"});
  EXPECT_NE(none.exit_code, 0) << none;
  EXPECT_TRUE(none.err.contains(".not")) << none;
  EXPECT_FALSE(std::filesystem::exists(file + ".not")) << "looking makes no database";
}

}  // namespace
}  // namespace waybill

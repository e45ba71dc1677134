// Goal: PROTOCOL.md says what the code does.
// Method: its tables of kinds, fields, errors and limits are parsed and compared with the enum,
// with waybill.proto, the error table and limits.h; its hex examples go through the real decoder.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "tests/protocol/wire/examples.h"
#include "tests/protocol/wire/samples.h"

namespace waybill::test {
namespace {

using Row = std::vector<std::string>;

std::string file(const std::string& path) {
  std::ifstream in(std::string(WAYBILL_SOURCE_DIR "/") + path);
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_FALSE(text.str().empty()) << path;
  return text.str();
}

std::string page() {
  return file("protocol/PROTOCOL.md");
}

std::string trimmed(const std::string& text) {
  std::size_t first = text.find_first_not_of(" `");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" `") - first + 1);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> pieces;
  std::stringstream in(text);
  for (std::string piece; std::getline(in, piece, separator);) pieces.push_back(trimmed(piece));
  return pieces;
}

/// The rows of every table whose first line is `head`.
std::vector<Row> tables(const std::string& head) {
  std::vector<Row> rows;
  bool inside = false;
  std::stringstream in(page());
  for (std::string line; std::getline(in, line);) {
    if (line == head) {
      inside = true;
    } else if (!line.starts_with("|")) {
      inside = false;
    } else if (inside && !line.starts_with("|---")) {
      Row row = split(line, '|');
      row.erase(row.begin());
      rows.push_back(row);
    }
  }
  EXPECT_FALSE(rows.empty()) << head;
  return rows;
}

std::string yes(bool value) {
  return value ? "yes" : "no";
}

TEST(Page, KindsAreThoseOfTheCode) {
  std::vector<Row> expected;
  for (const RequestKindFacts& facts : all_request_kinds()) {
    expected.push_back({std::to_string(static_cast<unsigned>(facts.kind)), std::string(facts.name),
                        yes(facts.answered), yes(facts.pushed), yes(facts.idempotent),
                        std::string(name(facts.right))});
  }
  EXPECT_EQ(tables("| number | name | answered | pushed | idempotent | right |"), expected);
}

TEST(Page, EveryKindHasAStructAndTheEnumHasNoOther) {
  std::set<std::string> names;
  for_each_struct([&]<class Struct>() {
    const RequestKindFacts* facts = find_request_kind(Wire<Struct>::kKind);
    ASSERT_NE(facts, nullptr);
    EXPECT_EQ(facts->pushed, Wire<Struct>::kType == FrameType::kPush);
    names.emplace(facts->name);
  });
  EXPECT_EQ(names.size(), all_request_kinds().size());
  std::string header = file("protocol/wire/request_kind.h");
  std::regex enumerator("k\\w+ = \\d+,");
  auto count = std::distance(std::sregex_iterator(header.begin(), header.end(), enumerator), {});
  EXPECT_EQ(static_cast<std::size_t>(count), all_request_kinds().size() + 1) << "and kNone";
}

TEST(Page, ErrorsAreThoseOfTheCode) {
  std::vector<Row> expected;
  for (const ErrcFacts& facts : all_errc_facts()) {
    if (static_cast<unsigned>(facts.code) >= 200) continue;
    std::string meaning(facts.meaning);
    expected.push_back({std::to_string(static_cast<unsigned>(facts.code)), std::string(facts.name),
                        yes(facts.retriable), yes(facts.outcome_unknown),
                        yes(facts.closes_connection), trimmed(meaning)});
  }
  EXPECT_EQ(tables("| number | name | retriable | unknown | closes | meaning |"), expected);
}

TEST(Page, EveryErrorThatTheTextNamesExists) {
  std::set<std::string> known{"unknown_topic"};
  for (const ErrcFacts& facts : all_errc_facts()) known.emplace(facts.name);
  std::string text = page();
  std::regex fails("(Fails with|Errors:|Part errors:|Also)([^.]*)\\.");
  std::regex code("`([a-z]+_[a-z_]+|fenced|overloaded)`");
  std::set<std::string> fields{"override_limit", "base_version"};
  int found = 0;
  for (std::sregex_iterator at(text.begin(), text.end(), fails), end; at != end; ++at) {
    std::string sentence = (*at)[2];
    for (std::sregex_iterator word(sentence.begin(), sentence.end(), code); word != end; ++word) {
      ++found;
      EXPECT_TRUE(known.contains((*word)[1]) || fields.contains((*word)[1])) << (*word)[1];
    }
  }
  EXPECT_GT(found, 20);
}

/// "Message.field" of every field of every message.
std::set<std::string> fields_of_the_proto() {
  std::set<std::string> fields;
  std::string message;
  std::stringstream in(file("protocol/wire/waybill.proto"));
  std::regex begin("message (\\w+) \\{.*");
  std::regex field("  (?:repeated |optional )?\\w+ (\\w+) = \\d+;.*");
  for (std::string line; std::getline(in, line);) {
    std::smatch match;
    if (std::regex_match(line, match, begin)) message = match[1];
    if (std::regex_match(line, match, field)) fields.insert(message + "." + match[1].str());
  }
  return fields;
}

TEST(Page, EveryFieldOfTheProtoIsExplainedAndNoOther) {
  std::set<std::string> explained;
  std::string message;
  for (const Row& row : tables("| message | field | range | meaning |")) {
    ASSERT_GE(row.size(), 2u);
    if (!row[0].empty()) message = row[0];
    for (const std::string& field : split(row[1], ',')) {
      EXPECT_TRUE(explained.insert(message + "." + field).second) << message << "." << field;
    }
  }
  EXPECT_EQ(explained, fields_of_the_proto());
}

template <class Rep, class Period>
std::string text_of(std::chrono::duration<Rep, Period> duration) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(duration).count()) + " s";
}
std::string text_of(std::uint64_t number) {
  return std::to_string(number);
}

std::map<std::string, std::string> limits_of_clients() {
  using namespace limits;
  return {
      {"kMaxHelloFrame", text_of(kMaxHelloFrame)},
      {"kMaxFrame", text_of(kMaxFrame)},
      {"kMaxFrameMeta", text_of(kMaxFrameMeta)},
      {"kMaxMetaElements", text_of(kMaxMetaElements)},
      {"kMaxPendingRequests", text_of(kMaxPendingRequests)},
      {"kMaxOutputBuffer", text_of(kMaxOutputBuffer)},
      {"kMaxToken", text_of(kMaxToken)},
      {"kHelloTimeout", text_of(kHelloTimeout)},
      {"kMaxConnections", text_of(kMaxConnections)},
      {"kMaxPublishParts", text_of(kMaxPublishParts)},
      {"kMaxSettlements", text_of(kMaxSettlements)},
      {"kMaxGrantedRanges", text_of(kMaxGrantedRanges)},
      {"kMaxBatchesPerFrame", text_of(kMaxBatchesPerFrame)},
      {"kMaxReadBytes", text_of(kMaxReadBytes)},
      {"kMaxReadWait", text_of(kMaxReadWait)},
      {"kMaxCreditMessages", text_of(kMaxCreditMessages)},
      {"kMaxCreditBytes", text_of(kMaxCreditBytes)},
      {"kMaxRetryAfter", text_of(kMaxRetryAfter)},
      {"kMaxSelectionIds", text_of(kMaxSelectionIds)},
      {"kMaxPage", text_of(kMaxPage)},
      {"kMaxText", text_of(kMaxText)},
      {"kMaxNameLength", text_of(kMaxNameLength)},
      {"kMaxPartitions", text_of(kMaxPartitions)},
      {"kMaxTopics", text_of(kMaxTopics)},
      {"kMaxGroups", text_of(kMaxGroups)},
      {"kMaxMessage", text_of(kMaxMessage)},
      {"kMaxHeaders", text_of(kMaxHeaders)},
      {"kMaxHeaderBytes", text_of(kMaxHeaderBytes)},
      {"kMaxBatch", text_of(kMaxBatch)},
      {"kMaxBatchRecords", text_of(kMaxBatchRecords)},
      {"kMaxUncompressedBatch", text_of(kMaxUncompressedBatch)},
      {"kMaxCompressionRatio", text_of(kMaxCompressionRatio)},
      {"kMinRatioBytes", text_of(kMinRatioBytes)},
      {"kMaxFailureCode", text_of(kMaxFailureCode)},
      {"kMaxFailureDetail", text_of(kMaxFailureDetail)},
      {"kMaxAttemptHistory", text_of(kMaxAttemptHistory)},
      {"kMaxDeliveries", text_of(kMaxDeliveries)},
      {"kMaxUnexplained", text_of(kMaxUnexplained)},
      {"kMaxRedrives", text_of(kMaxRedrives)},
      {"kTransientFree", text_of(kTransientFree)},
      {"kReclaimAfterRestart", text_of(kReclaimAfterRestart)},
      {"kMaxDurableProducers", text_of(kMaxDurableProducers)},
      {"kMaxSessionProducers", text_of(kMaxSessionProducers)},
      {"kProducerRecentBatches", text_of(kProducerRecentBatches)},
  };
}

TEST(Page, LimitsAreThoseOfTheCode) {
  std::map<std::string, std::string> expected = limits_of_clients();
  std::vector<Row> rows = tables("| name | value | why |");
  for (const Row& row : rows) {
    ASSERT_EQ(row.size(), 3u) << row[0];
    EXPECT_EQ(row[1], expected[row[0]]) << row[0];
    EXPECT_FALSE(row[2].empty()) << row[0];
  }
  EXPECT_EQ(rows.size(), expected.size());
}

TEST(Page, EveryLimitIsShownUnlessItIsTheStoragesOwn) {
  std::set<std::string> internal{"kMaxShards",       "kBlock",       "kFrameTarget",
                                 "kMaxJournalFrame", "kJournalFile", "kMaxFramesInFlight",
                                 "kMaxStagedBytes"};
  std::map<std::string, std::string> shown = limits_of_clients();
  std::string header = file("protocol/base/limits.h");
  std::regex constant("inline constexpr [\\w:]+ (k\\w+)");
  for (std::sregex_iterator at(header.begin(), header.end(), constant), end; at != end; ++at) {
    EXPECT_TRUE(shown.contains((*at)[1]) || internal.contains((*at)[1])) << (*at)[1];
  }
}

ByteVector bytes_of_hex(const std::string& text) {
  ByteVector bytes;
  std::stringstream in(text);
  for (std::string line; std::getline(in, line);) {
    std::stringstream words(line.substr(0, line.find('#')));
    for (std::string word; words >> word;) {
      bytes.push_back(static_cast<std::byte>(std::stoul(word, nullptr, 16)));
    }
  }
  return bytes;
}

std::string hex_of(Bytes bytes) {
  std::string text;
  for (std::byte byte : bytes) {
    char word[4];
    std::snprintf(word, sizeof word, "%02x ", static_cast<unsigned>(byte));
    text += word;
  }
  return text;
}

std::vector<ByteVector> examples_of_the_page() {
  std::vector<ByteVector> examples;
  std::string text = page();
  std::regex block("```hex\n([^`]*)```");
  for (std::sregex_iterator at(text.begin(), text.end(), block), end; at != end; ++at) {
    examples.push_back(bytes_of_hex((*at)[1]));
  }
  return examples;
}

template <class Struct>
Reply<Struct> decode_bytes(Bytes bytes, FrameDecoder decoder) {
  Result<std::vector<Frame>> frames = feed(decoder, bytes);
  if (!frames) return RequestError(frames.error());
  if (frames->size() != 1) return RequestError(Errc::kMalformedFrame, "not one frame");
  return decode_as<Struct>(frames->front());
}

TEST(Page, ItsExamplesSayWhatItSays) {
  std::vector<ByteVector> examples = examples_of_the_page();
  ASSERT_EQ(examples.size(), 2u);
  Reply<HelloRequest> hello = decode_bytes<HelloRequest>(examples[0], FrameDecoder());
  ASSERT_TRUE(hello.ok()) << to_string(hello.error());
  EXPECT_TRUE(same(*hello, example_hello()));
  Reply<PublishReply> reply = decode_bytes<PublishReply>(examples[1], decoder_after_hello());
  ASSERT_TRUE(reply.ok()) << to_string(reply.error());
  EXPECT_TRUE(same(*reply, example_publish_reply()));
}

ByteVector golden(const std::string& name) {
  return bytes_of_hex(file("tests/golden/wire_" + name + ".hex"));
}

// Other bytes for the same frame are another version of the protocol.
TEST(Golden, HelloAndPublishKeepTheirBytes) {
  EXPECT_EQ(hex_of(bytes_of(encode_request(1, example_hello()))), hex_of(golden("hello_request")));
  EXPECT_EQ(hex_of(bytes_of(encode_request(2, example_publish()))),
            hex_of(golden("publish_request")));
  EXPECT_EQ(hex_of(bytes_of(encode_reply(2, example_publish_reply()))),
            hex_of(golden("publish_reply")));
}

TEST(Golden, HelloAndPublishAreUnderstood) {
  EXPECT_TRUE(
      same(*decode_bytes<HelloRequest>(golden("hello_request"), FrameDecoder()), example_hello()));
  EXPECT_TRUE(same(*decode_bytes<PublishRequest>(golden("publish_request"), decoder_after_hello()),
                   example_publish()));
  EXPECT_TRUE(same(*decode_bytes<PublishReply>(golden("publish_reply"), decoder_after_hello()),
                   example_publish_reply()));
}

}  // namespace
}  // namespace waybill::test

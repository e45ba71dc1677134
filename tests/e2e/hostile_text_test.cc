// Goal: whatever producers, consumers and failures write, no command and no log line hands a
// terminal something that it would obey, or a reader a line that is not ours (D18, last sentence).
// Method: text that clears a screen, in every encoding of it, goes in wherever text can; every
// command that shows some of it is run, as text and as JSON, and its bytes are searched.
#include <string>
#include <vector>

#include "tests/e2e/waybill_run.h"
#include "tools/escape.h"

namespace waybill {
namespace {

/// ESC [2J, the same with the one-byte CSI in UTF-8, a reversal of the line, DEL, a new line.
const std::string kHostile =
    "\x1b[2J\xc2\x9b"
    "2J\xe2\x80\xae\x7f\nerror: forged";
/// The same as a JSON string would have it.
const std::string kHostileJson = R"(\u001b[2J\u009b2J\u202e\u007f\nerror: forged)";

class HostileText : public WaybillRun {
 protected:
  /// Nothing in it is obeyed, and no line of it is the forged one.
  static void expect_harmless(const std::string& text, const std::string& what) {
    EXPECT_EQ(text, cli::escaped_text(text)) << what;
    EXPECT_FALSE(("\n" + text).contains("\nerror: forged")) << what << " shows\n" << text;
  }
  void expect_harmless(const Words& line, int exit_code = 0) {
    std::string what;
    for (const std::string& word : line) what += word + " ";
    for (const char* format : {"text", "json", "jsonl"}) {
      Finished end = waybill(words({"-o", format}, line));
      EXPECT_EQ(end.exit_code, exit_code) << what << end;
      EXPECT_TRUE(end.out.contains("forged") || end.err.contains("forged")) << what << end;
      expect_harmless(end.out, what + format);
      expect_harmless(end.err, what + format);
      if (std::string(format) == "json" && !end.out.empty()) {
        EXPECT_NO_THROW(boost::json::parse(end.out)) << what << end;
      }
    }
  }
};

TEST_F(HostileText, NoCommandShowsItAsItIs_D18) {
  make_group("billing", {"--ordering", "key"});
  Finished published =
      waybill({"publish", "orders", "--jsonl"},
              R"({"key":")" + kHostileJson + R"(","value":{"text":")" + kHostileJson +
                  R"("},"headers":{"h)" + kHostileJson + R"(":")" + kHostileJson + "\"}}\n");
  ASSERT_EQ(published.exit_code, 0) << published;
  const std::string printed = R"(printf '\033[2J\302\2332J\342\200\256\177\nerror: forged' >&2)";
  Finished consumed =
      waybill({"consume", "billing", "--exit-at-end", "--exec", printed + "; exit 65"});
  EXPECT_EQ(consumed.exit_code, 0) << consumed;
  expect_harmless(consumed.err, "consume --exec");

  BlockingClient client(client_of(broker_, kHostile));
  ProducerId id{*parse_uuid("0191d3c4-7e2a-7c3b-9f10-5a6b7c8d9e0f")};
  ASSERT_TRUE(client.request(OpenProducerRequest{id, 1, kHostile}).ok());
  ListDeadLettersRequest list;
  list.selection.group = "billing";
  Reply<ListDeadLettersReply> listed = client.request(list);
  ASSERT_TRUE(listed.ok() && listed->dead_letters.size() == 1);
  EditDeadLetterRequest edit;
  edit.group = "billing";
  edit.id = listed->dead_letters.front().id;
  edit.message.value = to_vector(as_bytes("{\"text\": \"forged\"}"));
  edit.message.key = to_vector(as_bytes(kHostile));
  edit.message.headers.push_back({kHostile, to_vector(as_bytes(kHostile))});
  edit.by = kHostile;
  edit.note = kHostile;
  Reply<EditDeadLetterReply> edited = client.request(edit);
  ASSERT_TRUE(edited.ok()) << to_string(edited.error());

  expect_harmless({"dlq", "list", "billing"});
  expect_harmless({"dlq", "show", "billing/0-1"});
  expect_harmless({"dlq", "edit", "billing/0-1", "--set-header", "a=b", "--dry-run"});
  expect_harmless({"producer", "list"});
  expect_harmless({"topic", "describe", kHostile}, 3);
  expect_harmless({"group", "describe", kHostile}, 3);
  expect_harmless({"dlq", "list", kHostile}, 3);
  expect_harmless({"--user", kHostile, "consume", kHostile}, 3);
}

TEST_F(HostileText, TheLogOfTheBrokerHasOneLineForEachEvent_D18) {
  broker_.kill();
  BrokerProcess chatty(broker_on(directory_.path() / "data", {"--log-level", "debug"}));
  ASSERT_TRUE(chatty.start());
  ClientOptions options = client_of(chatty, kHostile);
  options.user = kHostile;
  BlockingClient client(options);
  ASSERT_TRUE(client.request(MetadataRequest{}).ok());
  EXPECT_EQ(chatty.stop(), 0);
  EXPECT_TRUE(chatty.log().contains("forged")) << "the test shows nothing\n" << chatty.log();
  expect_harmless(chatty.log(), "log");
}

}  // namespace
}  // namespace waybill

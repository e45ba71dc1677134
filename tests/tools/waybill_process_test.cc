// Goal: the program `waybill` as a person or a script meets it: what it prints where, its exit
// codes, and the whole way of a message through failure, fix and redrive. Method: the real waybilld
// on a free port, the real waybill through sh; outputs are compared.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "tests/support/broker_process.h"

namespace waybill {
namespace {

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};

class WaybillProcessTest : public testing::Test {
 protected:
  WaybillProcessTest()
      : broker_({.data_directory = directory_.path() / "data",
                 .arguments = {"--shards", "1", "--journal-file-size", "9MiB"},
                 .program = {}}) {}

  void SetUp() override { ASSERT_TRUE(broker_.start()); }

  /// `words` as they stand in a shell after "waybill"; $WAYBILL is the program.
  Outcome waybill(const std::string& words) { return shell("\"$WAYBILL\" " + words); }

  Outcome shell(const std::string& script) {
    std::string out = directory_.path() / "out";
    std::string err = directory_.path() / "err";
    std::string variables =
        "export WAYBILL='" WAYBILL_BINARY_DIR "/bin/waybill' WAYBILL_BROKER=" + broker_.address() +
        " TMPDIR='" + directory_.path().string() + "'\n";
    std::string redirected = "{ " + script + "\n} >'" + out + "' 2>'" + err + "' </dev/null";
    int status = std::system((variables + redirected).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, content(out), content(err)};
  }

  static std::string content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  void create_topic_and_group(const std::string& policy = "--max-failures 2") {
    ASSERT_EQ(waybill("topic create orders").code, 0);
    Outcome group = waybill(
        "group create billing --topic orders --ordering none --start earliest "
        "--backoff-base 10ms --jitter none " +
        policy);
    ASSERT_EQ(group.code, 0) << group.err;
  }

  TempDirectory directory_;
  BrokerProcess broker_;
};

TEST_F(WaybillProcessTest, AMessageFailsIsFixedRedrivenAndAcknowledged) {
  create_topic_and_group();
  Outcome published = shell(R"(printf '%s\n' '{"key":"a","value":{"n":1}}' '{"value":{"n":"x"}}' |
      "$WAYBILL" publish orders --jsonl -o jsonl)");
  EXPECT_EQ(published.code, 0) << published.err;
  EXPECT_EQ(published.out,
            "{\"topic\":\"orders\",\"partition\":0,\"offset\":0,\"duplicate\":false}\n"
            "{\"topic\":\"orders\",\"partition\":0,\"offset\":1,\"duplicate\":false}\n");
  std::string handler = R"sh('case "$(cat)" in *x*) echo "bad_number: x" >&2; exit 1;; esac')sh";
  Outcome consumed = waybill("consume billing --exit-at-end --exec " + handler);
  EXPECT_EQ(consumed.code, 0) << consumed.err;
  EXPECT_TRUE(consumed.err.contains("1 ack, 2 retry")) << consumed.err;

  Outcome listed = waybill("dlq list billing -o jsonl");
  EXPECT_TRUE(listed.out.contains(R"("id":"billing/0-1")")) << listed.out;
  EXPECT_TRUE(listed.out.contains(R"("code":"bad_number")")) << listed.out;
  Outcome dry = waybill("dlq edit billing/0-1 --jq '.n = 2' --dry-run");
  EXPECT_EQ(dry.code, 0);
  EXPECT_EQ(dry.out, "billing/0-1\n  key: -\n  value:\n  {\n-   \"n\": \"x\"\n+   \"n\": 2\n  }\n");
  EXPECT_EQ(waybill("dlq edit billing --code bad_number --jq '.n = 2'").code, 2) << "no --yes";
  Outcome fixed = waybill("dlq edit billing --code bad_number --jq '.n = 2' --yes -o jsonl");
  EXPECT_EQ(fixed.out, "{\"id\":\"billing/0-1\",\"version\":1}\n") << fixed.err;
  Outcome redriven = waybill("dlq redrive billing --all --yes -o json");
  EXPECT_EQ(redriven.out, "{\"redriven\":1,\"skipped\":0}\n") << redriven.err;
  Outcome again = waybill("consume billing --exit-at-end");
  EXPECT_EQ(again.out, "{\"n\":2}\n") << again.err;
  Outcome described = waybill("group describe billing -o json");
  EXPECT_EQ(described.code, 0);
  EXPECT_TRUE(described.out.contains(
      R"("done":2,"ready":0,"scheduled":0,"leased":0,"delayed":0,"held":0,"dead":0)"))
      << described.out;
}

TEST_F(WaybillProcessTest, ExitCodesTellWhatKindOfFailureItWas) {
  EXPECT_EQ(waybill("topic lst").code, 2);
  Outcome unknown = waybill("topic describe orders");
  EXPECT_EQ(unknown.code, 3);
  EXPECT_EQ(unknown.out, "");
  create_topic_and_group();
  EXPECT_TRUE(waybill("topic describe order").err.contains("did you mean"));
  EXPECT_TRUE(waybill("consume biling --exit-at-end").err.contains("did you mean"));
  EXPECT_EQ(waybill("consume biling --exit-at-end").code, 3);
  EXPECT_EQ(waybill("dlq show billing/0-7").code, 3);
  EXPECT_EQ(waybill("topic create orders --partitions 5").code, 1);
  EXPECT_EQ(waybill("publish orders /no/such/file").code, 3);
  Outcome partly = shell(R"(printf '{"value":1}\n{oops\n' | "$WAYBILL" publish orders --jsonl)");
  EXPECT_EQ(partly.code, 4);
  EXPECT_TRUE(partly.err.contains("line 2")) << partly.err;
  broker_.kill();
  Outcome gone = waybill("topic list");
  EXPECT_EQ(gone.code, 5);
  EXPECT_TRUE(gone.err.contains("--broker")) << gone.err;
}

TEST_F(WaybillProcessTest, AJqRuleThatCannotWorkIsExplainedAndChangesNothing_D17) {
  create_topic_and_group();
  shell(R"(echo '{"id":12345678901234567890}' | "$WAYBILL" publish orders)");
  waybill("consume billing --exit-at-end --exec 'exit 65'");
  Outcome broken = waybill("dlq edit billing --all --jq '.a =' --yes");
  EXPECT_EQ(broken.code, 2);
  EXPECT_TRUE(broken.err.contains("does not compile")) << broken.err;
  EXPECT_TRUE(waybill("dlq edit billing --all --jq empty --allow-reencode --yes")
                  .err.contains("yields nothing"));
  Outcome lossy = waybill("dlq edit billing --all --jq '.a = 1' --yes");
  EXPECT_EQ(lossy.code, 1);
  EXPECT_TRUE(lossy.err.contains("--allow-reencode")) << lossy.err;
  EXPECT_TRUE(waybill("dlq list billing -o jsonl").out.contains(R"("version_count":1)"));
  EXPECT_EQ(waybill("dlq edit billing --all --set-header a=b --yes").code, 0);
  EXPECT_TRUE(waybill("dlq show billing/0-1").out.contains("12345678901234567890"));
}

TEST_F(WaybillProcessTest, AnEditorFixesOneDeadLetter) {
  create_topic_and_group();
  shell(R"(echo '{"a":1,"s":"<none>"}' | "$WAYBILL" publish orders)");
  waybill("consume billing --exit-at-end --exec 'exit 65'");
  Outcome broken = shell("EDITOR='truncate -s 3' \"$WAYBILL\" dlq edit billing/0-1 --yes");
  EXPECT_NE(broken.code, 0);
  EXPECT_TRUE(broken.err.contains("not JSON")) << broken.err;
  EXPECT_NE(shell("EDITOR=false \"$WAYBILL\" dlq edit billing/0-1 --yes").code, 0);
  Outcome fixed = shell("EDITOR='sed -i s/none/some/' \"$WAYBILL\" dlq edit billing/0-1 --yes");
  EXPECT_EQ(fixed.code, 0) << fixed.err;
  EXPECT_EQ(waybill("dlq redrive billing/0-1 --yes").code, 0);
  EXPECT_EQ(waybill("consume billing --exit-at-end").out, "{\"a\":1,\"s\":\"<some>\"}\n");
}

TEST_F(WaybillProcessTest, AWorkerThatCrashesOnOneMessageServesTheOthers) {
  create_topic_and_group();
  shell(R"(printf 'one\ntwo\nthree\n' | "$WAYBILL" publish orders)");
  std::string worker = R"sh('while read -r line; do
      case "$line" in *two*) echo "broke: on two" >&2; exit 3;; esac
      id=$(printf %s "$line" | sed "s/.*\"id\":\"\([^\"]*\)\".*/\1/")
      echo "{\"id\":\"$id\",\"result\":\"ack\"}"
    done')sh";
  Outcome consumed = waybill("consume billing --exit-at-end --worker " + worker);
  EXPECT_EQ(consumed.code, 0) << consumed.err;
  EXPECT_TRUE(consumed.err.contains("2 ack, 2 retry")) << consumed.err;
  Outcome listed = waybill("dlq list billing -o jsonl");
  EXPECT_TRUE(listed.out.contains(R"("offset":1)")) << listed.out;
  EXPECT_TRUE(listed.out.contains("worker_ended")) << listed.out;
}

TEST_F(WaybillProcessTest, AReaderThatLeavesEndsConsumptionWithoutLosingAMessage) {
  create_topic_and_group();
  shell(R"(seq 1 500 | "$WAYBILL" publish orders)");
  Outcome first = shell(R"("$WAYBILL" consume billing | head -n 3)");
  EXPECT_EQ(first.out, "1\n2\n3\n");
  Outcome rest = waybill("consume billing --exit-at-end");
  EXPECT_EQ(rest.code, 0);
  EXPECT_TRUE(rest.out.ends_with("500\n"));
  // What was printed into the closed pipe may come again; what was never printed must come.
  EXPECT_TRUE(waybill("group describe billing -o json").out.contains(R"("done":500)"));
}

TEST_F(WaybillProcessTest, AnInterruptFinishesTheRunningProgramAndReleasesTheRest) {
  create_topic_and_group();
  shell(R"(seq 1 3 | "$WAYBILL" publish orders)");
  // The program itself interrupts waybill, so no time is measured; its own exit code still counts.
  Outcome interrupted =
      shell(R"("$WAYBILL" consume billing --exec 'kill -INT $PPID; cat >/dev/null; exit 0')");
  EXPECT_EQ(interrupted.code, 0) << interrupted.err;
  EXPECT_TRUE(interrupted.err.contains("1 ack")) << interrupted.err;
  Outcome described = waybill("group describe billing -o json");
  EXPECT_TRUE(described.out.contains(R"("done":1,"ready":2,"scheduled":0,"leased":0)"))
      << described.out;
}

TEST_F(WaybillProcessTest, ReadingAndPublishingAgainKeepsMessages) {
  ASSERT_EQ(waybill("topic create orders").code, 0);
  ASSERT_EQ(waybill("topic create copy").code, 0);
  shell(
      R"(printf '%s\n' '{"key_base64":"/wA=","value":"a\nb","headers":{"h":"1"}}' '{"value":null}' |
      "$WAYBILL" publish orders --jsonl)");
  std::string read = "consume --from earliest --exit-at-end -o jsonl --topic ";
  Outcome copied = shell("\"$WAYBILL\" " + read + "orders | \"$WAYBILL\" publish copy --jsonl");
  EXPECT_EQ(copied.code, 0) << copied.err;
  Outcome copy = waybill(read + "copy");
  EXPECT_TRUE(copy.out.contains(R"("key_base64":"/wA=","value":"a\nb","headers":{"h":"1"})"))
      << copy.out;
  EXPECT_TRUE(copy.out.contains(R"("key":null,"value":null)")) << copy.out;
}

TEST_F(WaybillProcessTest, ATopicSaysHowLongItKeepsMessagesAndChangesIt) {
  ASSERT_EQ(waybill("topic create orders --retention 2h").code, 0);
  EXPECT_EQ(waybill("topic create orders").code, 0) << "what is not said is as it is";
  EXPECT_EQ(waybill("topic create orders --retention 3h").code, 1);
  Outcome set = waybill("topic set orders --drop-after 1d --drop-above 10MiB");
  EXPECT_EQ(set.code, 0) << set.err;
  EXPECT_TRUE(
      set.out.contains("kept for 2h and until every group is done; dropped after 1d; "
                       "dropped above 10MiB in a partition"))
      << set.out;
  Outcome described = waybill("topic describe orders -o json");
  EXPECT_TRUE(described.out.contains(
      R"("policy":{"retention_ms":7200000,"drop_after_ms":86400000,"drop_above":10485760,)"
      R"("cleanup":"delete","tombstone_delay_ms":86400000})"))
      << described.out;
  EXPECT_EQ(waybill("topic set orders --drop-after 1h").code, 1) << "shorter than it is kept";
  EXPECT_EQ(waybill("topic set orders --retention soon").code, 2);
}

TEST_F(WaybillProcessTest, ACompactedTopicSaysSoAndWantsAKeyInEveryMessageS23) {
  ASSERT_EQ(waybill("topic create state --cleanup compact --tombstone-delay 1h").code, 0);
  Outcome described = waybill("topic describe state");
  EXPECT_TRUE(described.out.contains("the latest of each key is kept, tombstones for 1h"))
      << described.out;
  Outcome refused = shell("echo value | \"$WAYBILL\" publish state");
  EXPECT_NE(refused.code, 0);
  EXPECT_TRUE(refused.err.contains("give every message a key")) << refused.err;
  Outcome published = shell(R"(printf '{"key":"a","value":"1"}\n{"key":"a","value":null}\n' | )"
                            R"("$WAYBILL" publish state --jsonl)");
  EXPECT_EQ(published.code, 0) << published.err;
  Outcome set = waybill("topic set state --cleanup compact,delete --retention 2h");
  EXPECT_TRUE(
      set.out.contains("the latest of each key is kept, tombstones for 1h; "
                       "kept for 2h and until every group is done"))
      << set.out;
  EXPECT_EQ(waybill("topic set state --cleanup both").code, 2);
}

TEST_F(WaybillProcessTest, ADatabaseWithoutAnOutboxIsExplained) {
  Outcome missing = waybill("outbox status --db no.db");
  EXPECT_EQ(missing.code, 3) << missing.err;
  Outcome empty = shell(": > $TMPDIR/empty.db; \"$WAYBILL\" outbox status --db $TMPDIR/empty.db");
  EXPECT_EQ(empty.code, 1);
  EXPECT_TRUE(empty.err.contains("waybill outbox ddl")) << empty.err;
  EXPECT_EQ(waybill("outbox ddl oracle").code, 2);
  EXPECT_TRUE(waybill("outbox ddl sqlite").out.contains("CREATE TABLE"));
}

TEST_F(WaybillProcessTest, DestructionNeedsAYesAndSaysWhatItDestroys) {
  create_topic_and_group();
  shell(R"(seq 1 3 | "$WAYBILL" publish orders)");
  waybill("consume billing --exit-at-end --exec 'exit 65'");
  Outcome asked = waybill("group delete billing");
  EXPECT_EQ(asked.code, 2);
  EXPECT_TRUE(asked.err.contains("3 dead letters")) << asked.err;
  EXPECT_NE(waybill("group delete billing --yes").code, 0) << "open dead letters (D15)";
  EXPECT_EQ(waybill("dlq discard billing --all --reason test --yes -o json").out,
            "{\"discarded\":3,\"skipped\":0}\n");
  EXPECT_EQ(waybill("group delete billing --yes").code, 0);
  EXPECT_EQ(waybill("topic delete orders --yes").code, 0);
  EXPECT_EQ(waybill("topic list -o json").out, "[]\n");
}

}  // namespace
}  // namespace waybill

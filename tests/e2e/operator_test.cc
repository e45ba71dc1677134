// Goal: an operator stops a group and lets it go on, moves it, sees why it stands still and that
// every message is accounted for (D9, D13, D15, D19); publishers say when (D8, D12).
// Method: the real waybill against the real waybilld; JSON of one command is compared with what
// another one did.
#include <boost/json.hpp>
#include <fstream>
#include <string>
#include <vector>

#include "tests/e2e/waybill_run.h"

namespace waybill {
namespace {

class Operator : public WaybillRun {
 protected:
  /// All that is ready, printed; the group's lines.
  std::string consume_all() {
    Finished end = waybill({"consume", "billing", "--exit-at-end"});
    EXPECT_EQ(end.exit_code, 0) << end;
    return end.out;
  }
  std::string waiting_for() { return std::string(in_partition("waiting_for").as_string()); }
};

TEST_F(Operator, APausedGroupWaitsUntilItIsResumed_D9) {
  make_group();
  Finished paused = waybill({"group", "pause", "billing"});
  EXPECT_EQ(paused.exit_code, 0) << paused;
  EXPECT_TRUE(paused.out.contains("'waybill group resume billing'")) << paused;
  publish("1\n");
  std::unique_ptr<Program> consumer = start({"consume", "billing"});
  EXPECT_TRUE(comes_true(
      [&] { return json_of({"group", "describe", "billing"}).at("consumers").as_int64() == 1; }));
  EXPECT_TRUE(comes_true([&] { return consumer->errors().contains("PAUSED"); }))
      << "who sees nothing come is told why";
  EXPECT_EQ(waiting_for(), "paused");
  EXPECT_EQ(count("ready"), 1);
  EXPECT_TRUE(waybill({"group", "list"}).out.contains("paused"));
  EXPECT_EQ(waybill({"group", "resume", "billing"}).exit_code, 0);
  EXPECT_EQ(consumer->read_line(), "1");
  consumer->signal(SIGINT);
  EXPECT_EQ(consumer->finish().exit_code, 0);
}

TEST_F(Operator, AnOpenedBrakeHoldsEverythingUntilItIsLeftToTheBroker_D13) {
  make_group();
  publish("1\n");
  EXPECT_EQ(waybill({"group", "brake", "billing", "open"}).exit_code, 0);
  boost::json::value brake = json_of({"group", "describe", "billing"}).at("brake");
  EXPECT_EQ(brake.at("mode").as_string(), "forced open");
  std::unique_ptr<Program> consumer = start({"consume", "billing"});
  EXPECT_TRUE(comes_true([&] { return waiting_for() == "braked"; }));
  EXPECT_TRUE(waybill({"group", "describe", "billing"}).out.contains("BRAKE"));
  EXPECT_EQ(waybill({"group", "brake", "billing", "auto"}).exit_code, 0);
  EXPECT_EQ(consumer->read_line(), "1");
  consumer->signal(SIGINT);
  EXPECT_EQ(consumer->finish().exit_code, 0);
}

TEST_F(Operator, AGroupWhoseHandlerAlwaysFailsBrakesItself_D13) {
  make_group("billing",
             {"--ordering", "none", "--brake-in-a-row", "3", "--brake-probe-after", "1h"});
  publish("1\n2\n3\n4\n5\n6\n7\n8\n");
  std::unique_ptr<Program> consumer = start({"consume", "billing", "--exec", "exit 1"});
  EXPECT_TRUE(comes_true([&] {
    return json_of({"group", "describe", "billing"}).at("brake").at("state").as_string() == "open";
  }));
  consumer->signal(SIGINT);
  EXPECT_EQ(consumer->finish().exit_code, 0);
  Finished shown = waybill({"group", "describe", "billing"});
  EXPECT_TRUE(shown.out.contains("BRAKE           open since")) << shown;
  EXPECT_LT(count("dead"), 8) << "the topic was not drained into the dead letters";
}

TEST_F(Operator, ABrakeClosesByItselfOnceProbesSucceed_D13) {
  make_group("billing", {"--ordering", "none", "--brake-in-a-row", "3", "--brake-probe-after",
                         "50ms", "--brake-probes", "2"});
  // So long that none fails twice before the brake trips.
  ASSERT_EQ(waybill({"group", "set", "billing", "--backoff-base", "2s"}).exit_code, 0);
  publish("1\n2\n3\n4\n5\n6\n7\n8\n");
  std::string repaired = (directory_.path() / "repaired").string();
  std::unique_ptr<Program> consumer =
      start({"consume", "billing", "--exec", "test -e " + repaired});
  auto brake = [&] {
    return json_of({"group", "describe", "billing"}).at("brake").at("state").as_string();
  };
  EXPECT_TRUE(comes_true([&] { return brake() != "closed"; }));
  std::ofstream(repaired) << "now it works\n";
  EXPECT_TRUE(comes_true([&] { return count("done") == 8; }));
  EXPECT_EQ(brake(), "closed");
  consumer->signal(SIGINT);
  EXPECT_EQ(consumer->finish().exit_code, 0);
}

TEST_F(Operator, TheEndIsNotWaitedForWhereOnlyAPersonCanBringIt) {
  make_group();
  publish("1\n");
  ASSERT_EQ(waybill({"group", "pause", "billing"}).exit_code, 0);
  Finished paused = waybill({"consume", "billing", "--exit-at-end"});
  EXPECT_EQ(paused.exit_code, 1) << paused;
  EXPECT_TRUE(paused.err.contains("'waybill group resume billing'")) << paused;
  ASSERT_EQ(waybill({"group", "resume", "billing"}).exit_code, 0);
  ASSERT_EQ(waybill({"group", "brake", "billing", "open"}).exit_code, 0);
  Finished braked = waybill({"consume", "billing", "--exit-at-end"});
  EXPECT_EQ(braked.exit_code, 1) << braked;
  EXPECT_TRUE(braked.err.contains("'waybill group brake billing auto'")) << braked;
  EXPECT_EQ(count("ready"), 1);
  EXPECT_EQ(count("failures"), 0);
}

TEST_F(Operator, AnOpenBrakeGetsOneProbeBeforeTheEndIsGivenUp_D13) {
  make_group("billing", {"--ordering", "none", "--brake-in-a-row", "3", "--brake-probe-after",
                         "20ms", "--brake", "on"});
  ASSERT_EQ(waybill({"group", "set", "billing", "--backoff-base", "300ms"}).exit_code, 0);
  publish("1\n2\n3\n4\n5\n6\n7\n8\n");
  Finished end = waybill({"consume", "billing", "--exec", "exit 1", "--exit-at-end"});
  EXPECT_EQ(end.exit_code, 4) << end;
  EXPECT_TRUE(end.err.contains("the group's brake is open")) << end;
  EXPECT_LT(count("dead"), 8);
  Finished repaired = waybill({"consume", "billing", "--exec", "true", "--exit-at-end"});
  EXPECT_EQ(repaired.exit_code, 0) << repaired;
  EXPECT_EQ(count("ready"), 0);
}

TEST_F(Operator, AFullHoldEndsTheRunAndSaysWhatGivesRoom_D12) {
  make_group("billing", {"--ordering", "key", "--on-dead-letter", "hold", "--max-held", "1"});
  Words publish_keyed{"publish", "orders", "--key-separator", "="};
  ASSERT_EQ(waybill(publish_keyed, "a=bad\n").exit_code, 0);
  Words consume{"consume", "billing", "--exec", "exit 65", "--exit-at-end"};
  ASSERT_EQ(waybill(consume).exit_code, 0);
  ASSERT_EQ(waybill(publish_keyed, "a=a2\na=a3\nb=b1\n").exit_code, 0);
  Finished end = waybill(consume);
  EXPECT_EQ(end.exit_code, 1) << end;
  EXPECT_TRUE(end.err.contains("--max-held")) << end;
  EXPECT_EQ(count("dead"), 1);
  ASSERT_EQ(waybill({"dlq", "discard", "billing", "--all", "--reason", "no", "--yes"}).exit_code,
            0);
  EXPECT_EQ(waybill({"consume", "billing", "--exit-at-end"}).exit_code, 0);
}

TEST_F(Operator, AnErasedDeadLetterIsToldAsSuchAndNothingOfItIsShown_D18) {
  make_group();
  publish("secret 1\nsecret 2\nsecret 3\n");
  ASSERT_EQ(waybill({"consume", "billing", "--exec", "exit 65", "--exit-at-end"}).exit_code, 0);
  const Words erase{"dlq", "discard", "billing", "0-1", "0-2", "--reason", "asked", "--erase"};
  Words with_yes = erase;
  with_yes.emplace_back("--yes");
  EXPECT_NE(waybill(erase).exit_code, 0) << "nobody said yes";
  EXPECT_TRUE(waybill({"dlq", "show", "billing/0-1"}).out.contains("secret 1"));
  Finished erased = waybill(with_yes);
  EXPECT_EQ(erased.exit_code, 0) << erased;
  EXPECT_EQ(erased.out, "erased 2\n");
  EXPECT_TRUE(erased.err.contains("until its retention ends")) << erased;

  Finished shown = waybill({"dlq", "show", "billing/0-1"});
  EXPECT_TRUE(shown.out.contains("discarded, erased")) << shown;
  EXPECT_FALSE(shown.out.contains("secret")) << shown;
  EXPECT_TRUE(json_of({"dlq", "show", "billing/0-1"}).at("erased").as_bool());
  EXPECT_TRUE(waybill({"dlq", "show", "billing/0-3"}).out.contains("secret 3"));
  Finished again = waybill(with_yes);
  EXPECT_NE(again.exit_code, 0) << again;
  EXPECT_TRUE(again.err.contains("erased already")) << again;
  Finished redrive = waybill({"dlq", "redrive", "billing/0-1", "--yes"});
  EXPECT_NE(redrive.exit_code, 0) << redrive;
  EXPECT_TRUE(redrive.err.contains("was erased")) << redrive;
  Finished edit = waybill({"dlq", "edit", "billing/0-1", "--set-header", "a=b", "--yes"});
  EXPECT_NE(edit.exit_code, 0) << edit;
  EXPECT_EQ(count("discarded"), 2);
  EXPECT_EQ(count("dead"), 1);
}

TEST_F(Operator, AResetSaysWhatItWouldDoAndDoesItWithYes_D15) {
  make_group();
  publish("1\n2\n3\n");
  ASSERT_EQ(consume_all(), "1\n2\n3\n");
  Finished dry = waybill({"group", "reset", "billing", "--to", "1"});
  EXPECT_EQ(dry.exit_code, 0) << dry;
  EXPECT_TRUE(dry.out.starts_with("would reset billing to offset 1\n")) << dry;
  EXPECT_TRUE(dry.err.contains("--yes")) << dry;
  EXPECT_EQ(count("done"), 3);

  boost::json::value done = json_of({"group", "reset", "billing", "--to", "1", "--yes"});
  EXPECT_TRUE(done.at("done").as_bool());
  EXPECT_EQ(done.at("partitions").at(0).at("redelivered").as_int64(), 2);
  EXPECT_EQ(consume_all(), "2\n3\n");

  publish("4\n5\n");
  boost::json::value skipped = json_of({"group", "reset", "billing", "--to", "latest", "--yes"});
  EXPECT_EQ(skipped.at("partitions").at(0).at("skipped").as_int64(), 2);
  EXPECT_EQ(consume_all(), "");
  EXPECT_EQ(json_of({"group", "describe", "billing"}).at("epoch").as_int64(), 2);
}

TEST_F(Operator, AResetLeavesDeadLettersUnlessTheyAreIncluded_D15) {
  make_group();
  publish("1\n2\n");
  ASSERT_EQ(waybill({"consume", "billing", "--exec", "exit 65", "--exit-at-end"}).exit_code, 0);
  boost::json::value kept = json_of({"group", "reset", "billing", "--to", "earliest", "--yes"});
  EXPECT_EQ(kept.at("partitions").at(0).at("dead_kept").as_int64(), 2);
  EXPECT_EQ(count("dead"), 2);
  EXPECT_EQ(consume_all(), "");
  json_of({"group", "reset", "billing", "--to", "earliest", "--include-dead", "--yes"});
  EXPECT_EQ(count("dead"), 0);
  EXPECT_EQ(consume_all(), "1\n2\n");
}

TEST_F(Operator, ACheckCountsEveryMessageAnew_D19) {
  make_group();
  publish("1\n2\n3\n");
  ASSERT_EQ(
      waybill({"consume", "billing", "--exec", "read x; test $x != 2 || exit 65", "--exit-at-end"})
          .exit_code,
      0);
  publish("4\n");
  Finished check = waybill({"group", "check", "billing"});
  EXPECT_EQ(check.exit_code, 0) << check;
  EXPECT_TRUE(check.out.contains("counted 4 messages of billing one by one")) << check;
  boost::json::value checked = json_of({"group", "check", "billing"});
  EXPECT_TRUE(checked.at("agrees").as_bool());
  EXPECT_EQ(checked.at("partitions").at(0).at("counted").at("dead").as_int64(), 1);
  EXPECT_EQ(waybill({"group", "check", "biling"}).exit_code, 3);
}

TEST_F(Operator, AMessageWaitsForItsTimeAndIsDroppedAfterIt) {
  make_group();
  ASSERT_EQ(waybill({"publish", "orders", "--delay", "1h"}, "later\n").exit_code, 0);
  ASSERT_EQ(waybill({"publish", "orders", "--at", "2020-01-01"}, "past\n").exit_code, 0);
  ASSERT_EQ(waybill({"publish", "orders", "--expires", "2020-01-01"}, "gone\n").exit_code, 0);
  ASSERT_EQ(waybill({"publish", "orders", "--expires", "1h"}, "fresh\n").exit_code, 0);
  EXPECT_EQ(consume_all(), "past\nfresh\n");
  EXPECT_EQ(count("scheduled"), 1);
  EXPECT_EQ(count("expired"), 1);
  Finished check = waybill({"group", "check", "billing"});
  EXPECT_EQ(check.exit_code, 0) << check;
}

TEST_F(Operator, ExpiryMakesADeadLetterIfThePolicySaysSo) {
  make_group("billing", {"--ordering", "none", "--on-expiry", "dead-letter"});
  ASSERT_EQ(waybill({"publish", "orders", "--expires", "2020-01-01"}, "gone\n").exit_code, 0);
  EXPECT_EQ(consume_all(), "");
  EXPECT_EQ(count("dead"), 1);
  boost::json::value list = json_of({"dlq", "list", "billing"});
  EXPECT_EQ(list.at("dead_letters").at(0).at("reason").as_string(), "expired");
}

TEST_F(Operator, WithHoldWhatFollowsADeadLetterOfItsKeyGoesOnAfterTheRedrive_D12) {
  make_group("billing", {"--ordering", "key", "--on-dead-letter", "hold"});
  ASSERT_EQ(
      waybill({"publish", "orders", "--key-separator", "="}, "a=bad\na=a2\nb=b1\na=a3\nb=b2\n")
          .exit_code,
      0);
  ASSERT_EQ(waybill({"consume", "billing", "--exec", "read x; test $x != bad || exit 65",
                     "--exit-at-end"})
                .exit_code,
            0);
  EXPECT_EQ(count("done"), 2) << "b1 and b2";
  EXPECT_EQ(count("held"), 2) << "a2 and a3";
  EXPECT_EQ(count("dead"), 1);
  ASSERT_EQ(waybill({"dlq", "redrive", "billing", "--all", "--yes"}).exit_code, 0);
  EXPECT_EQ(consume_all(), "bad\na2\na3\n");
  EXPECT_EQ(count("done"), 5);
}

TEST_F(Operator, APartitionInOrderWaitsForEachMessageWhateverBecomesOfIt_D8) {
  make_group("billing", {"--ordering", "partition"});
  publish("1\n2\n3\n4\n");
  std::string log = (directory_.path() / "log").string();
  // 2 fails once; 3 is invalid, and nothing of it holds up 4.
  Finished end = waybill({"consume", "billing", "--concurrency", "3", "--exit-at-end", "--exec",
                          "read x; echo $x >> " + log + "; case $x in 2) test -e " + log +
                              ".2 || { touch " + log + ".2; exit 1; };; 3) exit 65;; esac"});
  EXPECT_EQ(end.exit_code, 0) << end;
  std::ifstream lines(log);
  std::vector<std::string> handled;
  for (std::string line; std::getline(lines, line);) handled.push_back(line);
  EXPECT_EQ(handled, (std::vector<std::string>{"1", "2", "2", "3", "4"})) << end;
  EXPECT_EQ(count("done"), 3);
  EXPECT_EQ(count("dead"), 1);
}

TEST_F(Operator, ProducersAreListedAndRemoved_D21) {
  BlockingClient client(client_of(broker_));
  ProducerId id{*parse_uuid("0191d3c4-7e2a-7c3b-9f10-5a6b7c8d9e0f")};
  ASSERT_TRUE(client.request(OpenProducerRequest{id, 3, "lane \x1b[2J"}).ok());
  boost::json::value listed = json_of({"producer", "list"});
  ASSERT_EQ(listed.as_array().size(), 1U);
  EXPECT_EQ(listed.at(0).at("id").as_string(), to_string(id.uuid));
  EXPECT_EQ(listed.at(0).at("epoch").as_int64(), 3);
  Finished shown = waybill({"producer", "list"});
  EXPECT_TRUE(shown.out.contains("lane \\x1b[2J")) << shown;

  EXPECT_EQ(waybill({"producer", "remove", "no-id", "--yes"}).exit_code, 2);
  std::string other = "0191d3c4-7e2a-7c3b-9f10-5a6b7c8d9e10";
  EXPECT_EQ(waybill({"producer", "remove", other, "--yes"}).exit_code, 3);
  EXPECT_EQ(waybill({"producer", "remove", to_string(id.uuid)}).exit_code, 2) << "no --yes";
  Finished removed = waybill({"producer", "remove", to_string(id.uuid), "--yes"});
  EXPECT_EQ(removed.exit_code, 0) << removed;
  EXPECT_TRUE(json_of({"producer", "list"}).as_array().empty());
}

}  // namespace
}  // namespace waybill

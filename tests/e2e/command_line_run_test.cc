// Goal: a stranger with a shell gets along: help, mistakes, pipes, scripts, handlers and Ctrl-C all
// end as documented, with the exit codes of `waybill --help`.
// Method: the real waybill against the real waybilld; exit codes, stdout and stderr are compared.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/e2e/bystander.h"
#include "tests/e2e/program.h"
#include "tests/e2e/waybill_run.h"

namespace waybill {
namespace {

namespace json = boost::json;

const std::vector<Words> kCommands{{"topic", "create"},
                                   {"topic", "list"},
                                   {"topic", "describe"},
                                   {"topic", "delete"},
                                   {"publish"},
                                   {"group", "create"},
                                   {"group", "set"},
                                   {"group", "list"},
                                   {"group", "describe"},
                                   {"group", "check"},
                                   {"group", "pause"},
                                   {"group", "resume"},
                                   {"group", "brake"},
                                   {"group", "reset"},
                                   {"producer", "list"},
                                   {"producer", "remove"},
                                   {"group", "delete"},
                                   {"consume"},
                                   {"dlq", "list"},
                                   {"dlq", "show"},
                                   {"dlq", "edit"},
                                   {"dlq", "redrive"},
                                   {"dlq", "discard"},
                                   {"outbox", "ddl"},
                                   {"outbox", "relay"},
                                   {"outbox", "status"},
                                   {"outbox", "pause"},
                                   {"outbox", "resume"},
                                   {"storage", "info"},
                                   {"storage", "check"},
                                   {"storage", "dump"},
                                   {"storage", "probe"},
                                   {"bench", "publish"},
                                   {"bench", "e2e"},
                                   {"bench", "consume"},
                                   {"bench", "compare"},
                                   {"topic"},
                                   {"producer"},
                                   {"group"},
                                   {"dlq"},
                                   {"outbox"},
                                   {"storage"},
                                   {}};

// --- without a broker ---

TEST(WaybillAlone, EveryCommandExplainsItselfAndItsExitCodes) {
  for (const Words& command : kCommands) {
    Words line = words({"waybill"}, command);
    line.emplace_back("--help");
    Finished help = run(line);
    EXPECT_EQ(help.exit_code, 0) << help;
    EXPECT_EQ(help.err, "");
    EXPECT_TRUE(help.out.contains("Usage:")) << help;
    for (const char* row : {"Exit codes:", "\n  0  ", "\n  2  ", "\n  5  "}) {
      EXPECT_TRUE(help.out.contains(row)) << row << help;
    }
  }
  Finished daemon = run({"waybilld", "--help"});
  EXPECT_EQ(daemon.exit_code, 0);
  EXPECT_TRUE(daemon.out.contains("Exit codes:")) << daemon;
}

TEST(WaybillAlone, MistakesAreUsageErrorsWithASuggestion) {
  const std::vector<std::pair<Words, const char*>> mistakes = {
      {{"topik", "list"}, "did you mean 'topic'?"},
      {{"topic", "lsit"}, "did you mean 'list'?"},
      {{"topic", "create", "x", "--partiton", "2"}, "did you mean '--partitions'?"},
      {{"consume", "g", "--exce", "true"}, "did you mean '--exec'?"},
      {{"consume"}, "--help"},
      {{}, "--help"}};
  for (const auto& [line, said] : mistakes) {
    Finished end = run(words({"waybill"}, line));
    EXPECT_EQ(end.exit_code, 2) << end;
    EXPECT_TRUE(end.err.contains(said)) << said << end;
    EXPECT_EQ(end.out, "");
  }
}

TEST(WaybillAlone, WithoutABrokerItSaysHowToStartOne) {
  // A port that was free a moment ago: bound, never listened on, by this test until its end.
  int holder = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(holder, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t size = sizeof address;
  ASSERT_EQ(getsockname(holder, reinterpret_cast<sockaddr*>(&address), &size), 0);
  std::string broker = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  for (const Words& line : {Words{"topic", "list"}, Words{"publish", "t"}, Words{"consume", "g"},
                            Words{"group", "describe", "g"}, Words{"dlq", "list", "g"}}) {
    Finished end = run(words({"waybill"}, line), {.broker = broker});
    EXPECT_EQ(end.exit_code, 5) << end;
    EXPECT_TRUE(end.err.contains(broker)) << end;
    EXPECT_TRUE(end.err.contains("waybilld --data")) << end;
    EXPECT_EQ(end.out, "");
  }
  ::close(holder);
}

// --- with one ---

TEST_F(WaybillRun, LinesOfStdinAreReadBackAsTheyWere) {
  std::string lines = "one\n\ttwo \xf0\x9f\x93\xa6\n{\"three\": 3}\n";
  publish(lines);
  Finished read = waybill({"consume", "--topic", "orders", "--from", "earliest", "--exit-at-end"});
  EXPECT_EQ(read.exit_code, 0) << read;
  EXPECT_EQ(read.out, lines);
  Finished rest = waybill({"consume", "--topic", "orders", "--from", "2", "--exit-at-end"});
  EXPECT_EQ(rest.out, "{\"three\": 3}\n") << rest;

  Finished keyed =
      waybill({"publish", "orders", "--key-separator", "=", "--header", "h=v"}, "k1=v1\n");
  EXPECT_EQ(keyed.exit_code, 0) << keyed;
  Finished shown =
      waybill({"-o", "jsonl", "consume", "--topic", "orders", "--from", "3", "--exit-at-end"});
  json::value message = json::parse(shown.out);
  EXPECT_EQ(message.at("key").as_string(), "k1");
  EXPECT_EQ(message.at("value").as_string(), "v1");
  EXPECT_EQ(message.at("headers").at("h").as_string(), "v");

  std::string same = std::string(500, 'x') + "\n";
  EXPECT_EQ(waybill({"publish", "orders", "--compression", "zstd"}, same).exit_code, 0);
  EXPECT_EQ(waybill({"consume", "--topic", "orders", "--from", "4", "--exit-at-end"}).out, same);
  EXPECT_EQ(waybill({"publish", "orders", "--compression", "best"}, same).exit_code, 2);
}

TEST_F(WaybillRun, OutputForScriptsIsJsonInEveryListing) {
  make_group();
  publish("a\nquote \" and \\ and \x01\n\xff\xfe bytes\n");
  ASSERT_EQ(waybill({"consume", "billing", "--exec", "echo \"bad: \\\"x\\\"\" >&2; exit 65",
                     "--exit-at-end"})
                .exit_code,
            0);
  const std::vector<std::pair<Words, bool>> listings = {
      {{"topic", "list"}, true},
      {{"topic", "describe", "orders"}, false},
      {{"group", "list"}, true},
      {{"group", "describe", "billing"}, false},
      {{"group", "check", "billing"}, false},
      {{"group", "pause", "billing"}, false},
      {{"group", "resume", "billing"}, false},
      {{"group", "brake", "billing", "auto"}, false},
      {{"group", "reset", "billing", "--to", "earliest"}, false},
      {{"producer", "list"}, true},
      {{"dlq", "list", "billing"}, false},
      {{"dlq", "show", "billing/0-1"}, false},
      {{"dlq", "edit", "billing", "--all", "--set-header", "a=b", "--dry-run"}, true},
      {{"consume", "--topic", "orders", "--from", "earliest", "--exit-at-end"}, true},
      {{"consume", "billing", "--exit-at-end"}, true},
      {{"outbox", "ddl"}, false}};
  for (const auto& [line, array] : listings) {
    Finished whole = waybill(words({"-o", "json"}, line));
    EXPECT_EQ(whole.exit_code, 0) << whole;
    boost::system::error_code wrong;
    json::value value = json::parse(whole.out, wrong);
    EXPECT_FALSE(wrong) << wrong.message() << whole;
    EXPECT_TRUE(array ? value.is_array() : value.is_object()) << whole;

    Finished by_line = waybill(words({"-o", "jsonl"}, line));
    EXPECT_EQ(by_line.exit_code, 0) << by_line;
    std::istringstream rows(by_line.out);
    std::string row;
    while (std::getline(rows, row)) {
      EXPECT_TRUE(json::parse(row, wrong).is_object()) << row;
      EXPECT_FALSE(wrong) << wrong.message() << row;
    }
  }
}

TEST_F(WaybillRun, AReaderThatGoesEndsItQuietly) {
  std::string many;
  for (int i = 0; i < 20'000; ++i) many += "line " + std::to_string(i) + "\n";
  publish(many);
  make_group();
  for (const Words& line : {Words{"consume", "--topic", "orders", "--from", "earliest"},
                            Words{"-o", "jsonl", "consume", "--topic", "orders", "--from",
                                  "earliest", "--exit-at-end"}}) {
    std::unique_ptr<Program> program = start(line);
    EXPECT_TRUE(program->read_line().has_value());
    program->close_output();
    Finished end = program->finish();
    EXPECT_EQ(end.exit_code, 0) << end;
    EXPECT_EQ(end.err, "") << end;
  }
  // As a group: what nobody read is not acknowledged.
  std::unique_ptr<Program> member = start({"consume", "billing"});
  EXPECT_EQ(member->read_line(), "line 0");
  member->close_output();
  Finished end = member->finish();
  EXPECT_EQ(end.exit_code, 0) << end;
  EXPECT_FALSE(end.err.contains("error")) << end;
  EXPECT_EQ(count("leased"), 0);
  EXPECT_GT(count("ready"), 0);
  EXPECT_EQ(count("failures"), 0);
}

TEST_F(WaybillRun, AReaderThatGoesEndsItAlsoOnAQuietTopic) {
  publish("1\n");
  make_group();
  for (const Words& line :
       {Words{"consume", "--topic", "orders", "--from", "earliest"}, Words{"consume", "billing"},
        Words{"-o", "jsonl", "consume", "billing", "--exec", "true"}}) {
    std::unique_ptr<Program> program = start(line);
    if (line.back() != "true") {
      EXPECT_EQ(program->read_line(), "1");
    }
    program->close_output();
    Finished end = program->finish();
    EXPECT_EQ(end.exit_code, 0) << end;
  }
  EXPECT_EQ(count("leased"), 0);
}

TEST_F(WaybillRun, ADatabaseThatIsNotThereIsNotFound) {
  std::string missing = (directory_.path() / "missing.db").string();
  for (const Words& line : {Words{"outbox", "status", "--db", missing},
                            Words{"outbox", "relay", "--db", missing, "--exit-at-end"}}) {
    Finished end = waybill(line);
    EXPECT_EQ(end.exit_code, 3) << end;
    EXPECT_TRUE(end.err.contains("missing.db")) << end;
  }
}

TEST_F(WaybillRun, AGroupThatIsThereAlreadyIsShownToWhomWantedAnother_D1) {
  make_group();
  Finished other = waybill({"group", "create", "billing", "--topic", "orders", "--start",
                            "earliest", "--ordering", "key"});
  EXPECT_EQ(other.exit_code, 1) << other;
  EXPECT_TRUE(other.err.contains("ordering        none")) << other;
  EXPECT_EQ(other.out, "");
}

TEST_F(WaybillRun, AReadErrorBeforeTheFirstMessageIsNoPartialSuccess) {
  Finished end = waybill({"publish", "orders", "/"});
  EXPECT_EQ(end.exit_code, 1) << end;
  EXPECT_TRUE(end.err.contains("directory")) << end;
}

TEST_F(WaybillRun, AMessageThatNobodyCouldEverGetIsNotPublished) {
  Finished end = waybill({"publish", "orders", "--delay", "1h", "--expires", "1m"}, "x\n");
  EXPECT_EQ(end.exit_code, 2) << end;
  EXPECT_TRUE(end.err.contains("--expires")) << end;
  EXPECT_EQ(json_of({"topic", "describe", "orders"}).at("partitions").at(0).at("end").as_int64(),
            0);
}

TEST_F(WaybillRun, DeadLettersThatAreNotThereAreCountedAsSkipped) {
  make_group();
  publish("x\n");
  ASSERT_EQ(waybill({"consume", "billing", "--exec", "exit 65", "--exit-at-end"}).exit_code, 0);
  Finished some = waybill(
      {"-o", "json", "dlq", "redrive", "billing/0-1", "billing/0-1", "billing/0-7", "--yes"});
  EXPECT_EQ(some.exit_code, 4) << some;
  EXPECT_EQ(some.out, "{\"redriven\":1,\"skipped\":1}\n") << some;
  Finished none = waybill({"-o", "json", "dlq", "redrive", "billing", "--all", "--yes"});
  EXPECT_EQ(none.exit_code, 0) << none;
  EXPECT_EQ(none.out, "{\"redriven\":0,\"skipped\":0}\n") << "a script finds JSON in any case";
}

TEST_F(WaybillRun, ADeletedGroupMayLeaveItsDeadLettersAsAnArchiveD15) {
  make_group();
  publish("x\n");
  ASSERT_EQ(waybill({"consume", "billing", "--exec", "exit 65", "--exit-at-end"}).exit_code, 0);
  EXPECT_EQ(waybill({"group", "delete", "billing", "--yes"}).exit_code, 1);
  const Words keep{"group", "delete", "billing", "--keep-dead-letters", "--yes"};
  Words both = keep;
  both.emplace_back("--discard-dead-letters");
  EXPECT_EQ(waybill(both).exit_code, 2);
  Finished kept = waybill(keep);
  EXPECT_EQ(kept.exit_code, 0) << kept;
  EXPECT_TRUE(kept.out.contains("kept 1 dead letter as an archive")) << kept;
  EXPECT_TRUE(waybill({"group", "list"}).out.contains("archive"));
  Finished consumed = waybill({"consume", "billing", "--exit-at-end"});
  EXPECT_EQ(consumed.exit_code, 3) << consumed;
  EXPECT_TRUE(consumed.err.contains("only its dead letters are kept")) << consumed;
  EXPECT_FALSE(consumed.err.contains("did you mean")) << consumed;
  EXPECT_EQ(waybill({"dlq", "redrive", "billing", "--all", "--yes"}).exit_code, 3);
  EXPECT_EQ(waybill({"topic", "delete", "orders", "--yes"}).exit_code, 0);
  EXPECT_TRUE(waybill({"dlq", "show", "billing/0-1"}).out.contains("orders, partition 0"));
  EXPECT_EQ(waybill({"dlq", "discard", "billing", "--all", "--reason", "no", "--yes"}).exit_code,
            0);
  EXPECT_EQ(waybill({"group", "delete", "billing", "--yes"}).exit_code, 0);
}

/// Rows of an outbox, as an application that knows nothing but SQL writes them.
class OutboxRun : public WaybillRun {
 protected:
  OutboxRun() {
    EXPECT_EQ(sqlite3_open(file_.c_str(), &database_), SQLITE_OK);
    sql("PRAGMA journal_mode = WAL");
    sql(run({"waybill", "outbox", "ddl"}).out);
  }
  ~OutboxRun() override { sqlite3_close(database_); }
  void sql(const std::string& statements) {
    EXPECT_EQ(sqlite3_exec(database_, statements.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(database_);
  }
  void insert(const std::string& topic) {
    sql("INSERT INTO waybill_outbox(topic, payload) VALUES('" + topic + "', 'x')");
  }
  Finished relay() {
    return waybill({"outbox", "relay", "--db", file_, "--exit-at-end", "--timeout", "60s"});
  }

  std::string file_ = (directory_.path() / "app.db").string();
  sqlite3* database_ = nullptr;
};

TEST_F(OutboxRun, RowsThatAreHeldAreSaidUntilTheyAreOut) {
  insert("orders");
  insert("invoices");
  Finished first = relay();
  EXPECT_EQ(first.exit_code, 4) << first;
  EXPECT_TRUE(first.out.contains("1 published")) << first;
  Finished second = relay();
  EXPECT_EQ(second.exit_code, 1) << second;
  EXPECT_TRUE(second.err.contains("waybill outbox status")) << second;
  ASSERT_EQ(waybill({"topic", "create", "invoices"}).exit_code, 0);
  sql("UPDATE waybill_outbox_held SET retry_at_us = 0");
  Finished third = relay();
  EXPECT_EQ(third.exit_code, 0) << third;
}

TEST_F(OutboxRun, APausedLaneSaysSoAndGoesOnWhenItIsResumed) {
  insert("orders");
  Finished paused = waybill({"-o", "json", "outbox", "pause", "--db", file_});
  EXPECT_EQ(paused.exit_code, 0) << paused;
  EXPECT_EQ(paused.out, "{\"paused\":\"0\"}\n");
  Finished waits = relay();
  EXPECT_EQ(waits.exit_code, 1) << waits;
  EXPECT_TRUE(waits.err.contains("waybill outbox resume --db " + file_)) << waits;
  EXPECT_EQ(waybill({"outbox", "resume", "--db", file_}).exit_code, 0);
  EXPECT_EQ(relay().exit_code, 0);
  EXPECT_EQ(waybill({"outbox", "pause", "--db", file_, "--lane", "7"}).exit_code, 1);
}

TEST_F(OutboxRun, WithoutABrokerNothingWasPartlyDone) {
  insert("orders");
  broker_.kill();
  Finished end = waybill({"outbox", "relay", "--db", file_, "--exit-at-end", "--timeout", "1ms"});
  EXPECT_EQ(end.exit_code, 5) << end;
  std::ofstream(file_ + ".txt") << "this is no database, whatever it is called: just text\n";
  Finished text = waybill({"outbox", "status", "--db", file_ + ".txt"});
  EXPECT_EQ(text.exit_code, 1) << text;
  EXPECT_TRUE(text.err.contains("app.db.txt")) << text;
}

TEST_F(WaybillRun, ExitCodesOfAHandlerSettleItsMessages) {
  make_group();
  publish("fine\nbroken\nfails\nwaits\n");
  // The one that waits for something else is fine when it is tried again.
  std::string marker = (directory_.path() / "tried").string();
  Finished end = waybill({"consume", "billing", "--exit-at-end", "--exec",
                          "read -r line; case $line in"
                          " fine) exit 0;;"
                          " broken) echo 'no_price: nothing to pay' >&2; exit 65;;"
                          " fails) exit 1;;"
                          " waits) test -e " +
                              marker + " && exit 0; touch " + marker +
                              "; echo 'db is away' >&2; exit 75;;"
                              " esac"});
  EXPECT_EQ(end.exit_code, 0) << end;
  EXPECT_TRUE(end.err.contains("2 ack, 1 invalid, 3 retry")) << end;
  EXPECT_EQ(count("done"), 2);
  EXPECT_EQ(count("dead"), 2);
  EXPECT_EQ(count("failures"), 3) << "transient is not charged: once invalid, twice failed";

  json::value list = json::parse(waybill({"-o", "json", "dlq", "list", "billing"}).out);
  std::map<std::string, json::value> dead;
  for (const json::value& one : list.at("dead_letters").as_array()) {
    dead[std::string(one.at("last_failure").at("code").as_string())] = one;
  }
  ASSERT_TRUE(dead.contains("no_price") && dead.contains("exit_1")) << end;
  EXPECT_EQ(dead["no_price"].at("reason").as_string(), "invalid");
  EXPECT_EQ(dead["no_price"].at("last_failure").at("detail").as_string(),
            "no_price: nothing to pay");
  EXPECT_EQ(dead["exit_1"].at("reason").as_string(), "max_failures");
  EXPECT_EQ(dead["exit_1"].at("failures").to_number<int>(), 2);
}

TEST_F(WaybillRun, AWorkerAnswersLineByLine) {
  make_group();
  publish("1\n2\n3\n");
  // Answers "ack" to all but the second, which it calls invalid.
  const char* worker =
      "while read -r line; do"
      " id=${line#*'\"id\":\"'}; id=${id%%'\"'*};"
      " case $id in */1) echo '{\"id\":\"'$id'\",\"result\":\"retry\",\"class\":\"invalid\","
      "\"code\":\"odd\",\"detail\":\"no two\"}';;"
      " *) echo '{\"id\":\"'$id'\",\"result\":\"ack\"}';; esac; done";
  Finished end = waybill({"consume", "billing", "--worker", worker, "--exit-at-end"});
  EXPECT_EQ(end.exit_code, 0) << end;
  EXPECT_TRUE(end.err.contains("2 ack, 1 invalid")) << end;
  EXPECT_EQ(count("done"), 2);
  EXPECT_EQ(count("dead"), 1);
}

TEST_F(WaybillRun, WhatAWorkerSaidAboutOneMessageIsNotTheNextOnesFailure) {
  make_group();
  publish("1\n2\n");
  const char* worker =
      "read -r line; id=${line#*'\"id\":\"'}; id=${id%%'\"'*};"
      " echo 'all about the first' >&2; echo '{\"id\":\"'$id'\",\"result\":\"ack\"}';"
      " read -r line; echo 'it broke' >&2; exit 3";
  std::unique_ptr<Program> consumer = start({"consume", "billing", "--worker", worker});
  // The next worker acknowledges what this one broke at, perhaps before anybody looks.
  EXPECT_TRUE(comes_true([&] { return count("done") >= 1 && count("failures") >= 1; }));
  consumer->signal(SIGINT);
  Finished end = consumer->finish();
  EXPECT_TRUE(end.err.contains("all about the first")) << "it is shown as it comes" << end;
  EXPECT_TRUE(end.err.contains("the worker ended with exit 3: it broke\n")) << end;
}

TEST_F(WaybillRun, DestructiveCommandsWithoutATerminalWantYes) {
  make_group();
  publish("x\n");
  ASSERT_EQ(waybill({"consume", "billing", "--exec", "exit 65", "--exit-at-end"}).exit_code, 0);
  const std::vector<Words> destructive = {
      {"dlq", "edit", "billing", "--all", "--set-header", "a=b"},
      {"dlq", "redrive", "billing", "--all"},
      {"dlq", "discard", "billing", "--all", "--reason", "test"},
      {"group", "delete", "billing", "--discard-dead-letters"},
      {"topic", "delete", "orders"}};
  for (const Words& line : destructive) {
    Finished end = waybill(line, "y\nyes\n");
    EXPECT_EQ(end.exit_code, 2) << end;
    EXPECT_TRUE(end.err.contains("--yes")) << end;
  }
  EXPECT_EQ(count("dead"), 1);
  Finished vague = waybill({"dlq", "redrive", "billing", "--yes"});
  EXPECT_EQ(vague.exit_code, 2) << vague;
  EXPECT_TRUE(vague.err.contains("--all")) << vague;
  for (Words line : destructive) {
    line.emplace_back("--yes");
    if (line[1] == "discard") continue;  // redriven by then
    Finished end = waybill(line);
    EXPECT_EQ(end.exit_code, 0) << end;
  }
  EXPECT_EQ(waybill({"topic", "describe", "orders"}).exit_code, 3);
}

// --- Ctrl-C ---

TEST_F(WaybillRun, CtrlCLetsTheProgramFinishAndGivesTheRestBackAtOnce) {
  make_group();
  publish("1\n2\n3\n4\n5\n");
  std::string gate = (directory_.path() / "gate").string();
  ASSERT_EQ(mkfifo(gate.c_str(), 0600), 0);
  std::unique_ptr<Program> consumer =
      start({"consume", "billing", "--exec", "echo started; read -r line < " + gate});
  EXPECT_EQ(consumer->read_line(), "started");
  EXPECT_GT(count("leased"), 0);
  consumer->signal(SIGINT);
  // The program still runs; what it has not begun is free for others.
  EXPECT_TRUE(comes_true([&] { return count("ready") == 4; }));
  EXPECT_EQ(count("leased"), 1);
  std::ofstream(gate) << "go on\n";
  Finished end = consumer->finish();
  EXPECT_EQ(end.exit_code, 0) << end;
  EXPECT_EQ(end.out, "") << "no program was started after Ctrl-C";
  EXPECT_EQ(count("leased"), 0);
  EXPECT_EQ(count("done"), 1);

  Finished next = waybill({"consume", "billing", "--exit-at-end"});
  EXPECT_EQ(next.exit_code, 0) << next;
  EXPECT_EQ(std::ranges::count(next.out, '\n'), 4) << next;
  EXPECT_EQ(count("done"), 5);
  EXPECT_EQ(count("failures"), 0);
}

TEST_F(WaybillRun, CtrlCTwiceKillsTheProgramAndChargesNobody) {
  make_group();
  publish("1\n2\n");
  std::string gate = (directory_.path() / "gate").string();
  ASSERT_EQ(mkfifo(gate.c_str(), 0600), 0);
  std::unique_ptr<Program> consumer =
      start({"consume", "billing", "--exec", "echo started; read -r line < " + gate});
  EXPECT_EQ(consumer->read_line(), "started");
  consumer->signal(SIGINT);
  consumer->signal(SIGTERM);  // two of one kind might be merged into one
  Finished end = consumer->finish();
  EXPECT_EQ(end.exit_code, 0) << end;
  EXPECT_EQ(count("leased"), 0);
  Finished next = waybill({"consume", "billing", "--exit-at-end"});
  EXPECT_EQ(next.out, "1\n2\n") << next;
  EXPECT_EQ(count("failures"), 0);
}

TEST_F(WaybillRun, CtrlCTwiceIsHeardBesideAProgramThatNeverStopsWriting) {
  make_group();
  publish("1\n");
  std::unique_ptr<Program> consumer =
      start({"consume", "billing", "--exec", "echo started; exec yes >&2"});
  EXPECT_EQ(consumer->read_line(), "started");
  consumer->signal(SIGINT);
  consumer->signal(SIGTERM);
  Finished end = consumer->finish();
  EXPECT_EQ(end.exit_code, 0) << end;
  EXPECT_EQ(count("leased"), 0);
  EXPECT_EQ(count("failures"), 0);
}

TEST_F(WaybillRun, CtrlCEndsAnIdleConsumerAndAnIdleReader) {
  make_group();
  publish("1\n");
  for (const Words& line :
       {Words{"consume", "billing"}, Words{"consume", "--topic", "orders", "--from", "earliest"}}) {
    std::unique_ptr<Program> program = start(line);
    EXPECT_EQ(program->read_line(), "1");
    program->signal(SIGINT);
    Finished end = program->finish();
    EXPECT_EQ(end.exit_code, 0) << end;
  }
  EXPECT_EQ(count("leased"), 0);
  EXPECT_EQ(count("done"), 1);
}

}  // namespace
}  // namespace waybill

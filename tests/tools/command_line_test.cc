// Goal: every command line becomes the command it means, or a usage error that helps.
// Method: words in, structs or texts out; no process, no broker.
#include "tools/command_line.h"

#include <gtest/gtest.h>

#include "tools/dead_letter_choice.h"

namespace waybill::cli {
namespace {

using Words = std::vector<std::string>;

constexpr WallTime kNow{1'800'000'000'000};

std::variant<CommandLine, CommandLineEnd> parse(Words words, std::string broker = "") {
  return parse_command_line(std::move(words), {std::move(broker), kNow});
}

template <class T>
T command(Words words) {
  auto parsed = parse(std::move(words));
  if (auto* end = std::get_if<CommandLineEnd>(&parsed)) {
    ADD_FAILURE() << end->text;
    return {};
  }
  Command& chosen = std::get<CommandLine>(parsed).command;
  EXPECT_TRUE(std::holds_alternative<T>(chosen));
  return std::holds_alternative<T>(chosen) ? std::get<T>(chosen) : T{};
}

CommandLineEnd end_of(Words words) {
  auto parsed = parse(std::move(words));
  auto* end = std::get_if<CommandLineEnd>(&parsed);
  EXPECT_NE(end, nullptr) << "this should not have parsed";
  return end != nullptr ? *end : CommandLineEnd{};
}

std::string usage_of(Words words) {
  CommandLineEnd end = end_of(std::move(words));
  EXPECT_EQ(end.code, ExitCode::kUsage);
  return end.text;
}

TEST(CommandLineTest, GlobalOptionsMayStandAnywhere) {
  for (const Words& words : {Words{"-o", "jsonl", "--quiet", "--broker", "h:1", "topic", "list"},
                             Words{"topic", "list", "--broker", "h:1", "-q", "-o", "jsonl"}}) {
    auto parsed = parse(words);
    ASSERT_TRUE(std::holds_alternative<CommandLine>(parsed));
    const GlobalOptions& global = std::get<CommandLine>(parsed).global;
    EXPECT_EQ(global.broker, "h:1");
    EXPECT_EQ(global.format, OutputFormat::kJsonLines);
    EXPECT_TRUE(global.quiet);
  }
}

TEST(CommandLineTest, TheBrokerComesFromTheEnvironmentUnlessSaid) {
  EXPECT_EQ(std::get<CommandLine>(parse({"topic", "list"}, "e:2")).global.broker, "e:2");
  EXPECT_EQ(std::get<CommandLine>(parse({"topic", "list"})).global.broker, "127.0.0.1:7450");
  auto said = parse({"--broker", "s:3", "topic", "list"}, "e:2");
  EXPECT_EQ(std::get<CommandLine>(said).global.broker, "s:3");
  for (const char* bad : {"h", "h:", ":1", "h:0", "h:99999", "h:1x", "a b:1"}) {
    EXPECT_TRUE(usage_of({"--broker", bad, "topic", "list"}).contains("no address")) << bad;
  }
}

TEST(CommandLineTest, D18WhoAsksComesFromTheEnvironmentUnlessSaidAndATokenOnlyFromAFile) {
  auto parsed = parse_command_line({"topic", "list"}, {"", kNow, "anna"});
  EXPECT_EQ(std::get<CommandLine>(parsed).global.user, "anna");
  parsed = parse_command_line({"topic", "list", "--user", "bert", "--token-file", "t"},
                              {"", kNow, "anna"});
  EXPECT_EQ(std::get<CommandLine>(parsed).global.user, "bert");
  EXPECT_EQ(std::get<CommandLine>(parsed).global.token_file, "t");
  EXPECT_TRUE(usage_of({"topic", "list", "--token", "secret"}).contains("'--token'"));
}

TEST(CommandLineTest, D18ATokenIsMadeForAUserWithRights) {
  auto token = command<TokenNew>({"token", "new", "anna", "view", "fix:b.*", "--out", "f"});
  EXPECT_EQ(token.user, "anna");
  EXPECT_EQ(token.rights, (std::vector<Grant>{{Right::kView}, {Right::kFix, "b.*"}}));
  EXPECT_EQ(token.file, "f");
  EXPECT_TRUE(command<TokenNew>({"token", "new", "anna"}).rights.empty());
  EXPECT_TRUE(usage_of({"token", "new", "anna", "fly"}).contains("\"fly\" is no right"));
  usage_of({"token", "new"});
}

TEST(CommandLineTest, MisspelledWordsGetASuggestion) {
  EXPECT_TRUE(usage_of({"topik"}).contains("did you mean 'topic'?"));
  EXPECT_TRUE(usage_of({"topic", "craete"}).contains("did you mean 'create'?"));
  EXPECT_TRUE(usage_of({"topic", "create", "x", "--partiton=2"}).contains("'--partitions'?"));
  EXPECT_TRUE(usage_of({"topic", "list", "--brokr", "x"}).contains("did you mean '--broker'?"));
  EXPECT_TRUE(usage_of({"topic", "describe", "a", "b"}).contains("no further 'b'"));
  EXPECT_TRUE(usage_of({"\x1b[2J"}).contains("\\x1b[2J"));
}

TEST(CommandLineTest, HelpGoesToStdoutAndNamesTheExitCodes) {
  CommandLineEnd help = end_of({"--help"});
  EXPECT_EQ(help.code, ExitCode::kOk);
  for (const char* line : {"0  done", "2  the command line", "5  no broker"}) {
    EXPECT_TRUE(help.text.contains(line)) << line;
  }
  EXPECT_TRUE(end_of({"consume", "--help"}).text.contains("WAYBILL_TOPIC"));
  EXPECT_EQ(end_of({"dlq", "edit", "--help"}).code, ExitCode::kOk);
  EXPECT_EQ(end_of({"--version"}).code, ExitCode::kOk);
}

TEST(CommandLineTest, EveryCommandHasHelp) {
  const std::vector<Words> commands{
      {"topic", "create"},    {"topic", "list"},    {"topic", "describe"},
      {"topic", "delete"},    {"publish"},          {"group", "create"},
      {"group", "set"},       {"group", "list"},    {"group", "describe"},
      {"group", "delete"},    {"consume"},          {"dlq", "list"},
      {"group", "check"},     {"group", "pause"},   {"group", "resume"},
      {"group", "brake"},     {"group", "reset"},   {"producer", "list"},
      {"producer", "remove"}, {"dlq", "show"},      {"dlq", "edit"},
      {"dlq", "redrive"},     {"dlq", "discard"},   {"outbox", "ddl"},
      {"outbox", "relay"},    {"outbox", "status"}, {"outbox", "pause"},
      {"outbox", "resume"},   {"topic", "set"},     {"token", "new"}};
  for (Words words : commands) {
    words.push_back("--help");
    CommandLineEnd help = end_of(words);
    EXPECT_EQ(help.code, ExitCode::kOk) << words.front();
    std::string usage = "Usage: waybill";
    for (const std::string& word : words) usage += word == "--help" ? "" : " " + word;
    EXPECT_TRUE(help.text.contains(usage + " ")) << help.text;
    EXPECT_TRUE(help.text.contains("-o text|json|jsonl")) << help.text;
  }
}

TEST(CommandLineTest, NothingAndHalfACommandAreUsageErrors) {
  usage_of({});
  usage_of({"topic"});
  usage_of({"topic", "create"});
  usage_of({"topic", "create", "x", "--partitions", "0"});
  usage_of({"-o", "xml", "topic", "list"});
}

TEST(CommandLineTest, PublishTakesItsOptions) {
  auto publish = command<Publish>({"publish", "orders", "in.txt", "--key-separator", ":",
                                   "--header", "a=1", "--header", "b=2", "--partition", "3"});
  EXPECT_EQ(publish.topic, "orders");
  EXPECT_EQ(publish.file, "in.txt");
  EXPECT_EQ(publish.key_separator, ":");
  ASSERT_EQ(publish.headers.size(), 2U);
  EXPECT_EQ(publish.headers[1].key, "b");
  EXPECT_EQ(publish.partition, 3U);
  EXPECT_EQ(command<Publish>({"publish", "orders"}).file, "-");
  usage_of({"publish", "orders", "--jsonl", "--key-separator", ":"});
  usage_of({"publish", "orders", "--header", "novalue"});
}

TEST(CommandLineTest, GroupCreateWantsOrderingAndStart_D1) {
  auto group = command<GroupCreate>({"group", "create", "g", "--topic", "t", "--ordering", "key",
                                     "--start", "17", "--max-failures", "3", "--lease", "10s",
                                     "--backoff-base", "100ms", "--jitter", "none"});
  GroupPolicy policy = changed({}, group.policy);
  EXPECT_EQ(policy.ordering, Ordering::kKey);
  EXPECT_EQ(policy.max_failures, 3U);
  EXPECT_EQ(policy.lease, std::chrono::seconds(10));
  EXPECT_EQ(policy.backoff.base, std::chrono::milliseconds(100));
  EXPECT_EQ(policy.backoff.jitter, Jitter::kNone);
  EXPECT_EQ(policy.window, GroupPolicy{}.window) << "what is not said stays the default";
  EXPECT_EQ(group.start.kind, StartKind::kOffset);
  EXPECT_EQ(group.start.offset, Offset{17});
  usage_of({"group", "create", "g", "--topic", "t", "--ordering", "key"});
  usage_of({"group", "create", "g", "--topic", "t", "--start", "earliest"});
  usage_of({"group", "create", "g", "--ordering", "key", "--start", "earliest"});
  usage_of({"group", "create", "g", "--topic", "t", "--start", "soon", "--ordering", "key"});
  EXPECT_TRUE(
      usage_of({"group", "create", "g", "--topic", "t", "--ordering", "keys", "--start", "latest"})
          .contains("none|key|partition"));
}

TEST(CommandLineTest, GroupSetChangesOnlyWhatIsSaid) {
  GroupPolicy before;
  before.ordering = Ordering::kPartition;
  before.max_failures = 5;
  GroupPolicy after =
      changed(before, command<GroupSet>({"group", "set", "g", "--lease", "1m"}).policy);
  before.lease = std::chrono::minutes(1);
  EXPECT_EQ(after, before);
}

TEST(CommandLineTest, EveryValueOfAPolicyCanBeSaid) {
  auto set = command<GroupSet>({"group",       "set",
                                "g",           "--on-transient",
                                "charge",      "--on-failed",
                                "dead-letter", "--on-invalid",
                                "free",        "--on-timeout",
                                "dead-letter", "--free-for",
                                "2h",          "--brake",
                                "off",         "--brake-outcomes",
                                "40",          "--brake-percent",
                                "75",          "--brake-in-a-row",
                                "5",           "--brake-period",
                                "1m",          "--brake-probe-after",
                                "2s",          "--brake-probes",
                                "7",           "--on-expiry",
                                "dead-letter", "--max-held",
                                "12",          "--on-dead-letter",
                                "hold"});
  GroupPolicy policy = changed({}, set.policy);
  EXPECT_EQ(policy.failures,
            (FailureRules{FailureAction::kCharge, FailureAction::kDeadLetter, FailureAction::kFree,
                          FailureAction::kDeadLetter, std::chrono::hours(2)}));
  EXPECT_EQ(policy.brake,
            (BrakePolicy{false, 40, 75, 5, std::chrono::minutes(1), std::chrono::seconds(2), 7}));
  EXPECT_EQ(policy.on_expiry, OnExpiry::kDeadLetter);
  EXPECT_EQ(policy.max_held, 12U);
  EXPECT_EQ(policy.on_dead_letter, OnDeadLetter::kHold);
  usage_of({"group", "set", "g", "--on-failed", "ignore"});
  usage_of({"group", "set", "g", "--brake", "maybe"});
}

TEST(CommandLineTest, GroupsAreStoppedBrakedAndReset) {
  EXPECT_TRUE(command<GroupPause>({"group", "pause", "g"}).paused);
  EXPECT_FALSE(command<GroupPause>({"group", "resume", "g"}).paused);
  EXPECT_EQ(command<GroupBrake>({"group", "brake", "g", "open"}).mode, BrakeMode::kForcedOpen);
  EXPECT_EQ(command<GroupBrake>({"group", "brake", "g", "auto"}).mode, BrakeMode::kAutomatic);
  EXPECT_EQ(command<GroupCheck>({"group", "check", "g"}).name, "g");
  usage_of({"group", "brake", "g"});
  EXPECT_TRUE(usage_of({"group", "brake", "g", "shut"}).contains("auto|open|closed"));
  auto reset = command<GroupReset>({"group", "reset", "g", "--to", "now-10m", "--include-dead"});
  EXPECT_EQ(reset.start.kind, StartKind::kTime);
  EXPECT_EQ(reset.start.time.milliseconds, kNow.milliseconds - 600'000);
  EXPECT_TRUE(reset.include_dead);
  EXPECT_FALSE(reset.yes) << "without --yes it is a dry run";
  EXPECT_TRUE(command<GroupReset>({"group", "reset", "g", "--to", "5", "--yes"}).yes);
  usage_of({"group", "reset", "g", "--yes"});
}

TEST(CommandLineTest, ProducersAreListedAndRemoved) {
  command<ProducerList>({"producer", "list"});
  auto remove = command<ProducerRemove>({"producer", "remove", "an-id", "--yes"});
  EXPECT_EQ(remove.id, "an-id");
  EXPECT_TRUE(remove.yes);
  usage_of({"producer", "remove"});
}

TEST(CommandLineTest, PublishTakesTimes) {
  auto delayed = command<Publish>({"publish", "t", "--delay", "2h", "--expires", "1d"});
  EXPECT_EQ(delayed.not_before, Moment(std::chrono::milliseconds(std::chrono::hours(2))));
  EXPECT_EQ(delayed.expires, Moment(std::chrono::milliseconds(std::chrono::hours(24))));
  auto at =
      command<Publish>({"publish", "t", "--at", "2030-01-01T00:00:00Z", "--expires", "2031-01-01"});
  EXPECT_EQ(at.not_before, Moment(WallTime{1'893'456'000'000}));
  EXPECT_EQ(at.expires, Moment(WallTime{1'924'992'000'000}));
  EXPECT_FALSE(command<Publish>({"publish", "t"}).expires.has_value());
  usage_of({"publish", "t", "--delay", "soon"});
  usage_of({"publish", "t", "--delay", "1s", "--at", "2030-01-01"});
  EXPECT_TRUE(usage_of({"publish", "t", "--expires", "soon"}).contains("nor a time"));
}

TEST(CommandLineTest, ConsumeIsAGroupOrATopic) {
  auto consume =
      command<Consume>({"consume", "g", "--exec", "run it", "--concurrency", "4", "--exit-at-end"});
  EXPECT_EQ(consume.group, "g");
  EXPECT_EQ(consume.exec, "run it");
  EXPECT_EQ(consume.concurrency, 4U);
  EXPECT_TRUE(consume.exit_at_end);
  auto read = command<Read>({"consume", "--topic", "t", "--from", "now-10m", "--exit-at-end"});
  EXPECT_EQ(read.topic, "t");
  EXPECT_EQ(read.from.time.milliseconds, kNow.milliseconds - 600'000);
  EXPECT_TRUE(read.exit_at_end);
  usage_of({"consume"});
  usage_of({"consume", "g", "--topic", "t", "--from", "latest"});
  usage_of({"consume", "--topic", "t"});
  usage_of({"consume", "--from", "latest"});
  usage_of({"consume", "g", "--exec", "a", "--worker", "b"});
  usage_of({"consume", "--topic", "t", "--from", "latest", "--exec", "a"});
  usage_of({"consume", "g", "--concurrency", "0"});
}

TEST(CommandLineTest, DeadLettersAreNamedByGroupOrById) {
  auto edit =
      command<DeadLetterEdit>({"dlq", "edit", "g", "0-1", "0-2", "--jq", ".a = 1", "--set-header",
                               "h=v", "--remove-header", "x", "--remove-header", "y", "--dry-run"});
  EXPECT_EQ(edit.choice.targets, (Words{"g", "0-1", "0-2"}));
  EXPECT_EQ(edit.jq, ".a = 1");
  EXPECT_EQ(edit.set_headers.size(), 1U);
  EXPECT_EQ(edit.remove_headers, (Words{"x", "y"}));
  EXPECT_TRUE(edit.dry_run);
  auto redrive = command<DeadLetterRedrive>({"dlq", "redrive", "--code", "c", "g", "--yes"});
  EXPECT_EQ(redrive.choice.code, "c");
  EXPECT_TRUE(redrive.yes);
  usage_of({"dlq", "discard", "g", "--all"});
  auto erase = command<DeadLetterDiscard>(
      {"dlq", "discard", "g", "--all", "--reason", "x", "--erase", "--any-state"});
  EXPECT_TRUE(erase.erase);
  EXPECT_TRUE(erase.choice.any_state);
  EXPECT_FALSE(command<DeadLetterDiscard>({"dlq", "discard", "g", "0-1", "--reason", "x"}).erase);
  usage_of({"dlq", "discard", "g", "--all", "--reason", "x", "--any-state"});
  usage_of({"dlq", "list"});
  usage_of({"dlq", "list", "g", "--state", "alive"});
}

TEST(NamedDeadLettersTest, TheGroupStandsFirstOrInTheIds) {
  EXPECT_EQ(named_dead_letters({"g", "0-1"})->group, "g");
  EXPECT_EQ(named_dead_letters({"g", "0-1"})->ids, (Words{"0-1"}));
  EXPECT_EQ(named_dead_letters({"g/0-1", "g/0-2"})->group, "g");
  EXPECT_EQ(named_dead_letters({"g/0-1", "g/0-2"})->ids, (Words{"g/0-1", "g/0-2"}));
  EXPECT_FALSE(named_dead_letters({}).ok());
}

TEST(CommandLineTest, OutboxCommandsTakeADatabase) {
  EXPECT_EQ(command<OutboxDdl>({"outbox", "ddl"}).database, "sqlite");
  EXPECT_EQ(command<OutboxDdl>({"outbox", "ddl", "mysql"}).database, "mysql");
  auto relay = command<OutboxRelayRun>(
      {"outbox", "relay", "--db", "a.db", "--exit-at-end", "--timeout", "5s"});
  EXPECT_EQ(relay.file, "a.db");
  EXPECT_EQ(relay.timeout, std::chrono::seconds(5));
  usage_of({"outbox", "relay"});
  EXPECT_EQ(command<OutboxStatusShow>({"outbox", "status", "--db", "a.db"}).file, "a.db");
  EXPECT_TRUE(command<OutboxLane>({"outbox", "pause", "--db", "a.db", "--lane", "3"}).paused);
  EXPECT_FALSE(command<OutboxLane>({"outbox", "resume", "--db", "a.db"}).paused);
}

}  // namespace
}  // namespace waybill::cli

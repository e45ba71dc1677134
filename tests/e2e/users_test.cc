// Goal: an operator gives users their rights with a file, and each can do with the command line
// what they may and nothing else (D18); no token shows up where others look.
// Method: the real waybilld with a users file that 'waybill token new' made, the real waybill.
#include <sys/stat.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "tests/e2e/bystander.h"
#include "tests/e2e/program.h"

namespace waybill {
namespace {

class UsersRun : public testing::Test {
 protected:
  UsersRun() : broker_(broker_on(directory_.path() / "data", arguments())) {}

  Words arguments() {
    return {"--shards", "2",  "--journal-file-size", "9MiB", "--log-level", "debug",
            "--users",  file_};
  }
  /// A new token; its line goes into the users file.
  void add_user(const std::string& name, const Words& rights) {
    Words line{"waybill", "-o", "json", "token", "new", name};
    line.insert(line.end(), rights.begin(), rights.end());
    Finished made = run(line);
    ASSERT_EQ(made.exit_code, 0) << made;
    boost::json::value json = boost::json::parse(made.out);
    tokens_[name] = std::string(json.at("token").as_string());
    std::ofstream(file_, std::ios::app) << json.at("line").as_string().c_str() << "\n";
    ASSERT_EQ(::chmod(file_.c_str(), 0640), 0);
  }
  Finished as(const std::string& user, Words line, std::string input = "") {
    line.insert(line.begin(), "waybill");
    return run(std::move(line),
               {.broker = broker_.address(),
                .input = std::move(input),
                .variables = {"WAYBILL_USER=" + user, "WAYBILL_TOKEN=" + tokens_[user]}});
  }
  void expect_refused(const std::string& user, const Words& line, const std::string& right) {
    Finished end = as(user, line);
    EXPECT_EQ(end.exit_code, 1) << end;
    EXPECT_TRUE(end.err.contains("\"" + user + "\" lacks the right \"" + right + "\"")) << end;
  }

  TempDirectory directory_;
  std::string file_ = directory_.path() / "users";
  std::map<std::string, std::string> tokens_;
  BrokerProcess broker_;
};

TEST_F(UsersRun, D18EachDoesTheirPartOfARepairAndNoOther) {
  add_user("keeper", {"admin"});
  add_user("shop", {"publish"});
  add_user("billing", {"consume"});
  add_user("reader", {"view"});
  add_user("fixer", {"view", "fix"});
  add_user("sender", {"view", "redrive"});
  add_user("cleaner", {"view", "discard"});
  ASSERT_TRUE(broker_.start());

  ASSERT_EQ(as("keeper", {"topic", "create", "orders"}).exit_code, 0);
  ASSERT_EQ(as("keeper", {"group", "create", "billing", "--topic", "orders", "--start", "earliest",
                          "--ordering", "none", "--max-failures", "1"})
                .exit_code,
            0);
  Finished published = as("shop", {"publish", "orders"}, "1\n2\n3\n");
  ASSERT_EQ(published.exit_code, 0) << published;
  EXPECT_EQ(as("keeper", {"publish", "orders"}, "4\n").exit_code, 1);
  expect_refused("shop", {"consume", "--topic", "orders", "--from", "earliest", "--exit-at-end"},
                 "consume");
  expect_refused("shop", {"topic", "delete", "orders", "--yes"}, "admin");
  Finished consumed =
      as("billing", {"consume", "billing", "--exit-at-end", "--exec", "echo broken >&2; exit 65"});
  EXPECT_EQ(consumed.exit_code, 0) << consumed;
  expect_refused("billing", {"dlq", "list", "billing"}, "view");

  Finished listed = as("reader", {"-o", "jsonl", "dlq", "list", "billing"});
  ASSERT_EQ(listed.exit_code, 0) << listed;
  EXPECT_EQ(std::ranges::count(listed.out, '\n'), 3) << listed;
  expect_refused("reader", {"dlq", "edit", "billing/0-1", "--jq", "10", "--yes"}, "fix");
  expect_refused("reader", {"dlq", "redrive", "billing/0-1", "--yes"}, "redrive");
  expect_refused("reader", {"dlq", "discard", "billing/0-1", "--reason", "x", "--yes"}, "discard");

  Finished fixed = as("fixer", {"dlq", "edit", "billing/0-1", "--jq", "10", "--yes"});
  EXPECT_EQ(fixed.exit_code, 0) << fixed;
  expect_refused("fixer", {"dlq", "redrive", "billing/0-1", "--yes"}, "redrive");
  Finished shown = as("reader", {"dlq", "show", "billing/0-1"});
  EXPECT_TRUE(shown.out.contains("version 1 by fixer at")) << shown;
  EXPECT_EQ(as("sender", {"dlq", "redrive", "billing/0-1", "--yes"}).exit_code, 0);
  expect_refused("sender", {"dlq", "discard", "billing/0-2", "--reason", "x", "--yes"}, "discard");
  EXPECT_EQ(as("cleaner", {"dlq", "discard", "billing/0-2", "--reason", "old", "--yes"}).exit_code,
            0);
  expect_refused("cleaner", {"dlq", "edit", "billing/0-3", "--jq", "10", "--yes"}, "fix");
  // It throws the last dead letter away, which a keeper of topics and groups may not.
  expect_refused("keeper", {"group", "delete", "billing", "--discard-dead-letters", "--yes"},
                 "discard");
  EXPECT_EQ(as("billing", {"consume", "billing", "--exit-at-end"}).out, "10\n");
}

TEST_F(UsersRun, D18WithoutAUsersTokenNothingIsAnsweredAndNoTokenIsLogged) {
  add_user("reader", {"view"});
  ASSERT_TRUE(broker_.start());
  Finished nobody = run({"waybill", "topic", "list"}, {.broker = broker_.address()});
  EXPECT_EQ(nobody.exit_code, 1) << nobody;
  EXPECT_TRUE(nobody.err.contains("serves only its users")) << nobody;
  EXPECT_TRUE(nobody.err.contains("WAYBILL_TOKEN")) << nobody;
  const std::string good = std::exchange(tokens_["reader"], "a wrong token");
  Finished wrong = as("reader", {"topic", "list"});
  EXPECT_EQ(wrong.exit_code, 1) << wrong;
  EXPECT_TRUE(wrong.err.contains("no user \"reader\" with that token")) << wrong;
  EXPECT_EQ(as("\x1b[2J", {"topic", "list"}).exit_code, 1);
  tokens_["reader"] = good;
  EXPECT_EQ(as("reader", {"topic", "list"}).exit_code, 0);
  EXPECT_EQ(broker_.stop(), 0);
  std::string log = broker_.log();
  EXPECT_TRUE(log.contains("access.users is=1")) << log;
  EXPECT_TRUE(log.contains("error=unauthenticated")) << log;
  EXPECT_FALSE(log.contains("wrong token") || log.contains(good)) << log;
  EXPECT_FALSE(log.contains('\x1b')) << log;
}

TEST_F(UsersRun, ATokenComesFromAFileToo) {
  const std::string secret = directory_.path() / "reader.token";
  Finished made = run({"waybill", "token", "new", "reader", "view", "--out", secret});
  ASSERT_EQ(made.exit_code, 0) << made;
  std::ofstream(file_) << made.out;
  ASSERT_EQ(::chmod(file_.c_str(), 0644), 0);
  struct stat facts{};
  ASSERT_EQ(::stat(secret.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777U, 0600U);
  std::ifstream in(secret);
  std::string token;
  in >> token;
  EXPECT_EQ(token.size(), 64U);
  EXPECT_FALSE(made.out.contains(token) || made.err.contains(token)) << made;
  EXPECT_EQ(run({"waybill", "token", "new", "reader", "--out", secret}).exit_code, 1)
      << "it would have been overwritten";

  ASSERT_TRUE(broker_.start());
  EXPECT_TRUE(broker_.log().contains("access.users_readable")) << broker_.log();
  const ProgramOptions options{.broker = broker_.address()};
  Words list{"waybill", "topic", "list", "--user", "reader", "--token-file"};
  for (const auto& [path, code] : std::map<std::string, int>{{secret, 0}, {secret + ".no", 2}}) {
    Words line = list;
    line.push_back(path);
    Finished end = run(line, options);
    EXPECT_EQ(end.exit_code, code) << end;
  }
}

TEST_F(UsersRun, AUsersFileThatIsWrongEndsTheStartWithItsLine) {
  EXPECT_EQ(broker_.start_and_fail(), 2);
  EXPECT_TRUE(broker_.log().contains(file_ + ": cannot be read")) << broker_.log();
  std::ofstream(file_) << "# nobody yet\nreader 12ab view\n";
  EXPECT_EQ(broker_.start_and_fail(), 2);
  EXPECT_TRUE(broker_.log().contains(file_ + ", line 2:")) << broker_.log();
}

TEST(Tokens, AreNeverTheSameAndTheirLineHasTheirHash) {
  std::set<std::string> tokens;
  for (int i = 0; i < 3; ++i) {
    Finished made = run({"waybill", "-o", "json", "token", "new", "anna", "view", "fix"});
    ASSERT_EQ(made.exit_code, 0) << made;
    boost::json::value json = boost::json::parse(made.out);
    tokens.insert(std::string(json.at("token").as_string()));
    EXPECT_TRUE(json.at("line").as_string().ends_with(" view fix"));
  }
  EXPECT_EQ(tokens.size(), 3U);
  EXPECT_EQ(run({"waybill", "token", "new", "anna", "fly"}).exit_code, 2);
  EXPECT_EQ(run({"waybill", "token", "new", "a b"}).exit_code, 2);
}

}  // namespace
}  // namespace waybill

// Goal: a users file is understood exactly or refused with the line that is wrong, and a token is
// its user's alone (D18).
// Method: texts, and files of a temporary directory; hashes are those that sha256sum prints.
#include "broker/server/users.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/broker_process.h"

namespace waybill {
namespace {

// printf 'secret of anna' | sha256sum
const std::string kAnna = "02f896a877b963dd8f03c3a309f3f73b182a5cfc3128246cbe988338239b996a";
const std::string kBert = "a4671adcf3bf70e0a28a17d2de404f50fa900606eb2f7fb36fe1f92bc54313ca";

std::string problem(const std::string& text) {
  Reply<Users> users = Users::parse(text);
  return users ? "" : users.error().explanation;
}

TEST(Users, D18NamesHashesAndRightsAreRead) {
  Reply<Users> users = Users::parse("# who may what\n\n  anna\t" + kAnna +
                                    "  view fix:billing.*\r\n\n  # more\nbert " + kBert);
  ASSERT_TRUE(users.ok()) << users.error().explanation;
  EXPECT_EQ(users->size(), 2u);
  const User* anna = users->find("anna", "secret of anna");
  ASSERT_NE(anna, nullptr);
  EXPECT_EQ(anna->name, "anna");
  for (Right right : all_rights()) {
    EXPECT_EQ(anna->may(right), right == Right::kView || right == Right::kFix) << name(right);
    EXPECT_EQ(anna->may_everywhere(right), right == Right::kView) << name(right);
  }
  EXPECT_TRUE(anna->may(Right::kFix, "billing.de"));
  EXPECT_FALSE(anna->may(Right::kFix, "shipping"));
  EXPECT_TRUE(anna->may(Right::kView, "shipping"));
  const User* bert = users->find("bert", "secret of bert");
  ASSERT_NE(bert, nullptr);
  EXPECT_TRUE(bert->grants.empty());
  EXPECT_TRUE(bert->may_everywhere(Right::kNone)) << "names and counts are every user's";
}

TEST(Users, D18ATokenIsItsUsersAloneAndWhole) {
  Reply<Users> users = Users::parse("anna " + kAnna + "\nbert " + kBert + "\n");
  ASSERT_TRUE(users.ok());
  const std::string longer("secret of anna\0", 15);
  for (const auto& [name, token] :
       std::vector<std::pair<std::string, std::string>>{{"anna", "secret of bert"},
                                                        {"bert", "secret of anna"},
                                                        {"anna", ""},
                                                        {"", "secret of anna"},
                                                        {"", ""},
                                                        {"Anna", "secret of anna"},
                                                        {"ann", "secret of anna"},
                                                        {"anna ", "secret of anna"},
                                                        {"carl", "secret of anna"},
                                                        {"anna", "secret of ann"},
                                                        {"anna", longer},
                                                        {"anna", kAnna}}) {
    EXPECT_EQ(users->find(name, token), nullptr) << name << " with " << token;
  }
}

TEST(Users, WhatIsWrongIsSaidWithItsLine) {
  const std::string good = "anna " + kAnna + " view\n";
  struct Case {
    std::string text;
    std::vector<std::string> says;
  };
  const std::vector<Case> cases = {
      {"", {"no user"}},
      {"# only a comment\n\n", {"no user"}},
      {good + "\nbert " + kBert + " view everything\n",
       {"line 3:", "\"everything\" is no right", "publish", "discard", "admin"}},
      {good + "anna " + kBert + "\n", {"line 2:", "\"anna\" is there twice"}},
      {good + "anna " + kAnna + "\n", {"line 2:", "\"anna\" is there twice"}},
      {good + "bert " + kAnna + "\n", {"line 2:", "\"bert\" has the token of \"anna\""}},
      {"bert\n", {"line 1:", "SHA-256", "waybill token new"}},
      {"bert view\n", {"line 1:", "64 hex digits"}},
      {"bert " + kBert.substr(1) + "\n", {"line 1:", "64 hex digits"}},
      {"bert " + kBert + "0\n", {"line 1:", "64 hex digits"}},
      {"bert g" + kBert.substr(1) + "\n", {"line 1:", "64 hex digits"}},
      {"b\xc3\xa4rbel " + kBert + "\n", {"line 1:", "character that is not allowed"}},
      {".. " + kBert + "\n", {"line 1:", "user name"}},
      {std::string(250, 'x') + " " + kBert + "\n", {"line 1:", "at most 249"}},
      {good + "bert " + kBert + " View\n", {"line 2:", "\"View\" is no right"}},
      {good + "bert " + kBert + " none\n", {"line 2:", "\"none\" is no right"}},
      {good + "bert " + kBert + " admin:orders\n", {"line 2:", "the whole broker"}},
      {good + "bert " + kBert + " view:a/b\n", {"line 2:", "\"view:a/b\"", "not allowed"}},
  };
  for (const Case& one : cases) {
    std::string said = problem(one.text);
    for (const std::string& part : one.says) {
      EXPECT_NE(said.find(part), std::string::npos) << one.text << "\nsays: " << said;
    }
  }
}

class UsersFileTest : public testing::Test {
 protected:
  void write(const std::string& text, std::filesystem::perms mode) {
    std::ofstream(path_) << text;
    std::filesystem::permissions(path_, mode);
  }
  std::string problem() {
    Reply<UsersFile> file = read_users_file(path_);
    return file ? "" : file.error().explanation;
  }

  TempDirectory directory_;
  std::filesystem::path path_ = directory_.path() / "users";
};

TEST_F(UsersFileTest, IsReadAndWhoeverElseMayReadItIsSaid) {
  using std::filesystem::perms;
  write("anna " + kAnna + " view\n", perms::owner_read | perms::owner_write | perms::group_read);
  Reply<UsersFile> file = read_users_file(path_);
  ASSERT_TRUE(file.ok()) << file.error().explanation;
  EXPECT_EQ(file->users.size(), 1u);
  EXPECT_FALSE(file->readable_by_others);
  std::filesystem::permissions(path_, perms::others_read, std::filesystem::perm_options::add);
  file = read_users_file(path_);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file->readable_by_others);
}

TEST_F(UsersFileTest, ProblemsNameTheFileAndTheLine) {
  using std::filesystem::perms;
  EXPECT_NE(problem().find(path_.string() + ": cannot be read (No such file"), std::string::npos)
      << problem();
  write("anna " + kAnna + " view\nbert " + kBert + " fly\n", perms::owner_all);
  EXPECT_NE(problem().find(path_.string() + ", line 2: \"fly\""), std::string::npos) << problem();
  write("", perms::owner_all);
  EXPECT_NE(problem().find(path_.string() + ", there is no user"), std::string::npos) << problem();
  write("anna " + kAnna + " view\n", perms::owner_all | perms::others_write);
  EXPECT_NE(problem().find("give themselves every right"), std::string::npos) << problem();
  std::filesystem::permissions(path_, perms::owner_all);
  write(std::string(1024 * 1024 + 1, '\n'), perms::owner_all);
  EXPECT_NE(problem().find("longer than 1 MiB"), std::string::npos) << problem();
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  EXPECT_NE(problem().find("no regular file"), std::string::npos) << problem();
}

TEST_F(UsersFileTest, APipeThatNobodyWritesToDoesNotHoldUpTheStart) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_NE(problem().find("no regular file"), std::string::npos) << problem();
}

}  // namespace
}  // namespace waybill

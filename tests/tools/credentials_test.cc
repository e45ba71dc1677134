// Goal: a token is read from where it is kept, whole, and never taken for another file's content.
// Method: files of a temporary directory.
#include "tools/credentials.h"

#include <gtest/gtest.h>

#include <fstream>

#include "protocol/base/limits.h"
#include "tests/support/broker_process.h"

namespace waybill::cli {
namespace {

TEST(CredentialsTest, D18ATokenIsTheFirstLineOfItsFileOrTheEnvironments) {
  TempDirectory directory;
  const std::string path = directory.path() / "token";
  for (const char* content : {"secret", "secret\n", "secret \t\r\n", "secret\nmore\n"}) {
    std::ofstream(path) << content;
    Checked<Credentials> found = find_credentials("anna", path, "of the environment");
    ASSERT_TRUE(found.ok()) << found.error().text;
    EXPECT_EQ(found->user, "anna");
    EXPECT_EQ(found->token, "secret");
  }
  EXPECT_EQ(find_credentials("", "", "of the environment")->token, "of the environment");
  EXPECT_EQ(find_credentials("", "", "")->token, "");
}

TEST(CredentialsTest, AFileWithoutATokenIsAProblemThatNamesIt) {
  TempDirectory directory;
  const std::string path = directory.path() / "tok\x1b";
  for (const std::string& content :
       {std::string(), std::string(" \n"), std::string("\nsecret\n")}) {
    std::ofstream(path) << content;
    Checked<Credentials> found = find_credentials("", path, "of the environment");
    ASSERT_FALSE(found.ok());
    EXPECT_TRUE(found.error().text.contains("tok\\x1b")) << found.error().text;
  }
  EXPECT_FALSE(find_credentials("", directory.path() / "absent", "").ok());
  EXPECT_FALSE(find_credentials("", directory.path(), "").ok());
  std::ofstream(path) << std::string(limits::kMaxToken, 'x') << "\n";
  EXPECT_TRUE(find_credentials("", path, "").ok());
  std::ofstream(path) << std::string(limits::kMaxToken + 1, 'x') << "\n";
  EXPECT_TRUE(find_credentials("", path, "").error().text.contains("at most 256"));
}

}  // namespace
}  // namespace waybill::cli

// Goal: a right is limited to exactly the topics and groups that its text says (D18).
// Method: texts in, names tried against what they became.
#include "protocol/model/grant.h"

#include <gtest/gtest.h>

namespace waybill {
namespace {

Grant grant(std::string_view text) {
  Reply<Grant> parsed = parse_grant(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return parsed ? *parsed : Grant{};
}

TEST(Grant, D18CoversItsNameItsBeginningOrEverything) {
  EXPECT_TRUE(grant("view").covers("billing"));
  EXPECT_TRUE(grant("view:*").covers("billing"));
  EXPECT_TRUE(grant("view:billing").covers("billing"));
  EXPECT_FALSE(grant("view:billing").covers("billing.de"));
  EXPECT_FALSE(grant("view:billing").covers("billin"));
  EXPECT_FALSE(grant("view:billing").covers("Billing"));
  EXPECT_TRUE(grant("view:billing.*").covers("billing.de"));
  EXPECT_TRUE(grant("view:billing.*").covers("billing."));
  EXPECT_FALSE(grant("view:billing.*").covers("billing"));
  EXPECT_FALSE(grant("view:billing.*").covers("billings"));
  EXPECT_FALSE(grant("view:billing").covers(""));
}

TEST(Grant, IsWrittenAsItIsRead) {
  for (Right right : all_rights()) {
    for (std::string where : {"", ":orders", ":orders.*"}) {
      if (right == Right::kAdmin && !where.empty()) continue;
      std::string text = std::string(name(right)) + where;
      EXPECT_EQ(grant(text).right, right) << text;
      EXPECT_EQ(to_string(grant(text)), text);
    }
  }
  EXPECT_EQ(to_string(grant("view:*")), "view") << "it is the same";
}

TEST(Grant, AnythingElseIsRefused) {
  for (const char* text :
       {"", "none", "View", "views", " view", "view ", "view:", "view:a b", "view:a*b", "view:**",
        "view:*a", "view:..", "view:a:b", ":orders", "admin:orders", "admin:*", "view:\x1b[2J"}) {
    EXPECT_FALSE(parse_grant(text).ok()) << text;
  }
}

}  // namespace
}  // namespace waybill

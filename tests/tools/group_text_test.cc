// Goal: an operator reads from `group describe` what a group does, what stops it, and where every
// message is (D9, D13, D19), within the width of a terminal; scripts get the same as JSON.
// Method: groups and accounts made by hand, their texts and JSON searched.
#include "tools/group_text.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <boost/pfr.hpp>
#include <sstream>

#include "tools/accounting.h"
#include "tools/json_output.h"

namespace waybill::cli {
namespace {

namespace json = boost::json;

GroupInfo a_group() {
  GroupInfo group;
  group.name = "billing";
  group.policy.ordering = Ordering::kKey;
  return group;
}

std::size_t longest_line(const std::string& text) {
  std::size_t longest = 0;
  std::stringstream lines(text);
  for (std::string line; std::getline(lines, line);) longest = std::max(longest, line.size());
  return longest;
}

TEST(GroupTextTest, ThePolicyFitsATerminalAndSaysEverything) {
  GroupPolicy policy = a_group().policy;
  policy.on_dead_letter = OnDeadLetter::kHold;
  std::string text = policy_text(policy);
  EXPECT_LE(longest_line(text), 100U) << text;
  for (const char* part : {"key", "8, then a dead letter (hold, at most 100000 a partition)",
                           "transient free (for 1d)", "invalid dead letter",
                           "50 % of the last 20, or 10 in a row", "expired         drop"}) {
    EXPECT_TRUE(text.contains(part)) << part << "\n" << text;
  }
  policy.brake.enabled = false;
  EXPECT_TRUE(policy_text(policy).contains("brake           off"));
}

TEST(GroupTextTest, TheStateIsSilentWhileAllIsWell) {
  GroupInfo group = a_group();
  EXPECT_EQ(state_text(group), "");
  EXPECT_EQ(state_name(group), "delivers");
  group.paused = true;
  EXPECT_TRUE(state_text(group).contains("'waybill group resume billing'"));
  EXPECT_EQ(state_name(group), "paused");
}

TEST(GroupTextTest, TheBrakeSaysSinceWhenWhyAndWhoDecided_D13) {
  GroupInfo group = a_group();
  group.brake = {BrakeState::kOpen, BrakeMode::kAutomatic, {1'893'456'000'000}, "11 of \x1b[2J 20"};
  std::string text = state_text(group);
  EXPECT_TRUE(text.contains("open since 2030-01-01T00:00:00")) << text;
  EXPECT_TRUE(text.contains("11 of \\x1b[2J 20")) << text;
  EXPECT_EQ(state_name(group), "brake open");
  group.brake = {BrakeState::kClosed, BrakeMode::kForcedClosed, {}, ""};
  EXPECT_TRUE(state_text(group).contains("closed (forced closed)"));
  json::object object = json::parse(to_json(group, "orders")).as_object();
  EXPECT_EQ(object.at("brake").at("mode").as_string(), "forced closed");
  EXPECT_TRUE(object.at("brake").at("since").is_null());
  EXPECT_EQ(object.at("policy").at("failures").at("invalid").as_string(), "dead_letter");
  EXPECT_EQ(object.at("policy").at("brake").at("in_a_row").as_int64(), 10);
  EXPECT_FALSE(object.at("paused").as_bool());
}

TEST(AccountingTest, EveryStateOfTheModelIsShown_D19) {
  Accounting accounting;
  std::uint64_t each = 0;
  for (const AccountingState& state : kAccountingStates) accounting.*state.count = ++each;
  EXPECT_EQ(accounting.sum(), each * (each + 1) / 2) << "no state is missing or there twice";
  EXPECT_EQ(kAccountingStates.size() + 2, boost::pfr::tuple_size_v<Accounting>);
}

TEST(AccountingTest, TheTableShowsOnlyStatesThatOccur) {
  Accounting quiet{.start = {0}, .end = {4}, .done = 3, .ready = 1};
  std::string small = accounting_table({{{0}, quiet, "no credit"}}, "WAITING FOR");
  EXPECT_TRUE(small.starts_with("PARTITION  DONE  READY  LEASED  DEAD  SUM  IN LOG  WAITING FOR\n"))
      << small;
  EXPECT_TRUE(small.contains("no credit"));
  EXPECT_FALSE(small.contains("all"));

  Accounting busy{.start = {0}, .end = {3}, .done = 1, .scheduled = 1, .held = 1};
  std::string both = accounting_table({{{0}, quiet, ""}, {{1}, busy, ""}}, "");
  EXPECT_TRUE(
      both.starts_with("PARTITION  DONE  READY  SCHEDULED  LEASED  HELD  DEAD  SUM  IN LOG\n"))
      << both;
  EXPECT_TRUE(
      both.contains("\nall           4      1          1       0     1     0    7       7\n"))
      << both;
}

TEST(AccountingTest, JsonHasAllStatesByName) {
  DescribeGroupReply reply;
  reply.group = a_group();
  reply.partitions.push_back({.partition = {0},
                              .accounting = {.start = {2}, .end = {5}, .held = 2, .expired = 1},
                              .failures = 9,
                              .redelivered = 1,
                              .waiting = Waiting::kHeldFull});
  json::object partition =
      json::parse(to_json(reply)).at("partitions").as_array().at(0).as_object();
  EXPECT_EQ(partition.at("held").as_int64(), 2);
  EXPECT_EQ(partition.at("expired").as_int64(), 1);
  EXPECT_EQ(partition.at("sum").as_int64(), 3);
  EXPECT_EQ(partition.at("start").as_int64(), 2);
  EXPECT_EQ(partition.at("waiting_for").as_string(), "held full");
}

TEST(GroupJsonTest, AResetAndACheckSayWhetherItWasDoneAndWhetherItAgrees) {
  ResetGroupReply reset{a_group(), {{{0}, {4}, {0}, 4, 0, 1, 2}}};
  json::object dry = json::parse(to_json(reset, false)).as_object();
  EXPECT_FALSE(dry.at("done").as_bool());
  EXPECT_EQ(dry.at("partitions").at(0).at("redelivered").as_int64(), 4);
  EXPECT_EQ(dry.at("partitions").at(0).at("dead_kept").as_int64(), 2);
  CheckGroupReply check{
      {{{0}, {.start = {0}, .end = {1}, .done = 1}, {.start = {0}, .end = {1}, .ready = 1}}}};
  json::object off = json::parse(to_json(check, "billing", false)).as_object();
  EXPECT_FALSE(off.at("agrees").as_bool());
  EXPECT_EQ(off.at("partitions").at(0).at("kept").at("done").as_int64(), 1);
  EXPECT_EQ(off.at("partitions").at(0).at("counted").at("ready").as_int64(), 1);
}

TEST(ProducerJsonTest, NamesTheTopicsItPublishedTo) {
  Catalog catalog;
  catalog.topics.push_back({{7}, "orders", 1, {}});
  ProducerInfo producer{{*parse_uuid("0191d3c4-7e2a-7c3b-9f10-5a6b7c8d9e0f")},
                        3,
                        "lane 0",
                        {{{7}, {1}, 42}, {{8}, {0}, 5}}};
  json::object object = json::parse(to_json(producer, catalog)).as_object();
  EXPECT_EQ(object.at("id").as_string(), "0191d3c4-7e2a-7c3b-9f10-5a6b7c8d9e0f");
  EXPECT_EQ(object.at("positions").at(0).at("topic").as_string(), "orders");
  EXPECT_EQ(object.at("positions").at(0).at("last_sequence").as_int64(), 42);
  EXPECT_TRUE(object.at("positions").at(1).at("topic").is_null()) << "deleted since";
}

}  // namespace
}  // namespace waybill::cli

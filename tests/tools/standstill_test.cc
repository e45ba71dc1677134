// Goal: whoever waits for a group's end is told when only a person can bring it, and never sooner.
// Method: descriptions of groups, one after the other, as a broker would send them.
#include "tools/standstill.h"

#include <gtest/gtest.h>

namespace waybill::cli {
namespace {

DescribeGroupReply group_with(std::uint64_t ready, Waiting waiting = Waiting::kNothing) {
  DescribeGroupReply reply;
  reply.group.name = "billing";
  GroupPartitionStatus status;
  status.accounting.ready = ready;
  status.waiting = waiting;
  reply.partitions.push_back(status);
  return reply;
}

DescribeGroupReply braked(BrakeState state, std::int64_t since) {
  DescribeGroupReply reply = group_with(5, Waiting::kBraked);
  reply.group.brake = {state, BrakeMode::kAutomatic, WallTime{since}, "3 in a row failed"};
  return reply;
}

TEST(StandstillWatchTest, AGroupThatDeliversGoesOn) {
  EXPECT_FALSE(StandstillWatch().look(group_with(5)).has_value());
  EXPECT_FALSE(StandstillWatch().look(group_with(5, Waiting::kAllKeysBusy)).has_value());
}

TEST(StandstillWatchTest, APauseAndAForcedBrakeEndAtOnce) {
  DescribeGroupReply paused = group_with(5, Waiting::kPaused);
  paused.group.paused = true;
  std::optional<Standstill> found = StandstillWatch().look(paused);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->next.contains("group resume billing"));

  DescribeGroupReply forced = braked(BrakeState::kOpen, 1);
  forced.group.brake.mode = BrakeMode::kForcedOpen;
  found = StandstillWatch().look(forced);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->next.contains("group brake billing auto"));
}

TEST(StandstillWatchTest, AnOpenBrakeIsGivenOneProbe_D13) {
  StandstillWatch watch;
  EXPECT_FALSE(watch.look(braked(BrakeState::kOpen, 1)).has_value());
  EXPECT_FALSE(watch.look(braked(BrakeState::kOpen, 1)).has_value());
  EXPECT_FALSE(watch.look(braked(BrakeState::kProbing, 2)).has_value());
  std::optional<Standstill> found = watch.look(braked(BrakeState::kOpen, 3));
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->why.contains("3 in a row failed"));
}

TEST(StandstillWatchTest, AProbeThatIsUnderWayIsTheOne_D13) {
  StandstillWatch watch;
  EXPECT_FALSE(watch.look(braked(BrakeState::kProbing, 1)).has_value());
  EXPECT_TRUE(watch.look(braked(BrakeState::kOpen, 2)).has_value());
}

TEST(StandstillWatchTest, ABrakeThatClosedBeginsAnew_D13) {
  StandstillWatch watch;
  EXPECT_FALSE(watch.look(braked(BrakeState::kOpen, 1)).has_value());
  EXPECT_FALSE(watch.look(braked(BrakeState::kClosed, 2)).has_value());
  EXPECT_FALSE(watch.look(braked(BrakeState::kOpen, 3)).has_value());
}

TEST(StandstillWatchTest, AFullHoldEndsOnceNothingElseIsUnderWay_D12) {
  DescribeGroupReply reply = group_with(5, Waiting::kHeldFull);
  EXPECT_TRUE(StandstillWatch().look(reply).has_value());
  reply.partitions[0].accounting.leased = 1;
  EXPECT_FALSE(StandstillWatch().look(reply).has_value()) << "it may give room yet";
  reply.partitions[0].accounting.leased = 0;
  reply.partitions.push_back(group_with(1).partitions[0]);
  EXPECT_FALSE(StandstillWatch().look(reply).has_value()) << "another partition goes on";
}

}  // namespace
}  // namespace waybill::cli

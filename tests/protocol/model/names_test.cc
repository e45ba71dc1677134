// Goal: every number of the enums that travel has a name of its own, and no other number has one.
// Method: all 256 numbers of each enum.
#include <gtest/gtest.h>

#include <set>

#include "protocol/model/requests.h"

namespace waybill {
namespace {

template <class Enum>
std::set<std::string_view> names_of(unsigned last) {
  std::set<std::string_view> names;
  for (unsigned number = 0; number < 256; ++number) {
    std::string_view text = name(static_cast<Enum>(number));
    EXPECT_EQ(text != "unknown", number >= 1 && number <= last) << number;
    if (text != "unknown") names.insert(text);
  }
  EXPECT_EQ(names.size(), last);
  return names;
}

TEST(Names, AreCompleteAndDistinct) {
  names_of<FailureClass>(5);
  names_of<Ordering>(3);
  names_of<OnDeadLetter>(2);
  names_of<Attempts>(2);
  names_of<BackoffKind>(3);
  names_of<Jitter>(3);
  names_of<StartKind>(4);
  names_of<DeadLetterState>(5);
  names_of<DeadLetterReason>(6);
  names_of<FailureAction>(3);
  names_of<OnExpiry>(2);
  names_of<BrakeState>(3);
  names_of<BrakeMode>(3);
}

TEST(Names, AReasonToWaitCountsFromNothing) {
  std::set<std::string_view> names;
  for (unsigned number = 0; number < 256; ++number) {
    std::string_view text = name(static_cast<Waiting>(number));
    EXPECT_EQ(text != "unknown", number <= 9) << number;
    names.insert(text);
  }
  EXPECT_EQ(names.size(), 11u);
}

}  // namespace
}  // namespace waybill

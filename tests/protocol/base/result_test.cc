// Goal: a Result holds exactly one of value and error, moves what cannot be copied, and stops the
// process when asked for what it does not hold. Method: both states of each kind; death tests.
#include "protocol/base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace waybill {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return {Errc::kInvalidRequest, "half"};
  return number / 2;
}

TEST(Result, HoldsAValue) {
  Result<int> result = half(8);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(static_cast<bool>(result));
  EXPECT_EQ(*result, 4);
  EXPECT_EQ(result.value(), 4);
}

TEST(Result, HoldsAnError) {
  Result<int> result = half(7);
  ASSERT_FALSE(result.ok());
  EXPECT_TRUE(result.error() == Errc::kInvalidRequest);
  EXPECT_STREQ(result.error().where, "half");
  EXPECT_EQ(result.error().os_errno, 0);
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(5));
  EXPECT_EQ(**result, 5);
  std::unique_ptr<int> taken = std::move(*result);
  EXPECT_EQ(*taken, 5);
}

TEST(Result, CanBeChangedInPlace) {
  Result<std::string> result(std::string("a"));
  result->append("b");
  EXPECT_EQ(*result, "ab");
}

TEST(Result, OfVoidIsOkUntilItIsNot) {
  Result<void> fine;
  EXPECT_TRUE(fine.ok());
  fine.value();
  Result<void> failed(Errc::kIo, "write");
  EXPECT_FALSE(failed.ok());
  EXPECT_TRUE(failed.error() == Errc::kIo);
}

TEST(Result, CarriesOtherErrorTypes) {
  Result<int, std::string> failed(std::string("why"));
  EXPECT_FALSE(failed.ok());
  EXPECT_EQ(failed.error(), "why");
  Result<void, std::string> nothing;
  EXPECT_TRUE(nothing.ok());
}

TEST(ResultDeathTest, StopsWhenAskedForWhatItDoesNotHold) {
  EXPECT_DEATH((void)half(7).value(), "value\\(\\) of a failed Result");
  EXPECT_DEATH((void)half(8).error(), "error\\(\\) of a successful Result");
  EXPECT_DEATH((void)Result<void>().error(), "error\\(\\) of a successful Result");
  EXPECT_DEATH(Result<void>(Errc::kIo, "write").value(), "value\\(\\) of a failed Result");
}

}  // namespace
}  // namespace waybill

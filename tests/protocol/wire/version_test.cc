// Goal: two sides agree on the highest common version and on common features, or say why not.
// Method: every pair of windows of versions 1 to 4 against a search by hand.
#include "protocol/wire/version.h"

#include <gtest/gtest.h>

namespace waybill {
namespace {

int highest_common(int a_min, int a_max, int b_min, int b_max) {
  for (int version = 4; version >= 1; --version) {
    if (version >= a_min && version <= a_max && version >= b_min && version <= b_max) {
      return version;
    }
  }
  return 0;
}

HelloRequest offer(int min, int max, std::uint64_t features = 0) {
  HelloRequest hello;
  hello.min_version = static_cast<std::uint8_t>(min);
  hello.max_version = static_cast<std::uint8_t>(max);
  hello.features = features;
  return hello;
}

TEST(Version, TheHighestCommonVersionIsChosen) {
  for (int a_min = 1; a_min <= 4; ++a_min) {
    for (int a_max = a_min; a_max <= 4; ++a_max) {
      for (int b_min = 1; b_min <= 4; ++b_min) {
        for (int b_max = b_min; b_max <= 4; ++b_max) {
          VersionWindow ours{static_cast<std::uint8_t>(b_min), static_cast<std::uint8_t>(b_max), 0};
          Reply<Negotiated> agreed = negotiate(offer(a_min, a_max), ours);
          int expected = highest_common(a_min, a_max, b_min, b_max);
          ASSERT_EQ(agreed ? agreed->version : 0, expected);
          if (agreed) continue;
          EXPECT_EQ(agreed.error().code, Errc::kUnsupportedVersion);
        }
      }
    }
  }
}

TEST(Version, TheRefusalSaysWhoIsToBeUpgraded) {
  EXPECT_EQ(negotiate(offer(1, 1), {2, 3, 0}).error().explanation,
            "the client speaks protocol versions 1 to 1, this broker 2 to 3; upgrade the client");
  EXPECT_EQ(negotiate(offer(5, 6), {2, 3, 0}).error().explanation,
            "the client speaks protocol versions 5 to 6, this broker 2 to 3; upgrade the broker");
}

TEST(Version, FeaturesCountOnlyIfBothStateThem) {
  EXPECT_EQ(negotiate(offer(1, 1, 0b0110), {1, 1, 0b0011})->features, 0b0010u);
}

TEST(Version, TheClientChecksTheBrokersChoice) {
  EXPECT_TRUE(accept_negotiated(offer(1, 2, 1), {2, 1, "", {}}).ok());
  EXPECT_FALSE(accept_negotiated(offer(1, 2, 1), {3, 1, "", {}}).ok());
  EXPECT_FALSE(accept_negotiated(offer(2, 2, 1), {1, 1, "", {}}).ok());
  EXPECT_FALSE(accept_negotiated(offer(1, 2, 1), {2, 3, "", {}}).ok());
}

}  // namespace
}  // namespace waybill

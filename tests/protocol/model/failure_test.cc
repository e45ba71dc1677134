// Goal: failures are bounded, and equal ones share a fingerprint whatever varies from message to
// message.
// Method: examples of real error texts; cuts at every length of a text with long characters.
#include "protocol/model/failure.h"

#include <gtest/gtest.h>

#include "protocol/base/limits.h"

namespace waybill {
namespace {

Failure failure(std::string code, std::string detail) {
  return {FailureClass::kFailed, std::move(code), std::move(detail)};
}

TEST(Failure, CodeAndDetailAreCutToTheirLimits) {
  Failure cut = bounded(failure(std::string(100, 'c'), std::string(5000, 'd')));
  EXPECT_EQ(cut.code, std::string(limits::kMaxFailureCode, 'c'));
  EXPECT_EQ(cut.detail.size(), limits::kMaxFailureDetail);
  EXPECT_TRUE(cut.detail.ends_with("d…"));
}

TEST(Failure, WhatFitsIsNotCut) {
  Failure whole = failure(std::string(limits::kMaxFailureCode, 'c'),
                          std::string(limits::kMaxFailureDetail, 'd'));
  EXPECT_EQ(bounded(whole), whole);
  EXPECT_EQ(bounded(bounded(failure("c", std::string(5000, 'd')))),
            bounded(failure("c", std::string(5000, 'd'))));
}

TEST(Failure, CutsNeverSplitACharacter) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += "€";  // three bytes each
  for (std::size_t limit = 3; limit < text.size(); ++limit) {
    std::string cut = cut_text(text, limit);
    EXPECT_LE(cut.size(), limit);
    EXPECT_EQ(cut.size() % 3, 0u) << limit;
    EXPECT_TRUE(cut.ends_with("…"));
  }
  EXPECT_EQ(cut_text(text, text.size()), text);
  EXPECT_EQ(cut_text(text, 2), "");
}

TEST(Failure, CutsTextThatIsNoUtf8) {
  std::string text(100, '\x80');
  EXPECT_LE(cut_text(text, 50).size(), 50u);
  EXPECT_GE(cut_text(text, 50).size(), 40u);
}

TEST(NormalisedDetail, NumbersIdsAndQuotedTextBecomePlaceholders) {
  EXPECT_EQ(normalised_detail("order 4711 not found"), "order <n> not found");
  EXPECT_EQ(normalised_detail("row42b at 12:30:01.5"), "row<n>b at <n>:<n>:<n>.<n>");
  EXPECT_EQ(normalised_detail("id 0191d3c4-7e2a-7c3b-9f10-5a6b7c8d9e0f gone"), "id <n> gone");
  EXPECT_EQ(normalised_detail("commit 9fceb02d0ae598e9 is bad"), "commit <n> is bad");
  EXPECT_EQ(normalised_detail("segfault at 0x7ffdeadbeef"), "segfault at <n>");
  EXPECT_EQ(normalised_detail("state \"shiped\" is unknown"), "state <text> is unknown");
  EXPECT_EQ(normalised_detail("no column 'naem' in `orders`"), "no column <text> in <text>");
}

TEST(NormalisedDetail, WordsStay) {
  EXPECT_EQ(normalised_detail("can't parse the customer's façade"),
            "can't parse the customer's façade");
  EXPECT_EQ(normalised_detail("deadbeef facade add"), "deadbeef facade add");
  EXPECT_EQ(normalised_detail("an \"open quote"), "an \"open quote");
  EXPECT_EQ(normalised_detail("'it's broken' he said"), "<text> he said");
  EXPECT_EQ(normalised_detail(""), "");
}

TEST(NormalisedDetail, IsBounded) {
  EXPECT_LE(normalised_detail(std::string(100'000, 'x')).size(), 256u);
  EXPECT_LE(normalised_detail(std::string(100'000, '"')).size(), 256u);
}

TEST(Fingerprint, IsSharedByFailuresThatDifferOnlyInWhatVaries) {
  EXPECT_EQ(fingerprint(failure("unknown_state", "order 1: state \"a\"")),
            fingerprint(failure("unknown_state", "order 99: state \"bcd\"")));
}

TEST(Fingerprint, DiffersByClassCodeAndText) {
  Failure base = failure("a", "text");
  Failure other_class = base;
  other_class.failure_class = FailureClass::kInvalid;
  EXPECT_NE(fingerprint(base), fingerprint(other_class));
  EXPECT_NE(fingerprint(base), fingerprint(failure("b", "text")));
  EXPECT_NE(fingerprint(base), fingerprint(failure("a", "other text")));
  EXPECT_NE(fingerprint(failure("ab", "c")), fingerprint(failure("a", "bc")));
}

TEST(Fingerprint, IsTheSameBeforeAndAfterTheCut) {
  Failure whole = failure("c", "order 4711: " + std::string(3000, 'x'));
  EXPECT_EQ(fingerprint(whole), fingerprint(bounded(whole)));
}

TEST(Fingerprint, NeverChanges) {
  // It is on disk: another value for the same failure would split its group of dead letters.
  EXPECT_EQ(fingerprint(failure("unknown_state", "order 4711: state \"shiped\"")),
            5869662412039358220u);
}

}  // namespace
}  // namespace waybill

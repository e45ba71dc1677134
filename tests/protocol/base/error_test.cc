// Goal: the error table can be relied upon: ordered, complete, unique, and kind to numbers of newer
// peers. Method: reads the whole table.
#include "protocol/base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

namespace waybill {
namespace {

TEST(ErrcFacts, AreOrderedByNumberWithoutRepeats) {
  std::uint16_t last = 0;
  for (const ErrcFacts& row : all_errc_facts()) {
    EXPECT_GT(static_cast<std::uint16_t>(row.code), last) << row.name;
    last = static_cast<std::uint16_t>(row.code);
  }
}

TEST(ErrcFacts, NamesAreUniqueSnakeCase) {
  std::set<std::string_view> names;
  for (const ErrcFacts& row : all_errc_facts()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(row.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string_view::npos);
    EXPECT_FALSE(row.name.empty());
    EXPECT_FALSE(row.meaning.empty()) << row.name;
  }
}

TEST(ErrcFacts, EveryRowIsFoundByItsCode) {
  for (const ErrcFacts& row : all_errc_facts()) {
    EXPECT_EQ(&facts(row.code), &row) << row.name;
    EXPECT_EQ(name(row.code), row.name);
  }
}

TEST(ErrcFacts, HoldTheFirstAndTheLastCodeOfTheEnum) {
  EXPECT_EQ(all_errc_facts().front().code, Errc::kMalformedFrame);
  EXPECT_EQ(all_errc_facts().back().code, Errc::kClosed);
}

TEST(ErrcFacts, AnUnlistedNumberReadsAsUnknownWithUnknownOutcome) {
  for (std::uint16_t number : std::initializer_list<std::uint16_t>{0, 19, 99, 199, 9999, 65535}) {
    const ErrcFacts& unknown = facts(static_cast<Errc>(number));
    EXPECT_EQ(unknown.name, "unknown_error") << number;
    EXPECT_FALSE(unknown.retriable);
    EXPECT_TRUE(unknown.outcome_unknown);
  }
}

TEST(Error, SaysWhereWhatAndTheSystemsReason) {
  EXPECT_EQ(to_string(Error{Errc::kInvalidBatch, 0, "publish"}), "publish: invalid_batch");
  EXPECT_EQ(to_string(Error{Errc::kChecksum}), "checksum");
  EXPECT_EQ(to_string(Error{Errc::kIo, EIO, "disk write"}),
            "disk write: io (errno 5: Input/output error)");
}

}  // namespace
}  // namespace waybill

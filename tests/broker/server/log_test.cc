// Goal: a log line is one line, whatever users put into it, and its pairs can be read back.
// Method: format lines, look at the text.
#include "broker/server/log.h"

#include <gtest/gtest.h>

namespace waybill {
namespace {

TEST(Log, PlainValuesStandAsTheyAre) {
  EXPECT_EQ(format_log_line("broker.ready", {{"port", 7450}, {"new", true}, {"host", "127.0.0.1"}}),
            "broker.ready port=7450 new=true host=127.0.0.1");
}

TEST(Log, ValuesFromUsersCannotBreakTheLine) {
  EXPECT_EQ(format_log_line("e", {{"name", "two words"}}), "e name=\"two words\"");
  EXPECT_EQ(format_log_line("e", {{"name", "a\nforged=1"}}), "e name=\"a\\nforged=1\"");
  EXPECT_EQ(format_log_line("e", {{"name", "say \"hi\\"}}), "e name=\"say \\\"hi\\\\\"");
  EXPECT_EQ(format_log_line("e", {{"name", "\x1b[2J"}}), "e name=\"\\x1b[2J\"");
  EXPECT_EQ(format_log_line("e", {{"name", ""}}), "e name=\"\"");
}

TEST(Log, BytesThatATerminalCouldObeyAreNumbersD18) {
  EXPECT_EQ(format_log_line("e", {{"name", "\xc2\x9b\x7f"}}), "e name=\"\\xc2\\x9b\\x7f\"");
  EXPECT_EQ(format_log_line("e", {{"name", "\xe2\x80\xae\xff"}}),
            "e name=\"\\xe2\\x80\\xae\\xff\"");
}

}  // namespace
}  // namespace waybill

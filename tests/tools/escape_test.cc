// Goal: nothing a user wrote can act on a terminal or pass for our own output (D18).
// Method: texts with control characters, broken UTF-8 and direction marks go through each function;
// the results are compared byte for byte.
#include "tools/escape.h"

#include <gtest/gtest.h>

#include "tools/base64.h"

namespace waybill::cli {
namespace {

TEST(EscapeTest, PlainTextStaysAsItIs) {
  EXPECT_EQ(escaped_line("grün 漢字 \\ \"x\""), "grün 漢字 \\ \"x\"");
}

TEST(EscapeTest, TerminalSequencesLoseTheirPower_D18) {
  EXPECT_EQ(escaped_line("\x1b[2Jgone\r\n\x07"), "\\x1b[2Jgone\\r\\n\\x07");
  EXPECT_EQ(escaped_line("\xc2\x9b"
                         "31m"),
            "\\x9b31m")
      << "C1 control in UTF-8";
  EXPECT_EQ(escaped_line("a\xe2\x80\xae"
                         "b"),
            "a\\u{202e}b")
      << "right-to-left override";
  EXPECT_EQ(escaped_line(std::string("\0x", 2)), "\\x00x");
}

TEST(EscapeTest, TextKeepsNewlinesAndTabsOnly) {
  EXPECT_EQ(escaped_text("a\n\tb\r\x1b"), "a\n\tb\\r\\x1b");
}

TEST(EscapeTest, JsonStaysTheSameJson_D18) {
  EXPECT_EQ(escaped_json("{\"a\": \"gr\xc3\xbcn\",\n\t\"b\": 1}"),
            "{\"a\": \"gr\xc3\xbcn\",\n\t\"b\": 1}");
  EXPECT_EQ(escaped_json("\"\x7f\xc2\x9b\xe2\x80\xae\xef\xbb\xbf\""),
            R"("\u007f\u009b\u202e\ufeff")");
  EXPECT_EQ(escaped_json("\"\xff\""), R"("\ufffd")") << "else it would be no JSON";
}

TEST(EscapeTest, LinesGetAMargin) {
  EXPECT_EQ(indented("a\n\nb", "  "), "  a\n  \n  b\n");
  EXPECT_EQ(indented("a\n", "  "), "  a\n");
  EXPECT_EQ(indented("", "  "), "");
}

TEST(EscapeTest, BrokenUtf8IsShownByteByByte) {
  EXPECT_EQ(escaped_line("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(escaped_line("\xc0\x80"), "\\xc0\\x80") << "overlong";
  EXPECT_EQ(escaped_line("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "surrogate";
  EXPECT_EQ(escaped_line("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80") << "beyond Unicode";
}

TEST(EscapeTest, TextIsToldFromBytes) {
  EXPECT_TRUE(is_text("Zeile\n\tzwei ü"));
  EXPECT_FALSE(is_text("bell\x07"));
  EXPECT_TRUE(is_utf8("bell\x07"));
  EXPECT_FALSE(is_utf8("\x80"));
}

TEST(EscapeTest, ShorteningCountsCharactersAndNeverCutsOne) {
  EXPECT_EQ(shortened("häuser", 6), "häuser");
  EXPECT_EQ(shortened("häuserreihe", 4), "häu…");
  EXPECT_EQ(columns_of(shortened(std::string(100'000, 'x'), 10)), 10U);
}

TEST(EscapeTest, KeysThatAreNotTextBecomeHexadecimal) {
  EXPECT_EQ(shown_bytes(std::nullopt, 10), "-");
  EXPECT_EQ(shown_bytes(to_vector(as_bytes("k1")), 10), "k1");
  EXPECT_EQ(shown_bytes(to_vector(as_bytes(std::string_view("\0\xff", 2))), 10), "0x00ff");
}

TEST(EscapeTest, HexDumpShowsOffsetBytesAndLetters) {
  EXPECT_EQ(hex_dump(as_bytes("Hello\n")),
            "00000000  48 65 6c 6c 6f 0a                                 |Hello.|\n");
}

TEST(Base64Test, EveryLengthComesBackAsItWas) {
  EXPECT_EQ(to_base64(as_bytes("f")), "Zg==");
  EXPECT_EQ(to_base64(as_bytes("foobar")), "Zm9vYmFy");
  for (std::size_t size = 0; size < 50; ++size) {
    ByteVector bytes;
    for (std::size_t index = 0; index < size; ++index) {
      bytes.push_back(static_cast<std::byte>(index * 37 + size));
    }
    auto back = from_base64(to_base64(bytes));
    ASSERT_TRUE(back.has_value()) << size;
    EXPECT_EQ(*back, bytes);
  }
}

TEST(Base64Test, AnythingElseIsRefused) {
  for (const char* text : {"Zg", "Zg=", "Z===", "Zh==", "Zm9v!mFy", "=Zg=", "Zg==Zg=="}) {
    EXPECT_FALSE(from_base64(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace waybill::cli

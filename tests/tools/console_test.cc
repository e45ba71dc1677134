// Goal: data and talk never mix, scripts get exact JSON, and nothing is destroyed without a yes.
// Method: a console over strings; terminals are claimed, answers are given.
#include "tools/console.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tools/dead_letter_name.h"
#include "tools/line_diff.h"
#include "tools/line_source.h"
#include "tools/payload_text.h"
#include "tools/text_table.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

struct FakeTerminal {
  std::string out;
  std::string err;
  std::string answer;
  bool reader_gone = false;

  ConsoleStreams streams(bool terminal) {
    ConsoleStreams streams;
    streams.out = [this](std::string_view data) {
      if (!reader_gone) out += data;
      return !reader_gone;
    };
    streams.err = [this](std::string_view data) { err += data; };
    streams.out_closed = [this] { return reader_gone; };
    streams.read_answer = [this]() -> std::optional<std::string> {
      return answer.empty() ? std::nullopt : std::optional(answer);
    };
    streams.out_is_terminal = streams.err_is_terminal = streams.in_is_terminal = terminal;
    streams.colour = true;
    return streams;
  }
};

TEST(ConsoleTest, ItemsAreTextOrLinesOrOneArray) {
  for (auto [format, expected] :
       {std::pair(OutputFormat::kText, "a\nb\n"), std::pair(OutputFormat::kJsonLines, "1\n2\n"),
        std::pair(OutputFormat::kJson, "[1,\n 2]\n")}) {
    FakeTerminal terminal;
    Console console(terminal.streams(false), format, false);
    console.print_item("a\n", "1");
    console.print_item("b\n", "2");
    console.finish_items();
    EXPECT_EQ(terminal.out, expected);
    EXPECT_EQ(terminal.err, "");
  }
}

TEST(ConsoleTest, SeesThatTheReaderWentWithoutPrinting) {
  FakeTerminal terminal;
  Console console(terminal.streams(false), OutputFormat::kText, false);
  EXPECT_FALSE(console.reader_gone());
  terminal.reader_gone = true;
  EXPECT_TRUE(console.reader_gone());
}

TEST(ConsoleTest, AnEmptyListIsStillAnArray) {
  FakeTerminal terminal;
  Console console(terminal.streams(false), OutputFormat::kJson, false);
  console.finish_items();
  EXPECT_EQ(terminal.out, "[]\n");
}

TEST(ConsoleTest, AnArrayGrowsAsItGoesAndIsEndedWhateverHappens) {
  FakeTerminal terminal;
  {
    Console console(terminal.streams(false), OutputFormat::kJson, false);
    console.print_item({}, "1");
    EXPECT_EQ(terminal.out, "[1")
        << "what is printed may be acknowledged, what is kept may be lost";
    console.complain("it broke");
  }
  EXPECT_EQ(terminal.out, "[1]\n");
}

TEST(ConsoleTest, TalkGoesToStderrAndQuietKeepsErrorsOnly) {
  FakeTerminal terminal;
  Console console(terminal.streams(false), OutputFormat::kText, true);
  console.say("hello");
  console.complain("it broke", "try again\nor not");
  EXPECT_EQ(terminal.out, "");
  EXPECT_EQ(terminal.err, "error: it broke\n  try again\n  or not\n");
}

TEST(ConsoleTest, ThereIsNoColourAndNoProgressOffATerminal) {
  FakeTerminal terminal;
  Console console(terminal.streams(false), OutputFormat::kText, false);
  console.progress("50 %");
  EXPECT_EQ(terminal.err, "");
  console.complain("it broke");
  EXPECT_EQ(terminal.err, "error: it broke\n");
  terminal.err.clear();
  Console colourful(terminal.streams(true), OutputFormat::kText, false);
  colourful.complain("it broke");
  EXPECT_EQ(terminal.err, "\x1b[31merror:\x1b[0m it broke\n");
}

TEST(ConsoleTest, ConfirmationNeedsAPersonOrYes) {
  FakeTerminal terminal;
  Console off(terminal.streams(false), OutputFormat::kText, false);
  EXPECT_FALSE(off.confirm("sure?", false));
  EXPECT_TRUE(terminal.err.contains("--yes"));
  EXPECT_TRUE(off.confirm("sure?", true));
  Console on(terminal.streams(true), OutputFormat::kText, false);
  EXPECT_FALSE(on.confirm("sure?", false)) << "the end of the input is no yes";
  terminal.answer = "no";
  EXPECT_FALSE(on.confirm("sure?", false));
  terminal.answer = "y";
  EXPECT_TRUE(on.confirm("sure?", false));
}

TEST(ConsoleTest, AReaderThatIsGoneIsRemembered) {
  FakeTerminal terminal;
  Console console(terminal.streams(false), OutputFormat::kText, false);
  EXPECT_TRUE(console.print("a"));
  terminal.reader_gone = true;
  EXPECT_FALSE(console.print("b"));
  EXPECT_TRUE(console.reader_gone());
}

TEST(ConsoleTest, NothingButDataIsSaidAsItIs_D18) {
  const std::string hostile = "\x1b[2J\xc2\x9b\xe2\x80\xae\x7f";
  const std::string text = "\\x1b[2J\\x9b\\u{202e}\\x7f";
  for (OutputFormat format : {OutputFormat::kText, OutputFormat::kJson, OutputFormat::kJsonLines}) {
    FakeTerminal terminal;
    Console console(terminal.streams(true), format, false);
    console.say(hostile);
    console.progress(hostile);
    EXPECT_FALSE(console.confirm(hostile, false));
    console.print_one(hostile, "\"" + hostile + "\"");
    console.print_item(hostile, "\"" + hostile + "\"");
    console.finish_items();
    const std::string cleared = "\r\x1b[K";
    EXPECT_EQ(terminal.err, text + "\n" + text + cleared + text + " [y/N] nothing was changed\n");
    const std::string json = R"("\u001b[2J\u009b\u202e\u007f")";
    EXPECT_EQ(terminal.out, format == OutputFormat::kText   ? text + text
                            : format == OutputFormat::kJson ? json + "\n[" + json + "]\n"
                                                            : json + "\n" + json + "\n");
  }
}

TEST(ConsoleTest, AComplaintCannotHoldASecondOne_D18) {
  FakeTerminal terminal;
  Console console(terminal.streams(false), OutputFormat::kText, false);
  console.complain("no group 'x\nerror: \x1b[2J'", "look\nthere");
  EXPECT_EQ(terminal.err, "error: no group 'x\n  error: \\x1b[2J'\n  look\n  there\n");
}

TEST(ConsoleTest, ValuesAreEscapedOnATerminalOnly_D18) {
  FakeTerminal terminal;
  Console on(terminal.streams(true), OutputFormat::kText, false);
  Console off(terminal.streams(false), OutputFormat::kText, false);
  EXPECT_EQ(on.shown_value("\x1b[2J"), "\\x1b[2J");
  EXPECT_EQ(off.shown_value("\x1b[2J"), "\x1b[2J") << "a file gets the bytes as they are";
}

TEST(TextTableTest, ColumnsLineUpByCharacters) {
  TextTable table({"NAME", ">COUNT"});
  table.add({"grün", "7"});
  table.add({"x", "1234567"});
  EXPECT_EQ(table.render(), "NAME    COUNT\ngrün        7\nx     1234567\n");
}

TEST(LineDiffTest, ShowsWhatChangesWithALittleAround) {
  EXPECT_EQ(line_diff("a\nb\n", "a\nb\n"), "");
  EXPECT_EQ(line_diff("a\nb\nc\n", "a\nB\nc\nd\n"), "  a\n- b\n+ B\n  c\n+ d\n");
  EXPECT_EQ(line_diff("x\x1b\n", ""), "- x\\x1b\n");
  std::string many;
  for (int line = 0; line < 100; ++line) many += std::to_string(line) + "\n";
  std::string changed = "first\n" + many.substr(2);
  changed.replace(changed.find("\n90\n"), 4, "\nninety\n");
  EXPECT_EQ(
      line_diff(many, changed),
      "- 0\n+ first\n  1\n  2\n  3\n  ...\n  87\n  88\n  89\n- 90\n+ ninety\n  91\n  92\n  93\n");
}

TEST(LineDiffTest, HugeTextsAreReplacedWhole) {
  std::string before;
  std::string after;
  for (int line = 0; line < 5000; ++line) {
    before += "a" + std::to_string(line) + "\n";
    after += "b" + std::to_string(line) + "\n";
  }
  std::string diff = line_diff(before, after);
  EXPECT_EQ(std::count(diff.begin(), diff.end(), '\n'), 10'000);
}

TEST(PayloadTextTest, JsonTextAndBytesAreToldApart) {
  auto bytes = [](std::string_view text) { return std::optional(to_vector(as_bytes(text))); };
  EXPECT_EQ(payload_kind(bytes("{\"a\":1}")), "JSON, 7 bytes");
  EXPECT_EQ(payload_text(bytes("{\"a\":1}")), "{\n  \"a\": 1\n}\n");
  EXPECT_EQ(payload_kind(bytes("17")), "text, 2 bytes");
  EXPECT_EQ(payload_kind(bytes("\xff")), "binary, 1 bytes");
  EXPECT_TRUE(payload_text(bytes("\xff")).starts_with("00000000"));
  EXPECT_EQ(payload_text(std::nullopt), "");
}

TEST(TimeTextTest, DurationsNeedAUnit) {
  EXPECT_EQ(*parse_duration("1.5s"), std::chrono::milliseconds(1500));
  EXPECT_EQ(*parse_duration("2h"), std::chrono::hours(2));
  for (const char* bad : {"", "5", "s", "-1s", "5 s", "1e99d", "nans"}) {
    EXPECT_FALSE(parse_duration(bad).ok()) << bad;
  }
  EXPECT_EQ(duration_text(std::chrono::milliseconds(90'500)), "1m30s500ms");
}

TEST(TimeTextTest, TimesAreRfc3339) {
  WallTime now{1'000'000};
  EXPECT_EQ(parse_time("1970-01-02", now)->milliseconds, 86'400'000);
  EXPECT_EQ(parse_time("2026-03-01T12:30:00.25Z", now)->milliseconds,
            parse_time("2026-03-01T14:30:00.250+02:00", now)->milliseconds);
  EXPECT_EQ(time_text(*parse_time("2026-03-01T12:30:00.25Z", now)), "2026-03-01T12:30:00.250Z");
  EXPECT_EQ(parse_time("now-1s", now)->milliseconds, 999'000);
  for (const char* bad : {"2026-02-30", "2026-03-01T12:30:00", "yesterday", "2026-3-1", "now-5"}) {
    EXPECT_FALSE(parse_time(bad, now).ok()) << bad;
  }
}

TEST(DeadLetterNameTest, IdsAndFingerprintsComeBack) {
  DeadLetterId id{GroupId{4}, PartitionIndex{2}, 17};
  EXPECT_EQ(dead_letter_name("g", id), "g/2-17");
  EXPECT_EQ(*parse_dead_letter_name("g/2-17", "g", GroupId{4}), id);
  EXPECT_EQ(*parse_dead_letter_name("2-17", "g", GroupId{4}), id);
  for (const char* bad : {"h/2-17", "2", "2-", "-17", "2-x", "2-17-3", "", "g/"}) {
    EXPECT_FALSE(parse_dead_letter_name(bad, "g", GroupId{4}).ok()) << bad;
  }
  EXPECT_EQ(*parse_fingerprint(fingerprint_text(0xab)), 0xabU);
  EXPECT_FALSE(parse_fingerprint("ab").ok());
}

TEST(LineSourceTest, LinesComeWholeAcrossReads) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  LineSource source{Descriptor(ends[0])};
  Descriptor writer(ends[1]);
  auto write = [&](std::string_view text) {
    ASSERT_EQ(::write(writer.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  };
  write("one\ntw");
  EXPECT_EQ(*source.next(), (std::vector<std::string>{"one"}));
  write("o\n\nlast");
  writer.close();
  std::vector<std::string> rest;
  while (true) {
    auto lines = source.next();
    ASSERT_TRUE(lines.ok());
    if (lines->empty()) break;
    rest.insert(rest.end(), lines->begin(), lines->end());
  }
  EXPECT_EQ(rest, (std::vector<std::string>{"two", "", "last"}));
}

}  // namespace
}  // namespace waybill::cli

// Goal: what the project decided not to use does not come back by accident.
// Method: each banned word is looked for in code without comments and literals, outside its named
// homes; marks and names of machines in all text. Planted violations go through the same functions.
#include <regex>

#include "tests/tidy/source_tree.h"

namespace waybill::tidy {
namespace {

struct Ban {
  std::string_view word;
  std::string_view instead;
  std::string_view homes;       ///< who may use it
  std::string_view scope = "";  ///< who is looked at; empty: everybody
};

constexpr std::string_view kSpawn = "spawn() of protocol/async/spawn.h, which reports exceptions";
constexpr std::string_view kWait =
    "wait for what must happen: a future, a descriptor, a ManualClock";
constexpr std::string_view kThread =
    "the threads there are: post to their executors, or name a new home";
constexpr std::string_view kPrint = "return an Error, or log through broker/server/log.h";
constexpr std::string_view kText = "std::string, std::from_chars or fmt::format";
constexpr std::string_view kLibraries = "protocol/ storage/ broker/ client/";
/// Waits for another process, or for a signal, before there is anything else to wait on; SQLite
/// tells nobody that a lock is free.
constexpr std::string_view kSleepers =
    "storage/io/data_directory_lock.cc tools/stop_signal.cc client/outbox/sqlite_store.cc";
constexpr std::string_view kThreads =
    "storage/io/pool_disk. broker/server/shard_thread. broker/server/http.cc broker/server/main.cc "
    "client/blocking_client.cc client/examples/ tools/bench_device.cc tools/bench_load.cc "
    "tools/bench_outbox.cc tools/consume_command.cc tools/outbox_commands.cc tests/ bench/";
/// The last words of a program that aborts, and programs themselves.
constexpr std::string_view kPrinters =
    "protocol/base/assert.cc protocol/async/spawn.cc broker/server/main.cc client/examples/";

constexpr Ban kBans[] = {
    {"co_spawn", kSpawn, "protocol/async/spawn.h"},
    {"detached", kSpawn, ""},
    {".detach()", "a thread that somebody joins", "broker/server/main.cc"},
    {"sleep_for", kWait, kSleepers},
    {"sleep_until", kWait, kSleepers},
    {"sleep(", kWait, ""},
    {"usleep(", kWait, ""},
    {"nanosleep(", kWait, ""},
    {"std::thread", kThread, kThreads},
    {"std::jthread", kThread, kThreads},
    {"std::async", kThread, kThreads},
    {"using namespace std;", "std:: in front of the name", ""},
    {"std::cout", kPrint, kPrinters, kLibraries},
    {"std::cerr", kPrint, kPrinters, kLibraries},
    {"printf(", kPrint, kPrinters, kLibraries},
    {"fprintf(", kPrint, kPrinters, kLibraries},
    {"puts(", kPrint, kPrinters, kLibraries},
    {"fputs(", kPrint, kPrinters, kLibraries},
    {"strcpy(", kText, ""},
    {"strcat(", kText, ""},
    {"sprintf(", kText, ""},
    {"vsprintf(", kText, ""},
    {"strtok(", kText, ""},
    {"atoi(", kText, ""},
    {"atol(", kText, ""},
    {"atof(", kText, ""},
};

/// Where `word` stands in `code` as a whole word, not as a part of a longer name.
std::vector<std::size_t> whole_words(const std::string& code, std::string_view word) {
  std::vector<std::size_t> all;
  for (std::size_t at = code.find(word); at != std::string::npos; at = code.find(word, at + 1)) {
    std::size_t end = at + word.size();
    bool joined_before = at > 0 && is_word_char(word.front()) && is_word_char(code[at - 1]);
    bool joined_after = end < code.size() && is_word_char(word.back()) && is_word_char(code[end]);
    if (!joined_before && !joined_after) all.push_back(at);
  }
  return all;
}

Findings check_bans(const SourceFile& file) {
  if (!file.is_cpp()) return {};
  Findings found;
  for (const Ban& ban : kBans) {
    if (!ban.scope.empty() && !below(file.path, ban.scope)) continue;
    if (below(file.path, ban.homes)) continue;
    for (std::size_t at : whole_words(file.code, ban.word))
      found.push_back({file.path, file.line_at(at),
                       std::string(ban.word) + " is not used; " + std::string(ban.instead)});
  }
  return found;
}

/// `new` stands only where a unique_ptr takes it at once, because the constructor is private.
Findings check_new(const SourceFile& file) {
  // The log and the signal thread live until the process ends, whatever still uses them.
  if (!file.is_cpp() || below(file.path, "broker/server/log.cc broker/server/main.cc")) return {};
  Findings found;
  for (std::size_t at : whole_words(file.code, "new")) {
    std::size_t begin = file.code.find_last_of(";{}", at) + 1;
    std::string statement = file.code.substr(begin, at - begin);
    if (statement.find("unique_ptr") != std::string::npos || statement.ends_with("operator "))
      continue;
    found.push_back({file.path, file.line_at(at),
                     "raw new; std::make_unique, or a unique_ptr "
                     "around it in the same statement"});
  }
  return found;
}

/// Everything but this test may hold no marks for later and no traces of the machine it was made
/// on.
Findings check_text(const SourceFile& file) {
  if (file.path.starts_with("tests/tidy/")) return {};
  static const std::regex absolute(R"((^|[^\w.}/-])/(home|work|root)(/|\b))");
  static const std::regex registry(
      R"(artifactory|pypi\.|npmjs|crates\.io|docker\.io|ghcr\.io|gcr\.io|quay\.io|)"
      R"(proxy\.golang|\b[\w-]+\.(internal|corp|lan|localdomain)\b)");
  Findings found;
  std::size_t number = 0;
  for (const std::string& line : file.lines()) {
    ++number;
    for (const char* mark : {"TODO", "FIXME", "XXX", "HACK"}) {
      if (!whole_words(line, mark).empty())
        found.push_back({file.path, number, std::string(mark) + "; do it, or say the limit"});
    }
    if (line.find('/') != std::string::npos && std::regex_search(line, absolute))
      found.push_back({file.path, number, "a path of one machine; a path from the root"});
    if (line.find('.') != std::string::npos && std::regex_search(line, registry))
      found.push_back({file.path, number, "the name of a registry or of a host; leave it out"});
  }
  return found;
}

TEST(Words, BannedCallsStayInTheirHomes) {
  expect_none(SourceTree::instance().check(check_bans));
}

TEST(Words, NewIsOwnedAtOnce) {
  expect_none(SourceTree::instance().check(check_new));
}

TEST(Words, NoMarksForLaterAndNoTracesOfMachines) {
  expect_none(SourceTree::instance().check(check_text));
}

TEST(Words, HomesExist) {
  for (const Ban& ban : kBans) {
    for (std::string_view home : words_of(ban.homes)) {
      bool there =
          home == "bench/" || home == "client/examples/" || SourceTree::instance().has_prefix(home);
      EXPECT_TRUE(there) << "home of " << ban.word << " is not there: " << home;
    }
  }
}

TEST(Words, PlantedViolationsAreFound) {
  auto bans = [](std::string path, std::string text) {
    return check_bans(planted(std::move(path), std::move(text))).size();
  };
  EXPECT_EQ(bans("client/a.cc", "asio::co_spawn(e, f(), asio::detached);"), 2U);
  EXPECT_EQ(bans("tests/a_test.cc", "std::this_thread::sleep_for(1s); ::usleep(1);"), 2U);
  EXPECT_EQ(bans("storage/a.cc", "std::thread thread; std::printf(\"\");"), 2U);
  EXPECT_EQ(bans("tools/a.cc", "std::printf(\"\");"), 0U);
  EXPECT_EQ(bans("storage/a.cc", "// std::thread\nauto t = \"atoi(\"; x.std_sleep(); snprintf(b);"),
            0U);
  EXPECT_EQ(bans("storage/a.cc", "auto r = R\"x(sleep( \" )x\"; c = '\"'; n = 1'000; atoi(s);"),
            1U);
  auto raw_new = [](std::string text) { return check_new(planted("storage/a.cc", text)).size(); };
  EXPECT_EQ(raw_new("auto* x = new X;"), 1U);
  EXPECT_EQ(raw_new("return std::unique_ptr<X>(\n    new X(1));"), 0U);
  auto text = [](std::string line) { return check_text(planted("storage/A.md", line)).size(); };
  EXPECT_EQ(text("// TODO: later"), 1U);
  EXPECT_EQ(text("in /home/somebody/waybill"), 1U);
  EXPECT_EQ(text("`tests/work/x`, mkdtemp(\"XXXXXX\"), tools/worker_line.h"), 0U);
  EXPECT_EQ(text("fetched from mirror.corp"), 1U);
}

}  // namespace
}  // namespace waybill::tidy

// Goal: what the pages say about files, folders and test programs is true.
// Method: links, names with a slash, and the tables of README.md and tests/README.md are compared
// with the tree. (What tables say about the code is compared beside that code: PROTOCOL.md in
// tests/protocol/wire, FORMAT.md in tests/storage.)
#include <regex>
#include <set>

#include "tests/tidy/source_tree.h"

namespace waybill::tidy {
namespace {

/// The path `target` names when it stands in `page`: without anchor, "./", "../" and last slash.
std::string resolve(const SourceFile& page, std::string target) {
  target.resize(std::min(target.find('#'), target.size()));
  std::string path = (std::filesystem::path(page.folder()) / target).lexically_normal().string();
  if (path.ends_with("/")) path.pop_back();
  return path == "." ? "" : path;
}

Findings check_links(const SourceFile& page) {
  static const std::regex link(R"(\]\(([^)\s]+)\))");
  static const std::regex elsewhere(R"(^(https?|mailto):)");
  if (!page.is_page()) return {};
  Findings found;
  for (std::sregex_iterator at(page.text.begin(), page.text.end(), link), end; at != end; ++at) {
    std::string target = (*at)[1];
    if (target.starts_with("#") || std::regex_search(target, elsewhere)) continue;
    if (SourceTree::instance().has(resolve(page, target))) continue;
    found.push_back({page.path, page.line_at(static_cast<std::size_t>(at->position())),
                     "the link " + target + " leads nowhere; correct it"});
  }
  return found;
}

/// "a/b*" and "a/<n>.cc" name what begins with their fixed part; "a/b.{h,cc}" too.
bool names_something(const SourceFile& page, const std::string& name) {
  const SourceTree& tree = SourceTree::instance();
  std::size_t wild = name.find_first_of("*<{…");
  for (const std::string& path : {resolve({"", ""}, name), resolve(page, name)}) {
    if (wild == std::string::npos ? tree.has(path) : false) return true;
  }
  if (wild == std::string::npos) return false;
  std::string fixed = name.substr(0, wild);
  std::string beside = page.folder().empty() ? "" : page.folder() + "/";
  return tree.has_prefix(fixed) || tree.has_prefix(beside + fixed);
}

/// A name is a path of ours if it begins with one of our folders or ends like one of our files.
bool is_path(const std::string& name) {
  static const std::regex shape(R"([\w.-]+(/[\w.*<>{},-]*)+)");
  static const std::regex file_name(R"(.*\.(h|cc|md|proto|cmake|txt|py|bash))");
  constexpr std::string_view kFolders =
      "protocol/ storage/ broker/ client/ tools/ tests/ bench/ .ci/";
  return std::regex_match(name, shape) &&
         (below(name, kFolders) || std::regex_match(name, file_name));
}

/// Names in backticks, and words of the commands and trees between ``` fences.
Findings check_names(const SourceFile& page) {
  static const std::regex quoted("`([^`]+)`");
  static const std::regex word(R"([^\s"'()=;:]+)");
  if (!page.is_page()) return {};
  Findings found;
  bool fenced = false;
  std::size_t number = 0;
  for (const std::string& line : page.lines()) {
    ++number;
    if (line.starts_with("```")) {
      fenced = !fenced;
      continue;
    }
    const std::regex& pattern = fenced ? word : quoted;
    for (std::sregex_iterator at(line.begin(), line.end(), pattern), end; at != end; ++at) {
      std::string name = (*at)[fenced ? 0 : 1];
      if (name.starts_with("./")) name.erase(0, 2);
      if (is_path(name) && !names_something(page, name))
        found.push_back({page.path, number, name + " is not there; correct the name"});
    }
  }
  return found;
}

/// The first cells of the table below the heading that has `word` in it, without backticks.
std::set<std::string> first_column(const SourceFile& page, const std::string& word) {
  static const std::regex cell_pattern(R"(^\|\s*\[?`([^`]+)`)");
  std::set<std::string> cells;
  bool here = false;
  for (const std::string& line : page.lines()) {
    std::string lower = line;
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
    if (line.starts_with("#")) here = lower.find(word) != std::string::npos;
    std::smatch cell;
    if (here && std::regex_search(line, cell, cell_pattern)) cells.insert(cell[1]);
  }
  return cells;
}

std::set<std::string> top_level_folders() {
  std::set<std::string> folders;
  for (const SourceFile& file : SourceTree::instance().files()) {
    std::size_t slash = file.path.find('/');
    if (slash != std::string::npos && !file.path.starts_with("."))
      folders.insert(file.path.substr(0, slash));
  }
  return folders;
}

Findings check_folder_table(const SourceFile& readme) {
  Findings found;
  std::set<std::string> named;
  for (std::string cell : first_column(readme, "folders")) {
    if (cell.ends_with("/")) cell.pop_back();
    named.insert(cell);
    if (!SourceTree::instance().has_folder(cell))
      found.push_back({readme.path, 1, "names the folder " + cell + ", which is not there"});
  }
  for (const std::string& folder : top_level_folders()) {
    if (!named.contains(folder)) {
      found.push_back({readme.path, 1,
                       "has no row for " + folder +
                           "/ in a table below a heading "
                           "\"Folders\"; add \"| `" +
                           folder + "/` | … |\""});
    }
  }
  return found;
}

/// The programs of tests/CMakeLists.txt whose folder has tests.
std::set<std::string> programs() {
  static const std::regex call(R"(\n *wb_tests\((\w+) ([\w/]+))");
  std::set<std::string> found;
  const SourceFile* cmake = SourceTree::instance().find("tests/CMakeLists.txt");
  if (cmake == nullptr) return found;
  const std::string& text = cmake->text;
  for (std::sregex_iterator at(text.begin(), text.end(), call), end; at != end; ++at) {
    std::string folder = "tests/" + (*at)[2].str();
    bool has_tests =
        std::ranges::any_of(SourceTree::instance().files(), [&](const SourceFile& file) {
          return file.folder() == folder && file.path.ends_with("_test.cc");
        });
    if (has_tests) found.insert((*at)[1]);
  }
  return found;
}

Findings check_program_table(const SourceFile& readme, const std::set<std::string>& programs) {
  Findings found;
  std::set<std::string> named = first_column(readme, "programs");
  for (const std::string& program : named) {
    if (!programs.contains(program))
      found.push_back({readme.path, 1, "has a row for " + program + ", which has no tests"});
  }
  for (const std::string& program : programs) {
    if (!named.contains(program))
      found.push_back({readme.path, 1, "has no row for " + program + "; add one"});
  }
  return found;
}

/// Tests as "Suite.Name".
std::set<std::string> tests_of(const SourceFile& file) {
  static const std::regex test(R"(\nTEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\))");
  std::set<std::string> found;
  for (std::sregex_iterator at(file.code.begin(), file.code.end(), test), end; at != end; ++at) {
    found.insert((*at)[1].str() + "." + (*at)[2].str());
  }
  return found;
}

/// Rows that begin with a rule, and the tests they name: as a whole, or as far as "…".
Findings check_rules_table(const SourceFile& readme, const std::set<std::string>& tests) {
  static const std::regex row(R"(^\|\s*D(\d+) )");
  static const std::regex quoted(R"(`(\w+\.\w+)((?:…)?)`)");
  Findings found;
  std::size_t number = 0;
  for (const std::string& line : readme.lines()) {
    ++number;
    std::smatch rule;
    if (!std::regex_search(line, rule, row)) continue;
    int names = 0;
    for (std::sregex_iterator at(line.begin(), line.end(), quoted), end; at != end; ++at, ++names) {
      const std::string name = (*at)[1];
      auto is_it = [&](const std::string& test) {
        return (*at)[2].length() > 0 ? test.starts_with(name) : test == name;
      };
      if (!std::ranges::any_of(tests, is_it))
        found.push_back({readme.path, number, "there is no test " + name + "; correct the name"});
    }
    if (names == 0)
      found.push_back({readme.path, number, "D" + rule[1].str() + " names no test; name one"});
  }
  return found;
}

TEST(Pages, EveryLinkLeadsSomewhere) {
  expect_none(SourceTree::instance().check(check_links));
}

TEST(Pages, EveryNamedFileIsThere) {
  expect_none(SourceTree::instance().check(check_names));
}

TEST(Pages, TheReadmeNamesEveryFolder) {
  const SourceFile* readme = SourceTree::instance().find("README.md");
  ASSERT_NE(readme, nullptr) << "README.md is missing";
  expect_none(check_folder_table(*readme));
}

TEST(Pages, TheTestsReadmeNamesEveryProgram) {
  const SourceFile* readme = SourceTree::instance().find("tests/README.md");
  ASSERT_NE(readme, nullptr) << "tests/README.md is missing";
  EXPECT_GT(programs().size(), 5U);
  expect_none(check_program_table(*readme, programs()));
}

TEST(Pages, TheTestsReadmeNamesTestsForEveryRuleOfDelivery) {
  const SourceFile* readme = SourceTree::instance().find("tests/README.md");
  ASSERT_NE(readme, nullptr);
  std::set<std::string> tests;
  for (const SourceFile& file : SourceTree::instance().files()) tests.merge(tests_of(file));
  EXPECT_GT(tests.size(), 500U);
  expect_none(check_rules_table(*readme, tests));
  for (int rule = 1; rule <= 24; ++rule) {
    std::string row = "\n| D" + std::to_string(rule) + " ";
    std::string not_built = "\nD" + std::to_string(rule) + ", ";
    EXPECT_TRUE(readme->text.contains(row) || readme->text.contains(not_built)) << row;
  }
}

TEST(Pages, PlantedViolationsAreFound) {
  auto links = [](std::string text) { return check_links(planted("storage/A.md", text)).size(); };
  EXPECT_EQ(links("[a](nowhere.md) [b](format.h#x) [c](../tools/) [d](https://x.org) [e](#y)"), 1U);
  auto names = [](std::string text) { return check_names(planted("storage/A.md", text)).size(); };
  EXPECT_EQ(names("`storage/gone.h` `io/gone.cc` `text/plain` `ack/retry` `shard-0/journal/`"), 2U);
  EXPECT_EQ(names("`storage/journal*` `io/disk.h` `protocol/wire/*.cc` `storage/io/`"), 0U);
  EXPECT_EQ(names("`storage/missing*`"), 1U);
  EXPECT_EQ(names("```\n./tools/nothing --flag\n./tools/test\n```"), 1U);
  SourceFile readme = planted("README.md",
                              "## Folders\n\n| folder | what |\n|---|---|\n| `storage/` | a |\n"
                              "| `attic/` | b |\n");
  EXPECT_EQ(check_folder_table(readme).size(), top_level_folders().size() - 1 + 1);
  SourceFile table = planted("tests/README.md", "## Programs\n| `gone_test` | x |\n");
  EXPECT_EQ(check_program_table(table, {"a_test"}).size(), 2U);
  SourceFile rules = planted("tests/README.md",
                             "| D1 a | `A.Here`, `A.He…` |\n| D2 b | `A.Gone`, `A.Her` |\n"
                             "| D3 c | words |\n");
  EXPECT_EQ(check_rules_table(rules, {"A.Here"}).size(), 3U);
  SourceFile test = planted("tests/a_test.cc", "\nTEST_F(A, Here) {}\n// TEST(A, Gone)\n");
  EXPECT_EQ(tests_of(test), (std::set<std::string>{"A.Here"}));
}

}  // namespace
}  // namespace waybill::tidy

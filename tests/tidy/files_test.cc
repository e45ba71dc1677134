// Goal: every file is where one looks for it, is part of the build, and says at its top what it is.
// Method: paths against the CMake files and against each other; the first lines of each file.
#include <regex>
#include <set>

#include "tests/tidy/source_tree.h"

namespace waybill::tidy {
namespace {

/// The folders whose *.cc become a library (wb_library) or a test program (wb_tests).
struct Build {
  std::set<std::string> libraries;
  std::set<std::string> tests;
};

Build read_build(const SourceTree& tree) {
  Build build;
  static const std::regex call(R"(\b(wb_library|wb_tests)\((\w+) ([\w/]+))");
  for (const SourceFile& file : tree.files()) {
    if (!file.path.ends_with("CMakeLists.txt")) continue;
    for (std::sregex_iterator at(file.text.begin(), file.text.end(), call), end; at != end; ++at) {
      if ((*at)[1] == "wb_library") {
        build.libraries.insert((*at)[3]);
      } else {
        build.tests.insert("tests/" + (*at)[3].str());
      }
    }
  }
  return build;
}

const Build& build() {
  static const Build found = read_build(SourceTree::instance());
  return found;
}

/// True if `name` stands in `text` from its first letter to its last, not inside a longer path.
bool mentions(const std::string& text, const std::string& name) {
  for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
    char after = at + name.size() < text.size() ? text[at + name.size()] : ' ';
    bool begins = at == 0 || (!is_word_char(text[at - 1]) && text[at - 1] != '/');
    if (begins && !is_word_char(after) && after != '/') return true;
  }
  return false;
}

/// Some CMake file at or above the source names it from its own place: as it is, by *.cc of its
/// folder, or as an item of a foreach whose body has "folder/${item}.cc".
bool named_in_cmake(const SourceFile& file) {
  for (std::string folder = file.folder();; folder = folder_of(folder)) {
    std::string here = folder.empty() ? "" : folder + "/";
    std::string name = file.path.substr(here.size());
    std::string beside = folder_of(name).empty() ? "" : folder_of(name) + "/";
    std::string stem = std::filesystem::path(name).stem().string();
    if (const SourceFile* cmake = SourceTree::instance().find(here + "CMakeLists.txt")) {
      bool is_item = mentions(cmake->text, beside + "$") && mentions(cmake->text, stem);
      if (is_item || mentions(cmake->text, name) || mentions(cmake->text, beside + "*.cc"))
        return true;
    }
    if (folder.empty()) return false;
  }
}

Findings check_place(const SourceFile& file) {
  if (!file.is_cpp()) return {};
  bool built = build().libraries.contains(file.folder());
  bool is_test = file.path.ends_with("_test.cc");
  if (is_test) {
    if (build().tests.contains(file.folder())) return {};
    return {{file.path, 1, "no wb_tests() in tests/CMakeLists.txt builds this folder"}};
  }
  if (file.is_header()) {
    if (built || build().tests.contains(file.folder()) || below(file.path, "bench/")) return {};
    return {{file.path, 1, "a header outside the folders that are built"}};
  }
  if (built && !file.path.ends_with("main.cc")) return {};
  if (named_in_cmake(file)) return {};
  return {{file.path, 1, "no CMake file builds this; move it, or name it there"}};
}

/// tests/<folder>/x_test.cc is about <folder>, unless it is about all of them.
Findings check_mirror(const SourceFile& file) {
  constexpr std::string_view kOwnKinds =
      "tests/sim/ tests/e2e/ tests/crash/ tests/fuzz/ tests/tidy/ tests/support/";
  if (!file.path.starts_with("tests/") || !file.path.ends_with("_test.cc")) return {};
  if (below(file.path, kOwnKinds)) return {};
  std::string source = file.folder().substr(std::string("tests/").size());
  if (SourceTree::instance().has_folder(source)) return {};
  return {{file.path, 1, "there is no folder " + source + "; a test mirrors what it tests"}};
}

/// The comment at the very top, its lines joined.
std::string opening(const SourceFile& file) {
  std::string text;
  for (const std::string& line : file.lines()) {
    if (!line.starts_with("//")) break;
    text += line.substr(2);
  }
  return text;
}

Findings check_opening(const SourceFile& file) {
  if (!file.is_cpp()) return {};
  Findings found;
  std::string top = opening(file);
  if (file.is_header()) {
    if (file.text.find("\n#pragma once\n") == std::string::npos)
      found.push_back({file.path, 1, "no #pragma once behind the opening comment"});
    if (top.size() < 20) {
      found.push_back({file.path, 1,
                       "does not open with a paragraph; say what this is, who owns "
                       "it, which thread"});
    }
  }
  if (file.path.ends_with("_test.cc") &&
      (!top.starts_with(" Goal: ") || top.find("Method: ") == std::string::npos))
    found.push_back({file.path, 1, "does not open with \"// Goal: … Method: …\""});
  return found;
}

/// x.cc includes x.h before all else, so the compiler proves that x.h needs nothing before it. The
/// few light headers without a .cc are compiled alone: CMakeLists.txt in this folder.
Findings check_own_header_first(const SourceFile& file) {
  if (!file.path.ends_with(".cc")) return {};
  std::string header = file.path.substr(0, file.path.size() - 2) + "h";
  if (SourceTree::instance().find(header) == nullptr) return {};
  std::size_t first = file.text.find("#include ");
  if (file.text.compare(first, 10 + header.size(), "#include \"" + header) == 0) return {};
  return {{file.path, file.line_at(first), "includes something before its own " + header}};
}

TEST(Files, EverySourceIsBuilt) {
  expect_none(SourceTree::instance().check(check_place));
}

TEST(Files, TestsMirrorTheSources) {
  expect_none(SourceTree::instance().check(check_mirror));
}

TEST(Files, EveryFileOpensWithWhatItIs) {
  expect_none(SourceTree::instance().check(check_opening));
}

TEST(Files, EverySourceIncludesItsOwnHeaderFirst) {
  expect_none(SourceTree::instance().check(check_own_header_first));
}

TEST(Files, TheBuildIsRead) {
  EXPECT_TRUE(build().libraries.contains("storage/io"));
  EXPECT_TRUE(build().tests.contains("tests/tidy"));
}

TEST(Files, PlantedViolationsAreFound) {
  auto place = [](std::string path) { return check_place(planted(std::move(path), "")).size(); };
  EXPECT_EQ(place("storage/deep/a.cc"), 1U);
  EXPECT_EQ(place("a.h"), 1U);
  EXPECT_EQ(place("tests/nowhere/a_test.cc"), 1U);
  EXPECT_EQ(place("storage/io/a.cc"), 0U);
  EXPECT_EQ(place("broker/server/main.cc"), 0U);
  EXPECT_EQ(place("storage/main.cc"), 1U);
  EXPECT_EQ(check_mirror(planted("tests/nowhere/a_test.cc", "")).size(), 1U);
  EXPECT_EQ(check_mirror(planted("tests/storage/io/a_test.cc", "")).size(), 0U);
  EXPECT_EQ(check_opening(planted("a.h", "#pragma once\n")).size(), 2U);
  EXPECT_EQ(check_opening(planted("a_test.cc", "// Tests a.\n")).size(), 1U);
  EXPECT_EQ(check_own_header_first(planted("storage/format.cc",
                                           "#include <map>\n#include "
                                           "\"storage/format.h\"\n"))
                .size(),
            1U);
}

}  // namespace
}  // namespace waybill::tidy

// SourceTree: the files of this project as text, for tests that read the code instead of running
// it. Rules are plain functions from one file to findings, so that each is also tried on a small
// text that breaks it. Build directories and what hides behind a dot (but .ci) are not read.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace waybill::tidy {

/// One violation, printed as "file:line: what is wrong; what to do instead".
struct Finding {
  std::string path;
  std::size_t line = 0;
  std::string what;
};
using Findings = std::vector<Finding>;

inline void append(Findings& all, Findings more) {
  std::ranges::move(more, std::back_inserter(all));
}

inline std::string print(const Findings& findings) {
  std::string text;
  for (const Finding& finding : findings)
    text += finding.path + ":" + std::to_string(finding.line) + ": " + finding.what + "\n";
  return text;
}

/// The words of a list that is written with spaces, as the tables of these tests are.
inline std::vector<std::string_view> words_of(std::string_view list) {
  std::vector<std::string_view> words;
  while (!list.empty()) {
    std::size_t end = std::min(list.find(' '), list.size());
    if (end > 0) words.push_back(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return words;
}

/// True if `path` begins with one of the prefixes: files, or folders with their slash.
inline bool below(std::string_view path, std::string_view prefixes) {
  return std::ranges::any_of(words_of(prefixes),
                             [&](std::string_view one) { return path.starts_with(one); });
}

inline std::string folder_of(const std::string& path) {
  std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

inline bool is_word_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

/// C++ with comments, literals and the names of includes blanked; every other character keeps its
/// place, so positions and lines are those of the text.
class CodeOnly {
 public:
  static std::string of(std::string_view text) { return CodeOnly(text).run(); }

 private:
  explicit CodeOnly(std::string_view text) : text_(text), code_(text) {}

  std::string run() {
    while (at_ < text_.size()) {
      if (starts("//") || (starts("#include") && line_is_blank_before())) {
        blank_until(text_.find('\n', at_));
      } else if (starts("/*")) {
        blank_until(after(text_.find("*/", at_ + 2), 2));
      } else if (text_[at_] == '"') {
        blank_until(raw() ? end_of_raw() : end_of_quoted('"'));
      } else if (text_[at_] == '\'' && (at_ == 0 || !is_word_char(text_[at_ - 1]))) {
        blank_until(end_of_quoted('\''));
      } else {
        ++at_;
      }
    }
    return std::move(code_);
  }

  [[nodiscard]] bool starts(std::string_view token) const {
    return text_.substr(at_).starts_with(token);
  }
  [[nodiscard]] bool line_is_blank_before() const { return at_ == 0 || text_[at_ - 1] == '\n'; }
  [[nodiscard]] bool raw() const { return at_ > 0 && text_[at_ - 1] == 'R'; }
  [[nodiscard]] static std::size_t after(std::size_t position, std::size_t size) {
    return position == std::string_view::npos ? position : position + size;
  }
  [[nodiscard]] std::size_t end_of_raw() const {
    std::size_t open = text_.find('(', at_);
    std::string close = ")" + std::string(text_.substr(at_ + 1, open - at_ - 1)) + "\"";
    return after(text_.find(close, at_), close.size());
  }
  [[nodiscard]] std::size_t end_of_quoted(char quote) const {
    std::size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote && text_[end] != '\n')
      end += text_[end] == '\\' ? 2 : 1;
    return end + 1;
  }
  void blank_until(std::size_t end) {
    for (end = std::min(end, text_.size()); at_ < end; ++at_) {
      if (text_[at_] != '\n') code_[at_] = ' ';
    }
  }

  std::string_view text_;
  std::string code_;
  std::size_t at_ = 0;
};

struct SourceFile {
  SourceFile(std::string its_path, std::string its_text)
      : path(std::move(its_path)), text(std::move(its_text)) {
    if (is_cpp()) code = CodeOnly::of(text);
  }

  [[nodiscard]] bool is_header() const { return path.ends_with(".h"); }
  [[nodiscard]] bool is_cpp() const { return is_header() || path.ends_with(".cc"); }
  [[nodiscard]] bool is_page() const { return path.ends_with(".md"); }
  [[nodiscard]] std::string folder() const { return folder_of(path); }

  /// Counted from 1, as compilers do.
  [[nodiscard]] std::size_t line_at(std::size_t position) const {
    auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(position, text.size()));
    return 1 + static_cast<std::size_t>(std::count(text.begin(), end, '\n'));
  }
  [[nodiscard]] std::vector<std::string> lines() const {
    std::vector<std::string> all;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
  }

  std::string path;  ///< from the root of the project, with slashes
  std::string text;
  std::string code;  ///< of C++ files: what CodeOnly leaves
};

class SourceTree {
 public:
  /// Read once; the same for every test of the program.
  static const SourceTree& instance() {
    static const SourceTree tree(WAYBILL_SOURCE_DIR);
    return tree;
  }

  [[nodiscard]] const std::vector<SourceFile>& files() const { return files_; }
  [[nodiscard]] const SourceFile* find(std::string_view path) const {
    auto found = std::ranges::find(files_, path, &SourceFile::path);
    return found == files_.end() ? nullptr : &*found;
  }
  /// A file, or a folder with something in it. The root is "".
  [[nodiscard]] bool has(const std::string& path) const {
    return path.empty() || find(path) != nullptr || has_folder(path);
  }
  [[nodiscard]] bool has_folder(const std::string& path) const {
    return std::ranges::any_of(
        files_, [&](const SourceFile& file) { return file.path.starts_with(path + "/"); });
  }
  /// Some file's path begins so; for names with a '*'.
  [[nodiscard]] bool has_prefix(std::string_view prefix) const {
    return std::ranges::any_of(
        files_, [&](const SourceFile& file) { return file.path.starts_with(prefix); });
  }

  /// Applies one rule to every file it is about.
  [[nodiscard]] Findings check(const std::function<Findings(const SourceFile&)>& rule) const {
    Findings all;
    for (const SourceFile& file : files_) append(all, rule(file));
    return all;
  }

 private:
  explicit SourceTree(const std::filesystem::path& root) {
    namespace fs = std::filesystem;
    for (auto at = fs::recursive_directory_iterator(root); at != fs::end(at); ++at) {
      std::string name = at->path().filename().string();
      if (at->is_directory()) {
        bool hidden = name.starts_with(".") && name != ".ci";
        bool built = name == "build" || fs::exists(at->path() / "CMakeCache.txt");
        if (hidden || built || name == "__pycache__") at.disable_recursion_pending();
      } else if (at->is_regular_file()) {
        std::ifstream in(at->path(), std::ios::binary);
        std::ostringstream text;
        text << in.rdbuf();
        files_.emplace_back(fs::relative(at->path(), root).generic_string(), text.str());
      }
    }
    std::ranges::sort(files_, {}, &SourceFile::path);
  }

  std::vector<SourceFile> files_;
};

/// Fails the test with one line for each finding.
inline void expect_none(const Findings& findings) {
  EXPECT_TRUE(findings.empty()) << print(findings);
}

/// For texts that break a rule on purpose.
inline SourceFile planted(std::string path, std::string text) {
  return {std::move(path), std::move(text)};
}

}  // namespace waybill::tidy

// Goal: files and functions stay small enough to be read at once.
// Method: counts lines and columns, and finds functions by their braces. No function is exempt.
#include "tests/tidy/source_tree.h"

namespace waybill::tidy {
namespace {

constexpr std::size_t kFileLines = 800;
constexpr std::size_t kColumns = 100;
constexpr std::size_t kFunctionLines = 70;

struct Function {
  std::string name;
  std::size_t line = 0;
  std::size_t lines = 0;
};

/// Finds function bodies by their braces: a '{' behind a ')' in a namespace or a class opens one.
class FunctionFinder {
 public:
  static std::vector<Function> in(const SourceFile& file) { return FunctionFinder(file).run(); }

 private:
  enum class Scope { kNamespace, kType, kFunction, kOther };
  struct Open {
    Scope scope = Scope::kOther;
    std::size_t head = 0;  ///< where its declaration begins
  };

  explicit FunctionFinder(const SourceFile& file) : file_(file) {}

  std::vector<Function> run() {
    const std::string& code = file_.code;
    std::size_t head = 0;
    int parentheses = 0;
    for (std::size_t at = 0; at < code.size(); ++at) {
      if (code[at] == '(') ++parentheses;
      if (code[at] == ')') --parentheses;
      if (code[at] == '{' && (parentheses > 0 || is_word_char(code[at - 1]))) {
        at = closing(at);  // an initialiser or a lambda that is an argument: part of the head
      } else if (code[at] == '{') {
        std::size_t first = code.find_first_not_of(" \n", head);
        open_.push_back({scope_of(code.substr(head, at - head)), first});
        head = at + 1;
      } else if (code[at] == '}' && !open_.empty()) {
        close(at);
        head = at + 1;
      } else if ((code[at] == ';' && parentheses == 0) ||
                 (code[at] == '\n' && is_directive(head))) {
        head = at + 1;
      }
    }
    return std::move(found_);
  }

  [[nodiscard]] std::size_t closing(std::size_t at) const {
    for (std::size_t depth = 0; at < file_.code.size(); ++at) {
      if (file_.code[at] == '{') ++depth;
      if (file_.code[at] == '}' && --depth == 0) break;
    }
    return at;
  }

  [[nodiscard]] bool is_directive(std::size_t head) const {
    std::size_t first = file_.code.find_first_not_of(" \n", head);
    return first != std::string::npos && file_.code[first] == '#';
  }

  [[nodiscard]] Scope scope_of(const std::string& head) const {
    bool outside = std::ranges::all_of(open_, [](const Open& open) {
      return open.scope == Scope::kNamespace || open.scope == Scope::kType;
    });
    if (!outside) return Scope::kOther;
    if (head.find("namespace") != std::string::npos) return Scope::kNamespace;
    std::string words = outside_brackets(head);
    bool is_operator = words.find("operator") != std::string::npos;
    bool is_value = !is_operator && words.find('=') != std::string::npos;
    if (head.find(')') != std::string::npos && !is_value) return Scope::kFunction;
    for (const char* type : {"class ", "struct ", "union "}) {
      if (words.find(type) != std::string::npos) return Scope::kType;
    }
    return Scope::kOther;
  }

  /// Without what stands in parentheses: default arguments are not initialisers.
  [[nodiscard]] static std::string outside_brackets(const std::string& head) {
    std::string words;
    int depth = 0;
    for (char c : head) {
      if (c == '(') ++depth;
      if (depth == 0) words += c;
      if (c == ')') --depth;
    }
    return words;
  }

  void close(std::size_t at) {
    auto [scope, head] = open_.back();
    open_.pop_back();
    if (scope != Scope::kFunction) return;
    std::size_t first = file_.line_at(head);
    found_.push_back({name_of(head), first, file_.line_at(at) - first + 1});
  }

  /// For TEST(A, B) all of it, else what stands before the first parenthesis.
  [[nodiscard]] std::string name_of(std::size_t head) const {
    std::size_t open = file_.code.find('(', head);
    std::size_t begin = open;
    auto in_name = [](char c) { return is_word_char(c) || c == ':' || c == '~'; };
    while (begin > head && in_name(file_.code[begin - 1])) --begin;
    std::string name = file_.code.substr(begin, open - begin);
    if (!name.starts_with("TEST")) return name;
    return file_.code.substr(begin, file_.code.find(')', open) + 1 - begin);
  }

  const SourceFile& file_;
  std::vector<Open> open_;
  std::vector<Function> found_;
};

std::size_t columns(const std::string& line) {
  return static_cast<std::size_t>(std::ranges::count_if(
      line, [](char c) { return (c & 0xC0) != 0x80; }));  // not bytes of UTF-8
}

Findings check_sizes(const SourceFile& file) {
  if (!file.is_cpp()) return {};
  Findings found;
  std::size_t number = 0;
  for (const std::string& line : file.lines()) {
    ++number;
    if (columns(line) > kColumns)
      found.push_back({file.path, number,
                       "longer than 100 columns; clang-format-19 -i, and raw literals in pieces"});
  }
  if (number > kFileLines) {
    found.push_back({file.path, number,
                     "a file of " + std::to_string(number) +
                         " lines; find the second noun in it, at 800 at last"});
  }
  return found;
}

Findings check_functions(const SourceFile& file) {
  if (!file.is_cpp()) return {};
  Findings found;
  for (const Function& function : FunctionFinder::in(file)) {
    if (function.lines <= kFunctionLines) continue;
    found.push_back({file.path, function.line,
                     function.name + " has " + std::to_string(function.lines) +
                         " lines, 70 are allowed; give its steps names"});
  }
  return found;
}

TEST(Sizes, FilesAndLinesAreShort) {
  expect_none(SourceTree::instance().check(check_sizes));
}

TEST(Sizes, FunctionsAreShort) {
  expect_none(SourceTree::instance().check(check_functions));
}

TEST(Sizes, TheFinderSeesEveryFunction) {
  std::size_t count = 0;
  for (const SourceFile& file : SourceTree::instance().files()) {
    if (file.is_cpp()) count += FunctionFinder::in(file).size();
  }
  EXPECT_GT(count, 1000U) << "the finder is blind, not the code empty";
}

TEST(Sizes, PlantedViolationsAreFound) {
  std::string body;
  for (int i = 0; i < 80; ++i) body += "  step();\n";
  SourceFile file = planted("storage/a.cc",
                            "namespace waybill {\n\nclass A {\n  void small() {}\n};\n"
                            "Result<void> A::grow(B b = {}, int n = 1) const {\n" +
                                body + "}\n\nTEST(A, Grows) {\n" + body + "}\n}\n");
  Findings found = check_functions(file);
  ASSERT_EQ(found.size(), 2U) << print(found);
  EXPECT_EQ(found[0].line, 6U);
  EXPECT_TRUE(found[0].what.starts_with("A::grow has 82 lines")) << found[0].what;
  EXPECT_TRUE(found[1].what.starts_with("TEST(A, Grows) has 82 lines")) << found[1].what;
  EXPECT_EQ(check_sizes(planted("a.h", std::string(101, 'x'))).size(), 1U);
  EXPECT_EQ(check_sizes(planted("a.h", std::string(801, '\n'))).size(), 1U);
  std::string dashes = "–––––––––––––––––––––––––––––––––––––––––––";
  EXPECT_EQ(check_sizes(planted("a.h", dashes)).size(), 0U) << "columns, not bytes";
}

}  // namespace
}  // namespace waybill::tidy

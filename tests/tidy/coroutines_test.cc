// Goal: the coroutine shapes that g++ 12 compiles wrong do not stand in this code: a capturing
// lambda or an aggregate inside a co_await expression is destroyed twice.
// Method: statement by statement, what stands between co_await and its end; and lambdas that are
// coroutines and capture.
#include <regex>

#include "tests/tidy/source_tree.h"

namespace waybill::tidy {
namespace {

constexpr const char* kNameIt = "; name it in a local before, and move the local";

/// The position behind the bracket that closes the one at `open`.
std::size_t behind_closing(const std::string& code, std::size_t open) {
  constexpr std::string_view kOpen = "([{";
  constexpr std::string_view kClose = ")]}";
  std::size_t depth = 0;
  for (std::size_t at = open; at < code.size(); ++at) {
    if (kOpen.find(code[at]) != std::string::npos) ++depth;
    if (kClose.find(code[at]) != std::string::npos && --depth == 0) return at + 1;
  }
  return code.size();
}

/// A '[' that begins a lambda, not a subscript and not an attribute.
bool begins_lambda(const std::string& code, std::size_t at) {
  std::size_t before = code.find_last_not_of(" \n", at == 0 ? 0 : at - 1);
  if (at == 0 || before == std::string::npos) return true;
  if (code.compare(at, 2, "[[") == 0 || code[before] == '[') return false;
  std::string_view text = std::string_view(code).substr(0, before + 1);
  if (text.ends_with("return") || text.ends_with("co_await")) return true;
  return code[before] != ')' && code[before] != ']' && !is_word_char(code[before]);
}

/// What is wrong with the expression from `at` to its end, or nothing.
Findings check_awaited(const SourceFile& file, std::size_t at) {
  const std::string& code = file.code;
  int depth = 0;
  while (at < code.size()) {
    char c = code[at];
    if (c == ';') return {};
    if (c == '[' && begins_lambda(code, at)) {
      std::size_t end = behind_closing(code, at);
      if (end - at > 2)
        return {{file.path, file.line_at(at), std::string("capture in co_await") + kNameIt}};
      at = behind_closing(code, code.find('{', end));  // without captures it is harmless
      continue;
    }
    if (c == '(') ++depth;
    if (c == ')') --depth;
    if (c == '{') {
      bool is_block = depth < 0;  // the body of an if or a loop that awaits in its condition
      if (is_block) return {};
      return {{file.path, file.line_at(at), std::string("aggregate in co_await") + kNameIt}};
    }
    if (c == '}') return {};
    ++at;
  }
  return {};
}

Findings check_awaits(const SourceFile& file) {
  Findings found;
  for (std::size_t at = file.code.find("co_await"); at != std::string::npos;
       at = file.code.find("co_await", at + 1))
    append(found, check_awaited(file, at + 8));
  return found;
}

/// A coroutine outlives the lambda object whose captures it reads.
Findings check_lambda_coroutines(const SourceFile& file) {
  const std::string& code = file.code;
  Findings found;
  for (std::size_t at = code.find('['); at != std::string::npos; at = code.find('[', at + 1)) {
    if (!begins_lambda(code, at) || code[at + 1] == ']') continue;
    std::size_t end = behind_closing(code, at);
    std::size_t body = code.find('{', end);
    if (body == std::string::npos) continue;
    std::string head = code.substr(end, body - end);
    static const std::regex returns_task(R"(->\s*(asio::|boost::asio::)?(Task|awaitable)\s*<)");
    if (std::regex_search(head, returns_task)) {
      found.push_back({file.path, file.line_at(at),
                       "a coroutine lambda that captures; a named function with parameters"});
    }
  }
  return found;
}

TEST(Coroutines, NothingIsBuiltInsideAnAwait) {
  expect_none(SourceTree::instance().check(check_awaits));
}

TEST(Coroutines, NoLambdaThatCapturesIsACoroutine) {
  expect_none(SourceTree::instance().check(check_lambda_coroutines));
}

TEST(Coroutines, PlantedViolationsAreFound) {
  auto awaits = [](std::string text) { return check_awaits(planted("client/a.cc", text)).size(); };
  EXPECT_EQ(awaits("co_await run([n] { return n; });"), 1U);
  EXPECT_EQ(awaits("co_await [n] { return f(n); }();"), 1U);
  EXPECT_EQ(awaits("auto x = co_await take(Agg{1, 2});"), 1U);
  EXPECT_EQ(awaits("auto x = co_await take(\n    {.n = 1});"), 1U);
  EXPECT_EQ(awaits("if (co_await take(Agg{1})) {"), 1U);
  EXPECT_EQ(awaits("if (co_await take(agg)) { a = {1}; }"), 0U);
  EXPECT_EQ(awaits("co_await run([](int n) { return n; }, list[i]);"), 0U);
  EXPECT_EQ(awaits("Agg agg{1}; co_await take(std::move(agg));"), 0U);
  auto lambdas = [](std::string text) {
    return check_lambda_coroutines(planted("client/a.cc", text)).size();
  };
  EXPECT_EQ(lambdas("spawn(e, [this]() -> Task<void> { co_return; });"), 1U);
  EXPECT_EQ(lambdas("return [n]() -> Task<void> { co_return; };"), 1U);
  EXPECT_EQ(lambdas("spawn(e, [&] mutable -> asio::awaitable<int> { co_return 1; });"), 1U);
  EXPECT_EQ(lambdas("spawn(e, [](int n) -> Task<void> { co_return; }); post([this] { go(); });"),
            0U);
}

}  // namespace
}  // namespace waybill::tidy

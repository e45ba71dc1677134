// Goal: a gate lets nothing in after it closed and nobody out early, a deadline keeps what arrived
// and ends what did not, and no exception of a spawned task is swallowed. Method: tasks on one
// io_context that the test runs to its end; the longest wait is a millisecond.

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <stdexcept>
#include <string>

#include "protocol/async/deadline.h"
#include "protocol/async/gate.h"
#include "protocol/async/spawn.h"

namespace waybill {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

// --- spawn ---

std::string reported;  // NOLINT: a reporter is a plain function

void report_to_test(const char* task_name, const char* what) {
  reported = std::string(task_name) + ": " + what;
}

Task<void> throw_error() {
  throw std::runtime_error("lost my way");
  co_return;
}

TEST(Spawn, ReportsAnExceptionWithTheNameOfTheTask) {
  asio::io_context context;
  ExceptionReporter before = set_exception_reporter(report_to_test);
  spawn(context.get_executor(), "wanderer", throw_error);
  context.run();
  set_exception_reporter(before);
  EXPECT_EQ(reported, "wanderer: lost my way");
}

Task<void> store(std::string text, std::string* out) {
  *out = std::move(text);
  co_return;
}

TEST(Spawn, OwnsTheArgumentsBeforeItReturns) {
  asio::io_context context;
  std::string out;
  {
    std::string text(1000, 'x');
    spawn(context.get_executor(), "store", store, std::move(text), &out);
  }
  EXPECT_EQ(out, "");
  context.run();
  EXPECT_EQ(out.size(), 1000);
}

// --- gate ---

Task<void> close_gate(Gate* gate, bool* closed) {
  auto closing = gate->close();
  co_await std::move(closing);
  *closed = true;
}

TEST(Gate, ClosesWhenTheLastPassIsBack) {
  asio::io_context context;
  Gate gate(context.get_executor());
  bool closed = false;
  {
    Result<Gate::Pass> first = gate.enter();
    ASSERT_TRUE(first.ok());
    {
      Result<Gate::Pass> second = gate.enter();
      ASSERT_TRUE(second.ok());
      EXPECT_EQ(gate.inside(), 2);
      spawn(context.get_executor(), "close", close_gate, &gate, &closed);
      context.poll();
      EXPECT_TRUE(gate.closed());
    }
    context.poll();
    EXPECT_FALSE(closed);
    Result<Gate::Pass> late = gate.enter();
    ASSERT_FALSE(late.ok());
    EXPECT_EQ(late.error(), Errc::kClosed);
  }
  context.poll();
  EXPECT_TRUE(closed);
}

TEST(Gate, ClosesAtOnceWhenNobodyIsInside) {
  asio::io_context context;
  Gate gate(context.get_executor());
  bool closed = false;
  spawn(context.get_executor(), "close", close_gate, &gate, &closed);
  context.run();
  EXPECT_TRUE(closed);
}

TEST(Gate, CountsAMovedPassOnce) {
  asio::io_context context;
  Gate gate(context.get_executor());
  Result<Gate::Pass> entered = gate.enter();
  Gate::Pass pass = std::move(*entered);
  {
    Gate::Pass moved = std::move(pass);
  }
  EXPECT_EQ(gate.inside(), 0);
}

TEST(GateDeathTest, StopsTheProcessWhenItIsDestroyedWithWorkInside) {
  auto destroy_early = [] {
    asio::io_context context;
    auto gate = std::make_unique<Gate>(context.get_executor());
    Result<Gate::Pass> pass = gate->enter();
    gate.reset();
  };
  EXPECT_DEATH(destroy_early(), "destroyed with work inside");
}

// --- deadline ---

Task<Result<int>> answer_after(Duration wait, int value) {
  asio::steady_timer timer(co_await asio::this_coro::executor, wait);
  auto waiting = timer.async_wait(asio::use_awaitable);
  co_await std::move(waiting);
  co_return value;
}

Task<Result<int>> fail_after(Duration wait) {
  auto answering = answer_after(wait, 0);
  (void)co_await std::move(answering);
  throw std::runtime_error("broken");
}

struct Outcome {
  std::optional<Result<int>> result;
  std::string exception;
};

Task<void> run_limited(Duration task_time, Duration limit, bool fail, Outcome* out) {
  try {
    auto task = fail ? fail_after(task_time) : answer_after(task_time, 7);
    auto limited = with_deadline(std::move(task), limit);
    out->result.emplace(co_await std::move(limited));
  } catch (const std::exception& error) {
    out->exception = error.what();
  }
}

Outcome run(Duration task_time, Duration limit, bool fail = false) {
  asio::io_context context;
  Outcome outcome;
  spawn(context.get_executor(), "limited", run_limited, task_time, limit, fail, &outcome);
  context.run();
  return outcome;
}

TEST(Deadline, GivesTheResultOfATaskThatIsInTime) {
  Outcome outcome = run(Duration(0), hours(1));
  ASSERT_TRUE(outcome.result && outcome.result->ok());
  EXPECT_EQ(**outcome.result, 7);
}

TEST(Deadline, EndsATaskThatIsLate) {
  Outcome outcome = run(hours(1), milliseconds(1));
  ASSERT_TRUE(outcome.result.has_value());
  ASSERT_FALSE(outcome.result->ok());
  EXPECT_EQ(outcome.result->error(), Errc::kTimedOut);
}

TEST(Deadline, PassesTheTasksExceptionOn) {
  EXPECT_EQ(run(Duration(0), hours(1), true).exception, "broken");
}

}  // namespace
}  // namespace waybill

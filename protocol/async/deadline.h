// A wait that ends. with_deadline runs a task and cancels it when its time is up.
//
// What completes when: the call returns only after the task itself has ended, so nothing of it runs
// on behind the caller's back; a task that cannot be cancelled therefore holds its caller. A value
// that arrives together with the deadline is kept: kTimedOut means that the task gave none.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <optional>
#include <utility>

#include "protocol/async/task.h"
#include "protocol/base/clock.h"
#include "protocol/base/result.h"

namespace waybill {

/// How a task ended, kept apart from how the race with the timer ended.
template <class R>
struct TaskEnd {
  std::optional<R> result;
  std::exception_ptr exception;
};

template <class R>
Task<void> run_into(Task<R> task, TaskEnd<R>* end) {
  try {
    end->result.emplace(co_await std::move(task));
  } catch (...) {
    end->exception = std::current_exception();
  }
}

/// The task's result, or kTimedOut after `limit`. An exception of the task passes through, unless
/// the deadline caused it.
template <class T, class E>
Task<Result<T, E>> with_deadline(Task<Result<T, E>> task, Duration limit) {
  using namespace asio::experimental::awaitable_operators;  // NOLINT: the only way to say a || b
  auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, limit);
  TaskEnd<Result<T, E>> end;
  auto running = run_into(std::move(task), &end);
  auto waiting = timer.async_wait(asio::as_tuple(asio::use_awaitable));
  auto race = std::move(running) || std::move(waiting);
  auto first = co_await std::move(race);
  bool expired = first.index() == 1;
  if (end.result && (end.result->ok() || !expired)) co_return std::move(*end.result);
  if (!expired && end.exception) std::rethrow_exception(end.exception);
  co_return E(Error{Errc::kTimedOut, 0, "deadline"});
}

}  // namespace waybill

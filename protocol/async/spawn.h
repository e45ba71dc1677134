// The one door from plain code into coroutines: nothing else calls co_spawn, and nothing runs
// detached from an exception report.
//
//   spawn(executor, "session", run_session, std::move(socket), server);
//
// The coroutine is a named function and takes its arguments by value, so that its frame owns what
// it uses: a capturing lambda or a reference parameter would dangle as soon as the caller returns
// (checked at compile time). Expected failures are Results inside; an exception that reaches the
// root is a defect, and goes to the reporter (by default: a line on stderr).
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <type_traits>
#include <utility>

#include "protocol/async/task.h"

namespace waybill {

using ExceptionReporter = void (*)(const char* task_name, const char* what);

/// Replaces the reporter of the whole process; call it before anything is spawned. Returns the
/// previous one. A reporter must not throw.
ExceptionReporter set_exception_reporter(ExceptionReporter reporter);
/// Says that `task_name` ended by `exception`.
void report_exception(const char* task_name, const std::exception_ptr& exception) noexcept;

/// Runs `function(arguments…)` on `executor`. `name` is a literal, for the report. `arguments` are
/// moved or copied into the coroutine before spawn returns; it starts from the executor's queue.
template <class... Parameters, class... Arguments>
void spawn(const asio::any_io_executor& executor, const char* name,
           Task<void> (*function)(Parameters...), Arguments&&... arguments) {
  static_assert((!std::is_reference_v<Parameters> && ...),
                "the root of a coroutine takes its arguments by value");
  asio::co_spawn(executor, function(std::forward<Arguments>(arguments)...),
                 [name](const std::exception_ptr& exception) {
                   if (exception) report_exception(name, exception);
                 });
}

}  // namespace waybill

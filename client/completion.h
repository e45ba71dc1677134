// A move-only callback `void(Reply<T>)` that is called exactly once: the type-erased end of every
// asynchronous operation, so that the operations are compiled once and their headers stay small.
// (std::move_only_function is C++23, asio::any_completion_handler is newer than Boost 1.81.)
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <concepts>
#include <memory>
#include <utility>

#include "protocol/base/assert.h"
#include "protocol/model/reply.h"

namespace waybill {

namespace asio = boost::asio;

template <class T>
class Completion {
 public:
  Completion() = default;
  template <class Function>
    requires(!std::same_as<Function, Completion> && std::invocable<Function&, Reply<T>>)
  Completion(Function function)
      : target_(std::make_unique<FunctionTarget<Function>>(std::move(function))) {}

  explicit operator bool() const { return target_ != nullptr; }

  /// Completes the operation; requires that it was not completed yet. Runs the callback in place
  /// (which for a user's handler means: posts it to the handler's executor).
  void operator()(Reply<T> reply) {
    WB_ASSERT(target_ != nullptr, "an operation completes once");
    std::unique_ptr<Target> target = std::move(target_);
    target->complete(std::move(reply));
  }

 private:
  struct Target {
    virtual ~Target() = default;
    virtual void complete(Reply<T> reply) = 0;
  };
  template <class Function>
  struct FunctionTarget final : Target {
    explicit FunctionTarget(Function f) : function(std::move(f)) {}
    void complete(Reply<T> reply) override { function(std::move(reply)); }
    Function function;
  };

  std::unique_ptr<Target> target_;
};

/// Wraps an Asio completion handler: it will be posted to its own executor (or `fallback`), never
/// called from inside the operation, and its executor has work until then.
template <class T, class Handler>
Completion<T> completion_for(Handler handler, const asio::any_io_executor& fallback) {
  auto executor = asio::get_associated_executor(handler, fallback);
  return [handler = std::move(handler),
          work = asio::make_work_guard(executor)](Reply<T> reply) mutable {
    asio::post(work.get_executor(),
               [handler = std::move(handler), reply = std::move(reply)]() mutable {
                 std::move(handler)(std::move(reply));
               });
  };
}

}  // namespace waybill

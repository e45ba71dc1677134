#include "client/process.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <vector>

#include "protocol/async/spawn.h"
#include "protocol/async/task.h"

namespace waybill {
namespace {

HandlerResult thrown(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return HandlerResult::failed("exception", error.what());
  } catch (...) {
    return HandlerResult::failed("exception", "something that is no std::exception");
  }
}

HandlerResult run_handler(const Handler& handler, const Delivery& delivery) {
  try {
    return handler(delivery);
  } catch (...) {
    return thrown(std::current_exception());
  }
}

Task<HandlerResult> run_async_handler(const AsyncHandler& handler, const Delivery& delivery) {
  std::exception_ptr exception;
  try {
    auto handling = handler(delivery);
    co_return co_await std::move(handling);
  } catch (...) {
    exception = std::current_exception();
  }
  co_return thrown(exception);
}

/// Runs a blocking handler on its executor; the coroutine goes on where it was.
Task<HandlerResult> run_on(asio::any_io_executor executor, const Handler& handler,
                           const Delivery& delivery) {
  auto home = co_await asio::this_coro::executor;
  auto start = [&executor, &home, &handler, &delivery](auto completion) {
    auto finish = completion_for<HandlerResult>(std::move(completion), home);
    asio::post(executor, [&handler, &delivery, finish = std::move(finish)]() mutable {
      finish(run_handler(handler, delivery));
    });
  };
  auto running = asio::async_initiate<const asio::use_awaitable_t<>, void(Reply<HandlerResult>)>(
      start, asio::use_awaitable);
  Reply<HandlerResult> result = co_await std::move(running);
  co_return std::move(*result);
}

}  // namespace

/// A running processor: one worker per handler at a time, all on one strand. The workers own it.
class ProcessorState : public std::enable_shared_from_this<ProcessorState> {
 public:
  ProcessorState(const asio::any_io_executor& executor, asio::any_io_executor handler_executor,
                 Handler handler, AsyncHandler async_handler, ProcessOptions options)
      : executor_(executor),
        strand_(asio::make_strand(executor)),
        handler_executor_(std::move(handler_executor)),
        handler_(std::move(handler)),
        async_handler_(std::move(async_handler)),
        options_(options),
        drain_timer_(strand_) {}

  [[nodiscard]] const asio::any_io_executor& executor() const { return executor_; }
  [[nodiscard]] const asio::any_io_executor& strand() const { return strand_; }

  // --- on the strand ---

  void subscribed(Reply<Subscription> subscription) {
    if (!subscription) return finish(subscription.error());
    subscription_.emplace(std::move(*subscription));
    if (stopping_) return close();
    for (std::size_t i = 0; i < options_.concurrency; ++i) {
      ++workers_;
      spawn(strand_, "message handler", run_worker, shared_from_this());
    }
  }

  void stop() {
    if (stopping_) return;
    stopping_ = true;
    if (subscription_) close();
  }

  void wait(Completion<void> completion) {
    if (ended_) return completion(*ended_);
    waits_.push_back(std::move(completion));
  }

 private:
  static Task<void> run_worker(std::shared_ptr<ProcessorState> self) {
    for (;;) {
      auto taking = self->subscription_->async_next(asio::use_awaitable);
      Reply<Delivery> next = co_await std::move(taking);
      if (!next) {
        self->worker_ended(next.error());
        co_return;
      }
      Delivery delivery = std::move(*next);
      auto handling = self->handle(delivery);
      HandlerResult result = co_await std::move(handling);
      settle(delivery, result.settle());
    }
  }

  Task<HandlerResult> handle(const Delivery& delivery) {
    if (async_handler_) return run_async_handler(async_handler_, delivery);
    return run_on(handler_executor_, handler_, delivery);
  }

  static void settle(Delivery& delivery, const SettleOptions& how) {
    switch (how.verb) {
      case SettleVerb::kAck:
        return delivery.ack();
      case SettleVerb::kRetry:
        return delivery.retry(how.failure, how.retry_after);
      case SettleVerb::kDeadLetter:
        return delivery.dead_letter(how.failure);
      case SettleVerb::kRelease:
        return delivery.release();
    }
  }

  void close() {
    drain_timer_.expires_after(options_.drain_timeout);
    drain_timer_.async_wait([self = shared_from_this()](boost::system::error_code stopped) {
      if (stopped) return;
      self->finish(RequestError(
          Errc::kTimedOut,
          std::to_string(self->workers_) + " handlers were still running after the drain timeout"));
    });
    auto closed = [self = shared_from_this()](const Reply<void>&) {
      asio::post(self->strand_, [self] { self->finish(Reply<void>()); });
    };
    subscription_->async_close(std::move(closed));
  }

  void worker_ended(const RequestError& error) {
    --workers_;
    if (!stopping_) finish(error);
  }

  void finish(Reply<void> result) {
    if (ended_) return;
    ended_ = std::move(result);
    stopping_ = true;
    drain_timer_.cancel();
    auto waits = std::exchange(waits_, {});
    for (Completion<void>& waiting : waits) waiting(*ended_);
  }

  asio::any_io_executor executor_;
  asio::any_io_executor strand_;
  asio::any_io_executor handler_executor_;
  Handler handler_;
  AsyncHandler async_handler_;
  ProcessOptions options_;
  asio::steady_timer drain_timer_;
  std::optional<Subscription> subscription_;
  std::size_t workers_ = 0;
  bool stopping_ = false;
  std::optional<Reply<void>> ended_;
  std::vector<Completion<void>> waits_;
};

Processor::Processor(std::shared_ptr<ProcessorState> state) : state_(std::move(state)) {}

Processor::Processor(Processor&&) noexcept = default;

Processor& Processor::operator=(Processor&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

Processor::~Processor() {
  if (state_ != nullptr) stop();
}

void Processor::stop() {
  asio::post(state_->strand(), [state = state_] { state->stop(); });
}

asio::any_io_executor Processor::get_executor() const {
  return state_->executor();
}

void Processor::start_wait(Completion<void> completion) {
  asio::post(state_->strand(), [state = state_, completion = std::move(completion)]() mutable {
    state->wait(std::move(completion));
  });
}

namespace {

Processor start(Client& client, std::string group, std::shared_ptr<ProcessorState> state,
                const ProcessOptions& options) {
  SubscribeOptions subscribe;
  subscribe.credit_messages = options.credit_messages > 0
                                  ? options.credit_messages
                                  : static_cast<std::uint32_t>(2 * options.concurrency);
  subscribe.credit_bytes = options.credit_bytes;
  auto subscribed = [state](Reply<Subscription> subscription) {
    asio::post(state->strand(), [state, subscription = std::move(subscription)]() mutable {
      state->subscribed(std::move(subscription));
    });
  };
  client.async_subscribe(std::move(group), subscribe, std::move(subscribed));
  return Processor(std::move(state));
}

}  // namespace

Processor process(Client& client, std::string group, const asio::any_io_executor& handler_executor,
                  Handler handler, ProcessOptions options) {
  auto state = std::make_shared<ProcessorState>(client.get_executor(), handler_executor,
                                                std::move(handler), AsyncHandler(), options);
  return start(client, std::move(group), std::move(state), options);
}

Processor process(Client& client, std::string group, AsyncHandler handler, ProcessOptions options) {
  auto state = std::make_shared<ProcessorState>(client.get_executor(), client.get_executor(),
                                                Handler(), std::move(handler), options);
  return start(client, std::move(group), std::move(state), options);
}

}  // namespace waybill

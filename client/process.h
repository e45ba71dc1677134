// Runs a handler for every delivery of a group: the shortest way to a consumer that behaves.
//
//   Processor processor = process(client, "billing", pool.get_executor(),
//                                 [](const Delivery& d) { return charge(d.message()); }, {});
//
// The handler returns what became of the message; a thrown exception is a failure with code
// "exception" and its text as detail. The library settles, extends the lease while the handler
// runs, and takes no more messages than handlers are free (twice the concurrency wait here, D6).
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "client/client.h"

namespace waybill {

/// What became of a message: done, or a failure and what is to be done about it.
class [[nodiscard]] HandlerResult {
 public:
  /// Done.
  HandlerResult() = default;
  /// By its class: transient and failed are retried, invalid is a dead letter.
  HandlerResult(Failure failure) {
    settle_.verb = SettleVerb::kRetry;
    settle_.failure = std::move(failure);
  }
  static HandlerResult ack() { return {}; }
  /// It did not work: charged, retried.
  static HandlerResult failed(std::string code, std::string detail = {}) {
    return Failure{FailureClass::kFailed, std::move(code), std::move(detail)};
  }
  /// A dependency is down: retried, charged only after 24 h.
  static HandlerResult transient(std::string code, std::string detail = {}) {
    return Failure{FailureClass::kTransient, std::move(code), std::move(detail)};
  }
  /// It can never work: a dead letter at once.
  static HandlerResult invalid(std::string code, std::string detail = {}) {
    return Failure{FailureClass::kInvalid, std::move(code), std::move(detail)};
  }
  static HandlerResult dead_letter(Failure failure) {
    HandlerResult result(std::move(failure));
    result.settle_.verb = SettleVerb::kDeadLetter;
    return result;
  }
  /// Instead of the group's back-off.
  HandlerResult after(std::chrono::milliseconds wait) && {
    settle_.retry_after = wait;
    return std::move(*this);
  }

  [[nodiscard]] const SettleOptions& settle() const { return settle_; }

 private:
  SettleOptions settle_;
};

/// Runs on the executor given to process(); may block there.
using Handler = std::function<HandlerResult(const Delivery&)>;
/// Runs on the client's executor; must not block. The delivery outlives the coroutine.
using AsyncHandler = std::function<asio::awaitable<HandlerResult>(const Delivery&)>;

struct ProcessOptions {
  /// Handlers at a time (the bulkhead). Blocking handlers need as many threads.
  std::size_t concurrency = 8;
  /// Deliveries here, waiting and running; 0: twice the concurrency.
  std::uint32_t credit_messages = 0;
  std::uint64_t credit_bytes = 4 * 1024 * 1024;
  /// How long stop waits for running handlers before it gives up on them (they are retried).
  std::chrono::milliseconds drain_timeout{30'000};
};

class ProcessorState;

/// A running process(). Destroying it stops it without waiting. Destroy it before the client.
class [[nodiscard]] Processor {
 public:
  explicit Processor(std::shared_ptr<ProcessorState> state);
  Processor(Processor&&) noexcept;
  Processor& operator=(Processor&&) noexcept;
  ~Processor();

  /// Completes when it has ended: successfully after stop, else with what ended it (the
  /// subscription's error). `void(Reply<void>)`.
  template <class Token>
  auto async_wait(Token&& token) {
    return asio::async_initiate<Token, void(Reply<void>)>(
        [this](auto handler) {
          start_wait(completion_for<void>(std::move(handler), get_executor()));
        },
        token);
  }
  /// Takes no more messages, releases what waits, and lets running handlers end. Any thread.
  void stop();
  [[nodiscard]] asio::any_io_executor get_executor() const;

 private:
  void start_wait(Completion<void> completion);
  std::shared_ptr<ProcessorState> state_;
};

/// Starts; errors (an unknown group, say) come from Processor::async_wait.
Processor process(Client& client, std::string group, const asio::any_io_executor& handler_executor,
                  Handler handler, ProcessOptions options = {});
Processor process(Client& client, std::string group, AsyncHandler handler,
                  ProcessOptions options = {});

}  // namespace waybill

// A consumer: one member of a group, fed by the broker.
//
// The broker pushes deliveries as far as the credit goes; they wait here, their leases extended,
// until async_next hands them out. Credit goes back as deliveries are settled. A lost connection is
// repaired by itself: the subscription is made again, and the leases that are still ours are kept.
// In a group with `partition` ordering, the next delivery of a partition is handed out only after
// the previous one was settled; after a settlement other than ack, what had been pushed of that
// partition is forgotten, as the broker revokes it (D8).
//
// Movable, not copyable; any thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/completion.h"
#include "client/delivery.h"
#include "protocol/model/catalog.h"

namespace waybill {

struct SubscribeOptions {
  /// Deliveries at this process, waiting and running. More hide the round trip and share the work
  /// less evenly: about twice the concurrency of the handlers is right (D6).
  std::uint32_t credit_messages = 64;
  std::uint64_t credit_bytes = 4 * 1024 * 1024;
};

class [[nodiscard]] Subscription {
 public:
  explicit Subscription(std::shared_ptr<SubscriptionState> state);
  Subscription(Subscription&&) noexcept;
  Subscription& operator=(Subscription&&) noexcept;
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;
  /// As close, without waiting for it.
  ~Subscription();

  [[nodiscard]] asio::any_io_executor get_executor() const;
  /// The group as it was when the subscription was made.
  [[nodiscard]] GroupInfo group() const;
  [[nodiscard]] std::string topic() const;

  /// The next delivery: `void(Reply<Delivery>)`. Waits, at most `wait` if given (then kTimedOut).
  /// kClosed after close; any other error is the broker's and ends the subscription (for example
  /// kUnknownGroup after the group was deleted). Honours cancellation (kCancelled): no delivery is
  /// lost to it. Several may wait at a time.
  template <class Token>
  auto async_next(std::optional<std::chrono::milliseconds> wait, Token&& token) {
    return asio::async_initiate<Token, void(Reply<Delivery>)>(
        [this](auto handler, std::optional<std::chrono::milliseconds> limit) {
          std::uint64_t waiter = watch_cancellation(handler);
          start_next(waiter, limit, completion_for<Delivery>(std::move(handler), get_executor()));
        },
        token, wait);
  }
  template <class Token>
  auto async_next(Token&& token) {
    return async_next(std::nullopt, std::forward<Token>(token));
  }

  /// What is ready, at least one and at most `most`: `void(Reply<std::vector<Delivery>>)`, in order
  /// per partition. As async_next otherwise. Each is settled by itself; what is settled together
  /// goes to the broker together.
  template <class Token>
  auto async_next_batch(std::size_t most, std::optional<std::chrono::milliseconds> wait,
                        Token&& token) {
    return asio::async_initiate<Token, void(Reply<std::vector<Delivery>>)>(
        [this, most](auto handler, std::optional<std::chrono::milliseconds> limit) {
          std::uint64_t waiter = watch_cancellation(handler);
          start_next_batch(
              waiter, most, limit,
              completion_for<std::vector<Delivery>>(std::move(handler), get_executor()));
        },
        token, wait);
  }

  /// Takes nothing more, releases what was not handed out yet, waits until everything handed out is
  /// settled, and leaves the group: `void(Reply<void>)`.
  template <class Token>
  auto async_close(Token&& token) {
    return asio::async_initiate<Token, void(Reply<void>)>(
        [this](auto handler) {
          start_close(completion_for<void>(std::move(handler), get_executor()));
        },
        token);
  }

 private:
  /// The number of a new waiter, which ends when the handler's cancellation slot says so.
  template <class Handler>
  std::uint64_t watch_cancellation(const Handler& handler) {
    std::uint64_t waiter = next_waiter();
    auto slot = asio::get_associated_cancellation_slot(handler);
    if (slot.is_connected()) {
      slot.assign([state = std::weak_ptr(state_), waiter](asio::cancellation_type) {
        cancel_next(state, waiter);
      });
    }
    return waiter;
  }
  std::uint64_t next_waiter();
  void start_next(std::uint64_t waiter, std::optional<std::chrono::milliseconds> wait,
                  Completion<Delivery> completion);
  void start_next_batch(std::uint64_t waiter, std::size_t most,
                        std::optional<std::chrono::milliseconds> wait,
                        Completion<std::vector<Delivery>> completion);
  static void cancel_next(const std::weak_ptr<SubscriptionState>& state, std::uint64_t waiter);
  void start_close(Completion<void> completion);

  std::shared_ptr<SubscriptionState> state_;
};

}  // namespace waybill

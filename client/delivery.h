// One message handed to this process, with the time-limited right to settle it.
//
// Settle it once, with one of ack, retry, dead_letter or release; the calls return at once, the
// library sends them on (again after a lost connection) and a message that is settled already
// counts as success. async_settle completes when the settlement is durable. While a delivery lives,
// the library extends its lease. Destroying one that is not settled is retry(failed, "dropped")
// (D7): losing a message by forgetting it is charged, so that it ends as a visible dead letter.
//
// Movable, not copyable; one thread at a time, any thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "client/completion.h"
#include "protocol/base/bytes.h"
#include "protocol/base/ids.h"
#include "protocol/model/failure.h"
#include "protocol/model/message.h"
#include "protocol/model/requests.h"

namespace waybill {

class SubscriptionState;
struct HeldDelivery;

/// How a delivery ends.
struct SettleOptions {
  SettleVerb verb = SettleVerb::kAck;
  Failure failure{};                                       ///< for retry and dead_letter
  std::optional<std::chrono::milliseconds> retry_after{};  ///< overrides the group's back-off
};

// Inline, so that it is waybill::Delivery to everybody: the broker's core has a class of this name,
// and programs that hold both (tests) need two symbols.
inline namespace client {

class [[nodiscard]] Delivery {
 public:
  Delivery(std::shared_ptr<SubscriptionState> subscription, std::shared_ptr<HeldDelivery> held);
  Delivery(Delivery&&) noexcept;
  Delivery& operator=(Delivery&&) noexcept;
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;
  ~Delivery();

  /// Made from the received bytes when it is asked for first. It, key() and value() live as long
  /// as the delivery.
  [[nodiscard]] const Message& message() const;
  /// Where they were received, without a copy; nothing as in Message.
  [[nodiscard]] std::optional<Bytes> key() const;
  [[nodiscard]] std::optional<Bytes> value() const;
  [[nodiscard]] const std::string& topic() const;
  [[nodiscard]] const std::string& group() const;
  [[nodiscard]] PartitionIndex partition() const;
  [[nodiscard]] Offset offset() const;
  /// 1 on the first delivery.
  [[nodiscard]] std::uint32_t number() const;
  /// Failures charged so far.
  [[nodiscard]] std::uint32_t failures() const;
  /// How often it came back from the dead letters.
  [[nodiscard]] std::uint32_t redrive() const;
  [[nodiscard]] LeaseToken token() const;

  [[nodiscard]] bool settled() const;
  /// True once the broker said that somebody else may have it: stop working on it, the settlement
  /// will be refused.
  [[nodiscard]] bool lease_lost() const;

  void ack();
  /// Back to the group after the group's back-off, or after `after`.
  void retry(Failure failure, std::optional<std::chrono::milliseconds> after = std::nullopt);
  void dead_letter(Failure failure);
  /// Gives it back untouched and uncharged.
  void release();
  /// Asks for a full lease from now on; happens by itself as long as the delivery lives.
  void extend();

  /// Settles and completes with `void(Reply<void>)` when the broker has made it durable, with
  /// kLeaseLost if it was too late, or with kClosed if the client was closed first.
  template <class Token>
  auto async_settle(SettleOptions options, Token&& token) {
    return asio::async_initiate<Token, void(Reply<void>)>(
        [this](auto handler, SettleOptions settle) {
          start_settle(std::move(settle), completion_for<void>(std::move(handler), executor()));
        },
        token, std::move(options));
  }

 private:
  [[nodiscard]] asio::any_io_executor executor() const;
  void start_settle(SettleOptions options, Completion<void> completion);
  void drop();

  std::shared_ptr<SubscriptionState> subscription_;
  std::shared_ptr<HeldDelivery> held_;
};

}  // namespace client

}  // namespace waybill

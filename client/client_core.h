// What all handles of one client share: the connection that is repaired, the catalog cache, the
// publisher and the subscriptions.
//
// Everything runs on one strand; only post(), publish() and closed() may be called from other
// threads. Owners: the Client, its subscriptions and deliveries, and the connect loop while the
// client is open. After close_now() every operation has ended with kClosed and the loop ends.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/broker_connection.h"
#include "client/client_options.h"
#include "client/completion.h"
#include "client/message_publisher.h"
#include "client/subscription.h"
#include "protocol/async/task.h"
#include "protocol/base/random.h"
#include "protocol/wire/codec.h"

namespace waybill {

class SubscriptionState;

using SteadyTime = std::chrono::steady_clock::time_point;

class ClientCore : public std::enable_shared_from_this<ClientCore> {
 public:
  using Milliseconds = std::chrono::milliseconds;

  ClientCore(const asio::any_io_executor& executor, ClientOptions options,
             std::shared_ptr<void> keep_alive);

  [[nodiscard]] const asio::any_io_executor& executor() const { return executor_; }
  [[nodiscard]] const asio::any_io_executor& strand() const { return strand_; }
  [[nodiscard]] const ClientOptions& options() const { return options_; }
  [[nodiscard]] bool closed() const { return closed_.load(); }
  Random& random() { return random_; }

  /// Runs `function` on the strand; as publish(), from other threads only while the client is not
  /// closed(): afterwards the execution context may be gone.
  template <class Function>
  void post(Function function) {
    asio::post(strand_, std::move(function));
  }

  void publish(PublishCall call);

  // --- on the strand ---

  /// The connection, as soon as there is one; an error after `deadline`, when the broker was never
  /// reached (unless the options say wait), or when the client is closed.
  void with_connection(SteadyTime deadline,
                       Completion<std::shared_ptr<BrokerConnection>> completion);
  /// Null while there is none.
  [[nodiscard]] const std::shared_ptr<BrokerConnection>& connection() const { return connection_; }

  void connect(Completion<HelloReply> completion);
  /// One request with its answer; idempotent ones are repeated after a lost connection.
  template <class Request>
  void request(Request request, Completion<ReplyOf<Request>> completion);

  /// Null if it has to be asked for.
  [[nodiscard]] const TopicInfo* known_topic(const std::string& name) const;
  void find_topic(const std::string& name, Completion<TopicInfo> completion);
  /// The broker said that it is gone: the next find_topic asks again.
  void forget_topic(TopicId topic);
  void subscribe(std::string group, SubscribeOptions options, Completion<Subscription> completion);
  void remove_subscription(std::uint32_t number);

  /// Flushes the publisher, closes the subscriptions, then close_now().
  void close(Completion<void> completion);
  /// Ends every operation with kClosed. Called on the strand; mark_closed() may come before, from
  /// any thread.
  void close_now();
  void mark_closed() { closed_.store(true); }

  static RequestError closed_error();

 private:
  template <class Request>
  struct Call;
  struct Waiter {
    Completion<std::shared_ptr<BrokerConnection>> completion;
    asio::steady_timer deadline;
  };

  static Task<void> run(std::shared_ptr<ClientCore> self);
  static Task<Reply<void>> connect_round(std::shared_ptr<ClientCore> self);
  void ensure_running();
  void connected(std::shared_ptr<BrokerConnection> connection, HelloReply hello);
  void connection_closed(const RequestError& reason);
  void fail_waiters(const RequestError& error);
  void push(const Frame& frame);
  void publish_waiting();
  void close_subscriptions(Completion<void> completion);
  template <class Request>
  void attempt(std::shared_ptr<Call<Request>> call);

  std::shared_ptr<void> keep_alive_;  ///< first, so that it goes last
  asio::any_io_executor executor_;
  asio::any_io_executor strand_;
  ClientOptions options_;
  SeededRandom random_;
  std::atomic<bool> closed_ = false;

  bool running_ = false;
  bool reached_ = false;  ///< the broker was reached once
  std::shared_ptr<BrokerConnection> dialing_;
  std::shared_ptr<BrokerConnection> connection_;
  std::optional<HelloReply> hello_;
  asio::steady_timer pause_;  ///< between rounds, and while a connection lives
  std::uint64_t last_waiter_ = 0;
  std::map<std::uint64_t, Waiter> waiters_;

  std::map<std::string, TopicInfo, std::less<>> topics_;
  MessagePublisher publisher_;
  std::uint32_t last_subscription_ = 0;
  std::map<std::uint32_t, std::shared_ptr<SubscriptionState>> subscriptions_;
};

// --- requests ---

template <class Request>
struct ClientCore::Call {
  Request request;
  SteadyTime deadline;
  Completion<ReplyOf<Request>> completion;
};

template <class Request>
void ClientCore::request(Request request, Completion<ReplyOf<Request>> completion) {
  auto call = std::make_shared<Call<Request>>(
      Call<Request>{std::move(request), std::chrono::steady_clock::now() + options_.request_timeout,
                    std::move(completion)});
  attempt(std::move(call));
}

template <class Request>
void ClientCore::attempt(std::shared_ptr<Call<Request>> call) {
  SteadyTime deadline = call->deadline;
  with_connection(deadline, [self = shared_from_this(),
                             call](Reply<std::shared_ptr<BrokerConnection>> connection) {
    if (!connection) return call->completion(connection.error());
    auto left =
        std::chrono::duration_cast<Milliseconds>(call->deadline - std::chrono::steady_clock::now());
    (*connection)->request(call->request, left, [self, call](Reply<ReplyOf<Request>> reply) {
      bool repeat = find_request_kind(Wire<Request>::kKind)->idempotent;
      if (!reply && reply.error() == Errc::kConnectionLost && repeat) return self->attempt(call);
      call->completion(std::move(reply));
    });
  });
}

}  // namespace waybill

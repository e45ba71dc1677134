// The client of one broker: publishing, consuming, administration, over one connection that repairs
// itself.
//
//   waybill::Client client(io.get_executor(), {.endpoints = {"broker:7450"}});
//   auto published = client.async_publish("orders", message, asio::use_awaitable);
//   Reply<PublishReceipt> receipt = co_await std::move(published);
//
// Every operation takes an Asio completion token and completes with `void(Reply<T>)`: a value, or a
// code with a sentence for the person who has to act. Handlers are posted to their own executor,
// or the client's. Operations may be started from any thread. Every operation ends: with its
// answer, its timeout (ClientOptions), or kClosed.
//
// Publishing collects by itself: while a batch of a partition is on its way, later messages of that
// partition gather into the next; nothing lingers. There is one batch in flight per partition, so
// order is kept; a batch whose outcome is unknown is sent again under the same sequence (D20).
//
// Owner: the application; destroying it ends everything with kClosed. async_close first flushes.
// Without threads of its own: blocking_client.h has one that waits, process.h runs handlers.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/client_options.h"
#include "client/completion.h"
#include "client/publish_receipt.h"
#include "client/publish_target.h"
#include "client/subscription.h"
#include "protocol/model/message.h"
#include "protocol/model/requests.h"
#include "protocol/wire/codec.h"

namespace waybill {

class ClientCore;

class Client {
 public:
  /// `keep_alive` is held as long as anything of the client lives, deliveries included; for a
  /// facade that owns the execution context.
  explicit Client(const asio::any_io_executor& executor, ClientOptions options = {},
                  std::shared_ptr<void> keep_alive = nullptr);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();

  [[nodiscard]] asio::any_io_executor get_executor() const;
  /// This run of the client, as in the options or made up.
  [[nodiscard]] InstanceId instance() const;

  /// Completes once connected, with what the broker said to hello. Operations connect by
  /// themselves; this one tells early whether that can work.
  template <class Token>
  auto async_connect(Token&& token) {
    return asio::async_initiate<Token, void(Reply<HelloReply>)>(
        [this](auto handler) {
          start_connect(completion_for<HelloReply>(std::move(handler), get_executor()));
        },
        token);
  }

  /// Any request of protocol/model/requests.h, with its reply. Idempotent
  /// ones survive a lost connection; the others then end with kConnectionLost, outcome unknown.
  /// A PublishRequest sent this way carries its own stamps (relays, compare-and-append): the client
  /// neither batches nor repeats it.
  template <class Request, class Token>
  auto async_request(Request request, Token&& token) {
    using Answer = ReplyOf<Request>;
    return asio::async_initiate<Token, void(Reply<Answer>)>(
        [this](auto handler, Request wanted) {
          start_request(std::move(wanted),
                        completion_for<Answer>(std::move(handler), get_executor()));
        },
        token, std::move(request));
  }

  /// Completes when the message is durable. A timestamp of 0 becomes now. kTimedOut: it was not
  /// sent; kOutcomeUnknown: it was sent and nobody knows.
  template <class Token>
  auto async_publish(PublishTarget target, Message message, Token&& token) {
    return asio::async_initiate<Token, void(Reply<PublishReceipt>)>(
        [this](auto handler, PublishTarget to, Message what) {
          start_publish(std::move(to), std::move(what),
                        completion_for<PublishReceipt>(std::move(handler), get_executor()));
        },
        token, std::move(target), std::move(message));
  }

  /// Many messages for the price of one operation: completes when each of them has its receipt or
  /// its error, in the order given. They are one batch as far as they go to one partition and fit
  /// one; they are not published all or none. Fails as a whole only with kClosed.
  template <class Token>
  auto async_publish_all(PublishTarget target, std::vector<Message> messages, Token&& token) {
    return asio::async_initiate<Token, void(Reply<PublishReceipts>)>(
        [this](auto handler, PublishTarget to, std::vector<Message> what) {
          start_publish_all(std::move(to), std::move(what),
                            completion_for<PublishReceipts>(std::move(handler), get_executor()));
        },
        token, std::move(target), std::move(messages));
  }

  /// The topic from the cache, asked for if it is not there. kUnknownTopic.
  template <class Token>
  auto async_find_topic(std::string name, Token&& token) {
    return asio::async_initiate<Token, void(Reply<TopicInfo>)>(
        [this](auto handler, std::string wanted) {
          start_find_topic(std::move(wanted),
                           completion_for<TopicInfo>(std::move(handler), get_executor()));
        },
        token, std::move(name));
  }

  /// Creates the group or accepts the one that is there, if its topic and policy are the same; else
  /// kPolicyMismatch (D1).
  template <class Token>
  auto async_ensure_group(CreateGroupRequest group, Token&& token) {
    return async_request(std::move(group), std::forward<Token>(token));
  }

  /// Joins a group. kUnknownGroup if nobody created it.
  template <class Token>
  auto async_subscribe(std::string group, SubscribeOptions options, Token&& token) {
    return asio::async_initiate<Token, void(Reply<Subscription>)>(
        [this](auto handler, std::string name, SubscribeOptions wanted) {
          start_subscribe(std::move(name), wanted,
                          completion_for<Subscription>(std::move(handler), get_executor()));
        },
        token, std::move(group), options);
  }

  /// Waits for the receipts of everything published, closes the subscriptions (they wait for what
  /// was handed out), then disconnects. Operations started later end with kClosed.
  template <class Token>
  auto async_close(Token&& token) {
    return asio::async_initiate<Token, void(Reply<void>)>(
        [this](auto handler) {
          start_close(completion_for<void>(std::move(handler), get_executor()));
        },
        token);
  }

 private:
  void start_connect(Completion<HelloReply> completion);
  template <class Request>
  void start_request(Request request, Completion<ReplyOf<Request>> completion);
  void start_publish(PublishTarget target, Message message, Completion<PublishReceipt> completion);
  void start_publish_all(PublishTarget target, std::vector<Message> messages,
                         Completion<PublishReceipts> completion);
  void start_find_topic(std::string name, Completion<TopicInfo> completion);
  void start_subscribe(std::string group, SubscribeOptions options,
                       Completion<Subscription> completion);
  void start_close(Completion<void> completion);

  std::shared_ptr<ClientCore> core_;
};

}  // namespace waybill

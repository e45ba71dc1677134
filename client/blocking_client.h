// The client for code that waits: a Client with a thread of its own behind plain functions. What
// each operation does and how it fails is said in client.h.
//
//   waybill::BlockingClient client;
//   auto receipt = client.publish("orders", message);
//
// Any number of threads may call it. Do not call it from a handler that runs on its own thread
// (executor()): that thread would wait for itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/client.h"

namespace waybill {

/// Starts an operation with a handler for its answer, and waits for that on the calling thread.
template <class T, class Start>
Reply<T> wait_for_answer(Start start) {
  std::promise<Reply<T>> promise;
  std::future<Reply<T>> answered = promise.get_future();
  start([&promise](Reply<T> reply) { promise.set_value(std::move(reply)); });
  return answered.get();
}

/// A Subscription whose next() waits.
class [[nodiscard]] BlockingSubscription {
 public:
  explicit BlockingSubscription(Subscription subscription)
      : subscription_(std::move(subscription)) {}

  /// As Subscription::async_next.
  Reply<Delivery> next(std::optional<std::chrono::milliseconds> wait = std::nullopt);
  /// As Subscription::async_next_batch.
  Reply<std::vector<Delivery>> next_batch(
      std::size_t most, std::optional<std::chrono::milliseconds> wait = std::nullopt);
  /// As Subscription::async_close.
  Reply<void> close();
  Subscription& async() { return subscription_; }

 private:
  Subscription subscription_;
};

/// What a consume callback says about going on.
enum class Continue : std::uint8_t { kYes, kNo };

struct ConsumeOptions {
  SubscribeOptions subscribe;
  /// Ends the loop (successfully) when nothing came for so long; nullopt: waits for ever.
  std::optional<std::chrono::milliseconds> idle_timeout;
};

class BlockingClient {
 public:
  explicit BlockingClient(ClientOptions options = {});
  BlockingClient(const BlockingClient&) = delete;
  BlockingClient& operator=(const BlockingClient&) = delete;
  /// Ends everything with kClosed; call close() first to flush.
  ~BlockingClient();

  Reply<HelloReply> connect();

  /// Any request with its reply: `client.request(DescribeTopicRequest{"orders"})`.
  template <class Request>
  Reply<ReplyOf<Request>> request(Request request) {
    return wait_for_answer<ReplyOf<Request>>(
        [&](auto handler) { async().async_request(std::move(request), std::move(handler)); });
  }

  Reply<PublishReceipt> publish(PublishTarget target, Message message);
  /// All of them, in order per partition, batched; one reply for each, in the order given.
  PublishReceipts publish_all(const PublishTarget& target, std::vector<Message> messages);

  Reply<CreateTopicReply> create_topic(std::string name, std::uint32_t partitions = 1);
  Reply<TopicInfo> find_topic(std::string name);
  Reply<CreateGroupReply> ensure_group(CreateGroupRequest group);

  Reply<BlockingSubscription> subscribe(std::string group, SubscribeOptions options = {});

  /// Calls `handle` for one delivery after the other, on the calling thread, until it says kNo, the
  /// idle timeout passes, or the subscription ends (its error). `handle` settles; what it leaves
  /// unsettled is retried as failed (D7).
  Reply<void> consume(const std::string& group, const std::function<Continue(Delivery&)>& handle,
                      ConsumeOptions options = {});

  /// As Client::async_close.
  Reply<void> close();

  /// The client underneath, for process() and asynchronous operations.
  Client& async();
  asio::any_io_executor executor();

 private:
  struct Runtime;
  std::unique_ptr<Runtime> runtime_;
};

}  // namespace waybill

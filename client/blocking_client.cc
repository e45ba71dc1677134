#include "client/blocking_client.h"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <deque>
#include <iterator>
#include <thread>

namespace waybill {
/// The thread and what it runs. The context is shared with everything of the client, because
/// deliveries may outlive the facade.
struct BlockingClient::Runtime {
  explicit Runtime(ClientOptions options)
      : context(std::make_shared<asio::io_context>(1)), work(asio::make_work_guard(*context)) {
    options.single_threaded = true;
    client.emplace(context->get_executor(), std::move(options), context);
    thread = std::thread([running = context] { running->run(); });
  }
  ~Runtime() {
    client.reset();
    work.reset();
    thread.join();
  }

  std::shared_ptr<asio::io_context> context;
  asio::executor_work_guard<asio::io_context::executor_type> work;
  std::optional<Client> client;
  std::thread thread;
};

Reply<Delivery> BlockingSubscription::next(std::optional<std::chrono::milliseconds> wait) {
  return wait_for_answer<Delivery>(
      [&](auto handler) { subscription_.async_next(wait, std::move(handler)); });
}

Reply<std::vector<Delivery>> BlockingSubscription::next_batch(
    std::size_t most, std::optional<std::chrono::milliseconds> wait) {
  return wait_for_answer<std::vector<Delivery>>(
      [&](auto handler) { subscription_.async_next_batch(most, wait, std::move(handler)); });
}

Reply<void> BlockingSubscription::close() {
  return wait_for_answer<void>(
      [&](auto handler) { subscription_.async_close(std::move(handler)); });
}

BlockingClient::BlockingClient(ClientOptions options)
    : runtime_(std::make_unique<Runtime>(std::move(options))) {}

BlockingClient::~BlockingClient() = default;

Client& BlockingClient::async() {
  return *runtime_->client;
}

asio::any_io_executor BlockingClient::executor() {
  return runtime_->context->get_executor();
}

Reply<HelloReply> BlockingClient::connect() {
  return wait_for_answer<HelloReply>(
      [&](auto handler) { async().async_connect(std::move(handler)); });
}

Reply<PublishReceipt> BlockingClient::publish(PublishTarget target, Message message) {
  return wait_for_answer<PublishReceipt>([&](auto handler) {
    async().async_publish(std::move(target), std::move(message), std::move(handler));
  });
}

PublishReceipts BlockingClient::publish_all(const PublishTarget& target,
                                            std::vector<Message> messages) {
  // Two parts on their way at a time, so that the next batch gathers while one is at the broker.
  constexpr std::size_t kPart = 10'000;
  std::deque<std::pair<std::size_t, std::future<Reply<PublishReceipts>>>> parts;
  PublishReceipts receipts;
  receipts.reserve(messages.size());
  auto collect = [&] {
    auto [count, answer] = std::move(parts.front());
    parts.pop_front();
    Reply<PublishReceipts> answered = answer.get();
    if (!answered) return receipts.resize(receipts.size() + count, answered.error());
    std::ranges::move(*answered, std::back_inserter(receipts));
  };
  for (std::size_t begin = 0; begin < messages.size(); begin += kPart) {
    std::size_t count = std::min(kPart, messages.size() - begin);
    auto from = messages.begin() + static_cast<std::ptrdiff_t>(begin);
    std::vector<Message> part(std::make_move_iterator(from),
                              std::make_move_iterator(from + static_cast<std::ptrdiff_t>(count)));
    if (parts.size() == 2) collect();
    auto promise = std::make_shared<std::promise<Reply<PublishReceipts>>>();
    parts.emplace_back(count, promise->get_future());
    async().async_publish_all(target, std::move(part), [promise](Reply<PublishReceipts> answered) {
      promise->set_value(std::move(answered));
    });
  }
  while (!parts.empty()) collect();
  return receipts;
}

Reply<CreateTopicReply> BlockingClient::create_topic(std::string name, std::uint32_t partitions) {
  return request(CreateTopicRequest{std::move(name), partitions});
}

Reply<TopicInfo> BlockingClient::find_topic(std::string name) {
  return wait_for_answer<TopicInfo>(
      [&](auto handler) { async().async_find_topic(std::move(name), std::move(handler)); });
}

Reply<CreateGroupReply> BlockingClient::ensure_group(CreateGroupRequest group) {
  return request(std::move(group));
}

Reply<BlockingSubscription> BlockingClient::subscribe(std::string group, SubscribeOptions options) {
  Reply<Subscription> made = wait_for_answer<Subscription>([&](auto handler) {
    async().async_subscribe(std::move(group), options, std::move(handler));
  });
  if (!made) return made.error();
  return BlockingSubscription(std::move(*made));
}

Reply<void> BlockingClient::consume(const std::string& group,
                                    const std::function<Continue(Delivery&)>& handle,
                                    ConsumeOptions options) {
  Reply<BlockingSubscription> made = subscribe(group, options.subscribe);
  if (!made) return made.error();
  BlockingSubscription subscription = std::move(*made);
  for (;;) {
    Reply<Delivery> next = subscription.next(options.idle_timeout);
    if (!next && next.error() == Errc::kTimedOut) return subscription.close();
    if (!next) return next.error();
    Continue going_on = Continue::kYes;
    {
      Delivery delivery = std::move(*next);
      going_on = handle(delivery);
    }
    if (going_on == Continue::kNo) return subscription.close();
  }
}

Reply<void> BlockingClient::close() {
  return wait_for_answer<void>([&](auto handler) { async().async_close(std::move(handler)); });
}

}  // namespace waybill

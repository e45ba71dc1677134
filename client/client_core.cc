#include "client/client_core.h"

#include <boost/asio/strand.hpp>
#include <functional>

#include "client/subscription_state.h"
#include "protocol/async/spawn.h"

namespace waybill {
namespace {

std::uint64_t wall_milliseconds() {
  return static_cast<std::uint64_t>(SystemClock().wall().milliseconds);
}

}  // namespace

ClientCore::ClientCore(const asio::any_io_executor& executor, ClientOptions options,
                       std::shared_ptr<void> keep_alive)
    : keep_alive_(std::move(keep_alive)),
      executor_(executor),
      strand_(options.single_threaded ? executor : asio::make_strand(executor)),
      options_(std::move(options)),
      random_(system_seed()),
      pause_(strand_),
      publisher_(*this) {
  if (options_.instance.uuid.is_nil()) options_.instance.uuid = random_.uuid();
  if (options_.instance_start == 0) options_.instance_start = wall_milliseconds();
}

RequestError ClientCore::closed_error() {
  return {Errc::kClosed, "the client was closed"};
}

// --- the connection ---

void ClientCore::ensure_running() {
  if (running_ || closed()) return;
  running_ = true;
  spawn(strand_, "client", run, shared_from_this());
}

Task<void> ClientCore::run(std::shared_ptr<ClientCore> self) {
  std::uint32_t failures = 0;
  while (!self->closed()) {
    auto round = connect_round(self);
    Reply<void> reached = co_await std::move(round);
    SteadyTime since = std::chrono::steady_clock::now();
    self->pause_.expires_at(SteadyTime::max());
    while (self->connection_ != nullptr && !self->closed()) {
      auto connected = self->pause_.async_wait(kNoThrow);
      co_await std::move(connected);
    }
    if (self->closed()) break;
    // Waiting helps against a broker that is not there yet, not against one that does not know us.
    bool hopeless =
        !reached && (!self->options_.wait_for_broker || reached.error() == Errc::kUnauthenticated);
    if (hopeless && !self->reached_) {
      self->fail_waiters(reached.error());
    }
    // A connection that lived long was a good one; a short one counts as a failure, so that a
    // broker which accepts and hangs up is not asked in a tight loop.
    bool lived = std::chrono::steady_clock::now() - since > self->options_.reconnect.cap;
    failures = lived ? 1 : failures + 1;
    self->pause_.expires_after(
        backoff_delay(self->options_.reconnect, failures, self->random_.next()));
    auto pausing = self->pause_.async_wait(kNoThrow);
    co_await std::move(pausing);
  }
}

Task<Reply<void>> ClientCore::connect_round(std::shared_ptr<ClientCore> self) {
  HelloRequest hello;
  hello.instance = self->options_.instance;
  hello.instance_start = self->options_.instance_start;
  hello.client_name = self->options_.client_name;
  hello.user = self->options_.user;
  hello.token = self->options_.token;
  RequestError last(Errc::kCannotConnect, "the client has no endpoints");
  for (const std::string& endpoint : self->options_.endpoints) {
    auto connection = std::make_shared<BrokerConnection>(self->strand_, self->options_.keepalive);
    std::weak_ptr<ClientCore> weak = self;
    BrokerConnection::Events events;
    events.on_push = [weak](const Frame& frame) {
      if (auto core = weak.lock()) core->push(frame);
    };
    events.on_closed = [weak](const RequestError& reason) {
      if (auto core = weak.lock()) core->connection_closed(reason);
    };
    self->dialing_ = connection;
    auto opening = BrokerConnection::open(connection, endpoint, hello,
                                          self->options_.connect_timeout, std::move(events));
    Reply<HelloReply> said = co_await std::move(opening);
    self->dialing_ = nullptr;
    if (self->closed()) {
      connection->close(closed_error());
      co_return closed_error();
    }
    if (said) {
      self->connected(std::move(connection), std::move(*said));
      co_return Reply<void>();
    }
    last = said.error();
  }
  co_return last;
}

void ClientCore::connected(std::shared_ptr<BrokerConnection> connection, HelloReply hello) {
  reached_ = true;
  connection_ = std::move(connection);
  hello_ = std::move(hello);
  // Leases first: their time is running.
  auto subscriptions = subscriptions_;
  for (auto& [number, subscription] : subscriptions) subscription->connected();
  publisher_.connected();
  auto waiters = std::exchange(waiters_, {});
  for (auto& [id, waiter] : waiters) waiter.completion(connection_);
}

void ClientCore::connection_closed(const RequestError& /*reason*/) {
  connection_ = nullptr;
  auto subscriptions = subscriptions_;
  for (auto& [number, subscription] : subscriptions) subscription->disconnected();
  pause_.cancel();
}

void ClientCore::with_connection(SteadyTime deadline,
                                 Completion<std::shared_ptr<BrokerConnection>> completion) {
  if (closed()) return completion(closed_error());
  if (connection_ != nullptr && connection_->is_open()) return completion(connection_);
  ensure_running();
  std::uint64_t id = ++last_waiter_;
  Waiter& waiter =
      waiters_.emplace(id, Waiter{std::move(completion), asio::steady_timer(strand_, deadline)})
          .first->second;
  waiter.deadline.async_wait([weak = weak_from_this(), id](boost::system::error_code stopped) {
    auto self = weak.lock();
    if (stopped || !self) return;
    auto late = self->waiters_.extract(id);
    if (late.empty()) return;
    late.mapped().completion(
        RequestError(Errc::kTimedOut, "there was no connection to the broker in time"));
  });
}

void ClientCore::fail_waiters(const RequestError& error) {
  auto waiters = std::exchange(waiters_, {});
  for (auto& [id, waiter] : waiters) waiter.completion(error);
  publisher_.fail_all(error);
}

void ClientCore::connect(Completion<HelloReply> completion) {
  with_connection(std::chrono::steady_clock::now() + options_.request_timeout,
                  [self = shared_from_this(), completion = std::move(completion)](
                      Reply<std::shared_ptr<BrokerConnection>> connection) mutable {
                    if (!connection) return completion(connection.error());
                    completion(*self->hello_);
                  });
}

void ClientCore::push(const Frame& frame) {
  auto hand_over = [this](const auto& push, auto receive) {
    if (!push) {
      return connection_->close({Errc::kConnectionLost, "a push of the broker cannot be read: " +
                                                            push.error().explanation});
    }
    auto found = subscriptions_.find(push->subscription);
    // Pushed before the broker read that we left: it releases those leases itself.
    if (found != subscriptions_.end()) std::invoke(receive, *found->second, *push);
  };
  if (frame.header.kind == RequestKind::kRevoke) {
    return hand_over(decode_as<RevokePush>(frame), &SubscriptionState::revoke);
  }
  hand_over(decode_as<DeliverPush>(frame), &SubscriptionState::deliver);
}

// --- topics, publishing ---

const TopicInfo* ClientCore::known_topic(const std::string& name) const {
  auto known = topics_.find(name);
  return known == topics_.end() ? nullptr : &known->second;
}

void ClientCore::find_topic(const std::string& name, Completion<TopicInfo> completion) {
  if (const TopicInfo* known = known_topic(name)) return completion(*known);
  request(MetadataRequest{{name}},
          [self = shared_from_this(), name,
           completion = std::move(completion)](Reply<MetadataReply> reply) mutable {
            if (!reply) return completion(reply.error());
            const TopicInfo* topic = reply->catalog.topic(name);
            if (topic == nullptr) {
              return completion(RequestError(
                  Errc::kUnknownTopic, "there is no topic '" + name +
                                           "'; create it first: waybill topic create " + name));
            }
            self->topics_.insert_or_assign(name, *topic);
            completion(*topic);
          });
}

void ClientCore::forget_topic(TopicId topic) {
  std::erase_if(topics_, [&](const auto& known) { return known.second.id == topic; });
}

void ClientCore::publish(PublishCall call) {
  if (!publisher_.put(std::move(call))) return;
  post([self = shared_from_this()] { self->publish_waiting(); });
}

void ClientCore::publish_waiting() {
  if (closed()) return publisher_.fail_all(closed_error());
  ensure_running();
  publisher_.publish_waiting();
}

// --- consuming ---

void ClientCore::subscribe(std::string group, SubscribeOptions options,
                           Completion<Subscription> completion) {
  if (closed()) return completion(closed_error());
  std::uint32_t number = ++last_subscription_;
  auto state =
      std::make_shared<SubscriptionState>(shared_from_this(), number, std::move(group), options);
  subscriptions_.emplace(number, state);
  state->join(std::move(completion));
}

void ClientCore::remove_subscription(std::uint32_t number) {
  subscriptions_.erase(number);
}

// --- the end ---

void ClientCore::close(Completion<void> completion) {
  if (closed()) return completion(Reply<void>());
  publisher_.flush(
      [self = shared_from_this(), completion = std::move(completion)](const Reply<void>&) mutable {
        self->close_subscriptions(std::move(completion));
      });
}

void ClientCore::close_subscriptions(Completion<void> completion) {
  auto shared = std::make_shared<Completion<void>>(std::move(completion));
  auto left = std::make_shared<std::size_t>(subscriptions_.size());
  auto finish = [self = shared_from_this(), shared] {
    self->mark_closed();
    self->close_now();
    (*shared)(Reply<void>());
  };
  if (*left == 0) return finish();
  auto subscriptions = subscriptions_;
  for (auto& [number, subscription] : subscriptions) {
    subscription->close([left, finish](const Reply<void>&) {
      if (--*left == 0) finish();
    });
  }
}

void ClientCore::close_now() {
  mark_closed();
  auto waiters = std::exchange(waiters_, {});
  for (auto& [id, waiter] : waiters) waiter.completion(closed_error());
  publisher_.fail_all(closed_error());
  auto subscriptions = std::exchange(subscriptions_, {});
  for (auto& [number, subscription] : subscriptions) subscription->end(closed_error());
  if (dialing_ != nullptr) dialing_->close(closed_error());
  if (connection_ != nullptr) connection_->close(closed_error());
  pause_.cancel();
}

}  // namespace waybill

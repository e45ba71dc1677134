#include "client/subscription.h"

#include "client/subscription_state.h"

namespace waybill {

Subscription::Subscription(std::shared_ptr<SubscriptionState> state) : state_(std::move(state)) {}

Subscription::Subscription(Subscription&&) noexcept = default;

Subscription& Subscription::operator=(Subscription&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

Subscription::~Subscription() {
  if (state_ != nullptr) start_close({});
}

asio::any_io_executor Subscription::get_executor() const {
  return state_->core()->executor();
}

GroupInfo Subscription::group() const {
  return state_->group();
}

std::string Subscription::topic() const {
  return state_->topic();
}

std::uint64_t Subscription::next_waiter() {
  return state_->next_waiter();
}

void Subscription::start_next(std::uint64_t waiter, std::optional<std::chrono::milliseconds> wait,
                              Completion<Delivery> completion) {
  if (state_->core()->closed()) return completion(ClientCore::closed_error());
  state_->core()->post(
      [state = state_, waiter, wait, completion = std::move(completion)]() mutable {
        state->next(waiter, wait, std::move(completion));
      });
}

void Subscription::start_next_batch(std::uint64_t waiter, std::size_t most,
                                    std::optional<std::chrono::milliseconds> wait,
                                    Completion<std::vector<Delivery>> completion) {
  if (state_->core()->closed()) return completion(ClientCore::closed_error());
  state_->core()->post(
      [state = state_, waiter, most, wait, completion = std::move(completion)]() mutable {
        state->next_batch(waiter, most, wait, std::move(completion));
      });
}

void Subscription::cancel_next(const std::weak_ptr<SubscriptionState>& state,
                               std::uint64_t waiter) {
  auto locked = state.lock();
  if (locked == nullptr || locked->core()->closed()) return;
  locked->core()->post([locked, waiter] {
    locked->cancel_next(waiter, {Errc::kCancelled, "the wait for a delivery was cancelled"});
  });
}

void Subscription::start_close(Completion<void> completion) {
  if (state_->core()->closed()) {
    if (completion) completion(Reply<void>());
    return;
  }
  state_->core()->post([state = state_, completion = std::move(completion)]() mutable {
    state->close(std::move(completion));
  });
}

}  // namespace waybill

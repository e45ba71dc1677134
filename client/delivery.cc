#include "client/delivery.h"

#include "client/subscription_state.h"

namespace waybill {

Delivery::Delivery(std::shared_ptr<SubscriptionState> subscription,
                   std::shared_ptr<HeldDelivery> held)
    : subscription_(std::move(subscription)), held_(std::move(held)) {}

Delivery::Delivery(Delivery&&) noexcept = default;

Delivery& Delivery::operator=(Delivery&& other) noexcept {
  if (this != &other) {
    drop();
    subscription_ = std::move(other.subscription_);
    held_ = std::move(other.held_);
  }
  return *this;
}

Delivery::~Delivery() {
  drop();
}

void Delivery::drop() {
  if (held_ != nullptr && !held_->settled) subscription_->dropped(held_);
  held_ = nullptr;
}

const Message& Delivery::message() const {
  return held_->message;
}
const std::string& Delivery::topic() const {
  return subscription_->topic();
}
const std::string& Delivery::group() const {
  return subscription_->group_name();
}
PartitionIndex Delivery::partition() const {
  return held_->partition;
}
Offset Delivery::offset() const {
  return held_->offset;
}
std::uint32_t Delivery::number() const {
  return held_->number;
}
std::uint32_t Delivery::failures() const {
  return held_->failures;
}
std::uint32_t Delivery::redrive() const {
  return held_->redrive;
}
LeaseToken Delivery::token() const {
  return held_->token;
}
bool Delivery::settled() const {
  return held_->settled;
}
bool Delivery::lease_lost() const {
  return held_->lost;
}

void Delivery::ack() {
  start_settle({}, {});
}

void Delivery::retry(Failure failure, std::optional<std::chrono::milliseconds> after) {
  start_settle({SettleVerb::kRetry, std::move(failure), after}, {});
}

void Delivery::dead_letter(Failure failure) {
  start_settle({SettleVerb::kDeadLetter, std::move(failure), std::nullopt}, {});
}

void Delivery::release() {
  start_settle({.verb = SettleVerb::kRelease}, {});
}

void Delivery::extend() {
  if (subscription_->core()->closed()) return;
  subscription_->core()->post([state = subscription_] { state->extend_now(); });
}

asio::any_io_executor Delivery::executor() const {
  return subscription_->core()->executor();
}

void Delivery::start_settle(SettleOptions options, Completion<void> completion) {
  subscription_->settle_from_user(held_, std::move(options), std::move(completion));
}

}  // namespace waybill

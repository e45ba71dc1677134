#include "client/delivery.h"

#include "client/subscription_state.h"

namespace waybill {
namespace {

Message message_of(const RecordView& record) {
  Message message;
  if (record.key) message.key = to_vector(*record.key);
  if (record.value) message.value = to_vector(*record.value);
  for (const HeaderView& header : record.headers) {
    message.headers.push_back({std::string(header.key), to_vector(header.value)});
  }
  message.timestamp = record.timestamp;
  return message;
}

}  // namespace

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
  if (held_ != nullptr && !settled()) subscription_->dropped(held_);
  held_ = nullptr;
}

const Message& Delivery::message() const {
  if (held_->message == nullptr) {
    held_->message = std::make_unique<Message>(message_of(held_->record));
  }
  return *held_->message;
}
std::optional<Bytes> Delivery::key() const {
  return held_->record.key;
}
std::optional<Bytes> Delivery::value() const {
  return held_->record.value;
}
const std::string& Delivery::topic() const {
  return subscription_->topic();
}
const std::string& Delivery::group() const {
  return subscription_->group_name();
}
PartitionIndex Delivery::partition() const {
  return held_->push->partition;
}
Offset Delivery::offset() const {
  return held_->offset();
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
  return std::atomic_ref(held_->settled).load();
}
bool Delivery::lease_lost() const {
  return held_->is_lost();
}

void Delivery::ack() {
  subscription_->settle_from_user(held_, nullptr, {});
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
  subscription_->settle_from_user(held_, std::make_unique<SettleOptions>(std::move(options)),
                                  std::move(completion));
}

}  // namespace waybill

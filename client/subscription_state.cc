#include "client/subscription_state.h"

#include <algorithm>

#include "protocol/base/limits.h"
#include "protocol/record/batch_view.h"
#include "protocol/record/record_batch.h"

namespace waybill {
namespace {

using ErrorCode = boost::system::error_code;

/// Settlements of one request: with a full failure text each, far below a frame's metadata limit.
constexpr std::size_t kMaxSettlementsPerRequest = 1000;
/// Before an overloaded or shutting down broker is asked again.
constexpr std::chrono::milliseconds kAskAgain{200};

RequestError subscription_closed() {
  return {Errc::kClosed, "the subscription was closed"};
}

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

Offset first_of(const GrantedRange& granted) {
  return granted.range.first;
}

/// Requires ranges in the order of their offsets. There may be as many as messages: in a group that
/// orders by key, neighbours are seldom granted together.
const GrantedRange* range_of(const std::vector<GrantedRange>& ranges, Offset offset) {
  auto after = std::ranges::upper_bound(ranges, offset, {}, first_of);
  if (after == ranges.begin()) return nullptr;
  const GrantedRange& granted = *std::prev(after);
  return offset <= granted.range.last ? &granted : nullptr;
}

bool same_end(const Settlement& a, const Settlement& b) {
  return a.partition == b.partition && a.token == b.token && a.verb == b.verb &&
         a.retry_after == b.retry_after && a.failure == b.failure;
}

}  // namespace

SubscriptionState::SubscriptionState(std::shared_ptr<ClientCore> core, std::uint32_t number,
                                     std::string group, SubscribeOptions options)
    : core_(std::move(core)),
      number_(number),
      group_name_(std::move(group)),
      options_{std::min(options.credit_messages, limits::kMaxCreditMessages),
               std::min(options.credit_bytes, limits::kMaxCreditBytes)},
      settle_timer_(core_->strand()),
      extension_timer_(core_->strand()),
      rejoin_timer_(core_->strand()) {}

// --- joining, and joining again ---

void SubscriptionState::join(Completion<Subscription> completion) {
  joined_ = std::move(completion);
  try_join();
}

void SubscriptionState::try_join() {
  auto deadline = std::chrono::steady_clock::now() + core_->options().request_timeout;
  core_->with_connection(
      deadline, [self = shared_from_this()](Reply<std::shared_ptr<BrokerConnection>> found) {
        if (!found) return self->end(found.error());
        if (self->phase_ == Phase::kJoining) self->subscribe_on(*found);
      });
}

void SubscriptionState::connected() {
  if (phase_ == Phase::kLive || phase_ == Phase::kClosing) subscribe_on(core_->connection());
}

void SubscriptionState::subscribe_on(const std::shared_ptr<BrokerConnection>& connection) {
  connection->request(SubscribeRequest{number_, group_name_}, core_->options().request_timeout,
                      [self = shared_from_this()](Reply<SubscribeReply> reply) {
                        self->subscribed(std::move(reply));
                      });
}

void SubscriptionState::subscribed(Reply<SubscribeReply> reply) {
  if (phase_ == Phase::kEnded) return;
  if (!reply) {
    Errc code = reply.error().code;
    bool joining = phase_ == Phase::kJoining;
    if (code == Errc::kConnectionLost) return joining ? try_join() : void();
    if (joining || !facts(code).retriable) return end(reply.error());
    rejoin_timer_.expires_after(kAskAgain);
    rejoin_timer_.async_wait([weak = weak_from_this()](ErrorCode stopped) {
      auto self = weak.lock();
      if (!stopped && self && self->core_->connection() != nullptr) self->connected();
    });
    return;
  }
  subscribed_ = true;
  if (phase_ == Phase::kJoining) {
    phase_ = Phase::kLive;
    group_ = std::move(reply->group);
    topic_ = std::move(reply->topic);
    lease_ = group_.policy.lease;
    grant(options_.credit_messages, options_.credit_bytes);
    auto joined = std::move(joined_);
    return joined(Subscription(shared_from_this()));
  }
  reclaiming_ = true;
  if (held_.empty()) return reclaimed();
  extend();
}

void SubscriptionState::reclaimed() {
  reclaiming_ = false;
  send_settlements();
  if (phase_ != Phase::kLive) return leave_if_done();
  std::uint64_t bytes = 0;
  for (const auto& [key, held] : held_) bytes += held->credit_bytes;
  auto messages = static_cast<std::uint32_t>(held_.size());
  grant(options_.credit_messages - std::min(messages, options_.credit_messages),
        options_.credit_bytes - std::min(bytes, options_.credit_bytes));
}

void SubscriptionState::disconnected() {
  subscribed_ = false;
  extending_ = false;
  reclaiming_ = false;
  credit_messages_due_ = 0;
  credit_bytes_due_ = 0;
  leave_if_done();
}

void SubscriptionState::grant(std::uint32_t messages, std::uint64_t bytes) {
  if (messages == 0 && bytes == 0) return;
  core_->connection()->send_credit({number_, messages, bytes});
}

void SubscriptionState::return_credit(std::int64_t messages, std::uint64_t bytes) {
  // The credit of another connection ended with it; reclaimed() counts anew. Closing, we want
  // nothing more: what we release would be pushed to us again and again.
  if (!subscribed_ || reclaiming_ || phase_ == Phase::kClosing) return;
  auto most = static_cast<std::int64_t>(options_.credit_messages - credit_messages_due_);
  credit_messages_due_ += static_cast<std::uint32_t>(std::clamp<std::int64_t>(messages, 0, most));
  credit_bytes_due_ += bytes;
}

// --- deliveries ---

void SubscriptionState::deliver(const DeliverPush& push) {
  if (phase_ == Phase::kEnded) return;
  if (push.lease.count() > 0) lease_ = push.lease;
  std::vector<GrantedRange> ranges = push.ranges;
  std::ranges::sort(ranges, {}, first_of);
  Taken taken;
  std::uint64_t bytes = 0;
  for (const SharedBytes& batch : push.batches) {
    bytes += batch.size();
    // What cannot be read counts as missing: refuse_missing settles it.
    ignore_error(take_batch(push.partition, ranges, batch.view(), taken),
                 "found by refuse_missing");
  }
  std::ranges::sort(taken, {}, &HeldDelivery::offset);
  refuse_missing(push.partition, ranges, taken);
  if (taken.empty()) {
    return_credit(0, bytes);
    return schedule_settle();
  }
  for (const auto& held : taken) {
    held->credit_bytes = bytes / taken.size();
    held_.insert_or_assign(key_of(*held), held);
    ready_.push_back(held);
  }
  taken.front()->credit_bytes += bytes % taken.size();
  arm_extension();
  // Held until we leave, which releases it: released now, the broker would send it again for the
  // credit that is left, and again, until it is a dead letter of too many deliveries.
  if (phase_ == Phase::kClosing) return ready_.clear();
  hand_out();
}

// What a handler works on stays busy until it ends: the partition's next message is not handed out
// beside it, although its settlement will be refused.
void SubscriptionState::revoke(const RevokePush& push) {
  if (phase_ == Phase::kEnded) return;
  Taken revoked;
  for (auto at = held_.lower_bound({push.partition, {}, {}}); at != held_.end(); ++at) {
    const std::shared_ptr<HeldDelivery>& held = at->second;
    if (held->partition != push.partition) break;
    if (held->offset >= push.first) revoked.push_back(held);
  }
  for (const std::shared_ptr<HeldDelivery>& held : revoked) lose(held);
  drop_lost();
  schedule_settle();
}

Result<void> SubscriptionState::take_batch(PartitionIndex partition, const Ranges& ranges,
                                           Bytes batch, Taken& taken) {
  Result<void> intact = check_batch_crc(batch);
  if (!intact) return intact;
  Result<BatchReader> reader = BatchReader::open(batch);
  if (!reader) return reader.error();
  return reader->for_each([&](const RecordView& record) {
    const GrantedRange* granted = range_of(ranges, record.offset);
    if (granted == nullptr) return true;
    auto held = std::make_shared<HeldDelivery>();
    held->partition = partition;
    held->offset = record.offset;
    held->token = granted->token;
    held->number = granted->delivery;
    held->failures = granted->failures;
    held->redrive = granted->redrive;
    held->message = message_of(record);
    taken.push_back(std::move(held));
    return true;
  });
}

// A lease without a readable record would be extended by nobody and handled by nobody: it is
// charged, so that a damaged message ends as a dead letter that people can see.
void SubscriptionState::refuse_missing(PartitionIndex partition, const Ranges& ranges,
                                       const Taken& taken) {
  auto held = taken.begin();  // both in the order of their offsets
  for (const GrantedRange& granted : ranges) {
    Offset next = granted.range.first;
    for (; held != taken.end() && (*held)->offset <= granted.range.last; ++held) {
      if ((*held)->offset < next) continue;  // there twice
      if (next < (*held)->offset) refuse(partition, granted.token, {next, (*held)->offset - 1});
      next = (*held)->offset + 1;
    }
    if (next <= granted.range.last) refuse(partition, granted.token, {next, granted.range.last});
  }
}

void SubscriptionState::refuse(PartitionIndex partition, LeaseToken token, OffsetRange range) {
  Settlement settlement;
  settlement.partition = partition;
  settlement.token = token;
  settlement.range = range;
  settlement.verb = SettleVerb::kRetry;
  settlement.failure = {FailureClass::kFailed, "unreadable",
                        "the client could not read the message's batch"};
  return_credit(range.count(), 0);
  queue_settlement(std::move(settlement), {});
}

void SubscriptionState::next(std::uint64_t waiter, std::optional<Milliseconds> wait,
                             Completion<Delivery> completion) {
  if (ended_) return completion(*ended_);
  if (phase_ == Phase::kClosing) return completion(subscription_closed());
  Waiter waiting{std::move(completion), nullptr};
  if (wait) {
    waiting.timer = std::make_unique<asio::steady_timer>(core_->strand(), *wait);
    waiting.timer->async_wait([weak = weak_from_this(), waiter](ErrorCode stopped) {
      auto self = weak.lock();
      if (stopped || !self) return;
      self->cancel_next(waiter, {Errc::kTimedOut, "nothing came in time"});
    });
  }
  waiters_.emplace(waiter, std::move(waiting));
  hand_out();
}

void SubscriptionState::cancel_next(std::uint64_t waiter, const RequestError& error) {
  auto found = waiters_.extract(waiter);
  if (!found.empty()) found.mapped().completion(error);
}

void SubscriptionState::hand_out() {
  while (!waiters_.empty()) {
    std::shared_ptr<HeldDelivery> held = take_ready();
    if (held == nullptr) return;
    auto waiter = waiters_.extract(waiters_.begin());
    waiter.mapped().completion(Delivery(shared_from_this(), std::move(held)));
  }
}

std::shared_ptr<HeldDelivery> SubscriptionState::take_ready() {
  bool in_order = group_.policy.ordering == Ordering::kPartition;
  auto found = std::ranges::find_if(ready_, [&](const std::shared_ptr<HeldDelivery>& held) {
    return !in_order || !busy_.contains(held->partition);
  });
  if (found == ready_.end()) return nullptr;
  std::shared_ptr<HeldDelivery> held = std::move(*found);
  ready_.erase(found);
  held->handed_out = true;
  ++out_;
  if (in_order) busy_.insert(held->partition);
  return held;
}

// --- settling ---

void SubscriptionState::settle_from_user(const std::shared_ptr<HeldDelivery>& held,
                                         SettleOptions options, Completion<void> completion) {
  if (held->settled.exchange(true)) {
    if (completion) completion(RequestError(Errc::kAlreadySettled, "this delivery was settled"));
    return;
  }
  if (core_->closed()) {
    if (completion) completion(ClientCore::closed_error());
    return;
  }
  core_->post([self = shared_from_this(), held, options = std::move(options),
               completion = std::move(completion)]() mutable {
    self->settle(held, std::move(options), std::move(completion));
  });
}

void SubscriptionState::dropped(const std::shared_ptr<HeldDelivery>& held) {
  SettleOptions options;
  options.verb = SettleVerb::kRetry;
  options.failure = {FailureClass::kFailed, "dropped", "the delivery was destroyed unsettled"};
  settle_from_user(held, std::move(options), {});
}

void SubscriptionState::settle(const std::shared_ptr<HeldDelivery>& held, SettleOptions options,
                               Completion<void> completion) {
  if (ended_) {
    if (completion) completion(*ended_);
    return;
  }
  Settlement settlement;
  settlement.partition = held->partition;
  settlement.token = held->token;
  settlement.range = {held->offset, held->offset};
  settlement.verb = options.verb;
  if (options.retry_after) {
    // Out of range, the broker would refuse the request, and with it its neighbours.
    settlement.retry_after =
        std::clamp<Milliseconds>(*options.retry_after, Milliseconds(0), limits::kMaxRetryAfter);
  }
  settlement.failure = bounded(std::move(options.failure));
  forget(*held);
  bool in_order = group_.policy.ordering == Ordering::kPartition;
  if (in_order && options.verb != SettleVerb::kAck) forget_ready_of(held->partition);
  queue_settlement(std::move(settlement), std::move(completion));
  hand_out();
}

void SubscriptionState::forget(const HeldDelivery& held) {
  auto found = held_.find(key_of(held));
  if (found != held_.end() && found->second.get() == &held) {
    return_credit(1, held.credit_bytes);
    held_.erase(found);
  }
  if (!held.handed_out) return;
  --out_;
  busy_.erase(held.partition);
}

// The broker revokes what it had leased to us after this message (D8): a newer delivery comes.
void SubscriptionState::forget_ready_of(PartitionIndex partition) {
  std::erase_if(ready_, [&](const std::shared_ptr<HeldDelivery>& held) {
    if (held->partition != partition) return false;
    forget(*held);
    return true;
  });
}

void SubscriptionState::queue_settlement(Settlement settlement, Completion<void> completion) {
  PendingSettlement pending;
  pending.settlement = std::move(settlement);
  if (completion) pending.completions.push_back(std::move(completion));
  unsent_.push_back(std::move(pending));
  schedule_settle();
}

void SubscriptionState::schedule_settle() {
  if (settle_scheduled_) return;
  // At the end of the turn: what was settled together goes together.
  settle_scheduled_ = true;
  core_->post([self = shared_from_this()] {
    self->settle_scheduled_ = false;
    self->send_settlements();
  });
}

void SubscriptionState::send_settlements() {
  if (phase_ == Phase::kEnded || !subscribed_ || reclaiming_) return;
  if (credit_messages_due_ > 0 || credit_bytes_due_ > 0) {
    grant(std::exchange(credit_messages_due_, 0), std::exchange(credit_bytes_due_, 0));
  }
  // One request at a time: what is settled meanwhile gathers for the next.
  if (!settling_.empty()) return;
  if (unsent_.empty()) return leave_if_done();
  settling_ = take_merged();
  SettleRequest request;
  request.subscription = number_;
  for (const PendingSettlement& pending : settling_) {
    request.settlements.push_back(pending.settlement);
  }
  core_->connection()->request(
      request, core_->options().request_timeout,
      [self = shared_from_this()](Reply<SettleReply> reply) { self->settled(reply); });
}

std::vector<SubscriptionState::PendingSettlement> SubscriptionState::take_merged() {
  std::vector<PendingSettlement> all(std::make_move_iterator(unsent_.begin()),
                                     std::make_move_iterator(unsent_.end()));
  unsent_.clear();
  // No two are equal: each settles a range of leases that no other settles.
  std::ranges::sort(all, {}, [](const PendingSettlement& pending) {
    const Settlement& s = pending.settlement;
    return std::tuple(s.partition, s.token, s.range.first);
  });
  std::vector<PendingSettlement> merged;
  for (PendingSettlement& pending : all) {
    if (!merged.empty()) {
      PendingSettlement& last = merged.back();
      bool adjacent = last.settlement.range.last + 1 == pending.settlement.range.first;
      if (adjacent && same_end(last.settlement, pending.settlement)) {
        last.settlement.range.last = pending.settlement.range.last;
        std::ranges::move(pending.completions, std::back_inserter(last.completions));
        continue;
      }
    }
    merged.push_back(std::move(pending));
  }
  while (merged.size() > kMaxSettlementsPerRequest) {
    unsent_.push_front(std::move(merged.back()));
    merged.pop_back();
  }
  return merged;
}

void SubscriptionState::settled(const Reply<SettleReply>& reply) {
  if (phase_ == Phase::kEnded) return;
  auto answered = std::exchange(settling_, {});
  bool again = false;
  for (std::size_t i = 0; i < answered.size(); ++i) {
    std::optional<RequestError> error;
    if (!reply) {
      error = reply.error();
    } else if (i >= reply->outcomes.size()) {
      error = RequestError(Errc::kOutcomeUnknown, "the broker's answer was shorter than asked");
    } else if (!reply->outcomes[i]) {
      error = reply->outcomes[i].error();
    }
    // Ours, from before a lost connection, or the broker's own decision: it is settled.
    if (error && *error == Errc::kAlreadySettled) error.reset();
    bool repeat = error && (facts(error->code).retriable || facts(error->code).outcome_unknown);
    if (repeat) {
      again = true;
      unsent_.push_front(std::move(answered[i]));
      continue;
    }
    for (Completion<void>& completion : answered[i].completions) {
      completion(error ? Reply<void>(*error) : Reply<void>());
    }
  }
  if (!again) return send_settlements();
  if (!reply && reply.error() == Errc::kTimedOut && core_->connection() != nullptr) {
    return core_->connection()->close(reply.error());
  }
  settle_again();
}

void SubscriptionState::settle_again() {
  settle_timer_.expires_after(kAskAgain);
  settle_timer_.async_wait([weak = weak_from_this()](ErrorCode stopped) {
    auto self = weak.lock();
    if (!stopped && self) self->send_settlements();
  });
}

// --- leases ---

void SubscriptionState::arm_extension() {
  if (extension_armed_ || held_.empty()) return;
  extension_armed_ = true;
  extension_timer_.expires_after(std::max(lease_ / 3, Milliseconds(1)));
  extension_timer_.async_wait([weak = weak_from_this()](ErrorCode stopped) {
    auto self = weak.lock();
    if (stopped || !self) return;
    self->extension_armed_ = false;
    self->extend();
    self->arm_extension();
  });
}

void SubscriptionState::extend() {
  if (extending_ || !subscribed_ || held_.empty()) return;
  extending_ = true;
  extend_from(held_.begin()->first);
}

void SubscriptionState::extend_from(const HeldKey& from) {
  std::vector<LeaseExtension> leases;
  std::optional<HeldKey> rest;  // where the next request begins, if one does not hold all
  for (auto at = held_.lower_bound(from); at != held_.end(); ++at) {
    const auto& [key, held] = *at;
    if (!leases.empty()) {
      LeaseExtension& last = leases.back();
      if (last.partition == held->partition && last.token == held->token &&
          last.started == held->handed_out && last.range.last + 1 == held->offset) {
        last.range.last = held->offset;
        continue;
      }
    }
    if (leases.size() == limits::kMaxSettlements) {
      rest = key;
      break;
    }
    leases.push_back(
        {held->partition, held->token, {held->offset, held->offset}, held->handed_out});
  }
  if (leases.empty()) return all_extended();
  core_->connection()->request(
      ExtendRequest{number_, leases}, core_->options().request_timeout,
      [self = shared_from_this(), leases, rest](const Reply<ExtendReply>& reply) {
        self->extended(leases, rest, reply);
      });
}

void SubscriptionState::extended(const std::vector<LeaseExtension>& asked,
                                 const std::optional<HeldKey>& rest,
                                 const Reply<ExtendReply>& reply) {
  if (phase_ == Phase::kEnded) return;
  // disconnected() follows and puts the rest right.
  if (!reply && reply.error() == Errc::kConnectionLost) return;
  if (reply) {
    for (std::size_t i = 0; i < std::min(asked.size(), reply->outcomes.size()); ++i) {
      const Reply<void>& outcome = reply->outcomes[i];
      if (!outcome && !facts(outcome.error().code).retriable) lose(asked[i]);
    }
    drop_lost();
    if (rest) return extend_from(*rest);
  }
  all_extended();
}

void SubscriptionState::all_extended() {
  extending_ = false;
  if (reclaiming_) reclaimed();
  schedule_settle();
  hand_out();
}

void SubscriptionState::lose(const LeaseExtension& lease) {
  HeldKey first{lease.partition, lease.token, lease.range.first};
  HeldKey last{lease.partition, lease.token, lease.range.last};
  for (auto at = held_.lower_bound(first); at != held_.end() && at->first <= last;) {
    std::shared_ptr<HeldDelivery> held = at->second;
    ++at;
    lose(held);
  }
}

void SubscriptionState::lose(const std::shared_ptr<HeldDelivery>& held) {
  held->lost = true;
  if (held->handed_out) {
    // Its handler runs on; it is not ours to extend any more.
    return_credit(1, held->credit_bytes);
    held_.erase(key_of(*held));
  } else {
    forget(*held);
  }
}

void SubscriptionState::drop_lost() {
  std::erase_if(ready_, [](const auto& held) { return held->lost.load(); });
}

// --- the end ---

void SubscriptionState::close(Completion<void> completion) {
  if (phase_ == Phase::kEnded) {
    if (completion) completion(Reply<void>());
    return;
  }
  if (completion) closes_.push_back(std::move(completion));
  if (phase_ == Phase::kJoining) return end(subscription_closed());
  phase_ = Phase::kClosing;
  auto waiters = std::exchange(waiters_, {});
  for (auto& [id, waiter] : waiters) waiter.completion(subscription_closed());
  for (const auto& held : std::exchange(ready_, {})) {
    settle(held, {.verb = SettleVerb::kRelease}, {});
  }
  leave_if_done();
}

void SubscriptionState::leave_if_done() {
  if (phase_ != Phase::kClosing || leaving_ || out_ > 0) return;
  // Without a connection the broker takes back what we held by itself.
  if (core_->connection() == nullptr) return end(subscription_closed());
  if (!subscribed_ || reclaiming_ || !unsent_.empty() || !settling_.empty()) return;
  leaving_ = true;
  core_->connection()->request(UnsubscribeRequest{number_}, core_->options().request_timeout,
                               [self = shared_from_this()](const Reply<UnsubscribeReply>&) {
                                 self->end(subscription_closed());
                               });
}

void SubscriptionState::end(const RequestError& reason) {
  if (phase_ == Phase::kEnded) return;
  auto self = shared_from_this();  // the core may hold the last reference
  phase_ = Phase::kEnded;
  ended_ = reason;
  extension_timer_.cancel();
  rejoin_timer_.cancel();
  settle_timer_.cancel();
  held_.clear();
  ready_.clear();
  core_->remove_subscription(number_);
  if (joined_) joined_(reason);
  auto waiters = std::exchange(waiters_, {});
  for (auto& [id, waiter] : waiters) waiter.completion(reason);
  auto unsent = std::exchange(unsent_, {});
  for (PendingSettlement& pending : unsent) {
    for (Completion<void>& completion : pending.completions) completion(reason);
  }
  auto settling = std::exchange(settling_, {});
  for (PendingSettlement& pending : settling) {
    for (Completion<void>& completion : pending.completions) completion(reason);
  }
  auto closes = std::exchange(closes_, {});
  for (Completion<void>& completion : closes) completion(Reply<void>());
}

}  // namespace waybill

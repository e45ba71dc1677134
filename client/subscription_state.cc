#include "client/subscription_state.h"

#include <algorithm>

#include "protocol/base/limits.h"
#include "protocol/record/batch_view.h"
#include "protocol/record/record_batch.h"

namespace waybill {
namespace {

using ErrorCode = boost::system::error_code;

/// Settlements of one request as encoded, about: below a frame's metadata limit. Few of them have a
/// failure's text; where messages are ordered by key few can be joined, and a request of many of
/// them is what a round trip is worth.
constexpr std::size_t kMaxSettlementBytes = limits::kMaxFrameMeta / 2;

std::size_t size_of(const Settlement& settlement) {
  constexpr std::size_t kNumbers = 100;
  return kNumbers + settlement.failure.code.size() + settlement.failure.detail.size();
}
/// Before an overloaded or shutting down broker is asked again.
constexpr std::chrono::milliseconds kAskAgain{200};

RequestError subscription_closed() {
  return {Errc::kClosed, "the subscription was closed"};
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
  if (held_count_ == 0) return reclaimed();
  extend();
}

void SubscriptionState::reclaimed() {
  reclaiming_ = false;
  send_settlements();
  if (phase_ != Phase::kLive) return leave_if_done();
  std::uint64_t bytes = 0;
  for (const auto& [number, push] : held_) {
    for (const HeldDelivery& message : push->messages) {
      if (message.held) bytes += message.credit_bytes;
    }
  }
  auto messages = static_cast<std::uint32_t>(held_count_);
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
  auto taken = std::make_shared<HeldPush>();
  taken->partition = push.partition;
  taken->batches = push.batches;
  std::uint64_t bytes = 0;
  for (const SharedBytes& batch : push.batches) {
    bytes += batch.size();
    // What cannot be read counts as missing: refuse_missing settles it.
    ignore_error(take_batch(ranges, batch.view(), *taken), "found by refuse_missing");
  }
  std::vector<HeldDelivery>& messages = taken->messages;
  auto unordered =
      std::ranges::adjacent_find(messages, std::greater_equal{}, &HeldDelivery::offset);
  if (unordered != messages.end()) {
    std::ranges::sort(messages, {}, &HeldDelivery::offset);
    auto twice = std::ranges::unique(messages, {}, &HeldDelivery::offset);
    messages.erase(twice.begin(), twice.end());
  }
  refuse_missing(ranges, *taken);
  if (messages.empty()) {
    return_credit(0, bytes);
    return schedule_settle();
  }
  for (HeldDelivery& message : messages) {
    message.push = taken.get();
    message.held = true;
    message.credit_bytes = static_cast<std::uint32_t>(bytes / messages.size());
  }
  messages.front().credit_bytes += static_cast<std::uint32_t>(bytes % messages.size());
  taken->held = messages.size();
  taken->number = ++last_push_;
  held_count_ += messages.size();
  held_.emplace(taken->number, taken);
  arm_extension();
  // Held until we leave, which releases it: released now, the broker would send it again for the
  // credit that is left, and again, until it is a dead letter of too many deliveries.
  if (phase_ == Phase::kClosing) return ready_.clear();
  ready_.push_back({std::move(taken)});
  hand_out();
}

// What a handler works on stays busy until it ends: the partition's next message is not handed out
// beside it, although its settlement will be refused.
void SubscriptionState::revoke(const RevokePush& push) {
  if (phase_ == Phase::kEnded) return;
  for (auto at = held_.begin(); at != held_.end();) {
    std::shared_ptr<HeldPush> pushed = (at++)->second;  // lose() may take it out
    if (pushed->partition != push.partition) continue;
    for (HeldDelivery& message : pushed->from(push.first)) {
      if (message.held) lose(message);
    }
  }
  schedule_settle();
}

Result<void> SubscriptionState::take_batch(const Ranges& ranges, Bytes batch, HeldPush& taken) {
  Result<void> intact = check_batch_crc(batch);
  if (!intact) return intact;
  Result<BatchReader> reader = BatchReader::open(batch);
  if (!reader) return reader.error();
  std::size_t count = taken.messages.size() + reader->header().record_count;
  if (ranges.size() == 1) taken.messages.reserve(count);
  Result<void> read = reader->for_each([&](const RecordView& record) {
    const GrantedRange* granted = range_of(ranges, record.offset);
    if (granted == nullptr) return true;
    HeldDelivery& message = taken.messages.emplace_back();
    message.record = record;
    message.token = granted->token;
    message.number = granted->delivery;
    message.failures = granted->failures;
    message.redrive = granted->redrive;
    return true;
  });
  taken.readers.push_back(std::move(*reader));
  return read;
}

// A lease without a readable record would be extended by nobody and handled by nobody: it is
// charged, so that a damaged message ends as a dead letter that people can see.
void SubscriptionState::refuse_missing(const Ranges& ranges, const HeldPush& taken) {
  auto message = taken.messages.begin();  // both in the order of their offsets
  for (const GrantedRange& granted : ranges) {
    Offset next = granted.range.first;
    for (; message != taken.messages.end() && message->offset() <= granted.range.last; ++message) {
      Offset offset = message->offset();
      if (next < offset) refuse(taken.partition, granted.token, {next, offset - 1});
      next = offset + 1;
    }
    if (next <= granted.range.last) {
      refuse(taken.partition, granted.token, {next, granted.range.last});
    }
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
  wait_for_delivery(waiter, wait, {.one = std::move(completion)});
}

void SubscriptionState::next_batch(std::uint64_t waiter, std::size_t most,
                                   std::optional<Milliseconds> wait,
                                   Completion<std::vector<Delivery>> completion) {
  wait_for_delivery(waiter, wait,
                    {.batch = std::move(completion), .most = std::max<std::size_t>(most, 1)});
}

void SubscriptionState::wait_for_delivery(std::uint64_t waiter, std::optional<Milliseconds> wait,
                                          Waiter waiting) {
  if (ended_) return waiting.fail(*ended_);
  if (phase_ == Phase::kClosing) return waiting.fail(subscription_closed());
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
  if (!found.empty()) found.mapped().fail(error);
}

void SubscriptionState::hand_out() {
  while (!waiters_.empty()) {
    std::shared_ptr<HeldDelivery> held = take_ready();
    if (held == nullptr) return;
    Waiter waiter = std::move(waiters_.extract(waiters_.begin()).mapped());
    Delivery first(shared_from_this(), std::move(held));
    if (waiter.one) {
      waiter.one(std::move(first));
      continue;
    }
    std::vector<Delivery> batch;
    batch.push_back(std::move(first));
    while (batch.size() < waiter.most && (held = take_ready()) != nullptr) {
      batch.emplace_back(shared_from_this(), std::move(held));
    }
    waiter.batch(std::move(batch));
  }
}

std::shared_ptr<HeldDelivery> SubscriptionState::take_ready() {
  bool in_order = group_.policy.ordering == Ordering::kPartition;
  for (auto at = ready_.begin(); at != ready_.end();) {
    std::vector<HeldDelivery>& messages = at->push->messages;
    // Those that were lost meanwhile are passed over.
    while (at->next < messages.size() && !messages[at->next].held) ++at->next;
    if (at->next == messages.size()) {
      at = ready_.erase(at);
      continue;
    }
    if (in_order && busy_.contains(at->push->partition)) {
      ++at;
      continue;
    }
    HeldDelivery& message = messages[at->next++];
    std::shared_ptr<HeldDelivery> taken(at->push, &message);
    message.handed_out = true;
    ++out_;
    if (in_order) busy_.insert(at->push->partition);
    return taken;
  }
  return nullptr;
}

// --- settling ---

void SubscriptionState::settle_from_user(const std::shared_ptr<HeldDelivery>& held,
                                         std::unique_ptr<SettleOptions> options,
                                         Completion<void> completion) {
  if (std::atomic_ref(held->settled).exchange(true)) {
    if (completion) completion(RequestError(Errc::kAlreadySettled, "this delivery was settled"));
    return;
  }
  if (core_->closed()) {
    if (completion) completion(ClientCore::closed_error());
    return;
  }
  if (!endings_.put({held, std::move(options), std::move(completion)})) return;
  core_->post([self = shared_from_this()] { self->settle_waiting(); });
}

void SubscriptionState::dropped(const std::shared_ptr<HeldDelivery>& held) {
  auto options = std::make_unique<SettleOptions>();
  options->verb = SettleVerb::kRetry;
  options->failure = {FailureClass::kFailed, "dropped", "the delivery was destroyed unsettled"};
  settle_from_user(held, std::move(options), {});
}

void SubscriptionState::settle_waiting() {
  std::vector<Ending> endings = endings_.take();
  for (Ending& ending : endings) {
    settle(*ending.held, std::move(ending.options), std::move(ending.completion));
  }
  endings_.recycle(std::move(endings));
  hand_out();
}

void SubscriptionState::settle(HeldDelivery& held, std::unique_ptr<SettleOptions> options,
                               Completion<void> completion) {
  if (ended_) {
    if (completion) completion(*ended_);
    return;
  }
  forget(held);
  if (options == nullptr && join_last(held, completion)) return schedule_settle();
  Settlement settlement;
  settlement.partition = held.push->partition;
  settlement.token = held.token;
  settlement.range = {held.offset(), held.offset()};
  if (options != nullptr) {
    settlement.verb = options->verb;
    if (options->retry_after) {
      // Out of range, the broker would refuse the request, and with it its neighbours.
      settlement.retry_after =
          std::clamp<Milliseconds>(*options->retry_after, Milliseconds(0), limits::kMaxRetryAfter);
    }
    settlement.failure = bounded(std::move(options->failure));
  }
  bool in_order = group_.policy.ordering == Ordering::kPartition;
  if (in_order && settlement.verb != SettleVerb::kAck) forget_ready_of(settlement.partition);
  queue_settlement(std::move(settlement), std::move(completion));
}

/// An ack of the message behind the last one that was acked: what nearly all settlements are.
bool SubscriptionState::join_last(const HeldDelivery& acked, Completion<void>& completion) {
  if (unsent_.empty()) return false;
  PendingSettlement& last = unsent_.back();
  Settlement& settlement = last.settlement;
  bool joins = settlement.verb == SettleVerb::kAck && settlement.token == acked.token &&
               settlement.partition == acked.push->partition &&
               settlement.range.last + 1 == acked.offset();
  if (!joins) return false;
  settlement.range.last = acked.offset();
  if (completion) last.completions.push_back(std::move(completion));
  return true;
}

void SubscriptionState::forget(HeldDelivery& held) {
  no_longer_held(held);
  if (!held.handed_out) return;
  --out_;
  busy_.erase(held.push->partition);
}

void SubscriptionState::no_longer_held(HeldDelivery& held) {
  if (!held.held) return;
  held.held = false;
  --held_count_;
  return_credit(1, held.credit_bytes);
  if (--held.push->held == 0) held_.erase(held.push->number);
}

// The broker revokes what it had leased to us after this message (D8): a newer delivery comes.
void SubscriptionState::forget_ready_of(PartitionIndex partition) {
  std::erase_if(ready_, [&](const Ready& ready) {
    if (ready.push->partition != partition) return false;
    for (std::size_t i = ready.next; i < ready.push->messages.size(); ++i) {
      if (ready.push->messages[i].held) forget(ready.push->messages[i]);
    }
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
  std::size_t count = 0;
  for (std::size_t bytes = 0; count < std::min(merged.size(), limits::kMaxSettlements); ++count) {
    bytes += size_of(merged[count].settlement);
    if (bytes > kMaxSettlementBytes) break;
  }
  while (merged.size() > count) {
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
  if (extension_armed_ || held_count_ == 0) return;
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
  if (extending_ || !subscribed_ || held_count_ == 0) return;
  extending_ = true;
  extend_from({});
}

void SubscriptionState::extend_from(const HeldKey& from) {
  std::vector<std::pair<HeldKey, bool>> held;  // and whether it was handed out
  for (const auto& [number, push] : held_) {
    for (const HeldDelivery& message : push->messages) {
      HeldKey key = key_of(message);
      if (message.held && key >= from) held.emplace_back(key, message.handed_out);
    }
  }
  std::ranges::sort(held);
  std::vector<LeaseExtension> leases;
  std::optional<HeldKey> rest;  // where the next request begins, if one does not hold all
  for (const auto& [key, started] : held) {
    const auto& [partition, token, offset] = key;
    if (!leases.empty()) {
      LeaseExtension& last = leases.back();
      if (last.partition == partition && last.token == token && last.started == started &&
          last.range.last + 1 == offset) {
        last.range.last = offset;
        continue;
      }
    }
    if (leases.size() == limits::kMaxSettlements) {
      rest = key;
      break;
    }
    leases.push_back({partition, token, {offset, offset}, started});
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
  for (auto at = held_.begin(); at != held_.end();) {
    std::shared_ptr<HeldPush> push = (at++)->second;  // lose() may take it out
    if (push->partition != lease.partition) continue;
    for (HeldDelivery& message : push->from(lease.range.first)) {
      if (message.offset() > lease.range.last) break;
      if (message.held && message.token == lease.token) lose(message);
    }
  }
}

void SubscriptionState::lose(HeldDelivery& held) {
  std::atomic_ref(held.lost).store(true);
  // Handed out, its handler runs on; it is not ours to extend any more.
  no_longer_held(held);
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
  for (auto& [id, waiter] : waiters) waiter.fail(subscription_closed());
  for (const Ready& ready : std::exchange(ready_, {})) {
    for (std::size_t i = ready.next; i < ready.push->messages.size(); ++i) {
      HeldDelivery& message = ready.push->messages[i];
      if (!message.held) continue;
      settle(message, std::make_unique<SettleOptions>(SettleVerb::kRelease), {});
    }
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
  held_count_ = 0;
  ready_.clear();
  core_->remove_subscription(number_);
  if (joined_) joined_(reason);
  auto waiters = std::exchange(waiters_, {});
  for (auto& [id, waiter] : waiters) waiter.fail(reason);
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

#include "tests/sim/sim_consumer.h"

#include <utility>

#include "protocol/record/batch_view.h"

namespace waybill {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kAnswerTimeout = seconds(3);
constexpr std::uint32_t kSubscription = 1;
constexpr std::uint64_t kBytesPerMessage = 64 * 1024;

OffsetRange range_of(const std::vector<HandedOut>& messages) {
  return {{messages.front().place.offset}, {messages.back().place.offset}};
}

}  // namespace

SimConsumer::SimConsumer(SimWorld& world, LogModel& log, GroupModel& group, Findings& findings,
                         const GroupPlan& plan, std::uint64_t number, std::uint64_t seed)
    : world_(world),
      log_(log),
      group_(group),
      findings_(findings),
      plan_(plan),
      number_(number),
      random_(seed) {
  instance_.uuid = random_.uuid();
}

Duration SimConsumer::some(Duration most) {
  return Duration(
      1 + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(most.count()))));
}

// --- connecting ---

void SimConsumer::start() {
  connect();
}

void SimConsumer::calm() {
  calm_ = true;
  plan_.handler = {};
  plan_.handler.retry = 0;
  plan_.handler.time = milliseconds(2);
  // However slow the network, what gathered is worked off in bounded time.
  constexpr std::uint32_t kMore = 100;
  plan_.credit += kMore;
  give_credit(kMore);
}

void SimConsumer::connect() {
  HelloRequest hello;
  hello.instance = instance_;
  subscribed_ = false;
  connection_ =
      world_.connect(static_cast<std::uint16_t>(random_.below(world_.shard_count())), hello, *this);
  world_.send<SubscribeReply>(
      *connection_, SubscribeRequest{kSubscription, plan_.name},
      [this, connection = *connection_](const Reply<SubscribeReply>& reply) {
        if (connection_ != connection) return;
        if (reply) return subscribed();
        world_.abandon(connection, {});
        on_lost();
      });
  world_.after(kAnswerTimeout, [this, connection = *connection_] {
    if (connection_ != connection || subscribed_) return;
    world_.abandon(connection, some(seconds(2)));
    on_lost();
  });
}

void SimConsumer::subscribed() {
  subscribed_ = true;
  std::vector<std::uint64_t> keys;
  for (const auto& [key, item] : items_) keys.push_back(key);
  for (std::uint64_t key : keys) {
    if (items_.at(key).settling) {
      world_.coverage.count("settlement repeated on a new connection");
      settle(key);
    } else {
      extend(key, true);
    }
  }
  give_credit(plan_.credit);
}

void SimConsumer::give_credit(std::uint32_t messages) {
  if (!connection_ || !subscribed_) return;
  world_.give_credit(*connection_, {kSubscription, messages, messages * kBytesPerMessage});
}

void SimConsumer::on_lost() {
  connection_.reset();
  subscribed_ = false;
  world_.after(some(chance(20) ? seconds(15) : milliseconds(500)), [this] {
    if (!connection_) connect();
  });
}

void SimConsumer::crash() {
  if (!items_.empty()) world_.coverage.count("consumer crashed holding leases");
  world_.trace.note("consumer crashes", {{"consumer", static_cast<std::int64_t>(number_)}});
  items_.clear();
  instance_.uuid = random_.uuid();
  if (!connection_) return;  // another one is on its way already
  world_.abandon(*connection_, some(seconds(3)));
  on_lost();
}

void SimConsumer::leave() {
  if (!connection_) return;
  world_.coverage.count("consumer left cleanly");
  world_.trace.note("consumer leaves", {{"consumer", static_cast<std::int64_t>(number_)}});
  world_.goodbye(*connection_);
  items_.clear();
  instance_.uuid = random_.uuid();
  on_lost();
}

// --- what the broker does, at that moment ---

void SimConsumer::pushed(InstanceId to, const DeliverPush& push) {
  std::vector<HandedOut> messages = messages_of(push);
  for (const HandedOut& message : messages) {
    world_.trace.note("pushed", message.place, 1,
                      {{"consumer", static_cast<std::int64_t>(number_)},
                       {"delivery", message.number.delivery},
                       {"failures", message.failures},
                       {"redrive", message.number.redrive},
                       {"token", static_cast<std::int64_t>(message.token.counter)}});
  }
  group_.pushed(to, push, messages);
}

void SimConsumer::dropped(InstanceId of) {
  world_.trace.note("broker drops consumer", {{"consumer", static_cast<std::int64_t>(number_)}});
  group_.holder_gone(of);
}

std::vector<HandedOut> SimConsumer::messages_of(const DeliverPush& push) {
  std::vector<HandedOut> messages;
  for (const SharedBytes& batch : push.batches) {
    Result<BatchReader> reader = BatchReader::open(batch.view());
    if (!reader) {
      findings_.report("a delivery can be read", to_string(reader.error()));
      return {};
    }
    Result<void> read = reader->for_each([&](const RecordView& record) {
      for (const GrantedRange& granted : push.ranges) {
        if (record.offset < granted.range.first || record.offset > granted.range.last) continue;
        HandedOut message{group_.place(push.partition, record.offset),
                          {granted.redrive, granted.delivery},
                          granted.token,
                          granted.failures,
                          std::string(as_text(record.value.value_or(Bytes{})))};
        std::optional<std::string> key;
        if (record.key) key = std::string(as_text(*record.key));
        if (granted.redrive == 0) log_.saw(message.place, message.value, key);
        messages.push_back(std::move(message));
      }
      return true;
    });
    if (!read) findings_.report("a delivery can be read", to_string(read.error()));
  }
  return messages;
}

// --- handling ---

void SimConsumer::on_push(DeliverPush push) {
  std::vector<HandedOut> messages = messages_of(push);
  while (!messages.empty()) {
    Item item;
    item.life = world_.stops();
    bool together = chance(30) && !outage();
    LeaseToken token = messages.front().token;
    std::size_t count = 1;
    while (together && count < messages.size() && messages[count].token == token) ++count;
    auto end = messages.begin() + static_cast<std::ptrdiff_t>(count);
    item.messages.assign(messages.begin(), end);
    messages.erase(messages.begin(), end);
    take(std::move(item));
  }
}

void SimConsumer::revoked(const RevokePush& push) {
  world_.trace.note("revoked", group_.place(push.partition, push.first), 1'000'000,
                    {{"consumer", static_cast<std::int64_t>(number_)}});
  group_.revoked(instance_, push);
}

void SimConsumer::on_revoke(RevokePush push) {
  std::vector<std::uint64_t> gone;
  for (const auto& [key, item] : items_) {
    const Place last = item.messages.back().place;
    bool later = group_.partition_of(last) == push.partition && last.offset >= push.first.value;
    if (later && !item.settling) gone.push_back(key);
  }
  for (std::uint64_t key : gone) drop(key);
}

void SimConsumer::take(Item item) {
  std::uint64_t key = next_item_++;
  items_.emplace(key, std::move(item));
  world_.after(some(plan_.handler.time), [this, key] { handle(key); });
}

/// A handler has come to its end, or to the point where it says that it goes on.
void SimConsumer::handle(std::uint64_t key) {
  auto found = items_.find(key);
  if (found == items_.end() || found->second.settling) return;
  const HandedOut& message = found->second.messages.front();
  std::uint32_t killer = plan_.handler.killer_every;
  if (killer > 0 && message.number.redrive == 0 && message.place.offset % killer == 3) {
    return crash();
  }
  if (chance(plan_.handler.extend)) {
    extend(key, false);
    world_.after(some(plan_.handler.time * 3), [this, key] { handle(key); });
    return;
  }
  if (chance(plan_.handler.hang)) return drop(key);  // it is never heard of again
  decide(found->second);
  settle(key);
}

void SimConsumer::decide(Item& item) {
  const HandlerPlan& plan = plan_.handler;
  item.settling = true;
  const HandedOut& message = item.messages.front();
  bool poison = plan.poison_every > 0 && message.number.redrive == 0 &&
                message.place.offset % plan.poison_every == 0;
  unsigned draw = static_cast<unsigned>(random_.below(100));
  auto falls = [&draw](unsigned percent) {
    bool hit = draw < percent;
    draw = hit ? 100 : draw - percent;
    return hit;
  };
  if (item.messages.size() > 1) return;  // a range is acknowledged
  SentSettlement& settlement = item.settlement;
  if (poison || outage() || falls(plan.retry)) {
    settlement.verb = SettleVerb::kRetry;
    if (chance(plan.retry_now)) {
      settlement.retry_after = milliseconds(0);
    } else if (chance(plan.retry_later)) {
      settlement.retry_after = milliseconds(random_.below(4000));
    }
  } else if (falls(plan.transient)) {
    settlement.verb = SettleVerb::kRetry;
    settlement.failure = FailureClass::kTransient;
  } else if (falls(plan.invalid)) {
    settlement.verb = SettleVerb::kRetry;
    settlement.failure = FailureClass::kInvalid;
  } else if (falls(plan.dead_letter)) {
    settlement.verb = SettleVerb::kDeadLetter;
  } else if (falls(plan.release)) {
    settlement.verb = SettleVerb::kRelease;
  }
}

/// What all handlers of the group need is down.
bool SimConsumer::outage() const {
  Duration period = plan_.handler.outage;
  return period > Duration{} && world_.now().nanoseconds / period.count() % 3 == 1;
}

void SimConsumer::extend(std::uint64_t key, bool claim) {
  if (!connection_ || !subscribed_) return;
  const Item& item = items_.at(key);
  const HandedOut& first = item.messages.front();
  bool started = !claim;
  for (const HandedOut& message : item.messages) {
    group_.extend_sent(message, started);
    world_.trace.note("extend", message.place, 1,
                      {{"consumer", static_cast<std::int64_t>(number_)}, {"started", started}});
  }
  ExtendRequest request{
      kSubscription,
      {{group_.partition_of(first.place), first.token, range_of(item.messages), started}}};
  world_.send<ExtendReply>(*connection_, std::move(request),
                           [this, key, claim, sent = world_.now(),
                            connection = *connection_](const Reply<ExtendReply>& reply) {
                             auto found = items_.find(key);
                             if (connection_ != connection || found == items_.end() || !reply)
                               return;
                             bool ok = reply->outcomes.front().ok();
                             if (ok && claim && found->second.life != world_.stops()) {
                               world_.coverage.count("claimed after a restart");
                             }
                             for (const HandedOut& message : found->second.messages) {
                               group_.extend_told(message, ok, sent, instance_);
                             }
                             bool lost = !ok && reply->outcomes.front().error() == Errc::kLeaseLost;
                             if (lost && !found->second.settling) drop(key);
                           });
}

void SimConsumer::drop(std::uint64_t key) {
  auto found = items_.find(key);
  auto count = static_cast<std::uint32_t>(found->second.messages.size());
  items_.erase(found);
  give_credit(count);
}

void SimConsumer::settle(std::uint64_t key) {
  if (!connection_ || !subscribed_) return;
  const Item& item = items_.at(key);
  const HandedOut& first = item.messages.front();
  Settlement settlement;
  settlement.partition = group_.partition_of(first.place);
  settlement.token = first.token;
  settlement.range = range_of(item.messages);
  settlement.verb = item.settlement.verb;
  settlement.retry_after = item.settlement.retry_after;
  if (settlement.verb == SettleVerb::kRetry || settlement.verb == SettleVerb::kDeadLetter) {
    settlement.failure = {item.settlement.failure, "sim", "drawn"};
  }
  std::vector<SentSettlement> sent;
  for (const HandedOut& message : item.messages) {
    sent.push_back(item.settlement);
    group_.settle_sent(message, sent.back());
    world_.trace.note("settle", message.place, 1,
                      {{"consumer", static_cast<std::int64_t>(number_)},
                       {"verb", static_cast<std::int64_t>(settlement.verb)},
                       {"class", static_cast<std::int64_t>(item.settlement.failure)},
                       {"delivery", message.number.delivery}});
  }
  world_.send<SettleReply>(
      *connection_, SettleRequest{kSubscription, {settlement}},
      [this, key, sent, connection = *connection_](const Reply<SettleReply>& reply) {
        if (connection_ == connection && items_.contains(key)) settled(key, reply, sent);
      });
}

void SimConsumer::settled(std::uint64_t key, const Reply<SettleReply>& reply,
                          const std::vector<SentSettlement>& sent) {
  const Item item = items_.at(key);
  Reply<SettleOutcome> outcome =
      reply ? reply->outcomes.front() : Reply<SettleOutcome>(reply.error());
  for (std::size_t i = 0; i < item.messages.size(); ++i) {
    const HandedOut& message = item.messages[i];
    world_.trace.note("settled", message.place, 1,
                      {{"consumer", static_cast<std::int64_t>(number_)},
                       {"outcome", outcome ? static_cast<std::int64_t>(*outcome)
                                           : -static_cast<std::int64_t>(outcome.error().code)}});
    // A range is refused as a whole when one of its messages is lost.
    if (!outcome && item.messages.size() > 1) continue;
    group_.settle_told(message, sent[i], outcome);
  }
  bool again =
      !outcome && (outcome.error() == Errc::kOverloaded || outcome.error() == Errc::kDiskFull ||
                   outcome.error() == Errc::kOutcomeUnknown);
  if (!again) return drop(key);
  world_.after(milliseconds(200), [this, key] {
    if (items_.contains(key) && items_.at(key).settling) settle(key);
  });
}

bool SimConsumer::steal_from(const SimConsumer& other) {
  bool possible = connection_ && subscribed_ && &other != this && other.plan_.name == plan_.name;
  if (!possible || other.items_.empty()) return false;
  const HandedOut message = other.items_.begin()->second.messages.front();
  Settlement settlement;
  settlement.partition = group_.partition_of(message.place);
  settlement.token = message.token;
  settlement.range = {{message.place.offset}, {message.place.offset}};
  world_.send<SettleReply>(*connection_, SettleRequest{kSubscription, {settlement}},
                           [this, message](const Reply<SettleReply>& reply) {
                             if (reply) {
                               group_.stolen_settle_told(message, reply->outcomes.front());
                             }
                           });
  return true;
}

}  // namespace waybill

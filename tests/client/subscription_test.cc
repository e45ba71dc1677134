// Goal: every lease that the broker grants ends exactly once, whatever the handler, the connection
// or the broker does (D5-D8). Method: transcripts against a scripted broker; leases are short where
// their extension is what the test waits for.

#include "client/subscription.h"

#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/use_future.hpp>

#include "client/blocking_client.h"
#include "client/process.h"
#include "tests/client/fake_broker.h"

namespace waybill {
namespace {

using asio::use_future;
using std::chrono::milliseconds;

GroupInfo group_of(Ordering ordering, milliseconds lease = milliseconds(30'000)) {
  GroupInfo group;
  group.id = {3};
  group.name = "billing";
  group.topic = {7};
  group.policy.ordering = ordering;
  group.policy.lease = lease;
  group.start.kind = StartKind::kEarliest;
  return group;
}

/// A push of one batch with one granted range over all of it.
DeliverPush push_of(std::vector<std::string> values, std::int64_t first, std::uint64_t token,
                    std::uint32_t partition = 0) {
  BatchBuilder builder;
  for (const std::string& value : values) {
    RecordDraft record;
    record.value = as_bytes(value);
    record.timestamp = {1'700'000'000'000};
    if (!builder.add(record)) throw std::runtime_error("the batch cannot be built");
  }
  ByteVector batch = builder.build();
  stamp_base_offset(batch, {first});
  DeliverPush push;
  push.subscription = 1;
  push.partition = {partition};
  auto last = first + static_cast<std::int64_t>(values.size()) - 1;
  push.ranges.push_back({.range = {{first}, {last}}, .token = {1, token}});
  push.batches.emplace_back(std::move(batch));
  return push;
}

SettleReply done(std::size_t count) {
  SettleReply reply;
  for (std::size_t i = 0; i < count; ++i) reply.outcomes.emplace_back(SettleOutcome::kDone);
  return reply;
}
ExtendReply extended(std::size_t count) {
  ExtendReply reply;
  for (std::size_t i = 0; i < count; ++i) reply.outcomes.emplace_back();
  return reply;
}

class Consuming : public testing::Test {
 protected:
  void subscribe(const GroupInfo& group, SubscribeOptions options = {}) {
    client_.emplace(broker_.options());
    auto joined = client_->async().async_subscribe("billing", options, use_future);
    peer_.emplace(broker_.accept_greeted());
    answer_subscribe(group);
    Reply<Subscription> made = wait(std::move(joined));
    ASSERT_TRUE(made.ok());
    granted_ = expect_credit();
    subscription_.emplace(std::move(*made));
  }
  void answer_subscribe(const GroupInfo& group) {
    auto asked = peer_->expect<SubscribeRequest>();
    EXPECT_EQ(asked->group, "billing");
    peer_->answer(asked, SubscribeReply{group, "orders"});
  }
  CreditRequest expect_credit() { return peer_->expect<CreditRequest>().request; }
  std::future<Reply<Delivery>> next() { return subscription_->async_next(use_future); }
  Delivery take() {
    Reply<Delivery> taken = wait(next());
    if (!taken) throw std::runtime_error(to_string(taken.error()));
    return std::move(*taken);
  }
  /// The next settle request; credit that goes with it is counted.
  Asked<SettleRequest> expect_settle() {
    for (;;) {
      Frame frame = peer_->read();
      if (frame.header.kind == RequestKind::kCredit) {
        returned_ += decode_as<CreditRequest>(frame)->messages;
        continue;
      }
      Reply<SettleRequest> request = decode_as<SettleRequest>(frame);
      if (!request) throw std::runtime_error("expected settle");
      return {frame.header.correlation, std::move(*request)};
    }
  }

  FakeBroker broker_;
  std::optional<BlockingClient> client_;
  std::optional<Peer> peer_;
  std::optional<Subscription> subscription_;
  CreditRequest granted_;       ///< at first
  std::uint32_t returned_ = 0;  ///< credit met by expect_settle
};

TEST_F(Consuming, GrantsCreditAndHandsOutWhatIsPushed) {
  subscribe(group_of(Ordering::kNone), {.credit_messages = 16, .credit_bytes = 1000});
  EXPECT_EQ(granted_.messages, 16);
  EXPECT_EQ(granted_.bytes, 1000);
  DeliverPush push = push_of({"a", "b"}, 10, 1, 4);
  push.ranges[0].delivery = 2;
  push.ranges[0].failures = 1;
  push.ranges[0].redrive = 3;
  peer_->push(push);
  Delivery delivery = take();
  EXPECT_EQ(value_of(delivery.message()), "a");
  EXPECT_EQ(delivery.topic(), "orders");
  EXPECT_EQ(delivery.group(), "billing");
  EXPECT_EQ(delivery.partition(), PartitionIndex{4});
  EXPECT_EQ(delivery.offset(), Offset{10});
  EXPECT_EQ(delivery.number(), 2);
  EXPECT_EQ(delivery.failures(), 1);
  EXPECT_EQ(delivery.redrive(), 3);
  EXPECT_EQ(value_of(take().message()), "b");
}

TEST_F(Consuming, HandsOutOnlyTheGrantedRecordsOfABatch) {
  subscribe(group_of(Ordering::kNone));
  DeliverPush push = push_of({"a", "b", "c", "d"}, 0, 1);
  push.ranges[0].range = {{1}, {1}};
  push.ranges.push_back({.range = {{3}, {3}}, .token = {1, 2}});
  peer_->push(push);
  Delivery first = take();
  Delivery second = take();
  EXPECT_EQ(value_of(first.message()), "b");
  EXPECT_EQ(value_of(second.message()), "d");
  EXPECT_EQ(second.token(), (LeaseToken{1, 2}));
}

TEST_F(Consuming, SettlesWithVerbFailureAndDelay) {
  subscribe(group_of(Ordering::kNone));
  peer_->push(push_of({"a"}, 5, 9));
  take().retry({FailureClass::kTransient, "db_down", "no route"}, milliseconds(250));
  auto asked = expect_settle();
  ASSERT_EQ(asked->settlements.size(), 1);
  const Settlement& settlement = asked->settlements[0];
  EXPECT_EQ(settlement.verb, SettleVerb::kRetry);
  EXPECT_EQ(settlement.token, (LeaseToken{1, 9}));
  EXPECT_EQ(settlement.range, (OffsetRange{{5}, {5}}));
  EXPECT_EQ(settlement.retry_after, milliseconds(250));
  EXPECT_EQ(settlement.failure, (Failure{FailureClass::kTransient, "db_down", "no route"}));
}

TEST_F(Consuming, MergesAcksThatGatheredIntoRangesAndReturnsTheirCredit) {
  subscribe(group_of(Ordering::kNone), {.credit_messages = 4});
  peer_->push(push_of({"a", "b", "c", "d"}, 0, 1));
  std::vector<Delivery> taken;
  for (int i = 0; i < 4; ++i) taken.push_back(take());
  taken[3].ack();
  auto first = expect_settle();
  // Gathered while the first request is out, in any order.
  taken[1].ack();
  taken[0].ack();
  auto last = taken[2].async_settle({}, use_future);
  while (returned_ < 4) returned_ += expect_credit().messages;
  peer_->answer(first, done(1));
  auto second = expect_settle();
  ASSERT_EQ(second->settlements.size(), 1);
  EXPECT_EQ(second->settlements[0].range, (OffsetRange{{0}, {2}}));
  EXPECT_EQ(second->settlements[0].verb, SettleVerb::kAck);
  EXPECT_FALSE(ready(last));
  peer_->answer(second, done(1));
  EXPECT_TRUE(wait(std::move(last)).ok());
  EXPECT_EQ(returned_, 4);
}

TEST_F(Consuming, HandsOutTogetherWhatIsReady) {
  subscribe(group_of(Ordering::kNone));
  peer_->push(push_of({"a", "b", "c"}, 0, 1));
  auto take_batch = [&](std::size_t most) {
    return wait(subscription_->async_next_batch(most, std::nullopt, use_future));
  };
  Reply<std::vector<Delivery>> two = take_batch(2);
  ASSERT_TRUE(two.ok());
  ASSERT_EQ(two->size(), 2u);
  EXPECT_EQ(as_text(*two->front().value()), "a");
  EXPECT_EQ(two->front().key(), std::nullopt);
  EXPECT_EQ(value_of(two->back().message()), "b");
  Reply<std::vector<Delivery>> rest = take_batch(2);
  ASSERT_EQ(rest->size(), 1u);
  EXPECT_EQ(rest->front().offset(), Offset{2});
  client_.reset();  // what was received stays readable
  EXPECT_EQ(as_text(*rest->front().value()), "c");
}

TEST_F(Consuming, HandsOutOneOfEachPartitionTogetherWhereOrderCounts_D8) {
  subscribe(group_of(Ordering::kPartition));
  peer_->push(push_of({"a", "b"}, 0, 1, 0));
  peer_->push(push_of({"c", "d"}, 0, 2, 1));
  Delivery first = take();
  Reply<std::vector<Delivery>> others =
      wait(subscription_->async_next_batch(10, std::nullopt, use_future));
  ASSERT_EQ(others->size(), 1u);
  EXPECT_EQ(as_text(*others->front().value()), "c");
  Reply<std::vector<Delivery>> none =
      wait(subscription_->async_next_batch(10, milliseconds(1), use_future));
  EXPECT_EQ(none.error().code, Errc::kTimedOut);
}

TEST_F(Consuming, RetriesADeliveryThatWasDropped_D7) {
  subscribe(group_of(Ordering::kNone));
  peer_->push(push_of({"a"}, 0, 1));
  {
    Delivery dropped = take();
  }
  auto asked = expect_settle();
  EXPECT_EQ(asked->settlements.at(0).verb, SettleVerb::kRetry);
  EXPECT_EQ(asked->settlements.at(0).failure.failure_class, FailureClass::kFailed);
  EXPECT_EQ(asked->settlements.at(0).failure.code, "dropped");
}

TEST_F(Consuming, ReleasesWhatWasNotHandedOutWhenItCloses_D7) {
  subscribe(group_of(Ordering::kNone));
  peer_->push(push_of({"a", "b", "c"}, 0, 1));
  Delivery running = take();
  auto closed = subscription_->async_close(use_future);
  auto asked = expect_settle();
  ASSERT_EQ(asked->settlements.size(), 1);
  EXPECT_EQ(asked->settlements[0].verb, SettleVerb::kRelease);
  EXPECT_EQ(asked->settlements[0].range, (OffsetRange{{1}, {2}}));
  peer_->answer(asked, done(1));
  EXPECT_FALSE(ready(closed)) << "one is still running";
  EXPECT_EQ(wait(next()).error().code, Errc::kClosed);

  // Credit is left, so they may come again: kept, or they would go to and fro until they are dead.
  peer_->push(push_of({"b", "c"}, 1, 2));
  running.ack();
  auto acked = expect_settle();
  EXPECT_EQ(acked->settlements.at(0).range, (OffsetRange{{0}, {0}}));
  peer_->answer(acked, done(1));
  peer_->answer(peer_->expect<UnsubscribeRequest>(), {});
  EXPECT_TRUE(wait(std::move(closed)).ok());
}

TEST_F(Consuming, CountsASettledMessageAsSuccessAndReportsALostLease_D5) {
  subscribe(group_of(Ordering::kNone));
  peer_->push(push_of({"a"}, 0, 1));
  peer_->push(push_of({"b"}, 1, 2));
  Delivery a = take();
  Delivery b = take();
  auto first = a.async_settle({}, use_future);
  SettleReply reply;
  reply.outcomes.emplace_back(RequestError(Errc::kAlreadySettled, "done"));
  peer_->answer(expect_settle(), reply);
  EXPECT_TRUE(wait(std::move(first)).ok());

  auto second = b.async_settle({}, use_future);
  reply.outcomes[0] = RequestError(Errc::kLeaseLost, "the lease ended 3 s ago");
  peer_->answer(expect_settle(), reply);
  EXPECT_EQ(wait(std::move(second)).error().explanation, "the lease ended 3 s ago");
}

TEST_F(Consuming, SettlesADeliveryOnce) {
  subscribe(group_of(Ordering::kNone));
  peer_->push(push_of({"a"}, 0, 1));
  Delivery delivery = take();
  delivery.ack();
  EXPECT_TRUE(delivery.settled());
  EXPECT_EQ(wait(delivery.async_settle({}, use_future)).error().code, Errc::kAlreadySettled);
}

TEST_F(Consuming, ExtendsEveryLeaseAndSaysWhichWereStarted_D6) {
  subscribe(group_of(Ordering::kNone));
  DeliverPush push = push_of({"a", "b", "c"}, 0, 1);
  push.lease = milliseconds(300);
  Delivery running = [&] {
    peer_->push(push);
    return take();
  }();
  auto asked = peer_->expect<ExtendRequest>();
  while (asked->leases.size() < 2) {  // asked before the first was taken: all are one range
    peer_->answer(asked, extended(asked->leases.size()));
    asked = peer_->expect<ExtendRequest>();
  }
  ASSERT_EQ(asked->leases.size(), 2);
  EXPECT_TRUE(asked->leases[0].started);
  EXPECT_EQ(asked->leases[0].range, (OffsetRange{{0}, {0}}));
  EXPECT_FALSE(asked->leases[1].started);
  EXPECT_EQ(asked->leases[1].range, (OffsetRange{{1}, {2}}));

  // Lost: what waits is forgotten, what runs is told.
  ExtendReply reply;
  reply.outcomes.emplace_back(RequestError(Errc::kLeaseLost, "too late"));
  reply.outcomes.emplace_back(RequestError(Errc::kLeaseLost, "too late"));
  peer_->answer(asked, reply);
  EXPECT_EQ(expect_credit().messages, 3);
  EXPECT_TRUE(running.lease_lost());
  peer_->push(push_of({"d"}, 3, 2));
  EXPECT_EQ(value_of(take().message()), "d");
}

TEST_F(Consuming, ExtendsAlsoWhatOneRequestDoesNotHold_D6) {
  subscribe(group_of(Ordering::kKey), {.credit_messages = 30'000, .credit_bytes = 100'000'000});
  // Every second message: no two leases are neighbours, as in a group that orders by key.
  constexpr std::size_t kLeases = limits::kMaxSettlements + 5;
  DeliverPush push = push_of(std::vector<std::string>(2 * kLeases, "x"), 0, 1);
  push.lease = milliseconds(300);
  push.ranges.clear();
  for (std::size_t i = 0; i < kLeases; ++i) {
    Offset offset{static_cast<std::int64_t>(2 * i)};
    push.ranges.push_back({.range = {offset, offset}, .token = {1, 1}});
  }
  peer_->push(push);
  auto first = peer_->expect<ExtendRequest>();
  EXPECT_EQ(first->leases.size(), limits::kMaxSettlements);
  peer_->answer(first, extended(first->leases.size()));
  auto second = peer_->expect<ExtendRequest>();
  ASSERT_EQ(second->leases.size(), 5);
  EXPECT_EQ(second->leases[4].range.last, (Offset{2 * kLeases - 2}));
  peer_->answer(second, extended(5));
}

TEST_F(Consuming, StopsExtendingWhatIsSettled) {
  subscribe(group_of(Ordering::kNone));
  DeliverPush push = push_of({"a"}, 0, 1);
  push.lease = milliseconds(30);
  peer_->push(push);
  take().ack();
  Frame frame = peer_->read();
  while (frame.header.kind != RequestKind::kSettle) frame = peer_->read();
  EXPECT_TRUE(peer_->quiet());
}

TEST_F(Consuming, ComesBackWithItsLeasesAfterALostConnection_D5) {
  subscribe(group_of(Ordering::kNone), {.credit_messages = 10, .credit_bytes = 100'000});
  peer_->push(push_of({"a"}, 0, 1));
  peer_->push(push_of({"b"}, 1, 2));
  peer_->push(push_of({"c"}, 2, 3));
  Delivery a = take();
  Delivery b = take();
  auto settled = a.async_settle({}, use_future);
  expect_settle();
  peer_->hang_up();
  returned_ = 0;

  peer_.emplace(broker_.accept_greeted());
  answer_subscribe(group_of(Ordering::kNone));
  auto asked = peer_->expect<ExtendRequest>();
  ASSERT_EQ(asked->leases.size(), 2) << "b and c; a is settled";
  EXPECT_TRUE(asked->leases[0].started);
  EXPECT_EQ(asked->leases[0].token, (LeaseToken{1, 2}));
  EXPECT_FALSE(asked->leases[1].started);
  ExtendReply reply = extended(1);
  reply.outcomes.emplace_back(RequestError(Errc::kLeaseLost, "gone"));
  peer_->answer(asked, reply);

  // The settlement that was not answered, then credit for all but the one that runs.
  auto again = expect_settle();
  EXPECT_EQ(again->settlements.at(0).token, (LeaseToken{1, 1}));
  peer_->answer(again, done(1));
  EXPECT_TRUE(wait(std::move(settled)).ok());
  if (returned_ == 0) returned_ = expect_credit().messages;
  EXPECT_EQ(returned_, 9);

  peer_->push(push_of({"c again"}, 2, 4));
  EXPECT_EQ(value_of(take().message()), "c again");
  EXPECT_FALSE(b.lease_lost());
}

TEST_F(Consuming, EndsWithTheBrokersReasonWhenItMayNotComeBack) {
  subscribe(group_of(Ordering::kNone));
  auto waiting = next();
  peer_->hang_up();
  peer_.emplace(broker_.accept_greeted());
  peer_->refuse(peer_->expect<SubscribeRequest>(), Errc::kUnknownGroup, "deleted by ann");
  EXPECT_EQ(wait(std::move(waiting)).error().explanation, "deleted by ann");
  EXPECT_EQ(wait(next()).error().code, Errc::kUnknownGroup);
}

TEST_F(Consuming, HandsOutOneOfAPartitionAtATimeWhereOrderCounts_D8) {
  subscribe(group_of(Ordering::kPartition));
  peer_->push(push_of({"a", "b", "c"}, 0, 1, 0));
  peer_->push(push_of({"x"}, 0, 2, 1));
  Delivery a = take();
  Delivery x = take();
  EXPECT_EQ(value_of(a.message()), "a");
  EXPECT_EQ(value_of(x.message()), "x");
  auto waiting = next();
  a.ack();
  Delivery b = std::move(*wait(std::move(waiting)));
  EXPECT_EQ(value_of(b.message()), "b");
  peer_->answer(expect_settle(), done(1));

  // Not done: the broker revokes c, and what comes next is b again.
  b.retry({FailureClass::kFailed, "later", ""});
  peer_->answer(expect_settle(), done(1));
  peer_->push(push_of({"b", "c"}, 1, 3, 0));
  Delivery again = take();
  EXPECT_EQ(value_of(again.message()), "b");
  EXPECT_EQ(again.token(), (LeaseToken{1, 3}));
}

TEST_F(Consuming, ForgetsWhatTheBrokerRevokes_D8) {
  subscribe(group_of(Ordering::kPartition), {.credit_messages = 10, .credit_bytes = 100'000});
  peer_->push(push_of({"a", "b", "c"}, 0, 1, 0));
  peer_->push(push_of({"x"}, 2, 2, 1));
  Delivery a = take();
  peer_->push(RevokePush{.subscription = 1, .partition = {0}, .first = {1}});
  EXPECT_EQ(expect_credit().messages, 2) << "b and c";
  EXPECT_FALSE(a.lease_lost()) << "it lies before";
  EXPECT_EQ(value_of(take().message()), "x") << "another partition's";

  peer_->push(push_of({"b again"}, 1, 3, 0));
  auto waiting = next();
  a.ack();
  Reply<Delivery> b = wait(std::move(waiting));
  EXPECT_EQ(value_of(b->message()), "b again");
  EXPECT_EQ(b->token(), (LeaseToken{1, 3}));
}

TEST_F(Consuming, ARevokedMessageAtWorkKeepsItsPartitionBusy_D8) {
  subscribe(group_of(Ordering::kPartition));
  peer_->push(push_of({"a"}, 0, 1, 0));
  Delivery a = take();
  peer_->push(RevokePush{.subscription = 1, .partition = {0}, .first = {0}});
  peer_->push(push_of({"a again"}, 0, 2, 0));
  peer_->push(push_of({"x"}, 0, 3, 1));
  Delivery x = take();  // kept: its end would be a settlement beside a's
  EXPECT_EQ(value_of(x.message()), "x") << "nothing of partition 0 beside a";
  EXPECT_TRUE(a.lease_lost());
  auto late = a.async_settle({}, use_future);
  auto asked = expect_settle();
  SettleReply lost;
  for (std::size_t i = 0; i < asked->settlements.size(); ++i) {
    lost.outcomes.emplace_back(RequestError(Errc::kLeaseLost, "revoked"));
  }
  peer_->answer(asked, lost);
  EXPECT_EQ(wait(std::move(late)).error().code, Errc::kLeaseLost);
  EXPECT_EQ(value_of(take().message()), "a again");
}

TEST_F(Consuming, ARevocationOfALeftSubscriptionIsNobodys) {
  subscribe(group_of(Ordering::kPartition));
  peer_->push(RevokePush{.subscription = 9, .partition = {0}, .first = {0}});
  peer_->push(push_of({"a"}, 0, 1, 0));
  EXPECT_EQ(value_of(take().message()), "a");
}

TEST_F(Consuming, ChargesALeaseWhoseMessageCannotBeRead) {
  subscribe(group_of(Ordering::kNone));
  DeliverPush push = push_of({"a", "b"}, 4, 1);
  ByteVector damaged = to_vector(push.batches[0].view());
  damaged.back() ^= std::byte{1};
  push.batches[0] = SharedBytes(damaged);
  peer_->push(push);
  auto asked = expect_settle();
  EXPECT_EQ(asked->settlements.at(0).verb, SettleVerb::kRetry);
  EXPECT_EQ(asked->settlements.at(0).failure.code, "unreadable");
  EXPECT_EQ(asked->settlements.at(0).range, (OffsetRange{{4}, {5}}));
  EXPECT_EQ(returned_, 2);
}

TEST_F(Consuming, LosesNoDeliveryToATimeoutOrACancelledWait) {
  subscribe(group_of(Ordering::kNone));
  EXPECT_EQ(wait(subscription_->async_next(milliseconds(1), use_future)).error().code,
            Errc::kTimedOut);
  asio::cancellation_signal signal;
  std::promise<Reply<Delivery>> promise;
  auto cancelled = promise.get_future();
  subscription_->async_next(asio::bind_cancellation_slot(
      signal.slot(), [&](Reply<Delivery> reply) { promise.set_value(std::move(reply)); }));
  signal.emit(asio::cancellation_type::terminal);
  EXPECT_EQ(wait(std::move(cancelled)).error().code, Errc::kCancelled);
  peer_->push(push_of({"a"}, 0, 1));
  EXPECT_EQ(value_of(take().message()), "a");
}

TEST_F(Consuming, KeepsDeliveriesSafeToDestroyAfterTheClient) {
  subscribe(group_of(Ordering::kNone));
  peer_->push(push_of({"a"}, 0, 1));
  Delivery delivery = take();
  client_.reset();
  EXPECT_EQ(value_of(delivery.message()), "a");
  delivery.ack();
}

TEST(Subscribing, ReportsAnUnknownGroup) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  auto joined = client.async().async_subscribe("biling", SubscribeOptions{}, use_future);
  Peer peer = broker.accept_greeted();
  peer.refuse(peer.expect<SubscribeRequest>(), Errc::kUnknownGroup, "did you mean 'billing'?");
  EXPECT_EQ(wait(std::move(joined)).error().explanation, "did you mean 'billing'?");
}

TEST(Subscribing, ConsumesWithABlockingLoop) {
  FakeBroker broker;
  BlockingClient client(broker.options());
  std::vector<std::string> seen;
  auto loop = std::async(std::launch::async, [&] {
    return client.consume("billing", [&](Delivery& delivery) {
      seen.push_back(value_of(delivery.message()));
      delivery.ack();
      return seen.size() < 2 ? Continue::kYes : Continue::kNo;
    });
  });
  Peer peer = broker.accept_greeted();
  peer.answer(peer.expect<SubscribeRequest>(),
              SubscribeReply{group_of(Ordering::kPartition), "orders"});
  peer.expect<CreditRequest>();
  peer.push(push_of({"a", "b"}, 0, 1));
  std::size_t acked = 0;
  for (bool left = false; !left;) {
    Frame frame = peer.read();
    if (auto settle = decode_as<SettleRequest>(frame)) {
      for (const Settlement& s : settle->settlements) {
        EXPECT_EQ(s.verb, SettleVerb::kAck);
        acked += static_cast<std::size_t>(s.range.count());
      }
      peer.send(encode_reply(frame.header.correlation, done(settle->settlements.size())));
    } else if (decode_as<UnsubscribeRequest>(frame)) {
      peer.send(encode_reply(frame.header.correlation, UnsubscribeReply{}));
      left = true;
    }
  }
  EXPECT_TRUE(wait(std::move(loop)).ok());
  EXPECT_EQ(acked, 2);
  EXPECT_EQ(seen, (std::vector<std::string>{"a", "b"}));
}

}  // namespace
}  // namespace waybill

// Goal: a handler's word, or its failure, becomes the right settlement; never more handlers than
// allowed; stopping drains. Method: transcripts against a scripted broker; handlers block on
// promises that the test keeps.

#include "client/process.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <map>
#include <stdexcept>

#include "client/blocking_client.h"
#include "tests/client/fake_broker.h"

namespace waybill {
namespace {

using asio::use_future;
using std::chrono::milliseconds;

DeliverPush one_message(std::string_view value, std::int64_t offset) {
  BatchBuilder builder;
  RecordDraft record;
  record.value = as_bytes(value);
  record.timestamp = {1'700'000'000'000};
  if (!builder.add(record)) throw std::runtime_error("the batch cannot be built");
  ByteVector batch = builder.build();
  stamp_base_offset(batch, {offset});
  DeliverPush push;
  push.subscription = 1;
  push.ranges.push_back(
      {.range = {{offset}, {offset}}, .token = {1, static_cast<std::uint64_t>(offset)}});
  push.batches.emplace_back(std::move(batch));
  return push;
}

class Processing : public testing::Test {
 protected:
  ~Processing() override { pool_.join(); }

  CreditRequest join() {
    peer_.emplace(broker_.accept_greeted());
    SubscribeReply reply;
    reply.group.policy.ordering = Ordering::kNone;
    reply.group.name = "billing";
    reply.topic = "orders";
    reply.group.start.kind = StartKind::kEarliest;
    peer_->answer(peer_->expect<SubscribeRequest>(), reply);
    return peer_->expect<CreditRequest>().request;
  }
  /// Answers settlements until `count` messages are settled; by offset.
  std::map<std::int64_t, Settlement> collect(std::size_t count) {
    std::map<std::int64_t, Settlement> settled;
    while (settled.size() < count) {
      Frame frame = peer_->read();
      auto request = decode_as<SettleRequest>(frame);
      if (!request) continue;
      SettleReply reply;
      for (const Settlement& s : request->settlements) {
        for (Offset at = s.range.first; at <= s.range.last; ++at) settled[at.value] = s;
        reply.outcomes.emplace_back(SettleOutcome::kDone);
      }
      peer_->send(encode_reply(frame.header.correlation, reply));
    }
    return settled;
  }
  void answer_unsubscribe() {
    for (;;) {
      Frame frame = peer_->read();
      if (!decode_as<UnsubscribeRequest>(frame)) continue;
      return peer_->send(encode_reply(frame.header.correlation, UnsubscribeReply{}));
    }
  }

  FakeBroker broker_;
  asio::thread_pool pool_{4};
  BlockingClient client_{broker_.options()};
  std::optional<Peer> peer_;
};

HandlerResult judge(const Delivery& delivery) {
  std::string value = value_of(delivery.message());
  if (value == "throw") throw std::runtime_error("no such customer");
  if (value == "failed") return HandlerResult::failed("unpaid", "card 42");
  if (value == "transient") {
    return HandlerResult::transient("bank_down").after(milliseconds(500));
  }
  if (value == "invalid") return HandlerResult::invalid("no_json");
  if (value == "dead") return HandlerResult::dead_letter({FailureClass::kFailed, "cursed", ""});
  return HandlerResult::ack();
}

void expect_judged(const std::map<std::int64_t, Settlement>& settled) {
  EXPECT_EQ(settled.at(0).verb, SettleVerb::kAck);
  EXPECT_EQ(settled.at(1).verb, SettleVerb::kRetry);
  EXPECT_EQ(settled.at(1).failure,
            (Failure{FailureClass::kFailed, "exception", "no such customer"}));
  EXPECT_EQ(settled.at(2).failure, (Failure{FailureClass::kFailed, "unpaid", "card 42"}));
  EXPECT_EQ(settled.at(3).failure.failure_class, FailureClass::kTransient);
  EXPECT_EQ(settled.at(3).retry_after, milliseconds(500));
  EXPECT_EQ(settled.at(4).failure.failure_class, FailureClass::kInvalid);
  EXPECT_EQ(settled.at(5).verb, SettleVerb::kDeadLetter);
}

constexpr std::string_view kCases[] = {"ok", "throw", "failed", "transient", "invalid", "dead"};

TEST_F(Processing, SettlesByWhatTheHandlerSaysOrThrows) {
  Processor processor =
      process(client_.async(), "billing", pool_.get_executor(), judge, ProcessOptions{});
  EXPECT_EQ(join().messages, 16) << "twice the concurrency";
  for (std::int64_t i = 0; i < 6; ++i) peer_->push(one_message(kCases[i], i));
  expect_judged(collect(6));
}

asio::awaitable<HandlerResult> judge_later(const Delivery& delivery) {
  co_return judge(delivery);
}

TEST_F(Processing, RunsCoroutinesToo) {
  Processor processor = process(client_.async(), "billing", AsyncHandler(judge_later));
  join();
  for (std::int64_t i = 0; i < 6; ++i) peer_->push(one_message(kCases[i], i));
  expect_judged(collect(6));
}

TEST_F(Processing, RunsNoMoreHandlersThanAllowed) {
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  auto handler = [&](const Delivery&) {
    most = std::max(most.load(), ++running);
    std::this_thread::yield();
    --running;
    return HandlerResult::ack();
  };
  Processor processor =
      process(client_.async(), "billing", pool_.get_executor(), handler, {.concurrency = 1});
  EXPECT_EQ(join().messages, 2);
  for (std::int64_t i = 0; i < 20; ++i) peer_->push(one_message("x", i));
  collect(20);
  EXPECT_EQ(most, 1);
}

TEST_F(Processing, DrainsWhenItIsStopped) {
  std::promise<void> started;
  std::promise<void> go_on;
  auto gate = go_on.get_future().share();
  auto handler = [&, gate](const Delivery&) {
    started.set_value();
    gate.wait();
    return HandlerResult::ack();
  };
  Processor processor =
      process(client_.async(), "billing", pool_.get_executor(), handler, {.concurrency = 1});
  join();
  peer_->push(one_message("running", 0));
  peer_->push(one_message("waiting", 1));
  started.get_future().wait();
  processor.stop();
  auto ended = processor.async_wait(use_future);
  auto released = collect(1);
  EXPECT_EQ(released.at(1).verb, SettleVerb::kRelease);
  EXPECT_FALSE(ready(ended));
  go_on.set_value();
  EXPECT_EQ(collect(1).at(0).verb, SettleVerb::kAck);
  answer_unsubscribe();
  EXPECT_TRUE(wait(std::move(ended)).ok());
}

TEST_F(Processing, GivesUpOnAHandlerThatOutlivesTheDrainTimeout) {
  std::promise<void> started;
  std::promise<void> go_on;
  auto gate = go_on.get_future().share();
  auto handler = [&, gate](const Delivery&) {
    started.set_value();
    gate.wait();
    return HandlerResult::ack();
  };
  Processor processor = process(client_.async(), "billing", pool_.get_executor(), handler,
                                {.concurrency = 1, .drain_timeout = milliseconds(20)});
  join();
  peer_->push(one_message("running", 0));
  started.get_future().wait();
  processor.stop();
  EXPECT_EQ(wait(processor.async_wait(use_future)).error().code, Errc::kTimedOut);
  go_on.set_value();
  EXPECT_EQ(collect(1).at(0).verb, SettleVerb::kAck) << "late, but not lost";
}

TEST_F(Processing, EndsWithTheReasonWhenItCannotSubscribe) {
  Processor processor =
      process(client_.async(), "biling", pool_.get_executor(), judge, ProcessOptions{});
  peer_.emplace(broker_.accept_greeted());
  peer_->refuse(peer_->expect<SubscribeRequest>(), Errc::kUnknownGroup, "did you mean 'billing'?");
  EXPECT_EQ(wait(processor.async_wait(use_future)).error().code, Errc::kUnknownGroup);
}

}  // namespace
}  // namespace waybill

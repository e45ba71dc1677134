// Goal: a consumer that misbehaves gets a definite answer or no attention, charges nobody, and
// costs the others nothing. Method: the real waybilld and consumers that say every frame
// themselves, beside a bystander. Where each kind of misbehaviour is tested:
//
//   settling twice, somebody else's lease    core_test, Delivery.SettlingTwiceOrWithoutTheLease...
//   ranges beyond what was granted           here
//   negative delays                          here
//   credit overflow                          here; server_test, CreditIsNeverAnswered...
//   a consumer that never settles            core_test, Delivery.AnExpiredLease...,
//                                            DeadLetters.TheDeliveryLimit...
//   one that never reads its socket          here; server_test, SlowReader
//   one that reconnects in a loop            here; core_test, DeadLetters.TwentyUnexplained...
//   ten thousand idle groups                 here
//   a policy that cannot be satisfied        here; model_test, Policy
#include <boost/asio/use_future.hpp>
#include <deque>
#include <future>

#include "tests/e2e/bad_input.h"

namespace waybill {
namespace {

class BadConsumer : public BadInput {
 protected:
  void SetUp() override {
    BadInput::SetUp();
    topic_ = make_topic("orders");
    ASSERT_TRUE(bystander_->client().ensure_group(group_request("billing", "orders")).ok());
  }
  void publish(std::size_t size, int times = 1) {
    std::unique_ptr<RawClient> client = connect();
    for (int i = 0; i < times; ++i) {
      Reply<PublishReply> reply = client->ask(publish_to(topic_, batch_of(size)));
      ASSERT_TRUE(reply.ok() && reply->parts.at(0).ok());
    }
  }
  GroupPartitionStatus status() {
    Reply<DescribeGroupReply> reply = bystander_->client().request(DescribeGroupRequest{"billing"});
    EXPECT_TRUE(reply.ok()) << to_string(reply.error());
    return reply ? reply->partitions.at(0) : GroupPartitionStatus{};
  }

  TopicId topic_;
};

TEST_F(BadConsumer, ARangeBeyondWhatWasGrantedSettlesNothingOfIt) {
  publish(10, 2);
  RawConsumer consumer(broker_.port());
  consumer.subscribe("billing");
  GrantedRange granted = consumer.next();
  OffsetRange beyond{granted.range.first, granted.range.last + 5};
  Reply<SettleOutcome> outcome = consumer.settle(granted.token, beyond, SettleVerb::kAck);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, Errc::kLeaseLost) << to_string(outcome.error());
  OffsetRange backwards{Offset{5}, Offset{2}};
  outcome = consumer.settle(granted.token, backwards, SettleVerb::kAck);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, Errc::kInvalidRequest) << to_string(outcome.error());
  EXPECT_EQ(status().accounting.done, 0U);
  outcome = consumer.settle(granted.token, granted.range, SettleVerb::kAck);
  EXPECT_TRUE(outcome.ok()) << to_string(outcome.error());
}

TEST_F(BadConsumer, ADelayThatIsNegativeOrTooLongIsRefusedAndChargesNobody) {
  publish(10);
  RawConsumer consumer(broker_.port());
  consumer.subscribe("billing");
  GrantedRange granted = consumer.next();
  for (std::chrono::milliseconds delay :
       {std::chrono::milliseconds(-1),
        std::chrono::milliseconds(limits::kMaxRetryAfter) + std::chrono::milliseconds(1)}) {
    Settlement settlement;
    settlement.token = granted.token;
    settlement.range = granted.range;
    settlement.verb = SettleVerb::kRetry;
    settlement.retry_after = delay;
    Reply<SettleReply> reply = consumer.client().ask(SettleRequest{1, {settlement}});
    ASSERT_FALSE(reply.ok());
    EXPECT_EQ(reply.error().code, Errc::kInvalidRequest) << to_string(reply.error());
    EXPECT_TRUE(reply.error().explanation.contains("retry_after_ms")) << to_string(reply.error());
  }
  EXPECT_EQ(status().failures, 0U);
  EXPECT_EQ(status().accounting.leased, 1U);
}

TEST_F(BadConsumer, CreditThatNobodyCouldUseIsRefusedAndWhatWasGrantedStays) {
  RawConsumer consumer(broker_.port());
  consumer.subscribe("billing");
  // Together more than 32 bits hold, and in bytes more than 64.
  constexpr int kTimes = 5000;
  for (int i = 0; i < kTimes; ++i) {
    consumer.client().request(0, CreditRequest{.subscription = 1,
                                               .messages = limits::kMaxCreditMessages,
                                               .bytes = limits::kMaxCreditBytes});
  }
  int refused = 0;
  consumer.client().request(7, PingRequest{});
  for (;;) {
    std::optional<Frame> frame = consumer.client().receive();
    ASSERT_TRUE(frame.has_value());
    if (frame->header.kind == RequestKind::kPing) break;
    ASSERT_EQ(decode_error(*frame).code, Errc::kInvalidRequest);
    ++refused;
  }
  EXPECT_GT(refused, kTimes / 2) << "shards may have taken their slices of some";
  publish(10);
  GrantedRange granted = consumer.next();
  EXPECT_TRUE(consumer.settle(granted.token, granted.range, SettleVerb::kAck).ok());
}

TEST_F(BadConsumer, OneThatNeverReadsKeepsNoMoreThanItsBufferHolds) {
  constexpr int kMessages = 150;  // of one MiB: twice what the broker holds for one connection
  RawConsumer stuck(broker_.port());
  ASSERT_TRUE(stuck.client().ask(SubscribeRequest{1, "billing"}).ok());
  stuck.client().request(0, CreditRequest{.subscription = 1,
                                          .messages = limits::kMaxCreditMessages,
                                          .bytes = limits::kMaxCreditBytes});
  publish(1024 * 1024, kMessages);
  bystander_->expect_served("while it does not read");
  RawConsumer other(broker_.port(), std::byte{10});
  other.subscribe("billing");
  GrantedRange granted = other.next();
  EXPECT_TRUE(other.settle(granted.token, granted.range, SettleVerb::kAck).ok());
}

TEST_F(BadConsumer, OneThatComesAndGoesInALoopLeavesNothingBehind) {
  publish(10);
  for (int i = 0; i < 300; ++i) {
    RawConsumer restless(broker_.port());
    ASSERT_TRUE(restless.client().ask(SubscribeRequest{1, "billing"}).ok());
  }
  RawConsumer patient(broker_.port());
  patient.subscribe("billing");
  GrantedRange granted = patient.next();
  EXPECT_EQ(granted.delivery, 1U);
  EXPECT_TRUE(patient.settle(granted.token, granted.range, SettleVerb::kAck).ok());
  EXPECT_EQ(status().failures, 0U);
}

TEST_F(BadConsumer, TenThousandIdleGroupsAreServedAndTheNextIsRefused) {
  if (!kMemoryIsTheProgramsOwn) GTEST_SKIP() << "a sanitizer takes minutes for so many";
  constexpr std::size_t kAtATime = 500;
  std::deque<std::future<Reply<CreateGroupReply>>> made;
  auto expect_one = [&] {
    Reply<CreateGroupReply> reply = made.front().get();
    made.pop_front();
    ASSERT_TRUE(reply.ok()) << to_string(reply.error());
  };
  for (std::size_t i = 1; i < limits::kMaxGroups; ++i) {
    if (made.size() == kAtATime) expect_one();
    made.push_back(bystander_->client().async().async_request(
        group_request("group-" + std::to_string(i), "orders"), asio::use_future));
  }
  while (!made.empty()) expect_one();
  Reply<CreateGroupReply> refused =
      bystander_->client().ensure_group(group_request("one-more", "orders"));
  ASSERT_FALSE(refused.ok());
  EXPECT_TRUE(refused.error().explanation.contains("too many groups"))
      << to_string(refused.error());
  publish(10);
  RawConsumer consumer(broker_.port());
  consumer.subscribe("group-7");
  GrantedRange granted = consumer.next();
  EXPECT_TRUE(consumer.settle(granted.token, granted.range, SettleVerb::kAck).ok());
}

TEST_F(BadConsumer, APolicyThatCannotBeSatisfiedIsRefusedWithTheReason) {
  CreateGroupRequest request = group_request("bad", "orders");
  request.policy.on_dead_letter = OnDeadLetter::kHold;
  Reply<CreateGroupReply> hold = connect()->ask(request);
  ASSERT_FALSE(hold.ok());
  EXPECT_EQ(hold.error().code, Errc::kInvalidPolicy) << to_string(hold.error());
  EXPECT_TRUE(hold.error().explanation.contains("ordering")) << to_string(hold.error());
}

}  // namespace
}  // namespace waybill

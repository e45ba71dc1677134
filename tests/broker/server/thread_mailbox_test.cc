// Goal: calls between shards keep their order per pair, bursts wake once, queues are bounded (S14).
// Method: the mailbox alone, with threads and a wake-up that counts; calls are taken, not run.
#include "broker/server/thread_mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace waybill {
namespace {

constexpr ShardIndex kZero{0};
constexpr ShardIndex kOne{1};
constexpr ShardIndex kTwo{2};

void nothing(Shard&) {}

/// A call whose destruction can be seen.
Mailbox::Call tracked(std::shared_ptr<int> token) {
  return [token = std::move(token)](Shard&) {};
}

TEST(ThreadMailbox, ABurstWakesTheThreadOnce) {
  ThreadMailbox mailbox(3, 2);
  int wakes = 0;
  mailbox.connect(0, [&] { ++wakes; });
  mailbox.connect(1, [] { FAIL() << "nothing is for this thread"; });
  Mailbox& sender = mailbox.sender(kOne);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(sender.post(kTwo, nothing, Mailbox::Kind::kRequest));
  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(mailbox.drain(0).size(), 100u);
  sender.post(kZero, nothing, Mailbox::Kind::kRequest);
  EXPECT_EQ(wakes, 2);
  EXPECT_EQ(mailbox.drain(1).size(), 0u);
}

TEST(ThreadMailbox, S14CallsOfAPairKeepTheirOrderUnderContention) {
  constexpr int kCalls = 20'000;
  ThreadMailbox mailbox(3, 3);
  std::atomic<int> wakes = 0;
  for (std::uint16_t i = 0; i < 3; ++i) mailbox.connect(i, [&] { ++wakes; });
  // A requested call and then an answer, in turn: the kinds must alternate for each sender.
  auto send = [&](ShardIndex from) {
    for (int i = 0; i < kCalls; ++i) {
      auto kind = i % 2 == 0 ? Mailbox::Kind::kRequest : Mailbox::Kind::kAnswer;
      while (!mailbox.sender(from).post(kZero, nothing, kind)) std::this_thread::yield();
    }
  };
  std::thread one(send, kOne);
  std::thread two(send, kTwo);
  std::array<int, 3> seen{};
  while (seen[1] + seen[2] < 2 * kCalls) {
    for (const auto& envelope : mailbox.drain(0)) {
      int number = seen[envelope.from.value]++;
      EXPECT_EQ(envelope.kind == Mailbox::Kind::kRequest, number % 2 == 0);
    }
  }
  one.join();
  two.join();
  EXPECT_EQ(seen[1], kCalls);
  EXPECT_EQ(seen[2], kCalls);
  EXPECT_LE(wakes, 2 * kCalls);
}

TEST(ThreadMailbox, S14AFullQueueRefusesRequestsOfThatPairOnlyAndNeverAnswers) {
  ThreadMailbox mailbox(3, 1);
  mailbox.connect(0, [] {});
  for (std::size_t i = 0; i < ThreadMailbox::kMaxQueuedRequests; ++i) {
    ASSERT_TRUE(mailbox.sender(kOne).post(kZero, nothing, Mailbox::Kind::kRequest));
  }
  EXPECT_FALSE(mailbox.sender(kOne).post(kZero, nothing, Mailbox::Kind::kRequest));
  EXPECT_TRUE(mailbox.sender(kOne).post(kZero, nothing, Mailbox::Kind::kAnswer));
  EXPECT_TRUE(mailbox.sender(kOne).post(kTwo, nothing, Mailbox::Kind::kRequest));
  EXPECT_TRUE(mailbox.sender(kTwo).post(kZero, nothing, Mailbox::Kind::kRequest));
  mailbox.drain(0);
  EXPECT_TRUE(mailbox.sender(kOne).post(kZero, nothing, Mailbox::Kind::kRequest));
}

TEST(ThreadMailbox, CallsThatWereNeverRunAreDestroyed) {
  auto token = std::make_shared<int>(0);
  {
    ThreadMailbox mailbox(1, 1);
    mailbox.connect(0, [] {});
    mailbox.sender(kZero).post(kZero, tracked(token), Mailbox::Kind::kRequest);
    EXPECT_EQ(token.use_count(), 2) << "not run inside post(), not even for the same shard";
  }
  EXPECT_EQ(token.use_count(), 1);
}

}  // namespace
}  // namespace waybill

// Goal: no more bytes are on their way than the budget allows, and every read gets its turn, in
// order. Method: reads that begin and end by hand.
#include "storage/read_queue.h"

#include <gtest/gtest.h>

#include <string>

namespace waybill {
namespace {

class ReadQueueTest : public testing::Test {
 protected:
  void add(char name, std::size_t size, bool reads = true) {
    queue_.add(size, [this, name, reads] {
      begun_ += name;
      return reads;
    });
  }
  ReadQueue queue_{100};
  std::string begun_;
};

TEST_F(ReadQueueTest, WhatFitsBeginsAtOnceAndTheRestInOrder) {
  add('a', 60);
  add('b', 40);
  add('c', 50);
  add('d', 10);
  EXPECT_EQ(begun_, "ab") << "the fourth does not overtake the third";
  EXPECT_EQ(queue_.reading(), 100u);
  EXPECT_EQ(queue_.waiting(), 2u);
  queue_.ended(40);
  EXPECT_EQ(begun_, "ab");
  queue_.ended(60);
  EXPECT_EQ(begun_, "abcd");
  EXPECT_EQ(queue_.reading(), 60u);
}

TEST_F(ReadQueueTest, OneReadMayBeLargerThanTheBudget) {
  add('a', 500);
  add('b', 1);
  EXPECT_EQ(begun_, "a");
  queue_.ended(500);
  EXPECT_EQ(begun_, "ab");
}

TEST_F(ReadQueueTest, WhatIsOverWhenItBeginsTakesNoRoom) {
  add('a', 100);
  add('b', 100, false);
  add('c', 100);
  queue_.ended(100);
  EXPECT_EQ(begun_, "abc");
  EXPECT_EQ(queue_.reading(), 100u);
}

TEST_F(ReadQueueTest, WhatBeginsMayAddMore) {
  queue_.add(100, [this] {
    add('b', 100);
    begun_ += 'a';
    return false;
  });
  EXPECT_EQ(begun_, "ab");
  queue_.clear();
  queue_.ended(100);
  EXPECT_EQ(queue_.reading(), 0u);
}

}  // namespace
}  // namespace waybill

// ThreadMailbox: calls between shards that live on several threads (S14).
//
//   shard a ──post──▶ [ queue of the thread of b ] ──one wake-up per burst──▶ b's thread runs it
//
// Each thread has one queue: calls for its shards in the order they were posted, so calls of one
// pair of shards keep theirs. The queue is a vector behind a mutex that is held for a push or a
// swap only; this is the one place where threads of the broker meet, shards themselves have no
// locks. The first call into an empty queue wakes the thread; the others of the burst ride along.
//
// Bounded per pair of shards: with kMaxQueuedRequests requests waiting, the next is refused.
// Answers are not counted: there are no more of them than admitted requests.
// A call is never run inside post(), not even for a shard of the same thread.
//
// The mailbox outlives every thread that posts to it. A call that was not run when the mailbox is
// destroyed is destroyed unrun.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "broker/core/mailbox.h"
#include "broker/core/shard.h"  // a Call needs the complete type

namespace waybill {

class ThreadMailbox {
 public:
  /// More waiting requests of one pair than this mean that the receiver is overloaded.
  static constexpr std::size_t kMaxQueuedRequests = 4096;

  struct Envelope {
    ShardIndex from;
    ShardIndex to;
    Mailbox::Kind kind;
    Mailbox::Call call;
  };
  /// Makes the thread call drain() soon. Called on the posting thread; must not block.
  using Wake = std::function<void()>;

  /// Shard i lives on thread i % thread_count.
  ThreadMailbox(std::uint16_t shard_count, std::uint16_t thread_count);
  ~ThreadMailbox();
  ThreadMailbox(const ThreadMailbox&) = delete;
  ThreadMailbox& operator=(const ThreadMailbox&) = delete;

  /// How a thread is woken. Call it for every thread before anything is posted.
  void connect(std::uint16_t thread, Wake wake);
  /// The mailbox as the shard `from` sees it; lives as long as this object.
  Mailbox& sender(ShardIndex from);
  /// What waits for a thread's shards, in order. Call it on that thread.
  std::vector<Envelope> drain(std::uint16_t thread);

  [[nodiscard]] std::uint16_t shard_count() const { return shard_count_; }
  [[nodiscard]] std::uint16_t thread_count() const { return thread_count_; }
  [[nodiscard]] std::uint16_t thread_of(ShardIndex shard) const {
    return static_cast<std::uint16_t>(shard.value % thread_count_);
  }

 private:
  class Sender;
  struct Inbox;

  bool post(ShardIndex from, ShardIndex to, Mailbox::Call call, Mailbox::Kind kind);
  [[nodiscard]] std::size_t pair(ShardIndex from, ShardIndex to) const {
    return std::size_t{from.value} * shard_count_ + to.value;
  }

  std::uint16_t shard_count_;
  std::uint16_t thread_count_;
  std::vector<std::unique_ptr<Inbox>> inboxes_;
  std::vector<std::unique_ptr<Sender>> senders_;
};

}  // namespace waybill

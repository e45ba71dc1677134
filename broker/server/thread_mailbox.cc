#include "broker/server/thread_mailbox.h"

#include "protocol/base/assert.h"

namespace waybill {

struct ThreadMailbox::Inbox {
  std::mutex mutex;
  std::vector<Envelope> queue;        // guarded by mutex
  std::vector<std::size_t> requests;  // guarded by mutex; by pair of shards
  Wake wake;
};

class ThreadMailbox::Sender final : public Mailbox {
 public:
  Sender(ThreadMailbox& mailbox, ShardIndex from) : mailbox_(mailbox), from_(from) {}
  bool post(ShardIndex to, Call call, Kind kind) override {
    return mailbox_.post(from_, to, std::move(call), kind);
  }
  [[nodiscard]] std::uint16_t shard_count() const override { return mailbox_.shard_count(); }

 private:
  ThreadMailbox& mailbox_;
  ShardIndex from_;
};

ThreadMailbox::ThreadMailbox(std::uint16_t shard_count, std::uint16_t thread_count)
    : shard_count_(shard_count), thread_count_(thread_count) {
  WB_ASSERT(thread_count > 0 && shard_count >= thread_count, "every thread has a shard");
  for (std::uint16_t i = 0; i < thread_count; ++i) {
    inboxes_.push_back(std::make_unique<Inbox>());
    inboxes_.back()->requests.resize(std::size_t{shard_count} * shard_count);
  }
  for (std::uint16_t i = 0; i < shard_count; ++i) {
    senders_.push_back(std::make_unique<Sender>(*this, ShardIndex{i}));
  }
}

ThreadMailbox::~ThreadMailbox() = default;

void ThreadMailbox::connect(std::uint16_t thread, Wake wake) {
  inboxes_.at(thread)->wake = std::move(wake);
}

Mailbox& ThreadMailbox::sender(ShardIndex from) {
  return *senders_.at(from.value);
}

bool ThreadMailbox::post(ShardIndex from, ShardIndex to, Mailbox::Call call, Mailbox::Kind kind) {
  WB_ASSERT(to.value < shard_count_, "a call is for an existing shard");
  Inbox& inbox = *inboxes_[thread_of(to)];
  bool was_empty = false;
  {
    std::lock_guard lock(inbox.mutex);
    std::size_t& waiting = inbox.requests[pair(from, to)];
    if (kind == Mailbox::Kind::kRequest) {
      if (waiting >= kMaxQueuedRequests) return false;
      ++waiting;
    }
    was_empty = inbox.queue.empty();
    inbox.queue.push_back({from, to, kind, std::move(call)});
  }
  if (was_empty) inbox.wake();
  return true;
}

std::vector<ThreadMailbox::Envelope> ThreadMailbox::drain(std::uint16_t thread) {
  Inbox& inbox = *inboxes_.at(thread);
  std::vector<Envelope> calls;
  std::lock_guard lock(inbox.mutex);
  calls.swap(inbox.queue);
  for (const Envelope& envelope : calls) {
    if (envelope.kind == Mailbox::Kind::kRequest)
      --inbox.requests[pair(envelope.from, envelope.to)];
  }
  return calls;
}

}  // namespace waybill

// The driver for Redis Streams, over hiredis: XADD by pipelining publishers, XREADGROUP and XACK by
// one consumer of a group. hiredis encodes and parses; its sockets do not block here.
#include <fcntl.h>
#include <hiredis/hiredis.h>

#include <deque>
#include <stdexcept>

#include "bench/peers/session_loops.h"

namespace waybill::peers {
namespace {

constexpr const char* kBatch = "1000";   ///< entries per XREADGROUP
constexpr const char* kBlockMs = "100";  ///< how long the server holds one that finds nothing

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;

class Connection {
 public:
  explicit Connection(const Load& load) : context_(redisConnect(load.host.c_str(), load.port)) {
    if (context_ == nullptr || context_->err != 0) throw std::runtime_error("cannot connect");
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { redisFree(context_); }

  /// Before unblock().
  void command(const char* text) {
    Reply reply(static_cast<redisReply*>(redisCommand(context_, text)));
    if (!reply || reply->type == REDIS_REPLY_ERROR) {
      throw std::runtime_error(std::string(text) + ": " + (reply ? reply->str : context_->errstr));
    }
  }
  void unblock() {
    ::fcntl(context_->fd, F_SETFL, O_NONBLOCK);
    context_->flags &= ~REDIS_BLOCK;
  }

  [[nodiscard]] int descriptor() const { return context_->fd; }
  void append(const std::vector<std::string_view>& words) {
    pointers_.clear();
    sizes_.clear();
    for (std::string_view word : words) {
      pointers_.push_back(word.data());
      sizes_.push_back(word.size());
    }
    redisAppendCommandArgv(context_, static_cast<int>(words.size()), pointers_.data(),
                           sizes_.data());
  }
  bool flush() {
    int all = 0;
    return redisBufferWrite(context_, &all) != REDIS_OK || all != 0;
  }
  /// Calls `handle` with each reply that has come whole; false if the connection is lost.
  template <class Handle>
  bool receive(Handle handle) {
    if (redisBufferRead(context_) != REDIS_OK) return false;
    for (;;) {
      void* reply = nullptr;
      if (redisGetReplyFromReader(context_, &reply) != REDIS_OK) return false;
      if (reply == nullptr) return true;
      handle(*Reply(static_cast<redisReply*>(reply)));
    }
  }

 private:
  redisContext* context_;
  std::vector<const char*> pointers_;
  std::vector<std::size_t> sizes_;
};

class RedisPublisher : public PublishSession {
 public:
  RedisPublisher(const Load& load, Tally& tally)
      : PublishSession(tally), connection_(load), value_(load.size) {
    connection_.unblock();
  }
  [[nodiscard]] int descriptor() const override { return connection_.descriptor(); }
  bool flush() override { return connection_.flush(); }

  void add(Time due) override {
    added();
    due_.push_back(due);
    connection_.append({"XADD", kQueue, "*", "v", value_.due_at(due)});
  }

  void receive() override {
    Time now = Clock::now();
    bool kept = connection_.receive([&](const redisReply& reply) {
      Time due = due_.front();
      due_.pop_front();
      if (reply.type == REDIS_REPLY_ERROR) return refused();
      confirmed(due, now);
    });
    if (!kept) tally_.fail("a publisher lost its connection");
  }

 private:
  Connection connection_;
  Value value_;
  std::deque<Time> due_;  ///< of what is not confirmed: replies come in order
};

class RedisConsumer : public Session {
 public:
  RedisConsumer(const Load& load, Tally& tally) : tally_(tally), connection_(load) {
    connection_.unblock();
    read();
  }
  [[nodiscard]] int descriptor() const override { return connection_.descriptor(); }
  bool flush() override { return connection_.flush(); }

  void receive() override {
    bool kept = connection_.receive([&](const redisReply& reply) {
      if (reply.type == REDIS_REPLY_ERROR) return tally_.fail(reply.str);
      if (reply.type == REDIS_REPLY_INTEGER) return;  // of an XACK
      if (reply.type == REDIS_REPLY_ARRAY && reply.elements == 1) take(*reply.element[0]);
      read();
    });
    if (!kept) tally_.fail("the consumer lost its connection");
  }

 private:
  void read() {
    connection_.append({"XREADGROUP", "GROUP", kQueue, "one", "COUNT", kBatch, "BLOCK", kBlockMs,
                        "STREAMS", kQueue, ">"});
  }

  /// [stream, [[id, [field, value]]...]]
  void take(const redisReply& stream) {
    Time now = Clock::now();
    const redisReply& entries = *stream.element[1];
    std::vector<std::string_view> ack{"XACK", kQueue, kQueue};
    for (std::size_t i = 0; i < entries.elements; ++i) {
      const redisReply& id = *entries.element[i]->element[0];
      const redisReply& value = *entries.element[i]->element[1]->element[1];
      ack.emplace_back(id.str, id.len);
      tally_.consumed(due_of({value.str, value.len}), now);
    }
    connection_.append(ack);
  }

  Tally& tally_;
  Connection connection_;
};

int run(const Load& load) try {
  Connection setup(load);
  setup.command("DEL bench");
  setup.command("XGROUP CREATE bench bench $ MKSTREAM");
  int status = run_sessions(
      load, [&](Tally& tally) { return std::make_unique<RedisPublisher>(load, tally); },
      [&](Tally& tally) { return std::make_unique<RedisConsumer>(load, tally); });
  setup.command("UNLINK bench");
  return status;
} catch (const std::exception& error) {
  std::fprintf(stderr, "failed: %s\n", error.what());
  return 1;
}

}  // namespace
}  // namespace waybill::peers

int main(int argc, char** argv) {
  return waybill::peers::run(waybill::peers::parse_load(argc, argv));
}

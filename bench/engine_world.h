// EngineWorld: one shard with its gateway, clients and a disk that keeps nothing, driven in one
// thread: what the core costs without sockets, devices and clients.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/null_disk.h"
#include "broker/core/gateway.h"
#include "broker/core/mailbox.h"
#include "broker/core/shard.h"
#include "protocol/record/batch_builder.h"

namespace waybill {

[[noreturn]] inline void give_up(const std::string& what) {
  std::fprintf(stderr, "benchmark: %s\n", what.c_str());
  std::exit(1);
}

class QueueMailbox final : public Mailbox {
 public:
  bool post(ShardIndex, Call call, Kind) override {
    calls.push_back(std::move(call));
    return true;
  }
  [[nodiscard]] std::uint16_t shard_count() const override { return 1; }

  std::deque<Call> calls;
};

/// One connected client; keeps what it is pushed.
class BenchClient final : public PushSink {
 public:
  BenchClient(Gateway& gateway, std::uint64_t instance)
      : session_(gateway, hello(instance), *this) {}
  void deliver(DeliverPush push) override { pushes.push_back(std::move(push)); }
  void revoke(RevokePush) override {}
  ClientSession& session() { return session_; }

  std::vector<DeliverPush> pushes;

 private:
  static HelloRequest hello(std::uint64_t instance) {
    HelloRequest hello;
    store_little(hello.instance.uuid.bytes.data(), instance);
    return hello;
  }

  ClientSession session_;
};

class EngineWorld {
 public:
  EngineWorld() {
    ShardOptions options;
    options.tail_cache_bytes = std::size_t{4} * 1024 * 1024 * 1024;
    RecoveryReport report;
    std::string explanation;
    auto shard = recover_shard({disk_, clock, random_, mailbox_}, options, &report, &explanation);
    if (!shard || !(*shard)->start(&explanation)) give_up(explanation);
    shard_ = std::move(*shard);
    gateway_ = std::make_unique<Gateway>(*shard_, mailbox_);
    shard_->start_catalog([] {});
    run();
  }

  BenchClient& connect() {
    clients_.push_back(std::make_unique<BenchClient>(*gateway_, clients_.size() + 1));
    return *clients_.back();
  }

  /// The request's answer; ends the program if it is an error.
  template <class R, class Request>
  R call(BenchClient& client, Request request) {
    std::optional<Reply<R>> answer;
    client.session().handle(std::move(request),
                            Done<R>([&](Reply<R> reply) { answer.emplace(std::move(reply)); }));
    run();
    if (!answer) give_up("no answer");
    if (!*answer) give_up(to_string(answer->error()));
    return std::move(**answer);
  }

  /// Until nothing moves any more at this moment.
  void run() {
    bool moved = true;
    while (moved) {
      run_mail();
      shard_->turn();
      disk_.submit();
      moved = disk_.reap() > 0 || !mailbox_.calls.empty();
    }
  }

  ManualClock clock;

 private:
  void run_mail() {
    while (!mailbox_.calls.empty()) {
      Mailbox::Call call = std::move(mailbox_.calls.front());
      mailbox_.calls.pop_front();
      call(*shard_);
    }
  }

  NullDisk disk_;
  QueueMailbox mailbox_;
  SeededRandom random_{1};
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<Gateway> gateway_;
  std::vector<std::unique_ptr<BenchClient>> clients_;
};

}  // namespace waybill

// The two loops of a driver whose client library leaves the waiting to its caller: publishers on
// one thread, the consumer on another, as `waybill bench` has them.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "bench/peers/tally.h"

namespace waybill::peers {

/// A connection. Its calls never wait for the network.
class Session {
 public:
  Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  virtual ~Session() = default;

  [[nodiscard]] virtual int descriptor() const = 0;
  /// Reads and handles everything that has come.
  virtual void receive() = 0;
  /// Writes what the socket takes; false: some is left for when it is writable again.
  virtual bool flush() = 0;
};

class PublishSession : public Session {
 public:
  explicit PublishSession(Tally& tally) : tally_(tally) {}
  /// Encodes a message; it leaves with the next flush.
  virtual void add(Time due) = 0;
  [[nodiscard]] std::uint64_t open() const { return open_; }

 protected:
  void added() { ++open_; }
  void confirmed(Time due, Time now) {
    --open_;
    tally_.confirmed(due, now);
  }
  void refused() {
    --open_;
    tally_.refused();
    tally_.fail("a publish was refused");
  }

  Tally& tally_;

 private:
  std::uint64_t open_ = 0;
};

/// Makes a session; throws std::runtime_error with what a person needs to know. A consumer is
/// attached to its queue when it returns.
using MakePublisher = std::function<std::unique_ptr<PublishSession>(Tally&)>;
using MakeConsumer = std::function<std::unique_ptr<Session>(Tally&)>;

/// Connects, runs the load, waits for what is under way and writes the result. An exit status.
int run_sessions(const Load& load, const MakePublisher& make_publisher,
                 const MakeConsumer& make_consumer);

}  // namespace waybill::peers

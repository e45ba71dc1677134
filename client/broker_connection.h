// One TCP connection to a broker: hello, then pipelined requests matched to their answers by
// correlation, and pushes.
//
// Owner: ClientCore, which opens a new one after this one closed; a connection never reconnects.
// Runs on one strand. Every request completes exactly once: with its answer, with kTimedOut after
// its time, or with kConnectionLost when the connection ends, whatever ends it. A silent peer is
// asked (ping) and given up, so that a dead host does not look like an idle one.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "client/completion.h"
#include "protocol/async/task.h"
#include "protocol/wire/codec.h"
#include "protocol/wire/frame.h"

namespace waybill {

class BrokerConnection : public std::enable_shared_from_this<BrokerConnection> {
 public:
  using Milliseconds = std::chrono::milliseconds;

  struct Events {
    std::function<void(const Frame&)> on_push;
    /// Called once, after every pending request was completed.
    std::function<void(const RequestError&)> on_closed;
  };

  BrokerConnection(const asio::any_io_executor& strand, Milliseconds keepalive);
  BrokerConnection(const BrokerConnection&) = delete;
  BrokerConnection& operator=(const BrokerConnection&) = delete;
  ~BrokerConnection() = default;

  /// Resolves, connects and says hello, within `timeout`. Then the connection reads by itself and
  /// calls `events`. kCannotConnect says which endpoint, why, and what to check. Call it once.
  static Task<Reply<HelloReply>> open(std::shared_ptr<BrokerConnection> self, std::string endpoint,
                                      HelloRequest hello, Milliseconds timeout, Events events);

  /// Sends a request; `completion` runs on the strand.
  template <class Request>
  void request(const Request& request, Milliseconds timeout,
               Completion<ReplyOf<Request>> completion);
  /// Credit, which is not answered.
  void send_credit(const CreditRequest& credit);

  [[nodiscard]] bool is_open() const { return state_ == State::kOpen; }
  [[nodiscard]] std::size_t pending() const { return pending_.size(); }

  /// Ends the connection: pending requests complete with kConnectionLost and `reason`.
  void close(const RequestError& reason);

 private:
  enum class State : std::uint8_t { kOpening, kOpen, kClosed };
  using SteadyTime = std::chrono::steady_clock::time_point;
  struct Pending {
    Completion<Frame> completion;
    SteadyTime deadline;
  };
  using Self = std::shared_ptr<BrokerConnection>;

  static Task<Reply<HelloReply>> dial(Self self, std::string endpoint, HelloRequest hello);
  static Task<Reply<void>> connect(Self self, std::string endpoint);
  static Task<Reply<HelloReply>> say_hello(Self self, HelloRequest hello);
  static Task<Reply<Frame>> read_frame(Self self);
  static Task<void> read_frames(Self self);
  static Task<void> keep_alive(Self self);

  std::uint32_t take_correlation();
  void submit(std::uint32_t correlation, OutFrame frame, Milliseconds timeout,
              Completion<Frame> completion);
  /// Looks at all deadlines at that time, or earlier.
  void watch(SteadyTime deadline);
  void expire();
  void dispatch(const Frame& frame);
  void answer(const Frame& frame);
  void write();
  /// An answer that cannot be read: nothing after it can be trusted.
  RequestError refuse_answer(RequestKind kind, const RequestError& error);

  asio::any_io_executor strand_;
  asio::ip::tcp::resolver resolver_;
  asio::ip::tcp::socket socket_;
  asio::steady_timer keepalive_timer_;
  asio::steady_timer deadline_timer_;
  SteadyTime watched_ = SteadyTime::max();  ///< when deadline_timer_ expires
  Milliseconds keepalive_;
  Events events_;
  State state_ = State::kOpening;
  std::uint8_t version_ = kHelloVersion;
  FrameDecoder decoder_;
  bool heard_ = false;  ///< anything was read since the last look
  std::uint32_t last_correlation_ = 0;
  std::unordered_map<std::uint32_t, Pending> pending_;
  std::deque<OutFrame> unsent_;
  std::vector<OutFrame> sending_;
};

template <class Request>
void BrokerConnection::request(const Request& request, Milliseconds timeout,
                               Completion<ReplyOf<Request>> completion) {
  std::uint32_t correlation = take_correlation();
  OutFrame frame = encode_request(correlation, request, version_);
  Reply<void> fits = check_size(frame);
  if (!fits) return completion(fits.error());
  auto answered = [weak = weak_from_this(),
                   completion = std::move(completion)](Reply<Frame> frame_or_error) mutable {
    if (!frame_or_error) return completion(frame_or_error.error());
    Reply<ReplyOf<Request>> reply = decode_answer<Request>(*frame_or_error);
    Self self = weak.lock();
    if (!reply && frame_or_error->header.type != FrameType::kError && self) {
      return completion(self->refuse_answer(Wire<Request>::kKind, reply.error()));
    }
    completion(std::move(reply));
  };
  submit(correlation, std::move(frame), timeout, std::move(answered));
}

}  // namespace waybill

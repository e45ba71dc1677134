// Connection: the conversation with one client. It turns bytes into requests for a ClientSession
// and answers and pushes into bytes; what a request means is the core's business.
//
//   read_loop:   socket ─▶ FrameDecoder ─▶ hello, then every request ─▶ ClientSession
//   write_loop:  socket ◀─ gathered writes ◀─ output_ ◀─ answers (Done) and pushes (PushSink)
//
// One coroutine frame (run) owns both loops; it ends when both have ended. Everything happens on
// the thread of the gateway, without locks.
//
// Bounds: one frame in memory before it is checked; kMaxPendingRequests unanswered requests, more
// are refused; while more than kMaxOutputBuffer bytes wait to be sent or belong to unanswered
// requests (and to the answers of reads), nothing is read, so TCP stops the client. So it is while
// the connections of the thread have used up what they share (OutputBudget). What a read asks for
// is cut to what is left of both. Pushes beyond twice the bound can only come from a client that
// granted more credit than it reads: it is disconnected.
//
// Rights (D18): where there are users, hello is refused without a user's token, once, since a
// second hello is none; after it every kind of request needs the right that RequestKindFacts names.
// Who did something is then the user, whatever the request says.
//
// Ends: a client that vanishes (end of stream, error) is a lost connection for the core (D10); a
// client that breaks the protocol is told why, then disconnected; at a clean stop what was begun is
// answered first, then the client is told shutting_down. Answers that come later are dropped.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/core/gateway.h"
#include "broker/server/counters.h"
#include "broker/server/output_budget.h"
#include "broker/server/users.h"
#include "protocol/async/task.h"
#include "protocol/wire/codec.h"

namespace waybill {

/// What the connections of one thread share; outlives them.
struct ConnectionHost {
  Gateway& gateway;
  Counters& counters;
  OutputBudget output;
  /// Called after requests were handed to the gateway: its home shard wants a turn.
  std::function<void()> touched;
  Uuid broker_id;
  const Users* users = nullptr;  ///< null: everybody may do everything
  /// What names the topics of the thread's requests, now; for rights that are limited to some.
  std::function<std::shared_ptr<const Catalog>()> catalog;
  std::chrono::milliseconds hello_timeout;
  /// How long a closing connection may take to accept what is left to send.
  std::chrono::milliseconds drain_timeout;
};

class Connection final : public PushSink, public std::enable_shared_from_this<Connection> {
 public:
  Connection(asio::ip::tcp::socket socket, ConnectionHost& host);
  ~Connection() override;

  /// The whole conversation; completes when the socket is closed.
  static Task<void> run(std::shared_ptr<Connection> self);

  /// Clean stop: reads no more, answers what was begun, says shutting_down, closes.
  void drain();
  /// Closes at once.
  void abort();

  void deliver(DeliverPush push) override;
  void revoke(RevokePush push) override;

 private:
  Task<void> read_loop();
  Task<void> write_loop();
  Task<Result<Frame>> receive_hello_frame();
  Task<bool> receive_hello();
  Task<void> receive_requests();
  Task<void> wait_until_drained();
  /// Reads more bytes into the decoder; false when the client is gone.
  Task<bool> fill();
  Task<Result<void>> discard_input();

  bool greet(const Frame& frame);
  void dispatch(const Frame& frame);
  template <class Request>
  bool try_handle(const Frame& frame);
  void handle_credit(const Frame& frame);
  /// A right that the user needs for the request and does not have for what it is about.
  template <class Request>
  std::optional<Right> lacking(const Request& request) const;
  void refuse(const FrameHeader& header, Right right);
  template <class ReplyStruct>
  void answer(RequestKind kind, std::uint32_t correlation, Reply<ReplyStruct> reply);

  void send(OutFrame frame);
  /// Sends what was not asked for; a client that reads too slowly for it is disconnected.
  void send_push(OutFrame frame);
  void send_error(std::uint32_t correlation, RequestKind kind, const RequestError& error);
  /// The client broke the protocol: says so and ends the conversation.
  void fail(const FrameHeader& header, const RequestError& error);
  /// Nothing more will be queued; the write loop sends what is left and closes.
  void finish();
  void start_closing_deadline();
  [[nodiscard]] bool over_limit() const;
  /// Over its own limit, or the thread's: until it is not, or the conversation ends.
  Task<void> wait_for_output();
  /// What one more answer may take.
  [[nodiscard]] std::size_t room_for_answer() const;
  void take(std::size_t& counter, std::size_t bytes);
  void give_back(std::size_t& counter, std::size_t bytes);

  asio::ip::tcp::socket socket_;
  ConnectionHost& host_;
  std::string peer_;
  FrameDecoder decoder_;
  std::uint8_t version_ = kHelloVersion;
  std::unique_ptr<ClientSession> session_;
  const User* user_ = nullptr;  ///< of host_.users, if there are users

  std::size_t pending_ = 0;        ///< unanswered requests
  std::size_t pending_bytes_ = 0;  ///< of their frames, and of the answers they ask for
  std::size_t pending_waits_ = 0;  ///< reads that wait at the end; not waited for at a stop
  std::size_t waiting_bytes_ = 0;  ///< that those may bring
  std::deque<OutFrame> output_;
  std::size_t output_bytes_ = 0;  ///< in output_ and in the write under way

  bool awaits_output_ = false;  ///< host_.output will wake the read loop

  bool draining_ = false;
  bool finished_ = false;
  bool failed_ = false;
  asio::steady_timer output_ready_;  ///< cancelled to wake the write loop
  asio::steady_timer room_;          ///< cancelled to wake the read loop
  asio::steady_timer closing_;       ///< bounds the time from finish() to the end
};

}  // namespace waybill

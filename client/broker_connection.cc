#include "client/broker_connection.h"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/write.hpp>
#include <charconv>

#include "protocol/async/deadline.h"
#include "protocol/async/spawn.h"
#include "protocol/wire/version.h"

namespace waybill {
namespace {

using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

/// Gathered into one write: enough to fill the socket's buffer, small enough to stay fair.
constexpr std::size_t kMaxFramesPerWrite = 64;

struct HostAndPort {
  std::string host;
  std::string port;
};

Reply<HostAndPort> parse_endpoint(const std::string& endpoint) {
  std::size_t colon = endpoint.rfind(':');
  HostAndPort parts;
  if (colon != std::string::npos) {
    parts = {endpoint.substr(0, colon), endpoint.substr(colon + 1)};
  }
  if (parts.host.size() > 2 && parts.host.front() == '[' && parts.host.back() == ']') {
    parts.host = parts.host.substr(1, parts.host.size() - 2);
  }
  std::uint16_t port = 0;
  const char* end = parts.port.data() + parts.port.size();
  auto [stopped, failed] = std::from_chars(parts.port.data(), end, port);
  if (parts.host.empty() || failed != std::errc{} || stopped != end || port == 0) {
    return RequestError(Errc::kCannotConnect, "'" + endpoint +
                                                  "' is no address; write host:port, for "
                                                  "example 127.0.0.1:7450 or [::1]:7450");
  }
  return parts;
}

RequestError cannot_reach(const std::string& endpoint, const std::string& why) {
  return {Errc::kCannotConnect, "cannot reach " + endpoint + ": " + why +
                                    ". Is waybilld running there? Check the address and the port."};
}

}  // namespace

BrokerConnection::BrokerConnection(const asio::any_io_executor& strand, Milliseconds keepalive)
    : strand_(strand),
      resolver_(strand),
      socket_(strand),
      keepalive_timer_(strand),
      deadline_timer_(strand),
      keepalive_(keepalive) {}

Task<Reply<HelloReply>> BrokerConnection::open(Self self, std::string endpoint, HelloRequest hello,
                                               Milliseconds timeout, Events events) {
  auto dialing = dial(self, endpoint, std::move(hello));
  auto limited = with_deadline(std::move(dialing), timeout);
  Reply<HelloReply> said = co_await std::move(limited);
  if (!said && said.error() == Errc::kTimedOut) {
    said = cannot_reach(endpoint, "no answer within " + std::to_string(timeout.count()) + " ms");
  }
  if (said && self->state_ == State::kClosed) {
    said = RequestError(Errc::kClosed, "the client was closed while it connected");
  }
  if (!said) {
    self->close(said.error());
    co_return said;
  }
  self->state_ = State::kOpen;
  self->events_ = std::move(events);
  spawn(self->strand_, "client connection", read_frames, self);
  spawn(self->strand_, "client keepalive", keep_alive, self);
  co_return said;
}

Task<Reply<HelloReply>> BrokerConnection::dial(Self self, std::string endpoint,
                                               HelloRequest hello) {
  auto connecting = connect(self, std::move(endpoint));
  Reply<void> connected = co_await std::move(connecting);
  if (!connected) co_return connected.error();
  auto greeting = say_hello(self, std::move(hello));
  co_return co_await std::move(greeting);
}

Task<Reply<void>> BrokerConnection::connect(Self self, std::string endpoint) {
  Reply<HostAndPort> parts = parse_endpoint(endpoint);
  if (!parts) co_return parts.error();

  auto resolving = self->resolver_.async_resolve(parts->host, parts->port, kNoThrow);
  auto [unresolved, addresses] = co_await std::move(resolving);
  if (unresolved) co_return cannot_reach(endpoint, unresolved.message());

  auto connecting = asio::async_connect(self->socket_, addresses, kNoThrow);
  auto [refused, address] = co_await std::move(connecting);
  if (refused) co_return cannot_reach(endpoint, refused.message());
  ErrorCode ignored;
  self->socket_.set_option(tcp::no_delay(true), ignored);
  co_return Reply<void>();
}

Task<Reply<HelloReply>> BrokerConnection::say_hello(Self self, HelloRequest hello) {
  OutFrame frame = encode_request(self->take_correlation(), hello);
  auto writing = asio::async_write(self->socket_, asio::buffer(frame.head), kNoThrow);
  auto [failed, written] = co_await std::move(writing);
  if (failed) co_return RequestError(Errc::kConnectionLost, "hello: " + failed.message());

  auto reading = read_frame(self);
  Reply<Frame> answered = co_await std::move(reading);
  if (!answered) co_return answered.error();
  Reply<HelloReply> reply = decode_answer<HelloRequest>(*answered);
  if (!reply) co_return reply;
  Reply<Negotiated> agreed = accept_negotiated(hello, *reply);
  if (!agreed) co_return agreed.error();
  self->version_ = agreed->version;
  self->decoder_.set_rules(rules_after_hello(agreed->version));
  co_return reply;
}

Task<Reply<Frame>> BrokerConnection::read_frame(Self self) {
  for (;;) {
    Result<std::optional<Frame>> frame = self->decoder_.next();
    if (!frame) {
      co_return RequestError(Errc::kConnectionLost, "what the broker sent is not this protocol: " +
                                                        to_string(frame.error()) +
                                                        ". Is it the right port?");
    }
    if (frame->has_value()) co_return std::move(**frame);
    MutableBytes room = self->decoder_.prepare();
    auto reading = self->socket_.async_read_some(asio::buffer(room.data(), room.size()), kNoThrow);
    auto [failed, size] = co_await std::move(reading);
    if (failed) {
      std::string why = failed == asio::error::eof ? "the broker closed the connection"
                                                   : "read: " + failed.message();
      co_return RequestError(Errc::kConnectionLost, std::move(why));
    }
    self->heard_ = true;
    self->decoder_.commit(size);
  }
}

Task<void> BrokerConnection::read_frames(Self self) {
  while (self->state_ == State::kOpen) {
    auto reading = read_frame(self);
    Reply<Frame> frame = co_await std::move(reading);
    if (self->state_ != State::kOpen) break;
    if (!frame) {
      self->close(frame.error());
      break;
    }
    self->dispatch(*frame);
  }
}

Task<void> BrokerConnection::keep_alive(Self self) {
  bool asked = false;
  while (self->state_ == State::kOpen) {
    self->heard_ = false;
    self->keepalive_timer_.expires_after(self->keepalive_);
    auto waiting = self->keepalive_timer_.async_wait(kNoThrow);
    co_await std::move(waiting);
    if (self->state_ != State::kOpen) break;
    if (self->heard_) {
      asked = false;
    } else if (asked) {
      self->close({Errc::kConnectionLost, "the broker fell silent"});
    } else {
      asked = true;
      self->request(PingRequest{}, 2 * self->keepalive_, [](const Reply<PingReply>&) {});
    }
  }
}

std::uint32_t BrokerConnection::take_correlation() {
  do {
    ++last_correlation_;
  } while (last_correlation_ == 0 || pending_.contains(last_correlation_));
  return last_correlation_;
}

void BrokerConnection::submit(std::uint32_t correlation, OutFrame frame, Milliseconds timeout,
                              Completion<Frame> completion) {
  if (state_ != State::kOpen) {
    return completion(RequestError(Errc::kConnectionLost, "the connection is closed"));
  }
  if (pending_.size() >= limits::kMaxPendingRequests) {
    return completion(RequestError(
        Errc::kTooManyRequests,
        "as many requests as a connection may have are unanswered; wait for some of them"));
  }
  SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
  pending_.emplace(correlation, Pending{std::move(completion), deadline});
  watch(deadline);
  unsent_.push_back(std::move(frame));
  write();
}

void BrokerConnection::send_credit(const CreditRequest& credit) {
  if (state_ != State::kOpen) return;
  unsent_.push_back(encode_request(0, credit, version_));
  write();
}

// One timer for all requests: nearly all are answered long before, and a timer for each would cost
// more than the rest of a small request.
void BrokerConnection::watch(SteadyTime deadline) {
  if (deadline >= watched_) return;
  watched_ = deadline;
  deadline_timer_.expires_at(deadline);
  deadline_timer_.async_wait([weak = weak_from_this()](ErrorCode cancelled) {
    Self self = weak.lock();
    if (!cancelled && self) self->expire();
  });
}

void BrokerConnection::expire() {
  SteadyTime now = std::chrono::steady_clock::now();
  SteadyTime next = SteadyTime::max();
  std::vector<Pending> expired;
  for (auto at = pending_.begin(); at != pending_.end();) {
    if (at->second.deadline > now) {
      next = std::min(next, at->second.deadline);
      ++at;
      continue;
    }
    expired.push_back(std::move(at->second));
    at = pending_.erase(at);
  }
  watched_ = SteadyTime::max();
  watch(next);
  for (Pending& late : expired) {
    late.completion(
        RequestError(Errc::kTimedOut, "the broker did not answer in time; it may have done it"));
  }
}

void BrokerConnection::dispatch(const Frame& frame) {
  switch (frame.header.type) {
    case FrameType::kReply:
      return answer(frame);
    case FrameType::kError:
      if (frame.header.correlation != 0) return answer(frame);
      return close({Errc::kConnectionLost,
                    "the broker closed the connection: " + to_string(decode_error(frame))});
    case FrameType::kPush:
      return events_.on_push(frame);
    case FrameType::kRequest:
      return close({Errc::kConnectionLost, "the broker sent a request, which only clients do"});
  }
}

void BrokerConnection::answer(const Frame& frame) {
  auto found = pending_.find(frame.header.correlation);
  // Too late, after its deadline: nobody waits any more.
  if (found == pending_.end()) return;
  Pending answered = std::move(found->second);
  pending_.erase(found);
  answered.completion(frame);
}

void BrokerConnection::write() {
  if (!sending_.empty() || unsent_.empty() || state_ != State::kOpen) return;
  std::vector<asio::const_buffer> buffers;
  while (!unsent_.empty() && sending_.size() < kMaxFramesPerWrite) {
    sending_.push_back(std::move(unsent_.front()));
    unsent_.pop_front();
  }
  for (const OutFrame& frame : sending_) {
    buffers.emplace_back(frame.head.data(), frame.head.size());
    for (const SharedBytes& piece : frame.body) {
      buffers.emplace_back(piece.view().data(), piece.size());
    }
  }
  asio::async_write(socket_, buffers,
                    [self = shared_from_this()](ErrorCode failed, std::size_t /*written*/) {
                      self->sending_.clear();
                      if (failed) {
                        self->close({Errc::kConnectionLost, "write: " + failed.message()});
                      }
                      self->write();
                    });
}

RequestError BrokerConnection::refuse_answer(RequestKind kind, const RequestError& error) {
  RequestError lost(Errc::kConnectionLost, "the broker's answer to " + std::string(name(kind)) +
                                               " cannot be read: " + error.explanation);
  close(lost);
  return lost;
}

void BrokerConnection::close(const RequestError& reason) {
  if (state_ == State::kClosed) return;
  Self self = shared_from_this();  // on_closed may drop the owner's reference
  state_ = State::kClosed;
  ErrorCode ignored;
  resolver_.cancel();
  socket_.close(ignored);
  keepalive_timer_.cancel();
  deadline_timer_.cancel();
  unsent_.clear();
  RequestError lost(Errc::kConnectionLost, reason.explanation);
  auto pending = std::exchange(pending_, {});
  for (auto& [correlation, request] : pending) request.completion(lost);
  if (events_.on_closed) events_.on_closed(reason);
}

}  // namespace waybill

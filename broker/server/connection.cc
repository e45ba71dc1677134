#include "broker/server/connection.h"

#include <netinet/tcp.h>

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include "broker/server/build_info.h"
#include "broker/server/log.h"
#include "protocol/async/deadline.h"

namespace waybill {
namespace {

using boost::system::error_code;

/// Buffers of one gathered write: what the kernel takes at once (UIO_FASTIOV is 8, IOV_MAX 1024);
/// beyond about 64 nothing is gained.
constexpr std::size_t kMaxGathered = 64;
/// Bytes of one gathered write, so that sent memory is given back soon.
constexpr std::size_t kMaxWrite = 4 * 1024 * 1024;
/// Room that pushes may take beyond kMaxOutputBuffer, where reading stops already.
constexpr std::size_t kMaxPushedBytes = 2 * limits::kMaxOutputBuffer;
/// After an error was sent: how long and how much is still read and thrown away. Closing with
/// unread input would make the kernel reset the connection and the client lose the explanation.
constexpr std::chrono::seconds kLinger{2};
constexpr std::size_t kMaxDiscarded = 16 * 1024 * 1024;

/// A half-open connection (the client's machine is gone) is noticed after about a minute of
/// silence, or two minutes of sent bytes that nobody took.
void set_socket_options(asio::ip::tcp::socket& socket) {
  error_code ignored;
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  auto set = [&](int option, int value) {
    setsockopt(socket.native_handle(), IPPROTO_TCP, option, &value, sizeof value);
  };
  set(TCP_KEEPIDLE, 30);
  set(TCP_KEEPINTVL, 10);
  set(TCP_KEEPCNT, 3);
  set(TCP_USER_TIMEOUT, 120'000);
}

std::string peer_name(const asio::ip::tcp::socket& socket) {
  error_code failure;
  auto endpoint = socket.remote_endpoint(failure);
  if (failure) return "unknown";
  return endpoint.address().to_string() + ":" + std::to_string(endpoint.port());
}

/// A read at the end may wait for minutes and changes nothing: a clean stop does not wait for it.
template <class Request>
bool may_wait(const Request& request) {
  if constexpr (std::is_same_v<Request, ReadRequest>) return request.wait.count() > 0;
  return false;
}

/// What a request may bring into the output, as far as that is known before its answer.
template <class Request>
std::size_t expected_answer(const Request& request) {
  if constexpr (std::is_same_v<Request, ReadRequest>) return request.max_bytes;
  return 0;
}

template <class... Requests>
struct RequestList {};

/// Everything a ClientSession answers. Hello, ping and credit are handled apart.
using AnsweredRequests =
    RequestList<MetadataRequest, CreateTopicRequest, DescribeTopicRequest, DeleteTopicRequest,
                AlterTopicRequest, PublishRequest, OpenProducerRequest, ListProducersRequest,
                RemoveProducerRequest, ReadRequest, CreateGroupRequest, AlterGroupRequest,
                DeleteGroupRequest, PauseGroupRequest, SetBrakeRequest, ResetGroupRequest,
                CheckGroupRequest, DescribeGroupRequest, SubscribeRequest, UnsubscribeRequest,
                SettleRequest, ExtendRequest, ListDeadLettersRequest, ShowDeadLetterRequest,
                EditDeadLetterRequest, RedriveRequest, DiscardRequest>;

/// A right beyond that of the request's kind, by what the request says.
template <class Request>
Right right_beyond(const Request& /*request*/) {
  return Right::kNone;
}
Right right_beyond(const DeleteGroupRequest& request) {
  return request.discard_dead_letters ? Right::kDiscard : Right::kNone;
}
Right right_beyond(const ResetGroupRequest& request) {
  return request.include_dead ? Right::kDiscard : Right::kNone;
}

/// The topics and groups that a request is about; an empty list: none but those for which it was
/// let in before. Nothing: not known, so that only a right without limits will do.
using Places = std::optional<std::vector<std::string>>;

template <class Request>
Places places_of(const Request& request, const Catalog& catalog) {
  auto named = [&](TopicId id) {
    const TopicInfo* topic = catalog.topic(id);
    return topic != nullptr ? std::vector{topic->name} : std::vector<std::string>();
  };
  if constexpr (std::is_same_v<Request, PublishRequest>) {
    std::vector<std::string> names;
    for (const PublishPart& part : request.parts) {
      for (std::string& name : named(part.topic)) names.push_back(std::move(name));
    }
    return names;
  } else if constexpr (std::is_same_v<Request, ReadRequest>) {
    return named(request.topic);
  } else if constexpr (requires { request.selection; }) {
    return std::vector{request.selection.group};
  } else if constexpr (requires { request.group; }) {
    return std::vector{request.group};
  } else if constexpr (std::is_same_v<Request, DeleteGroupRequest> ||
                       std::is_same_v<Request, ResetGroupRequest>) {
    return std::vector{request.name};
  } else if constexpr (std::is_same_v<Request, OpenProducerRequest> ||
                       std::is_same_v<Request, UnsubscribeRequest> ||
                       std::is_same_v<Request, SettleRequest> ||
                       std::is_same_v<Request, ExtendRequest>) {
    return std::vector<std::string>();
  }
  return std::nullopt;
}

RequestError unauthenticated(const HelloRequest& hello) {
  if (hello.user.empty()) {
    return {Errc::kUnauthenticated,
            "this broker serves only its users: say hello with a user's name and token"};
  }
  return {Errc::kUnauthenticated, "there is no user \"" + hello.user +
                                      "\" with that token; ask whoever keeps the broker's users "
                                      "file"};
}

}  // namespace

Connection::Connection(asio::ip::tcp::socket socket, ConnectionHost& host)
    : socket_(std::move(socket)),
      host_(host),
      peer_(peer_name(socket_)),
      output_ready_(socket_.get_executor(), asio::steady_timer::time_point::max()),
      room_(socket_.get_executor(), asio::steady_timer::time_point::max()),
      closing_(socket_.get_executor()) {
  set_socket_options(socket_);
  Counters::add(host_.counters.connections);
}

Connection::~Connection() {
  std::size_t all = output_bytes_ + pending_bytes_ + waiting_bytes_;
  give_back(all, all);
  Counters::subtract(host_.counters.connections);
}

Task<void> Connection::run(std::shared_ptr<Connection> self) {
  using namespace asio::experimental::awaitable_operators;  // NOLINT: the only way to say a && b
  auto reading = self->read_loop();
  auto writing = self->write_loop();
  // Neither loop throws; each ends the other through finish() or abort().
  auto both = std::move(reading) && std::move(writing);
  co_await std::move(both);
  if (self->failed_ && self->socket_.is_open()) {
    auto discarding = self->discard_input();
    auto limited = with_deadline(std::move(discarding), kLinger);
    ignore_error(co_await std::move(limited), "the conversation is over");
  }
  self->abort();
  log_debug("connection.closed", {{"peer", self->peer_}});
}

void Connection::abort() {
  finished_ = true;
  session_.reset();
  output_.clear();
  error_code ignored;
  socket_.close(ignored);
  output_ready_.cancel();
  room_.cancel();
  closing_.cancel();
}

void Connection::finish() {
  if (finished_) return;
  finished_ = true;
  session_.reset();
  output_ready_.cancel();
  room_.cancel();
  start_closing_deadline();
}

void Connection::start_closing_deadline() {
  closing_.expires_after(host_.drain_timeout);
  closing_.async_wait([weak = weak_from_this()](const error_code& failure) {
    auto self = weak.lock();
    if (!failure && self) self->abort();
  });
}

void Connection::drain() {
  if (finished_ || draining_) return;
  draining_ = true;
  // Ends the read under way like an end of the stream.
  error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_receive, ignored);
  room_.cancel();
}

// --- reading ---

Task<void> Connection::read_loop() {
  bool greeted = co_await receive_hello();
  if (greeted) co_await receive_requests();
  if (draining_ && !finished_) {
    co_await wait_until_drained();
    if (!finished_) {
      send_error(0, RequestKind::kNone,
                 {Errc::kShuttingDown, "the broker is stopping; connect again in a moment"});
    }
  }
  finish();
}

Task<bool> Connection::fill() {
  MutableBytes room = decoder_.prepare();
  auto buffer = asio::buffer(room.data(), room.size());
  auto [failure, size] = co_await socket_.async_read_some(buffer, kNoThrow);
  if (failure) co_return false;
  Counters::add(host_.counters.received_bytes, size);
  decoder_.commit(size);
  co_return true;
}

Task<Result<Frame>> Connection::receive_hello_frame() {
  while (true) {
    Result<std::optional<Frame>> frame = decoder_.next();
    if (!frame) co_return frame.error();
    if (*frame) co_return std::move(**frame);
    bool more = co_await fill();
    if (!more) co_return Error{Errc::kConnectionLost, 0, "hello"};
  }
}

Task<bool> Connection::receive_hello() {
  auto receiving = receive_hello_frame();
  auto limited = with_deadline(std::move(receiving), host_.hello_timeout);
  Result<Frame> frame = co_await std::move(limited);
  if (finished_ || draining_) co_return false;
  if (frame) co_return greet(*frame);
  if (frame.error() == Errc::kTimedOut) {
    fail({}, {Errc::kHelloTimeout,
              "hello did not come within " + std::to_string(host_.hello_timeout.count()) + " ms"});
  } else if (frame.error().code != Errc::kConnectionLost) {
    fail({}, {frame.error().code, frame.error().where});
  }
  co_return false;
}

bool Connection::greet(const Frame& frame) {
  if (frame.header.kind != RequestKind::kHello || frame.header.type != FrameType::kRequest) {
    fail(frame.header, {Errc::kHelloRequired, "the first frame of a connection is hello"});
    return false;
  }
  Reply<HelloRequest> hello = decode_as<HelloRequest>(frame);
  if (!hello) {
    fail(frame.header, hello.error());
    return false;
  }
  Reply<Negotiated> agreed = negotiate(*hello);
  if (!agreed) {
    fail(frame.header, agreed.error());
    return false;
  }
  if (host_.users != nullptr) {
    user_ = host_.users->find(hello->user, hello->token);
    if (user_ == nullptr) {
      fail(frame.header, unauthenticated(*hello));
      return false;
    }
  }
  hello->token.clear();
  version_ = agreed->version;
  decoder_.set_rules(rules_after_hello(version_));
  log_debug("connection.hello", {{"peer", peer_},
                                 {"client", hello->client_name},
                                 {"user", hello->user},
                                 {"instance", to_string(hello->instance.uuid)},
                                 {"start", hello->instance_start}});
  session_ = std::make_unique<ClientSession>(host_.gateway, std::move(*hello), *this);
  send(encode_reply(frame.header.correlation, HelloReply{.version = agreed->version,
                                                         .features = agreed->features,
                                                         .broker_version = std::string(kVersion),
                                                         .broker_id = host_.broker_id}));
  return true;
}

Task<void> Connection::receive_requests() {
  while (!finished_ && !draining_) {
    Result<std::optional<Frame>> frame = decoder_.next();
    if (!frame) {
      fail({}, {frame.error().code, frame.error().where});
      co_return;
    }
    if (*frame) {
      dispatch(**frame);
      host_.touched();
    } else {
      bool more = co_await fill();
      if (!more) co_return;
    }
    while (over_limit() && !finished_ && !draining_) {
      auto waiting = wait_for_output();
      co_await std::move(waiting);
    }
  }
}

Task<void> Connection::wait_for_output() {
  if (host_.output.used_up() && !awaits_output_) {
    awaits_output_ = true;
    host_.output.wait([weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self) return;
      self->awaits_output_ = false;
      self->room_.cancel();
    });
  }
  co_await room_.async_wait(kNoThrow);
}

Task<void> Connection::wait_until_drained() {
  while (!finished_ && pending_ > pending_waits_) co_await room_.async_wait(kNoThrow);
}

Task<Result<void>> Connection::discard_input() {
  std::vector<std::byte> scratch(16 * 1024);
  for (std::size_t discarded = 0; discarded < kMaxDiscarded;) {
    auto buffer = asio::buffer(scratch);
    auto [failure, size] = co_await socket_.async_read_some(buffer, kNoThrow);
    if (failure) break;
    discarded += size;
  }
  co_return Result<void>();
}

/// Reads that wait do not count: most of them stay empty for long, and must not stop the others.
bool Connection::over_limit() const {
  const std::size_t own = output_bytes_ + pending_bytes_;
  return own > limits::kMaxOutputBuffer ||
         (own > OutputBudget::kLeastOutput && host_.output.used_up());
}

std::size_t Connection::room_for_answer() const {
  const std::size_t own = output_bytes_ + pending_bytes_ + waiting_bytes_;
  const std::size_t left = limits::kMaxOutputBuffer - std::min(own, limits::kMaxOutputBuffer);
  return std::max(OutputBudget::kLeastOutput, std::min(left, host_.output.room()));
}

void Connection::take(std::size_t& counter, std::size_t bytes) {
  counter += bytes;
  host_.output.take(bytes);
  Counters::add(host_.counters.output_bytes, bytes);
}

void Connection::give_back(std::size_t& counter, std::size_t bytes) {
  counter -= bytes;
  host_.output.give_back(bytes);
  Counters::subtract(host_.counters.output_bytes, bytes);
}

// --- requests ---

void Connection::dispatch(const Frame& frame) {
  const FrameHeader& header = frame.header;
  if (header.type != FrameType::kRequest) {
    fail(header, {Errc::kMalformedFrame, "only the broker sends replies, errors and pushes"});
    return;
  }
  Counters::add(host_.counters.requests);
  if (header.kind == RequestKind::kPing) {
    send(encode_reply(header.correlation, PingReply{}, version_));
    return;
  }
  const RequestKindFacts* facts = find_request_kind(header.kind);
  if (facts != nullptr && user_ != nullptr && !user_->may(facts->right)) {
    refuse(header, facts->right);
    return;
  }
  if (header.kind == RequestKind::kCredit) {
    handle_credit(frame);
    return;
  }
  if (header.kind == RequestKind::kHello) {
    send_error(header.correlation, header.kind,
               {Errc::kInvalidRequest, "hello is said once, at the beginning"});
    return;
  }
  if (pending_ >= limits::kMaxPendingRequests) {
    send_error(header.correlation, header.kind,
               {Errc::kTooManyRequests, std::to_string(limits::kMaxPendingRequests) +
                                            " requests of this connection are unanswered; wait "
                                            "for answers before sending more"});
    return;
  }
  bool known = [&]<class... Requests>(RequestList<Requests...>) {
    return (try_handle<Requests>(frame) || ...);
  }(AnsweredRequests{});
  if (known) return;
  send_error(header.correlation, header.kind,
             {Errc::kUnknownRequest, "this broker (version " + std::string(kVersion) +
                                         ") does not know request kind " +
                                         std::to_string(static_cast<unsigned>(header.kind))});
}

template <class Request>
bool Connection::try_handle(const Frame& frame) {
  using ReplyStruct = typename Wire<Request>::ReplyType;
  constexpr RequestKind kKind = Wire<Request>::kKind;
  if (frame.header.kind != kKind) return false;
  std::uint32_t correlation = frame.header.correlation;
  Reply<Request> request = decode_as<Request>(frame);
  if (!request) {
    send_error(correlation, kKind, request.error());
    return true;
  }
  if (std::optional<Right> right = lacking(*request)) {
    refuse(frame.header, *right);
    return true;
  }
  if constexpr (requires { request->by; }) {
    if (user_ != nullptr) request->by = user_->name;
  }
  if constexpr (std::is_same_v<Request, ReadRequest>) {
    request->max_bytes =
        static_cast<std::uint32_t>(std::min<std::size_t>(request->max_bytes, room_for_answer()));
  }
  std::size_t cost = frame.payload.size() + expected_answer(*request);
  bool waits = may_wait(*request);
  ++pending_;
  if (waits) ++pending_waits_;
  take(waits ? waiting_bytes_ : pending_bytes_, cost);
  Done<ReplyStruct> done = [weak = weak_from_this(), correlation, cost,
                            waits](Reply<ReplyStruct> reply) {
    auto self = weak.lock();
    if (!self) return;
    if (waits) --self->pending_waits_;
    --self->pending_;
    self->give_back(waits ? self->waiting_bytes_ : self->pending_bytes_, cost);
    self->answer(kKind, correlation, std::move(reply));
  };
  session_->handle(std::move(*request), std::move(done));
  return true;
}

template <class Request>
std::optional<Right> Connection::lacking(const Request& request) const {
  if (user_ == nullptr) return std::nullopt;
  for (Right right : {find_request_kind(Wire<Request>::kKind)->right, right_beyond(request)}) {
    if (user_->may_everywhere(right)) continue;
    Places places = places_of(request, *host_.catalog());
    auto allowed = [&](const std::string& place) { return user_->may(right, place); };
    if (!places || !user_->may(right) || !std::ranges::all_of(*places, allowed)) return right;
  }
  return std::nullopt;
}

void Connection::refuse(const FrameHeader& header, Right right) {
  std::string text = "user \"" + user_->name + "\" lacks the right \"";
  text += name(right);
  text += user_->may(right) ? "\" for this topic or group" : "\"";
  send_error(header.correlation, header.kind,
             {Errc::kNotAuthorized, text + "; whoever keeps the broker's users file can add it"});
}

void Connection::handle_credit(const Frame& frame) {
  Reply<CreditRequest> credit = decode_as<CreditRequest>(frame);
  Reply<void> taken = credit ? session_->handle(*credit) : Reply<void>(credit.error());
  if (!taken) send_error(frame.header.correlation, frame.header.kind, taken.error());
}

template <class ReplyStruct>
void Connection::answer(RequestKind kind, std::uint32_t correlation, Reply<ReplyStruct> reply) {
  if (!finished_) {
    if (reply) {
      send(encode_reply(correlation, *reply, version_));
    } else {
      send_error(correlation, kind, reply.error());
    }
  }
  room_.cancel();
}

// --- writing ---

void Connection::send(OutFrame frame) {
  if (finished_) return;
  take(output_bytes_, frame.size());
  output_.push_back(std::move(frame));
  if (output_.size() == 1) output_ready_.cancel();
}

void Connection::send_error(std::uint32_t correlation, RequestKind kind,
                            const RequestError& error) {
  if (finished_) return;
  Counters::add(host_.counters.request_errors);
  send(encode_error(correlation, kind, error, version_));
  if (facts(error.code).closes_connection) {
    failed_ = true;
    finish();
  }
}

void Connection::fail(const FrameHeader& header, const RequestError& error) {
  if (finished_) return;
  Counters::add(host_.counters.connection_errors);
  log_info("connection.refused",
           {{"peer", peer_}, {"error", name(error.code)}, {"detail", error.explanation}});
  send_error(header.correlation, header.kind, error);
  failed_ = true;
  finish();
}

void Connection::deliver(DeliverPush push) {
  if (!finished_) send_push(encode_push(push, version_));
}

void Connection::revoke(RevokePush push) {
  if (!finished_) send_push(encode_push(push, version_));
}

void Connection::send_push(OutFrame frame) {
  send(std::move(frame));
  if (output_bytes_ <= kMaxPushedBytes) return;
  log_warning("connection.too_slow",
              {{"peer", peer_},
               {"unsent_bytes", output_bytes_},
               {"detail", "the client granted credit for more than it reads; disconnected"}});
  // Later: the gateway that called us must not lose the session under its feet.
  asio::post(socket_.get_executor(), [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->abort();
  });
}

Task<void> Connection::write_loop() {
  std::vector<OutFrame> batch;
  std::vector<asio::const_buffer> buffers;
  while (true) {
    if (output_.empty()) {
      if (finished_) break;
      co_await output_ready_.async_wait(kNoThrow);
      continue;
    }
    batch.clear();
    buffers.clear();
    std::size_t size = 0;
    while (!output_.empty() && buffers.size() < kMaxGathered && size < kMaxWrite) {
      batch.push_back(std::move(output_.front()));
      output_.pop_front();
      size += batch.back().size();
      // The heap memory behind the pieces stays where it is when the vector grows.
      buffers.emplace_back(batch.back().head.data(), batch.back().head.size());
      for (const SharedBytes& piece : batch.back().body) {
        buffers.emplace_back(piece.view().data(), piece.size());
      }
    }
    auto [failure, written] = co_await asio::async_write(socket_, buffers, kNoThrow);
    Counters::add(host_.counters.sent_bytes, written);
    give_back(output_bytes_, size);
    if (failure) {
      abort();
      co_return;
    }
    room_.cancel();
  }
  error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_send, ignored);
}

}  // namespace waybill

// A broker that says what the test says: it listens on a free loopback port and speaks with the
// real frame codec, one blocking step at a time, so that a test reads as the transcript of a
// conversation. Every step fails the test instead of waiting for ever.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "client/client_options.h"
#include "protocol/record/batch_builder.h"
#include "protocol/record/batch_view.h"
#include "protocol/record/record_batch.h"
#include "protocol/wire/codec.h"
#include "protocol/wire/frame.h"

namespace waybill {

inline constexpr std::chrono::seconds kPatience{10};

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() { close(); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  [[nodiscard]] int fd() const { return fd_; }
  /// False if nothing comes within `patience`.
  [[nodiscard]] bool readable(std::chrono::milliseconds patience) const {
    pollfd wanted{fd_, POLLIN, 0};
    return ::poll(&wanted, 1, static_cast<int>(patience.count())) == 1;
  }

 private:
  int fd_;
};

/// A request as it came, to be answered later.
template <class Request>
struct Asked {
  std::uint32_t correlation;
  Request request;
  const Request* operator->() const { return &request; }
};

/// The broker's end of one connection.
class Peer {
 public:
  explicit Peer(Socket socket) : socket_(std::move(socket)) {
    int yes = 1;
    ::setsockopt(socket_.fd(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  }

  Frame read() {
    for (;;) {
      Result<std::optional<Frame>> frame = decoder_.next();
      if (!frame) throw std::runtime_error("the client sent " + to_string(frame.error()));
      if (frame->has_value()) return std::move(**frame);
      if (!socket_.readable(kPatience)) throw std::runtime_error("the client sent nothing");
      MutableBytes room = decoder_.prepare();
      ssize_t size = ::read(socket_.fd(), room.data(), room.size());
      if (size <= 0) throw std::runtime_error("the client hung up");
      decoder_.commit(static_cast<std::size_t>(size));
    }
  }

  /// The next frame, which must be a `Request`.
  template <class Request>
  Asked<Request> expect() {
    Frame frame = read();
    Reply<Request> request = decode_as<Request>(frame);
    if (!request) {
      throw std::runtime_error("expected " + std::string(name(Wire<Request>::kKind)) + ", got " +
                               std::string(name(frame.header.kind)));
    }
    return {frame.header.correlation, std::move(*request)};
  }

  template <class Request>
  void answer(const Asked<Request>& asked, const ReplyOf<Request>& reply) {
    send(encode_reply(asked.correlation, reply));
  }
  template <class Request>
  void refuse(const Asked<Request>& asked, Errc code, std::string explanation) {
    send(encode_error(asked.correlation, Wire<Request>::kKind,
                      RequestError(code, std::move(explanation))));
  }
  template <class Push>
  void push(const Push& push) {
    send(encode_push(push));
  }

  /// Hello, answered.
  HelloRequest greet() {
    auto hello = expect<HelloRequest>();
    HelloReply reply;
    reply.broker_version = "fake";
    answer(hello, reply);
    decoder_.set_rules(rules_after_hello(1));
    return hello.request;
  }

  void send(const OutFrame& frame) {
    send_raw(frame.head);
    for (const SharedBytes& piece : frame.body) send_raw(piece.view());
  }
  void send_raw(Bytes bytes) {
    if (::send(socket_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(bytes.size())) {
      throw std::runtime_error("cannot send to the client");
    }
  }

  /// Whether the client says nothing more: it must not, but a moment is all a test can give it.
  bool quiet() {
    Result<std::optional<Frame>> frame = decoder_.next();
    return frame && !frame->has_value() && !socket_.readable(std::chrono::milliseconds(30));
  }
  /// Waits until the client has closed its end.
  void expect_hang_up() {
    for (;;) {
      if (!socket_.readable(kPatience)) throw std::runtime_error("the client stays connected");
      std::byte bytes[4096];
      if (::read(socket_.fd(), bytes, sizeof bytes) <= 0) return;
    }
  }
  void hang_up() { socket_.close(); }

 private:
  Socket socket_;
  FrameDecoder decoder_;
};

class FakeBroker {
 public:
  FakeBroker() : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* plain = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_.fd(), plain, size) != 0 || ::listen(listener_.fd(), 16) != 0 ||
        ::getsockname(listener_.fd(), plain, &size) != 0) {
      throw std::runtime_error("cannot listen on a loopback port");
    }
    port_ = ntohs(address.sin_port);
  }

  [[nodiscard]] std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
  /// Options for a client of this broker; reconnects at once.
  [[nodiscard]] ClientOptions options() const {
    ClientOptions options;
    options.endpoints = {endpoint()};
    options.client_name = "the test";
    options.reconnect = {BackoffKind::kFixed, std::chrono::milliseconds(1), 1.0,
                         std::chrono::milliseconds(1), Jitter::kNone};
    return options;
  }

  Peer accept() {
    if (!listener_.readable(kPatience)) throw std::runtime_error("no client connected");
    return Peer(Socket(::accept(listener_.fd(), nullptr, nullptr)));
  }
  /// A connection after hello.
  Peer accept_greeted() {
    Peer peer = accept();
    peer.greet();
    return peer;
  }
  /// Nobody listens any more.
  void stop() { listener_.close(); }

 private:
  Socket listener_;
  std::uint16_t port_ = 0;
};

// --- what conversations are made of ---

template <class T>
T wait(std::future<T> future) {
  if (future.wait_for(kPatience) != std::future_status::ready) {
    throw std::runtime_error("the client never completed");
  }
  return future.get();
}
template <class T>
bool ready(const std::future<T>& future) {
  return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

inline Message text_message(std::string_view value, std::optional<std::string_view> key = {}) {
  Message message;
  message.value = to_vector(as_bytes(value));
  if (key) message.key = to_vector(as_bytes(*key));
  message.timestamp = {1'700'000'000'000};
  return message;
}
inline std::string value_of(const Message& message) {
  return message.value ? std::string(as_text(*message.value)) : "(none)";
}

inline TopicInfo topic_of(std::string name, std::uint32_t partitions, std::uint64_t id = 7) {
  TopicInfo topic;
  topic.id = {id};
  topic.name = std::move(name);
  topic.version = 1;
  topic.partitions.resize(partitions);
  return topic;
}

/// The values in a batch.
inline std::vector<std::string> values_in(const SharedBytes& batch) {
  std::vector<std::string> values;
  Result<BatchReader> reader = BatchReader::open(batch.view());
  if (!reader) throw std::runtime_error("the batch cannot be read");
  Result<void> read = reader->for_each([&](const RecordView& record) {
    values.emplace_back(as_text(record.value.value_or(Bytes{})));
    return true;
  });
  if (!read) throw std::runtime_error("the batch cannot be read");
  return values;
}

/// Answers the question for a topic that a first publish asks.
inline void answer_topic(Peer& peer, const TopicInfo& topic) {
  auto asked = peer.expect<MetadataRequest>();
  MetadataReply reply;
  reply.catalog.topics = {topic};
  peer.answer(asked, reply);
}

inline PublishReply published(std::int64_t base_offset, bool duplicate = false) {
  PublishReply reply;
  reply.parts.emplace_back(PublishResult{{base_offset}, duplicate});
  return reply;
}
inline PublishReply rejected(Errc code, std::string explanation) {
  PublishReply reply;
  reply.parts.emplace_back(RequestError(code, std::move(explanation)));
  return reply;
}

}  // namespace waybill

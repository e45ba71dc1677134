// A client that knows frames and nothing else: it can be as wrong, slow or rude as a test wants,
// and keeps a transcript that a person can read:
//
//   > hello #1
//   < hello reply #1
//   > 99 #7
//   < unknown_request #7
//   < end
//
// Blocking; a read that takes longer than kPatience fails the test instead of hanging it.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "broker/server/server.h"
#include "protocol/record/batch_builder.h"
#include "protocol/wire/codec.h"
#include "tests/support/broker_process.h"

namespace waybill {

class RawClient {
 public:
  static constexpr timeval kPatience{.tv_sec = 30, .tv_usec = 0};

  explicit RawClient(std::uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  void end_sending() { shutdown(socket_, SHUT_WR); }

  /// False if the broker closed the connection.
  bool send_bytes(Bytes bytes) {
    while (!bytes.empty()) {
      ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    return true;
  }
  bool send_frame(const OutFrame& frame) { return send_bytes(flat(frame)); }
  template <class Request>
  bool request(std::uint32_t correlation, const Request& request) {
    note("> " + std::string(name(Wire<Request>::kKind)) + " #" + std::to_string(correlation));
    return send_frame(encode_request(correlation, request));
  }
  /// A frame of any kind number, without content.
  bool request_kind(std::uint32_t correlation, std::uint16_t kind) {
    note("> " + std::to_string(kind) + " #" + std::to_string(correlation));
    OutFrame frame;
    frame.head.resize(kFrameHeaderSize);
    finish_frame(frame, {.kind = RequestKind(kind), .correlation = correlation});
    return send_frame(frame);
  }

  /// The next frame; nothing at the end of the stream.
  std::optional<Frame> receive() {
    while (true) {
      Result<std::optional<Frame>> frame = decoder_.next();
      if (!frame) {
        ADD_FAILURE() << "the broker sent no frame: " << to_string(frame.error());
        return std::nullopt;
      }
      if (*frame) {
        note(describe(**frame));
        return std::move(**frame);
      }
      MutableBytes room = decoder_.prepare();
      ssize_t size = recv(socket_, room.data(), room.size(), 0);
      if (size <= 0) {
        EXPECT_FALSE(size < 0 && errno == EAGAIN) << "the broker is silent";
        note(size == 0 ? "< end" : "< reset");
        return std::nullopt;
      }
      decoder_.commit(static_cast<std::size_t>(size));
    }
  }
  /// The answer to one request; frames of other kinds fail the test.
  template <class Request>
  Reply<ReplyOf<Request>> receive_answer() {
    std::optional<Frame> frame = receive();
    if (!frame) return RequestError(Errc::kConnectionLost, "end of stream");
    return decode_answer<Request>(*frame);
  }
  template <class Request>
  Reply<ReplyOf<Request>> ask(const Request& question) {
    if (!request(++correlation_, question)) return RequestError(Errc::kConnectionLost, "sending");
    return receive_answer<Request>();
  }
  /// The error of the next frame, which must be one.
  RequestError receive_error() {
    std::optional<Frame> frame = receive();
    if (!frame || frame->header.type != FrameType::kError) {
      ADD_FAILURE() << "no error came\n" << transcript_;
      return {Errc::kConnectionLost, ""};
    }
    return decode_error(*frame);
  }
  Reply<HelloReply> hello(HelloRequest hello = {}) {
    Reply<HelloReply> reply = ask(hello);
    if (reply) decoder_.set_rules(rules_after_hello(reply->version));
    return reply;
  }
  /// True if the broker has closed and sent nothing more.
  bool at_end() { return !receive().has_value(); }

  /// What was said, one line each; starts anew with each call.
  std::string transcript() { return std::exchange(transcript_, ""); }

  static ByteVector flat(const OutFrame& frame) {
    ByteVector bytes = frame.head;
    for (const SharedBytes& piece : frame.body) {
      bytes.insert(bytes.end(), piece.view().begin(), piece.view().end());
    }
    return bytes;
  }

 private:
  static std::string describe(const Frame& frame) {
    std::string kind(name(frame.header.kind));
    std::string number = " #" + std::to_string(frame.header.correlation);
    switch (frame.header.type) {
      case FrameType::kReply:
        return "< " + kind + " reply" + number;
      case FrameType::kError:
        return "< " + std::string(name(decode_error(frame).code)) + number;
      case FrameType::kPush:
        return "< " + kind + " push";
      case FrameType::kRequest:
        return "< " + kind + " request" + number;
    }
    return "< ?";
  }
  void note(const std::string& line) { transcript_ += line + "\n"; }

  int socket_;
  bool connected_ = false;
  std::uint32_t correlation_ = 0;
  FrameDecoder decoder_;
  std::string transcript_;
};

/// A broker in this process on a free port and a directory of its own.
class LocalBroker {
 public:
  explicit LocalBroker(Config config = {}) : config_(std::move(config)) {
    config_.data_directory = directory_.path();
    config_.listen.port = 0;
    if (config_.http) config_.http->port = 0;
    if (!config_.shards) config_.shards = 2;
    config_.journal_file_size = 16 * 1024 * 1024;
    start();
  }
  void start() {
    server_ = std::make_unique<Server>(
        config_, [](const std::string& message) { ADD_FAILURE() << message; });
    server_->start();
  }
  bool stop() { return server_->stop(); }
  [[nodiscard]] std::uint16_t port() const { return server_->port(); }
  [[nodiscard]] std::uint16_t http_port() const { return server_->http_port(); }
  [[nodiscard]] const std::filesystem::path& path() const { return directory_.path(); }

 private:
  TempDirectory directory_;
  Config config_;
  std::unique_ptr<Server> server_;
};

/// A batch of one record whose value has `size` bytes.
inline SharedBytes batch_of(std::size_t size) {
  ByteVector value(size, std::byte{'x'});
  BatchBuilder builder;
  RecordDraft draft;
  draft.value = Bytes(value);
  EXPECT_TRUE(builder.add(draft).ok());
  return SharedBytes(builder.build());
}

inline PublishRequest publish_to(TopicId topic, SharedBytes batch, std::uint32_t partition = 0) {
  PublishPart part;
  part.topic = topic;
  part.partition = PartitionIndex{partition};
  part.batch = std::move(batch);
  PublishRequest request;
  request.parts.push_back(std::move(part));
  return request;
}

/// A read of partition 0 from its beginning that waits up to `wait` if there is nothing.
inline ReadRequest read_from(TopicId topic, std::chrono::milliseconds wait = {}) {
  ReadRequest request;
  request.topic = topic;
  request.wait = wait;
  return request;
}

}  // namespace waybill

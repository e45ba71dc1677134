// The driver for RabbitMQ, over librabbitmq: persistent messages with publisher confirms, and one
// consumer with manual acknowledgements, to a quorum queue or a stream.
//
// The library connects, declares, reads and acknowledges. What publishers send is encoded here and
// written many messages at a time: the library sends each message with three system calls.
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <deque>
#include <stdexcept>
#include <utility>

#include "bench/peers/session_loops.h"

namespace waybill::peers {
namespace {

constexpr amqp_channel_t kChannel = 1;
constexpr int kFrameMax = 131'072;
constexpr std::uint16_t kPrefetch = 2000;  ///< more is no quicker for a quorum queue
constexpr timeval kNoWait{0, 0};

class Connection {
 public:
  explicit Connection(const Load& load) : state_(amqp_new_connection()) {
    amqp_socket_t* socket = amqp_tcp_socket_new(state_);
    if (amqp_socket_open(socket, load.host.c_str(), load.port) != 0) {
      throw std::runtime_error("cannot connect");
    }
    expect(amqp_login(state_, "/", 0, kFrameMax, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"),
           "login");
    amqp_channel_open(state_, kChannel);
    expect(amqp_get_rpc_reply(state_), "channel");
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { amqp_destroy_connection(state_); }

  [[nodiscard]] amqp_connection_state_t state() const { return state_; }
  [[nodiscard]] int descriptor() const { return amqp_get_sockfd(state_); }
  /// Requires that the last call was one that is answered.
  void expect_answer(const char* what) { expect(amqp_get_rpc_reply(state_), what); }

  /// Calls `handle` with each frame that has come whole; false if the connection is lost.
  template <class Handle>
  bool receive(Handle handle) {
    for (;;) {
      amqp_frame_t frame;
      int status = amqp_simple_wait_frame_noblock(state_, &frame, &kNoWait);
      if (status == AMQP_STATUS_TIMEOUT) break;
      if (status != AMQP_STATUS_OK) return false;
      handle(frame);
      amqp_maybe_release_buffers(state_);
    }
    return true;
  }

 private:
  static void expect(const amqp_rpc_reply_t& reply, const char* what) {
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
      throw std::runtime_error(std::string(what) + " was refused");
    }
  }

  amqp_connection_state_t state_;
};

/// One message as AMQP 0-9-1 frames: basic.publish, a header that says persistent, a body.
class PublishFrames {
 public:
  explicit PublishFrames(std::uint32_t size) : value_(size) {
    std::string method = number(60, 2) + number(40, 2) + number(0, 2);
    method += number(0, 1);  // the default exchange
    method += number(std::string_view(kQueue).size(), 1) + kQueue;
    method += number(0, 1);  // neither mandatory nor immediate
    std::string header = number(60, 2) + number(0, 2) + number(size, 8);
    header += number(AMQP_BASIC_DELIVERY_MODE_FLAG, 2) + number(2, 1);
    head_ = frame(AMQP_FRAME_METHOD, method) + frame(AMQP_FRAME_HEADER, header);
    head_ += number(AMQP_FRAME_BODY, 1) + number(kChannel, 2) + number(size, 4);
  }
  void append(std::string& out, Time due) {
    out += head_;
    out += value_.due_at(due);
    out += static_cast<char>(AMQP_FRAME_END);
  }

 private:
  static std::string number(std::uint64_t value, int bytes) {
    std::string text;
    while (bytes-- > 0) text += static_cast<char>(value >> (8 * bytes));
    return text;
  }
  static std::string frame(std::uint8_t type, const std::string& payload) {
    return number(type, 1) + number(kChannel, 2) + number(payload.size(), 4) + payload +
           number(AMQP_FRAME_END, 1);
  }

  Value value_;
  std::string head_;  ///< all that stands before a value
};

class RabbitPublisher : public PublishSession {
 public:
  RabbitPublisher(const Load& load, Tally& tally)
      : PublishSession(tally), connection_(load), frames_(load.size) {
    amqp_confirm_select(connection_.state(), kChannel);
    connection_.expect_answer("confirm.select");
  }
  [[nodiscard]] int descriptor() const override { return connection_.descriptor(); }

  void add(Time due) override {
    added();
    due_.push_back(due);
    frames_.append(output_, due);
  }

  bool flush() override {
    while (written_ < output_.size()) {
      ssize_t count = ::send(descriptor(), output_.data() + written_, output_.size() - written_,
                             MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
      if (count < 0) {
        tally_.fail("a publisher lost its connection");
        return true;
      }
      written_ += static_cast<std::size_t>(count);
    }
    output_.clear();
    written_ = 0;
    return true;
  }

  void receive() override {
    Time now = Clock::now();
    bool kept = connection_.receive([&](const amqp_frame_t& frame) {
      if (frame.frame_type != AMQP_FRAME_METHOD) return;
      const amqp_method_t& method = frame.payload.method;
      if (method.id == AMQP_BASIC_ACK_METHOD) {
        auto* ack = static_cast<amqp_basic_ack_t*>(method.decoded);
        return confirm(ack->delivery_tag, ack->multiple != 0, now);
      }
      if (method.id == AMQP_BASIC_NACK_METHOD) return refused();
      tally_.fail("the broker closed a publisher");
    });
    if (!kept) tally_.fail("a publisher lost its connection");
  }

 private:
  /// Tags count from 1; Time{} marks what was confirmed ahead of its turn.
  void confirm(std::uint64_t tag, bool multiple, Time now) {
    if (tag < first_tag_ || tag >= first_tag_ + due_.size()) return;
    std::size_t last = tag - first_tag_;
    for (std::size_t i = multiple ? 0 : last; i <= last; ++i) {
      if (due_[i] != Time{}) confirmed(std::exchange(due_[i], Time{}), now);
    }
    for (; !due_.empty() && due_.front() == Time{}; ++first_tag_) due_.pop_front();
  }

  Connection connection_;
  PublishFrames frames_;
  std::string output_;
  std::size_t written_ = 0;
  std::deque<Time> due_;
  std::uint64_t first_tag_ = 1;
};

class RabbitConsumer : public Session {
 public:
  RabbitConsumer(const Load& load, Tally& tally) : tally_(tally), connection_(load) {
    amqp_basic_qos(connection_.state(), kChannel, 0, kPrefetch, 0);
    connection_.expect_answer("basic.qos");
    amqp_basic_consume(connection_.state(), kChannel, amqp_cstring_bytes(kQueue), amqp_empty_bytes,
                       0, 0, 0, amqp_empty_table);
    connection_.expect_answer("basic.consume");
  }
  [[nodiscard]] int descriptor() const override { return connection_.descriptor(); }
  bool flush() override { return true; }  // the library writes at once

  void receive() override {
    Time now = Clock::now();
    bool kept = connection_.receive([&](const amqp_frame_t& frame) { take(frame, now); });
    if (!kept) return tally_.fail("the consumer lost its connection");
    if (taken_ == acked_) return;
    acked_ = taken_;
    if (amqp_basic_ack(connection_.state(), kChannel, acked_, 1) != 0) {
      tally_.fail("an acknowledgement could not be sent");
    }
  }

 private:
  void take(const amqp_frame_t& frame, Time now) {
    if (frame.frame_type == AMQP_FRAME_METHOD) {
      if (frame.payload.method.id != AMQP_BASIC_DELIVER_METHOD) {
        return tally_.fail("the broker closed the consumer");
      }
      auto* deliver = static_cast<amqp_basic_deliver_t*>(frame.payload.method.decoded);
      tag_ = deliver->delivery_tag;
      again_ = deliver->redelivered != 0;
    } else if (frame.frame_type == AMQP_FRAME_BODY) {
      // Values are far smaller than a frame: one body frame each.
      taken_ = tag_;
      const amqp_bytes_t& body = frame.payload.body_fragment;
      if (again_) return tally_.redelivered();
      tally_.consumed(due_of({static_cast<const char*>(body.bytes), body.len}), now);
    }
  }

  Tally& tally_;
  Connection connection_;
  std::uint64_t tag_ = 0;
  bool again_ = false;
  std::uint64_t taken_ = 0;  ///< the last tag that came whole
  std::uint64_t acked_ = 0;
};

void declare(Connection& setup, bool stream) {
  amqp_table_entry_t type{};
  type.key = amqp_cstring_bytes("x-queue-type");
  type.value.kind = AMQP_FIELD_KIND_UTF8;
  type.value.value.bytes = amqp_cstring_bytes(stream ? "stream" : "quorum");
  amqp_queue_declare(setup.state(), kChannel, amqp_cstring_bytes(kQueue), 0, 1, 0, 0, {1, &type});
  setup.expect_answer("queue.declare");
}

int run(const Load& load) try {
  Connection setup(load);
  declare(setup, load.stream);
  int status = run_sessions(
      load, [&](Tally& tally) { return std::make_unique<RabbitPublisher>(load, tally); },
      [&](Tally& tally) { return std::make_unique<RabbitConsumer>(load, tally); });
  amqp_queue_delete(setup.state(), kChannel, amqp_cstring_bytes(kQueue), 0, 0);
  setup.expect_answer("queue.delete");
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

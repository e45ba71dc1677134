// The driver for NATS JetStream, over the NATS C client: publishes that wait for the stream's
// answer and one push consumer with explicit acknowledgements.
//
// The client's own js_PublishAsync says neither when a message was stored nor which one; so each
// message carries an answer subject of its own, which is what js_PublishAsync does underneath.
// Calls come on the client's delivery threads.
#include <nats/nats.h>
#include <poll.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bench/peers/tally.h"

namespace waybill::peers {
namespace {

constexpr std::chrono::seconds kPatience{20};
constexpr timespec kTick{0, 200'000};
constexpr std::int64_t kLookMs = 10;
constexpr int kDeliveryThreads = 2;
constexpr std::int64_t kMostUnacked = 20'000;
/// With a rate, so many may be open per publisher.
constexpr std::size_t kMostOpen = 1 << 17;

void expect(natsStatus status, const char* what) {
  if (status != NATS_OK) {
    throw std::runtime_error(std::string(what) + ": " + natsStatus_GetText(status));
  }
}

class Connection {
 public:
  Connection(const Load& load, bool at_once) {
    natsOptions* options = nullptr;
    expect(natsOptions_Create(&options), "options");
    std::string url = "nats://" + load.host + ":" + std::to_string(load.port);
    natsOptions_SetURL(options, url.c_str());
    natsOptions_UseGlobalMessageDelivery(options, true);
    natsOptions_SetSendAsap(options, at_once);
    natsOptions_SetAllowReconnect(options, false);
    natsStatus status = natsConnection_Connect(&connection_, options);
    natsOptions_Destroy(options);
    expect(status, "connect");
    jsOptions js;
    jsOptions_Init(&js);
    expect(natsConnection_JetStream(&jetstream_, connection_, &js), "jetstream");
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    natsConnection_Close(connection_);
    jsCtx_Destroy(jetstream_);
    natsConnection_Destroy(connection_);
  }
  [[nodiscard]] natsConnection* get() const { return connection_; }
  [[nodiscard]] jsCtx* jetstream() const { return jetstream_; }

 private:
  natsConnection* connection_ = nullptr;
  jsCtx* jetstream_ = nullptr;
};

class Publisher {
 public:
  Publisher(const Load& load, Tally& tally)
      : load_(load),
        tally_(tally),
        connection_(load, load.in_flight == 1 || load.rate > 0),
        value_(load.size),
        due_(load.rate > 0 ? kMostOpen : load.in_flight) {
    natsInbox* inbox = nullptr;
    expect(natsInbox_Create(&inbox), "inbox");
    inbox_ = std::string(inbox) + ".";
    natsInbox_Destroy(inbox);
    expect(natsConnection_Subscribe(&answers_, connection_.get(), (inbox_ + "*").c_str(), answered,
                                    this),
           "subscribe");
    natsSubscription_SetPendingLimits(answers_, -1, -1);
    expect(natsConnection_FlushTimeout(connection_.get(), 10'000), "flush");
  }
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;
  ~Publisher() { natsSubscription_Destroy(answers_); }

  /// Slots number what is open: an answer's subject ends with its message's slot.
  void publish(std::size_t slot, Time due) {
    std::lock_guard lock(mutex_);
    due_[slot] = due;
    std::string answer = inbox_ + std::to_string(slot);
    std::string_view value = value_.due_at(due);
    ++open_;
    natsStatus status = natsConnection_PublishRequest(connection_.get(), kQueue, answer.c_str(),
                                                      value.data(), static_cast<int>(value.size()));
    if (status != NATS_OK) tally_.fail(natsStatus_GetText(status));
  }
  void publish_due(Time due) {
    if (open_ >= kMostOpen) return tally_.fail("too many publishes are open for this rate");
    publish(next_++ % kMostOpen, due);
  }
  [[nodiscard]] std::uint64_t open() const { return open_; }

 private:
  static void answered(natsConnection*, natsSubscription*, natsMsg* message, void* self) {
    static_cast<Publisher*>(self)->take(message);
    natsMsg_Destroy(message);
  }

  void take(natsMsg* message) {
    Time now = Clock::now();
    std::string_view subject = natsMsg_GetSubject(message);
    std::string_view number = subject.substr(subject.rfind('.') + 1);
    std::size_t slot = 0;
    std::from_chars(number.data(), number.data() + number.size(), slot);
    std::string_view text(natsMsg_GetData(message),
                          static_cast<std::size_t>(natsMsg_GetDataLength(message)));
    if (!text.contains("\"seq\"")) {
      tally_.refused();
      tally_.fail("a publish was refused: " + std::string(text));
      --open_;
      return;
    }
    tally_.confirmed(due_[slot], now);
    bool again = load_.rate <= 0 && !tally_.over(now);
    if (again) publish(slot, now);
    --open_;
  }

  const Load& load_;
  Tally& tally_;
  Connection connection_;
  Value value_;
  std::vector<Time> due_;  ///< by slot
  std::string inbox_;
  natsSubscription* answers_ = nullptr;
  std::mutex mutex_;  ///< of what a publish touches: begun here, gone on with by answers
  std::atomic<std::uint64_t> open_{0};
  std::size_t next_ = 0;
};

class Consumer {
 public:
  Consumer(const Load& load, Tally& tally) : tally_(tally), connection_(load, load.rate > 0) {
    jsSubOptions options;
    jsSubOptions_Init(&options);
    options.Stream = kQueue;
    options.ManualAck = true;
    options.Config.Durable = kQueue;
    options.Config.AckPolicy = js_AckExplicit;
    options.Config.MaxAckPending = kMostUnacked;
    expect(js_Subscribe(&subscription_, connection_.jetstream(), kQueue, delivered, this, nullptr,
                        &options, nullptr),
           "js subscribe");
    natsSubscription_SetPendingLimits(subscription_, -1, -1);
  }
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;
  ~Consumer() {
    natsConnection_FlushTimeout(connection_.get(), 10'000);
    natsSubscription_Destroy(subscription_);
  }

 private:
  static void delivered(natsConnection*, natsSubscription*, natsMsg* message, void* self) {
    static_cast<Consumer*>(self)->take(message);
    natsMsg_Destroy(message);
  }

  /// The subject for acknowledging is $JS.ACK.<stream>.<consumer>.<delivery number>...
  void take(natsMsg* message) {
    const char* reply = natsMsg_GetReply(message);
    constexpr std::string_view kFirst = "$JS.ACK.bench.bench.1.";
    bool first = reply != nullptr && std::string_view(reply).starts_with(kFirst);
    std::string_view value(natsMsg_GetData(message),
                           static_cast<std::size_t>(natsMsg_GetDataLength(message)));
    Time due = due_of(value);
    Time now = Clock::now();
    if (natsMsg_Ack(message, nullptr) != NATS_OK) tally_.fail("an acknowledgement failed");
    if (!first) return tally_.redelivered();
    tally_.consumed(due, now);
  }

  Tally& tally_;
  Connection connection_;
  natsSubscription* subscription_ = nullptr;
};

/// The stream, from its making to its removal.
class Stream {
 public:
  explicit Stream(const Load& load) : connection_(load, true) {
    js_DeleteStream(connection_.jetstream(), kQueue, nullptr, nullptr);
    const char* subjects[] = {kQueue};
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = kQueue;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = js_FileStorage;
    expect(js_AddStream(nullptr, connection_.jetstream(), &config, nullptr, nullptr), "add stream");
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { js_DeleteStream(connection_.jetstream(), kQueue, nullptr, nullptr); }

 private:
  Connection connection_;
};

class Run {
 public:
  explicit Run(const Load& load) : load_(load), stream_(load) {
    for (std::uint32_t i = 0; i < load.publishers; ++i) {
      publishers_.push_back(std::make_unique<Publisher>(load, tally_));
    }
    if (load.consumes) consumer_ = std::make_unique<Consumer>(load, tally_);
  }

  int run() {
    tally_.start(load_);
    if (load_.rate > 0) {
      publish_at_rate();
    } else {
      for (std::size_t slot = 0; slot < load_.in_flight; ++slot) {
        for (auto& publisher : publishers_) publisher->publish(slot, Clock::now());
      }
    }
    await_end();
    int status = tally_.report(load_);
    // What failed may still be answered, by threads that must not meet destroyed publishers.
    if (status != 0) std::_Exit(status);
    return status;
  }

 private:
  void publish_at_rate() {
    std::uint64_t sent = 0;
    for (Time now = Clock::now(); !tally_.over(now); now = Clock::now()) {
      for (;; ++sent) {
        Time due = tally_.window().begin +
                   std::chrono::duration_cast<Clock::duration>(
                       std::chrono::duration<double>(static_cast<double>(sent) / load_.rate));
        if (due > now) break;
        publishers_[sent % publishers_.size()]->publish_due(due);
      }
      ::ppoll(nullptr, 0, &kTick, nullptr);
    }
  }

  void await_end() {
    Time last = Clock::now();
    for (std::uint64_t before = 0; !tally_.failed();) {
      Time now = Clock::now();
      std::uint64_t open = 0;
      for (auto& publisher : publishers_) open += publisher->open();
      bool consumed = !load_.consumes || tally_.all_consumed() >= tally_.all_confirmed();
      if (tally_.over(now) && open == 0 && consumed) return;
      std::uint64_t seen = tally_.all_confirmed() + tally_.all_consumed();
      if (seen != std::exchange(before, seen)) last = now;
      if (now - last > kPatience) return tally_.fail("publishes or deliveries are missing");
      nats_Sleep(kLookMs);
    }
  }

  const Load& load_;
  Tally tally_;
  Stream stream_;
  std::vector<std::unique_ptr<Publisher>> publishers_;
  std::unique_ptr<Consumer> consumer_;
};

int run(const Load& load) try {
  nats_Open(-1);
  nats_SetMessageDeliveryPoolSize(kDeliveryThreads);
  return Run(load).run();
} catch (const std::exception& error) {
  std::fprintf(stderr, "failed: %s\n", error.what());
  return 1;
}

}  // namespace
}  // namespace waybill::peers

int main(int argc, char** argv) {
  return waybill::peers::run(waybill::peers::parse_load(argc, argv));
}

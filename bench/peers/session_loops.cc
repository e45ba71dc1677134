#include "bench/peers/session_loops.h"

#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <thread>
#include <utility>

namespace waybill::peers {
namespace {

/// Nothing came for so long: what is still open is given up.
constexpr std::chrono::seconds kPatience{20};
constexpr int kLookMs = 100;
/// With a rate, what is due is looked for so often; `waybill bench` does the same.
constexpr timespec kTick{0, 200'000};
constexpr timespec kLook{0, kLookMs * 1'000'000};

class PublishLoop {
 public:
  PublishLoop(const Load& load, Tally& tally, std::vector<std::unique_ptr<PublishSession>> sessions)
      : load_(load), tally_(tally), sessions_(std::move(sessions)) {
    for (auto& session : sessions_) polled_.push_back({session->descriptor(), POLLIN, 0});
  }

  void run() {
    Time last = Clock::now();
    for (std::uint64_t open_before = 0;;) {
      Time now = Clock::now();
      if (!tally_.over(now)) add(now);
      flush();
      std::uint64_t open = 0;
      for (auto& session : sessions_) open += session->open();
      if (tally_.over(now) && (open == 0 || tally_.failed())) return;
      if (open != std::exchange(open_before, open) || open == 0) last = now;
      if (now - last > kPatience) return tally_.fail("publishes were not confirmed");
      receive();
    }
  }

 private:
  void add(Time now) {
    if (load_.rate <= 0) {
      for (auto& session : sessions_) {
        while (session->open() < load_.in_flight) session->add(now);
      }
      return;
    }
    for (;; ++sent_) {
      Time due = tally_.window().begin +
                 std::chrono::duration_cast<Clock::duration>(
                     std::chrono::duration<double>(static_cast<double>(sent_) / load_.rate));
      if (due > now) return;
      sessions_[sent_ % sessions_.size()]->add(due);
    }
  }

  void flush() {
    for (std::size_t i = 0; i < sessions_.size(); ++i) {
      bool all = sessions_[i]->flush();
      polled_[i].events = static_cast<short>(all ? POLLIN : POLLIN | POLLOUT);
    }
  }

  void receive() {
    const timespec& wait = load_.rate > 0 ? kTick : kLook;
    if (::ppoll(polled_.data(), polled_.size(), &wait, nullptr) <= 0) return;
    for (std::size_t i = 0; i < sessions_.size(); ++i) {
      if ((polled_[i].revents & ~POLLOUT) != 0) sessions_[i]->receive();
    }
  }

  const Load& load_;
  Tally& tally_;
  std::vector<std::unique_ptr<PublishSession>> sessions_;
  std::vector<pollfd> polled_;
  std::uint64_t sent_ = 0;
};

/// Until everything confirmed is consumed, once `published`.
void consume(Session& session, Tally& tally, const std::atomic<bool>& published) {
  Time last = Clock::now();
  for (std::uint64_t before = 0;;) {
    bool all = session.flush();
    if (published && (tally.all_consumed() >= tally.all_confirmed() || tally.failed())) return;
    pollfd polled{session.descriptor(), static_cast<short>(all ? POLLIN : POLLIN | POLLOUT), 0};
    if (::poll(&polled, 1, kLookMs) > 0 && (polled.revents & ~POLLOUT) != 0) session.receive();
    Time now = Clock::now();
    if (tally.all_consumed() != std::exchange(before, tally.all_consumed()) || !published) {
      last = now;
    }
    if (now - last > kPatience) return tally.fail("messages were not delivered");
  }
}

}  // namespace

int run_sessions(const Load& load, const MakePublisher& make_publisher,
                 const MakeConsumer& make_consumer) try {
  Tally tally;
  std::vector<std::unique_ptr<PublishSession>> publishers;
  for (std::uint32_t i = 0; i < load.publishers; ++i) publishers.push_back(make_publisher(tally));
  std::unique_ptr<Session> consumer = load.consumes ? make_consumer(tally) : nullptr;
  std::atomic<bool> published{false};
  std::thread consuming;
  tally.start(load);
  if (consumer) consuming = std::thread([&] { consume(*consumer, tally, published); });
  PublishLoop(load, tally, std::move(publishers)).run();
  published = true;
  if (consuming.joinable()) consuming.join();
  return tally.report(load);
} catch (const std::exception& error) {
  std::fprintf(stderr, "failed: %s\n", error.what());
  return 1;
}

}  // namespace waybill::peers

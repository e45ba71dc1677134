// The load of `waybill bench`: publishers on one thread, consumers on another, each a client with a
// connection of its own.
//
// Latencies count from when a message was due, not from when it could be sent: with a rate, a
// broker that stands still for a second is charged for every message of that second (no coordinated
// omission). A value begins with that time, so a consumer knows it too.
#include <algorithm>
#include <atomic>
#include <boost/asio.hpp>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "client/client.h"
#include "tools/bench_values.h"
#include "tools/bench_watch.h"
#include "tools/stop_signal.h"

namespace waybill::cli {
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

constexpr std::chrono::milliseconds kLook{100};
/// With a rate: what was due in time is still sent for so long after the end. A hiccup right there
/// is no rate that cannot be kept; what a load tester falls behind all along is not caught up.
constexpr std::chrono::milliseconds kCatchUp{100};
/// What ends without a receipt is charged to within this.
constexpr std::chrono::milliseconds kOwedStep{1};
/// Once publishing has ended, consumers that get nothing for so long are not waited for.
constexpr std::chrono::seconds kPatience{20};
/// With a rate: what is due within so long leaves together.
constexpr std::chrono::microseconds kTick{200};
/// Of a tick that is behind; then the connection has its turn. Without, one that takes longer to
/// publish than the rate allows, for new memory say, would fall behind more each time.
constexpr std::uint64_t kMostInTick = 2000;
/// With a rate: what is due while a broker stands still for so long waits, and is charged to it,
/// as far as it takes no more memory than this. The rest is refused.
constexpr double kStandstillSeconds = 5;
constexpr double kMostWaitingBytes = 1024.0 * 1024 * 1024;
/// Of a message that waits, beside its value.
constexpr double kWaitingCost = 500;
constexpr std::uint32_t kConsumerCredit = 20'000;
constexpr std::uint64_t kConsumerCreditBytes = 32 * 1024 * 1024;
/// Deliveries settled together, if so many are there.
constexpr std::size_t kMostTaken = 1000;
/// Percentages of messages are drawn as precisely as this.
constexpr std::uint64_t kParts = 1'000'000;
/// Of an hour; a chart of a longer run shows its first hour.
constexpr std::size_t kMostSamples = 36'000;

/// Numbers that all threads add to and the waiting one looks at.
struct Counts {
  std::atomic<std::uint64_t> confirmed{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> unsent{0};
  std::atomic<std::uint64_t> ended{0};
  std::atomic<std::uint64_t> redelivered{0};
  std::atomic<std::uint64_t> measured_confirmed{0};
  std::atomic<std::uint64_t> measured_ended{0};
  std::atomic<bool> stop{false};
  std::atomic<Time> last_end{Time{}};

  std::mutex mutex;
  std::optional<RequestError> error;

  void fail(const RequestError& what) {
    std::lock_guard lock(mutex);
    if (!error) error = what;
  }
};

/// What is measured, set before a load starts.
struct Window {
  Time from;
  Time until;
  [[nodiscard]] bool holds(Time time) const { return time >= from && time < until; }
};

class PublishLoad {
 public:
  PublishLoad(boost::asio::io_context& io, const Bench& bench, ValueChoice& values,
              const KeyChoice& keys, const ClientOptions& reach, const std::string& topic,
              Counts& counts, std::uint32_t number)
      : bench_(bench),
        values_(values),
        keys_(keys),
        counts_(counts),
        client_(std::in_place, io.get_executor(), reach),
        target_(topic),
        timer_(io),
        random_(number) {}

  /// Until `until`, or until so many messages were confirmed or refused. On the io thread.
  void start(Time begin, Window window, std::uint64_t messages) {
    begin_ = begin;
    window_ = window;
    left_ = messages;
    if (bench_.rate > 0 && bench_.scenario != BenchScenario::kConsume) return tick();
    std::uint32_t batch = std::min(bench_.batch, bench_.in_flight);
    for (std::uint32_t i = 0; i < bench_.in_flight; i += batch) {
      publish_next(std::min(batch, bench_.in_flight - i));
    }
  }
  /// What is on its way ends without a receipt, soon. On the io thread.
  void give_up() { client_.reset(); }
  /// Nothing is on its way, and nothing will be.
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] const LatencyHistogram& latencies() const { return latencies_; }
  /// Since it was asked for last. On the io thread.
  LatencyHistogram take_interval() { return std::exchange(interval_, {}); }

 private:
  [[nodiscard]] bool over(Time now) const {
    return left_ == 0 || now >= window_.until || counts_.stop;
  }

  void publish_next(std::size_t count) {
    Time now = Clock::now();
    if (!over(now)) publish(std::vector(std::min<std::uint64_t>(count, left_), now));
    end_if_done();
  }

  /// With a rate: when the n-th message, from 0, is due.
  [[nodiscard]] Time due_of(std::uint64_t n) const {
    double seconds = static_cast<double>(n) * bench_.publishers / bench_.rate;
    return begin_ +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }

  void tick() {
    Time now = Clock::now();
    std::uint64_t until = sent_ + kMostInTick;
    std::vector<Time> dues;
    Time due;
    for (;;) {
      due = due_of(sent_ + dues.size());
      if (due > now || due >= window_.until || sent_ + dues.size() == until) break;
      dues.push_back(due);
      if (dues.size() == bench_.batch) publish(std::exchange(dues, {}));
    }
    if (!dues.empty()) publish(std::move(dues));
    bool behind = due < window_.until && now < window_.until + kCatchUp;
    ticking_ = !counts_.stop && (now < window_.until || behind);
    if (!ticking_) give_up_unsent(std::min(now, window_.until));
    end_if_done();
    if (!ticking_) return;
    timer_.expires_at(std::clamp(due, now + kTick, now + kLook));
    timer_.async_wait([this](boost::system::error_code) { tick(); });
  }

  /// What was due before `end` and is not sent never will be.
  void give_up_unsent(Time end) {
    double a_step =
        bench_.rate / bench_.publishers * std::chrono::duration<double>(kOwedStep).count();
    auto step = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(a_step));
    // Halved down to the last one: the steps need not fit.
    for (std::uint64_t next = sent_; step > 0; step /= 2) {
      for (; due_of(next + step - 1) < end; next += step) {
        owe(due_of(next + step - 1), step);
        counts_.unsent += step;
      }
    }
  }

  /// It has no receipt and will get none. Charged when the load ends.
  void owe(Time due, std::uint64_t count) {
    if (!window_.holds(due)) return;
    if (!owed_.empty() && std::chrono::abs(due - owed_.back().due) < kOwedStep) {
      owed_.back().count += count;
    } else {
      owed_.push_back({due, count});
    }
  }

  void end_if_done() {
    if (ticking_ || open_ > 0) return;
    Time now = Clock::now();
    for (const Owed& owed : std::exchange(owed_, {})) latencies_.add(now - owed.due, owed.count);
    done_ = true;
  }

  /// One message for each time, together.
  void publish(std::vector<Time> dues) {
    std::vector<Message> messages(dues.size());
    for (std::size_t i = 0; i < dues.size(); ++i) {
      MutableBytes value = values_.draw(random_);
      store_little(value.data(), dues[i].time_since_epoch().count());
      messages[i].value = to_vector(value);
      if (auto key = keys_.draw(random_)) messages[i].key = to_vector(as_bytes(*key));
    }
    open_ += dues.size();
    sent_ += dues.size();
    if (left_ != UINT64_MAX) left_ -= dues.size();
    if (bench_.batch == 1) {
      client_->async_publish(target_, std::move(messages.front()),
                             [this, due = dues.front()](const Reply<PublishReceipt>& receipt) {
                               std::uint64_t confirmed = ended(Clock::now(), due, receipt) ? 1 : 0;
                               published(1, confirmed);
                             });
      return;
    }
    client_->async_publish_all(
        target_, std::move(messages),
        [this, dues = std::move(dues)](const Reply<PublishReceipts>& receipts) {
          Time now = Clock::now();
          std::uint64_t confirmed = 0;
          for (std::size_t i = 0; i < dues.size(); ++i) {
            if (!receipts) {
              ended(now, dues[i], receipts.error());
            } else if (ended(now, dues[i], (*receipts)[i])) {
              ++confirmed;
            }
          }
          published(dues.size(), confirmed);
        });
  }

  bool ended(Time now, Time due, const Reply<PublishReceipt>& receipt) {
    if (receipt) {
      if (window_.holds(due)) latencies_.add(now - due);
      if (bench_.every.count() > 0) interval_.add(now - due);
      return true;
    }
    ++counts_.refused;
    counts_.fail(receipt.error());
    owe(due, 1);
    return false;
  }

  void published(std::size_t count, std::uint64_t confirmed) {
    open_ -= count;
    counts_.confirmed += confirmed;
    if (window_.holds(Clock::now())) counts_.measured_confirmed += confirmed;
    // A slot whose message was refused stays empty: a broker that refuses is not stormed.
    bool next = confirmed > 0 && (bench_.rate <= 0 || bench_.scenario == BenchScenario::kConsume);
    if (next) return publish_next(confirmed);
    end_if_done();
  }

  /// Messages that were due at a time and are charged with what passed since.
  struct Owed {
    Time due;
    std::uint64_t count = 0;
  };

  const Bench& bench_;
  ValueChoice& values_;
  const KeyChoice& keys_;
  Counts& counts_;
  std::optional<Client> client_;
  PublishTarget target_;
  boost::asio::steady_timer timer_;
  SeededRandom random_;
  Time begin_;
  Window window_;
  std::uint64_t left_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t open_ = 0;
  bool ticking_ = false;
  std::atomic<bool> done_{false};
  std::vector<Owed> owed_;
  LatencyHistogram latencies_;
  LatencyHistogram interval_;
};

class ConsumeLoad {
 public:
  ConsumeLoad(boost::asio::io_context& io, const Bench& bench, const ClientOptions& reach,
              const std::string& group, Counts& counts)
      : io_(io), bench_(bench), reach_(reach), counts_(counts), group_(group) {}

  /// On the io thread, as all that follows.
  void start(Window window) {
    window_ = window;
    come();
  }
  /// Leaves the group once everything handed out is settled, closes its connection and comes back.
  void leave_for_a_moment() {
    if (closing_ || leaving_ || !subscription_) return;
    leaving_ = true;
    subscription_->async_close([this](const Reply<void>&) {
      // Later: the client cannot go while it is calling.
      boost::asio::post(io_, [this] {
        subscription_.reset();
        client_.reset();
        leaving_ = false;
        if (closing_) {
          done_ = true;
        } else {
          come();
        }
      });
    });
  }
  /// As leave_for_a_moment, for good.
  void close() {
    closing_ = true;
    if (!subscription_ || leaving_ || std::exchange(closed_, true)) return;
    subscription_->async_close([this](const Reply<void>&) { done_ = true; });
  }
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] const LatencyHistogram& latencies() const { return latencies_; }
  /// Since it was asked for last.
  LatencyHistogram take_interval() { return std::exchange(interval_, {}); }

 private:
  void come() {
    client_.emplace(io_.get_executor(), reach_);
    SubscribeOptions options{kConsumerCredit, kConsumerCreditBytes};
    client_->async_subscribe(group_, options, [this](Reply<Subscription> subscription) {
      if (!subscription) {
        counts_.fail(subscription.error());
        done_ = true;
        return;
      }
      subscription_.emplace(std::move(*subscription));
      if (closing_) return close();
      take();
    });
  }

  void take() {
    subscription_->async_next_batch(kMostTaken, std::nullopt,
                                    [this](Reply<std::vector<Delivery>> deliveries) {
                                      if (!deliveries) {
                                        if (!closing_ && !leaving_)
                                          counts_.fail(deliveries.error());
                                        return;
                                      }
                                      settle(*deliveries);
                                      take();
                                    });
  }

  void settle(std::vector<Delivery>& deliveries) {
    Time now = Clock::now();
    std::uint64_t ended = 0;
    for (Delivery& delivery : deliveries) ended += settle(delivery, now) ? 1 : 0;
    counts_.ended += ended;
    if (window_.holds(now)) counts_.measured_ended += ended;
    counts_.last_end = now;
  }

  /// False if it comes again.
  bool settle(Delivery& delivery, Time now) {
    // What another consumer gave back untouched was not worked on before.
    bool first = delivery.failures() == 0;
    std::optional<Bytes> value = delivery.value();
    if (first && value && value->size() >= sizeof(std::int64_t)) {
      Time due{Clock::duration(load_little<std::int64_t>(value->data()))};
      if (window_.holds(due)) latencies_.add(now - due);
      if (bench_.every.count() > 0) interval_.add(now - due);
    }
    if (delivery.number() > 1) ++counts_.redelivered;
    double bad = first ? bench_.failing + bench_.dying : 0;
    double drawn = bad > 0 ? static_cast<double>(random_.below(kParts)) * 100 / kParts : 0;
    if (drawn >= bad) {
      delivery.ack();
    } else if (drawn < bench_.failing) {
      delivery.retry({FailureClass::kFailed, "bench", "failed on purpose"});
      return false;
    } else {
      delivery.dead_letter({FailureClass::kInvalid, "bench", "died on purpose"});
    }
    return true;
  }

  boost::asio::io_context& io_;
  const Bench& bench_;
  const ClientOptions& reach_;
  Counts& counts_;
  std::string group_;
  std::optional<Client> client_;
  std::optional<Subscription> subscription_;
  SeededRandom random_{7};
  Window window_;
  bool leaving_ = false;
  bool closing_ = false;
  bool closed_ = false;
  std::atomic<bool> done_{false};
  LatencyHistogram latencies_;
  LatencyHistogram interval_;
};

/// An io_context and the thread that runs it.
class LoadThread {
 public:
  ~LoadThread() { stop(); }
  boost::asio::io_context& io() { return io_; }
  void start() {
    thread_ = std::thread([this] { io_.run(); });
  }
  /// What `make` returns on the thread.
  template <class Make>
  auto ask(Make make) {
    std::packaged_task<std::invoke_result_t<Make>()> task(std::move(make));
    auto answer = task.get_future();
    // Wrapped: asio would take the task's future itself.
    boost::asio::post(io_, [task = std::move(task)]() mutable { task(); });
    return answer.get();
  }
  void stop() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      io_.get_executor()};
  std::thread thread_;
};

class LoadRun {
 public:
  LoadRun(const Bench& bench, const ClientOptions& reach, const std::string& topic,
          const std::string& group, const std::function<void(const BenchProgress&)>& progress)
      : bench_(bench),
        values_(bench),
        keys_(bench),
        progress_(progress),
        watch_(reach, bench.patience) {
    for (std::uint32_t i = 0; i < bench.publishers; ++i) {
      publishers_.push_back(std::make_unique<PublishLoad>(publishing_.io(), bench, values_, keys_,
                                                          reach, topic, counts_, i + 1));
    }
    if (bench.scenario == BenchScenario::kPublish) return;
    for (std::uint32_t i = 0; i < bench.consumers; ++i) {
      consumers_.push_back(
          std::make_unique<ConsumeLoad>(consuming_.io(), bench, reach, group, counts_));
    }
  }

  BenchResult run() {
    cpu_before_ = cpu_times(bench_.broker_pid);
    publishing_.start();
    consuming_.start();
    started_at_ = Clock::now();
    begin_ = started_at_;
    bool consume = bench_.scenario == BenchScenario::kConsume;
    Window window{begin_ + bench_.warm_up, begin_ + bench_.warm_up + bench_.duration};
    if (consume) {
      fill();
      begin_ = Clock::now();
      window = {begin_, Time::max()};
      cpu_before_ = cpu_times(bench_.broker_pid);
      samples_.clear();
    }
    samples_.push_back({{}, counts_.confirmed, counts_.ended});
    start_consumers(window);
    if (!consume) start_publishers(window, UINT64_MAX);
    wait([this] { return published(); });
    drain();
    Time end = consume ? counts_.last_end.load() : Clock::now();
    end = std::min({end, window.until, interrupted_.value_or(end), watch_.gone().value_or(end)});
    if (watch_.gone()) give_up();
    publishing_.stop();
    consuming_.stop();
    return result(end - window.from);
  }

 private:
  void start_publishers(Window window, std::uint64_t messages) {
    for (std::size_t i = 0; i < publishers_.size(); ++i) {
      std::uint64_t share = messages;
      if (messages != UINT64_MAX) {
        share = messages / publishers_.size() + (i < messages % publishers_.size() ? 1 : 0);
      }
      boost::asio::post(publishing_.io(),
                        [this, i, window, share] { publishers_[i]->start(begin_, window, share); });
    }
    started_ = true;
  }

  void start_consumers(Window window) {
    for (auto& consumer : consumers_) {
      boost::asio::post(consuming_.io(), [&consumer, window] { consumer->start(window); });
    }
  }

  void fill() {
    start_publishers({Time::max(), Time::max()}, bench_.messages);
    wait([this] { return published(); });
  }

  /// Everything confirmed is consumed, or no more comes.
  void drain() {
    if (consumers_.empty()) return;
    std::uint64_t seen = 0;
    Time since = Clock::now();
    wait([&] {
      std::uint64_t ended = counts_.ended;
      if (std::exchange(seen, ended) != ended) since = Clock::now();
      return ended >= counts_.confirmed || Clock::now() - since > kPatience || counts_.stop;
    });
    for (auto& consumer : consumers_) {
      boost::asio::post(consuming_.io(), [&consumer] { consumer->close(); });
    }
    Time closing = Clock::now();
    wait([&] {
      return std::ranges::all_of(consumers_, [](auto& c) { return c->done(); }) ||
             Clock::now() - closing > kPatience;
    });
  }

  /// Nothing more comes from a broker that is gone: what is on its way ends now.
  void give_up() {
    publishing_.ask([this] {
      for (auto& publisher : publishers_) publisher->give_up();
    });
    Time since = Clock::now();
    while (!published() && Clock::now() - since < kPatience) {
      look_.expires_after(kLook);
      look_.wait();
    }
  }

  [[nodiscard]] bool published() const {
    return started_ && std::ranges::all_of(publishers_, [](auto& p) { return p->done(); });
  }

  template <class Until>
  void wait(Until until) {
    while (!until() && !watch_.gone()) {
      if (StopSignal::requested()) {
        if (!interrupted_) interrupted_ = Clock::now();
        counts_.stop = true;
        if (StopSignal::forced()) return;
        look_.expires_after(kLook);
        look_.wait();
      } else {
        StopSignal::wait_for(kLook);
      }
      Time now = Clock::now();
      auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(now - begin_);
      if (samples_.size() < kMostSamples) {
        samples_.push_back({elapsed, counts_.confirmed, counts_.ended});
      }
      churn(elapsed);
      watch_.look(counts_.confirmed + counts_.ended);
      if (watch_.gone()) counts_.stop = true;
      progress_({elapsed,
                 bench_.scenario != BenchScenario::kConsume && now < begin_ + bench_.warm_up,
                 counts_.confirmed, counts_.ended, end_interval(elapsed)});
    }
  }

  /// The next consumer leaves, if it is time for one.
  void churn(std::chrono::milliseconds elapsed) {
    if (bench_.churn.count() == 0 || consumers_.empty() || elapsed < churned_ + bench_.churn)
      return;
    churned_ = elapsed;
    ConsumeLoad* leaving = consumers_[next_leaving_++ % consumers_.size()].get();
    boost::asio::post(consuming_.io(), [leaving] { leaving->leave_for_a_moment(); });
  }

  /// Nothing while it is not over.
  std::optional<BenchInterval> end_interval(std::chrono::milliseconds elapsed) {
    if (bench_.every.count() == 0 || elapsed < interval_begin_.elapsed + bench_.every) return {};
    LatencyHistogram times;
    if (consumers_.empty()) {
      times = publishing_.ask([this] { return taken(publishers_); });
    } else {
      times = consuming_.ask([this] { return taken(consumers_); });
    }
    BenchSample now{elapsed, counts_.confirmed, counts_.ended};
    double seconds = std::chrono::duration<double>(elapsed - interval_begin_.elapsed).count();
    auto rate = [&](std::uint64_t BenchSample::* count) {
      return static_cast<double>(now.*count - interval_begin_.*count) / seconds;
    };
    intervals_.push_back({elapsed, rate(&BenchSample::confirmed), rate(&BenchSample::settled),
                          times.percentile(50), times.percentile(99), times.longest()});
    interval_begin_ = now;
    return intervals_.back();
  }
  template <class Loads>
  static LatencyHistogram taken(Loads& loads) {
    LatencyHistogram all;
    for (auto& load : loads) all.add(load->take_interval());
    return all;
  }

  BenchResult result(Clock::duration measured) {
    BenchResult result;
    result.measured = std::max<std::chrono::duration<double>>(measured, {});
    result.confirmed = counts_.measured_confirmed;
    result.refused = counts_.refused;
    result.unsent = counts_.unsent;
    result.settled = counts_.measured_ended;
    for (auto& publisher : publishers_) result.publish.add(publisher->latencies());
    for (auto& consumer : consumers_) result.end_to_end.add(consumer->latencies());
    result.all_confirmed = counts_.confirmed;
    result.all_ended = counts_.ended;
    result.redelivered = counts_.redelivered;
    result.count_cpu_since(cpu_before_, bench_.broker_pid);
    result.samples = samples_;
    result.intervals = intervals_;
    result.error = counts_.error;
    if (interrupted_) result.interrupted = *interrupted_ - started_at_;
    if (watch_.gone()) result.gone = *watch_.gone() - started_at_;
    return result;
  }

  const Bench& bench_;
  ValueChoice values_;
  KeyChoice keys_;
  const std::function<void(const BenchProgress&)>& progress_;
  Counts counts_;
  // Before those that run on them: threads end first, clients go, contexts go last.
  LoadThread publishing_;
  LoadThread consuming_;
  BrokerWatch watch_;
  std::vector<std::unique_ptr<PublishLoad>> publishers_;
  std::vector<std::unique_ptr<ConsumeLoad>> consumers_;
  boost::asio::steady_timer look_{publishing_.io()};  ///< only waited for, here
  std::vector<BenchSample> samples_;
  std::vector<BenchInterval> intervals_;
  BenchSample interval_begin_;
  std::chrono::milliseconds churned_{0};
  std::size_t next_leaving_ = 0;
  CpuTimes cpu_before_;
  Time started_at_;
  Time begin_;  ///< of what is measured, its warm-up included
  std::optional<Time> interrupted_;
  bool started_ = false;
};

/// Messages that a publisher may keep waiting.
std::size_t most_waiting(const Bench& bench) {
  double due = bench.rate * kStandstillSeconds;
  double fit = kMostWaitingBytes / (bench.size + kWaitingCost);
  return static_cast<std::size_t>(std::min(due, fit) / bench.publishers);
}

}  // namespace

BenchResult run_load(const Bench& bench, ClientOptions reach, const std::string& topic,
                     const std::string& group,
                     const std::function<void(const BenchProgress&)>& progress) {
  reach.client_name = "waybill-bench";
  reach.publish_timeout = std::chrono::seconds(30);
  reach.compression = bench.compression;
  reach.max_waiting_publishes = std::max(reach.max_waiting_publishes, most_waiting(bench));
  reach.single_threaded = true;  // a LoadThread's
  return LoadRun(bench, reach, topic, group, progress).run();
}

}  // namespace waybill::cli

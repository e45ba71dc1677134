// The load of `waybill bench outbox`: threads of an application that commit rows, and the library's
// relay beside them, as in a service that uses the outbox.
//
//   EnqueueLoad (a thread, a connection) -> SQLite -> OutboxRelay -> TimedPublisher -> the broker
//
// A value begins with the number of its thread and transaction; TimedPublisher looks up when that
// was committed as soon as the broker has confirmed it.
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>

#include "client/outbox/client_publisher.h"
#include "client/outbox/ddl.h"
#include "client/outbox/outbox.h"
#include "client/outbox/relay.h"
#include "client/outbox/sqlite_store.h"
#include "protocol/record/batch_view.h"
#include "tools/bench_values.h"
#include "tools/bench_watch.h"
#include "tools/stop_signal.h"

namespace waybill::cli {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::chrono::milliseconds kOutboxLook{100};
/// Once the last row is committed, a relay that publishes nothing for so long is not waited for.
constexpr std::chrono::seconds kRelayPatience{20};
/// A thread may wait so long for the others' transactions.
constexpr int kBusyMilliseconds = 30'000;
/// Of an hour; as of the other scenarios.
constexpr std::size_t kMostOutboxSamples = 36'000;
/// Of the number at the beginning of a value: the thread above, its transaction below.
constexpr unsigned kTransactionBits = 48;

/// What all threads add to.
struct OutboxCounts {
  std::atomic<std::uint64_t> committed{0};
  std::atomic<std::uint64_t> measured_committed{0};
  std::atomic<std::uint64_t> confirmed{0};
  std::atomic<std::uint64_t> measured_confirmed{0};
  std::atomic<bool> stop{false};

  void fail(const RequestError& what) {
    std::lock_guard lock(mutex);
    if (!error) error = what;
    stop = true;
  }
  /// Until fewer rows than that are in the outbox, or a look around is due.
  void wait_for_room(std::uint64_t most) {
    std::unique_lock lock(mutex);
    room.wait_for(lock, kOutboxLook, [&] { return stop || committed - confirmed < most; });
  }

  /// Or until something happened.
  void wait_until(SteadyTime time) {
    std::unique_lock lock(mutex);
    room.wait_until(lock, time);
  }

  std::mutex mutex;
  std::condition_variable room;
  std::optional<RequestError> error;
};

struct OutboxWindow {
  SteadyTime from;
  SteadyTime until;
  [[nodiscard]] bool holds(SteadyTime time) const { return time >= from && time < until; }
};

/// A thread of the application.
class EnqueueLoad {
 public:
  EnqueueLoad(const Bench& bench, const std::string& topic, OutboxCounts& counts,
              std::uint32_t number)
      : bench_(bench),
        topic_(topic),
        counts_(counts),
        number_(number),
        values_(bench),
        keys_(bench),
        random_(number + 1),
        db_(nullptr, sqlite3_close) {}

  Reply<void> open(const std::string& file) {
    sqlite3* db = nullptr;
    sqlite3_open_v2(file.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
    db_.reset(db);
    sqlite3_busy_timeout(db, kBusyMilliseconds);
    if (Reply<void> mode = run("PRAGMA journal_mode=WAL"); !mode) return mode;
    return run(bench_.outbox_synchronous ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
  }
  Reply<void> run(const std::string& sql) {
    if (sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return {};
    return RequestError(Errc::kDatabase, std::string("the outbox: ") + sqlite3_errmsg(db_.get()));
  }

  void start(SteadyTime begin, OutboxWindow window, std::function<void()> committed) {
    begin_ = begin;
    window_ = window;
    committed_ = std::move(committed);
    thread_ = std::jthread([this] { work(); });
  }
  /// No row of this thread is committed any more.
  [[nodiscard]] bool done() const { return done_; }
  void join() { thread_.join(); }
  /// After join().
  [[nodiscard]] const LatencyHistogram& latencies() const { return latencies_; }

  /// Nothing while the commit has not returned: the relay may be quicker.
  std::optional<SteadyTime> committed_at(std::uint64_t transaction) {
    std::lock_guard lock(mutex_);
    if (transaction >= commits_.size()) return std::nullopt;
    return commits_[transaction];
  }

 private:
  void work() {
    while (!counts_.stop) {
      std::optional<SteadyTime> due = next_due();
      if (!due) continue;
      if (*due >= window_.until) break;
      if (Reply<void> committed = commit_rows(); !committed) {
        counts_.fail(committed.error());
        break;
      }
      note_commit(*due);
    }
    done_ = true;
  }

  /// Nothing if it is not time yet, or the outbox is full.
  std::optional<SteadyTime> next_due() {
    SteadyTime now = std::chrono::steady_clock::now();
    if (bench_.rate <= 0) {
      std::uint64_t most = std::uint64_t{bench_.in_flight} * bench_.publishers;
      if (now >= window_.until || counts_.committed - counts_.confirmed < most) return now;
      counts_.wait_for_room(most);
      return std::nullopt;
    }
    double rows = static_cast<double>(next_) * bench_.batch;
    SteadyTime due =
        begin_ + std::chrono::duration_cast<SteadyTime::duration>(
                     std::chrono::duration<double>(rows * bench_.publishers / bench_.rate));
    if (due <= now || due >= window_.until) return due;
    counts_.wait_until(std::min(due, now + kOutboxLook));
    return std::nullopt;
  }

  Reply<void> commit_rows() {
    if (Reply<void> begun = run("BEGIN IMMEDIATE"); !begun) return begun;
    for (std::uint32_t i = 0; i < bench_.batch; ++i) {
      MutableBytes value = values_.draw(random_);
      store_little(value.data(), std::uint64_t{number_} << kTransactionBits | next_);
      std::optional<std::string> key = keys_.draw(random_);
      OutboxMessage message;
      message.topic = topic_;
      message.payload = value;
      if (key) message.key = as_bytes(*key);
      if (Reply<EnqueuedRow> row = enqueue(db_.get(), message); !row) return row.error();
    }
    return run("COMMIT");
  }

  void note_commit(SteadyTime due) {
    SteadyTime now = std::chrono::steady_clock::now();
    {
      std::lock_guard lock(mutex_);
      commits_.push_back(now);
    }
    ++next_;
    counts_.committed += bench_.batch;
    if (window_.holds(now)) counts_.measured_committed += bench_.batch;
    if (window_.holds(due)) latencies_.add(now - due);
    committed_();
  }

  const Bench& bench_;
  std::string topic_;
  OutboxCounts& counts_;
  std::uint32_t number_;
  ValueChoice values_;
  KeyChoice keys_;
  SeededRandom random_;
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> db_;
  SteadyTime begin_;
  OutboxWindow window_;
  std::function<void()> committed_;
  std::uint64_t next_ = 0;  ///< transaction
  LatencyHistogram latencies_;
  std::mutex mutex_;
  std::vector<SteadyTime> commits_;  ///< by transaction
  std::atomic<bool> done_{false};
  std::jthread thread_;
};

using EnqueueLoads = std::vector<std::unique_ptr<EnqueueLoad>>;

/// Notes when rows arrived in the log. On the relay's thread.
class TimedPublisher final : public OutboxPublisher {
 public:
  TimedPublisher(BlockingClient& client, EnqueueLoads& loads, OutboxCounts& counts)
      : inner_(client), loads_(loads), counts_(counts) {}

  Reply<MetadataReply> metadata() override { return inner_.metadata(); }
  Reply<OpenProducerReply> open_producer(const OpenProducerRequest& request) override {
    return inner_.open_producer(request);
  }
  Reply<PublishReply> publish(const PublishRequest& request) override {
    Reply<PublishReply> reply = inner_.publish(request);
    SteadyTime now = std::chrono::steady_clock::now();
    if (!reply || reply->parts.size() != request.parts.size()) return reply;
    for (std::size_t i = 0; i < request.parts.size(); ++i) {
      // What is there already was counted, or its answer was lost: then nobody knows since when.
      if (reply->parts[i] && !reply->parts[i]->duplicate) note(request.parts[i].batch.view(), now);
    }
    return reply;
  }

  void measure(OutboxWindow window) { window_ = window; }
  [[nodiscard]] const LatencyHistogram& latencies() const { return latencies_; }

 private:
  void note(Bytes batch, SteadyTime now) {
    Result<BatchReader> reader = BatchReader::open(batch);
    if (!reader) return;
    std::uint64_t count = 0;
    Result<void> read = reader->for_each([&](const RecordView& record) {
      ++count;
      auto number = load_little<std::uint64_t>(record.value->data());
      EnqueueLoad& load = *loads_[number >> kTransactionBits];
      std::uint64_t transaction = number & ((std::uint64_t{1} << kTransactionBits) - 1);
      SteadyTime committed = load.committed_at(transaction).value_or(now);
      if (window_.holds(committed)) latencies_.add(now - committed);
      return true;
    });
    ignore_error(read, "the relay has just made it");
    counts_.confirmed += count;
    if (window_.holds(now)) counts_.measured_confirmed += count;
    counts_.room.notify_all();
  }

  ClientPublisher inner_;
  EnqueueLoads& loads_;
  OutboxCounts& counts_;
  OutboxWindow window_;
  LatencyHistogram latencies_;
};

class OutboxRun {
 public:
  OutboxRun(const Bench& bench, const ClientOptions& reach,
            const std::function<void(const BenchProgress&)>& progress)
      : bench_(bench),
        progress_(progress),
        client_(reach),
        watch_(reach, bench.patience),
        publisher_(client_, loads_, counts_) {}

  Reply<BenchResult> run(const std::string& file, const std::string& topic) {
    for (std::uint32_t i = 0; i < bench_.publishers; ++i) {
      loads_.push_back(std::make_unique<EnqueueLoad>(bench_, topic, counts_, i));
      if (Reply<void> opened = loads_.back()->open(file); !opened) return opened.error();
    }
    if (Reply<void> made = loads_.front()->run(outbox_ddl(OutboxDatabase::kSqlite)); !made) {
      return made.error();
    }
    Reply<std::unique_ptr<SqliteStore>> store = SqliteStore::open(file);
    if (!store) return store.error();
    CpuTimes cpu_before = cpu_times(bench_.broker_pid);
    begin_ = std::chrono::steady_clock::now();
    OutboxWindow window{begin_ + bench_.warm_up, begin_ + bench_.warm_up + bench_.duration};
    publisher_.measure(window);
    relay_rows(**store, window);
    BenchResult result = collect(window, cpu_before);
    result.outbox->file = file;
    Reply<OutboxStatus> status = (*store)->status();
    if (!status) return status.error();
    for (const LaneStatus& lane : status->lanes) result.outbox->left += lane.pending;
    return result;
  }

 private:
  /// Until all that was committed is in the log, or no more comes.
  void relay_rows(SqliteStore& store, OutboxWindow window) {
    RelayOptions options;
    options.batch_rows = bench_.relay_rows;
    options.codec = bench_.compression;
    options.on_refused = OnRefused::kHaltLane;
    options.on_event = [this](const RelayEvent& event) {
      // A database that others hold is what it is about; the broker's absence ends by itself.
      if (!facts(event.code).retriable) counts_.fail({event.code, event.what});
    };
    OutboxRelay relay(store, publisher_, std::move(options));
    std::jthread relaying([&relay](const std::stop_token& stop) { relay.run(stop); });
    for (auto& load : loads_) load->start(begin_, window, [&relay] { relay.kick(); });
    wait([this] { return std::ranges::all_of(loads_, [](auto& load) { return load->done(); }); });
    for (auto& load : loads_) load->join();
    std::uint64_t seen = 0;
    SteadyTime since = std::chrono::steady_clock::now();
    wait([&] {
      std::uint64_t published = relay.status().published;
      SteadyTime now = std::chrono::steady_clock::now();
      if (std::exchange(seen, published) != published) since = now;
      return published >= counts_.committed || now - since > kRelayPatience ||
             relay.status().state == RelayState::kHalted || StopSignal::forced();
    });
    relaying.request_stop();
    relaying.join();
    published_ = relay.status().published;
  }

  template <class Until>
  void wait(Until until) {
    while (!until() && !watch_.gone()) {
      if (StopSignal::requested()) {
        if (!interrupted_) interrupted_ = std::chrono::steady_clock::now();
        counts_.stop = true;
        counts_.wait_until(std::chrono::steady_clock::now() + kOutboxLook);
      } else {
        StopSignal::wait_for(kOutboxLook);
      }
      SteadyTime now = std::chrono::steady_clock::now();
      auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(now - begin_);
      if (samples_.size() < kMostOutboxSamples) samples_.push_back({elapsed, counts_.confirmed, 0});
      watch_.look(counts_.confirmed);
      if (watch_.gone()) counts_.stop = true;
      progress_({elapsed, now < begin_ + bench_.warm_up, counts_.confirmed, 0, {}});
    }
  }

  BenchResult collect(OutboxWindow window, const CpuTimes& cpu_before) {
    BenchResult result;
    SteadyTime end = std::min(window.until, std::chrono::steady_clock::now());
    end = std::min({end, interrupted_.value_or(end), watch_.gone().value_or(end)});
    result.measured = std::max<std::chrono::duration<double>>(end - window.from, {});
    result.confirmed = counts_.measured_confirmed;
    result.publish = publisher_.latencies();
    result.all_confirmed = published_;
    result.count_cpu_since(cpu_before, bench_.broker_pid);
    result.samples = samples_;
    result.error = counts_.error;
    if (interrupted_) result.interrupted = *interrupted_ - begin_;
    if (watch_.gone()) result.gone = *watch_.gone() - begin_;
    BenchOutbox& outbox = result.outbox.emplace();
    outbox.committed = counts_.measured_committed;
    outbox.all_committed = counts_.committed;
    for (auto& load : loads_) outbox.commit.add(load->latencies());
    return result;
  }

  const Bench& bench_;
  const std::function<void(const BenchProgress&)>& progress_;
  OutboxCounts counts_;
  EnqueueLoads loads_;
  BlockingClient client_;
  BrokerWatch watch_;
  TimedPublisher publisher_;
  SteadyTime begin_;
  std::optional<SteadyTime> interrupted_;
  std::uint64_t published_ = 0;
  std::vector<BenchSample> samples_;
};

}  // namespace

Reply<BenchResult> run_outbox_load(const Bench& bench, ClientOptions reach,
                                   const std::string& topic,
                                   const std::function<void(const BenchProgress&)>& progress) {
  namespace fs = std::filesystem;
  std::error_code failure;
  fs::path directory = bench.outbox_directory;
  if (directory.empty()) directory = fs::temp_directory_path(failure);
  if (failure) return RequestError(Errc::kDatabase, "the outbox: " + failure.message());
  std::string file = (directory / (topic + ".db")).string();
  reach.client_name = "waybill-bench";
  reach.request_timeout = bench.patience;  // the relay repeats it; one that ends waits for it
  Reply<BenchResult> result = OutboxRun(bench, reach, progress).run(file, topic);
  if (!bench.keep) {
    for (const char* part : {"", "-wal", "-shm"}) fs::remove(file + part, failure);
  }
  return result;
}

}  // namespace waybill::cli

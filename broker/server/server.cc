#include "broker/server/server.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <mutex>

#include "broker/core/shard.h"
#include "broker/server/build_info.h"
#include "broker/server/data_directory.h"
#include "broker/server/http.h"
#include "broker/server/listener.h"
#include "broker/server/log.h"
#include "broker/server/metrics.h"
#include "broker/server/shard_thread.h"
#include "broker/server/start_report.h"
#include "broker/server/users.h"

namespace waybill {
namespace {

using SteadyClock = std::chrono::steady_clock;

std::int64_t milliseconds_since(SteadyClock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - start).count();
}

DiskEngine to_engine(DiskChoice choice) {
  switch (choice) {
    case DiskChoice::kAuto:
      return DiskEngine::kAuto;
    case DiskChoice::kUring:
      return DiskEngine::kUring;
    case DiskChoice::kPool:
      return DiskEngine::kPool;
  }
  return DiskEngine::kAuto;
}

/// Collects the metrics of all threads; the last one to add its part hands the whole over.
class MetricsGathering {
 public:
  MetricsGathering(std::size_t threads, std::function<void(MetricsSnapshot)> done)
      : missing_(threads), done_(std::move(done)) {}

  void add(std::vector<std::pair<ShardIndex, ShardMetrics>> shards, std::size_t subscriptions) {
    std::lock_guard lock(mutex_);
    snapshot_.subscriptions += subscriptions;
    for (auto& shard : shards) snapshot_.shards.push_back(std::move(shard));
    if (--missing_ > 0) return;
    std::ranges::sort(snapshot_.shards, {}, [](const auto& shard) { return shard.first; });
    done_(std::move(snapshot_));
  }

 private:
  std::mutex mutex_;
  std::size_t missing_;
  MetricsSnapshot snapshot_;
  std::function<void(MetricsSnapshot)> done_;
};

void exit_now(const std::string& /*message*/) {
  std::_Exit(static_cast<int>(ExitCode::kFailed));
}

}  // namespace

/// One run. The members are in the order of their making; they go in the opposite one.
class Server::Running {
 public:
  Running(Config config, FailureHandler on_failure)
      : config_(std::move(config)),
        on_failure_(on_failure ? std::move(on_failure) : FailureHandler(exit_now)) {}
  ~Running() { stop(); }

  void start();
  bool stop();
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::uint16_t http_port() const { return http_port_; }

 private:
  struct Worker {
    std::unique_ptr<ShardThread> thread;
    std::unique_ptr<Listener> listener;  ///< lives on the thread
  };

  void check_config() const;
  void start_http();
  void recover(std::uint16_t thread_count);
  void make_listeners(std::vector<Descriptor> sockets);
  void adopt_catalog();
  void stop_listeners();
  bool close_shards();
  void gather_metrics(std::function<void(std::string)> done);

  Config config_;
  FailureHandler on_failure_;
  SteadyClock::time_point started_at_ = SteadyClock::now();
  Counters counters_;
  std::atomic<bool> ready_ = false;
  std::atomic<bool> recovered_ = false;
  std::uint16_t port_ = 0;
  std::uint16_t http_port_ = 0;
  std::optional<DataDirectory> directory_;
  std::unique_ptr<ThreadMailbox> mailbox_;
  std::vector<Worker> workers_;
  std::unique_ptr<HttpServer> http_;
};

void Server::Running::check_config() const {
  Reply<void> valid = validate(config_);
  if (!valid) throw StartError(ExitCode::kUsage, valid.error().explanation);
}

void Server::Running::start() {
  check_config();
  log_info("broker.starting", {{"version", kVersion}, {"data", config_.data_directory.string()}});
  log_start(report_limits(limits_now(config_.max_connections)));
  AccessFacts access{.users = std::nullopt, .loopback = is_loopback(config_.listen.host)};
  if (config_.users) access.users = config_.users->size();
  log_start({report_access(access)});
  directory_ = DataDirectory::open(config_.data_directory, config_.shards, config_.lock_patience);
  std::uint16_t shards = directory_->superblock().shard_count;
  std::uint16_t threads = std::min(shards, default_shard_count());
  std::vector<Descriptor> sockets = bind_shared(config_.listen, threads);
  port_ = bound_port(sockets.front());
  start_http();
  recover(threads);
  make_listeners(std::move(sockets));
  adopt_catalog();
  for (Worker& worker : workers_) worker.thread->call([&worker] { worker.listener->start(); });
  ready_ = true;
  log_info("broker.ready", {{"listen", config_.listen.host},
                            {"port", port_},
                            {"http_port", http_port_},
                            {"shards", shards},
                            {"threads", threads},
                            {"id", to_string(directory_->superblock().broker_id)},
                            {"new", directory_->created()},
                            {"ms", milliseconds_since(started_at_)}});
}

void Server::Running::start_http() {
  if (!config_.http) return;
  Descriptor socket = std::move(bind_shared(*config_.http, 1).front());
  http_port_ = bound_port(socket);
  http_ = std::make_unique<HttpServer>(
      std::move(socket), HttpServer::Sources{[this] { return ready_.load(); },
                                             [this](std::function<void(std::string)> done) {
                                               gather_metrics(std::move(done));
                                             }});
}

void Server::Running::recover(std::uint16_t thread_count) {
  mailbox_ = std::make_unique<ThreadMailbox>(directory_->superblock().shard_count, thread_count);
  for (std::uint16_t i = 0; i < thread_count; ++i) {
    ShardThread::Options options{
        .thread = i,
        .data_directory = config_.data_directory.string(),
        .engine = to_engine(config_.disk),
        .lock_fd = directory_->lock_fd(),
        .journal_file_size = config_.journal_file_size,
        .memory = config_.memory,
        .min_free = config_.min_free.value_or(
            default_min_free(config_, directory_->superblock().shard_count)),
        .segment_files = segment_files(limits_now(config_.max_connections)),
        .busy_poll = config_.busy_poll};
    workers_.push_back({std::make_unique<ShardThread>(options, *mailbox_, on_failure_), nullptr});
  }
  std::vector<std::future<void>> recoveries;
  for (Worker& worker : workers_) recoveries.push_back(worker.thread->recover());
  for (std::future<void>& recovery : recoveries) recovery.wait();
  for (std::future<void>& recovery : recoveries) recovery.get();
  for (Worker& worker : workers_) worker.thread->start();
  recovered_ = true;
}

void Server::Running::make_listeners(std::vector<Descriptor> sockets) {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Worker& worker = workers_[i];
    worker.thread->call([this, i, &worker, &socket = sockets[i]] {
      ConnectionHost host{
          .gateway = worker.thread->gateway(),
          .counters = counters_,
          // What divide_memory() leaves for it.
          .output = OutputBudget(config_.memory / workers_.size() / 8),
          .touched = [thread = worker.thread.get()] { thread->touch_home(); },
          .broker_id = directory_->superblock().broker_id,
          .users = config_.users.get(),
          .catalog = [home = worker.thread->find(
                          ShardIndex{static_cast<std::uint16_t>(i)})] { return home->catalog(); },
          .hello_timeout = config_.hello_timeout,
          .drain_timeout = config_.drain_timeout};
      worker.listener = std::make_unique<Listener>(worker.thread->context(), std::move(socket),
                                                   std::move(host), config_.max_connections);
    });
  }
}

void Server::Running::adopt_catalog() {
  auto adopted = std::make_shared<std::promise<void>>();
  std::future<void> result = adopted->get_future();
  ShardThread& first = *workers_.front().thread;
  first.post([&first, adopted] {
    first.find(ShardIndex{0})->start_catalog([adopted] { adopted->set_value(); });
    first.touch_home();
  });
  result.get();
}

bool Server::Running::stop() {
  if (!directory_) return true;
  bool was_ready = ready_.exchange(false);
  if (was_ready) log_info("broker.stopping", {{"connections", counters_.connections.load()}});
  stop_listeners();
  http_.reset();
  bool clean = close_shards();
  workers_.clear();
  mailbox_.reset();
  directory_.reset();
  if (was_ready) log_info("broker.stopped", {{"clean", clean}});
  return clean;
}

void Server::Running::stop_listeners() {
  if (!recovered_) return;
  std::vector<std::future<void>> stops;
  for (Worker& worker : workers_) {
    auto stopped = std::make_shared<std::promise<void>>();
    stops.push_back(stopped->get_future());
    worker.thread->post([&worker, stopped] {
      if (worker.listener) {
        worker.listener->stop([stopped] { stopped->set_value(); });
      } else {
        stopped->set_value();
      }
    });
  }
  // Answers to what one thread's clients asked may still come from the others: all first, then on.
  for (std::future<void>& stopped : stops) stopped.wait();
  for (Worker& worker : workers_) worker.thread->call([&worker] { worker.listener.reset(); });
}

bool Server::Running::close_shards() {
  if (!recovered_.exchange(false)) return true;
  std::vector<std::future<bool>> closings;
  for (Worker& worker : workers_) closings.push_back(worker.thread->close());
  bool clean = true;
  for (std::future<bool>& closing : closings) clean = closing.get() && clean;
  return clean;
}

void Server::Running::gather_metrics(std::function<void(std::string)> done) {
  auto finish = [this, done = std::move(done)](MetricsSnapshot snapshot) {
    snapshot.uptime =
        std::chrono::duration_cast<std::chrono::seconds>(SteadyClock::now() - started_at_);
    snapshot.resident_bytes = resident_bytes();
    snapshot.ready = ready_;
    done(format_metrics(snapshot, counters_));
  };
  if (!recovered_) {
    finish({});
    return;
  }
  auto gathering = std::make_shared<MetricsGathering>(workers_.size(), std::move(finish));
  for (Worker& worker : workers_) {
    worker.thread->post([gathering, thread = worker.thread.get()] {
      gathering->add(thread->metrics(), thread->gateway().subscription_count());
    });
  }
}

Server::Server(Config config, FailureHandler on_failure)
    : running_(std::make_unique<Running>(std::move(config), std::move(on_failure))) {}

Server::~Server() = default;

void Server::start() {
  running_->start();
}

bool Server::stop() {
  return running_->stop();
}

std::uint16_t Server::port() const {
  return running_->port();
}

std::uint16_t Server::http_port() const {
  return running_->http_port();
}

}  // namespace waybill

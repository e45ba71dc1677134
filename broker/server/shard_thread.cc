#include "broker/server/shard_thread.h"

#include <sched.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <optional>

#include "broker/core/shard.h"
#include "broker/server/data_directory.h"
#include "broker/server/log.h"
#include "broker/server/start_error.h"
#include "broker/server/start_report.h"

namespace waybill {
namespace {

using boost::system::error_code;
using SteadyTime = asio::steady_timer::time_point;

/// What is due within so long of each other is done in one turn.
constexpr std::chrono::milliseconds kTimerSlack{1};

/// SystemClock's monotonic time is steady_clock's.
SteadyTime to_steady(MonotonicTime time) {
  return SteadyTime(std::chrono::duration_cast<SteadyTime::duration>(Duration(time.nanoseconds)));
}

void log_recovery(ShardIndex shard, const RecoveryReport& report, std::chrono::milliseconds took) {
  log_info("shard.recovered", {{"shard", shard.value},
                               {"run", report.start_number},
                               {"files", report.files},
                               {"frames", report.frames},
                               {"entries", report.entries},
                               {"bytes", report.bytes},
                               {"ms", took.count()}});
  if (!report.passed_over.empty()) {
    log_warning("shard.checkpoint_damaged",
                {{"shard", shard.value},
                 {"detail", report.passed_over},
                 {"meaning", "the one before it was loaded: nothing is lost"}});
  }
  if (!report.moved_aside.empty()) {
    constexpr std::size_t kNamed = 10;
    const std::size_t named = std::min(report.moved_aside.size(), kNamed);
    std::string names;
    for (std::size_t i = 0; i < named; ++i) {
      names += (i == 0 ? "" : ", ") + report.moved_aside[i];
    }
    log_warning("shard.moved_aside",
                {{"shard", shard.value},
                 {"files", report.moved_aside.size()},
                 {"names", names + (named < report.moved_aside.size() ? ", ..." : "")},
                 {"meaning",
                  "they belong to nothing here: a crash left them, or somebody put them there. "
                  "They are in quarantine of the shard, and nothing deletes them"}});
  }
  if (report.torn_frames == 0) return;
  log_warning("shard.torn_tail",
              {{"shard", shard.value},
               {"frames", report.torn_frames},
               {"file", report.torn_at_file},
               {"position", report.torn_at_position},
               {"meaning",
                "a write was cut off by a crash; it had never been acknowledged and "
                "was discarded"}});
}

void log_flush_trouble(ShardIndex shard, const FlushTrouble& trouble) {
  if (trouble.error == Errc::kDamaged) {
    log_error(
        "shard.journal_damaged",
        {{"shard", shard.value},
         {"detail", trouble.detail},
         {"meaning",
          "acknowledged messages that were not in segments yet cannot be read, so the journal "
          "keeps its files and publishers will have to wait. Stop the broker; if there is no "
          "copy, waybill storage salvage says what is lost"}});
    return;
  }
  log_warning("shard.flush_stalled",
              {{"shard", shard.value},
               {"error", to_string(trouble.error)},
               {"meaning",
                "messages stay in the journal, which can grow to its bound only; it is tried again "
                "every second. If the disk is full, free some space"}});
}

void log_space(ShardIndex shard, const DiskSpaceChange& change) {
  const auto say = [&](auto log, const char* event, std::string meaning) {
    log(event, {{"shard", shard.value},
                {"free_bytes", change.free},
                {"wanted_bytes", change.wanted},
                {"meaning", std::move(meaning)}});
  };
  switch (change.kind) {
    case DiskSpaceChange::Kind::kLow:
      return say(log_warning, "disk.low",
                 "less is free than --min-free: publishers are refused with disk_full and groups "
                 "wait, until wanted_bytes are free; nothing is lost. Free some space");
    case DiskSpaceChange::Kind::kGiven:
      return say(log_warning, "disk.full",
                 "the disk is full, and the reserve is used to put away what was published: "
                 "publishers are refused with disk_full and groups wait, until wanted_bytes are "
                 "free; nothing is lost. Free some space");
    case DiskSpaceChange::Kind::kPlenty:
      return say(log_info, "disk.room_again", "there is enough free space again: all goes on");
    case DiskSpaceChange::Kind::kNoReserve:
      return say(log_warning, "disk.no_reserve",
                 change.error == Errc::kNoSpace
                     ? "there is no room for a reserve, which would let messages be put away when "
                       "the disk is full; --min-free applies. It is made when wanted_bytes are free"
                     : "there is no reserve, which would let messages be put away when the disk is "
                       "full; --min-free applies: " +
                           to_string(change.error));
  }
}

}  // namespace

struct ShardThread::Slot {
  Slot(asio::io_context& context, ShardIndex number) : index(number), timer(context) {}

  ShardIndex index;
  std::unique_ptr<Shard> shard;
  asio::steady_timer timer;
  std::optional<MonotonicTime> armed;  ///< what the timer waits for
  bool turn_due = false;
  bool failed = false;
};

/// Turns the disk's eventfd into calls of reap().
class ShardThread::DiskBridge {
 public:
  DiskBridge(ShardThread& thread, Disk& disk)
      : thread_(thread), disk_(disk), descriptor_(thread.context_, ::dup(disk.completion_fd())) {
    wait();
  }

 private:
  void wait() {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read,
                           [this](const error_code& failure) {
                             if (failure) return;  // the bridge is gone
                             std::uint64_t count = 0;
                             // Emptied before reaping: what finishes meanwhile rings again.
                             [[maybe_unused]] ssize_t ignored =
                                 ::read(descriptor_.native_handle(), &count, sizeof count);
                             disk_.reap();
                             disk_.submit();  // what completions queued
                             // What finished may be no progress of anybody's and yet let the next
                             // write in: an idle mark before a frame, a part of a spare file.
                             thread_.arm_all();
                             thread_.worked_at_ = std::chrono::steady_clock::now();
                             wait();
                           });
  }

  ShardThread& thread_;
  Disk& disk_;
  asio::posix::stream_descriptor descriptor_;
};

ShardThread::ShardThread(Options options, ThreadMailbox& mailbox, FailureHandler on_failure)
    : options_(std::move(options)),
      mailbox_(mailbox),
      on_failure_(std::move(on_failure)),
      context_(1),
      random_(system_seed()) {
  mailbox_.connect(options_.thread, [this] { asio::post(context_, [this] { run_mail(); }); });
}

ShardThread::~ShardThread() {
  context_.stop();
  if (thread_.joinable()) thread_.join();
}

std::future<void> ShardThread::recover() {
  std::promise<void> recovered;
  std::future<void> result = recovered.get_future();
  thread_ = std::thread(
      [this, recovered = std::move(recovered)]() mutable { run(std::move(recovered)); });
  return result;
}

void ShardThread::start() {
  call([this] { start_shards(); });
}

void ShardThread::start_shards() {
  for (auto& slot : slots_) {
    std::string explanation;
    Result<void> started = slot->shard->start(&explanation);
    if (!started) cannot_start(slot->index, started.error(), std::move(explanation));
    touch(*slot);  // recovery may have left due times
  }
}

void ShardThread::run(std::promise<void> recovered) {
  pthread_setname_np(pthread_self(), ("shards-" + std::to_string(options_.thread)).c_str());
  auto stay = asio::make_work_guard(context_);
  bool opened = false;
  try {
    open();
    opened = true;
    recovered.set_value();
  } catch (...) {
    recovered.set_exception(std::current_exception());
  }
  if (opened) serve();
  bridge_.reset();
  gateway_.reset();
  slots_.clear();
  disk_.reset();
}

void ShardThread::open() {
  std::string why;
  Result<std::unique_ptr<Disk>> disk =
      open_disk(options_.data_directory, options_.engine, &why, {.lock_fd = options_.lock_fd});
  if (!disk) {
    throw StartError(
        ExitCode::kDataDirectory,
        (why.empty() ? explain_disk_error(options_.data_directory, disk.error()) : why));
  }
  disk_ = std::move(*disk);
  if (options_.thread == 0) {
    const auto& posix = static_cast<const PosixDisk&>(*disk_);  // both engines are one
    log_start(report_disk({.engine = posix.engine(),
                           .sync_method = posix.sync_method(),
                           .direct = posix.direct(),
                           .obstacle = why}));
  }
  for (std::uint16_t i = options_.thread; i < mailbox_.shard_count();
       i += mailbox_.thread_count()) {
    recover_slot(ShardIndex{i});
  }
  gateway_ =
      std::make_unique<Gateway>(*slots_.front()->shard, mailbox_.sender(slots_.front()->index));
  bridge_ = std::make_unique<DiskBridge>(*this, *disk_);
}

void ShardThread::cannot_start(ShardIndex shard, const Error& error,
                               std::string explanation) const {
  if (explanation.empty()) explanation = explain_disk_error(options_.data_directory, error);
  throw StartError(ExitCode::kDataDirectory,
                   "shard " + std::to_string(shard.value) + ": " + explanation);
}

void ShardThread::recover_slot(ShardIndex shard) {
  auto before = std::chrono::steady_clock::now();
  ShardOptions options{.shard = shard,
                       .shard_count = mailbox_.shard_count(),
                       .journal_file_size = options_.journal_file_size,
                       .min_free = options_.min_free};
  keep_reserve(options);
  divide_memory(options_.memory / mailbox_.shard_count(), options);
  options.flush.max_files = options_.segment_files / mailbox_.shard_count();
  RecoveryReport report;
  std::string explanation;
  Result<std::unique_ptr<Shard>> recovered = recover_shard(
      {*disk_, clock_, random_, mailbox_.sender(shard)}, options, &report, &explanation);
  if (!recovered) cannot_start(shard, recovered.error(), std::move(explanation));
  log_recovery(shard, report,
               std::chrono::duration_cast<std::chrono::milliseconds>(
                   std::chrono::steady_clock::now() - before));
  auto slot = std::make_unique<Slot>(context_, shard);
  slot->shard = std::move(*recovered);
  slot->shard->on_touched([this, raw = slot.get()] { touch(*raw); });
  slot->shard->on_removed([](const Partition& partition, std::uint64_t messages) {
    log_warning("retention.removed", {{"topic_id", partition.topic.value},
                                      {"partition", partition.index.value},
                                      {"messages", messages},
                                      {"detail",
                                       "the topic's limit is reached: messages went that a "
                                       "group was not done with"}});
  });
  slot->shard->on_flush_trouble(
      [shard](const FlushTrouble& trouble) { log_flush_trouble(shard, trouble); });
  slot->shard->on_space_changed(
      [shard](const DiskSpaceChange& change) { log_space(shard, change); });
  slots_.push_back(std::move(slot));
}

void ShardThread::post(std::move_only_function<void()> task) {
  asio::post(context_, std::move(task));
}

Shard* ShardThread::find(ShardIndex shard) {
  for (auto& slot : slots_) {
    if (slot->index == shard) return slot->shard.get();
  }
  return nullptr;
}

void ShardThread::touch_home() {
  touch(*slots_.front());
}

std::vector<std::pair<ShardIndex, ShardMetrics>> ShardThread::metrics() const {
  std::vector<std::pair<ShardIndex, ShardMetrics>> all;
  for (const auto& slot : slots_) all.emplace_back(slot->index, slot->shard->metrics());
  return all;
}

// --- the loop ---

void ShardThread::serve() {
  while (!context_.stopped()) {
    if (context_.poll() > 0) continue;
    if (polls()) {
      ::sched_yield();
    } else {
      context_.run_one();
    }
  }
}

/// With more than a write of each shard on its way the waits are long, and the cores are wanted.
bool ShardThread::polls() const {
  return disk_->pending() <= slots_.size() &&
         std::chrono::steady_clock::now() - worked_at_ < options_.busy_poll;
}

void ShardThread::run_mail() {
  for (ThreadMailbox::Envelope& envelope : mailbox_.drain(options_.thread)) {
    Slot& slot = *slots_[envelope.to.value / mailbox_.thread_count()];
    if (slot.failed || !slot.shard) continue;
    envelope.call(*slot.shard);
    touch(slot);
  }
}

void ShardThread::touch(Slot& slot) {
  if (slot.turn_due) return;
  slot.turn_due = true;
  // To the end of the queue: whatever is ready now still joins this turn.
  asio::post(context_, [this, &slot] { turn(slot); });
}

void ShardThread::turn(Slot& slot) {
  slot.turn_due = false;
  if (slot.failed || !slot.shard) return;
  if (!slot.shard->poisoned()) slot.shard->turn();
  if (slot.shard->poisoned()) {
    fail(slot);
    return;
  }
  disk_->submit();
  arm(slot);
  worked_at_ = std::chrono::steady_clock::now();
}

void ShardThread::arm(Slot& slot) {
  std::optional<MonotonicTime> due = slot.shard->deadline();
  // What is due next moves with nearly every turn, and messages that wait are due every few
  // microseconds. Setting the timer costs a system call: it is set only to ring earlier than it
  // would, and never so soon that only one of them were due. Ringing too early costs a turn.
  if (!due) return;
  const MonotonicTime now = clock_.monotonic();
  if (*due > now) due = std::max(*due, now + kTimerSlack);
  if (slot.armed && *slot.armed <= *due) return;
  slot.armed = due;
  slot.timer.expires_at(to_steady(*due));
  slot.timer.async_wait([this, &slot](const error_code& cancelled) {
    if (cancelled) return;
    slot.armed.reset();
    touch(slot);
  });
}

void ShardThread::arm_all() {
  for (auto& slot : slots_) {
    if (slot->shard && !slot->failed && !slot->turn_due) arm(*slot);
  }
}

void ShardThread::fail(Slot& slot) {
  slot.failed = true;
  std::string message =
      "shard " + std::to_string(slot.index.value) + " of " + options_.data_directory +
      " has stopped: " + to_string(slot.shard->poison()) +
      ". What was being written has an unknown outcome; nothing acknowledged is lost. Check the "
      "disk (dmesg, free space), then start the broker again: it recovers by itself.";
  log_critical("shard.failed", {{"shard", slot.index.value}, {"detail", message}});
  on_failure_(message);
}

// --- the end ---

std::future<bool> ShardThread::close() {
  auto result = std::make_shared<std::promise<bool>>();
  post([this, result] { result->set_value(close_shards()); });
  return result->get_future();
}

bool ShardThread::close_shards() {
  bool clean = true;
  gateway_.reset();
  for (auto& slot : slots_) {
    slot->timer.cancel();
    Result<void> closed = slot->shard->close();
    if (!closed) {
      clean = false;
      log_error("shard.close_failed",
                {{"shard", slot->index.value}, {"error", to_string(closed.error())}});
    }
    slot->shard.reset();
  }
  return clean;
}

}  // namespace waybill

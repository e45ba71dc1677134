// ShardThread: one thread of the broker with the shards that live on it, their disk engine and the
// gateway through which this thread's connections reach all shards. It is the driver that
// broker/core/shard_runtime.h describes.
//
//   requests, mailbox calls, disk completions, due times
//        └─▶ touch(shard) ─▶ after the handlers that are ready now ─▶ shard.turn(), once
//
// An idle thread sleeps in epoll until a socket, the disk's eventfd, another thread's call or the
// earliest shard.deadline() wakes it. Shortly after a turn it does not sleep yet
// (Options::busy_poll): what it waits for is mostly one small write or one answer, and to wake a
// core that was halted costs as much as either. It yields meanwhile, so it takes only what nobody
// else wants.
//
// Everything inside is made, used and destroyed on the thread itself; the public functions may be
// called from outside, by one other thread. A shard whose journal failed is the end of the process:
// nothing more is acknowledged, the handler runs (S12).
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/core/gateway.h"
#include "broker/core/shard_runtime.h"
#include "broker/server/thread_mailbox.h"
#include "protocol/async/task.h"
#include "storage/io/disk_engine.h"

namespace waybill {

class ShardThread {
 public:
  struct Options {
    std::uint16_t thread = 0;
    std::string data_directory;
    DiskEngine engine = DiskEngine::kAuto;
    int lock_fd = -1;
    std::size_t journal_file_size = limits::kJournalFile;
    std::uint64_t memory = 0;       ///< the broker's whole budget
    std::uint64_t min_free = 0;     ///< of the file system, below which publishers are pushed back
    std::size_t segment_files = 0;  ///< of all shards, that may grow at once
    std::chrono::microseconds busy_poll{0};  ///< after a turn, before it sleeps
  };
  using FailureHandler = std::function<void(const std::string& message)>;

  /// `mailbox` outlives this and is connected by it.
  ShardThread(Options options, ThreadMailbox& mailbox, FailureHandler on_failure);
  /// Ends the thread. Shards that were not closed are simply dropped, as in a crash.
  ~ShardThread();
  ShardThread(const ShardThread&) = delete;
  ShardThread& operator=(const ShardThread&) = delete;

  /// Starts the thread, which recovers its shards. The future throws StartError if one cannot be
  /// recovered.
  std::future<void> recover();
  /// Lets the shards run, after recover(). Throws StartError. Apart from it, because a broker that
  /// cannot run must not begin a run of some of its shards: each takes a new journal file.
  void start();
  /// Closes the shards cleanly; the future says whether all could be. After a successful start()
  /// only, and when no connection of any thread is left.
  std::future<bool> close();

  /// Runs `task` on the thread and waits for it; what it throws is thrown here.
  template <class Function>
  auto call(Function task) {
    std::packaged_task<std::invoke_result_t<Function>()> packaged(std::move(task));
    auto result = packaged.get_future();
    post(std::move(packaged));
    return result.get();
  }
  /// Runs `task` on the thread, later.
  void post(std::move_only_function<void()> task);

  [[nodiscard]] asio::io_context& context() { return context_; }

  // On the thread only, between start() and close():

  [[nodiscard]] Gateway& gateway() { return *gateway_; }
  /// Something was handed to the gateway.
  void touch_home();
  /// Null if the shard lives elsewhere.
  [[nodiscard]] Shard* find(ShardIndex shard);
  [[nodiscard]] std::vector<std::pair<ShardIndex, ShardMetrics>> metrics() const;

 private:
  struct Slot;
  class DiskBridge;

  void run(std::promise<void> recovered);
  void serve();
  [[nodiscard]] bool polls() const;
  void open();
  void recover_slot(ShardIndex shard);
  void start_shards();
  [[noreturn]] void cannot_start(ShardIndex shard, const Error& error,
                                 std::string explanation) const;
  bool close_shards();
  void run_mail();
  void touch(Slot& slot);
  void turn(Slot& slot);
  void arm(Slot& slot);
  /// Deadlines that what the disk finished has moved.
  void arm_all();
  void fail(Slot& slot);

  Options options_;
  ThreadMailbox& mailbox_;
  FailureHandler on_failure_;
  asio::io_context context_;
  SystemClock clock_;
  SeededRandom random_;
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<DiskBridge> bridge_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<Gateway> gateway_;
  std::chrono::steady_clock::time_point worked_at_;  ///< the last turn, or what the disk finished
  std::thread thread_;
};

}  // namespace waybill

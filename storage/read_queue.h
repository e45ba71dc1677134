// ReadQueue: lets so many bytes be on their way from the device at once; what is more waits its
// turn, in order, and has no memory yet. Whoever reads old data by the hundred then takes no more
// memory than one who does. Belongs to one thread.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <utility>

namespace waybill {

class ReadQueue {
 public:
  /// Begins a read. False: it is over already, ended() will not be called.
  using Start = std::move_only_function<bool()>;

  /// One read is let through however large it is.
  explicit ReadQueue(std::size_t budget) : budget_(budget) {}

  /// Runs `start` at once if there is room for `size` bytes, else from ended().
  void add(std::size_t size, Start start) {
    waiting_.push_back({size, std::move(start)});
    if (waiting_.size() == 1) start_some();
  }
  /// A read of that many bytes is over.
  void ended(std::size_t size) {
    reading_ -= size;
    start_some();
  }
  /// What waits will never be begun.
  void clear() { waiting_.clear(); }
  /// Bytes that are being read.
  [[nodiscard]] std::size_t reading() const { return reading_; }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

 private:
  struct Waiting {
    std::size_t size = 0;
    Start start;
  };

  void start_some() {
    while (!waiting_.empty()) {
      const std::size_t size = waiting_.front().size;
      if (reading_ > 0 && reading_ + size > budget_) return;
      Start start = std::move(waiting_.front().start);
      waiting_.pop_front();
      reading_ += size;
      if (!start()) reading_ -= size;
    }
  }

  std::size_t budget_;
  std::size_t reading_ = 0;
  std::deque<Waiting> waiting_;
};

}  // namespace waybill

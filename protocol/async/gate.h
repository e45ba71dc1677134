// Shutdown is two questions: is there new work, and is the old work done. A Gate answers both:
// work holds a pass while it runs; close() lets nothing more in and completes when the last pass is
// back. Destroying a gate with work inside is a defect and stops the process (the idea is
// seastar's gate.hh). Not thread-safe: one gate, one executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstddef>
#include <utility>

#include "protocol/async/task.h"
#include "protocol/base/assert.h"
#include "protocol/base/result.h"

namespace waybill {

class Gate {
 public:
  /// Proof of being inside; moving it moves the duty to leave, destroying it leaves.
  class [[nodiscard]] Pass {
   public:
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&& other) noexcept {
      std::swap(gate_, other.gate_);
      return *this;
    }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    ~Pass() {
      if (gate_ != nullptr) gate_->leave();
    }

   private:
    friend class Gate;
    explicit Pass(Gate* gate) : gate_(gate) {}
    Gate* gate_;
  };

  explicit Gate(const asio::any_io_executor& executor)
      : emptied_(executor, asio::steady_timer::time_point::max()) {}
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate() { WB_ASSERT(inside_ == 0, "a gate was destroyed with work inside"); }

  /// A pass, or kClosed once close() was called.
  Result<Pass> enter() {
    if (closed_) return Error{Errc::kClosed, 0, "gate"};
    ++inside_;
    return Pass(this);
  }

  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] std::size_t inside() const { return inside_; }

  /// Refuses new passes from the call on; completes when none is out. May be awaited more than
  /// once. The gate must outlive the wait.
  Task<void> close() {
    closed_ = true;
    while (inside_ > 0) {
      auto wait = emptied_.async_wait(asio::as_tuple(asio::use_awaitable));
      co_await std::move(wait);
    }
  }

 private:
  void leave() {
    WB_ASSERT(inside_ > 0, "more left a gate than entered it");
    if (--inside_ == 0) emptied_.cancel();
  }

  asio::steady_timer emptied_;
  std::size_t inside_ = 0;
  bool closed_ = false;
};

}  // namespace waybill

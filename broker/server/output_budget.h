// OutputBudget: what the connections of one thread may together have unsent, or have asked for and
// not got yet. A connection has a bound of its own (kMaxOutputBuffer); a hundred of them that do
// not read would have a hundred times that. Once the budget is used up, a connection goes on with
// kLeastOutput only, so that those who read are served while others do not.
//
// Owned by the thread's Listener, used on the thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "protocol/base/assert.h"

namespace waybill {

class OutputBudget {
 public:
  /// What every connection may have, whatever the others have: one small answer.
  static constexpr std::size_t kLeastOutput = 64 * 1024;

  explicit OutputBudget(std::size_t limit) : limit_(limit) {}

  [[nodiscard]] bool used_up() const { return used_ > limit_; }
  /// What one more may have of it.
  [[nodiscard]] std::size_t room() const { return limit_ - std::min(used_, limit_); }

  void take(std::size_t bytes) { used_ += bytes; }
  void give_back(std::size_t bytes) {
    WB_ASSERT(bytes <= used_, "it was taken");
    used_ -= bytes;
    if (used_up()) return;
    for (std::function<void()>& wake : std::exchange(waiting_, {})) wake();
  }
  /// Calls `wake` once, when it is used up no more.
  void wait(std::function<void()> wake) { waiting_.push_back(std::move(wake)); }

 private:
  std::size_t limit_;
  std::size_t used_ = 0;
  std::vector<std::function<void()>> waiting_;
};

}  // namespace waybill

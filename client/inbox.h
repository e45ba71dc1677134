// What any thread hands to the client's strand: the first value into an empty box asks for one run
// there, all others of the burst ride along. A post for each would cost more than the work.
//
//   any thread   if (inbox.put(value)) post(run)
//   strand       for (Value& value : inbox.take()) ...
//
// Values come out in the order in which they went in.
#pragma once

#include <mutex>
#include <utility>
#include <vector>

namespace waybill {

template <class Value>
class Inbox {
 public:
  /// True if it was empty: the caller has take() run on the strand.
  [[nodiscard]] bool put(Value value) {
    std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    return values_.size() == 1;
  }
  /// Everything in it. Give the vector back with recycle(), so that it is not grown anew each time.
  [[nodiscard]] std::vector<Value> take() {
    std::vector<Value> taken = std::move(spare_);
    std::lock_guard lock(mutex_);
    taken.swap(values_);
    return taken;
  }
  /// On the strand.
  void recycle(std::vector<Value> taken) {
    taken.clear();
    spare_ = std::move(taken);
  }

 private:
  std::mutex mutex_;
  std::vector<Value> values_;  // guarded by mutex_
  std::vector<Value> spare_;   // the strand's
};

}  // namespace waybill

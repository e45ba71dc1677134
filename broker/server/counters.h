// What the network side of the broker counts, for /metrics. Shared by all threads; every number is
// independent of the others, so relaxed atomics are enough.
#pragma once

#include <atomic>
#include <cstdint>

namespace waybill {

struct Counters {
  using Number = std::atomic<std::uint64_t>;

  Number connections{0};  ///< gauge
  Number connections_accepted{0};
  Number connections_refused{0};  ///< over the limit
  Number requests{0};
  Number request_errors{0};
  Number connection_errors{0};  ///< connections that were closed for breaking the protocol
  Number received_bytes{0};
  Number sent_bytes{0};
  Number output_bytes{0};  ///< gauge: unsent, of requests that are not answered, and asked for

  static void add(Number& number, std::uint64_t amount = 1) {
    number.fetch_add(amount, std::memory_order_relaxed);
  }
  static void subtract(Number& number, std::uint64_t amount = 1) {
    number.fetch_sub(amount, std::memory_order_relaxed);
  }
};

}  // namespace waybill

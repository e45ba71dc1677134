// What messages of a load test hold: their keys and their values. Cheap to draw, so that a load
// measures the broker and not itself. Thread: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/random.h"
#include "tools/bench.h"

namespace waybill::cli {

class ValueChoice {
 public:
  /// Values of bench.size bytes, of the kind that bench.values says.
  explicit ValueChoice(const Bench& bench);
  /// The next value, for the caller to write into its first bytes; valid until the next call.
  MutableBytes draw(Random& random);

 private:
  ByteVector bytes_;
  std::size_t size_;
};

/// Keys 0 to n-1; with Zipf, key k is drawn with a weight of 1/(k+1).
class KeyChoice {
 public:
  explicit KeyChoice(const Bench& bench);
  /// "key-7"; nothing if messages have none.
  std::optional<std::string> draw(Random& random) const;

 private:
  std::uint64_t keys_;
  std::vector<double> sums_;  ///< of weights; empty if all weigh the same
};

}  // namespace waybill::cli

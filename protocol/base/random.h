// Randomness as an argument: seeded from the system in production, from a printed seed in tests.
#pragma once

#include <cstdint>

#include "protocol/base/ids.h"

namespace waybill {

class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t next() = 0;

  /// Uniform in [0, bound); requires bound > 0.
  std::uint64_t below(std::uint64_t bound) {
    WB_ASSERT(bound > 0, "an empty range has no number");
    __extension__ using Wide = unsigned __int128;  // not ISO C++, but both compilers have it
    return static_cast<std::uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
  }
  Uuid uuid() {
    Uuid uuid;
    store_little(uuid.bytes.data(), next());
    store_little(uuid.bytes.data() + 8, next());
    return uuid;
  }
};

/// SplitMix64 (Steele, Lea, Flood 2014): tiny, well distributed, the same everywhere.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() override {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

/// Seeded from the operating system.
std::uint64_t system_seed();

}  // namespace waybill

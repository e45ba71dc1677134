// SimContent: the bytes of a simulated file, copy-on-write in chunks of 4 KiB, so that a copy costs
// a pointer and thousands of crash images share almost everything. Chunks of zeros take no memory.
// Copies belong to one thread together: the sharing is counted, not locked.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "protocol/base/bytes.h"

namespace waybill {

class SimContent {
 public:
  static constexpr std::size_t kChunk = 4096;

  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Fills the buffer or stops at the end; returns the bytes read.
  std::size_t read(std::uint64_t position, MutableBytes buffer) const;
  [[nodiscard]] ByteVector bytes() const;
  /// Grows as needed; what lies between the old end and `position` reads as zeros.
  void write(std::uint64_t position, Bytes data);
  /// As writing what `other` holds there, but sharing it. Requires multiples of kChunk.
  void adopt(const SimContent& other, std::uint64_t position, std::uint64_t size);

 private:
  using Chunk = std::array<std::byte, kChunk>;
  using Chunks = std::vector<std::shared_ptr<Chunk>>;  ///< null is a chunk of zeros

  Chunks& own_chunks(std::uint64_t end);

  std::shared_ptr<Chunks> chunks_;
  std::uint64_t size_ = 0;
};

}  // namespace waybill

// AlignedMemory: a run of uninitialised bytes that starts at a multiple of 4096, as direct I/O
// wants it. Owned by one, moved, freed with its owner.
#pragma once

#include <cstdlib>
#include <memory>

#include "protocol/base/bytes.h"
#include "protocol/base/limits.h"

namespace waybill {

class AlignedMemory {
 public:
  AlignedMemory() = default;
  /// At least `size` bytes, rounded up to whole blocks.
  explicit AlignedMemory(std::size_t size)
      : size_((size + limits::kBlock - 1) / limits::kBlock * limits::kBlock) {
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(limits::kBlock, size_)));
    WB_ASSERT(size_ == 0 || data_ != nullptr, "out of memory");
  }

  [[nodiscard]] std::byte* data() const { return data_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] MutableBytes bytes() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace waybill

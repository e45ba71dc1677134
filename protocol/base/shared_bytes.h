// A reference-counted, immutable run of bytes: a received request body, or a slice of a journal
// frame that deliveries and the tail cache share. Copying copies a pointer; the memory lives as
// long as any slice of it. Safe to hand between threads, since nobody writes to it.
#pragma once

#include <memory>
#include <utility>

#include "protocol/base/bytes.h"

namespace waybill {

class SharedBytes {
 public:
  SharedBytes() = default;
  /// Takes the vector over.
  explicit SharedBytes(ByteVector bytes) {
    auto owner = std::make_shared<const ByteVector>(std::move(bytes));
    view_ = *owner;
    owner_ = std::move(owner);
  }
  /// A view into memory that `owner` keeps alive and nobody changes any more.
  SharedBytes(std::shared_ptr<const void> owner, Bytes view)
      : owner_(std::move(owner)), view_(view) {}

  [[nodiscard]] Bytes view() const { return view_; }
  [[nodiscard]] std::size_t size() const { return view_.size(); }
  [[nodiscard]] bool empty() const { return view_.empty(); }
  /// Requires offset + size <= this->size().
  [[nodiscard]] SharedBytes slice(std::size_t offset, std::size_t size) const {
    return {owner_, view_.subspan(offset, size)};
  }

 private:
  std::shared_ptr<const void> owner_;
  Bytes view_;
};

}  // namespace waybill

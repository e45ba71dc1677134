// Adds up one message against its limits, the same way before it is sent and when it arrives.
// Headers that begin with "wb-" do not count: the broker adds some to messages that are at a limit
// already, and bounds them itself. Internal to protocol/record.
#pragma once

#include <cstddef>
#include <string_view>

#include "protocol/base/limits.h"
#include "protocol/record/reserved_headers.h"

namespace waybill {

class MessageTally {
 public:
  explicit MessageTally(std::size_t key_and_value_size = 0) : payload_size_(key_and_value_size) {}

  void add_header(std::string_view key, std::size_t value_size) {
    if (key.starts_with(reserved_headers::kPrefix)) return;
    ++header_count_;
    header_size_ += key.size() + value_size;
  }
  void add_payload(std::size_t size) { payload_size_ += size; }

  [[nodiscard]] bool within_limits() const {
    return payload_size_ + header_size_ <= limits::kMaxMessage &&
           header_count_ <= limits::kMaxHeaders && header_size_ <= limits::kMaxHeaderBytes;
  }

 private:
  std::size_t payload_size_;
  std::size_t header_count_ = 0;
  std::size_t header_size_ = 0;
};

}  // namespace waybill

// A message as people and programs see it, outside any batch.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/clock.h"
#include "protocol/base/ids.h"

namespace waybill {

struct Header {
  std::string key;
  ByteVector value;
  friend bool operator==(const Header&, const Header&) = default;
};

/// Keys and values are bytes. A missing key means "unordered, any partition"; a missing value is a
/// tombstone. Headers that begin with "wb-" are the broker's (S26) and refused from applications.
struct Message {
  std::optional<ByteVector> key;
  std::optional<ByteVector> value;
  std::vector<Header> headers;
  WallTime timestamp;
  friend bool operator==(const Message&, const Message&) = default;
};

}  // namespace waybill

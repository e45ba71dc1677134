#include "client/message_times.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "protocol/base/bytes.h"
#include "protocol/record/reserved_headers.h"

namespace waybill {
namespace {

namespace reserved = reserved_headers;

void set_time(Message& message, std::string_view name, WallTime time) {
  std::erase_if(message.headers, [&](const Header& header) { return header.key == name; });
  Header header{std::string(name), ByteVector(reserved::kTimeSize)};
  store_little(header.value.data(), time.milliseconds);
  message.headers.push_back(std::move(header));
}

std::optional<WallTime> find_time(const Message& message, std::string_view name) {
  auto found = std::ranges::find(message.headers, name, &Header::key);
  if (found == message.headers.end() || found->value.size() != reserved::kTimeSize) return {};
  return WallTime{load_little<std::int64_t>(found->value.data())};
}

}  // namespace

void set_not_before(Message& message, WallTime time) {
  set_time(message, reserved::kNotBefore, time);
}

void set_expiry(Message& message, WallTime time) {
  set_time(message, reserved::kExpiry, time);
}

std::optional<WallTime> not_before(const Message& message) {
  return find_time(message, reserved::kNotBefore);
}

std::optional<WallTime> expiry(const Message& message) {
  return find_time(message, reserved::kExpiry);
}

}  // namespace waybill

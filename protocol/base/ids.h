// Strong types for everything that names something: two ids of different kinds never mix, and none
// turns into a number by itself.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "protocol/base/bytes.h"
#include "protocol/base/result.h"

namespace waybill {

/// A number with a meaning. `value` is read deliberately; there is no implicit conversion out.
template <class Tag, class Number>
struct StrongId {
  Number value{};
  friend constexpr auto operator<=>(const StrongId&, const StrongId&) = default;
};

/// Ids given by the catalog; never reused, 0 means "none".
using TopicId = StrongId<struct TopicIdTag, std::uint64_t>;
using GroupId = StrongId<struct GroupIdTag, std::uint64_t>;
/// A stream inside a shard: the shard's number in the top 16 bits, never reused (S13).
using StreamId = StrongId<struct StreamIdTag, std::uint64_t>;
using ShardIndex = StrongId<struct ShardIndexTag, std::uint16_t>;
using PartitionIndex = StrongId<struct PartitionIndexTag, std::uint32_t>;

/// The number of a record within its partition; contiguous, from 0.
struct Offset {
  std::int64_t value = 0;
  friend constexpr auto operator<=>(const Offset&, const Offset&) = default;
  friend constexpr Offset operator+(Offset offset, std::int64_t count) {
    return {offset.value + count};
  }
  friend constexpr Offset operator-(Offset offset, std::int64_t count) {
    return {offset.value - count};
  }
  friend constexpr std::int64_t operator-(Offset a, Offset b) { return a.value - b.value; }
  Offset& operator++() {
    ++value;
    return *this;
  }
};

/// Offsets [first, last], both included.
struct OffsetRange {
  Offset first;
  Offset last;
  friend constexpr bool operator==(const OffsetRange&, const OffsetRange&) = default;
  [[nodiscard]] constexpr std::int64_t count() const { return last - first + 1; }
};

/// 128 random bits: producers, client instances, messages.
struct Uuid {
  std::array<std::byte, 16> bytes{};
  friend constexpr auto operator<=>(const Uuid&, const Uuid&) = default;
  [[nodiscard]] bool is_nil() const { return *this == Uuid{}; }
};

/// "0191d3c4-7e2a-7c3b-9f10-5a6b7c8d9e0f"
std::string to_string(const Uuid& uuid);
Result<Uuid> parse_uuid(std::string_view text);

/// The durable or session producer a publish comes from.
struct ProducerId {
  Uuid uuid;
  friend constexpr auto operator<=>(const ProducerId&, const ProducerId&) = default;
};

/// One run of a client process, over all its connections and subscriptions (D10).
struct InstanceId {
  Uuid uuid;
  friend constexpr auto operator<=>(const InstanceId&, const InstanceId&) = default;
};

/// The right to settle one delivery (D4): the shard's start number, then a counter within that
/// start.
struct LeaseToken {
  std::uint32_t start = 0;
  std::uint64_t counter = 0;
  friend constexpr auto operator<=>(const LeaseToken&, const LeaseToken&) = default;
};

/// "<group>/<partition>-<n>" to people; the group's id makes it unique over incarnations (D1).
struct DeadLetterId {
  GroupId group;
  PartitionIndex partition;
  std::uint64_t number = 0;
  friend constexpr auto operator<=>(const DeadLetterId&, const DeadLetterId&) = default;
};

}  // namespace waybill

template <class Tag, class Number>
struct std::hash<waybill::StrongId<Tag, Number>> {
  std::size_t operator()(const waybill::StrongId<Tag, Number>& id) const noexcept {
    return std::hash<Number>{}(id.value);
  }
};
template <>
struct std::hash<waybill::Uuid> {
  std::size_t operator()(const waybill::Uuid& uuid) const noexcept {
    return waybill::load_little<std::uint64_t>(uuid.bytes.data()) ^
           waybill::load_little<std::uint64_t>(uuid.bytes.data() + 8);
  }
};

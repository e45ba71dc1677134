// Shared by the codec_*.cc: parsing a frame's metadata within bounds and checking its fields. The
// first failure wins and stays; later calls return harmless values, so that a decoder reads all its
// fields and asks once. This header knows protobuf only by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
#include "protocol/base/limits.h"
#include "protocol/base/shared_bytes.h"
#include "protocol/model/reply.h"

namespace google::protobuf {
class Message;
}

namespace waybill {

/// Appends the serialised message.
void append_meta(const google::protobuf::Message& message, ByteVector& meta);
/// Appends a copy of the bytes to the body.
void append_piece(Bytes bytes, std::vector<SharedBytes>& body);
inline void append_piece(const SharedBytes& bytes, std::vector<SharedBytes>& body) {
  if (!bytes.empty()) body.push_back(bytes);
}

/// 16 bytes, or none for nil.
void set_uuid(const Uuid& uuid, std::string& field);

class MetaDecoder {
 public:
  /// Parses `meta` into `message`, which stays empty if that fails.
  MetaDecoder(Bytes meta, const SharedBytes& body, google::protobuf::Message& message);

  [[nodiscard]] bool ok() const { return !failure_.has_value(); }
  /// The first failure; or that bytes of the body are left over; or success.
  Reply<void> finish();
  void fail(std::string_view field, std::string_view problem, Errc code = Errc::kInvalidRequest);
  void fail(RequestError error);

  std::uint64_t number(std::string_view field, std::uint64_t value, std::uint64_t min,
                       std::uint64_t max);
  template <class Number>
  Number number(std::string_view field, std::uint64_t value, std::uint64_t min, std::uint64_t max) {
    return static_cast<Number>(number(field, value, min, max));
  }
  /// Numbers of 1 (or `min`) to `last` are the enumerators.
  template <class Enum>
  Enum enumerator(std::string_view field, std::uint32_t value, Enum last, unsigned min = 1) {
    return static_cast<Enum>(number(field, value, min, static_cast<std::uint64_t>(last)));
  }
  Offset offset(std::string_view field, std::uint64_t value) {
    return {number<std::int64_t>(field, value, 0, INT64_MAX)};
  }
  /// An offset before which the last one of a range lies.
  OffsetRange range(std::uint64_t first, std::uint64_t last);
  PartitionIndex partition(std::uint32_t value) {
    return {number<std::uint32_t>("partition", value, 0, limits::kMaxPartitions - 1)};
  }
  std::chrono::milliseconds duration(std::string_view field, std::uint64_t value,
                                     std::chrono::milliseconds max);
  /// A topic's or group's name: stated, and not too long. Its spelling is the catalog's concern.
  std::string required_name(std::string_view field, const std::string& value);
  std::string text(std::string_view field, const std::string& value,
                   std::size_t max = limits::kMaxText);
  /// 16 bytes, or none for nil.
  Uuid uuid(std::string_view field, const std::string& value);
  Uuid required_uuid(std::string_view field, const std::string& value);

  /// The next `size` bytes of the body.
  SharedBytes piece(std::string_view field, std::uint64_t size, std::size_t min, std::size_t max);
  ByteVector copied_piece(std::string_view field, std::uint64_t size, std::size_t max) {
    return to_vector(piece(field, size, 0, max).view());
  }

  /// Calls `decode_element` for each element if their number is within [min, max]. Failures inside
  /// name the element: "parts[3].batch_size".
  template <class List, class Function>
  void each(std::string_view field, const List& list, std::size_t min, std::size_t max,
            Function decode_element) {
    if (!count(field, static_cast<std::size_t>(list.size()), min, max)) return;
    path_.push_back({field, 0});
    for (const auto& element : list) {
      decode_element(element);
      if (!ok()) return;
      ++path_.back().index;
    }
    path_.pop_back();
  }
  bool count(std::string_view field, std::size_t size, std::size_t min, std::size_t max);

 private:
  struct Step {
    std::string_view field;
    std::size_t index;
  };

  std::optional<RequestError> failure_;
  std::vector<Step> path_;
  SharedBytes body_;
  std::size_t body_read_ = 0;
};

/// For policy and leases in messages: ten years, so that sums of times never overflow.
inline constexpr std::chrono::milliseconds kMaxDuration = std::chrono::hours(10 * 365 * 24);

}  // namespace waybill

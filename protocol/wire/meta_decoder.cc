#include "protocol/wire/meta_decoder.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>

namespace waybill {
namespace {

/// Nesting of our messages is at most 5.
constexpr int kMaxNesting = 16;
/// Shorter metadata cannot hold enough elements to hurt, and need not be walked twice.
constexpr std::size_t kAlwaysSmall = 16 * 1024;

RequestError malformed(const char* text) {
  return {Errc::kMalformedFrame, text};
}

/// Walks serialised protobuf without allocating, so that a few megabytes of two-byte submessages do
/// not become gigabytes of objects. `type` is null inside of fields that this version does not
/// know.
class ElementCounter {
 public:
  Reply<void> walk(Bytes bytes, const google::protobuf::Descriptor& type, int depth) {
    if (depth > kMaxNesting) return malformed("the metadata is nested too deeply");
    ByteReader reader(bytes);
    while (reader.remaining() > 0) {
      std::uint64_t tag = reader.read_varint();
      if (tag >> 3 > INT32_MAX) return malformed("the metadata has an impossible field number");
      const auto* field = type.FindFieldByNumber(static_cast<int>(tag >> 3));
      Bytes content = skip_value(reader, tag & 7);
      if (!reader.ok()) return malformed("the metadata is not protobuf");
      bool is_element = (tag & 7) == 2 || field == nullptr;
      if (is_element && ++elements_ > limits::kMaxMetaElements) {
        return RequestError(Errc::kInvalidRequest,
                            "the metadata has too many elements (more than " +
                                std::to_string(limits::kMaxMetaElements) + "); split the request");
      }
      if ((tag & 7) != 2 || !field || !field->message_type()) continue;
      Reply<void> inside = walk(content, *field->message_type(), depth + 1);
      if (!inside) return inside;
    }
    return {};
  }

 private:
  /// The content of a length-delimited value. Groups do not exist in this protocol.
  static Bytes skip_value(ByteReader& reader, std::uint64_t wire_type) {
    switch (wire_type) {
      case 0:
        reader.read_varint();
        return {};
      case 1:
        return reader.read_bytes(8);
      case 2:
        return reader.read_bytes(reader.read_varint());
      case 5:
        return reader.read_bytes(4);
      default:
        return reader.read_bytes(SIZE_MAX);
    }
  }

  std::size_t elements_ = 0;
};

Reply<void> parse(Bytes meta, google::protobuf::Message& message) {
  if (meta.size() > limits::kMaxFrameMeta) return malformed("the metadata is above the limit");
  if (meta.size() > kAlwaysSmall) {
    Reply<void> bounded = ElementCounter().walk(meta, *message.GetDescriptor(), 1);
    if (!bounded) return bounded;
  }
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const std::uint8_t*>(meta.data()),
                                                static_cast<int>(meta.size()));
  stream.SetRecursionLimit(kMaxNesting);
  if (!message.ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage()) {
    message.Clear();
    return malformed("the metadata is not the protobuf message of this kind");
  }
  return {};
}

std::string range_text(std::uint64_t min, std::uint64_t max) {
  return std::to_string(min) + " to " + std::to_string(max);
}

}  // namespace

void append_meta(const google::protobuf::Message& message, ByteVector& meta) {
  std::size_t size = message.ByteSizeLong();
  WB_ASSERT(size <= INT32_MAX, "metadata fits protobuf's limit");
  std::size_t at = meta.size();
  meta.resize(at + size);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(meta.data() + at));
}

void append_piece(Bytes bytes, std::vector<SharedBytes>& body) {
  if (!bytes.empty()) body.emplace_back(to_vector(bytes));
}

void set_uuid(const Uuid& uuid, std::string& field) {
  field = uuid.is_nil() ? std::string() : std::string(as_text(uuid.bytes));
}

MetaDecoder::MetaDecoder(Bytes meta, const SharedBytes& body, google::protobuf::Message& message)
    : body_(body) {
  Reply<void> parsed = parse(meta, message);
  if (!parsed) failure_ = parsed.error();
}

Reply<void> MetaDecoder::finish() {
  std::size_t left = body_.size() - body_read_;
  if (ok() && left > 0) {
    fail("body", "has " + std::to_string(left) + " bytes more than the metadata says");
  }
  if (!ok()) return *failure_;
  return {};
}

void MetaDecoder::fail(std::string_view field, std::string_view problem, Errc code) {
  if (!ok()) return;
  std::string text;
  for (const Step& step : path_) {
    text.append(step.field).append("[").append(std::to_string(step.index)).append("].");
  }
  text.append(field).append(" ").append(problem);
  failure_ = RequestError(code, std::move(text));
}

void MetaDecoder::fail(RequestError error) {
  if (ok()) failure_ = std::move(error);
}

std::uint64_t MetaDecoder::number(std::string_view field, std::uint64_t value, std::uint64_t min,
                                  std::uint64_t max) {
  if (value >= min && value <= max) return value;
  fail(field, "is " + std::to_string(value) + ", must be " + range_text(min, max));
  return min;
}

OffsetRange MetaDecoder::range(std::uint64_t first, std::uint64_t last) {
  OffsetRange range{offset("first", first), offset("last", last)};
  if (range.first > range.last) fail("last", "is before first");
  return range;
}

std::chrono::milliseconds MetaDecoder::duration(std::string_view field, std::uint64_t value,
                                                std::chrono::milliseconds max) {
  return std::chrono::milliseconds(
      number(field, value, 0, static_cast<std::uint64_t>(max.count())));
}

std::string MetaDecoder::required_name(std::string_view field, const std::string& value) {
  if (value.empty()) fail(field, "is missing");
  return text(field, value, limits::kMaxNameLength);
}

std::string MetaDecoder::text(std::string_view field, const std::string& value, std::size_t max) {
  if (value.size() <= max) return value;
  fail(field,
       "has " + std::to_string(value.size()) + " bytes, at most " + std::to_string(max) + " fit");
  return {};
}

Uuid MetaDecoder::uuid(std::string_view field, const std::string& value) {
  Uuid uuid;
  if (value.empty()) return uuid;
  if (value.size() != uuid.bytes.size()) {
    fail(field, "has " + std::to_string(value.size()) + " bytes, must have 16");
    return uuid;
  }
  std::memcpy(uuid.bytes.data(), value.data(), value.size());
  return uuid;
}

Uuid MetaDecoder::required_uuid(std::string_view field, const std::string& value) {
  Uuid found = uuid(field, value);
  if (found.is_nil()) fail(field, "is missing");
  return found;
}

SharedBytes MetaDecoder::piece(std::string_view field, std::uint64_t size, std::size_t min,
                               std::size_t max) {
  std::size_t left = body_.size() - body_read_;
  if (size > max) {
    fail(field, "is " + std::to_string(size) + ", at most " + std::to_string(max) + " fit",
         Errc::kMessageTooLarge);
  } else if (size < min) {
    fail(field, "is " + std::to_string(size) + ", must be at least " + std::to_string(min));
  } else if (size > left) {
    fail(field, "is " + std::to_string(size) + ", but the body has only " + std::to_string(left) +
                    " bytes left");
  }
  if (!ok()) return {};
  SharedBytes piece = body_.slice(body_read_, size);
  body_read_ += size;
  return piece;
}

bool MetaDecoder::count(std::string_view field, std::size_t size, std::size_t min,
                        std::size_t max) {
  if (size >= min && size <= max) return ok();
  fail(field, "has " + std::to_string(size) + " elements, must have " + range_text(min, max));
  return false;
}

}  // namespace waybill

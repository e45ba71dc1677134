// Any struct of protocol/model/requests.h, filled with a different value in every field, and the
// comparison of two of them; both walk the fields by themselves, so a new field cannot be
// forgotten.
#pragma once

#include <boost/pfr.hpp>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "protocol/wire/codec.h"

namespace waybill::test {

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsReply : std::false_type {};
template <class T>
struct IsReply<Reply<T>> : std::true_type {};

class Filler {
 public:
  template <class T>
  void fill(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      value = true;
    } else if constexpr (std::is_enum_v<T> && !std::is_same_v<T, std::byte>) {
      value = static_cast<T>(2);
    } else if constexpr (std::is_arithmetic_v<T>) {
      value = static_cast<T>(next());
    } else if constexpr (std::is_same_v<T, std::byte>) {
      value = static_cast<std::byte>(next());
    } else if constexpr (std::is_same_v<T, std::chrono::milliseconds>) {
      value = std::chrono::milliseconds(1000 + next());  // within every range
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = "text-" + std::to_string(next());
    } else if constexpr (std::is_same_v<T, SharedBytes>) {
      value = SharedBytes(ByteVector(70, static_cast<std::byte>(next())));
    } else if constexpr (std::is_same_v<T, Uuid>) {
      for (std::byte& byte : value.bytes) fill(byte);
    } else if constexpr (IsOptional<T>::value) {
      fill(value.emplace());
    } else if constexpr (IsVector<T>::value) {
      fill_list(value);
    } else {
      boost::pfr::for_each_field(value, [&](auto& field) { fill(field); });
    }
  }

 private:
  /// Rises, so that lasts come after firsts.
  std::int64_t next() { return ++last_; }

  template <class T>
  void fill_list(std::vector<T>& list) {
    if constexpr (std::is_same_v<T, Reply<void>>) {
      list.emplace_back();
      list.emplace_back(RequestError(Errc::kLeaseLost, "a reason"));
    } else if constexpr (IsReply<T>::value) {
      typename T::value_type value;
      fill(value);
      list.emplace_back(value);
      list.emplace_back(RequestError(Errc::kDiskFull, "another reason"));
    } else {
      list.resize(2);
      for (T& element : list) fill(element);
    }
  }

  std::int64_t last_ = 10;
};

template <class T>
T filled() {
  T value;
  Filler().fill(value);
  return value;
}

template <class T>
bool same(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, SharedBytes>) {
    return equal(a.view(), b.view());
  } else if constexpr (IsOptional<T>::value) {
    return a.has_value() == b.has_value() && (!a || same(*a, *b));
  } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, ByteVector> ||
                       std::is_same_v<T, Uuid> || std::is_arithmetic_v<T> || std::is_enum_v<T> ||
                       std::is_same_v<T, std::chrono::milliseconds>) {
    return a == b;
  } else if constexpr (IsVector<T>::value) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (!same(a[i], b[i])) return false;
    }
    return true;
  } else if constexpr (IsReply<T>::value) {
    if (a.ok() != b.ok()) return false;
    if (!a.ok()) {
      return a.error().code == b.error().code && a.error().explanation == b.error().explanation;
    }
    if constexpr (!std::is_void_v<typename T::value_type>) return same(*a, *b);
    return true;
  } else {
    bool all = true;
    boost::pfr::for_each_field(a, [&]<class Field, class Index>(const Field& field, Index) {
      all = all && same(field, boost::pfr::get<Index::value>(b));
    });
    return all;
  }
}

/// Calls function.template operator()<Struct>() for every request, reply and push.
template <class Function>
void for_each_struct(Function function) {
  auto each_request = [&]<class... Requests>(TypeList<Requests...>) {
    auto with_reply = [&]<class Request>() {
      function.template operator()<Request>();
      if constexpr (!std::is_void_v<ReplyOf<Request>>) {
        function.template operator()<ReplyOf<Request>>();
      }
    };
    (with_reply.template operator()<Requests>(), ...);
  };
  each_request(AllRequests{});
  function.template operator()<DeliverPush>();
  function.template operator()<RevokePush>();
}

template <class Struct>
OutFrame frame_of(const Struct& value, std::uint32_t correlation = 7) {
  if constexpr (Wire<Struct>::kType == FrameType::kRequest) {
    return encode_request(correlation, value);
  } else if constexpr (Wire<Struct>::kType == FrameType::kReply) {
    return encode_reply(correlation, value);
  } else {
    return encode_push(value);
  }
}

/// The two parts of a frame's payload.
struct Payload {
  ByteVector meta;
  ByteVector body;
};

template <class Struct>
Payload payload_of(const Struct& value) {
  Payload payload;
  std::vector<SharedBytes> pieces;
  encode(value, payload.meta, pieces);
  for (const SharedBytes& piece : pieces) {
    payload.body.insert(payload.body.end(), piece.view().begin(), piece.view().end());
  }
  return payload;
}

/// What a decoder made of some bytes, without its type.
struct Heard {
  bool as_filled = false;   ///< it is the struct with every field filled
  bool as_default = false;  ///< it is the struct as it is without any
  Payload again;            ///< it, encoded
};

/// One struct of the protocol, without its type. Tests of all structs go through these: what they
/// ask is compiled once for each struct, in samples.cc.
struct AnyStruct {
  std::string name;
  FrameType type = FrameType::kRequest;
  ByteVector filled_frame;
  ByteVector default_frame;
  Payload filled;
  std::function<Reply<Heard>(const Frame&)> decode_frame;
  std::function<Reply<Heard>(Bytes meta, Bytes body)> decode_payload;
};

/// Every request, reply and push.
const std::vector<AnyStruct>& all_structs();

inline ByteVector bytes_of(const OutFrame& frame) {
  ByteVector bytes = frame.head;
  for (const SharedBytes& piece : frame.body) {
    bytes.insert(bytes.end(), piece.view().begin(), piece.view().end());
  }
  return bytes;
}

/// Gives the decoder `bytes` in runs of at most `step` and collects the frames up to an error.
inline Result<std::vector<Frame>> feed(FrameDecoder& decoder, Bytes bytes,
                                       std::size_t step = SIZE_MAX) {
  std::vector<Frame> frames;
  while (true) {
    Result<std::optional<Frame>> frame = decoder.next();
    if (!frame) return frame.error();
    if (*frame) {
      frames.push_back(std::move(**frame));
      continue;
    }
    if (bytes.empty()) return frames;
    MutableBytes place = decoder.prepare();
    std::size_t size = std::min({place.size(), bytes.size(), step});
    std::memcpy(place.data(), bytes.data(), size);
    decoder.commit(size);
    bytes = bytes.subspan(size);
  }
}

inline FrameDecoder decoder_after_hello() {
  return FrameDecoder(rules_after_hello(kMaxProtocolVersion));
}

}  // namespace waybill::test

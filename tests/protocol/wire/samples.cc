#include "tests/protocol/wire/samples.h"

#include <typeinfo>

namespace waybill::test {
namespace {

template <class Struct>
Heard heard(const Struct& value) {
  return {same(value, filled<Struct>()), same(value, Struct{}), payload_of(value)};
}

template <class Struct>
AnyStruct any_struct() {
  AnyStruct any;
  any.name = typeid(Struct).name();
  any.type = Wire<Struct>::kType;
  any.filled_frame = bytes_of(frame_of(filled<Struct>()));
  any.default_frame = bytes_of(frame_of(Struct{}));
  any.filled = payload_of(filled<Struct>());
  any.decode_frame = [](const Frame& frame) -> Reply<Heard> {
    Reply<Struct> value = decode_as<Struct>(frame);
    if (!value) return value.error();
    return heard(*value);
  };
  any.decode_payload = [](Bytes meta, Bytes body) -> Reply<Heard> {
    Struct value;
    Reply<void> decoded = decode(meta, SharedBytes(to_vector(body)), value);
    if (!decoded) return decoded.error();
    return heard(value);
  };
  return any;
}

}  // namespace

const std::vector<AnyStruct>& all_structs() {
  static const std::vector<AnyStruct> all = [] {
    std::vector<AnyStruct> structs;
    for_each_struct([&]<class Struct>() { structs.push_back(any_struct<Struct>()); });
    return structs;
  }();
  return all;
}

}  // namespace waybill::test

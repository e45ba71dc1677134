// The three frames whose bytes are fixed in tests/golden/wire_*.hex, two of which PROTOCOL.md
// shows.
#pragma once

#include "protocol/wire/codec.h"

namespace waybill::test {

inline HelloRequest example_hello() {
  HelloRequest hello;
  hello.instance = {*parse_uuid("0191d3c4-7e2a-7c3b-9f10-5a6b7c8d9e0f")};
  hello.instance_start = 3;
  hello.client_name = "example/1.0";
  return hello;
}

inline PublishRequest example_publish() {
  PublishPart part;
  part.topic = {7};
  part.partition = {2};
  part.producer = ProducerStamp{
      {*parse_uuid("0191d3c4-7e2a-7c3b-9f10-5a6b7c8d9e10")}, ProducerKind::kDurable, 4, 250, 300};
  part.expected_end = Offset{1000};
  part.batch = SharedBytes(to_vector(as_bytes("not a real batch")));
  return {{part}};
}

inline PublishReply example_publish_reply() {
  PublishReply reply;
  reply.parts.emplace_back(PublishResult{{1000}, true});
  reply.parts.emplace_back(RequestError(Errc::kDiskFull, "try later"));
  return reply;
}

}  // namespace waybill::test

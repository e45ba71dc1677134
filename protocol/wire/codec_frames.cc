// The generic part of the codec: error frames, and what a peer accepts.
#include "protocol/wire/codec.h"
#include "protocol/wire/parts.h"
#include "waybill.pb.h"

namespace waybill {

Reply<void> check_size(const OutFrame& frame) {
  if (frame.size() > limits::kMaxFrame) {
    return RequestError(Errc::kMessageTooLarge,
                        "the frame would have " + std::to_string(frame.size()) +
                            " bytes, at most " + std::to_string(limits::kMaxFrame) +
                            " travel; ask for less or split it");
  }
  std::size_t meta_size = frame.head.size() - kFrameHeaderSize;
  if (meta_size > limits::kMaxFrameMeta) {
    return RequestError(Errc::kMessageTooLarge, "the metadata would have " +
                                                    std::to_string(meta_size) + " bytes, at most " +
                                                    std::to_string(limits::kMaxFrameMeta) +
                                                    " travel; ask for less or split it");
  }
  return {};
}

OutFrame encode_error(std::uint32_t correlation, RequestKind kind, const RequestError& error,
                      std::uint8_t version) {
  OutFrame frame;
  frame.head.resize(kFrameHeaderSize);
  wire::ErrorReply message;
  to_wire(error, message);
  append_meta(message, frame.head);
  finish_frame(frame, {.kind = kind,
                       .type = FrameType::kError,
                       .version = kind == RequestKind::kHello ? kHelloVersion : version,
                       .correlation = correlation});
  return frame;
}

RequestError decode_error(const Frame& frame) {
  wire::ErrorReply message;
  MetaDecoder in(frame.meta(), frame.body(), message);
  RequestError error = from_wire(in, message);
  Reply<void> decoded = in.finish();
  return decoded ? error : RequestError(Errc::kMalformedFrame, decoded.error().explanation);
}

}  // namespace waybill

#include "protocol/wire/version.h"

#include <algorithm>

namespace waybill {
namespace {

std::string window_text(unsigned min, unsigned max) {
  return std::to_string(min) + " to " + std::to_string(max);
}

}  // namespace

Reply<Negotiated> negotiate(const HelloRequest& hello, const VersionWindow& ours) {
  std::uint8_t version = std::min(hello.max_version, ours.max);
  if (version < hello.min_version || version < ours.min) {
    bool client_is_old = hello.max_version < ours.min;
    return RequestError(Errc::kUnsupportedVersion,
                        "the client speaks protocol versions " +
                            window_text(hello.min_version, hello.max_version) + ", this broker " +
                            window_text(ours.min, ours.max) + "; upgrade the " +
                            (client_is_old ? "client" : "broker"));
  }
  return Negotiated{version, hello.features & ours.features};
}

Reply<Negotiated> accept_negotiated(const HelloRequest& offered, const HelloReply& reply) {
  if (reply.version < offered.min_version || reply.version > offered.max_version) {
    return RequestError(Errc::kUnsupportedVersion,
                        "the broker chose protocol version " + std::to_string(reply.version) +
                            ", outside of the offered " +
                            window_text(offered.min_version, offered.max_version));
  }
  if ((reply.features & ~offered.features) != 0) {
    return RequestError(Errc::kInvalidRequest, "the broker chose features that were not offered");
  }
  return Negotiated{reply.version, reply.features};
}

}  // namespace waybill

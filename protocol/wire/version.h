// Which versions and features this side speaks, and how two sides agree. Hello itself never
// changes its form: its frames always carry kHelloVersion, all later ones the agreed version.
#pragma once

#include <cstdint>

#include "protocol/model/requests.h"

namespace waybill {

inline constexpr std::uint8_t kMinProtocolVersion = 1;
inline constexpr std::uint8_t kMaxProtocolVersion = 1;
inline constexpr std::uint8_t kHelloVersion = 1;

/// Feature bits of this side; version 1 has none. A bit counts only if both sides state it.
inline constexpr std::uint64_t kFeatures = 0;

struct VersionWindow {
  std::uint8_t min = kMinProtocolVersion;
  std::uint8_t max = kMaxProtocolVersion;
  std::uint64_t features = kFeatures;
};

struct Negotiated {
  std::uint8_t version = 1;
  std::uint64_t features = 0;
  friend bool operator==(const Negotiated&, const Negotiated&) = default;
};

/// The broker's side: the highest version in both windows and the features in both sets, or
/// kUnsupportedVersion with a sentence that names both windows.
Reply<Negotiated> negotiate(const HelloRequest& hello, const VersionWindow& ours = {});
/// The client's side: the broker's choice lies inside what was offered.
Reply<Negotiated> accept_negotiated(const HelloRequest& offered, const HelloReply& reply);

}  // namespace waybill

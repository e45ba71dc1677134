// Why a delivery did not succeed: what a consumer says, and what the broker keeps of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/clock.h"
#include "protocol/base/ids.h"

namespace waybill {

/// How a failure is charged (DESIGN 6). Numbers are on the wire and on disk.
enum class FailureClass : std::uint8_t {
  kTransient = 1,    ///< a dependency is down: waits, charged only after 24 h
  kFailed = 2,       ///< it did not work: charged
  kInvalid = 3,      ///< it can never work: a dead letter at once
  kTimeout = 4,      ///< the lease ran out after work had started: charged
  kUnexplained = 5,  ///< the consumer vanished; counted apart, never charged by itself
};
std::string_view name(FailureClass failure_class);

struct Failure {
  FailureClass failure_class = FailureClass::kFailed;
  std::string code;    ///< short and stable, for grouping: "unknown_state"; at most 64 bytes
  std::string detail;  ///< for a person; cut at 1024 bytes
  friend bool operator==(const Failure&, const Failure&) = default;
};

/// At most `limit` bytes of the text, cut between UTF-8 characters and ending with "…" if it was
/// cut.
std::string cut_text(std::string text, std::size_t limit);

/// The failure with code and detail cut to their limits (detail ends with "…" if it was cut).
Failure bounded(Failure failure);

/// Equal failures share a fingerprint: class, code, and the detail with what varies from message to
/// message taken out.
std::uint64_t fingerprint(const Failure& failure);
/// The detail as the fingerprint sees it; shown as the title of a group of dead letters. `<n>`
/// stands for a run of digits, a uuid, 0x and hexadecimal digits, or a word of 8 or more
/// hexadecimal digits with a decimal one among them; `<text>` for text in "", '' or ``. At most 256
/// bytes.
std::string normalised_detail(std::string_view detail);

/// One failed attempt in a message's history.
struct Attempt {
  WallTime at;                    ///< when it ended
  std::uint32_t delivery = 0;     ///< its number, from 1
  std::uint32_t duration_ms = 0;  ///< from lease to settlement
  InstanceId consumer;
  Failure failure;
  friend bool operator==(const Attempt&, const Attempt&) = default;
};

}  // namespace waybill

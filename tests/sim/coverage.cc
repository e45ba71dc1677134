#include "tests/sim/coverage.h"

#include <algorithm>
#include <iterator>

#include "protocol/base/assert.h"

namespace waybill {
namespace {

/// Every state that a long run must have reached.
constexpr std::string_view kStates[] = {
    // faults
    "power lost",
    "power lost while work was in flight",
    "power lost right after an answer",
    "process killed",
    "clean stop",
    "crash in recovery",
    "cut inside a disk call",
    "write error",
    "short write",
    "full disk",
    "publish refused: disk full",
    "less free than the watermark",
    "reserve given",
    "room again",
    "slow disk",
    "broker paused",
    "clock forward",
    "clock back",
    "request queue full",
    "connection lost",
    "connection half open",
    // publishing
    "publish confirmed",
    "publish outcome unknown",
    "publish repeated on a new connection",
    "duplicate answered",
    "late duplicate answered",
    "durable producer taken over",
    "fenced",
    "compare-and-append refused",
    "compare-and-append accepted",
    // delivering
    "delivered",
    "delivered in a range",
    "delivered again",
    "acked",
    "retried",
    "transient",
    "retried after a time of its own",
    "released",
    "lease ran out unstarted",
    "lease ran out started",
    "extended",
    "claimed after a restart",
    "consumer crashed holding leases",
    "crash of one held alone charged",
    "last attempt alone after a timeout",
    "consumer left cleanly",
    "settlement repeated on a new connection",
    "settlement of a lost lease refused",
    "settled before",
    "settled with a stolen token refused",
    "settlement outcome unknown",
    "delivered after a restart with failures kept",
    // dead letters
    "dead: max_failures",
    "dead: invalid",
    "dead: requested",
    "dead: delivery_limit",
    "redriven",
    "redriven and acked",
    "redriven and died again",
    "fixed",
    "discarded",
    "erased",
    "dead letter over a restart",
    // groups
    "policy changed",
    "group paused",
    "brake open",
    "brake probing",
    "brake forced",
    "brake had to trip",
    "group reset",
    "group reset with its dead letters",
    "group reset while paused",
    "reset tried dry",
    "skipped by a reset",
    "several topics",
    "compacted",
    "counted as compacted",
    // order and time
    "delivered in order of its key",
    "delivered in order of its partition",
    "revoked",
    "taken back in order",
    "held",
    "held full",
    "window full",
    "index full",
    "scheduled",
    "delivered at its time",
    "expired",
    "dead: expired",
    "accounting added up",
    "accounting counted anew",
};

}  // namespace

void Coverage::count(std::string_view what, std::uint64_t times) {
  const auto* known = std::ranges::find(kStates, what);
  WB_ASSERT(known != std::end(kStates), "a state of coverage.cc");
  counts_[*known] += times;
}

void Coverage::add(const Coverage& other) {
  for (const auto& [what, times] : other.counts_) counts_[what] += times;
}

std::uint64_t Coverage::operator[](std::string_view what) const {
  auto found = counts_.find(what);
  return found == counts_.end() ? 0 : found->second;
}

std::vector<std::string_view> Coverage::missing() const {
  std::vector<std::string_view> missing;
  for (std::string_view state : kStates) {
    if ((*this)[state] == 0) missing.push_back(state);
  }
  return missing;
}

std::string Coverage::table() const {
  std::string text;
  for (std::string_view state : kStates) {
    std::string number = std::to_string((*this)[state]);
    text += std::string(12 - std::min<std::size_t>(number.size(), 11), ' ') + number + "  " +
            std::string(state) + "\n";
  }
  return text;
}

}  // namespace waybill

// Whether a group will deliver nothing more until a person does something: then `consume
// --exit-at-end` says so and ends, instead of waiting for ever. One run's; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "protocol/model/requests.h"

namespace waybill::cli {

/// Messages that will be delivered or settled without anybody's doing: what is scheduled may come
/// in a year, what is held waits for a person.
inline std::uint64_t open_now(const GroupPartitionStatus& status) {
  const Accounting& one = status.accounting;
  return one.ready + one.leased + one.delayed;
}

struct Standstill {
  std::string why;
  std::string next;  ///< what a person can do about it
};

class StandstillWatch {
 public:
  /// Nothing while the group may go on by itself. A paused group, a brake forced open and
  /// partitions full of held messages stand still. An open brake does once a probe failed while
  /// this run could see it: it is given one chance, since only who stays until a probe can close
  /// it.
  std::optional<Standstill> look(const DescribeGroupReply& group);

 private:
  std::optional<WallTime> not_closed_since_;  ///< as it was first seen
};

}  // namespace waybill::cli

#include "tools/standstill.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/escape.h"

namespace waybill::cli {
namespace {

/// A full partition with nothing under way: only a resolved dead letter gives room.
bool full_of_held(const GroupPartitionStatus& status) {
  const Accounting& one = status.accounting;
  return status.waiting == Waiting::kHeldFull && one.leased + one.delayed == 0;
}

}  // namespace

std::optional<Standstill> StandstillWatch::look(const DescribeGroupReply& reply) {
  const std::string& group = reply.group.name;
  const Brake& brake = reply.group.brake;
  if (reply.group.paused) {
    return Standstill{"the group is paused",
                      fmt::format("'waybill group resume {}' lets it go on", group)};
  }
  if (brake.mode == BrakeMode::kForcedOpen) {
    return Standstill{
        "the group's brake was forced open",
        fmt::format("'waybill group brake {} auto' leaves it to the broker again", group)};
  }
  if (brake.state == BrakeState::kClosed) {
    not_closed_since_.reset();
  } else if (!not_closed_since_) {
    not_closed_since_ = brake.since;
  } else if (brake.state == BrakeState::kOpen && brake.since != *not_closed_since_) {
    return Standstill{"the group's brake is open: " + escaped_line(brake.cause),
                      fmt::format("repair what fails and run this again, or let\n"
                                  "'waybill group brake {} closed' deliver whatever fails",
                                  group)};
  }
  bool goes_on = std::ranges::any_of(reply.partitions, [](const GroupPartitionStatus& status) {
    return open_now(status) > 0 && !full_of_held(status);
  });
  if (goes_on) return std::nullopt;
  return Standstill{"as many messages as the group may hold wait behind its dead letters",
                    fmt::format("redrive or discard some of them ('waybill dlq list {0}'), or\n"
                                "raise the limit ('waybill group set {0} --max-held')",
                                group)};
}

}  // namespace waybill::cli

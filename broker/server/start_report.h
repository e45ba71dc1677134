// What a start says about the ground it stands on: a line each for the disk engine, the sync
// method, the kind of files, two limits and who may do what, with what it costs and how to change
// it. Pure, so that a test can stand on every ground.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace waybill {

struct StartLine {
  std::string_view event;
  bool warning = false;  ///< it costs more than it has to
  std::string value;
  std::string cost;
  std::string change;  ///< how to get something else

  friend bool operator==(const StartLine&, const StartLine&) = default;
};

struct DiskFacts {
  std::string engine;       ///< PosixDisk::engine()
  std::string sync_method;  ///< PosixDisk::sync_method()
  bool direct = false;      ///< O_DIRECT
  std::string obstacle;     ///< why it is not io_uring, if that was tried
};
std::vector<StartLine> report_disk(const DiskFacts& facts);

struct LimitFacts {
  std::optional<std::uint64_t> locked_memory;  ///< bytes; nothing: unlimited
  std::optional<std::uint64_t> open_files;     ///< nothing: unlimited
  std::size_t max_connections = 0;
};
/// Of this process, now.
LimitFacts limits_now(std::size_t max_connections);
std::vector<StartLine> report_limits(const LimitFacts& facts);
/// What connections and the rest leave for segments that grow, one for each partition that is
/// written to; with fewer, segments are sealed while they are small.
std::size_t segment_files(const LimitFacts& facts);

struct AccessFacts {
  std::optional<std::size_t> users;  ///< nothing: there is no users file
  bool loopback = true;              ///< only this machine reaches the broker
};
StartLine report_access(const AccessFacts& facts);

/// One line of the log for each.
void log_start(const std::vector<StartLine>& lines);

}  // namespace waybill

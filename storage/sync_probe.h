// probe_directory: how quickly a directory's device makes writes durable, by each method that the
// broker knows, and which of them the broker will use there. One file of 64 MiB, filled with zeros
// and without a name from the start, so that nothing stays behind however the probe ends. Blocking;
// some seconds.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "protocol/base/clock.h"
#include "protocol/base/result.h"

namespace waybill {

enum class SyncMethod : std::uint8_t {
  kDirectDsync,  ///< O_DIRECT, each write durable by itself (RWF_DSYNC)
  kDsync,        ///< through the page cache, each write durable by itself
  kFdatasync,    ///< through the page cache, and fdatasync after each write
};

struct ProbeResult {
  SyncMethod method{};
  std::size_t write_size = 0;
  std::size_t depth = 0;  ///< writes in flight
  std::size_t writes = 0;
  Duration median{};   ///< from submission to durable
  Duration p99{};      ///< 99 % took at most this
  Duration slowest{};  ///< of all
  double bytes_per_second = 0;
  bool chosen = false;  ///< the method that the broker uses here
};

struct ProbeReport {
  std::string engine;  ///< Disk::describe() of the broker's choice
  std::string why;     ///< why it is not io_uring with direct files; empty if it is
  std::vector<ProbeResult> results;
};

struct ProbeOptions {
  /// Per result; the count ends a measurement on a quick device, the time on a slow one.
  std::size_t max_writes = 400;
  Duration max_time = std::chrono::milliseconds(800);
};

/// `progress` hears what is measured next. kNotFound: no such directory; kNoSpace; kIo.
Result<ProbeReport> probe_directory(const std::string& directory, const Clock& clock,
                                    const ProbeOptions& options,
                                    const std::function<void(const std::string&)>& progress);

}  // namespace waybill

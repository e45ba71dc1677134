// Simulation: one seed from its plan to its verdict. First trouble: clients work, faults happen.
// Then everything heals, and in bounded virtual time every message must come to an end (liveness).
// Then the log, the dead letters and the accounting are read completely and compared with what was
// said - once, and again after a last power cut that keeps nothing that was not durable.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/sim/sim_consumer.h"
#include "tests/sim/sim_operator.h"
#include "tests/sim/sim_publisher.h"

namespace waybill {

struct SimResult {
  std::uint64_t seed = 0;
  std::uint64_t hash = 0;
  std::uint64_t events = 0;
  std::uint64_t messages = 0;
  std::uint64_t faults = 0;
  Duration virtual_time{};
  Coverage coverage;
  std::optional<Finding> finding;
  std::vector<std::string> lines;  ///< of the trace, as the filter wanted
};

/// Runs one seed once.
SimResult simulate(std::uint64_t seed, const TraceFilter& filter = {});
/// Runs it twice, compares the hashes, and writes down what led to a finding.
SimResult simulate_twice(std::uint64_t seed);
/// What a person needs of a failed run: the promise, the command, the trace.
std::string report(const SimResult& result);

}  // namespace waybill

// /metrics: what an operator watches, as Prometheus text (exposition format 0.0.4). Names are an
// interface: add, never rename. Labels are bounded: the shard's number and nothing from users.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "broker/core/shard_runtime.h"
#include "broker/server/counters.h"

namespace waybill {

struct MetricsSnapshot {
  std::vector<std::pair<ShardIndex, ShardMetrics>> shards;
  std::uint64_t subscriptions = 0;
  std::chrono::seconds uptime{0};
  std::uint64_t resident_bytes = 0;
  bool ready = false;
};

std::string format_metrics(const MetricsSnapshot& snapshot, const Counters& counters);

/// Memory of this process that is in RAM; 0 if the system does not say.
std::uint64_t resident_bytes();

}  // namespace waybill

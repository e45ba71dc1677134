#include "broker/server/metrics.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "broker/server/build_info.h"

namespace waybill {
namespace {

enum class MetricType : std::uint8_t { kCounter, kGauge };

struct ShardMetricRow {
  std::string_view name;
  MetricType type;
  std::uint64_t ShardMetrics::* value;
  std::string_view help;
};

constexpr auto kCounter = MetricType::kCounter;
constexpr auto kGauge = MetricType::kGauge;

constexpr auto kShardMetrics = std::to_array<ShardMetricRow>({
    {"waybill_messages_published_total", kCounter, &ShardMetrics::published_messages,
     "Messages made durable."},
    {"waybill_batches_published_total", kCounter, &ShardMetrics::published_batches,
     "Batches made durable."},
    {"waybill_published_bytes_total", kCounter, &ShardMetrics::published_bytes,
     "Bytes of these batches."},
    {"waybill_batches_duplicate_total", kCounter, &ShardMetrics::duplicate_batches,
     "Batches that were sent again and recognised."},
    {"waybill_messages_delivered_total", kCounter, &ShardMetrics::delivered_messages,
     "Deliveries to consumers."},
    {"waybill_messages_redelivered_total", kCounter, &ShardMetrics::redelivered_messages,
     "Deliveries that were not the message's first."},
    {"waybill_messages_acked_total", kCounter, &ShardMetrics::acked_messages,
     "Messages settled with ack."},
    {"waybill_attempts_failed_total", kCounter, &ShardMetrics::failed_attempts,
     "Attempts charged as failures."},
    {"waybill_leases_expired_total", kCounter, &ShardMetrics::expired_leases,
     "Leases that ran out."},
    {"waybill_messages_dead_lettered_total", kCounter, &ShardMetrics::dead_lettered,
     "Messages that became dead letters."},
    {"waybill_dead_letters_redriven_total", kCounter, &ShardMetrics::redriven,
     "Dead letters given back."},
    {"waybill_dead_letters_discarded_total", kCounter, &ShardMetrics::discarded,
     "Dead letters discarded."},
    {"waybill_messages_removed_total", kCounter, &ShardMetrics::removed_messages,
     "Messages that a topic's limit removed before a group was done with them."},
    {"waybill_messages_compacted_total", kCounter, &ShardMetrics::compacted_messages,
     "Messages that compaction took out: each had a later one of its key, or was a tombstone."},
    {"waybill_compactions_total", kCounter, &ShardMetrics::compactions,
     "Passes of compaction over a partition."},
    {"waybill_journal_carried_bytes_total", kCounter, &ShardMetrics::carried_bytes,
     "Bytes of small tails that a checkpoint staged again instead of flushing them."},
    {"waybill_reads_total", kCounter, &ShardMetrics::read_requests, "Reads without a group."},
    {"waybill_entries_staged_total", kCounter, &ShardMetrics::entries_staged,
     "Journal entries staged."},
    {"waybill_entries_durable_total", kCounter, &ShardMetrics::entries_durable,
     "Journal entries on stable storage."},
    {"waybill_journal_bytes", kGauge, &ShardMetrics::journal_bytes, "Journal files on disk."},
    {"waybill_flush_stalled", kGauge, &ShardMetrics::flush_stalled,
     "1 while messages cannot be moved from the journal into segments, as when the disk is full."},
    {"waybill_disk_full", kGauge, &ShardMetrics::disk_full,
     "1 while publishes are refused because the data directory's file system has too little room."},
    {"waybill_disk_free_bytes", kGauge, &ShardMetrics::disk_free_bytes,
     "Free space of that file system, as last looked at."},
    {"waybill_disk_reserve_bytes", kGauge, &ShardMetrics::reserve_bytes,
     "Size of the file that keeps room for flush and checkpoint; 0: there is none now."},
    {"waybill_streams_damaged", kGauge, &ShardMetrics::damaged_streams,
     "Partitions and dead letters of groups whose part in the journal cannot be read."},
    {"waybill_dead_letters_open", kGauge, &ShardMetrics::open_dead_letters,
     "Dead letters that wait for a decision."},
    {"waybill_messages_leased", kGauge, &ShardMetrics::leased, "Messages held by consumers."},
    {"waybill_partitions", kGauge, &ShardMetrics::partitions, "Partitions of the shard."},
    {"waybill_messages_ready", kGauge, &ShardMetrics::ready,
     "Messages that groups could be delivered now, or whose key is busy."},
    {"waybill_messages_scheduled", kGauge, &ShardMetrics::scheduled,
     "Messages whose not-before time has not come, for each group."},
    {"waybill_messages_delayed", kGauge, &ShardMetrics::delayed,
     "Failed messages that wait for their next attempt."},
    {"waybill_messages_held", kGauge, &ShardMetrics::held,
     "Messages that wait behind a dead letter of their key or partition."},
    {"waybill_groups", kGauge, &ShardMetrics::groups, "Groups whose home is the shard."},
    {"waybill_groups_paused", kGauge, &ShardMetrics::groups_paused,
     "Of them, paused by an operator."},
    {"waybill_groups_brake_open", kGauge, &ShardMetrics::groups_braked,
     "Of them, not delivered because nearly everything failed."},
    {"waybill_groups_brake_probing", kGauge, &ShardMetrics::groups_probing,
     "Of them, braked and delivered single messages to see whether they work again."},
});

struct CounterRow {
  std::string_view name;
  MetricType type;
  Counters::Number Counters::* value;
  std::string_view help;
};

constexpr auto kServerMetrics = std::to_array<CounterRow>({
    {"waybill_connections", kGauge, &Counters::connections, "Open client connections."},
    {"waybill_connections_accepted_total", kCounter, &Counters::connections_accepted,
     "Client connections accepted."},
    {"waybill_connections_refused_total", kCounter, &Counters::connections_refused,
     "Connections refused because there were too many."},
    {"waybill_connection_errors_total", kCounter, &Counters::connection_errors,
     "Connections closed because the client broke the protocol."},
    {"waybill_requests_total", kCounter, &Counters::requests, "Requests of clients."},
    {"waybill_request_errors_total", kCounter, &Counters::request_errors,
     "Requests answered with an error."},
    {"waybill_received_bytes_total", kCounter, &Counters::received_bytes,
     "Bytes received from clients."},
    {"waybill_sent_bytes_total", kCounter, &Counters::sent_bytes, "Bytes sent to clients."},
    {"waybill_output_bytes", kGauge, &Counters::output_bytes,
     "Bytes that wait to be sent, or belong to requests that are not answered yet."},
});

void head(std::string& out, std::string_view name, MetricType type, std::string_view help) {
  out.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name);
  out.append(type == kCounter ? " counter\n" : " gauge\n");
}

void sample(std::string& out, std::string_view name, std::string_view labels, std::uint64_t value) {
  out.append(name).append(labels).append(" ").append(std::to_string(value)).append("\n");
}

void gauge(std::string& out, std::string_view name, std::string_view help, std::uint64_t value) {
  head(out, name, kGauge, help);
  sample(out, name, "", value);
}

}  // namespace

std::string format_metrics(const MetricsSnapshot& snapshot, const Counters& counters) {
  std::string out;
  head(out, "waybill_build_info", kGauge, "Always 1; the labels say which build this is.");
  sample(out, "waybill_build_info", "{version=\"" + std::string(kVersion) + "\"}", 1);
  gauge(out, "waybill_ready", "1 while clients are served.", snapshot.ready ? 1 : 0);
  gauge(out, "waybill_uptime_seconds", "Time since the start.",
        static_cast<std::uint64_t>(snapshot.uptime.count()));
  gauge(out, "waybill_subscriptions", "Subscriptions of connected consumers.",
        snapshot.subscriptions);
  gauge(out, "process_resident_memory_bytes", "Memory in RAM.", snapshot.resident_bytes);
  for (const CounterRow& row : kServerMetrics) {
    head(out, row.name, row.type, row.help);
    sample(out, row.name, "", (counters.*row.value).load(std::memory_order_relaxed));
  }
  for (const ShardMetricRow& row : kShardMetrics) {
    head(out, row.name, row.type, row.help);
    for (const auto& [shard, metrics] : snapshot.shards) {
      sample(out, row.name, "{shard=\"" + std::to_string(shard.value) + "\"}", metrics.*row.value);
    }
  }
  constexpr std::string_view kWaiting = "waybill_group_partitions";
  head(out, kWaiting, kGauge, "Partitions of groups, by the reason why they do not advance.");
  for (const auto& [shard, metrics] : snapshot.shards) {
    for (std::uint8_t i = 0; i < kWaitingCount; ++i) {
      std::string reason(name(Waiting{i}));
      std::ranges::replace(reason, ' ', '_');
      std::string labels = "{shard=\"" + std::to_string(shard.value) + "\",waiting=\"";
      sample(out, kWaiting, labels + reason + "\"}", metrics.waiting[i]);
    }
  }
  return out;
}

std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t total_pages = 0;
  std::uint64_t resident_pages = 0;
  if (!(statm >> total_pages >> resident_pages)) return 0;
  return resident_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace waybill

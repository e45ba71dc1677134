// Goal: /metrics is text that Prometheus accepts, with every number in its place.
// Method: format a snapshot of distinct numbers and parse it by the rules of the text format.
#include "broker/server/metrics.h"

#include <gtest/gtest.h>

#include "tests/broker/server/metrics_parser.h"

namespace waybill {
namespace {

TEST(Metrics, EveryLineIsValidAndEveryShardHasItsOwnSamples) {
  MetricsSnapshot snapshot;
  snapshot.shards.emplace_back(ShardIndex{0}, ShardMetrics{.published_messages = 7});
  snapshot.shards.emplace_back(ShardIndex{1}, ShardMetrics{.published_messages = 9, .leased = 4});
  snapshot.ready = true;
  snapshot.resident_bytes = 123;
  Counters counters;
  Counters::add(counters.requests, 42);
  auto samples = parse_metrics(format_metrics(snapshot, counters));
  EXPECT_EQ(samples.at("waybill_messages_published_total{shard=\"0\"}"), 7);
  EXPECT_EQ(samples.at("waybill_messages_published_total{shard=\"1\"}"), 9);
  EXPECT_EQ(samples.at("waybill_messages_leased{shard=\"1\"}"), 4);
  EXPECT_EQ(samples.at("waybill_requests_total"), 42);
  EXPECT_EQ(samples.at("waybill_ready"), 1);
  EXPECT_EQ(samples.at("process_resident_memory_bytes"), 123);
}

TEST(Metrics, EveryReasonToWaitHasItsSampleD9) {
  MetricsSnapshot snapshot;
  ShardMetrics metrics;
  for (std::size_t i = 0; i < kWaitingCount; ++i) metrics.waiting[i] = 10 + i;
  snapshot.shards.emplace_back(ShardIndex{2}, metrics);
  auto samples = parse_metrics(format_metrics(snapshot, Counters{}));
  auto sample = [&](const std::string& reason) {
    return samples.at("waybill_group_partitions{shard=\"2\",waiting=\"" + reason + "\"}");
  };
  EXPECT_EQ(sample("nothing"), 10);
  EXPECT_EQ(sample("no_credit"), 11);
  EXPECT_EQ(sample("nothing_ready"), 12);
  EXPECT_EQ(sample("all_keys_busy"), 13);
  EXPECT_EQ(sample("window_full"), 14);
  EXPECT_EQ(sample("index_full"), 15);
  EXPECT_EQ(sample("held_full"), 16);
  EXPECT_EQ(sample("braked"), 17);
  EXPECT_EQ(sample("paused"), 18);
  EXPECT_EQ(sample("disk"), 19);
}

TEST(Metrics, CountersEndInTotalAndGaugesDoNot) {
  for (const auto& [name, type] : metric_types(format_metrics({}, Counters{}))) {
    EXPECT_EQ(type == "counter", name.ends_with("_total")) << name;
  }
}

TEST(Metrics, ThisProcessUsesMemory) {
  EXPECT_GT(resident_bytes(), 1024u * 1024);
}

}  // namespace
}  // namespace waybill

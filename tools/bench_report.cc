// What a load test came to: for a person, and as JSON for scripts and for `bench compare`.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "tools/bench.h"
#include "tools/counted.h"
#include "tools/escape.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

namespace json = boost::json;

constexpr std::array kPercentiles{50.0, 90.0, 99.0, 99.9, 99.99};
constexpr double kMega = 1024.0 * 1024.0;
/// No client is told how the broker writes.
constexpr const char* kStorageSee =
    "disk.engine, disk.sync and disk.files in the log of waybilld; --broker-pid tells a part";
/// Of a delivery rate over time in JSON; more are thinned out.
constexpr std::size_t kMostRates = 600;

std::string_view scenario_name(BenchScenario scenario) {
  switch (scenario) {
    case BenchScenario::kPublish:
      return "publish";
    case BenchScenario::kConsume:
      return "consume";
    case BenchScenario::kEndToEnd:
      return "e2e";
    case BenchScenario::kOutbox:
      return "outbox";
  }
  return "?";
}

/// "1.20 ms": three digits that mean something.
std::string latency_text(std::chrono::nanoseconds time) {
  double us = static_cast<double>(time.count()) / 1000;
  if (us < 1000) return fmt::format("{:.0f} us", us);
  if (us < 1'000'000) return fmt::format("{:.2f} ms", us / 1000);
  return fmt::format("{:.2f} s", us / 1'000'000);
}

double per_second(std::uint64_t count, const BenchResult& result) {
  double seconds = result.measured.count();
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

std::string rate_line(std::string_view what, std::uint64_t count, const Bench& bench,
                      const BenchResult& result) {
  double rate = per_second(count, result);
  return fmt::format("{:<11}{:>12.0f} messages/s  {:>9.2f} MiB/s of values\n", what, rate,
                     rate * bench.size / kMega);
}

std::string latency_lines(const LatencyHistogram& latencies, std::string_view what) {
  if (latencies.count() == 0) return {};
  std::string line = fmt::format("  {:<9}", "latency");
  for (double percent : kPercentiles) {
    line += fmt::format("p{} {}  ", percent, latency_text(latencies.percentile(percent)));
  }
  return line + fmt::format("max {}\n  {:<9}{}\n", latency_text(latencies.longest()), "", what);
}

json::object latency_object(const LatencyHistogram& latencies) {
  auto us = [](std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1000; };
  json::object object{{"count", latencies.count()}};
  if (latencies.count() == 0) return object;
  for (double percent : kPercentiles) {
    object[fmt::format("p{}_us", percent)] = us(latencies.percentile(percent));
  }
  object["mean_us"] = us(latencies.mean());
  object["max_us"] = us(latencies.longest());
  return object;
}

json::object parameters(const Bench& bench) {
  json::object object{
      {"scenario", scenario_name(bench.scenario)},
      {"partitions", bench.partitions},
      {"size", bench.size},
      {"publishers", bench.publishers},
      {"consumers", bench.consumers},
      {"in_flight", bench.in_flight},
      {"batch", bench.batch},
      {"rate", bench.rate},
      {"duration_ms", bench.duration.count()},
      {"warm_up_ms", bench.warm_up.count()},
      {"messages", bench.messages},
      {"keys", bench.keys},
      {"key_distribution", bench.key_distribution == KeyDistribution::kZipf ? "zipf" : "uniform"},
      {"values", bench.values == BenchValues::kText ? "text" : "random"},
      {"compression", name(bench.compression)},
      {"churn_ms", bench.churn.count()},
      {"every_ms", bench.every.count()},
      {"retention_ms", bench.retention ? json::value(bench.retention->count()) : json::value()},
      {"ordering", name(bench.ordering)},
      {"attempts", bench.attempts == Attempts::kExact ? "exact" : "relaxed"},
      {"failing_percent", bench.failing},
      {"dying_percent", bench.dying}};
  if (bench.scenario == BenchScenario::kOutbox) {
    object["outbox_synchronous"] = bench.outbox_synchronous ? "full" : "normal";
    object["relay_rows"] = bench.relay_rows;
  }
  return object;
}

template <class T>
json::value value_of(const std::optional<T>& known) {
  return known ? json::value(*known) : json::value();
}

json::object environment_object(const BenchEnvironment& environment) {
  return {{"broker", environment.broker},
          {"broker_version", value_of(environment.broker_version)},
          {"client_version", environment.client_version},
          {"durability", "every confirm is durable"},
          {"cores", environment.cores},
          {"cpu", environment.cpu},
          {"memory_bytes", environment.memory},
          {"kernel", environment.kernel},
          {"shares_cores_with_broker", environment.shares_cores},
          {"broker_file_system", value_of(environment.broker_file_system)},
          {"broker_engine", value_of(environment.broker_engine)},
          {"broker_sync_method", nullptr},
          {"broker_storage_see", kStorageSee}};
}

json::object device_object(const DeviceLimits& device) {
  auto us = [](std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1000; };
  json::array writes;
  for (const DeviceLimits::Write& write : device.writes) {
    writes.push_back({{"size", write.size},
                      {"in_flight", write.depth},
                      {"p50_us", us(write.p50)},
                      {"p99_us", us(write.p99)},
                      {"bytes_per_second", write.bytes_per_second}});
  }
  return {{"directory", device.directory},
          {"file_system", device.file_system},
          {"engine", device.engine},
          {"durable_writes", std::move(writes)},
          {"loopback_p50_us", us(device.loopback_p50)},
          {"loopback_p99_us", us(device.loopback_p99)},
          {"crc32c_bytes_per_second", device.crc32c_bytes_per_second},
          {"xxh3_bytes_per_second", device.xxh3_bytes_per_second},
          {"copy_bytes_per_second", device.copy_bytes_per_second}};
}

json::array interval_array(const std::vector<BenchInterval>& intervals) {
  auto us = [](std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1000; };
  json::array all;
  for (const BenchInterval& interval : intervals) {
    all.push_back({{"until_ms", interval.until.count()},
                   {"confirmed_per_second", interval.confirmed_per_second},
                   {"settled_per_second", interval.settled_per_second},
                   {"p50_us", us(interval.p50)},
                   {"p99_us", us(interval.p99)},
                   {"max_us", us(interval.longest)}});
  }
  return all;
}

/// Confirmed messages that were not consumed to their end: lost, unless the load was cut short.
std::uint64_t not_ended(const BenchResult& result) {
  return result.all_confirmed - std::min(result.all_confirmed, result.all_ended);
}

std::string not_ended_text(const BenchResult& result) {
  if (not_ended(result) == 0) return "nothing is missing";
  std::string messages = counted(not_ended(result), "message");
  return messages + (result.cut_short() ? " not consumed yet" : " missing");
}

/// "publish: 8 partitions, values of 100 B, 1 publisher (10000 in flight each), …"
std::string headline(const Bench& bench, const BenchResult& result) {
  bool outbox = bench.scenario == BenchScenario::kOutbox;
  std::string load = fmt::format("{} in flight each", bench.in_flight);
  if (outbox) load = fmt::format("up to {} rows waiting for each", bench.in_flight);
  if (bench.rate > 0 && bench.scenario != BenchScenario::kConsume) {
    load = fmt::format("{:.0f} messages/s due", bench.rate);
  }
  if (outbox) {
    load += fmt::format(", {} in a transaction", counted(bench.batch, "row"));
  } else if (bench.batch > 1) {
    load += fmt::format(", up to {} at a time", std::min(bench.batch, bench.in_flight));
  }
  std::string text = fmt::format("{}: {}, values of {} B{}, {} ({})", scenario_name(bench.scenario),
                                 counted(bench.partitions, "partition"), bench.size,
                                 bench.values == BenchValues::kText ? " of text" : "",
                                 counted(bench.publishers, outbox ? "thread" : "publisher"), load);
  if (bench.compression != Codec::kNone) text += fmt::format(", {}", name(bench.compression));
  if (consumes(bench.scenario)) {
    text += fmt::format(", {}, ordering {}", counted(bench.consumers, "consumer"),
                        name(bench.ordering));
  }
  return text + fmt::format("; {:.1f} s measured\n", result.measured.count());
}

/// Nothing without messages that the time went into.
std::optional<double> cpu_per_million(const Bench& bench, const BenchResult& result,
                                      std::optional<std::chrono::duration<double>> cpu) {
  bool consumed = bench.scenario == BenchScenario::kConsume;
  std::uint64_t messages = consumed ? result.all_ended : result.all_confirmed;
  if (!cpu || messages == 0) return std::nullopt;
  return cpu->count() * 1e6 / static_cast<double>(messages);
}

std::string cpu_line(std::string_view who, std::optional<double> per_million) {
  if (!per_million) return {};
  return fmt::format("{:<11}{:.2f} s of CPU per million messages\n", who, *per_million);
}

struct DeliveryRate {
  std::chrono::milliseconds until{};
  double per_second = 0;
};

/// From one look to the next, while everything lasted: the last of it ended within a look.
std::vector<DeliveryRate> delivery_rates(const BenchResult& result) {
  std::vector<DeliveryRate> rates;
  for (std::size_t i = 1; i < result.samples.size(); ++i) {
    const BenchSample& from = result.samples[i - 1];
    const BenchSample& to = result.samples[i];
    double seconds = std::chrono::duration<double>(to.elapsed - from.elapsed).count();
    if (to.settled >= result.all_ended || seconds <= 0) break;
    rates.push_back({to.elapsed, static_cast<double>(to.settled - from.settled) / seconds});
  }
  return rates;
}

std::string delivery_line(const BenchResult& result) {
  std::vector<DeliveryRate> rates = delivery_rates(result);
  if (rates.empty()) return {};
  std::ranges::sort(rates, {}, &DeliveryRate::per_second);
  return fmt::format(
      "  in 0.1 s at least {:.0f} messages/s, half the time {:.0f}, at most {:.0f}\n",
      rates.front().per_second, rates[rates.size() / 2].per_second, rates.back().per_second);
}

json::array delivery_array(const BenchResult& result) {
  std::vector<DeliveryRate> rates = delivery_rates(result);
  std::size_t stride = rates.size() / kMostRates + 1;
  json::array all;
  for (std::size_t i = 0; i < rates.size(); i += stride) {
    all.push_back({{"until_ms", rates[i].until.count()}, {"per_second", rates[i].per_second}});
  }
  return all;
}

std::string consumed_lines(const Bench& bench, const BenchResult& result) {
  std::string text = rate_line("consumed", result.settled, bench, result);
  if (bench.scenario == BenchScenario::kConsume) {
    text += delivery_line(result);
  } else {
    text += latency_lines(result.end_to_end, "from when it was due until its first delivery");
  }
  return text + fmt::format("checked    {} confirmed, {} ended, {} redelivered: {}\n",
                            result.all_confirmed, result.all_ended, result.redelivered,
                            not_ended_text(result));
}

std::string cut_line(const BenchResult& result) {
  if (result.gone) {
    return fmt::format("cut short  the broker is gone since {:.1f} s after the beginning\n",
                       result.gone->count());
  }
  if (!result.interrupted) return {};
  return fmt::format("cut short  interrupted after {:.1f} s\n", result.interrupted->count());
}

json::value seconds_value(const std::optional<std::chrono::duration<double>>& seconds) {
  return seconds ? json::value(seconds->count()) : json::value();
}

json::object checked_object(const Bench& bench, const BenchResult& result) {
  json::object checked{{"confirmed", result.all_confirmed},
                       {"ended", result.all_ended},
                       {"redelivered", result.redelivered},
                       {"missing", consumes(bench.scenario) ? not_ended(result) : 0}};
  if (result.cut_short()) checked["missing"] = nullptr;  // nobody waited for them
  return checked;
}

/// What got no receipt, and what that means for the latencies above.
std::string unconfirmed_lines(const BenchResult& result) {
  std::string text;
  if (result.unsent > 0) {
    text += fmt::format(
        "unsent     {} due messages were never sent: the load tester could not keep this rate\n",
        result.unsent);
  }
  if (result.refused > 0) text += fmt::format("refused    {}\n", result.refused);
  if (text.empty()) return {};
  return text + fmt::format(
                    "{:11}in the latency with the time from when they were due until the "
                    "end: at least that\n",
                    "");
}

std::string outbox_lines(const Bench& bench, const BenchOutbox& outbox) {
  return fmt::format(
      "checked    {} committed, {} left the outbox\n"
      "outbox     SQLite, {}; the relay takes up to {}; {}\n",
      counted(outbox.all_committed, "row"), outbox.all_committed - outbox.left,
      bench.outbox_synchronous ? "each commit durable by itself"
                               : "commits durable with the relay's next",
      counted(bench.relay_rows, "row"), escaped_line(outbox.file));
}

}  // namespace

std::string bench_text(const Bench& bench, const BenchResult& result,
                       const BenchEnvironment& environment) {
  std::string text = headline(bench, result) + cut_line(result);
  if (result.outbox) {
    text += rate_line("committed", result.outbox->committed, bench, result);
    text += latency_lines(result.outbox->commit, "of a transaction, from when it was due");
  }
  if (bench.scenario != BenchScenario::kConsume) {
    text += rate_line("confirmed", result.confirmed, bench, result);
    text += latency_lines(result.publish,
                          result.outbox ? "from a row's commit until it was durable in the log"
                                        : "from when a message was due until it was durable");
  }
  if (consumes(bench.scenario)) text += consumed_lines(bench, result);
  if (result.outbox) text += outbox_lines(bench, *result.outbox);
  text += unconfirmed_lines(result);
  text += cpu_line("client", cpu_per_million(bench, result, result.client_cpu));
  text += cpu_line("broker", cpu_per_million(bench, result, result.broker_cpu));
  if (result.device) text += device_text(*result.device);
  if (environment.shares_cores) {
    text += fmt::format("note       clients and broker shared the {} of this machine\n",
                        counted(environment.cores, "core"));
  }
  return text;
}

std::string bench_json(const Bench& bench, const BenchResult& result,
                       const BenchEnvironment& environment) {
  json::object published{{"per_second", per_second(result.confirmed, result)},
                         {"confirmed", result.confirmed},
                         {"refused", result.refused},
                         {"unsent", result.unsent},
                         {"latency", latency_object(result.publish)}};
  json::object consumed{{"per_second", per_second(result.settled, result)},
                        {"settled", result.settled},
                        {"latency", latency_object(result.end_to_end)}};
  if (bench.scenario == BenchScenario::kConsume) {
    consumed["latency"] = nullptr;  // what lay there was not due at any time
    consumed["over_time"] = delivery_array(result);
  }
  json::object object{
      {"parameters", parameters(bench)},
      {"environment", environment_object(environment)},
      {"measured_s", result.measured.count()},
      {"published", std::move(published)},
      {"consumed", std::move(consumed)},
      {"checked", checked_object(bench, result)},
      {"interrupted_after_s", seconds_value(result.interrupted)},
      {"broker_gone_after_s", seconds_value(result.gone)},
      {"client_cpu_s", result.client_cpu.count()},
      {"client_cpu_s_per_million", value_of(cpu_per_million(bench, result, result.client_cpu))},
      {"broker_cpu_s_per_million", value_of(cpu_per_million(bench, result, result.broker_cpu))}};
  if (result.broker_cpu) object["broker_cpu_s"] = result.broker_cpu->count();
  if (result.device) object["device"] = device_object(*result.device);
  if (!result.intervals.empty()) object["intervals"] = interval_array(result.intervals);
  if (result.outbox) {
    const BenchOutbox& outbox = *result.outbox;
    object["outbox"] = json::object{{"file", outbox.file},
                                    {"per_second", per_second(outbox.committed, result)},
                                    {"committed", outbox.all_committed},
                                    {"left", outbox.left},
                                    {"latency", latency_object(outbox.commit)}};
  }
  return json::serialize(object);
}

std::string interval_text(const Bench& bench, const BenchInterval& interval) {
  std::string text = fmt::format("{:>5.0f} s  {:.0f} confirmed/s",
                                 std::chrono::duration<double>(interval.until).count(),
                                 interval.confirmed_per_second);
  if (consumes(bench.scenario)) {
    text += fmt::format("  {:.0f} consumed/s", interval.settled_per_second);
  }
  return text + fmt::format("  p50 {}  p99 {}  max {}", latency_text(interval.p50),
                            latency_text(interval.p99), latency_text(interval.longest));
}

std::string device_text(const DeviceLimits& device) {
  std::string text = fmt::format("device     {} on {}, written by {}\n",
                                 escaped_line(device.directory), device.file_system, device.engine);
  for (const DeviceLimits::Write& write : device.writes) {
    text += fmt::format("  durable  {:>4} KiB, {:>2} in flight: p50 {}  p99 {}  {:.0f} MiB/s\n",
                        write.size / 1024, write.depth, latency_text(write.p50),
                        latency_text(write.p99), write.bytes_per_second / kMega);
  }
  text += fmt::format("  loopback {} B there and back: p50 {}  p99 {}\n", 100,
                      latency_text(device.loopback_p50), latency_text(device.loopback_p99));
  auto speed = [](double bytes) { return fmt::format("{:.1f} GiB/s", bytes / kMega / 1024); };
  return text + fmt::format("  memory   CRC-32C {}  XXH3 {}  copy {}\n",
                            speed(device.crc32c_bytes_per_second),
                            speed(device.xxh3_bytes_per_second),
                            speed(device.copy_bytes_per_second));
}

std::string device_json(const DeviceLimits& device) {
  return json::serialize(device_object(device));
}

}  // namespace waybill::cli

#include "protocol/base/limits.h"
#include "tools/bench.h"
#include "tools/command_options.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

constexpr std::uint32_t kSmallestValue = 8;  ///< it says when it was due
constexpr std::uint32_t kLargestValue = 1024 * 1024;
constexpr std::uint32_t kMostClients = 1000;
constexpr std::uint32_t kMostThreads = 64;
constexpr std::uint32_t kMostInFlight = 100'000;
constexpr std::size_t kMostRelayRows = 10'000;
constexpr std::uint64_t kMostKeys = 1'000'000;
constexpr std::uint64_t kMostMessages = 100'000'000;

void add_publisher_options(CLI::App* app, Bench& bench) {
  app->add_option("--publishers", bench.publishers, "Each with a connection of its own")
      ->check(CLI::Range(1U, kMostClients))
      ->capture_default_str();
  app->add_option("--in-flight", bench.in_flight, "Of each publisher, unless there is a rate")
      ->check(CLI::Range(1U, kMostInFlight))
      ->capture_default_str();
  app->add_option("--batch", bench.batch, "Messages handed to the client together")
      ->check(CLI::Range(1U, kMostInFlight))
      ->capture_default_str();
}

void add_outbox_options(CLI::App* app, Bench& bench) {
  app->add_option("--threads", bench.publishers, "Of the application, each with its own connection")
      ->check(CLI::Range(1U, kMostThreads))
      ->capture_default_str();
  app->add_option("--rows", bench.batch, "Of each transaction")
      ->check(CLI::Range(1U, kMostInFlight))
      ->capture_default_str();
  app->add_option("--backlog", bench.in_flight,
                  "Without a rate: so many rows for each thread may wait in the outbox")
      ->check(CLI::Range(1U, kMostInFlight))
      ->capture_default_str();
  app->add_option("--relay-rows", bench.relay_rows, "Published together by the relay")
      ->check(CLI::Range(std::size_t{1}, kMostRelayRows))
      ->capture_default_str();
  app->add_option("--database", bench.outbox_directory,
                  "Where the outbox is made; the default is where temporary files go")
      ->check(CLI::ExistingDirectory)
      ->type_name("DIR");
  add_choice<bool, bool>(app, "--synchronous", bench.outbox_synchronous,
                         {{"full", true}, {"normal", false}},
                         "Whether the application's commits are durable themselves; full");
}

void add_load_options(CLI::App* app, Bench& bench) {
  app->add_option("--partitions", bench.partitions, "Of the topic")
      ->check(CLI::Range(1U, limits::kMaxPartitions))
      ->capture_default_str();
  app->add_option("--size", bench.size, "Of a value, in bytes")
      ->check(CLI::Range(kSmallestValue, kLargestValue))
      ->capture_default_str();
  add_choice<BenchValues, BenchValues>(
      app, "--values", bench.values,
      {{"random", BenchValues::kRandom}, {"text", BenchValues::kText}},
      "The same random bytes each time, or different words; random");
  add_compression(app, bench.compression);
  app->add_option("--keys", bench.keys, "So many different keys; 0: messages have none")
      ->check(CLI::Range(std::uint64_t{0}, kMostKeys))
      ->capture_default_str();
  add_choice<KeyDistribution, KeyDistribution>(
      app, "--key-distribution", bench.key_distribution,
      {{"uniform", KeyDistribution::kUniform}, {"zipf", KeyDistribution::kZipf}},
      "All keys alike, or few of them most of the time; uniform");
  app->add_option("--result", bench.result_file, "Also write the result as JSON to this file")
      ->type_name("FILE");
  app->add_option("--html", bench.page_file, "Also write a page with charts to this file")
      ->type_name("FILE");
  app->add_option("--device", bench.device_directory,
                  "The broker's data directory: measure its disk too, right before")
      ->type_name("DIR");
  app->add_option("--broker-pid", bench.broker_pid,
                  "Of a broker on this machine: also say what CPU time it took")
      ->type_name("PID");
  app->add_flag("--keep", bench.keep, "Leave the topic and the group behind");
}

Checked<std::chrono::milliseconds> parse_interval(const std::string& text) {
  Checked<std::chrono::milliseconds> interval = parse_duration(text);
  if (interval && *interval < std::chrono::seconds(1)) {
    return Problem{"at least 1s"};
  }
  return interval;
}

void add_patience_option(CLI::App* app, Bench& bench) {
  add_parsed(app, "--patience", bench.patience, parse_interval,
             "Without the broker for so long it is gone, and the load ends; 10s", "DURATION");
}

void add_time_options(CLI::App* app, Bench& bench) {
  app->add_option("--hdr", bench.latency_file,
                  "Also write the latencies as HdrHistogram prints them")
      ->type_name("FILE");
  app->add_option("--rate", bench.rate,
                  "Messages per second, of all together; without it, as fast as it goes")
      ->check(CLI::Range(0.001, 1e9));
  add_parsed(app, "--duration", bench.duration, parse_duration, "What is measured; 10s",
             "DURATION");
  add_parsed(app, "--warm-up", bench.warm_up, parse_duration, "Before it; 2s", "DURATION");
  add_patience_option(app, bench);
  add_parsed(app, "--retention", bench.retention, parse_duration,
             "Of the topic, so that a long load fills no disk; 7d", "DURATION");
}

void add_interval_option(CLI::App* app, Bench& bench) {
  add_parsed(app, "--every", bench.every, parse_interval,
             "So often say on stderr what happened since; never", "DURATION");
}

void add_group_options(CLI::App* app, Bench& bench) {
  app->add_option("--consumers", bench.consumers, "Each with a connection of its own")
      ->check(CLI::Range(1U, kMostClients))
      ->capture_default_str();
  add_choice<Ordering, Ordering>(
      app, "--ordering", bench.ordering,
      {{"none", Ordering::kNone}, {"key", Ordering::kKey}, {"partition", Ordering::kPartition}},
      "Of the group; none");
  add_choice<Attempts, Attempts>(app, "--attempts", bench.attempts,
                                 {{"exact", Attempts::kExact}, {"relaxed", Attempts::kRelaxed}},
                                 "Of the group; exact");
  app->add_option("--failing", bench.failing, "Percent of messages that fail once")
      ->check(CLI::Range(0.0, 100.0));
  app->add_option("--dying", bench.dying, "Percent of messages that become dead letters")
      ->check(CLI::Range(0.0, 100.0));
}

void add_device(CLI::App& family, CommandSink& sink) {
  auto [device, measured] =
      add_command<BenchDevice>(family, "device",
                               "What this machine can do without a broker: durable writes, "
                               "loopback, checksums, copying",
                               sink);
  device->add_option("directory", measured->directory, "On the disk of the data directory")
      ->required();
  device->footer(
      "Writes a file of 64 MiB that has no name and leaves nothing behind. About ten seconds.");
}

void add_compare(CLI::App& family, CommandSink& sink) {
  auto [compare, compared] =
      add_command<BenchCompare>(family, "compare", "Two results as ratios", sink);
  compare->add_option("before", compared->before, "A file of --result")->required();
  compare->add_option("after", compared->after, "Another one")->required();
}

}  // namespace

void add_bench_commands(CLI::App& app, CommandSink& sink) {
  CLI::App* family =
      add_family(app, "bench", "Load the broker in a topic of its own and say what it can do");
  auto [publish, published] =
      add_command<Bench>(*family, "publish", "How many messages a second become durable", sink);
  add_publisher_options(publish, *published);
  add_load_options(publish, *published);
  add_time_options(publish, *published);
  add_interval_option(publish, *published);
  publish->footer(
      "A latency counts from when a message was due, so a broker that stands still is charged for\n"
      "everything that should have been published meanwhile; what was refused or could not even "
      "be\n"
      "sent is charged until the end, which is the least. What was published stays in the "
      "broker's\n"
      "journal until it is trimmed, also when the topic is deleted.");

  auto [both, ended] = add_command<Bench>(
      *family, "e2e", "Publish and consume at a time: rates, and the time from one to the other",
      sink);
  ended->scenario = BenchScenario::kEndToEnd;
  add_publisher_options(both, *ended);
  add_load_options(both, *ended);
  add_time_options(both, *ended);
  add_interval_option(both, *ended);
  add_group_options(both, *ended);
  add_parsed(both, "--churn", ended->churn, parse_interval,
             "So often a consumer leaves the group and comes back; never", "DURATION");

  auto [consume, consumed] =
      add_command<Bench>(*family, "consume", "How quickly a group works off what lies there", sink);
  consumed->scenario = BenchScenario::kConsume;
  add_publisher_options(consume, *consumed);
  add_load_options(consume, *consumed);
  add_group_options(consume, *consumed);
  add_patience_option(consume, *consumed);
  consume->footer(
      "What lies there has no latency: what counts is how quickly it is delivered, all in all and\n"
      "from one tenth of a second to the next. CPU time is that of consuming alone.");
  consume->add_option("--messages", consumed->messages, "So many lie there when it begins")
      ->check(CLI::Range(std::uint64_t{1}, kMostMessages))
      ->capture_default_str();

  auto [outbox, relayed] = add_command<Bench>(
      *family, "outbox",
      "Commit rows to a SQLite outbox and relay them: rates, and the time from commit to log",
      sink);
  relayed->scenario = BenchScenario::kOutbox;
  relayed->batch = 1;
  add_outbox_options(outbox, *relayed);
  add_load_options(outbox, *relayed);
  add_time_options(outbox, *relayed);
  outbox->footer(
      "The application, the library's relay and SQLite run in this process. A commit counts from\n"
      "when it was due, a row from its commit until the broker has made it durable.");
  add_device(*family, sink);
  add_compare(*family, sink);
}

}  // namespace waybill::cli

// A load test: what is asked for, and what came out of it. bench_load.cc runs it, bench_outbox.cc
// that through an outbox; bench_report.cc says it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "client/client_options.h"
#include "protocol/base/result.h"
#include "protocol/model/group_policy.h"
#include "protocol/model/reply.h"
#include "protocol/record/compression.h"
#include "tools/latency_histogram.h"
#include "tools/problem.h"

namespace waybill::cli {

enum class BenchScenario : std::uint8_t { kPublish, kConsume, kEndToEnd, kOutbox };
enum class KeyDistribution : std::uint8_t { kUniform, kZipf };
inline bool consumes(BenchScenario scenario) {
  return scenario == BenchScenario::kConsume || scenario == BenchScenario::kEndToEnd;
}

/// What values are made of: the same random bytes each time, or words of a small language, of which
/// no two messages have the same.
enum class BenchValues : std::uint8_t { kRandom, kText };

struct Bench {
  BenchScenario scenario = BenchScenario::kPublish;
  std::uint32_t partitions = 8;
  std::uint32_t size = 100;  ///< of a value, in bytes; at least 8, which say when it was due
  std::uint32_t publishers = 1;
  std::uint32_t consumers = 1;
  /// Of each publisher, while there is no rate: a new message follows each receipt.
  std::uint32_t in_flight = 10'000;
  /// Of those, handed to the client together; 1: each by itself. kOutbox: rows of a transaction.
  std::uint32_t batch = 500;
  /// Messages per second of all publishers together; 0: as fast as receipts come back.
  double rate = 0;
  std::chrono::milliseconds duration{10'000};
  std::chrono::milliseconds warm_up{2'000};  ///< before it; not measured
  std::uint64_t messages = 500'000;          ///< kConsume: how many lie there when it begins
  std::uint64_t keys = 0;                    ///< 0: messages have none
  KeyDistribution key_distribution = KeyDistribution::kUniform;
  BenchValues values = BenchValues::kRandom;
  Codec compression = Codec::kNone;
  Ordering ordering = Ordering::kNone;
  Attempts attempts = Attempts::kExact;
  double failing = 0;  ///< percent of messages that fail at their first delivery
  double dying = 0;    ///< percent that become dead letters at their first delivery
  /// kOutbox: where its database is made; empty: in a directory for temporary files.
  std::string outbox_directory;
  bool outbox_synchronous = true;  ///< kOutbox: the application's commits are durable themselves
  std::size_t relay_rows = 500;    ///< kOutbox: published together by the relay
  /// Of the topic; without one, as any topic's. A long load with a short one fills no disk.
  std::optional<std::chrono::milliseconds> retention;
  /// So often a consumer, the next each time, leaves the group, closes its connection and comes
  /// back; 0: never.
  std::chrono::milliseconds churn{0};
  std::chrono::milliseconds every{0};  ///< so often it is said what happened since; 0: never
  /// Without the broker for so long, it is gone and the load ends.
  std::chrono::milliseconds patience{10'000};
  bool keep = false;  ///< leave topic, group and outbox behind
  std::string result_file;
  std::string page_file;         ///< the result as a page with charts
  std::string latency_file;      ///< of the last hop that is measured, as HdrHistogram prints it
  std::string device_directory;  ///< the data directory, measured beside; empty: not
  std::uint32_t broker_pid = 0;  ///< whose CPU time is counted; 0: nobody's
};

struct BenchDevice {
  std::string directory;
};

/// What a machine can do without any broker: the figures that results are held against.
struct DeviceLimits {
  struct Write {
    std::size_t size = 0;
    std::size_t depth = 0;  ///< in flight
    std::chrono::nanoseconds p50{};
    std::chrono::nanoseconds p99{};
    double bytes_per_second = 0;
  };
  std::string directory;
  std::string file_system;
  std::string engine;         ///< as the broker would write there
  std::vector<Write> writes;  ///< durable ones
  std::chrono::nanoseconds loopback_p50{};
  std::chrono::nanoseconds loopback_p99{};
  double crc32c_bytes_per_second = 0;
  double xxh3_bytes_per_second = 0;
  double copy_bytes_per_second = 0;

  /// Durable writes of 4 KiB, one at a time; nothing if they were not measured.
  [[nodiscard]] const Write* small_write() const;
};

/// Some seconds; `progress` hears what is measured next. Errors as probe_directory; kIo also where
/// there is no loopback.
Result<DeviceLimits> measure_device(const std::string& directory,
                                    const std::function<void(const std::string&)>& progress);

struct BenchCompare {
  std::string before;
  std::string after;
};

/// What happened since the interval before it, of the last hop that is measured.
struct BenchInterval {
  std::chrono::milliseconds until{};  ///< since the load began
  double confirmed_per_second = 0;
  double settled_per_second = 0;
  std::chrono::nanoseconds p50{};
  std::chrono::nanoseconds p99{};
  std::chrono::nanoseconds longest{};
};

/// What had been counted at a time, for a chart.
struct BenchSample {
  std::chrono::milliseconds elapsed{};
  std::uint64_t confirmed = 0;
  std::uint64_t settled = 0;
};

/// Of a load through an outbox, in the same time as BenchResult.
struct BenchOutbox {
  std::string file;
  std::uint64_t committed = 0;  ///< rows
  LatencyHistogram commit;      ///< of a transaction, from when it was due
  std::uint64_t all_committed = 0;
  std::uint64_t left = 0;  ///< rows that did not leave the outbox
};

/// What was used up to a time.
struct CpuTimes {
  std::chrono::duration<double> client{};
  std::optional<std::chrono::duration<double>> broker;
};

/// What was counted between the end of the warm-up and the end; of kConsume, all of it.
struct BenchResult {
  std::chrono::duration<double> measured{};
  std::uint64_t confirmed = 0;
  std::uint64_t refused = 0;  ///< publishes that ended with an error, over the whole run
  /// Publishes that were due and not even tried, over the whole run: there was no time left.
  std::uint64_t unsent = 0;
  std::uint64_t settled = 0;
  /// From when a message was due to its receipt; without one, until the load ended, which is the
  /// least that it would have taken. kOutbox: from its commit until it is in the log.
  LatencyHistogram publish;
  LatencyHistogram end_to_end;  ///< from when it was due to its first delivery

  // Over the whole run: whether the broker kept its word.
  std::uint64_t all_confirmed = 0;
  std::uint64_t all_ended = 0;    ///< acked or dead
  std::uint64_t redelivered = 0;  ///< deliveries that were not a message's first
  // Of the whole run; kConsume: since it began to consume.
  std::chrono::duration<double> client_cpu{};
  std::optional<std::chrono::duration<double>> broker_cpu;
  std::vector<BenchSample> samples;  ///< ten a second at most
  std::vector<BenchInterval> intervals;
  std::optional<DeviceLimits> device;
  std::optional<BenchOutbox> outbox;
  std::optional<RequestError> error;  ///< the first; a refused publish or a lost consumer
  // Since the load began; it ended then.
  std::optional<std::chrono::duration<double>> interrupted;  ///< by Ctrl-C
  std::optional<std::chrono::duration<double>> gone;         ///< the broker is, for good
  [[nodiscard]] bool cut_short() const { return interrupted || gone; }
  void count_cpu_since(const CpuTimes& before, std::uint32_t broker_pid);
};

/// What a person sees meanwhile.
struct BenchProgress {
  std::chrono::milliseconds elapsed{};
  bool warming_up = false;
  std::uint64_t confirmed = 0;
  std::uint64_t settled = 0;
  std::optional<BenchInterval> interval;  ///< one that has just ended
};

/// Runs the load against a topic and a group that exist, with clients that reach the broker as
/// `reach` says. Blocking; `progress` is called from this thread, ten times a second. Ctrl-C and a
/// broker that is gone end the run early, with what was measured so far.
BenchResult run_load(const Bench& bench, ClientOptions reach, const std::string& topic,
                     const std::string& group,
                     const std::function<void(const BenchProgress&)>& progress);

/// The same with rows of a new SQLite outbox in a file of its own, gone afterwards unless it is to
/// be kept: threads that commit them, and the library's relay, which has a client of its own.
/// Errors, of the database alone: as SqliteStore and enqueue.
Reply<BenchResult> run_outbox_load(const Bench& bench, ClientOptions reach,
                                   const std::string& topic,
                                   const std::function<void(const BenchProgress&)>& progress);

/// Where a load runs. What a client cannot know of the broker is left open.
struct BenchEnvironment {
  std::string broker;  ///< its address, as it was given
  std::optional<std::string> broker_version;
  std::string client_version;
  std::uint64_t cores = 0;  ///< of this machine, as all below
  std::string cpu;
  std::uint64_t memory = 0;  ///< bytes
  std::string kernel;
  bool shares_cores = false;  ///< the broker runs here too
  // Of the broker's data directory, from what the process has open.
  std::optional<std::string> broker_file_system;
  std::optional<std::string> broker_engine;  ///< "uring" or "pool"
};
/// All but the broker's version. Connects to the broker, blocking.
BenchEnvironment look_around(const std::string& endpoint, std::uint32_t broker_pid);
/// Whether a connection to it stays on this machine, however the address is spelled.
bool is_on_this_machine(const std::string& endpoint);
/// What a load has open at a time, at most.
std::uint64_t open_files_of(const Bench& bench);
/// Raises this process' limit if need be; a problem if so many are not allowed.
Checked<void> allow_open_files(std::uint64_t count);

/// As a table for people and as one JSON object for scripts and `bench compare`.
std::string bench_text(const Bench& bench, const BenchResult& result,
                       const BenchEnvironment& environment);
std::string bench_json(const Bench& bench, const BenchResult& result,
                       const BenchEnvironment& environment);
/// One HTML page that needs nothing else: figures, charts, every parameter.
std::string bench_page(const Bench& bench, const BenchResult& result,
                       const BenchEnvironment& environment);
/// "  60 s  93750 confirmed/s  …"
std::string interval_text(const Bench& bench, const BenchInterval& interval);
std::string device_text(const DeviceLimits& device);
std::string device_json(const DeviceLimits& device);

/// "ext4"; a number in hexadecimal if it has no name here.
std::string file_system_of(const std::string& directory);
/// Of this process, and of that one if there is one.
CpuTimes cpu_times(std::uint32_t broker_pid);
/// User and system time of this process.
std::chrono::duration<double> own_cpu_time();
/// User and system time of a process of this machine since it began; nothing if it cannot be seen.
std::optional<std::chrono::duration<double>> cpu_time_of(std::uint32_t pid);

}  // namespace waybill::cli

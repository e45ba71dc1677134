// `waybill bench`: a topic and a group of its own, the load, and what came of it.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "protocol/base/random.h"
#include "tools/bench.h"
#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/escape.h"
#include "tools/problem.h"
#include "tools/stop_signal.h"

namespace waybill::cli {
namespace {

/// Of a failure on purpose; short, so that a run does not wait for it.
constexpr std::chrono::milliseconds kBackoff{10};

/// The topic and the group of a run; gone with it.
class BenchPlace {
 public:
  BenchPlace(BrokerSession& session, const Bench& bench) : session_(session), bench_(bench) {}
  BenchPlace(const BenchPlace&) = delete;
  BenchPlace& operator=(const BenchPlace&) = delete;

  Reply<void> make() {
    SeededRandom random(system_seed());
    name_ = fmt::format("bench-{:016x}", random.next());
    CreateTopicRequest wanted{name_, bench_.partitions};
    if (bench_.retention) wanted.policy.emplace().retention = *bench_.retention;
    if (auto topic = session_.request(std::move(wanted)); !topic) return topic.error();
    made_ = true;
    if (!consumes(bench_.scenario)) return {};
    CreateGroupRequest group;
    group.name = name_;
    group.topic = name_;
    group.policy.ordering = bench_.ordering;
    group.policy.attempts = bench_.attempts;
    group.policy.backoff.kind = BackoffKind::kFixed;
    group.policy.backoff.base = kBackoff;
    group.policy.brake.enabled = false;  // what fails here fails on purpose
    group.start.kind = StartKind::kEarliest;
    if (auto created = session_.request(std::move(group)); !created) return created.error();
    grouped_ = true;
    return {};
  }

  /// Whether the broker's own books agree with what was counted here; empty if they do.
  std::string disagreement(const BenchResult& result) {
    if (result.outbox) return disagreement(*result.outbox);
    if (!grouped_) return {};
    Reply<DescribeGroupReply> group = session_.request(DescribeGroupRequest{name_});
    if (!group) return "the broker could not be asked: " + group.error().explanation;
    std::uint64_t done = 0;
    std::uint64_t dead = 0;
    for (const GroupPartitionStatus& status : group->partitions) {
      done += status.accounting.done;
      dead += status.accounting.dead;
    }
    if (done + dead == result.all_ended) return {};
    return fmt::format("the broker counts {} done and {} dead, {} were settled here", done, dead,
                       result.all_ended);
  }

  /// Each row that left the outbox is in the log, and no row twice.
  std::string disagreement(const BenchOutbox& outbox) {
    Reply<DescribeTopicReply> topic = session_.request(DescribeTopicRequest{name_});
    if (!topic) return "the broker could not be asked: " + topic.error().explanation;
    std::uint64_t end = 0;
    for (const PartitionStatus& partition : topic->partitions) {
      end += static_cast<std::uint64_t>(partition.end.value);
    }
    if (end <= outbox.all_committed && end >= outbox.all_committed - outbox.left) return {};
    return fmt::format("the broker has {} messages; of {} committed rows {} are in the outbox", end,
                       outbox.all_committed, outbox.left);
  }

  Reply<void> remove() {
    if (grouped_) {
      if (auto gone = session_.request(DeleteGroupRequest{name_, true}); !gone) return gone.error();
    }
    if (made_) {
      if (auto gone = session_.request(DeleteTopicRequest{name_}); !gone) return gone.error();
    }
    return {};
  }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  BrokerSession& session_;
  const Bench& bench_;
  std::string name_;
  bool made_ = false;
  bool grouped_ = false;
};

std::string progress_text(const Bench& bench, const BenchProgress& now,
                          const BenchProgress& before) {
  double seconds =
      std::max(std::chrono::duration<double>(now.elapsed - before.elapsed).count(), 0.001);
  auto rate = [seconds](std::uint64_t later, std::uint64_t earlier) {
    return static_cast<double>(later - std::min(earlier, later)) / seconds;
  };
  std::string text = fmt::format(
      "{:>4.0f} s{}  {:.0f} confirmed/s", std::chrono::duration<double>(now.elapsed).count(),
      now.warming_up ? " (warming up)" : "", rate(now.confirmed, before.confirmed));
  if (!consumes(bench.scenario)) return text;
  return text + fmt::format("  {:.0f} consumed/s", rate(now.settled, before.settled));
}

Checked<DeviceLimits> measure(const std::string& directory, Console& console) {
  Result<DeviceLimits> measured =
      measure_device(directory, [&](const std::string& now) { console.progress(now); });
  console.progress({});
  if (measured) return std::move(*measured);
  return Problem{fmt::format("'{}' cannot be measured: {}", escaped_line(directory),
                             to_string(measured.error()))};
}

ExitCode refuse_directory(const Problem& problem, const std::string& directory,
                          BrokerSession& session) {
  ExitCode code = session.usage(problem.text);
  return ::access(directory.c_str(), F_OK) == 0 ? code : ExitCode::kNotFound;
}

Reply<BenchResult> load(const Bench& bench, BrokerSession& session, const std::string& name) {
  BenchProgress before;
  auto progress = [&](const BenchProgress& now) {
    if (now.interval) session.console().say(interval_text(bench, *now.interval));
    if (!session.console().shows_progress()) return;
    if (now.elapsed < before.elapsed) before = {};  // it fills no more, it consumes
    if (now.elapsed - before.elapsed < std::chrono::seconds(1)) return;
    session.console().progress(progress_text(bench, now, before));
    before = now;
  };
  if (bench.scenario == BenchScenario::kOutbox) {
    return run_outbox_load(bench, session.client_options(), name, progress);
  }
  return run_load(bench, session.client_options(), name, name, progress);
}

/// Whether a result will go there, without leaving an empty file behind if none comes.
bool can_write(const std::string& file) {
  namespace fs = std::filesystem;
  std::error_code failure;
  if (fs::exists(file, failure)) {
    return !fs::is_directory(file, failure) && ::access(file.c_str(), W_OK) == 0;
  }
  fs::path folder = fs::path(file).parent_path();
  return ::access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) == 0;
}

/// The files that were asked for; false if one could not be written.
bool write_files(const Bench& bench, const BenchResult& result, const BenchEnvironment& environment,
                 BrokerSession& session) {
  bool written = true;
  auto write = [&](const std::string& file, const std::string& text) {
    if (file.empty()) return;
    std::ofstream out(file);
    out << text;
    if (out.flush()) return;
    session.console().complain(
        fmt::format("the result could not be written to '{}'", escaped_line(file)));
    written = false;
  };
  const LatencyHistogram& last = result.end_to_end.count() > 0 ? result.end_to_end : result.publish;
  write(bench.result_file, bench_json(bench, result, environment) + "\n");
  write(bench.page_file, bench_page(bench, result, environment));
  write(bench.latency_file, last.hdr_text());
  return written;
}

/// What cannot be meant, before anything is done.
std::optional<ExitCode> refuse(const Bench& command, BrokerSession& session) {
  if (command.failing + command.dying > 100) {
    return session.usage("--failing and --dying are more than all messages",
                         "they are percentages of messages; together at most 100");
  }
  if (command.ordering == Ordering::kKey && command.keys == 0) {
    return session.usage("--ordering key needs keys", "say how many with --keys, as 10000");
  }
  if (command.key_distribution == KeyDistribution::kZipf && command.keys == 0) {
    return session.usage("--key-distribution needs keys", "say how many with --keys, as 10000");
  }
  if (command.broker_pid != 0 && !cpu_time_of(command.broker_pid)) {
    return session.usage(fmt::format("--broker-pid: no process {} is here", command.broker_pid),
                         "it is that of a waybilld on this machine, as in its --ready-file");
  }
  if (command.compression != Codec::kNone && command.values == BenchValues::kRandom) {
    session.console().say(
        "note: random values are the same bytes each time, which compress like nothing "
        "real; --values text");
  }
  for (const std::string& file : {command.result_file, command.page_file, command.latency_file}) {
    // Not after the load: it may have taken an hour.
    if (file.empty() || can_write(file)) continue;
    return session.usage(fmt::format("'{}' cannot be written", escaped_line(file)));
  }
  if (Checked<void> allowed = allow_open_files(open_files_of(command)); !allowed) {
    return session.usage(allowed.error().text,
                         "raise the limit ('ulimit -n'), or take fewer publishers and consumers");
  }
  return std::nullopt;
}

/// What a load leaves behind is gone, or said to stay.
ExitCode put_away(const Bench& command, const BenchResult& result, BenchPlace& place,
                  BrokerSession& session) {
  bool both = consumes(command.scenario);
  bool stays = command.keep || result.gone;
  if (stays) {
    session.console().say(
        fmt::format("topic{} {} stay{}", both ? " and group" : "", place.name(), both ? "" : "s"));
  } else if (Reply<void> removed = place.remove(); !removed) {
    return session.report(removed.error());
  }
  if (command.keep && result.outbox) {
    session.console().say(fmt::format("outbox {} stays", escaped_line(result.outbox->file)));
  }
  return ExitCode::kOk;
}

/// What the command ends with. A broker that is gone is not asked for anything.
ExitCode finish(const Bench& command, const BenchResult& result, BenchPlace& place,
                BrokerSession& session) {
  if (result.gone) {
    put_away(command, result, place, session);
    return session.report(RequestError(
        Errc::kConnectionLost, fmt::format("the broker is gone since {:.1f} s after the load began",
                                           result.gone->count())));
  }
  std::string disagreement = place.disagreement(result);
  if (!disagreement.empty()) session.console().complain(disagreement);
  ExitCode code = put_away(command, result, place, session);
  if (result.error) return session.report(*result.error);
  if (code != ExitCode::kOk) return code;
  if (!disagreement.empty()) return ExitCode::kFailed;
  if (result.interrupted) return ExitCode::kInterrupted;
  bool complete = !consumes(command.scenario) || result.all_ended == result.all_confirmed;
  if (result.outbox) complete = result.outbox->left == 0;
  return complete && result.unsent == 0 ? ExitCode::kOk : ExitCode::kFailed;
}

}  // namespace

ExitCode run(const Bench& command, BrokerSession& session) {
  Console& console = session.console();
  if (std::optional<ExitCode> mistake = refuse(command, session)) return *mistake;
  std::optional<DeviceLimits> device;
  if (!command.device_directory.empty()) {
    Checked<DeviceLimits> measured = measure(command.device_directory, console);
    if (!measured) return refuse_directory(measured.error(), command.device_directory, session);
    device = std::move(*measured);
  }
  StopSignal::install();  // until here Ctrl-C just ends the process: there is nothing to put away
  BenchPlace place(session, command);
  if (Reply<void> made = place.make(); !made) {
    ExitCode code = session.report(made.error());
    if (Reply<void> removed = place.remove(); !removed) session.report(removed.error());
    return code;
  }
  BenchEnvironment environment = look_around(session.endpoint(), command.broker_pid);
  if (Reply<HelloReply> hello = session.client().connect()) {
    environment.broker_version = hello->broker_version;
  }
  Reply<BenchResult> loaded = load(command, session, place.name());
  console.progress({});
  if (!loaded) {
    ExitCode code = session.report(loaded.error());
    if (Reply<void> removed = place.remove(); !removed) session.report(removed.error());
    return code;
  }
  BenchResult& result = *loaded;
  result.device = std::move(device);
  console.print_one(bench_text(command, result, environment),
                    bench_json(command, result, environment));
  bool written = write_files(command, result, environment, session);
  ExitCode code = finish(command, result, place, session);
  return code == ExitCode::kOk && !written ? ExitCode::kFailed : code;
}

ExitCode run(const BenchDevice& command, BrokerSession& session) {
  Checked<DeviceLimits> measured = measure(command.directory, session.console());
  if (!measured) return refuse_directory(measured.error(), command.directory, session);
  session.console().print_one(device_text(*measured), device_json(*measured));
  return ExitCode::kOk;
}

}  // namespace waybill::cli

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <stop_token>
#include <thread>

#include "client/outbox/client_publisher.h"
#include "client/outbox/ddl.h"
#include "client/outbox/relay.h"
#include "client/outbox/sqlite_store.h"
#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
#include "tools/escape.h"
#include "tools/json_output.h"
#include "tools/stop_signal.h"
#include "tools/text_table.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

constexpr std::chrono::milliseconds kProgressEvery{500};
constexpr std::chrono::milliseconds kDrainSlice{2'000};
/// The relay sends again what was not answered: waiting longer would only keep its lane from it.
constexpr std::chrono::milliseconds kAnswerWait{5'000};

Result<std::unique_ptr<SqliteStore>, ExitCode> open_store(const std::string& file,
                                                          BrokerSession& session) {
  Reply<std::unique_ptr<SqliteStore>> store = SqliteStore::open(file);
  if (!store) {
    ExitCode code = session.report(store.error());
    return ::access(file.c_str(), F_OK) == 0 ? code : ExitCode::kNotFound;
  }
  for (const std::string& warning : (*store)->warnings()) {
    session.console().say("note: " + escaped_text(warning));
  }
  return std::move(*store);
}

std::string relay_line(const RelayStatus& status) {
  return fmt::format("{}{}{}: {} published, {} of them again, {} held, {} dead", name(status.state),
                     status.reason.empty() ? "" : ", ", escaped_line(status.reason),
                     status.published, status.duplicates, status.held, status.dead);
}

std::string status_text(const OutboxStatus& status) {
  TextTable lanes({">LANE", "MODE", ">PENDING", ">IN FLIGHT", "OLDEST", ">EPOCH", "OWNER", "NOTE"});
  for (const LaneStatus& lane : status.lanes) {
    lanes.add({fmt::to_string(lane.lane), std::string(name(lane.mode)),
               fmt::to_string(lane.pending), fmt::to_string(lane.in_flight),
               lane.pending > 0 ? duration_text(lane.oldest) : "-", fmt::to_string(lane.epoch),
               lane.owner.empty() ? "-" : escaped_line(lane.owner), escaped_line(lane.note)});
  }
  std::string text = lanes.render();
  text += fmt::format("{} held, {} given up (waybill_outbox_dead)\n",
                      counted(status.held_rows, "row"), counted(status.dead_rows, "row"));
  if (status.held.empty()) return text;
  TextTable held({">ROW", "TOPIC", "KEY", ">ATTEMPTS", "WHY"});
  for (const HeldStatus& row : status.held) {
    held.add({fmt::to_string(row.row), escaped_line(row.topic), shown_bytes(row.key, 32),
              fmt::to_string(row.attempts),
              escaped_line(row.code) + ": " + shortened(row.explanation, 80)});
  }
  return text + held.render();
}

/// Nothing, or the lane that a person has to let go on.
Reply<std::optional<LaneStatus>> resting_lane(SqliteStore& store, std::int64_t number) {
  Reply<OutboxStatus> status = store.status();
  if (!status) return status.error();
  for (const LaneStatus& lane : status->lanes) {
    if (lane.lane == number && lane.mode != LaneMode::kRun) return std::optional(lane);
  }
  return std::optional<LaneStatus>();
}

/// In slices, so that Ctrl-C is heard.
bool drain(OutboxRelay& relay, SqliteStore& store, const OutboxRelayRun& command) {
  auto until = std::chrono::steady_clock::now() + command.timeout;
  while (!StopSignal::requested()) {
    if (relay.drain(kDrainSlice)) return true;
    Reply<std::optional<LaneStatus>> resting = resting_lane(store, command.lane);
    bool waits_for_person = !resting || resting->has_value();
    if (waits_for_person || std::chrono::steady_clock::now() >= until) break;
  }
  return false;
}

/// Rows that wait for a person; the exit code if nothing at all was published.
std::optional<ExitCode> say_what_is_left(SqliteStore& store, const OutboxRelayRun& command,
                                         BrokerSession& session) {
  Reply<std::optional<LaneStatus>> resting = resting_lane(store, command.lane);
  if (!resting) return session.report(resting.error());
  if (resting->has_value()) {
    const LaneStatus& lane = **resting;
    std::string why = lane.note.empty() ? "" : ": " + escaped_text(lane.note);
    session.console().complain(
        fmt::format("lane {} is {}{}", lane.lane, name(lane.mode), why),
        fmt::format("'waybill outbox resume --db {} --lane {}' lets it go on",
                    escaped_line(command.file), lane.lane));
    return ExitCode::kFailed;
  }
  Reply<OutboxStatus> status = store.status();
  if (!status) return session.report(status.error());
  if (status->held_rows == 0) return std::nullopt;
  session.console().complain(
      fmt::format("held: {} that the broker refuses; rows of the same key wait behind",
                  counted(status->held_rows, "row")),
      fmt::format("'waybill outbox status --db {}' says why", escaped_line(command.file)));
  return ExitCode::kFailed;
}

std::optional<OnRefused> on_refused_of(std::string_view text) {
  if (text == "hold-key") return OnRefused::kHoldKey;
  if (text == "halt-lane") return OnRefused::kHaltLane;
  if (text == "to-dead") return OnRefused::kToDead;
  return std::nullopt;
}

}  // namespace

ExitCode run(const OutboxDdl& command, BrokerSession& session) {
  Reply<OutboxDatabase> database = outbox_database_of_name(command.database);
  if (!database) {
    session.report(database.error());
    return ExitCode::kUsage;
  }
  std::string ddl = outbox_ddl(*database);
  session.console().print_one(ddl, done_json("ddl", ddl));
  return ExitCode::kOk;
}

ExitCode run(const OutboxStatusShow& command, BrokerSession& session) {
  Result<std::unique_ptr<SqliteStore>, ExitCode> store = open_store(command.file, session);
  if (!store) return store.error();
  Reply<OutboxStatus> status = (*store)->status();
  if (!status) return session.report(status.error());
  session.console().print_one(status_text(*status), to_json(*status));
  return ExitCode::kOk;
}

ExitCode run(const OutboxLane& command, BrokerSession& session) {
  Result<std::unique_ptr<SqliteStore>, ExitCode> store = open_store(command.file, session);
  if (!store) return store.error();
  LaneMode mode = command.paused ? LaneMode::kPaused : LaneMode::kRun;
  if (Reply<void> set = (*store)->set_lane_mode(command.lane, mode); !set) {
    return session.report(set.error());
  }
  std::string_view verb = command.paused ? "paused" : "resumed";
  std::string lane = fmt::to_string(command.lane);
  session.console().print_one(fmt::format("{} lane {}\n", verb, lane), done_json(verb, lane));
  return ExitCode::kOk;
}

ExitCode run(const OutboxRelayRun& command, BrokerSession& session) {
  StopSignal::install();
  std::optional<OnRefused> on_refused = on_refused_of(command.on_refused);
  if (!on_refused) {
    return session.usage(fmt::format("--on-refused is not '{}'", escaped_line(command.on_refused)),
                         "write hold-key, halt-lane or to-dead");
  }
  Result<std::unique_ptr<SqliteStore>, ExitCode> store = open_store(command.file, session);
  if (!store) return store.error();
  Console& console = session.console();
  session.set_request_timeout(kAnswerWait);
  ClientPublisher publisher(session.client());
  RelayOptions options;
  options.lane = command.lane;
  options.batch_rows = command.batch_rows;
  options.codec = command.compression;
  options.on_refused = *on_refused;
  options.new_incarnation = command.new_incarnation;
  std::atomic<Errc> trouble{Errc::kTimedOut};
  options.on_event = [&console, &trouble](const RelayEvent& event) {
    trouble = event.code;
    console.say(escaped_text(event.what));
  };
  OutboxRelay relay(**store, publisher, std::move(options));
  console.say(fmt::format("relaying {} to {}, lane {}", escaped_line(command.file),
                          escaped_line(session.endpoint()), command.lane));
  bool complete = true;
  if (command.exit_at_end) {
    complete = drain(relay, **store, command);
  } else {
    std::jthread running([&relay](const std::stop_token& stop) { relay.run(stop); });
    while (!StopSignal::wait_for(kProgressEvery)) console.progress(relay_line(relay.status()));
    running.request_stop();
  }
  console.progress({});
  RelayStatus status = relay.status();
  console.print_one(relay_line(status) + "\n", to_json(status));
  if (!command.exit_at_end) return ExitCode::kOk;
  std::optional<ExitCode> left = say_what_is_left(**store, command, session);
  if (left) return status.published > 0 ? ExitCode::kPartly : *left;
  if (complete) return ExitCode::kOk;
  return status.published > 0 ? ExitCode::kPartly : exit_code_of(trouble);
}

}  // namespace waybill::cli

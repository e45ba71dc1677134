// What an operator does to a running group: pause, resume, brake, reset.
#include <fmt/format.h>

#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/group_text.h"
#include "tools/json_output.h"
#include "tools/text_table.h"

namespace waybill::cli {
namespace {

/// The group as it is now, after a change.
ExitCode show_state(BrokerSession& session, const GroupInfo& group, const std::string& done) {
  // Only JSON names the topic; without it the change has been made all the same.
  Reply<DescribeGroupReply> described = session.request(DescribeGroupRequest{group.name});
  session.console().print_one(done + state_text(group),
                              to_json(group, described ? described->topic : ""));
  return ExitCode::kOk;
}

std::string reset_table(const ResetGroupReply& reply) {
  TextTable table(
      {"PARTITION", ">FROM", ">TO", ">REDELIVERED", ">SKIPPED", ">LEASES VOIDED", ">DEAD KEPT"});
  ResetPartition all;
  auto add = [&](std::string title, std::string from, std::string to, const ResetPartition& one) {
    table.add({std::move(title), std::move(from), std::move(to), fmt::to_string(one.redelivered),
               fmt::to_string(one.skipped), fmt::to_string(one.leases_voided),
               fmt::to_string(one.dead_kept)});
  };
  for (const ResetPartition& one : reply.partitions) {
    add(fmt::to_string(one.partition.value), fmt::to_string(one.from.value),
        fmt::to_string(one.to.value), one);
    all.redelivered += one.redelivered;
    all.skipped += one.skipped;
    all.leases_voided += one.leases_voided;
    all.dead_kept += one.dead_kept;
  }
  if (reply.partitions.size() > 1) add("all", "", "", all);
  return table.render();
}

}  // namespace

ExitCode run(const GroupPause& command, BrokerSession& session) {
  Reply<PauseGroupReply> reply = session.request(PauseGroupRequest{command.name, command.paused});
  if (!reply) return session.report(reply.error(), command.name);
  return show_state(session, reply->group,
                    fmt::format("{} {}\n", command.paused ? "paused" : "resumed", command.name));
}

ExitCode run(const GroupBrake& command, BrokerSession& session) {
  Reply<SetBrakeReply> reply = session.request(SetBrakeRequest{command.name, command.mode});
  if (!reply) return session.report(reply.error(), command.name);
  return show_state(session, reply->group,
                    fmt::format("the brake of {} is {}\n", command.name, name(command.mode)));
}

ExitCode run(const GroupReset& command, BrokerSession& session) {
  ResetGroupRequest request{command.name, command.start, command.include_dead, !command.yes};
  Reply<ResetGroupReply> reply = session.request(request);
  if (!reply) return session.report(reply.error(), command.name);
  Console& console = session.console();
  std::string done = fmt::format("{} {} to {}\n", command.yes ? "reset" : "would reset",
                                 command.name, start_text(command.start));
  console.print_one(done + reset_table(*reply), to_json(*reply, command.yes));
  if (!command.yes) console.say("nothing was changed; --yes does it");
  return ExitCode::kOk;
}

}  // namespace waybill::cli

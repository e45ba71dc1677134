#include <fmt/format.h>

#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
#include "tools/escape.h"
#include "tools/json_output.h"
#include "tools/text_table.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

template <class Value>
void set_if(Value& target, const std::optional<Value>& change) {
  if (change) target = *change;
}

std::string policy_text(const GroupPolicy& policy) {
  const Backoff& backoff = policy.backoff;
  std::string wait = duration_text(backoff.base);
  if (backoff.kind == BackoffKind::kExponential) wait += fmt::format(" x {}", backoff.factor);
  return fmt::format(
      "  ordering        {}\n"
      "  max failures    {}, then a dead letter ({})\n"
      "  lease           {}, attempts {}\n"
      "  back-off        {} {}, cap {}, jitter {}\n"
      "  window          {} leased messages per partition\n",
      name(policy.ordering), policy.max_failures, name(policy.on_dead_letter),
      duration_text(policy.lease), name(policy.attempts), name(backoff.kind), wait,
      duration_text(backoff.cap), name(backoff.jitter), policy.window);
}

std::vector<std::string> accounting_cells(std::string title, const Accounting& accounting,
                                          std::int64_t total) {
  std::vector<std::string> cells{std::move(title)};
  for (std::uint64_t count :
       {accounting.done, accounting.ready, accounting.leased, accounting.delayed, accounting.dead,
        accounting.redriven, accounting.discarded, accounting.sum()}) {
    cells.push_back(fmt::to_string(count));
  }
  cells.push_back(fmt::to_string(total));
  return cells;
}

/// D19: every message is in one column, and the sum is the number in the log.
std::string accounting_text(const DescribeGroupReply& reply, bool& adds_up) {
  TextTable table({"PARTITION", ">DONE", ">READY", ">LEASED", ">DELAYED", ">DEAD", ">REDRIVEN",
                   ">DISCARDED", ">SUM", ">IN LOG", "WAITING FOR"});
  Accounting all;
  std::int64_t in_log = 0;
  adds_up = true;
  auto add = [&](std::string title, const Accounting& accounting, std::int64_t total,
                 std::string waiting_for) {
    std::vector<std::string> cells = accounting_cells(std::move(title), accounting, total);
    cells.push_back(std::move(waiting_for));
    table.add(std::move(cells));
  };
  for (const GroupPartitionStatus& status : reply.partitions) {
    const Accounting& one = status.accounting;
    std::int64_t total = one.end - one.start;
    add(fmt::to_string(status.partition.value), one, total,
        status.waiting == Waiting::kNothing ? "-" : std::string(name(status.waiting)));
    adds_up = adds_up && static_cast<std::int64_t>(one.sum()) == total;
    all.done += one.done;
    all.ready += one.ready;
    all.leased += one.leased;
    all.delayed += one.delayed;
    all.dead += one.dead;
    all.redriven += one.redriven;
    all.discarded += one.discarded;
    in_log += total;
  }
  if (reply.partitions.size() > 1) add("all", all, in_log, "");
  return table.render();
}

}  // namespace

GroupPolicy changed(GroupPolicy policy, const PolicyChanges& changes) {
  set_if(policy.ordering, changes.ordering);
  set_if(policy.max_failures, changes.max_failures);
  set_if(policy.lease, changes.lease);
  set_if(policy.backoff.kind, changes.backoff);
  set_if(policy.backoff.base, changes.backoff_base);
  set_if(policy.backoff.factor, changes.backoff_factor);
  set_if(policy.backoff.cap, changes.backoff_cap);
  set_if(policy.backoff.jitter, changes.jitter);
  set_if(policy.on_dead_letter, changes.on_dead_letter);
  set_if(policy.window, changes.window);
  set_if(policy.attempts, changes.attempts);
  return policy;
}

ExitCode run(const GroupCreate& command, BrokerSession& session) {
  CreateGroupRequest request{command.name, command.topic, changed({}, command.policy),
                             command.start};
  Reply<CreateGroupReply> reply = session.request(request);
  if (!reply) {
    bool about_topic = reply.error() == Errc::kUnknownTopic;
    return session.report(reply.error(), about_topic ? command.topic : command.name);
  }
  session.console().print_one(fmt::format("{} group {} on topic {}\n{}",
                                          reply->created ? "created" : "exists:", command.name,
                                          command.topic, policy_text(reply->group.policy)),
                              to_json(reply->group, command.topic));
  return ExitCode::kOk;
}

ExitCode run(const GroupSet& command, BrokerSession& session) {
  Reply<DescribeGroupReply> before = session.request(DescribeGroupRequest{command.name});
  if (!before) return session.report(before.error(), command.name);
  GroupPolicy policy = changed(before->group.policy, command.policy);
  Console& console = session.console();
  if (policy == before->group.policy) {
    console.say("nothing to change: the policy is like that already");
  }
  Reply<AlterGroupReply> reply = session.request(AlterGroupRequest{command.name, policy});
  if (!reply) return session.report(reply.error(), command.name);
  console.print_one(fmt::format("group {}\n{}", command.name, policy_text(reply->group.policy)),
                    to_json(reply->group, before->topic));
  return ExitCode::kOk;
}

ExitCode run(const GroupList&, BrokerSession& session) {
  Reply<MetadataReply> reply = session.request(MetadataRequest{});
  if (!reply) return session.report(reply.error());
  Console& console = session.console();
  TextTable table({"GROUP", "TOPIC", "ORDERING", ">MAX FAILURES", "LEASE"});
  for (const GroupInfo& group : reply->catalog.groups) {
    const TopicInfo* topic = reply->catalog.topic(group.topic);
    std::string topic_name = topic != nullptr ? topic->name : "(deleted)";
    table.add({group.name, topic_name, std::string(name(group.policy.ordering)),
               fmt::to_string(group.policy.max_failures), duration_text(group.policy.lease)});
    if (!console.text()) console.print_item({}, to_json(group, topic_name));
  }
  if (console.text() && table.empty()) {
    console.say("no groups yet; make one with 'waybill group create NAME --topic TOPIC ...'");
  } else if (console.text()) {
    console.print(table.render());
  } else {
    console.finish_items();
  }
  return ExitCode::kOk;
}

ExitCode run(const GroupDescribe& command, BrokerSession& session) {
  Reply<DescribeGroupReply> reply = session.request(DescribeGroupRequest{command.name});
  if (!reply) return session.report(reply.error(), command.name);
  bool adds_up = true;
  std::string table = accounting_text(*reply, adds_up);
  session.console().print_one(
      fmt::format("group {} on topic {}, {}\n{}{}{}", command.name, reply->topic,
                  counted(reply->consumers, "consumer"), policy_text(reply->group.policy), table,
                  adds_up ? "every message is in exactly one column: the sums agree with the log\n"
                          : "THE SUMS DO NOT AGREE WITH THE LOG: please report this\n"),
      to_json(*reply));
  return adds_up ? ExitCode::kOk : ExitCode::kFailed;
}

ExitCode run(const GroupDelete& command, BrokerSession& session) {
  Reply<DescribeGroupReply> group = session.request(DescribeGroupRequest{command.name});
  if (!group) return session.report(group.error(), command.name);
  std::uint64_t open = 0;
  std::uint64_t dead = 0;
  for (const GroupPartitionStatus& status : group->partitions) {
    const Accounting& one = status.accounting;
    open += one.ready + one.leased + one.delayed;
    dead += one.dead;
  }
  Console& console = session.console();
  console.say(fmt::format(
      "this deletes group {} of topic {} with its position: {} not done yet, {} still open{}",
      command.name, group->topic, counted(open, "message"), counted(dead, "dead letter"),
      dead > 0 && command.discard_dead_letters ? ", which are discarded" : ""));
  if (!console.confirm("delete it?", command.yes)) return console.refusal();
  Reply<DeleteGroupReply> reply =
      session.request(DeleteGroupRequest{command.name, command.discard_dead_letters});
  if (!reply) return session.report(reply.error(), command.name);
  console.print_one(fmt::format("deleted {}\n", command.name), done_json("deleted", command.name));
  return ExitCode::kOk;
}

}  // namespace waybill::cli

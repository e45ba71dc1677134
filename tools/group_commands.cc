#include <fmt/format.h>

#include "tools/accounting.h"
#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
#include "tools/group_text.h"
#include "tools/json_output.h"
#include "tools/text_table.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

template <class Value>
void set_if(Value& target, const std::optional<Value>& change) {
  if (change) target = *change;
}

/// For whoever asked for another one.
void say_what_it_is(BrokerSession& session, const std::string& group) {
  Reply<DescribeGroupReply> reply = session.request(DescribeGroupRequest{group});
  if (!reply) return;
  session.console().say(fmt::format("it is on topic {}, from {}:\n{}", reply->topic,
                                    start_text(reply->group.start),
                                    policy_text(reply->group.policy)));
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
  set_if(policy.failures.transient, changes.on_transient);
  set_if(policy.failures.failed, changes.on_failed);
  set_if(policy.failures.invalid, changes.on_invalid);
  set_if(policy.failures.timeout, changes.on_timeout);
  set_if(policy.failures.free_for, changes.free_for);
  set_if(policy.brake.enabled, changes.brake);
  set_if(policy.brake.outcomes, changes.brake_outcomes);
  set_if(policy.brake.percent, changes.brake_percent);
  set_if(policy.brake.in_a_row, changes.brake_in_a_row);
  set_if(policy.brake.period, changes.brake_period);
  set_if(policy.brake.probe_after, changes.brake_probe_after);
  set_if(policy.brake.probes, changes.brake_probes);
  set_if(policy.on_expiry, changes.on_expiry);
  set_if(policy.max_held, changes.max_held);
  return policy;
}

ExitCode run(const GroupCreate& command, BrokerSession& session) {
  CreateGroupRequest request{command.name, command.topic, changed({}, command.policy),
                             command.start};
  Reply<CreateGroupReply> reply = session.request(request);
  if (!reply) {
    bool about_topic = reply.error() == Errc::kUnknownTopic;
    ExitCode code = session.report(reply.error(), about_topic ? command.topic : command.name);
    if (reply.error() == Errc::kPolicyMismatch) say_what_it_is(session, command.name);
    return code;
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
  TextTable table({"GROUP", "TOPIC", "ORDERING", ">MAX FAILURES", "LEASE", "STATE"});
  for (const GroupInfo& group : reply->catalog.groups) {
    const TopicInfo* topic = reply->catalog.topic(group.topic);
    std::string topic_name = topic != nullptr ? topic->name : "(deleted)";
    table.add({group.name, topic_name, std::string(name(group.policy.ordering)),
               fmt::to_string(group.policy.max_failures), duration_text(group.policy.lease),
               state_name(group)});
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

ExitCode run(const GroupDelete& command, BrokerSession& session) {
  Reply<DescribeGroupReply> group = session.request(DescribeGroupRequest{command.name});
  if (!group) return session.report(group.error(), command.name);
  std::uint64_t open = 0;
  std::uint64_t dead = 0;
  for (const GroupPartitionStatus& status : group->partitions) {
    const Accounting& one = status.accounting;
    open += open_messages(one);
    dead += one.dead;
  }
  Console& console = session.console();
  const char* fate = "";
  if (dead > 0 && command.discard_dead_letters) fate = ", which are discarded";
  if (dead > 0 && command.keep_dead_letters) fate = ", which are kept as an archive";
  console.say(fmt::format(
      "this deletes group {} of topic {} with its position: {} not done yet, {} still open{}",
      command.name, group->topic, counted(open, "message"), counted(dead, "dead letter"), fate));
  if (!console.confirm("delete it?", command.yes)) return console.refusal();
  Reply<DeleteGroupReply> reply = session.request(
      DeleteGroupRequest{command.name, command.discard_dead_letters, command.keep_dead_letters});
  if (!reply) {
    ExitCode code = session.report(reply.error(), command.name);
    if (dead > 0 && reply.error() == Errc::kOpenDeadLetters) {
      console.say("  'waybill dlq list " + command.name +
                  "' shows them; --discard-dead-letters discards them, --keep-dead-letters keeps "
                  "them as an archive");
    }
    return code;
  }
  std::string done = fmt::format("deleted {}\n", command.name);
  if (dead > 0 && command.keep_dead_letters) {
    done = fmt::format("deleted {}; kept {} as an archive\n", command.name,
                       counted(dead, "dead letter"));
  }
  console.print_one(done, done_json("deleted", command.name));
  return ExitCode::kOk;
}

}  // namespace waybill::cli

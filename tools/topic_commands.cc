#include <fmt/format.h>

#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
#include "tools/json_output.h"
#include "tools/text_table.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

TopicPolicy changed(TopicPolicy policy, const TopicChanges& changes) {
  policy.retention = changes.retention.value_or(policy.retention);
  policy.drop_after = changes.drop_after.value_or(policy.drop_after);
  policy.drop_above = changes.drop_above.value_or(policy.drop_above);
  policy.cleanup = changes.cleanup.value_or(policy.cleanup);
  policy.tombstone_delay = changes.tombstone_delay.value_or(policy.tombstone_delay);
  return policy;
}

/// "10GiB", as it may be typed; "1500 bytes" where no unit says it exactly.
std::string limit_text(std::uint64_t bytes) {
  std::string_view unit = " bytes";
  for (std::string_view larger : {"KiB", "MiB", "GiB", "TiB"}) {
    if (bytes % 1024 != 0) break;
    bytes /= 1024;
    unit = larger;
  }
  return fmt::format("{}{}", bytes, unit);
}

/// "kept for 7d and until every group is done; dropped after 30d; dropped above 10GiB in a
/// partition"; "the latest of each key is kept, tombstones for 1d"
std::string policy_text(const TopicPolicy& policy) {
  std::string text;
  if (policy.compacts()) {
    text = fmt::format("the latest of each key is kept, tombstones for {}",
                       duration_text(policy.tombstone_delay));
  }
  if (policy.cleanup != Cleanup::kCompact) {
    text += fmt::format("{}kept for {} and until every group is done", text.empty() ? "" : "; ",
                        duration_text(policy.retention));
  }
  if (policy.drop_after.count() > 0) {
    text += fmt::format("; dropped after {}", duration_text(policy.drop_after));
  }
  if (policy.drop_above > 0) {
    text += fmt::format("; dropped above {} in a partition", limit_text(policy.drop_above));
  }
  return text;
}

}  // namespace

ExitCode run(const TopicCreate& command, BrokerSession& session) {
  CreateTopicRequest request{command.name, command.partitions};
  if (command.policy != TopicChanges{}) request.policy = changed({}, command.policy);
  Reply<CreateTopicReply> reply = session.request(std::move(request));
  if (!reply) return session.report(reply.error());
  session.console().print_one(
      fmt::format("{} {} ({})\n", reply->created ? "created" : "exists:", command.name,
                  counted(reply->topic.partitions.size(), "partition")),
      to_json(reply->topic));
  return ExitCode::kOk;
}

ExitCode run(const TopicSet& command, BrokerSession& session) {
  Reply<DescribeTopicReply> before = session.request(DescribeTopicRequest{command.name});
  if (!before) return session.report(before.error(), command.name);
  Reply<AlterTopicReply> reply = session.request(
      AlterTopicRequest{command.name, changed(before->topic.policy, command.policy)});
  if (!reply) return session.report(reply.error(), command.name);
  session.console().print_one(
      fmt::format("topic {}: {}\n", command.name, policy_text(reply->topic.policy)),
      to_json(reply->topic));
  return ExitCode::kOk;
}

ExitCode run(const TopicList&, BrokerSession& session) {
  Reply<MetadataReply> reply = session.request(MetadataRequest{});
  if (!reply) return session.report(reply.error());
  Console& console = session.console();
  const std::vector<TopicInfo>& topics = reply->catalog.topics;
  if (console.text()) {
    TextTable table({"TOPIC", ">PARTITIONS"});
    for (const TopicInfo& topic : topics) {
      table.add({topic.name, fmt::to_string(topic.partitions.size())});
    }
    console.print(table.empty() ? "" : table.render());
    if (table.empty()) console.say("no topics yet; make one with 'waybill topic create NAME'");
    return ExitCode::kOk;
  }
  for (const TopicInfo& topic : topics) console.print_item({}, to_json(topic));
  console.finish_items();
  return ExitCode::kOk;
}

ExitCode run(const TopicDescribe& command, BrokerSession& session) {
  Reply<DescribeTopicReply> reply = session.request(DescribeTopicRequest{command.name});
  if (!reply) return session.report(reply.error(), command.name);
  TextTable table({">PARTITION", ">START", ">END", ">MESSAGES", ">BYTES"});
  for (const PartitionStatus& status : reply->partitions) {
    table.add({fmt::to_string(status.partition.value), fmt::to_string(status.start.value),
               fmt::to_string(status.end.value), fmt::to_string(status.end - status.start),
               fmt::to_string(status.bytes)});
  }
  std::string groups = reply->groups.empty()
                           ? "no groups"
                           : fmt::format("groups: {}", fmt::join(reply->groups, ", "));
  session.console().print_one(fmt::format("{}, {}\n{}\n{}", command.name, groups,
                                          policy_text(reply->topic.policy), table.render()),
                              to_json(*reply));
  return ExitCode::kOk;
}

ExitCode run(const TopicDelete& command, BrokerSession& session) {
  Reply<DescribeTopicReply> topic = session.request(DescribeTopicRequest{command.name});
  if (!topic) return session.report(topic.error(), command.name);
  std::int64_t messages = 0;
  for (const PartitionStatus& status : topic->partitions) messages += status.end - status.start;
  Console& console = session.console();
  console.say(fmt::format("this deletes topic {} with its {} in {}, for ever", command.name,
                          counted(static_cast<std::uint64_t>(messages), "message"),
                          counted(topic->partitions.size(), "partition")));
  if (!console.confirm("delete it?", command.yes)) return console.refusal();
  Reply<DeleteTopicReply> reply = session.request(DeleteTopicRequest{command.name});
  if (!reply) return session.report(reply.error(), command.name);
  console.print_one(fmt::format("deleted {}\n", command.name), done_json("deleted", command.name));
  return ExitCode::kOk;
}

}  // namespace waybill::cli

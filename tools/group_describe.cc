// Where a group's messages are: as the broker keeps count of them (describe), and counted anew,
// record by record (check).
#include <fmt/format.h>

#include "tools/accounting.h"
#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
#include "tools/group_text.h"
#include "tools/json_output.h"
#include "tools/text_table.h"

namespace waybill::cli {
namespace {

/// What of a partition was counted otherwise than it is kept.
void add_differences(const PartitionCheck& check, TextTable& table) {
  auto add = [&](std::string_view what, std::uint64_t kept, std::uint64_t counted) {
    if (kept == counted) return;
    table.add({fmt::to_string(check.partition.value), std::string(what), fmt::to_string(kept),
               fmt::to_string(counted)});
  };
  auto unsigned_of = [](Offset offset) { return static_cast<std::uint64_t>(offset.value); };
  add("start", unsigned_of(check.kept.start), unsigned_of(check.counted.start));
  add("end", unsigned_of(check.kept.end), unsigned_of(check.counted.end));
  for (const AccountingState& state : kAccountingStates) {
    add(state.name, check.kept.*state.count, check.counted.*state.count);
  }
  const Accounting& counted = check.counted;
  add("sum, and in the log", counted.sum(),
      static_cast<std::uint64_t>(counted.end - counted.start));
}

}  // namespace

ExitCode run(const GroupDescribe& command, BrokerSession& session) {
  Reply<DescribeGroupReply> reply = session.request(DescribeGroupRequest{command.name});
  if (!reply) return session.report(reply.error(), command.name);
  bool all_add_up = true;
  std::vector<AccountingRow> rows;
  for (const GroupPartitionStatus& status : reply->partitions) {
    bool advances = status.waiting == Waiting::kNothing;
    rows.push_back(
        {status.partition, status.accounting, advances ? "-" : std::string(name(status.waiting))});
    all_add_up = all_add_up && adds_up(status.accounting);
  }
  session.console().print_one(
      fmt::format("group {} on topic {}, {}\n{}{}{}{}", command.name, reply->topic,
                  counted(reply->consumers, "consumer"), state_text(reply->group),
                  policy_text(reply->group.policy), accounting_table(rows, "WAITING FOR"),
                  all_add_up
                      ? "every message is in exactly one column: the sums agree with the log\n"
                      : "THE SUMS DO NOT AGREE WITH THE LOG: please report this\n"),
      to_json(*reply));
  return all_add_up ? ExitCode::kOk : ExitCode::kFailed;
}

ExitCode run(const GroupCheck& command, BrokerSession& session) {
  Reply<CheckGroupReply> reply = session.request(CheckGroupRequest{command.name});
  if (!reply) return session.report(reply.error(), command.name);
  TextTable differences({"PARTITION", "WHAT", ">KEPT", ">COUNTED"});
  std::vector<AccountingRow> rows;
  std::uint64_t messages = 0;
  for (const PartitionCheck& check : reply->partitions) {
    add_differences(check, differences);
    rows.push_back({check.partition, check.counted, ""});
    messages += check.counted.sum();
  }
  bool agrees = differences.empty();
  std::string verdict =
      agrees ? fmt::format("counted {} of {} one by one: every one is where the broker says\n",
                           counted(messages, "message"), command.name)
             : fmt::format("THE COUNT OF {} IS NOT WHAT THE BROKER KEEPS: please report this\n{}",
                           command.name, differences.render());
  session.console().print_one(accounting_table(rows, "") + verdict,
                              to_json(*reply, command.name, agrees));
  return agrees ? ExitCode::kOk : ExitCode::kFailed;
}

}  // namespace waybill::cli

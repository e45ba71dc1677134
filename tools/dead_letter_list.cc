// dlq list and dlq show: looking changes nothing.
#include <fmt/format.h>

#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/dead_letter_choice.h"
#include "tools/dead_letter_name.h"
#include "tools/escape.h"
#include "tools/json_output.h"
#include "tools/line_diff.h"
#include "tools/payload_text.h"
#include "tools/text_table.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

constexpr std::size_t kDetailColumns = 80;

/// "discarded, erased"
std::string state_text(const DeadLetterSummary& summary) {
  return std::string(name(summary.state)) + (summary.erased ? ", erased" : "");
}

std::string list_text(const ListDeadLettersReply& reply, const std::string& group) {
  TextTable table({"DEAD LETTER", "STATE", ">OFFSET", "KEY", ">FAILURES", "DIED", "WHY"});
  for (const DeadLetterSummary& one : reply.dead_letters) {
    std::string why = one.last_failure.code.empty() ? std::string(name(one.reason))
                                                    : escaped_line(one.last_failure.code);
    table.add({dead_letter_name(group, one.id), state_text(one), fmt::to_string(one.offset.value),
               one.key ? shown_bytes(*one.key, 32) : "-", fmt::to_string(one.failures),
               time_text(one.died_at),
               why + ": " + shortened(one.last_failure.detail, kDetailColumns)});
  }
  std::string text = fingerprint_table(reply.fingerprints) + "\n" + table.render();
  if (reply.more) {
    text += fmt::format("... {} in all; --limit shows more\n", total_count(reply.fingerprints));
  }
  return text;
}

std::string attempts_text(const std::vector<Attempt>& attempts) {
  std::string text;
  for (const Attempt& attempt : attempts) {
    text += fmt::format("    delivery {} ended {} after {} ms: {} {}\n", attempt.delivery,
                        time_text(attempt.at), attempt.duration_ms,
                        name(attempt.failure.failure_class), escaped_line(attempt.failure.code));
    text += indented(escaped_text(attempt.failure.detail), "      ");
  }
  return text;
}

std::string versions_text(const std::vector<DeadLetterVersion>& versions) {
  std::string text;
  for (std::size_t index = 1; index < versions.size(); ++index) {
    const DeadLetterVersion& version = versions[index];
    text += fmt::format("  version {} by {} at {}{}\n", version.version, escaped_line(version.by),
                        time_text(version.at),
                        version.note.empty() ? "" : ": " + escaped_line(version.note));
    text += line_diff(message_text(versions[index - 1].message), message_text(version.message));
  }
  return text;
}

std::string show_text(const ShowDeadLetterReply& reply, const std::string& group) {
  const DeadLetterSummary& summary = reply.summary;
  std::string text = fmt::format(
      "{}  {}\n"
      "  from         {}, partition {}, offset {}\n"
      "  died         {}, {} (failures {}, deliveries {}, redrives {})\n"
      "  fingerprint  {}\n"
      "  key          {}\n",
      dead_letter_name(group, summary.id), state_text(summary), escaped_line(reply.topic),
      summary.id.partition.value, summary.offset.value, time_text(summary.died_at),
      name(summary.reason), summary.failures, summary.deliveries, summary.redrives,
      fingerprint_text(summary.fingerprint), shown_bytes(summary.key, kDetailColumns));
  if (summary.erased) text += "  erased: payload, key, headers, fixes and attempts are gone\n";
  if (!reply.attempts.empty()) text += "  attempts\n" + attempts_text(reply.attempts);
  text += versions_text(reply.versions);
  if (reply.versions.empty()) return text;
  const Message& newest = reply.versions.back().message;
  for (const Header& header : newest.headers) {
    text += fmt::format("  header {}: {}\n", escaped_line(header.key),
                        shown_bytes(header.value, kDetailColumns));
  }
  return text + fmt::format("  value: {}\n", payload_kind(newest.value)) +
         indented(payload_text(newest.value), "    ");
}

}  // namespace

ExitCode run(const DeadLetterList& command, BrokerSession& session) {
  Result<DeadLetterSelection, ExitCode> selection = resolve(command.choice, session);
  if (!selection) return selection.error();
  Reply<ListDeadLettersReply> reply = list_dead_letters(*selection, command.limit, session);
  if (!reply) return session.report(reply.error(), selection->group);
  Console& console = session.console();
  if (console.format() == OutputFormat::kJson) {
    console.print_one({}, dead_letters_json(reply->fingerprints, reply->dead_letters, reply->more,
                                            selection->group));
  } else if (console.format() == OutputFormat::kJsonLines) {
    for (const DeadLetterSummary& one : reply->dead_letters) {
      console.print_item({}, to_json(one, selection->group));
    }
  } else if (reply->dead_letters.empty()) {
    console.say(fmt::format("no dead letters of {} match", selection->group));
  } else {
    console.print(list_text(*reply, selection->group));
  }
  return ExitCode::kOk;
}

ExitCode run(const DeadLetterShow& command, BrokerSession& session) {
  Result<DeadLetterSelection, ExitCode> selection = resolve(command.choice, session);
  if (!selection) return selection.error();
  if (selection->ids.empty()) {
    return session.usage("which dead letter?", "name its id, as GROUP/PARTITION-NUMBER");
  }
  for (const DeadLetterId& id : selection->ids) {
    Reply<ShowDeadLetterReply> reply = session.request(ShowDeadLetterRequest{selection->group, id});
    if (!reply) return session.report(reply.error());
    Console& console = session.console();
    bool single = selection->ids.size() == 1;
    std::string text = console.text() ? show_text(*reply, selection->group) : "";
    if (single) {
      console.print_one(text, to_json(*reply, selection->group));
    } else {
      console.print_item(text, to_json(*reply, selection->group));
    }
  }
  if (selection->ids.size() > 1) session.console().finish_items();
  return ExitCode::kOk;
}

}  // namespace waybill::cli

// dlq redrive and dlq discard: a plan, a question, and one request for all that match.
#include <fmt/format.h>

#include <algorithm>

#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
#include "tools/dead_letter_choice.h"
#include "tools/escape.h"
#include "tools/json_output.h"

namespace waybill::cli {
namespace {

/// Says what is about to happen and asks. Nothing: go on. `done` is what JSON calls it.
std::optional<ExitCode> confirm_plan(std::string_view verb, std::string_view done,
                                     const DeadLetterSelection& selection, bool yes,
                                     BrokerSession& session) {
  Reply<ListDeadLettersReply> reply = list_dead_letters(selection, 1, session);
  if (!reply) return session.report(reply.error(), selection.group);
  Console& console = session.console();
  std::uint64_t count = total_count(reply->fingerprints);
  if (count == 0) {
    console.say(fmt::format("no dead letters of {} match; nothing was changed", selection.group));
    console.print_one("", count_json(done, 0, selection.ids.size()));
    bool named = !selection.ids.empty();
    return named ? ExitCode::kNotFound : ExitCode::kOk;
  }
  console.say(fmt::format("{} {} of {}:\n{}", verb, counted(count, "dead letter"), selection.group,
                          fingerprint_table(reply->fingerprints)));
  if (!console.confirm("do it?", yes)) return console.refusal();
  return std::nullopt;
}

/// `passed_over` says why some were skipped.
ExitCode finish(std::string_view verb, std::uint64_t count, std::uint64_t skipped,
                std::string_view passed_over, const DeadLetterSelection& selection,
                BrokerSession& session) {
  // The broker passes over ids that it does not know without a word.
  std::uint64_t named = selection.ids.size();
  if (named > count) skipped = std::max(skipped, named - count);
  Console& console = session.console();
  console.print_one(fmt::format("{} {}\n", verb, count), count_json(verb, count, skipped));
  if (skipped == 0) return ExitCode::kOk;
  console.say(fmt::format("skipped {}: {}", counted(skipped, "dead letter"), passed_over));
  return count > 0 ? ExitCode::kPartly : ExitCode::kFailed;
}

constexpr std::string_view kNotDead =
    "not there, not in state dead any more, or redriven too often";
constexpr std::string_view kNotErasable = "not there, being redriven, or erased already";

}  // namespace

ExitCode run(const DeadLetterRedrive& command, BrokerSession& session) {
  Result<DeadLetterSelection, ExitCode> selection = resolve_narrowed(command.choice, session);
  if (!selection) return selection.error();
  std::optional<ExitCode> refused =
      confirm_plan("give back to their group:", "redriven", *selection, command.yes, session);
  if (refused) return *refused;
  Reply<RedriveReply> reply =
      session.request(RedriveRequest{*selection, command.override_limit, BrokerSession::who()});
  if (!reply) return session.report(reply.error(), selection->group);
  return finish("redriven", reply->redriven, reply->skipped, kNotDead, *selection, session);
}

ExitCode run(const DeadLetterDiscard& command, BrokerSession& session) {
  Result<DeadLetterSelection, ExitCode> selection = resolve_narrowed(command.choice, session);
  if (!selection) return selection.error();
  const std::string_view verb = command.erase ? "erased" : "discarded";
  std::optional<ExitCode> refused =
      confirm_plan(command.erase ? "erase for ever:" : "discard for ever:", verb, *selection,
                   command.yes, session);
  if (refused) return *refused;
  Reply<DiscardReply> reply = session.request(
      DiscardRequest{*selection, BrokerSession::who(), command.reason, command.erase});
  if (!reply) return session.report(reply.error(), selection->group);
  const std::uint64_t count = command.erase ? reply->erased : reply->discarded;
  const ExitCode code = finish(verb, count, reply->skipped, command.erase ? kNotErasable : kNotDead,
                               *selection, session);
  if (command.erase && count > 0) {
    session.console().say(
        "their bytes leave the files of the dead letters within minutes; the journal has them\n"
        "until it is overwritten, the topic's log until its retention ends");
  }
  return code;
}

}  // namespace waybill::cli

// dlq redrive and dlq discard: a plan, a question, and one request for all that match.
#include <fmt/format.h>

#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
#include "tools/dead_letter_choice.h"
#include "tools/escape.h"
#include "tools/json_output.h"

namespace waybill::cli {
namespace {

/// Says what is about to happen and asks. Nothing: go on.
std::optional<ExitCode> confirm_plan(std::string_view verb, const DeadLetterSelection& selection,
                                     bool yes, BrokerSession& session) {
  Reply<ListDeadLettersReply> reply = list_dead_letters(selection, 1, session);
  if (!reply) return session.report(reply.error(), selection.group);
  Console& console = session.console();
  std::uint64_t count = total_count(reply->fingerprints);
  if (count == 0) {
    console.say(fmt::format("no dead letters of {} match; nothing was changed", selection.group));
    bool named = !selection.ids.empty();
    return named ? ExitCode::kNotFound : ExitCode::kOk;
  }
  console.say(fmt::format("{} {} of {}:\n{}", verb, counted(count, "dead letter"), selection.group,
                          fingerprint_table(reply->fingerprints)));
  if (!console.confirm("do it?", yes)) return console.refusal();
  return std::nullopt;
}

ExitCode finish(std::string_view verb, std::uint64_t count, std::uint64_t skipped,
                BrokerSession& session) {
  Console& console = session.console();
  console.print_one(fmt::format("{} {}\n", verb, count), count_json(verb, count, skipped));
  if (skipped == 0) return ExitCode::kOk;
  console.say(
      fmt::format("{} were skipped: they are not in state dead any more, or not there", skipped));
  return count > 0 ? ExitCode::kPartly : ExitCode::kFailed;
}

}  // namespace

ExitCode run(const DeadLetterRedrive& command, BrokerSession& session) {
  Result<DeadLetterSelection, ExitCode> selection = resolve_narrowed(command.choice, session);
  if (!selection) return selection.error();
  std::optional<ExitCode> refused =
      confirm_plan("give back to their group:", *selection, command.yes, session);
  if (refused) return *refused;
  Reply<RedriveReply> reply =
      session.request(RedriveRequest{*selection, command.override_limit, BrokerSession::who()});
  if (!reply) return session.report(reply.error(), selection->group);
  return finish("redriven", reply->redriven, reply->skipped, session);
}

ExitCode run(const DeadLetterDiscard& command, BrokerSession& session) {
  Result<DeadLetterSelection, ExitCode> selection = resolve_narrowed(command.choice, session);
  if (!selection) return selection.error();
  std::optional<ExitCode> refused =
      confirm_plan("discard for ever:", *selection, command.yes, session);
  if (refused) return *refused;
  Reply<DiscardReply> reply =
      session.request(DiscardRequest{*selection, BrokerSession::who(), command.reason});
  if (!reply) return session.report(reply.error(), selection->group);
  return finish("discarded", reply->discarded, reply->skipped, session);
}

}  // namespace waybill::cli

// dlq edit: one dead letter in an editor, or many by a rule. Every fix is a new version beside the
// original, made from the version that was looked at: if somebody else was quicker, it is refused.
#include <fmt/format.h>

#include <limits>

#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
#include "tools/dead_letter_choice.h"
#include "tools/dead_letter_name.h"
#include "tools/editor.h"
#include "tools/escape.h"
#include "tools/json_output.h"
#include "tools/json_tokens.h"
#include "tools/line_diff.h"
#include "tools/message_fix.h"
#include "tools/payload_text.h"

namespace waybill::cli {
namespace {

/// Diffs shown before the question; all of them with --dry-run.
constexpr std::size_t kSampleDiffs = 3;

struct PlannedFix {
  EditDeadLetterRequest request;
  std::string diff;
};

/// What a person's editor gives back for a value; JSON is edited with a member per line and goes
/// back to one line if it came from one.
Checked<std::string> edit_value(std::string_view value) {
  Checked<std::vector<JsonToken>> tokens = json_tokens(value);
  if (!tokens && !is_text(value)) {
    return Problem{"the value is binary: fix it with your own program and 'publish' it"};
  }
  std::string shown = tokens ? json_pretty(*tokens) + "\n" : std::string(value);
  Checked<std::string> edited = edit_text(shown, tokens ? ".json" : ".txt");
  if (!edited) return edited.error();
  if (*edited == shown) return std::string(value);
  if (!tokens) return edited;
  Checked<std::vector<JsonToken>> edited_tokens = json_tokens(*edited);
  if (!edited_tokens) return Problem{"what you wrote is " + edited_tokens.error().text};
  bool one_line = json_compact(*tokens) == value;
  return one_line ? json_compact(*edited_tokens) : *edited;
}

class EditRun {
 public:
  EditRun(const DeadLetterEdit& command, BrokerSession& session, std::string group)
      : command_(command), session_(session), group_(std::move(group)) {}

  /// Looks at one dead letter and plans its fix. An exit code ends the command.
  template <class Fix>
  std::optional<ExitCode> plan(const DeadLetterId& id, Fix&& fix) {
    Reply<ShowDeadLetterReply> shown = session_.request(ShowDeadLetterRequest{group_, id});
    if (!shown) return session_.report(shown.error());
    if (shown->summary.erased) {
      ++refused_;
      session_.console().complain(dead_letter_name(group_, id) + ": was erased");
    }
    if (shown->versions.empty()) return std::nullopt;
    const DeadLetterVersion& newest = shown->versions.back();
    Checked<Message> fixed = fix(newest.message);
    if (!fixed) {
      ++refused_;
      session_.console().complain(dead_letter_name(group_, id) + ": " +
                                  escaped_text(fixed.error().text));
    } else if (*fixed == newest.message) {
      ++unchanged_;
    } else {
      std::string diff = line_diff(message_text(newest.message), message_text(*fixed));
      plans_.push_back(
          {{group_, id, newest.version, std::move(*fixed), BrokerSession::who(), command_.note},
           std::move(diff)});
    }
    return std::nullopt;
  }

  ExitCode finish() {
    Console& console = session_.console();
    show_diffs();
    std::string summary = fmt::format("{} to change, {} unchanged, {} cannot be fixed this way",
                                      plans_.size(), unchanged_, refused_);
    console.say(summary);
    if (command_.dry_run || plans_.empty()) {
      if (!console.text()) console.finish_items();
      if (refused_ == 0) return ExitCode::kOk;
      return plans_.empty() ? ExitCode::kFailed : ExitCode::kPartly;
    }
    if (!console.confirm(fmt::format("save {}?", counted(plans_.size(), "new version")),
                         command_.yes)) {
      return console.refusal();
    }
    return apply();
  }

 private:
  void show_diffs() {
    Console& console = session_.console();
    std::size_t shown = 0;
    for (const PlannedFix& plan : plans_) {
      std::string title = dead_letter_name(group_, plan.request.id);
      if (command_.dry_run) {
        console.print_item(title + "\n" + plan.diff, diff_json(title, plan.diff));
      } else if (shown++ < kSampleDiffs) {
        console.say(title + "\n" + plan.diff);
      }
    }
    if (!command_.dry_run && plans_.size() > kSampleDiffs) {
      console.say(
          fmt::format("... and {} more; --dry-run shows all", plans_.size() - kSampleDiffs));
    }
  }

  ExitCode apply() {
    Console& console = session_.console();
    std::size_t saved = 0;
    ExitCode worst = ExitCode::kPartly;
    for (PlannedFix& plan : plans_) {
      std::string title = dead_letter_name(group_, plan.request.id);
      Reply<EditDeadLetterReply> reply = session_.request(std::move(plan.request));
      if (!reply) {
        console.say(title + ":");
        worst = session_.report(reply.error());
        ++refused_;
        if (worst == ExitCode::kUnreachable) break;
        continue;
      }
      ++saved;
      console.print_item(fmt::format("{} is now version {}\n", title, reply->version),
                         version_json(title, reply->version));
    }
    if (!console.text()) console.finish_items();
    if (refused_ == 0) {
      console.say("'waybill dlq redrive' gives them back to their group");
      return ExitCode::kOk;
    }
    return saved > 0 ? ExitCode::kPartly : worst;
  }

  const DeadLetterEdit& command_;
  BrokerSession& session_;
  std::string group_;
  std::vector<PlannedFix> plans_;
  std::size_t unchanged_ = 0;
  std::size_t refused_ = 0;
};

ExitCode edit_by_rule(const DeadLetterEdit& command, BrokerSession& session, MessageFix rule) {
  Result<DeadLetterSelection, ExitCode> selection = resolve_narrowed(command.choice, session);
  if (!selection) return selection.error();
  std::vector<DeadLetterId> ids = selection->ids;
  if (ids.empty()) {
    Reply<ListDeadLettersReply> reply =
        list_dead_letters(*selection, std::numeric_limits<std::uint32_t>::max(), session);
    if (!reply) return session.report(reply.error(), selection->group);
    for (const DeadLetterSummary& one : reply->dead_letters) ids.push_back(one.id);
  }
  EditRun edit(command, session, selection->group);
  for (const DeadLetterId& id : ids) {
    std::optional<ExitCode> failed =
        edit.plan(id, [&](const Message& message) { return rule.apply(message); });
    if (failed) return *failed;
  }
  return edit.finish();
}

ExitCode edit_by_hand(const DeadLetterEdit& command, BrokerSession& session) {
  Result<DeadLetterSelection, ExitCode> selection = resolve(command.choice, session);
  if (!selection) return selection.error();
  if (selection->ids.size() != 1) {
    return session.usage("an editor opens one dead letter at a time: name one id",
                         "many are fixed by a rule: --jq, --set-header, --remove-header");
  }
  EditRun edit(command, session, selection->group);
  auto fix = [](const Message& message) -> Checked<Message> {
    Checked<std::string> edited =
        edit_value(message.value ? as_text(*message.value) : std::string_view());
    if (!edited) return edited.error();
    Message fixed = message;
    // An empty text leaves a tombstone a tombstone.
    if (message.value || !edited->empty()) fixed.value = to_vector(as_bytes(*edited));
    return fixed;
  };
  std::optional<ExitCode> failed = edit.plan(selection->ids.front(), fix);
  return failed ? *failed : edit.finish();
}

}  // namespace

ExitCode run(const DeadLetterEdit& command, BrokerSession& session) {
  bool by_rule =
      !command.jq.empty() || !command.set_headers.empty() || !command.remove_headers.empty();
  if (!by_rule) return edit_by_hand(command, session);
  // A rule that does not compile is said before the broker is asked for anything.
  Checked<MessageFix> rule = MessageFix::create(
      {command.jq, command.set_headers, command.remove_headers, command.allow_reencode});
  if (!rule) return session.usage(rule.error().text);
  return edit_by_rule(command, session, std::move(*rule));
}

}  // namespace waybill::cli

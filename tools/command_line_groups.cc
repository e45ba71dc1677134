#include "tools/command_options.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

void add_policy_options(CLI::App* app, PolicyChanges& policy) {
  app->add_option("--max-failures", policy.max_failures, "Failures before a dead letter; 8");
  add_parsed(app, "--lease", policy.lease, parse_duration, "Time to settle a message; 30s",
             "DURATION");
  add_choice<std::optional<BackoffKind>, BackoffKind>(app, "--backoff", policy.backoff,
                                                      {{"fixed", BackoffKind::kFixed},
                                                       {"incremental", BackoffKind::kIncremental},
                                                       {"exponential", BackoffKind::kExponential}},
                                                      "How the wait grows; exponential");
  add_parsed(app, "--backoff-base", policy.backoff_base, parse_duration,
             "Wait after the first failure; 1s", "DURATION");
  app->add_option("--backoff-factor", policy.backoff_factor, "Growth per failure; 3");
  add_parsed(app, "--backoff-cap", policy.backoff_cap, parse_duration, "Longest wait; 5m",
             "DURATION");
  add_choice<std::optional<Jitter>, Jitter>(
      app, "--jitter", policy.jitter,
      {{"none", Jitter::kNone}, {"full", Jitter::kFull}, {"equal", Jitter::kEqual}},
      "Randomness of the wait; equal");
  add_choice<std::optional<OnDeadLetter>, OnDeadLetter>(
      app, "--on-dead-letter", policy.on_dead_letter,
      {{"skip", OnDeadLetter::kSkip}, {"hold", OnDeadLetter::kHold}},
      "Later messages go on, or wait in order behind it; skip");
  app->add_option("--window", policy.window, "Leased messages per partition; 10000");
  add_choice<std::optional<Attempts>, Attempts>(
      app, "--attempts", policy.attempts,
      {{"exact", Attempts::kExact}, {"relaxed", Attempts::kRelaxed}},
      "Counts survive any crash, or cost one write less; exact");
  add_choice<std::optional<OnExpiry>, OnExpiry>(
      app, "--on-expiry", policy.on_expiry,
      {{"drop", OnExpiry::kDrop}, {"dead-letter", OnExpiry::kDeadLetter}},
      "What becomes of a message whose expiry time has passed; drop");
  app->add_option("--max-held", policy.max_held,
                  "With hold: messages that wait in a partition before it stands still; 100000");
}

void add_failure_options(CLI::App* app, PolicyChanges& policy) {
  auto add = [app](const std::string& name, std::optional<FailureAction>& action,
                   const std::string& help) {
    add_choice<std::optional<FailureAction>, FailureAction>(
        app, name, action,
        {{"charge", FailureAction::kCharge},
         {"free", FailureAction::kFree},
         {"dead-letter", FailureAction::kDeadLetter}},
        help);
  };
  add("--on-transient", policy.on_transient, "What a transient failure does; free");
  add("--on-failed", policy.on_failed, "What a plain failure does; charge");
  add("--on-invalid", policy.on_invalid, "What an invalid message's failure does; dead-letter");
  add("--on-timeout", policy.on_timeout, "What it does that nobody settled in time; charge");
  add_parsed(app, "--free-for", policy.free_for, parse_duration,
             "How long failures stay free, from a message's first; 1d", "DURATION");
}

void add_brake_options(CLI::App* app, PolicyChanges& policy) {
  add_choice<std::optional<bool>, bool>(app, "--brake", policy.brake,
                                        {{"on", true}, {"off", false}},
                                        "Stop delivering when nearly everything fails; on");
  app->add_option("--brake-outcomes", policy.brake_outcomes, "It looks at the last so many; 20");
  app->add_option("--brake-percent", policy.brake_percent, "Of them failed: it opens; 50");
  app->add_option("--brake-in-a-row", policy.brake_in_a_row,
                  "Failures of so many messages in a row: it opens; 10");
  add_parsed(app, "--brake-period", policy.brake_period, parse_duration,
             "Older outcomes do not count; 10m", "DURATION");
  add_parsed(app, "--brake-probe-after", policy.brake_probe_after, parse_duration,
             "Open for so long, it lets one message through; 10s", "DURATION");
  app->add_option("--brake-probes", policy.brake_probes, "Successes in a row that close it; 3");
}

void add_all_policy_options(CLI::App* app, PolicyChanges& policy) {
  add_policy_options(app, policy);
  add_failure_options(app, policy);
  add_brake_options(app, policy);
}

CLI::Option* add_start(CLI::App* app, const std::string& name, GroupStart& start, WallTime now,
                       const std::string& help) {
  return add_parsed(
             app, name, start, [now](const std::string& text) { return parse_start(text, now); },
             help, "earliest|latest|OFFSET|TIME")
      ->required();
}

void add_control_commands(CLI::App& family, CommandSink& sink) {
  auto [pause, paused] = add_command<GroupPause>(
      family, "pause", "Hand out no messages; what is leased may still be settled", sink);
  pause->add_option("name", paused->name, "The group")->required();
  auto [resume, resumed] =
      add_command<GroupPause>(family, "resume", "Hand out messages again", sink);
  resumed->paused = false;
  resume->add_option("name", resumed->name, "The group")->required();
  auto [brake, braked] = add_command<GroupBrake>(
      family, "brake", "Decide about a group's brake, or leave it to the broker", sink);
  brake->add_option("name", braked->name, "The group")->required();
  add_choice<BrakeMode, BrakeMode>(brake, "mode", braked->mode,
                                   {{"auto", BrakeMode::kAutomatic},
                                    {"open", BrakeMode::kForcedOpen},
                                    {"closed", BrakeMode::kForcedClosed}},
                                   "The broker decides; deliver nothing; deliver whatever fails")
      ->required();
  auto [reset, target] = add_command<GroupReset>(
      family, "reset", "Move a group to another start; without --yes, say what that would do",
      sink);
  reset->add_option("name", target->name, "The group")->required();
  add_start(reset, "--to", target->start, sink.now, "Where it begins anew in each partition");
  reset->add_flag("--include-dead", target->include_dead,
                  "Discard open dead letters and deliver their messages again");
  reset->add_flag("--yes", target->yes, "Do it");
}

CLI::Option* add_ordering(CLI::App* app, PolicyChanges& policy) {
  return add_choice<std::optional<Ordering>, Ordering>(
      app, "--ordering", policy.ordering,
      {{"none", Ordering::kNone}, {"key", Ordering::kKey}, {"partition", Ordering::kPartition}},
      "What is delivered in order");
}

}  // namespace

void add_group_commands(CLI::App& app, CommandSink& sink) {
  CLI::App* family =
      add_family(app, "group", "Create, change, watch, stop, reset and delete groups");
  auto [create, created] = add_command<GroupCreate>(
      *family, "create", "Create a group; fine if it exists with the same policy", sink);
  create->add_option("name", created->name, "Its name")->required();
  create->add_option("--topic", created->topic, "The topic it consumes")->required();
  add_ordering(create, created->policy)->required();
  add_start(create, "--start", created->start, sink.now, "Where it begins in each partition");
  add_all_policy_options(create, created->policy);

  auto [set, changed] = add_command<GroupSet>(
      *family, "set", "Change a group's policy; what is not said stays", sink);
  set->add_option("name", changed->name, "The group")->required();
  add_ordering(set, changed->policy);
  add_all_policy_options(set, changed->policy);

  add_command<GroupList>(*family, "list", "List all groups", sink);
  auto [describe, described] = add_command<GroupDescribe>(
      *family, "describe", "Show a group's policy and where each message is", sink);
  describe->add_option("name", described->name, "The group")->required();
  auto [check, checked] = add_command<GroupCheck>(
      *family, "check", "Count a group's messages one by one; exit code 1 if something is off",
      sink);
  check->add_option("name", checked->name, "The group")->required();
  add_control_commands(*family, sink);
  auto [remove, removed] =
      add_command<GroupDelete>(*family, "delete", "Delete a group and its position", sink);
  remove->add_option("name", removed->name, "The group")->required();
  auto* discard = remove->add_flag("--discard-dead-letters", removed->discard_dead_letters,
                                   "Delete it although it has open dead letters");
  remove
      ->add_flag("--keep-dead-letters", removed->keep_dead_letters,
                 "Keep the open ones as an archive under the group's name: 'dlq list', 'show', "
                 "'edit' and 'discard' work on, redriving does not")
      ->excludes(discard);
  remove->add_flag("--yes", removed->yes, "Do not ask");
}

}  // namespace waybill::cli

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
}

CLI::Option* add_ordering(CLI::App* app, PolicyChanges& policy) {
  return add_choice<std::optional<Ordering>, Ordering>(
      app, "--ordering", policy.ordering,
      {{"none", Ordering::kNone}, {"key", Ordering::kKey}, {"partition", Ordering::kPartition}},
      "What is delivered in order");
}

}  // namespace

void add_group_commands(CLI::App& app, CommandSink& sink) {
  CLI::App* family = add_family(app, "group", "Create, change, list, describe and delete groups");
  auto [create, created] = add_command<GroupCreate>(
      *family, "create", "Create a group; fine if it exists with the same policy", sink);
  create->add_option("name", created->name, "Its name")->required();
  create->add_option("--topic", created->topic, "The topic it consumes")->required();
  add_ordering(create, created->policy)->required();
  WallTime now = sink.now;
  add_parsed(
      create, "--start", created->start,
      [now](const std::string& text) { return parse_start(text, now); },
      "Where it begins in each partition", "earliest|latest|OFFSET|TIME")
      ->required();
  add_policy_options(create, created->policy);

  auto [set, changed] = add_command<GroupSet>(
      *family, "set", "Change a group's policy; what is not said stays", sink);
  set->add_option("name", changed->name, "The group")->required();
  add_ordering(set, changed->policy);
  add_policy_options(set, changed->policy);

  add_command<GroupList>(*family, "list", "List all groups", sink);
  auto [describe, described] = add_command<GroupDescribe>(
      *family, "describe", "Show a group's policy and where each message is", sink);
  describe->add_option("name", described->name, "The group")->required();
  auto [remove, removed] =
      add_command<GroupDelete>(*family, "delete", "Delete a group and its position", sink);
  remove->add_option("name", removed->name, "The group")->required();
  remove->add_flag("--discard-dead-letters", removed->discard_dead_letters,
                   "Delete it although it has open dead letters");
  remove->add_flag("--yes", removed->yes, "Do not ask");
}

}  // namespace waybill::cli

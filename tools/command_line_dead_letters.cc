#include "tools/command_options.h"
#include "tools/message_maker.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

void add_targets(CLI::App* app, DeadLetterChoice& choice) {
  app->add_option("dead_letters", choice.targets,
                  "A group, and ids if only some are meant; or ids as GROUP/PARTITION-NUMBER")
      ->type_name("GROUP [ID...]")
      ->required();
}

void add_filters(CLI::App* app, DeadLetterChoice& choice) {
  app->add_option("--fingerprint", choice.fingerprint, "Only those that failed in the same way");
  app->add_option("--code", choice.code, "Only those whose last failure has this code");
}

void add_all(CLI::App* app, DeadLetterChoice& choice, bool& yes) {
  app->add_flag("--all", choice.all, "Every dead letter of the group");
  app->add_flag("--yes", yes, "Do not ask");
}

void add_list_and_show(CLI::App& family, CommandSink& sink) {
  auto [list, listed] = add_command<DeadLetterList>(
      family, "list", "List dead letters, counted by what they have in common", sink);
  add_targets(list, listed->choice);
  add_filters(list, listed->choice);
  auto* state = add_choice<std::optional<DeadLetterState>, DeadLetterState>(
      list, "--state", listed->choice.state,
      {{"dead", DeadLetterState::kDead},
       {"held", DeadLetterState::kHeld},
       {"redriving", DeadLetterState::kRedriving},
       {"redriven", DeadLetterState::kRedriven},
       {"discarded", DeadLetterState::kDiscarded}},
      "Those in this state; dead");
  list->add_flag("--any-state", listed->choice.any_state, "Those in any state")->excludes(state);
  list->add_option("--limit", listed->limit, "Dead letters shown; the counts are over all")
      ->check(CLI::Range(1U, 1'000'000U))
      ->capture_default_str();
  auto [show, shown] =
      add_command<DeadLetterShow>(family, "show", "Show payload, attempts and fixes", sink);
  add_targets(show, shown->choice);
}

void add_edit(CLI::App& family, CommandSink& sink) {
  auto [edit, options] = add_command<DeadLetterEdit>(
      family, "edit", "Fix one in $EDITOR, or many by a rule; the original stays", sink);
  add_targets(edit, options->choice);
  add_filters(edit, options->choice);
  edit->add_option("--jq", options->jq, "A jq expression that makes the new value")
      ->type_name("EXPRESSION");
  add_repeated(edit, "--set-header", options->set_headers, parse_header,
               "Set a header; may be repeated", "NAME=VALUE");
  edit->add_option("--remove-header", options->remove_headers, "Remove a header; may be repeated")
      ->allow_extra_args(false)
      ->type_name("NAME");
  edit->add_flag("--allow-reencode", options->allow_reencode,
                 "Accept values that jq changes by merely reading and writing them");
  edit->add_flag("--dry-run", options->dry_run, "Show the differences, change nothing");
  edit->add_option("--note", options->note, "Why, for the history");
  add_all(edit, options->choice, options->yes);
}

}  // namespace

void add_dead_letter_commands(CLI::App& app, CommandSink& sink) {
  CLI::App* family = add_family(app, "dlq", "See, fix, redrive and discard dead letters");
  add_list_and_show(*family, sink);
  add_edit(*family, sink);
  auto [redrive, redriven] = add_command<DeadLetterRedrive>(
      *family, "redrive", "Give dead letters back to their group, in their newest version", sink);
  add_targets(redrive, redriven->choice);
  add_filters(redrive, redriven->choice);
  add_all(redrive, redriven->choice, redriven->yes);
  redrive->add_flag("--override-limit", redriven->override_limit,
                    "Also those that came back too often");
  auto [discard, discarded] =
      add_command<DeadLetterDiscard>(*family, "discard", "Give up on dead letters", sink);
  add_targets(discard, discarded->choice);
  add_filters(discard, discarded->choice);
  add_all(discard, discarded->choice, discarded->yes);
  discard->add_option("--reason", discarded->reason, "Why, for the history")->required();
  auto* erase = discard->add_flag(
      "--erase", discarded->erase,
      "Also erase payload, key, headers, fixes and failure texts from the files of the dead "
      "letters: within minutes, while the broker runs. The journal keeps them until it is "
      "overwritten, the topic until its retention ends");
  discard
      ->add_flag("--any-state", discarded->choice.any_state,
                 "Those discarded or redriven before, too; ids are erased in any state")
      ->needs(erase);
}

void add_outbox_commands(CLI::App& app, CommandSink& sink) {
  CLI::App* family = add_family(app, "outbox", "The outbox in an application's database");
  auto [ddl, ddl_options] = add_command<OutboxDdl>(
      *family, "ddl", "Print the statements that create the outbox's tables", sink);
  ddl->add_option("database", ddl_options->database, "The kind of database")->capture_default_str();
  auto [relay, options] = add_command<OutboxRelayRun>(
      *family, "relay", "Publish the rows of an outbox, each exactly once", sink);
  relay->add_option("--db", options->file, "The SQLite database")->required()->type_name("FILE");
  relay->add_option("--lane", options->lane, "The lane to serve")->capture_default_str();
  relay->add_option("--batch-rows", options->batch_rows, "Rows published together")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  add_compression(relay, options->compression);
  relay->add_option("--on-refused", options->on_refused, "hold-key, halt-lane or to-dead")
      ->capture_default_str();
  relay->add_flag("--exit-at-end", options->exit_at_end,
                  "End when no row is left that can be published now");
  add_parsed(relay, "--timeout", options->timeout, parse_duration,
             "How long --exit-at-end may take; 60s", "DURATION");
  relay->add_flag("--new-incarnation", options->new_incarnation,
                  "After a restore: go on as a new producer; what was in flight may come twice");
  auto [status, status_options] = add_command<OutboxStatusShow>(
      *family, "status", "Show lanes, waiting and refused rows", sink);
  status->add_option("--db", status_options->file, "The SQLite database")
      ->required()
      ->type_name("FILE");
  auto add_lane = [&](const std::string& name, const std::string& help, bool paused) {
    auto [lane, lane_options] = add_command<OutboxLane>(*family, name, help, sink);
    lane_options->paused = paused;
    lane->add_option("--db", lane_options->file, "The SQLite database")
        ->required()
        ->type_name("FILE");
    lane->add_option("--lane", lane_options->lane, "The lane")->capture_default_str();
  };
  add_lane("pause", "Relay no rows of a lane; what is in flight is finished", true);
  add_lane("resume", "Let a paused or halted lane go on", false);
}

}  // namespace waybill::cli

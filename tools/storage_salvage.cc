// `waybill storage salvage`: what a damaged directory would lose, and, if told so, its loss (S10).
#include "storage/salvage.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "storage/stopped_directory.h"
#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
#include "tools/escape.h"
#include "tools/storage_report.h"

namespace waybill::cli {
namespace {

struct ShardFindings {
  JournalCheck journal;
  SegmentsCheck segments;
  SalvagePlan plan;
};

Result<ShardFindings> look_for_damage(Disk& disk, ShardIndex shard, std::string* explanation) {
  const CheckProgress quiet = [](std::uint64_t, std::uint64_t) {};
  ShardFindings findings;
  Result<JournalCheck> journal =
      check_journal(disk, journal_directory(shard), shard, quiet, explanation);
  if (!journal) return journal.error();
  findings.journal = std::move(*journal);
  Result<SegmentsCheck> segments = check_segments(disk, shard, quiet, explanation);
  if (!segments) return segments.error();
  findings.segments = std::move(*segments);
  Result<SalvagePlan> plan = plan_salvage(disk, shard, findings.journal, findings.segments);
  if (!plan) return plan.error();
  findings.plan = std::move(*plan);
  return findings;
}

SalvagePlan plan_for_lost(ShardIndex shard) {
  SalvagePlan plan;
  if (shard == ShardIndex{0}) {
    plan.obstacle =
        journal_directory(shard) + " is missing, and with it the catalog of all topics and groups";
  } else {
    plan.steps.push_back("make " + journal_directory(shard) +
                         " anew, empty: everything that was in it is lost");
  }
  return plan;
}

std::string plan_text(ShardIndex shard, const SalvagePlan& plan) {
  std::string text =
      fmt::format("shard {}: {}\n", shard.value,
                  plan.steps.empty() && plan.obstacle.empty() ? "nothing to do" : "damaged");
  for (const std::string& step : plan.steps) text += "  " + escaped_line(step) + "\n";
  if (!plan.obstacle.empty()) text += "  cannot be helped: " + escaped_line(plan.obstacle) + "\n";
  if (plan.first_entry > 0) {
    text +=
        fmt::format("  lost: everything from entry {} on, settlements and changes of topics too\n",
                    plan.first_entry);
  }
  for (const GivenUp& lost : plan.given_up) {
    text += fmt::format("  lost: offsets {}-{} of stream {}\n", lost.offsets.first.value,
                        lost.offsets.last.value, stream_text(lost.stream));
  }
  return text;
}

std::string plan_json(ShardIndex shard, const SalvagePlan& plan) {
  namespace json = boost::json;
  json::array steps;
  for (const std::string& step : plan.steps) steps.push_back(json::value(escaped_line(step)));
  json::array lost;
  for (const GivenUp& one : plan.given_up) {
    lost.push_back(json::object{{"stream", stream_text(one.stream)},
                                {"first", one.offsets.first.value},
                                {"last", one.offsets.last.value}});
  }
  return json::serialize(json::object{{"kind", "salvage"},
                                      {"shard", shard.value},
                                      {"steps", std::move(steps)},
                                      {"obstacle", escaped_line(plan.obstacle)},
                                      {"first_entry", plan.first_entry},
                                      {"lost_offsets", std::move(lost)}});
}

}  // namespace

ExitCode run(const StorageSalvage& command, BrokerSession& session) {
  Console& console = session.console();
  std::string explanation;
  Result<StoppedDirectory> directory = StoppedDirectory::open(command.directory, &explanation);
  if (!directory) {
    console.complain(explanation);
    return directory.error() == Errc::kNotFound ? ExitCode::kNotFound : ExitCode::kFailed;
  }
  if (directory->of_other_format()) {
    console.complain(command.directory + " " + explain_format(directory->format()));
    return ExitCode::kFailed;
  }
  if (!directory->superblock()) {
    console.complain("the superblock cannot be read, so it is not known whose directory this is",
                     "restore it from a copy: it never changes");
    return ExitCode::kDamaged;
  }
  bool needed = false;
  bool possible = true;
  const std::vector<ShardIndex> lost = directory->lost_shards();
  for (const ShardIndex shard : lost) {
    const SalvagePlan plan = plan_for_lost(shard);
    console.print_item(plan_text(shard, plan), plan_json(shard, plan));
    needed = true;
    possible = possible && plan.obstacle.empty();
    if (!command.accept_loss || !plan.obstacle.empty()) continue;
    Result<void> made = directory->disk().make_directory(shard_directory(shard));
    if (made) made = directory->disk().make_directory(journal_directory(shard));
    if (!made) {
      console.complain(fmt::format("{}: {}", journal_directory(shard), to_string(made.error())));
      return ExitCode::kFailed;
    }
  }
  for (const ShardIndex shard : directory->shards()) {
    const bool is_lost = std::ranges::find(lost, shard) != lost.end();
    if (is_lost && (!command.accept_loss || shard == ShardIndex{0})) continue;
    Result<ShardFindings> found = look_for_damage(directory->disk(), shard, &explanation);
    if (!found) {
      console.complain(explanation.empty() ? to_string(found.error()) : explanation);
      return ExitCode::kFailed;
    }
    const SalvagePlan& plan = found->plan;
    console.print_item(plan_text(shard, plan), plan_json(shard, plan));
    needed = needed || !plan.steps.empty() || !plan.obstacle.empty();
    possible = possible && plan.obstacle.empty();
    if (!command.accept_loss || plan.steps.empty() || !plan.obstacle.empty()) continue;
    Result<void> done = salvage_shard(directory->disk(), shard, found->journal, found->segments);
    if (!done) {
      console.complain(fmt::format("shard {}: {}", shard.value, to_string(done.error())),
                       "what was done so far is done; free some space if there is none, and "
                       "repeat the command");
      return ExitCode::kFailed;
    }
  }
  console.finish_items();
  if (!possible) {
    console.complain("not everything can be salvaged", "restore the files named above from a copy");
    return ExitCode::kDamaged;
  }
  if (!needed) {
    console.say("there is nothing that keeps the broker from starting");
    return ExitCode::kOk;
  }
  if (!command.accept_loss) {
    console.say("nothing was changed; --accept-loss does it, and the broker starts afterwards");
    return ExitCode::kDamaged;
  }
  console.say("done; what was changed is in 'quarantine' of its shard, as it was");
  return ExitCode::kOk;
}

}  // namespace waybill::cli

#include "tools/group_text.h"

#include <fmt/format.h>

#include "tools/counted.h"
#include "tools/escape.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

std::string_view action_text(FailureAction action) {
  return action == FailureAction::kDeadLetter ? "dead letter" : name(action);
}

std::string failures_text(const FailureRules& rules) {
  return fmt::format("transient {} (for {}), failed {}, invalid {}, timeout {}",
                     action_text(rules.transient), duration_text(rules.free_for),
                     action_text(rules.failed), action_text(rules.invalid),
                     action_text(rules.timeout));
}

std::string brake_text(const BrakePolicy& brake) {
  if (!brake.enabled) return "off";
  return fmt::format("at {} % of the last {}, or {} in a row, within {}; {} in a row close it",
                     brake.percent, brake.outcomes, brake.in_a_row, duration_text(brake.period),
                     counted(brake.probes, "probe"));
}

}  // namespace

std::string policy_text(const GroupPolicy& policy) {
  const Backoff& backoff = policy.backoff;
  std::string wait = duration_text(backoff.base);
  if (backoff.kind == BackoffKind::kExponential) wait += fmt::format(" x {}", backoff.factor);
  std::string behind = policy.on_dead_letter == OnDeadLetter::kHold
                           ? fmt::format("hold, at most {} a partition", policy.max_held)
                           : "skip";
  return fmt::format(
      "  ordering        {}\n"
      "  max failures    {}, then a dead letter ({})\n"
      "  failures        {}\n"
      "  lease           {}, attempts {}\n"
      "  back-off        {} {}, cap {}, jitter {}\n"
      "  brake           {}\n"
      "  expired         {}\n"
      "  window          {} leased messages per partition\n",
      name(policy.ordering), policy.max_failures, behind, failures_text(policy.failures),
      duration_text(policy.lease), name(policy.attempts), name(backoff.kind), wait,
      duration_text(backoff.cap), name(backoff.jitter), brake_text(policy.brake),
      policy.on_expiry == OnExpiry::kDrop ? "drop" : "dead letter", policy.window);
}

std::string state_text(const GroupInfo& group) {
  std::string text;
  if (group.archived) {
    text += fmt::format(
        "  ARCHIVE         it was deleted; 'waybill dlq list {}' shows the dead letters kept, "
        "'waybill group delete {} --discard-dead-letters' ends it\n",
        group.name, group.name);
  }
  if (group.paused) {
    text += fmt::format("  PAUSED          by an operator; 'waybill group resume {}' goes on\n",
                        group.name);
  }
  const Brake& brake = group.brake;
  if (brake.state == BrakeState::kClosed && brake.mode == BrakeMode::kAutomatic) return text;
  text += fmt::format("  BRAKE           {}", name(brake.state));
  if (brake.mode != BrakeMode::kAutomatic && brake.cause.empty())
    text += fmt::format(" ({})", name(brake.mode));
  if (brake.since != WallTime{}) text += " since " + time_text(brake.since);
  if (!brake.cause.empty()) text += ": " + escaped_line(brake.cause);
  return text + "\n";
}

std::string state_name(const GroupInfo& group) {
  if (group.archived) return "archive";
  if (group.paused) return "paused";
  if (group.brake.state == BrakeState::kClosed) return "delivers";
  return fmt::format("brake {}", name(group.brake.state));
}

std::string start_text(const GroupStart& start) {
  if (start.kind == StartKind::kOffset) return fmt::format("offset {}", start.offset.value);
  if (start.kind == StartKind::kTime) return time_text(start.time);
  return std::string(name(start.kind));
}

}  // namespace waybill::cli

#include "tests/sim/sim_operator.h"

#include <utility>

namespace waybill {

using std::chrono::milliseconds;
using std::chrono::seconds;

SimOperator::SimOperator(SimWorld& world, LogModel& log, const std::vector<GroupModel*>& groups,
                         Findings& findings, const SimPlan& plan, std::vector<SimTopic> topics,
                         std::uint64_t seed)
    : world_(world),
      log_(log),
      groups_(groups),
      findings_(findings),
      plan_(plan),
      random_(seed),
      topics_(std::move(topics)) {}

void SimOperator::start() {
  connect();
  tick();
  watch();
  repeat_resets();
}

/// A monitor looks at each group now and then.
void SimOperator::watch() {
  if (calm_) return;
  world_.after(milliseconds(300 + random_.below(600)), [this] { watch(); });
  if (connection_) describe(random_.below(groups_.size()));
}

bool SimOperator::quiet() const {
  return resets_.empty();
}

void SimOperator::connect() {
  connection_ =
      world_.connect(static_cast<std::uint16_t>(random_.below(world_.shard_count())), {}, *this);
}

void SimOperator::on_lost() {
  connection_.reset();
  world_.after(milliseconds(500), [this] {
    if (!connection_) connect();
  });
}

void SimOperator::tick() {
  if (calm_) return;
  auto most = static_cast<std::uint64_t>(plan_.operations.pause.count()) * 2;
  world_.after(Duration(static_cast<std::int64_t>(1 + random_.below(most))), [this] { tick(); });
  if (!connection_) return;
  std::size_t group = random_.below(groups_.size());
  switch (random_.below(8)) {
    case 0:
      return read_log();
    case 1:
      return describe(group);
    case 2:
      return check(group);
    case 3:
      return change(group);
    default:
      return list(group);
  }
}

void SimOperator::change(std::size_t group) {
  const OperatorPlan& plan = plan_.operations;
  switch (random_.below(4)) {
    case 0:
      if (plan.policy) alter(group);
      return;
    case 1:
      if (plan.pause_groups) pause(group, random_.below(3) == 0);
      return;
    case 2:
      if (plan.brake) brake(group);
      return;
    default:
      if (plan.reset) reset(group);
  }
}

void SimOperator::read_log() {
  const SimTopic& topic = topics_[random_.below(topics_.size())];
  auto partition = static_cast<std::uint32_t>(random_.below(topic.partitions));
  std::uint32_t p = topic.first_partition + partition;
  std::int64_t known = log_.known_end(p);
  ReadRequest request;
  request.topic = topic.id;
  request.partition = {partition};
  request.from = {static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(known) + 1))};
  request.max_bytes = 4096;
  world_.send<ReadReply>(*connection_, request, [this, p, known](const Reply<ReadReply>& reply) {
    log_.read_told(p, known, reply);
  });
}

void SimOperator::describe(std::size_t group) {
  world_.send<DescribeGroupReply>(
      *connection_, DescribeGroupRequest{groups_[group]->name()},
      [this, group, asked = groups_[group]->ask()](const Reply<DescribeGroupReply>& reply) {
        if (reply) groups_[group]->status_told(*reply, asked);
      });
}

void SimOperator::check(std::size_t group) {
  world_.send<CheckGroupReply>(*connection_, CheckGroupRequest{groups_[group]->name()},
                               [this, group](const Reply<CheckGroupReply>& reply) {
                                 if (reply) groups_[group]->check_told(*reply);
                               });
}

// --- what it sets ---

void SimOperator::alter(std::size_t group) {
  AlterGroupRequest request{groups_[group]->name(),
                            draw_change(plan_, groups_[group]->policy(), random_)};
  std::uint64_t id = groups_[group]->policy_sent(request.policy);
  world_.send<AlterGroupReply>(
      *connection_, request, [this, group, id](const Reply<AlterGroupReply>& reply) {
        if (!reply && reply.error() == Errc::kInvalidRequest) {
          findings_.report("a good policy is accepted", to_string(reply.error()));
        }
        groups_[group]->policy_told(id, reply.ok());
      });
}

void SimOperator::pause(std::size_t group, bool paused,
                        std::move_only_function<void(bool ok)> then) {
  std::uint64_t id = groups_[group]->pause_sent(paused);
  world_.send<PauseGroupReply>(
      *connection_, PauseGroupRequest{groups_[group]->name(), paused},
      [this, group, id, then = std::move(then)](const Reply<PauseGroupReply>& reply) mutable {
        groups_[group]->pause_told(id, reply.ok());
        if (then) then(reply.ok());
      });
}

void SimOperator::brake(std::size_t group) {
  constexpr BrakeMode kModes[] = {BrakeMode::kAutomatic, BrakeMode::kAutomatic,
                                  BrakeMode::kForcedOpen, BrakeMode::kForcedClosed};
  BrakeMode mode = kModes[random_.below(4)];
  if (mode != BrakeMode::kAutomatic) world_.coverage.count("brake forced");
  std::uint64_t id = groups_[group]->brake_sent(mode);
  world_.send<SetBrakeReply>(*connection_, SetBrakeRequest{groups_[group]->name(), mode},
                             [this, group, id](const Reply<SetBrakeReply>& reply) {
                               groups_[group]->brake_told(id, reply.ok());
                             });
}

GroupStart SimOperator::draw_start(std::size_t group) {
  const SimTopic& topic = topics_[plan_.groups[group].topic];
  GroupStart start;
  switch (random_.below(4)) {
    case 0:
      start.kind = StartKind::kEarliest;
      return start;
    case 1:
      start.kind = StartKind::kLatest;
      return start;
    default: {
      start.kind = StartKind::kOffset;
      auto end = static_cast<std::uint64_t>(log_.known_end(topic.first_partition));
      start.offset = {static_cast<std::int64_t>(random_.below(end + 1))};
      return start;
    }
  }
}

void SimOperator::reset(std::size_t group) {
  if (resets_.contains(group)) return;
  ResetGroupRequest request{groups_[group]->name(), draw_start(group), random_.below(2) == 0,
                            random_.below(2) == 0};
  if (!request.dry_run && random_.below(2) == 0) return reset_paused(group, request);
  if (!request.dry_run) {
    resets_[group].request = request;
    return send_reset(group);
  }
  world_.send<ResetGroupReply>(
      *connection_, request,
      [this, group, request, ends = log_.known_ends()](const Reply<ResetGroupReply>& reply) {
        if (reply) groups_[group]->dry_run_told(request, *reply, ends);
      });
}

/// While nothing is delivered: then it is known of every message what the reset did to it.
void SimOperator::reset_paused(std::size_t group, const ResetGroupRequest& request) {
  pause(group, true, [this, group, request](bool ok) {
    if (!ok || calm_ || !connection_ || resets_.contains(group)) return;
    world_.coverage.count("group reset while paused");
    resets_[group] = {.request = request, .sent = {}, .answered = false, .paused = true};
    send_reset(group);
  });
}

void SimOperator::send_reset(std::size_t group) {
  OpenReset& open = resets_.at(group);
  groups_[group]->reset_sent(open.request);
  open.sent = world_.now();
  open.answered = false;
  world_.trace.note("reset", {{"group", static_cast<std::int64_t>(group)},
                              {"offset", open.request.start.offset.value}});
  world_.send<ResetGroupReply>(
      *connection_, open.request,
      [this, group, sent = open.sent](const Reply<ResetGroupReply>& reply) {
        auto found = resets_.find(group);
        if (found == resets_.end() || found->second.sent != sent) return;
        found->second.answered = true;
        if (!reply) return;
        world_.trace.note("reset done",
                          {{"group", static_cast<std::int64_t>(group)},
                           {"epoch", reply->group.epoch},
                           {"partitions", static_cast<std::int64_t>(reply->partitions.size())}});
        groups_[group]->reset_told(reply->partitions);
        bool paused = found->second.paused;
        resets_.erase(found);
        if (paused && connection_) pause(group, false);
      });
}

/// One without an answer is repeated once the broker can not be at it any more.
void SimOperator::repeat_resets() {
  world_.after(seconds(1), [this] { repeat_resets(); });
  if (!connection_) return;
  for (auto& [group, open] : resets_) {
    MonotonicTime arrived = open.sent + Duration(seconds(1));
    bool waits = !open.answered && world_.now() < open.sent + Duration(seconds(5));
    if (!waits && world_.last_rest().at > arrived) send_reset(group);
  }
}

// --- dead letters ---

void SimOperator::list(std::size_t group) {
  ListDeadLettersRequest request;
  request.selection.group = groups_[group]->name();
  request.limit = 1000;
  world_.send<ListDeadLettersReply>(
      *connection_, request,
      [this, group, asked = groups_[group]->ask()](const Reply<ListDeadLettersReply>& reply) {
        if (!reply) return;
        if (!reply->more) groups_[group]->list_told(reply->dead_letters, asked);
        // What a reset does to them it can not know.
        bool looks = calm_ || reply->dead_letters.empty() || groups_[group]->is_void(asked);
        if (looks) return;
        work_on(group, reply->dead_letters[random_.below(reply->dead_letters.size())]);
      });
}

void SimOperator::work_on(std::size_t group, const DeadLetterSummary& letter) {
  if (!connection_) return;
  switch (random_.below(6)) {
    case 0:
    case 1:
      if (plan_.operations.redrive) redrive(group, letter);
      return;
    case 2:
      if (plan_.operations.discard) discard(group, letter);
      return;
    default:
      return show_and_fix(group, letter);
  }
}

void SimOperator::redrive(std::size_t group, const DeadLetterSummary& letter) {
  groups_[group]->redrive_sent(letter);
  RedriveRequest request;
  request.selection.group = groups_[group]->name();
  request.selection.ids = {letter.id};
  request.override_limit = true;
  world_.trace.note("redrive", groups_[group]->place(letter.id.partition, letter.offset), 1);
  world_.send<RedriveReply>(*connection_, request,
                            [this, group, letter](const Reply<RedriveReply>& reply) {
                              groups_[group]->redrive_told(letter, reply);
                            });
}

void SimOperator::discard(std::size_t group, const DeadLetterSummary& letter) {
  groups_[group]->discard_sent(letter);
  DiscardRequest request;
  request.selection.group = groups_[group]->name();
  request.selection.ids = {letter.id};
  request.erase = letter.id.number % 2 == 0;
  if (request.erase) groups_[group]->erase_sent(letter);
  world_.trace.note("discard", groups_[group]->place(letter.id.partition, letter.offset), 1);
  world_.send<DiscardReply>(*connection_, request,
                            [this, group, letter](const Reply<DiscardReply>& reply) {
                              groups_[group]->discard_told(letter, reply);
                              groups_[group]->erase_told(letter, reply);
                            });
}

void SimOperator::show_and_fix(std::size_t group, const DeadLetterSummary& letter) {
  world_.send<ShowDeadLetterReply>(
      *connection_, ShowDeadLetterRequest{groups_[group]->name(), letter.id},
      [this, group, letter,
       asked = groups_[group]->ask()](const Reply<ShowDeadLetterReply>& reply) {
        if (!reply) {
          if (reply.error() == Errc::kUnknownDeadLetter) {
            findings_.report("a dead letter stays", to_string(reply.error()),
                             groups_[group]->place(letter.id.partition, letter.offset));
          }
          return;
        }
        groups_[group]->show_told(*reply, asked);
        bool dead = reply->summary.state == DeadLetterState::kDead;
        if (dead && plan_.operations.fix && !calm_ && !groups_[group]->resetting())
          fix(group, letter, *reply);
      });
}

void SimOperator::fix(std::size_t group, const DeadLetterSummary& letter,
                      const ShowDeadLetterReply& shown) {
  if (!connection_) return;
  EditDeadLetterRequest request;
  request.group = groups_[group]->name();
  request.id = letter.id;
  request.base_version = shown.versions.back().version;
  request.message = shown.versions.back().message;
  std::string value = "fix " + std::to_string(next_fix_++) + " of " +
                      std::string(as_text(*shown.versions.front().message.value));
  request.message.value = to_vector(as_bytes(value));
  Place place = groups_[group]->place(letter.id.partition, letter.offset);
  auto base = static_cast<std::int64_t>(request.base_version);
  world_.trace.note("fix", place, 1, {{"group", static_cast<std::int64_t>(group)}, {"base", base}});
  groups_[group]->fix_sent(letter, value);
  world_.send<EditDeadLetterReply>(
      *connection_, request,
      [this, group, letter, value, place](const Reply<EditDeadLetterReply>& reply) {
        world_.trace.note("fixed", place, 1,
                          {{"group", static_cast<std::int64_t>(group)},
                           {"version", reply ? static_cast<std::int64_t>(reply->version)
                                             : -static_cast<std::int64_t>(reply.error().code)}});
        groups_[group]->fix_told(letter, value, reply);
      });
}

}  // namespace waybill

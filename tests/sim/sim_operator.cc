#include "tests/sim/sim_operator.h"

#include <utility>

#include "protocol/record/batch_view.h"

namespace waybill {

using std::chrono::milliseconds;

SimOperator::SimOperator(SimWorld& world, LogModel& log, const std::vector<GroupModel*>& groups,
                         Findings& findings, const SimPlan& plan, std::uint64_t seed)
    : world_(world), log_(log), groups_(groups), findings_(findings), plan_(plan), random_(seed) {}

void SimOperator::start(TopicId topic) {
  topic_ = topic;
  connect();
  tick();
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
      if (plan_.operations.policy) alter(group);
      return;
    case 3:
      if (plan_.operations.pause_groups) return pause(group);
      return list(group);
    default:
      return list(group);
  }
}

void SimOperator::read_log() {
  auto p = static_cast<std::uint32_t>(random_.below(plan_.partitions));
  std::int64_t known = log_.known_end(p);
  ReadRequest request;
  request.topic = topic_;
  request.partition = {p};
  request.from = {static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(known) + 1))};
  request.max_bytes = 4096;
  world_.send<ReadReply>(*connection_, request, [this, p, known](const Reply<ReadReply>& reply) {
    if (!reply) {
      // The disk may have failed to read; that the offset is not there is never true.
      if (reply.error() == Errc::kOffsetOutOfRange) {
        findings_.report("the end never goes back", to_string(reply.error()), Place{p, known - 1});
      }
      return;
    }
    log_.saw_end(p, known, reply->end.value);
    for (const SharedBytes& batch : reply->batches) {
      Result<BatchReader> reader = BatchReader::open(batch.view());
      if (!reader) return findings_.report("a read can be read", to_string(reader.error()));
      Result<void> read = reader->for_each([&](const RecordView& record) {
        std::optional<std::string> key;
        if (record.key) key = std::string(as_text(*record.key));
        log_.saw({p, record.offset.value}, std::string(as_text(record.value.value_or(Bytes{}))),
                 key);
        return true;
      });
      if (!read) findings_.report("a read can be read", to_string(read.error()));
    }
  });
}

void SimOperator::describe(std::size_t group) {
  world_.send<DescribeGroupReply>(*connection_, DescribeGroupRequest{groups_[group]->name()},
                                  [this, group](const Reply<DescribeGroupReply>& reply) {
                                    if (reply) groups_[group]->status_told(*reply);
                                  });
}

void SimOperator::alter(std::size_t group) {
  AlterGroupRequest request{groups_[group]->name(), plan_.groups[group].policy};
  request.policy.max_failures = static_cast<std::uint32_t>(1 + random_.below(4));
  request.policy.window = random_.below(2) == 0 ? 2 : 1000;
  request.policy.backoff.base = milliseconds(1 + random_.below(2000));
  groups_[group]->policy_sent(request.policy);
  world_.send<AlterGroupReply>(*connection_, request, [this](const Reply<AlterGroupReply>& reply) {
    if (reply) world_.coverage.count("policy changed");
  });
}

void SimOperator::pause(std::size_t group) {
  bool paused = random_.below(3) == 0;
  if (!paused) groups_[group]->pause_ends();
  world_.send<PauseGroupReply>(*connection_, PauseGroupRequest{groups_[group]->name(), paused},
                               [this, group, paused](const Reply<PauseGroupReply>& reply) {
                                 // Only the answer to the last request says how it is.
                                 if (reply && paused && reply->group.paused)
                                   groups_[group]->pause_told(paused);
                               });
}

void SimOperator::list(std::size_t group) {
  ListDeadLettersRequest request;
  request.selection.group = groups_[group]->name();
  request.limit = 1000;
  world_.send<ListDeadLettersReply>(
      *connection_, request,
      [this, group, asked = groups_[group]->moment()](const Reply<ListDeadLettersReply>& reply) {
        if (!reply) return;
        if (!reply->more) groups_[group]->list_told(reply->dead_letters, asked);
        if (calm_ || reply->dead_letters.empty()) return;
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
  world_.trace.note("redrive", Place{letter.id.partition.value, letter.offset.value}, 1);
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
  world_.trace.note("discard", Place{letter.id.partition.value, letter.offset.value}, 1);
  world_.send<DiscardReply>(*connection_, request,
                            [this, group, letter](const Reply<DiscardReply>& reply) {
                              groups_[group]->discard_told(letter, reply);
                            });
}

void SimOperator::show_and_fix(std::size_t group, const DeadLetterSummary& letter) {
  world_.send<ShowDeadLetterReply>(
      *connection_, ShowDeadLetterRequest{groups_[group]->name(), letter.id},
      [this, group, letter,
       asked = groups_[group]->moment()](const Reply<ShowDeadLetterReply>& reply) {
        if (!reply) {
          if (reply.error() == Errc::kUnknownDeadLetter) {
            findings_.report("a dead letter stays", to_string(reply.error()),
                             Place{letter.id.partition.value, letter.offset.value});
          }
          return;
        }
        groups_[group]->show_told(*reply, asked);
        bool dead = reply->summary.state == DeadLetterState::kDead;
        if (dead && plan_.operations.fix && !calm_) fix(group, letter, *reply);
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
  groups_[group]->fix_sent(letter, value);
  world_.send<EditDeadLetterReply>(
      *connection_, request, [this, group, letter, value](const Reply<EditDeadLetterReply>& reply) {
        groups_[group]->fix_told(letter, value, reply);
      });
}

}  // namespace waybill

// SimOperator: a person at the command line. Looks at logs, groups and dead letters at any moment,
// redrives, fixes and discards, and changes policies.
#pragma once

#include <optional>

#include "tests/sim/group_model.h"
#include "tests/sim/sim_world.h"

namespace waybill {

class SimOperator final : public ClientEnd {
 public:
  SimOperator(SimWorld& world, LogModel& log, const std::vector<GroupModel*>& groups,
              Findings& findings, const SimPlan& plan, std::uint64_t seed);

  void start(TopicId topic);
  void calm() { calm_ = true; }
  void on_lost() override;

 private:
  void connect();
  void tick();
  void read_log();
  void list(std::size_t group);
  void work_on(std::size_t group, const DeadLetterSummary& letter);
  void redrive(std::size_t group, const DeadLetterSummary& letter);
  void discard(std::size_t group, const DeadLetterSummary& letter);
  void show_and_fix(std::size_t group, const DeadLetterSummary& letter);
  void fix(std::size_t group, const DeadLetterSummary& letter, const ShowDeadLetterReply& shown);
  void describe(std::size_t group);
  void alter(std::size_t group);
  void pause(std::size_t group);

  SimWorld& world_;
  LogModel& log_;
  std::vector<GroupModel*> groups_;
  Findings& findings_;
  const SimPlan& plan_;
  SeededRandom random_;
  TopicId topic_;
  std::optional<ConnectionId> connection_;
  std::uint64_t next_fix_ = 1;
  bool calm_ = false;
};

}  // namespace waybill

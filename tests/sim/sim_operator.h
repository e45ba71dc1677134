// SimOperator: a person at the command line. Looks at logs, groups and dead letters at any moment;
// redrives, fixes and discards; changes policies, pauses groups, forces brakes, resets.
#pragma once

#include <optional>

#include "tests/sim/group_model.h"
#include "tests/sim/sim_world.h"

namespace waybill {

class SimOperator final : public ClientEnd {
 public:
  SimOperator(SimWorld& world, LogModel& log, const std::vector<GroupModel*>& groups,
              Findings& findings, const SimPlan& plan, std::vector<SimTopic> topics,
              std::uint64_t seed);

  void start();
  /// Changes nothing more; but what it began it brings to its end.
  void calm() { calm_ = true; }
  /// Nothing is left of which it does not know the end.
  [[nodiscard]] bool quiet() const;
  void on_lost() override;

 private:
  /// A reset that is repeated until its end is known.
  struct OpenReset {
    ResetGroupRequest request;
    MonotonicTime sent;
    bool answered = false;  ///< with an error: it is to be repeated
    bool paused = false;    ///< the group was paused for it, and is resumed after it
  };

  void connect();
  void tick();
  void watch();
  void change(std::size_t group);
  void read_log();
  void list(std::size_t group);
  void work_on(std::size_t group, const DeadLetterSummary& letter);
  void redrive(std::size_t group, const DeadLetterSummary& letter);
  void discard(std::size_t group, const DeadLetterSummary& letter);
  void show_and_fix(std::size_t group, const DeadLetterSummary& letter);
  void fix(std::size_t group, const DeadLetterSummary& letter, const ShowDeadLetterReply& shown);
  void describe(std::size_t group);
  void check(std::size_t group);
  void alter(std::size_t group);
  void pause(std::size_t group, bool paused, std::move_only_function<void(bool ok)> then = {});
  void brake(std::size_t group);
  void reset(std::size_t group);
  void reset_paused(std::size_t group, const ResetGroupRequest& request);
  void send_reset(std::size_t group);
  void repeat_resets();
  [[nodiscard]] GroupStart draw_start(std::size_t group);

  SimWorld& world_;
  LogModel& log_;
  std::vector<GroupModel*> groups_;
  Findings& findings_;
  const SimPlan& plan_;
  SeededRandom random_;
  std::vector<SimTopic> topics_;
  std::map<std::size_t, OpenReset> resets_;  ///< by group
  std::optional<ConnectionId> connection_;
  std::uint64_t next_fix_ = 1;
  bool calm_ = false;
};

}  // namespace waybill

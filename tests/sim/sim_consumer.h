// SimConsumer: an application that consumes one group. Handlers take their time and end in every
// way; its process dies with messages in hand, leaves cleanly, or loses its connection and comes
// back as the same instance, claiming what it holds and repeating what it has no answer to.
#pragma once

#include <map>
#include <optional>

#include "tests/sim/group_model.h"
#include "tests/sim/sim_world.h"

namespace waybill {

class SimConsumer final : public ClientEnd {
 public:
  SimConsumer(SimWorld& world, LogModel& log, GroupModel& group, Findings& findings,
              const GroupPlan& plan, std::uint64_t number, std::uint64_t seed);

  void start();
  /// From now on everything is acknowledged at once.
  void calm();
  /// Its process dies; another one takes its place, as another instance.
  void crash();
  /// It says goodbye and comes back later, as another instance.
  void leave();
  /// Tries to settle what another consumer of its group holds, if there is anything.
  bool steal_from(const SimConsumer& other);

  void on_push(DeliverPush push) override;
  void on_revoke(RevokePush push) override;
  void revoked(const RevokePush& push) override;
  void on_lost() override;
  void pushed(InstanceId to, const DeliverPush& push) override;
  void dropped(InstanceId of) override;

 private:
  /// Messages that one handler works on: one, or a range of one lease.
  struct Item {
    std::vector<HandedOut> messages;
    bool settling = false;
    SentSettlement settlement;  ///< as it is to be
    std::uint64_t life = 0;     ///< of the broker, when it came
  };

  void connect();
  void subscribed();
  [[nodiscard]] std::vector<HandedOut> messages_of(const DeliverPush& push);
  void take(Item item);
  void handle(std::uint64_t key);
  void decide(Item& item);
  void extend(std::uint64_t key, bool claim);
  void settle(std::uint64_t key);
  void settled(std::uint64_t key, const Reply<SettleReply>& reply,
               const std::vector<SentSettlement>& sent);
  [[nodiscard]] bool outage() const;
  void drop(std::uint64_t key);
  void give_credit(std::uint32_t messages);
  [[nodiscard]] Duration some(Duration most);
  bool chance(unsigned percent) { return random_.below(100) < percent; }

  SimWorld& world_;
  LogModel& log_;
  GroupModel& group_;
  Findings& findings_;
  GroupPlan plan_;
  std::uint64_t number_;
  SeededRandom random_;
  InstanceId instance_;
  std::optional<ConnectionId> connection_;
  bool subscribed_ = false;
  bool calm_ = false;
  std::map<std::uint64_t, Item> items_;  ///< by a number of their own, never reused
  std::uint64_t next_item_ = 1;
};

}  // namespace waybill

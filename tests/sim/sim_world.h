// SimWorld: a broker as a process would be - shards and gateways on one disk, recovered whenever it
// starts - and a network between it and simulated clients, all in one thread, in virtual time.
// Which shard runs next, how long a message or a disk operation takes, and what a power cut loses
// is drawn from the seed; nothing else is.
//
//   clients ──to_server()──► ClientSession ─ Gateway ─ mail (FIFO to each shard) ─► Shard ─ SimDisk
//           ◄─to_client()───
//
// Time stands while any shard has mail or a turn to do, and jumps to the next event else.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/core/gateway.h"
#include "broker/core/shard.h"
#include "protocol/base/clock.h"
#include "protocol/base/random.h"
#include "storage/io/sim_disk.h"
#include "tests/sim/coverage.h"
#include "tests/sim/sim_plan.h"
#include "tests/sim/trace.h"

namespace waybill {

using ConnectionId = StrongId<struct ConnectionIdTag, std::uint64_t>;

/// A client's end of a connection. Outlives the connection, or loses it first.
class ClientEnd {
 public:
  virtual ~ClientEnd() = default;
  virtual void on_push(DeliverPush /*push*/) {}
  virtual void on_revoke(RevokePush /*push*/) {}
  /// It broke, or was refused; nothing more comes over it.
  virtual void on_lost() = 0;

  // What only an oracle knows: the moments at which the broker did it.
  virtual void pushed(InstanceId /*to*/, const DeliverPush& /*push*/) {}
  virtual void revoked(const RevokePush& /*push*/) {}
  /// The broker noticed that a connection of that instance is gone.
  virtual void dropped(InstanceId /*of*/) {}
};

enum class StopKind : std::uint8_t { kPower, kKill, kClean };

/// The last moment at which the broker had nothing to do: no mail, no turn, nothing asked of the
/// disk. What it does later it also decided later.
struct Rest {
  MonotonicTime at;
  WallTime wall;
};

class SimWorld {
  ManualClock clock_;  // first: the trace reads it

 public:
  SimWorld(const WorldPlan& plan, std::uint64_t seed, TraceFilter filter);
  ~SimWorld();
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  // --- time ---

  using Event = std::move_only_function<void()>;
  void after(Duration delay, Event event);
  void run_until(MonotonicTime until);
  [[nodiscard]] MonotonicTime now() const { return clock_.monotonic(); }
  [[nodiscard]] const ManualClock& clock() const { return clock_; }
  void jump_wall(std::chrono::milliseconds by) { clock_.jump_wall(by); }

  // --- the broker ---

  [[nodiscard]] bool up() const { return !shards_.empty() && ready_; }
  [[nodiscard]] SimDisk& disk() { return *disk_; }
  /// How often it stopped.
  [[nodiscard]] std::uint64_t stops() const { return stops_; }
  [[nodiscard]] const Rest& last_rest() const { return rest_; }
  /// Requests may be refused for want of room, and what shards tell each other may be lost.
  [[nodiscard]] bool refuses() const { return plan_.refuse_percent > 0; }
  /// Ends the process; it starts again after `down`. Nothing if it is down.
  void stop(StopKind kind, Duration down);
  /// The power fails right after clients heard of so many more things, and nothing survives that
  /// was not durable: the worst moment for a promise that was made too early.
  void cut_power_after_hearing(std::uint64_t count) { ambush_ = count; }
  /// Once it has nothing to do at this moment, it does nothing for so long, and then goes on.
  void pause(Duration duration) { wanted_pause_ = duration; }
  /// Operations of the disk take so long at most.
  void set_disk_latency(Duration latency) { disk_latency_ = latency; }
  void set_capacity(std::uint64_t bytes);
  /// No more faults: the next start succeeds, requests find room.
  void heal();
  /// Records of the group's erased dead letters that are still in segments.
  [[nodiscard]] std::uint64_t not_erased(GroupId group) const;
  /// Bytes of all files: what a full disk is full of.
  [[nodiscard]] std::uint64_t bytes_on_disk();
  [[nodiscard]] std::uint16_t shard_count() const { return plan_.shards; }
  /// Why the broker can not go on: it refused to start, or never rests.
  std::function<void(std::string)> on_broken;
  std::function<void()> on_stopped;

  // --- the network ---

  ConnectionId connect(std::uint16_t home, const HelloRequest& hello, ClientEnd& end);
  /// The client's program ends or gives up: at once for it, later for the broker.
  void abandon(ConnectionId id, Duration noticed_after);
  /// Says goodbye, after what was sent before.
  void goodbye(ConnectionId id);
  /// It breaks; either side notices by itself.
  void cut(ConnectionId id, Duration client_after, Duration broker_after);
  [[nodiscard]] std::vector<ConnectionId> connections() const;

  /// Sends a request; `done` runs when its answer arrives, if it does. `extra`: it and what is sent
  /// after it are under way so much longer.
  template <class R, class Request>
  void send(ConnectionId id, Request request, std::move_only_function<void(Reply<R>)> done,
            Duration extra = {});
  void give_credit(ConnectionId id, CreditRequest credit);

  Trace trace;
  Coverage coverage;

 private:
  class Mail;
  struct Connection;
  struct Sink;
  using ToSession = std::move_only_function<void(ClientSession&)>;

  bool step(MonotonicTime until);
  bool run_broker();
  void run_mail(std::uint16_t shard);
  void schedule_disk();
  void disk_done();
  [[nodiscard]] std::optional<MonotonicTime> shard_deadline() const;

  void start();
  Result<void> open();
  void note_rest();
  void note_space(std::uint16_t shard, const DiskSpaceChange& change);
  void heard();
  void stop_keeping(StopKind kind, Duration down, unsigned percent);
  void drop_all();
  void lost_at_client(std::uint64_t id, Duration delay);

  void to_server(ConnectionId id, ToSession call, Duration extra);
  void to_client(ConnectionId id, Event event);
  Duration some_of(Duration most);

  WorldPlan plan_;
  SeededRandom random_;         ///< of the network and the order of things
  SeededRandom broker_random_;  ///< the broker's own
  Duration disk_latency_;
  SimDiskOptions disk_options_;
  bool healed_ = false;

  std::multimap<MonotonicTime, Event> events_;
  Duration wanted_pause_{};
  MonotonicTime paused_until_;

  std::unique_ptr<SimDisk> disk_;
  bool disk_event_ = false;
  std::unique_ptr<Mail> mail_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<std::unique_ptr<Gateway>> gateways_;
  std::vector<bool> touched_;
  std::vector<bool> low_;  ///< shards that wait for room on the disk
  bool ready_ = false;
  std::uint64_t generation_ = 0;
  std::uint64_t stops_ = 0;
  Rest rest_;
  std::optional<std::uint64_t> ambush_;
  std::uint64_t steps_at_rest_ = 0;  ///< since time moved
  std::uint64_t turns_at_rest_ = 0;  ///< of those

  std::map<std::uint64_t, Connection> connections_;
  std::uint64_t next_connection_ = 1;
};

template <class R, class Request>
void SimWorld::send(ConnectionId id, Request request, std::move_only_function<void(Reply<R>)> done,
                    Duration extra) {
  auto answer = [this, id, answered = false, done = std::move(done)](Reply<R> reply) mutable {
    if (answered && on_broken) on_broken("a request was answered twice");
    answered = true;
    to_client(id, [done = std::move(done), reply = std::move(reply)]() mutable {
      done(std::move(reply));
    });
  };
  auto call = [request = std::move(request),
               answer = std::move(answer)](ClientSession& session) mutable {
    session.handle(std::move(request), Done<R>(std::move(answer)));
  };
  to_server(id, std::move(call), extra);
}

}  // namespace waybill

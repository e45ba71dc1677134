// BrakeJudge: decides when a group stops delivering because nearly everything fails, and when it
// goes on (D13). One for each group, on its home shard; pure: outcomes, time and an operator's mode
// go in, the brake the group should have comes out. Whoever asks journals that brake; the rest -
// which outcomes there were, how long to wait - is of this run only.
//
//            too many failures             waited
//   closed ────────────────────► open ────────────────► probing
//     ▲                           ▲                      │  │
//     │                           └── a probe fails ─────┘  │
//     └────────── enough probes in a row succeed ───────────┘
//
// A circuit breaker as in Nygard's "Release It!"; the words are those of resilience4j and Polly.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "broker/core/consumer_group.h"
#include "protocol/base/clock.h"
#include "protocol/model/catalog.h"

namespace waybill {

class BrakeJudge {
 public:
  /// Each failed probe doubles the wait for the next, up to this (or probe_after, if that is more):
  /// short enough that a repaired group goes on soon, long enough that probes cost nothing.
  static constexpr std::chrono::milliseconds kMaxWait{300'000};

  /// As the journal has it. An open one, whose wait nobody remembers, is probed at the first tick.
  explicit BrakeJudge(Brake brake) : brake_(std::move(brake)) {}

  /// The brake the group should have now.
  [[nodiscard]] const Brake& brake() const { return brake_; }

  /// A delivery was acked or failed.
  void outcome(const BrakePolicy& policy, const DeliveryOutcome& outcome, const Clock& clock);
  /// Time has passed, or the policy is another.
  void tick(const BrakePolicy& policy, const Clock& clock);
  /// When tick() wants to be called, if at all.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const;
  /// An operator decides, or lets the broker decide again: then what was forced open is probed
  /// first.
  void set_mode(BrakeMode mode, const Clock& clock);

 private:
  struct Ended {
    MonotonicTime at;
    bool failed = false;
  };
  using Message = std::pair<PartitionIndex, Offset>;

  /// Why it has to open; nothing if it has not.
  [[nodiscard]] std::optional<std::string> trip(const BrakePolicy& policy) const;
  void forget_oldest();
  void probed(const BrakePolicy& policy, bool failed, const Clock& clock);
  void open(const BrakePolicy& policy, std::string cause, const Clock& clock);
  void enter(BrakeState state, std::string cause, const Clock& clock);

  Brake brake_;
  // Closed: what ended lately.
  std::deque<Ended> ended_;                   ///< oldest first
  std::size_t failed_ = 0;                    ///< of them
  std::map<Message, MonotonicTime> failing_;  ///< failed since the last success
  // Open: how long.
  std::chrono::milliseconds wait_{0};  ///< 0: not opened in this run
  MonotonicTime probe_at_;
  // Probing.
  std::uint32_t succeeded_ = 0;  ///< in a row
};

}  // namespace waybill

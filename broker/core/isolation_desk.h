// IsolationDesk: lets one shard at a time have a client instance for itself, to hand it a message
// that may have killed clients (D10). One desk, in shard 0, for all instances: suspects are rare.
//
//   shard: ask ───────────► desk: hush ──► every shard leases the instance nothing more
//                           desk ◄── hushed, from every shard once it holds nothing of it
//   shard ◄── isolate ───── desk
//   shard: over ──────────► desk: the next who asks, or unhush ──► every shard
//
// A shard that has waited too long says over, too: a handler may take its time. Nothing here is
// durable, since the leases are. Rounds and asks have numbers: what crosses their end is ignored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>

#include "broker/core/mailbox.h"
#include "protocol/base/ids.h"

namespace waybill {

/// Who wants to be the only one with a lease of an instance; `number` is the asking shard's.
struct IsolationAsk {
  ShardIndex by;
  std::uint64_t number = 0;
  friend bool operator==(const IsolationAsk&, const IsolationAsk&) = default;
};

class IsolationDesk {
 public:
  void ask(Mailbox& mailbox, InstanceId instance, IsolationAsk ask);
  /// A shard that was told to hush in this round holds no lease of the instance any more.
  void hushed(Mailbox& mailbox, InstanceId instance, std::uint64_t round);
  /// The ask is done with or withdrawn.
  void over(Mailbox& mailbox, InstanceId instance, IsolationAsk ask);

 private:
  struct Round {
    std::uint64_t number = 0;
    std::deque<IsolationAsk> asks;  ///< the first has its turn
    std::size_t missing = 0;        ///< shards that have not hushed yet
  };

  static void isolate(Mailbox& mailbox, InstanceId instance, const Round& round);

  std::map<InstanceId, Round> rounds_;
  std::uint64_t next_round_ = 1;
};

}  // namespace waybill

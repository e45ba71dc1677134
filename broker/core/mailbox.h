// Mailbox: how shards and the threads above them talk. A call is run later, on the thread of the
// shard it is for; calls between the same two shards keep their order (S14). Bounded: a request may
// be refused, an answer never is, since there are no more answers than admitted requests.
// Volatile: a crash loses what is in flight, so nothing durable may depend on a call arriving.
#pragma once

#include <functional>

#include "protocol/base/ids.h"

namespace waybill {

class Shard;

class Mailbox {
 public:
  using Call = std::move_only_function<void(Shard&)>;
  enum class Kind : std::uint8_t { kRequest, kAnswer };

  virtual ~Mailbox() = default;
  /// Queues the call; false if the queue to that shard is full (never for an answer).
  virtual bool post(ShardIndex to, Call call, Kind kind) = 0;
  [[nodiscard]] virtual std::uint16_t shard_count() const = 0;
};

}  // namespace waybill

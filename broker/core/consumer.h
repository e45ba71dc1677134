// Consumer: one subscription as its gateway sees it. The client's credit is a pool; slices of it
// are lent to the shards of the topic, which push at once when a message comes. A shard that has
// work and no credit says so, and gives back its rest; what other shards hold is then recalled
// (D2).
#pragma once

#include <map>

#include "broker/core/gateway.h"

namespace waybill {

struct Gateway::Consumer {
  struct Lent {
    Credit credit;
    bool wanting = false;    ///< it has work, and no credit whatever
    bool recalling = false;  ///< asked to return what it does not use
  };

  ConsumerId id;
  std::uint32_t subscription = 0;
  PushSink* sink = nullptr;
  GroupInfo group;
  TopicInfo topic;
  Credit pool;
  std::map<ShardIndex, Lent> shards;
  ShardIndex served_first;  ///< when credit was last lent; another one's turn is next
};

}  // namespace waybill

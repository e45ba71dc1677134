// The restore check (D22): do database and broker remember the same past? Compares, partition by
// partition, the last sequence the broker says it has with the last one it acknowledged to this
// database; numbers given to refused rows never count. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "client/outbox/batch_plan.h"
#include "protocol/model/requests.h"

namespace waybill {

enum class WhoWentBack : std::uint8_t { kNobody, kDatabase, kBroker };

struct LaneCheck {
  WhoWentBack who = WhoWentBack::kNobody;
  std::string explanation;  ///< if anybody did
  /// Parts of the intent that are in the log already.
  std::vector<IntentPart> appended;
  /// Parts that are not, and, sent under an older epoch, cannot get there any more.
  std::vector<IntentPart> missing;
  /// Partitions whose topic was deleted at the broker; their parts of the intent are in neither
  /// list.
  std::vector<TopicPartition> deleted;
};

LaneCheck check_lane(const LanePositions& database, const std::vector<ProducerPosition>& broker,
                     const Intent& intent, const Catalog& catalog);

}  // namespace waybill

// DeadLetterDesk: seeing and repairing the dead letters of one shard (DESIGN 7). Looking never
// changes or locks anything; a fix is a new record beside the untouched original; a redrive or a
// discard is one change per dead letter, each atomic, so a request that is repeated skips what is
// done already.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "broker/core/delivery_engine.h"

namespace waybill {

class DeadLetterDesk {
 public:
  DeadLetterDesk(ShardLog& log, DeliveryEngine& delivery, ShardMetrics& metrics)
      : log_(log), delivery_(delivery), metrics_(metrics) {}

  void list(GroupId group, ListDeadLettersRequest request, Done<ListDeadLettersReply> done);
  void show(GroupId group, DeadLetterId id, Done<ShowDeadLetterReply> done);
  void edit(GroupId group, EditDeadLetterRequest request, Done<EditDeadLetterReply> done);
  void redrive(GroupId group, RedriveRequest request, Done<RedriveReply> done);
  void discard(GroupId group, DiscardRequest request, Done<DiscardReply> done);

 private:
  using Found = std::function<void(GroupPartition&, std::uint64_t number, const DeadLetter&)>;
  /// Calls found() for each that matches, in order of partition and number. Nothing may be changed
  /// inside.
  void for_each(GroupId group, const DeadLetterSelection& selection, const Found& found);
  /// The dead letter, or {null, null}.
  std::pair<GroupPartition*, const DeadLetter*> find(GroupId group, const DeadLetterId& id);
  void add_version(GroupId group, const EditDeadLetterRequest& request, WallTime timestamp,
                   Done<EditDeadLetterReply> done);
  template <class R>
  void refuse(Done<R> done, RequestError error);

  ShardLog& log_;
  DeliveryEngine& delivery_;
  ShardMetrics& metrics_;
};

}  // namespace waybill

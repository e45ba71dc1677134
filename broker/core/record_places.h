// RecordPlaces: where the records of batches lie that are in memory and were sent from lately.
// Messages of different keys are spread over many batches, and each batch is sent from again and
// again, a record or two at a time: walking it from its beginning each time costs more than all
// the rest of sending. A record costs about two bytes here, four megabytes in all at most: then it
// begins anew. Of this run only; owned by a shard's DeliveryEngine.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "broker/core/number_table.h"
#include "protocol/base/ids.h"
#include "protocol/record/batch_builder.h"
#include "storage/stream.h"

namespace waybill {

class RecordPlaces {
 public:
  /// The records of a batch in memory; requires that it is one. Nothing if it is walked as quickly,
  /// compressed, or malformed. Valid until the next call.
  std::optional<PlacedRecords> find(StreamId stream, const Stretch& stretch);
  /// The record will be wanted soon: memory may begin to answer, if its place is known.
  void fetch_ahead(StreamId stream, const Stretch& stretch, Offset record) const;

 private:
  struct Known {
    StreamId stream;
    PlacedRecords batch;  ///< its bytes and places may have moved
    std::uint32_t first_place = 0;
  };

  [[nodiscard]] const Known* look_up(StreamId stream, Offset base) const;

  NumberTable<std::uint32_t> by_batch_;  ///< a mix of stream and base -> index in known_
  std::vector<Known> known_;
  std::vector<std::uint32_t> places_;
};

}  // namespace waybill

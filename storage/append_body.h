// AppendBody: what the body of an append entry says about streams, for tools. The whole of it is
// known to broker/core/entries.h; here only what stays in every version: stream, base offset and
// count at the front, the batch at the end.
#pragma once

#include <cstdint>
#include <optional>

#include "protocol/base/ids.h"
#include "protocol/record/record_batch.h"
#include "storage/entry.h"

namespace waybill {

struct AppendBody {
  StreamId stream;
  Offset base;
  std::uint32_t count = 0;
  BatchHeader header;
  Bytes batch;  ///< into the entry's body

  [[nodiscard]] Offset last() const { return base + (std::int64_t{count} - 1); }
};

/// Nothing if the entry is no append, or holds no batch that fits what stands in front of it. The
/// batch's CRC is not checked.
std::optional<AppendBody> read_append_body(const EntryView& entry);

}  // namespace waybill

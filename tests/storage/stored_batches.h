// Batches and append entries for the tests of storage, as a broker would write them.
#pragma once

#include <string>

#include "protocol/record/batch_builder.h"
#include "protocol/record/record_batch.h"

namespace waybill {

/// `count` records whose values tell their offsets, the n-th `base_time` + n ms old.
inline ByteVector make_batch(Offset base, std::uint32_t count, std::size_t value_size = 20,
                             WallTime base_time = WallTime{1'000'000}) {
  BatchBuilder builder;
  for (std::uint32_t i = 0; i < count; ++i) {
    std::string value = "offset " + std::to_string(base.value + i);
    value.resize(std::max(value.size(), value_size), '.');
    RecordDraft record;
    record.key = as_bytes("key");
    record.value = as_bytes(value);
    record.timestamp = WallTime{base_time.milliseconds + i};
    WB_ASSERT(builder.add(record).ok(), "a small record fits");
  }
  ByteVector batch = builder.build();
  stamp_base_offset(batch, base);
  return batch;
}

/// The body of an append entry without a producer, as FORMAT.md has it.
inline std::string append_body(StreamId stream, Offset base, std::uint32_t count, Bytes batch) {
  ByteVector body;
  ByteWriter writer(body);
  writer.write(stream.value);
  writer.write(base.value);
  writer.write(count);
  writer.write(std::int64_t{1'000'000});
  writer.write(std::uint8_t{0});
  writer.write_bytes(batch);
  return std::string(as_text(body));
}
inline std::string append_body(StreamId stream, Offset base, std::uint32_t count,
                               std::size_t value_size = 20) {
  return append_body(stream, base, count, make_batch(base, count, value_size));
}

}  // namespace waybill

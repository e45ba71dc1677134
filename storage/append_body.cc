#include "storage/append_body.h"

namespace waybill {
namespace {

// stream, base, count, max timestamp, flags; then perhaps a producer: uuid, kind, epoch, previous
// and base sequence.
constexpr std::size_t kFixedSize = 8 + 8 + 4 + 8 + 1;
constexpr std::size_t kProducerSize = 16 + 1 + 4 + 8 + 8;

}  // namespace

std::optional<AppendBody> read_append_body(const EntryView& entry) {
  if (!holds_batch(entry.type)) return std::nullopt;
  ByteReader reader(entry.body);
  AppendBody body;
  body.stream.value = reader.read<std::uint64_t>();
  body.base.value = reader.read<std::int64_t>();
  body.count = reader.read<std::uint32_t>();
  if (!reader.ok() || body.count == 0) return std::nullopt;
  for (std::size_t begin : {kFixedSize, kFixedSize + kProducerSize}) {
    if (entry.body.size() <= begin) continue;
    const Bytes batch = entry.body.subspan(begin);
    Result<BatchHeader> header = parse_batch_header(batch);
    if (!header || header->size != batch.size() || header->base_offset != body.base ||
        header->last_offset() != body.last())
      continue;
    body.header = *header;
    body.batch = batch;
    return body;
  }
  return std::nullopt;
}

}  // namespace waybill

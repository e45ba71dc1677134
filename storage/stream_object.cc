#include "storage/stream_object.h"

namespace waybill {
namespace {

ClaimedSegment read_segment(StreamId stream, ByteReader& in) {
  ClaimedSegment segment;
  segment.id.stream = stream;
  segment.id.base.value = in.read<std::int64_t>();
  segment.id.generation = in.read_varint();
  segment.end.value = in.read<std::int64_t>();
  segment.size = in.read_varint();
  in.read_varint();  // bytes of its batches
  segment.sealed = in.read<std::uint8_t>() != 0;
  in.read<std::int64_t>();  // when it was stored
  in.read<SegmentFacts>();
  in.read<std::int64_t>();  // the newest timestamp
  in.read_varint();         // records
  if (segment.sealed) return segment;
  const std::uint64_t count = in.read_varint();
  for (std::uint64_t i = 0; in.ok() && i < count; ++i) {
    SegmentIndexEntry& entry = segment.index.emplace_back();
    entry.base.value = in.read<std::int64_t>();
    entry.max_before.milliseconds = in.read<std::int64_t>();
    entry.position = in.read_varint();
  }
  return segment;
}

}  // namespace

std::optional<StreamObject> read_stream_object(const CheckpointObject& object) {
  if (object.kind != kStreamObjectKind || object.version != 1) return std::nullopt;
  ByteReader in(object.body);
  StreamObject stream;
  stream.stream.value = object.id;
  stream.is_partition = in.read<std::uint8_t>() != 0;
  stream.start.value = in.read<std::int64_t>();
  const std::uint64_t count = in.read_varint();
  for (std::uint64_t i = 0; in.ok() && i < count; ++i)
    stream.segments.push_back(read_segment(stream.stream, in));
  if (stream.is_partition) {
    stream.topic.value = in.read<std::uint64_t>();
    stream.partition = in.read<std::uint32_t>();
    stream.archived = in.read<std::uint8_t>() != 0;
  }
  return in.finished() ? std::optional(std::move(stream)) : std::nullopt;
}

}  // namespace waybill

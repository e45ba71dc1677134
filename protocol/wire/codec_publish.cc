// Producers, publishing, reading without a group.
#include "protocol/wire/codec.h"
#include "protocol/wire/parts.h"
#include "waybill.pb.h"

namespace waybill {
namespace {

ProducerStamp stamp_from_wire(MetaDecoder& in, const wire::ProducerStamp& message) {
  ProducerStamp stamp;
  stamp.id = {in.required_uuid("producer.id", message.id())};
  stamp.kind = in.enumerator("producer.kind", message.kind(), ProducerKind::kDurable);
  stamp.epoch = message.epoch();
  stamp.base_sequence = in.number("producer.base_sequence", message.base_sequence(), 1, INT64_MAX);
  stamp.previous = in.number("producer.previous", message.previous(), 0, stamp.base_sequence - 1);
  return stamp;
}

template <class Message>
void add_positions(const std::vector<ProducerPosition>& positions, Message& message) {
  for (const ProducerPosition& position : positions) {
    wire::ProducerPosition& added = *message.add_positions();
    added.set_topic(position.topic.value);
    added.set_partition(position.partition.value);
    added.set_last_sequence(position.last_sequence);
  }
}

template <class Message>
std::vector<ProducerPosition> positions_from_wire(MetaDecoder& in, const Message& message) {
  std::vector<ProducerPosition> positions;
  in.each("positions", message.positions(), 0, limits::kMaxMetaElements,
          [&](const wire::ProducerPosition& position) {
            positions.push_back(
                {{position.topic()}, in.partition(position.partition()), position.last_sequence()});
          });
  return positions;
}

}  // namespace

void encode(const OpenProducerRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::OpenProducerRequest message;
  set_uuid(value.id.uuid, *message.mutable_id());
  message.set_epoch(value.epoch);
  message.set_name(value.name);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, OpenProducerRequest& out) {
  wire::OpenProducerRequest message;
  MetaDecoder in(meta, body, message);
  out.id = {in.required_uuid("id", message.id())};
  out.epoch = message.epoch();
  out.name = in.text("name", message.name());
  return in.finish();
}

void encode(const OpenProducerReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::OpenProducerReply message;
  add_positions(value.positions, message);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, OpenProducerReply& out) {
  wire::OpenProducerReply message;
  MetaDecoder in(meta, body, message);
  out.positions = positions_from_wire(in, message);
  return in.finish();
}

void encode(const ListProducersRequest&, ByteVector&, std::vector<SharedBytes>&) {}

Reply<void> decode(Bytes meta, const SharedBytes& body, ListProducersRequest&) {
  wire::ListProducersRequest message;
  MetaDecoder in(meta, body, message);
  return in.finish();
}

void encode(const ListProducersReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::ListProducersReply message;
  for (const ProducerInfo& producer : value.producers) {
    wire::Producer& added = *message.add_producers();
    set_uuid(producer.id.uuid, *added.mutable_id());
    added.set_epoch(producer.epoch);
    added.set_name(producer.name);
    add_positions(producer.positions, added);
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, ListProducersReply& out) {
  wire::ListProducersReply message;
  MetaDecoder in(meta, body, message);
  in.each("producers", message.producers(), 0, limits::kMaxDurableProducers,
          [&](const wire::Producer& producer) {
            out.producers.push_back({{in.uuid("id", producer.id())},
                                     producer.epoch(),
                                     in.text("name", producer.name()),
                                     positions_from_wire(in, producer)});
          });
  return in.finish();
}

void encode(const RemoveProducerRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::RemoveProducerRequest message;
  set_uuid(value.id.uuid, *message.mutable_id());
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, RemoveProducerRequest& out) {
  wire::RemoveProducerRequest message;
  MetaDecoder in(meta, body, message);
  out.id = {in.required_uuid("id", message.id())};
  return in.finish();
}

void encode(const RemoveProducerReply&, ByteVector&, std::vector<SharedBytes>&) {}

Reply<void> decode(Bytes meta, const SharedBytes& body, RemoveProducerReply&) {
  wire::RemoveProducerReply message;
  MetaDecoder in(meta, body, message);
  return in.finish();
}

void encode(const PublishRequest& value, ByteVector& meta, std::vector<SharedBytes>& body) {
  wire::PublishRequest message;
  for (const PublishPart& part : value.parts) {
    wire::PublishPart& added = *message.add_parts();
    added.set_topic(part.topic.value);
    added.set_partition(part.partition.value);
    if (part.producer) {
      wire::ProducerStamp& stamp = *added.mutable_producer();
      set_uuid(part.producer->id.uuid, *stamp.mutable_id());
      stamp.set_kind(static_cast<std::uint32_t>(part.producer->kind));
      stamp.set_epoch(part.producer->epoch);
      stamp.set_previous(part.producer->previous);
      stamp.set_base_sequence(part.producer->base_sequence);
    }
    if (part.expected_end) {
      added.set_expected_end(static_cast<std::uint64_t>(part.expected_end->value));
    }
    added.set_batch_size(static_cast<std::uint32_t>(part.batch.size()));
    append_piece(part.batch, body);
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, PublishRequest& out) {
  wire::PublishRequest message;
  MetaDecoder in(meta, body, message);
  in.each("parts", message.parts(), 1, limits::kMaxPublishParts,
          [&](const wire::PublishPart& part) {
            PublishPart& added = out.parts.emplace_back();
            added.topic = {in.number("topic", part.topic(), 1, UINT64_MAX)};
            added.partition = in.partition(part.partition());
            if (part.has_producer()) added.producer = stamp_from_wire(in, part.producer());
            if (part.has_expected_end()) {
              added.expected_end = in.offset("expected_end", part.expected_end());
            }
            added.batch = in.piece("batch_size", part.batch_size(), 1, limits::kMaxBatch);
          });
  return in.finish();
}

void encode(const PublishReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::PublishReply message;
  for (const Reply<PublishResult>& part : value.parts) {
    wire::PublishResult& added = *message.add_parts();
    if (!part) {
      to_wire(part.error(), *added.mutable_error());
      continue;
    }
    added.set_base_offset(static_cast<std::uint64_t>(part->base_offset.value));
    added.set_duplicate(part->duplicate);
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, PublishReply& out) {
  wire::PublishReply message;
  MetaDecoder in(meta, body, message);
  in.each("parts", message.parts(), 0, limits::kMaxPublishParts,
          [&](const wire::PublishResult& part) {
            if (part.has_error()) {
              out.parts.emplace_back(from_wire(in, part.error()));
            } else {
              out.parts.emplace_back(
                  PublishResult{in.offset("base_offset", part.base_offset()), part.duplicate()});
            }
          });
  return in.finish();
}

void encode(const ReadRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::ReadRequest message;
  message.set_topic(value.topic.value);
  message.set_partition(value.partition.value);
  message.set_from(static_cast<std::uint64_t>(value.from.value));
  if (value.from_time) message.set_from_time(value.from_time->milliseconds);
  message.set_max_bytes(value.max_bytes);
  message.set_wait_ms(static_cast<std::uint64_t>(value.wait.count()));
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, ReadRequest& out) {
  wire::ReadRequest message;
  MetaDecoder in(meta, body, message);
  out.topic = {in.number("topic", message.topic(), 1, UINT64_MAX)};
  out.partition = in.partition(message.partition());
  out.from = in.offset("from", message.from());
  if (message.has_from_time()) out.from_time = WallTime{message.from_time()};
  out.max_bytes =
      in.number<std::uint32_t>("max_bytes", message.max_bytes(), 1, limits::kMaxReadBytes);
  out.wait = in.duration("wait_ms", message.wait_ms(), limits::kMaxReadWait);
  return in.finish();
}

void encode(const ReadReply& value, ByteVector& meta, std::vector<SharedBytes>& body) {
  wire::ReadReply message;
  message.set_first(static_cast<std::uint64_t>(value.first.value));
  message.set_start(static_cast<std::uint64_t>(value.start.value));
  message.set_end(static_cast<std::uint64_t>(value.end.value));
  for (const SharedBytes& batch : value.batches) {
    message.add_batch_sizes(static_cast<std::uint32_t>(batch.size()));
    append_piece(batch, body);
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, ReadReply& out) {
  wire::ReadReply message;
  MetaDecoder in(meta, body, message);
  out.first = in.offset("first", message.first());
  out.start = in.offset("start", message.start());
  out.end = in.offset("end", message.end());
  in.each("batch_sizes", message.batch_sizes(), 0, limits::kMaxBatchesPerFrame,
          [&](std::uint32_t size) {
            out.batches.push_back(in.piece("size", size, 1, limits::kMaxBatch));
          });
  return in.finish();
}

}  // namespace waybill

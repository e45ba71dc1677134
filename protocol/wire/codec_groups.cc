// Consumer groups: policy and state.
#include "protocol/wire/codec.h"
#include "protocol/wire/parts.h"
#include "waybill.pb.h"

namespace waybill {
namespace {

std::uint64_t unsigned_offset(Offset offset) {
  return static_cast<std::uint64_t>(offset.value);
}

void to_wire(const GroupPartitionStatus& status, wire::GroupPartitionStatus& message) {
  message.set_partition(status.partition.value);
  message.set_start(unsigned_offset(status.accounting.start));
  message.set_end(unsigned_offset(status.accounting.end));
  message.set_done(status.accounting.done);
  message.set_ready(status.accounting.ready);
  message.set_leased(status.accounting.leased);
  message.set_delayed(status.accounting.delayed);
  message.set_dead(status.accounting.dead);
  message.set_redriven(status.accounting.redriven);
  message.set_discarded(status.accounting.discarded);
  message.set_failures(status.failures);
  message.set_redelivered(status.redelivered);
  message.set_waiting(static_cast<std::uint32_t>(status.waiting));
}

GroupPartitionStatus from_wire(MetaDecoder& in, const wire::GroupPartitionStatus& message) {
  GroupPartitionStatus status;
  status.partition = in.partition(message.partition());
  status.accounting.start = in.offset("start", message.start());
  status.accounting.end = in.offset("end", message.end());
  status.accounting.done = message.done();
  status.accounting.ready = message.ready();
  status.accounting.leased = message.leased();
  status.accounting.delayed = message.delayed();
  status.accounting.dead = message.dead();
  status.accounting.redriven = message.redriven();
  status.accounting.discarded = message.discarded();
  status.failures = message.failures();
  status.redelivered = message.redelivered();
  status.waiting = in.enumerator("waiting", message.waiting(), Waiting::kDisk, 0);
  return status;
}

}  // namespace

void encode(const CreateGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::CreateGroupRequest message;
  message.set_name(value.name);
  message.set_topic(value.topic);
  to_wire(value.policy, *message.mutable_policy());
  to_wire(value.start, *message.mutable_start());
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, CreateGroupRequest& out) {
  wire::CreateGroupRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  out.topic = in.required_name("topic", message.topic());
  out.policy = from_wire(in, message.policy());
  out.start = from_wire(in, message.start());
  if (Reply<void> valid = validate(out.policy); !valid) in.fail(valid.error());
  if (Reply<void> valid = validate(out.start); !valid) in.fail(valid.error());
  return in.finish();
}

void encode(const CreateGroupReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::CreateGroupReply message;
  to_wire(value.group, *message.mutable_group());
  message.set_created(value.created);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, CreateGroupReply& out) {
  wire::CreateGroupReply message;
  MetaDecoder in(meta, body, message);
  out.group = from_wire(in, message.group());
  out.created = message.created();
  return in.finish();
}

void encode(const AlterGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::AlterGroupRequest message;
  message.set_name(value.name);
  to_wire(value.policy, *message.mutable_policy());
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, AlterGroupRequest& out) {
  wire::AlterGroupRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  out.policy = from_wire(in, message.policy());
  if (Reply<void> valid = validate(out.policy); !valid) in.fail(valid.error());
  return in.finish();
}

void encode(const AlterGroupReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::AlterGroupReply message;
  to_wire(value.group, *message.mutable_group());
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, AlterGroupReply& out) {
  wire::AlterGroupReply message;
  MetaDecoder in(meta, body, message);
  out.group = from_wire(in, message.group());
  return in.finish();
}

void encode(const DeleteGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::DeleteGroupRequest message;
  message.set_name(value.name);
  message.set_discard_dead_letters(value.discard_dead_letters);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, DeleteGroupRequest& out) {
  wire::DeleteGroupRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  out.discard_dead_letters = message.discard_dead_letters();
  return in.finish();
}

void encode(const DeleteGroupReply&, ByteVector&, std::vector<SharedBytes>&) {}

Reply<void> decode(Bytes meta, const SharedBytes& body, DeleteGroupReply&) {
  wire::DeleteGroupReply message;
  MetaDecoder in(meta, body, message);
  return in.finish();
}

void encode(const DescribeGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::DescribeGroupRequest message;
  message.set_name(value.name);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, DescribeGroupRequest& out) {
  wire::DescribeGroupRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  return in.finish();
}

void encode(const DescribeGroupReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::DescribeGroupReply message;
  to_wire(value.group, *message.mutable_group());
  message.set_topic(value.topic);
  message.set_consumers(value.consumers);
  for (const GroupPartitionStatus& status : value.partitions) {
    to_wire(status, *message.add_partitions());
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, DescribeGroupReply& out) {
  wire::DescribeGroupReply message;
  MetaDecoder in(meta, body, message);
  out.group = from_wire(in, message.group());
  out.topic = in.text("topic", message.topic(), limits::kMaxNameLength);
  out.consumers = message.consumers();
  in.each("partitions", message.partitions(), 0, limits::kMaxPartitions,
          [&](const wire::GroupPartitionStatus& status) {
            out.partitions.push_back(from_wire(in, status));
          });
  return in.finish();
}

}  // namespace waybill

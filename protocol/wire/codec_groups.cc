// Consumer groups: policy and state.
#include "protocol/wire/codec.h"
#include "protocol/wire/parts.h"
#include "waybill.pb.h"

namespace waybill {
namespace {

std::uint64_t unsigned_offset(Offset offset) {
  return static_cast<std::uint64_t>(offset.value);
}

void to_wire(const Accounting& accounting, wire::Accounting& message) {
  message.set_start(unsigned_offset(accounting.start));
  message.set_end(unsigned_offset(accounting.end));
  message.set_done(accounting.done);
  message.set_ready(accounting.ready);
  message.set_scheduled(accounting.scheduled);
  message.set_leased(accounting.leased);
  message.set_delayed(accounting.delayed);
  message.set_held(accounting.held);
  message.set_dead(accounting.dead);
  message.set_redriving(accounting.redriving);
  message.set_redriven(accounting.redriven);
  message.set_discarded(accounting.discarded);
  message.set_expired(accounting.expired);
  message.set_skipped(accounting.skipped);
  message.set_compacted(accounting.compacted);
  message.set_removed(accounting.removed);
}

Accounting from_wire(MetaDecoder& in, const wire::Accounting& message) {
  Accounting accounting;
  accounting.start = in.offset("start", message.start());
  accounting.end = in.offset("end", message.end());
  accounting.done = message.done();
  accounting.ready = message.ready();
  accounting.scheduled = message.scheduled();
  accounting.leased = message.leased();
  accounting.delayed = message.delayed();
  accounting.held = message.held();
  accounting.dead = message.dead();
  accounting.redriving = message.redriving();
  accounting.redriven = message.redriven();
  accounting.discarded = message.discarded();
  accounting.expired = message.expired();
  accounting.skipped = message.skipped();
  accounting.compacted = message.compacted();
  accounting.removed = message.removed();
  return accounting;
}

void to_wire(const GroupPartitionStatus& status, wire::GroupPartitionStatus& message) {
  message.set_partition(status.partition.value);
  to_wire(status.accounting, *message.mutable_accounting());
  message.set_failures(status.failures);
  message.set_redelivered(status.redelivered);
  message.set_waiting(static_cast<std::uint32_t>(status.waiting));
}

GroupPartitionStatus from_wire(MetaDecoder& in, const wire::GroupPartitionStatus& message) {
  GroupPartitionStatus status;
  status.partition = in.partition(message.partition());
  status.accounting = from_wire(in, message.accounting());
  status.failures = message.failures();
  status.redelivered = message.redelivered();
  status.waiting = in.enumerator("waiting", message.waiting(), Waiting::kDisk, 0);
  return status;
}

void to_wire(const ResetPartition& partition, wire::ResetPartition& message) {
  message.set_partition(partition.partition.value);
  message.set_from(unsigned_offset(partition.from));
  message.set_to(unsigned_offset(partition.to));
  message.set_redelivered(partition.redelivered);
  message.set_skipped(partition.skipped);
  message.set_leases_voided(partition.leases_voided);
  message.set_dead_kept(partition.dead_kept);
}

ResetPartition from_wire(MetaDecoder& in, const wire::ResetPartition& message) {
  ResetPartition partition;
  partition.partition = in.partition(message.partition());
  partition.from = in.offset("from", message.from());
  partition.to = in.offset("to", message.to());
  partition.redelivered = message.redelivered();
  partition.skipped = message.skipped();
  partition.leases_voided = message.leases_voided();
  partition.dead_kept = message.dead_kept();
  return partition;
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
  message.set_keep_dead_letters(value.keep_dead_letters);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, DeleteGroupRequest& out) {
  wire::DeleteGroupRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  out.discard_dead_letters = message.discard_dead_letters();
  out.keep_dead_letters = message.keep_dead_letters();
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

void encode(const PauseGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::PauseGroupRequest message;
  message.set_name(value.name);
  message.set_paused(value.paused);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, PauseGroupRequest& out) {
  wire::PauseGroupRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  out.paused = message.paused();
  return in.finish();
}

void encode(const PauseGroupReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::PauseGroupReply message;
  to_wire(value.group, *message.mutable_group());
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, PauseGroupReply& out) {
  wire::PauseGroupReply message;
  MetaDecoder in(meta, body, message);
  out.group = from_wire(in, message.group());
  return in.finish();
}

void encode(const SetBrakeRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::SetBrakeRequest message;
  message.set_name(value.name);
  message.set_mode(static_cast<std::uint32_t>(value.mode));
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, SetBrakeRequest& out) {
  wire::SetBrakeRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  out.mode = in.enumerator("mode", message.mode(), BrakeMode::kForcedClosed);
  return in.finish();
}

void encode(const SetBrakeReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::SetBrakeReply message;
  to_wire(value.group, *message.mutable_group());
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, SetBrakeReply& out) {
  wire::SetBrakeReply message;
  MetaDecoder in(meta, body, message);
  out.group = from_wire(in, message.group());
  return in.finish();
}

void encode(const ResetGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::ResetGroupRequest message;
  message.set_name(value.name);
  to_wire(value.start, *message.mutable_start());
  message.set_include_dead(value.include_dead);
  message.set_dry_run(value.dry_run);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, ResetGroupRequest& out) {
  wire::ResetGroupRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  out.start = from_wire(in, message.start());
  out.include_dead = message.include_dead();
  out.dry_run = message.dry_run();
  if (Reply<void> valid = validate(out.start); !valid) in.fail(valid.error());
  return in.finish();
}

void encode(const ResetGroupReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::ResetGroupReply message;
  to_wire(value.group, *message.mutable_group());
  for (const ResetPartition& partition : value.partitions) {
    to_wire(partition, *message.add_partitions());
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, ResetGroupReply& out) {
  wire::ResetGroupReply message;
  MetaDecoder in(meta, body, message);
  out.group = from_wire(in, message.group());
  in.each("partitions", message.partitions(), 0, limits::kMaxPartitions,
          [&](const wire::ResetPartition& partition) {
            out.partitions.push_back(from_wire(in, partition));
          });
  return in.finish();
}

void encode(const CheckGroupRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::CheckGroupRequest message;
  message.set_name(value.name);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, CheckGroupRequest& out) {
  wire::CheckGroupRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  return in.finish();
}

void encode(const CheckGroupReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::CheckGroupReply message;
  for (const PartitionCheck& check : value.partitions) {
    wire::PartitionCheck& added = *message.add_partitions();
    added.set_partition(check.partition.value);
    to_wire(check.kept, *added.mutable_kept());
    to_wire(check.counted, *added.mutable_counted());
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, CheckGroupReply& out) {
  wire::CheckGroupReply message;
  MetaDecoder in(meta, body, message);
  in.each("partitions", message.partitions(), 0, limits::kMaxPartitions,
          [&](const wire::PartitionCheck& check) {
            out.partitions.push_back({in.partition(check.partition()), from_wire(in, check.kept()),
                                      from_wire(in, check.counted())});
          });
  return in.finish();
}

}  // namespace waybill

#include "broker/core/entries.h"

#include <bit>
#include <utility>

#include "broker/core/entry_fields.h"
#include "protocol/base/limits.h"

namespace waybill {
namespace {

Error bad(const char* where) {
  return {Errc::kBadFormat, 0, where};
}

void put(ByteWriter& out, const TopicInfo& topic) {
  out.write(topic.id.value);
  out.write(topic.version);
  out.write_text(topic.name);
  out.write_varint(topic.partitions.size());
  for (const PartitionPlace& place : topic.partitions) {
    out.write(place.shard.value);
    out.write(place.stream.value);
  }
  out.write<std::int64_t>(topic.policy.retention.count());
  out.write<std::int64_t>(topic.policy.drop_after.count());
  out.write(topic.policy.drop_above);
  out.write(static_cast<std::uint8_t>(topic.archived));
  out.write(topic.policy.cleanup);
  out.write<std::int64_t>(topic.policy.tombstone_delay.count());
}
TopicInfo get_topic(ByteReader& in) {
  TopicInfo topic;
  topic.id.value = in.read<std::uint64_t>();
  topic.version = in.read<std::uint64_t>();
  topic.name = in.read_text(kMaxText);
  std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    PartitionPlace place;
    place.shard.value = in.read<std::uint16_t>();
    place.stream.value = in.read<std::uint64_t>();
    topic.partitions.push_back(place);
  }
  topic.policy.retention = get_milliseconds(in);
  topic.policy.drop_after = get_milliseconds(in);
  topic.policy.drop_above = in.read<std::uint64_t>();
  topic.archived = get_bool(in);
  topic.policy.cleanup = get_enum(in, Cleanup::kDelete, Cleanup::kCompactAndDelete);
  topic.policy.tombstone_delay = get_milliseconds(in);
  return topic;
}

void put(ByteWriter& out, const FailureRules& rules) {
  out.write(rules.transient);
  out.write(rules.failed);
  out.write(rules.invalid);
  out.write(rules.timeout);
  out.write<std::int64_t>(rules.free_for.count());
}
FailureRules get_failure_rules(ByteReader& in) {
  FailureRules rules;
  for (FailureAction* action : {&rules.transient, &rules.failed, &rules.invalid, &rules.timeout}) {
    *action = get_enum(in, FailureAction::kCharge, FailureAction::kDeadLetter);
  }
  rules.free_for = get_milliseconds(in);
  return rules;
}

void put(ByteWriter& out, const BrakePolicy& policy) {
  out.write(static_cast<std::uint8_t>(policy.enabled));
  out.write(policy.outcomes);
  out.write(policy.percent);
  out.write(policy.in_a_row);
  out.write<std::int64_t>(policy.period.count());
  out.write<std::int64_t>(policy.probe_after.count());
  out.write(policy.probes);
}
BrakePolicy get_brake_policy(ByteReader& in) {
  BrakePolicy policy;
  policy.enabled = get_bool(in);
  policy.outcomes = in.read<std::uint32_t>();
  policy.percent = in.read<std::uint32_t>();
  policy.in_a_row = in.read<std::uint32_t>();
  policy.period = get_milliseconds(in);
  policy.probe_after = get_milliseconds(in);
  policy.probes = in.read<std::uint32_t>();
  return policy;
}

void put(ByteWriter& out, const GroupPolicy& policy) {
  out.write(policy.ordering);
  out.write(policy.on_dead_letter);
  out.write(policy.attempts);
  out.write(policy.max_failures);
  out.write(policy.window);
  out.write<std::int64_t>(policy.lease.count());
  out.write(policy.backoff.kind);
  out.write(policy.backoff.jitter);
  out.write<std::int64_t>(policy.backoff.base.count());
  out.write<std::int64_t>(policy.backoff.cap.count());
  out.write(std::bit_cast<std::uint64_t>(policy.backoff.factor));
  put(out, policy.failures);
  put(out, policy.brake);
  out.write(policy.on_expiry);
  out.write(policy.max_held);
}
GroupPolicy get_policy(ByteReader& in) {
  GroupPolicy policy;
  policy.ordering = get_enum(in, Ordering::kUnset, Ordering::kPartition);
  policy.on_dead_letter = get_enum(in, OnDeadLetter::kSkip, OnDeadLetter::kHold);
  policy.attempts = get_enum(in, Attempts::kExact, Attempts::kRelaxed);
  policy.max_failures = in.read<std::uint32_t>();
  policy.window = in.read<std::uint32_t>();
  policy.lease = get_milliseconds(in);
  policy.backoff.kind = get_enum(in, BackoffKind::kFixed, BackoffKind::kExponential);
  policy.backoff.jitter = get_enum(in, Jitter::kNone, Jitter::kEqual);
  policy.backoff.base = get_milliseconds(in);
  policy.backoff.cap = get_milliseconds(in);
  policy.backoff.factor = std::bit_cast<double>(in.read<std::uint64_t>());
  policy.failures = get_failure_rules(in);
  policy.brake = get_brake_policy(in);
  policy.on_expiry = get_enum(in, OnExpiry::kDrop, OnExpiry::kDeadLetter);
  policy.max_held = in.read<std::uint32_t>();
  return policy;
}

void put(ByteWriter& out, const GroupInfo& group) {
  out.write(group.id.value);
  out.write(group.topic.value);
  out.write(group.version);
  out.write_text(group.name);
  put(out, group.policy);
  out.write(group.start.kind);
  out.write(group.start.offset.value);
  put(out, group.start.time);
  out.write(static_cast<std::uint8_t>(group.paused));
  out.write(group.brake.state);
  out.write(group.brake.mode);
  put(out, group.brake.since);
  out.write_text(group.brake.cause);
  out.write(group.epoch);
  out.write(static_cast<std::uint8_t>(group.archived));
}
GroupInfo get_group(ByteReader& in) {
  GroupInfo group;
  group.id.value = in.read<std::uint64_t>();
  group.topic.value = in.read<std::uint64_t>();
  group.version = in.read<std::uint64_t>();
  group.name = in.read_text(kMaxText);
  group.policy = get_policy(in);
  group.start.kind = get_enum(in, StartKind::kUnset, StartKind::kTime);
  group.start.offset.value = in.read<std::int64_t>();
  group.start.time = get_time(in);
  group.paused = get_bool(in);
  group.brake.state = get_enum(in, BrakeState::kClosed, BrakeState::kProbing);
  group.brake.mode = get_enum(in, BrakeMode::kAutomatic, BrakeMode::kForcedClosed);
  group.brake.since = get_time(in);
  group.brake.cause = in.read_text(kMaxText);
  group.epoch = in.read<std::uint32_t>();
  group.archived = get_bool(in);
  return group;
}

// --- variants: the alternative's index + 1 is its number on disk ---

struct PutOp {
  ByteWriter& out;

  void operator()(const LeaseOp& op) const {
    put(out, op.token);
    out.write_varint(op.ranges.size());
    for (OffsetRange range : op.ranges) put(out, range);
    put(out, op.at);
    put(out, op.instance.uuid);
  }
  void operator()(const AckOp& op) const {
    put(out, op.token);
    put(out, op.range);
  }
  void operator()(const WaitOp& op) const {
    put(out, op.token);
    out.write(op.offset.value);
    out.write(static_cast<std::uint8_t>(op.charged));
    put(out, op.ready_at);
    put(out, op.attempt);
  }
  void operator()(const ReleaseOp& op) const {
    put(out, op.token);
    put(out, op.range);
    out.write(op.kind);
  }
  void operator()(const ExpiredOp& op) const { put(out, op.range); }
  void operator()(const ResetOp& op) const {
    out.write(op.epoch);
    out.write(op.to.value);
    out.write(static_cast<std::uint8_t>(op.include_dead));
    put(out, op.at);
  }
  void operator()(const RemovedOp& op) const { out.write(op.to.value); }
  void operator()(const CompactedOp& op) const { put(out, op.range); }
  void operator()(const DiedOp& op) const {
    put(out, op.token);
    out.write(op.offset.value);
    out.write(op.record.value);
    out.write(op.reason);
    out.write(op.key);
    out.write(op.fingerprint);
    out.write(op.failures);
    out.write(op.deliveries);
    put(out, op.at);
    put(out, op.failure);
  }
  void operator()(const FixedOp& op) const { out.write(op.record.value); }
  void operator()(const RedrivenOp& op) const {
    put(out, op.at);
    out.write_text(op.by);
  }
  void operator()(const DiscardedOp& op) const {
    put(out, op.at);
    out.write_text(op.by);
    out.write_text(op.reason);
  }
  void operator()(const ErasedOp& op) const {
    put(out, op.at);
    out.write_text(op.by);
    out.write_text(op.reason);
  }
  void operator()(const PutTopic& change) const { put(out, change.topic); }
  void operator()(const DropTopic& change) const {
    out.write(change.topic.value);
    out.write(change.version);
  }
  void operator()(const PutGroup& change) const {
    put(out, change.group);
    out.write(static_cast<std::uint8_t>(change.reset_dead));
  }
  void operator()(const DropGroup& change) const {
    out.write(change.group.value);
    out.write(change.version);
  }
  void operator()(const OpenedProducer& producer) const {
    put(out, producer.id.uuid);
    out.write(producer.epoch);
    out.write_text(producer.name);
  }
  void operator()(const RemovedProducer& producer) const { put(out, producer.id.uuid); }
};

template <class Variant>
void put_variant(ByteWriter& out, const Variant& variant) {
  out.write(static_cast<std::uint8_t>(variant.index() + 1));
  std::visit(PutOp{out}, variant);
}

DeliveryOp get_delivery_op(ByteReader& in, bool& known) {
  switch (in.read<std::uint8_t>()) {
    case 1: {
      LeaseOp op;
      op.token = get_token(in);
      std::size_t count = get_count(in);
      for (std::size_t i = 0; in.ok() && i < count; ++i) op.ranges.push_back(get_range(in));
      op.at = get_time(in);
      op.instance.uuid = get_uuid(in);
      return op;
    }
    case 2: {
      AckOp op;
      op.token = get_token(in);
      op.range = get_range(in);
      return op;
    }
    case 3: {
      WaitOp op;
      op.token = get_token(in);
      op.offset.value = in.read<std::int64_t>();
      op.charged = get_bool(in);
      op.ready_at = get_time(in);
      op.attempt = get_attempt(in);
      return op;
    }
    case 4: {
      ReleaseOp op;
      op.token = get_token(in);
      op.range = get_range(in);
      op.kind = get_enum(in, ReleaseKind::kGivenBack, ReleaseKind::kCrashed);
      return op;
    }
    case 5:
      return ExpiredOp{get_range(in)};
    case 6: {
      ResetOp op;
      op.epoch = in.read<std::uint32_t>();
      op.to.value = in.read<std::int64_t>();
      op.include_dead = get_bool(in);
      op.at = get_time(in);
      return op;
    }
    case 7:
      return RemovedOp{{in.read<std::int64_t>()}};
    case 8:
      return CompactedOp{get_range(in)};
    default:
      known = false;
      return AckOp{};
  }
}

DiedOp get_died(ByteReader& in) {
  DiedOp op;
  op.token = get_token(in);
  op.offset.value = in.read<std::int64_t>();
  op.record.value = in.read<std::int64_t>();
  op.reason = get_enum(in, DeadLetterReason::kMaxFailures, DeadLetterReason::kExpired);
  op.key = in.read<std::uint64_t>();
  op.fingerprint = in.read<std::uint64_t>();
  op.failures = in.read<std::uint32_t>();
  op.deliveries = in.read<std::uint32_t>();
  op.at = get_time(in);
  op.failure = get_failure(in);
  return op;
}

/// DiscardedOp or ErasedOp.
template <class Op>
Op get_end(ByteReader& in) {
  Op op;
  op.at = get_time(in);
  op.by = in.read_text(kMaxText);
  op.reason = in.read_text(kMaxText);
  return op;
}

DeadLetterOp get_dead_letter_op(ByteReader& in, bool& known) {
  switch (in.read<std::uint8_t>()) {
    case 1:
      return get_died(in);
    case 2:
      return FixedOp{{in.read<std::int64_t>()}};
    case 3: {
      RedrivenOp op;
      op.at = get_time(in);
      op.by = in.read_text(kMaxText);
      return op;
    }
    case 4:
      return get_end<DiscardedOp>(in);
    case 5:
      return get_end<ErasedOp>(in);
    default:
      known = false;
      return FixedOp{};
  }
}

CatalogChange get_catalog_change(ByteReader& in, bool& known) {
  switch (in.read<std::uint8_t>()) {
    case 1:
      return PutTopic{get_topic(in)};
    case 2: {
      DropTopic change;
      change.topic.value = in.read<std::uint64_t>();
      change.version = in.read<std::uint64_t>();
      return change;
    }
    case 3: {
      PutGroup change;
      change.group = get_group(in);
      change.reset_dead = get_bool(in);
      return change;
    }
    case 4: {
      DropGroup change;
      change.group.value = in.read<std::uint64_t>();
      change.version = in.read<std::uint64_t>();
      return change;
    }
    default:
      known = false;
      return DropTopic{};
  }
}

constexpr std::uint8_t kHasProducer = 1;
constexpr std::uint8_t kTimed = 2;

}  // namespace

ByteVector encode(const AppendHead& head) {
  ByteVector bytes;
  ByteWriter out(bytes);
  out.write(head.stream.value);
  out.write(head.base.value);
  out.write(head.count);
  put(out, head.max_timestamp);
  out.write(
      static_cast<std::uint8_t>((head.producer ? kHasProducer : 0) | (head.timed ? kTimed : 0)));
  if (head.producer) {
    put(out, head.producer->id.uuid);
    out.write(head.producer->kind);
    out.write(head.producer->epoch);
    out.write(head.producer->previous);
    out.write(head.producer->base_sequence);
  }
  return bytes;
}

Result<AppendHead> decode_append(Bytes body, std::size_t* batch_offset) {
  ByteReader in(body);
  AppendHead head;
  head.stream.value = in.read<std::uint64_t>();
  head.base.value = in.read<std::int64_t>();
  head.count = in.read<std::uint32_t>();
  head.max_timestamp = get_time(in);
  auto flags = in.read<std::uint8_t>();
  if ((flags & ~(kHasProducer | kTimed)) != 0) return bad("append entry: flags");
  head.timed = (flags & kTimed) != 0;
  if ((flags & kHasProducer) != 0) {
    ProducerStamp stamp;
    stamp.id.uuid = get_uuid(in);
    stamp.kind = get_enum(in, ProducerKind::kSession, ProducerKind::kDurable);
    stamp.epoch = in.read<std::uint32_t>();
    stamp.previous = in.read<std::uint64_t>();
    stamp.base_sequence = in.read<std::uint64_t>();
    head.producer = stamp;
  }
  if (!in.ok() || head.count == 0) return bad("append entry");
  *batch_offset = body.size() - in.remaining();
  return head;
}

ByteVector encode(const DeliveryEntry& entry) {
  ByteVector bytes;
  ByteWriter out(bytes);
  out.write(entry.group.value);
  out.write(entry.stream.value);
  out.write_varint(entry.ops.size());
  for (const DeliveryOp& op : entry.ops) put_variant(out, op);
  return bytes;
}

Result<DeliveryEntry> decode_delivery(Bytes body) {
  ByteReader in(body);
  DeliveryEntry entry;
  entry.group.value = in.read<std::uint64_t>();
  entry.stream.value = in.read<std::uint64_t>();
  bool known = true;
  std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    entry.ops.push_back(get_delivery_op(in, known));
    if (!known) return bad("delivery entry: operation");
  }
  if (!in.finished()) return bad("delivery entry");
  return entry;
}

ByteVector encode(const DeadLetterEntry& entry) {
  ByteVector bytes;
  ByteWriter out(bytes);
  out.write(entry.group.value);
  out.write(entry.stream.value);
  out.write(entry.number);
  put_variant(out, entry.op);
  return bytes;
}

Result<DeadLetterEntry> decode_dead_letter(Bytes body) {
  ByteReader in(body);
  DeadLetterEntry entry;
  entry.group.value = in.read<std::uint64_t>();
  entry.stream.value = in.read<std::uint64_t>();
  entry.number = in.read<std::uint64_t>();
  bool known = true;
  entry.op = get_dead_letter_op(in, known);
  if (!known || !in.finished()) return bad("dead-letter entry");
  return entry;
}

ByteVector encode(const CatalogChange& change) {
  ByteVector bytes;
  ByteWriter out(bytes);
  put_variant(out, change);
  return bytes;
}

Result<CatalogChange> decode_catalog(Bytes body) {
  ByteReader in(body);
  bool known = true;
  CatalogChange change = get_catalog_change(in, known);
  if (!known || !in.finished()) return bad("catalog entry");
  return change;
}

ByteVector encode(const AdoptEntry& entry) {
  ByteVector bytes;
  ByteWriter out(bytes);
  put_variant(out, entry.change);
  out.write_varint(entry.places.size());
  for (const GroupPlace& place : entry.places) {
    out.write(place.stream.value);
    out.write(place.dead_stream.value);
    out.write(place.start.value);
  }
  return bytes;
}

Result<AdoptEntry> decode_adopt(Bytes body) {
  ByteReader in(body);
  AdoptEntry entry;
  bool known = true;
  entry.change = get_catalog_change(in, known);
  std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    GroupPlace place;
    place.stream.value = in.read<std::uint64_t>();
    place.dead_stream.value = in.read<std::uint64_t>();
    place.start.value = in.read<std::int64_t>();
    entry.places.push_back(place);
  }
  if (!known || !in.finished()) return bad("adopt entry");
  return entry;
}

ByteVector encode(const ProducerEntry& entry) {
  ByteVector bytes;
  ByteWriter out(bytes);
  put_variant(out, entry);
  return bytes;
}

Result<ProducerEntry> decode_producer(Bytes body) {
  ByteReader in(body);
  ProducerEntry entry;
  switch (in.read<std::uint8_t>()) {
    case 1: {
      OpenedProducer opened;
      opened.id.uuid = get_uuid(in);
      opened.epoch = in.read<std::uint32_t>();
      opened.name = in.read_text(kMaxText);
      entry = std::move(opened);
      break;
    }
    case 2:
      entry = RemovedProducer{{get_uuid(in)}};
      break;
    default:
      return bad("producer entry");
  }
  if (!in.finished()) return bad("producer entry");
  return entry;
}

ByteVector encode(const TrimEntry& entry) {
  ByteVector bytes;
  ByteWriter out(bytes);
  out.write(entry.stream.value);
  out.write(entry.start.value);
  return bytes;
}

Result<TrimEntry> decode_trim(Bytes body) {
  ByteReader in(body);
  TrimEntry entry;
  entry.stream.value = in.read<std::uint64_t>();
  entry.start.value = in.read<std::int64_t>();
  if (!in.finished()) return bad("trim entry");
  return entry;
}

ByteVector encode(const DeathFacts& facts) {
  ByteVector bytes;
  ByteWriter out(bytes);
  put(out, facts.at);
  out.write(facts.reason);
  out.write_varint(facts.attempts.size());
  for (const Attempt& attempt : facts.attempts) put(out, attempt);
  return bytes;
}

Result<DeathFacts> decode_death(Bytes bytes) {
  ByteReader in(bytes);
  DeathFacts facts;
  facts.at = get_time(in);
  facts.reason = get_enum(in, DeadLetterReason::kMaxFailures, DeadLetterReason::kExpired);
  std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) facts.attempts.push_back(get_attempt(in));
  if (!in.finished()) return bad("death facts");
  return facts;
}

ByteVector encode(const FixFacts& facts) {
  ByteVector bytes;
  ByteWriter out(bytes);
  put(out, facts.at);
  out.write_text(facts.by);
  out.write_text(facts.note);
  return bytes;
}

Result<FixFacts> decode_fix(Bytes bytes) {
  ByteReader in(bytes);
  FixFacts facts;
  facts.at = get_time(in);
  facts.by = in.read_text(kMaxText);
  facts.note = in.read_text(kMaxText);
  if (!in.finished()) return bad("fix facts");
  return facts;
}

}  // namespace waybill

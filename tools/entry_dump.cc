#include "tools/entry_dump.h"

#include "tools/dead_letter_name.h"

namespace waybill::cli {
namespace {

// --- delivery ---

std::string_view release_name(ReleaseKind kind) {
  switch (kind) {
    case ReleaseKind::kGivenBack:
      return "given_back";
    case ReleaseKind::kUnexplained:
      return "unexplained";
    case ReleaseKind::kRevoked:
      return "revoked";
    case ReleaseKind::kCrashed:
      return "crashed";
  }
  return "unknown";
}

DumpFields op_fields(const LeaseOp& op) {
  return DumpFields()
      .add("op", "lease")
      .add("token", op.token)
      .add("ranges", op.ranges)
      .add("at", op.at)
      .add("instance", op.instance.uuid);
}
DumpFields op_fields(const AckOp& op) {
  return DumpFields().add("op", "ack").add("token", op.token).add("range", op.range);
}
DumpFields op_fields(const WaitOp& op) {
  return DumpFields()
      .add("op", "wait")
      .add("token", op.token)
      .add("offset", op.offset)
      .add("charged", op.charged)
      .add("ready_at", op.ready_at)
      .add("attempt", fields_of(op.attempt));
}
DumpFields op_fields(const ReleaseOp& op) {
  return DumpFields()
      .add("op", "release")
      .add("token", op.token)
      .add("range", op.range)
      .add("kind", release_name(op.kind));
}
DumpFields op_fields(const ExpiredOp& op) {
  return DumpFields().add("op", "expired").add("range", op.range);
}
DumpFields op_fields(const ResetOp& op) {
  return DumpFields()
      .add("op", "reset")
      .add("epoch", op.epoch)
      .add("to", op.to)
      .add("include_dead", op.include_dead)
      .add("at", op.at);
}
DumpFields op_fields(const RemovedOp& op) {
  return DumpFields().add("op", "removed").add("to", op.to);
}
DumpFields op_fields(const CompactedOp& op) {
  return DumpFields().add("op", "compacted").add("range", op.range);
}

DumpFields body_fields(const DeliveryEntry& entry) {
  std::vector<DumpFields> ops;
  for (const DeliveryOp& op : entry.ops)
    ops.push_back(std::visit([](const auto& one) { return op_fields(one); }, op));
  return DumpFields()
      .add("group", entry.group.value)
      .add("stream", entry.stream)
      .add("ops", std::move(ops));
}

// --- dead letters ---

DumpFields step_fields(const DiedOp& op) {
  return DumpFields()
      .add("step", "died")
      .add("token", op.token)
      .add("offset", op.offset)
      .add("record", op.record)
      .add("reason", name(op.reason))
      .add("key_hash", op.key)
      .add("fingerprint", fingerprint_text(op.fingerprint))
      .add("failures", op.failures)
      .add("deliveries", op.deliveries)
      .add("at", op.at)
      .add("failure", fields_of(op.failure));
}
DumpFields step_fields(const FixedOp& op) {
  return DumpFields().add("step", "fixed").add("record", op.record);
}
DumpFields step_fields(const RedrivenOp& op) {
  return DumpFields().add("step", "redriven").add("at", op.at).add_text("by", op.by);
}
DumpFields step_fields(const DiscardedOp& op) {
  return DumpFields()
      .add("step", "discarded")
      .add("at", op.at)
      .add_text("by", op.by)
      .add_text("reason", op.reason);
}
DumpFields step_fields(const ErasedOp& op) {
  return DumpFields()
      .add("step", "erased")
      .add("at", op.at)
      .add_text("by", op.by)
      .add_text("reason", op.reason);
}

DumpFields body_fields(const DeadLetterEntry& entry) {
  return DumpFields()
      .add("group", entry.group.value)
      .add("stream", entry.stream)
      .add("number", entry.number)
      .append(std::visit([](const auto& op) { return step_fields(op); }, entry.op));
}

// --- the catalog ---

DumpFields policy_fields(const TopicPolicy& policy) {
  return DumpFields()
      .add("retention_ms", policy.retention)
      .add("drop_after_ms", policy.drop_after)
      .add("drop_above", policy.drop_above)
      .add("cleanup", name(policy.cleanup))
      .add("tombstone_delay_ms", policy.tombstone_delay);
}

DumpFields rules_fields(const FailureRules& rules) {
  return DumpFields()
      .add("transient", name(rules.transient))
      .add("failed", name(rules.failed))
      .add("invalid", name(rules.invalid))
      .add("timeout", name(rules.timeout))
      .add("free_for_ms", rules.free_for);
}

DumpFields rules_fields(const BrakePolicy& brake) {
  return DumpFields()
      .add("enabled", brake.enabled)
      .add("outcomes", brake.outcomes)
      .add("percent", brake.percent)
      .add("in_a_row", brake.in_a_row)
      .add("period_ms", brake.period)
      .add("probe_after_ms", brake.probe_after)
      .add("probes", brake.probes);
}

DumpFields policy_fields(const GroupPolicy& policy) {
  return DumpFields()
      .add("ordering", name(policy.ordering))
      .add("max_failures", policy.max_failures)
      .add("lease_ms", policy.lease)
      .add("backoff", name(policy.backoff.kind))
      .add("backoff_base_ms", policy.backoff.base)
      .add("backoff_factor", policy.backoff.factor)
      .add("backoff_cap_ms", policy.backoff.cap)
      .add("jitter", name(policy.backoff.jitter))
      .add("on_dead_letter", name(policy.on_dead_letter))
      .add("window", policy.window)
      .add("attempts", name(policy.attempts))
      .add("on_expiry", name(policy.on_expiry))
      .add("max_held", policy.max_held)
      .add("failures", rules_fields(policy.failures))
      .add("brake", rules_fields(policy.brake));
}

DumpFields start_fields(const GroupStart& start) {
  return DumpFields()
      .add("kind", name(start.kind))
      .add("offset", start.offset)
      .add("time", start.time);
}

DumpFields brake_fields(const Brake& brake) {
  return DumpFields()
      .add("state", name(brake.state))
      .add("mode", name(brake.mode))
      .add("since", brake.since)
      .add_text("cause", brake.cause);
}

DumpFields change_fields(const PutTopic& put) {
  const TopicInfo& topic = put.topic;
  std::vector<DumpFields> partitions;
  for (const PartitionPlace& place : topic.partitions) {
    partitions.push_back(
        DumpFields().add("shard", std::uint32_t{place.shard.value}).add("stream", place.stream));
  }
  return DumpFields()
      .add("change", "put_topic")
      .add("id", topic.id.value)
      .add_text("name", topic.name)
      .add("version", topic.version)
      .add("archived", topic.archived)
      .add("policy", policy_fields(topic.policy))
      .add("partitions", std::move(partitions));
}
DumpFields change_fields(const DropTopic& drop) {
  return DumpFields()
      .add("change", "drop_topic")
      .add("id", drop.topic.value)
      .add("version", drop.version);
}
DumpFields change_fields(const PutGroup& put) {
  const GroupInfo& group = put.group;
  return DumpFields()
      .add("change", "put_group")
      .add("id", group.id.value)
      .add_text("name", group.name)
      .add("topic", group.topic.value)
      .add("version", group.version)
      .add("paused", group.paused)
      .add("epoch", group.epoch)
      .add("archived", group.archived)
      .add("reset_dead", put.reset_dead)
      .add("start", start_fields(group.start))
      .add("policy", policy_fields(group.policy))
      .add("brake", brake_fields(group.brake));
}
DumpFields change_fields(const DropGroup& drop) {
  return DumpFields()
      .add("change", "drop_group")
      .add("id", drop.group.value)
      .add("version", drop.version);
}

DumpFields body_fields(const CatalogChange& change) {
  return fields_of(change);
}

DumpFields body_fields(const AdoptEntry& entry) {
  std::vector<DumpFields> places;
  for (const GroupPlace& place : entry.places) {
    places.push_back(DumpFields()
                         .add("stream", place.stream)
                         .add("dead_stream", place.dead_stream)
                         .add("start", place.start));
  }
  return fields_of(entry.change).add("places", std::move(places));
}

// --- the rest ---

DumpFields producer_fields(const OpenedProducer& opened) {
  return DumpFields()
      .add("change", "opened")
      .add("id", opened.id.uuid)
      .add("epoch", opened.epoch)
      .add_text("name", opened.name);
}
DumpFields producer_fields(const RemovedProducer& removed) {
  return DumpFields().add("change", "removed").add("id", removed.id.uuid);
}

DumpFields body_fields(const ProducerEntry& entry) {
  return fields_of(entry);
}

DumpFields body_fields(const TrimEntry& entry) {
  return DumpFields().add("stream", entry.stream).add("start", entry.start);
}

DumpFields body_fields(const AppendHead& head) {
  DumpFields fields;
  fields.add("stream", head.stream)
      .add("base", head.base)
      .add("count", head.count)
      .add("max_timestamp", head.max_timestamp)
      .add("timed", head.timed);
  if (!head.producer) return fields;
  const ProducerStamp& stamp = *head.producer;
  return fields.add("producer",
                    DumpFields()
                        .add("id", stamp.id.uuid)
                        .add("kind", stamp.kind == ProducerKind::kDurable ? "durable" : "session")
                        .add("epoch", stamp.epoch)
                        .add("previous", stamp.previous)
                        .add("base_sequence", stamp.base_sequence));
}

template <class Body>
Result<DumpFields> shown_body(const Result<Body>& body) {
  return body ? Result<DumpFields>(body_fields(*body)) : Result<DumpFields>(body.error());
}

}  // namespace

DumpFields fields_of(const Failure& failure) {
  return DumpFields()
      .add("class", name(failure.failure_class))
      .add_text("code", failure.code)
      .add_text("detail", failure.detail);
}

DumpFields fields_of(const Attempt& attempt) {
  return DumpFields()
      .add("at", attempt.at)
      .add("delivery", attempt.delivery)
      .add("duration_ms", attempt.duration_ms)
      .add("consumer", attempt.consumer.uuid)
      .append(fields_of(attempt.failure));
}

DumpFields fields_of(const CatalogChange& change) {
  return std::visit([](const auto& one) { return change_fields(one); }, change);
}

DumpFields fields_of(const ProducerEntry& entry) {
  return std::visit([](const auto& one) { return producer_fields(one); }, entry);
}

Result<DumpFields> entry_fields(const EntryView& entry) {
  if (entry.version != kEntryVersion) return {Errc::kUnsupportedFormat, "entry: version"};
  std::size_t batch_offset = 0;
  switch (entry.type) {
    case EntryType::kAppend:
    case EntryType::kCarry:
      return shown_body(decode_append(entry.body, &batch_offset));
    case EntryType::kDelivery:
      return shown_body(decode_delivery(entry.body));
    case EntryType::kDeadLetter:
      return shown_body(decode_dead_letter(entry.body));
    case EntryType::kCatalog:
      return shown_body(decode_catalog(entry.body));
    case EntryType::kAdopt:
      return shown_body(decode_adopt(entry.body));
    case EntryType::kProducer:
      return shown_body(decode_producer(entry.body));
    case EntryType::kTrim:
      return shown_body(decode_trim(entry.body));
    case EntryType::kStart:
      break;  // storage's own
  }
  return {Errc::kUnsupportedFormat, "entry: type"};
}

}  // namespace waybill::cli

#include "protocol/wire/parts.h"

#include <cmath>
#include <utility>

#include "waybill.pb.h"

namespace waybill {
namespace {

/// Codes from here on never leave a process (protocol/base/error.h).
constexpr unsigned kFirstLocalCode = 200;

Errc code_that_travels(std::uint64_t code) {
  return code < kFirstLocalCode ? static_cast<Errc>(code) : Errc::kOutcomeUnknown;
}

void to_wire(const FailureRules& rules, wire::FailureRules& message) {
  message.set_transient(static_cast<std::uint32_t>(rules.transient));
  message.set_failed(static_cast<std::uint32_t>(rules.failed));
  message.set_invalid(static_cast<std::uint32_t>(rules.invalid));
  message.set_timeout(static_cast<std::uint32_t>(rules.timeout));
  message.set_free_for_ms(static_cast<std::uint64_t>(rules.free_for.count()));
}

FailureRules from_wire(MetaDecoder& in, const wire::FailureRules& message) {
  constexpr FailureAction kLast = FailureAction::kDeadLetter;
  FailureRules rules;
  rules.transient = in.enumerator("policy.failures.transient", message.transient(), kLast);
  rules.failed = in.enumerator("policy.failures.failed", message.failed(), kLast);
  rules.invalid = in.enumerator("policy.failures.invalid", message.invalid(), kLast);
  rules.timeout = in.enumerator("policy.failures.timeout", message.timeout(), kLast);
  rules.free_for = in.duration("policy.failures.free_for_ms", message.free_for_ms(), kMaxDuration);
  return rules;
}

void to_wire(const BrakePolicy& brake, wire::BrakePolicy& message) {
  message.set_enabled(brake.enabled);
  message.set_outcomes(brake.outcomes);
  message.set_percent(brake.percent);
  message.set_in_a_row(brake.in_a_row);
  message.set_period_ms(static_cast<std::uint64_t>(brake.period.count()));
  message.set_probe_after_ms(static_cast<std::uint64_t>(brake.probe_after.count()));
  message.set_probes(brake.probes);
}

BrakePolicy from_wire(MetaDecoder& in, const wire::BrakePolicy& message) {
  BrakePolicy brake;
  brake.enabled = message.enabled();
  brake.outcomes = message.outcomes();
  brake.percent = message.percent();
  brake.in_a_row = message.in_a_row();
  brake.period = in.duration("policy.brake.period_ms", message.period_ms(), kMaxDuration);
  brake.probe_after =
      in.duration("policy.brake.probe_after_ms", message.probe_after_ms(), kMaxDuration);
  brake.probes = message.probes();
  return brake;
}

void to_wire(const Brake& brake, wire::Brake& message) {
  message.set_state(static_cast<std::uint32_t>(brake.state));
  message.set_mode(static_cast<std::uint32_t>(brake.mode));
  message.set_since(brake.since.milliseconds);
  message.set_cause(cut_text(brake.cause, limits::kMaxText));
}

Brake from_wire(MetaDecoder& in, const wire::Brake& message) {
  Brake brake;
  brake.state = in.enumerator("brake.state", message.state(), BrakeState::kProbing);
  brake.mode = in.enumerator("brake.mode", message.mode(), BrakeMode::kForcedClosed);
  brake.since = {message.since()};
  brake.cause = in.text("brake.cause", message.cause());
  return brake;
}

}  // namespace

void to_wire(const RequestError& error, wire::ErrorReply& message) {
  message.set_code(
      static_cast<std::uint32_t>(code_that_travels(static_cast<std::uint64_t>(error.code))));
  message.set_explanation(cut_text(error.explanation, limits::kMaxText));
}

RequestError from_wire(MetaDecoder& in, const wire::ErrorReply& message) {
  auto code = in.number("error.code", message.code(), 1, UINT16_MAX);
  return {code_that_travels(code), cut_text(message.explanation(), limits::kMaxText)};
}

void to_wire(const TopicPolicy& policy, wire::TopicPolicy& message) {
  message.set_retention_ms(static_cast<std::uint64_t>(policy.retention.count()));
  message.set_drop_after_ms(static_cast<std::uint64_t>(policy.drop_after.count()));
  message.set_drop_above(policy.drop_above);
  message.set_cleanup(std::to_underlying(policy.cleanup));
  message.set_tombstone_delay_ms(static_cast<std::uint64_t>(policy.tombstone_delay.count()));
}

TopicPolicy from_wire(MetaDecoder& in, const wire::TopicPolicy& message) {
  TopicPolicy policy;
  policy.retention = in.duration("retention_ms", message.retention_ms(), kMaxDuration);
  policy.drop_after = in.duration("drop_after_ms", message.drop_after_ms(), kMaxDuration);
  policy.drop_above = message.drop_above();
  if (message.cleanup() == 0) return policy;  // of a client that knows of none
  policy.cleanup = in.enumerator("cleanup", message.cleanup(), Cleanup::kCompactAndDelete);
  policy.tombstone_delay =
      in.duration("tombstone_delay_ms", message.tombstone_delay_ms(), kMaxDuration);
  return policy;
}

void to_wire(const TopicInfo& topic, wire::Topic& message) {
  message.set_id(topic.id.value);
  message.set_name(topic.name);
  message.set_version(topic.version);
  for (const PartitionPlace& place : topic.partitions) {
    message.add_shards(place.shard.value);
    message.add_streams(place.stream.value);
  }
  to_wire(topic.policy, *message.mutable_policy());
  message.set_archived(topic.archived);
}

TopicInfo from_wire(MetaDecoder& in, const wire::Topic& message) {
  TopicInfo topic;
  topic.id = {message.id()};
  topic.name = in.text("topic.name", message.name(), limits::kMaxNameLength);
  topic.version = message.version();
  if (message.has_policy()) topic.policy = from_wire(in, message.policy());
  topic.archived = message.archived();
  if (message.shards_size() != message.streams_size()) {
    in.fail("topic.streams", "are not as many as topic.shards");
  }
  if (!in.count("topic.shards", static_cast<std::size_t>(message.shards_size()), 0,
                limits::kMaxPartitions)) {
    return topic;
  }
  topic.partitions.reserve(static_cast<std::size_t>(message.shards_size()));
  for (int i = 0; i < message.shards_size(); ++i) {
    auto shard = in.number<std::uint16_t>("topic.shards", message.shards(i), 0, UINT16_MAX);
    topic.partitions.push_back({{shard}, {message.streams(i)}});
  }
  return topic;
}

void to_wire(const GroupPolicy& policy, wire::GroupPolicy& message) {
  message.set_ordering(static_cast<std::uint32_t>(policy.ordering));
  message.set_max_failures(policy.max_failures);
  message.set_lease_ms(static_cast<std::uint64_t>(policy.lease.count()));
  message.set_backoff_kind(static_cast<std::uint32_t>(policy.backoff.kind));
  message.set_backoff_base_ms(static_cast<std::uint64_t>(policy.backoff.base.count()));
  message.set_backoff_factor(policy.backoff.factor);
  message.set_backoff_cap_ms(static_cast<std::uint64_t>(policy.backoff.cap.count()));
  message.set_jitter(static_cast<std::uint32_t>(policy.backoff.jitter));
  message.set_on_dead_letter(static_cast<std::uint32_t>(policy.on_dead_letter));
  message.set_window(policy.window);
  message.set_attempts(static_cast<std::uint32_t>(policy.attempts));
  to_wire(policy.failures, *message.mutable_failures());
  to_wire(policy.brake, *message.mutable_brake());
  message.set_on_expiry(static_cast<std::uint32_t>(policy.on_expiry));
  message.set_max_held(policy.max_held);
}

GroupPolicy from_wire(MetaDecoder& in, const wire::GroupPolicy& message) {
  GroupPolicy policy;
  policy.ordering = in.enumerator("policy.ordering", message.ordering(), Ordering::kPartition, 0);
  policy.max_failures = message.max_failures();
  policy.lease = in.duration("policy.lease_ms", message.lease_ms(), kMaxDuration);
  policy.backoff.kind =
      in.enumerator("policy.backoff_kind", message.backoff_kind(), BackoffKind::kExponential);
  policy.backoff.base =
      in.duration("policy.backoff_base_ms", message.backoff_base_ms(), kMaxDuration);
  policy.backoff.factor = message.backoff_factor();
  if (!std::isfinite(policy.backoff.factor)) in.fail("policy.backoff_factor", "is not finite");
  policy.backoff.cap = in.duration("policy.backoff_cap_ms", message.backoff_cap_ms(), kMaxDuration);
  policy.backoff.jitter = in.enumerator("policy.jitter", message.jitter(), Jitter::kEqual);
  policy.on_dead_letter =
      in.enumerator("policy.on_dead_letter", message.on_dead_letter(), OnDeadLetter::kHold);
  policy.window = message.window();
  policy.attempts = in.enumerator("policy.attempts", message.attempts(), Attempts::kRelaxed);
  policy.failures = from_wire(in, message.failures());
  policy.brake = from_wire(in, message.brake());
  policy.on_expiry = in.enumerator("policy.on_expiry", message.on_expiry(), OnExpiry::kDeadLetter);
  policy.max_held = message.max_held();
  return policy;
}

void to_wire(const GroupStart& start, wire::GroupStart& message) {
  message.set_kind(static_cast<std::uint32_t>(start.kind));
  message.set_offset(static_cast<std::uint64_t>(start.offset.value));
  message.set_time(start.time.milliseconds);
}

GroupStart from_wire(MetaDecoder& in, const wire::GroupStart& message) {
  GroupStart start;
  start.kind = in.enumerator("start.kind", message.kind(), StartKind::kTime, 0);
  start.offset = in.offset("start.offset", message.offset());
  start.time = {message.time()};
  return start;
}

void to_wire(const GroupInfo& group, wire::Group& message) {
  message.set_id(group.id.value);
  message.set_name(group.name);
  message.set_topic(group.topic.value);
  message.set_version(group.version);
  to_wire(group.policy, *message.mutable_policy());
  to_wire(group.start, *message.mutable_start());
  message.set_paused(group.paused);
  to_wire(group.brake, *message.mutable_brake());
  message.set_epoch(group.epoch);
  message.set_archived(group.archived);
}

GroupInfo from_wire(MetaDecoder& in, const wire::Group& message) {
  GroupInfo group;
  group.id = {message.id()};
  group.name = in.text("group.name", message.name(), limits::kMaxNameLength);
  group.topic = {message.topic()};
  group.version = message.version();
  group.policy = from_wire(in, message.policy());
  group.start = from_wire(in, message.start());
  group.paused = message.paused();
  group.brake = from_wire(in, message.brake());
  group.epoch = message.epoch();
  group.archived = message.archived();
  return group;
}

void to_wire(const Failure& failure, wire::Failure& message) {
  Failure cut = bounded(failure);
  message.set_failure_class(static_cast<std::uint32_t>(cut.failure_class));
  message.set_code(std::move(cut.code));
  message.set_detail(std::move(cut.detail));
}

Failure from_wire(MetaDecoder& in, const wire::Failure& message) {
  Failure failure;
  failure.failure_class =
      in.enumerator("failure.failure_class", message.failure_class(), FailureClass::kUnexplained);
  failure.code = message.code();
  failure.detail = message.detail();
  return bounded(std::move(failure));
}

}  // namespace waybill

#include "tools/json_output.h"

#include <boost/json.hpp>

#include "tools/accounting.h"
#include "tools/base64.h"
#include "tools/dead_letter_name.h"
#include "tools/escape.h"
#include "tools/message_line.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

namespace json = boost::json;

/// A string that is always valid JSON: bytes that are not UTF-8 are escaped as people see them.
json::value text_value(std::string_view text) {
  return is_utf8(text) ? json::value(text) : json::value(escaped_text(text));
}

json::object failure_object(const Failure& failure) {
  return {{"class", name(failure.failure_class)},
          {"code", text_value(failure.code)},
          {"detail", text_value(failure.detail)}};
}

json::object start_object(const GroupStart& start) {
  json::object object{{"kind", name(start.kind)}};
  if (start.kind == StartKind::kOffset) object["offset"] = start.offset.value;
  if (start.kind == StartKind::kTime) object["time"] = time_text(start.time);
  return object;
}

json::object failure_rules_object(const FailureRules& rules) {
  return {{"transient", name(rules.transient)},
          {"failed", name(rules.failed)},
          {"invalid", name(rules.invalid)},
          {"timeout", name(rules.timeout)},
          {"free_for_ms", rules.free_for.count()}};
}

json::object brake_policy_object(const BrakePolicy& brake) {
  return {{"enabled", brake.enabled},
          {"outcomes", brake.outcomes},
          {"percent", brake.percent},
          {"in_a_row", brake.in_a_row},
          {"period_ms", brake.period.count()},
          {"probe_after_ms", brake.probe_after.count()},
          {"probes", brake.probes}};
}

json::object policy_object(const GroupPolicy& policy) {
  return {{"ordering", name(policy.ordering)},
          {"max_failures", policy.max_failures},
          {"lease_ms", policy.lease.count()},
          {"backoff", name(policy.backoff.kind)},
          {"backoff_base_ms", policy.backoff.base.count()},
          {"backoff_factor", policy.backoff.factor},
          {"backoff_cap_ms", policy.backoff.cap.count()},
          {"jitter", name(policy.backoff.jitter)},
          {"on_dead_letter", name(policy.on_dead_letter)},
          {"window", policy.window},
          {"attempts", name(policy.attempts)},
          {"failures", failure_rules_object(policy.failures)},
          {"brake", brake_policy_object(policy.brake)},
          {"on_expiry", name(policy.on_expiry)},
          {"max_held", policy.max_held}};
}

json::object brake_object(const Brake& brake) {
  return {
      {"state", name(brake.state)},
      {"mode", name(brake.mode)},
      {"since", brake.since == WallTime{} ? json::value() : json::value(time_text(brake.since))},
      {"cause", text_value(brake.cause)}};
}

json::object group_object(const GroupInfo& group, std::string_view topic) {
  return {{"name", group.name},
          {"id", group.id.value},
          {"topic", topic},
          {"start", start_object(group.start)},
          {"policy", policy_object(group.policy)},
          {"paused", group.paused},
          {"archived", group.archived},
          {"brake", brake_object(group.brake)},
          {"epoch", group.epoch}};
}

json::object accounting_object(const Accounting& accounting) {
  json::object object{{"start", accounting.start.value}, {"end", accounting.end.value}};
  for (const AccountingState& state : kAccountingStates) {
    object[state.name] = accounting.*state.count;
  }
  object["sum"] = accounting.sum();
  return object;
}

json::object status_object(const GroupPartitionStatus& status) {
  json::object object{{"partition", status.partition.value}};
  json::object accounting = accounting_object(status.accounting);
  object.insert(accounting.begin(), accounting.end());
  object["failures"] = status.failures;
  object["redelivered"] = status.redelivered;
  object["waiting_for"] = status.waiting == Waiting::kNothing ? "" : name(status.waiting);
  return object;
}

void add_bytes(json::object& object, const std::string& field,
               const std::optional<ByteVector>& bytes) {
  if (!bytes) {
    object[field] = nullptr;
  } else if (is_utf8(as_text(*bytes))) {
    object[field] = as_text(*bytes);
  } else {
    object[field + "_base64"] = to_base64(*bytes);
  }
}

json::object summary_object(const DeadLetterSummary& dead_letter, std::string_view group) {
  json::object object{{"id", dead_letter_name(group, dead_letter.id)},
                      {"offset", dead_letter.offset.value},
                      {"state", name(dead_letter.state)},
                      {"reason", name(dead_letter.reason)},
                      {"fingerprint", fingerprint_text(dead_letter.fingerprint)},
                      {"failures", dead_letter.failures},
                      {"deliveries", dead_letter.deliveries},
                      {"redrives", dead_letter.redrives},
                      {"version_count", dead_letter.versions},
                      {"erased", dead_letter.erased},
                      {"died_at", time_text(dead_letter.died_at)},
                      {"last_failure", failure_object(dead_letter.last_failure)}};
  if (dead_letter.key) add_bytes(object, "key", dead_letter.key);
  return object;
}

json::object version_object(const DeadLetterVersion& version) {
  json::object object{{"version", version.version},
                      {"at", time_text(version.at)},
                      {"by", text_value(version.by)},
                      {"note", text_value(version.note)}};
  add_bytes(object, "key", version.message.key);
  add_bytes(object, "value", version.message.value);
  json::array headers;
  for (const Header& header : version.message.headers) {
    json::object entry{{"name", text_value(header.key)}};
    add_bytes(entry, "value", header.value);
    headers.push_back(std::move(entry));
  }
  object["headers"] = std::move(headers);
  return object;
}

json::object lane_object(const LaneStatus& lane) {
  return {{"lane", lane.lane},
          {"mode", name(lane.mode)},
          {"note", text_value(lane.note)},
          {"owner", text_value(lane.owner)},
          {"lease_left_ms", lane.lease_left.count()},
          {"epoch", lane.epoch},
          {"producer", to_string(lane.producer.uuid)},
          {"pending", lane.pending},
          {"in_flight", lane.in_flight},
          {"oldest_ms", lane.oldest.count()}};
}

json::object policy_object(const TopicPolicy& policy) {
  return {{"retention_ms", policy.retention.count()},
          {"drop_after_ms", policy.drop_after.count()},
          {"drop_above", policy.drop_above},
          {"cleanup", name(policy.cleanup)},
          {"tombstone_delay_ms", policy.tombstone_delay.count()}};
}

}  // namespace

std::string to_json(const TopicInfo& topic) {
  json::object object{{"name", topic.name},
                      {"id", topic.id.value},
                      {"partitions", topic.partitions.size()},
                      {"policy", policy_object(topic.policy)}};
  return json::serialize(object);
}

std::string to_json(const DescribeTopicReply& reply) {
  json::array partitions;
  for (const PartitionStatus& status : reply.partitions) {
    partitions.push_back(json::object{{"partition", status.partition.value},
                                      {"start", status.start.value},
                                      {"end", status.end.value},
                                      {"bytes", status.bytes}});
  }
  json::object object{{"name", reply.topic.name},
                      {"id", reply.topic.id.value},
                      {"policy", policy_object(reply.topic.policy)},
                      {"partitions", std::move(partitions)},
                      {"groups", json::array(reply.groups.begin(), reply.groups.end())}};
  return json::serialize(object);
}

std::string to_json(const GroupInfo& group, std::string_view topic) {
  return json::serialize(group_object(group, topic));
}

std::string to_json(const DescribeGroupReply& reply) {
  json::object object = group_object(reply.group, reply.topic);
  object["consumers"] = reply.consumers;
  json::array partitions;
  for (const GroupPartitionStatus& status : reply.partitions) {
    partitions.push_back(status_object(status));
  }
  object["partitions"] = std::move(partitions);
  return json::serialize(object);
}

std::string to_json(const CheckGroupReply& reply, std::string_view group, bool agrees) {
  json::array partitions;
  for (const PartitionCheck& check : reply.partitions) {
    partitions.push_back(json::object{{"partition", check.partition.value},
                                      {"kept", accounting_object(check.kept)},
                                      {"counted", accounting_object(check.counted)}});
  }
  return json::serialize(
      json::object{{"group", group}, {"agrees", agrees}, {"partitions", std::move(partitions)}});
}

std::string to_json(const ResetGroupReply& reply, bool done) {
  json::array partitions;
  for (const ResetPartition& one : reply.partitions) {
    partitions.push_back(json::object{{"partition", one.partition.value},
                                      {"from", one.from.value},
                                      {"to", one.to.value},
                                      {"redelivered", one.redelivered},
                                      {"skipped", one.skipped},
                                      {"leases_voided", one.leases_voided},
                                      {"dead_kept", one.dead_kept}});
  }
  return json::serialize(json::object{
      {"group", reply.group.name}, {"done", done}, {"partitions", std::move(partitions)}});
}

std::string to_json(const ProducerInfo& producer, const Catalog& catalog) {
  json::array positions;
  for (const ProducerPosition& position : producer.positions) {
    const TopicInfo* topic = catalog.topic(position.topic);
    positions.push_back(
        json::object{{"topic", topic != nullptr ? json::value(topic->name) : json::value()},
                     {"partition", position.partition.value},
                     {"last_sequence", position.last_sequence}});
  }
  return json::serialize(json::object{{"id", to_string(producer.id.uuid)},
                                      {"name", text_value(producer.name)},
                                      {"epoch", producer.epoch},
                                      {"positions", std::move(positions)}});
}

std::string to_json(const PublishReceipt& receipt, std::string_view topic) {
  json::object object{{"topic", topic},
                      {"partition", receipt.partition.value},
                      {"offset", receipt.offset.value},
                      {"duplicate", receipt.duplicate}};
  return json::serialize(object);
}

std::string to_json(const DeadLetterSummary& dead_letter, std::string_view group) {
  return json::serialize(summary_object(dead_letter, group));
}

std::string to_json(const ShowDeadLetterReply& reply, std::string_view group) {
  json::object object = summary_object(reply.summary, group);
  object["topic"] = reply.topic;
  json::array attempts;
  for (const Attempt& attempt : reply.attempts) {
    json::object entry = failure_object(attempt.failure);
    entry["at"] = time_text(attempt.at);
    entry["delivery"] = attempt.delivery;
    entry["duration_ms"] = attempt.duration_ms;
    entry["consumer"] = to_string(attempt.consumer.uuid);
    attempts.push_back(std::move(entry));
  }
  object["attempts"] = std::move(attempts);
  json::array versions;
  for (const DeadLetterVersion& version : reply.versions) {
    versions.push_back(version_object(version));
  }
  object["versions"] = std::move(versions);
  return json::serialize(object);
}

std::string dead_letters_json(const std::vector<FingerprintCount>& fingerprints,
                              const std::vector<DeadLetterSummary>& dead_letters, bool more,
                              std::string_view group) {
  json::array counts;
  for (const FingerprintCount& one : fingerprints) {
    counts.push_back(json::object{{"fingerprint", fingerprint_text(one.fingerprint)},
                                  {"count", one.count},
                                  {"example", failure_object(one.example)}});
  }
  json::array listed;
  for (const DeadLetterSummary& one : dead_letters) listed.push_back(summary_object(one, group));
  json::object object{
      {"fingerprints", std::move(counts)}, {"dead_letters", std::move(listed)}, {"more", more}};
  return json::serialize(object);
}

std::string to_json(const OutboxStatus& status) {
  json::array lanes;
  for (const LaneStatus& lane : status.lanes) lanes.push_back(lane_object(lane));
  json::array held;
  for (const HeldStatus& row : status.held) {
    json::object entry{{"row", row.row},
                       {"topic", text_value(row.topic)},
                       {"attempts", row.attempts},
                       {"code", text_value(row.code)},
                       {"explanation", text_value(row.explanation)}};
    add_bytes(entry, "key", row.key);
    held.push_back(std::move(entry));
  }
  json::object object{{"lanes", std::move(lanes)},
                      {"held_rows", status.held_rows},
                      {"held", std::move(held)},
                      {"dead_rows", status.dead_rows}};
  return json::serialize(object);
}

std::string to_json(const RelayStatus& status) {
  json::object object{{"state", name(status.state)},
                      {"reason", text_value(status.reason)},
                      {"epoch", status.epoch},
                      {"published", status.published},
                      {"duplicates", status.duplicates},
                      {"batches", status.batches},
                      {"held", status.held},
                      {"dead", status.dead}};
  return json::serialize(object);
}

std::string diff_json(std::string_view id, std::string_view diff) {
  return json::serialize(json::object{{"id", id}, {"diff", diff}});
}

std::string version_json(std::string_view id, std::uint32_t version) {
  return json::serialize(json::object{{"id", id}, {"version", version}});
}

std::string token_json(std::string_view user, std::string_view token, std::string_view line) {
  json::object object{{"user", user}};
  if (!token.empty()) object.emplace("token", token);
  object.emplace("line", line);
  return json::serialize(object);
}

std::string done_json(std::string_view verb, std::string_view name) {
  return json::serialize(json::object{{verb, name}});
}

std::string count_json(std::string_view verb, std::uint64_t count, std::uint64_t skipped) {
  return json::serialize(json::object{{verb, count}, {"skipped", skipped}});
}

std::string_view settle_name(const SettleOptions& settle) {
  switch (settle.verb) {
    case SettleVerb::kAck:
      return "ack";
    case SettleVerb::kRetry:
      return settle.failure.failure_class == FailureClass::kInvalid ? "invalid" : "retry";
    case SettleVerb::kDeadLetter:
      return "dead_letter";
    case SettleVerb::kRelease:
      return "release";
  }
  return "unknown";
}

std::string settled_json(const Delivery& delivery, const SettleOptions& settle) {
  MessagePlace place{delivery.topic(), delivery.partition(), delivery.offset(), 0, 0, 0};
  json::object object{
      {"id", message_id(place)}, {"delivery", delivery.number()}, {"result", settle_name(settle)}};
  bool failing = settle.verb == SettleVerb::kRetry || settle.verb == SettleVerb::kDeadLetter;
  if (failing) {
    for (auto& member : failure_object(settle.failure)) object[member.key()] = member.value();
  }
  return json::serialize(object);
}

}  // namespace waybill::cli

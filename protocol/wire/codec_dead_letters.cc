// Dead letters: list, show, edit, redrive, discard.
#include "protocol/wire/codec.h"
#include "protocol/wire/parts.h"
#include "waybill.pb.h"

namespace waybill {
namespace {

void to_wire(const DeadLetterId& id, wire::DeadLetterId& message) {
  message.set_group(id.group.value);
  message.set_partition(id.partition.value);
  message.set_number(id.number);
}

DeadLetterId from_wire(MetaDecoder& in, const wire::DeadLetterId& message) {
  return {{message.group()}, in.partition(message.partition()), message.number()};
}

void to_wire(const DeadLetterSelection& selection, wire::DeadLetterSelection& message) {
  message.set_group(selection.group);
  for (const DeadLetterId& id : selection.ids) to_wire(id, *message.add_ids());
  if (selection.fingerprint) message.set_fingerprint(*selection.fingerprint);
  if (selection.code) message.set_code(*selection.code);
  if (selection.state) message.set_state(static_cast<std::uint32_t>(*selection.state));
}

DeadLetterSelection from_wire(MetaDecoder& in, const wire::DeadLetterSelection& message) {
  DeadLetterSelection selection;
  selection.group = in.required_name("selection.group", message.group());
  in.each("selection.ids", message.ids(), 0, limits::kMaxSelectionIds,
          [&](const wire::DeadLetterId& id) { selection.ids.push_back(from_wire(in, id)); });
  if (message.has_fingerprint()) selection.fingerprint = message.fingerprint();
  if (message.has_code()) {
    selection.code = in.text("selection.code", message.code(), limits::kMaxFailureCode);
  }
  if (message.state() != 0) {
    selection.state =
        in.enumerator("selection.state", message.state(), DeadLetterState::kDiscarded);
  }
  return selection;
}

void to_wire(const DeadLetterSummary& summary, wire::DeadLetterSummary& message,
             std::vector<SharedBytes>& body) {
  to_wire(summary.id, *message.mutable_id());
  message.set_offset(static_cast<std::uint64_t>(summary.offset.value));
  message.set_state(static_cast<std::uint32_t>(summary.state));
  message.set_reason(static_cast<std::uint32_t>(summary.reason));
  message.set_fingerprint(summary.fingerprint);
  message.set_failures(summary.failures);
  message.set_deliveries(summary.deliveries);
  message.set_redrives(summary.redrives);
  message.set_versions(summary.versions);
  message.set_died_at(summary.died_at.milliseconds);
  to_wire(summary.last_failure, *message.mutable_last_failure());
  message.set_erased(summary.erased);
  if (summary.key) {
    message.set_key_size(static_cast<std::uint32_t>(summary.key->size()));
    append_piece(*summary.key, body);
  }
}

DeadLetterSummary from_wire(MetaDecoder& in, const wire::DeadLetterSummary& message) {
  DeadLetterSummary summary;
  summary.id = from_wire(in, message.id());
  summary.offset = in.offset("offset", message.offset());
  summary.state = in.enumerator("state", message.state(), DeadLetterState::kDiscarded);
  summary.reason = in.enumerator("reason", message.reason(), DeadLetterReason::kExpired);
  summary.fingerprint = message.fingerprint();
  summary.failures = message.failures();
  summary.deliveries = message.deliveries();
  summary.redrives = message.redrives();
  summary.versions = message.versions();
  summary.died_at = {message.died_at()};
  summary.last_failure = from_wire(in, message.last_failure());
  summary.erased = message.erased();
  if (message.has_key_size()) {
    summary.key = in.copied_piece("key_size", message.key_size(), limits::kMaxMessage);
  }
  return summary;
}

void to_wire(const Message& value, wire::Message& message, std::vector<SharedBytes>& body) {
  if (value.key) {
    message.set_key_size(static_cast<std::uint32_t>(value.key->size()));
    append_piece(*value.key, body);
  }
  if (value.value) {
    message.set_value_size(static_cast<std::uint32_t>(value.value->size()));
    append_piece(*value.value, body);
  }
  for (const Header& header : value.headers) {
    wire::Header& added = *message.add_headers();
    added.set_key(header.key);
    added.set_value(std::string(as_text(header.value)));
  }
  message.set_timestamp(value.timestamp.milliseconds);
}

Message from_wire(MetaDecoder& in, const wire::Message& message) {
  Message value;
  if (message.has_key_size()) {
    value.key = in.copied_piece("message.key_size", message.key_size(), limits::kMaxMessage);
  }
  if (message.has_value_size()) {
    value.value = in.copied_piece("message.value_size", message.value_size(), limits::kMaxMessage);
  }
  std::size_t header_bytes = 0;
  in.each("message.headers", message.headers(), 0, limits::kMaxHeaders,
          [&](const wire::Header& header) {
            header_bytes += header.key().size() + header.value().size();
            value.headers.push_back({header.key(), to_vector(as_bytes(header.value()))});
          });
  if (header_bytes > limits::kMaxHeaderBytes) {
    in.fail("message.headers",
            "have " + std::to_string(header_bytes) + " bytes, at most " +
                std::to_string(limits::kMaxHeaderBytes) + " fit",
            Errc::kMessageTooLarge);
  }
  value.timestamp = {message.timestamp()};
  return value;
}

void to_wire(const Attempt& attempt, wire::Attempt& message) {
  message.set_at(attempt.at.milliseconds);
  message.set_delivery(attempt.delivery);
  message.set_duration_ms(attempt.duration_ms);
  set_uuid(attempt.consumer.uuid, *message.mutable_consumer());
  to_wire(attempt.failure, *message.mutable_failure());
}

Attempt from_wire(MetaDecoder& in, const wire::Attempt& message) {
  Attempt attempt;
  attempt.at = {message.at()};
  attempt.delivery = message.delivery();
  attempt.duration_ms = message.duration_ms();
  attempt.consumer = {in.uuid("consumer", message.consumer())};
  attempt.failure = from_wire(in, message.failure());
  return attempt;
}

void to_wire(const DeadLetterVersion& version, wire::DeadLetterVersion& message,
             std::vector<SharedBytes>& body) {
  message.set_version(version.version);
  message.set_at(version.at.milliseconds);
  message.set_by(version.by);
  message.set_note(version.note);
  to_wire(version.message, *message.mutable_message(), body);
}

DeadLetterVersion from_wire(MetaDecoder& in, const wire::DeadLetterVersion& message) {
  DeadLetterVersion version;
  version.version = message.version();
  version.at = {message.at()};
  version.by = in.text("by", message.by());
  version.note = in.text("note", message.note());
  version.message = from_wire(in, message.message());
  return version;
}

}  // namespace

void encode(const ListDeadLettersRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::ListDeadLettersRequest message;
  to_wire(value.selection, *message.mutable_selection());
  if (value.after) to_wire(*value.after, *message.mutable_after());
  message.set_limit(value.limit);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, ListDeadLettersRequest& out) {
  wire::ListDeadLettersRequest message;
  MetaDecoder in(meta, body, message);
  out.selection = from_wire(in, message.selection());
  if (message.has_after()) out.after = from_wire(in, message.after());
  out.limit = in.number<std::uint32_t>("limit", message.limit(), 1, limits::kMaxPage);
  return in.finish();
}

void encode(const ListDeadLettersReply& value, ByteVector& meta, std::vector<SharedBytes>& body) {
  wire::ListDeadLettersReply message;
  for (const DeadLetterSummary& summary : value.dead_letters) {
    to_wire(summary, *message.add_dead_letters(), body);
  }
  message.set_more(value.more);
  for (const FingerprintCount& count : value.fingerprints) {
    wire::FingerprintCount& added = *message.add_fingerprints();
    added.set_fingerprint(count.fingerprint);
    added.set_count(count.count);
    to_wire(count.example, *added.mutable_example());
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, ListDeadLettersReply& out) {
  wire::ListDeadLettersReply message;
  MetaDecoder in(meta, body, message);
  in.each("dead_letters", message.dead_letters(), 0, limits::kMaxPage,
          [&](const wire::DeadLetterSummary& summary) {
            out.dead_letters.push_back(from_wire(in, summary));
          });
  out.more = message.more();
  in.each("fingerprints", message.fingerprints(), 0, limits::kMaxMetaElements,
          [&](const wire::FingerprintCount& count) {
            out.fingerprints.push_back(
                {count.fingerprint(), count.count(), from_wire(in, count.example())});
          });
  return in.finish();
}

void encode(const ShowDeadLetterRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::ShowDeadLetterRequest message;
  message.set_group(value.group);
  to_wire(value.id, *message.mutable_id());
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, ShowDeadLetterRequest& out) {
  wire::ShowDeadLetterRequest message;
  MetaDecoder in(meta, body, message);
  out.group = in.required_name("group", message.group());
  out.id = from_wire(in, message.id());
  return in.finish();
}

void encode(const ShowDeadLetterReply& value, ByteVector& meta, std::vector<SharedBytes>& body) {
  wire::ShowDeadLetterReply message;
  to_wire(value.summary, *message.mutable_summary(), body);
  message.set_topic(value.topic);
  for (const Attempt& attempt : value.attempts) to_wire(attempt, *message.add_attempts());
  for (const DeadLetterVersion& version : value.versions) {
    to_wire(version, *message.add_versions(), body);
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, ShowDeadLetterReply& out) {
  wire::ShowDeadLetterReply message;
  MetaDecoder in(meta, body, message);
  out.summary = from_wire(in, message.summary());
  out.topic = in.text("topic", message.topic(), limits::kMaxNameLength);
  in.each("attempts", message.attempts(), 0, limits::kMaxMetaElements,
          [&](const wire::Attempt& attempt) { out.attempts.push_back(from_wire(in, attempt)); });
  in.each("versions", message.versions(), 0, limits::kMaxMetaElements,
          [&](const wire::DeadLetterVersion& version) {
            out.versions.push_back(from_wire(in, version));
          });
  return in.finish();
}

void encode(const EditDeadLetterRequest& value, ByteVector& meta, std::vector<SharedBytes>& body) {
  wire::EditDeadLetterRequest message;
  message.set_group(value.group);
  to_wire(value.id, *message.mutable_id());
  message.set_base_version(value.base_version);
  to_wire(value.message, *message.mutable_message(), body);
  message.set_by(value.by);
  message.set_note(value.note);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, EditDeadLetterRequest& out) {
  wire::EditDeadLetterRequest message;
  MetaDecoder in(meta, body, message);
  out.group = in.required_name("group", message.group());
  out.id = from_wire(in, message.id());
  out.base_version = message.base_version();
  out.message = from_wire(in, message.message());
  out.by = in.text("by", message.by());
  out.note = in.text("note", message.note());
  return in.finish();
}

void encode(const EditDeadLetterReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::EditDeadLetterReply message;
  message.set_version(value.version);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, EditDeadLetterReply& out) {
  wire::EditDeadLetterReply message;
  MetaDecoder in(meta, body, message);
  out.version = message.version();
  return in.finish();
}

void encode(const RedriveRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::RedriveRequest message;
  to_wire(value.selection, *message.mutable_selection());
  message.set_override_limit(value.override_limit);
  message.set_by(value.by);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, RedriveRequest& out) {
  wire::RedriveRequest message;
  MetaDecoder in(meta, body, message);
  out.selection = from_wire(in, message.selection());
  out.override_limit = message.override_limit();
  out.by = in.text("by", message.by());
  return in.finish();
}

void encode(const RedriveReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::RedriveReply message;
  message.set_redriven(value.redriven);
  message.set_skipped(value.skipped);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, RedriveReply& out) {
  wire::RedriveReply message;
  MetaDecoder in(meta, body, message);
  out.redriven = message.redriven();
  out.skipped = message.skipped();
  return in.finish();
}

void encode(const DiscardRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::DiscardRequest message;
  to_wire(value.selection, *message.mutable_selection());
  message.set_by(value.by);
  message.set_reason(value.reason);
  message.set_erase(value.erase);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, DiscardRequest& out) {
  wire::DiscardRequest message;
  MetaDecoder in(meta, body, message);
  out.selection = from_wire(in, message.selection());
  out.by = in.text("by", message.by());
  out.reason = in.text("reason", message.reason());
  out.erase = message.erase();
  return in.finish();
}

void encode(const DiscardReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::DiscardReply message;
  message.set_discarded(value.discarded);
  message.set_skipped(value.skipped);
  message.set_erased(value.erased);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, DiscardReply& out) {
  wire::DiscardReply message;
  MetaDecoder in(meta, body, message);
  out.discarded = message.discarded();
  out.skipped = message.skipped();
  out.erased = message.erased();
  return in.finish();
}

}  // namespace waybill

#include "broker/core/snapshot_objects.h"

#include "broker/core/entry_fields.h"

namespace waybill {
namespace {

// Marks of a dead letter.
constexpr std::uint8_t kPast = 1;
constexpr std::uint8_t kErased = 2;

Error bad(const char* where) {
  return {Errc::kBadFormat, 0, where};
}

Offset get_offset(ByteReader& in) {
  return {in.read<std::int64_t>()};
}

std::uint32_t get_count32(ByteReader& in) {
  const std::uint64_t value = get_varint(in);
  if (value > UINT32_MAX) refuse(in);
  return static_cast<std::uint32_t>(value);
}
void put(ByteWriter& out, const StreamSegment& segment) {
  const SegmentFooter& contents = segment.contents;
  out.write(segment.id.base.value);
  out.write_varint(segment.id.generation);
  out.write(contents.end.value);
  out.write_varint(segment.size);
  out.write_varint(segment.payload);
  out.write(static_cast<std::uint8_t>(segment.sealed));
  put(out, segment.stored);
  out.write(contents.facts);
  put(out, contents.max_timestamp);
  out.write_varint(contents.record_count);
  if (segment.sealed) return;  // the index is in its footer
  out.write_varint(contents.index.size());
  for (const SegmentIndexEntry& entry : contents.index) {
    out.write(entry.base.value);
    put(out, entry.max_before);
    out.write_varint(entry.position);
  }
}
StreamSegment get_segment(StreamId stream, ByteReader& in) {
  StreamSegment segment;
  SegmentFooter& contents = segment.contents;
  segment.id = {stream, get_offset(in), get_varint(in)};
  contents.stream = stream;
  contents.base = segment.id.base;
  contents.end = get_offset(in);
  segment.size = get_varint(in);
  segment.payload = get_varint(in);
  segment.sealed = get_bool(in);
  segment.stored = get_time(in);
  contents.facts = get_enum(in, SegmentFacts::kNone, SegmentFacts::kAll | SegmentFacts::kCompacted);
  contents.max_timestamp = get_time(in);
  contents.record_count = get_varint(in);
  if (segment.sealed) return segment;
  const std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    SegmentIndexEntry& entry = contents.index.emplace_back();
    entry.base = get_offset(in);
    entry.max_before = get_time(in);
    entry.position = get_varint(in);
  }
  return segment;
}

/// Element by element, to the end of the object.
template <class Element, class Get>
Result<ObjectBody> get_list(ByteReader& in, const char* where, Get get) {
  ListBody<Element> body;
  body.whose = {{in.read<std::uint64_t>()}, {in.read<std::uint64_t>()}};
  while (in.ok() && in.remaining() > 0) body.elements.push_back(get(in));
  if (!in.finished()) return bad(where);
  return ObjectBody(std::move(body));
}

}  // namespace

// --- the shard ---

ByteVector encode(const AdoptedBody& body) {
  ByteVector bytes;
  ByteWriter out(bytes);
  out.write(body.next_dead_stream);
  out.write_varint(body.topics.size());
  for (const auto& [id, version] : body.topics) {
    out.write(id.value);
    out.write(version);
  }
  out.write_varint(body.groups.size());
  for (const auto& [id, version] : body.groups) {
    out.write(id.value);
    out.write(version);
  }
  return bytes;
}

ByteVector encode(const CatalogBody& body) {
  ByteVector bytes;
  ByteWriter out(bytes);
  out.write(body.version);
  out.write(body.next_id);
  return bytes;
}

namespace {

Result<ObjectBody> decode_adopted(ByteReader& in) {
  AdoptedBody body;
  body.next_dead_stream = in.read<std::uint64_t>();
  std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    const TopicId id{in.read<std::uint64_t>()};
    body.topics[id] = in.read<std::uint64_t>();
  }
  count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    const GroupId id{in.read<std::uint64_t>()};
    body.groups[id] = in.read<std::uint64_t>();
  }
  if (!in.finished()) return bad("checkpoint object: adopted");
  return ObjectBody(std::move(body));
}

Result<ObjectBody> decode_catalog_numbers(ByteReader& in) {
  CatalogBody body;
  body.version = in.read<std::uint64_t>();
  body.next_id = in.read<std::uint64_t>();
  if (!in.finished()) return bad("checkpoint object: catalog");
  return ObjectBody(body);
}

}  // namespace

// --- a stream ---

ByteVector encode_stream(Offset start, const std::deque<StreamSegment>& segments,
                         const std::optional<SavedPartition>& partition) {
  ByteVector bytes;
  ByteWriter out(bytes);
  out.write(static_cast<std::uint8_t>(partition.has_value()));
  out.write(start.value);
  out.write_varint(segments.size());
  for (const StreamSegment& segment : segments) put(out, segment);
  if (!partition) return bytes;
  out.write(partition->topic.value);
  out.write(partition->index.value);
  out.write(static_cast<std::uint8_t>(partition->archived));
  return bytes;
}

ByteVector encode_producers(const std::map<ProducerId, ProducerTable::State>& producers) {
  ByteVector bytes;
  ByteWriter out(bytes);
  out.write_varint(producers.size());
  for (const auto& [id, state] : producers) {
    put(out, id.uuid);
    out.write(state.kind);
    out.write(state.last_sequence);
    out.write(state.last_used.value);
    out.write_varint(state.recent.size());
    for (const ProducerTable::RecentBatch& batch : state.recent) {
      out.write(batch.base_sequence);
      out.write(batch.count);
      out.write(batch.base_offset.value);
    }
  }
  return bytes;
}

namespace {

Result<ObjectBody> decode_stream(StreamId id, ByteReader& in) {
  StreamBody body;
  const bool is_partition = get_bool(in);
  body.start = get_offset(in);
  std::deque<StreamSegment>& segments = body.segments;
  const std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    segments.push_back(get_segment(id, in));
    const bool follows = i == 0 ? segments[0].id.base <= body.start
                                : segments[i].id.base == segments[i - 1].contents.end;
    if (!follows || segments[i].contents.end <= segments[i].id.base) refuse(in);
  }
  if (is_partition) {
    SavedPartition& place = body.partition.emplace();
    place.topic.value = in.read<std::uint64_t>();
    place.index.value = in.read<std::uint32_t>();
    place.archived = get_bool(in);
  }
  if (!in.finished()) return bad("checkpoint object: stream");
  return ObjectBody(std::move(body));
}

Result<ObjectBody> decode_producers(ByteReader& in) {
  ProducersBody body;
  const std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    ProducerTable::State& state = body.producers[ProducerId{get_uuid(in)}];
    state.kind = get_enum(in, ProducerKind::kSession, ProducerKind::kDurable);
    state.last_sequence = in.read<std::uint64_t>();
    state.last_used.value = in.read<std::uint64_t>();
    const std::size_t recent = get_count(in);
    for (std::size_t k = 0; in.ok() && k < recent; ++k) {
      ProducerTable::RecentBatch& batch = state.recent.emplace_back();
      batch.base_sequence = in.read<std::uint64_t>();
      batch.count = in.read<std::uint32_t>();
      batch.base_offset = get_offset(in);
    }
  }
  if (!in.finished()) return bad("checkpoint object: producers");
  return ObjectBody(std::move(body));
}

}  // namespace

// --- a group ---

ByteVector encode(const PlacesBody& body) {
  ByteVector bytes;
  ByteWriter out(bytes);
  out.write_sized(encode(CatalogChange(PutGroup{body.group})));
  out.write_varint(body.places.size());
  for (const PlacesBody::Place& place : body.places) {
    out.write(place.stream.value);
    out.write(place.dead_stream.value);
  }
  return bytes;
}

ByteVector encode(const NumbersBody& body) {
  ByteVector bytes;
  ByteWriter out(bytes);
  put(out, body.whose);
  out.write(body.start.value);
  out.write(body.fresh.value);
  out.write(body.epoch);
  out.write(body.done);
  out.write(body.expired);
  out.write(body.skipped);
  out.write(body.removed);
  out.write(body.removed_to.value);
  out.write(body.compacted);
  out.write(body.failures);
  out.write(body.redeliveries);
  out.write(body.next_letter);
  return bytes;
}

void put(ByteWriter& out, GroupPlaceId whose) {
  out.write(whose.group.value);
  out.write(whose.stream.value);
}

void put_lease(ByteWriter& out, LeaseToken token, const OpenLease& lease) {
  put(out, token);
  put(out, lease.instance.uuid);
  put(out, lease.at);
  out.write_varint(lease.open.size());
  for (const OffsetRange range : lease.open) put(out, range);
}

void put_tracked(ByteWriter& out, Offset offset, const TrackedMessage& message) {
  out.write(offset.value);
  out.write_varint(message.deliveries);
  out.write_varint(message.failures);
  out.write_varint(message.unexplained);
  out.write_varint(message.crashes);
  out.write_varint(message.revoked);
  out.write_varint(message.redrive);
  out.write(static_cast<std::uint8_t>(message.leased));
  put(out, message.ready_at);
  put(out, message.last_end);
  for (const WallTime first : message.first_of) put(out, first);
  out.write_varint(message.dead_letter);
  out.write_varint(message.attempts.size());
  for (const Attempt& attempt : message.attempts) put(out, attempt);
}

void put_letter(ByteWriter& out, std::uint64_t number, const DeadLetter& letter) {
  out.write(number);
  out.write(letter.offset.value);
  out.write(letter.state);
  out.write(letter.reason);
  out.write(letter.key);
  out.write(letter.fingerprint);
  out.write_varint(letter.failures);
  out.write_varint(letter.deliveries);
  out.write_varint(letter.redrives);
  out.write(static_cast<std::uint8_t>((letter.past ? kPast : 0) | (letter.erased ? kErased : 0)));
  put(out, letter.died_at);
  out.write_varint(letter.records.size());
  for (const Offset record : letter.records) out.write(record.value);
}

void put_example(ByteWriter& out, std::uint64_t fingerprint, const Failure& failure) {
  out.write(fingerprint);
  put(out, failure);
}

namespace {

Result<ObjectBody> decode_places(ByteReader& in) {
  Result<CatalogChange> change = decode_catalog(in.read_sized(in.remaining()));
  const auto* put_group = change ? std::get_if<PutGroup>(&*change) : nullptr;
  if (put_group == nullptr) return bad("checkpoint object: places");
  PlacesBody body;
  body.group = put_group->group;
  const std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i)
    body.places.push_back({{in.read<std::uint64_t>()}, {in.read<std::uint64_t>()}});
  if (!in.finished()) return bad("checkpoint object: places");
  return ObjectBody(std::move(body));
}

Result<ObjectBody> decode_numbers(ByteReader& in) {
  NumbersBody body;
  body.whose = {{in.read<std::uint64_t>()}, {in.read<std::uint64_t>()}};
  body.start = get_offset(in);
  body.fresh = get_offset(in);
  body.epoch = in.read<std::uint32_t>();
  body.done = in.read<std::uint64_t>();
  body.expired = in.read<std::uint64_t>();
  body.skipped = in.read<std::uint64_t>();
  body.removed = in.read<std::uint64_t>();
  body.removed_to = get_offset(in);
  body.compacted = in.read<std::uint64_t>();
  body.failures = in.read<std::uint64_t>();
  body.redeliveries = in.read<std::uint64_t>();
  body.next_letter = in.read<std::uint64_t>();
  if (!in.finished()) return bad("checkpoint object: delivery");
  return ObjectBody(body);
}

SavedLease get_lease(ByteReader& in) {
  SavedLease saved;
  saved.token = get_token(in);
  saved.lease.instance.uuid = get_uuid(in);
  saved.lease.at = get_time(in);
  const std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) saved.lease.open.push_back(get_range(in));
  if (saved.lease.open.empty()) refuse(in);
  return saved;
}

SavedTracked get_tracked(ByteReader& in) {
  SavedTracked saved;
  saved.offset = get_offset(in);
  TrackedMessage& message = saved.message;
  message.deliveries = get_count32(in);
  message.failures = get_count32(in);
  message.unexplained = get_count32(in);
  message.crashes = get_count32(in);
  message.revoked = get_count32(in);
  message.redrive = get_count32(in);
  message.leased = get_bool(in);
  message.ready_at = get_time(in);
  message.last_end = get_time(in);
  for (WallTime& first : message.first_of) first = get_time(in);
  message.dead_letter = get_varint(in);
  const std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) message.attempts.push_back(get_attempt(in));
  return saved;
}

SavedLetter get_letter(ByteReader& in) {
  SavedLetter saved;
  saved.number = in.read<std::uint64_t>();
  DeadLetter& letter = saved.letter;
  letter.offset = get_offset(in);
  letter.state = get_enum(in, DeadLetterState::kDead, DeadLetterState::kDiscarded);
  letter.reason = get_enum(in, DeadLetterReason::kMaxFailures, DeadLetterReason::kExpired);
  letter.key = in.read<std::uint64_t>();
  letter.fingerprint = in.read<std::uint64_t>();
  letter.failures = get_count32(in);
  letter.deliveries = get_count32(in);
  letter.redrives = get_count32(in);
  const auto marks = in.read<std::uint8_t>();
  if (marks > (kPast | kErased)) refuse(in);
  letter.past = (marks & kPast) != 0;
  letter.erased = (marks & kErased) != 0;
  letter.died_at = get_time(in);
  const std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) letter.records.push_back(get_offset(in));
  if (letter.records.empty()) refuse(in);
  const bool over =
      letter.state == DeadLetterState::kRedriven || letter.state == DeadLetterState::kDiscarded;
  if (letter.erased && !over) refuse(in);
  return saved;
}

SavedExample get_example(ByteReader& in) {
  SavedExample saved;
  saved.fingerprint = in.read<std::uint64_t>();
  saved.failure = get_failure(in);
  return saved;
}

template <class Entry>
Result<ObjectBody> as_object(Result<Entry> decoded) {
  if (!decoded) return decoded.error();
  return ObjectBody(std::move(*decoded));
}

}  // namespace

Result<ObjectBody> decode_object(const CheckpointObject& object) {
  if (object.version != kObjectVersion)
    return {Errc::kUnsupportedFormat, "checkpoint object: version of a newer broker"};
  ByteReader in(object.body);
  switch (ObjectKind{object.kind}) {
    case ObjectKind::kAdopted:
      return decode_adopted(in);
    case ObjectKind::kProducer:
      return as_object(decode_producer(object.body));
    case ObjectKind::kCatalog:
      return decode_catalog_numbers(in);
    case ObjectKind::kTopic:
    case ObjectKind::kGroup:
      return as_object(decode_catalog(object.body));
    case ObjectKind::kStream:
      return decode_stream({object.id}, in);
    case ObjectKind::kProducers:
      return decode_producers(in);
    case ObjectKind::kPlaces:
      return decode_places(in);
    case ObjectKind::kDelivery:
      return decode_numbers(in);
    case ObjectKind::kGaps:
      return get_list<OffsetRange>(in, "checkpoint object: gaps", get_range);
    case ObjectKind::kLeases:
      return get_list<SavedLease>(in, "checkpoint object: leases", get_lease);
    case ObjectKind::kTracked:
      return get_list<SavedTracked>(in, "checkpoint object: tracked", get_tracked);
    case ObjectKind::kLetters:
      return get_list<SavedLetter>(in, "checkpoint object: letters", get_letter);
    case ObjectKind::kExamples:
      return get_list<SavedExample>(in, "checkpoint object: examples", get_example);
  }
  return {Errc::kUnsupportedFormat, "checkpoint object: kind of a newer broker"};
}

}  // namespace waybill

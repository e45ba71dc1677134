#include "tools/object_dump.h"

#include <iterator>

#include "tools/dead_letter_name.h"
#include "tools/entry_dump.h"

namespace waybill::cli {
namespace {

template <class Elements, class Show>
std::vector<DumpFields> each_of(const Elements& elements, Show show) {
  std::vector<DumpFields> all;
  for (const auto& element : elements) all.push_back(show(element));
  return all;
}

// --- the shard ---

template <class Id>
std::vector<DumpFields> versions_of(const std::map<Id, std::uint64_t>& adopted) {
  return each_of(adopted, [](const auto& one) {
    return DumpFields().add("id", one.first.value).add("version", one.second);
  });
}

DumpFields body_of(const AdoptedBody& body) {
  return DumpFields()
      .add("next_dead_stream", body.next_dead_stream)
      .add("topics", versions_of(body.topics))
      .add("groups", versions_of(body.groups));
}
DumpFields body_of(const ProducerEntry& body) {
  return fields_of(body);
}
DumpFields body_of(const CatalogBody& body) {
  return DumpFields().add("version", body.version).add("next_id", body.next_id);
}
DumpFields body_of(const CatalogChange& body) {
  return fields_of(body);
}

// --- a stream ---

DumpFields index_fields(const SegmentIndexEntry& entry) {
  return DumpFields()
      .add("base", entry.base)
      .add("max_before_ms", entry.max_before.milliseconds)
      .add("position", entry.position);
}

DumpFields segment_fields(const StreamSegment& segment) {
  const SegmentFooter& contents = segment.contents;
  return DumpFields()
      .add("name", segment_name(segment.id))
      .add("first", segment.id.base)
      .add("last", contents.end - 1)
      .add("size", segment.size)
      .add("payload_size", segment.payload)
      .add("sealed", segment.sealed)
      .add("stored", segment.stored)
      .add("facts", facts_text(contents.facts))
      .add("max_timestamp", contents.max_timestamp)
      .add("record_count", contents.record_count)
      .add("index", each_of(contents.index, index_fields));
}

DumpFields body_of(const StreamBody& body) {
  DumpFields fields;
  fields.add("start", body.start);
  if (body.partition) {
    fields.add("topic", body.partition->topic.value)
        .add("partition", body.partition->index.value)
        .add("archived", body.partition->archived);
  }
  return fields.add("segments", each_of(body.segments, segment_fields));
}

DumpFields body_of(const ProducersBody& body) {
  return DumpFields().add(
      "producers", each_of(body.producers, [](const auto& one) {
        const ProducerTable::State& state = one.second;
        return DumpFields()
            .add("id", one.first.uuid)
            .add("kind", state.kind == ProducerKind::kDurable ? "durable" : "session")
            .add("last_sequence", state.last_sequence)
            .add("last_used", state.last_used.value)
            .add("recent", each_of(state.recent, [](const ProducerTable::RecentBatch& batch) {
                   return DumpFields()
                       .add("base_sequence", batch.base_sequence)
                       .add("count", batch.count)
                       .add("base_offset", batch.base_offset);
                 }));
      }));
}

// --- a group ---

DumpFields body_of(const PlacesBody& body) {
  return fields_of(CatalogChange(PutGroup{body.group}))
      .add("places", each_of(body.places, [](const PlacesBody::Place& place) {
             return DumpFields().add("stream", place.stream).add("dead_stream", place.dead_stream);
           }));
}

DumpFields whose_fields(GroupPlaceId whose) {
  return DumpFields().add("group", whose.group.value).add("stream", whose.stream);
}

DumpFields body_of(const NumbersBody& body) {
  return whose_fields(body.whose)
      .add("start", body.start)
      .add("fresh", body.fresh)
      .add("epoch", body.epoch)
      .add("done", body.done)
      .add("expired", body.expired)
      .add("skipped", body.skipped)
      .add("removed", body.removed)
      .add("removed_to", body.removed_to)
      .add("compacted", body.compacted)
      .add("failures", body.failures)
      .add("redeliveries", body.redeliveries)
      .add("next_letter", body.next_letter);
}

DumpFields body_of(const ListBody<OffsetRange>& body) {
  return whose_fields(body.whose).add("ranges", body.elements);
}

DumpFields element_fields(const SavedLease& saved) {
  return DumpFields()
      .add("token", saved.token)
      .add("instance", saved.lease.instance.uuid)
      .add("at", saved.lease.at)
      .add("open", saved.lease.open.copy());
}

DumpFields element_fields(const SavedTracked& saved) {
  const TrackedMessage& message = saved.message;
  DumpFields firsts;
  for (const FailureClass failed :
       {FailureClass::kTransient, FailureClass::kFailed, FailureClass::kInvalid,
        FailureClass::kTimeout, FailureClass::kUnexplained})
    firsts.add(name(failed), message.first_failure(failed));
  return DumpFields()
      .add("offset", saved.offset)
      .add("deliveries", message.deliveries)
      .add("failures", message.failures)
      .add("unexplained", message.unexplained)
      .add("crashes", message.crashes)
      .add("revoked", message.revoked)
      .add("redrive", message.redrive)
      .add("leased", message.leased)
      .add("ready_at", message.ready_at)
      .add("last_end", message.last_end)
      .add("dead_letter", message.dead_letter)
      .add("first_of", std::move(firsts))
      .add("attempts",
           each_of(message.attempts, [](const Attempt& attempt) { return fields_of(attempt); }));
}

DumpFields element_fields(const SavedLetter& saved) {
  const DeadLetter& letter = saved.letter;
  std::vector<std::int64_t> records;
  for (const Offset record : letter.records) records.push_back(record.value);
  return DumpFields()
      .add("number", saved.number)
      .add("offset", letter.offset)
      .add("state", name(letter.state))
      .add("reason", name(letter.reason))
      .add("key_hash", letter.key)
      .add("fingerprint", fingerprint_text(letter.fingerprint))
      .add("failures", letter.failures)
      .add("deliveries", letter.deliveries)
      .add("redrives", letter.redrives)
      .add("past", letter.past)
      .add("erased", letter.erased)
      .add("died_at", letter.died_at)
      .add("records", std::move(records));
}

DumpFields element_fields(const SavedExample& saved) {
  return DumpFields()
      .add("fingerprint", fingerprint_text(saved.fingerprint))
      .append(fields_of(saved.failure));
}

template <class Element>
DumpFields body_of(const ListBody<Element>& body) {
  return whose_fields(body.whose).add("elements", each_of(body.elements, [](const Element& one) {
                                        return element_fields(one);
                                      }));
}

}  // namespace

std::string_view object_kind_name(std::uint16_t kind) {
  constexpr const char* kNames[] = {"?",      "adopted", "producer", "catalog",  "topic",
                                    "group",  "stream",  "places",   "delivery", "gaps",
                                    "leases", "tracked", "letters",  "examples", "producers"};
  return kind < std::size(kNames) ? kNames[kind] : "?";
}

std::string facts_text(SegmentFacts facts) {
  const auto bits = static_cast<unsigned>(facts);
  std::string text;
  if ((bits & static_cast<unsigned>(SegmentFacts::kKeys)) != 0) text += " keys";
  if ((bits & static_cast<unsigned>(SegmentFacts::kNotBefore)) != 0) text += " not_before";
  if ((bits & static_cast<unsigned>(SegmentFacts::kExpiry)) != 0) text += " expiry";
  if ((bits & static_cast<unsigned>(SegmentFacts::kCompacted)) != 0) text += " compacted";
  return text.empty() ? "none" : text.substr(1);
}

Result<DumpFields> object_fields(const CheckpointObject& object) {
  Result<ObjectBody> body = decode_object(object);
  if (!body) return body.error();
  DumpFields fields = std::visit([](const auto& one) { return body_of(one); }, *body);
  if (ObjectKind{object.kind} != ObjectKind::kStream) return fields;
  return DumpFields().add("stream", StreamId{object.id}).append(std::move(fields));
}

}  // namespace waybill::cli

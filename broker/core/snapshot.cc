#include "broker/core/snapshot.h"

#include <algorithm>
#include <utility>

#include "broker/core/entry_fields.h"
#include "broker/core/shard.h"

namespace waybill {
namespace {

/// A list is cut when an object has this many bytes.
constexpr std::size_t kObjectTarget = 256 * 1024;
// Marks of a dead letter.
constexpr std::uint8_t kPast = 1;
constexpr std::uint8_t kErased = 2;

Error bad(const char* where) {
  return {Errc::kBadFormat, 0, where};
}

Offset get_offset(ByteReader& in) {
  return {in.read<std::int64_t>()};
}

void put(ByteWriter& out, const StreamSegment& segment) {
  const SegmentFooter& contents = segment.contents;
  out.write(segment.id.base.value);
  out.write_varint(segment.id.generation);
  out.write(contents.end.value);
  out.write_varint(segment.size);
  out.write_varint(segment.payload);
  out.write(static_cast<std::uint8_t>(segment.sealed));
  waybill::put(out, segment.stored);
  out.write(contents.facts);
  waybill::put(out, contents.max_timestamp);
  out.write_varint(contents.record_count);
  if (segment.sealed) return;  // the index is in its footer
  out.write_varint(contents.index.size());
  for (const SegmentIndexEntry& entry : contents.index) {
    out.write(entry.base.value);
    waybill::put(out, entry.max_before);
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

void put(ByteWriter& out, const TrackedMessage& message) {
  out.write_varint(message.deliveries);
  out.write_varint(message.failures);
  out.write_varint(message.unexplained);
  out.write_varint(message.crashes);
  out.write_varint(message.revoked);
  out.write_varint(message.redrive);
  out.write(static_cast<std::uint8_t>(message.leased));
  waybill::put(out, message.ready_at);
  waybill::put(out, message.last_end);
  for (const WallTime first : message.first_of) waybill::put(out, first);
  out.write_varint(message.dead_letter);
  out.write_varint(message.attempts.size());
  for (const Attempt& attempt : message.attempts) waybill::put(out, attempt);
}
std::uint32_t get_count32(ByteReader& in) {
  const std::uint64_t value = get_varint(in);
  if (value > UINT32_MAX) refuse(in);
  return static_cast<std::uint32_t>(value);
}
TrackedMessage get_tracked(ByteReader& in) {
  TrackedMessage message;
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
  return message;
}

void put(ByteWriter& out, const DeadLetter& letter) {
  out.write(letter.offset.value);
  out.write(letter.state);
  out.write(letter.reason);
  out.write(letter.key);
  out.write(letter.fingerprint);
  out.write_varint(letter.failures);
  out.write_varint(letter.deliveries);
  out.write_varint(letter.redrives);
  out.write(static_cast<std::uint8_t>((letter.past ? kPast : 0) | (letter.erased ? kErased : 0)));
  waybill::put(out, letter.died_at);
  out.write_varint(letter.records.size());
  for (const Offset record : letter.records) out.write(record.value);
}
DeadLetter get_letter(ByteReader& in) {
  DeadLetter letter;
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
  return letter;
}

}  // namespace

/// The elements of a list about a group on a partition, cut into objects that each say whose they
/// are.
class Snapshot::Lists {
 public:
  Lists(ObjectKind kind, const GroupPartition& partition, const Sink& sink)
      : kind_(kind), partition_(partition), sink_(sink) {}
  ~Lists() { cut(); }
  Lists(const Lists&) = delete;
  Lists& operator=(const Lists&) = delete;

  /// Where the next element is written to.
  ByteWriter& next() {
    if (body_.size() >= kObjectTarget) cut();
    if (body_.empty()) {
      out_.write(partition_.group.value);
      out_.write(partition_.log.id().value);
    }
    return out_;
  }

 private:
  void cut() {
    if (body_.empty()) return;
    sink_(kind_, partition_.group.value, body_);
    body_.clear();
  }

  ObjectKind kind_;
  const GroupPartition& partition_;
  const Sink& sink_;
  ByteVector body_;
  ByteWriter out_{body_};
};

// --- saving ---

void Snapshot::save(const Shard& shard, const Sink& sink) {
  Walk walk(shard);
  while (walk.next(sink)) continue;
}

Snapshot::Walk::Walk(const Shard& shard) : shard_(shard) {
  for (const Stream* stream : shard.log_.streams()) streams_.push_back(stream->id());
  for (const auto& [id, group] : shard.delivery_.groups_) groups_.push_back(id);
}

bool Snapshot::Walk::next(const Sink& sink) {
  if (!std::exchange(begun_, true)) {
    save_rest(shard_, sink);
  } else if (stream_ < streams_.size()) {
    const Stream* stream = shard_.log_.find_stream(streams_[stream_++]);
    WB_ASSERT(stream != nullptr, "streams neither come nor go during a walk");
    save_stream(*stream, shard_, sink);
  } else if (group_ < groups_.size()) {
    next_group(sink);
  } else {
    return false;
  }
  return true;
}

void Snapshot::Walk::next_group(const Sink& sink) {
  auto found = shard_.delivery_.groups_.find(groups_[group_]);
  const bool there = found != shard_.delivery_.groups_.end();  // one without partitions may go
  if (there && partition_ == 0) save_places(*found->second, sink);
  if (there && partition_ < found->second->partitions.size()) {
    const GroupPartition& partition = *found->second->partitions[partition_++];
    save_delivery(partition, sink);
    save_letters(partition, sink);
  }
  if (there && partition_ < found->second->partitions.size()) return;
  ++group_;
  partition_ = 0;
}

/// What is neither a stream nor a group on a partition.
void Snapshot::save_rest(const Shard& shard, const Sink& sink) {
  ByteVector body;
  ByteWriter out(body);
  auto emit = [&](ObjectKind kind, std::uint64_t id) {
    sink(kind, id, body);
    body.clear();
  };
  out.write(shard.next_dead_stream_);
  out.write_varint(shard.adopted_topics_.size());
  for (const auto& [id, version] : shard.adopted_topics_) {
    out.write(id.value);
    out.write(version);
  }
  out.write_varint(shard.adopted_groups_.size());
  for (const auto& [id, version] : shard.adopted_groups_) {
    out.write(id.value);
    out.write(version);
  }
  emit(ObjectKind::kAdopted, 0);
  std::uint64_t number = 0;
  for (const auto& [id, producer] : shard.partitions_.durable_producers_.all()) {
    sink(ObjectKind::kProducer, ++number,
         encode(ProducerEntry(OpenedProducer{id, producer.epoch, producer.name})));
  }
  const CatalogOwner& owner = shard.owner_;
  if (owner.catalog_.version > 0) {
    out.write(owner.catalog_.version);
    out.write(owner.next_id_);
    emit(ObjectKind::kCatalog, 0);
  }
  for (const TopicInfo& topic : owner.catalog_.topics) {
    sink(ObjectKind::kTopic, topic.id.value, encode(CatalogChange(PutTopic{topic})));
  }
  for (const GroupInfo& group : owner.catalog_.groups) {
    sink(ObjectKind::kGroup, group.id.value, encode(CatalogChange(owner.put(group))));
  }
}

void Snapshot::save_places(const ConsumerGroup& group, const Sink& sink) {
  ByteVector body;
  ByteWriter out(body);
  out.write_sized(encode(CatalogChange(PutGroup{group.info})));
  out.write_varint(group.partitions.size());
  for (const auto& partition : group.partitions) {
    out.write(partition->log.id().value);
    out.write(partition->dead_stream.id().value);
  }
  sink(ObjectKind::kPlaces, group.info.id.value, body);
}

void Snapshot::save_stream(const Stream& stream, const Shard& shard, const Sink& sink) {
  ByteVector body;
  ByteWriter out(body);
  const Partition* partition = shard.partitions_.find(stream.id());
  out.write(static_cast<std::uint8_t>(partition != nullptr));
  out.write(stream.start().value);
  out.write_varint(stream.segments().size());
  for (const StreamSegment& segment : stream.segments()) put(out, segment);
  if (partition != nullptr) {
    out.write(partition->topic.value);
    out.write(partition->index.value);
    out.write(static_cast<std::uint8_t>(partition->archived));
  }
  sink(ObjectKind::kStream, stream.id().value, body);
  if (partition != nullptr) save_producers(*partition, sink);
}

void Snapshot::save_producers(const Partition& partition, const Sink& sink) {
  ByteVector body;
  ByteWriter out(body);
  const auto& producers = partition.producers.producers_;
  out.write_varint(producers.size());
  for (const auto& [id, state] : producers) {
    waybill::put(out, id.uuid);
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
  sink(ObjectKind::kProducers, partition.log->id().value, body);
}

void Snapshot::save_delivery(const GroupPartition& partition, const Sink& sink) {
  const DeliveryState& state = partition.delivery;
  {
    Lists numbers(ObjectKind::kDelivery, partition, sink);
    ByteWriter& out = numbers.next();
    out.write(state.start_.value);
    out.write(state.fresh_.value);
    out.write(state.epoch_);
    out.write(state.done_count_);
    out.write(state.expired_count_);
    out.write(state.skipped_count_);
    out.write(state.removed_count_);
    out.write(state.removed_to_.value);
    out.write(state.compacted_count_);
    out.write(state.failure_count_);
    out.write(state.redelivery_count_);
    out.write(partition.dead_letters.next_number_);
  }
  {
    Lists gaps(ObjectKind::kGaps, partition, sink);
    for (OffsetRange run = state.gaps_.run_from({0}); run.count() > 0;
         run = state.gaps_.run_from(run.last + 1)) {
      waybill::put(gaps.next(), run);
    }
  }
  {
    Lists leases(ObjectKind::kLeases, partition, sink);
    for (const auto& [token, lease] : state.leases_) {
      ByteWriter& out = leases.next();
      waybill::put(out, token);
      waybill::put(out, lease.instance.uuid);
      waybill::put(out, lease.at);
      out.write_varint(lease.open.size());
      for (const OffsetRange range : lease.open) waybill::put(out, range);
    }
  }
  Lists tracked(ObjectKind::kTracked, partition, sink);
  for (const auto& [offset, message] : state.tracked_) {
    ByteWriter& out = tracked.next();
    out.write(offset.value);
    put(out, message);
  }
}

void Snapshot::save_letters(const GroupPartition& partition, const Sink& sink) {
  {
    Lists letters(ObjectKind::kLetters, partition, sink);
    for (const auto& [number, letter] : partition.dead_letters.letters_) {
      ByteWriter& out = letters.next();
      out.write(number);
      put(out, letter);
    }
  }
  std::vector<std::uint64_t> fingerprints;
  for (const auto& [fingerprint, failure] : partition.dead_letters.examples_) {
    fingerprints.push_back(fingerprint);
  }
  std::ranges::sort(fingerprints);
  Lists examples(ObjectKind::kExamples, partition, sink);
  for (const std::uint64_t fingerprint : fingerprints) {
    ByteWriter& out = examples.next();
    out.write(fingerprint);
    waybill::put(out, *partition.dead_letters.example(fingerprint));
  }
}

// --- loading ---

Result<void> Snapshot::load(Shard& shard, const CheckpointObject& object) {
  if (object.version != kObjectVersion) {
    return {Errc::kUnsupportedFormat, "checkpoint object: version of a newer broker"};
  }
  ByteReader in(object.body);
  const auto kind = ObjectKind{object.kind};
  switch (kind) {
    case ObjectKind::kAdopted:
      shard.loaded_.rest = object.applied;
      return load_adopted(shard, in);
    case ObjectKind::kProducer: {
      Result<ProducerEntry> decoded = decode_producer(object.body);
      if (!decoded) return decoded.error();
      shard.partitions_.apply(*decoded);
      return {};
    }
    case ObjectKind::kCatalog:
      shard.owner_.catalog_.version = in.read<std::uint64_t>();
      shard.owner_.next_id_ = in.read<std::uint64_t>();
      return in.finished() ? Result<void>() : bad("checkpoint object: catalog");
    case ObjectKind::kTopic:
    case ObjectKind::kGroup: {
      Result<CatalogChange> decoded = decode_catalog(object.body);
      return decoded ? shard.owner_.apply(*decoded) : Result<void>(decoded.error());
    }
    case ObjectKind::kStream:
      shard.loaded_.streams[{object.id}] = object.applied;
      return load_stream(shard, {object.id}, in);
    case ObjectKind::kProducers:
      return load_producers(shard, {object.id}, in);
    case ObjectKind::kPlaces:
      return load_places(shard, in);
    case ObjectKind::kDelivery:
    case ObjectKind::kGaps:
    case ObjectKind::kLeases:
    case ObjectKind::kTracked:
    case ObjectKind::kLetters:
    case ObjectKind::kExamples:
      return load_in_partition(shard, kind, object.applied, in);
  }
  return {Errc::kUnsupportedFormat, "checkpoint object: kind of a newer broker"};
}

Result<void> Snapshot::load_adopted(Shard& shard, ByteReader& in) {
  shard.next_dead_stream_ = in.read<std::uint64_t>();
  std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    const TopicId id{in.read<std::uint64_t>()};
    shard.adopted_topics_[id] = in.read<std::uint64_t>();
  }
  count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    const GroupId id{in.read<std::uint64_t>()};
    shard.adopted_groups_[id] = in.read<std::uint64_t>();
  }
  return in.finished() ? Result<void>() : bad("checkpoint object: adopted");
}

Result<void> Snapshot::load_stream(Shard& shard, StreamId id, ByteReader& in) {
  if (shard.log_.find_stream(id) != nullptr) return bad("checkpoint object: stream");
  const bool is_partition = get_bool(in);
  const Offset start = get_offset(in);
  std::deque<StreamSegment> segments;
  const std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    segments.push_back(get_segment(id, in));
    const bool follows =
        i == 0 ? segments[0].id.base <= start : segments[i].id.base == segments[i - 1].contents.end;
    if (!follows || segments[i].contents.end <= segments[i].id.base) refuse(in);
  }
  if (!in.ok()) return bad("checkpoint object: stream");
  Stream& stream = shard.log_.create_stream(id);
  stream.restore(start, std::move(segments));
  if (is_partition) {
    auto partition = std::make_unique<Partition>();
    partition->topic.value = in.read<std::uint64_t>();
    partition->index.value = in.read<std::uint32_t>();
    partition->log = &stream;
    Partitions& partitions = shard.partitions_;
    partition->archived = get_bool(in);
    if (!partition->archived) {
      partitions.by_name_[{partition->topic, partition->index}] = partition.get();
    }
    partitions.by_stream_.emplace(id, std::move(partition));
  }
  return in.finished() ? Result<void>() : bad("checkpoint object: stream");
}

Result<void> Snapshot::load_producers(Shard& shard, StreamId id, ByteReader& in) {
  Partition* partition = shard.partitions_.find(id);
  if (partition == nullptr) return bad("checkpoint object: producers");
  ProducerTable& table = partition->producers;
  const std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    ProducerTable::State& state = table.producers_[ProducerId{get_uuid(in)}];
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
    if (state.kind == ProducerKind::kSession) ++table.session_count_;
  }
  return in.finished() ? Result<void>() : bad("checkpoint object: producers");
}

Result<void> Snapshot::load_places(Shard& shard, ByteReader& in) {
  Result<CatalogChange> change = decode_catalog(in.read_sized(in.remaining()));
  const auto* put_group = change ? std::get_if<PutGroup>(&*change) : nullptr;
  if (put_group == nullptr) return bad("checkpoint object: places");
  auto group = std::make_unique<ConsumerGroup>();
  group->info = put_group->group;
  const std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    const Partition* partition = shard.partitions_.find(StreamId{in.read<std::uint64_t>()});
    Stream* dead_stream = shard.log_.find_stream(StreamId{in.read<std::uint64_t>()});
    if (partition == nullptr || dead_stream == nullptr) return bad("checkpoint object: places");
    group->partitions.push_back(std::make_unique<GroupPartition>(
        group->info.id, partition->index, *partition->log, *dead_stream, Offset{0},
        shard.log_.options().index_limit));
    if (group->info.archived) continue;
    shard.delivery_.by_stream_[partition->log->id()].push_back(group->partitions.back().get());
  }
  shard.delivery_.groups_.emplace(group->info.id, std::move(group));
  return in.finished() ? Result<void>() : bad("checkpoint object: places");
}

Result<void> Snapshot::load_in_partition(Shard& shard, ObjectKind kind, EntrySeq applied,
                                         ByteReader& in) {
  ConsumerGroup* group = shard.delivery_.find(GroupId{in.read<std::uint64_t>()});
  const StreamId stream{in.read<std::uint64_t>()};
  GroupPartition* partition = group == nullptr ? nullptr : group->find(stream);
  if (partition == nullptr) return bad("checkpoint object: unknown group");
  shard.loaded_.groups[{partition->group, stream}] = applied;
  if (kind == ObjectKind::kDelivery) load_numbers(*partition, in);
  while (in.ok() && in.remaining() > 0) {
    if (kind == ObjectKind::kGaps) partition->delivery.gaps_.add(get_range(in));
    if (kind == ObjectKind::kLeases) load_leases(*partition, in);
    if (kind == ObjectKind::kTracked) load_tracked(*partition, in);
    if (kind == ObjectKind::kLetters) load_letters(*partition, in);
    if (kind == ObjectKind::kExamples) {
      const auto fingerprint = in.read<std::uint64_t>();
      partition->dead_letters.examples_[fingerprint] = get_failure(in);
    }
    if (kind == ObjectKind::kDelivery) break;
  }
  return in.finished() ? Result<void>() : bad("checkpoint object: group");
}

void Snapshot::load_numbers(GroupPartition& partition, ByteReader& in) {
  DeliveryState& state = partition.delivery;
  state.start_ = get_offset(in);
  state.fresh_ = get_offset(in);
  state.epoch_ = in.read<std::uint32_t>();
  state.done_count_ = in.read<std::uint64_t>();
  state.expired_count_ = in.read<std::uint64_t>();
  state.skipped_count_ = in.read<std::uint64_t>();
  state.removed_count_ = in.read<std::uint64_t>();
  state.removed_to_ = get_offset(in);
  state.compacted_count_ = in.read<std::uint64_t>();
  state.failure_count_ = in.read<std::uint64_t>();
  state.redelivery_count_ = in.read<std::uint64_t>();
  partition.dead_letters.next_number_ = in.read<std::uint64_t>();
}

void Snapshot::load_leases(GroupPartition& partition, ByteReader& in) {
  DeliveryState& state = partition.delivery;
  const LeaseToken token = get_token(in);
  OpenLease lease;
  lease.instance.uuid = get_uuid(in);
  lease.at = get_time(in);
  const std::size_t count = get_count(in);
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    lease.open.push_back(get_range(in));
    state.leased_count_ += static_cast<std::uint64_t>(lease.open.back().count());
  }
  if (lease.open.empty()) refuse(in);
  state.leases_.emplace(token, std::move(lease));
}

void Snapshot::load_tracked(GroupPartition& partition, ByteReader& in) {
  const Offset offset = get_offset(in);
  TrackedMessage message = get_tracked(in);
  if (message.leased) ++partition.delivery.tracked_leased_;
  partition.delivery.tracked_.emplace(offset, std::move(message));
}

void Snapshot::load_letters(GroupPartition& partition, ByteReader& in) {
  DeadLetters& letters = partition.dead_letters;
  const auto number = in.read<std::uint64_t>();
  DeadLetter letter = get_letter(in);
  if (letter.records.empty()) refuse(in);
  if (letter.state == DeadLetterState::kDead) ++letters.dead_count_;
  if (letter.state == DeadLetterState::kDiscarded && !letter.past) ++letters.discarded_count_;
  if (letter.holds()) letters.holding_.insert(letter.offset);
  const bool over =
      letter.state == DeadLetterState::kRedriven || letter.state == DeadLetterState::kDiscarded;
  if (letter.erased && !over) refuse(in);
  if (letter.erased) letters.set_erased(letter);
  letters.letters_.emplace(number, std::move(letter));
}

}  // namespace waybill

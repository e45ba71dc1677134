#include "broker/core/snapshot.h"

#include <algorithm>
#include <utility>

#include "broker/core/entry_fields.h"
#include "broker/core/shard.h"

namespace waybill {
namespace {

/// A list is cut when an object has this many bytes.
constexpr std::size_t kObjectTarget = 256 * 1024;

Error bad(const char* where) {
  return {Errc::kBadFormat, 0, where};
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
    if (body_.empty()) put(out_, {partition_.group, partition_.log.id()});
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
  sink(ObjectKind::kAdopted, 0,
       encode(AdoptedBody{.next_dead_stream = shard.next_dead_stream_,
                          .topics = shard.adopted_topics_,
                          .groups = shard.adopted_groups_}));
  std::uint64_t number = 0;
  for (const auto& [id, producer] : shard.partitions_.durable_producers_.all()) {
    sink(ObjectKind::kProducer, ++number,
         encode(ProducerEntry(OpenedProducer{id, producer.epoch, producer.name})));
  }
  const CatalogOwner& owner = shard.owner_;
  if (owner.catalog_.version > 0) {
    sink(ObjectKind::kCatalog, 0,
         encode(CatalogBody{.version = owner.catalog_.version, .next_id = owner.next_id_}));
  }
  for (const TopicInfo& topic : owner.catalog_.topics) {
    sink(ObjectKind::kTopic, topic.id.value, encode(CatalogChange(PutTopic{topic})));
  }
  for (const GroupInfo& group : owner.catalog_.groups) {
    sink(ObjectKind::kGroup, group.id.value, encode(CatalogChange(owner.put(group))));
  }
}

void Snapshot::save_places(const ConsumerGroup& group, const Sink& sink) {
  PlacesBody body;
  body.group = group.info;
  for (const auto& partition : group.partitions)
    body.places.push_back({partition->log.id(), partition->dead_stream.id()});
  sink(ObjectKind::kPlaces, group.info.id.value, encode(body));
}

void Snapshot::save_stream(const Stream& stream, const Shard& shard, const Sink& sink) {
  const Partition* partition = shard.partitions_.find(stream.id());
  std::optional<SavedPartition> place;
  if (partition != nullptr) place = {partition->topic, partition->index, partition->archived};
  sink(ObjectKind::kStream, stream.id().value,
       encode_stream(stream.start(), stream.segments(), place));
  if (partition == nullptr) return;
  sink(ObjectKind::kProducers, stream.id().value,
       encode_producers(partition->producers.producers_));
}

void Snapshot::save_delivery(const GroupPartition& partition, const Sink& sink) {
  const DeliveryState& state = partition.delivery;
  const NumbersBody numbers{.whose = {partition.group, partition.log.id()},
                            .start = state.start_,
                            .fresh = state.fresh_,
                            .epoch = state.epoch_,
                            .done = state.done_count_,
                            .expired = state.expired_count_,
                            .skipped = state.skipped_count_,
                            .removed = state.removed_count_,
                            .removed_to = state.removed_to_,
                            .compacted = state.compacted_count_,
                            .failures = state.failure_count_,
                            .redeliveries = state.redelivery_count_,
                            .next_letter = partition.dead_letters.next_number_};
  sink(ObjectKind::kDelivery, partition.group.value, encode(numbers));
  {
    Lists gaps(ObjectKind::kGaps, partition, sink);
    for (OffsetRange run = state.gaps_.run_from({0}); run.count() > 0;
         run = state.gaps_.run_from(run.last + 1)) {
      put(gaps.next(), run);
    }
  }
  {
    Lists leases(ObjectKind::kLeases, partition, sink);
    for (const auto& [token, lease] : state.leases_) put_lease(leases.next(), token, lease);
  }
  Lists tracked(ObjectKind::kTracked, partition, sink);
  for (const auto& [offset, message] : state.tracked_) put_tracked(tracked.next(), offset, message);
}

void Snapshot::save_letters(const GroupPartition& partition, const Sink& sink) {
  {
    Lists letters(ObjectKind::kLetters, partition, sink);
    for (const auto& [number, letter] : partition.dead_letters.letters_)
      put_letter(letters.next(), number, letter);
  }
  std::vector<std::uint64_t> fingerprints;
  for (const auto& [fingerprint, failure] : partition.dead_letters.examples_) {
    fingerprints.push_back(fingerprint);
  }
  std::ranges::sort(fingerprints);
  Lists examples(ObjectKind::kExamples, partition, sink);
  for (const std::uint64_t fingerprint : fingerprints)
    put_example(examples.next(), fingerprint, *partition.dead_letters.example(fingerprint));
}

// --- loading ---

Result<void> Snapshot::load(Shard& shard, const CheckpointObject& object) {
  Result<ObjectBody> body = decode_object(object);
  if (!body) return body.error();
  return std::visit([&](auto& one) { return restore(shard, object, std::move(one)); }, *body);
}

Result<void> Snapshot::restore(Shard& shard, const CheckpointObject& object, AdoptedBody body) {
  shard.loaded_.rest = object.applied;
  shard.next_dead_stream_ = body.next_dead_stream;
  shard.adopted_topics_ = std::move(body.topics);
  shard.adopted_groups_ = std::move(body.groups);
  return {};
}

Result<void> Snapshot::restore(Shard& shard, const CheckpointObject& /*object*/,
                               const ProducerEntry& producer) {
  shard.partitions_.apply(producer);
  return {};
}

Result<void> Snapshot::restore(Shard& shard, const CheckpointObject& /*object*/,
                               const CatalogBody& body) {
  shard.owner_.catalog_.version = body.version;
  shard.owner_.next_id_ = body.next_id;
  return {};
}

Result<void> Snapshot::restore(Shard& shard, const CheckpointObject& /*object*/,
                               const CatalogChange& change) {
  return shard.owner_.apply(change);
}

Result<void> Snapshot::restore(Shard& shard, const CheckpointObject& object, StreamBody body) {
  const StreamId id{object.id};
  shard.loaded_.streams[id] = object.applied;
  if (shard.log_.find_stream(id) != nullptr) return bad("checkpoint object: stream");
  Stream& stream = shard.log_.create_stream(id);
  stream.restore(body.start, std::move(body.segments));
  if (!body.partition) return {};
  auto partition = std::make_unique<Partition>();
  partition->topic = body.partition->topic;
  partition->index = body.partition->index;
  partition->archived = body.partition->archived;
  partition->log = &stream;
  Partitions& partitions = shard.partitions_;
  if (!partition->archived) {
    partitions.by_name_[{partition->topic, partition->index}] = partition.get();
  }
  partitions.by_stream_.emplace(id, std::move(partition));
  return {};
}

Result<void> Snapshot::restore(Shard& shard, const CheckpointObject& object, ProducersBody body) {
  Partition* partition = shard.partitions_.find(StreamId{object.id});
  if (partition == nullptr) return bad("checkpoint object: producers");
  ProducerTable& table = partition->producers;
  table.producers_ = std::move(body.producers);
  for (const auto& [id, state] : table.producers_) {
    if (state.kind == ProducerKind::kSession) ++table.session_count_;
  }
  return {};
}

Result<void> Snapshot::restore(Shard& shard, const CheckpointObject& /*object*/, PlacesBody body) {
  auto group = std::make_unique<ConsumerGroup>();
  group->info = std::move(body.group);
  for (const PlacesBody::Place& place : body.places) {
    const Partition* partition = shard.partitions_.find(place.stream);
    Stream* dead_stream = shard.log_.find_stream(place.dead_stream);
    if (partition == nullptr || dead_stream == nullptr) return bad("checkpoint object: places");
    group->partitions.push_back(std::make_unique<GroupPartition>(
        group->info.id, partition->index, *partition->log, *dead_stream, Offset{0},
        shard.log_.options().index_limit));
    if (group->info.archived) continue;
    shard.delivery_.by_stream_[partition->log->id()].push_back(group->partitions.back().get());
  }
  shard.delivery_.groups_.emplace(group->info.id, std::move(group));
  return {};
}

Result<void> Snapshot::restore(Shard& shard, const CheckpointObject& object,
                               const NumbersBody& body) {
  GroupPartition* partition = find(shard, object, body.whose);
  if (partition == nullptr) return bad("checkpoint object: unknown group");
  DeliveryState& state = partition->delivery;
  state.start_ = body.start;
  state.fresh_ = body.fresh;
  state.epoch_ = body.epoch;
  state.done_count_ = body.done;
  state.expired_count_ = body.expired;
  state.skipped_count_ = body.skipped;
  state.removed_count_ = body.removed;
  state.removed_to_ = body.removed_to;
  state.compacted_count_ = body.compacted;
  state.failure_count_ = body.failures;
  state.redelivery_count_ = body.redeliveries;
  partition->dead_letters.next_number_ = body.next_letter;
  return {};
}

template <class Element>
Result<void> Snapshot::restore(Shard& shard, const CheckpointObject& object,
                               ListBody<Element> body) {
  GroupPartition* partition = find(shard, object, body.whose);
  if (partition == nullptr) return bad("checkpoint object: unknown group");
  for (Element& element : body.elements) add(*partition, std::move(element));
  return {};
}

/// Whose an object is, and which moment it is of.
GroupPartition* Snapshot::find(Shard& shard, const CheckpointObject& object, GroupPlaceId whose) {
  ConsumerGroup* group = shard.delivery_.find(whose.group);
  GroupPartition* partition = group == nullptr ? nullptr : group->find(whose.stream);
  if (partition != nullptr) shard.loaded_.groups[{whose.group, whose.stream}] = object.applied;
  return partition;
}

void Snapshot::add(GroupPartition& partition, OffsetRange gap) {
  partition.delivery.gaps_.add(gap);
}

void Snapshot::add(GroupPartition& partition, SavedLease saved) {
  DeliveryState& state = partition.delivery;
  for (const OffsetRange range : saved.lease.open)
    state.leased_count_ += static_cast<std::uint64_t>(range.count());
  state.leases_.emplace(saved.token, std::move(saved.lease));
}

void Snapshot::add(GroupPartition& partition, SavedTracked saved) {
  if (saved.message.leased) ++partition.delivery.tracked_leased_;
  partition.delivery.tracked_.emplace(saved.offset, std::move(saved.message));
}

void Snapshot::add(GroupPartition& partition, SavedLetter saved) {
  DeadLetters& letters = partition.dead_letters;
  DeadLetter& letter = saved.letter;
  if (letter.state == DeadLetterState::kDead) ++letters.dead_count_;
  if (letter.state == DeadLetterState::kDiscarded && !letter.past) ++letters.discarded_count_;
  if (letter.holds()) letters.holding_.insert(letter.offset);
  if (letter.erased) letters.set_erased(letter);
  letters.letters_.emplace(saved.number, std::move(letter));
}

void Snapshot::add(GroupPartition& partition, SavedExample saved) {
  partition.dead_letters.examples_[saved.fingerprint] = std::move(saved.failure);
}

}  // namespace waybill

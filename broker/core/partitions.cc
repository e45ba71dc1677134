#include "broker/core/partitions.h"

#include <algorithm>
#include <array>
#include <string>

#include "protocol/base/limits.h"
#include "protocol/base/mutant.h"
#include "protocol/record/record_batch.h"

namespace waybill {
namespace {

RequestError no_partition(TopicId topic, PartitionIndex index) {
  return {Errc::kUnknownPartition, "partition " + std::to_string(index.value) + " of topic id " +
                                       std::to_string(topic.value) +
                                       " is not here; ask for the metadata again"};
}

RequestError refused(Admission admission) {
  if (admission == Admission::kDiskFull) {
    return {Errc::kDiskFull, "the broker's data directory is full; free space and try again"};
  }
  return {Errc::kOverloaded, "the journal is behind; try again later"};
}

/// The part of a batch that the broker stamps when it is copied into the journal (S15): base
/// offset, length, leader epoch.
constexpr std::size_t kStampedSize = batch_layout::kMagic;

}  // namespace

Partition* Partitions::find(TopicId topic, PartitionIndex index) const {
  auto found = by_name_.find({topic, index});
  return found == by_name_.end() ? nullptr : found->second;
}

Partition* Partitions::after(std::pair<TopicId, PartitionIndex> place) const {
  auto next = by_name_.upper_bound(place);
  return next == by_name_.end() ? nullptr : next->second;
}

Partition* Partitions::find(StreamId stream) const {
  auto found = by_stream_.find(stream);
  return found == by_stream_.end() ? nullptr : found->second.get();
}

Partition* Partitions::judge(const PublishPart& part, Done<PublishResult>& done,
                             std::uint32_t& count) {
  // What is refused because of staged state may be told only once that state is durable (S12).
  auto refuse = [&](RequestError error) {
    log_.when_durable([done = std::move(done), error = std::move(error)](bool durable) mutable {
      if (!durable) error = {Errc::kOutcomeUnknown, "the shard stopped"};
      done(std::move(error));
    });
    return nullptr;
  };
  Partition* partition = find(part.topic, part.partition);
  if (partition == nullptr) return refuse(no_partition(part.topic, part.partition));
  Result<BatchHeader> header = parse_batch_header(part.batch.view());
  if (!header) return refuse(header.error());
  count = header->record_count;
  if (part.producer) {
    const ProducerStamp& stamp = *part.producer;
    if (stamp.kind == ProducerKind::kSession && stamp.base_sequence != stamp.previous + 1) {
      return refuse({Errc::kInvalidRequest, "a session producer's sequences have no gaps"});
    }
    if (stamp.base_sequence > UINT64_MAX - count) {
      return refuse({Errc::kInvalidRequest, "the sequence is beyond all numbers"});
    }
    if (stamp.kind == ProducerKind::kDurable) {
      if (auto refusal = durable_producers_.refuse_publish(stamp)) return refuse(*refusal);
    }
    // Deduplication comes before validation (D21): a resend must get its answer whatever else.
    SequenceVerdict verdict = partition->producers.judge(stamp, count);
    if (verdict.kind == SequenceVerdict::Kind::kRefuse) return refuse(*verdict.refusal);
    if (verdict.kind == SequenceVerdict::Kind::kDuplicate) {
      ++metrics_.duplicate_batches;
      if (mutant("duplicate_before_durable")) {
        done(PublishResult{verdict.base_offset, true});
        return nullptr;
      }
      log_.when_durable([done = std::move(done), verdict](bool durable) mutable {
        if (!durable) return done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
        done(PublishResult{verdict.base_offset, true});
      });
      return nullptr;
    }
  }
  if (part.expected_end && !mutant("compare_is_ignored") &&
      *part.expected_end != partition->log->end()) {
    return refuse({Errc::kWrongEndOffset,
                   "the partition ends at " + std::to_string(partition->log->end().value) +
                       ", not at " + std::to_string(part.expected_end->value)});
  }
  return partition;
}

void Partitions::publish(PublishPart part, bool keys_required, Done<PublishResult> done) {
  std::uint32_t count = 0;
  Partition* partition = judge(part, done, count);
  if (partition == nullptr) return;
  Result<BatchFacts> facts = validate_batch(part.batch.view());
  if (!facts) {
    log_.when_durable([done = std::move(done), error = facts.error()](bool) mutable {
      done(RequestError(error));
    });
    return;
  }
  if (keys_required && !facts->all_keys) {
    return log_.when_durable([done = std::move(done)](bool) mutable {
      done(RequestError(Errc::kInvalidBatch,
                        "a record has no key, and the topic keeps the latest record of each key: "
                        "give every message a key, or change the topic's cleanup to delete"));
    });
  }
  if (Admission admission = log_.admit(part.batch.size() + 256, false);
      admission != Admission::kAdmitted) {
    log_.when_durable(
        [done = std::move(done), admission](bool) mutable { done(refused(admission)); });
    return;
  }
  AppendHead head;
  head.stream = partition->log->id();
  head.base = partition->log->end();
  head.count = facts->record_count;
  head.max_timestamp = facts->max_timestamp;
  head.timed = facts->has_not_before || facts->has_expiry;
  head.producer = part.producer;
  append(*partition, part, head);
  log_.when_durable([done = std::move(done), base = head.base](bool durable) mutable {
    if (!durable) return done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    done(PublishResult{base, false});
  });
}

void Partitions::append(Partition& partition, const PublishPart& part, const AppendHead& head) {
  AppendHead written = head;
  if (mutant("forget_producers_on_restart")) written.producer.reset();
  ByteVector bytes = encode(written);
  std::size_t batch_offset = bytes.size();
  Bytes batch = part.batch.view();
  bytes.insert(bytes.end(), batch.begin(), batch.begin() + kStampedSize);
  MutableBytes stamped(bytes.data() + batch_offset, kStampedSize);
  store_big(stamped.data() + batch_layout::kBaseOffset, head.base.value);
  store_big(stamped.data() + batch_layout::kLeaderEpoch, std::int32_t{0});
  StagedEntry entry = log_.stage(EntryType::kAppend, bytes, batch.subspan(kStampedSize));
  apply(head, partition, entry, batch_offset);
  ++metrics_.published_batches;
  metrics_.published_messages += head.count;
  metrics_.published_bytes += batch.size();
  if (appended_) appended_(*partition.log);
}

void Partitions::apply(const AppendHead& head, Partition& partition, const StagedEntry& entry,
                       std::size_t batch_offset) {
  log_.append(*partition.log, {head.base, head.count, head.max_timestamp, batch_offset, head.timed},
              entry);
  if (head.producer) {
    partition.producers.appended(*head.producer, head.count, head.base, entry.seq);
  }
}

void Partitions::apply(const ProducerEntry& entry) {
  if (const auto* opened = std::get_if<OpenedProducer>(&entry)) {
    durable_producers_.opened(opened->id, opened->epoch, opened->name);
    return;
  }
  ProducerId id = std::get<RemovedProducer>(entry).id;
  durable_producers_.removed(id);
  for (const auto& [name, partition] : by_name_) partition->producers.removed(id);
  log_.change_structure();
}

void Partitions::adopt(const TopicInfo& topic) {
  for (std::uint32_t i = 0; i < topic.partitions.size(); ++i) {
    const PartitionPlace& place = topic.partitions[i];
    if (place.shard != log_.options().shard) continue;
    if (Partition* known = find(place.stream)) {
      if (topic.archived && !known->archived) archive(*known);
      continue;
    }
    auto partition = std::make_unique<Partition>();
    partition->topic = topic.id;
    partition->index = {i};
    partition->log = &log_.create_stream(place.stream);
    by_name_[{topic.id, partition->index}] = partition.get();
    by_stream_.emplace(place.stream, std::move(partition));
  }
}

/// Nobody publishes or reads there any more.
void Partitions::archive(Partition& partition) {
  partition.archived = true;
  by_name_.erase({partition.topic, partition.index});
  end_reads(partition.log->id());
}

void Partitions::end_reads(StreamId stream) {
  for (;;) {
    auto next = waiting_reads_.lower_bound({stream, 0});
    if (next == waiting_reads_.end() || next->first.first != stream) return;
    WaitingRead read = take_waiting(next->first);
    read.done(no_partition(read.request.topic, read.request.partition));
  }
}

void Partitions::drop(TopicId topic) {
  std::vector<StreamId> streams;
  for (const auto& [stream, partition] : by_stream_) {
    if (partition->topic == topic) streams.push_back(stream);
  }
  std::ranges::sort(streams);
  for (StreamId stream : streams) {
    const Partition& partition = *by_stream_.at(stream);
    if (!partition.archived) by_name_.erase({partition.topic, partition.index});
    end_reads(stream);
    by_stream_.erase(stream);
    log_.drop_stream(stream);
  }
}

void Partitions::open_producer(OpenProducerRequest request, Done<OpenProducerReply> done) {
  auto refusal = durable_producers_.refuse_open(request);
  if (!refusal && log_.admit(request.name.size() + 4096, true) != Admission::kAdmitted) {
    refusal.emplace(Errc::kDiskFull, "no room to record the producer; try again later");
  }
  if (refusal) {
    log_.when_durable([done = std::move(done), refusal = *refusal](bool durable) mutable {
      if (!durable) refusal = {Errc::kOutcomeUnknown, "the shard stopped"};
      done(std::move(refusal));
    });
    return;
  }
  ProducerEntry entry = OpenedProducer{request.id, request.epoch, request.name};
  auto known = durable_producers_.all().find(request.id);
  if (known == durable_producers_.all().end() || known->second.epoch != request.epoch) {
    log_.stage(EntryType::kProducer, encode(entry));
    apply(entry);
  }
  OpenProducerReply reply{positions_of(request.id)};
  log_.when_durable([done = std::move(done), reply = std::move(reply)](bool durable) mutable {
    if (!durable) return done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    done(std::move(reply));
  });
}

std::vector<ProducerPosition> Partitions::positions_of(ProducerId id) const {
  std::vector<ProducerPosition> positions;
  for (const auto& [name, partition] : by_name_) {
    if (auto last = partition->producers.last_sequence(id)) {
      positions.push_back({partition->topic, partition->index, *last});
    }
  }
  return positions;
}

std::vector<ProducerInfo> Partitions::list_producers() const {
  std::vector<ProducerInfo> producers;
  for (const auto& [id, producer] : durable_producers_.all()) {
    producers.push_back({id, producer.epoch, producer.name, positions_of(id)});
  }
  return producers;
}

void Partitions::remove_producer(RemoveProducerRequest request, Done<bool> done) {
  bool known = durable_producers_.all().contains(request.id);
  std::optional<RequestError> refusal;
  if (known && log_.admit(4096, true) != Admission::kAdmitted) {
    refusal.emplace(Errc::kDiskFull, "no room to record the removal; try again later");
  } else if (known) {
    ProducerEntry entry = RemovedProducer{request.id};
    log_.stage(EntryType::kProducer, encode(entry));
    apply(entry);
  }
  log_.when_durable([done = std::move(done), known, refusal](bool durable) mutable {
    if (!durable) return done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    if (refusal) return done(std::move(*refusal));
    done(known);
  });
}

Reply<PartitionStatus> Partitions::status(TopicId topic, PartitionIndex index) const {
  const Partition* partition = find(topic, index);
  if (partition == nullptr) return no_partition(topic, index);
  PartitionStatus status;
  status.partition = index;
  status.start = partition->log->start();
  status.end = partition->log->visible_end();
  status.bytes = partition->log->bytes();
  return status;
}

void Partitions::read(ReadRequest request, Done<ReadReply> done) {
  ++metrics_.read_requests;
  Partition* partition = find(request.topic, request.partition);
  if (partition == nullptr) {
    log_.when_durable([done = std::move(done),
                       error = no_partition(request.topic, request.partition)](bool) mutable {
      done(std::move(error));
    });
    return;
  }
  const Stream& log = *partition->log;
  Offset from = request.from;
  if (request.from_time) {
    from = std::min(log.find_time(*request.from_time), log.visible_end());
    request.from_time.reset();
    request.from = from;
  }
  if (from < log.start() || from > log.visible_end()) {
    RequestError error(Errc::kOffsetOutOfRange, "offset " + std::to_string(from.value) +
                                                    " is outside [" +
                                                    std::to_string(log.start().value) + ", " +
                                                    std::to_string(log.visible_end().value) + "]");
    log_.when_durable([done = std::move(done), error = std::move(error)](bool) mutable {
      done(std::move(error));
    });
    return;
  }
  if (from == log.visible_end() && request.wait.count() > 0) {
    MonotonicTime until = log_.clock().monotonic() + request.wait;
    WaitingKey key{log.id(), next_waiting_++};
    waiting_reads_.emplace(key, WaitingRead{std::move(request), std::move(done), until});
    read_deadlines_.emplace(until, key);
    return;
  }
  answer(*partition, request, from, std::move(done));
}

void Partitions::answer(Partition& partition, const ReadRequest& request, Offset from,
                        Done<ReadReply> done, bool first_only) {
  const Stream& log = *partition.log;
  ReadReply reply;
  reply.first = from;
  reply.start = log.start();
  reply.end = mutant("read_before_durable") ? log.end() : log.visible_end();
  Offset end = from;
  for (std::uint64_t bytes = 0; end < reply.end;) {
    Stretch stretch = log.at(end);
    if (bytes > 0 && (first_only || bytes + stretch.size > request.max_bytes)) break;
    bytes += stretch.size;
    end = stretch.end;
  }
  log_.read(log, from, end,
            [this, reply = std::move(reply), max_bytes = request.max_bytes, request, from, end,
             first_only, id = log.id(),
             done = std::move(done)](Result<std::vector<SharedBytes>> batches) mutable {
              if (!batches) {
                // What is sound in front of the damage is served.
                RequestError error = log_.explain(batches.error());
                Partition* again = first_only ? nullptr : find(id);
                if (again == nullptr || from < again->log->start()) return done(std::move(error));
                return answer(*again, request, from, std::move(done), true);
              }
              // All of it was compacted (S23): what is behind is read instead, or waited for.
              if (batches->empty() && from < end) {
                ReadRequest behind = request;
                behind.from = end;
                return read(std::move(behind), std::move(done));
              }
              // A stretch of a segment may hold more than was asked for.
              std::size_t bytes = 0;
              for (SharedBytes& batch : *batches) {
                if (bytes > 0 && bytes + batch.size() > max_bytes) break;
                bytes += batch.size();
                reply.batches.push_back(std::move(batch));
              }
              done(std::move(reply));
            });
}

Partitions::WaitingRead Partitions::take_waiting(WaitingKey key) {
  auto found = waiting_reads_.find(key);
  WaitingRead read = std::move(found->second);
  waiting_reads_.erase(found);
  read_deadlines_.erase({read.until, key});
  return read;
}

void Partitions::revealed(const Stream& stream) {
  Partition* partition = find(stream.id());
  for (;;) {
    auto next = waiting_reads_.lower_bound({stream.id(), 0});
    if (next == waiting_reads_.end() || next->first.first != stream.id()) return;
    WaitingRead read = take_waiting(next->first);
    answer(*partition, read.request, read.request.from, std::move(read.done));
  }
}

void Partitions::expire(MonotonicTime now) {
  while (!read_deadlines_.empty() && read_deadlines_.begin()->first <= now) {
    WaitingKey key = read_deadlines_.begin()->second;
    WaitingRead read = take_waiting(key);
    answer(*find(key.first), read.request, read.request.from, std::move(read.done));
  }
}

void Partitions::abandon_reads() {
  while (!waiting_reads_.empty()) {
    take_waiting(waiting_reads_.begin()->first)
        .done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
  }
}

std::optional<MonotonicTime> Partitions::deadline() const {
  if (read_deadlines_.empty()) return std::nullopt;
  return read_deadlines_.begin()->first;
}

}  // namespace waybill

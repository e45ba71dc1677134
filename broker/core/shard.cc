#include "broker/core/shard.h"

#include <algorithm>
#include <string>

#include "protocol/base/mutant.h"

namespace waybill {

namespace {

/// Dead-letter streams are numbered by their shard, above all streams that the catalog numbers.
constexpr std::uint64_t kFirstDeadStream = std::uint64_t{1} << 47;

Error misfit(const char* where) {
  return {Errc::kBadFormat, 0, where};
}

}  // namespace

Shard::Shard(ShardEnvironment environment, ShardOptions options)
    : log_(environment, options),
      partitions_(log_, metrics_),
      delivery_(log_, partitions_, metrics_),
      desk_(log_, delivery_, metrics_),
      compactor_(log_, delivery_, metrics_),
      retention_(log_, partitions_, delivery_, compactor_),
      owner_(log_),
      checkpointer_(*this, log_) {
  partitions_.on_appended([this](const Stream& stream) { delivery_.appended(stream); });
  delivery_.on_outcomes([this](GroupId group, std::vector<DeliveryOutcome> outcomes) {
    report(group, std::move(outcomes));
  });
  log_.on_revealed([this](Stream& stream) { partitions_.revealed(stream); });
}

Result<std::unique_ptr<Shard>> recover_shard(ShardEnvironment environment, ShardOptions options,
                                             RecoveryReport* report, std::string* explanation) {
  std::unique_ptr<Shard> shard(new Shard(environment, options));
  Shard& opening = *shard;
  Result<JournalBase> base = opening.checkpointer_.load(opening, report, explanation);
  if (!base) return base.error();
  Result<void> opened = opening.log_.open(
      *base,
      [&opening](const EntryView& entry, const StagedEntry& staged) {
        return opening.replay(entry, staged);
      },
      report, explanation);
  if (opened) opened = opening.check_carried(explanation);
  if (!opened) {
    // The predecessor is older than what the journal has forgotten.
    if (!report->passed_over.empty()) *explanation = report->passed_over + *explanation;
    return opened.error();
  }
  opening.loaded_ = {};
  opening.delivery_.resume();
  return shard;
}

// --- the fold ---

Result<void> Shard::replay(const EntryView& entry, const StagedEntry& staged) {
  if (entry.version != kEntryVersion) {
    return {Errc::kUnsupportedFormat, "entry version of a newer broker"};
  }
  if (!is_local(entry.type) && entry.seq <= loaded_.rest && !holds_batch(entry.type)) {
    return {};
  }
  switch (entry.type) {
    case EntryType::kAppend:
    case EntryType::kCarry:
      return replay_append(entry, staged);
    case EntryType::kDelivery: {
      Result<DeliveryEntry> decoded = decode_delivery(entry.body);
      if (decoded && entry.seq <= loaded_.of(decoded->group, decoded->stream)) return {};
      return decoded ? delivery_.apply(*decoded) : Result<void>(decoded.error());
    }
    case EntryType::kDeadLetter: {
      Result<DeadLetterEntry> decoded = decode_dead_letter(entry.body);
      if (decoded && entry.seq <= loaded_.of(decoded->group, decoded->stream)) return {};
      return decoded ? delivery_.apply(*decoded) : Result<void>(decoded.error());
    }
    case EntryType::kCatalog: {
      Result<CatalogChange> decoded = decode_catalog(entry.body);
      return decoded ? owner_.apply(*decoded) : Result<void>(decoded.error());
    }
    case EntryType::kAdopt: {
      Result<AdoptEntry> decoded = decode_adopt(entry.body);
      return decoded ? apply(*decoded) : Result<void>(decoded.error());
    }
    case EntryType::kProducer: {
      Result<ProducerEntry> decoded = decode_producer(entry.body);
      if (!decoded) return decoded.error();
      partitions_.apply(*decoded);
      return {};
    }
    case EntryType::kTrim: {
      Result<TrimEntry> decoded = decode_trim(entry.body);
      if (decoded && entry.seq <= loaded_.of(decoded->stream)) return {};
      return decoded ? apply(*decoded) : Result<void>(decoded.error());
    }
    case EntryType::kStart:
      return {};
  }
  return {Errc::kUnsupportedFormat, "entry type of a newer broker"};
}

Result<void> Shard::replay_append(const EntryView& entry, const StagedEntry& staged) {
  std::size_t batch_offset = 0;
  Result<AppendHead> head = decode_append(entry.body, &batch_offset);
  if (!head) return head.error();
  Stream* stream = log_.find_stream(head->stream);
  const bool applied = entry.seq <= loaded_.of(head->stream);
  const bool carried = entry.type == EntryType::kCarry;
  // Its stream went before the checkpoint.
  if (applied && stream == nullptr) return {};
  if (stream == nullptr) return misfit("append entry");
  // It is in a segment, or carried forward from where it is.
  if ((applied || carried) && head->base < stream->end()) return {};
  // Replay began behind what is before it: that was carried forward, and so was this (S18).
  if (applied && head->base > stream->end()) {
    Offset& awaited = loaded_.awaited[head->stream];
    awaited = std::max(awaited, head->base + head->count);
    return {};
  }
  if ((carried && !applied) || stream->end() != head->base) return misfit("append entry");
  if (carried && mutant("what_is_carried_is_lost")) return {};
  if (applied) head->producer.reset();  // remembered already
  if (Partition* partition = partitions_.find(head->stream)) {
    partitions_.apply(*head, *partition, staged, batch_offset);
  } else {  // a dead-letter stream
    log_.append(*stream, {head->base, head->count, head->max_timestamp, batch_offset}, staged);
  }
  return {};
}

Result<void> Shard::check_carried(std::string* explanation) const {
  for (const auto& [id, end] : loaded_.awaited) {
    const Stream* stream = log_.find_stream(id);
    if (stream == nullptr || stream->end() >= end) continue;
    *explanation = "What the journal carried forward of stream " + std::to_string(id.value) +
                   " ends at offset " + std::to_string(stream->end().value) +
                   ", and should go up to " + std::to_string(end.value) + ".";
    return misfit("carry entry");
  }
  return {};
}

Result<void> Shard::apply(const TrimEntry& entry) {
  Stream* stream = log_.find_stream(entry.stream);
  const bool fits =
      stream != nullptr && entry.start >= stream->start() && entry.start <= stream->end();
  if (!fits) return misfit("trim entry");
  log_.trim(*stream, entry.start);
  return {};
}

Result<void> Shard::apply(const AdoptEntry& entry) {
  if (const auto* put_topic = std::get_if<PutTopic>(&entry.change)) {
    partitions_.adopt(put_topic->topic);
    adopted_topics_[put_topic->topic.id] = put_topic->topic.version;
  } else if (const auto* put_group = std::get_if<PutGroup>(&entry.change)) {
    if (Result<void> adopted = delivery_.adopt(put_group->group, entry.places); !adopted) {
      return adopted;
    }
    adopted_groups_[put_group->group.id] = put_group->group.version;
    next_dead_stream_ += entry.places.size();
  } else if (const auto* drop_topic = std::get_if<DropTopic>(&entry.change)) {
    partitions_.drop(drop_topic->topic);
    adopted_topics_.erase(drop_topic->topic);
  } else {
    delivery_.drop(std::get<DropGroup>(entry.change).group);
    adopted_groups_.erase(std::get<DropGroup>(entry.change).group);
  }
  return {};
}

void Shard::adopt(const CatalogChange& change, const TopicInfo& topic,
                  Done<std::vector<ResetPartition>> done) {
  auto stopped = [] { return RequestError(Errc::kOutcomeUnknown, "a shard stopped"); };
  if (poisoned()) {
    return log_.when_durable([done = std::move(done), stopped](bool) mutable { done(stopped()); });
  }
  AdoptEntry entry;
  entry.change = change;
  bool news = true;
  if (const auto* put_topic = std::get_if<PutTopic>(&change)) {
    auto known = adopted_topics_.find(put_topic->topic.id);
    news = known == adopted_topics_.end() || known->second < put_topic->topic.version;
  } else if (const auto* put_group = std::get_if<PutGroup>(&change)) {
    auto known = adopted_groups_.find(put_group->group.id);
    news = known == adopted_groups_.end() || known->second < put_group->group.version;
    if (known == adopted_groups_.end()) {
      std::uint64_t shard = static_cast<std::uint64_t>(log_.options().shard.value) << 48;
      StreamId next{shard | (kFirstDeadStream + next_dead_stream_)};
      entry.places = delivery_.places(put_group->group, topic, next);
    }
  } else if (const auto* drop_topic = std::get_if<DropTopic>(&change)) {
    news = adopted_topics_.contains(drop_topic->topic);
  } else {
    news = adopted_groups_.contains(std::get<DropGroup>(change).group);
  }
  if (news) {
    log_.stage(EntryType::kAdopt, encode(entry));
    Result<void> applied = apply(entry);
    WB_ASSERT(applied.ok(), "an adoption fits the state");
  }
  // Also if it is no news: the power may have failed between the adoption and the trims, or the
  // reset.
  if (const auto* gone = std::get_if<PutTopic>(&change); gone && gone->topic.archived) {
    empty(gone->topic);
  }
  const auto* put = std::get_if<PutGroup>(&change);
  if (put != nullptr && put->group.epoch > 0) {  // an archive's begins behind all there is
    const GroupInfo& group = put->group;
    return delivery_.reset(group.id, group.epoch, group.start, put->reset_dead, std::move(done));
  }
  log_.when_durable([done = std::move(done), stopped](bool durable) mutable {
    if (!durable) return done(stopped());
    done(std::vector<ResetPartition>());
  });
}

/// What is left of a deleted topic is what archives refer to: no message.
void Shard::empty(const TopicInfo& topic) {
  for (const PartitionPlace& place : topic.partitions) {
    const Partition* partition = partitions_.find(place.stream);
    if (partition == nullptr || partition->log->start() == partition->log->end()) continue;
    delivery_.trim(*partition->log, partition->log->end());
  }
}

void Shard::drop_missing(const Catalog& catalog, std::move_only_function<void(bool durable)> done) {
  // Groups before the topics they consume.
  std::vector<CatalogChange> changes;
  for (const auto& [id, version] : adopted_groups_) {
    if (catalog.group(id) == nullptr) changes.emplace_back(DropGroup{id, catalog.version});
  }
  for (const auto& [id, version] : adopted_topics_) {
    if (catalog.topic(id) == nullptr) changes.emplace_back(DropTopic{id, catalog.version});
  }
  for (const CatalogChange& change : changes) adopt(change, {}, [](const auto&) {});
  log_.when_durable(std::move(done));
}

void Shard::report(GroupId id, std::vector<DeliveryOutcome> outcomes) {
  const ConsumerGroup* group = delivery_.find(id);
  if (group == nullptr) return;
  const Brake& brake = group->info.brake;
  const BrakePolicy& policy = group->info.policy.brake;
  // What its judge would not look at stays here (BrakeJudge::outcome).
  if (!policy.enabled || brake.mode != BrakeMode::kAutomatic) return;
  if (brake.state == BrakeState::kOpen) return;
  std::erase_if(outcomes, &DeliveryOutcome::redriven);
  std::size_t most = std::max(policy.outcomes, policy.in_a_row);
  if (outcomes.size() > most) outcomes.erase(outcomes.begin(), outcomes.end() - most);
  if (outcomes.empty()) return;
  // A request: where queues are full, the brake decides by the outcomes it gets.
  log_.mailbox().post(
      ShardIndex{0},
      [id, outcomes = std::move(outcomes)](Shard& home) { home.owner_.ended(id, outcomes); },
      Mailbox::Kind::kRequest);
}

// --- the loop ---

void Shard::turn() {
  log_.begin_turn();
  if (poisoned()) {
    partitions_.abandon_reads();
  } else {
    partitions_.expire(log_.clock().monotonic());
    owner_.tick();
    retention_.turn(*shown_);
    delivery_.turn();
    log_.flush();
    compactor_.turn();
    if (!delivery_.has_unstaged()) checkpointer_.turn();
  }
  log_.end_turn();
}

std::optional<MonotonicTime> Shard::deadline() const {
  if (log_.wants_turn()) return log_.clock().monotonic();
  if (poisoned()) return std::nullopt;
  if (delivery_.wants_turn()) return log_.clock().monotonic();
  std::optional<MonotonicTime> earliest;
  for (std::optional<MonotonicTime> at :
       {log_.deadline(), checkpointer_.deadline(), delivery_.deadline(), partitions_.deadline(),
        owner_.deadline(), retention_.deadline(), compactor_.deadline()}) {
    if (at && (!earliest || *at < *earliest)) earliest = at;
  }
  return earliest;
}

ShardMetrics Shard::metrics() {
  ShardMetrics metrics = metrics_;
  metrics.carried_bytes = log_.carried_bytes();
  metrics.journal_bytes = log_.journal().bytes_on_disk();
  metrics.entries_staged = log_.journal().staged().value;
  metrics.entries_durable = log_.journal().durable().value;
  metrics.flush_stalled = log_.flusher().stalled() ? 1 : 0;
  metrics.damaged_streams = log_.flusher().damaged();
  metrics.disk_full = log_.admit(0, false) == Admission::kDiskFull ? 1 : 0;
  metrics.disk_free_bytes = log_.space().free();
  metrics.reserve_bytes = log_.space().reserve();
  metrics.open_dead_letters = delivery_.open_dead_letters();
  metrics.leased = delivery_.leased();
  metrics.partitions = partitions_.count();
  for (const auto& [id, version] : adopted_groups_) {
    for (const GroupPartitionStatus& status : delivery_.status(id)) {
      metrics.ready += status.accounting.ready;
      metrics.scheduled += status.accounting.scheduled;
      metrics.delayed += status.accounting.delayed;
      metrics.held += status.accounting.held;
      ++metrics.waiting[std::to_underlying(status.waiting)];
    }
  }
  for (const GroupInfo& group : owner_.catalog().groups) {
    ++metrics.groups;
    if (group.paused) ++metrics.groups_paused;
    if (group.brake.state == BrakeState::kOpen) ++metrics.groups_braked;
    if (group.brake.state == BrakeState::kProbing) ++metrics.groups_probing;
  }
  return metrics;
}

}  // namespace waybill

#include "client/message_publisher.h"

#include <algorithm>

#include "client/client_core.h"
#include "client/message_times.h"
#include "protocol/record/batch_builder.h"
#include "protocol/record/partitioner.h"

namespace waybill {
namespace {

/// Batches at the broker at a time: enough for its group commit, and a fraction of the requests
/// that a connection may have pending, so that settlements always pass.
constexpr std::size_t kMaxFlights = 256;
/// A producer renewed so often for one batch is not forgetfulness of the broker.
constexpr std::uint32_t kMaxRenewals = 3;
/// Between resends after "overloaded", "disk full" and their like.
constexpr Backoff kResend{BackoffKind::kExponential, std::chrono::milliseconds(20), 2.0,
                          std::chrono::milliseconds(2000), Jitter::kFull};

std::size_t size_of(const Message& message) {
  constexpr std::size_t kRecordOverhead = 64;
  std::size_t size = kRecordOverhead;
  if (message.key) size += message.key->size();
  if (message.value) size += message.value->size();
  for (const Header& header : message.headers) size += header.key.size() + header.value.size();
  return size;
}

RecordDraft record_of(const Message& message) {
  RecordDraft record;
  if (message.key) record.key = *message.key;
  if (message.value) record.value = *message.value;
  for (const Header& header : message.headers)
    record.headers.emplace_back(header.key, header.value);
  record.timestamp = message.timestamp;
  return record;
}

/// Whether a definite refusal is worth the same batch again.
bool worth_repeating(Errc code) {
  return facts(code).retriable && code != Errc::kProducerUnknown && code != Errc::kOutOfOrder;
}

}  // namespace

MessagePublisher::MessagePublisher(ClientCore& core)
    : core_(core), producer_{core.random().uuid()}, expiry_(core.strand()) {}

MessagePublisher::~MessagePublisher() = default;

// --- from the caller to a partition's queue ---

void MessagePublisher::publish(PublishTarget target, Message message,
                               Completion<PublishReceipt> completion) {
  Draft draft;
  draft.target = std::move(target);
  draft.message = std::move(message);
  draft.deadline = std::chrono::steady_clock::now() + core_.options().publish_timeout;
  draft.completion = std::move(completion);
  if (draft.message.timestamp == WallTime{}) draft.message.timestamp = SystemClock().wall();
  const PublishTarget& when = draft.target;
  if (when.not_before && !not_before(draft.message)) {
    set_not_before(draft.message, *when.not_before);
  }
  if (when.expires && !expiry(draft.message)) set_expiry(draft.message, *when.expires);
  draft.size = size_of(draft.message);
  bool room = waiting_.empty() && (buffered_bytes_ == 0 || buffered_bytes_ + draft.size <=
                                                               core_.options().max_buffered_bytes);
  if (room) {
    admit(std::move(draft));
  } else if (waiting_.size() < core_.options().max_waiting_publishes) {
    waiting_.push_back(std::move(draft));
  } else {
    draft.completion(
        RequestError(Errc::kOverloaded,
                     "the client's publish buffer is full and " + std::to_string(waiting_.size()) +
                         " messages wait for room; wait for receipts before publishing more"));
  }
  watch_deadlines();
}

void MessagePublisher::admit(Draft draft) {
  draft.buffered = true;
  buffered_bytes_ += draft.size;
  std::string topic = draft.target.topic;
  auto [found, first] = unresolved_.try_emplace(topic);
  found->second.push_back(std::move(draft));
  if (!first) return;
  core_.find_topic(topic, [weak = core_.weak_from_this(), this, topic](Reply<TopicInfo> info) {
    if (auto core = weak.lock()) resolved(topic, info);
  });
}

void MessagePublisher::resolved(const std::string& topic, const Reply<TopicInfo>& info) {
  auto found = unresolved_.extract(topic);
  if (found.empty()) return;
  for (Draft& draft : found.mapped()) {
    if (info) {
      enqueue(std::move(draft), *info);
    } else {
      complete(draft, info.error());
    }
  }
}

void MessagePublisher::enqueue(Draft draft, const TopicInfo& topic) {
  auto count = static_cast<std::uint32_t>(topic.partitions.size());
  PartitionIndex partition = choose_partition(draft, topic);
  if (partition.value >= count) {
    return complete(draft, RequestError(Errc::kUnknownPartition,
                                        "topic '" + topic.name + "' has " + std::to_string(count) +
                                            " partitions, numbered from 0; there is no " +
                                            std::to_string(partition.value)));
  }
  QueueKey key{topic.id, partition};
  auto [found, created] = queues_.try_emplace(key);
  PartitionQueue& queue = found->second;
  if (created) {
    queue.key = key;
    queue.producer = producer_;
    queue.pause = std::make_unique<asio::steady_timer>(core_.strand());
  }
  queue.drafts.push_back(std::move(draft));
  schedule(queue);
}

PartitionIndex MessagePublisher::choose_partition(const Draft& draft, const TopicInfo& topic) {
  if (draft.target.partition) return *draft.target.partition;
  auto count = static_cast<std::uint32_t>(topic.partitions.size());
  if (count == 0) return {};
  if (draft.message.key) return partition_for_key(*draft.message.key, count);
  auto [sticky, fresh] = sticky_.try_emplace(topic.id);
  if (fresh) sticky->second = {static_cast<std::uint32_t>(core_.random().below(count))};
  return sticky->second;
}

// --- from the queue to the broker ---

void MessagePublisher::schedule(PartitionQueue& queue) {
  if (queue.dirty || queue.flight || queue.drafts.empty()) return;
  queue.dirty = true;
  scheduled_.push_back(queue.key);
  if (launch_posted_) return;
  // At the end of the turn: what was published together goes together.
  launch_posted_ = true;
  core_.post([weak = core_.weak_from_this(), this] {
    if (auto core = weak.lock()) launch_scheduled();
  });
}

void MessagePublisher::launch_scheduled() {
  launch_posted_ = false;
  while (!scheduled_.empty() && flights_ < kMaxFlights) {
    PartitionQueue& queue = queues_.at(scheduled_.front());
    scheduled_.pop_front();
    queue.dirty = false;
    launch(queue);
  }
}

void MessagePublisher::launch(PartitionQueue& queue) {
  if (queue.flight || !build(queue)) return;
  ++flights_;
  queue.flight_number = ++last_flight_;
  auto sticky = sticky_.find(queue.key.first);
  if (sticky != sticky_.end() && sticky->second == queue.key.second) sticky_.erase(sticky);
  send(queue);
}

bool MessagePublisher::build(PartitionQueue& queue) {
  BatchBuilder builder;
  Flight flight;
  while (!queue.drafts.empty()) {
    Draft& draft = queue.drafts.front();
    RecordDraft record = record_of(draft.message);
    bool full =
        !builder.empty() &&
        (builder.size() + draft.size > core_.options().max_batch_bytes || !builder.fits(record));
    if (full) break;
    Result<void> added = builder.add(record);
    if (added) {
      flight.drafts.push_back(std::move(draft));
      flight.drafts.back().message = {};
    } else {
      complete(draft, RequestError(added.error()));
    }
    queue.drafts.pop_front();
  }
  if (builder.empty()) return false;
  flight.deadline = flight.drafts.front().deadline;
  flight.part.topic = queue.key.first;
  flight.part.partition = queue.key.second;
  flight.part.producer = ProducerStamp{.id = queue.producer,
                                       .previous = queue.last_sequence,
                                       .base_sequence = queue.last_sequence + 1};
  flight.part.batch = SharedBytes(builder.build());
  queue.last_sequence += flight.drafts.size();
  queue.flight = std::move(flight);
  return true;
}

void MessagePublisher::send(PartitionQueue& queue) {
  std::shared_ptr<BrokerConnection> connection = core_.connection();
  Flight& flight = *queue.flight;
  if (connection == nullptr || flight.on_the_wire) return;
  flight.on_the_wire = true;
  flight.sent = true;
  PublishRequest request;
  request.parts.push_back(flight.part);
  connection->request(request, core_.options().request_timeout,
                      [weak = core_.weak_from_this(), this, key = queue.key,
                       number = queue.flight_number](Reply<PublishReply> reply) {
                        auto core = weak.lock();
                        if (!core) return;
                        auto found = queues_.find(key);
                        bool current = found != queues_.end() && found->second.flight &&
                                       found->second.flight_number == number;
                        if (current) answered(found->second, std::move(reply));
                      });
}

void MessagePublisher::connected() {
  for (auto& [key, queue] : queues_) {
    if (queue.flight) send(queue);
  }
}

void MessagePublisher::answered(PartitionQueue& queue, Reply<PublishReply> reply) {
  queue.flight->on_the_wire = false;
  if (!reply && reply.error() == Errc::kTimedOut) {
    // A broker that is silent for so long is gone or stuck: try another connection.
    queue.flight->unknown = true;
    if (auto connection = core_.connection()) connection->close(reply.error());
    return;
  }
  if (!reply && reply.error() == Errc::kConnectionLost) {
    queue.flight->unknown = true;  // connected() sends it again
    return;
  }
  if (!reply) return refuse(queue, reply.error());
  if (reply->parts.size() != 1) {
    queue.flight->unknown = true;
    if (auto connection = core_.connection()) {
      connection->close({Errc::kConnectionLost, "the broker answered another publish than ours"});
    }
    return;
  }
  if (!reply->parts[0]) return refuse(queue, reply->parts[0].error());
  succeed(queue, *reply->parts[0]);
}

void MessagePublisher::succeed(PartitionQueue& queue, const PublishResult& result) {
  std::int64_t index = 0;
  for (Draft& draft : queue.flight->drafts) {
    complete(draft, PublishReceipt{queue.key.second, result.base_offset + index, result.duplicate});
    ++index;
  }
  landed(queue);
}

void MessagePublisher::refuse(PartitionQueue& queue, const RequestError& error) {
  Flight& flight = *queue.flight;
  ++flight.refusals;
  if (facts(error.code).outcome_unknown && error.code != Errc::kProducerUnknown) {
    flight.unknown = true;
    return send_later(queue);
  }
  if (worth_repeating(error.code)) return send_later(queue);

  bool forgotten = error == Errc::kProducerUnknown || error == Errc::kOutOfOrder;
  if (forgotten && !flight.unknown && flight.refusals <= kMaxRenewals) {
    // Certainly not appended: the broker has evicted this producer. The same batch, newly stamped.
    renew_producer(queue);
    flight.part.producer = ProducerStamp{.id = queue.producer, .base_sequence = 1};
    queue.last_sequence = flight.drafts.size();
    return send(queue);
  }
  if (error == Errc::kUnknownTopic) core_.forget_topic(queue.key.first);
  if (flight.unknown) {
    return give_up(queue, {Errc::kOutcomeUnknown,
                           "the connection was lost after the batch was sent, and the broker "
                           "cannot say any more whether it has it: " +
                               error.explanation});
  }
  // Not appended: the sequence is free again.
  queue.last_sequence = flight.part.producer->previous;
  give_up(queue, error);
}

void MessagePublisher::send_later(PartitionQueue& queue) {
  queue.pause->expires_after(backoff_delay(kResend, queue.flight->refusals, core_.random().next()));
  queue.pause->async_wait(
      [weak = core_.weak_from_this(), this, key = queue.key](boost::system::error_code stopped) {
        auto core = weak.lock();
        if (stopped || !core) return;
        auto found = queues_.find(key);
        if (found != queues_.end() && found->second.flight) send(found->second);
      });
}

void MessagePublisher::renew_producer(PartitionQueue& queue) {
  queue.producer = {core_.random().uuid()};
  queue.last_sequence = 0;
}

void MessagePublisher::give_up(PartitionQueue& queue, const RequestError& error) {
  for (Draft& draft : queue.flight->drafts) complete(draft, error);
  if (queue.flight->unknown) renew_producer(queue);
  landed(queue);
}

void MessagePublisher::landed(PartitionQueue& queue) {
  queue.flight.reset();
  queue.pause->cancel();
  --flights_;
  // Straight on with what gathered meanwhile, unless other partitions wait for a flight.
  if (scheduled_.empty()) return launch(queue);
  schedule(queue);
  launch_scheduled();
}

// --- room, time, the end ---

void MessagePublisher::complete(Draft& draft, Reply<PublishReceipt> reply) {
  if (draft.buffered) buffered_bytes_ -= draft.size;
  draft.completion(std::move(reply));
  admit_waiting();
  finish_flush();
}

void MessagePublisher::admit_waiting() {
  while (!waiting_.empty() && (buffered_bytes_ == 0 || buffered_bytes_ + waiting_.front().size <=
                                                           core_.options().max_buffered_bytes)) {
    Draft draft = std::move(waiting_.front());
    waiting_.pop_front();
    admit(std::move(draft));
  }
}

void MessagePublisher::watch_deadlines() {
  if (expiry_armed_) return;
  expiry_armed_ = true;
  // Deadlines are all equally far away, so a look now and then finds each soon after it passed.
  expiry_.expires_after(
      std::max(core_.options().publish_timeout / 10, ClientCore::Milliseconds(5)));
  expiry_.async_wait([weak = core_.weak_from_this(), this](boost::system::error_code stopped) {
    auto core = weak.lock();
    if (stopped || !core) return;
    expiry_armed_ = false;
    expire();
    if (buffered_bytes_ > 0) watch_deadlines();
  });
}

template <class Drafts>
void MessagePublisher::expire_front(Drafts& drafts, SteadyTime now) {
  while (!drafts.empty() && drafts.front().deadline <= now) {
    Draft late = std::move(drafts.front());
    drafts.pop_front();
    complete(late, RequestError(Errc::kTimedOut,
                                "the message was not sent in time; the broker does not have it"));
  }
}

void MessagePublisher::expire() {
  SteadyTime now = std::chrono::steady_clock::now();
  for (auto& [key, queue] : queues_) {
    expire_front(queue.drafts, now);
    if (!queue.flight || queue.flight->deadline > now) continue;
    if (queue.flight->sent) {
      queue.flight->unknown = true;
      give_up(queue, {Errc::kOutcomeUnknown,
                      "the broker did not confirm the batch in time; it may have it"});
    } else {
      queue.last_sequence = queue.flight->part.producer->previous;
      give_up(queue, {Errc::kTimedOut, "the batch was not sent; the broker does not have it"});
    }
  }
  for (auto& [topic, drafts] : unresolved_) expire_front(drafts, now);
  expire_front(waiting_, now);
}

void MessagePublisher::flush(Completion<void> completion) {
  flushes_.push_back(std::move(completion));
  finish_flush();
}

void MessagePublisher::finish_flush() {
  if (buffered_bytes_ > 0 || !waiting_.empty()) return;
  // After this turn: whoever waits may close the client, and a flight is being landed here.
  for (Completion<void>& flushed : std::exchange(flushes_, {})) {
    core_.post([flushed = std::move(flushed)]() mutable { flushed(Reply<void>()); });
  }
}

void MessagePublisher::fail_all(const RequestError& error) {
  std::vector<Draft> drafts;
  auto take = [&](auto& from) {
    std::ranges::move(from, std::back_inserter(drafts));
    from.clear();
  };
  take(waiting_);
  for (auto& [topic, queued] : unresolved_) take(queued);
  unresolved_.clear();
  for (auto& [key, queue] : queues_) {
    if (queue.flight) take(queue.flight->drafts);
    take(queue.drafts);
  }
  queues_.clear();
  scheduled_.clear();
  flights_ = 0;
  expiry_.cancel();
  expiry_armed_ = false;
  for (Draft& draft : drafts) complete(draft, error);
}

}  // namespace waybill

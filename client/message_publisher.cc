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
/// A batch takes messages for this part of the publish timeout after its first: they end together.
constexpr int kGatherPart = 10;
/// Messages without a key move on to another partition after so many bytes, or before, when a batch
/// to theirs is out.
constexpr std::size_t kStickyBytes = 16 * 1024;
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
  record.headers.reserve(message.headers.size());
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

PublishCall::PublishCall(PublishTarget to, Message message, Completion<PublishReceipt> completion)
    : target(std::move(to)), one(std::move(completion)) {
  messages.push_back(std::move(message));
}

PublishCall::PublishCall(PublishTarget to, std::vector<Message> several,
                         Completion<PublishReceipts> completion)
    : target(std::move(to)), messages(std::move(several)), all(std::make_shared<Answer>()) {
  WB_ASSERT(!messages.empty(), "a call publishes something");
  all->receipts.assign(messages.size(), PublishReceipt{});
  all->open = messages.size();
  all->completion = std::move(completion);
}

MessagePublisher::MessagePublisher(ClientCore& core)
    : core_(core), producer_{core.random().uuid()}, expiry_(core.strand()) {}

MessagePublisher::~MessagePublisher() = default;

// --- from the caller to a partition's batch ---

void MessagePublisher::publish_waiting() {
  std::vector<PublishCall> calls = inbox_.take();
  for (PublishCall& call : calls) publish(std::move(call));
  inbox_.recycle(std::move(calls));
}

void MessagePublisher::publish(PublishCall call) {
  prepare(call);
  Draft draft{std::move(call), std::chrono::steady_clock::now() + core_.options().publish_timeout};
  if (waiting_.empty() && admit(draft)) return watch_deadlines();
  std::size_t left = draft.call.messages.size() - draft.next;
  if (waiting_messages_ < core_.options().max_waiting_publishes) {
    waiting_messages_ += left;
    waiting_.push_back(std::move(draft));
  } else {
    fail(draft, RequestError(Errc::kOverloaded,
                             "the client's publish buffer is full and " +
                                 std::to_string(waiting_messages_) +
                                 " messages wait for room; wait for receipts before publishing "
                                 "more"));
  }
  watch_deadlines();
}

void MessagePublisher::prepare(PublishCall& call) const {
  WallTime now = SystemClock().wall();
  const PublishTarget& when = call.target;
  for (Message& message : call.messages) {
    if (message.timestamp == WallTime{}) message.timestamp = now;
    if (when.not_before && !not_before(message)) set_not_before(message, *when.not_before);
    if (when.expires && !expiry(message)) set_expiry(message, *when.expires);
  }
}

bool MessagePublisher::room_for(std::size_t size) const {
  return buffered_bytes_ == 0 || buffered_bytes_ + size <= core_.options().max_buffered_bytes;
}

bool MessagePublisher::admit(Draft& draft) {
  const std::string& topic = draft.call.target.topic;
  auto asked = unresolved_.find(topic);
  const TopicInfo* known = asked == unresolved_.end() ? core_.known_topic(topic) : nullptr;
  if (known != nullptr) return gather(draft, *known);
  // Whole: what it takes beyond the bound is the caller's own, once.
  std::size_t size = 0;
  for (std::size_t i = draft.next; i < draft.call.messages.size(); ++i) {
    size += size_of(draft.call.messages[i]);
  }
  if (!room_for(size)) return false;
  buffered_bytes_ += size;
  draft.buffered = true;
  if (asked != unresolved_.end()) {
    asked->second.push_back(std::move(draft));
    return true;
  }
  std::string name = topic;
  unresolved_[name].push_back(std::move(draft));
  core_.find_topic(name, [weak = core_.weak_from_this(), this, name](Reply<TopicInfo> info) {
    if (auto core = weak.lock()) resolved(name, info);
  });
  return true;
}

void MessagePublisher::resolved(const std::string& topic, const Reply<TopicInfo>& info) {
  auto found = unresolved_.extract(topic);
  if (found.empty()) return;
  for (Draft& draft : found.mapped()) {
    if (info) {
      gather(draft, *info);
    } else {
      fail(draft, info.error());
    }
  }
  admit_waiting();
  finish_flush();
}

/// False if some of it has to wait for room, which it does not if it is counted already.
bool MessagePublisher::gather(Draft& draft, const TopicInfo& topic) {
  for (; draft.next < draft.call.messages.size(); ++draft.next) {
    std::size_t size = size_of(draft.call.messages[draft.next]);
    if (!draft.buffered) {
      if (!room_for(size)) return false;
      buffered_bytes_ += size;
    }
    place(draft, size, topic);
  }
  return true;
}

void MessagePublisher::place(Draft& draft, std::size_t size, const TopicInfo& topic) {
  const Message& message = draft.call.messages[draft.next];
  auto refuse_it = [&](const RequestError& error) {
    Caller caller{draft.call.all, std::move(draft.call.one)};
    fail(caller, {.first = static_cast<std::uint32_t>(draft.next)}, size, error);
  };
  auto count = static_cast<std::uint32_t>(topic.partitions.size());
  std::optional<PartitionIndex> partition = draft.call.target.partition;
  if (!partition && count == 0) partition = PartitionIndex{};
  if (!partition && message.key) partition = partition_for_key(*message.key, count);
  if (partition && partition->value >= count) {
    return refuse_it({Errc::kUnknownPartition, "topic '" + topic.name + "' has " +
                                                   std::to_string(count) +
                                                   " partitions, numbered from 0; there is no " +
                                                   std::to_string(partition->value)});
  }
  PartitionQueue& queue =
      partition ? queue_of({topic.id, *partition}) : sticky_queue(topic.id, count);
  Result<void> added = add(queue, draft, size);
  if (!added) return refuse_it(RequestError(added.error()));
  schedule(queue);
}

MessagePublisher::PartitionQueue& MessagePublisher::queue_of(const QueueKey& key) {
  auto [found, created] = queues_.try_emplace(key);
  PartitionQueue& queue = found->second;
  if (created) {
    queue.key = key;
    queue.producer = producer_;
    queue.pause = std::make_unique<asio::steady_timer>(core_.strand());
  }
  return queue;
}

// One for each batch would spread a publisher that sends one message at a time over all of them:
// then nothing of it is found in a cache, here or at the broker.
MessagePublisher::PartitionQueue& MessagePublisher::sticky_queue(TopicId topic,
                                                                 std::uint32_t count) {
  Sticky& sticky = sticky_[topic];
  auto draw = [&](std::uint32_t below) {
    return static_cast<std::uint32_t>(core_.random().below(below));
  };
  auto go_to = [&](std::uint32_t index) { sticky = {&queue_of({topic, {index}})}; };
  if (sticky.queue == nullptr) go_to(draw(count));
  bool busy = sticky.queue->flight && sticky.queue->batches.empty();
  if (count > 1 && (busy || sticky.sent >= kStickyBytes)) {
    go_to((sticky.queue->key.second.value + 1 + draw(count - 1)) % count);
  }
  return *sticky.queue;
}

/// The draft's next message, for which its caller is answered from now on unless there is an error.
Result<void> MessagePublisher::add(PartitionQueue& queue, Draft& draft, std::size_t size) {
  RecordDraft record = record_of(draft.call.messages[draft.next]);
  std::deque<Batch>& batches = queue.batches;
  const ClientOptions& options = core_.options();
  bool open = !batches.empty() &&
              draft.deadline - batches.back().deadline <= options.publish_timeout / kGatherPart &&
              batches.back().builder.size() + size <= options.max_batch_bytes &&
              batches.back().builder.fits(record);
  if (!open) {
    BatchBuilder builder(options.compression);
    if (Result<void> added = builder.add(record); !added) return added;
    batches.push_back({std::move(builder), {}, draft.deadline});
  } else if (Result<void> added = batches.back().builder.add(record); !added) {
    return added;
  }
  claim_next(batches.back().claims, draft, size);
  return {};
}

void MessagePublisher::claim_next(Claims& claims, Draft& draft, std::size_t size) {
  const auto& all = draft.call.all;
  bool known = all != nullptr && !claims.callers.empty() && claims.callers.back().all == all;
  if (!known) claims.callers.push_back({all, std::move(draft.call.one)});
  auto caller = static_cast<std::uint32_t>(claims.callers.size() - 1);
  auto first = static_cast<std::uint32_t>(draft.next);
  if (known && claims.runs.back().first + claims.runs.back().count == first) {
    ++claims.runs.back().count;
    claims.runs.back().size += static_cast<std::uint32_t>(size);
  } else {
    claims.runs.push_back({caller, first, 1, static_cast<std::uint32_t>(size)});
  }
}

// --- from the queue to the broker ---

void MessagePublisher::schedule(PartitionQueue& queue) {
  if (queue.dirty || queue.flight || queue.batches.empty()) return;
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
  if (queue.flight || queue.batches.empty()) return;
  build(queue);
  ++flights_;
  queue.flight_number = ++last_flight_;
  auto sticky = sticky_.find(queue.key.first);
  if (sticky != sticky_.end() && sticky->second.queue == &queue) {
    sticky->second.sent += queue.flight->part.batch.size();
  }
  send(queue);
}

void MessagePublisher::build(PartitionQueue& queue) {
  Batch batch = std::move(queue.batches.front());
  queue.batches.pop_front();
  Flight flight;
  flight.claims = std::move(batch.claims);
  flight.count = batch.builder.count();
  flight.deadline = batch.deadline;
  flight.part.topic = queue.key.first;
  flight.part.partition = queue.key.second;
  flight.part.producer = ProducerStamp{.id = queue.producer,
                                       .previous = queue.last_sequence,
                                       .base_sequence = queue.last_sequence + 1};
  flight.part.batch = SharedBytes(batch.builder.build());
  queue.last_sequence += flight.count;
  queue.flight = std::move(flight);
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
  PublishReceipt receipt{queue.key.second, result.base_offset, result.duplicate};
  Claims& claims = queue.flight->claims;
  for (const Claim& claim : claims.runs) {
    confirm(claims.callers[claim.caller], claim, receipt);
    receipt.offset = receipt.offset + claim.count;
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
    queue.last_sequence = flight.count;
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
  fail(std::move(queue.flight->claims), error);
  if (queue.flight->unknown) renew_producer(queue);
  landed(queue);
}

void MessagePublisher::landed(PartitionQueue& queue) {
  queue.flight.reset();
  queue.pause->cancel();
  --flights_;
  admit_waiting();
  finish_flush();
  // Straight on with what gathered meanwhile, unless other partitions wait for a flight.
  if (scheduled_.empty()) return launch(queue);
  schedule(queue);
  launch_scheduled();
}

// --- room, time, the end ---

void MessagePublisher::confirm(Caller& caller, const Claim& claim, PublishReceipt first) {
  buffered_bytes_ -= claim.size;
  if (caller.all == nullptr) return caller.one(first);
  PublishCall::Answer& all = *caller.all;
  for (std::uint32_t i = 0; i < claim.count; ++i) {
    PublishReceipt receipt = first;
    receipt.offset = receipt.offset + i;
    all.receipts[claim.first + i] = receipt;
  }
  all.open -= claim.count;
  if (all.open == 0) all.completion(std::move(all.receipts));
}

/// `size` was counted in buffered_bytes_ for it.
void MessagePublisher::fail(Caller& caller, const Claim& claim, std::size_t size,
                            const RequestError& error) {
  buffered_bytes_ -= size;
  if (caller.all == nullptr) return caller.one(error);
  PublishCall::Answer& all = *caller.all;
  for (std::uint32_t i = 0; i < claim.count; ++i) all.receipts[claim.first + i] = error;
  all.open -= claim.count;
  if (all.open == 0) all.completion(std::move(all.receipts));
}

void MessagePublisher::fail(Claims claims, const RequestError& error) {
  for (const Claim& claim : claims.runs) {
    fail(claims.callers[claim.caller], claim, claim.size, error);
  }
}

void MessagePublisher::fail(Draft& draft, const RequestError& error) {
  Caller caller{draft.call.all, std::move(draft.call.one)};
  Claim rest{.first = static_cast<std::uint32_t>(draft.next),
             .count = static_cast<std::uint32_t>(draft.call.messages.size() - draft.next)};
  std::size_t size = 0;
  for (std::size_t i = draft.next; draft.buffered && i < draft.call.messages.size(); ++i) {
    size += size_of(draft.call.messages[i]);
  }
  fail(caller, rest, size, error);
}

void MessagePublisher::admit_waiting() {
  while (!waiting_.empty()) {
    Draft draft = std::move(waiting_.front());
    waiting_.pop_front();
    waiting_messages_ -= draft.call.messages.size() - draft.next;
    if (admit(draft)) continue;
    waiting_messages_ += draft.call.messages.size() - draft.next;
    waiting_.push_front(std::move(draft));
    return;
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

void MessagePublisher::expire(std::deque<Draft>& drafts, SteadyTime now) {
  while (!drafts.empty() && drafts.front().deadline <= now) {
    Draft late = std::move(drafts.front());
    drafts.pop_front();
    if (&drafts == &waiting_) waiting_messages_ -= late.call.messages.size() - late.next;
    fail(late, RequestError(Errc::kTimedOut,
                            "the message was not sent in time; the broker does not have it"));
  }
}

void MessagePublisher::expire() {
  SteadyTime now = std::chrono::steady_clock::now();
  for (auto& [key, queue] : queues_) {
    while (!queue.batches.empty() && queue.batches.front().deadline <= now) {
      Batch late = std::move(queue.batches.front());
      queue.batches.pop_front();
      fail(std::move(late.claims),
           {Errc::kTimedOut, "the message was not sent in time; the broker does not have it"});
    }
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
  for (auto& [topic, drafts] : unresolved_) expire(drafts, now);
  expire(waiting_, now);
  admit_waiting();
  finish_flush();
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
  std::vector<PublishCall> calls = inbox_.take();
  auto waiting = std::exchange(waiting_, {});
  auto unresolved = std::exchange(unresolved_, {});
  auto queues = std::exchange(queues_, {});
  sticky_.clear();
  waiting_messages_ = 0;
  scheduled_.clear();
  flights_ = 0;
  expiry_.cancel();
  expiry_armed_ = false;
  for (auto& [key, queue] : queues) {
    if (queue.flight) fail(std::move(queue.flight->claims), error);
    for (Batch& batch : queue.batches) fail(std::move(batch.claims), error);
  }
  for (auto& [topic, drafts] : unresolved) {
    for (Draft& draft : drafts) fail(draft, error);
  }
  for (Draft& draft : waiting) fail(draft, error);
  for (PublishCall& call : calls) {
    Draft draft{std::move(call), {}};
    fail(draft, error);
  }
  finish_flush();
}

}  // namespace waybill

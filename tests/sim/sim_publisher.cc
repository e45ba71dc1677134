#include "tests/sim/sim_publisher.h"

#include <utility>

#include "protocol/record/batch_builder.h"
#include "protocol/record/reserved_headers.h"

namespace waybill {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kAnswerTimeout = seconds(3);
constexpr Duration kResendAfter = milliseconds(300);
/// Both have the same XXH3-64: the broker takes them for one key, and must only make them wait for
/// each other. Found by inverting the hash, which is a bijection of eight bytes.
constexpr std::string_view kCollidingKeys[] = {"qqaa", "1db(*oh%"};

bool definitely_not_done(Errc code) {
  return code == Errc::kOverloaded || code == Errc::kDiskFull;
}

}  // namespace

SimPublisher::SimPublisher(SimWorld& world, LogModel& log, Findings& findings,
                           const PublisherPlan& plan, const SimTopic& topic, std::uint64_t seed)
    : world_(world), log_(log), findings_(findings), plan_(plan), random_(seed), topic_(topic) {
  partitions_.resize(topic.partitions);
  id_.uuid = random_.uuid();
}

void SimPublisher::start() {
  connect();
  tick();
}

void SimPublisher::calm() {
  calm_ = true;
  plan_.copies = plan_.compare = plan_.reads = false;
}

bool SimPublisher::quiet() const {
  if (taking_over_) return false;
  if (!stamped()) return true;  // nobody repeats what is unknown
  for (const Partition& partition : partitions_) {
    if (partition.open) return false;
  }
  return true;
}

void SimPublisher::connect() {
  ready_ = false;
  connection_ =
      world_.connect(static_cast<std::uint16_t>(random_.below(world_.shard_count())), {}, *this);
  if (plan_.kind != PublisherKind::kDurable) {
    ready_ = true;
    for (std::uint32_t p = 0; p < partitions_.size(); ++p) {
      if (!partitions_[p].open) continue;
      world_.coverage.count("publish repeated on a new connection");
      send(p, {});
    }
    return;
  }
  world_.send<OpenProducerReply>(*connection_, OpenProducerRequest{id_, epoch_, "sim"},
                                 [this, connection = *connection_](Reply<OpenProducerReply> reply) {
                                   if (connection_ == connection) opened(reply);
                                 });
  // An answer may never come: the connection is given up then.
  world_.after(kAnswerTimeout, [this, connection = *connection_] {
    if (connection_ != connection || ready_) return;
    world_.abandon(connection, milliseconds(random_.below(3000)));
    on_lost();
  });
}

void SimPublisher::opened(const Reply<OpenProducerReply>& reply) {
  if (!reply) {
    if (!definitely_not_done(reply.error().code) && !(reply.error() == Errc::kOutcomeUnknown)) {
      findings_.report("the owner opens", to_string(reply.error()));
    }
    world_.abandon(*connection_, {});
    return on_lost();
  }
  std::map<std::uint32_t, std::uint64_t> positions;
  for (const ProducerPosition& position : reply->positions) {
    positions[position.partition.value] = position.last_sequence;
  }
  ready_ = true;
  bool new_owner = std::exchange(taking_over_, false);
  if (new_owner) try_old_epoch();
  for (std::uint32_t p = 0; p < partitions_.size(); ++p) {
    Partition& partition = partitions_[p];
    if (positions[p] < partition.last_sequence) {
      findings_.report("sequences stay", "the broker forgot what a durable producer had confirmed");
    }
    if (!partition.open) continue;
    if (!new_owner) {
      world_.coverage.count("publish repeated on a new connection");
      send(p, {});
      continue;
    }
    // The new owner starts from what is there; what is not there must never come (D21).
    std::uint64_t id = *std::exchange(partition.open, std::nullopt);
    std::uint64_t last = partition.last_sequence + log_.batch(id).messages.size();
    if (positions[p] < last) log_.refused_for_good(id);
    partition.last_sequence = positions[p];
    partition.has_last = false;
  }
}

/// Who still publishes under the epoch before is fenced, whatever the sequence.
void SimPublisher::try_old_epoch() {
  std::uint64_t id = log_.sending(in_run(0), draw_messages()).id;
  ProducerStamp old = stamp(0);
  --old.epoch;
  PublishRequest request{{{topic_.id, {0}, old, {}, encode(log_.batch(id))}}};
  log_.refused_for_good(id);
  world_.send<PublishReply>(*connection_, std::move(request),
                            [this](const Reply<PublishReply>& reply) {
                              if (reply->parts.front().ok()) {
                                findings_.report("old epochs are fenced", "it was appended");
                              } else if (reply->parts.front().error() == Errc::kFenced) {
                                world_.coverage.count("fenced");
                              }
                            });
}

void SimPublisher::take_over() {
  if (plan_.kind != PublisherKind::kDurable || !connection_ || calm_ || taking_over_) return;
  world_.coverage.count("durable producer taken over");
  // The old owner still sends, and its requests are slow.
  for (std::uint32_t p = 0; p < partitions_.size(); ++p) {
    if (partitions_[p].open) send(p, milliseconds(random_.below(2000)));
  }
  world_.abandon(*connection_, seconds(random_.below(4)));
  connection_.reset();
  ++epoch_;
  taking_over_ = true;
  connect();
}

void SimPublisher::on_lost() {
  connection_.reset();
  ready_ = false;
  world_.after(milliseconds(10 + random_.below(500)), [this] {
    if (!connection_) connect();
  });
}

void SimPublisher::tick() {
  if (calm_) return;
  if (ready_ && connection_) {
    publish(static_cast<std::uint32_t>(random_.below(partitions_.size())));
  }
  if (plan_.bursts && random_.below(3) > 0) {
    world_.after(std::chrono::microseconds(1 + random_.below(1000)), [this] { tick(); });
    return;
  }
  // As many as without bursts, but not evenly.
  auto most = static_cast<std::uint64_t>(plan_.pause.count()) * (plan_.bursts ? 6 : 2);
  world_.after(Duration(static_cast<std::int64_t>(1 + random_.below(most))), [this] { tick(); });
}

std::vector<SimMessage> SimPublisher::draw_messages() {
  std::vector<SimMessage> messages(1 + random_.below(plan_.max_batch));
  for (SimMessage& message : messages) {
    if (plan_.max_padding > 0) {
      message.value = std::string(random_.below(plan_.max_padding), 'x');
    }
    std::int64_t now = world_.clock().wall().milliseconds;
    if (plan_.times && random_.below(4) == 0) {
      message.not_before = now + static_cast<std::int64_t>(random_.below(5000));
    }
    if (plan_.times && random_.below(4) == 0) {
      message.expiry = now + static_cast<std::int64_t>(random_.below(2) == 0 ? random_.below(500)
                                                                             : random_.below(9000));
    }
    if (plan_.keys > 0) message.key = "k" + std::to_string(random_.below(plan_.keys));
    if (plan_.keys > 0 && plan_.collide && random_.below(2) == 0) {
      message.key = std::string(kCollidingKeys[random_.below(2)]);
    }
  }
  return messages;
}

void SimPublisher::publish(std::uint32_t p) {
  Partition& partition = partitions_[p];
  if (partition.open) return;
  if (stamped() && plan_.copies && partition.has_last && random_.below(8) == 0) {
    return repeat_last(p);
  }
  std::uint64_t id = log_.sending(in_run(p), draw_messages()).id;
  world_.trace.note("publish", Place{in_run(p), -1}, 0, {{"batch", static_cast<std::int64_t>(id)}});
  if (!stamped()) {
    send_plain(id);
  } else {
    partition.open = id;
    partition.sends = 0;
    bool slow = plan_.copies && random_.below(20) == 0;
    send(p, slow ? seconds(random_.below(6)) : Duration{});
  }
  if (plan_.reads && random_.below(2) == 0) read_end(p);
}

/// What is at the end while its own publish is under way: nobody may see what may yet be lost.
void SimPublisher::read_end(std::uint32_t p) {
  std::int64_t known = log_.known_end(in_run(p));
  ReadRequest request;
  request.topic = topic_.id;
  request.partition = {p};
  request.from = {known};
  if (random_.below(4) == 0) request.wait = milliseconds(random_.below(2000));
  world_.send<ReadReply>(*connection_, request, [this, p, known](const Reply<ReadReply>& reply) {
    log_.read_told(in_run(p), known, reply);
  });
}

SharedBytes SimPublisher::encode(const SentBatch& batch) const {
  BatchBuilder builder;
  for (const SimMessage& message : batch.messages) {
    RecordDraft draft{std::nullopt, as_bytes(message.value), {}, world_.clock().wall()};
    // Byte for byte the same when it is sent again.
    draft.timestamp = {1'700'000'000'000 + static_cast<std::int64_t>(batch.id)};
    if (message.key) draft.key = as_bytes(*message.key);
    std::array<std::byte, 8> not_before;
    std::array<std::byte, 8> expiry;
    store_little(not_before.data(), message.not_before);
    store_little(expiry.data(), message.expiry);
    if (message.not_before != 0) {
      draft.headers.emplace_back(reserved_headers::kNotBefore, not_before);
    }
    if (message.expiry != 0) draft.headers.emplace_back(reserved_headers::kExpiry, expiry);
    Result<void> added = builder.add(draft);
    WB_ASSERT(added.ok(), "a small message fits");
  }
  return SharedBytes(builder.build());
}

ProducerStamp SimPublisher::stamp(std::uint32_t partition) const {
  std::uint64_t last = partitions_[partition].last_sequence;
  bool durable = plan_.kind == PublisherKind::kDurable;
  return {id_, durable ? ProducerKind::kDurable : ProducerKind::kSession, durable ? epoch_ : 0,
          last, last + 1};
}

void SimPublisher::send(std::uint32_t p, Duration extra) {
  if (!connection_ || !ready_) return;
  Partition& partition = partitions_[p];
  std::uint64_t id = *partition.open;
  ++partition.sends;
  bool twice = plan_.copies && random_.below(3) == 0;
  for (int i = 0; i < (twice ? 2 : 1); ++i) {
    PublishRequest request{{{topic_.id, {p}, stamp(p), {}, encode(log_.batch(id))}}};
    world_.send<PublishReply>(
        *connection_, std::move(request),
        [this, p, id, connection = *connection_](Reply<PublishReply> reply) {
          if (connection_ == connection) answered(p, id, reply, partitions_[p].sends);
        },
        extra);
  }
  if (twice) ++partition.sends;
  watch(id);
}

/// A connection whose answer does not come in time is given up.
void SimPublisher::watch(std::uint64_t batch) {
  world_.after(kAnswerTimeout, [this, batch, connection = *connection_] {
    if (connection_ != connection) return;
    for (const Partition& partition : partitions_) {
      if (partition.open != batch) continue;
      world_.abandon(connection, milliseconds(random_.below(5000)));
      return on_lost();
    }
  });
}

void SimPublisher::send_plain(std::uint64_t id) {
  const SentBatch& batch = log_.batch(id);
  PartitionIndex partition{batch.partition - topic_.first_partition};
  PublishRequest request{{{topic_.id, partition, {}, {}, encode(batch)}}};
  std::optional<std::int64_t> expected;
  if (plan_.compare && random_.below(2) == 0) {
    expected = log_.known_end(batch.partition);
    request.parts.front().expected_end = Offset{*expected};
  }
  world_.send<PublishReply>(*connection_, std::move(request),
                            [this, id, expected](const Reply<PublishReply>& reply) {
                              answered_plain(id, expected, reply);
                            });
}

void SimPublisher::answered_plain(std::uint64_t id, std::optional<std::int64_t> expected,
                                  const Reply<PublishReply>& reply) {
  const Reply<PublishResult>& part = reply->parts.front();
  std::uint32_t p = log_.batch(id).partition;
  if (part) {
    world_.trace.note("confirmed", Place{p, part->base_offset.value},
                      static_cast<std::int64_t>(log_.batch(id).messages.size()),
                      {{"batch", static_cast<std::int64_t>(id)}});
    world_.coverage.count("publish confirmed");
    if (expected) world_.coverage.count("compare-and-append accepted");
    if (expected && *expected != part->base_offset.value) {
      findings_.report("compare-and-append", "appended at another offset than was asked",
                       Place{p, part->base_offset.value});
    }
    return log_.confirmed(id, part->base_offset.value, part->duplicate, false);
  }
  Errc code = part.error().code;
  if (code == Errc::kWrongEndOffset && expected) {
    world_.coverage.count("compare-and-append refused");
    return log_.refused_for_good(id);
  }
  if (code == Errc::kDiskFull) world_.coverage.count("publish refused: disk full");
  if (definitely_not_done(code)) return log_.refused_for_good(id);
  if (code == Errc::kOutcomeUnknown) return world_.coverage.count("publish outcome unknown");
  findings_.report("a good publish is accepted", to_string(part.error()));
}

/// A copy of something confirmed arrives much later: it must get its old answer.
void SimPublisher::repeat_last(std::uint32_t p) {
  Partition& partition = partitions_[p];
  std::uint64_t id = partition.last_batch;
  PublishRequest request{{{topic_.id, {p}, partition.last_stamp, {}, encode(log_.batch(id))}}};
  if (plan_.kind == PublisherKind::kDurable && partition.last_stamp.epoch != epoch_) return;
  world_.send<PublishReply>(
      *connection_, std::move(request), [this, id](const Reply<PublishReply>& reply) {
        const Reply<PublishResult>& part = reply->parts.front();
        if (part) {
          world_.coverage.count("late duplicate answered");
          if (!part->duplicate) {
            findings_.report("a duplicate is known for ever", "a repeated batch was appended anew",
                             Place{log_.batch(id).partition, part->base_offset.value});
          }
          return log_.confirmed(id, part->base_offset.value, part->duplicate, true);
        }
        Errc code = part.error().code;
        if (definitely_not_done(code) || code == Errc::kOutcomeUnknown) return;
        findings_.report("a duplicate is known for ever", to_string(part.error()));
      });
}

void SimPublisher::resend_later(std::uint32_t p, std::uint64_t id) {
  world_.after(kResendAfter, [this, p, id] {
    if (partitions_[p].open == id) send(p, {});
  });
}

void SimPublisher::answered(std::uint32_t p, std::uint64_t id, const Reply<PublishReply>& reply,
                            std::uint64_t sends) {
  const Reply<PublishResult>& part = reply->parts.front();
  Partition& partition = partitions_[p];
  if (part) {
    auto count = static_cast<std::int64_t>(log_.batch(id).messages.size());
    world_.trace.note("confirmed", Place{in_run(p), part->base_offset.value}, count,
                      {{"batch", static_cast<std::int64_t>(id)}, {"duplicate", part->duplicate}});
    if (part->duplicate) world_.coverage.count("duplicate answered");
    bool repeated = partition.open != id || sends > 1;
    log_.confirmed(id, part->base_offset.value, part->duplicate, repeated);
    if (partition.open != id) return;
    world_.coverage.count("publish confirmed");
    partition.last_stamp = stamp(p);
    partition.last_batch = id;
    partition.has_last = true;
    partition.last_sequence += static_cast<std::uint64_t>(count);
    partition.open.reset();
    return;
  }
  if (partition.open != id) return;  // a copy's answer, and the other's came first
  Errc code = part.error().code;
  if (code == Errc::kDiskFull) world_.coverage.count("publish refused: disk full");
  if (definitely_not_done(code)) return resend_later(p, id);
  if (code == Errc::kOutcomeUnknown) {
    world_.coverage.count("publish outcome unknown");
    return resend_later(p, id);
  }
  findings_.report("a producer in order is accepted", to_string(part.error()));
}

}  // namespace waybill

// Subscriptions, credit, deliveries and their settlement. Messages with many parts are built in
// arenas: one allocation rather than one for each part.
#include <google/protobuf/arena.h>

#include "protocol/wire/codec.h"
#include "protocol/wire/parts.h"
#include "waybill.pb.h"

namespace waybill {
namespace {

/// Settlements, extensions and grants name their lease alike.
template <class Message>
void set_lease(const LeaseToken& token, const OffsetRange& range, Message& message) {
  message.set_token_start(token.start);
  message.set_token_counter(token.counter);
  message.set_first(static_cast<std::uint64_t>(range.first.value));
  message.set_last(static_cast<std::uint64_t>(range.last.value));
}

template <class Message>
LeaseToken token_of(const Message& message) {
  return {message.token_start(), message.token_counter()};
}

bool explains(SettleVerb verb) {
  return verb == SettleVerb::kRetry || verb == SettleVerb::kDeadLetter;
}

void to_wire(const Settlement& settlement, wire::Settlement& message) {
  message.set_partition(settlement.partition.value);
  set_lease(settlement.token, settlement.range, message);
  message.set_verb(static_cast<std::uint32_t>(settlement.verb));
  if (settlement.retry_after) {
    message.set_retry_after_ms(static_cast<std::uint64_t>(settlement.retry_after->count()));
  }
  if (explains(settlement.verb)) to_wire(settlement.failure, *message.mutable_failure());
}

Settlement from_wire(MetaDecoder& in, const wire::Settlement& message) {
  Settlement settlement;
  settlement.partition = in.partition(message.partition());
  settlement.token = token_of(message);
  settlement.range = in.range(message.first(), message.last());
  settlement.verb = in.enumerator("verb", message.verb(), SettleVerb::kRelease);
  if (message.has_retry_after_ms()) {
    if (settlement.verb != SettleVerb::kRetry) in.fail("retry_after_ms", "goes with retry only");
    settlement.retry_after =
        in.duration("retry_after_ms", message.retry_after_ms(), limits::kMaxRetryAfter);
  }
  if (!explains(settlement.verb) || !message.has_failure()) return settlement;
  settlement.failure = from_wire(in, message.failure());
  if (settlement.failure.failure_class == FailureClass::kUnexplained) {
    in.fail("failure.failure_class", "is unexplained, which only the broker says");
  }
  return settlement;
}

}  // namespace

void encode(const SubscribeRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::SubscribeRequest message;
  message.set_subscription(value.subscription);
  message.set_group(value.group);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, SubscribeRequest& out) {
  wire::SubscribeRequest message;
  MetaDecoder in(meta, body, message);
  out.subscription = message.subscription();
  out.group = in.required_name("group", message.group());
  return in.finish();
}

void encode(const SubscribeReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::SubscribeReply message;
  to_wire(value.group, *message.mutable_group());
  message.set_topic(value.topic);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, SubscribeReply& out) {
  wire::SubscribeReply message;
  MetaDecoder in(meta, body, message);
  out.group = from_wire(in, message.group());
  out.topic = in.text("topic", message.topic(), limits::kMaxNameLength);
  return in.finish();
}

void encode(const UnsubscribeRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::UnsubscribeRequest message;
  message.set_subscription(value.subscription);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, UnsubscribeRequest& out) {
  wire::UnsubscribeRequest message;
  MetaDecoder in(meta, body, message);
  out.subscription = message.subscription();
  return in.finish();
}

void encode(const UnsubscribeReply&, ByteVector&, std::vector<SharedBytes>&) {}

Reply<void> decode(Bytes meta, const SharedBytes& body, UnsubscribeReply&) {
  wire::UnsubscribeReply message;
  MetaDecoder in(meta, body, message);
  return in.finish();
}

void encode(const CreditRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::CreditRequest message;
  message.set_subscription(value.subscription);
  message.set_messages(value.messages);
  message.set_bytes(value.bytes);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, CreditRequest& out) {
  wire::CreditRequest message;
  MetaDecoder in(meta, body, message);
  out.subscription = message.subscription();
  out.messages =
      in.number<std::uint32_t>("messages", message.messages(), 0, limits::kMaxCreditMessages);
  out.bytes = in.number("bytes", message.bytes(), 0, limits::kMaxCreditBytes);
  return in.finish();
}

void encode(const DeliverPush& value, ByteVector& meta, std::vector<SharedBytes>& body) {
  google::protobuf::Arena arena;
  auto& message = *google::protobuf::Arena::CreateMessage<wire::DeliverPush>(&arena);
  message.set_subscription(value.subscription);
  message.set_partition(value.partition.value);
  message.set_lease_ms(static_cast<std::uint64_t>(value.lease.count()));
  for (const GrantedRange& range : value.ranges) {
    wire::GrantedRange& added = *message.add_ranges();
    set_lease(range.token, range.range, added);
    added.set_delivery(range.delivery);
    added.set_failures(range.failures);
    added.set_redrive(range.redrive);
  }
  for (const SharedBytes& batch : value.batches) {
    message.add_batch_sizes(static_cast<std::uint32_t>(batch.size()));
    append_piece(batch, body);
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, DeliverPush& out) {
  google::protobuf::Arena arena;
  auto& message = *google::protobuf::Arena::CreateMessage<wire::DeliverPush>(&arena);
  MetaDecoder in(meta, body, message);
  out.subscription = message.subscription();
  out.partition = in.partition(message.partition());
  out.lease = in.duration("lease_ms", message.lease_ms(), kMaxDuration);
  in.each("ranges", message.ranges(), 0, limits::kMaxGrantedRanges,
          [&](const wire::GrantedRange& range) {
            out.ranges.push_back({in.range(range.first(), range.last()), token_of(range),
                                  range.delivery(), range.failures(), range.redrive()});
          });
  in.each("batch_sizes", message.batch_sizes(), 0, limits::kMaxBatchesPerFrame,
          [&](std::uint32_t size) {
            out.batches.push_back(in.piece("size", size, 1, limits::kMaxBatch));
          });
  return in.finish();
}

void encode(const RevokePush& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::RevokePush message;
  message.set_subscription(value.subscription);
  message.set_partition(value.partition.value);
  message.set_first(static_cast<std::uint64_t>(value.first.value));
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, RevokePush& out) {
  wire::RevokePush message;
  MetaDecoder in(meta, body, message);
  out.subscription = message.subscription();
  out.partition = in.partition(message.partition());
  out.first = in.offset("first", message.first());
  return in.finish();
}

void encode(const SettleRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  google::protobuf::Arena arena;
  auto& message = *google::protobuf::Arena::CreateMessage<wire::SettleRequest>(&arena);
  message.set_subscription(value.subscription);
  for (const Settlement& settlement : value.settlements) {
    to_wire(settlement, *message.add_settlements());
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, SettleRequest& out) {
  google::protobuf::Arena arena;
  auto& message = *google::protobuf::Arena::CreateMessage<wire::SettleRequest>(&arena);
  MetaDecoder in(meta, body, message);
  out.subscription = message.subscription();
  out.settlements.reserve(static_cast<std::size_t>(message.settlements_size()));
  in.each("settlements", message.settlements(), 1, limits::kMaxSettlements,
          [&](const wire::Settlement& settlement) {
            out.settlements.push_back(from_wire(in, settlement));
          });
  return in.finish();
}

void encode(const SettleReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  google::protobuf::Arena arena;
  auto& message = *google::protobuf::Arena::CreateMessage<wire::SettleReply>(&arena);
  for (const Reply<SettleOutcome>& outcome : value.outcomes) {
    wire::SettleResult& added = *message.add_outcomes();
    if (outcome) {
      added.set_outcome(static_cast<std::uint32_t>(*outcome));
    } else {
      to_wire(outcome.error(), *added.mutable_error());
    }
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, SettleReply& out) {
  google::protobuf::Arena arena;
  auto& message = *google::protobuf::Arena::CreateMessage<wire::SettleReply>(&arena);
  MetaDecoder in(meta, body, message);
  in.each("outcomes", message.outcomes(), 0, limits::kMaxSettlements,
          [&](const wire::SettleResult& result) {
            if (result.has_error()) {
              out.outcomes.emplace_back(from_wire(in, result.error()));
            } else {
              out.outcomes.emplace_back(
                  in.enumerator("outcome", result.outcome(), SettleOutcome::kReleased));
            }
          });
  return in.finish();
}

void encode(const ExtendRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::ExtendRequest message;
  message.set_subscription(value.subscription);
  for (const LeaseExtension& lease : value.leases) {
    wire::LeaseExtension& added = *message.add_leases();
    added.set_partition(lease.partition.value);
    set_lease(lease.token, lease.range, added);
    added.set_started(lease.started);
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, ExtendRequest& out) {
  wire::ExtendRequest message;
  MetaDecoder in(meta, body, message);
  out.subscription = message.subscription();
  in.each("leases", message.leases(), 1, limits::kMaxSettlements,
          [&](const wire::LeaseExtension& lease) {
            out.leases.push_back({in.partition(lease.partition()), token_of(lease),
                                  in.range(lease.first(), lease.last()), lease.started()});
          });
  return in.finish();
}

void encode(const ExtendReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::ExtendReply message;
  for (const Reply<void>& outcome : value.outcomes) {
    wire::ExtendResult& added = *message.add_outcomes();
    if (!outcome) to_wire(outcome.error(), *added.mutable_error());
  }
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, ExtendReply& out) {
  wire::ExtendReply message;
  MetaDecoder in(meta, body, message);
  in.each("outcomes", message.outcomes(), 0, limits::kMaxSettlements,
          [&](const wire::ExtendResult& result) {
            if (result.has_error()) {
              out.outcomes.emplace_back(from_wire(in, result.error()));
            } else {
              out.outcomes.emplace_back();
            }
          });
  return in.finish();
}

}  // namespace waybill

#include "broker/core/gateway.h"

#include <algorithm>

#include "broker/core/consumer.h"
#include "broker/core/shard.h"

namespace waybill {

Gateway::Gateway(Shard& home, Mailbox& mailbox) : home_(home), mailbox_(mailbox) {}
Gateway::~Gateway() = default;

Gateway::Consumer* Gateway::find(ConsumerId consumer) {
  auto found = consumers_.find(consumer);
  return found == consumers_.end() ? nullptr : found->second.get();
}

void Gateway::lend(Consumer& consumer, ShardIndex shard, Credit credit) {
  Consumer::Lent& lent = consumer.shards[shard];
  lent.credit.messages += credit.messages;
  lent.credit.bytes += credit.bytes;
  lent.wanting = false;
  consumer.pool.messages -= credit.messages;
  consumer.pool.bytes -= credit.bytes;
  mailbox_.post(
      shard,
      [group = consumer.group.id, id = consumer.id, credit](Shard& s) {
        s.delivery().lend(group, id, credit);
      },
      Mailbox::Kind::kAnswer);
}

void Gateway::distribute(Consumer& consumer) {
  std::vector<ShardIndex> targets;
  for (const auto& [shard, lent] : consumer.shards) {
    if (lent.wanting) targets.push_back(shard);
  }
  if (targets.empty()) {
    for (const auto& [shard, lent] : consumer.shards) targets.push_back(shard);
  }
  if (targets.empty() || consumer.pool.messages <= 0 || consumer.pool.bytes <= 0) return;
  // The remainder of a division goes to another one each time, so that a pool of one message
  // serves them in turn; whoever lacks it says so and gets it back.
  auto next = std::ranges::upper_bound(targets, consumer.served_first);
  std::ranges::rotate(targets, next == targets.end() ? targets.begin() : next);
  consumer.served_first = targets.front();
  for (std::size_t left = targets.size(); left > 0; --left) {
    if (consumer.pool.messages <= 0 || consumer.pool.bytes <= 0) return;
    auto parts = static_cast<std::int64_t>(left);
    Credit share{(consumer.pool.messages + parts - 1) / parts,
                 (consumer.pool.bytes + parts - 1) / parts};
    lend(consumer, targets[targets.size() - left], share);
  }
}

/// Takes back what shards hold, for one that wants some: messages without bytes and bytes without
/// messages are of use only together. One that wants some itself holds nothing.
void Gateway::recall(Consumer& consumer) {
  for (auto& [shard, lent] : consumer.shards) {
    bool holds = lent.credit.messages > 0 || lent.credit.bytes > 0;
    if (!holds || lent.recalling) continue;
    lent.recalling = true;
    mailbox_.post(
        shard,
        [group = consumer.group.id, id = consumer.id](Shard& s) { s.delivery().recall(group, id); },
        Mailbox::Kind::kAnswer);
  }
}

void Gateway::on_delivery(ConsumerId id, ShardIndex from, DeliverPush push, Credit used) {
  Consumer* consumer = find(id);
  if (consumer == nullptr) return;
  Consumer::Lent& lent = consumer->shards[from];
  lent.credit.messages -= used.messages;
  lent.credit.bytes -= used.bytes;
  push.subscription = consumer->subscription;
  consumer->sink->deliver(std::move(push));
}

void Gateway::on_revoked(ConsumerId id, RevokePush push) {
  Consumer* consumer = find(id);
  if (consumer == nullptr) return;
  push.subscription = consumer->subscription;
  consumer->sink->revoke(push);
}

void Gateway::on_wanting(ConsumerId id, ShardIndex from, Credit rest) {
  Consumer* consumer = find(id);
  if (consumer == nullptr) return;
  consumer->shards[from].wanting = true;
  take_back(*consumer, from, rest);
  if (consumer->pool.messages > 0 && consumer->pool.bytes > 0) {
    distribute(*consumer);
  } else {
    recall(*consumer);
  }
}

void Gateway::take_back(Consumer& consumer, ShardIndex from, Credit credit) {
  Credit& lent = consumer.shards[from].credit;
  lent.messages -= credit.messages;
  lent.bytes -= credit.bytes;
  consumer.pool.messages += credit.messages;
  consumer.pool.bytes += credit.bytes;
}

void Gateway::on_returned(ConsumerId id, ShardIndex from, Credit unused) {
  Consumer* consumer = find(id);
  if (consumer == nullptr) return;
  consumer->shards[from].recalling = false;
  take_back(*consumer, from, unused);
  distribute(*consumer);
}

}  // namespace waybill

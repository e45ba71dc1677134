#include "broker/core/isolation_desk.h"

#include <algorithm>

#include "broker/core/shard.h"

namespace waybill {

void IsolationDesk::ask(Mailbox& mailbox, InstanceId instance, IsolationAsk ask) {
  Round& round = rounds_[instance];
  round.asks.push_back(ask);
  if (round.asks.size() > 1) return;
  round.number = next_round_++;
  round.missing = mailbox.shard_count();
  for (std::uint16_t shard = 0; shard < mailbox.shard_count(); ++shard) {
    mailbox.post(
        {shard},
        [instance, number = round.number](Shard& s) { s.delivery().hush(instance, number); },
        Mailbox::Kind::kAnswer);
  }
}

void IsolationDesk::hushed(Mailbox& mailbox, InstanceId instance, std::uint64_t number) {
  auto found = rounds_.find(instance);
  if (found == rounds_.end() || found->second.number != number) return;
  if (--found->second.missing == 0) isolate(mailbox, instance, found->second);
}

void IsolationDesk::isolate(Mailbox& mailbox, InstanceId instance, const Round& round) {
  IsolationAsk ask = round.asks.front();
  mailbox.post(
      ask.by, [instance, number = ask.number](Shard& s) { s.delivery().isolate(instance, number); },
      Mailbox::Kind::kAnswer);
}

void IsolationDesk::over(Mailbox& mailbox, InstanceId instance, IsolationAsk ask) {
  auto found = rounds_.find(instance);
  if (found == rounds_.end()) return;
  Round& round = found->second;
  bool had_turn = round.asks.front() == ask;
  std::erase(round.asks, ask);
  if (!had_turn) return;
  if (!round.asks.empty()) {
    // Where all have hushed, the instance holds nothing now either.
    if (round.missing == 0) isolate(mailbox, instance, round);
    return;
  }
  rounds_.erase(found);
  for (std::uint16_t shard = 0; shard < mailbox.shard_count(); ++shard) {
    mailbox.post(
        {shard}, [instance](Shard& s) { s.delivery().unhush(instance); }, Mailbox::Kind::kAnswer);
  }
}

}  // namespace waybill

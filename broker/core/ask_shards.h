// ask_shards: one question to several shards, one answer from each, one reaction at home.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "broker/core/mailbox.h"
#include "broker/core/shard.h"

namespace waybill {

/// Calls ask(shard, reply) on the thread of each shard in `shards`; each calls reply(answer) once,
/// then or later. When all have, done(answers) runs on the thread of `home`, with the answers in
/// the order of `shards`. A shard whose queue is full gives no answer (nullopt); `kind` kAnswer is
/// never refused, for what must arrive once it was decided. Requires that `shards` is not empty.
template <class Answer, class Ask, class Finish>
void ask_shards(Mailbox& mailbox, ShardIndex home, const std::vector<ShardIndex>& shards, Ask ask,
                Finish done, Mailbox::Kind kind = Mailbox::Kind::kRequest) {
  struct Call {
    std::vector<std::optional<Answer>> answers;
    std::size_t missing = 0;
    Finish done;
  };
  auto call = std::make_shared<Call>(Call{{}, shards.size(), std::move(done)});
  call->answers.resize(shards.size());
  auto answered = [call](std::size_t index, std::optional<Answer> answer) {
    call->answers[index] = std::move(answer);
    if (--call->missing == 0) call->done(std::move(call->answers));
  };
  for (std::size_t i = 0; i < shards.size(); ++i) {
    auto question = [&mailbox, home, i, ask, answered](Shard& shard) mutable {
      ask(shard, [&mailbox, home, i, answered](Answer answer) {
        mailbox.post(
            home,
            [i, answered, answer = std::move(answer)](Shard&) mutable {
              answered(i, std::move(answer));
            },
            Mailbox::Kind::kAnswer);
      });
    };
    if (!mailbox.post(shards[i], std::move(question), kind)) {
      mailbox.post(
          home, [i, answered](Shard&) { answered(i, std::nullopt); }, Mailbox::Kind::kAnswer);
    }
  }
}

inline std::vector<ShardIndex> all_shards(const Mailbox& mailbox) {
  std::vector<ShardIndex> shards;
  for (std::uint16_t i = 0; i < mailbox.shard_count(); ++i) shards.push_back({i});
  return shards;
}

inline RequestError shard_busy() {
  return {Errc::kOverloaded, "a shard's queue is full; try again later"};
}

}  // namespace waybill

// Goal: whatever clients do and whenever the power fails, what the broker said stays true. Method:
// random work on two shards, cuts at random disk operations with random losses, and an oracle that
// only knows what clients sent and were told:
//   - every confirmed publish is there once, byte for byte, and nothing that was not sent is there
//   - a confirmed acknowledgement or burial is never delivered again (unless redriven)
//   - failures never go back, and a restart charges nobody
//   - a token is given once
//   - every decision to bury makes one dead letter
//   - the states of all messages add up, in the broker's sums and counted one by one
//   - what must come in order does: per key or per partition, and behind a dead letter that holds
// A failing seed is printed; run it alone with WAYBILL_SEED=<n>.
#include <cstdlib>
#include <set>

#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

constexpr std::uint32_t kPartitions = 3;
using MessageKey = std::pair<std::uint32_t, std::int64_t>;  ///< partition, offset

/// What the broker has told about one message, and what may have happened without an answer.
struct Known {
  bool acked = false;       ///< confirmed
  bool maybe_done = false;  ///< an ack was under way when the power failed
  bool dead = false;        ///< confirmed
  bool maybe_dead = false;
  bool maybe_redriven = false;
  bool discarded = false;
  std::uint32_t failures = 0;        ///< confirmed, since birth or redrive
  std::uint32_t maybe_failures = 0;  ///< beyond those, unanswered
};

class RandomRun {
 public:
  RandomRun(std::uint64_t seed, Ordering ordering, OnDeadLetter on_dead_letter)
      : random_(seed),
        ordering_(ordering),
        holds_(on_dead_letter == OnDeadLetter::kHold),
        rig_({.shards = 2,
              .tail_cache = seed % 4 == 0 ? 1u : 4096u,
              .index_limit = seed % 5 == 0 ? 8u : 1'000'000u}) {
    TestClient& client = rig_.connect(kPublisher);
    topic_ = rig_.create_topic(client, "orders", kPartitions);
    GroupPolicy policy = CoreRig::policy();
    policy.ordering = ordering;
    policy.on_dead_letter = on_dead_letter;
    policy.brake.enabled = false;
    group_ = rig_.create_group(client, "billing", "orders", policy);
    connect();
  }

  void run() {
    int lives = 2 + static_cast<int>(random_.below(3));
    for (int life = 0; life < lives && !testing::Test::HasFailure(); ++life) {
      std::uint64_t steps = 5 + random_.below(40);
      if (random_.below(4) != 0) rig_.disk->crash_after(random_.below(60));
      for (std::uint64_t i = 0; i < steps && !rig_.disk->crashed(); ++i) step();
      rig_.run();
      collect();
      restart();
      check();
    }
    drain();
  }

 private:
  static constexpr std::uint64_t kPublisher = 1;

  struct Sent {
    std::uint32_t partition = 0;
    std::vector<std::string> values;
    std::shared_ptr<std::optional<Reply<PublishReply>>> reply;
  };
  struct Settled {
    Delivered message;
    Settlement settlement;
    std::shared_ptr<std::optional<Reply<SettleReply>>> reply;
  };
  struct Operated {
    bool discard = false;
    DeadLetterId id;
    MessageKey key;
    std::shared_ptr<std::optional<Reply<RedriveReply>>> redriven;
    std::shared_ptr<std::optional<Reply<DiscardReply>>> discarded;
  };

  // --- what clients do ---

  void connect() {
    publisher_ = &rig_.connect(kPublisher, static_cast<std::uint16_t>(random_.below(2)));
    consumers_.clear();
    for (std::uint64_t i = 0; i < 2; ++i) add_consumer();
  }
  void add_consumer() {
    TestClient& client =
        rig_.connect(10 + random_.below(3), static_cast<std::uint16_t>(random_.below(2)));
    client.begin<SubscribeReply>(SubscribeRequest{1, "billing"});
    rig_.run();
    EXPECT_TRUE(
        client.session
            ->handle(CreditRequest{1, 5 + static_cast<std::uint32_t>(random_.below(50)), 5'000'000})
            .ok());
    consumers_.push_back(&client);
  }

  void step() {
    switch (random_.below(12)) {
      case 0:
      case 1:
      case 2:
        publish();
        break;
      case 3:
      case 4:
      case 5:
      case 6:
        settle();
        break;
      case 7:
        rig_.advance(milliseconds(random_.below(4000)));
        break;
      case 8:
        operate();
        break;
      case 9:
        leave();
        break;
      default:
        rig_.run();
    }
    collect();
  }

  void publish() {
    Sent sent;
    sent.partition = static_cast<std::uint32_t>(random_.below(kPartitions));
    std::string key(1, static_cast<char>('a' + random_.below(3)));
    for (std::uint64_t i = 0; i <= random_.below(4); ++i) {
      sent.values.push_back(key + std::to_string(next_value_++) +
                            std::string(random_.below(300), 'x'));
    }
    SharedBytes batch = batch_of(sent.values, {1000}, key);
    PublishRequest request{{{topic_, {sent.partition}, {}, {}, std::move(batch)}}};
    sent.reply = publisher_->begin<PublishReply>(std::move(request));
    sent_.push_back(std::move(sent));
  }

  void settle() {
    if (held_.empty()) return;
    auto it = held_.begin() + static_cast<std::ptrdiff_t>(random_.below(held_.size()));
    auto [client, message] = *it;
    held_.erase(it);
    static constexpr SettleVerb kVerbs[] = {SettleVerb::kAck,        SettleVerb::kAck,
                                            SettleVerb::kRetry,      SettleVerb::kRetry,
                                            SettleVerb::kDeadLetter, SettleVerb::kRelease};
    Settled settled{message, TestClient::settlement(message, kVerbs[random_.below(6)]), {}};
    settled.reply = client->begin<SettleReply>(SettleRequest{1, {settled.settlement}});
    settled_.push_back(std::move(settled));
  }

  void operate() {
    std::vector<MessageKey> dead;
    for (const auto& [key, known] : known_) {
      if (known.dead && !known.discarded && letters_.contains(key)) dead.push_back(key);
    }
    if (dead.empty()) return;
    MessageKey key = dead[random_.below(dead.size())];
    Operated operated;
    operated.key = key;
    operated.id = letters_[key];
    operated.discard = random_.below(3) == 0;
    DeadLetterSelection one = selection({operated.id});
    if (operated.discard) {
      operated.discarded = publisher_->begin<DiscardReply>(DiscardRequest{one, "", ""});
    } else {
      operated.redriven = publisher_->begin<RedriveReply>(RedriveRequest{one, true, ""});
    }
    known_[key].maybe_redriven |= !operated.discard;
    known_[key].dead = false;
    known_[key].maybe_dead = true;
    operated_.push_back(std::move(operated));
  }

  /// A consumer goes, cleanly or not, and another comes.
  void leave() {
    std::size_t i = random_.below(consumers_.size());
    TestClient* client = consumers_[i];
    rig_.run();
    collect();
    std::erase_if(held_, [&](const auto& held) { return held.first == client; });
    consumers_.erase(consumers_.begin() + static_cast<std::ptrdiff_t>(i));
    if (random_.below(2) == 0) client->session->close();
    rig_.lose(*client);
    add_consumer();
  }

  // --- what they are told ---

  void collect() {
    std::erase_if(sent_, [&](Sent& sent) {
      if (!sent.reply->has_value()) return false;
      Reply<PublishResult>& part = (**sent.reply)->parts[0];
      if (part) {
        for (std::size_t i = 0; i < sent.values.size(); ++i) {
          published_[{sent.partition, part->base_offset.value + static_cast<std::int64_t>(i)}] =
              sent.values[i];
        }
      } else {
        EXPECT_TRUE(rig_.disk->crashed() || part.error() == Errc::kOverloaded);
        unknown_sends_.push_back({sent.partition, sent.values, {}});
      }
      return true;
    });
    std::erase_if(settled_, [&](Settled& settled) {
      if (!settled.reply->has_value()) return false;
      const Reply<SettleReply>& reply = **settled.reply;
      told(settled, reply ? reply->outcomes.front() : Reply<SettleOutcome>(reply.error()));
      return true;
    });
    std::erase_if(operated_, [&](Operated& operated) {
      bool answered =
          operated.discard ? operated.discarded->has_value() : operated.redriven->has_value();
      if (answered) told(operated);
      return answered;
    });
    // What was answered was decided before what is delivered now.
    for (TestClient* client : consumers_) {
      for (const RevokePush& push : std::exchange(client->revokes, {})) {
        std::erase_if(held_, [&](const auto& held) {
          return held.first == client && held.second.partition == push.partition &&
                 held.second.offset >= push.first;
        });
        std::erase_if(out_, [&](const auto& out) {
          return out.first.first == push.partition.value && out.first.second >= push.first.value;
        });
      }
    }
    for (TestClient* client : consumers_) {
      for (Delivered& message : client->take()) {
        delivered(message);
        in_order(*client, message);
        out_[{message.partition.value, message.offset.value}] = client;
        held_.emplace_back(client, std::move(message));
      }
    }
  }

  /// What is before it, of its key or partition, is done or out of the way; in a partition the same
  /// consumer may hold it. A dead letter that holds is not out of the way.
  void in_order(TestClient& client, const Delivered& message) {
    if (ordering_ == Ordering::kNone) return;
    for (const auto& [key, value] : published_) {
      if (key.first != message.partition.value || key.second >= message.offset.value) continue;
      if (ordering_ == Ordering::kKey && value.front() != message.value.front()) continue;
      const Known& before = known_[key];
      auto out = out_.find(key);
      bool pipelined =
          ordering_ == Ordering::kPartition && out != out_.end() && out->second == &client;
      EXPECT_TRUE(pipelined || before.acked || before.maybe_done || before.dead ||
                  before.maybe_dead || before.discarded)
          << "offset " << message.offset.value << " came before offset " << key.second;
      if (holds_ && message.redrive == 0) {
        EXPECT_FALSE(before.dead) << "offset " << message.offset.value << " came although offset "
                                  << key.second << " is dead";
      }
    }
  }

  void delivered(const Delivered& message) {
    MessageKey key{message.partition.value, message.offset.value};
    Known& known = known_[key];
    EXPECT_FALSE(known.acked) << "a confirmed acknowledgement came again";
    EXPECT_FALSE(known.dead) << "a confirmed dead letter came again";
    EXPECT_FALSE(known.discarded) << "a discarded one came again";
    EXPECT_TRUE(tokens_.insert({message.partition.value, message.token, key.second}).second)
        << "a token was given twice";
    if (message.redrive > redrives_[key]) {
      EXPECT_TRUE(known.maybe_redriven);
      redrives_[key] = message.redrive;
      known = {};
    }
    EXPECT_EQ(message.redrive, redrives_[key]) << "redrives never go back";
    EXPECT_GE(message.failures, known.failures) << "failures never go back";
    EXPECT_LE(message.failures, known.failures + known.maybe_failures) << "charged by nobody";
    known.failures = message.failures;
    known.maybe_failures = 0;
    known.maybe_done = known.maybe_dead = false;
    auto sent = published_.find(key);
    if (sent != published_.end()) {
      EXPECT_EQ(message.value, sent->second);
    }
  }

  void told(const Settled& settled, const Reply<SettleOutcome>& outcome) {
    MessageKey key{settled.message.partition.value, settled.message.offset.value};
    if (outcome) out_.erase(key);
    Known& known = known_[key];
    SettleVerb verb = settled.settlement.verb;
    if (!outcome) {
      if (code_of(outcome) == Errc::kOutcomeUnknown) perhaps(settled);
      return;
    }
    if (verb == SettleVerb::kAck) known.acked = true;
    if (*outcome == SettleOutcome::kDead) known.dead = true;
    if (*outcome == SettleOutcome::kDelayed && known.failures == settled.message.failures) {
      ++known.failures;
    }
  }
  /// The request may or may not have taken effect.
  void perhaps(const Settled& settled) {
    Known& known = known_[{settled.message.partition.value, settled.message.offset.value}];
    SettleVerb verb = settled.settlement.verb;
    if (verb == SettleVerb::kAck) known.maybe_done = true;
    if (verb == SettleVerb::kRetry) ++known.maybe_failures;
    if (verb == SettleVerb::kRetry || verb == SettleVerb::kDeadLetter) known.maybe_dead = true;
  }
  void told(const Operated& operated) {
    Known& known = known_[operated.key];
    bool did = false;
    if (operated.discard) {
      const Reply<DiscardReply>& reply = **operated.discarded;
      did = reply.ok() && reply->discarded == 1;
    } else {
      const Reply<RedriveReply>& reply = **operated.redriven;
      did = reply.ok() && reply->redriven == 1;
    }
    if (did) known.maybe_dead = false;
    if (did && operated.discard) known.discarded = true;
  }

  // --- the cut ---

  void restart() {
    for (const Settled& settled : settled_) perhaps(settled);
    settled_.clear();
    operated_.clear();
    for (Sent& sent : sent_) unknown_sends_.push_back(std::move(sent));
    sent_.clear();
    held_.clear();
    out_.clear();
    consumers_.clear();
    rig_.restart(keep_random(random_.next(), static_cast<unsigned>(random_.below(101))));
    if (!testing::Test::HasFatalFailure()) connect();
    collect();
  }

  // --- the oracle ---

  void check() {
    if (testing::Test::HasFailure()) return;
    for (std::uint32_t p = 0; p < kPartitions; ++p) check_log(p);
    unknown_sends_.clear();
    check_letters();
    check_states();
  }

  void check_log(std::uint32_t partition) {
    std::map<std::string, int> seen;
    std::vector<std::string> log;
    for (std::int64_t from = 0;;) {
      Reply<ReadReply> read = publisher_->read(topic_, partition, from);
      ASSERT_TRUE(read.ok());
      auto records = records_of(read->batches);
      if (records.empty()) break;
      for (auto& [offset, value] : records) {
        ASSERT_EQ(offset.value, from++);
        EXPECT_EQ(++seen[value], 1) << "twice in the log";
        log.push_back(std::move(value));
      }
    }
    for (const auto& [key, value] : published_) {
      if (key.first != partition) continue;
      ASSERT_LT(key.second, static_cast<std::int64_t>(log.size())) << "a confirmed publish is gone";
      EXPECT_EQ(log[static_cast<std::size_t>(key.second)], value);
    }
    // What nobody confirmed is there whole or not at all.
    for (const Sent& sent : unknown_sends_) {
      if (sent.partition != partition) continue;
      int present = 0;
      for (const std::string& value : sent.values) present += seen.contains(value) ? 1 : 0;
      EXPECT_TRUE(present == 0 || present == static_cast<int>(sent.values.size()));
    }
    for (std::size_t i = 0; i < log.size(); ++i) {
      published_[{partition, static_cast<std::int64_t>(i)}] = log[i];
    }
  }

  void check_letters() {
    ListDeadLettersRequest request;
    request.selection.group = "billing";
    request.limit = 1000;
    Reply<ListDeadLettersReply> reply = publisher_->call<ListDeadLettersReply>(request);
    ASSERT_TRUE(reply.ok());
    std::set<MessageKey> seen;
    letters_.clear();
    for (const DeadLetterSummary& letter : reply->dead_letters) {
      MessageKey key{letter.id.partition.value, letter.offset.value};
      EXPECT_TRUE(seen.insert(key).second) << "two dead letters of one message";
      Known& known = known_[key];
      EXPECT_FALSE(known.acked && letter.state != DeadLetterState::kRedriven);
      if (letter.state == DeadLetterState::kDead) {
        EXPECT_TRUE(known.dead || known.maybe_dead) << "nobody decided that";
        EXPECT_FALSE(known.discarded) << "a confirmed discard is undone";
        letters_[key] = letter.id;
        known.dead = true;
      }
      if (letter.state == DeadLetterState::kDiscarded) known.discarded = true;
      Reply<ShowDeadLetterReply> shown =
          publisher_->call<ShowDeadLetterReply>(ShowDeadLetterRequest{"billing", letter.id});
      ASSERT_TRUE(shown.ok());
      EXPECT_EQ(as_text(*shown->versions[0].message.value), published_[key]);
    }
    for (const auto& [key, known] : known_) {
      if (known.dead || known.discarded) {
        EXPECT_TRUE(seen.contains(key)) << "a dead letter is gone";
      }
    }
  }

  /// Counts every message by itself, from the fold's own records.
  void check_states() {
    Accounting told = rig_.accounting(*publisher_, "billing");
    Accounting counted;
    std::uint64_t waiting = 0;
    std::uint64_t total = 0;
    for (std::uint32_t p = 0; p < kPartitions; ++p) {
      const GroupPartition& partition = rig_.partition_of(group_, p);
      std::map<Offset, const DeadLetter*> letters;
      for (const auto& [number, letter] : partition.dead_letters.all()) {
        letters[letter.offset] = &letter;
      }
      for (Offset o{0}; o < partition.log.visible_end(); ++o, ++total) {
        bool undelivered = partition.delivery.is_undelivered({o, o});
        bool leased = false;
        for (const auto& [token, lease] : partition.delivery.leases()) {
          leased = leased || lease.holds({o, o});
        }
        const TrackedMessage* tracked = partition.delivery.find_tracked(o);
        auto letter = letters.find(o);
        DeadLetterState state =
            letter == letters.end() ? DeadLetterState::kRedriven : letter->second->state;
        int states = 0;
        auto count = [&](std::uint64_t& number, bool is) {
          if (!is) return;
          ++number;
          ++states;
        };
        count(counted.leased, leased);
        count(waiting, undelivered || (tracked && !tracked->leased));
        count(counted.dead, state == DeadLetterState::kDead);
        count(counted.discarded, state == DeadLetterState::kDiscarded);
        ASSERT_LE(states, 1) << "one message in two states";
        bool done = states == 0;
        const Known& known = known_[MessageKey(p, o.value)];
        EXPECT_TRUE(!done || known.acked || known.maybe_done) << "nobody acknowledged it";
        counted.done += done ? 1 : 0;
      }
    }
    counted.start = told.start;
    counted.end = told.end;
    EXPECT_EQ(told.ready + told.delayed + told.held + told.scheduled, waiting);
    counted.ready = told.ready;
    counted.delayed = told.delayed;
    counted.held = told.held;
    EXPECT_EQ(told, counted);
    EXPECT_EQ(told.sum(), total);
    for (auto& shard : rig_.shards) {
      for (const PartitionCheck& check : shard->delivery().check(group_)) {
        EXPECT_EQ(check.kept, check.counted);
      }
    }
  }

  /// All open dead letters go back to the group.
  void redrive_all() {
    check_letters();
    for (const auto& [key, id] : letters_) {
      known_[key].maybe_redriven = true;
      known_[key].dead = false;
      known_[key].maybe_dead = true;
      DeadLetterSelection one = selection({id});
      EXPECT_TRUE(publisher_->call<RedriveReply>(RedriveRequest{one, true, ""}).ok());
    }
  }

  /// Without further trouble everything is acknowledged or dead in the end.
  void drain() {
    if (testing::Test::HasFailure()) return;
    for (int i = 0; i < 200; ++i) {
      rig_.advance(seconds(6));
      collect();
      for (auto& [client, message] : held_) {
        Reply<SettleOutcome> outcome = client->ack(message);
        if (outcome) known_[{message.partition.value, message.offset.value}].acked = true;
        client->credit(1);
      }
      held_.clear();
      Accounting a = rig_.accounting(*publisher_, "billing");
      if (a.held > 0) redrive_all();
      if (a.ready + a.leased + a.delayed + a.held == 0) return check();
    }
    ADD_FAILURE() << "messages are stuck";
  }

  SeededRandom random_;
  Ordering ordering_;
  bool holds_;
  CoreRig rig_;
  TopicId topic_;
  GroupId group_;
  TestClient* publisher_ = nullptr;
  std::vector<TestClient*> consumers_;
  std::uint64_t next_value_ = 0;

  std::vector<std::pair<TestClient*, Delivered>> held_;
  std::map<MessageKey, TestClient*> out_;  ///< leased, as far as clients know
  std::vector<Sent> sent_;
  std::vector<Settled> settled_;
  std::vector<Operated> operated_;

  std::vector<Sent> unknown_sends_;
  std::map<MessageKey, std::string> published_;
  std::map<MessageKey, Known> known_;
  std::map<MessageKey, std::uint32_t> redrives_;
  std::map<MessageKey, DeadLetterId> letters_;
  std::set<std::tuple<std::uint32_t, LeaseToken, std::int64_t>> tokens_;
};

TEST(Random, WhatWasSaidStaysTrueHoweverThePowerFails) {
  const char* chosen = std::getenv("WAYBILL_SEED");
  std::uint64_t first = chosen != nullptr ? std::strtoull(chosen, nullptr, 10) : 1;
  std::uint64_t count = chosen != nullptr ? 1 : 300;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    static constexpr Ordering kOrderings[] = {Ordering::kNone, Ordering::kKey,
                                              Ordering::kPartition};
    Ordering ordering = kOrderings[seed % 3];
    bool holds = ordering != Ordering::kNone && seed % 2 == 0;
    RandomRun(seed, ordering, holds ? OnDeadLetter::kHold : OnDeadLetter::kSkip).run();
    if (HasFailure()) {
      FAIL() << "run it alone with WAYBILL_SEED=" << seed;
    }
  }
}

}  // namespace
}  // namespace waybill

// The delivery engine alone: granting, pushing and settling messages that are in the log already,
// with everything a shard does for it but the device, the sockets and the clients' own work. Rates
// are settled deliveries per second of CPU time; bytes are what the heap grew by for each message
// that is leased or waits, the group's index included. bench/micro prints the table.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <vector>

#include "bench/engine_world.h"

namespace waybill {
namespace {

constexpr std::int64_t kMessages = 1'000'000;
constexpr std::int64_t kBatch = 64;
constexpr std::int64_t kKeys = 10'000;
constexpr std::uint32_t kCredit = 8192;
constexpr std::size_t kSettlements = 1000;  // of one request, as consumers that batch them send
constexpr std::uint64_t kCreditBytes = 64 * 1024 * 1024;

std::size_t heap_bytes() {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

/// Keys of messages: none, uniform, as the sizes of cities (Zipf's law with exponent 1), or one for
/// each message.
class KeyChooser {
 public:
  enum class Law : std::uint8_t { kNone, kUniform, kZipf, kOwn };
  explicit KeyChooser(Law law) : law_(law) {
    double sum = 0;
    for (std::int64_t key = 1; key <= kKeys; ++key) {
      sum += 1.0 / static_cast<double>(key);
      reached_.push_back(sum);
    }
  }
  /// Empty: no key.
  std::string next() {
    std::uint64_t draw = random_.next();
    switch (law_) {
      case Law::kNone:
        return {};
      case Law::kUniform:
        return "key-" + std::to_string(draw % kKeys);
      case Law::kOwn:
        return "key-" + std::to_string(own_++);
      case Law::kZipf:
        break;
    }
    double at = static_cast<double>(draw >> 11) * 0x1.0p-53 * reached_.back();
    auto found = std::ranges::lower_bound(reached_, at);
    return "key-" + std::to_string(found - reached_.begin());
  }

 private:
  Law law_;
  SeededRandom random_{7};
  std::uint64_t own_ = 0;
  std::vector<double> reached_;
};
using Law = KeyChooser::Law;

GroupPolicy policy_of(Ordering ordering, Attempts attempts = Attempts::kExact) {
  GroupPolicy policy;
  policy.ordering = ordering;
  policy.attempts = attempts;
  return policy;
}

/// A topic of one partition, its group and consumers that settle what they are pushed.
struct Scene {
  explicit Scene(GroupPolicy group_policy, std::size_t consumers = 1)
      : policy(group_policy), admin(&world.connect()) {
    topic = world.call<CreateTopicReply>(*admin, CreateTopicRequest{"orders", 1}).topic.id;
    for (std::size_t i = 0; i < consumers; ++i) workers.push_back(&world.connect());
  }
  void publish(std::int64_t messages, const std::function<std::string()>& key) {
    for (std::int64_t sent = 0; sent < messages; sent += kBatch) {
      BatchBuilder builder;
      for (std::int64_t i = 0; i < kBatch; ++i) add(builder, key());
      PublishRequest request;
      request.parts.push_back({topic, {0}, {}, {}, SharedBytes(builder.build())});
      world.call<PublishReply>(*admin, std::move(request));
    }
  }
  void publish(std::int64_t messages, Law law) {
    publish(messages, [keys = KeyChooser(law)]() mutable { return keys.next(); });
  }
  /// What is published before is scanned now, what is published later then.
  void create_group() {
    CreateGroupRequest group{"billing", "orders", policy, {StartKind::kEarliest, {}, {}}};
    world.call<CreateGroupReply>(*admin, group);
  }
  void subscribe(std::uint32_t credit = kCredit) {
    for (BenchClient* worker : workers) {
      world.call<SubscribeReply>(*worker, SubscribeRequest{1, "billing"});
      give_credit(*worker, credit);
    }
    world.run();
  }
  static void give_credit(BenchClient& worker, std::uint32_t messages) {
    if (!worker.session().handle(CreditRequest{1, messages, kCreditBytes / kCredit * messages})) {
      give_up("credit was refused");
    }
  }

  /// What a consumer says about what it was pushed: acks in ranges of at most kBatch, but retries
  /// `poison` and says nothing about `silent`. Gives the credit back. Answers how many were acked.
  std::int64_t settle_all() {
    std::int64_t settled = 0;
    for (BenchClient* worker : workers) {
      SettleRequest request{1, {}};
      for (const DeliverPush& push : std::exchange(worker->pushes, {})) {
        for (const GrantedRange& granted : push.ranges) {
          add_settlements(granted, request, settled);
          if (request.settlements.size() >= kSettlements) send(*worker, request);
        }
      }
      send(*worker, request);
    }
    world.run();
    return settled;
  }

  EngineWorld world;
  GroupPolicy policy;
  BenchClient* admin;
  std::vector<BenchClient*> workers;
  TopicId topic;
  std::optional<Offset> silent;
  std::optional<Offset> poison;
  std::uint64_t poisoned = 0;  ///< times that it was delivered

 private:
  static void add(BatchBuilder& builder, const std::string& key) {
    static const std::string value(16, 'x');
    RecordDraft draft{std::nullopt, as_bytes(value), {}, {1000}};
    if (!key.empty()) draft.key = as_bytes(key);
    if (!builder.add(draft)) give_up("a record did not fit");
  }
  static void send(BenchClient& worker, SettleRequest& request) {
    if (request.settlements.empty()) return;
    std::int64_t count = 0;
    for (const Settlement& settlement : request.settlements) count += settlement.range.count();
    worker.session().handle(std::exchange(request, {1, {}}), [](Reply<SettleReply>) {});
    give_credit(worker, static_cast<std::uint32_t>(count));
  }
  void add_settlements(const GrantedRange& granted, SettleRequest& request, std::int64_t& settled) {
    for (Offset first = granted.range.first; first <= granted.range.last; first = first + kBatch) {
      Settlement settlement;
      settlement.token = granted.token;
      settlement.range = {first, std::min(granted.range.last, first + (kBatch - 1))};
      auto has = [&](std::optional<Offset> offset) {
        return offset && settlement.range.first <= *offset && *offset <= settlement.range.last;
      };
      if (has(silent)) continue;
      if (has(poison)) {
        ++poisoned;
        settlement.verb = SettleVerb::kRetry;
        settlement.failure = {FailureClass::kFailed, "poison", ""};
      } else {
        settled += settlement.range.count();
      }
      request.settlements.push_back(std::move(settlement));
    }
  }
};

// --- what is measured ---

void settle_until_done(Scene& scene, std::int64_t messages) {
  std::int64_t settled = 0;
  while (std::int64_t more = scene.settle_all()) settled += more;
  if (settled < messages) give_up("only " + std::to_string(settled) + " messages were settled");
}

/// The scan over the log included.
void settle(benchmark::State& state, const GroupPolicy& policy, Law law) {
  for (auto _ : state) {
    state.PauseTiming();
    {
      Scene scene(policy);
      scene.publish(kMessages, law);
      state.ResumeTiming();
      scene.create_group();
      scene.subscribe();
      settle_until_done(scene, kMessages);
      state.PauseTiming();
    }
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kMessages);
}

/// Other keys while so many messages wait behind one that nobody settles, the scan over the log
/// left out.
void settle_beside(benchmark::State& state) {
  constexpr std::int64_t kOthers = kMessages / 4;
  const std::int64_t stuck = state.range(0);
  for (auto _ : state) {
    state.PauseTiming();
    {
      Scene scene(policy_of(Ordering::kKey));
      scene.create_group();
      scene.publish(stuck, [] { return std::string("stuck"); });
      if (stuck > 0) scene.silent = Offset{0};
      scene.publish(kOthers, Law::kUniform);
      state.ResumeTiming();
      scene.subscribe();
      settle_until_done(scene, kOthers);
      state.PauseTiming();
    }
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kOthers);
}

/// Settles every other message that was pushed; answers how many.
std::int64_t settle_every_other(Scene& scene) {
  std::int64_t settled = 0;
  for (BenchClient* worker : scene.workers) {
    SettleRequest request{1, {}};
    for (const DeliverPush& push : std::exchange(worker->pushes, {})) {
      for (const GrantedRange& granted : push.ranges) {
        for (Offset o = granted.range.first; o <= granted.range.last; o = o + 2) {
          Settlement settlement;
          settlement.token = granted.token;
          settlement.range = {o, o};
          request.settlements.push_back(std::move(settlement));
        }
      }
    }
    settled += static_cast<std::int64_t>(request.settlements.size());
    worker->session().handle(std::move(request), [](Reply<SettleReply>) {});
  }
  scene.world.run();
  return settled;
}

/// While all that were published are leased or wait. `scattered`: every other one is settled, and
/// the bytes are those of each that is left.
void hold(benchmark::State& state, Ordering ordering, Law law, bool scattered) {
  GroupPolicy policy = policy_of(ordering);
  policy.window = kMessages;
  for (auto _ : state) {
    Scene scene(policy);
    scene.publish(kMessages, law);
    const std::size_t before = heap_bytes();
    scene.create_group();
    scene.subscribe(kMessages);
    std::int64_t left = kMessages;
    if (scattered) left -= settle_every_other(scene);
    for (BenchClient* worker : scene.workers) worker->pushes = {};
    state.counters["bytes"] =
        static_cast<double>(heap_bytes() - before) / static_cast<double>(left);
  }
}

/// From publishing 64 messages of other keys until all of them are settled, with 100 consumers on
/// one partition, while one message fails whenever it is delivered (every 60th round), or none
/// does.
void round_beside_poison(benchmark::State& state, bool poison) {
  GroupPolicy policy = policy_of(Ordering::kKey);
  policy.max_failures = 100;
  policy.brake.enabled = false;
  policy.backoff = {BackoffKind::kFixed, std::chrono::milliseconds(600), 1,
                    std::chrono::milliseconds(600), Jitter::kNone};
  Scene scene(policy, 100);
  scene.publish(kBatch, [] { return std::string("poison"); });
  if (poison) scene.poison = Offset{0};
  scene.create_group();
  scene.subscribe(100);
  while (scene.settle_all() > 0) continue;
  KeyChooser keys(Law::kUniform);
  std::vector<double> rounds;
  for (auto _ : state) {
    const std::clock_t begin = std::clock();
    scene.publish(kBatch, [&] { return keys.next(); });
    for (std::int64_t left = kBatch; left > 0;) {
      const std::int64_t settled = scene.settle_all();
      if (settled == 0) give_up("the other keys wait for the poison message");
      left -= settled;
    }
    rounds.push_back(static_cast<double>(std::clock() - begin) * 1e6 / CLOCKS_PER_SEC);
    scene.world.clock.advance(std::chrono::milliseconds(10));
    scene.world.run();
  }
  if (poison && scene.poisoned < 50) give_up("the poison message was hardly delivered");
  std::ranges::sort(rounds);
  state.counters["p50_us"] = rounds[rounds.size() / 2];
  state.counters["p99_us"] = rounds[rounds.size() * 99 / 100];
}

const GroupPolicy kExact = policy_of(Ordering::kNone);
const GroupPolicy kRelaxed = policy_of(Ordering::kNone, Attempts::kRelaxed);
const GroupPolicy kInOrder = policy_of(Ordering::kPartition);
const GroupPolicy kByKey = policy_of(Ordering::kKey);

BENCHMARK_CAPTURE(settle, none_exact, kExact, Law::kNone)->Iterations(5);
BENCHMARK_CAPTURE(settle, none_relaxed, kRelaxed, Law::kNone)->Iterations(5);
BENCHMARK_CAPTURE(settle, partition, kInOrder, Law::kNone)->Iterations(5);
BENCHMARK_CAPTURE(settle, key_alike, kByKey, Law::kUniform)->Iterations(1);
BENCHMARK_CAPTURE(settle, key_zipf, kByKey, Law::kZipf)->Iterations(1);
BENCHMARK(settle_beside)->Arg(0)->Arg(100'000)->Iterations(2);
BENCHMARK_CAPTURE(hold, none, Ordering::kNone, Law::kNone, false)->Iterations(1);
BENCHMARK_CAPTURE(hold, none_scattered, Ordering::kNone, Law::kNone, true)->Iterations(1);
BENCHMARK_CAPTURE(hold, key_alike, Ordering::kKey, Law::kUniform, false)->Iterations(1);
BENCHMARK_CAPTURE(hold, key_own, Ordering::kKey, Law::kOwn, false)->Iterations(1);
BENCHMARK_CAPTURE(round_beside_poison, no, false)->Iterations(5000);
BENCHMARK_CAPTURE(round_beside_poison, yes, true)->Iterations(5000);

}  // namespace
}  // namespace waybill

BENCHMARK_MAIN();

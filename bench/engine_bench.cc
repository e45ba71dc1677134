// The delivery engine alone: granting, pushing and settling messages that are in the log already,
// with everything a shard does for it but the device, the sockets and the clients' own work.
// `items_per_second` counts settled deliveries on one core; `bytes_per_message` is what the heap
// grew by for each message that is leased or waits.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "bench/engine_world.h"

namespace waybill {
namespace {

constexpr std::int64_t kMessages = 1'000'000;
constexpr std::int64_t kBatch = 64;
constexpr std::int64_t kKeys = 10'000;
constexpr std::uint32_t kCredit = 8192;
constexpr std::uint64_t kCreditBytes = 64 * 1024 * 1024;

/// Keys of messages: uniform, or as the sizes of cities (Zipf's law with exponent 1).
class KeyChooser {
 public:
  enum class Law : std::uint8_t { kNone, kUniform, kZipf };
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
  std::vector<double> reached_;
};
using Law = KeyChooser::Law;

struct Scene {
  explicit Scene(GroupPolicy policy, std::size_t consumers = 1) : admin(&world.connect()) {
    topic = world.call<CreateTopicReply>(*admin, CreateTopicRequest{"orders", 1}).topic.id;
    CreateGroupRequest group{"billing", "orders", policy, {StartKind::kEarliest, {}, {}}};
    world.call<CreateGroupReply>(*admin, group);
    for (std::size_t i = 0; i < consumers; ++i) workers.push_back(&world.connect());
  }
  void publish(std::int64_t messages, KeyChooser keys) {
    for (std::int64_t sent = 0; sent < messages; sent += kBatch) {
      BatchBuilder builder;
      for (std::int64_t i = 0; i < kBatch; ++i) add(builder, keys.next());
      send(builder);
    }
  }
  void publish_one_key(std::int64_t messages, const std::string& key) {
    for (std::int64_t sent = 0; sent < messages; sent += kBatch) {
      BatchBuilder builder;
      for (std::int64_t i = 0; i < kBatch; ++i) add(builder, key);
      send(builder);
    }
  }
  void subscribe(std::uint32_t credit = kCredit) {
    for (BenchClient* worker : workers) {
      world.call<SubscribeReply>(*worker, SubscribeRequest{1, "billing"});
      grant(*worker, credit);
    }
    world.run();
  }
  static void grant(BenchClient& worker, std::uint32_t messages) {
    if (!worker.session().handle(CreditRequest{1, messages, kCreditBytes / kCredit * messages})) {
      give_up("credit was refused");
    }
  }

  /// Settles what was pushed, in ranges of at most kBatch, and gives the credit back.
  std::int64_t settle_all(std::optional<Offset> never = {}) {
    std::int64_t settled = 0;
    for (BenchClient* worker : workers) {
      SettleRequest request{1, {}};
      for (const DeliverPush& push : std::exchange(worker->pushes, {})) {
        for (const GrantedRange& granted : push.ranges) {
          add_settlements(push.partition, granted, never, request.settlements, settled);
        }
      }
      if (request.settlements.empty()) continue;
      std::int64_t count = 0;
      for (const Settlement& settlement : request.settlements) count += settlement.range.count();
      worker->session().handle(std::move(request), [](Reply<SettleReply>) {});
      grant(*worker, static_cast<std::uint32_t>(count));
    }
    world.run();
    return settled;
  }

  EngineWorld world;
  BenchClient* admin;
  std::vector<BenchClient*> workers;
  TopicId topic;

 private:
  static void add(BatchBuilder& builder, const std::string& key) {
    static const std::string value(16, 'x');
    RecordDraft draft{std::nullopt, as_bytes(value), {}, {1000}};
    if (!key.empty()) draft.key = as_bytes(key);
    if (!builder.add(draft)) give_up("a record did not fit");
  }
  void send(BatchBuilder& builder) {
    PublishRequest request;
    request.parts.push_back({topic, {0}, {}, {}, SharedBytes(builder.build())});
    world.call<PublishReply>(*admin, std::move(request));
  }
  static void add_settlements(PartitionIndex partition, const GrantedRange& granted,
                              std::optional<Offset> never, std::vector<Settlement>& settlements,
                              std::int64_t& settled) {
    for (Offset first = granted.range.first; first <= granted.range.last; first = first + kBatch) {
      OffsetRange range{first, std::min(granted.range.last, first + (kBatch - 1))};
      if (never && range.first <= *never && *never <= range.last) continue;
      Settlement settlement;
      settlement.partition = partition;
      settlement.token = granted.token;
      settlement.range = range;
      settlements.push_back(std::move(settlement));
      settled += range.count();
    }
  }
};

GroupPolicy policy_of(Ordering ordering, Attempts attempts = Attempts::kExact) {
  GroupPolicy policy;
  policy.ordering = ordering;
  policy.attempts = attempts;
  return policy;
}

void settle_everything(benchmark::State& state, Ordering ordering, Attempts attempts, Law law) {
  std::int64_t settled = 0;
  for (auto _ : state) {
    state.PauseTiming();
    auto scene = std::make_unique<Scene>(policy_of(ordering, attempts));
    scene->publish(kMessages, KeyChooser(law));
    state.ResumeTiming();
    scene->subscribe();
    std::int64_t here = 0;
    for (std::int64_t more = -1; more != 0; here += more) more = scene->settle_all();
    state.PauseTiming();
    if (here < kMessages) give_up("only " + std::to_string(here) + " messages were settled");
    settled += here;
    scene.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(settled);
}

std::size_t heap_bytes() {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

/// What a message costs while it is leased or waits: all that were published, none settled.
void hold_everything(benchmark::State& state, Ordering ordering, Law law) {
  double bytes = 0;
  for (auto _ : state) {
    GroupPolicy policy = policy_of(ordering);
    policy.window = 1'000'000;
    auto scene = std::make_unique<Scene>(policy);
    scene->publish(kMessages, KeyChooser(law));
    std::size_t before = heap_bytes();
    scene->subscribe(1'000'000);
    std::size_t pushed = 0;
    for (BenchClient* worker : scene->workers) {
      pushed += worker->pushes.size();
      std::exchange(worker->pushes, {});
    }
    if (pushed == 0) give_up("nothing was delivered");
    bytes = static_cast<double>(heap_bytes() - before) / static_cast<double>(kMessages);
  }
  state.counters["bytes_per_message"] = bytes;
}

/// The other keys' rate while `state.range(0)` messages wait behind one that nobody settles.
void beside_a_stuck_key(benchmark::State& state) {
  std::int64_t settled = 0;
  for (auto _ : state) {
    state.PauseTiming();
    auto scene = std::make_unique<Scene>(policy_of(Ordering::kKey));
    if (state.range(0) > 0) scene->publish_one_key(state.range(0), "stuck");
    scene->publish(kMessages / 4, KeyChooser(Law::kUniform));
    std::optional<Offset> never;
    if (state.range(0) > 0) never = Offset{0};
    state.ResumeTiming();
    scene->subscribe();
    std::int64_t here = 0;
    for (std::int64_t more = -1; more != 0; here += more) more = scene->settle_all(never);
    state.PauseTiming();
    if (here < kMessages / 4) give_up("only " + std::to_string(here) + " messages were settled");
    settled += here;
    scene.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(settled);
}

BENCHMARK_CAPTURE(settle_everything, none_exact, Ordering::kNone, Attempts::kExact, Law::kNone)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(settle_everything, none_relaxed, Ordering::kNone, Attempts::kRelaxed, Law::kNone)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(settle_everything, key_uniform, Ordering::kKey, Attempts::kExact, Law::kUniform)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(settle_everything, key_zipf, Ordering::kKey, Attempts::kExact, Law::kZipf)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(settle_everything, partition, Ordering::kPartition, Attempts::kExact, Law::kNone)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(hold_everything, none, Ordering::kNone, Law::kNone)->Iterations(1);
BENCHMARK_CAPTURE(hold_everything, key_uniform, Ordering::kKey, Law::kUniform)->Iterations(1);
BENCHMARK(beside_a_stuck_key)->Arg(0)->Arg(100'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace waybill

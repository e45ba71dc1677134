// The delivery engine alone, as one table: granting, pushing and settling messages that are in the
// log already, with everything a shard does for it but the device, the sockets and the clients' own
// work. Rates are per second of CPU time of the one thread, the best of some runs; bytes are what
// the heap grew by for each message that is leased or waits, the group's index included.
//
//   engine_bench [ROUNDS]      how often each rate is measured; 3 if not said
#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <functional>
#include <string_view>
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

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

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

/// Settled deliveries per second, the scan over the log included.
double settle_rate(const GroupPolicy& policy, Law law) {
  Scene scene(policy);
  scene.publish(kMessages, law);
  double begin = cpu_seconds();
  scene.create_group();
  scene.subscribe();
  settle_until_done(scene, kMessages);
  return static_cast<double>(kMessages) / (cpu_seconds() - begin);
}

/// The rate of other keys while so many messages wait behind one that nobody settles, the scan
/// over the log left out.
double rate_beside(std::int64_t stuck) {
  constexpr std::int64_t kOthers = kMessages / 4;
  Scene scene(policy_of(Ordering::kKey));
  scene.create_group();
  scene.publish(stuck, [] { return std::string("stuck"); });
  if (stuck > 0) scene.silent = Offset{0};
  scene.publish(kOthers, Law::kUniform);
  double begin = cpu_seconds();
  scene.subscribe();
  settle_until_done(scene, kOthers);
  return static_cast<double>(kOthers) / (cpu_seconds() - begin);
}

/// Heap bytes per message while all that were published are leased or wait. `scattered`: every
/// other one is settled, and the bytes are those of each that is left.
double bytes_held(Ordering ordering, Law law, bool scattered = false) {
  GroupPolicy policy = policy_of(ordering);
  policy.window = kMessages;
  Scene scene(policy);
  scene.publish(kMessages, law);
  std::size_t before = heap_bytes();
  scene.create_group();
  scene.subscribe(kMessages);
  std::int64_t left = kMessages;
  for (BenchClient* worker : scene.workers) {
    SettleRequest request{1, {}};
    for (const DeliverPush& push : std::exchange(worker->pushes, {})) {
      for (const GrantedRange& granted : push.ranges) {
        for (Offset o = granted.range.first; scattered && o <= granted.range.last; o = o + 2) {
          Settlement settlement;
          settlement.token = granted.token;
          settlement.range = {o, o};
          request.settlements.push_back(std::move(settlement));
        }
      }
    }
    left -= static_cast<std::int64_t>(request.settlements.size());
    if (scattered) worker->session().handle(std::move(request), [](Reply<SettleReply>) {});
  }
  scene.world.run();
  return static_cast<double>(heap_bytes() - before) / static_cast<double>(left);
}

struct Latency {
  double median = 0;
  double p99 = 0;
};

/// CPU microseconds from publishing 64 messages of other keys until all of them are settled, with
/// 100 consumers on one partition, while one message fails whenever it is delivered (every 60th
/// round), or none does.
Latency beside_poison(bool poison) {
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
  std::vector<double> rounds;
  KeyChooser keys(Law::kUniform);
  for (int round = 0; round < 5000; ++round) {
    double begin = cpu_seconds();
    scene.publish(kBatch, [&] { return keys.next(); });
    for (std::int64_t left = kBatch; left > 0;) {
      std::int64_t settled = scene.settle_all();
      if (settled == 0) give_up("the other keys wait for the poison message");
      left -= settled;
    }
    rounds.push_back((cpu_seconds() - begin) * 1e6);
    scene.world.clock.advance(std::chrono::milliseconds(10));
    scene.world.run();
  }
  if (poison && scene.poisoned < 50) give_up("the poison message was hardly delivered");
  std::ranges::sort(rounds);
  return {rounds[rounds.size() / 2], rounds[rounds.size() * 99 / 100]};
}

// --- the table ---

void row(const char* what, const std::string& figure, const char* wanted = "") {
  std::printf("  %-58s %14s   %s\n", what, figure.c_str(), wanted);
  std::fflush(stdout);
}
std::string thousands(double rate) {
  std::string digits = std::to_string(std::llround(rate));
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), " ");
  }
  return digits;
}
std::string fixed(double value, const char* format = "%.2f") {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// The best of some rounds. What is compared is measured in turns: other work on the machine then
/// slows each of it down alike.
class Best {
 public:
  void add(double rate) { rate_ = std::max(rate_, rate); }
  [[nodiscard]] double rate() const { return rate_; }

 private:
  double rate_ = 0;
};

void run_rates(int rounds) {
  std::printf("Settled deliveries per second of one core\n");
  Best exact;
  Best relaxed;
  for (int i = 0; i < 5 * rounds; ++i) {  // more often: a round takes some milliseconds
    exact.add(settle_rate(policy_of(Ordering::kNone), Law::kNone));
    relaxed.add(settle_rate(policy_of(Ordering::kNone, Attempts::kRelaxed), Law::kNone));
  }
  row("ordering none, attempts exact", thousands(exact.rate()));
  row("ordering none, attempts relaxed", thousands(relaxed.rate()));
  row("  cost of exact: relaxed / exact", fixed(relaxed.rate() / exact.rate()));
  Best partition;
  Best alike;
  Best zipf;
  for (int i = 0; i < rounds; ++i) {
    partition.add(settle_rate(policy_of(Ordering::kPartition), Law::kNone));
    alike.add(settle_rate(policy_of(Ordering::kKey), Law::kUniform));
    zipf.add(settle_rate(policy_of(Ordering::kKey), Law::kZipf));
  }
  row("ordering partition", thousands(partition.rate()));
  row("ordering key, 10 000 keys alike", thousands(alike.rate()), ">= 1 000 000");
  row("ordering key, 10 000 keys as Zipf's law has it", thousands(zipf.rate()), ">= 500 000");
  Best free;
  Best stuck;
  for (int i = 0; i < 2 * rounds; ++i) {
    free.add(rate_beside(0));
    stuck.add(rate_beside(100'000));
  }
  row("  100 000 messages wait behind a stuck key: with / without",
      fixed(stuck.rate() / free.rate()), "~ 1");
}

void run_all(int rounds) {
  run_rates(rounds);
  std::printf("Bytes of memory per unsettled message\n");
  row("ordering none, leased", fixed(bytes_held(Ordering::kNone, Law::kNone), "%.1f"), "<= 64");
  row("ordering none, leased, every other one settled",
      fixed(bytes_held(Ordering::kNone, Law::kNone, true), "%.1f"), "<= 64");
  row("ordering key, 10 000 keys", fixed(bytes_held(Ordering::kKey, Law::kUniform), "%.1f"),
      "<= 160");
  row("ordering key, each message its own, all leased",
      fixed(bytes_held(Ordering::kKey, Law::kOwn), "%.1f"), "<= 160");

  std::printf("One partition, 100 consumers, ordering key: CPU until 64 messages are settled\n");
  Latency without = beside_poison(false);
  Latency with = beside_poison(true);
  row("no poison message: median, 99th percentile",
      fixed(without.median, "%.0f us, ") + fixed(without.p99, "%.0f us"));
  row("one that always fails: median, 99th percentile",
      fixed(with.median, "%.0f us, ") + fixed(with.p99, "%.0f us"));
  row("  median with / without", fixed(with.median / without.median), "~ 1");
}

}  // namespace
}  // namespace waybill

int main(int argc, char** argv) {
  int rounds = 3;
  if (argc > 1) {
    std::string_view text(argv[1]);
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rounds);
    bool whole = error == std::errc() && end == text.data() + text.size();
    if (argc > 2 || !whole || rounds < 1) waybill::give_up("usage: engine_bench [ROUNDS]");
  }
  waybill::run_all(rounds);
}

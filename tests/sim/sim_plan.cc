#include "tests/sim/sim_plan.h"

#include <algorithm>
#include <utility>

namespace waybill {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

class Draw {
 public:
  explicit Draw(Random& random) : random_(random) {}

  bool chance(unsigned percent) { return random_.below(100) < percent; }
  std::uint64_t between(std::uint64_t low, std::uint64_t high) {
    return low + random_.below(high - low + 1);
  }
  template <class T>
  T one_of(std::initializer_list<T> choices) {
    return *(choices.begin() + random_.below(choices.size()));
  }
  /// 0 in most plans, else up to `most`.
  unsigned some(unsigned most) { return chance(50) ? 0 : static_cast<unsigned>(between(1, most)); }

 private:
  Random& random_;
};

WorldPlan draw_world(Draw& draw) {
  WorldPlan world;
  world.shards = static_cast<std::uint16_t>(draw.between(1, 3));
  world.journal_file = draw.one_of<std::size_t>({256 * 1024, 512 * 1024, 1024 * 1024});
  world.tail_cache = draw.one_of<std::size_t>({1, 4096, 1024 * 1024});
  world.max_deliveries = draw.one_of<std::uint32_t>({4, 10, 100});
  world.index_limit = draw.one_of<std::size_t>({2, 20, 1'000'000, 1'000'000});
  world.order = draw.one_of({SimOrder::kFifo, SimOrder::kRandom});
  world.disk_latency =
      draw.one_of<Duration>({microseconds(20), microseconds(500), milliseconds(8)});
  world.network_delay =
      draw.one_of<Duration>({microseconds(50), milliseconds(2), milliseconds(200)});
  world.refuse_percent = draw.chance(20) ? 3 : 0;
  return world;
}

PublisherPlan draw_publisher(Draw& draw, std::size_t topics) {
  PublisherPlan publisher;
  publisher.topic = static_cast<std::uint32_t>(draw.between(0, topics - 1));
  publisher.kind =
      draw.one_of({PublisherKind::kPlain, PublisherKind::kSession, PublisherKind::kDurable});
  publisher.pause = draw.one_of<Duration>({milliseconds(20), milliseconds(100), milliseconds(700)});
  publisher.max_batch = draw.one_of<std::uint32_t>({1, 3, 8});
  publisher.keys = draw.one_of<std::uint32_t>({0, 1, 3, 20});
  publisher.max_padding = draw.one_of<std::uint32_t>({0, 100, 3000});
  publisher.copies = draw.chance(40);
  publisher.compare = draw.chance(30);
  publisher.times = draw.chance(25);
  publisher.bursts = draw.chance(40);
  publisher.reads = draw.chance(40);
  publisher.collide = draw.chance(20);
  return publisher;
}

HandlerPlan draw_handler(Draw& draw) {
  HandlerPlan handler;
  handler.retry = draw.some(40);
  handler.transient = draw.some(15);
  handler.invalid = draw.some(5);
  handler.dead_letter = draw.some(5);
  handler.release = draw.some(10);
  handler.hang = draw.some(5);
  handler.extend = draw.some(20);
  handler.retry_now = draw.some(80);
  handler.retry_later = draw.some(50);
  if (draw.chance(20)) handler.killer_every = static_cast<std::uint32_t>(draw.between(10, 60));
  if (draw.chance(20)) handler.outage = seconds(draw.between(1, 5));
  handler.poison_every = draw.chance(40) ? static_cast<std::uint32_t>(draw.between(3, 30)) : 0;
  handler.time =
      draw.one_of<Duration>({microseconds(100), milliseconds(20), milliseconds(400), seconds(3)});
  return handler;
}

FailureRules draw_rules(Draw& draw) {
  FailureRules rules;
  auto action = [&draw] {
    return draw.one_of({FailureAction::kCharge, FailureAction::kFree, FailureAction::kDeadLetter});
  };
  if (draw.chance(40)) rules.transient = action();
  if (draw.chance(20)) rules.failed = action();
  if (draw.chance(30)) rules.invalid = action();
  if (draw.chance(30)) rules.timeout = action();
  if (draw.chance(30)) rules.free_for = milliseconds(draw.between(0, 5000));
  return rules;
}

GroupPolicy draw_policy(Draw& draw) {
  GroupPolicy policy;
  policy.ordering = draw.one_of({Ordering::kNone, Ordering::kKey, Ordering::kPartition});
  bool ordered = policy.ordering != Ordering::kNone;
  if (ordered && draw.chance(60)) policy.on_dead_letter = OnDeadLetter::kHold;
  if (!ordered && draw.chance(20)) policy.attempts = Attempts::kRelaxed;
  policy.on_expiry = draw.one_of({OnExpiry::kDrop, OnExpiry::kDeadLetter});
  policy.max_failures = static_cast<std::uint32_t>(draw.between(1, 4));
  policy.lease = draw.one_of({milliseconds(200), milliseconds(1000), milliseconds(5000)});
  policy.backoff.kind =
      draw.one_of({BackoffKind::kFixed, BackoffKind::kIncremental, BackoffKind::kExponential});
  policy.backoff.base = draw.one_of({milliseconds(1), milliseconds(100), milliseconds(1000)});
  policy.backoff.cap = milliseconds(5000);
  policy.backoff.jitter = draw.one_of({Jitter::kNone, Jitter::kFull, Jitter::kEqual});
  policy.window = draw.one_of<std::uint32_t>({1, 3, 100, 10'000});
  policy.brake.enabled = draw.chance(30);
  policy.brake.outcomes = static_cast<std::uint32_t>(draw.between(3, 20));
  policy.brake.percent = static_cast<std::uint32_t>(draw.between(30, 100));
  policy.brake.in_a_row = static_cast<std::uint32_t>(draw.between(2, 4));
  policy.brake.probe_after = milliseconds(draw.between(500, 3000));
  policy.brake.probes = static_cast<std::uint32_t>(draw.between(1, 3));
  policy.max_held = draw.one_of<std::uint32_t>({1, 5, 100'000});
  policy.failures = draw_rules(draw);
  return policy;
}

FaultPlan draw_faults(Draw& draw) {
  FaultPlan faults;
  faults.pause = draw.one_of<Duration>({milliseconds(300), seconds(2), seconds(8)});
  faults.power = draw.chance(50);
  faults.ambush = draw.chance(40);
  faults.kill = draw.chance(30);
  faults.clean_stop = draw.chance(20);
  faults.cut = draw.chance(40);
  faults.write_error = draw.chance(20);
  faults.short_write = draw.chance(25);
  faults.full_disk = draw.chance(15);
  faults.slow_disk = draw.chance(20);
  faults.broker_pause = draw.chance(20);
  faults.clock = draw.chance(20);
  faults.network = draw.chance(40);
  faults.half_open = draw.chance(30);
  faults.client_crash = draw.chance(40);
  faults.client_leave = draw.chance(30);
  return faults;
}

OperatorPlan draw_operations(Draw& draw) {
  OperatorPlan operations;
  operations.pause = draw.one_of<Duration>({milliseconds(200), seconds(1), seconds(5)});
  operations.redrive = draw.chance(60);
  operations.discard = draw.chance(30);
  operations.fix = draw.chance(40);
  operations.policy = draw.chance(25);
  operations.pause_groups = draw.chance(20);
  operations.brake = draw.chance(25);
  operations.reset = draw.chance(20);
  operations.thief = draw.chance(40);
  return operations;
}

/// What is kept free, where the disk runs full now and then.
void draw_space(Draw& draw, SimPlan& plan) {
  if (!plan.faults.full_disk) return;
  plan.world.min_free = draw.one_of<std::uint64_t>({0, 100'000, 1'000'000});
  plan.world.reserve = draw.one_of<std::uint64_t>({0, 300'000, 1'000'000});
}

/// Some topics keep the latest of each key only; in tiny segments, looked at all the time.
void draw_compaction(Draw& draw, SimPlan& plan) {
  bool any = false;
  for (std::size_t topic = 0; topic < plan.topics.size(); ++topic) {
    plan.compacted.push_back(draw.chance(30));
    any = any || plan.compacted.back();
  }
  if (!any) return;
  for (PublisherPlan& publisher : plan.publishers) {
    if (plan.compacted[publisher.topic]) publisher.keys = std::max(publisher.keys, 1U);
  }
  plan.world.flush = {.segment_size = 4096, .step = 512, .max_open = 2, .max_files = 4};
  plan.world.retention_interval = draw.one_of<Duration>({milliseconds(100), seconds(1)});
  plan.world.compaction_memory = draw.one_of<std::size_t>({24 * 16, 1024 * 1024});
}

}  // namespace

SimPlan draw_plan(std::uint64_t seed) {
  SeededRandom random(seed * 0x9e3779b97f4a7c15 + 17);
  Draw draw(random);
  SimPlan plan;
  plan.seed = seed;
  plan.length = seconds(draw.between(5, 40));
  plan.world = draw_world(draw);
  plan.least_lease = std::chrono::duration_cast<milliseconds>(plan.world.network_delay * 5);
  for (std::uint64_t i = draw.chance(70) ? 1 : 2; i > 0; --i) {
    plan.topics.push_back(static_cast<std::uint32_t>(draw.between(1, 4)));
  }
  for (std::uint64_t i = draw.between(1, 3); i > 0; --i) {
    plan.publishers.push_back(draw_publisher(draw, plan.topics.size()));
  }
  for (std::uint64_t i = draw.between(1, 3); i > 0; --i) {
    GroupPlan group;
    group.name = "group-" + std::to_string(i);
    // Where somebody publishes.
    group.topic = plan.publishers[draw.between(0, plan.publishers.size() - 1)].topic;
    group.policy = draw_policy(draw);
    group.policy.lease = std::max(group.policy.lease, plan.least_lease);
    group.consumers = static_cast<std::uint32_t>(draw.between(1, 3));
    group.credit = draw.one_of<std::uint32_t>({1, 5, 50});
    group.handler = draw_handler(draw);
    if (group.policy.brake.enabled && draw.chance(60)) {
      group.handler.outage = seconds(draw.between(2, 5));
    }
    plan.groups.push_back(std::move(group));
  }
  plan.faults = draw_faults(draw);
  plan.operations = draw_operations(draw);
  // Drawn last: everything before stays as it was in seeds of old.
  draw_compaction(draw, plan);
  draw_space(draw, plan);
  plan.world.carry_below = draw.one_of<std::uint64_t>({0, 500, 64 * 1024});
  return plan;
}

GroupPolicy draw_change(const SimPlan& plan, const GroupPolicy& policy, Random& random) {
  Draw draw(random);
  GroupPolicy drawn = draw_policy(draw);
  GroupPolicy change = policy;
  if (draw.chance(10)) change.ordering = drawn.ordering;
  if (draw.chance(20)) change.on_dead_letter = drawn.on_dead_letter;
  if (change.ordering == Ordering::kNone) change.on_dead_letter = OnDeadLetter::kSkip;
  if (draw.chance(20)) change.attempts = drawn.attempts;
  if (draw.chance(40)) change.max_failures = drawn.max_failures;
  if (draw.chance(30)) change.lease = std::max(drawn.lease, plan.least_lease);
  if (draw.chance(40)) change.backoff = drawn.backoff;
  if (draw.chance(40)) change.window = drawn.window;
  if (draw.chance(30)) change.failures = drawn.failures;
  if (draw.chance(30)) change.brake = drawn.brake;
  if (draw.chance(30)) change.on_expiry = drawn.on_expiry;
  if (draw.chance(30)) change.max_held = drawn.max_held;
  return change;
}

}  // namespace waybill

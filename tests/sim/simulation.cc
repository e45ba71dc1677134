#include "tests/sim/simulation.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "protocol/record/batch_view.h"

namespace waybill {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Duration kLiveness = hours(2);

/// Asks and waits: the simulation's own client, before and after the trouble.
class Inspector final : public ClientEnd {
 public:
  explicit Inspector(SimWorld& world) : world_(world) {}
  void on_lost() override { connection_.reset(); }

  /// Nothing if no answer came within a minute, or it was an error that may pass.
  template <class R, class Request>
  std::optional<R> ask(const Request& request) {
    for (int i = 0; i < 60; ++i) {
      if (!connection_) connection_ = world_.connect(0, {}, *this);
      auto answer = std::make_shared<std::optional<Reply<R>>>();
      world_.send<R>(*connection_, request,
                     [answer](Reply<R> reply) { answer->emplace(std::move(reply)); });
      for (int j = 0; j < 20 && !answer->has_value() && connection_; ++j) {
        world_.run_until(world_.now() + milliseconds(50));
      }
      if (answer->has_value() && (**answer).ok()) return std::move(***answer);
      world_.run_until(world_.now() + milliseconds(500));
    }
    return std::nullopt;
  }

 private:
  SimWorld& world_;
  std::optional<ConnectionId> connection_;
};

class Simulation {
 public:
  Simulation(std::uint64_t seed, const TraceFilter& filter);
  SimResult run();

 private:
  bool set_up();
  void trouble();
  void fault_later();
  void fault();
  void disk_fault();
  void client_fault();
  void cut();
  void write_error();
  void short_write();
  void full_disk();
  void slow_disk();
  void take_over();
  void break_connection();
  void crash_consumer();
  void leave_consumer();
  void steal();
  SimConsumer& any_consumer();
  void heal();
  void settle_down();
  void check_erased();
  void release_held(GroupModel& group);
  bool add_topics();
  bool add_group(const GroupPlan& plan);
  [[nodiscard]] bool at_rest();
  void check_everything();
  std::int64_t read_log(const SimTopic& topic, std::uint32_t partition,
                        std::map<std::int64_t, std::string>& values);
  bool chance(unsigned percent) { return random_.below(100) < percent; }
  Duration some(Duration most) {
    return Duration(
        1 + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(most.count()))));
  }

  SimPlan plan_;
  SeededRandom random_;
  Findings findings_;
  SimWorld world_;
  LogModel log_;
  std::vector<SimTopic> topics_;
  std::vector<std::unique_ptr<GroupModel>> groups_;
  std::vector<std::unique_ptr<SimPublisher>> publishers_;
  std::vector<std::unique_ptr<SimConsumer>> consumers_;
  std::unique_ptr<SimOperator> operator_;
  Inspector inspector_;
  std::uint64_t faults_ = 0;
  bool healed_ = false;
  bool clock_is_ahead_ = false;
};

Simulation::Simulation(std::uint64_t seed, const TraceFilter& filter)
    : plan_(draw_plan(seed)),
      random_(seed * 7 + 3),
      world_(plan_.world, seed, filter),
      log_(std::accumulate(plan_.topics.begin(), plan_.topics.end(), 0U), findings_),
      inspector_(world_) {
  world_.on_broken = [this](const std::string& what) { findings_.report("it runs", what); };
  world_.on_stopped = [this] {
    for (auto& group : groups_) group->restarted();
  };
}

bool Simulation::add_topics() {
  for (std::uint32_t partitions : plan_.topics) {
    SimTopic topic;
    topic.name = "topic-" + std::to_string(topics_.size());
    CreateTopicRequest request{topic.name, partitions};
    topic.compacted = plan_.compacted[topics_.size()];
    if (topic.compacted) {
      request.policy = TopicPolicy{};
      request.policy->cleanup = Cleanup::kCompact;
    }
    auto made = inspector_.ask<CreateTopicReply>(request);
    if (!made) return false;
    topic.id = made->topic.id;
    if (!topics_.empty()) {
      topic.first_partition = topics_.back().first_partition + topics_.back().partitions;
    }
    topic.partitions = partitions;
    for (std::uint32_t p = 0; topic.compacted && p < partitions; ++p) {
      log_.expect_compaction(topic.first_partition + p);
    }
    topics_.push_back(std::move(topic));
  }
  if (topics_.size() > 1) world_.coverage.count("several topics");
  return true;
}

bool Simulation::add_group(const GroupPlan& plan) {
  const SimTopic& topic = topics_[plan.topic];
  GroupStart start{StartKind::kEarliest, {}, {}};
  auto made = inspector_.ask<CreateGroupReply>(
      CreateGroupRequest{plan.name, topic.name, plan.policy, start});
  if (!made) return false;
  groups_.push_back(std::make_unique<GroupModel>(plan.name, plan.policy, topic.first_partition,
                                                 plan_.world.max_deliveries, world_, log_,
                                                 findings_));
  if (!plan_.faults.clock) groups_.back()->expect_steady_clock();
  if (plan_.faults.write_error) groups_.back()->expect_unreadable();
  return true;
}

bool Simulation::set_up() {
  bool made = add_topics();
  for (const GroupPlan& plan : plan_.groups) made = made && add_group(plan);
  if (!made) {
    findings_.report("it runs", "no topic or group can be created");
    return false;
  }
  std::uint64_t seed = plan_.seed * 1000;
  std::uint64_t number = 1;
  std::vector<GroupModel*> models;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    models.push_back(groups_[g].get());
    for (std::uint32_t i = 0; i < plan_.groups[g].consumers; ++i) {
      consumers_.push_back(std::make_unique<SimConsumer>(world_, log_, *groups_[g], findings_,
                                                         plan_.groups[g], number++, ++seed));
    }
  }
  for (const PublisherPlan& plan : plan_.publishers) {
    publishers_.push_back(
        std::make_unique<SimPublisher>(world_, log_, findings_, plan, topics_[plan.topic], ++seed));
  }
  operator_ =
      std::make_unique<SimOperator>(world_, log_, models, findings_, plan_, topics_, ++seed);
  for (auto& publisher : publishers_) publisher->start();
  for (auto& consumer : consumers_) consumer->start();
  operator_->start();
  return true;
}

void Simulation::trouble() {
  fault_later();
  MonotonicTime end = world_.now() + plan_.length;
  while (world_.now() < end && !findings_.any()) {
    world_.run_until(std::min(end, world_.now() + milliseconds(100)));
  }
}

void Simulation::fault_later() {
  world_.after(some(plan_.faults.pause * 2), [this] {
    if (healed_) return;
    fault();
    fault_later();
  });
}

void Simulation::fault() {
  const FaultPlan& plan = plan_.faults;
  ++faults_;
  switch (random_.below(7)) {
    case 0:
      if (plan.ambush && chance(60)) {
        return world_.cut_power_after_hearing(random_.below(30));
      }
      if (plan.power && world_.up()) {
        world_.coverage.count("power lost");
        if (world_.disk().pending() > 0) {
          world_.coverage.count("power lost while work was in flight");
        }
        world_.stop(StopKind::kPower, some(seconds(chance(30) ? 30 : 1)));
      }
      return;
    case 1:
      if (plan.kill && world_.up()) {
        world_.coverage.count("process killed");
        world_.stop(StopKind::kKill, some(seconds(1)));
      }
      return;
    case 2:
      if (plan.clean_stop && world_.up()) {
        world_.coverage.count("clean stop");
        world_.stop(StopKind::kClean, some(seconds(1)));
      }
      return;
    case 3:
      if (plan.broker_pause) {
        world_.coverage.count("broker paused");
        world_.pause(some(seconds(10)));
      }
      return;
    case 4:
      if (plan.clock) {
        // Back and forth, so that many jumps do not add up to days.
        clock_is_ahead_ = !clock_is_ahead_;
        world_.coverage.count(clock_is_ahead_ ? "clock forward" : "clock back");
        world_.jump_wall(clock_is_ahead_ ? hours(1) : -hours(1));
      }
      return;
    case 5:
      return disk_fault();
    default:
      return client_fault();
  }
}

void Simulation::disk_fault() {
  const FaultPlan& plan = plan_.faults;
  std::vector<void (Simulation::*)()> kinds;
  if (plan.cut) kinds.push_back(&Simulation::cut);
  if (plan.write_error) kinds.push_back(&Simulation::write_error);
  if (plan.short_write) kinds.push_back(&Simulation::short_write);
  if (plan.full_disk && world_.up()) kinds.push_back(&Simulation::full_disk);
  if (plan.slow_disk) kinds.push_back(&Simulation::slow_disk);
  if (!kinds.empty()) (this->*kinds[random_.below(kinds.size())])();
}

void Simulation::cut() {
  world_.coverage.count("cut inside a disk call");
  world_.disk().crash_after(random_.below(60));
}

void Simulation::write_error() {
  world_.coverage.count("write error");
  world_.disk().fail_after(random_.below(60), Errc::kIo);
}

void Simulation::short_write() {
  world_.coverage.count("short write");
  // Several: most calls are no writes of the journal.
  for (int i = 0; i < 4; ++i) {
    world_.disk().short_write_after(random_.below(60), 512 * random_.below(16));
  }
}

void Simulation::full_disk() {
  world_.coverage.count("full disk");
  const std::uint64_t free = random_.below(300'000);
  world_.set_capacity(world_.bytes_on_disk() + (chance(50) ? 0 : free));
  world_.after(some(seconds(20)),
               [this] { world_.set_capacity(std::numeric_limits<std::uint64_t>::max()); });
}

void Simulation::slow_disk() {
  world_.coverage.count("slow disk");
  world_.set_disk_latency(plan_.world.disk_latency * 100);
  world_.after(some(seconds(3)), [this] { world_.set_disk_latency(plan_.world.disk_latency); });
}

void Simulation::client_fault() {
  const FaultPlan& plan = plan_.faults;
  std::vector<void (Simulation::*)()> kinds{&Simulation::take_over};
  if (plan.network) kinds.push_back(&Simulation::break_connection);
  if (plan.client_crash) kinds.push_back(&Simulation::crash_consumer);
  if (plan.client_leave) kinds.push_back(&Simulation::leave_consumer);
  if (plan_.operations.thief) kinds.push_back(&Simulation::steal);
  (this->*kinds[random_.below(kinds.size())])();
}

void Simulation::take_over() {
  publishers_[random_.below(publishers_.size())]->take_over();
}

void Simulation::break_connection() {
  std::vector<ConnectionId> open = world_.connections();
  if (open.empty()) return;
  world_.coverage.count("connection lost");
  Duration late = plan_.faults.half_open && chance(50) ? some(seconds(10)) : milliseconds(1);
  if (late > milliseconds(1)) world_.coverage.count("connection half open");
  world_.cut(open[random_.below(open.size())], some(milliseconds(100)), late);
}

SimConsumer& Simulation::any_consumer() {
  return *consumers_[random_.below(consumers_.size())];
}

void Simulation::crash_consumer() {
  any_consumer().crash();
}

void Simulation::leave_consumer() {
  any_consumer().leave();
}

void Simulation::steal() {
  // Often there is nothing to steal, or only from another group.
  SimConsumer& thief = any_consumer();
  for (int tries = 0; tries < 10; ++tries) {
    if (thief.steal_from(any_consumer())) return;
  }
}

void Simulation::heal() {
  healed_ = true;
  world_.trace.note("everything heals");
  world_.heal();
  for (auto& publisher : publishers_) publisher->calm();
  for (auto& consumer : consumers_) consumer->calm();
  operator_->calm();
}

bool Simulation::at_rest() {
  if (!std::ranges::all_of(publishers_, [](const auto& p) { return p->quiet(); })) return false;
  if (!operator_->quiet()) return false;
  for (const GroupPlan& plan : plan_.groups) {
    auto status = inspector_.ask<DescribeGroupReply>(DescribeGroupRequest{plan.name});
    if (!status) return false;
    for (const GroupPartitionStatus& partition : status->partitions) {
      const Accounting& a = partition.accounting;
      if (a.ready + a.scheduled + a.leased + a.delayed + a.held > 0) return false;
    }
  }
  return true;
}

/// A person resolves what holds others, and resumes what was paused.
void Simulation::release_held(GroupModel& group) {
  std::uint64_t resumed = group.pause_sent(false);
  auto running = inspector_.ask<PauseGroupReply>(PauseGroupRequest{group.name(), false});
  group.pause_told(resumed, running.has_value());
  std::uint64_t released = group.brake_sent(BrakeMode::kAutomatic);
  auto automatic =
      inspector_.ask<SetBrakeReply>(SetBrakeRequest{group.name(), BrakeMode::kAutomatic});
  group.brake_told(released, automatic.has_value());
  if (group.resetting() || !group.may_hold()) return;
  ListDeadLettersRequest request;
  request.selection.group = group.name();
  request.selection.state = DeadLetterState::kDead;
  request.limit = 1000;
  auto page = inspector_.ask<ListDeadLettersReply>(request);
  if (!page) return;
  for (const DeadLetterSummary& letter : page->dead_letters) {
    group.redrive_sent(letter);
    RedriveRequest redrive;
    redrive.selection.group = group.name();
    redrive.selection.ids = {letter.id};
    redrive.override_limit = true;
    auto done = inspector_.ask<RedriveReply>(redrive);
    if (done) group.redrive_told(letter, *done);
  }
}

/// Without further trouble every message comes to its end.
void Simulation::settle_down() {
  MonotonicTime until = world_.now() + kLiveness;
  while (!findings_.any()) {
    world_.run_until(world_.now() + seconds(5));
    for (auto& group : groups_) release_held(*group);
    if (at_rest()) break;
    if (world_.now() > until) {
      return findings_.report("everything ends", "messages are stuck two hours after all healed");
    }
  }
  world_.run_until(world_.now() + seconds(10));
}

std::int64_t Simulation::read_log(const SimTopic& topic, std::uint32_t partition,
                                  std::map<std::int64_t, std::string>& values) {
  for (std::int64_t next = 0;;) {
    ReadRequest request;
    request.topic = topic.id;
    request.partition = {partition};
    request.from = {next};
    auto read = inspector_.ask<ReadReply>(request);
    if (!read) return next;
    next = read->first.value;
    if (read->batches.empty()) return next;
    for (const SharedBytes& batch : read->batches) {
      Result<BatchReader> reader = BatchReader::open(batch.view());
      if (!reader) return next;
      Result<void> done = reader->for_each([&](const RecordView& record) {
        values[record.offset.value] = as_text(record.value.value_or(Bytes{}));
        return true;
      });
      if (!done) return next;
      next = reader->header().last_offset().value + 1;
    }
  }
}

void Simulation::check_everything() {
  std::vector<std::int64_t> ends;
  for (const SimTopic& topic : topics_) {
    for (std::uint32_t p = 0; p < topic.partitions && !findings_.any(); ++p) {
      std::map<std::int64_t, std::string> values;
      ends.push_back(read_log(topic, p, values));
      log_.check_all(topic.first_partition + p, values, ends.back());
      if (static_cast<std::int64_t>(values.size()) < ends.back()) {
        world_.coverage.count("compacted");
      }
    }
  }
  for (std::size_t g = 0; g < groups_.size() && !findings_.any(); ++g) {
    Asked asked = groups_[g]->ask();
    auto status = inspector_.ask<DescribeGroupReply>(DescribeGroupRequest{groups_[g]->name()});
    auto counted = inspector_.ask<CheckGroupReply>(CheckGroupRequest{groups_[g]->name()});
    if (counted) groups_[g]->check_told(*counted);
    std::vector<DeadLetterSummary> letters;
    ListDeadLettersRequest request;
    request.selection.group = groups_[g]->name();
    request.limit = 1000;
    for (bool more = true; more;) {
      auto page = inspector_.ask<ListDeadLettersReply>(request);
      if (!page) return findings_.report("it runs", "dead letters can not be listed");
      more = page->more;
      for (DeadLetterSummary& letter : page->dead_letters) letters.push_back(std::move(letter));
      if (!letters.empty()) request.after = letters.back().id;
    }
    if (!status) return findings_.report("it runs", "a group can not be described");
    groups_[g]->status_told(*status, asked);
    groups_[g]->check_end(letters, *status, ends);
    for (const DeadLetterSummary& letter : letters) {
      auto shown =
          inspector_.ask<ShowDeadLetterReply>(ShowDeadLetterRequest{groups_[g]->name(), letter.id});
      if (!shown) return findings_.report("it runs", "a dead letter can not be shown");
      groups_[g]->show_told(*shown, groups_[g]->ask());
    }
  }
}

/// Whoever stopped while it was under way.
void Simulation::check_erased() {
  for (const auto& group : groups_) {
    auto status = inspector_.ask<DescribeGroupReply>(DescribeGroupRequest{group->name()});
    const std::uint64_t left = status ? world_.not_erased(status->group.id) : 0;
    if (left == 0) continue;
    return findings_.report("what is erased leaves the files",
                            std::to_string(left) + " records are still there");
  }
}

SimResult Simulation::run() {
  if (set_up()) {
    trouble();
    heal();
    settle_down();
    if (!findings_.any()) check_everything();
    if (!findings_.any()) {
      world_.stop(StopKind::kPower, seconds(1));
      world_.run_until(world_.now() + seconds(60));
      check_everything();
      check_erased();
    }
  }
  SimResult result;
  result.seed = plan_.seed;
  result.hash = world_.trace.hash();
  result.events = world_.trace.events();
  result.messages = log_.message_count();
  result.faults = faults_;
  result.virtual_time = world_.now() - MonotonicTime{};
  result.coverage = world_.coverage;
  result.finding = findings_.first();
  result.lines = world_.trace.lines();
  return result;
}

}  // namespace

SimResult simulate(std::uint64_t seed, const TraceFilter& filter) {
  return Simulation(seed, filter).run();
}

SimResult simulate_twice(std::uint64_t seed) {
  SimResult first = simulate(seed);
  TraceFilter filter;
  if (first.finding && first.finding->place) filter.places.insert(*first.finding->place);
  if (first.finding && !first.finding->place) filter.places.insert(Place{0, -1});
  SimResult second = simulate(seed, filter);
  if (first.hash != second.hash && !first.finding) {
    second.finding = Finding{"deterministic", "two runs of the seed differ", {}};
  }
  return second;
}

std::string report(const SimResult& result) {
  const Finding& finding = *result.finding;
  std::string text =
      "seed " + std::to_string(result.seed) + ": the broker broke \"" + finding.property +
      "\"\n  " + (finding.place ? "message " + to_string(*finding.place) + ": " : "") +
      finding.what + "\n  again: build/dev/bin/wb_sim --seed " + std::to_string(result.seed) + "\n";
  constexpr std::size_t kLines = 200;
  std::size_t from = result.lines.size() > kLines ? result.lines.size() - kLines : 0;
  for (std::size_t i = from; i < result.lines.size(); ++i) text += "  " + result.lines[i] + "\n";
  return text;
}

}  // namespace waybill

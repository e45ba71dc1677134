#include "tests/sim/sim_world.h"

#include <algorithm>
#include <utility>

namespace waybill {
namespace {

constexpr Duration kRetryStart = std::chrono::seconds(1);
/// Steps without time passing, after which a loop is the only explanation.
constexpr std::uint64_t kMaxStepsAtRest = 2'000'000;

bool expected_of_faults(Errc code) {
  return code == Errc::kClosed || code == Errc::kIo || code == Errc::kNoSpace;
}

}  // namespace

/// FIFO to each shard, and so between each pair of shards; which shard runs next is drawn.
class SimWorld::Mail final : public Mailbox {
 public:
  Mail(std::uint16_t shards, unsigned refuse_percent, Random& random, Coverage& coverage)
      : queues(shards), refuse(refuse_percent), random_(random), coverage_(coverage) {}

  bool post(ShardIndex to, Call call, Kind kind) override {
    if (kind == Kind::kRequest && refuse > 0 && random_.below(100) < refuse) {
      coverage_.count("request queue full");
      return false;
    }
    queues[to.value].push_back(std::move(call));
    return true;
  }
  [[nodiscard]] std::uint16_t shard_count() const override {
    return static_cast<std::uint16_t>(queues.size());
  }

  std::vector<std::deque<Call>> queues;
  unsigned refuse;

 private:
  Random& random_;
  Coverage& coverage_;
};

struct SimWorld::Sink final : PushSink {
  Sink(SimWorld& the_world, ConnectionId connection, InstanceId its_instance, ClientEnd& client_end)
      : world(the_world), id(connection), instance(its_instance), end(client_end) {}
  void deliver(DeliverPush push) override {
    end.pushed(instance, push);
    world.to_client(
        id, [to = &end, push = std::move(push)]() mutable { to->on_push(std::move(push)); });
  }
  void revoke(RevokePush push) override {
    end.revoked(push);
    world.to_client(id, [to = &end, push]() mutable { to->on_revoke(push); });
  }

  SimWorld& world;
  ConnectionId id;
  InstanceId instance;
  ClientEnd& end;
};

struct SimWorld::Connection {
  ClientEnd* end = nullptr;
  bool open_at_client = true;
  MonotonicTime to_server;  ///< when what was sent last arrives
  MonotonicTime to_client;
  std::unique_ptr<Sink> sink;
  std::unique_ptr<ClientSession> session;

  void dropped() const {
    if (session) end->dropped(sink->instance);
  }
};

SimWorld::SimWorld(const WorldPlan& plan, std::uint64_t seed, TraceFilter filter)
    : trace(clock_, std::move(filter)),
      plan_(plan),
      random_(seed * 3 + 1),
      broker_random_(seed * 3 + 2),
      disk_latency_(plan.disk_latency) {
  disk_options_.seed = seed;
  disk_options_.order = plan.order;
  disk_ = std::make_unique<SimDisk>(SimDiskImage{}, disk_options_);
  start();
}

SimWorld::~SimWorld() {
  drop_all();
}

Duration SimWorld::some_of(Duration most) {
  return Duration(
      1 + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(most.count()))));
}

// --- time ---

void SimWorld::after(Duration delay, Event event) {
  events_.emplace(now() + delay, std::move(event));
}

void SimWorld::run_until(MonotonicTime until) {
  while (step(until)) {
  }
}

/// One thing of the broker, or the next event; false when `until` is reached.
bool SimWorld::step(MonotonicTime until) {
  bool paused = paused_until_ > now();
  if (!paused && run_broker()) {
    if (++steps_at_rest_ > kMaxStepsAtRest && on_broken) {
      on_broken("the broker never rests; of its last steps " + std::to_string(turns_at_rest_) +
                " were turns");
    }
    return steps_at_rest_ <= kMaxStepsAtRest;
  }
  if (!paused && wanted_pause_ > Duration{}) {
    paused_until_ = now() + std::exchange(wanted_pause_, Duration{});
    paused = true;
  }
  if (!paused) note_rest();
  std::optional<MonotonicTime> next;
  auto consider = [&next](MonotonicTime at) {
    if (!next || at < *next) next = at;
  };
  if (!events_.empty()) consider(events_.begin()->first);
  if (paused) consider(paused_until_);
  if (std::optional<MonotonicTime> due = shard_deadline(); due && !paused) consider(*due);
  MonotonicTime to = std::min(next.value_or(until), until);
  if (to > now()) {
    steps_at_rest_ = turns_at_rest_ = 0;
    clock_.advance(to - now());
  }
  if (!next || *next > until) return false;
  if (!events_.empty() && events_.begin()->first <= now()) {
    Event event = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    event();
  }
  return true;
}

/// Called when no shard has anything to do.
void SimWorld::note_rest() {
  bool full_disk = disk_options_.capacity != std::numeric_limits<std::uint64_t>::max();
  full_disk = full_disk || std::ranges::find(low_, true) != low_.end();
  if (!up() || disk_->pending() > 0 || full_disk) return;
  rest_ = {now(), clock_.wall()};
}

void SimWorld::note_space(std::uint16_t shard, const DiskSpaceChange& change) {
  switch (change.kind) {
    case DiskSpaceChange::Kind::kLow:
      coverage.count("less free than the watermark");
      low_[shard] = true;
      return;
    case DiskSpaceChange::Kind::kGiven:
      coverage.count("reserve given");
      low_[shard] = true;
      return;
    case DiskSpaceChange::Kind::kPlenty:
      coverage.count("room again");
      low_[shard] = false;
      return;
    case DiskSpaceChange::Kind::kNoReserve:
      return;
  }
}

std::optional<MonotonicTime> SimWorld::shard_deadline() const {
  std::optional<MonotonicTime> earliest;
  for (const auto& shard : shards_) {
    std::optional<MonotonicTime> at = shard->deadline();
    if (at && (!earliest || *at < *earliest)) earliest = at;
  }
  return earliest;
}

/// Mail or a turn of a shard, whichever is drawn; false if there is neither.
bool SimWorld::run_broker() {
  if (shards_.empty()) return false;
  bool failed = disk_->crashed() || std::ranges::any_of(shards_, &Shard::poisoned);
  std::vector<std::pair<std::uint16_t, bool>> choices;  // shard, mail
  for (std::uint16_t i = 0; i < shards_.size(); ++i) {
    if (!mail_->queues[i].empty()) choices.emplace_back(i, true);
    std::optional<MonotonicTime> due = shards_[i]->deadline();
    if (touched_[i] || (due && *due <= now())) choices.emplace_back(i, false);
  }
  if (failed && (choices.empty() || random_.below(4) == 0)) {
    // The process ends some time after the first shard stopped.
    stop(StopKind::kPower, some_of(std::chrono::seconds(2)));
    return true;
  }
  if (choices.empty()) return false;
  auto [shard, mail] = choices[random_.below(choices.size())];
  if (mail) {
    run_mail(shard);
  } else {
    touched_[shard] = false;
    ++turns_at_rest_;
    shards_[shard]->turn();
    schedule_disk();
  }
  return true;
}

void SimWorld::run_mail(std::uint16_t shard) {
  Mailbox::Call call = std::move(mail_->queues[shard].front());
  mail_->queues[shard].pop_front();
  touched_[shard] = true;
  call(*shards_[shard]);
}

void SimWorld::schedule_disk() {
  if (disk_event_ || disk_->pending() == 0) return;
  disk_event_ = true;
  after(some_of(disk_latency_), [this, generation = generation_] {
    if (generation == generation_) disk_done();
  });
}

void SimWorld::disk_done() {
  disk_event_ = false;
  if (shards_.empty()) return;
  if (paused_until_ > now()) {  // nobody looks at completions
    disk_event_ = true;
    events_.emplace(paused_until_, [this, generation = generation_] {
      if (generation == generation_) disk_done();
    });
    return;
  }
  disk_->submit();
  disk_->reap();
  schedule_disk();
}

// --- the broker ---

void SimWorld::start() {
  ++generation_;
  disk_event_ = false;
  if (Result<void> opened = open(); opened) return;
  // It died while it recovered; the next try finds what that left.
  coverage.count("crash in recovery");
  SimDiskImage image = disk_->crash(keep_random(random_.next()));
  drop_all();
  if (disk_options_.capacity != std::numeric_limits<std::uint64_t>::max()) {
    disk_options_.capacity = std::numeric_limits<std::uint64_t>::max();
  }
  disk_ = std::make_unique<SimDisk>(std::move(image), disk_options_);
  after(kRetryStart, [this] { start(); });
}

Result<void> SimWorld::open() {
  mail_ =
      std::make_unique<Mail>(plan_.shards, healed_ ? 0 : plan_.refuse_percent, random_, coverage);
  touched_.assign(plan_.shards, true);
  low_.assign(plan_.shards, false);
  ready_ = false;
  std::string explanation;
  auto refused = [&](const Error& error) {
    if (!expected_of_faults(error.code) && on_broken) {
      on_broken("the broker refuses to start: " + to_string(error) + ": " + explanation);
    }
    return error;
  };
  for (std::uint16_t i = 0; i < plan_.shards; ++i) {
    ShardOptions options;
    options.shard = {i};
    options.shard_count = plan_.shards;
    options.journal_file_size = plan_.journal_file;
    options.tail_cache_bytes = plan_.tail_cache;
    options.max_deliveries = plan_.max_deliveries;
    options.index_limit = plan_.index_limit;
    options.checkpoint_files = plan_.checkpoint_files;
    options.checkpoint_slice = 200;  // a few objects in each turn
    options.flush = plan_.flush;
    options.carry_below = plan_.carry_below;
    options.retention_interval = plan_.retention_interval;
    options.compaction_memory = plan_.compaction_memory;
    options.min_free = plan_.min_free;
    options.reserve = plan_.reserve;
    RecoveryReport report;
    Result<std::unique_ptr<Shard>> shard =
        recover_shard({*disk_, clock_, broker_random_, *mail_}, options, &report, &explanation);
    if (!shard) return refused(shard.error());
    trace.note("recovered", {{"shard", i},
                             {"entries", static_cast<std::int64_t>(report.entries)},
                             {"torn", static_cast<std::int64_t>(report.torn_frames)}});
    (*shard)->on_touched([this, i] { touched_[i] = true; });
    (*shard)->on_space_changed([this, i](const DiskSpaceChange& change) { note_space(i, change); });
    shards_.push_back(std::move(*shard));
  }
  for (auto& shard : shards_) {
    if (Result<void> started = shard->start(&explanation); !started)
      return refused(started.error());
  }
  for (auto& shard : shards_) gateways_.push_back(std::make_unique<Gateway>(*shard, *mail_));
  shards_.front()->start_catalog([this] {
    ready_ = true;
    trace.note("broker ready");
  });
  return {};
}

void SimWorld::stop(StopKind kind, Duration down) {
  stop_keeping(kind, down, static_cast<unsigned>(random_.below(101)));
}

/// `percent` of what is not durable survives.
void SimWorld::stop_keeping(StopKind kind, Duration down, unsigned percent) {
  if (shards_.empty()) return;
  trace.note("broker stops", {{"kind", static_cast<std::int64_t>(kind)}});
  ++stops_;
  ++generation_;
  if (on_stopped) on_stopped();
  if (kind == StopKind::kClean) {
    for (auto& [id, connection] : connections_) connection.session.reset();
    for (auto& shard : shards_) ignore_error(shard->close(), "what is not durable was not told");
  }
  ambush_.reset();
  CrashPlan keep = keep_random(random_.next(), kind == StopKind::kClean ? 0 : percent);
  if (kind == StopKind::kKill) {
    auto in_flight = keep_random(random_.next(), percent);
    keep = [in_flight](const UnsyncedPart& part) { return !part.in_flight || in_flight(part); };
  }
  SimDiskImage image = disk_->crash(keep);
  drop_all();
  disk_ = std::make_unique<SimDisk>(std::move(image), disk_options_);
  after(down, [this] { start(); });
}

void SimWorld::drop_all() {
  for (auto& [id, connection] : connections_) {
    if (connection.session == nullptr && connection.sink == nullptr) continue;
    connection.session.reset();
    connection.sink.reset();
    lost_at_client(id, some_of(std::chrono::seconds(1)));
  }
  gateways_.clear();
  shards_.clear();
  mail_.reset();
  ready_ = false;
}

void SimWorld::set_capacity(std::uint64_t bytes) {
  disk_options_.capacity = bytes;
  disk_->set_capacity(bytes);
}

void SimWorld::heal() {
  healed_ = true;
  ambush_.reset();
  set_capacity(std::numeric_limits<std::uint64_t>::max());
  disk_latency_ = plan_.disk_latency;
  if (mail_) mail_->refuse = 0;
}

std::uint64_t SimWorld::not_erased(GroupId group) const {
  std::uint64_t left = 0;
  for (const auto& shard : shards_) {
    const ConsumerGroup* here = shard->delivery().find(group);
    if (here == nullptr) continue;
    for (const auto& partition : here->partitions) {
      const Stream& stream = partition->dead_stream;
      auto records = static_cast<std::uint64_t>(stream.end() - stream.flushed_end());
      for (const StreamSegment& segment : stream.segments()) {
        records += segment.contents.record_count;
      }
      const auto all = static_cast<std::uint64_t>(stream.end() - stream.start());
      left += records + partition->dead_letters.erased_records().count() - all;
    }
  }
  return left;
}

std::uint64_t SimWorld::bytes_on_disk() {
  const std::uint64_t capacity = disk_options_.capacity;
  set_capacity(std::numeric_limits<std::uint64_t>::max());
  const Result<std::uint64_t> free = disk_->free_space();
  set_capacity(capacity);
  return free ? std::numeric_limits<std::uint64_t>::max() - *free : 0;
}

// --- the network ---

ConnectionId SimWorld::connect(std::uint16_t home, const HelloRequest& hello, ClientEnd& end) {
  ConnectionId id{next_connection_++};
  Connection& connection = connections_[id.value];
  connection.end = &end;
  connection.to_server = connection.to_client = now();
  connection.to_server = now() + some_of(plan_.network_delay);
  events_.emplace(connection.to_server, [this, id, home, hello] {
    auto found = connections_.find(id.value);
    if (found == connections_.end() || !found->second.open_at_client) return;
    if (!up()) return lost_at_client(id.value, some_of(plan_.network_delay));
    Connection& here = found->second;
    here.sink = std::make_unique<Sink>(*this, id, hello.instance, *here.end);
    here.session =
        std::make_unique<ClientSession>(*gateways_[home % shards_.size()], hello, *here.sink);
  });
  return id;
}

void SimWorld::lost_at_client(std::uint64_t id, Duration delay) {
  after(delay, [this, id] {
    auto found = connections_.find(id);
    if (found == connections_.end()) return;
    Connection& connection = found->second;
    if (std::exchange(connection.open_at_client, false)) connection.end->on_lost();
  });
}

void SimWorld::abandon(ConnectionId id, Duration noticed_after) {
  auto found = connections_.find(id.value);
  if (found == connections_.end()) return;
  found->second.open_at_client = false;
  // What it sent before still arrives.
  MonotonicTime at = std::max(found->second.to_server, now()) + noticed_after + Duration(1);
  events_.emplace(at, [this, id] {
    auto there = connections_.find(id.value);
    if (there == connections_.end()) return;
    there->second.dropped();
    there->second.session.reset();
    connections_.erase(there);
  });
}

void SimWorld::goodbye(ConnectionId id) {
  to_server(id,
            [this, id](ClientSession& session) {
              connections_.at(id.value).dropped();
              session.close();
            },
            {});
  abandon(id, {});
}

void SimWorld::cut(ConnectionId id, Duration client_after, Duration broker_after) {
  if (!connections_.contains(id.value)) return;
  lost_at_client(id.value, client_after);
  after(broker_after, [this, id] {
    auto there = connections_.find(id.value);
    if (there == connections_.end()) return;
    there->second.dropped();
    there->second.session.reset();
    there->second.sink.reset();
  });
}

std::vector<ConnectionId> SimWorld::connections() const {
  std::vector<ConnectionId> open;
  for (const auto& [id, connection] : connections_) {
    if (connection.open_at_client) open.push_back({id});
  }
  return open;
}

void SimWorld::give_credit(ConnectionId id, CreditRequest credit) {
  to_server(id,
            [credit](ClientSession& session) {
              Reply<void> given = session.handle(credit);
              WB_ASSERT(given.ok(), "a simulated consumer counts its credit");
            },
            {});
}

void SimWorld::to_server(ConnectionId id, ToSession call, Duration extra) {
  auto found = connections_.find(id.value);
  if (found == connections_.end() || !found->second.open_at_client) return;
  MonotonicTime at =
      std::max(now() + some_of(plan_.network_delay) + extra, found->second.to_server + Duration(1));
  found->second.to_server = at;
  events_.emplace(at, [this, id, call = std::move(call)]() mutable {
    auto there = connections_.find(id.value);
    if (there != connections_.end() && there->second.session) call(*there->second.session);
  });
}

void SimWorld::to_client(ConnectionId id, Event event) {
  auto found = connections_.find(id.value);
  if (found == connections_.end()) return;
  MonotonicTime at =
      std::max(now() + some_of(plan_.network_delay), found->second.to_client + Duration(1));
  found->second.to_client = at;
  events_.emplace(at, [this, id, event = std::move(event)]() mutable {
    auto there = connections_.find(id.value);
    if (there == connections_.end() || !there->second.open_at_client) return;
    event();
    heard();
  });
}

/// A client has learned something.
void SimWorld::heard() {
  if (!ambush_ || !up() || (*ambush_)-- > 0) return;
  coverage.count("power lost right after an answer");
  stop_keeping(StopKind::kPower, some_of(std::chrono::seconds(1)), 0);
}

}  // namespace waybill

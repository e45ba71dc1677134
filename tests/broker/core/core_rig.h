// CoreRig: the whole core - N shards on one simulated disk, a gateway for each, clients - in one
// thread, with a clock that moves when told. run() goes on until nothing moves any more; restart()
// cuts the power and recovers. A test says what clients do, in lines.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/core/gateway.h"
#include "broker/core/mailbox.h"
#include "broker/core/shard.h"
#include "protocol/record/batch_builder.h"
#include "protocol/record/batch_view.h"
#include "storage/io/sim_disk.h"

namespace waybill {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

/// A single queue over all shards: FIFO per pair of shards, and the same order every time.
class FifoMailbox final : public Mailbox {
 public:
  explicit FifoMailbox(std::uint16_t shards) : shards_(shards) {}
  bool post(ShardIndex to, Call call, Kind kind) override {
    if (kind == Kind::kRequest && refuse_requests) return false;
    queue.emplace_back(to, std::move(call));
    return true;
  }
  [[nodiscard]] std::uint16_t shard_count() const override { return shards_; }

  std::deque<std::pair<ShardIndex, Call>> queue;
  bool refuse_requests = false;

 private:
  std::uint16_t shards_;
};

/// One message as a consumer got it.
struct Delivered {
  PartitionIndex partition;
  Offset offset;
  LeaseToken token;
  std::uint32_t delivery = 0;
  std::uint32_t failures = 0;
  std::uint32_t redrive = 0;
  std::string value;
};

struct RigOptions {
  std::uint16_t shards = 1;
  std::size_t journal_file = 256 * 1024;
  std::size_t tail_cache = 64 * 1024 * 1024;
  std::uint32_t max_deliveries = limits::kMaxDeliveries;
  std::size_t index_limit = 1'000'000;
  /// Small, so that what a test does is flushed, sealed, checkpointed and forgotten all the time.
  std::uint64_t checkpoint_files = 1;
  std::size_t checkpoint_slice = 200;
  std::size_t compaction_memory = 1024 * 1024;
  FlusherOptions flush = {.segment_size = 16 * 1024, .step = 4096, .max_open = 2, .max_files = 4};
  std::uint64_t carry_below = 1000;
  SimDiskOptions disk = {};
  std::uint64_t min_free = 0;
  std::uint64_t reserve = 0;
};

inline SharedBytes batch_of(const std::vector<std::string>& values, WallTime at = {1000},
                            std::string_view key = {}) {
  BatchBuilder builder;
  for (const std::string& value : values) {
    RecordDraft draft{std::nullopt, as_bytes(value), {}, at};
    if (!key.empty()) draft.key = as_bytes(key);
    EXPECT_TRUE(builder.add(draft).ok());
  }
  return SharedBytes(builder.build());
}

inline std::vector<std::pair<Offset, std::string>> records_of(
    const std::vector<SharedBytes>& batches) {
  std::vector<std::pair<Offset, std::string>> records;
  for (const SharedBytes& batch : batches) {
    Result<BatchReader> reader = BatchReader::open(batch.view());
    EXPECT_TRUE(reader.ok());
    if (!reader) continue;
    Result<void> read = reader->for_each([&](const RecordView& record) {
      records.emplace_back(record.offset, std::string(as_text(record.value.value_or(Bytes{}))));
      return true;
    });
    EXPECT_TRUE(read.ok());
  }
  return records;
}

/// The code of an error; 0 of a success, which is no error's.
template <class T>
Errc code_of(const Reply<T>& reply) {
  return reply ? Errc{} : reply.error().code;
}

/// Dead letters of the group `billing`: those, or all.
inline DeadLetterSelection selection(std::vector<DeadLetterId> ids = {}) {
  DeadLetterSelection selection;
  selection.group = "billing";
  selection.ids = std::move(ids);
  return selection;
}

class CoreRig;

/// One connection. Its calls run the rig until the answer is there.
class TestClient final : public PushSink {
 public:
  TestClient(CoreRig& rig, Gateway& gateway, const HelloRequest& hello)
      : instance(hello.instance),
        session(std::make_unique<ClientSession>(gateway, hello, *this)),
        rig_(rig) {}

  void deliver(DeliverPush push) override { pushes.push_back(std::move(push)); }
  void revoke(RevokePush push) override { revokes.push_back(push); }

  /// Sends the request; the answer comes into the returned place.
  template <class R, class Request>
  std::shared_ptr<std::optional<Reply<R>>> begin(Request request) {
    auto place = std::make_shared<std::optional<Reply<R>>>();
    session->handle(std::move(request), Done<R>([place](Reply<R> reply) {
                      EXPECT_FALSE(place->has_value()) << "a request is answered once";
                      place->emplace(std::move(reply));
                    }));
    EXPECT_FALSE(place->has_value()) << "no answer inside the call";
    return place;
  }
  template <class R, class Request>
  Reply<R> call(Request request);

  // --- shorthand ---

  Reply<PublishResult> publish(TopicId topic, std::uint32_t partition,
                               const std::vector<std::string>& values,
                               std::optional<ProducerStamp> producer = {}) {
    return publish_batch(topic, partition, batch_of(values), producer);
  }
  Reply<PublishResult> publish_batch(TopicId topic, std::uint32_t partition, SharedBytes batch,
                                     std::optional<ProducerStamp> producer = {}) {
    PublishRequest request;
    request.parts.push_back({topic, {partition}, producer, {}, std::move(batch)});
    Reply<PublishReply> reply = call<PublishReply>(std::move(request));
    if (!reply) return reply.error();
    return reply->parts.front();
  }
  Reply<ReadReply> read(TopicId topic, std::uint32_t partition, std::int64_t from) {
    ReadRequest request;
    request.topic = topic;
    request.partition = {partition};
    request.from = {from};
    return call<ReadReply>(request);
  }
  /// After a restart: says that it still holds the message (D5).
  bool claim(const Delivered& message, std::uint32_t subscription = 1) {
    LeaseExtension lease{message.partition, message.token, {message.offset, message.offset}, false};
    Reply<ExtendReply> reply = call<ExtendReply>(ExtendRequest{subscription, {lease}});
    return reply.ok() && reply->outcomes.front().ok();
  }
  void subscribe(const std::string& group, std::uint32_t messages = 1000,
                 std::uint64_t bytes = 10'000'000, std::uint32_t subscription = 1) {
    Reply<SubscribeReply> reply = call<SubscribeReply>(SubscribeRequest{subscription, group});
    EXPECT_TRUE(reply.ok());
    credit(messages, bytes, subscription);
  }
  void credit(std::uint32_t messages, std::uint64_t bytes = 1'000'000,
              std::uint32_t subscription = 1);
  /// What was pushed since the last call, message by message.
  std::vector<Delivered> take() {
    std::vector<Delivered> all;
    for (const DeliverPush& push : pushes) {
      auto records = records_of(push.batches);
      for (const GrantedRange& range : push.ranges) {
        for (const auto& [offset, value] : records) {
          if (offset < range.range.first || offset > range.range.last) continue;
          all.push_back({push.partition, offset, range.token, range.delivery, range.failures,
                         range.redrive, value});
        }
      }
    }
    pushes.clear();
    return all;
  }
  Reply<SettleOutcome> settle(Settlement settlement) {
    SettleRequest request{1, {std::move(settlement)}};
    Reply<SettleReply> reply = call<SettleReply>(std::move(request));
    if (!reply) return reply.error();
    return reply->outcomes.front();
  }
  static Settlement settlement(const Delivered& message, SettleVerb verb = SettleVerb::kAck,
                               FailureClass failure = FailureClass::kFailed,
                               std::string code = "broken") {
    Settlement settlement;
    settlement.partition = message.partition;
    settlement.token = message.token;
    settlement.range = {message.offset, message.offset};
    settlement.verb = verb;
    if (verb == SettleVerb::kRetry || verb == SettleVerb::kDeadLetter) {
      settlement.failure = {failure, std::move(code), "it did not work"};
    }
    return settlement;
  }
  Reply<SettleOutcome> ack(const Delivered& message) { return settle(settlement(message)); }
  Reply<SettleOutcome> retry(const Delivered& message, FailureClass failure = FailureClass::kFailed,
                             std::string code = "broken") {
    return settle(settlement(message, SettleVerb::kRetry, failure, std::move(code)));
  }
  Reply<SettleOutcome> bury(const Delivered& message, std::string code = "broken") {
    return settle(
        settlement(message, SettleVerb::kDeadLetter, FailureClass::kFailed, std::move(code)));
  }

  std::vector<DeliverPush> pushes;
  std::vector<RevokePush> revokes;
  InstanceId instance;
  std::unique_ptr<ClientSession> session;

 private:
  CoreRig& rig_;
};

class CoreRig {
 public:
  explicit CoreRig(RigOptions rig_options = {}, SimDiskImage image = {})
      : options(rig_options), disk(std::make_unique<SimDisk>(std::move(image), options.disk)) {
    EXPECT_TRUE(open().ok()) << explanation;
    run();
  }
  ~CoreRig() { drop_all(); }
  CoreRig(const CoreRig&) = delete;
  CoreRig& operator=(const CoreRig&) = delete;

  // --- time and power ---

  /// Until nothing moves any more at this moment.
  void run() {
    run_until([] { return false; });
  }
  /// Requests and turns only: whatever is written stays in flight.
  void run_without_disk() {
    for (int i = 0; i < 3; ++i) {
      run_mail();
      for (auto& shard : shards) shard->turn();
    }
    run_mail();
  }
  template <class Stop>
  void run_until(Stop stop) {
    // A bound, so that a loop that never rests fails instead of hanging.
    // As the server's loop: a turn after mail and completions, and when a deadline is due.
    bool moved = true;
    for (int rounds = 0; rounds < 100'000 && !restless; ++rounds) {
      if (stop()) return;
      std::optional<MonotonicTime> due = deadline();
      if (run_mail() || moved || (due && *due <= clock.monotonic())) {
        for (auto& shard : shards) shard->turn();
      }
      moved = !mailbox->queue.empty();
      if (disk->pending() > 0) {
        disk->submit();
        moved = disk->wait() > 0 || moved;
      }
      std::optional<MonotonicTime> next = deadline();
      if (!moved && (!next || *next > clock.monotonic())) return;
    }
    restless = true;
    FAIL() << "the core never rests";
  }
  void advance(Duration duration) {
    MonotonicTime until = clock.monotonic() + duration;
    for (;;) {
      run();
      std::optional<MonotonicTime> next = deadline();
      if (restless || !next || *next > until) break;
      clock.advance(std::max(*next - clock.monotonic(), Duration(1)));
    }
    if (clock.monotonic() < until) clock.advance(until - clock.monotonic());
    run();
  }
  /// Somebody else fills the disk until so much is free, and the shards look at it.
  void leave_free(std::uint64_t bytes) {
    disk->set_capacity(UINT64_MAX);
    const Result<std::uint64_t> free = disk->free_space();
    if (!free) return;  // the power failed
    const std::uint64_t used = UINT64_MAX - *free;
    options.disk.capacity = used + bytes;
    disk->set_capacity(options.disk.capacity);
    clock.advance(std::chrono::seconds(1));
    for (auto& shard : shards) shard->turn();
    run();
  }
  /// Power off, then on again. Clients are gone; those who consumed as `instance` may connect anew.
  /// `cut`: after so many disk calls of the new run it fails again.
  [[nodiscard]] Result<void> try_restart(const CrashPlan& plan = keep_none(),
                                         std::optional<std::uint64_t> cut = {}) {
    SimDiskImage image = disk->crash(plan);
    drop_all();
    disk = std::make_unique<SimDisk>(std::move(image), options.disk);
    if (cut) disk->crash_after(*cut);
    Result<void> opened = open();
    if (opened) run();
    return opened;
  }
  void restart(const CrashPlan& plan = keep_none()) {
    Result<void> opened = try_restart(plan);
    ASSERT_TRUE(opened.ok()) << to_string(opened.error()) << ": " << explanation;
  }

  // --- clients ---

  TestClient& connect(std::uint64_t instance = 1, std::uint16_t home = 0) {
    HelloRequest hello;
    store_little(hello.instance.uuid.bytes.data(), instance);
    clients.push_back(std::make_unique<TestClient>(*this, *gateways[home], hello));
    return *clients.back();
  }
  /// The connection breaks; its client object is gone.
  void lose(TestClient& client) {
    std::erase_if(clients, [&](const auto& c) { return c.get() == &client; });
    run();
  }
  void close(TestClient& client) {
    client.session->close();
    lose(client);
  }

  TopicId create_topic(TestClient& client, const std::string& name, std::uint32_t partitions = 1) {
    Reply<CreateTopicReply> reply =
        client.call<CreateTopicReply>(CreateTopicRequest{name, partitions});
    EXPECT_TRUE(reply.ok());
    return reply ? reply->topic.id : TopicId{};
  }
  static GroupPolicy policy() {
    GroupPolicy policy;
    policy.ordering = Ordering::kNone;
    policy.max_failures = 3;
    policy.backoff = {BackoffKind::kFixed, milliseconds(1000), 1, milliseconds(5000),
                      Jitter::kNone};
    return policy;
  }
  GroupId create_group(TestClient& client, const std::string& name, const std::string& topic,
                       const GroupPolicy& policy = CoreRig::policy(),
                       GroupStart start = {StartKind::kEarliest, {}, {}}) {
    Reply<CreateGroupReply> reply =
        client.call<CreateGroupReply>(CreateGroupRequest{name, topic, policy, start});
    EXPECT_TRUE(reply.ok()) << (reply ? "" : to_string(reply.error()));
    return reply ? reply->group.id : GroupId{};
  }
  /// Sum over the partitions of the group.
  Accounting accounting(TestClient& client, const std::string& group);
  /// The state of the group on a partition, wherever it is.
  GroupPartition& partition_of(GroupId group, std::uint32_t partition) {
    for (auto& shard : shards) {
      ConsumerGroup* found = shard->delivery().find(group);
      GroupPartition* here = found == nullptr ? nullptr : found->find(PartitionIndex{partition});
      if (here != nullptr) return *here;
    }
    ADD_FAILURE() << "no such partition of the group";
    std::abort();
  }

  RigOptions options;
  ManualClock clock;
  SeededRandom random{1};
  std::unique_ptr<SimDisk> disk;
  std::unique_ptr<FifoMailbox> mailbox;
  std::vector<std::unique_ptr<Shard>> shards;
  std::vector<std::unique_ptr<Gateway>> gateways;
  std::vector<std::unique_ptr<TestClient>> clients;
  std::vector<RecoveryReport> reports;
  std::string explanation;
  bool ready = false;
  bool restless = false;

 private:
  Result<void> open() {
    mailbox = std::make_unique<FifoMailbox>(options.shards);
    ready = false;
    reports.clear();
    for (std::uint16_t i = 0; i < options.shards; ++i) {
      ShardOptions shard_options;
      shard_options.shard = {i};
      shard_options.shard_count = options.shards;
      shard_options.journal_file_size = options.journal_file;
      shard_options.tail_cache_bytes = options.tail_cache;
      shard_options.max_deliveries = options.max_deliveries;
      shard_options.index_limit = options.index_limit;
      shard_options.checkpoint_files = options.checkpoint_files;
      shard_options.checkpoint_slice = options.checkpoint_slice;
      shard_options.flush = options.flush;
      shard_options.carry_below = options.carry_below;
      shard_options.retention_interval = seconds(10);
      shard_options.min_free = options.min_free;
      shard_options.reserve = options.reserve;
      shard_options.compaction_memory = options.compaction_memory;
      reports.emplace_back();
      Result<std::unique_ptr<Shard>> shard = recover_shard(
          {*disk, clock, random, *mailbox}, shard_options, &reports.back(), &explanation);
      if (!shard) {
        drop_all();
        return shard.error();
      }
      shards.push_back(std::move(*shard));
    }
    for (auto& shard : shards) {
      if (Result<void> started = shard->start(&explanation); !started) {
        drop_all();
        return started;
      }
    }
    for (auto& shard : shards) gateways.push_back(std::make_unique<Gateway>(*shard, *mailbox));
    shards.front()->start_catalog([this] { ready = true; });
    return {};
  }
  void drop_all() {
    clients.clear();
    gateways.clear();
    shards.clear();
    mailbox.reset();
  }
  bool run_mail() {
    bool moved = false;
    while (!mailbox->queue.empty()) {
      auto [to, call] = std::move(mailbox->queue.front());
      mailbox->queue.pop_front();
      call(*shards[to.value]);
      moved = true;
    }
    return moved;
  }
  [[nodiscard]] std::optional<MonotonicTime> deadline() const {
    std::optional<MonotonicTime> earliest;
    for (const auto& shard : shards) {
      std::optional<MonotonicTime> at = shard->deadline();
      if (at && (!earliest || *at < *earliest)) earliest = at;
    }
    return earliest;
  }
};

template <class R, class Request>
Reply<R> TestClient::call(Request request) {
  auto place = begin<R>(std::move(request));
  rig_.run();
  if (!place->has_value()) return RequestError(Errc::kTimedOut, "no answer");
  return std::move(**place);
}

inline void TestClient::credit(std::uint32_t messages, std::uint64_t bytes,
                               std::uint32_t subscription) {
  EXPECT_TRUE(session->handle(CreditRequest{subscription, messages, bytes}).ok());
  rig_.run();
}

inline Accounting CoreRig::accounting(TestClient& client, const std::string& group) {
  Accounting sum;
  Reply<DescribeGroupReply> reply = client.call<DescribeGroupReply>(DescribeGroupRequest{group});
  EXPECT_TRUE(reply.ok());
  if (!reply) return sum;
  for (const GroupPartitionStatus& status : reply->partitions) {
    const Accounting& a = status.accounting;
    EXPECT_EQ(a.sum(), static_cast<std::uint64_t>(a.end - a.start));
    sum.done += a.done;
    sum.ready += a.ready;
    sum.leased += a.leased;
    sum.delayed += a.delayed;
    sum.dead += a.dead;
    sum.scheduled += a.scheduled;
    sum.held += a.held;
    sum.expired += a.expired;
    sum.skipped += a.skipped;
    sum.redriven += a.redriven;
    sum.discarded += a.discarded;
  }
  return sum;
}

/// A topic `orders`, its group `billing`, and a client as instance 1.
struct Scene {
  explicit Scene(RigOptions options = {}, std::uint32_t partitions = 1,
                 const GroupPolicy& policy = CoreRig::policy())
      : rig(options), client(&rig.connect()) {
    topic = rig.create_topic(*client, "orders", partitions);
    group = rig.create_group(*client, "billing", "orders", policy);
  }
  void publish(std::uint32_t partition, const std::vector<std::string>& values) {
    ASSERT_TRUE(client->publish(topic, partition, values).ok());
  }
  /// A client after a cut, or in place of another.
  TestClient& reconnect(std::uint64_t instance = 1) {
    client = &rig.connect(instance);
    return *client;
  }
  const TrackedMessage* tracked(std::int64_t offset, std::uint32_t partition = 0) {
    return rig.partition_of(group, partition).delivery.find_tracked(Offset{offset});
  }
  Accounting accounting() { return rig.accounting(*client, "billing"); }

  CoreRig rig;
  TestClient* client;
  TopicId topic;
  GroupId group;
};

}  // namespace waybill

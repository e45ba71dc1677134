// SimPlan: what one seed does. Swarm testing (Groce et al., ISSTA 2012): every seed draws which
// kinds of clients, faults and settings take part, so that rare pairs meet; sizes and limits are
// tiny, so that every boundary is hit all the time.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "protocol/base/random.h"
#include "protocol/model/group_policy.h"
#include "storage/flusher.h"
#include "storage/io/sim_disk.h"

namespace waybill {

struct WorldPlan {
  std::uint16_t shards = 2;
  std::size_t journal_file = 256 * 1024;
  std::size_t tail_cache = 64 * 1024;
  std::uint32_t max_deliveries = 100;
  std::size_t index_limit = 1'000'000;
  std::uint64_t checkpoint_files = 1;  ///< with every journal file
  FlusherOptions flush = {.segment_size = 32 * 1024, .step = 4096, .max_open = 2, .max_files = 4};
  std::uint64_t carry_below = 0;
  Duration retention_interval = std::chrono::seconds(10);
  std::size_t compaction_memory = 1024 * 1024;
  std::uint64_t min_free = 0;
  std::uint64_t reserve = 0;
  SimOrder order = SimOrder::kFifo;
  Duration disk_latency = std::chrono::microseconds(100);   ///< of one operation, at most
  Duration network_delay = std::chrono::microseconds(200);  ///< of one message, at most
  unsigned refuse_percent = 0;  ///< requests that find a shard's queue full
};

enum class PublisherKind : std::uint8_t { kPlain, kSession, kDurable };

struct PublisherPlan {
  std::uint32_t topic = 0;  ///< its number in the plan
  PublisherKind kind = PublisherKind::kPlain;
  Duration pause = std::chrono::milliseconds(20);  ///< between two publishes, about
  std::uint32_t max_batch = 4;                     ///< messages
  std::uint32_t keys = 3;                          ///< how many; 0: none has a key
  std::uint32_t max_padding = 100;                 ///< bytes
  bool copies = false;   ///< some requests go out twice, and some arrive very late
  bool compare = false;  ///< some name the expected end
  bool times = false;    ///< some messages have a not-before or an expiry time
  bool bursts = false;   ///< some publishes follow at once
  bool reads = false;    ///< reads the end of the log while its own publish is under way
  bool collide = false;  ///< two of its keys have the same hash
};

/// What handlers do, in hundredths; the rest is an ack.
struct HandlerPlan {
  unsigned retry = 10;
  unsigned transient = 0;
  unsigned invalid = 0;
  unsigned dead_letter = 0;
  unsigned release = 0;
  unsigned hang = 0;         ///< never settles
  unsigned extend = 0;       ///< says first that it has started, and takes longer
  unsigned retry_now = 0;    ///< of the retries: with retry_after 0
  unsigned retry_later = 0;  ///< of the other retries: with a longer retry_after
  /// What handlers need is down every third period of this length: all fail then. 0: never
  Duration outage{};
  std::uint32_t killer_every = 0;  ///< each so manieth message kills its consumer; 0: none
  std::uint32_t poison_every = 0;  ///< each so manieth message fails always; 0: none
  Duration time = std::chrono::milliseconds(5);  ///< at most
};

struct GroupPlan {
  std::string name;
  std::uint32_t topic = 0;  ///< its number in the plan
  GroupPolicy policy;
  std::uint32_t consumers = 2;
  std::uint32_t credit = 10;
  HandlerPlan handler;
};

struct FaultPlan {
  Duration pause = std::chrono::seconds(5);  ///< between two faults, about
  bool power = false;
  bool ambush = false;  ///< power is lost right after a client heard something
  bool kill = false;
  bool clean_stop = false;
  bool cut = false;  ///< inside a disk call
  bool write_error = false;
  bool short_write = false;
  bool full_disk = false;
  bool slow_disk = false;
  bool broker_pause = false;
  bool clock = false;
  bool network = false;
  bool half_open = false;
  bool client_crash = false;
  bool client_leave = false;
};

struct OperatorPlan {
  Duration pause = std::chrono::seconds(1);
  bool redrive = false;
  bool discard = false;
  bool fix = false;
  bool policy = false;
  bool pause_groups = false;
  bool brake = false;  ///< forces brakes open and closed
  bool reset = false;
  bool thief = false;  ///< settles with tokens of others
};

/// A topic of a run; partitions are numbered through all of them.
struct SimTopic {
  TopicId id;
  std::string name;
  std::uint32_t first_partition = 0;
  std::uint32_t partitions = 0;
  bool compacted = false;  ///< only the latest message of each key stays (S23)
};

struct SimPlan {
  std::uint64_t seed = 0;
  Duration length = std::chrono::seconds(30);  ///< of the trouble; then everything heals
  WorldPlan world;
  std::vector<std::uint32_t> topics;  ///< how many partitions each has
  std::vector<bool> compacted;        ///< which of them are
  /// Of leases: a settlement takes its way, or a partition in order would hardly ever advance.
  std::chrono::milliseconds least_lease{0};
  std::vector<PublisherPlan> publishers;
  std::vector<GroupPlan> groups;
  FaultPlan faults;
  OperatorPlan operations;
};

SimPlan draw_plan(std::uint64_t seed);
/// Another policy than the group has, as an operator would set it.
GroupPolicy draw_change(const SimPlan& plan, const GroupPolicy& policy, Random& random);

}  // namespace waybill

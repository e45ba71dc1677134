// Partitions: the partitions that live in one shard - appending, deduplicating and reading. The
// part of a shard's state that `publish` and `read` need; groups are DeliveryEngine's.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/core/entries.h"
#include "broker/core/gateway.h"
#include "broker/core/producers.h"
#include "broker/core/shard_log.h"

namespace waybill {

struct Partition {
  TopicId topic;
  PartitionIndex index;
  Stream* log = nullptr;
  ProducerTable producers;
  MonotonicTime rolled = {};  ///< of this run: when its segment was ended for its age
  bool archived = false;      ///< its topic is deleted, and archives of groups refer to it (D15)
};

class Partitions {
 public:
  explicit Partitions(ShardLog& log, ShardMetrics& metrics) : log_(log), metrics_(metrics) {}

  /// `keys_required`: its topic is compacted, so that a record without a key is refused (S23).
  void publish(PublishPart part, bool keys_required, Done<PublishResult> done);
  void read(ReadRequest request, Done<ReadReply> done);
  void open_producer(OpenProducerRequest request, Done<OpenProducerReply> done);
  /// The durable producers, with what they published to partitions of this shard; by id.
  [[nodiscard]] std::vector<ProducerInfo> list_producers() const;
  /// Answers, once durable, whether this shard knew the producer (D21).
  void remove_producer(RemoveProducerRequest request, Done<bool> done);
  [[nodiscard]] Reply<PartitionStatus> status(TopicId topic, PartitionIndex index) const;

  [[nodiscard]] Partition* find(TopicId topic, PartitionIndex index) const;
  [[nodiscard]] Partition* find(StreamId stream) const;
  /// The next one by topic and number; null if there is none.
  [[nodiscard]] Partition* after(std::pair<TopicId, PartitionIndex> place) const;
  [[nodiscard]] std::size_t count() const { return by_stream_.size(); }

  // --- the fold ---

  void apply(const AppendHead& head, Partition& partition, const StagedEntry& entry,
             std::size_t batch_offset);
  void apply(const ProducerEntry& entry);
  /// The shard adopts the partitions of a topic that are placed on it; once it is archived, they
  /// are nobody's to publish to or to read.
  void adopt(const TopicInfo& topic);
  void drop(TopicId topic);

  /// Called when a batch was staged, so that groups may lease it in the same frame.
  void on_appended(std::move_only_function<void(const Stream&)> callback) {
    appended_ = std::move(callback);
  }

  // --- the loop ---

  /// More of the stream can be shown: answers who waits for it.
  void revealed(const Stream& stream);
  /// Answers waiting reads whose time is up.
  void expire(MonotonicTime now);
  /// The shard stopped: nothing more will come.
  void abandon_reads();
  [[nodiscard]] std::optional<MonotonicTime> deadline() const;

 private:
  friend class Snapshot;

  struct WaitingRead {
    ReadRequest request;
    Done<ReadReply> done;
    MonotonicTime until;
  };
  /// By stream, then by a number of its own.
  using WaitingKey = std::pair<StreamId, std::uint64_t>;

  /// The partition if this publish may be appended; else answers `done` and gives null.
  Partition* judge(const PublishPart& part, Done<PublishResult>& done, std::uint32_t& count);
  void append(Partition& partition, const PublishPart& part, const AppendHead& head);
  /// What the producer published to partitions of this shard.
  [[nodiscard]] std::vector<ProducerPosition> positions_of(ProducerId id) const;
  WaitingRead take_waiting(WaitingKey key);
  void archive(Partition& partition);
  /// Answers those that wait for more there.
  void end_reads(StreamId stream);
  void answer(Partition& partition, const ReadRequest& request, Offset from, Done<ReadReply> done,
              bool first_only = false);

  ShardLog& log_;
  ShardMetrics& metrics_;
  std::map<std::pair<TopicId, PartitionIndex>, Partition*> by_name_;
  std::unordered_map<StreamId, std::unique_ptr<Partition>> by_stream_;
  DurableProducers durable_producers_;
  std::move_only_function<void(const Stream&)> appended_;
  std::map<WaitingKey, WaitingRead> waiting_reads_;
  std::set<std::pair<MonotonicTime, WaitingKey>> read_deadlines_;
  std::uint64_t next_waiting_ = 1;
};

}  // namespace waybill

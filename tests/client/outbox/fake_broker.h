// A broker in memory with the rules of durable producers (D21): a part is appended if and only if
// its `previous` is the partition's last sequence of that producer, is a duplicate if and only if
// it equals one of the last five, and is out_of_sequence otherwise; lower epochs are fenced.
// Requests can be lost, answered into the void, or kept and delivered later.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "client/outbox/intent.h"
#include "client/outbox/outbox_publisher.h"
#include "protocol/base/limits.h"
#include "protocol/record/batch_view.h"

namespace waybill {

struct LoggedRecord {
  Uuid message_id;
  std::string key;
  std::string value;
  std::vector<Header> headers;
  WallTime timestamp;
};

class FakeBroker final : public OutboxPublisher {
 public:
  enum class Fault { kNone, kLostRequest, kLostReply, kDelayed, kHalfAndLost };

  bool down = false;
  /// Asked for each publish.
  std::function<Fault()> fault = [] { return Fault::kNone; };
  /// A record it refuses, and how.
  std::function<std::optional<Errc>(const LoggedRecord&)> refuses = [](const LoggedRecord&) {
    return std::nullopt;
  };
  /// Runs before and after every request has its effect: a place to crash.
  std::function<void()> on_boundary = [] {};
  std::size_t publish_count = 0;
  std::vector<PublishRequest> requests;  ///< all, as received

  TopicId create_topic(const std::string& name, std::uint32_t partitions) {
    TopicInfo topic;
    topic.id = {++last_topic_};
    topic.name = name;
    topic.partitions.resize(partitions);
    catalog_.topics.push_back(topic);
    return topic.id;
  }
  void delete_topic(const std::string& name) {
    const TopicInfo* topic = catalog_.topic(name);
    TopicId id = topic->id;
    std::erase_if(catalog_.topics, [&](const TopicInfo& one) { return one.id == id; });
    std::erase_if(log_, [&](const auto& entry) { return entry.first.first == id; });
    for (auto& [producer, state] : producers_) {
      std::erase_if(state.positions, [&](const auto& entry) { return entry.first.first == id; });
    }
  }

  Reply<MetadataReply> metadata() override {
    on_boundary();
    if (down) return unreachable();
    return MetadataReply{catalog_};
  }

  Reply<OpenProducerReply> open_producer(const OpenProducerRequest& request) override {
    on_boundary();
    if (down) return unreachable();
    Producer& producer = producers_[request.id];
    if (request.epoch < producer.epoch) return RequestError(Errc::kFenced, "a newer epoch exists");
    producer.epoch = request.epoch;
    OpenProducerReply reply;
    for (const auto& [place, position] : producer.positions) {
      reply.positions.push_back({place.first, place.second, position.last});
    }
    on_boundary();
    return reply;
  }

  Reply<PublishReply> publish(const PublishRequest& request) override {
    on_boundary();
    ++publish_count;
    requests.push_back(request);
    Fault what = fault();
    if (down || what == Fault::kLostRequest) return unreachable();
    if (what == Fault::kDelayed) {
      delayed_.push_back(request);
      return RequestError(Errc::kTimedOut, "no answer");
    }
    PublishReply reply;
    for (const PublishPart& part : request.parts) {
      if (what == Fault::kHalfAndLost && reply.parts.size() * 2 >= request.parts.size()) break;
      reply.parts.push_back(append(part));
    }
    on_boundary();
    if (what != Fault::kNone) return RequestError(Errc::kConnectionLost, "no answer");
    return reply;
  }

  /// The network lets go of a request that it kept.
  void deliver_delayed(std::size_t index) {
    PublishRequest request = delayed_.at(index);
    delayed_.erase(delayed_.begin() + static_cast<std::ptrdiff_t>(index));
    for (const PublishPart& part : request.parts) {
      ignore_error(append(part), "nobody waits for the answer any more");
    }
  }
  [[nodiscard]] std::size_t delayed_count() const { return delayed_.size(); }

  using Log = std::map<TopicPartition, std::vector<LoggedRecord>>;
  [[nodiscard]] const Log& log() const { return log_; }
  [[nodiscard]] std::vector<LoggedRecord> all_records() const {
    std::vector<LoggedRecord> all;
    for (const auto& [place, records] : log_) all.insert(all.end(), records.begin(), records.end());
    return all;
  }
  /// In the log's order: only of use with one partition.
  [[nodiscard]] std::vector<std::string> values() const {
    std::vector<std::string> values;
    for (const LoggedRecord& record : all_records()) values.push_back(record.value);
    return values;
  }

  /// A copy of everything durable: restore(copy) is a restore from a backup.
  struct Backup;
  [[nodiscard]] Backup backup() const;
  void restore(const Backup& backup);

 private:
  struct Position {
    std::uint64_t last = 0;
    std::deque<std::pair<std::uint64_t, std::uint64_t>> recent;
  };
  struct Producer {
    std::uint32_t epoch = 0;
    std::map<TopicPartition, Position> positions;
  };

  static RequestError unreachable() { return {Errc::kCannotConnect, "nobody answers"}; }

  Reply<PublishResult> append(const PublishPart& part) {
    const ProducerStamp& stamp = *part.producer;
    TopicPartition place{part.topic, part.partition};
    auto producer = producers_.find(stamp.id);
    if (producer == producers_.end()) return RequestError(Errc::kProducerUnknown, "not opened");
    if (stamp.epoch < producer->second.epoch) return RequestError(Errc::kFenced, "a newer epoch");
    const TopicInfo* topic = catalog_.topic(part.topic);
    if (topic == nullptr) return RequestError(Errc::kUnknownTopic, "no such topic id");
    std::vector<LoggedRecord> records = decode(part.batch.view());
    std::uint64_t last = stamp.base_sequence + records.size() - 1;
    Position& position = producer->second.positions[place];
    // Dedupe comes before validation.
    bool duplicate = std::ranges::find(position.recent, std::pair{stamp.base_sequence, last}) !=
                     position.recent.end();
    if (duplicate) return PublishResult{{0}, true};
    if (stamp.previous != position.last) return RequestError(Errc::kOutOfSequence, "a gap");
    for (const LoggedRecord& record : records) {
      std::optional<Errc> refusal = refuses(record);
      if (refusal) return RequestError(*refusal, "refused: " + record.value);
    }
    position.last = last;
    position.recent.emplace_back(stamp.base_sequence, last);
    if (position.recent.size() > limits::kProducerRecentBatches) position.recent.pop_front();
    std::vector<LoggedRecord>& log = log_[place];
    auto base = static_cast<std::int64_t>(log.size());
    log.insert(log.end(), records.begin(), records.end());
    return PublishResult{{base}, false};
  }

  static std::vector<LoggedRecord> decode(Bytes batch) {
    std::vector<LoggedRecord> records;
    Result<BatchReader> reader = BatchReader::open(batch);
    WB_ASSERT(reader.ok(), "the relay sends whole batches");
    Result<void> read = reader->for_each([&](const RecordView& view) {
      LoggedRecord record;
      record.message_id = view.message_id().value_or(Uuid{});
      if (view.key) record.key = as_text(*view.key);
      record.value = as_text(*view.value);
      record.timestamp = view.timestamp;
      for (const HeaderView& header : view.headers) {
        record.headers.push_back({std::string(header.key), to_vector(header.value)});
      }
      records.push_back(std::move(record));
      return true;
    });
    WB_ASSERT(read.ok(), "the relay sends whole records");
    return records;
  }

  Catalog catalog_;
  std::uint64_t last_topic_ = 0;
  std::map<ProducerId, Producer> producers_;
  Log log_;
  std::vector<PublishRequest> delayed_;

 public:
  struct Backup {
    Catalog catalog;
    std::map<ProducerId, Producer> producers;
    Log log;
  };
};

inline FakeBroker::Backup FakeBroker::backup() const {
  return {catalog_, producers_, log_};
}
inline void FakeBroker::restore(const Backup& backup) {
  catalog_ = backup.catalog;
  producers_ = backup.producers;
  log_ = backup.log;
}

}  // namespace waybill

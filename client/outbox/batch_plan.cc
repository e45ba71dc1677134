#include "client/outbox/batch_plan.h"

#include <optional>
#include <set>
#include <utility>

#include "protocol/base/limits.h"
#include "protocol/record/batch_builder.h"
#include "protocol/record/partitioner.h"

namespace waybill {
namespace {

/// All batches of a publish together: a frame has room for them and the parts' metadata.
constexpr std::size_t kMaxPublishBytes = limits::kMaxFrame - 512 * 1024;
static_assert(kMaxPublishBytes > limits::kMaxBatch);

class Planner {
 public:
  explicit Planner(const PlanInput& input) : input_(input) {}

  BatchPlan plan() {
    for (const OutboxRow& row : input_.rows) {
      if (full_) break;
      take(row);
    }
    finish();
    return std::move(plan_);
  }

 private:
  struct Draft {
    BatchBuilder builder;
    std::vector<const OutboxRow*> rows;
    bool closed = false;
  };

  /// Into a part, among the refused, or left for a later plan.
  void take(const OutboxRow& row) {
    if (row.key && refused_keys_.contains({row.topic, *row.key})) return;
    if (!row.defect.empty()) return refuse(row, row.defect_code, row.defect);
    const TopicInfo* topic = input_.catalog.topic(row.topic);
    if (topic == nullptr || topic->partitions.empty()) {
      plan_.unknown_topic = true;
      return refuse(row, Errc::kUnknownTopic,
                    "the broker has no topic \"" + row.topic +
                        "\"; create it and the row goes out: waybill topic create " + row.topic);
    }
    auto count = static_cast<std::uint32_t>(topic->partitions.size());
    TopicPartition place{topic->id, partition_of(row, count)};
    auto found = drafts_.find(place);
    if (found == drafts_.end()) {
      if (drafts_.size() == limits::kMaxPublishParts) return;
      found = drafts_.emplace(place, Draft{BatchBuilder(input_.codec), {}, false}).first;
    }
    add(place, found->second, row);
  }

  void add(TopicPartition place, Draft& draft, const OutboxRow& row) {
    bool goes_alone = row.was_held && !draft.rows.empty();
    if (draft.closed || goes_alone) {
      draft.closed = true;
      return;
    }
    std::size_t before = draft.builder.size();
    RecordDraft record = record_of(row);
    Result<void> added = draft.builder.add(record);
    if (!added && !draft.rows.empty()) {  // no room left: it begins the next batch
      draft.closed = true;
      return;
    }
    if (!added) {
      return refuse(row, added.error().code, "it cannot be a message: " + to_string(added.error()));
    }
    draft.rows.push_back(&row);
    auto limit = input_.part_limits.find(place);
    bool at_limit = limit != input_.part_limits.end() && draft.rows.size() >= limit->second;
    draft.closed = row.was_held || at_limit;
    bytes_ += draft.builder.size() - before;
    full_ = bytes_ + limits::kMaxMessage + limits::kMaxHeaderBytes > kMaxPublishBytes;
  }

  void refuse(const OutboxRow& row, Errc code, std::string explanation) {
    if (row.key) refused_keys_.insert({row.topic, *row.key});
    plan_.refused.push_back({row.id, code, std::move(explanation)});
  }

  void finish() {
    plan_.intent.codec = input_.codec;
    for (auto& [place, draft] : drafts_) {
      if (draft.rows.empty()) continue;
      IntentPart part;
      part.topic = place.first;
      part.partition = place.second;
      auto position = input_.positions.find(place);
      if (position != input_.positions.end()) {
        part.previous = position->second.acknowledged;
        part.base_sequence = position->second.next_sequence;
      }
      part.checksum = rows_checksum(draft.rows);
      for (const OutboxRow* row : draft.rows) part.rows.push_back(row->id);
      plan_.intent.parts.push_back(std::move(part));
      plan_.batches.emplace_back(draft.builder.build());
    }
  }

  const PlanInput& input_;
  BatchPlan plan_;
  std::map<TopicPartition, Draft> drafts_;
  std::set<std::pair<std::string, ByteVector>> refused_keys_;
  std::size_t bytes_ = 0;
  bool full_ = false;
};

}  // namespace

PartitionIndex partition_of(const OutboxRow& row, std::uint32_t partition_count) {
  return partition_for_key(row.key ? Bytes(*row.key) : Bytes(row.message_id.bytes),
                           partition_count);
}

BatchPlan plan_batch(const PlanInput& input) {
  return Planner(input).plan();
}

}  // namespace waybill
